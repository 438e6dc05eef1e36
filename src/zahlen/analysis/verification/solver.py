"""CP-SAT as the last resort: a counterexample that nothing else found. What it proves is not relied on."""

from __future__ import annotations

from ...machine import RangeError, ToolError
from ..encoding import encode, free, solver_module
from .attack import Batch
from .regions import Bounder, Region
from .replay import inputs_of


def solved(bounder: Bounder, region: Region, row: int, seconds: float) -> Batch | None:
    """Inputs of a region at which an element of the goal is negative, if CP-SAT is there and finds some in time."""
    machine = bounder.goal.machine
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
    model.add(wires[bounder.output].elements.flat[row] <= -1)
    solver.parameters.max_time_in_seconds = max(0.0, seconds)
    solver.parameters.num_workers = 1
    if solver.status_name(solver.solve(model)) not in ("OPTIMAL", "FEASIBLE"):
        return None
    return {
        name: encoded.values(solver).astype(machine.wires[name].value_dtype)[None] for name, encoded in given.items()
    }
