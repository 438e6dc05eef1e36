"""Staircases as the kernels search them: compared one by one, or by buckets with at most one threshold inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..machine import IntArray
from .forms import Data

INT32 = (-(2**31), 2**31 - 1)
LINEAR = 0
BUCKETS = 1
MOST_LINEAR = 16
"""Up to so many thresholds all are compared."""
MOST_BUCKETS = 1 << 14


@dataclass(frozen=True, eq=False)
class Steps:
    """Distinct thresholds within a range, and the value behind each of them.

    Attributes
    ----------
    thresholds : int64 (T,)
        Strictly ascending; all are reached by some integer of the range and not reached by some other.
    values : int64 (T + 1,)
    """

    thresholds: IntArray
    values: IntArray

    @classmethod
    def of(cls, thresholds: IntArray, values: IntArray, lo: int, hi: int) -> Steps:
        """What matters of a staircase for integers lo..hi."""
        first = int(np.searchsorted(thresholds, lo, side="right"))
        last = int(np.searchsorted(thresholds, hi, side="right"))
        inside = thresholds[first:last]
        kept = np.append(np.flatnonzero(inside[1:] != inside[:-1]), len(inside) - 1)[: len(inside)]
        return cls(inside[kept], values[[first, *(first + 1 + kept)]])

    @property
    def spacing(self) -> int | None:
        """By how much each value is above the one before; None if that varies."""
        gaps = np.diff(self.values)
        if not len(gaps):
            return 1
        return int(gaps[0]) if gaps[0] > 0 and bool((gaps == gaps[0]).all()) else None

    def shift(self) -> int | None:
        """Logarithm of the width of buckets; None if comparing all or a plain search is better."""
        if len(self.thresholds) <= MOST_LINEAR:
            return None
        gap, span = int(np.diff(self.thresholds).min()), int(self.thresholds[-1] - self.thresholds[0]) + 2
        shift = min(30, gap.bit_length() - 1)
        return shift if span >> shift < MOST_BUCKETS and span < 2**31 else None

    def describe(self) -> str:
        """How it is searched."""
        shift = self.shift()
        if shift is None:
            return f"{len(self.thresholds)} thresholds compared"
        span = int(self.thresholds[-1] - self.thresholds[0]) + 2
        return f"{len(self.thresholds)} thresholds in {(span >> shift) + 1} buckets"

    def words(self, data: Data, values: IntArray | None = None) -> list[int]:
        """As ``read_staircase`` takes them; `values` instead of its own."""
        t, shift = self.thresholds, self.shift()
        values = self.values if values is None else values
        if shift is None:
            # in tables of whole vectors
            more = max(1, 32 - len(t))
            padded = [*t, *[INT32[1]] * more], [*values, *[values[-1]] * (more - 1)]
            return [LINEAR, len(t), data.add(padded[0], np.int32), data.add(padded[1], np.int32), 0, 0, 0, 0, -1]
        head = [len(t), data.add([*t, INT32[1]], np.int32), data.add(values, np.int32)]
        lo, hi = int(t[0]) - 1, int(t[-1])
        starts = lo + (np.arange((hi - lo >> shift) + 1) << shift)
        base = np.searchsorted(t, starts, side="right")
        return [BUCKETS, *head, lo, hi, shift, len(base), data.add(base, np.int32)]
