import dataclasses
import io
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from small_machines import automata, elements, key, random_machines, shift_registers

from zahlen.analysis import LimitError, cycles, fixed_points
from zahlen.analysis.additive import additive
from zahlen.analysis.fixed import METHODS
from zahlen.machine import Builder, InputError, Levels, ToolError

pytest.importorskip("ortools.sat.python.cp_model")
pytest.importorskip("pysat.solvers")


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
    period = steps if machine.inputs else [None] * len(steps)
    method = data.draw(st.sampled_from(["CP-SAT", "SAT", "SAT", "state graph"]))
    if method == "SAT" and any(additive(machine, step) is None for step in steps):
        with pytest.raises(InputError, match="SAT takes machines whose next state is made of tables of sums"):
            cycles(machine, length, period, method=method)
        return
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
    found = cycles(machine, length, period, method=method)
    assert (found.status, found.method) == ("complete", method)
    assert sorted(keys(machine, found.found)) == sorted(expected)
    assert found.replay()
    if expected:
        part = cycles(machine, length, period, method=method, limit=len(expected))
        assert part.status == "complete"
    if len(expected) > 1:
        part = cycles(machine, length, period, method=method, limit=1)
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
def test_methods_agree(seed, length):
    """2,048 states: beyond brute force by single steps, and by ways that share little code but the machine."""
    machine = network(11, seed)
    graph, *others = (cycles(machine, length, method=method) for method in METHODS)
    for other in others:
        assert graph.status == other.status == "complete"
        assert sorted(keys(machine, graph.found)) == sorted(keys(machine, other.found))


@pytest.mark.parametrize(("length", "period"), [(1, [[[0]], [[2]]]), (2, [[[1]]])])
def test_two_solvers_agree_on_sparse_networks(length, period):
    """3^24 states, too many to go through."""
    rng = np.random.default_rng(1)
    weights = np.zeros((24, 24), dtype=np.int64)
    for row in weights:
        row[rng.choice(24, 3, replace=False)] = rng.integers(-3, 4, 3)
    b = Builder()
    x = b.input("x", (1,), Levels(0, 3))
    h = b.register("h", (24,), Levels(-1, 1))
    z = b.affine(b.concat(x, h), np.hstack([np.ones((24, 1), dtype=int), weights]), rng.integers(-2, 2, 24))
    b.connect(h, b.staircase(z, [0, 3], [-1, 0, 1]))
    machine = b.build(h)
    found = [cycles(machine, length, period, method=m, limit=40) for m in ("SAT", "CP-SAT", None)]
    assert found[2].method == "SAT"
    assert [f.status for f in found] == ["complete"] * 3
    assert len(found[0].found) > 2
    assert len({str(sorted(keys(machine, f.found))) for f in found}) == 1


def ring(units, values, step=1):
    """Every unit takes what its neighbour was."""
    b = Builder()
    h = b.register("h", (units,), Levels(0, step * (values - 1), step))
    b.connect(h, b.concat(b.slice(h, [1], [units]), b.slice(h, [0], [1])))
    return b.build(h)


@pytest.mark.parametrize("method", ["SAT", "CP-SAT"])
def test_more_states_than_numbers_have_bits(method):
    """Necklaces: 3^100 states, which are compared in parts."""
    machine = ring(100, 3, step=5)
    assert [len(cycles(machine, k, method=method).found) for k in (1, 2, 4, 3)] == [3, 3, 18, 0]
    found = cycles(machine, 5, limit=10, method=method)
    assert (len(found.found), found.status) == (10, "limit reached")
    assert str(found) == f"10 cycles of 5 states ({method}): there may be more, the limit was reached"


def test_registers_of_different_steps():
    """Two registers that change places: 6 pairs of different values, 3 of equal ones."""
    b = Builder()
    h = b.register("h", (1,), Levels(0, 2))
    g = b.register("g", (1,), Levels(0, 20, 10))
    b.connect(h, b.shift(b.affine(g, [[13]]), 7))
    b.connect(g, b.affine(h, [[10]]))
    machine = b.build(h)
    for method in METHODS:
        assert len(fixed_points(machine, method=method).found) == 3
        assert len(cycles(machine, 2, method=method).found) == 3


