"""Tropical forms: beside the machine at rational points, and with monomials that are all needed."""

import random
from dataclasses import replace
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from piecewise_machines import any_machine, fractions, networks, on_fractions

from zahlen.analysis import LimitError, Polynomial, pieces, regions, tropical
from zahlen.analysis.piecewise.expansion import expanded
from zahlen.analysis.piecewise.program import program
from zahlen.machine import Builder, InputError, Levels


def at_random(rng, count):
    """Small and large rational parameters, far outside of every box too."""
    size = rng.choice([1, 5, 10**6, 10**30])
    return [Fraction(rng.randint(-9 * size, 9 * size), rng.randint(1, 9)) for _ in range(count)]


def outputs(machine, names, inputs):
    values = on_fractions(machine, inputs)
    return [v for name in names for v in np.ravel(values[name][0])]


def on_slice(points, at):
    found = {}
    for name, p in points.items():
        p = fractions(p)
        found[name] = np.array(p[0] + sum(s * (q - p[0]) for s, q in zip(at, p[1:])), dtype=object)[None]
    return found


def feasible(constraints):
    """Whether a x + b y + c > 0 (or a x + c > 0) has a solution, by elimination (Fourier and Motzkin)."""
    while len(constraints[0]) > 1:
        up, down = ([f for f in constraints if sign * f[-2] > 0] for sign in (1, -1))
        constraints = [(*f[:-2], f[-1]) for f in constraints if f[-2] == 0]
        for f in up:
            for g in down:
                constraints.append(tuple(g[-2] * -a + f[-2] * b for a, b in zip((*f[:-2], f[-1]), (*g[:-2], g[-1]))))
        if not constraints:
            return True
    return all(c > 0 for (c,) in constraints)


def needed(polynomial):
    """The monomials that alone are the greatest somewhere."""
    terms = polynomial.monomials
    return tuple(
        m for m in terms if len(terms) == 1 or feasible([tuple(a - b for a, b in zip(m, n)) for n in terms if n != m])
    )


@settings(max_examples=60)
@given(st.integers(1, 3).flatmap(lambda k: networks(k, most=3 if k < 3 else 2)), st.integers(0, 2**32))
def test_networks_are_their_tropical_form(machine, seed):
    rng = random.Random(seed)
    size = machine.wires["x"].size
    try:
        found = tropical(machine, limit=400)
    except LimitError:
        assume(False)
    assert found.minimal == (size < 3)
    for _ in range(5):
        at = at_random(rng, size)
        inputs = {"x": np.array([at], dtype=object)}
        assert found.values(at) == outputs(machine, found.outputs, inputs)
    if size == 1:
        assert found.check(pieces(machine))
    if size == 2:
        assert found.check(regions(machine))
    points = [[rng.randint(-4, 4) for _ in range(size)] for _ in range(size)]
    try:
        if size == 3:
            assert found.check(regions(machine, points, within="triangle"))
        if size == 2:
            assert found.check(pieces(machine, points, within="segment"))
    except InputError as error:
        assume("dimensions" not in str(error))
        raise
    if found.minimal:
        for p in found.numerators + found.denominators:
            if len(p) < 25:
                assert needed(p) == p.monomials


@settings(max_examples=60)
@given(any_machine(), st.integers(0, 2**32), st.integers(1, 2))
def test_machines_of_every_operation(machine, seed, count):
    rng = random.Random(seed)
    points = {
        name: np.array(
            [rng.randint(-9, 9) for _ in range((count + 1) * machine.wires[name].size)], dtype=object
        ).reshape(count + 1, *machine.wires[name].shape)
        for name in machine.inputs
    }
    try:
        found = tropical(machine, points, limit=60)
    except (InputError, LimitError) as error:
        assume("dimensions" not in str(error) and "60" not in str(error))
        raise
    try:
        pairs = expanded(program("test", machine), found.slice, 40)
    except LimitError:
        pairs = None
    for _ in range(3):
        at = at_random(rng, count)
        expected = outputs(machine, found.outputs, on_slice(points, at))
        assert found.values(at) == expected
        assert pairs is None or [p(at) - q(at) for p, q in pairs] == expected
    if count == 2:
        assert found.check(regions(machine, points, within="parallelogram"))
    else:
        assert found.check(pieces(machine, points, within="segment"))


