"""The linear program of a region: curves by their convex hulls, all else as it is.

Its dual values are the best multipliers that there are. GLOP solves it with the dual simplex from where the region
before was left, which takes few steps where one is a part of the other. What it says proves nothing: multipliers are
rounded, and the bound is computed again in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray, Wire
from ...machine import operations as op
from .duals import Floats, hulls
from .region import Hull, Region
from .regions import Bounder, Weights

MOST = 1 << 18
"""Coefficients of the greatest program that is written down."""
PENALTY = 2.0**10
"""What sums may differ from operands for, in units of the goal's greatest weight, where nothing else is feasible."""


@dataclass(eq=False)
class Solution:
    """Where the linear program of a region is least.

    Attributes
    ----------
    multipliers, operands : dict of float arrays
        By curve what its operand weighs, and what it is, (*shape).
    inputs : dict of float arrays
        Rounded to values that they may take.
    """

    multipliers: dict[str, Floats]
    operands: dict[str, Floats]
    inputs: dict[str, Floats]


@dataclass(eq=False)
class _Columns:
    """Those elements of a wire that may differ, between ends that they have now."""

    wire: Wire
    places: NDArray[np.int64]
    variables: list[Any]
    lo: IntArray
    hi: IntArray

    def move_to(self, ends: tuple[IntArray, IntArray]) -> None:
        """Other ends."""
        lo, hi = (np.ravel(end)[self.places] for end in ends)
        for k in np.flatnonzero((lo != self.lo) | (hi != self.hi)).tolist():
            self.variables[k].SetBounds(float(lo[k]), float(hi[k]))
        self.lo, self.hi = lo, hi

    def spread_out(self, values: list[float], base: Floats) -> Floats:
        """All elements of the wire: these, and others as in `base`."""
        found = base.copy()
        found[self.places] = values
        return found.reshape(self.wire.shape)


