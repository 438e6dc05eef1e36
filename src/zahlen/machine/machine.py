"""The machine: a straight-line integer program over wires, and registers that keep state between steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import executors
from . import operations as op
from .alphabets import Alphabet, IntArray, bits, integer_array
from .errors import InputError, MachineError
from .ranges import Range, fits

if TYPE_CHECKING:
    from .rewriting import BlockMap

CHUNK_BYTES = 1 << 27
"""How much memory the wires of one chunk of a batch may take in `run`."""

ArrayLike = Any


@dataclass(frozen=True, eq=False)
class Wire:
    """A named value of a machine: its operation, the wires that it reads, and what is proven about it.

    Attributes
    ----------
    name : str
    operation : Operation
    operands : tuple of str
        Names of the wires that the operation reads.
    shape : tuple of int
        Shape of one sample.
    range : Range
        An interval for every element.
    alphabet : Alphabet
        The least set of the kind that holds every element.
    workspace : (int, int)
        An interval for every intermediate value of the operation, in whichever order it sums.
    """

    name: str
    operation: op.Operation
    operands: tuple[str, ...]
    shape: tuple[int, ...]
    range: Range
    alphabet: Alphabet
    workspace: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of elements of one sample."""
        return prod(self.shape)

    @property
    def bits(self) -> int:
        """Width of the smallest two's complement type that holds every element."""
        return bits(self.alphabet.lo, self.alphabet.hi)

    @property
    def dtype(self) -> np.dtype[Any]:
        """int64, or object where an intermediate value may need more."""
        return np.dtype(np.int64 if fits(self.workspace) else object)

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """int64, or object where the values themselves may need more."""
        return np.dtype(np.int64 if fits((self.alphabet.lo, self.alphabet.hi)) else object)