@pytest.mark.parametrize("units", [1, 3, 6])
def test_a_layer_has_as_many_monomials_as_cells(units):
    """Lines in general position: 1 + n + n (n - 1) / 2 (Zhang, Naitzat, Lim 2018, section 6: zonotopes)."""
    weight = [[1, k] for k in range(units)]
    b = Builder()
    h = b.affine(b.input("x", (2,), Levels(-9, 9)), weight, [k * k for k in range(units)])
    found = tropical(b.build(b.affine(b.max(h, b.constant([0] * units)), [[1] * units])))
    assert len(found.numerators[0]) == 1 + units + comb(units, 2)
    assert found.denominators[0].monomials == ((0, 0, 0),)


def network():
    b = Builder()
    x = b.input("x", (2,), Levels(-9, 9))
    h = b.max(b.affine(x, [[1, 2], [1, -1], [-3, 1]], [0, 3, 1]), b.constant([0, 0, 0]))
    h = b.clamp(b.affine(h, [[1, -2, 1], [-1, 1, 1]], [2, -4]), 0, 11)
    return b.build(b.affine(h, [[2, -1]], name="y"))


def test_what_is_corrupted_is_rejected():
    machine = network()
    found, cells = tropical(machine), regions(machine)
    assert found.check(cells)
    sides = ("numerators", "denominators")
    assert min(len(getattr(found, side)[0]) for side in sides) > 4
    for side in sides:
        monomials = getattr(found, side)[0].monomials
        for k, monomial in enumerate(monomials):
            rest = monomials[:k] + monomials[k + 1 :]
            wrong = [rest] + [
                (*rest, tuple(a + change * (j == i) for j, a in enumerate(monomial)))
                for i in range(3)
                for change in (-1, 1)
            ]
            for terms in wrong:
                assert not replace(found, **{side: (Polynomial.of(terms),)}).check(cells)
    assert not replace(found, numerators=found.denominators, denominators=found.numerators).check(cells)
    # a monomial that is never needed changes nothing
    low = (0, 0, -(10**6))
    assert replace(found, numerators=(found.numerators[0] + Polynomial.of([low]),)).check(cells)


def test_regions_of_another_machine_do_not_confirm():
    found = tropical(network())
    b = Builder()
    other = b.build(b.affine(b.input("x", (2,), Levels(-9, 9)), [[1, 1]], name="y"))
    assert not found.check(regions(other))
    with pytest.raises(InputError, match="regions of outputs y are due"):
        found.check(regions(network(), outputs=["affine_1"]))
    slanted = tropical(network(), [[0, 0], [1, 1], [0, 2]])
    assert slanted.check(regions(network(), [[0, 0], [1, 1], [0, 2]]))
    with pytest.raises(InputError, match="the regions are on another slice; find them on the same points"):
        slanted.check(regions(network(), [[0, 0], [1, 1], [0, 3]]))


def test_texts():
    b = Builder()
    x = b.input("x", (2,), Levels(-9, 9))
    y = b.input("y", (), Levels(-9, 9))
    total = b.max(b.affine(x, [[-1, 1]], [4]), b.reshape(y, (1,)), name="z")
    found = tropical(b.build(total, b.neg(total), b.affine(x, [[2, 0]])))
    assert str(found).splitlines() == [
        "P - Q with 2 - 1, 1 - 2, 1 - 1 monomials (not all may be needed)",
        "  max(-x[0] + x[1] + 4, y) - 0",
        "  0 - max(-x[0] + x[1] + 4, y)",
        "  2x[0] - 0",
    ]
    # what is the same in P and in Q of a unit is left out of both
    lower = b.affine(b.max(b.affine(x, [[1, 0]]), b.constant([0])), [[-1]], [5])
    upper = b.max(b.affine(x, [[0, 1]]), b.constant([0]))
    both = b.affine(b.concat(lower, upper), [[-3, -1]], [7])
    text = str(tropical(b.build(both), {"x": [[0, 0], [1, 0], [0, 1]], "y": [0, 0, 0]}))
    assert text.endswith("  max(-8, 3s - 8) - max(0, t)")
    on_plane = tropical(b.build(total), {"x": [[0, 0], [1, 0], [0, 1]], "y": [0, 2, -1]})
    assert str(on_plane).splitlines() == [
        "P - Q with 2 - 1 monomials (each is needed)",
        "  max(-s + t + 4, 2s - t) - 0",
    ]


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_products_with_constants(inputs):
    b = Builder()
    x = b.input("x", (inputs,), Levels(-9, 9))
    h = b.max(b.affine(x, [[1] * inputs, [-2] * inputs], [1, 3]), b.constant([0, -1]))
    h = b.shift(b.mul(b.min(h, b.constant([4, 5])), b.constant([-3, 2])), -1)
    machine = b.build(h, b.mul(b.constant([7, -7]), h))
    found = tropical(machine)
    rng = random.Random(0)
    for _ in range(20):
        at = at_random(rng, inputs)
        assert found.values(at) == outputs(machine, found.outputs, {"x": np.array([at], dtype=object)})


