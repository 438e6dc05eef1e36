"""Machines as sums and curves: each operation by linear ones and by functions of one element.

What is decided about a machine is decided about its lowered form, in which only `Staircase`, `Clamp` and `Shift` to the
right are not linear, and each of their elements depends on one element of the operand. `Machine.run` of both is equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import product

import numpy as np

from ...machine import Builder, Codes, InputError, IntArray, Levels, Machine, Wire, ZahlenError
from ...machine import operations as op
from ...machine.ranges import fits
from ...machine.rewriting.names import Names

MAX_STEPS = 1 << 16
"""Most steps of a staircase that stands for a product of two wires or a table of two operands."""

LINEAR = (op.Affine, op.Conv, op.SumPool, op.Sum, op.Add, op.Sub, op.Neg, op.Reshape, op.Concat, op.Slice, op.Transpose)
CURVES = (op.Staircase, op.Clamp, op.Shift)


@dataclass
class Lowering:
    """Where the wires of a lowered machine are collected.

    Attributes
    ----------
    builder : Builder
    names : Names
    also : dict
        For wires of the lowered machine an operation that gives the same values, and its operands: its range may be
        the narrower one.
    """

    builder: Builder = field(default_factory=Builder)
    names: Names = field(default_factory=lambda: Names([]))
    also: dict[str, tuple[op.Operation, tuple[str, ...]]] = field(default_factory=dict)

    def add(self, operation: op.Operation, *operands: Wire, stem: str | None = None) -> Wire:
        """One more wire."""
        return self.builder.append(operation, *operands, name=self.names.fresh(stem or operation.kind, ""))

    def same(self, wire: Wire, operation: op.Operation, *operands: Wire) -> Wire:
        """Note that an operation has the same values as a wire."""
        self.also[wire.name] = operation, tuple(x.name for x in operands)
        return wire

    def inputs(self, machine: Machine) -> dict[str, Wire]:
        """The inputs of a machine; elements of structures are numbered."""
        found = {}
        for name in machine.inputs:
            alphabet = machine.wires[name].alphabet
            levels = Levels(0, alphabet.hi) if isinstance(alphabet, Codes) else alphabet
            found[name] = self.add(op.Input(machine.wires[name].shape, levels), stem=name)
        return found

    def copy(self, machine: Machine, given: Mapping[str, Wire], wanted: list[str]) -> dict[str, Wire]:
        """Lower the wires of a machine that some of them depend on.

        Parameters
        ----------
        machine : Machine
            One without registers.
        given : mapping of str to Wire
            What stands for its inputs.
        wanted : list of str

        Returns
        -------
        dict of str to Wire
            For each wire of the machine the one with the same values.

        Raises
        ------
        InputError
            If a wire cannot be lowered.
        """
        wires = dict(given)
        used = machine.last_uses(wanted)
        for wire in machine.wires.values():
            if wire.name in wires or wire.name not in used:
                continue
            if isinstance(wire.operation, op.Register):
                raise InputError(
                    f"{wire.name}: registers keep values from step to step, which is not verified; "
                    "take machine.unrolled(steps)"
                )
            if wire.range.constant().all() and fits(wire.range.hull()):
                value = np.array(wire.range.lo)
                wires[wire.name] = self.add(op.Constant(None, value), stem=wire.name)
                continue
            try:
                wires[wire.name] = lowered(wire.operation, self, *(wires[x] for x in wire.operands))
            except ZahlenError as error:
                raise InputError(f"{wire.name}: {error}") from None
        return wires

    # ------------------------------------------------------------------------------------------------ parts

    def scaled(self, x: Wire, factor: int) -> Wire:
        """Every element times a factor."""
        if factor == 1:
            return x
        return self.add(op.Mul(), x, self.add(op.Constant(None, np.full(x.shape, factor))))

    def greatest(self, x: Wire, y: Wire) -> Wire:
        """max(x, y) = y + max(x - y, 0)."""
        difference = self.add(op.Sub(), x, y)
        rest = self.add(op.Clamp(0, max(0, difference.range.hull()[1])), difference)
        return self.same(self.add(op.Add(), y, rest), op.Max(), x, y)

    def least(self, x: Wire, y: Wire) -> Wire:
        """min(x, y) = y - max(y - x, 0)."""
        difference = self.add(op.Sub(), y, x)
        rest = self.add(op.Clamp(0, max(0, difference.range.hull()[1])), difference)
        return self.same(self.add(op.Sub(), y, rest), op.Min(), x, y)

    def tournament(self, xs: list[Wire], winner: Callable[[Wire, Wire], Wire]) -> Wire:
        """All combined in pairs, pairs of pairs, .."""
        while len(xs) > 1:
            rest = xs[len(xs) // 2 * 2 :]
            xs = [winner(a, b) for a, b in zip(xs[::2], xs[1::2])] + rest
        return xs[0]

    def table(self, x: Wire, base: int, step: int, values: IntArray) -> Wire:
        """values[(x - base) / step] as a staircase."""
        thresholds = [base + step * k for k in range(1, len(values))]
        if not thresholds:
            return self.add(op.Constant(None, np.full(x.shape, values[0])))
        return self.add(op.Staircase(0, np.array(thresholds, dtype=object), values), x)

    def argmax(self, x: Wire) -> Wire:
        """The index of the greatest element along the last axis."""
        return lowered(op.Argmax(-1), self, x)

    def reshaped(self, x: Wire, shape: tuple[int, ...]) -> Wire:
        """The same elements in another shape."""
        return x if x.shape == shape else self.add(op.Reshape(shape), x)


def lowered_machine(machine: Machine) -> Machine:
    """A machine with the same outputs, all of it sums and curves.

    Examples
    --------
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 3))
    >>> machine = b.build(b.max(b.slice(x, [0], [1]), b.slice(x, [1], [2]), name="top"))
    >>> [wire.operation.kind for wire in lowered_machine(machine).wires.values()]
    ['input', 'slice', 'slice', 'sub', 'clamp', 'add']
    """
    to = Lowering()
    wires = to.copy(machine, to.inputs(machine), list(machine.outputs))
    return to.builder.build(*dict.fromkeys(wires[name].name for name in machine.outputs))


@singledispatch
def lowered(operation: op.Operation, to: Lowering, *xs: Wire) -> Wire:
    """The wire that stands for an operation on lowered operands."""
    if isinstance(operation, (*LINEAR, *CURVES)):
        return to.add(operation, *xs)
    if isinstance(operation, op.Constant):
        return to.add(op.Constant(None, operation.value))
    raise InputError(f"{operation.kind} is not verified; use another operation")


@lowered.register
def _(operation: op.Max, to: Lowering, x: Wire, y: Wire) -> Wire:
    return to.greatest(x, y)


@lowered.register
def _(operation: op.Min, to: Lowering, x: Wire, y: Wire) -> Wire:
    return to.least(x, y)


@lowered.register
def _(operation: op.MaxPool, to: Lowering, x: Wire) -> Wire:
    n, padded = len(operation.size), x
    for k, (before, after) in enumerate(operation.padding):
        axis = len(x.shape) - n + k
        parts = [padded]
        for count, place in ((before, 0), (after, len(parts) + 1)):
            if count:
                shape = (*padded.shape[:axis], count, *padded.shape[axis + 1 :])
                # the least value of all is never greater than what stands in the window
                parts.insert(place, to.add(op.Constant(None, np.full(shape, x.range.hull()[0]))))
        padded = to.add(op.Concat(axis), *parts) if len(parts) > 1 else padded
    lead = len(x.shape) - n
    taps = []
    for offset in product(*map(range, operation.size)):
        counts = [(d - s) // j + 1 for d, s, j in zip(padded.shape[lead:], operation.size, operation.stride)]
        stop = [o + (c - 1) * j + 1 for o, c, j in zip(offset, counts, operation.stride)]
        taps.append(
            to.add(
                op.Slice((0,) * lead + offset, (*x.shape[:lead], *stop), (1,) * lead + operation.stride),
                padded,
            )
        )
    return to.same(to.tournament(taps, to.greatest), operation, x)


@lowered.register
def _(operation: op.Mul, to: Lowering, x: Wire, y: Wire) -> Wire:
    """As floor((x + y)^2 / 4) - floor((x - y)^2 / 4), unless one of them is constant."""
    if isinstance(x.operation, op.Constant) or isinstance(y.operation, op.Constant):
        return to.add(op.Mul(), x, y)
    squares = []
    for kind in (op.Add(), op.Sub()):
        z = to.add(kind, x, y)
        lo, hi = z.range.hull()
        if hi - lo >= MAX_STEPS:
            raise InputError(
                f"the product of two wires that change, in {x.alphabet} and {y.alphabet}, is a table of more than "
                f"{MAX_STEPS:,} entries; clamp or shift them before"
            )
        step = z.range.step
        values = np.array([v * v // 4 for v in range(lo, hi + 1, step)], dtype=object)
        squares.append(to.table(z, lo, step, values))
    return to.same(to.add(op.Sub(), *squares), operation, x, y)


@lowered.register
def _(operation: op.Lookup, to: Lowering, *xs: Wire) -> Wire:
    if len(xs) == 1:
        return to.table(xs[0], operation.base[0], operation.step[0], operation.table)
    if operation.table.size > MAX_STEPS:
        raise InputError(f"a table of {operation.table.size:,} entries is more than {MAX_STEPS:,}; make it smaller")
    # s t (i n + j) for the indices i, j, which counts through the table row by row
    (first, second), (s, t), n = operation.base, operation.step, operation.table.shape[1]
    index = to.add(op.Add(), to.scaled(xs[0], n * t), to.scaled(xs[1], s))
    return to.table(index, first * n * t + second * s, s * t, operation.table.ravel())


@lowered.register
def _(operation: op.Embed, to: Lowering, x: Wire) -> Wire:
    symbols, width = operation.table.shape
    columns = to.reshaped(x, (*x.shape, 1))
    columns = to.add(op.Affine(np.ones((width, 1), dtype=np.int64), np.zeros(width, dtype=np.int64)), columns)
    if symbols == 1:
        return to.add(op.Constant(None, np.broadcast_to(operation.table[0], columns.shape)))
    thresholds = np.broadcast_to(np.arange(1, symbols), (width, symbols - 1))
    return to.add(op.Staircase(len(x.shape), thresholds, operation.table.T), columns)


@lowered.register
def _(operation: op.Argmax, to: Lowering, x: Wire) -> Wire:
    """The sum of k times whether index k is the maximum: x_k - x_j >= [j < k] for all of the n - 1 other j."""
    axis, axes = operation.axis % len(x.shape), len(x.shape)
    n, shape = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    if n == 1:
        return to.add(op.Constant(None, np.zeros(shape, dtype=np.int64)))
    if axis != axes - 1:
        x = to.add(op.Transpose((*range(axis), *range(axis + 1, axes), axis)), x)
    pairs = [(k, j) for k in range(n) for j in range(n) if j != k]
    weight = np.zeros((len(pairs), n), dtype=np.int64)
    for row, (k, j) in enumerate(pairs):
        weight[row, k], weight[row, j] = 1, -1
    differences = to.add(op.Affine(weight, -np.array([int(j < k) for k, j in pairs])), x)
    wins = to.reshaped(to.add(op.Staircase(0, np.array([0]), np.array([0, 1])), differences), (*shape, n, n - 1))
    chosen = to.add(op.Staircase(0, np.array([n - 1]), np.array([0, 1])), to.add(op.Sum((axes,)), wins))
    index = to.add(op.Affine(np.arange(n)[None], np.array([0])), chosen)
    return to.reshaped(index, shape)
