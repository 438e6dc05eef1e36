"""A machine ready to run: packed once, then integers in, integers out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..kernels import native
from ..machine import InputError, IntArray, Machine, Wire
from .forms import Type
from .plan import Planner
from .words import Instruction

Array = np.ndarray[Any, np.dtype[Any]]
LARGE = 4_000_000
"""Multiply-adds from which several threads are worth waking."""
MOST_THREADS = 1024


def cores() -> int:
    """How many threads a large batch is divided among: ``ZAHLEN_THREADS``, or as many as this process may use."""
    wanted = os.environ.get("ZAHLEN_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return min(int(wanted), MOST_THREADS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def narrowest(lo: int, hi: int) -> np.dtype[Any]:
    """The integer type of fewest bytes that holds lo..hi, unsigned where it can be.

    >>> narrowest(0, 255), narrowest(-1, 1), narrowest(0, 70_000)
    (dtype('uint8'), dtype('int8'), dtype('uint32'))
    """
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
        info = np.iinfo(name)
        if info.min <= lo and hi <= info.max:
            return np.dtype(name)
    return np.dtype(np.int64)


class Program:
    """A machine's wires on this processor's kernels, with the reference interpreter's integers.

    Parameters
    ----------
    machine : Machine
    wanted : tuple of str, optional
        Wires that come out; by default the machine's outputs.
    threads : int, optional
        Among how many a batch is divided; by default `cores()` where the batch is large. No number changes a bit.

    Raises
    ------
    NoPlan
        If a wire needs more than 64 bits.
    InputError
        If there cannot be so many threads.

    Examples
    --------
    >>> import numpy as np
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 3))
    >>> machine = b.build(b.affine(x, [[1, -1]], [5], name="z"))
    >>> if native is not None:
    ...     program = Program(machine)
    ...     out = program.empty(1)
    ...     program.run_into(np.array([[3, 1]], dtype=program.input_dtype), out)
    ...     assert out == [[7]]
    """

    def __init__(self, machine: Machine, wanted: tuple[str, ...] | None = None, *, threads: int | None = None) -> None:
        assert native is not None, "no kernels were built"
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise InputError(f"threads: 1..{MOST_THREADS} are possible, got {threads}")
        self.wanted = machine.outputs if wanted is None else tuple(wanted)
        self.inputs, self.registers, self.threads = machine.inputs, machine.registers, threads
        # not the machine itself: programs are kept for as long as it lives
        self.wires = {name: machine.wires[name] for name in (*self.inputs, *self.registers, *self.wanted)}
        planner = Planner(machine, self.wanted, native.any_dot8())
        planner.run()
        words, data, self.sizes = planner.encode()
        self.instructions: list[Instruction] = planner.instructions
        self._packed = native.program(words, data)
        self.input_dtypes = {name: _dtype(machine.wires[name]) for name in machine.inputs}
        self.output_dtypes = {name: _dtype(machine.wires[name], 4) for name in self.wanted}
        self._kept: Array | None = None
        self._batch = 0
        self._bound: tuple[Array, Array, bool, Callable[[], bool]] | None = None

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """Of the only input, the narrowest."""
        return self.input_dtypes[self._only()[0]]

    def _only(self) -> tuple[str, str]:
        """The input and the output of a machine that has one of each."""
        if len(self.inputs) != 1 or len(self.wanted) != 1:
            raise InputError(
                f"one input and one output are due here, there are {len(self.inputs)} and {len(self.wanted)}: "
                "machine.run takes several by name"
            )
        return self.inputs[0], self.wanted[0]

    def empty(self, batch: int, steps: int | None = None) -> Array:
        """Room for the only output of a batch, with `steps` of so many times: int32, or int64 where that is due."""
        name = self._only()[1]
        time = () if steps is None else (steps,)
        return np.empty((batch, *time, *self.wires[name].shape), dtype=self.output_dtypes[name])

    # ------------------------------------------------------------------------------------------------ runs

    def execute(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        batch: int,
        times: int = 1,
        states: Mapping[str, Array] | None = None,
        following: Mapping[str, Array] | None = None,
    ) -> bool:
        """Run on C-contiguous integer arrays; False, with undefined outputs, if an input is outside its alphabet."""
        assert native is not None
        fine: bool = native.execute(
            self._packed,
            tuple(inputs[name] for name in self.inputs),
            tuple(outputs[name] for name in self.wanted),
            None if states is None else tuple(states[name] for name in self.registers),
            None if following is None else tuple(following[name] for name in self.registers),
            None,
            batch,
            times,
            self.division(batch * times),
        )
        return fine

    def division(self, rows: int) -> int:
        """Among how many threads so many rows are divided."""
        if self.threads is not None:
            return self.threads
        return cores() if rows * max(1, self.sizes["operations"]) > LARGE else 1

    def run_into(self, x: Array, out: Array) -> None:
        """Map a batch to `out`, of `empty`; recurrent machines start from the initial state.

        The same two arrays again cost little more than the kernels themselves, whatever they hold by then.

        Parameters
        ----------
        x : integer array (batch, *shape), with registers (batch, time, *shape)
            C-contiguous, of any integer type.
        out : integer array (batch, *shape), with registers (batch, time, *shape)
            C-contiguous, of any integer type that holds what the output can reach; apart from `x`.

        Raises
        ------
        InputError
            If an array does not fit, or a value is outside the input's alphabet; then `out` is undefined.
        """
        bound = self._bound
        if bound is None or bound[0] is not x or bound[1] is not out or bound[2]:
            bound = self._bound = (x, out, False, self.bind(x, out))
        if not bound[3]():
            self.refuse({self.inputs[0]: x})

    def bind(self, x: Array, out: Array, *, stream: bool = False) -> Callable[[], bool]:
        """A call that maps what x holds by then to `out`; it returns False if a value is outside the alphabet.

        With `stream` each call is one step of the streams that `reset` began, by default of new ones.
        """
        assert native is not None
        read, written = self._only()
        time = bool(self.registers) and not stream
        self._check(read, x, time)
        self._check(written, out, time, writable=True)
        if x.shape[: 1 + time] != out.shape[: 1 + time]:
            raise InputError(f"{read} is {x.shape} and {written} {out.shape}: they differ in batch or time")
        if np.may_share_memory(x, out):
            raise InputError(f"{read} and {written} lie in the same memory")
        times = x.shape[1] if time else 1
        if not times:
            raise InputError("a sequence has at least one step")
        if stream and self._kept is None:
            self.reset(len(x))
        if stream and self._batch != len(x):
            raise InputError(f"{self._batch} streams are under way, got {len(x)}: reset({len(x)}) begins so many")
        kept = self._kept if stream else None
        call: Callable[[], bool] = native.bind(
            self._packed, (x,), (out,), None, None, kept, len(x), times, self.division(len(x) * times)
        )
        return call

    def _check(self, name: str, array: Array, time: bool, writable: bool = False) -> None:
        wire, axes = self.wires[name], ("batch", "time")[: 1 + time]
        if not isinstance(array, np.ndarray):
            raise InputError(f"{name}: a NumPy array is due, got {type(array).__name__}")
        if array.dtype.kind not in "iu" or not array.dtype.isnative:
            raise InputError(f"{name}: integers are due, got {array.dtype}; a machine never rounds its input")
        if array.ndim != len(axes) + len(wire.shape) or array.shape[len(axes) :] != wire.shape:
            raise InputError(f"{name}: shape ({', '.join(axes)}, *{wire.shape}) is due, got {array.shape}")
        if not array.flags.c_contiguous:
            raise InputError(f"{name}: a C-contiguous array is due; np.ascontiguousarray makes one")
        if writable and not array.flags.writeable:
            raise InputError(f"{name}: the array is read-only")
        info = np.iinfo(array.dtype)
        if writable and not (info.min <= wire.alphabet.lo and wire.alphabet.hi <= info.max):
            raise InputError(f"{name}: {array.dtype} does not hold {wire.alphabet}; `empty` makes an array that does")

    def reset(self, batch: int = 1) -> None:
        """Begin streams of a batch anew, from the initial state."""
        assert native is not None
        if self._kept is None or self._batch != batch:
            if batch < 0:
                raise InputError(f"a batch of {batch} streams")
            self._kept = np.zeros(self.sizes["state"] * batch + 512, dtype=np.uint8)
            self._batch = batch
            self._bound = None
        native.reset(self._packed, self._kept, batch)

    def step_into(self, x: Array, out: Array) -> None:
        """One step of the streams that `reset` began: x is (batch, *shape), and the state goes on.

        Arrays and refusals are those of `run_into`; a step that is refused leaves the state as it was.
        """
        bound = self._bound
        if bound is None or bound[0] is not x or bound[1] is not out or not bound[2]:
            bound = self._bound = (x, out, True, self.bind(x, out, stream=True))
        # a batch is worked on part by part: others may have gone on where one is refused
        kept = self._kept.copy() if self._kept is not None and self._batch > 1 else None
        if not bound[3]():
            if kept is not None and self._kept is not None:
                self._kept[:] = kept
            self.refuse({self.inputs[0]: x})

    def refuse(self, inputs: Mapping[str, Array]) -> None:
        """Say which value is outside its alphabet."""
        for name, x in inputs.items():
            alphabet, array = self.wires[name].alphabet, x.astype(object) if x.dtype == np.uint64 else x
            if not alphabet.contains_all(array):
                raise InputError(f"{name}: values are {array.min()}..{array.max()}, the alphabet is {alphabet}")
        raise InputError("a value is outside its alphabet")

    # ------------------------------------------------------------------------------------------------ reading

    def __str__(self) -> str:
        lines = []
        width = max(len(i.section.name) for i in self.instructions)
        for i in sorted(self.instructions, key=lambda i: i.section):
            reason = f"  ({i.reason})" if i.reason else ""
            lines.append(f"{i.section.name.lower():<{width}}  {' > '.join(i.wires)}: {i.kernel}{reason}")
        sizes = self.sizes
        lines.append(
            f"{sizes['row']:,} bytes a row, {sizes['rows']} rows a tile, {sizes['operations']:,} multiply-adds a row"
        )
        return "\n".join(lines)


def _dtype(wire: Wire, least: int = 1) -> np.dtype[Any]:
    found = narrowest(wire.alphabet.lo, wire.alphabet.hi)
    if found.itemsize >= least and (least == 1 or found.kind == "i"):
        return found
    return np.dtype(np.int32) if wire.alphabet.hi < 2**31 and wire.alphabet.lo >= -(2**31) else np.dtype(np.int64)


def as_int64(values: Mapping[str, IntArray]) -> dict[str, Array]:
    """C-contiguous int64 arrays."""
    return {name: np.ascontiguousarray(value, dtype=np.int64) for name, value in values.items()}


__all__ = ["Program", "Type", "cores", "narrowest"]
