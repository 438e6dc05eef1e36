"""Every threshold a second way: bounds from a series in integers, and exact comparisons of squares. No logarithm."""

from __future__ import annotations

import decimal
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zahlen.machine import MachineError, tables

BITS = 400
ONE = 1 << BITS


def atanh_series(y: Fraction) -> tuple[int, int]:
    """Bounds of atanh(y) 2^BITS for 0 <= y <= 1/3: the sum of y^k / k over odd k, each term cut down."""
    power, square = (y.numerator << BITS) // y.denominator, y * y
    low, terms, k = 0, 0, 1
    while power:
        low, terms, k = low + power // k, terms + 1, k + 2
        power = power * square.numerator // square.denominator
    # cutting a power by less than 1 shrinks the later ones by less than 1/9 in all; so does the tail that is left out
    return low, low + 3 * terms + 2


@cache
def ln(q: Fraction) -> tuple[int, int]:
    """Bounds of ln(q) 2^BITS: q = m 2^k with 2/3 <= m <= 4/3, ln m = 2 atanh((m - 1) / (m + 1))."""
    if q < 1:
        low, high = ln(1 / q)
        return -high, -low
    k = 0
    while q > Fraction(4, 3):
        q, k = q / 2, k + 1
    y = (q - 1) / (q + 1)
    low, high = (2 * end for end in atanh_series(abs(y)))
    low, high = (low, high) if y >= 0 else (-high, -low)
    if k:
        two = tuple(2 * end for end in atanh_series(Fraction(1, 3)))
        low, high = low + k * two[0], high + k * two[1]
    return low, high


def bounds(curve: str, levels: int) -> list[tuple[Fraction, Fraction]]:
    """Where each curve passes the middle between neighbouring levels (relu: the upper one), as intervals."""
    result = []
    for k in range(levels - 1):
        middle = Fraction(2 * k + 1, 2 * (levels - 1))  # as a share of the way from the lowest level to the highest
        if curve == "hardtanh":
            low = high = 2 * middle - 1
        elif curve == "relu":
            low = high = 3 * Fraction(k + 1, levels - 1)
        else:  # tanh(x) = 2 sigmoid(2x) - 1, so both pass the same share of their way
            share = 2 if curve == "tanh" else 1
            low, high = (Fraction(end, ONE * share) for end in ln(middle / (1 - middle)))
            low, high = (Fraction(0), Fraction(0)) if middle == Fraction(1, 2) else (low, high)
        result.append((low, high))
    return result


POINTS = {
    "tanh": tables.tanh_points,
    "sigmoid": tables.sigmoid_points,
    "hardtanh": tables.hardtanh_points,
    "relu": lambda levels: tables.relu_points(levels, Fraction(3)),
}
UNITS = [1, 2, 7, 100, 46080, Fraction(1, 1000), Fraction(22, 7), 10**12, Fraction(10**18, 3), 10**17 + 1]


def test_the_second_way_brackets_known_logarithms():
    # digits of ln 2 and ln 10 from the literature
    for q, digits in [(2, "0.693147180559945309417232121458176568"), (10, "2.302585092994045684017991454684364207")]:
        low, high = ln(Fraction(q))
        assert 0 < high - low < 1 << 20
        assert Fraction(low, ONE) < Fraction(digits) + Fraction(1, 10**36)
        assert Fraction(high, ONE) > Fraction(digits)


@pytest.mark.parametrize("curve", POINTS)
@pytest.mark.parametrize("levels", [*range(2, 41), 64, 100, 256, 1000])
def test_thresholds_are_the_ceilings(curve, levels):
    units = UNITS if levels <= 40 else UNITS[3:8:2]
    points, intervals = POINTS[curve](levels), bounds(curve, levels)
    for unit in units:
        for t, (low, high) in zip(tables.thresholds(points, unit).tolist(), intervals, strict=True):
            assert t - 1 < unit * low
            assert unit * high <= t


@given(st.integers(2, 400), st.fractions(Fraction(1, 10**6), 10**16))
@settings(max_examples=30)
def test_thresholds_of_any_unit(levels, unit):
    for curve in ("tanh", "sigmoid"):
        result = tables.thresholds(POINTS[curve](levels), unit)
        assert (np.diff(result) >= 0).all()
        for t, (low, high) in zip(result.tolist(), bounds(curve, levels), strict=True):
            assert t - 1 < unit * low <= unit * high <= t


@pytest.mark.parametrize("precision", [1, 3, 28])
def test_the_callers_decimal_context_changes_nothing(precision):
    expected = tables.thresholds(tables.tanh_points(16), 10**15)
    folded = tables.folded_thresholds(tables.tanh_points(16), 10**12, 0.3, 0.1, -2.5, 0.7, 1e-5)
    with decimal.localcontext() as context:
        context.prec, context.rounding = precision, decimal.ROUND_DOWN
        context.traps[decimal.Inexact] = True
        tables._value.cache_clear()
        assert (tables.thresholds(tables.tanh_points(16), 10**15) == expected).all()
        again = tables.folded_thresholds(tables.tanh_points(16), 10**12, 0.3, 0.1, -2.5, 0.7, 1e-5)
        assert (again[0] == folded[0]).all()
        assert tables.reached(tables.tanh_points(4), 0.5) == 2


