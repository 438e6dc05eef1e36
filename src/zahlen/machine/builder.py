"""The builder: the one way to make a machine. Every step infers shape and range, and refuses what is not proven."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np

from . import operations as op
from .alphabets import MAX_BITS, Alphabet, Codes, IntArray, Levels, bits
from .errors import AlphabetError, MachineError, RangeError, ShapeError, ZahlenError
from .machine import Machine, Wire
from .ranges import DOUBLE, Interval, fits, result_range, workspace
from .shapes import Shape, padded_size, result_shape, work

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
MAX_ELEMENTS = 2**26
"""Most elements that the wires of one sample may have together: their range proofs take 16 bytes each."""
MAX_WORK = 2**42
"""Most multiply-adds of one step: the range proofs take four times as many."""
OBJECT = 32
"""How many times more memory an element takes where it is a Python integer."""

Operand = Wire | str
Pool = TypeVar("Pool", op.MaxPool, op.SumPool)

_CODED = (op.Input, op.Register, op.Constant, op.Lookup, op.Reshape, op.Concat, op.Slice, op.Transpose, op.Embed)


class Builder:
    """Collects wires in the order of computation and proves each one's shape and range as it comes.

    Every method that adds a wire takes an optional `name` (by default the operation's, numbered) and returns the
    `Wire`, whose `shape`, `range` and `alphabet` may be looked at. Operands are wires or their names.

    Parameters
    ----------
    max_elements : int
        Most elements that all wires of one sample may have together.
    max_work : int
        Most that the range proofs may take together, in multiply-adds of one step.

    Examples
    --------
    A counter modulo 3, advanced by its input:

    >>> b = Builder()
    >>> x = b.input("x", (1,), Levels(0, 1))
    >>> count = b.register("count", (1,), Levels(0, 2))
    >>> total = b.add(count, x)
    >>> following = b.lookup(total, [0, 1, 2, 0])
    >>> b.connect(count, following)
    >>> machine = b.build(following)
    >>> machine.run([[[1], [1], [1], [0], [1]]]).ravel().tolist()
    [1, 2, 0, 0, 1]
    """

    def __init__(self, max_elements: int = MAX_ELEMENTS, max_work: int = MAX_WORK) -> None:
        self._wires: dict[str, Wire] = {}
        self._numbers: dict[str, int] = {}
        self._successors: dict[str, str] = {}
        self._max_elements = self._elements_left = max_elements
        self._max_work = self._work_left = max_work

    # ------------------------------------------------------------------------------------------------ the core

    def append(self, operation: op.Operation, *operands: Operand, name: str | None = None) -> Wire:
        """Add any operation.

        Raises
        ------
        MachineError
            If a name is taken or unfit, an operand unknown, or an operand too many.
        ShapeError, AlphabetError, RangeError
            If shapes disagree, values leave where they must stay, or a range needs more than `MAX_BITS` bits.
        """
        return self._add(name, operation.kind, lambda: operation, *operands)

    def _add(self, name: str | None, kind: str, make: Callable[[], op.Operation], *operands: Operand) -> Wire:
        """Add the operation that `make` returns; every refusal, its own too, names the wire."""
        name = self._fresh(kind) if name is None else name
        try:
            wire = self._prove(name, make(), tuple(self._known(operand) for operand in operands))
        except ZahlenError as error:
            raise type(error)(f"wire {name!r}: {error}") from None
        self._wires[name] = wire
        return wire

    def connect(self, register: Operand, successor: Operand) -> None:
        """Let a register take the successor's value at the end of each step.

        Raises
        ------
        RangeError
            If what the successor can reach is not inside the register's alphabet.
        """
        target, source = self._known(register), self._known(successor)
        if not isinstance(target.operation, op.Register):
            raise MachineError(f"wire {target.name!r} is no register")
        if target.name in self._successors:
            raise MachineError(f"register {target.name!r} is connected already")
        if target.shape != source.shape:
            raise ShapeError(f"register {target.name!r} has shape {target.shape}, {source.name!r} has {source.shape}")
        if isinstance(target.alphabet, Codes) or isinstance(source.alphabet, Codes):
            if target.alphabet != source.alphabet:
                raise AlphabetError(f"register {target.name!r} holds {target.alphabet}, not {source.alphabet}")
        elif not source.range.within(target.alphabet):
            raise RangeError(
                f"register {target.name!r} holds {target.alphabet}, but {source.name!r} can reach {source.alphabet}; "
                "clamp it, or declare the register wider"
            )
        self._successors[target.name] = source.name

    def build(self, *outputs: Operand, notes: Mapping[str, Any] | None = None) -> Machine:
        """The machine with these wires as outputs.

        Raises
        ------
        MachineError
            If there is no output, neither an input nor a register, or a register without a successor.
        """
        names = tuple(self._known(output).name for output in outputs)
        if not names or len(set(names)) != len(names):
            raise MachineError("a machine needs at least one output, and none twice")
        if not any(isinstance(w.operation, (op.Input, op.Register)) for w in self._wires.values()):
            raise MachineError("a machine needs an input or a register")
        loose = [
            w.name
            for w in self._wires.values()
            if isinstance(w.operation, op.Register) and w.name not in self._successors
        ]
        if loose:
            raise MachineError(f"register {loose[0]!r} has no successor; connect it")
        successors = {name: self._successors[name] for name in self._wires if name in self._successors}
        return Machine(self._wires, names, successors, notes or {})

    def _known(self, operand: Operand) -> Wire:
        name = operand.name if isinstance(operand, Wire) else operand
        wire = self._wires.get(name) if isinstance(name, str) else None
        if wire is None or (isinstance(operand, Wire) and operand is not wire):
            raise MachineError(f"unknown operand {name!r}; operands come before what reads them, from the same builder")
        return wire

    def _fresh(self, stem: str) -> str:
        number = self._numbers.get(stem, 1)
        while f"{stem}_{number}" in self._wires:
            number += 1
        self._numbers[stem] = number  # those below stay taken
        return f"{stem}_{number}"

    def _prove(self, name: str, operation: op.Operation, operands: tuple[Wire, ...]) -> Wire:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise MachineError("a name is a letter, then at most 63 letters, digits or underscores")
        if name in self._wires:
            raise MachineError("the name is taken")
        if operation.operands != len(operands) and (operation.operands is not None or not operands):
            raise MachineError(f"{operation.kind} takes {operation.operands or 'some'} operands, got {len(operands)}")
        shape = result_shape(operation, *(wire.shape for wire in operands))
        coded = _coded_alphabet(operation, operands)
        ranges = tuple(wire.range for wire in operands)
        _check_domain(operation, operands)
        space = workspace(operation, *ranges)
        if bits(*space) > MAX_BITS:
            raise RangeError(
                f"{operation.kind} would need {bits(*space)} bits, more than {MAX_BITS}; clamp or shift before"
            )
        self._charge(operation, shape, operands, space)
        proven = result_range(operation, *ranges)
        return Wire(name, operation, tuple(w.name for w in operands), shape, proven, coded or proven.levels(), space)

    def _charge(self, operation: op.Operation, shape: Shape, operands: tuple[Wire, ...], space: Interval) -> None:
        """Count what a range proof will take before it is made, so that a small lie cannot cost much."""
        elements = max(prod(shape), padded_size(operation, *(wire.shape for wire in operands)))
        elements *= 1 if fits(space) else OBJECT
        steps = work(operation, shape) * (1 if fits(space, DOUBLE) else 32 if fits(space) else 1024)
        if elements > self._elements_left:
            needed = self._max_elements - self._elements_left + elements
            raise ShapeError(
                f"{elements:,} elements more exceed the limit of {self._max_elements:,} per sample; "
                f"raise max_elements to {needed:,} or more if they are meant"
            )
        if steps > self._work_left:
            needed = self._max_work - self._work_left + steps
            raise RangeError(
                f"the range proofs of this machine would take more than {self._max_work:,} steps; "
                f"raise max_work to {needed:,} or more if it is meant"
            )
        self._elements_left -= elements
        self._work_left -= steps

    # ------------------------------------------------------------------------------------------------ sources

    def input(self, name: str, shape: Sequence[int], alphabet: Alphabet) -> Wire:
        """A value of this shape from outside; see `operations.Input`."""
        return self._add(name, "input", lambda: op.Input(_tuple(shape), alphabet))

    def register(self, name: str, shape: Sequence[int], alphabet: Alphabet, initial: Any = None) -> Wire:
        """A value kept from the step before; starts at `initial` (an array, or one integer for all elements).

        By default it starts at 0 if the alphabet has it, else at the least element. `connect` it later.
        """

        def make() -> op.Register:
            like = op.Input(_tuple(shape), alphabet)
            start = (0 if 0 in alphabet else alphabet.lo) if initial is None else initial
            array = op.integers(start, "register: initial")
            if array.ndim == 0:
                array = np.full(like.shape, array)
            if array.shape != like.shape:
                raise ShapeError(f"a register of shape {like.shape} cannot start at a value of shape {array.shape}")
            return op.Register(alphabet, array)

        return self._add(name, "register", make)

    def constant(self, value: Any, alphabet: Alphabet | None = None, *, name: str | None = None) -> Wire:
        """The same value at every step; see `operations.Constant`."""
        return self._add(name, "constant", lambda: op.Constant(alphabet, value))

    # ------------------------------------------------------------------------------------------------ affine maps

    def affine(self, x: Operand, weight: Any, bias: Any = None, *, name: str | None = None) -> Wire:
        """Z = W x + b along the last axis: `weight` (out, in), `bias` (out,), zero by default."""
        return self._add(name, "affine", lambda: op.Affine(*_with_bias(weight, bias)), x)

    def conv(
        self,
        x: Operand,
        weight: Any,
        bias: Any = None,
        *,
        stride: Sequence[int] | int = 1,
        padding: Sequence[Any] | int = 0,
        dilation: Sequence[int] | int = 1,
        groups: int = 1,
        name: str | None = None,
    ) -> Wire:
        """Cross-correlation over one or two spatial axes; see `operations.Conv`.

        `padding` is one integer, one per axis, or a pair (before, after) per axis.
        """

        def make() -> op.Conv:
            rows, offsets = _with_bias(weight, bias)
            n = rows.ndim - 2
            pad = _per_axis_pairs(padding, n)
            return op.Conv(_per_axis(stride, n), pad, _per_axis(dilation, n), groups, rows, offsets)

        return self._add(name, "conv", make, x)

    # ------------------------------------------------------------------------------------------------ tables

    def staircase(self, x: Operand, thresholds: Any, values: Any, *, axis: int = 0, name: str | None = None) -> Wire:
        """Y = v[number of j with t_j <= x]; rows of `thresholds` and `values` belong to channels along `axis`."""
        return self._add(name, "staircase", lambda: op.Staircase(axis, thresholds, values), x)

    def lookup(
        self, *xs: Operand, table: Any = None, alphabet: Alphabet | None = None, name: str | None = None
    ) -> Wire:
        """Y = table[x] or table[x1, x2], indexed by the elements of the operands' alphabets in their order.

        The table may stand last: ``lookup(x, [..])``. The result's alphabet is `alphabet` or the levels in the table.
        """
        operands, entries = (xs[:-1], xs[-1]) if table is None and xs else (xs, table)

        def make() -> op.Lookup:
            alphabets = [self._known(x).alphabet for x in operands]
            array = op.integers(entries, "lookup: table")
            if array.shape != tuple(a.size for a in alphabets):
                raise ShapeError(
                    f"lookup: a table of shape {tuple(a.size for a in alphabets)} is due for operands in "
                    f"{' and '.join(map(str, alphabets)) or 'nothing'}, got {array.shape}"
                )
            return op.Lookup(tuple(a.lo for a in alphabets), tuple(a.step for a in alphabets), alphabet, array)

        return self._add(name, "lookup", make, *operands)

    def embed(self, x: Operand, table: Any, *, name: str | None = None) -> Wire:
        """A row of `table` (symbols, width) per symbol: the shape gets one more axis of `width`."""
        return self._add(name, "embed", lambda: op.Embed(table), x)

    # ------------------------------------------------------------------------------------------------ elementwise

    def add(self, x: Operand, y: Operand, *, name: str | None = None) -> Wire:
        """X + y."""
        return self._add(name, "add", lambda: op.Add(), x, y)

    def sub(self, x: Operand, y: Operand, *, name: str | None = None) -> Wire:
        """X - y."""
        return self._add(name, "sub", lambda: op.Sub(), x, y)

    def mul(self, x: Operand, y: Operand, *, name: str | None = None) -> Wire:
        """X y."""
        return self._add(name, "mul", lambda: op.Mul(), x, y)

    def min(self, x: Operand, y: Operand, *, name: str | None = None) -> Wire:
        """The lesser of the two."""
        return self._add(name, "min", lambda: op.Min(), x, y)

    def max(self, x: Operand, y: Operand, *, name: str | None = None) -> Wire:
        """The greater of the two."""
        return self._add(name, "max", lambda: op.Max(), x, y)

    def neg(self, x: Operand, *, name: str | None = None) -> Wire:
        """-x."""
        return self._add(name, "neg", lambda: op.Neg(), x)

    def clamp(self, x: Operand, lo: int, hi: int, *, name: str | None = None) -> Wire:
        """min(max(x, lo), hi)."""
        return self._add(name, "clamp", lambda: op.Clamp(lo, hi), x)

    def shift(self, x: Operand, bits: int, rounding: str = "floor", *, name: str | None = None) -> Wire:
        """X >> bits with ``floor`` or ``half_up`` rounding; negative `bits` multiply by 2^-bits."""
        return self._add(name, "shift", lambda: op.Shift(bits, rounding), x)

    # ------------------------------------------------------------------------------------------------ reductions

    def maxpool(
        self,
        x: Operand,
        size: Sequence[int],
        stride: Sequence[int] | None = None,
        padding: Any = 0,
        *,
        name: str | None = None,
    ) -> Wire:
        """Maximum over windows of the last one or two axes; `stride` is `size` by default."""
        return self._add(name, "maxpool", lambda: _pool(op.MaxPool, size, stride, padding), x)

    def sumpool(
        self,
        x: Operand,
        size: Sequence[int],
        stride: Sequence[int] | None = None,
        padding: Any = 0,
        *,
        name: str | None = None,
    ) -> Wire:
        """Sum over windows of the last one or two axes; `stride` is `size` by default."""
        return self._add(name, "sumpool", lambda: _pool(op.SumPool, size, stride, padding), x)

    def sum(self, x: Operand, axes: Sequence[int], *, name: str | None = None) -> Wire:
        """Sum over axes, which go."""
        return self._add(name, "sum", lambda: op.Sum(_tuple(axes)), x)

    def argmax(self, x: Operand, axis: int = -1, *, name: str | None = None) -> Wire:
        """Index of the maximum along an axis; the lowest among equals."""
        return self._add(name, "argmax", lambda: op.Argmax(axis), x)

    # ------------------------------------------------------------------------------------------------ no arithmetic

    def reshape(self, x: Operand, shape: Sequence[int], *, name: str | None = None) -> Wire:
        """The same elements in row-major order."""
        return self._add(name, "reshape", lambda: op.Reshape(_tuple(shape)), x)

    def concat(self, *xs: Operand, axis: int = 0, name: str | None = None) -> Wire:
        """The operands one behind the other."""
        return self._add(name, "concat", lambda: op.Concat(axis), *xs)

    def slice(
        self,
        x: Operand,
        start: Sequence[int],
        stop: Sequence[int],
        step: Sequence[int] | None = None,
        *,
        name: str | None = None,
    ) -> Wire:
        """Elements start, start + step, .. below stop of each axis."""
        return self._add(
            name,
            "slice",
            lambda: op.Slice(_tuple(start), _tuple(stop), _per_axis(1 if step is None else step, np.size(start))),
            x,
        )

    def transpose(self, x: Operand, axes: Sequence[int], *, name: str | None = None) -> Wire:
        """Axes in another order."""
        return self._add(name, "transpose", lambda: op.Transpose(_tuple(axes)), x)


def _with_bias(weight: Any, bias: Any) -> tuple[IntArray, IntArray]:
    rows = op.integers(weight, "weight")
    return rows, op.integers(np.zeros(rows.shape[:1], dtype=np.int64) if bias is None else bias, "bias")


def _pool(kind: type[Pool], size: Any, stride: Any, padding: Any) -> Pool:
    size = _tuple(size)
    n = len(size) if isinstance(size, tuple) else 0
    return kind(size, size if stride is None else _per_axis(stride, n), _per_axis_pairs(padding, n))


def _per_axis(value: Sequence[int] | int, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, (int, np.integer)) else _tuple(value)


def _per_axis_pairs(value: Any, n: int) -> op.Pairs:
    return tuple((v, v) if isinstance(v, (int, np.integer)) else v for v in _per_axis(value, n))


def _tuple(value: Any) -> Any:
    """A tuple of what is a sequence of some kind; the operation's own check refuses what is none."""
    return tuple(value) if isinstance(value, Iterable) else value


def _coded_alphabet(operation: op.Operation, operands: tuple[Wire, ...]) -> Alphabet | None:
    """The coded alphabet of the result, if it has one; arithmetic on codes is refused."""
    codes = [wire.alphabet for wire in operands if isinstance(wire.alphabet, Codes)]
    if codes and not isinstance(operation, _CODED):
        raise AlphabetError(f"{operation.kind} needs numbers, got {codes[0]}; combine codes with lookup")
    if isinstance(operation, (op.Input, op.Register, op.Constant, op.Lookup)):
        return operation.alphabet if isinstance(operation.alphabet, Codes) else None
    if isinstance(operation, op.Embed) or not codes:
        return None
    if any(wire.alphabet != codes[0] for wire in operands):
        raise AlphabetError(f"{operation.kind} of different alphabets: {', '.join(str(w.alphabet) for w in operands)}")
    return codes[0]


def _check_domain(operation: op.Operation, operands: tuple[Wire, ...]) -> None:
    domains: list[Levels] = []
    if isinstance(operation, op.Embed):
        domains = [Levels(0, len(operation.table) - 1)]
    elif isinstance(operation, op.Lookup):
        domains = [operation.domain(k) for k in range(operation.table.ndim)]
    for wire, domain in zip(operands, domains):
        if not wire.range.within(domain):
            raise RangeError(
                f"{operation.kind} has entries for {domain}, but {wire.name!r} can reach {wire.alphabet}; "
                "clamp it, or make the table larger"
            )
