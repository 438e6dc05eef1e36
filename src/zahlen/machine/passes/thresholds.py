"""Staircases keep only the thresholds that can be met and that change the value."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import numpy as np

from .. import operations as op
from ..alphabets import IntArray
from ..machine import Machine, Wire
from ..ranges import Range
from .folding import fold_where
from .rewrite import nodes, rebuilt, size

Row = tuple[list[int], list[int]]
"""The thresholds and values of one channel."""


def prune_thresholds(machine: Machine) -> Machine:
    """Drop thresholds that are out of reach, that skip no reachable value, or at which the value stays the same.

    Rows of a staircase per channel are pruned each by its own channel's range and stay rectangular: a shorter row
    repeats its last threshold and value. Rows that all agree become one. A staircase that is constant becomes a
    constant where that takes no more integers. A staircase is left as it is unless it gets smaller.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    Machine

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(-3, 3))
    >>> machine = b.build(b.staircase(x, [-5, 0, 2, 2, 3, 9], [0, 1, 2, 3, 4, 4, 5], name="y"))
    >>> pruned = prune_thresholds(machine).wires["y"].operation
    >>> pruned.thresholds.tolist(), pruned.values.tolist()
    ([0, 2], [1, 2, 4])
    """
    folded = fold_where(machine, lambda wire: isinstance(wire.operation, op.Staircase))
    program = nodes(folded)
    for wire in folded.wires.values():
        if isinstance(wire.operation, op.Staircase):
            operand = folded.wires[wire.operands[0]]
            program[wire.name] = (_pruned(wire.operation, operand), wire.operands)
    return rebuilt(folded, program)


def _pruned(operation: op.Staircase, operand: Wire) -> op.Staircase:
    """The smallest of the staircase itself, one with a shared row, and one with the shortest rows."""
    candidates = [operation]
    t, v = np.atleast_2d(operation.thresholds), np.atleast_2d(operation.values)
    if bool((t == t[0]).all()) and bool((v == v[0]).all()):
        lo, hi = operand.range.hull()
        candidates.append(_staircase(operation.axis, [_row(t[0], v[0], lo, hi, operand.range)]))
    if operation.per_channel:
        axis = operation.axis % len(operand.shape)
        others = tuple(k for k in range(len(operand.shape)) if k != axis)
        lows, highs = operand.range.lo.min(axis=others), operand.range.hi.max(axis=others)
        rows = [_row(t[c], v[c], int(lows[c]), int(highs[c]), operand.range) for c in range(len(t))]
        candidates.append(_staircase(operation.axis, rows))
    return min(candidates, key=size)


def _row(t: IntArray, v: IntArray, lo: int, hi: int, grid: Range) -> Row:
    """The shortest row that agrees with this one on the values of `grid` in lo..hi."""
    # Python and NumPy integers compare exactly, also where lo and hi leave int64
    first, last = bisect_right(t, lo), bisect_right(t, hi)
    # position p, the number of thresholds met, is reached if a value of the grid lies before threshold p
    reached = [first]
    if last > first:
        least = _next_on_grid(t[first:last], lo, grid.step)
        gaps = np.flatnonzero(least[1:] > least[:-1]) + first + 1
        reached += [*gaps.tolist(), last]
    changes = [p for before, p in pairwise(reached) if v[before] != v[p]]
    thresholds = [int(t[p - 1]) for p in changes]
    # a row needs at least one threshold; its own first one cannot widen what the staircase works with
    return thresholds or [int(t[0])], [int(v[first]), *(int(v[p]) for p in changes)] if changes else [int(v[first])] * 2


def _next_on_grid(t: IntArray, lo: int, step: int) -> IntArray:
    """The least value of lo + k step at or above each threshold."""
    if step == 1:
        return t
    exact = t.astype(object)
    return np.asarray(exact + (lo - exact) % step)


def _staircase(axis: int, rows: list[Row]) -> op.Staircase:
    """A staircase of these rows, filled up to one length; one row for all if they agree."""
    longest = max(len(t) for t, _ in rows)
    thresholds = [t + t[-1:] * (longest - len(t)) for t, _ in rows]
    values = [v + v[-1:] * (longest + 1 - len(v)) for _, v in rows]
    if all(row == rows[0] for row in rows):
        return op.Staircase(axis, np.array(thresholds[0]), np.array(values[0]))
    return op.Staircase(axis, np.array(thresholds), np.array(values))
