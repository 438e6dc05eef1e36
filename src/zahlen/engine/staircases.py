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
NEAR = 32
"""Buckets whose entries lie in registers."""
MOST_NEAR = 15
"""Thresholds that are searched there, so that counts choose one of sixteen values."""


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

    def near(self) -> tuple[int, int, int, IntArray] | None:
        """Buckets by a multiplication: lo, hi, the shift before it, and entries, factor and shift behind; None if none.

        With y = clamp(x, lo, hi) - lo, bucket ((y >> shift) factor) >> 16 holds one threshold at most, and then
        (y + entry) >> behind is how many of all are at or below x.
        """
        t = self.thresholds
        if not 0 < len(t) <= MOST_NEAR or int(t[-1] - t[0]) >= 2**30:
            return None
        lo, hi = int(t[0]) - 1, int(t[-1])
        shift = max(0, (hi - lo).bit_length() - 16)
        most = min(2**16 - 1, (NEAR << 16) // ((hi - lo >> shift) + 1))
        for factor in range(most, most - most // 8 - 1, -max(1, most // 64)):
            if factor <= 0:
                break
            found = (t - lo >> shift) * factor >> 16
            if (np.diff(found) > 0).all():
                break
        else:
            return None
        # each bucket's first y; the last one's end
        starts = -(-(np.arange(NEAR + 1) << 16) // factor) << shift
        behind = int(np.diff(starts).max()).bit_length()
        if (len(t) + 3) << behind >= 2**31:
            return None
        threshold = starts[1:].copy()
        threshold[found] = t - lo
        base = np.searchsorted(t - lo, starts[:-1], side="left")
        return lo, hi, shift, np.append((base + 1 << behind) - threshold, [factor, behind])

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
            head = [LINEAR, len(t), data.add(padded[0], np.int32), data.add(padded[1], np.int32)]
            near = self.near()
            if near is None:
                return [*head, 0, 0, 0, 0, -1]
            lo, hi, shift, table = near
            return [*head, lo, hi, shift, len(table), data.add(table, np.int32)]
        head = [len(t), data.add([*t, INT32[1]], np.int32), data.add(values, np.int32)]
        lo, hi = int(t[0]) - 1, int(t[-1])
        starts = lo + (np.arange((hi - lo >> shift) + 1) << shift)
        base = np.searchsorted(t, starts, side="right")
        return [BUCKETS, *head, lo, hi, shift, len(base), data.add(base, np.int32)]
