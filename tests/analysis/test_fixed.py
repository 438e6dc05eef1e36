import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_machines import automata, elements, key, random_machines, shift_registers

from zahlen.analysis import cycles, fixed_points
from zahlen.machine import Builder, InputError, Levels, ToolError

pytest.importorskip("ortools.sat.python.cp_model")


def keys(machine, found):
    """Each cycle as its states in order, from the first one on."""
    return [
        [key(machine, {n: v[k] for n, v in cycle.items()}) for k in range(len(next(iter(cycle.values()))))]
        for cycle in found
    ]


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(automata(), automata(inputs=False), shift_registers(), random_machines()), st.data())
def test_cycles_are_what_following_every_state_says(machine, data):
    symbols = elements(machine, machine.inputs)
    steps = data.draw(st.lists(st.sampled_from(symbols), min_size=1, max_size=2))
    length = data.draw(st.integers(1, 4))
    method = data.draw(st.sampled_from(["CP-SAT", "CP-SAT", "state graph"]))
    expected = []
    states = elements(machine, machine.registers)
    order = {key(machine, state): k for k, state in enumerate(states)}
    for state in states:
        taken, after = [], state
        for _ in range(length):
            taken.append(key(machine, after))
            for x in steps:
                after, _ = machine.step(after, x, executor="reference")
        if key(machine, after) == taken[0] and len(set(taken)) == length and min(taken, key=order.get) == taken[0]:
            expected.append(taken)
    x = steps if machine.inputs else [None] * len(steps)
    found = cycles(machine, length, x, method=method)
    assert (found.status, found.method) == ("complete", method)
    assert sorted(keys(machine, found.found)) == sorted(expected)
    assert found.replay()
    if expected:
        part = cycles(machine, length, x, method=method, limit=len(expected))
        assert part.status == "complete"
    if len(expected) > 1:
        part = cycles(machine, length, x, method=method, limit=1)
        assert (part.status, len(part.found)) == ("limit reached", 1)


def network(units, seed):
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.register("h", (units,), Levels(-1, 1, 2), -1)
    z = b.affine(h, rng.integers(-7, 8, (units, units)), rng.integers(-3, 4, units))
    b.connect(h, b.staircase(z, [0], [-1, 1]))
    return b.build(h)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_two_methods_agree(seed, length):
    """2,048 states: beyond brute force by single steps, and by ways that share no code but the machine."""
    machine = network(11, seed)
    one, other = (cycles(machine, length, method=method) for method in ("state graph", "CP-SAT"))
    assert one.status == other.status == "complete"
    assert sorted(keys(machine, one.found)) == sorted(keys(machine, other.found))


def ring(units, values, step=1):
    """Every unit takes what its neighbour was."""
    b = Builder()
    h = b.register("h", (units,), Levels(0, step * (values - 1), step))
    b.connect(h, b.concat(b.slice(h, [1], [units]), b.slice(h, [0], [1])))
    return b.build(h)


def test_more_states_than_numbers_have_bits():
    """Necklaces: 3^100 states, which are compared in parts."""
    machine = ring(100, 3, step=5)
    assert len(fixed_points(machine).found) == 3
    assert len(cycles(machine, 2).found) == 3
    assert len(cycles(machine, 4).found) == 18
    assert len(cycles(machine, 3).found) == 0
    found = cycles(machine, 5, limit=10)
    assert (len(found.found), found.status) == (10, "limit reached")
    assert str(found) == "10 cycles of 5 states (CP-SAT): there may be more, the limit was reached"


def test_registers_of_different_steps():
    """Two registers that change places: 6 pairs of different values, 3 of equal ones."""
    b = Builder()
    h = b.register("h", (1,), Levels(0, 2))
    g = b.register("g", (1,), Levels(0, 20, 10))
    b.connect(h, b.shift(b.affine(g, [[13]]), 7))
    b.connect(g, b.affine(h, [[10]]))
    machine = b.build(h)
    assert len(fixed_points(machine, method="CP-SAT").found) == 3
    assert len(cycles(machine, 2, method="CP-SAT").found) == 3


def test_time_that_ends_is_said():
    found = fixed_points(network(60, 0), seconds=0.001)
    assert found.status == "unknown"
    assert str(found).endswith("there may be more, the search was cut short")


def test_replay_refuses_what_is_no_cycle():
    found = cycles(ring(4, 3), 4)
    assert found.replay()
    cycle = found.found[0]
    turned = {n: np.roll(v, 1, axis=0) for n, v in cycle.items()}
    for wrong in (
        [{n: v[::-1] for n, v in cycle.items()}],
        [cycle, turned],
        [{n: np.zeros_like(v) for n, v in cycle.items()}],
    ):
        assert not dataclasses.replace(found, found=wrong).replay()
    assert dataclasses.replace(found, found=[turned]).replay()


def test_what_is_no_question_is_refused(monkeypatch):
    machine = ring(3, 2)
    for length in (0, True, 1.0):
        with pytest.raises(InputError, match="length is a positive integer"):
            cycles(machine, length)
    with pytest.raises(InputError, match="limit is a positive integer, got 0"):
        fixed_points(machine, limit=0)
    with pytest.raises(InputError, match="method is state graph or CP-SAT, got 'SAT'"):
        fixed_points(machine, method="SAT")
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    with pytest.raises(InputError, match="no registers"):
        fixed_points(b.build(b.neg(x)), [[0]])
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ToolError, match=r"pip install 'zahlen\[analysis\]'"):
        fixed_points(machine, method="CP-SAT")
