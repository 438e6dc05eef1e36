"""Verification: verdicts are what going through every point says, and each is replayed."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
import z3
from hypothesis import given, reject, settings
from questions import answer, questions, within_reach
from strategies import random_batch, random_machine

from zahlen.analysis import Box, Equal, Invariant, Monotone, Stable, Within, replay, verify
from zahlen.analysis.verification import branching, program
from zahlen.analysis.verification.attack import Annealing
from zahlen.analysis.verification.duals import corners
from zahlen.analysis.verification.lowering import Lowering
from zahlen.analysis.verification.regions import Bounder
from zahlen.machine import Builder, InputError, Levels, Machine


def small_network(seed: int, widths: tuple[int, ...] = (6, 8, 3), levels: int = 8) -> Machine:
    """A classifier with random weights and staircases."""
    rng = np.random.default_rng(seed)
    b = Builder()
    x = b.input("x", (widths[0],), Levels(0, levels - 1))
    for k, width in enumerate(widths[1:]):
        weight = rng.integers(-7, 8, (width, widths[k]))
        x = b.affine(x, weight, rng.integers(-20, 20, width), name=f"z{k}")
        if k < len(widths) - 2:
            x = b.staircase(x, [-30, -12, -3, 5, 11, 28], [-6, -3, -1, 0, 2, 3, 7], name=f"y{k}")
    return b.build(x)


def decided(question: tuple[Machine, Box, Any], seconds: float) -> Any:
    """A verdict that is checked against every point and replayed."""
    machine, box, asked = question
    try:
        verdict = verify(machine, box, asked, seconds=seconds)
    except InputError:  # products and tables that are too large
        reject()
    if verdict.status != "unknown":
        assert verdict.status == ("verified" if answer(machine, box, asked) else "refuted")
        found = replay(machine, verdict.certificate, other=getattr(asked, "other", None))
        assert found, str(found)
    return verdict


@settings(max_examples=40, deadline=None)
@given(questions())
def test_verdicts_are_those_of_every_point(question: Any) -> None:
    assert decided(question, 60).status != "unknown"


@settings(max_examples=25, deadline=None)
@given(questions())
def test_branches_say_what_every_point_says(question: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branching, "POINTS", 8)
        decided(question, 0.5)


@pytest.mark.parametrize("seed", range(60))
def test_lowered_wires_have_the_same_values(seed: int) -> None:
    rng = random.Random(seed)
    machine = random_machine(rng, registers=False)
    to = Lowering()
    try:
        wires = to.copy(machine, to.inputs(machine), list(machine.outputs))
    except InputError:  # products and tables that are too large
        return
    lowered = to.builder.build(*dict.fromkeys(wires[name].name for name in machine.outputs))
    x = random_batch(machine, rng)[0]
    found, expected = lowered.trace(x), machine.trace(x)
    for name in machine.outputs:
        assert np.array_equal(found[wires[name].name], expected[name])


@pytest.mark.parametrize("most", [0, program.MOST], ids=["steps", "programs"])
@pytest.mark.parametrize("seed", range(6))
def test_a_network_is_decided_as_z3_decides_it(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MOST", most)
    machine = small_network(seed, (6, 7, 5, 3))
    x = np.random.default_rng(seed).integers(0, 8, 6)
    label = int(machine.run(x[None])[0].argmax())
    for eps in (1, 2):
        box = Box.ball(machine, x, eps)
        verdict = verify(machine, box, Stable(label))
        assert verdict.status == ("verified" if z3_proves(machine, box, label) else "refuted")
        assert replay(machine, verdict.certificate)


def z3_proves(machine: Machine, box: Box, label: int) -> bool:
    """Whether z3 finds no input of the box with another class."""
    solver = z3.Solver()
    values: dict[str, list[Any]] = {}
    for wire in machine.wires.values():
        operation, (of,) = wire.operation, (wire.operands or ("",))
        if wire.operation.kind == "input":
            values[wire.name] = [z3.Int(f"x{k}") for k in range(wire.size)]
            for v, lo, hi in zip(values["x"], *(end.tolist() for end in box.ends(machine)["x"])):
                solver.add(v >= lo, v <= hi)
        elif wire.operation.kind == "affine":
            rows = zip(operation.weight.tolist(), operation.bias.tolist())
            values[wire.name] = [sum(w * v for w, v in zip(row, values[of])) + bias for row, bias in rows]
        else:
            found = []
            for z in values[of]:
                y = z3.IntVal(int(operation.values[0]))
                for t, value in zip(operation.thresholds.tolist(), operation.values.tolist()[1:]):
                    y = z3.If(z >= t, value, y)
                found.append(y)
            values[wire.name] = found
    scores = values[machine.outputs[0]]
    solver.add(z3.Or([scores[label] - s - (j < label) < 0 for j, s in enumerate(scores) if j != label]))
    return bool(solver.check() == z3.unsat)


@pytest.mark.parametrize("seed", [4, 6, 7])
def test_a_network_of_many_inputs_takes_branches(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branching, "POINTS", 8)
    machine = small_network(seed, (12, 10, 6, 3))
    x = np.random.default_rng(0).integers(0, 8, 12)
    box, asked = Box.ball(machine, x, 1), Stable(int(machine.run(x[None])[0].argmax()))
    verdict = verify(machine, box, asked)
    assert verdict.method == "branch and bound"
    assert verdict.status == ("verified" if answer(machine, box, asked) else "refuted")
    assert replay(machine, verdict.certificate)


def test_ties_go_to_the_lower_index() -> None:
    b = Builder()
    x = b.input("x", (2,), Levels(0, 9))
    scores = b.build(b.affine(x, [[1, 0], [0, 1]]))
    assert verify(scores, Box([4, 4], [4, 4]), Stable(0)).status == "verified"
    assert verify(scores, Box([4, 4], [4, 4]), Stable(1)).status == "refuted"
    assert verify(scores, Box([5, 0], [9, 5]), Stable(0)).status == "verified"
    assert verify(scores, Box([5, 0], [9, 6]), Stable(0)).status == "refuted"


def test_boxes_are_cut_to_the_alphabet() -> None:
    b = Builder()
    machine = b.build(b.affine(b.input("x", (1,), Levels(-3, 9, 4)), [[1]]))
    assert [end.tolist() for end in Box([-10], [8]).ends(machine)["x"]] == [[-3], [5]]
    assert verify(machine, Box([-10], [8]), Within(-3, 5)).status == "verified"
    assert verify(machine, Box([-10], [8]), Within(-2, 5)).status == "refuted"
    with pytest.raises(InputError, match=r"no element of -3\.\.9 step 4"):
        Box([2], [4]).ends(machine)
    with pytest.raises(InputError, match="alphabet is"):
        Box.ball(machine, [0], 1)


def test_what_does_not_fit_is_refused() -> None:
    machine = small_network(0)
    box = Box.whole(machine)
    for asked, message in (
        (Stable(3), "none of the 3 classes"),
        (Stable(True), "a label is an integer"),
        (Within(), "an end is due"),
        (Within([1, 2], 3), "shape"),
        (Monotone(6), "no element"),
        (Invariant((0, 1)), "no element"),
        (Equal(small_network(0, (5, 4, 3))), "same names, shapes"),
        (Stable(0, "other"), "which of the outputs"),
    ):
        with pytest.raises(InputError, match=message):
            verify(machine, box, asked)
    b = Builder()
    register = b.register("h", (1,), Levels(0, 3))
    b.connect(register, register)
    x = b.input("x", (1,), Levels(0, 3))
    with pytest.raises(InputError, match=r"h: registers .*; take machine\.unrolled"):
        verify(b.build(b.add(x, register)), Box([0], [1]), Within(0, 6))
    b = Builder()
    x = b.input("x", (1,), Levels(0, 2**20))
    with pytest.raises(InputError, match=r"square: .*entries; clamp or shift"):
        verify(b.build(b.mul(x, x, name="square")), Box([0], [1]), Within(0, 1))


def test_random_boxes_hold_their_points() -> None:
    rng = random.Random(1)
    machine = small_network(1)
    for _ in range(20):
        box = within_reach(machine, rng)
        lo, hi = box.ends(machine)["x"]
        assert box.points(machine) == int(np.prod(hi - lo + 1))


@pytest.mark.parametrize("seed", range(20))
def test_corners_have_the_same_least_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 24, (int(rng.integers(3, 30)), 9)).astype(float)
    y = np.sort(rng.integers(-5, 6, 24))[z.astype(int)].astype(float)
    found_z, found_y = corners(z, y)
    for w, m in rng.integers(-9, 10, (20, 2)):
        assert np.array_equal((w * y - m * z).min(axis=0), (w * found_y - m * found_z).min(axis=0))
    run, rise = np.diff(found_z, axis=0), np.diff(found_y, axis=0)
    for k in range(9):
        (back,) = np.flatnonzero(run[:, k] < 0)
        for side, sign in ((slice(None, back), 1), (slice(back + 1, None), -1)):
            real = run[side, k] > 0
            slopes = rise[side, k][real] / run[side, k][real]
            assert (sign * np.diff(slopes) > 0).all(), "no corners of a hull"


def test_annealing_finds_what_roundings_hide() -> None:
    b = Builder()
    x = b.input("x", (6,), Levels(0, 15))
    z = b.affine(x, [[7, -5, 3, -9, 11, 2], [3, 8, -5, 1, -9, 6], [5, 9, 2, -7, 1, 3]], [0, 0, 0], name="z")
    # below 0 only where 15 is cut off of each sum, of which slopes know nothing
    both = b.concat(z, b.shift(z, 4), axis=0)
    machine = b.build(b.affine(both, [[-1, -1, -1, 16, 16, 16]], [44]))
    bounder = Bounder(Within(0, 99).goal(machine, Box([0] * 6, [15] * 6)))
    start = {"x": np.zeros((1, 6), dtype=machine.wires["x"].value_dtype)}
    found = Annealing(bounder, start, 0).run(time.monotonic() + 60)
    assert found is not None
    assert (machine.run(found["x"]) < 0).any()
    again = Annealing(bounder, start, 0).run(time.monotonic() + 60)
    assert again is not None
    assert np.array_equal(found["x"], again["x"])
    assert Annealing(bounder, start, 1).run(time.monotonic() - 1) is None
