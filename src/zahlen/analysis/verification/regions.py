"""Regions: parts of a box, with proven ends of every wire, and the bounds that hold in them.

This is the part that proofs rest on. All of it is integers: intervals, lines below and above curves put together
backwards (linear bounds, as CROWN has them, arXiv 1811.00866), and bounds from multipliers (a Lagrangian dual, as in
arXiv 1803.06567 and, for splits, beta-CROWN, arXiv 2103.06624). Weights have `SCALE` steps per 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...machine import InputError, IntArray, Range, Wire
from ...machine import operations as op
from ...machine.ranges import narrow, result_range
from .adjoint import offset, pull
from .curves import Lines, Points, least_terms, lines, points
from .exact import largest, least_sums, plus, roomy, row_sums, times
from .lowering import CURVES
from .properties import Goal

SCALE = 24
"""Weights of sums are integers in units of 2^-SCALE."""
ROWS = 256
"""How many sums are followed backwards at once."""

Weights = dict[str, IntArray]
"""For each wire the weights of its elements in some sums, (sums, *shape)."""
Multipliers = Mapping[str, IntArray]
"""For each curve what its operand weighs in the sum before it, (*shape), in units of 2^-SCALE."""


@dataclass(frozen=True)
class Split:
    """A part of a region: one element of a wire is at least, or below, a number.

    Attributes
    ----------
    wire : str
    index : int
        Of the element, in row-major order.
    at : int
    above : bool
        Whether the element is at least `at`, or below it.
    """

    wire: str
    index: int
    at: int
    above: bool

    @property
    def other(self) -> Split:
        """The rest of the region."""
        return Split(self.wire, self.index, self.at, not self.above)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a box.

    Attributes
    ----------
    ends : dict
        For each wire the least and the greatest value of every element, (*shape) each.
    """

    ends: dict[str, tuple[IntArray, IntArray]]
    _points: dict[str, Points] = field(default_factory=dict)
    _lines: dict[str, Lines] = field(default_factory=dict)

    def points(self, wire: Wire) -> Points:
        """The points of a curve in this region."""
        if wire.name not in self._points:
            self._points[wire.name] = points(wire.operation, *self.ends[wire.operands[0]])
        return self._points[wire.name]

    def lines(self, wire: Wire) -> Lines:
        """Lines below and above a curve in this region."""
        if wire.name not in self._lines:
            self._lines[wire.name] = lines(self.points(wire), *self.ends[wire.operands[0]])
        return self._lines[wire.name]


