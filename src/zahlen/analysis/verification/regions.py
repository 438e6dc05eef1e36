"""Regions: parts of a box, with proven ends of every wire, and the bounds that hold in them.

This is the part that proofs rest on. All of it is integers: intervals, lines below and above curves put together
backwards (linear bounds, as CROWN has them, arXiv 1811.00866), and bounds from multipliers (a Lagrangian dual, as in
arXiv 1803.06567 and, for splits, beta-CROWN, arXiv 2103.06624). Weights have `SCALE` steps per 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...machine import InputError, IntArray, Range, Wire
from ...machine import operations as op
from ...machine.ranges import narrow, result_range
from .adjoint import offset, pull
from .curves import Side, least_terms, lines, points
from .exact import largest, least_sums, plus, roomy, row_sums, times
from .lowering import CURVES
from .properties import Goal
from .region import Region, Split, with_elements

SCALE = 24
"""Weights of sums are integers in units of 2^-SCALE."""
ROWS = 512
"""How many sums are followed backwards at once."""

CLOSER = 256
"""Only wires with at most so many elements that matter get closer ends in each part; others keep those of the box."""

Weights = dict[str, IntArray]
"""For each wire the weights of its elements in some sums, (sums, *shape)."""
Multipliers = Mapping[str, IntArray]
"""For each curve what its operand weighs in the sum before it, (*shape), in units of 2^-SCALE."""


@dataclass(frozen=True, eq=False)
class Backwards:
    """Sums followed back to the inputs: what they are nowhere below, and the weights on the way; axis 0 is the sums.

    Attributes
    ----------
    bounds : object array (sums,)
        Integers.
    inputs, operands : dict of integer arrays (sums, *shape)
        What elements of the inputs, and of the operand of each curve, weigh, in units of 2^-SCALE.
    """

    bounds: IntArray
    inputs: Weights
    operands: Weights


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
        region = Region({})
        for name, wire in self.wires.items():
            given = self.goal.ends.get(name)
            lo, hi = self._interval(region, wire) if given is None else (narrow(given[0]), narrow(given[1]))
            region.ends[name] = self._on_grid(wire, lo, hi)
            if linear and name in self.curves:
                self._bend([region], [region], wire)
            if linear and name in self.mixed and name in self.splittable:
                self._tighten([region], wire)
        return region

    def part(self, region: Region, split: Split) -> Region | None:
        """A part of a region; None if it is empty. See `parts`."""
        return self.parts([region], [split])[0]

    def parts(self, regions: list[Region], splits: list[Split]) -> list[Region | None]:
        """A part of each of these regions, which have lines; None where it is empty.

        Raises
        ------
        InputError
            If a split names no wire that can be split.
        """
        found = [self._cut(region, split) for region, split in zip(regions, splits)]
        behind = {split.wire: self._behind(split.wire) for split in splits}
        for name, wire in self.wires.items():
            touched = [k for k, part in enumerate(found) if part is not None and name in behind[splits[k].wire]]
            some = [part for k in touched if (part := found[k]) is not None]
            if not some:
                continue
            if name in self.curves:
                self._bend(some, [regions[k] for k in touched], wire)
            elif name not in self.mixed:
                for part in some:
                    self._meet(part, wire, *self._interval(part, wire))
            elif name in self.splittable:
                self._tighten([part for part in some if self.bent(part, wire).sum() <= CLOSER], wire)
            for k, part in zip(touched, some):
                lo, hi = part.ends[name]
                if (lo > hi).any():
                    found[k] = None
        return found

    def _cut(self, region: Region, split: Split) -> Region | None:
        """The region with the ends of the split wire alone as they should be."""
        if split.wire not in self.splittable:
            raise InputError(f"no wire {split.wire!r} to split")
        lo, hi = (end.copy() for end in region.ends[split.wire])
        if not 0 <= split.index < lo.size:
            raise InputError(f"{split.wire} has no element {split.index}")
        if split.above:
            lo.flat[split.index] = max(int(lo.flat[split.index]), split.at)
        else:
            hi.flat[split.index] = min(int(hi.flat[split.index]), split.at - 1)
        part = region.copy()
        part.ends[split.wire] = lo, hi = self._on_grid(self.wires[split.wire], lo, hi)
        return None if (lo > hi).any() else part

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

    def _meet(self, region: Region, wire: Wire, lo: IntArray, hi: IntArray) -> None:
        """Note ends of a wire, where they are closer than those that it has."""
        a, b = region.ends[wire.name]
        region.ends[wire.name] = self._on_grid(wire, np.asarray(np.maximum(a, lo)), np.asarray(np.minimum(b, hi)))

    def _bend(self, regions: list[Region], before: list[Region], wire: Wire) -> None:
        """Lines beside a curve, and its ends, where those of its operand are not what they were before."""
        of, places, ends = [], [], []
        for k, (region, old) in enumerate(zip(regions, before)):
            now = [np.ravel(end) for end in region.ends[wire.operands[0]]]
            if wire.name in region.sides:
                then = [np.ravel(end) for end in old.ends[wire.operands[0]]]
                changed = np.flatnonzero((now[0] != then[0]) | (now[1] != then[1]))
            else:
                changed = np.arange(wire.size)
                region.bits[wire.name] = (
                    int(max((b - a for a, b in zip(*map(np.ndarray.tolist, now))))).bit_length() + 4
                )
            of.append(np.full(len(changed), k))
            places.append(changed)
            ends.append([end[changed] for end in now])
        if not sum(map(len, places)):
            return
        lo, hi = (np.concatenate([end[k] for end in ends]) for k in (0, 1))
        found = points(wire, np.concatenate(places), lo, hi)
        sides = lines(found, lo, hi, regions[0].bits[wire.name])
        low, high = found.y.min(axis=0), found.y.max(axis=0)
        index = np.concatenate(of)
        for k, region in enumerate(regions):
            own = index == k
            region.ends[wire.name] = tuple(  # type: ignore[assignment]
                with_elements(end, places[k], new[own]) for end, new in zip(region.ends[wire.name], (low, high))
            )
            old_sides = region.sides.get(wire.name)
            if old_sides is None:
                region.sides[wire.name] = sides
            else:
                region.sides[wire.name] = tuple(  # type: ignore[assignment]
                    Side(*(with_elements(old, places[k], new[own]) for old, new in zip(side, new_side)))
                    for side, new_side in zip(old_sides, sides)
                )

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

    def _tighten(self, regions: list[Region], wire: Wire) -> None:
        """Closer ends of a wire whose curves are not constant between those that it has, by linear bounds."""
        if not regions:
            return
        of, places = [], []
        for k, region in enumerate(regions):
            some = np.flatnonzero(self.bent(region, wire))
            of.append(np.full(len(some), k))
            places.append(some)
        index, place = np.concatenate(of), np.concatenate(places)
        for start in range(0, len(place), ROWS):
            some, to = place[start : start + ROWS], index[start : start + ROWS]
            rows = np.zeros((2 * len(some), wire.size), dtype=np.int64)
            rows[np.arange(len(some)), some] = 1
            rows[len(some) + np.arange(len(some)), some] = -1
            first, last = int(to[0]), int(to[-1]) + 1
            found = self.backwards(
                regions[first:last], wire.name, rows.reshape(-1, *wire.shape), np.concatenate([to, to]) - first
            )
            for k in np.unique(to).tolist():
                own = np.flatnonzero(to == k)
                lo, hi = (end.copy() for end in regions[k].ends[wire.name])
                lo.flat[some[own]] = np.maximum(lo.flat[some[own]], narrow(found.bounds[own]))
                hi.flat[some[own]] = np.minimum(hi.flat[some[own]], narrow(-found.bounds[len(some) + own]))
                regions[k].ends[wire.name] = self._on_grid(wire, lo, hi)

    def bent(self, region: Region, wire: Wire) -> NDArray[np.bool_]:
        """Which elements of a wire are operands of a curve that is not constant there."""
        bent = np.zeros(wire.size, dtype=bool)
        for curve in self.curves.values():
            if curve.operands[0] == wire.name:
                if curve.name in region.ends:
                    lo, hi = region.ends[curve.name]
                else:
                    found = region.points(curve)
                    lo, hi = found.y.min(axis=0), found.y.max(axis=0)
                bent |= np.ravel(lo < hi)
        return bent

    def linear_bounds(self, region: Region, name: str, rows: IntArray) -> IntArray:
        """For each weighted sum of a wire's elements an integer that it is nowhere below, (sums,) Python integers.

        Parameters
        ----------
        region : Region
        name : str
        rows : integer array (sums, *shape)
        """
        return self.backwards([region], name, rows, np.zeros(len(rows), dtype=np.int64)).bounds

    def at_goal(self, regions: list[Region], rows: NDArray[np.int64]) -> Backwards:
        """An element of the goal in each of these regions."""
        units: IntArray = np.zeros((len(rows), self.wires[self.output].size), dtype=np.int64)
        units[np.arange(len(rows)), rows] = 1
        return self.backwards(regions, self.output, units, np.arange(len(rows)) if len(regions) > 1 else rows * 0)

    def backwards(self, regions: list[Region], name: str, rows: IntArray, of: NDArray[np.int64]) -> Backwards:
        """Weighted sums of a wire's elements, each in one of some regions.

        Parameters
        ----------
        regions : list of Region
        name : str
        rows : integer array (sums, *shape)
        of : integer array (sums,)
            The region of each.
        """
        stack = _Stack(regions, of)
        best = self._least(stack, name, rows)
        constant: IntArray = np.zeros(len(rows), dtype=object)
        pending: Weights = {name: times(rows, np.array(1 << SCALE))}
        inputs: Weights = {}
        operands: Weights = {}
        for wire in reversed(list(self.wires.values())):
            if wire.name not in pending:
                continue
            if wire.name in self.curves:
                stop = constant + sum(self._least(stack, n, w) for n, w in {**pending, **inputs}.items())
                best = np.maximum(best, rounded_up(stop))
            weights = pending.pop(wire.name)
            if isinstance(wire.operation, op.Input):
                inputs[wire.name] = weights
            elif isinstance(wire.operation, op.Constant):
                constant = constant + row_sums(times(weights, wire.operation.value))
            elif wire.name in self.curves:
                more, operands[wire.name] = self._relaxed(stack, wire, weights)
                constant = constant + more
                _collect(pending, wire.operands[0], operands[wire.name])
            else:
                constant = constant + self.spread(pending, wire, weights)
        for n, w in inputs.items():
            constant = constant + self._least(stack, n, w)
        return Backwards(np.maximum(best, rounded_up(constant)), inputs, operands)

    def _least(self, stack: _Stack, name: str, weights: IntArray) -> IntArray:
        return least_sums(weights, *stack.ends(name), self.doubles)

    def _relaxed(self, stack: _Stack, wire: Wire, weights: IntArray) -> tuple[IntArray, IntArray]:
        """A curve by its lines: what is constant of them, and the weights of its operand."""
        bits = stack.regions[0].bits[wire.name]
        up = weights >= 0
        slope, height = (
            np.where(up, *(stack.of_sides(wire, side, what) for side in (0, 1))) for what in ("slope", "height")
        )
        product = times(weights, slope)
        back = product >> bits
        # what is cut off is not negative, and its least product with the operand is at the operand's lower end
        cut = product - (back << bits)
        total = row_sums(times(weights, height)) + row_sums(times(cut, stack.ends(wire.operands[0])[0]))
        return total >> bits, back

    def spread(self, pending: Weights, wire: Wire, weights: IntArray) -> IntArray:
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
                constant = constant + least_sums(weights, *region.ends[wire.name], self.doubles)
            elif isinstance(wire.operation, op.Constant):
                constant = constant + row_sums(times(weights, wire.operation.value))
            elif wire.name in self.curves:
                m = multipliers.get(wire.name)
                m = np.zeros(wire.shape, dtype=np.int64) if m is None else m
                constant = constant + row_sums(least_terms(region.points(wire), weights[0], m)[None])
                _collect(pending, wire.operands[0], m[None])
            else:
                constant = constant + self.spread(pending, wire, weights)
        return int(rounded_up(constant)[0])


@dataclass(frozen=True, eq=False)
class _Stack:
    """Regions of sums, one for each sum."""

    regions: list[Region]
    of: NDArray[np.int64]

    def ends(self, name: str) -> tuple[IntArray, IntArray]:
        """Ends of a wire, for each sum or for all."""
        found = [region.ends[name] for region in self.regions]
        if all(lo is found[0][0] and hi is found[0][1] for lo, hi in found):
            return found[0]
        lo, hi = (np.stack([pair[k] for pair in found])[self.of] for k in (0, 1))
        return lo, hi

    def of_sides(self, wire: Wire, side: int, what: str) -> IntArray:
        """Numbers of the lines below (0) or above (1) a curve."""
        found = [getattr(region.sides[wire.name][side], what) for region in self.regions]
        if len(found) == 1:
            return np.asarray(found[0]).reshape(wire.shape)
        return np.stack(found)[self.of].reshape(-1, *wire.shape)


def is_curve(operation: op.Operation) -> bool:
    """Whether an operation of a lowered machine is not linear."""
    return isinstance(operation, CURVES) and not (isinstance(operation, op.Shift) and operation.bits <= 0)


def rounded_up(bounds: IntArray) -> IntArray:
    """What sums of integers are at least, if in units of 2^-SCALE they are at least this."""
    return np.asarray(-((-bounds) >> SCALE))


def _collect(pending: Weights, name: str, weights: IntArray) -> None:
    pending[name] = plus(pending[name], weights) if name in pending else weights
