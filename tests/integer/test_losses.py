"""Losses against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from zahlen import Levels, integer
from zahlen.integer import arithmetic as do
from zahlen.integer.losses import _sum
from zahlen.machine import InputError

SPEC = integer.Spec((4,), Levels(-5000, 5000), Fraction(1024))
BITS = 12


def outputs(rows=50, reach=3000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(-reach, reach, (rows, 4)).astype(np.int32), rng.integers(0, 4, rows).astype(np.int32)


def rounded(x):
    """floor(x + 1/2)."""
    return int((x + Fraction(1, 2)).__floor__())


def test_cross_entropy_is_the_softmax():
    z, y = outputs()
    found, due = integer.CrossEntropy().measure(z, y, SPEC.unit, BITS), do.softmax(z, y, SPEC.unit, BITS)
    assert np.array_equal(found.delta, due[0])
    assert (found.loss, found.right, found.clamps) == (*due[1:], 0)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("reach", [3000, 20000])
def test_squared(labels, reach):
    z, y = outputs(reach=reach)
    y[3] = -100 if labels else y[3]
    target = np.random.default_rng(1).integers(-3000, 3000, z.shape)
    found = integer.Squared().measure(z, y if labels else target, SPEC.unit, BITS)
    loss, clamps, right = Fraction(0), 0, 0
    for i, row in enumerate(z):
        right += int(row.argmax()) == y[i]
        for j, value in enumerate(row):
            aim = (1024 if j == y[i] else 0) if labels else int(target[i, j])
            aim = int(value) if labels and y[i] < 0 else aim
            error = rounded(Fraction((int(value) - aim) << BITS, 1024))
            slope = min(max(error, -(2**15) + 1), 2**15 - 1)
            clamps += slope != error
            loss += Fraction(slope * (2 * error - slope), 2 ** (2 * BITS + 1))
            assert found.delta[i, j] == slope
    assert found.loss == rounded(loss * 2**16)
    assert (found.clamps, found.right) == (clamps, right if labels else None)
    assert (clamps > 0) == (reach > 10000)


@pytest.mark.parametrize("unit", [Fraction(1024), Fraction(3000, 7)])
def test_hinge(unit):
    z, y = outputs()
    z[0], y[0], y[1] = (5, 5, -9000, -9000), 0, -100
    found = integer.Hinge().measure(z, y, unit, BITS)
    due, loss, right = np.zeros(z.shape, int), Fraction(0), 0
    for i, row in enumerate(z.tolist()):
        if y[i] < 0:
            continue
        right += row.index(max(row)) == y[i]
        others = [(value, -j) for j, value in enumerate(row) if j != y[i]]
        value, j = max(others)
        short = rounded(unit) + value - row[y[i]]
        if short > 0:
            due[i, -j] += 1 << BITS
            due[i, y[i]] -= 1 << BITS
            scale = do.Scale.of(Fraction(1 << 16) / unit)
            loss += rounded(Fraction(short * scale.factor, 1 << scale.shift))
    assert np.array_equal(found.delta, due)
    assert (found.loss, found.right, found.clamps) == (loss, right, 0)


def test_sums_are_exact_beyond_64_bits():
    x = np.array([2**62, 2**62, 2**62, -1, 5], dtype=np.int64)
    assert _sum(x) == 3 * 2**62 + 4


def test_targets_are_checked():
    for loss in (integer.CrossEntropy(), integer.Squared(), integer.Hinge()):
        assert loss.checked([0, 3, -100], SPEC).tolist() == [0, 3, -100]
        for wrong in ([0, 4], [-1], [0.5]):
            with pytest.raises(InputError, match="target"):
                loss.checked(wrong, SPEC)
    squared = integer.Squared()
    for wrong, reason in [(np.zeros((2, 3), int), r"compares outputs \(4,\)"), (np.full((2, 4), 2**31), "32 bits")]:
        with pytest.raises(InputError, match=reason):
            squared.checked(wrong, SPEC)
    with pytest.raises(InputError, match="at least two outputs"):
        integer.Hinge().checked([0], SPEC.but(shape=(1,)))


def test_targets_of_images_lie_as_outputs_do():
    spec = SPEC.but(shape=(2, 3, 4))
    y = np.arange(48).reshape(2, 2, 3, 4)
    assert np.array_equal(integer.Squared().checked(y, spec), np.moveaxis(y, 1, 3))
