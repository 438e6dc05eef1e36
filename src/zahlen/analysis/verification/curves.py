"""Curves between two ends: the points that matter, and the lines below and above them.

A curve is a function of one element. Of the infinitely many lines below a curve on the integers from l to u one is
chosen by its slope alone, k / 2^s; its height is then the least that the curve leaves, found from points of the curve
itself. So a slope may come from anywhere, and a line is never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray, Wire
from ...machine import operations as op
from ...machine.reference import apply
from .exact import largest, roomy, times

ROUNDS = 6
"""How often the edge of the hull over the middle is looked for; a line that it is not is only less tight."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of curves, on their graphs between the ends, that hold all corners of their convex hulls.

    Attributes
    ----------
    z, y : integer arrays (points, elements)
    """

    z: IntArray
    y: IntArray


def points(wire: Wire, places: NDArray[np.int64], lo: IntArray, hi: IntArray) -> Points:
    """The points of some elements of a curve between ends of their operand.

    Parameters
    ----------
    wire : Wire
        A curve.
    places : integer array (elements,)
        Which elements, in row-major order; one may come several times.
    lo, hi : integer arrays (elements,)

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> curve = b.staircase(b.input("x", (1,), Levels(0, 9)), [3, 9], [0, 1, 5])
    >>> found = points(curve, np.array([0]), np.array([1]), np.array([7]))
    >>> sorted(set(zip(found.z.ravel().tolist(), found.y.ravel().tolist())))
    [(1, 0), (2, 0), (3, 1), (7, 1)]
    """
    operation = wire.operation
    if isinstance(operation, op.Staircase):
        z = _around_thresholds(operation, _channels(operation, wire.shape, places), lo, hi)
    elif isinstance(operation, op.Clamp):
        fit = (v for v in (operation.lo, operation.hi) if lo.dtype == object or abs(v) < 2**63)
        z = np.stack([lo, hi, *(np.full_like(lo, v) for v in fit)])
    elif isinstance(operation, op.Shift):
        z = _around_jumps(operation, lo, hi)
    else:
        raise TypeError(f"{operation.kind} is no curve")
    z = np.minimum(np.maximum(z, lo), hi)
    return Points(z, values(wire, places, z))


def values(wire: Wire, places: NDArray[np.int64], z: IntArray) -> IntArray:
    """What some elements of a curve are at values of their operand, (.., elements)."""
    operation = wire.operation
    if not isinstance(operation, op.Staircase) or not operation.per_channel:
        return np.asarray(apply(operation, z))
    y: IntArray = np.empty(z.shape, dtype=operation.values.dtype)
    channels = _channels(operation, wire.shape, places)
    for channel in np.unique(channels).tolist():
        some = channels == channel
        t, v = operation.thresholds[channel], operation.values[channel]
        y[..., some] = v[np.searchsorted(t, z[..., some], side="right")]
    return y


def _channels(operation: op.Staircase, shape: tuple[int, ...], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.unravel_index(places, shape)[operation.axis]) if operation.per_channel else places * 0


def _around_thresholds(operation: op.Staircase, channels: NDArray[np.int64], lo: IntArray, hi: IntArray) -> IntArray:
    """Between neighbours of these a staircase is constant."""
    t = operation.thresholds
    first, final = int(lo.min()), int(hi.max())
    if operation.per_channel:
        t = t[:, ((t > first) & (t <= final)).any(axis=0)].T[:, channels]
    else:
        t = np.unique(t[(t > first) & (t <= final)])[:, None]
    t = np.broadcast_to(t, (len(t), len(lo)))
    return np.concatenate([lo[None], hi[None], t, t - (t > np.iinfo(np.int64).min)])


def _around_jumps(operation: op.Shift, lo: IntArray, hi: IntArray) -> IntArray:
    """The first and the last jumps of a shift to the right: between them it repeats itself along a line."""
    scale: int = 2**operation.bits
    half = scale // 2 if operation.rounding == "half_up" else 0
    a, b = roomy(largest(lo) + largest(hi) + 4 * scale, lo, hi)
    second, last = ((a + half) // scale + 1) * scale - half, (b + half) // scale * scale - half
    return np.stack([a, b, second - 1, second, second + scale - 1, last - scale, last - 1, last])


class Side(NamedTuple):
    """Lines on one side of curves: (slope z + height) / 2^bits.

    Attributes
    ----------
    slope, height : integer arrays (elements,)
    gap : integer array (elements,)
        How far from its line a curve is at most, in units of 2^-bits.
    at : integer array (elements,)
        Where to split: parts of the curve below this operand and from it on have lines that are closer.
    """

    slope: IntArray
    height: IntArray
    gap: IntArray
    at: IntArray


def lines(found: Points, lo: IntArray, hi: IntArray, bits: int) -> tuple[Side, Side]:
    """The lines below and above curves that are closest to them in the middle between their ends.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> curve = b.clamp(b.input("x", (1,), Levels(-4, 8)), 0, 99)
    >>> lo, hi = np.array([-4]), np.array([8])
    >>> found = lines(points(curve, np.array([0]), lo, hi), lo, hi, 8)
    >>> [[v.item() / 2**8 for v in (side.slope, side.height)] for side in found]
    [[1.0, 0.0], [0.66796875, 2.671875]]
    >>> [side.at.item() for side in found]
    [1, 1]
    """
    width = largest(hi) + largest(lo)
    most = (largest(found.y) << (bits + 3)) * (width + 1) + (largest(found.z) << (bits + 2)) * (largest(found.y) + 1)
    z, y, lo, hi = roomy(most, found.z, found.y, lo, hi)
    y = y * (1 << bits)
    slope = _slope(z, y, lo, hi)
    below = _side(z, y, slope)
    slope = _slope(z, -y, lo, hi)
    other = _side(z, -y, slope)
    return below, Side(-other.slope, -other.height, other.gap, other.at)


def _side(z: IntArray, y: IntArray, slope: IntArray) -> Side:
    rest = y - slope * z
    height = rest.min(axis=0)
    rest = rest - height
    first, last = z.min(axis=0), z.max(axis=0)
    inside = (z > first) & (z < last)
    farthest = np.where(inside, rest, -1).argmax(axis=0)[None]
    gap = rest.max(axis=0)
    # a line that is farthest from an end of its curve leaves it at a corner, which is a better place
    touching = inside & (rest <= last - first)
    distance = np.where(touching, abs(2 * z - first - last), 2 * (last - first) + 1)
    corner = distance.argmin(axis=0)[None]
    at_end = (np.maximum(rest[0], rest[1]) == gap) & touching.any(axis=0)
    chosen = np.where(at_end, corner, farthest)
    at, there = np.take_along_axis(z, chosen, 0)[0], np.take_along_axis(y, chosen, 0)[0]
    begins = ((z == at - 1) & (y != there)).any(axis=0)
    at = np.where(begins, at, at + 1)
    return Side(slope, height, gap, np.maximum(np.minimum(at, last), first + 1))


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