def test_thresholds_that_leave_64_bits_or_make_no_sense_are_refused():
    with pytest.raises(MachineError, match="smaller unit"):
        tables.thresholds(tables.tanh_points(3), 10**20)
    for unit in (0, -1):
        with pytest.raises(MachineError, match="positive"):
            tables.thresholds(tables.tanh_points(3), unit)


# ------------------------------------------------------------------------------------------- folded batch norms


def at_least(a: Fraction, b: Fraction, v: Fraction) -> bool:
    """Whether a >= b sqrt(v), by squares."""
    if a >= 0 and b <= 0:
        return True
    if a < 0 and b >= 0:
        return a == 0 and b == 0
    return (a * a >= b * b * v) if a >= 0 else (a * a <= b * b * v)


def level(z: int, curve: str, levels: int, unit, scale, shift, mean, variance, eps) -> int:
    """How many points the batch norm's value at z reaches, by the definition."""
    slope = Fraction(scale) * (z / Fraction(unit) - Fraction(mean))
    deviation = Fraction(variance) + Fraction(eps)
    verdicts = []
    for low, high in bounds(curve, levels):
        both = {at_least(slope, end - Fraction(shift), deviation) for end in (low, high)}
        assert len(both) == 1, "the bounds are too wide to decide"
        verdicts.append(both.pop())
    return sum(verdicts)


single = st.floats(-4, 4, width=32)


@given(
    st.sampled_from(sorted(POINTS)),
    st.integers(2, 9),
    st.fractions(Fraction(1, 10), 10**6, max_denominator=90),
    st.one_of(single.filter(bool), st.sampled_from([1e-3, -1e-3, 1.0, -1.0, 0.5])),
    st.one_of(single, st.just(0.0)),
    st.one_of(single, st.just(0.25)),
    st.one_of(st.floats(0, 9, width=32), st.sampled_from([1.0, 4.0, 0.25, 1e-12])),
    st.sampled_from([1e-5, 0.0, 0.75]),
)
@settings(max_examples=200)
def test_folded_thresholds_follow_the_definition(curve, levels, unit, scale, shift, mean, variance, eps):
    arguments = (unit, scale, shift, mean, variance, eps)
    if Fraction(variance) + Fraction(eps) == 0:
        with pytest.raises(MachineError, match="no deviation"):
            tables.folded_thresholds(POINTS[curve](levels), *arguments)
        return
    thresholds, turned = tables.folded_thresholds(POINTS[curve](levels), *arguments)
    assert turned == (scale < 0)
    assert (np.diff(thresholds) >= 0).all()
    for t in {int(t) for t in thresholds if abs(int(t)) < 2**61}:
        for z in (t - 1, t):
            count = int((thresholds <= z).sum())
            assert (levels - 1 - count if turned else count) == level(z, curve, levels, *arguments)


def test_ties_are_decided_exactly():
    # (z / 10 - 1/4) / 2 >= +-1/2 from z = 12.5 and -7.5 on; with mean 0.5 exactly from 15 and -5 on
    half = tables.hardtanh_points(3)
    assert tables.folded_thresholds(half, 10, 1.0, 0.0, 0.5, 4.0, 0.0)[0].tolist() == [-5, 15]
    # turned around, -5 and 15 themselves still reach the upper level, so the step down comes after them
    assert tables.folded_thresholds(half, 10, -1.0, 0.0, 0.5, 4.0, 0.0)[0].tolist() == [-4, 16]


def test_slopes_too_flat_or_steep_for_the_accumulator_saturate():
    flat, _ = tables.folded_thresholds(tables.tanh_points(3), 10, 1e-300, 0.0, 0.0, 1.0, 0.0)
    assert flat.tolist() == [-(2**62), 2**62]
    for scale in (1e30, 1e300):
        steep, _ = tables.folded_thresholds(tables.tanh_points(3), 10, scale, 0.0, 0.0, 1.0, 0.0)
        assert steep.tolist() == [0, 1]  # +-0.549 is not reached at zero
        beside, _ = tables.folded_thresholds(tables.tanh_points(3), 10, -scale, 0.0, 0.5, 1.0, 0.0)
        assert beside.tolist() == [5, 6]


def test_a_batch_norm_without_scale_or_deviation_is_refused():
    with pytest.raises(MachineError, match="scale 0"):
        tables.folded_thresholds(tables.tanh_points(3), 10, 0.0, 0.0, 0.0, 1.0, 0.0)
    with pytest.raises(MachineError, match="no deviation"):
        tables.folded_thresholds(tables.tanh_points(3), 10, 1.0, 0.0, 0.0, -1.0, 0.5)


@given(st.sampled_from(["tanh", "sigmoid", "hardtanh"]), st.integers(2, 40), st.floats(-5, 5))
def test_reached_counts_the_points_below(curve, levels, x):
    expected = {sum(end <= Fraction(x) for end in ends) for ends in zip(*bounds(curve, levels))}
    assert expected == {tables.reached(POINTS[curve](levels), x)}
