"""Curves between two ends: the points that matter, and the lines below and above them.

A curve is a function of one element. Of the infinitely many lines below a curve on the integers from l to u one is
chosen by its slope alone, k / 2^s; its height is then the least that the curve leaves, found from points of the curve
itself. So a slope may come from anywhere, and a line is never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...machine import IntArray
from ...machine import operations as op
from ...machine.reference import apply
from .exact import largest, roomy, times

ROUNDS = 6
"""How often the edge of the hull over the middle is looked for; a line that it is not is only less tight."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a curve, on its graph between the ends, that hold all corners of its convex hull.

    Attributes
    ----------
    z, y : integer arrays (points, *shape)
    """

    z: IntArray
    y: IntArray


def points(operation: op.Operation, lo: IntArray, hi: IntArray) -> Points:
    """The points of a curve between ends of its operand, (*shape) each.

    >>> found = points(op.Staircase(0, [3, 9], [0, 1, 5]), np.array([1]), np.array([7]))
    >>> sorted(set(zip(found.z.ravel().tolist(), found.y.ravel().tolist())))
    [(1, 0), (2, 0), (3, 1), (7, 1)]
    """
    z = np.minimum(np.maximum(_candidates(operation, lo, hi), lo), hi)
    return Points(z, np.asarray(apply(operation, z)))


def _candidates(operation: op.Operation, lo: IntArray, hi: IntArray) -> IntArray:
    """Between neighbours of these a curve is constant or straight; or, of a shift, repeats itself along a line."""
    ends = [lo, hi]
    if isinstance(operation, op.Clamp):
        ends += [np.full_like(lo, v) if lo.dtype == object or abs(v) < 2**63 else lo for v in _corners(operation)]
    elif isinstance(operation, op.Shift):
        scale: int = 2**operation.bits
        half = scale // 2 if operation.rounding == "half_up" else 0
        wide = largest(lo) + largest(hi) + 4 * scale
        a, b = roomy(wide, lo, hi)
        second, last = ((a + half) // scale + 1) * scale - half, (b + half) // scale * scale - half
        ends = [a, b, second - 1, second, second + scale - 1, last - scale, last - 1, last]
    elif isinstance(operation, op.Staircase):
        t = operation.thresholds
        first, final = int(lo.min()), int(hi.max())
        if operation.per_channel:
            t = t[:, ((t > first) & (t <= final)).any(axis=0)].T
            shape = [1] * lo.ndim
            shape[operation.axis % lo.ndim] = t.shape[1]
            t = t.reshape(len(t), *shape)
        else:
            t = np.unique(t[(t > first) & (t <= final)]).reshape(-1, *[1] * lo.ndim)
        t = np.broadcast_to(t, (len(t), *lo.shape))
        before = t - (t > np.iinfo(np.int64).min)
        return np.concatenate([lo[None], hi[None], t, before])
    else:
        raise TypeError(f"{operation.kind} is no curve")
    return np.stack(ends)


def _corners(operation: op.Clamp) -> tuple[int, int]:
    return operation.lo, operation.hi


@dataclass(frozen=True, eq=False)
class Lines:
    """A line below and a line above a curve: (slope z + height) / 2^bits.

    Attributes
    ----------
    below, above : pairs of integer arrays
        Slope and height for each element.
    bits : int
    """

    below: tuple[IntArray, IntArray]
    above: tuple[IntArray, IntArray]
    bits: int


def lines(found: Points, lo: IntArray, hi: IntArray) -> Lines:
    """The lines that are closest to the curve in the middle between its ends.

    >>> lo, hi = np.array([-4]), np.array([8])
    >>> found = lines(points(op.Clamp(0, 99), lo, hi), lo, hi)
    >>> [[v.item() / 2**found.bits for v in side] for side in (found.below, found.above)]
    [[1.0, 0.0], [0.66796875, 2.671875]]
    """
    width = int((hi.ravel().astype(object) - lo.ravel().astype(object)).max())
    bits = width.bit_length() + 4
    most = (largest(found.y) << (bits + 3)) * (width + 1) + (largest(found.z) << (bits + 2)) * (largest(found.y) + 1)
    shape, flat = lo.shape, (len(found.z), lo.size)
    z, y, lo, hi = roomy(most, found.z.reshape(flat), found.y.reshape(flat), lo.ravel(), hi.ravel())
    y = y * (1 << bits)
    slope, other = _slope(z, y, lo, hi), -_slope(z, -y, lo, hi)
    below, above = (y - slope * z).min(axis=0), (y - other * z).max(axis=0)
    return Lines((slope.reshape(shape), below.reshape(shape)), (other.reshape(shape), above.reshape(shape)), bits)


def _slope(z: IntArray, y: IntArray, lo: IntArray, hi: IntArray) -> IntArray:
    """The slope of the lower hull's edge over the middle, rounded down."""
    middle = lo + hi
    left, right = (z[0], y[0]), (z[1], y[1])
    slope = np.zeros_like(lo)
    for _ in range(ROUNDS):
        run = right[0] - left[0]
        slope = (right[1] - left[1]) // np.where(run > 0, run, 1)
        lowest = (y - slope * z).argmin(axis=0)[None]
        found = np.take_along_axis(z, lowest, 0)[0], np.take_along_axis(y, lowest, 0)[0]
        below = 2 * found[0] <= middle
        moved = (found[0] != left[0]) & (found[0] != right[0])
        if not moved.any():
            break
        left = tuple(np.where(below & moved, new, old) for new, old in zip(found, left))
        right = tuple(np.where(~below & moved, new, old) for new, old in zip(found, right))
    return np.asarray(slope)


def least_terms(found: Points, weights: IntArray, multipliers: IntArray) -> IntArray:
    """For each element the least of weight y - multiplier z over the points; both (*shape)."""
    terms = times(found.y, weights[None])
    others = times(found.z, multipliers[None])
    a, b = roomy(largest(terms) + largest(others), terms, others)
    return np.asarray((a - b).min(axis=0))
