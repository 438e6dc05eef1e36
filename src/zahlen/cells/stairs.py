"""Staircases of recurrent cells: the logistic function and the tangent, rounded to levels with exact thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..machine import IntArray, Levels, tables

GATE = 256
"""What an open gate is worth."""
NARROW = 16
"""From so many levels on an even number of them is reduced by one, to have a zero."""


@dataclass(frozen=True, eq=False)
class Stairs:
    """y = values[number of thresholds at or below z].

    Attributes
    ----------
    thresholds, values : int64 (T,), (T + 1,)
    """

    thresholds: IntArray
    values: IntArray

    @property
    def levels(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, z: int) -> int:
        """The value reached at one integer."""
        return int(self.values[np.searchsorted(self.thresholds, z, side="right")])

    def numbers(self) -> IntArray:
        """As the kernels read it: buckets of 2^shift integers, each with at most one threshold inside."""
        t = self.thresholds
        lo, hi = int(t[0]) - 1, int(t[-1])
        gap = int(np.diff(t).min()) if len(t) > 1 else 1
        shift = max(0, gap.bit_length() - 1)
        starts = np.arange(lo, hi + 1, 1 << shift)
        base = np.searchsorted(t, starts, side="right")
        return np.concatenate([[lo, hi, shift, self.levels, len(base)], base, [*t, 2**31 - 1], self.values])


def with_zero(levels: int) -> Levels:
    """Symmetric levels that include zero where there are enough of them; `hi` stands for 1.0.

    For even L from `NARROW` on they are one less: the narrow range of signed quantisers. A unit of an LSTM that has
    nothing to say is then to say zero, which was measured to matter more than a level (King James text: 15 levels
    1.984 bits, 16 without a zero 1.997); with few levels the lost one matters more (7 levels 2.129, 8 without a zero
    2.105). A GRU, whose state is fine anyway, does not gain.

    >>> with_zero(5), with_zero(4), with_zero(16)
    (Levels(lo=-4, hi=4, step=2), Levels(lo=-3, hi=3, step=2), Levels(lo=-14, hi=14, step=2))
    """
    return Levels.odd(levels if levels % 2 or levels < NARROW else levels - 1)


def worth(grid: Levels, one: int) -> IntArray:
    """Symmetric levels in units of which `one` make 1.0, halves away from zero, so that signs stay symmetric.

    >>> worth(Levels.odd(5), 127)
    array([-127,  -64,    0,   64,  127])
    """
    steps = one * np.arange(grid.lo, grid.hi + 1, grid.step)
    return np.asarray(np.sign(steps) * ((2 * np.abs(steps) + grid.hi) // (2 * grid.hi)))


def middles(grid: Levels) -> list[Fraction]:
    """Half way between neighbours, as real numbers."""
    return [Fraction(2 * v + grid.step, 2 * grid.hi) for v in range(grid.lo, grid.hi, grid.step)]


def gate_stairs(levels: int, unit: int) -> Stairs:
    """The logistic function at `unit` steps per 1.0, rounded to L levels worth 0..256."""
    values = (2 * GATE * np.arange(levels) + levels - 1) // (2 * (levels - 1))
    return Stairs(tables.thresholds(tables.sigmoid_points(levels), unit), values)


def tanh_stairs(grid: Levels, unit: int, one: int) -> Stairs:
    """The hyperbolic tangent at `unit` steps per 1.0, rounded to the grid, worth `one` to 1.0."""
    points = [tables.atanh(middle) for middle in middles(grid)]
    return Stairs(tables.thresholds(points, unit), worth(grid, one))


def nearest_stairs(grid: Levels, one: int) -> Stairs:
    """Integers from -one to one, of which each goes to the nearest element of the grid, halves up."""
    edges = [math.ceil(one * middle) for middle in middles(grid)]
    return Stairs(np.array(edges), np.arange(grid.lo, grid.hi + 1, grid.step))


def tanh_edge(grid: Levels) -> Fraction:
    """Where the slope of a rounded tanh stops falling: the middle of what rounds to 1."""
    return 1 - Fraction(grid.step, 4 * grid.hi)
