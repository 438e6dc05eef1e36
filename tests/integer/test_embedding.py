"""Embeddings in integer training: the machine's rows forward, gradients added up row by row."""

import numpy as np
import pytest
from paths import both

from zahlen import Levels, integer
from zahlen.machine import LayerError


def network(shape=(3,), width=4, **options):
    size = int(np.prod(shape)) * width
    return integer.Sequential(
        integer.Input(shape, Levels(0, 9)), integer.Embedding(10, width, **options), integer.Flatten(),
        integer.Linear(size, 8), integer.TanhD(16), integer.Linear(8, 2),
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(), (1,), (5,)])
@pytest.mark.parametrize("weights", [255, 2])
def test_forward_is_the_machines(shape, weights):
    net = network(shape, weights=weights)
    x = np.random.default_rng(0).integers(0, 10, (20, *shape))
    assert np.array_equal(net(x), net.machine().run(x, executor="reference"))


def test_gradients_are_added_up_for_each_symbol():
    net = network()
    net.announce(14, 6)
    x = np.array([[0, 9, 9], [1, 2, 0]])
    net(x)
    d = np.random.default_rng(1).integers(-3000, 3000, (2, 3, 4)).astype(np.int16)
    layer = net.children[1]

    def back():
        layer.weight.gradient[...] = 0
        layer.backward(d)
        return (layer.weight.gradient.copy(),)

    due = np.zeros((10, 4), np.int64)
    for row, symbols in zip(d.astype(int), x):
        for part, symbol in zip(row, symbols):
            due[symbol] += part
    assert np.array_equal(both(back)[0], due)


def test_whether_two_symbols_are_equal_is_learnt():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, (2000, 2))
    x[::2, 1] = x[::2, 0]
    y = (x[:, 0] == x[:, 1]).astype(int)
    net = integer.Sequential(
        integer.Input((2,), Levels(0, 9)), integer.Embedding(10, 8), integer.Flatten(), integer.Linear(16, 32),
        integer.TanhD(16), integer.Linear(32, 2),
    )  # fmt: skip
    integer.fit(net, x, y, epochs=40, batch_size=50, progress=False)
    accuracy = integer.evaluate(net, x, y)[1]
    assert accuracy > 0.95
    assert (net.machine(classify=True).run(x) == y).mean() == accuracy


def test_what_does_not_fit_is_refused():
    with pytest.raises(LayerError, match=r"has rows for 0\.\.4"):
        integer.Sequential(integer.Input((2,), Levels(0, 9)), integer.Embedding(5, 3))
    with pytest.raises(LayerError, match="put a Flatten before it"):
        integer.Sequential(integer.Input((2, 2), Levels(0, 4)), integer.Embedding(5, 3))
    with pytest.raises(LayerError, match="16 bits"):
        integer.Embedding(5, 3, weights=Levels(-(2**16), 2**16))
