"""Perceptrons learn from integers, end in a machine, and do so the same on every path."""

from fractions import Fraction

import numpy as np
import pytest

from zahlen import Levels, data, integer
from zahlen.integer import arithmetic as do
from zahlen.integer.chance import Chance
from zahlen.integer.optimisers import Momentum
from zahlen.kernels import native
from zahlen.machine import InputError, LayerError


def network(levels=16, seed=0):
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Flatten(),
        integer.Linear(64, 32), integer.TanhD(levels), integer.Linear(32, 10), seed=seed,
    )  # fmt: skip


def trained(steps=60, net=None):
    part = data.load("digits").train
    net = net or network()
    net.announce(14, 64)
    rule, chance, y = Momentum("0.1"), Chance(0), part.y.astype(np.int32)
    for t in range(steps):
        rows = chance.permutation(len(y))[:64]
        delta, _, _ = do.softmax(net(part.x[rows]), y[rows], net.unit, 14)
        net.backward(delta)
        rule.step(net.parameters(), 64, Fraction(steps - t, steps), t)
    return net


def test_a_perceptron_learns_digits_and_its_machine_computes_the_same():
    net, test = trained(400), data.load("digits").test
    outputs = net(test.x)
    assert (outputs.argmax(1) == test.y).mean() > 0.93
    assert np.array_equal(net.machine().run(test.x), outputs)


@pytest.mark.skipif(native is None, reason="built without compiled kernels")
def test_training_has_one_hash_on_every_path():
    with do.without_kernels():
        due = trained(20).machine().hash
    for variant in native.variants():
        native.choose(variant)
        assert trained(20).machine().hash == due, variant


def test_another_seed_is_another_network():
    assert network(seed=1).machine().hash != network(seed=0).machine().hash


def test_gradients_are_those_of_the_smooth_network():
    """The way back through a layer, compared with exact rational arithmetic on the same slopes."""
    net = network()
    net.announce(14, 4)
    x = np.random.default_rng(3).integers(0, 17, (4, 8, 8))
    labels = np.array([0, 3, 9, 1], np.int32)
    delta, _, _ = do.softmax(net(x), labels, net.unit, 14)
    net.backward(delta)
    last, activation = net.children[4], net.children[3]
    hidden = last._x.astype(np.int64)
    assert np.array_equal(last.weight.gradient, hidden.T @ delta)
    assert np.array_equal(last.bias.gradient, delta.sum(0))
    sums = delta.astype(np.int64) @ last.weight.weight.T.astype(np.int64)
    back = (sums + last.scale // 2) // last.scale
    slopes = activation.slopes
    pixels = (x.reshape(4, 64) - 5).astype(np.int64)
    z = pixels @ net.children[2].weight.weight + net.children[2].bias.weight
    place = np.clip((z - slopes.lo) >> slopes.shift, 0, len(slopes.table) - 1)
    before = (back * slopes.table[place] + 2048) >> 12
    assert np.array_equal(net.children[2].weight.gradient, pixels.T @ before)


@pytest.mark.parametrize("levels", [2, 3, 16])
def test_slopes_of_tanh_are_difference_quotients(levels):
    activation = integer.TanhD(levels)
    activation.bind(integer.Spec((1,), Levels(-20000, 20000), Fraction(1000)))
    slopes = activation.slopes
    ends = slopes.lo + (np.arange(len(slopes.table) + 1) << slopes.shift)
    due = np.diff(np.tanh(ends / 1000)) / (1 << slopes.shift) * 1000 * 4096
    assert np.abs(slopes.table - due).max() <= 0.5 + 1e-6


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(LayerError, match=r"Linear\(63, 5.*receives shape \(64,\)"):
        integer.Sequential(integer.Input((64,), Levels(0, 1)), integer.Linear(63, 5))
    with pytest.raises(LayerError, match="16 bits"):
        integer.Sequential(integer.Input((64,), Levels(0, 10**6)), integer.Linear(64, 5))


SECONDS = [
    lambda: integer.Linear(6, 4, scale=1),
    lambda: integer.Sequential(integer.Reshape(1, 2, 3), integer.Conv2d(1, 2, 2)),
]


@pytest.mark.parametrize("second", SECONDS)
def test_layers_stand_behind_sums_that_fit_16_bits(second):
    """Sums are int32; where they are proven to fit in 16 bits a layer with weights takes them."""
    net = integer.Sequential(integer.Input((6,), Levels(-3, 3)), integer.Linear(6, 6, weights=3, scale=1), second())
    x = np.random.default_rng(0).integers(-3, 4, (5, 6))
    out = net(x)
    assert np.array_equal(out, net.machine().run(x))
    net.announce(14, 5)
    net.backward(np.ones(net.forward(x).shape, np.int16))
    with do.without_kernels():
        assert np.array_equal(net(x), out)


def test_the_gain_widens_initial_weights_alone():
    plain, wide = (
        integer.Sequential(integer.Input((100,), Levels(0, 9)), integer.Linear(100, 50), gain=gain)
        for gain in (1, "2.5")
    )
    one, other = (net.children[1].weight.latent.astype(np.int64) for net in (plain, wide))
    scale = plain.children[1].scale << 16
    assert np.abs(one).max() in range(scale // 10 * 9 // 10, scale // 10 + 1)  # 1/sqrt(100)
    assert np.abs(2 * other - 5 * one).max() <= 5
    assert np.array_equal(plain.children[1].bias.latent, wide.children[1].bias.latent)
    with pytest.raises(InputError, match="gain is a positive number"):
        network_of_gain("0")


def network_of_gain(gain):
    return integer.Sequential(integer.Input((4,), Levels(0, 9)), integer.Linear(4, 2), gain=gain)
