"""Attacks: inputs of a box at which the goal is negative, found by trying. They prove nothing where they fail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray
from ...machine import operations as op
from ...machine.reference import apply
from .adjoint import pull
from .box import Ends
from .region import Region
from .regions import Bounder

Batch = dict[str, IntArray]
"""Inputs of the goal by name, (batch, *shape)."""
Floats = NDArray[np.float64]

ROUNDS = 12
"""Steps from each start."""
CHAINS, EXCHANGE = 64, 100
"""Inputs that are annealed at once, and after how many steps neighbours are exchanged."""


def middle(bounder: Bounder, ends: Ends) -> Batch:
    """The middle of a box, as a batch of one."""
    found = {}
    for name, (lo, hi) in ends.items():
        step = bounder.goal.machine.wires[name].alphabet.step
        found[name] = np.asarray(lo + (hi - lo) // 2 // step * step)[None]
    return found


def corners(bounder: Bounder, ends: Ends, weights: Mapping[str, IntArray | Floats]) -> Batch:
    """Where sums with these weights, (batch, *shape), are least; elements without a weight stay in the middle."""
    count = max((len(w) for w in weights.values()), default=1)
    found = {}
    for name, centre in middle(bounder, ends).items():
        lo, hi = ends[name]
        w = weights.get(name)
        found[name] = (
            np.repeat(centre, count, axis=0) if w is None else np.where(w > 0, lo, np.where(w < 0, hi, centre))
        )
    return found


def values(bounder: Bounder, x: Batch) -> IntArray:
    """The goal at a batch of inputs, (batch, n)."""
    return np.asarray(bounder.goal.machine.run(x))


def first_corners(bounder: Bounder, region: Region, rows: list[int], ends: Ends) -> Batch:
    """For elements of the goal the inputs at which the lines below them are least."""
    return corners(bounder, ends, bounder.at_goal([region], np.array(rows)).inputs)


def climb(bounder: Bounder, region: Region, x: Batch, rows: NDArray[np.int64], rounds: int = ROUNDS) -> Iterator[Batch]:
    """From each input step by step to where an element of the goal is less, by slopes of the curves around it.

    Parameters
    ----------
    bounder : Bounder
    region : Region
        What the widths are taken from over which slopes are measured: from a quarter of a curve's span downwards.
    x : Batch
    rows : integer array (batch,)
        The element of the goal for each input.
    rounds : int
    """
    machine = bounder.goal.machine
    ends = bounder.goal.ends
    best = np.full(len(rows), np.inf)
    kept = x
    for k in range(rounds):
        trace = machine.trace(x)
        found = trace[bounder.output][np.arange(len(rows)), rows].astype(np.float64)
        better = found < best
        best = np.where(better, found, best)
        kept = {n: np.where(better.reshape(-1, *[1] * (v.ndim - 1)), v, kept[n]) for n, v in x.items()}
        share = 4 << min(k, 40)
        weights = _gradient(bounder, region, trace, rows, share)
        target = corners(bounder, ends, weights)
        if k % 2:  # the way to the corner, for a part of the elements: those that weigh most
            for n, w in weights.items():
                flat = np.abs(w).reshape(len(rows), -1)
                if flat.shape[1] > 1:
                    bar = np.quantile(flat, 1 - 1 / (1 + k), axis=1).reshape(-1, *[1] * (w.ndim - 1))
                    target[n] = np.where(np.abs(w) >= bar, target[n], kept[n])
        x = target
        yield x


class Annealing:
    """Changes of one element at a time, to where roundings happen to fall badly.

    Simulated annealing at `CHAINS` temperatures that exchange what they have (replica exchange; Swendsen and Wang,
    Phys. Rev. Lett. 57, 2607, 1986). Nothing cools down: it goes on for as long as it is asked to.

    Parameters
    ----------
    bounder : Bounder
    x : Batch
        One input, to begin at.
    row : int
        The element of the goal that should become negative.
    seed : int
    """

    def __init__(self, bounder: Bounder, x: Batch, row: int, seed: int = 0) -> None:
        self.bounder, self.row, self.rng = bounder, row, np.random.default_rng(seed)
        self.free = {n: np.flatnonzero(np.ravel(lo < hi)) for n, (lo, hi) in bounder.goal.ends.items()}
        self.starts = dict(zip(self.free, np.cumsum([0, *map(len, self.free.values())])))
        self.total = sum(map(len, self.free.values()))
        self.x = {n: np.repeat(v[:1], CHAINS, axis=0) for n, v in x.items()}
        self.now = values(bounder, self.x)[:, row]
        self.heat: Floats | None = None
        self.turn = 0

    def take(self, x: Batch) -> None:
        """Let the coldest chain go on at another input, if the element is less there."""
        found = values(self.bounder, x)[0, self.row]
        if found < self.now[0]:
            self.now[0] = found
            for n, v in x.items():
                self.x[n][0] = v[0]

    def run(self, deadline: float) -> Batch | None:
        """Inputs of which the element is negative at one, if that comes to pass before a time of `time.monotonic`."""
        while self.total and time.monotonic() < deadline:
            tried = self._tried()
            found = values(self.bounder, tried)[:, self.row]
            if (found < 0).any():
                return tried
            rise = (found - self.now).astype(np.float64)
            if self.heat is None:
                self.heat = np.geomspace(0.02, 1, CHAINS) * max(1.0, float(np.median(np.abs(rise))))
            better = self.rng.random(CHAINS) < np.exp(np.minimum(0, -rise / self.heat))
            for n, v in tried.items():
                self.x[n][better] = v[better]
            self.now = np.where(better, found, self.now)
            if self.turn % EXCHANGE == 0:
                self._exchange(self.heat)
            self.turn += 1
        return None

    def _tried(self) -> Batch:
        """For each chain its input with one element changed."""
        tried = {n: v.copy() for n, v in self.x.items()}
        chosen, draw = self.rng.integers(0, self.total, CHAINS), self.rng.random(CHAINS)
        for name, places in self.free.items():
            chains = np.flatnonzero((chosen >= self.starts[name]) & (chosen < self.starts[name] + len(places)))
            at = places[chosen[chains] - self.starts[name]]
            lo, hi = (np.ravel(end)[at] for end in self.bounder.goal.ends[name])
            flat, step = tried[name].reshape(CHAINS, -1), self.bounder.goal.machine.wires[name].alphabet.step
            new = lo + step * (draw[chains] * ((hi - lo) // step)).astype(np.int64)
            flat[chains, at] = np.where(new < flat[chains, at], new, new + step)
        return tried

    def _exchange(self, heat: Floats) -> None:
        for first in (0, 1):
            cold = np.arange(first, CHAINS - 1, 2)
            gain = (1 / heat[cold] - 1 / heat[cold + 1]) * (self.now[cold] - self.now[cold + 1])
            cold = cold[self.rng.random(len(cold)) < np.exp(np.minimum(0, gain))]
            order = np.arange(CHAINS)
            order[cold], order[cold + 1] = cold + 1, cold
            self.x, self.now = {n: v[order] for n, v in self.x.items()}, self.now[order]


def _gradient(
    bounder: Bounder, region: Region, trace: Mapping[str, IntArray], rows: NDArray[np.int64], share: int
) -> dict[str, Floats]:
    goal = np.zeros((len(rows), bounder.wires[bounder.output].size))
    goal[np.arange(len(rows)), rows] = 1
    pending: dict[str, Floats] = {bounder.output: goal}
    found: dict[str, Floats] = {}
    for wire in reversed(list(bounder.wires.values())):
        if wire.name not in pending:
            continue
        w = pending.pop(wire.name)
        if isinstance(wire.operation, op.Input):
            found[wire.name] = w
        elif isinstance(wire.operation, op.Constant):
            continue
        elif wire.name in bounder.curves:
            z = trace[wire.operands[0]]
            lo, hi = region.ends[wire.operands[0]]
            width = np.maximum((hi - lo) // share, 1)
            rise = apply(wire.operation, np.asarray(z + width)) - apply(wire.operation, np.asarray(z - width))
            _collect(pending, wire.operands[0], w * (rise / (2 * width)).astype(np.float64))
        else:
            operands = [bounder.wires[n] for n in wire.operands]
            for x, back in zip(operands, pull(wire.operation, w, operands)):
                if back is not None:
                    _collect(pending, x.name, np.asarray(back))
    return found


def _collect(pending: dict[str, Floats], name: str, weights: Floats) -> None:
    pending[name] = pending[name] + weights if name in pending else weights
