"""Convolutions compute what their machines do, and their gradients are the sums of the definition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zahlen import Levels, data, integer
from zahlen.integer import arithmetic as do
from zahlen.integer import convolution
from zahlen.integer.chance import Chance
from zahlen.integer.optimisers import Momentum
from zahlen.kernels import native
from zahlen.machine import LayerError


@st.composite
def cases(draw):
    """A convolution, the shape of its input, a batch size and a seed."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, out = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    size, stride, padding, dilation = (
        tuple(draw(st.integers(least, most)) for _ in range(2)) for least, most in ((1, 4), (1, 3), (0, 3), (1, 2))
    )
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(size, padding, dilation)]
    lengths = tuple(n + draw(st.integers(0, 5)) for n in least)
    layer = integer.Conv2d(channels, out, size, stride, padding, dilation, groups, bias=draw(st.booleans()))
    return layer, (channels, *lengths), draw(st.integers(1, 5)), draw(st.integers(0, 2**32 - 1))


def example(case):
    """The layer in a network behind another with weights, integers for the network, and gradients of its output."""
    layer, shape, batch, seed = case
    rng = np.random.default_rng(seed)
    before = integer.Conv2d(shape[0], shape[0], 1, groups=shape[0])
    net = integer.Sequential(integer.Input(shape, Levels(-9, 9)), before, integer.TanhD(16), layer, seed=seed)
    net.announce(14, batch)
    x = rng.integers(-9, 10, (batch, *shape))
    out = net(x)
    d = rng.integers(-do.SHORT, do.SHORT + 1, (batch, *out.shape[2:], out.shape[1])).astype(np.int16)
    return net, x, out, d


def windows(layer, lengths):
    """Every (row, column) of an output with every tap and the place that it reads, if that is inside."""
    (height, width), counts = lengths, layer._counts
    for row, column in np.ndindex(*counts):
        for i, k in np.ndindex(*layer.kernel_size):
            y = row * layer.stride[0] + i * layer.dilation[0] - layer.padding[0]
            x = column * layer.stride[1] + k * layer.dilation[1] - layer.padding[1]
            if 0 <= y < height and 0 <= x < width:
                yield (row, column), (i, k), (y, x)


def definition(layer, x, d):
    """Gradients of weights (kh, kw, in, out) and bias, and sums that the input's gradient is rounded from."""
    inner, outer = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    w = layer.weight.weight.astype(np.int64).reshape(*layer.kernel_size, inner, layer.out_channels)
    x, d = x.astype(np.int64), d.astype(np.int64)
    dw, dx = np.zeros(w.shape, np.int64), np.zeros(x.shape, np.int64)
    for (row, column), (i, k), (y, z) in windows(layer, x.shape[1:3]):
        for g in range(layer.groups):
            ins, outs = slice(g * inner, (g + 1) * inner), slice(g * outer, (g + 1) * outer)
            dw[i, k, :, outs] += x[:, y, z, ins].T @ d[:, row, column, outs]
            dx[:, y, z, ins] += d[:, row, column, outs] @ w[i, k, :, outs].T
    return dw, d.sum((0, 1, 2)), dx


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_forward_is_what_the_machine_computes(case):
    net, x, out, _ = example(case)
    assert np.array_equal(out, net.machine().run(x))


@settings(deadline=None, max_examples=60)
@given(case=cases(), part=st.sampled_from([2, 4, None]))
def test_gradients_are_the_sums_of_the_definition(case, part):
    net, x, out, d = example(case)
    layer = net.children[-1]
    if part is not None:
        layer._part = part
        layer._index()
        assert np.array_equal(net(x), out)
    back = layer.backward(d)
    dw, db, dx = definition(layer, layer._x, d)
    assert np.array_equal(layer.weight.gradient, dw.reshape(layer.fan_in, -1))
    if layer.bias is not None:
        assert np.array_equal(layer.bias.gradient, db)
    rounded = (2 * dx + layer.scale) // (2 * layer.scale)
    assert np.array_equal(back, np.clip(rounded, -do.SHORT, do.SHORT))
    assert layer.clamps == (np.abs(rounded) > do.SHORT).sum()


def test_sums_beyond_32_bits_on_the_way_back():
    """The greatest gradients and weights, of one sign, so that no partial sum is small."""
    layer = integer.Conv2d(1, 64, 3, padding=1, scale=2**15)
    integer.Sequential(integer.Input((1, 8, 8), Levels(-15, 15)), integer.Conv2d(1, 1, 1), integer.TanhD(4), layer)
    layer.announce(14, 2)
    layer.weight.weight[...] = 127
    layer.forward(np.ones((2, 8, 8, 1), np.int16))
    back = layer.backward(np.full((2, 8, 8, 64), do.SHORT, np.int16))
    due = [(taps * 64 * 127 * do.SHORT + 2**14) >> 15 for taps in (4, 6, 9)]  # 9 * 64 * 127 * SHORT is above 2^31
    assert due[0] < do.SHORT < due[1]
    assert [int(back[1, k, k2, 0]) for k, k2 in ((7, 0), (0, 3), (3, 3))] == [due[0], do.SHORT, do.SHORT]
    assert layer.clamps == 2 * (64 - 4)
    assert layer.weight.gradient.max() == 2 * 64 * do.SHORT