@dataclass(frozen=True, eq=False)
class Machine:
    """A finite, synchronous dynamical system: ``state', output = step(state, input)``.

    Made by a `Builder`, by `zahlen.load`, or by the ``machine()`` method of a network; never changed afterwards.

    Attributes
    ----------
    wires : mapping of str to Wire
        In the order of computation.
    outputs : tuple of str
    successors : mapping of str to str
        For each register the wire whose value it takes at the end of a step.
    notes : mapping of str to JSON values
        Remarks kept in the file (class names, data set, seed). They are no part of the function, nor of the hash.

    Examples
    --------
    >>> import numpy as np
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 3))
    >>> z = b.affine(x, [[1, -1]], [0], name="z")
    >>> machine = b.build(b.staircase(z, [0], [-1, 1], name="sign"))
    >>> machine.run(np.array([[3, 1], [0, 2]]))
    array([[ 1],
           [-1]])
    >>> print(machine)
    x -> sign, 1 step of 2 multiply-adds, 6 constants, no state
      x     2 of 0..3          input
      z     1 of -3..3         affine(x)     weight 1x2 in -1..1, bias 1 in 0..0
      sign  1 of -1..1 step 2  staircase(z)  axis 0, thresholds 1 in 0..0, values 2 in -1..1
    """

    wires: Mapping[str, Wire]
    outputs: tuple[str, ...]
    successors: Mapping[str, str]
    notes: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("wires", "successors", "notes"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    # ------------------------------------------------------------------------------------------------ structure

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input wires."""
        return tuple(w.name for w in self.wires.values() if isinstance(w.operation, op.Input))

    @cached_property
    def registers(self) -> tuple[str, ...]:
        """Names of the registers."""
        return tuple(w.name for w in self.wires.values() if isinstance(w.operation, op.Register))

    @cached_property
    def consumers(self) -> Mapping[str, tuple[str, ...]]:
        """For each wire the wires that read it within a step."""
        readers: dict[str, list[str]] = {name: [] for name in self.wires}
        for wire in self.wires.values():
            for name in dict.fromkeys(wire.operands):
                readers[name].append(wire.name)
        return MappingProxyType({name: tuple(names) for name, names in readers.items()})

    @property
    def constants(self) -> int:
        """Number of integers in weights, thresholds and tables."""
        return sum(array.size for wire in self.wires.values() for array in wire.operation.tensors().values())

    @property
    def multiplies(self) -> int:
        """Number of multiply-adds of one step."""
        return sum(multiplies(wire) for wire in self.wires.values())

    @property
    def state_bits(self) -> int:
        """Number of bits that the registers need, each element in the fewest that hold its alphabet."""
        registers = (self.wires[name] for name in self.registers)
        return sum(w.size * (w.alphabet.size - 1).bit_length() for w in registers)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal digits: one function as written, one hash."""
        from .file import content_hash

        return content_hash(self)

    def last_uses(self, wanted: Iterable[str]) -> dict[str, str]:
        """For each wire that `wanted` depends on, the last wire that reads it (itself if none does)."""
        needed = dict.fromkeys(wanted)
        last: dict[str, str] = {}
        for wire in reversed(list(self.wires.values())):
            if wire.name in needed:
                last.setdefault(wire.name, wire.name)
                for name in wire.operands:
                    needed[name] = None
                    last.setdefault(name, wire.name)
        return last

    def __str__(self) -> str:
        from .listing import listing

        return listing(self)

    def __repr__(self) -> str:
        return f"<Machine {', '.join(self.inputs)} -> {', '.join(self.outputs)}, {len(self.wires)} wires>"

    # ------------------------------------------------------------------------------------------------ execution

    def run(
        self,
        x: ArrayLike,
        *,
        state: Mapping[str, ArrayLike] | None = None,
        return_state: bool = False,
        executor: str | None = None,
    ) -> Any:
        """Map a batch of inputs to a batch of outputs.

        Parameters
        ----------
        x : integer array (batch, *shape), or mapping of such by input name
            Elements of the input's alphabet. With registers (batch, time, *shape).
        state : mapping from register name to integer array (batch, *shape), optional
            Where every sequence starts, as `initial_state`, `step` or an earlier `run` returned it; by default from
            the initial state. Only for machines with registers.
        return_state : bool
            Whether to return the state after the last step, too: the sequences can go on from there.
        executor : str, optional
            Who computes; all return the same integers. By default the fastest that is registered.

        Returns
        -------
        int64 array (batch, *shape), with registers (batch, time, *shape); a dict of such by name if there are
        several outputs. Object arrays of Python integers where a range needs more than 64 bits. With `return_state`
        the pair (state, outputs), in the order of `step`.

        Raises
        ------
        InputError
            If the dtype is not an integer one, a shape does not fit, a value is outside its alphabet, a sequence is
            empty, the state is not one of this machine, or a state is asked of a machine that has none.
        """
        inputs = self._inputs(x, time=bool(self.registers))
        if not self.registers:
            if state is not None or return_state:
                raise InputError(
                    "this machine has no registers: it starts from no state and returns none; leave it out"
                )
            return self._outputs(self._in_chunks(inputs, executor))
        batch = _length(inputs.values())
        current = self.initial_state(batch) if state is None else self._state(state, batch if inputs else None)
        steps = next(iter(inputs.values())).shape[1] if inputs else 1
        if not steps:
            raise InputError("run: a sequence has at least one step")
        current, found = self._unroll(inputs, current, steps, executor)
        outputs = self._outputs(found)
        return (current, outputs) if return_state else outputs

    def plan(self, *, executor: str | None = None) -> str:
        """How the machine is computed here: which kernel each operation gets, and why.

        Parameters
        ----------
        executor : str, optional
            As in `run`.
        """
        explain = getattr(executors.get(executor), "explain", None)
        return explain(self) if explain is not None else "every operation by the reference interpreter"

    def step(self, state: Mapping[str, ArrayLike], x: ArrayLike, *, executor: str | None = None) -> tuple[Any, Any]:
        """One step of a batch: ``state', output = step(state, input)``.

        Parameters
        ----------
        state : mapping from register name to integer array (batch, *shape)
            As `initial_state` or an earlier step returned it.
        x : integer array (batch, *shape), or mapping of such by input name

        Returns
        -------
        (state, output)
            The next state, and the output as from `run`.
        """
        inputs = self._inputs(x)
        current = self._state(state, _length(inputs.values()) if inputs else None)
        result = self._evaluate(inputs, current, self._step_wires, executor)
        following = {name: result[successor] for name, successor in self.successors.items()}
        return following, self._outputs({name: result[name] for name in self.outputs})

    def trace(
        self, x: ArrayLike, state: Mapping[str, ArrayLike] | None = None, *, executor: str | None = None
    ) -> dict[str, IntArray]:
        """Every wire by name, (batch, *shape), after one step from `state` (by default the initial one)."""
        inputs = self._inputs(x)
        if state is None:
            current = self.initial_state(_length(inputs.values()))
        else:
            current = self._state(state, _length(inputs.values()) if inputs else None)
        return self._evaluate(inputs, current, tuple(self.wires), executor)

    def initial_state(self, batch: int = 1) -> dict[str, IntArray]:
        """Every register's initial value, (batch, *shape)."""
        return {
            name: np.repeat(_initial(self.wires[name])[None], batch, axis=0).astype(self.wires[name].value_dtype)
            for name in self.registers
        }

    @property
    def _step_wires(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.outputs, *self.successors.values())))

    def _evaluate(
        self,
        inputs: Mapping[str, IntArray],
        state: Mapping[str, IntArray],
        wanted: tuple[str, ...],
        executor: str | None,
    ) -> dict[str, IntArray]:
        return executors.get(executor)(self, inputs, state, wanted)

    def _unroll(
        self, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], steps: int, executor: str | None
    ) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
        chosen = executors.get(executor)
        if (unroll := getattr(chosen, "unroll", None)) is not None:
            result: tuple[dict[str, IntArray], dict[str, IntArray]] | None = unroll(self, inputs, state, steps)
            if result is not None:
                return result
        taken = []
        for t in range(steps):
            values = chosen(self, {n: v[:, t] for n, v in inputs.items()}, state, self._step_wires)
            state = {name: values[successor] for name, successor in self.successors.items()}
            taken.append(values)
        return dict(state), {name: np.stack([s[name] for s in taken], axis=1) for name in self.outputs}

    def _in_chunks(self, inputs: dict[str, IntArray], executor: str | None) -> dict[str, IntArray]:
        batch = _length(inputs.values())
        sample = 8 * sum(wire.size for wire in self.wires.values())
        chunk = max(1, CHUNK_BYTES // sample)
        parts = [
            self._evaluate({n: v[i : i + chunk] for n, v in inputs.items()}, {}, self.outputs, executor)
            for i in range(0, max(batch, 1), chunk)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _outputs(self, values: dict[str, IntArray]) -> Any:
        return values[self.outputs[0]] if len(self.outputs) == 1 else values

    def _inputs(self, x: ArrayLike, time: bool = False) -> dict[str, IntArray]:
        given = dict(x) if isinstance(x, Mapping) else {self.inputs[0]: x} if len(self.inputs) == 1 else None
        if given is None or set(given) != set(self.inputs):
            raise InputError(f"inputs {', '.join(self.inputs)} are due, as a mapping from name to array")
        arrays = {name: self._elements(name, value, 2 if time else 1) for name, value in given.items()}
        if len({array.shape[: 2 if time else 1] for array in arrays.values()}) > 1:
            raise InputError("inputs differ in batch or time")
        return arrays

    def _state(self, state: Mapping[str, ArrayLike], batch: int | None) -> dict[str, IntArray]:
        due = ", ".join(f"{n} (batch, *{self.wires[n].shape}) of {self.wires[n].alphabet}" for n in self.registers)
        if not isinstance(state, Mapping) or set(state) != set(self.registers):
            names = ", ".join(self.registers) or "no entries"
            got = (
                f"one with {', '.join(map(str, state)) or 'no entries'}" if isinstance(state, Mapping) else "no mapping"
            )
            raise InputError(
                f"the state of this machine is a mapping with {names}, got {got}: the state of another machine? "
                f"Due: {due or 'an empty mapping'}"
            )
        try:
            arrays = {name: self._elements(name, value, 1) for name, value in state.items()}
        except InputError as error:
            raise InputError(f"{error}: the state of another machine? Due: {due}") from None
        if len({len(a) for a in arrays.values()} | ({batch} if batch is not None else set())) > 1:
            raise InputError("state and input differ in batch")
        return arrays

    def _elements(self, name: str, value: ArrayLike, leading: int) -> IntArray:
        wire = self.wires[name]
        try:
            array = integer_array(value)
        except ValueError as error:
            raise InputError(f"{name}: {error}; a machine never rounds its input") from None
        if array.shape[leading:] != wire.shape or array.ndim != leading + len(wire.shape):
            axes = ", ".join(("batch", "time")[:leading])
            raise InputError(f"{name}: shape ({axes}, *{wire.shape}) is due, got {array.shape}")
        if not wire.alphabet.contains_all(array):
            raise InputError(f"{name}: values are {array.min()}..{array.max()}, the alphabet is {wire.alphabet}")
        return array.astype(wire.value_dtype)

    # ------------------------------------------------------------------------------------------------ other forms

    def save(self, path: str | Path) -> None:
        """Write the machine to a file, whole or not at all."""
        from .file import save

        save(self, path)

    def simplified(self) -> Machine:
        """The same function with fewer constants: see `zahlen.machine.passes`."""
        from .passes import simplify

        return simplify(self)

    def pipelined(self) -> Machine:
        """A register behind each layer: the network as an iterated map. See `zahlen.machine.rewriting.pipelining`."""
        from .rewriting import pipelined

        return pipelined(self)

    def unrolled(self, steps: int, *, state: bool = False) -> Machine:
        """So many steps as one machine without registers. See `zahlen.machine.rewriting.unrolling`."""
        from .rewriting import unrolled

        return unrolled(self, steps, state=state)

    def as_block_map(self) -> BlockMap:
        """Which variables of a step read which. See `zahlen.machine.rewriting.block_map`."""
        from .rewriting import BlockMap

        return BlockMap.of(self)

    def annotated(self, **notes: Any) -> Machine:
        """The same machine with more notes (JSON values); the hash stays."""
        return Machine(self.wires, self.outputs, self.successors, {**self.notes, **notes})


def multiplies(wire: Wire) -> int:
    """Number of multiply-adds that a wire's operation makes for one sample."""
    if isinstance(wire.operation, (op.Affine, op.Conv)):
        return wire.size * (wire.operation.weight.size // len(wire.operation.weight))
    return wire.size if isinstance(wire.operation, op.Mul) else 0


def _initial(register: Wire) -> IntArray:
    if not isinstance(register.operation, op.Register):
        raise MachineError(f"{register.name} is no register")
    return register.operation.initial


def _length(arrays: Iterable[IntArray]) -> int:
    return next((len(array) for array in arrays), 1)
