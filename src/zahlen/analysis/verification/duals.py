"""Multipliers that make a bound large, looked for in floats.

`Bounder.dual_bound` is concave in its multipliers, so steps along a subgradient lead to the best bound that single
curves allow (that of the linear program over their convex hulls), which `program` finds where that is not too large.
What is found here proves nothing: it is rounded, and the bound is computed again in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray, Wire
from ...machine import operations as op
from ...machine.reference import apply
from .adjoint import offset, pull
from .curves import points
from .region import Hull, Region
from .regions import SCALE, Bounder

Floats = NDArray[np.float64]

RATE, FIRST, SECOND = 0.1, 0.9, 0.99
LIMIT = float(2**60)
ENOUGH = -0.5
"""A goal of integers that is above -1 is nowhere negative; the rest is for rounding."""


@dataclass(eq=False)
class Evaluation:
    """Bounds from multipliers, and where they come from; axis 0 is the regions.

    Attributes
    ----------
    bounds : float array (regions,)
    slopes : dict of float arrays
        The subgradient by curve, (regions, *shape).
    inputs : dict of float arrays
        The inputs that linear sums are least at.
    weights : dict of float arrays
        What the inputs, and the results of curves, weigh.
    chosen : dict of float arrays
        The operand of each curve at the point where its term is least.
    """

    bounds: Floats
    slopes: dict[str, Floats]
    inputs: dict[str, Floats]
    weights: dict[str, Floats]
    chosen: dict[str, Floats]


@dataclass(eq=False)
class Improved:
    """The best that was found; axis 0 is the regions.

    Attributes
    ----------
    bounds : float array (regions,)
    multipliers : dict of float arrays
    at : Evaluation
        The last one.
    operands : dict of float arrays
        By curve what its operand was on the average of the last steps: about where the linear program has it.
    """

    bounds: Floats
    multipliers: dict[str, Floats]
    at: Evaluation
    operands: dict[str, Floats]

    def take(self, now: Evaluation, multipliers: dict[str, Floats]) -> None:
        """Keep what is better than before."""
        self.at = now
        better = now.bounds > self.bounds
        self.bounds = np.where(better, now.bounds, self.bounds)
        for n, m in multipliers.items():
            self.multipliers[n] = np.where(better.reshape(-1, *[1] * (m.ndim - 1)), m, self.multipliers[n])


class Dual:
    """The bounds of one element of the goal in several regions, as a function of multipliers.

    Parameters
    ----------
    bounder : Bounder
    regions : list of Region
    rows : list of int
        The element of the goal that is bounded in each region.
    """

    def __init__(self, bounder: Bounder, regions: list[Region], rows: list[int]) -> None:
        self.bounder, self.regions, self.rows = bounder, regions, rows
        self.wires = list(bounder.wires.values())
        self.ends = {
            w.name: tuple(np.stack([np.asarray(r.ends[w.name][k], dtype=np.float64) for r in regions]) for k in (0, 1))
            for w in self.wires
            if isinstance(w.operation, op.Input) or w.name in bounder.splittable
        }
        self.points = {}
        self.widths = {}
        for name, wire in bounder.curves.items():
            self.points[name] = hulls(regions, wire)
            lo, hi = self.ends[wire.operands[0]]
            self.widths[name] = np.maximum(hi - lo, 1.0)

    def better(self, linear: dict[str, Floats], others: Sequence[Mapping[str, Floats] | None]) -> dict[str, Floats]:
        """For each region the multipliers of linear bounds, or others, whichever give the greater bound."""
        ours = {n: linear.get(n, np.zeros((len(others), *w.shape))) for n, w in self.bounder.curves.items()}
        if all(other is None for other in others):
            return ours
        theirs = {n: np.stack([m[k] if o is None else o[n] for k, o in enumerate(others)]) for n, m in ours.items()}
        better = self(theirs).bounds > self(ours).bounds
        return {n: np.where(better.reshape(-1, *[1] * (m.ndim - 1)), theirs[n], m) for n, m in ours.items()}

    def __call__(self, multipliers: dict[str, Floats]) -> Evaluation:
        """The bounds, with their subgradients."""
        count = len(self.regions)
        output = self.bounder.wires[self.bounder.output]
        goal = np.zeros((count, output.size))
        goal[np.arange(count), self.rows] = 1
        pending = {output.name: goal}
        bounds = np.zeros(count)
        weights: dict[str, Floats] = {}
        values: dict[str, Floats] = {}
        inputs: dict[str, Floats] = {}
        chosen: dict[str, Floats] = {}
        for wire in reversed(self.wires):
            if wire.name not in pending:
                continue
            w = pending.pop(wire.name)
            if isinstance(wire.operation, op.Input):
                lo, hi = self.ends[wire.name]
                weights[wire.name] = w
                inputs[wire.name] = values[wire.name] = np.where(w >= 0, lo, hi)
                bounds += _summed(w * values[wire.name])
            elif isinstance(wire.operation, op.Constant):
                bounds += _summed(w * wire.operation.value)
            elif wire.name in self.points:
                z, y = self.points[wire.name]
                m = multipliers[wire.name]
                terms = w[:, None] * y - m[:, None] * z
                least = terms.argmin(axis=1)[:, None]
                bounds += _summed(np.take_along_axis(terms, least, 1)[:, 0])
                weights[wire.name] = w
                chosen[wire.name] = np.take_along_axis(z, least, 1)[:, 0]
                values[wire.name] = np.take_along_axis(y, least, 1)[:, 0]
                _collect(pending, wire.operands[0], m)
            else:
                operands = [self.bounder.wires[x] for x in wire.operands]
                for x, back in zip(operands, pull(wire.operation, w, operands)):
                    if back is not None:
                        _collect(pending, x.name, np.asarray(back))
                added = offset(wire.operation, wire.shape)
                if added is not None:
                    bounds += _summed(w * added)
        slopes = self._slopes(values, chosen)
        return Evaluation(bounds, slopes, inputs, weights, chosen)

    def _slopes(self, values: dict[str, Floats], chosen: dict[str, Floats]) -> dict[str, Floats]:
        """For each curve how much its operand differs from the point where its term is least."""
        values = dict(values)
        for wire in self.wires:
            if wire.name in values:
                continue
            if isinstance(wire.operation, op.Constant):
                values[wire.name] = np.broadcast_to(wire.operation.value, (len(self.regions), *wire.shape))
            elif isinstance(wire.operation, op.Input) or wire.name in self.points:
                values[wire.name] = np.zeros((len(self.regions), *wire.shape))  # weighs nothing
            else:
                values[wire.name] = apply(wire.operation, *(values[x] for x in wire.operands))
        return {name: values[self.bounder.curves[name].operands[0]] - z for name, z in chosen.items()}

    def rounded(self, multipliers: dict[str, Floats], k: int) -> dict[str, IntArray]:
        """The multipliers of one region as integers in units of 2^-SCALE."""
        return {
            n: np.rint(np.clip(m[k] * (1 << SCALE), -LIMIT, LIMIT)).astype(np.int64) for n, m in multipliers.items()
        }

    def improve(self, multipliers: dict[str, Floats], steps: int, rate: float = RATE) -> Improved:
        """Climb with steps of Adam (arXiv 1412.6980), each multiplier in units of what its curve's slope would weigh.

        Parameters
        ----------
        multipliers : dict of float arrays (regions, *shape)
            Where to start.
        steps : int
        rate : float
            Of the first step; the last ones are near 0.
        """
        now = self(multipliers)
        found = Improved(now.bounds.copy(), {n: m.copy() for n, m in multipliers.items()}, now, {})
        units = {n: self._unit(n, now) for n in multipliers}
        first = {n: np.zeros_like(m) for n, m in multipliers.items()}
        second = {n: np.zeros_like(m) for n, m in multipliers.items()}
        averaged = 0
        for t in range(1, steps + 1):
            multipliers = dict(multipliers)
            for n, slope in now.slopes.items():
                g = slope / self.widths[n]
                first[n] += (1 - FIRST) * (g - first[n])
                second[n] += (1 - SECOND) * (g * g - second[n])
                step = first[n] / (1 - FIRST**t) / (np.sqrt(second[n] / (1 - SECOND**t)) + 1e-8)
                multipliers[n] = multipliers[n] + rate * (1 - (t - 1) / steps) * units[n] * step
            now = self(multipliers)
            found.take(now, multipliers)
            if 2 * t > steps:
                averaged += 1
                for n, slope in now.slopes.items():
                    z = slope + now.chosen[n]
                    found.operands[n] = found.operands.get(n, z) + (z - found.operands.get(n, z)) / averaged
            if (found.bounds > ENOUGH).all():
                break
        if not averaged:
            found.operands = {n: slope + now.chosen[n] for n, slope in now.slopes.items()}
        return found

    def lost(self, found: Improved, name: str, k: int) -> Floats:
        """What the bound of a region loses at each element of a curve, about where the linear program has it."""
        wire = self.bounder.curves[name]
        lo, hi = (end[k] for end in self.ends[wire.operands[0]])
        nearest = np.rint(np.clip(found.operands[name][k], lo, hi))
        y = apply(wire.operation, nearest.astype(np.int64)[None])[0]
        w, m = found.at.weights[name][k], found.multipliers[name][k]
        zs, ys = (axis[k] for axis in self.points[name])
        least = (w * ys - m * zs).min(axis=0)
        return np.asarray(np.where(ys.min(axis=0) < ys.max(axis=0), w * y - m * nearest - least, 0)).ravel()

    def _unit(self, name: str, now: Evaluation) -> Floats:
        w = np.abs(now.weights[name]) if name in now.weights else np.zeros_like(self.widths[name])
        _, y = self.points[name]
        mean = w.reshape(len(w), -1).mean(axis=1).reshape(-1, *[1] * (w.ndim - 1))
        return np.asarray((w + 0.1 * mean + 1e-9) * (y.max(axis=1) - y.min(axis=1)) / self.widths[name])


def hulls(regions: list[Region], wire: Wire) -> tuple[Floats, Floats]:
    """Corners of the convex hull of each element of a curve, (regions, corners, *shape); some come several times.

    What has not changed since a region was split off is not found again.
    """
    places, ends = [], []
    for region in regions:
        lo, hi = (np.ravel(end) for end in region.ends[wire.operands[0]])
        old = region.hulls.get(wire.name)
        some = np.arange(wire.size) if old is None else np.flatnonzero((lo != old.lo) | (hi != old.hi))
        places.append(some)
        ends.append((lo[some], hi[some]))
    counts = np.cumsum([0, *map(len, places)])
    if counts[-1]:
        found = points(wire, np.concatenate(places), *(np.concatenate([end[k] for end in ends]) for k in (0, 1)))
        z, y = corners(found.z.astype(np.float64), found.y.astype(np.float64))
        for k, region in enumerate(regions):
            if len(places[k]):
                own = slice(counts[k], counts[k + 1])
                lo, hi = (np.ravel(end) for end in region.ends[wire.operands[0]])
                old = region.hulls.get(wire.name, Hull(lo, hi, *(np.zeros((1, wire.size)),) * 2))
                region.hulls[wire.name] = Hull(
                    lo, hi, _put(old.z, places[k], z[:, own]), _put(old.y, places[k], y[:, own])
                )
    most = max(len(region.hulls[wire.name].z) for region in regions)
    z, y = (
        np.stack([_padded(getattr(region.hulls[wire.name], axis), most) for region in regions]).reshape(
            len(regions), most, *wire.shape
        )
        for axis in "zy"
    )
    return z, y


def _put(old: Floats, places: NDArray[np.int64], new: Floats) -> Floats:
    most = max(len(old), len(new))
    found = np.array(_padded(old, most))
    found[:, places] = _padded(new, most)
    return found


def _padded(rows: Floats, most: int) -> Floats:
    return np.concatenate([rows, np.broadcast_to(rows[-1:], (most - len(rows), *rows.shape[1:]))])


def corners(z: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Points (points, elements) without those that are no corners of their convex hull: first its lower side.

    >>> z, y = np.arange(7.0)[:, None], np.array([0.0, 1, 0, 2, 2, 5, 6])[:, None]
    >>> [axis.ravel().tolist() for axis in corners(z, y)]
    [[0.0, 2.0, 4.0, 6.0, 0.0, 6.0], [0.0, 0.0, 2.0, 6.0, 0.0, 6.0]]
    """
    order = np.argsort(z, axis=0, kind="stable")
    z, y = np.take_along_axis(z, order, 0), np.take_along_axis(y, order, 0)
    sides = [_side(z, y, sign) for sign in (1, -1)]
    return np.concatenate([side[0] for side in sides]), np.concatenate([side[1] for side in sides])