def sparse(units, seed, reads=8):
    rng = np.random.default_rng(seed)
    weights = np.zeros((units, units), dtype=np.int64)
    for row in weights:
        row[rng.choice(units, reads, replace=False)] = rng.integers(1, 8, reads) * rng.choice([-1, 1], reads)
    b = Builder()
    h = b.register("h", (units,), Levels(-1, 1, 2), -1)
    b.connect(h, b.staircase(b.affine(h, weights, rng.integers(-3, 4, units)), [0], [-1, 1]))
    return b.build(h)


@pytest.mark.parametrize(
    ("machine", "seconds"),
    [(network(60, 0), 0.001), (sparse(90, 0, 14), 0.001), (sparse(90, 0, 14), 1)],
    ids=["CP-SAT", "formula", "SAT"],
)
def test_time_that_ends_is_said(machine, seconds):
    found = fixed_points(machine, seconds=seconds)
    assert found.status == "unknown"
    assert str(found).endswith("there may be more, the search was cut short")


INTERRUPTED = """
import os, signal, threading
from ortools.sat.python.cp_model import CpSolver
from pysat.solvers import Solver
import zahlen, zahlen.analysis

def soon(method):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))

    def called(*arguments, **options):
        if timer.ident is None:
            timer.start()
        return method(*arguments, **options)

    return called

CpSolver.solve, Solver.solve_limited = soon(CpSolver.solve), soon(Solver.solve_limited)
print(zahlen.analysis.fixed_points(zahlen.load("model.zn"), seconds=100, progress=True))
"""


@pytest.mark.parametrize(("machine", "method"), [(network(60, 0), "CP-SAT"), (sparse(90, 0, 14), "SAT")])
def test_interrupt_leaves_what_was_found(tmp_path, machine, method):
    """Ctrl-C while the solver is at it, in a process of its own: solvers have handlers for it."""
    machine.save(tmp_path / "model.zn")
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"0 fixed points ({method}): there may be more, the search was interrupted\n"
    assert done.returncode == 0


def test_progress_says_how_many_were_found(monkeypatch):
    """On a terminal, which is wiped at the end."""
    terminal = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr("zahlen.analysis.progress.Console", lambda **_: terminal)
    for method in METHODS[1:]:
        assert len(fixed_points(ring(30, 3), method=method, progress=True).found) == 3
        assert f"{method}: 3 found" in terminal.file.getvalue()


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
    with pytest.raises(InputError, match="method is state graph, SAT or CP-SAT, got 'DPLL'"):
        fixed_points(machine, method="DPLL")
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    with pytest.raises(InputError, match="no registers"):
        fixed_points(b.build(b.neg(x)), [[0]])
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ToolError, match=r"pip install 'zahlen\[analysis\]'"):
        fixed_points(machine, method="CP-SAT")
    monkeypatch.setitem(sys.modules, "pysat.solvers", None)
    with pytest.raises(ToolError, match=r"pip install 'zahlen\[analysis\]'"):
        fixed_points(machine, method="SAT")


def test_a_formula_that_is_too_large_is_refused_or_left(monkeypatch):
    monkeypatch.setattr("zahlen.analysis.fixed.MAX_NODES", 100)
    monkeypatch.setattr("zahlen.analysis.fixed.FEW_NODES", 100)
    machine = sparse(30, 0, 4)
    with pytest.raises(LimitError, match='more than 100 nodes of decision diagrams; take method="CP-SAT"'):
        fixed_points(machine, method="SAT")
    assert fixed_points(machine).method == "CP-SAT"
    monkeypatch.undo()
    assert fixed_points(machine).method == "SAT"
    started = time.monotonic()
    assert fixed_points(network(60, 0), method="SAT", seconds=0.2).status == "unknown"
    assert time.monotonic() - started < 30
