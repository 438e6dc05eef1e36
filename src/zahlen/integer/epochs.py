"""What an epoch gave, in integers, and for people."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .. import history


@dataclass
class Epoch(history.Epoch):
    """An epoch of training in integers; `clamps` counts values that had to be clamped to their widths."""

    clamps: int = 0


@dataclass
class Record:
    """What an epoch gave, in integers: sums of losses, classes named right, targets; then the same of validation."""

    loss: int
    right: int | None
    count: int
    held_loss: int
    held_right: int | None
    held_count: int
    clamps: int
    nanoseconds: int

    def epoch(self, worth: float) -> Epoch:
        """As means, for people."""
        seen, held = means(self.loss, self.right, self.count), means(self.held_loss, self.held_right, self.held_count)
        return Epoch(seen[0] * worth, seen[1], held[0] * worth, held[1], self.nanoseconds / 10**9, clamps=self.clamps)


def means(loss: int, right: int | None, count: int) -> tuple[float, float]:
    """Mean loss, and the share of classes named right; nan where there are none."""
    if not count:
        return math.nan, math.nan
    return loss / count, math.nan if right is None else right / count