def _side(z: Floats, y: Floats, sign: int) -> tuple[Floats, Floats]:
    """The lower side of the hull, or with -1 the upper one, of sorted points; the last is repeated as need be."""
    before_that = np.full(z.shape[1], -1)
    while len(z) > 2:
        kept = np.ones(z.shape, dtype=bool)
        kept[1:-1] = (z[1:-1] != z[:-2]) & (z[1:-1] != z[-1])
        before, behind = (z[:-2], y[:-2]), (z[2:], y[2:])
        run, rise = behind[0] - before[0], behind[1] - before[1]
        # what is not below the line between two other points is no corner, whatever becomes of those two
        over = sign * ((y[1:-1] - before[1]) * run - rise * (z[1:-1] - before[0])) >= 0
        kept[1:-1] &= ~(over & (behind[0] > z[1:-1]) & (before[0] < z[1:-1]))
        count = kept.sum(axis=0)
        if (count == before_that).all():
            break
        before_that, most = count, int(count.max())
        # the last point stays the last
        kept[-1] = False
        chosen = np.argsort(~kept, axis=0, kind="stable")[: most - 1]
        there = np.take_along_axis(kept, chosen, 0)
        z, y = (np.concatenate([np.where(there, np.take_along_axis(v, chosen, 0), v[-1:]), v[-1:]]) for v in (z, y))
    return z, y


def _summed(terms: Floats) -> Floats:
    return np.asarray(terms.reshape(len(terms), -1).sum(axis=1))


def _collect(pending: dict[str, Floats], name: str, weights: Floats) -> None:
    pending[name] = pending[name] + weights if name in pending else weights
