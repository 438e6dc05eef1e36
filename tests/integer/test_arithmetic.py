"""Kernels and NumPy agree on every value; sums, staircases and updates are what their definitions say."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import both

import zahlen
from zahlen.grids import weight_grid
from zahlen.integer import arithmetic as do
from zahlen.integer.layer import Parameter
from zahlen.integer.optimisers import Momentum
from zahlen.kernels import native
from zahlen.machine import InputError, Levels

pytestmark = pytest.mark.skipif(native is None, reason="built without compiled kernels")
SOURCES = Path(zahlen.__file__).parent / "kernels"


def matrix(rng, rows, columns, most=do.SHORT):
    return rng.integers(-most, most + 1, (rows, columns)).astype(np.int16)


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 30), inner=st.integers(1, 40), columns=st.integers(1, 70), seed=st.integers(0, 99))
def test_products_of_any_size(rows, inner, columns, seed):
    rng = np.random.default_rng(seed)
    a, b = matrix(rng, rows, inner, 500), matrix(rng, inner, columns, 500)
    due = a.astype(np.int64) @ b.astype(np.int64)
    across, under = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    for left in (lambda: do.left(a), lambda: do.left_transposed(across)):
        for right in (lambda: do.right(b), lambda: do.right_transposed(under)):
            (got,) = both(lambda: (do.product(left(), right()),))  # noqa: B023
            assert np.array_equal(got, due)


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_the_greatest_factors_beyond_32_bits(sign):
    a, b = np.full((13, 301), do.SHORT, np.int16), np.full((301, 35), sign * do.SHORT, np.int16)
    out = both(lambda: (added(a, b),))[0]
    assert (out == 5 + sign * 301 * do.SHORT**2).all()


def added(a, b):
    out = np.full((len(a), b.shape[1]), 5, np.int64)
    do.add_product(do.left(a), do.right(b), out, do.SHORT**2)
    return out


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), factor=st.integers(1, 1000), shift=st.integers(0, 20))
def test_scaled_products_are_rounded_half_up_and_clamps_counted(seed, factor, shift):
    rng = np.random.default_rng(seed)
    a, b = matrix(rng, 7, 9, 300), matrix(rng, 9, 40, 300)
    scale = do.Scale(factor, shift)
    got, clamps = both(lambda: do.scaled_product(do.left(a), do.right(b), scale, 90000))
    exact = [int(v) for v in (a.astype(np.int64) @ b.astype(np.int64)).ravel()]
    due = [(2 * v * factor + 2**shift) // 2 ** (shift + 1) for v in exact]
    assert got.ravel().tolist() == [max(-32767, min(32767, v)) for v in due]
    assert clamps == sum(abs(v) > 32767 for v in due)


@settings(deadline=None, max_examples=50)
@given(
    thresholds=st.lists(st.integers(-2000, 2000), min_size=1, max_size=40),
    z=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-2100, 2100), min_size=1, max_size=60),
)
def test_staircases_count_thresholds(thresholds, z):
    thresholds = np.array(sorted(thresholds))
    steps = do.Steps(thresholds, np.arange(len(thresholds) + 1))
    (got,) = both(lambda: (steps(np.array(z, np.int32)),))
    assert got.tolist() == [int((thresholds <= v).sum()) for v in z]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), classes=st.integers(2, 50), unit=st.integers(2, 5000), bits=st.integers(1, 14))
def test_the_softmax_is_the_same_everywhere_and_near_the_real_one(seed, classes, unit, bits):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-8 * unit, 8 * unit, (20, classes)).astype(np.int32)
    labels = rng.integers(-1, classes, 20).astype(np.int32)
    delta, loss, right = both(lambda: do.softmax(logits, labels, Fraction(unit), bits))
    known = labels >= 0
    assert right == (logits.argmax(1) == labels)[known].sum()
    assert not delta[~known].any()
    p = np.exp((logits - logits.max(1, keepdims=True)) / unit)
    p /= p.sum(1, keepdims=True)
    real = -np.log2(p[known, labels[known]]).sum()
    # a place in the table is up to 1/256 off, each probability so much, and each part of the loss
    assert abs(loss / 2**16 - real) <= 0.02 * (1 + known.sum())
    onehot = np.arange(classes) == labels[:, None]
    assert np.abs(delta / 2**bits - (p - onehot))[known].max(initial=0) <= 0.01 + 2.0**-bits


@pytest.mark.parametrize("values", [2, 3, 255])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("random", [False, True])
def test_steps_of_latent_weights(values, wide, random):
    grid = weight_grid(values)
    rule = Momentum("0.05", weight_decay=9, random=random, clip="0.5")

    def steps():
        rng = np.random.default_rng(1)
        latent = rng.integers(grid.lo << 16, (grid.hi << 16) + 1, (37, 11)).astype(np.int32)
        p = Parameter(grid, Fraction(64), latent)
        p.receives(Fraction(2**14 * 70), do.SHORT * 255 * (1000 if wide else 1), 128)
        assert p.gradient.dtype == (np.int64 if wide else np.int32)
        count = 0
        for k in range(5):
            p.gradient[...] = rng.integers(-(2**30), 2**30, p.gradient.shape)
            count += rule.step([p], 128, Fraction(5 - k, 5), k)
        assert set(np.unique(p.weight)) <= set(range(grid.lo, grid.hi + 1, grid.step))
        return p.weight, p.latent, p.momentum, count

    both(steps)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    rate=st.fractions(Fraction(1, 2**40), 2**8),
    decay=st.integers(0, 15),
    weight_decay=st.integers(0, 31),
    clip=st.sampled_from([None, "0.001", "100"]),
    values=st.sampled_from([2, 3, 255, 4001]),
    unit=st.sampled_from([1, 2**20, 2**24]),
)
def test_steps_of_any_rate_to_the_ends_of_32_bits(seed, rate, decay, weight_decay, clip, values, unit):
    grid, ends = weight_grid(values), [-do.INT32, do.INT32, -1, 0, 1]
    rule = Momentum(rate, decay=decay, weight_decay=weight_decay, clip=clip)

    def steps():
        rng = np.random.default_rng(seed)
        latent = rng.integers(grid.lo << 16, (grid.hi << 16) + 1, (50,)).astype(np.int32)
        p = Parameter(grid, Fraction(64), latent)
        p.receives(Fraction(unit), do.SHORT * unit, 1)
        p.gradient = np.zeros(50, np.int32)
        counts = []
        for k in range(4):
            p.gradient[...] = np.where(rng.integers(0, 2, 50), rng.choice(ends, 50), rng.integers(-(2**31), 2**31, 50))
            counts.append(rule.step([p], 1, Fraction(1), k))
        return p.weight, p.latent, p.momentum, counts

    both(steps)


def test_rates_beyond_all_grids_are_refused():
    p = Parameter(Levels(-127, 127), Fraction(64), np.zeros(3, np.int32))
    p.receives(Fraction(1), 1, 1)
    with pytest.raises(InputError, match="at a rate of 1024"):
        Momentum(1024).step([p], 1, Fraction(1), 0)


def test_a_step_moves_against_the_gradient_by_the_rate():
    p = Parameter(Levels(-127, 127), Fraction(64), np.zeros((1, 1), np.int32))
    p.receives(Fraction(2**14), do.SHORT, 1)
    p.gradient[...] = 2**14  # 1.0
    Momentum("0.5", decay=0).step([p], 1, Fraction(1), 0)
    assert p.latent.item() == -(64 << 16) // 2
    assert p.weight.item() == -32
    assert not p.gradient.any()


def test_the_portable_kernels_need_no_floating_point_registers(tmp_path):
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no compiler")
    command = [compiler, "-std=gnu11", "-O2", "-Wno-unknown-pragmas", "-mgeneral-regs-only", "-DVARIANT=portable"]
    for name in ("train", "windows", "norm"):
        subprocess.run([*command, "-c", SOURCES / f"{name}.c", "-o", tmp_path / f"{name}.o"], check=True)
    # the compiler does refuse
    (tmp_path / "float.c").write_text("double f(double x) { return x / 3; }\n")
    refused = subprocess.run([*command, "-c", tmp_path / "float.c", "-o", tmp_path / "float.o"], capture_output=True)
    assert refused.returncode != 0
