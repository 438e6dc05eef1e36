"""Branch and bound: regions are split until each is closed in integers, or a counterexample turns up.

Each split makes a finite range smaller, so this ends.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from .attack import Annealing, Batch, corners, values
from .certificates import Node, Tree, flat
from .duals import Dual, Floats, Improved
from .program import Program
from .region import Region
from .regions import SCALE, Bounder
from .replay import every_point, points_of
from .splitting import Choice, Splitter

POINTS = 1 << 12
"""A region of at most so many points is gone through."""
BATCH = 32
"""Most regions that are split at once."""
LONG = 0.5
"""Seconds of a step after which the next one takes fewer."""
ANNEALED = 0.15
"""The part of the time in which inputs are changed by chance."""
STEPS = 60
"""How long multipliers are looked for in each region."""


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
    choice : Choice or None
        How it is split.
    parts : list of Branch
        Below and above the split.
    parent : Branch or None
    start : dict or None
        Multipliers of the region that this is a part of.
    bound : float
        About what the goal is nowhere below here; regions with the least come first.
    level : int
        Splits that led here.
    """

    region: Region | None
    start: dict[str, Floats] | None = None
    leaf: Node | None = None
    choice: Choice | None = None
    parts: list[Branch] = field(default_factory=list)
    parent: Branch | None = None
    bound: float = -np.inf
    level: int = 0

    def close(self, leaf: Node) -> None:
        """Note what closes this."""
        self.leaf, self.region, self.start = leaf, None, None

    def tree(self) -> Tree:
        """All nodes below this one, as a certificate has them."""
        found, pending = [], [self]
        while pending:
            branch = pending.pop()
            if branch.choice is not None:
                split = branch.choice.split
                found.append(Node("split", split.wire, split.index, split.at))
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
    program : Program or None
        Where multipliers come from; without one they are looked for by steps along slopes.
    regions : int
        How many were looked at.
    closest, least : Batch or None, float
        The input that was tried at which the element is least, and what it is there.
    splitter : Splitter
    annealing, annealed, started : Annealing or None, float, float
        From there on by chance, for how many seconds so far, since the search began.
    method : str
        What found the inputs.
    """

    bounder: Bounder
    row: int
    deadline: float
    program: Program | None = None
    regions: int = 0
    closest: Batch | None = None
    least: float = np.inf
    splitter: Splitter = field(init=False)
    annealing: Annealing | None = None
    annealed: float = 0
    method: str = "branch and bound"
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.splitter = Splitter(self.bounder)
        if self.program is not None:
            self.program.aim(self.row)

    def run(self, whole: Region) -> Tree | Batch:
        """A tree that proves the element of the goal to be nowhere negative, or inputs of which it is at one.

        Raises
        ------
        OutOfTimeError
            If neither is found in time.
        """
        root = Branch(whole)
        number = count()
        heap: list[tuple[float, int, Branch]] = []
        some, batch, began = [root], 1, time.monotonic()
        while True:
            if time.monotonic() > self.deadline:
                raise OutOfTimeError
            self.regions += len(some)
            for bad in self._examined(some):
                return bad
            for branch in some:
                self._learn(branch)
                if branch.leaf is None:
                    heapq.heappush(heap, (branch.bound, next(number), branch))
            if not heap:
                return root.tree()
            batch = min(batch * 2, BATCH) if time.monotonic() - began < LONG else max(batch // 2, 1)
            if (found := self._annealed()) is not None:
                return found
            began = time.monotonic()
            some = self._divided([heapq.heappop(heap)[2] for _ in range(min(batch, len(heap)))])

    def _annealed(self) -> Batch | None:
        """Inputs of which the element is negative at one, from the input that came closest, for a part of the time."""
        now = time.monotonic()
        due = ANNEALED * (now - self.started) - self.annealed
        if self.closest is None or due < LONG:
            return None
        if self.annealing is None:
            self.annealing = Annealing(self.bounder, self.closest, self.row)
        self.annealing.take(self.closest)
        found = self.annealing.run(min(now + due, self.deadline))
        self.annealed += time.monotonic() - now
        if found is not None:
            self.method = "annealing"
        return found

    def _learn(self, part: Branch) -> None:
        whole = part.parent
        if whole is not None and whole.choice is not None and np.isfinite(whole.bound):
            gain = (0.0 if part.leaf else min(part.bound, 0.0)) - whole.bound
            self.splitter.learn(whole.choice, part is whole.parts[1], gain)

    def _examined(self, some: list[Branch]) -> Iterator[Batch]:
        """Close each of these, or choose where to split it; yields a batch with a counterexample if there is one."""
        for branch in some:
            assert branch.region is not None
            if points_of(self.bounder, branch.region) <= POINTS:
                for x, y in every_point(self.bounder, branch.region):
                    if (y[:, self.row] < 0).any():
                        yield x
                branch.close(Node("points"))
        some = [branch for branch in some if branch.leaf is None]
        if not some:
            return
        linear = self.bounder.at_goal(_regions(some), np.full(len(some), self.row))
        yield from self._bad(corners(self.bounder, self.bounder.goal.ends, linear.inputs))
        for branch, bound in zip(some, linear.bounds):
            branch.bound = max(branch.bound, float(bound))
            if bound >= 0:
                branch.close(Node("linear"))
        rest = [k for k, branch in enumerate(some) if branch.leaf is None]
        if rest:
            yield from self._improved(
                [some[k] for k in rest],
                {n: m[rest].astype(np.float64) / (1 << SCALE) for n, m in linear.operands.items()},
            )

    def _improved(self, some: list[Branch], linear: dict[str, Floats]) -> Iterator[Batch]:
        """Close these by multipliers, better ones than those of linear bounds and of wholes, or choose their splits."""
        dual = Dual(self.bounder, _regions(some), [self.row] * len(some))
        found = self._multipliers(dual, linear, [branch.start for branch in some])
        yield from self._bad(self._inputs(found))
        for k, branch in enumerate(some):
            assert branch.region is not None
            branch.bound = max(branch.bound, float(found.bounds[k]))
            multipliers = dual.rounded(found.multipliers, k)
            if found.bounds[k] > -1 and self.bounder.dual_bound(branch.region, self.row, multipliers) >= 0:
                branch.close(Node("dual", multipliers=tuple((n, flat(m)) for n, m in multipliers.items() if m.any())))
            else:
                branch.start = {n: m[k] for n, m in found.multipliers.items()}
                branch.choice = self.splitter.choose(dual, found, k, branch.level)

    def _multipliers(self, dual: Dual, linear: dict[str, Floats], starts: list[dict[str, Floats] | None]) -> Improved:
        if self.program is None:
            return dual.improve(dual.better(linear, starts), STEPS)
        solved = [self.program.solve(region, self.deadline - time.monotonic()) for region in dual.regions]
        multipliers = {
            n: np.stack([linear[n][k] if one is None else one.multipliers[n] for k, one in enumerate(solved)])
            for n in linear
        }
        now = dual(multipliers)
        operands = {
            n: np.stack(
                [(slope + now.chosen[n])[k] if one is None else one.operands[n] for k, one in enumerate(solved)]
            )
            for n, slope in now.slopes.items()
        }
        for n, x in now.inputs.items():
            now.inputs[n] = np.stack([x[k] if one is None else one.inputs[n] for k, one in enumerate(solved)])
        return Improved(now.bounds, multipliers, now, operands)

    def _inputs(self, found: Improved) -> Batch:
        """Where the bounds have the inputs."""
        return {
            n: found.at.inputs.get(n, np.repeat(lo[None], len(found.bounds), axis=0)).astype(
                self.bounder.goal.machine.wires[n].value_dtype
            )
            for n, (lo, _) in self.bounder.goal.ends.items()
        }

    def _bad(self, x: Batch) -> Iterator[Batch]:
        found = values(self.bounder, x)
        if (found < 0).any():
            yield x
        k = int(found[:, self.row].argmin())
        if found[k, self.row] < self.least:
            self.least, self.closest = float(found[k, self.row]), {n: v[k : k + 1] for n, v in x.items()}

    def _divided(self, some: list[Branch]) -> list[Branch]:
        """The parts of these that are not empty."""
        regions, splits = [], []
        for branch in some:
            assert branch.region is not None
            assert branch.choice is not None
            regions += [branch.region] * 2
            splits += [branch.choice.split.other, branch.choice.split]
        parts = self.bounder.parts(regions, splits)
        found = []
        for k, branch in enumerate(some):
            branch.parts = [
                Branch(part, branch.start, bound=branch.bound, level=branch.level + 1, parent=branch)
                for part in parts[2 * k : 2 * k + 2]
            ]
            branch.region = branch.start = None
            for part in branch.parts:
                if part.region is None:
                    part.close(Node("empty"))
                else:
                    found.append(part)
        return found


def _regions(some: list[Branch]) -> list[Region]:
    return [branch.region for branch in some if branch.region is not None]
