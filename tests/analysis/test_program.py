"""Linear programs: their multipliers are the best, in whatever order regions come, and show what is empty."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from questions import questions
from test_region_parts import split_by_chance
from test_verification import small_network

from zahlen.analysis import Box, Stable, Within
from zahlen.analysis.verification import program as programs
from zahlen.analysis.verification.duals import Dual
from zahlen.analysis.verification.program import Program, program
from zahlen.analysis.verification.region import Region, Split
from zahlen.analysis.verification.regions import Bounder
from zahlen.machine import Builder, Levels, ZahlenError


def bound(bounder: Bounder, of: Program, region: Region, row: int) -> int:
    """What the multipliers of a program prove, in integers."""
    found = of.solve(region, 60)
    assert found is not None
    dual = Dual(bounder, [region], [row])
    return bounder.dual_bound(region, row, dual.rounded({n: m[None] for n, m in found.multipliers.items()}, 0))


def some_regions(bounder: Bounder, rng: random.Random, many: int) -> list[Region]:
    """The box, and parts of parts of it."""
    found = [bounder.whole()]
    for _ in range(many):
        whole = rng.choice(found)
        split = split_by_chance(bounder, whole, rng)
        part = None if split is None else bounder.part(whole, split)
        if part is not None:
            found.append(part)
    return found


@settings(max_examples=25, deadline=None)
@given(question=questions(), seed=st.integers(0, 999))
def test_no_steps_lead_further(question: Any, seed: int) -> None:
    machine, box, asked = question
    try:
        bounder = Bounder(asked.goal(machine, box))
        regions = some_regions(bounder, random.Random(seed), 4)
    except ZahlenError:  # what is not verified
        assume(False)
    of = Program(bounder, regions[0])
    of.aim(0)
    assume(all(int(np.abs(np.asarray(end, dtype=float)).max(initial=0)) < 2**20 for r in regions for end in ends_of(r)))
    for region in regions:
        dual = Dual(bounder, [region], [0])
        start = {n: np.zeros((1, *wire.shape)) for n, wire in bounder.curves.items()}
        steps = dual.improve(start, 300)
        # multipliers are rounded to 2^-24, which may cost an integer
        assert bound(bounder, of, region, 0) >= bounder.dual_bound(region, 0, dual.rounded(steps.multipliers, 0)) - 1


def ends_of(region: Region) -> list[Any]:
    """All ends of wires."""
    return [end for pair in region.ends.values() for end in pair]


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_regions_does_not_matter(seed: int) -> None:
    machine = small_network(seed, (6, 7, 5, 3))
    x = np.random.default_rng(seed).integers(0, 8, 6)
    bounder = Bounder(Stable(int(machine.run(x[None])[0].argmax())).goal(machine, Box.ball(machine, x, 2)))
    regions = some_regions(bounder, random.Random(seed), 12)
    one = Program(bounder, regions[0])
    for row in (1, 0):
        one.aim(row)
        for region in regions[::-1]:
            alone = Program(bounder, regions[0])
            alone.aim(row)
            assert abs(bound(bounder, one, region, row) - bound(bounder, alone, region, row)) <= 1


def test_what_only_sums_show_to_be_empty_is_closed() -> None:
    b = Builder()
    x = b.input("x", (2,), Levels(0, 9))
    z = b.affine(x, [[1, 1], [-1, -1]], [0, 12], name="z")
    y = b.clamp(z, 2, 7, name="y")
    machine = b.build(b.affine(y, [[1, 1]], [-3]))
    bounder = Bounder(Within(0, 99).goal(machine, Box([0, 0], [9, 9])))
    (name,) = {wire.operands[0] for wire in bounder.curves.values()}
    # no input has both sums in there
    region = bounder.part(bounder.whole(), Split(name, 0, 8, True))
    assert region is not None
    region = bounder.part(region, Split(name, 1, 5, True))
    assert region is not None
    of = Program(bounder, bounder.whole())
    for row in (0, 1):
        of.aim(row)
        assert bound(bounder, of, region, row) > 1000
        # and the next region is as it was
        assert bound(bounder, of, bounder.whole(), row) < 1000


def test_large_ones_and_those_without_a_solver_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = small_network(0)
    bounder = Bounder(Stable(0).goal(machine, Box.ball(machine, np.full(6, 3), 2)))
    whole = bounder.whole()
    assert program(bounder, whole) is not None
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ortools.linear_solver", None)
        assert program(bounder, whole) is None
    monkeypatch.setattr(programs, "MOST", 3)
    assert program(bounder, whole) is None