@dataclass(frozen=True, eq=False)
class Bounder:
    """What is proved about a goal.

    Parameters
    ----------
    goal : Goal
    doubles : bool
        Whether integer products may run in double precision where that is exact.
    """

    goal: Goal
    doubles: bool = True

    @cached_property
    def wires(self) -> dict[str, Wire]:
        """The wires that the goal depends on, in order."""
        used = self.goal.machine.last_uses(self.goal.machine.outputs)
        return {name: wire for name, wire in self.goal.machine.wires.items() if name in used}

    @cached_property
    def output(self) -> str:
        """The goal's wire."""
        return self.goal.machine.outputs[0]

    @cached_property
    def curves(self) -> dict[str, Wire]:
        """The wires that are curves."""
        return {name: wire for name, wire in self.wires.items() if is_curve(wire.operation)}

    @cached_property
    def mixed(self) -> set[str]:
        """Wires that intervals bound loosely: sums behind a curve or of sums."""
        depth: dict[str, int] = {}
        for name, wire in self.wires.items():
            own = isinstance(wire.operation, (op.Affine, op.Conv, op.Sum, op.SumPool, op.Add, op.Sub))
            constants = any(isinstance(self.wires[x].operation, op.Constant) for x in wire.operands)
            own = own and not constants
            depth[name] = max((depth[x] for x in wire.operands), default=0) + (own or name in self.curves)
        return {name for name, levels in depth.items() if levels > 1}

    # ------------------------------------------------------------------------------------------------ regions

    def whole(self, linear: bool = True) -> Region:
        """The box; without linear bounds by intervals alone."""
        ends: dict[str, tuple[IntArray, IntArray]] = {}
        for name, (lo, hi) in self.goal.ends.items():
            if name in self.wires:
                ends[name] = narrow(lo), narrow(hi)
        region = self._narrowed(ends, set(self.wires) - set(ends), linear)
        assert region is not None
        return region

    def part(self, region: Region, split: Split, linear: bool = True) -> Region | None:
        """A part of a region; None if it is empty.

        Raises
        ------
        InputError
            If the split names no wire that can be split.
        """
        if split.wire not in self.splittable:
            raise InputError(f"no wire {split.wire!r} to split")
        lo, hi = (end.copy() for end in region.ends[split.wire])
        if not 0 <= split.index < lo.size:
            raise InputError(f"{split.wire} has no element {split.index}")
        if split.above:
            lo.flat[split.index] = max(int(lo.flat[split.index]), split.at)
        else:
            hi.flat[split.index] = min(int(hi.flat[split.index]), split.at - 1)
        lo, hi = self._on_grid(self.wires[split.wire], lo, hi)
        if (lo > hi).any():
            return None
        return self._narrowed({**region.ends, split.wire: (lo, hi)}, self._behind(split.wire), linear, region)

    @cached_property
    def splittable(self) -> set[str]:
        """Inputs and operands of curves."""
        return {n for n, w in self.wires.items() if isinstance(w.operation, op.Input)} | {
            w.operands[0] for w in self.curves.values()
        }

    def _behind(self, name: str) -> set[str]:
        found = {name}
        for wire in self.wires.values():
            if found & set(wire.operands):
                found.add(wire.name)
        return found - {name}

    def _narrowed(
        self,
        ends: dict[str, tuple[IntArray, IntArray]],
        behind: set[str],
        linear: bool,
        before: Region | None = None,
    ) -> Region | None:
        """The region with ends found anew for some wires, or None if it is empty."""
        region = Region(dict(ends))
        if before is not None:
            kept = {n for n, w in self.curves.items() if before.ends[w.operands[0]] is ends[w.operands[0]]}
            kept = {n for n in kept if self.curves[n].operands[0] not in behind}
            region._points.update({n: p for n, p in before._points.items() if n in kept})
            region._lines.update({n: p for n, p in before._lines.items() if n in kept})
        for name, wire in self.wires.items():
            if name not in behind:
                continue
            lo, hi = self._interval(region, wire)
            if name in ends:
                lo, hi = np.asarray(np.maximum(lo, ends[name][0])), np.asarray(np.minimum(hi, ends[name][1]))
            region.ends[name] = lo, hi = self._on_grid(wire, lo, hi)
            if (lo > hi).any():
                return None
            if linear and name in self.splittable and name in self.mixed:
                lo, hi = self._on_grid(wire, *self._tightened(region, wire, lo, hi))
                if (lo > hi).any():
                    return None
                region.ends[name] = lo, hi
        return region

    def _interval(self, region: Region, wire: Wire) -> tuple[IntArray, IntArray]:
        lo, hi = self._ends_of(region, wire.operation, wire.operands, wire)
        if wire.name in self.goal.also:
            operation, operands = self.goal.also[wire.name]
            other = self._ends_of(region, operation, operands, wire)
            lo, hi = np.maximum(lo, other[0]), np.minimum(hi, other[1])
        return np.asarray(lo), np.asarray(hi)

    def _ends_of(
        self, region: Region, operation: op.Operation, operands: tuple[str, ...], wire: Wire
    ) -> tuple[IntArray, IntArray]:
        ranges = [Range(*region.ends[x], self.wires[x].range.step) for x in operands]
        found = wire.range if isinstance(operation, op.Constant) else result_range(operation, *ranges)
        return found.lo, found.hi

    @staticmethod
    def _on_grid(wire: Wire, lo: IntArray, hi: IntArray) -> tuple[IntArray, IntArray]:
        """Ends moved inwards to values that the wire may take."""
        step, base = wire.range.step, int(wire.range.lo.flat[0])
        if step > 1:
            a, b = roomy(2 * (largest(lo) + largest(hi) + abs(base) + step), lo, hi)
            lo, hi = base - (base - a) // step * step, base + (b - base) // step * step
        return narrow(np.asarray(lo)), narrow(np.asarray(hi))

    # ------------------------------------------------------------------------------------------------ linear bounds

    def _tightened(self, region: Region, wire: Wire, lo: IntArray, hi: IntArray) -> tuple[IntArray, IntArray]:
        """Ends of a wire whose curves are not constant between those that it has, by linear bounds."""
        bent = np.zeros(wire.shape, dtype=bool)
        for curve in self.curves.values():
            if curve.operands[0] == wire.name:
                found = region.points(curve)
                bent |= found.y.min(axis=0) < found.y.max(axis=0)
                del region._points[curve.name]
        places = np.flatnonzero(bent)
        if not places.size:
            return lo, hi
        lo, hi = lo.copy(), hi.copy()
        for start in range(0, len(places), ROWS):
            some = places[start : start + ROWS]
            rows = np.zeros((2 * len(some), wire.size), dtype=np.int64)
            rows[np.arange(len(some)), some] = 1
            rows[len(some) + np.arange(len(some)), some] = -1
            bounds = self.linear_bounds(region, wire.name, rows.reshape(-1, *wire.shape))
            lo.flat[some] = np.maximum(lo.flat[some], narrow(bounds[: len(some)]))
            hi.flat[some] = np.minimum(hi.flat[some], narrow(-bounds[len(some) :]))
        return lo, hi

    def linear_bounds(self, region: Region, name: str, rows: IntArray) -> IntArray:
        """For each weighted sum of a wire's elements an integer that it is nowhere below, (sums,) Python integers.

        Parameters
        ----------
        region : Region
        name : str
        rows : integer array (sums, *shape)
        """
        return self._backwards(region, name, rows)[0]

    def weights(self, region: Region, rows: IntArray) -> Weights:
        """The weights of the inputs in the lines below sums of the goal, (sums, *shape) in units of 2^-SCALE."""
        return self._backwards(region, self.output, rows)[1]

    def multipliers(self, region: Region, rows: IntArray) -> Weights:
        """The weights of the operand of each curve in these lines, (sums, *shape) in units of 2^-SCALE."""
        return self._backwards(region, self.output, rows)[2]

    def _backwards(self, region: Region, name: str, rows: IntArray) -> tuple[IntArray, Weights, Weights]:
        """Bounds; with them the weights of the inputs, and of the operand of each curve, that gave them."""
        best = least_sums(rows, *region.ends[name])
        constant: IntArray = np.zeros(len(rows), dtype=object)
        pending: Weights = {name: times(rows, np.array(1 << SCALE))}
        at_inputs: Weights = {}
        multipliers: Weights = {}
        for wire in reversed(list(self.wires.values())):
            if wire.name not in pending:
                continue
            if wire.name in self.curves:
                stop = constant + sum(least_sums(w, *region.ends[n]) for n, w in {**pending, **at_inputs}.items())
                best = np.maximum(best, rounded_up(stop))
            weights = pending.pop(wire.name)
            if isinstance(wire.operation, op.Input):
                at_inputs[wire.name] = weights
            elif isinstance(wire.operation, op.Constant):
                constant = constant + row_sums(times(weights, wire.operation.value))
            elif wire.name in self.curves:
                more, back = self._relaxed(region, wire, weights)
                constant = constant + more
                multipliers[wire.name] = back
                _collect(pending, wire.operands[0], back)
            else:
                constant = constant + self._spread(pending, wire, weights)
        for n, w in at_inputs.items():
            constant = constant + least_sums(w, *region.ends[n])
        return np.maximum(best, rounded_up(constant)), at_inputs, multipliers

    def _relaxed(self, region: Region, wire: Wire, weights: IntArray) -> tuple[IntArray, IntArray]:
        """A curve by its lines: what is constant of them, and the weights of its operand."""
        found = region.lines(wire)
        up = weights >= 0
        slope = np.where(up, found.below[0], found.above[0])
        height = np.where(up, found.below[1], found.above[1])
        product = times(weights, slope)
        back = product >> found.bits
        # what is cut off is not negative, and its least product with the operand is at the operand's lower end
        cut = product - (back << found.bits)
        total = row_sums(times(weights, height)) + row_sums(times(cut, region.ends[wire.operands[0]][0]))
        return total >> found.bits, back

    def _spread(self, pending: Weights, wire: Wire, weights: IntArray) -> IntArray:
        """Move the weights of a linear wire to its operands; returns what is constant."""
        operands = [self.wires[x] for x in wire.operands]
        for x, back in zip(operands, pull(wire.operation, weights, operands, self.doubles)):
            if back is not None:
                _collect(pending, x.name, back)
        added = offset(wire.operation, wire.shape)
        return np.zeros(len(weights), dtype=object) if added is None else row_sums(times(weights, added))

    # ------------------------------------------------------------------------------------------------ multipliers

    def dual_bound(self, region: Region, row: int, multipliers: Multipliers) -> int:
        """An integer that an element of the goal is nowhere below, from any multipliers.

        For a curve y = f(z) whose result weighs w, min (w f(z) - m z) over the integers between the ends of z is below
        w y - m z for every m; so the sum goes on with m z in the place of w y. Of multipliers none is wrong.

        Parameters
        ----------
        region : Region
        row : int
            Which element of the goal.
        multipliers : mapping of str to integer array
            For each curve, (*shape); missing ones are 0.
        """
        weights: IntArray = np.zeros((1, self.wires[self.output].size), dtype=np.int64)
        weights[0, row] = 1 << SCALE
        pending: Weights = {self.output: weights}
        constant: IntArray = np.zeros(1, dtype=object)
        for wire in reversed(list(self.wires.values())):
            if wire.name not in pending:
                continue
            weights = pending.pop(wire.name)
            if isinstance(wire.operation, op.Input):
                constant = constant + least_sums(weights, *region.ends[wire.name])
            elif isinstance(wire.operation, op.Constant):
                constant = constant + row_sums(times(weights, wire.operation.value))
            elif wire.name in self.curves:
                m = multipliers.get(wire.name)
                m = np.zeros(wire.shape, dtype=np.int64) if m is None else m
                constant = constant + row_sums(least_terms(region.points(wire), weights[0], m)[None])
                _collect(pending, wire.operands[0], m[None])
            else:
                constant = constant + self._spread(pending, wire, weights)
        return int(rounded_up(constant)[0])


def is_curve(operation: op.Operation) -> bool:
    """Whether an operation of a lowered machine is not linear."""
    return isinstance(operation, CURVES) and not (isinstance(operation, op.Shift) and operation.bits <= 0)


def rounded_up(bounds: IntArray) -> IntArray:
    """What sums of integers are at least, if in units of 2^-SCALE they are at least this."""
    return np.asarray(-((-bounds) >> SCALE))


def _collect(pending: Weights, name: str, weights: IntArray) -> None:
    pending[name] = plus(pending[name], weights) if name in pending else weights