class Program:
    """The linear programs of parts of a box.

    Parameters
    ----------
    bounder : Bounder
    whole : Region
        All regions are parts of this one.

    Raises
    ------
    ImportError
        If OR-Tools is not installed.
    """

    def __init__(self, bounder: Bounder, whole: Region) -> None:
        from ortools.linear_solver import pywraplp

        self.bounder = bounder
        self.solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self.solver.SetSolverSpecificParametersAsString("use_dual_simplex: true use_preprocessing: false")
        self.fixed = {n: np.ravel(lo).astype(np.float64) for n, (lo, _) in whole.ends.items()}
        self.values: dict[str, _Columns] = {}
        self.operands: dict[str, _Columns] = {}
        self.sums: dict[str, list[Any]] = {}
        self.slack: list[Any] = []
        self.hulls: dict[str, Hull] = {}
        self.edges: dict[str, list[list[Any]]] = {}
        for name, wire in bounder.wires.items():
            lo, hi = whole.ends[name]
            if name in bounder.curves:
                operand = bounder.wires[wire.operands[0]]
                some = np.flatnonzero(lo < hi)
                self.operands[name] = self._columns(operand, some, whole)
                self.sums[name] = self._equal(self.operands[name])
                self.edges[name] = [[] for _ in some]
            if name in bounder.curves or isinstance(wire.operation, op.Input):
                self.values[name] = self._columns(wire, np.flatnonzero(lo < hi), whole)

    def _columns(self, wire: Wire, places: NDArray[np.int64], whole: Region) -> _Columns:
        lo, hi = (np.ravel(end)[places] for end in whole.ends[wire.name])
        variables = [self.solver.NumVar(float(a), float(b), "") for a, b in zip(lo.tolist(), hi.tolist())]
        return _Columns(wire, places, variables, lo, hi)

    def _equal(self, operands: _Columns) -> list[Any]:
        """Rows that make operands of a curve the sums that they are."""
        wire = operands.wire
        if not len(operands.places):
            return []
        rows: IntArray = np.zeros((len(operands.places), wire.size), dtype=np.int64)
        rows[np.arange(len(rows)), operands.places] = 1
        parts, constants = self._sums(wire.name, rows.reshape(-1, *wire.shape))
        found = []
        for k, (operand, constant) in enumerate(zip(operands.variables, constants.tolist())):
            row = self.solver.Constraint(constant, constant)
            row.SetCoefficient(operand, 1.0)
            for name, weights in parts.items():
                for variable, weight in zip(self.values[name].variables, weights[k].tolist()):
                    if weight:
                        row.SetCoefficient(variable, -weight)
            for sign in (1.0, -1.0):
                self.slack.append(self.solver.NumVar(0.0, 0.0, ""))
                row.SetCoefficient(self.slack[-1], sign)
            found.append(row)
        return found

    def _sums(self, name: str, rows: IntArray) -> tuple[dict[str, Floats], Floats]:
        """Weighted sums of a wire's elements: weights of columns by wire, (sums, columns), and constants."""
        parts: dict[str, Floats] = {}
        constants = np.zeros(len(rows))
        pending: Weights = {name: rows}
        for wire in reversed(list(self.bounder.wires.values())):
            if wire.name not in pending:
                continue
            weights = pending.pop(wire.name)
            if wire.name in self.values:
                flat = weights.reshape(len(rows), wire.size).astype(np.float64)
                some = self.values[wire.name].places
                parts[wire.name] = flat[:, some]
                flat[:, some] = 0
                constants += flat @ self.fixed[wire.name]
            elif isinstance(wire.operation, op.Constant):
                constants += (
                    (weights * wire.operation.value).reshape(len(rows), wire.size).sum(axis=1).astype(np.float64)
                )
            else:
                constants += self.bounder.spread(pending, wire, weights).astype(np.float64)
        return parts, constants

    def aim(self, row: int) -> None:
        """Make an element of the goal what is to be least."""
        wire = self.bounder.wires[self.bounder.output]
        units: IntArray = np.zeros((1, wire.size), dtype=np.int64)
        units[0, row] = 1
        parts, _ = self._sums(wire.name, units.reshape(1, *wire.shape))
        objective = self.solver.Objective()
        objective.Clear()
        objective.SetMinimization()
        for name, (weights,) in parts.items():
            for variable, weight in zip(self.values[name].variables, weights.tolist()):
                objective.SetCoefficient(variable, weight)
        greatest = max((float(np.abs(w).max(initial=0)) for w in parts.values()), default=0.0)
        for slack in self.slack:
            objective.SetCoefficient(slack, PENALTY * max(1.0, greatest))

    def solve(self, region: Region, seconds: float) -> Solution | None:
        """Where the element is least in a region; None if it was not found in time."""
        self._move_to(region)
        self.solver.SetTimeLimit(max(1, int(1000 * seconds)))
        status = self.solver.Solve()
        forced = status == self.solver.INFEASIBLE
        if forced:
            # where sums may differ from operands, at a price, multipliers show that the region is empty
            self._slacken(self.solver.infinity())
            status = self.solver.Solve()
        found = self._solution() if status == self.solver.OPTIMAL else None
        if forced:
            self._slacken(0.0)
        return found

    def _solution(self) -> Solution:
        multipliers, operands, inputs = {}, {}, {}
        for name, columns in self.operands.items():
            duals = [row.dual_value() for row in self.sums[name]]
            multipliers[name] = columns.spread_out(duals, np.zeros(columns.wire.size))
            operands[name] = columns.spread_out(_found(columns), self.fixed[columns.wire.name])
        for name, columns in self.values.items():
            if isinstance(columns.wire.operation, op.Input):
                step, lo = columns.wire.alphabet.step, columns.lo
                on_grid = lo + np.rint((np.array(_found(columns)) - lo) / step) * step
                inputs[name] = columns.spread_out(on_grid.tolist(), self.fixed[name])
        return Solution(multipliers, operands, inputs)

    def _slacken(self, most: float) -> None:
        for slack in self.slack:
            slack.SetBounds(0.0, most)

    def _move_to(self, region: Region) -> None:
        for name, columns in self.values.items():
            columns.move_to(region.ends[name])
        for name, wire in self.bounder.curves.items():
            self.operands[name].move_to(region.ends[wire.operands[0]])
            hulls([region], wire)
            self._bend(name, region.hulls[name])

    def _bend(self, name: str, hull: Hull) -> None:
        """Rows for the edges of the hulls that are others than before."""
        columns, results, old = self.operands[name], self.values[name], self.hulls.get(name)
        changed = np.ones(len(columns.places), dtype=bool)
        if old is not None:
            changed = ((old.lo != hull.lo) | (old.hi != hull.hi))[columns.places]
        some = np.flatnonzero(changed)
        z, y = hull.z[:, columns.places[some]], hull.y[:, columns.places[some]]
        run, rise = np.diff(z, axis=0), np.diff(y, axis=0)
        # the corners of the lower side come first; flat edges are ends of the result
        above = np.cumsum(run < 0, axis=0) > 0
        slope = rise / np.where(run > 0, run, 1)
        height = y[:-1] - slope * z[:-1]
        edge = (run > 0) & (rise != 0)
        for k, column in enumerate(some.tolist()):
            rows = self.edges[name][column]
            due = np.flatnonzero(edge[:, k]).tolist()
            while len(rows) < len(due):
                rows.append(self.solver.Constraint())
                rows[-1].SetCoefficient(results.variables[column], 1.0)
            for row, at in zip(rows, due):
                row.SetCoefficient(columns.variables[column], -float(slope[at, k]))
                bound = float(height[at, k])
                row.SetBounds(*((-np.inf, bound) if above[at, k] else (bound, np.inf)))
            for row in rows[len(due) :]:
                row.SetBounds(-np.inf, np.inf)
        self.hulls[name] = hull


def program(bounder: Bounder, whole: Region) -> Program | None:
    """The linear programs of parts of a box; None if they would be too large, or OR-Tools is not installed."""
    free = {n: int((whole.ends[n][0] < whole.ends[n][1]).sum()) for n in bounder.wires}
    inputs = sum(free[n] for n, wire in bounder.wires.items() if isinstance(wire.operation, op.Input))
    bent = [free[name] for name in bounder.curves]
    if sum(many * before for many, before in zip(bent, [inputs, *bent])) > MOST:
        return None
    try:
        return Program(bounder, whole)
    except ImportError:
        return None


def _found(columns: _Columns) -> list[float]:
    return [variable.solution_value() for variable in columns.variables]
