"""Where to split a region: at the element that its bound loses most at, as far as splits of before tell.

A curve's element counts for how far the curve is from its line at most, weighed with what the bound loses at the value
that the relaxed problem has there; and for how much splits of it raised bounds so far, below and above, in units of
that: a pseudocost (Benichou et al., Mathematical Programming 1, 1971; Achterberg et al., OR Letters 33, 2005). Where no
curve loses anything, an input is split.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...machine import operations as op
from .duals import Dual, Floats, Improved
from .region import Region, Split
from .regions import Bounder
from .replay import inputs_of

FEW, SOME = 3, 20
"""Of so few elements of the inputs that change one is split, not a curve; of some of them at every other level."""
LEAST = 1e-3
"""What a split that raised no bound counts for, in units of what all raised on the average."""


@dataclass(frozen=True)
class Choice:
    """A split, and what it may raise the bound by.

    Attributes
    ----------
    split : Split
    curve : str
        The curve that bends there; none if an input is split.
    loss : float
    """

    split: Split
    curve: str = ""
    loss: float = 0.0


@dataclass(eq=False)
class Splitter:
    """Chooses splits, and learns from what they did.

    Attributes
    ----------
    bounder : Bounder
    gains, counts : dict of float arrays
        By curve the sums of what splits raised bounds by, in units of their losses, and how many they were,
        (2, elements): of the parts below and of those above.
    """

    bounder: Bounder
    gains: dict[str, Floats] = field(default_factory=dict)
    counts: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, wire in self.bounder.curves.items():
            self.gains[name], self.counts[name] = np.zeros((2, 2, wire.size))

    def learn(self, choice: Choice, above: bool, gain: float) -> None:
        """Note what a part gained over its whole."""
        if choice.curve:
            self.gains[choice.curve][int(above), choice.split.index] += gain / choice.loss
            self.counts[choice.curve][int(above), choice.split.index] += 1

    def choose(self, dual: Dual, found: Improved, k: int, level: int) -> Choice:
        """A split of the region k of these, that has had so many before."""
        region = dual.regions[k]
        changing = sum(int((lo < hi).sum()) for lo, hi in inputs_of(self.bounder, region).values())
        if changing <= FEW or (changing <= SOME and level % 2):
            return self._of_inputs(found, k, region)
        count = sum(c.sum() for c in self.counts.values())
        mean = sum(g.sum() for g in self.gains.values()) / count if count else 1.0
        most, chosen = 1e-6, None
        for name, wire in self.bounder.curves.items():
            if name not in found.operands:
                continue
            below, above = region.sides[name]
            w = found.at.weights[name][k].ravel()
            gap = np.abs(w) * np.where(w >= 0, below.gap, above.gap).astype(np.float64) * 2.0 ** -region.bits[name]
            loss = np.sqrt(gap * np.maximum(dual.lost(found, name, k), 0))
            raised = (self.gains[name] + mean) / (self.counts[name] + 1)
            score = loss * np.sqrt(np.maximum(raised, LEAST * mean).prod(axis=0))
            index = int(score.argmax())
            if score[index] > most:
                most = float(score[index])
                side = below if w[index] >= 0 else above
                split = Split(wire.operands[0], index, int(side.at[index]), above=True)
                chosen = Choice(split, name, float(loss[index]))
        return self._of_inputs(found, k, region) if chosen is None else chosen

    def _of_inputs(self, found: Improved, k: int, region: Region) -> Choice:
        best, chosen = -1.0, None
        for name, wire in self.bounder.wires.items():
            if isinstance(wire.operation, op.Input):
                lo, hi = region.ends[name]
                w = found.at.weights.get(name)
                width = (hi - lo).astype(np.float64)
                score = np.where(width > 0, width * ((0 if w is None else np.abs(w[k])) + 1e-9), -1.0)
                index = int(np.argmax(score))
                if score.flat[index] > best:
                    best, step = float(score.flat[index]), wire.alphabet.step
                    low, high = int(lo.flat[index]), int(hi.flat[index])
                    chosen = Split(name, index, low + ((high - low) // step + 1) // 2 * step, True)
        assert chosen is not None
        return Choice(chosen)
