"""Pools compute what their machines do, on every path, and send gradients where the definition says."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import both

from zahlen import Levels, integer
from zahlen.integer import arithmetic as do
from zahlen.kernels import native
from zahlen.machine import LayerError


@st.composite
def cases(draw):
    """Arguments of a pool, the shape of its input, and a seed."""
    size, stride = (tuple(draw(st.integers(1, 4)) for _ in range(2)) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    lengths = tuple(max(1, k - 2 * p) + draw(st.integers(0, 5)) for k, p in zip(size, padding))
    return (size, stride, padding), (draw(st.sampled_from([1, 3, 16, 70])), *lengths), draw(st.integers(0, 2**32 - 1))


def bound(layer, shape, alphabet):
    layer.bind(integer.Spec(shape, alphabet, Fraction(alphabet.hi)))
    return layer


def places(arguments, counts, lengths):
    """Every output with the elements of its window that are inside, row by row."""
    size, stride, padding = arguments
    for row, column in np.ndindex(*counts):
        inside = []
        for i, k in np.ndindex(*size):
            y, x = row * stride[0] + i - padding[0], column * stride[1] + k - padding[1]
            if 0 <= y < lengths[0] and 0 <= x < lengths[1]:
                inside.append((y, x))
        yield (row, column), inside


@pytest.mark.skipif(native is None, reason="built without compiled kernels")
@settings(deadline=None, max_examples=40)
@given(case=cases())
def test_pools_are_their_definitions_on_every_path(case):
    arguments, shape, seed = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, (3, *shape[1:], shape[0])).astype(np.int16)  # few values: many equals
    x[rng.random(x.shape) < 0.1] = do.SHORT
    sizes = integer.MaxPool2d(*arguments), integer.SumPool2d(*arguments)
    for layer in sizes:
        bound(layer, shape, Levels(-do.SHORT, do.SHORT))
        y = both(lambda: (layer.forward(x),))[0]  # noqa: B023
        d = rng.integers(-do.SHORT, do.SHORT + 1, y.shape).astype(np.int16)
        back, clamps = both(lambda: went_back(layer, x, d))  # noqa: B023
        due, sums = np.empty(y.shape, np.int64), np.zeros(x.shape, np.int64)
        for (row, column), inside in places(arguments, y.shape[1:3], shape[1:]):
            window = np.stack([x[:, i, k] for i, k in inside]).astype(np.int64)
            if isinstance(layer, integer.SumPool2d):
                due[:, row, column] = window.sum(0)
                for i, k in inside:
                    sums[:, i, k] += d[:, row, column]
                continue
            due[:, row, column] = window.max(0)
            first = (window == window.max(0)).argmax(0)
            for place, (i, k) in enumerate(inside):
                sums[:, i, k] += np.where(first == place, d[:, row, column], 0)
        assert np.array_equal(y, due)
        if isinstance(layer, integer.SumPool2d):
            sums = layer.scale(sums)
        assert np.array_equal(back, np.clip(sums, -do.SHORT, do.SHORT))
        assert clamps == (np.abs(sums) > do.SHORT).sum()


def went_back(layer, x, d):
    layer.forward(x)
    before = layer.clamps
    return layer.backward(d), layer.clamps - before


@settings(deadline=None, max_examples=40)
@given(case=cases(), wide=st.booleans(), ends=st.sampled_from([(-9, 9), (3, 9), (-9, -3)]))
def test_forward_is_what_the_machine_computes(case, wide, ends):
    arguments, shape, seed = case
    before = [integer.Conv2d(shape[0], 2, 1)] if wide else []
    for kind in (integer.MaxPool2d, integer.SumPool2d):
        net = integer.Sequential(integer.Input(shape, Levels(*ends)), *before, kind(*arguments))
        x = np.random.default_rng(seed).integers(ends[0], ends[1] + 1, (4, *shape))
        out = net(x)
        assert np.array_equal(out, net.machine().run(x))
        assert net.output.alphabet.contains_all(out)


def test_a_mean_of_gradients_is_rounded_half_up():
    layer = bound(integer.SumPool2d(2), (1, 2, 2), Levels(-3, 3))
    layer.forward(np.zeros((1, 2, 2, 1), np.int16))
    for d, due in ((6, 2), (5, 1), (-6, -1), (-7, -2)):
        assert (layer.backward(np.full((1, 1, 1, 1), d, np.int16)) == due).all()


def test_pools_that_do_not_fit_are_refused():
    for kind in (integer.MaxPool2d, integer.SumPool2d):
        with pytest.raises(LayerError, match=r"Pool2d.*at most half of the window"):
            kind(3, padding=2)
        with pytest.raises(LayerError, match=r"Pool2d.*not \(channels, height, width\)"):
            bound(kind(2), (4, 4), Levels(0, 3))
        with pytest.raises(LayerError, match=r"Pool2d.*does not fit"):
            bound(kind(3), (1, 2, 4), Levels(0, 3))
        with pytest.raises(LayerError, match="at most 32767 places"):
            kind(256)
    with pytest.raises(LayerError, match=r"SumPool2d.*leave 32 bits"):
        bound(integer.SumPool2d(4), (1, 4, 4), Levels(0, 2**28))