def test_the_first_layer_asks_for_no_gradient_of_its_input():
    net = integer.Sequential(integer.Input((1, 5, 5), Levels(0, 3)), integer.Conv2d(1, 2, 3))
    net.announce(14, 1)
    net(np.ones((1, 1, 5, 5), np.int64))
    assert net.backward(np.ones((1, 3, 3, 2), np.int16)).size == 0
    assert (net.children[1].weight.gradient == 9).all()


def network():
    """Convolutions of odd channels, with strides and groups, between pools."""
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Reshape(1, 8, 8),
        integer.Conv2d(1, 7, 3, padding=1), integer.TanhD(16), integer.MaxPool2d(2),
        integer.Conv2d(7, 9, 3, 2, padding=1), integer.TanhD(16),
        integer.Conv2d(9, 12, 2, padding=1, groups=3), integer.ReLUD(16), integer.SumPool2d(2, 1),
        integer.Flatten(), integer.Linear(48, 10),
    )  # fmt: skip


def trained(steps):
    part, net = data.load("digits").train, network()
    net.announce(14, 33)
    rule, chance, y = Momentum("0.1"), Chance(0), part.y.astype(np.int32)
    for t in range(steps):
        rows = chance.permutation(len(y))[:33]
        delta, _, _ = do.softmax(net(part.x[rows]), y[rows], net.unit, 14)
        net.backward(delta)
        rule.step(net.parameters(), 33, Fraction(steps - t, steps), t)
    return net


def test_a_convolutional_network_learns_digits_and_its_machine_computes_the_same():
    net, test = trained(300), data.load("digits").test
    outputs = net(test.x)
    assert (outputs.argmax(1) == test.y).mean() > 0.93
    assert np.array_equal(net.machine().run(test.x), outputs)


@pytest.mark.skipif(native is None, reason="built without compiled kernels")
def test_training_has_one_hash_on_every_path(monkeypatch):
    with do.without_kernels():
        due = trained(4).machine().hash
    for variant in native.variants():
        native.choose(variant)
        assert trained(4).machine().hash == due, variant
    monkeypatch.setattr(convolution, "CACHE", 1000)
    assert trained(4).machine().hash == due


def test_layers_run_part_by_part_behind_a_convolution_give_the_same_gradients():
    part = data.load("digits").train
    found = []
    for apart in (False, True):
        net = network()
        net.announce(14, 7)
        convolutions = [layer for layer in net.children if isinstance(layer, integer.Conv2d)]
        assert [len(layer.tail) for layer in convolutions] == [2, 1, 2]
        for layer in convolutions:
            layer._part = 2
            layer._index()
            if apart:
                layer.tail, net._steps = [], list(net.children)
        delta, _, _ = do.softmax(net(part.x[:7]), part.y[:7].astype(np.int32), net.unit, 14)
        net.backward(delta)
        found.append([p.gradient for p in net.parameters()])
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    assert all(gradient.any() for gradient in found[0])


def test_what_does_not_fit_is_refused_by_name():
    def chain(*layers, shape=(2, 6, 6)):
        return integer.Sequential(integer.Input(shape, Levels(0, 15)), *layers)

    with pytest.raises(LayerError, match=r"Conv2d\(3, 4.*receives shape \(2, 6, 6\), not \(3, height, width\)"):
        chain(integer.Conv2d(3, 4, 3))
    with pytest.raises(LayerError, match=r"Conv2d.*window of \(7, 7\) does not fit"):
        chain(integer.Conv2d(2, 4, 7))
    with pytest.raises(LayerError, match="Conv2d: 2 groups do not divide"):
        integer.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(LayerError, match="Conv2d: an entry of kernel_size"):
        integer.Conv2d(3, 4, 0)
    with pytest.raises(LayerError, match=r'Conv2d: padding="same" is for windows of odd span'):
        integer.Conv2d(3, 4, 2, padding="same")
    with pytest.raises(LayerError, match="Conv2d: out_channels"):
        integer.Conv2d(3, 0, 3)
    with pytest.raises(LayerError, match=r"Conv2d.*16 bits and 31 are due"):
        chain(integer.Conv2d(2, 4, 3), integer.Conv2d(4, 4, 3))
    with pytest.raises(LayerError, match=r"Conv2d.*too large"):
        chain(integer.Conv2d(2, 4, 1), shape=(2, 2**14, 2**14))
    same = chain(integer.Conv2d(2, 4, 3, padding="same"))
    assert same.output.shape == (4, 6, 6)
