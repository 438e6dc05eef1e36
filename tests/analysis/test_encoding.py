import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import batches, machines

from zahlen.analysis.encoding import SAME, SUMS, encode, encoded, free, known
from zahlen.machine import Builder, Levels, Range, RangeError
from zahlen.machine import operations as op

cp_model = pytest.importorskip("ortools.sat.python.cp_model")


def solved(model, **parameters):
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = 20
    for name, value in parameters.items():
        setattr(solver.parameters, name, value)
    return solver, solver.status_name(solver.solve(model))


def check(machine, given_wires, fixed, rows):
    """Every wire of a solution, with these wires fixed to one row of a batch, is that of the trace."""
    traced = machine.trace({n: rows[n] for n in machine.inputs}, {n: rows[n] for n in machine.registers})
    model = cp_model.CpModel()
    try:
        wires = encode(model, machine, given_wires(model))
    except RangeError:
        return False
    for name in fixed:
        for e, v in zip(wires[name].elements.ravel(), rows[name].ravel().tolist()):
            model.add(e == v)
    solver, status = solved(model)
    assert status == "OPTIMAL"
    for name, wire in wires.items():
        assert (wire.values(solver) == traced[name][0]).all(), name
        assert (wire.range.lo <= traced[name][0]).all()
        assert (traced[name][0] <= wire.range.hi).all()
    return True


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_every_wire_of_a_solution_is_that_of_the_trace(data):
    machine = data.draw(machines())
    inputs, state = data.draw(batches(machine, 3))
    k = data.draw(st.integers(0, 2))
    rows = {n: v[k : k + 1] for n, v in {**inputs, **state}.items()}
    assume(check(machine, lambda model: {n: known(v[0]) for n, v in rows.items()}, (), rows))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_so_it_is_where_the_solver_has_to_find_it(data):
    """Inputs and state are anything in the model, and fixed only by constraints."""
    machine = data.draw(machines())
    inputs, state = data.draw(batches(machine, 3))
    k = data.draw(st.integers(0, 2))
    rows = {n: v[k : k + 1] for n, v in {**inputs, **state}.items()}
    assume(check(machine, lambda m: {n: free(m, machine.wires[n].range, n) for n in rows}, rows, rows))


def test_every_operation_has_an_encoding():
    """By a machine of each of them, all inputs of which are enumerated."""
    b = Builder()
    x = b.input("x", (2, 3), Levels(-1, 1))
    y = b.input("y", (1,), Levels(0, 1))
    image = b.reshape(x, (1, 2, 3))
    wires = [
        b.conv(image, np.arange(-3, 5).reshape(2, 1, 2, 2), [1, -1], padding=((1, 0), (0, 1)), stride=(1, 2)),
        b.maxpool(image, (2, 2), padding=((1, 0), (0, 0))),
        b.sumpool(image, (2, 2)),
        b.staircase(x, [[-1, 0, 0], [1, 1, 2]], [[5, 2, 3, -4], [0, 1, 2, 3]], axis=0),
        b.argmax(x, axis=0),
        b.lookup(b.slice(x, [0, 0], [1, 1]), b.reshape(y, (1, 1)), table=[[1, 7], [2, 0], [4, 4]]),
        b.embed(y, [[1, -2, 3], [0, 5, 0]]),
        b.shift(b.mul(x, x), -2),
        b.shift(b.affine(x, [[3, 5, -7]]), 2, "half_up"),
        b.clamp(b.sum(x, (0,)), -1, 1),
        b.min(x, b.neg(x)),
        b.max(x, b.transpose(b.reshape(x, (3, 2)), (1, 0))),
    ]
    machine = b.build(*wires)
    model = cp_model.CpModel()
    given_wires = {n: free(model, machine.wires[n].range, n) for n in machine.inputs}
    encoded = encode(model, machine, given_wires)

    class Collect(cp_model.CpSolverSolutionCallback):
        found = ()

        def on_solution_callback(self):
            self.found = (*self.found, {n: w.values(self) for n, w in encoded.items()})

    collect, solver = Collect(), cp_model.CpSolver()
    solver.parameters.num_workers, solver.parameters.enumerate_all_solutions = 1, True
    assert solver.status_name(solver.solve(model, collect)) == "OPTIMAL"
    assert len(collect.found) == 3**6 * 2
    batch = {n: np.stack([one[n] for one in collect.found]) for n in encoded}
    assert len({(*a.ravel(), *b) for a, b in zip(batch["x"], batch["y"])}) == 3**6 * 2
    traced = machine.trace({n: batch[n] for n in machine.inputs})
    for name, values in batch.items():
        assert (values == traced[name]).all(), name


def test_a_box_makes_ranges_narrow():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 255))
    machine = b.build(b.affine(x, [[1, -1]], name="z"))
    model = cp_model.CpModel()
    box = Range.of(np.array([10, 20]), np.array([12, 20]), 1)
    wires = encode(model, machine, {"x": free(model, box, "x")})
    assert wires["z"].range.hull() == (-10, -8)
    assert wires["x"].elements[1] == 20


def test_what_is_too_wide_is_refused():
    b = Builder()
    x = b.input("x", (1,), Levels(-(2**30), 2**30))
    machine = b.build(b.mul(x, x, name="square"))
    model = cp_model.CpModel()
    with pytest.raises(RangeError, match=r"square: values are .*, too large for CP-SAT"):
        encode(model, machine, {"x": free(model, machine.wires["x"].range, "x")})
    with pytest.raises(RangeError, match=r"x: values are .*, too large for CP-SAT"):
        free(model, Range.uniform((1,), Levels(0, 2**60)), "x")


def test_every_kind_of_operation_has_a_function():
    own = {
        kind for kind, operation in op.OPERATIONS.items() if encoded.dispatch(operation) is not encoded.dispatch(object)
    }
    sources = {"input", "register", "constant"}
    assert own | {operation.kind for operation in (*SAME, *SUMS)} | sources == set(op.OPERATIONS)
