"""CP-SAT as the last resort: a counterexample that nothing else found. What it proves is not relied on."""

from __future__ import annotations

import time

import numpy as np

from ...machine import RangeError, ToolError
from ...machine import operations as op
from ..encoding import encode, free, solver_module
from .attack import Batch
from .region import Region
from .regions import Bounder
from .replay import inputs_of

RATE = 50_000
"""Weights of a machine that become constraints in a second, about."""


def solved(bounder: Bounder, region: Region, rows: list[int], seconds: float) -> Batch | None:
    """Inputs of a region at which one of these elements of the goal is negative, if CP-SAT is there and finds some.

    A machine that could not be written down in half of the time is not tried.
    """
    machine, started = bounder.goal.machine, time.monotonic()
    if sum(_terms(wire.operation, wire.size) for wire in bounder.wires.values()) > RATE * seconds / 2:
        return None
    try:
        cp_model = solver_module()
        model, solver = cp_model.CpModel(), cp_model.CpSolver()
        given = {}
        for name, (lo, hi) in inputs_of(bounder, region).items():
            box = type(machine.wires[name].range)(lo, hi, machine.wires[name].range.step)
            given[name] = free(model, box, name)
        wires = encode(model, machine, given)
    except (ToolError, RangeError):
        return None
    negative = [model.new_bool_var(f"negative_{row}") for row in rows]
    for row, chosen in zip(rows, negative):
        model.add(wires[bounder.output].elements.flat[row] <= -1).only_enforce_if(chosen)
    model.add_bool_or(negative)
    solver.parameters.max_time_in_seconds = max(0.0, seconds - (time.monotonic() - started))
    solver.parameters.num_workers = 1
    if solver.status_name(solver.solve(model)) not in ("OPTIMAL", "FEASIBLE"):
        return None
    return {
        name: encoded.values(solver).astype(machine.wires[name].value_dtype)[None] for name, encoded in given.items()
    }


def _terms(operation: op.Operation, size: int) -> int:
    """Terms of the sums that an operation with so many elements computes."""
    if isinstance(operation, (op.Affine, op.Conv)):
        return int(np.count_nonzero(operation.weight)) * (size // len(operation.weight))
    return size
