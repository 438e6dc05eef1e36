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


def cores() -> int:
    """How many threads a large batch is divided among: ``ZAHLEN_THREADS``, or as many as this process may use."""
    wanted = os.environ.get("ZAHLEN_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
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
        self.machine, self.wanted = machine, machine.outputs if wanted is None else wanted
        self.threads = threads
        planner = Planner(machine, self.wanted, native.any_dot8())
        planner.run()
        words, data, self.sizes = planner.encode()
        self.instructions: list[Instruction] = planner.instructions
        self._packed = native.program(words, data)
        self.input_dtypes = {name: _dtype(machine.wires[name]) for name in machine.inputs}
        self.output_dtypes = {name: _dtype(machine.wires[name], 4) for name in self.wanted}
        self._kept: Array | None = None
        self._batch = 0
        self._bound: tuple[Array, Array, Callable[[], bool]] | None = None

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """Of the only input, the narrowest."""
        (dtype,) = self.input_dtypes.values()
        return dtype

    def empty(self, batch: int, steps: int | None = None) -> Array:
        """Room for the only output of a batch, with `steps` of so many times: int32, or int64 where that is due."""
        (name,) = self.wanted
        time = () if steps is None else (steps,)
        return np.empty((batch, *time, *self.machine.wires[name].shape), dtype=self.output_dtypes[name])

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
        m = self.machine
        assert native is not None
        fine: bool = native.execute(
            self._packed,
            tuple(inputs[name] for name in m.inputs),
            tuple(outputs[name] for name in self.wanted),
            None if states is None else tuple(states[name] for name in m.registers),
            None if following is None else tuple(following[name] for name in m.registers),
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

        The same two arrays again cost little more than the kernels themselves.

        Raises
        ------
        InputError
            If a value is outside the input's alphabet.
        """
        bound = self._bound
        if bound is None or bound[0] is not x or bound[1] is not out:
            bound = self._bound = (x, out, self.bind(x, out))
        if not bound[2]():
            self.refuse({self.machine.inputs[0]: x})

    def bind(self, x: Array, out: Array, *, stream: bool = False) -> Callable[[], bool]:
        """A call that maps what x holds by then to `out`; it returns False if a value is outside the alphabet."""
        assert native is not None
        time = bool(self.machine.registers) and not stream
        times = x.shape[1] if time else 1
        kept = self._kept if stream else None
        if stream and (kept is None or self._batch != len(x)):
            self.reset(len(x))
            kept = self._kept
        call: Callable[[], bool] = native.bind(
            self._packed, (x,), (out,), None, None, kept, len(x), times, self.division(len(x) * times)
        )
        return call

    def reset(self, batch: int = 1) -> None:
        """Begin streams of a batch anew, from the initial state."""
        assert native is not None
        self._kept = np.zeros(self.sizes["state"] * batch + 512, dtype=np.uint8)
        self._batch = batch
        self._bound = None
        native.reset(self._packed, self._kept, batch)

    def step_into(self, x: Array, out: Array) -> None:
        """One step of the streams that `reset` began: x is (batch, *shape), and the state goes on."""
        bound = self._bound
        if bound is None or bound[0] is not x or bound[1] is not out:
            bound = self._bound = (x, out, self.bind(x, out, stream=True))
        if not bound[2]():
            self.refuse({self.machine.inputs[0]: x})

    def refuse(self, inputs: Mapping[str, Any]) -> None:
        """Say which value is outside its alphabet."""
        for name, x in inputs.items():
            alphabet, array = self.machine.wires[name].alphabet, np.asarray(x)
            if not alphabet.contains_all(array.astype(object) if array.dtype == np.uint64 else array.astype(np.int64)):
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
