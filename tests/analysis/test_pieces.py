"""Pieces of segments of the input space: beside evaluation at rational points, and maps whose pieces are known."""

import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from piecewise_machines import any_machine, fractions, networks, on_fractions, pattern_of

from zahlen.analysis import LimitError, evaluate, pieces
from zahlen.analysis.piecewise.segment import Segment
from zahlen.machine import Builder, InputError, Levels


@settings(max_examples=60)
@given(
    any_machine(jumps=True) | networks(inputs=3, jumps=True), st.integers(0, 2**32), st.sampled_from(["box", "segment"])
)
def test_every_piece_is_the_function_s(machine, seed, within):
    rng = random.Random(seed)
    points = {}
    for name in machine.inputs:
        wire = machine.wires[name]
        values = [rng.randint(wire.alphabet.lo, wire.alphabet.hi) for _ in range(2 * wire.size)]
        points[name] = np.array(values, dtype=object).reshape(2, *wire.shape)
    try:
        found = pieces(machine, points, within=within, limit=300)
    except (InputError, LimitError) as error:
        assume("dimensions" not in str(error) and "300" not in str(error))
        # one point of the box, where an element is at one of its ends
        assert within == "box"
        return
    assert list(found.ends) == sorted(set(found.ends))
    if within == "box":
        for s in (found.ends[0], found.ends[-1]):
            beyond = s + (s - (found.ends[0] + found.ends[-1]) / 2) / 10**6
            for place, outside in ((s, False), (beyond, True)):
                values = {n: p[0] + place * (p[1] - p[0]) for n, p in points.items()}
                left = [
                    not machine.wires[n].alphabet.lo <= v <= machine.wires[n].alphabet.hi
                    for n, value in values.items()
                    for v in np.ravel(value)
                ]
                assert any(left) == outside
    else:
        assert (found.ends[0], found.ends[-1]) == (0, 1)
    at = [a + (b - a) * Fraction(rng.randint(1, 9), 10) for a, b in pairwise(found.ends)]
    inputs = {}
    for name, p in points.items():
        first, second = fractions(p)
        inputs[name] = np.stack([first + s * (second - first) for s in at])
    values = on_fractions(machine, inputs)
    for k, s in enumerate(at):
        expected = [v for name in found.outputs for v in np.ravel(values[name][k])]
        assert [a * s + b for a, b in found.maps[k].tolist()] == expected
    for name, pattern in found.patterns.items():
        direct = pattern_of(machine, name, values)
        assert direct is None or (direct == pattern).all()
    for k in range(len(at) - 1):
        assert any((pattern[k] != pattern[k + 1]).any() for pattern in found.patterns.values())
    again = evaluate(machine, inputs)
    assert all((again[name] == values[name]).all() for name in machine.outputs)


@pytest.mark.parametrize("folds", [1, 4, 10])
def test_a_tent_map_iterated(folds):
    """2^n pieces of n compositions (Telgarsky 2015, arXiv 1509.08101), here on 0..2^n."""
    top = 2**folds
    b = Builder()
    x = b.input("x", (1,), Levels(0, top))
    for _ in range(folds):
        x = b.affine(b.min(x, b.affine(x, [[-1]], [top])), [[2]])
    found = pieces(b.build(x))
    assert found.counts == {"activation regions": top, "linear regions": top}
    assert list(found.ends) == list(range(top + 1))
    assert set(np.abs(found.maps[:, 0, 0]).tolist()) == {top}


