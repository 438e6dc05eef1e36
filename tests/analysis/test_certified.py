"""Machines that compute intervals, beside the ranges that are proven of one box after the other."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import STEPS, batches, machines

from zahlen.analysis import certified, interval_machine
from zahlen.machine import Builder, Codes, InputError, Levels, MachineError, Range
from zahlen.machine import operations as op
from zahlen.machine.ranges import result_range

MONOTONE = sorted(set(STEPS) - {"argmax", "embed", "lookup"})


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.data())
def test_intervals_are_the_proven_ranges(data):
    machine = data.draw(machines(registers=False, codes=False, kinds=MONOTONE, max_wires=5))
    try:
        intervals = interval_machine(machine)
    except MachineError as error:
        assert "does not go up or down" in str(error)  # noqa: PT017
        assume(False)
    corners = [data.draw(batches(machine, 4))[0] for _ in range(2)]
    lo, hi = ({n: f(corners[0][n], corners[1][n]) for n in machine.inputs} for f in (np.minimum, np.maximum))
    found = intervals.run({f"{n}_{end}": v[n] for end, v in (("from", lo), ("to", hi)) for n in machine.inputs})
    for k in range(4):
        known = {
            n: Range.of(np.asarray(lo[n][k]), np.asarray(hi[n][k]), machine.wires[n].alphabet.step)
            for n in machine.inputs
        }
        for name, wire in machine.wires.items():
            if name not in known:
                known[name] = result_range(wire.operation, *(known[operand] for operand in wire.operands))
        for name in machine.outputs:
            assert (found[f"{name}_least"][k] == known[name].lo).all()
            assert (found[f"{name}_most"][k] == known[name].hi).all()


def unit(operation, *more):
    b = Builder()
    x = b.input("x", (2,), Levels(0, 3))
    return b.build(b.append(operation, x, *more, name="y"))


@pytest.mark.parametrize("values", [[0, 1, 2, 2], [3, 1, 1, 0], [[0, 1, 5, 9], [4, 3, 2, -1]]])
def test_staircases_and_tables_may_fall(values):
    thresholds = np.broadcast_to([1, 2, 3], (*np.shape(values)[:-1], 3))
    curves = [op.Staircase(axis=0, thresholds=thresholds, values=values)]
    if np.ndim(values) == 1:
        curves.append(op.Lookup(base=(0,), step=(1,), alphabet=None, table=values))
    for curve in curves:
        y = unit(curve).run(np.arange(4)[:, None].repeat(2, 1))
        found = interval_machine(unit(curve)).run({"x_from": [[0, 1]], "x_to": [[2, 3]]})
        assert found["y_least"].tolist() == [[y[:3, 0].min(), y[1:, 1].min()]]
        assert found["y_most"].tolist() == [[y[:3, 0].max(), y[1:, 1].max()]]


def test_what_goes_up_and_down_is_refused():
    with pytest.raises(MachineError, match="y is a staircase that does not go up or down"):
        interval_machine(unit(op.Staircase(axis=0, thresholds=[1, 2], values=[0, 1, 0])))
    with pytest.raises(MachineError, match="y is a argmax that"):
        interval_machine(unit(op.Argmax(axis=0)))
    b = Builder()
    h = b.register("h", (1,), Levels(0, 1))
    b.connect(h, h)
    with pytest.raises(MachineError, match="registers"):
        interval_machine(b.build(h))


def test_large_scores_are_compared_as_they_are():
    """Differences of weights that leave 64 bits."""
    b = Builder()
    x = b.input("x", (1,), Levels(-(2**61), 2**61))
    machine = b.build(b.affine(x, [[3], [-3]]))
    assert certified(machine, [[2**61], [1], [0], [-1]], [0, 0, 0, 1], 1).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("x", "y", "eps", "message"),
    [
        ([[0, 1]], [0], -1, "eps is an integer"),
        ([[0, 1]], [0], True, "eps is an integer"),
        ([[0, 4]], [0], 1, "leaves 0..3"),
        ([[2**64 - 2, 2**64 - 1]], [0], 1, "leaves 0..3"),
        ([[0.0, 1.0]], [0], 1, "float64"),
        ([[0, 1, 2]], [0], 1, r"\(1, 3\)"),
        ([[0, 1]], [0, 1], 1, "as many labels"),
        ([[0, 1]], [2], 1, r"labels are integers 0\.\.1"),
    ],
)
def test_what_does_not_fit_is_refused(x, y, eps, message):
    machine = unit(op.Affine(weight=[[1, 0], [0, 1]], bias=[0, 0]))
    with pytest.raises(InputError, match=message):
        certified(machine, np.array(x), y, eps)


def test_machines_that_give_no_class_are_refused():
    b = Builder()
    x = b.input("x", (2, 2), Levels(0, 3))
    with pytest.raises(MachineError, match="one row of scores"):
        certified(b.build(b.neg(x)), [[[0, 1], [2, 3]]], [0], 1)
    b = Builder()
    x = b.input("x", (2,), Codes(4))
    with pytest.raises(InputError, match="no neighbours in an order"):
        certified(b.build(b.lookup(x, [0, 1, 2, 3], alphabet=Levels(0, 3))), [[0, 1]], [0], 1)
