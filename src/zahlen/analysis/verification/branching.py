"""Branch and bound: regions are split until each is closed in integers, or a counterexample turns up.

What is split is an element that the bound loses most at: the operand of a curve, at about the value that the relaxed
problem has there; where no curve loses anything, an input. Each split makes a finite range smaller, so this ends.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from ...machine import operations as op
from ...machine.reference import apply
from .attack import Batch, climb, values
from .certificates import Node, Tree, flat
from .duals import Dual, Floats, Improved
from .regions import Bounder, Region, Split
from .replay import closes, every_point, inputs_of, points_of

POINTS = 1 << 12
"""A region of at most so many points is gone through."""
BATCH = 16
"""Regions that multipliers are looked for at once."""
FEW, SOME = 3, 20
"""Of so few elements of the inputs that change one is split, not a curve; of some of them at every other level."""
FIRST_STEPS, STEPS = 100, 60
"""How long, for the whole box and for parts."""


class OutOfTimeError(Exception):
    """Time ended before the tree was closed."""


@dataclass(eq=False)
class Branch:
    """A node of the tree that is searched.

    Attributes
    ----------
    region : Region or None
        None once it is closed or split.
    leaf : Node or None
    split : Split or None
    parts : list of Branch
        Below and above the split.
    start : dict or None
        Multipliers of the region that this is a part of.
    bound : float
        What is known of the goal here, from floats; regions with the least come first.
    level : int
        Splits that led here.
    """

    region: Region | None
    start: dict[str, Floats] | None = None
    leaf: Node | None = None
    split: Split | None = None
    parts: list[Branch] = field(default_factory=list)
    bound: float = -np.inf
    level: int = 0

    def tree(self) -> Tree:
        """All nodes below this one, as a certificate has them."""
        found, pending = [], [self]
        while pending:
            branch = pending.pop()
            if branch.split is not None:
                found.append(Node("split", branch.split.wire, branch.split.index, branch.split.at))
                pending += reversed(branch.parts)
            else:
                assert branch.leaf is not None
                found.append(branch.leaf)
        return tuple(found)


@dataclass(eq=False)
class Search:
    """The search for one element of the goal.

    Attributes
    ----------
    bounder : Bounder
    row : int
    deadline : float
        When it ends, by `time.monotonic`.
    regions : int
        How many were looked at.
    """

    bounder: Bounder
    row: int
    deadline: float
    regions: int = 0

    def run(self, whole: Region) -> Tree | Batch:
        """A tree that proves the element of the goal to be nowhere negative, or inputs of which it is at one.

        Raises
        ------
        OutOfTimeError
            If neither is found in time.
        """
        root = Branch(whole)
        number = count()
        heap: list[tuple[float, int, Branch]] = [(-np.inf, next(number), root)]
        while heap:
            if time.monotonic() > self.deadline:
                raise OutOfTimeError
            some = [heapq.heappop(heap)[2] for _ in range(min(BATCH, len(heap)))]
            self.regions += len(some)
            for bad in self._worked(some):
                return bad
            for branch in some:
                for part in branch.parts:
                    if part.leaf is None:
                        heapq.heappush(heap, (part.bound, next(number), part))
        return root.tree()

    def _worked(self, some: list[Branch]) -> Iterator[Batch]:
        """Close or split each of these; yields a batch with a counterexample if there is one."""
        for branch in some:
            assert branch.region is not None
            if points_of(self.bounder, branch.region) <= POINTS:
                for x, y in every_point(self.bounder, branch.region):
                    if (y[:, self.row] < 0).any():
                        yield x
                branch.leaf = Node("points")
        some = [branch for branch in some if branch.leaf is None]
        if not some:
            return
        regions = [branch.region for branch in some if branch.region is not None]
        dual = Dual(self.bounder, regions, [self.row] * len(some))
        first = some[0].start is None
        starts = dual.start() if first else _stacked([b.start for b in some if b.start is not None])
        found = dual.improve(starts, FIRST_STEPS if first else STEPS)
        x = self._inputs(found)
        if (values(self.bounder, x) < 0).any():
            yield x
        if first:
            for tried in climb(self.bounder, regions[0], x, np.full(len(some), self.row), rounds=6):
                if (values(self.bounder, tried) < 0).any():
                    yield tried
        for k, branch in enumerate(some):
            assert branch.region is not None
            branch.bound = float(found.bounds[k])
            multipliers = dual.rounded(found.multipliers, k)
            if found.bounds[k] > -1 and self.bounder.dual_bound(branch.region, self.row, multipliers) >= 0:
                branch.leaf = Node("dual", multipliers=tuple((n, flat(m)) for n, m in multipliers.items() if m.any()))
            else:
                branch.split = self._split(dual, found, k, branch.level)
                start = {n: m[k] for n, m in found.multipliers.items()}
                branch.parts = [self._part(branch, above, start) for above in (False, True)]
            branch.region = branch.start = None

    def _part(self, branch: Branch, above: bool, start: dict[str, Floats]) -> Branch:
        assert branch.region is not None
        assert branch.split is not None
        split = branch.split
        region = self.bounder.part(branch.region, split if split.above == above else split.other)
        part = Branch(region, start, bound=branch.bound, level=branch.level + 1)
        for node in (Node("empty"), Node("ends"), Node("linear")):
            if closes(self.bounder, region, self.row, node):
                part.leaf, part.region, part.start = node, None, None
                break
        return part

    def _inputs(self, found: Improved) -> Batch:
        batch = len(found.bounds)
        x = {}
        for name, (lo, _) in self.bounder.goal.ends.items():
            value = found.at.inputs.get(name)
            dtype = self.bounder.goal.machine.wires[name].value_dtype
            x[name] = np.repeat(lo[None], batch, axis=0) if value is None else value.astype(dtype)
        return x

    # ------------------------------------------------------------------------------------------------ splitting

    def _split(self, dual: Dual, found: Improved, k: int, level: int) -> Split:
        region = dual.regions[k]
        changing = sum(int((lo < hi).sum()) for lo, hi in inputs_of(self.bounder, region).values())
        if changing <= FEW or (changing <= SOME and level % 2):
            return self._input_split(found, k, region)
        best, chosen = 1e-6, None
        for name, wire in self.bounder.curves.items():
            if name not in found.operands:
                continue
            operand = wire.operands[0]
            lo, hi = region.ends[operand]
            z = np.clip(found.operands[name][k], lo.astype(np.float64), hi.astype(np.float64))
            nearest = np.rint(z).astype(np.int64)
            y = apply(wire.operation, np.asarray(nearest)[None])[0]
            w, m = found.at.weights[name][k], found.multipliers[name][k]
            points_z, points_y = dual.points[name]
            least = (w * points_y[k] - m * points_z[k]).min(axis=0)
            lost = np.where(lo < hi, w * y - m * nearest - least, -np.inf)
            index = int(np.argmax(lost))
            if lost.flat[index] > best:
                best = float(lost.flat[index])
                chosen = operand, index, self._threshold(region, wire, index, float(z.flat[index]))
        return self._input_split(found, k, region) if chosen is None else Split(*chosen, above=True)

    def _threshold(self, region: Region, wire: object, index: int, z: float) -> int:
        """Where to split a curve's operand: the beginning of a piece of the curve next to a value."""
        found = region.points(wire)  # type: ignore[arg-type]
        zs = found.z.reshape(len(found.z), -1)[:, index]
        lo, hi = int(zs.min()), int(zs.max())
        starts = np.unique(zs[zs > lo])
        if not len(starts):
            return hi
        return int(starts[np.abs(starts - z).argmin()])

    def _input_split(self, found: Improved, k: int, region: Region) -> Split:
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
        return chosen


def _stacked(starts: list[dict[str, Floats]]) -> dict[str, Floats]:
    return {n: np.stack([s[n] for s in starts]) for n in starts[0]}
