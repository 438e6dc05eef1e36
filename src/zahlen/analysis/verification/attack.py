"""Attacks: inputs of a box at which the goal is negative, found by trying. They prove nothing where they fail."""

from __future__ import annotations

import numpy as np

from ...machine import IntArray
from .regions import Bounder, Region

Candidate = dict[str, IntArray]


def corners(bounder: Bounder, region: Region, row: int) -> list[Candidate]:
    """The input that linear bounds take to be the worst for an element of the goal, and the middle."""
    rows: IntArray = np.zeros((1, bounder.wires[bounder.output].size), dtype=np.int64)
    rows[0, row] = 1
    weights = bounder.weights(region, rows)
    return [corner(bounder, {name: w[0] for name, w in weights.items()})]


def corner(bounder: Bounder, weights: dict[str, IntArray]) -> Candidate:
    """The input with the least sum of these weights times its elements; without a weight at the middle."""
    found = {}
    for name, (lo, hi) in bounder.goal.ends.items():
        step = bounder.goal.machine.wires[name].alphabet.step
        middle = lo + (hi - lo) // 2 // step * step
        w = weights.get(name)
        found[name] = middle if w is None else np.where(w > 0, lo, np.where(w < 0, hi, middle))
    return found


def worst(bounder: Bounder, candidates: list[Candidate]) -> tuple[Candidate, IntArray]:
    """The candidate with the least element of the goal, and the goal there."""
    goal = bounder.goal.machine
    y = goal.run({n: np.stack([c[n] for c in candidates]) for n in goal.inputs})
    k = int(y.min(axis=1).argmin())
    return candidates[k], y[k]
