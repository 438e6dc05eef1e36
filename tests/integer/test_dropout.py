"""Dropout: nothing in the machine, zeros by chance in training."""

from fractions import Fraction

import numpy as np
import pytest

from zahlen import Levels, integer
from zahlen.machine import InputError, LayerError

X = np.random.default_rng(0).integers(1, 16, (200, 50))


def network(p="0.5"):
    return integer.Sequential(integer.Input((50,), Levels(1, 15)), integer.Dropout(p), integer.Dropout(p))


def test_the_machine_has_none_of_it():
    model = network()
    assert np.array_equal(model(X), X)
    assert np.array_equal(model.machine().run(X), X)
    model.train(1)
    assert not np.array_equal(model(X), X)
    model.eval()
    assert np.array_equal(model(X), X)


@pytest.mark.parametrize("p", ["0.5", "0.25", Fraction(1, 10)])
def test_what_is_left_grows_and_gradients_go_the_same_way(p):
    model = network(p)
    layer = model.children[1]
    model.train(7)
    out = layer.forward(X.astype(np.int16))
    kept = out != 0
    large = [int(Fraction(int(v)) / (1 - Fraction(p)) + Fraction(1, 2)) for v in X[kept]]
    assert out[kept].tolist() == large
    assert layer.bind(integer.Spec((50,), Levels(1, 15), Fraction(1))).alphabet.contains_all(out)
    # 10,000 elements: five standard deviations of the binomial distribution are less than 250
    assert abs(int(kept.sum()) - 10_000 * (1 - Fraction(p))) < 250
    d = np.full(X.shape, 100, np.int16)
    back = layer.backward(d)
    assert set(back[kept].tolist()) == {int(100 / (1 - Fraction(p)) + Fraction(1, 2))}
    assert not back[~kept].any()
    assert layer.clamps == 0
    layer.backward(d * 320)
    assert layer.clamps == kept.sum()  # even a tenth more than 32,000 is beyond 16 bits


def test_each_layer_and_each_seed_has_zeros_of_its_own():
    model = network()
    masks = []
    for seed in (1, 2, 1):
        model.train(seed)
        masks += [layer.forward(X.astype(np.int16)) != 0 for layer in model.children[1:]]
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
    assert np.array_equal(masks[0], masks[4])


def test_what_cannot_be_is_refused():
    for p in ("1", "2"):
        with pytest.raises(LayerError, match="p is below 1"):
            integer.Dropout(p)
    for p in (0, "a", None):
        with pytest.raises(InputError, match="p is a positive number"):
            integer.Dropout(p)
    with pytest.raises(LayerError, match=r"Dropout\(1/2\).*too large for 16 bits"):
        integer.Sequential(integer.Input((1,), Levels(0, 2**15 - 1)), integer.Dropout())