def test_three_forms_on_a_line():
    """Where the greatest of three changes, and nowhere else, whatever lines were compared to find it."""
    b = Builder()
    x = b.input("x", (1,), Levels(-6, 6))
    y = b.maxpool(b.affine(x, [[-3], [0], [4], [0], [-1]], [0, 5, 0, -8, 2]), (5,), name="y")
    found = pieces(b.build(y))
    assert list(found.ends) == [-6, Fraction(-5, 3), Fraction(5, 4), 6]
    assert found.maps[:, 0].tolist() == [[-3, 0], [0, 5], [4, 0]]
    assert found.patterns["y"].ravel().tolist() == [0, 1, 2]
    assert str(found) == "3 activation regions, 3 linear regions from -6 to 6"


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 40]), st.booleans())
def test_classes_are_the_pieces_of_argmax(seed, largest, stairs):
    """With small weights scores are equal at points and on whole pieces."""
    rng = np.random.default_rng(seed)

    def some(*shape):
        return rng.integers(-largest, largest + 1, shape)

    b = Builder()
    x = b.input("x", (3,), Levels(-largest, largest))
    z = b.affine(x, some(4, 3), some(4))
    h = b.staircase(z, [-largest, 0, 2], [0, 3, 4, 9]) if stairs else b.max(z, b.constant([0] * 4))
    scores = b.affine(h, some(4, 4), some(4), name="scores")
    machine = b.build(b.argmax(scores, name="class"))
    points = some(2, 3)
    assume((points[0] != points[1]).any())
    by_argmax = pieces(machine, points, within="segment").classes
    assert by_argmax == pieces(machine, points, within="segment", outputs=["scores"]).classes
    assert all(one[1] != other[1] for one, other in pairwise(by_argmax))
    at = [(s + e) / 2 for (s, _), (e, _) in pairwise([*by_argmax, (Fraction(1), 0)])]
    inputs = np.stack([fractions(points[0]) + s * fractions(points[1] - points[0]) for s in at])
    assert evaluate(machine, {"x": inputs})["class"].tolist() == [label for _, label in by_argmax]


def test_classes_that_are_none():
    b = Builder()
    x = b.input("x", (1,), Levels(-6, 6))
    machine = b.build(b.affine(x, [[2]], name="y"), b.affine(x, [[2], [-1]], name="z"))
    for outputs in (["y"], ["y", "z"]):
        with pytest.raises(InputError, match="those of one output of several elements, or of an argmax"):
            _ = pieces(machine, outputs=outputs).classes
    assert pieces(machine, outputs=["z"]).classes == [(-6, 1), (0, 0)]


def test_pieces_of_a_segment_are_merged():
    segment = Segment([(0, 1), (1, 1)])
    for form in ((2, -1), (-4, 1), (4, -3)):
        cut = segment.cut(next(c for c, (u, v) in segment.cells.items() if _inside(segment, u, v, form)), form)
        ends = [[Fraction(*segment.points[v]) for v in segment.cells[c]] for c in cut]
        assert [form[0] * sum(pair) / 2 + form[1] > 0 for pair in ends] == [True, False]
    order = sorted(segment.cells, key=lambda c: Fraction(*segment.points[segment.cells[c][0]]))
    kept = segment.merge([order[2], order[1], order[3]])
    assert [Fraction(*segment.points[v]) for v in segment.cells[kept]] == [Fraction(1, 4), 1]
    assert sorted(segment.cells) == sorted([order[0], kept])


def _inside(segment, u, v, form):
    a, b = (form[0] * segment.points[k][0] + form[1] * segment.points[k][1] for k in (u, v))
    return a * b < 0


def test_what_is_refused():
    b = Builder()
    machine = b.build(b.neg(b.input("x", (2,), Levels(0, 3))))
    for points, message in [
        (None, "the input has 2 elements; give 2 points for a slice through them"),
        ([[1, 1], [1, 1]], "the 2 points lie on a slice of fewer dimensions"),
        ([[0, 0], [1, -1]], "the line through these points has no more than its edge in the box"),
        ([[0, 4], [1, 4]], "the line through these points has no more than its edge in the box"),
    ]:
        with pytest.raises(InputError, match=message):
            pieces(machine, points)
    with pytest.raises(InputError, match="within is box or segment, got 'triangle'"):
        pieces(machine, [[0, 0], [1, 1]], within="triangle")
    assert pieces(machine, [[0, 3], [1, 3]]).ends == (0, 3)
