"""``zahlen analyse --regions``, ``--pieces``, ``--tropical``: what they say is what the machine computes."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_analyse import Capture, said

from zahlen import Builder, Levels, analysis, load
from zahlen.machine import Machine

SAMPLES = np.array([[0, 0, 9, 3], [8, 2, 0, 1], [1, 9, 2, 7], [3, 0, 6, 3], [9, 9, 0, 5], [6, 0, 3, 3]])
"""Sample 5 is on the line through 0 and 3."""


def network(size: int, widths: tuple[int, ...], alphabet: Levels, seed: int = 0) -> Machine:
    """ReLU layers, and three scores."""
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.input("x", (size,), alphabet)
    for k, width in enumerate(widths):
        z = b.affine(h, rng.integers(-4, 5, (width, h.shape[0])), rng.integers(-9, 10, width))
        h = b.max(z, b.constant([0] * width), name=f"relu_{k + 1}")
    return b.build(b.affine(h, rng.integers(-4, 5, (3, h.shape[0])), [1, 0, -2], name="scores"))


def planar() -> Machine:
    return network(2, (6, 4), Levels(-5, 5), seed=8)


def wide() -> Machine:
    return network(4, (8,), Levels(0, 9), seed=3)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    planar().save(folder / "planar.zn")
    wide().save(folder / "wide.zn")
    network(1, (3,), Levels(-9, 9)).save(folder / "line.zn")
    b = Builder()
    x = b.input("x", (4,), Levels(0, 9))
    steps = b.staircase(b.affine(x, [[2, -1, 0, 1], [-1, 1, 1, 0]], name="z"), [0, 5], [0, 1, 2], name="steps")
    scores = b.affine(steps, [[3, 0], [0, 4], [1, 1]], [0, 0, 1], name="scores")
    b.build(b.argmax(scores), notes={"classes": ["boat", "1", "2"]}).save(folder / "stairs.zn")
    b.build(b.shift(b.affine(x, [[1, 2, 3, 4]]), 2, name="halved")).save(folder / "rounding.zn")
    b = Builder()
    x, h = b.input("x", (2,), Levels(0, 9)), b.register("h", (2,), Levels(0, 9))
    b.connect(h, x)
    b.build(h).save(folder / "memory.zn")
    np.save(folder / "x.npy", SAMPLES)
    np.save(folder / "twice.npy", 2 * SAMPLES + 1)
    return folder


def record(folder: Path, capsys: Capture, *arguments: object) -> tuple[str, dict[str, Any]]:
    """What the command prints, with seconds left out, and what it writes."""
    out = said(capsys, *arguments, "-q", "--json", folder / "found.json")
    return re.sub(r"\d+\.\d\d s", "S s", out), json.loads((folder / "found.json").read_text())


def value(form: list[int], at: tuple[Any, ...]) -> Fraction:
    return sum((a * Fraction(v) for a, v in zip(form, (*at, 1))), Fraction(0))


def holds(corners: list[list[Fraction]], at: tuple[Any, ...]) -> bool:
    """Whether a point is in a polygon whose corners are anticlockwise."""
    sides = zip(corners, corners[1:] + corners[:1])
    return all((b[0] - a[0]) * (at[1] - a[1]) >= (b[1] - a[1]) * (at[0] - a[0]) for a, b in sides)


# ---------------------------------------------------------------------------------------------------- regions


def test_regions_of_a_plane(models: Path, tmp_path: Path, capsys: Capture) -> None:
    """At every integer point the cells of the file say what the machine says, and all cells are there."""
    picture = tmp_path / "regions.png"
    out, found = record(tmp_path, capsys, models / "planar.zn", "--regions", "--draw", picture)
    expected = analysis.regions(planar())
    assert out.startswith(re.sub(r"\s+", " ", f"regions: {expected} activation regions: cells with interior"))
    assert " linear regions: connected open sets" in out
    assert " affine maps: different ones" in out
    assert out.endswith(
        " found in S s checked the map of each cell at its corners and inside, by the machine's operations "
    )
    assert picture.read_bytes()[:4] == b"\x89PNG"
    cells = found["regions"].pop("cells")
    assert found["regions"] == {**expected.counts, "vertices": len(expected.points), "edges": len(expected.edges)}
    assert len(cells) == expected.counts["activation regions"] > 20
    assert len({cell["region"] for cell in cells}) == expected.counts["linear regions"]
    assert len({str(cell["map"]) for cell in cells}) == expected.counts["affine maps"]
    polygons = [[[Fraction(v) for v in corner] for corner in cell["corners"]] for cell in cells]
    points = [(s, t) for s in range(-5, 6) for t in range(-5, 6)]
    for at, scores in zip(points, planar().run(np.array(points)).tolist()):
        homes = [cell for cell, polygon in zip(cells, polygons) if holds(polygon, at)]
        assert homes
        for cell in homes:
            assert [value(form, at) for form in cell["map"]] == scores
    areas = [
        sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(corners, corners[1:] + corners[:1])) / 2 for corners in polygons
    ]
    assert min(areas) > 0
    assert sum(areas) == 100


@pytest.mark.parametrize(("within", "area"), [("triangle", Fraction(1, 2)), ("parallelogram", 1), (None, None)])
def test_regions_through_samples(
    models: Path, tmp_path: Path, capsys: Capture, within: str | None, area: Fraction | None
) -> None:
    options = [] if within is None else ["--within", within]
    arguments = [models / "wide.zn", models / "x.npy", "--regions", "--through", "4,0,2", *options]
    out, found = record(tmp_path, capsys, *arguments)
    points = SAMPLES[[4, 0, 2]]
    expected = analysis.regions(wide(), points, within=within or "box")
    assert re.sub(r"\s+", " ", str(expected)) in out
    assert area is None or sum(expected.areas) == area
    corners = {tuple(map(Fraction, corner)): cell for cell in found["regions"]["cells"] for corner in cell["corners"]}
    for at, scores in zip([(0, 0), (1, 0), (0, 1)], wide().run(points).tolist()):
        if within is not None:
            assert [value(form, at) for form in corners[at]["map"]] == scores
    inner = said(capsys, *arguments, "--outputs", "relu_1, scores", "--limit", len(expected.cells))
    assert (
        str(analysis.regions(wide(), points, within=within or "box", outputs=["relu_1", "scores"])).split(",")[0]
        in inner
    )
    assert "more than 3 cells; raise limit" in said(capsys, *arguments, "--limit", 3, code=1)


def test_samples_are_divided_first(models: Path, capsys: Capture) -> None:
    options = ["--regions", "--through", "4,0,2", "--within", "triangle"]
    plain = said(capsys, models / "wide.zn", models / "x.npy", *options)
    twice = said(capsys, models / "wide.zn", models / "twice.npy", *options, "--divide", 2)
    assert plain.split(" found in")[0] == twice.split(" found in")[0]
    refused = said(capsys, models / "wide.zn", models / "twice.npy", *options, code=1)
    assert "values are 1..19, the machine takes 0..9; --divide makes them coarser" in refused


def test_a_wrong_map_is_no_answer(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(analysis.Regions, "check", lambda found: False)
    with pytest.raises(RuntimeError, match="please report this"):
        said(capsys, models / "planar.zn", "--regions")


# ---------------------------------------------------------------------------------------------------- pieces


def test_pieces_and_classes(models: Path, tmp_path: Path, capsys: Capture) -> None:
    """Two neighbouring classes have equal scores where they meet, and each is the greatest on its part."""
    out, found = record(tmp_path, capsys, models / "wide.zn", models / "x.npy", "--pieces", "--through", "1,3")
    expected = analysis.pieces(wide(), SAMPLES[[1, 3]], within="segment")
    assert out.startswith(f"pieces: {expected} class ")
    ends = [Fraction(end) for end in found["pieces"]["ends"]]
    assert tuple(ends) == expected.ends
    starts = [Fraction(part["from"]) for part in found["pieces"]["classes"]]
    labels = [part["class"] for part in found["pieces"]["classes"]]
    assert len(labels) > 2
    assert starts[0] == 0

    def scores(s: Fraction) -> list[Fraction]:
        first, second = (np.array([Fraction(int(v)) for v in row], dtype=object) for row in SAMPLES[[1, 3]])
        return analysis.evaluate(wide(), {"x": (first + s * (second - first))[None]})["scores"][0].tolist()

    for s, before, after in zip(starts[1:], labels, labels[1:]):
        assert scores(s)[before] == scores(s)[after] == max(scores(s))
    for a, b in pairwise(sorted({*ends, *starts})):
        label = labels[max(k for k, start in enumerate(starts) if start <= a)]
        assert all(scores(s)[label] == max(scores(s)) for s in (a, b))
    for (left, right), label in zip(pairwise([*starts, Fraction(1)]), labels):
        shown = [str(v) if v.denominator == 1 else f"{v} (about {float(v):.4f})" for v in (left, right)]
        assert f"class {label} from {shown[0]} to {shown[1]} " in out


def test_pieces_of_a_line_and_of_stairs(models: Path, tmp_path: Path, capsys: Capture) -> None:
    line = network(1, (3,), Levels(-9, 9))
    assert str(analysis.pieces(line)) in said(capsys, models / "line.zn", "--pieces")
    arguments = [models / "stairs.zn", models / "x.npy", "--pieces", "--through", "1,2"]
    out, found = record(tmp_path, capsys, *arguments)
    classes = [part["class"] for part in found["pieces"]["classes"]]
    assert {0, 1} <= set(classes)
    assert "class 0 (boat) from " in out
    assert "class 1 from " in out
    stairs = load(models / "stairs.zn")
    inside = [*arguments[:2], "--pieces", "--through", "5,3"]
    assert " 1 linear region from 0 to 1 " in said(capsys, *inside, "--outputs", "x")
    whole = said(capsys, *inside, "--within", "box")
    assert f"pieces: {analysis.pieces(stairs, SAMPLES[[5, 3]])} class" in whole
    assert " from -1 to " in whole
    inner = said(capsys, *arguments, "--outputs", "z,steps")
    assert str(analysis.pieces(stairs, SAMPLES[[1, 2]], within="segment", outputs=["z", "steps"])) in inner
    assert "class" not in inner


# ---------------------------------------------------------------------------------------------------- tropical form


def test_tropical_form_of_a_plane(models: Path, tmp_path: Path, capsys: Capture) -> None:
    out, found = record(tmp_path, capsys, models / "planar.zn", "--tropical")
    form, cells = analysis.tropical(planar()), analysis.regions(planar())
    assert out.startswith("tropical: " + re.sub(r"\s+", " ", f"{form} found in S s"))
    assert f"checked on all {len(cells.cells)} cells of the plane in the box of the input" in out
    said_of = found["tropical"]
    assert said_of["numerators monomials"] == [len(p) for p in form.numerators]
    assert said_of["denominators monomials"] == [len(p) for p in form.denominators]
    points = [(s, t) for s in range(-5, 6) for t in range(-5, 6)]
    for at, scores in zip(points, planar().run(np.array(points)).tolist()):
        sides = zip(said_of["numerators"], said_of["denominators"])
        assert [max(value(m, at) for m in p) - max(value(m, at) for m in q) for p, q in sides] == scores


@pytest.mark.parametrize(
    ("through", "where"),
    [
        (None, "pieces of the diagonal of the box of the input"),
        ((4, 2), "pieces of the line in the box of the input"),
        ((4, 0, 2), "cells of the plane in the box of the input"),
        ((4, 0, 2, 1), "checked at all 4 samples"),
    ],
)
def test_tropical_form_of_slices(
    models: Path, tmp_path: Path, capsys: Capture, through: tuple[int, ...] | None, where: str
) -> None:
    samples = [] if through is None else [models / "x.npy", "--through", ",".join(map(str, through))]
    out, found = record(tmp_path, capsys, models / "wide.zn", *samples, "--tropical", "--outputs", "scores")
    assert where in out
    variables = found["tropical"]["variables"]
    points = SAMPLES if through is None else np.eye(len(through), len(through) - 1, -1, dtype=int)
    scores = wide().run(SAMPLES if through is None else SAMPLES[list(through)]).tolist()
    assert len(variables) == points.shape[1]
    for at, expected in zip(points.tolist(), scores):
        sides = zip(found["tropical"]["numerators"], found["tropical"]["denominators"])
        assert [max(value(m, at) for m in p) - max(value(m, at) for m in q) for p, q in sides] == expected


def test_a_wrong_form_is_no_answer(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    right = analysis.tropical

    def wrong(machine: Machine, *arguments: Any, **options: Any) -> Any:
        other = network(machine.wires["x"].size, (6, 4), Levels(-5, 5), seed=2)
        return right(other, *arguments, **options)

    monkeypatch.setattr(analysis, "tropical", wrong)
    for model, options in (
        ("planar.zn", []),
        ("wide.zn", []),
        ("wide.zn", [models / "x.npy", "--through", "4,2"]),
        ("wide.zn", [models / "x.npy", "--through", "4,0,2,1"]),
    ):
        with pytest.raises(RuntimeError, match="please report this"):
            said(capsys, models / model, *options, "--tropical")


# ---------------------------------------------------------------------------------------------------- the portrait


def test_portrait(models: Path, tmp_path: Path, capsys: Capture) -> None:
    out, found = record(tmp_path, capsys, models / "planar.zn")
    assert (
        re.sub(r"\s+", " ", f"regions (--regions): {analysis.regions(planar())} pieces (--pieces): on the line") in out
    )
    assert found["regions"] == analysis.regions(planar()).counts
    assert "tropical form (--tropical): of 2 variables" in out
    line = said(capsys, models / "line.zn")
    assert "regions (--regions): on the plane --through 3 samples of DATA pieces (--pieces): " in line
    assert f"pieces (--pieces): {analysis.pieces(network(1, (3,), Levels(-9, 9)))} tropical" in line
    assert "tropical form (--tropical): there is none: the function jumps" in said(capsys, models / "stairs.zn")
    assert "shift rounds at every integer" in said(capsys, models / "rounding.zn")


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("model", "options", "code", "reason"),
    [
        ("wide", ["--regions"], 2, "the input has 4 elements; give DATA, and --through with 3 of its samples"),
        ("planar", ["--pieces"], 2, "the input has 2 elements; give DATA, and --through with 2 of its samples"),
        ("wide", ["x.npy", "--regions"], 2, "add --through, which of its samples are meant"),
        ("wide", ["--regions", "--through", "0,1,2"], 2, "these are samples of DATA, which is missing"),
        ("wide", ["x.npy", "--through", "0,1,2"], 2, "add --regions, --pieces or --tropical"),
        ("wide", ["x.npy"], 2, "add --regions, --pieces or --tropical"),
        ("wide", ["--outputs", "scores"], 2, "add --regions, --pieces or --tropical"),
        ("planar", ["--regions", "--divide", "2"], 2, "it divides the values of DATA"),
        ("wide", ["x.npy", "--regions", "--through", "0,1"], 2, "--regions takes 3 samples, which a plane goes"),
        ("wide", ["x.npy", "--pieces", "--through", "0,1,2"], 2, "--pieces takes 2 samples, which a line goes"),
        ("wide", ["x.npy", "--tropical", "--through", "4"], 2, "two samples or more are due, got 4"),
        ("wide", ["x.npy", "--regions", "--through", "0,1,a"], 2, "whole numbers with commas between are due"),
        ("wide", ["x.npy", "--regions", "--through", "0,1,-1"], 2, "numbers must be at least 0"),
        ("wide", ["x.npy", "--regions", "--through", "0,1,6"], 1, "there is no sample 6; --through takes 0..5"),
        ("wide", ["x.npy", "--regions", "--through", "0,3,5"], 1, "lie on a slice of fewer dimensions; take another"),
        ("wide", ["x.npy", "--pieces", "--through", "2,2"], 1, "lie on a slice of fewer dimensions; take another"),
        ("wide", ["x.npy", "--pieces", "--through", "0,1", "--within", "triangle"], 2, "a part for --regions"),
        ("wide", ["x.npy", "--regions", "--through", "0,1,2", "--within", "segment"], 2, "a part for --pieces"),
        ("wide", ["x.npy", "--tropical", "--through", "0,1", "--within", "box"], 2, "for --regions or --pieces"),
        ("planar", ["--regions", "--within", "triangle"], 2, "has its corners in samples; add --through"),
        ("planar", ["--regions", "--outputs", "nothing"], 1, "no wire 'nothing'; there are x, affine_1"),
        (
            "planar",
            ["x.npy", "--regions", "--through", "0,1,2"],
            1,
            "samples of shape (4,), but the machine takes (2,)",
        ),
        ("planar", ["--regions", "--limit", "4"], 1, "more than 4 cells; raise limit"),
        ("planar", ["--tropical", "--draw", "a.png"], 2, "one of --states, --orbit, --automaton, --regions is due"),
        ("wide", ["--tropical", "--limit", "9"], 1, "which are 16, more than 9; raise limit, or give 3 points"),
        ("stairs", ["--tropical"], 1, "'steps' (staircase) jumps, and no tropical function does; ask for wires before"),
        ("rounding", ["no.npy", "--regions", "--through", "0,1,2"], 1, "'halved' is no piecewise affine function"),
        ("memory", ["no.npy", "--regions", "--through", "0,1,2"], 1, "the machine has registers (h); take"),
    ],
)
def test_refusals(models: Path, capsys: Capture, model: str, options: list[str], code: int, reason: str) -> None:
    arguments = [models / o if o == "x.npy" else o for o in options]
    assert reason in said(capsys, models / f"{model}.zn", *arguments, code=code)
