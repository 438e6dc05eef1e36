"""Regions: what is proved of parts holds at each of their points, and for many parts at once as for one alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from questions import questions

from zahlen.analysis import Box, Within
from zahlen.analysis.verification.certificates import Node
from zahlen.analysis.verification.curves import lines, points, values
from zahlen.analysis.verification.exact import least_sums
from zahlen.analysis.verification.region import Region, Split
from zahlen.analysis.verification.regions import Bounder
from zahlen.analysis.verification.replay import closes
from zahlen.machine import Builder, IntArray, Levels, Wire, ZahlenError
from zahlen.machine.reference import apply


def every_trace(bounder: Bounder) -> dict[str, IntArray]:
    """All wires at some points of the goal's box: all of them, or 300 by chance."""
    machine, rng = bounder.goal.machine, np.random.default_rng(0)
    x = {}
    for name, (lo, hi) in bounder.goal.ends.items():
        step = machine.wires[name].alphabet.step
        x[name] = (lo + step * rng.integers(0, (hi - lo) // step + 1, (300, *lo.shape))).astype(
            machine.wires[name].value_dtype
        )
    return dict(machine.trace(x))


def split_by_chance(bounder: Bounder, region: Region, rng: random.Random) -> Split | None:
    """A split of an element that may have several values."""
    wide = [
        (name, k)
        for name in sorted(bounder.splittable)
        for k in np.flatnonzero(np.ravel(region.ends[name][0] < region.ends[name][1])).tolist()
    ]
    if not wide:
        return None
    name, index = rng.choice(wide)
    lo, hi = (int(end.flat[index]) for end in region.ends[name])
    return Split(name, index, rng.randint(lo + 1, hi), rng.random() < 0.5)


@settings(max_examples=25, deadline=None)
@given(question=questions(), seed=st.integers(0, 999))
def test_parts_hold_their_points_and_are_the_same_alone(question: Any, seed: int) -> None:
    machine, box, asked = question
    try:
        bounder = Bounder(asked.goal(machine, box))
    except ZahlenError:  # what is not verified
        assume(False)
    exact = Bounder(bounder.goal, doubles=False)
    rng = random.Random(seed)
    trace = every_trace(bounder)
    regions = [bounder.whole()] * 4
    inside = [np.ones(300, dtype=bool)] * 4
    for _ in range(3):
        found = [split_by_chance(bounder, region, rng) for region in regions]
        if any(split is None for split in found):
            break
        splits = [split for split in found if split is not None]
        parts = bounder.parts(regions, splits)
        kept = []
        for k, (region, split, part) in enumerate(zip(regions, splits, parts)):
            element = trace[split.wire].reshape(300, -1)[:, split.index]
            inside[k] = inside[k] & ((element >= split.at) if split.above else (element < split.at))
            assert part is not None or not inside[k].any()
            for other in (bounder.part(region, split), exact.part(region, split)):
                assert (part is None) == (other is None)
                if part is not None and other is not None:
                    assert all((a == b).all() for n in part.ends for a, b in zip(part.ends[n], other.ends[n]))
                    assert all(
                        (a == b).all()
                        for n in part.sides
                        for s in (0, 1)
                        for a, b in zip(part.sides[n][s], other.sides[n][s])
                    )
            if part is not None:
                kept.append((part, inside[k]))
                for name, (lo, hi) in part.ends.items():
                    value = trace[name][inside[k]]
                    assert (value >= lo).all()
                    assert (value <= hi).all()
        if not kept:
            break
        goal = trace[bounder.output]
        for row in range(goal.shape[1]):
            bounds = bounder.at_goal([part for part, _ in kept], np.full(len(kept), row)).bounds
            for (part, points_inside), bound in zip(kept, bounds):
                assert (goal[points_inside, row] >= bound).all()
                assert closes(exact, part, row, Node("linear")) == (bound >= 0)
        regions, inside = ([pair[k] for pair in (kept * 4)[:4]] for k in (0, 1))  # type: ignore[assignment]


def test_what_is_behind_a_split_is_found_anew() -> None:
    b = Builder()
    x = b.input("x", (8,), Levels(-9, 9))
    z = b.affine(x, np.random.default_rng(0).integers(-7, 8, (5, 8)))
    y = b.clamp(z, 0, 999)
    machine = b.build(b.clamp(b.affine(y, np.random.default_rng(1).integers(-7, 8, (4, 5))), 0, 99))
    bounder = Bounder(Within(0, 50).goal(machine, Box([-9] * 8, [9] * 8)))
    whole = bounder.whole()
    parts = bounder.parts([whole] * 5, [Split("affine", k, 3, k % 2 == 0) for k in range(5)])
    for k, part in enumerate(parts):
        assert part is not None
        assert part.ends["affine"][k % 2 == 1][k] == (3 if k % 2 == 0 else 2)
        for name in ("clamp", "clamp_1"):
            lo, hi = part.ends[bounder.curves[name].operands[0]]
            found = points(bounder.curves[name], np.arange(len(lo)), lo, hi)
            assert (part.ends[name][0] == found.y.min(axis=0)).all()
            assert (part.ends[name][1] == found.y.max(axis=0)).all()
            for side, due in zip(part.sides[name], lines(found, lo, hi, part.bits[name])):
                assert all((a == b).all() for a, b in zip(side, due))
    widths = [sum(int((hi - lo).sum()) for lo, hi in [region.ends["affine_1"]]) for region in (whole, *parts) if region]
    assert max(widths[1:]) < widths[0]


def curve(kind: str, rng: np.random.Generator) -> Wire:
    """A curve of (3, 2) elements."""
    b = Builder()
    x = b.input("x", (3, 2), Levels(-60, 60))
    if kind == "clamp":
        return b.clamp(x, -11, 7)
    if kind == "shift":
        return b.shift(x, 3, rounding=str(rng.choice(["floor", "half_up"])))
    t = np.sort(rng.integers(-50, 50, (3, 5)), axis=1)
    v = rng.integers(-9, 9, (3, 6)) if kind == "any" else np.sort(rng.integers(-9, 9, (3, 6)), axis=1)
    return b.staircase(x, t, v, axis=0) if rng.random() < 0.5 else b.staircase(x, t[0], v[0])


@pytest.mark.parametrize("kind", ["clamp", "shift", "any", "rising"])
@pytest.mark.parametrize("seed", range(10))
def test_lines_stay_on_their_side(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wire = curve(kind, rng)
    places = rng.integers(0, 6, 20)
    lo = rng.integers(-60, 55, 20)
    hi = lo + rng.integers(1, 60 - lo + 1)
    found = points(wire, places, lo, hi)
    below, above = lines(found, lo, hi, 12)
    for k, place in enumerate(places.tolist()):
        z = np.arange(lo[k], hi[k] + 1)
        x = np.zeros((len(z), 6), dtype=np.int64)
        x[:, place] = z
        y = apply(wire.operation, x.reshape(-1, 3, 2)).reshape(-1, 6)[:, place]
        assert (values(wire, np.array([place]), z[:, None])[:, 0] == y).all()
        for side, sign in ((below, 1), (above, -1)):
            rest = sign * ((y << 12) - side.slope[k] * z - side.height[k])
            assert rest.min() == 0
            assert rest.max() == side.gap[k]
            assert lo[k] < side.at[k] <= hi[k]


def test_a_corner_is_where_a_rectifier_is_split() -> None:
    b = Builder()
    wire = b.clamp(b.input("x", (1,), Levels(-100, 100)), 0, 100)
    for lo, hi in ((-100, 100), (-90, 3), (-3, 90), (-2, 100)):
        ends = np.array([lo]), np.array([hi])
        for side in lines(points(wire, np.array([0]), *ends), *ends, 12):
            assert side.at.item() in (0, 1)


@pytest.mark.parametrize("bits", [3, 20, 40, 62])
def test_least_sums_do_not_depend_on_doubles(bits: int) -> None:
    rng = np.random.default_rng(bits)
    weights = rng.integers(-(2**bits), 2**bits, (7, 2, 5))
    lo = rng.integers(-99, 99, (2, 5))
    hi = lo + rng.integers(0, 99, (2, 5))
    each = np.stack([lo + k for k in range(7)]), np.stack([hi + 2 * k for k in range(7)])
    for a, b in ((lo, hi), each):
        a, b = np.broadcast_to(a, weights.shape), np.broadcast_to(b, weights.shape)
        due = [
            sum(min(w * x, w * y) for w, x, y in zip(ws.ravel().tolist(), xs.ravel().tolist(), ys.ravel().tolist()))
            for ws, xs, ys in zip(weights, a, b)
        ]
        assert least_sums(weights, a, b, True).tolist() == due == least_sums(weights, a, b, False).tolist()
    assert least_sums(weights, lo, hi, True).tolist() == least_sums(weights, lo, hi, False).tolist()
