"""Weights on an integer grid: which integers they may take, and what those are worth."""

from __future__ import annotations

import math

from .machine import LayerError, Levels

LARGEST = 2**22
"""Greatest absolute value of a weight: sums and differences of two are exact in float32."""


def weight_grid(weights: int | Levels) -> Levels:
    """The grid of a number of weight values: symmetric, with zero if the number is odd.

    >>> weight_grid(255), weight_grid(3), weight_grid(2)
    (Levels(lo=-127, hi=127, step=1), Levels(lo=-1, hi=1, step=1), Levels(lo=-1, hi=1, step=2))
    """
    if isinstance(weights, Levels):
        if weights.size < 2 or max(abs(weights.lo), abs(weights.hi)) > LARGEST:
            raise LayerError(f"weights: at least 2 values within +-{LARGEST} are due, got {weights}")
        return weights
    if isinstance(weights, bool) or not isinstance(weights, int) or weights < 2:
        raise LayerError(f"weights: a number of values of at least 2, or Levels, is due; got {weights!r}")
    return weight_grid(Levels.odd(weights) if weights % 2 == 0 else Levels(-(weights // 2), weights // 2))


def default_scale(grid: Levels, fan_in: int) -> int:
    """Integer steps per 1.0 of a weight, so that the grid reaches well beyond the initial +-1/sqrt(fan_in).

    Fine grids reach eight times as far, rounded to the nearest power of two (in logarithms; halves go up); coarse ones
    only just, or all would start at zero. Integers decide it, so that it is the same on every computer.

    >>> default_scale(Levels(-127, 127), 784), default_scale(Levels(-7, 7), 256), default_scale(Levels(-1, 1), 784)
    (512, 16, 28)
    """
    square = fan_in * max(abs(grid.lo), abs(grid.hi)) ** 2  # of the reach in integer steps
    if grid.size < 15:
        return (math.isqrt(4 * square) + 1) // 2
    # 2^k is nearest to the root of square / 64 where that is from 2^(2k-1) on and below 2^(2k+1)
    return 1 << max(0, (square.bit_length() - 6) // 2)


def readout_scale(grid: Levels, fan_in: int) -> int:
    """Of the last layer, whose weights grow larger than those before a saturating activation."""
    reach = 4 if grid.size >= 128 else 2 if grid.size >= 15 else 1
    alive = math.isqrt(fan_in) // 2 + 1  # the least scale at which not all initial weights round to zero
    return max(alive, default_scale(grid, fan_in) // reach)