def test_padding_is_no_element_of_a_window():
    """A window that has one element is that element, with the same P and Q."""
    b = Builder()
    x = b.input("x", (2,), Levels(-9, 9))
    h = b.max(b.affine(x, [[1, 2], [2, -1], [1, 1], [-1, 0]]), b.constant([0] * 4))
    h = b.affine(h, [[1, -1, 0, 0], [0, 0, 1, -2], [-1, 0, 1, 0]])
    of_units = tropical(b.build(h))
    pooled = tropical(b.build(b.maxpool(h, (2,), padding=[(1, 0)])))
    assert len(of_units.denominators[0]) > 1
    assert (pooled.numerators[0], pooled.denominators[0]) == (of_units.numerators[0], of_units.denominators[0])


def test_the_least_weight_of_64_bits():
    b = Builder()
    h = b.max(b.affine(b.input("x", (1,), Levels(-9, 9)), [[1], [-1]]), b.constant([0, 1]))
    machine = b.build(b.affine(h, [[-(2**63), 2**63 - 1]]))
    assert tropical(machine).check(pieces(machine))


def test_products_of_many_variables_are_refused_sooner(monkeypatch):
    b = Builder()
    h = b.max(b.affine(b.input("x", (5,), Levels(-9, 9)), np.eye(5, dtype=int)), b.constant([0] * 5))
    machine = b.build(b.affine(h, [[1] * 5], name="y"))
    assert len(tropical(machine).numerators[0]) == 32
    monkeypatch.setattr("zahlen.analysis.piecewise.expansion.COEFFICIENTS", 6 * 31)
    with pytest.raises(LimitError, match=r"'y' needs .* 16 by 2 monomials, which are 32, more than 31; give 3 poi"):
        tropical(machine)


def test_what_is_refused():
    b = Builder()
    x = b.input("x", (4,), Levels(-9, 9))
    rng = np.random.default_rng(0)
    h = b.max(b.affine(x, rng.integers(-3, 4, (12, 4)), rng.integers(-3, 4, 12)), b.constant([0] * 12))
    machine = b.build(b.affine(h, [[1] * 12], name="y"), b.staircase(x, [0], [0, 1], name="steps"))
    with pytest.raises(InputError, match=r"'steps' \(staircase\) jumps, .* with outputs, such as outputs=..x"):
        tropical(machine)
    with pytest.raises(
        LimitError, match=r"'y' needs a product of 64 by 2 monomials, which are 128, more than 100; .*3 poi"
    ):
        tropical(machine, outputs=["y"], limit=100)
    affine = machine.wires["affine_1"].operation
    sums = {(0,) * 5: None}
    for row in np.column_stack([affine.weight, affine.bias]).tolist():
        sums |= {tuple(a + b for a, b in zip(total, row)): None for total in sums}
    assert len(tropical(machine, outputs=["y"]).numerators[0]) == len({total[:4] for total in sums})
    plane = [[0, 0, 0, 0], [1, 0, 2, 0], [0, 1, 0, -1]]
    assert len(tropical(machine, plane, outputs=["y"], limit=100).numerators[0]) <= 1 + 12 + comb(12, 2)
    with pytest.raises(LimitError, match="tropical: more than 20 cells"):
        tropical(machine, plane, outputs=["y"], limit=20)
