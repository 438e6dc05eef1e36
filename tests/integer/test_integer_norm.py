"""Batch norms: what a batch makes of itself and its gradients, by their definitions; thresholds that say the same."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import both

from zahlen import Levels, data, integer
from zahlen.integer import arithmetic as do
from zahlen.integer import norm as norms
from zahlen.integer.chance import Chance
from zahlen.integer.optimisers import Momentum
from zahlen.kernels import native
from zahlen.machine import InputError, LayerError


def bound(channels=3, size=(2, 2), most=2**20, unit=5000, **settings):
    """A norm that knows its input, in training."""
    layer = integer.BatchNorm(**settings)
    layer.bind(integer.Spec((channels, *size), Levels(-most, most), Fraction(unit)))
    layer.start(Chance(0))
    layer.announce(14, 64)
    layer.draw = 0
    return layer


def batch(rng, layer, count, most):
    """Accumulators with another mean and deviation in each channel."""
    shape = (count, *layer.spec.shape[1:], layer.channels)
    centre, spread = rng.integers(-most // 4, most // 4 + 1, layer.channels), rng.integers(1, most // 8 + 1)
    return (centre + rng.integers(-spread, spread + 1, shape)).astype(np.int32)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), count=st.integers(1, 4), bits=st.integers(4, 29), channels=st.sampled_from([1, 2, 65]))
def test_what_a_batch_is_normalised_to(seed, count, bits, channels):
    rng = np.random.default_rng(seed)
    layer = bound(channels, (1, 2), most=2**bits)
    z = batch(rng, layer, count, 2**bits)
    layer.weight.weight[...] = rng.integers(1, 4096, channels)
    layer.bias.weight[...] = rng.integers(-(2**22), 2**22, channels)
    y = layer.forward(z).reshape(-1, channels)
    rows, n, fine = z.reshape(-1, channels), z.size // channels, layer._fine
    for j in range(channels):
        column = [int(v) for v in rows[:, j]]
        down = max(0, (2 * (2**bits).bit_length() + n.bit_length() - 61) // 2)
        low = [v >> down for v in column]
        mean = Fraction(sum(low) << down, n)
        centre = int((2 * mean * 2**fine + 1) // 2)  # halves go up
        whole = (2 * centre + 2**fine) // 2 ** (fine + 1)
        variance = Fraction(sum(v * v for v in low) * n - sum(low) ** 2, n**2) * 4 ** (down + fine)
        deviation = isqrt(int(variance) + int(Fraction(5000**2, 10**5) * 4**fine))
        deviation = min(2**30, max(1, deviation))
        exact = Fraction(2 ** (10 + fine), deviation)
        for v, x, out in zip(column, layer._x[:, j], y[:, j]):
            # the factor has 16 bits
            assert (
                abs(int(x) - np.clip((v - whole) * exact, -do.SHORT, do.SHORT)) <= Fraction(1, 2) + abs(int(x)) / 2**15
            )
            assert out == int(layer.weight.weight[j]) * int(x) + int(layer.bias.weight[j])
        assert layer.mean.latent[j] == (2 * centre + 10) // 20
        start = min(2**30, 5000 << fine)
        assert layer.deviation.latent[j] == start + (2 * (deviation - start) + 10) // 20


def test_it_is_the_batch_norm_of_floats():
    rng, layer = np.random.default_rng(0), bound(16, (5, 5), most=2**20)
    layer.weight.weight[...] = rng.integers(512, 2048, 16)
    layer.bias.weight[...] = rng.integers(-(2**20), 2**20, 16)
    z = batch(rng, layer, 32, 2**20)
    d = (300 * rng.standard_normal(z.shape)).astype(np.int16)
    y, back = layer.forward(z), layer.backward(d)
    x = torch.tensor(z.transpose(0, 3, 1, 2) / 5000, requires_grad=True)
    gamma, beta = (
        torch.tensor(w.weight / s, requires_grad=True) for w, s in ((layer.weight, 2**10), (layer.bias, 2**20))
    )
    real = torch.nn.functional.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-5)
    real.backward(torch.tensor(d.transpose(0, 3, 1, 2) / 2**14))
    assert np.abs(y.transpose(0, 3, 1, 2) / 2**20 - real.detach().numpy()).max() < 0.005
    due = x.grad.numpy().transpose(0, 2, 3, 1) * 2**14
    assert np.abs(back - due).max() < 0.51 + np.abs(due).max() / 1000
    assert (
        np.abs(layer.weight.gradient / 2**24 - gamma.grad.numpy()).max()
        < 1e-4 * np.abs(gamma.grad.numpy()).max() + 1e-3
    )
    assert np.abs(layer.bias.gradient / 2**14 - beta.grad.numpy()).max() < 1e-6


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6), training=st.booleans())
def test_gradients_are_the_sums_of_the_definition(seed, count, training):
    rng, layer = np.random.default_rng(seed), bound(3, (2, 1))
    layer.draw = 0 if training else None
    layer.weight.weight[...] = rng.integers(1, 4096, 3)
    z = batch(rng, layer, count, 2**20)
    layer.forward(z)
    layer.clamps = 0
    d = rng.integers(-do.SHORT, do.SHORT + 1, z.shape).astype(np.int16)
    back = layer.backward(d).reshape(-1, 3)
    rows, x, n = d.reshape(-1, 3), layer._x, 2 * count
    clamps = 0
    for j in range(3):
        total = sum(int(v) for v in rows[:, j])
        dot = sum(int(v) * int(w) for v, w in zip(rows[:, j], x[:, j]))
        assert (layer.bias.gradient[j], layer.weight.gradient[j]) == (total, dot)
        mean, slope = (Fraction(s * t, n) for s, t in ((total, 256), (dot, 64))) if training else (0, 0)
        mean, slope = (int((2 * v + 1) // 2) for v in (mean, slope))
        fine = layer._fine
        steep = (int(layer.weight.weight[j]) * 5000 * 2**fine, int(layer._deviation[j]) * 2**18)
        (factor,), (shift,) = norms.ratios([steep])
        assert abs(Fraction(int(factor), 2 ** int(shift)) / Fraction(*steep) - 1) <= Fraction(1, 2**15)
        for v, w, found in zip(rows[:, j], x[:, j], back[:, j]):
            inner = int(v) * 256 - mean - ((int(w) * slope + 2**17) >> 18)
            due = (2 * inner * int(factor) + 2 ** int(shift)) >> (int(shift) + 1)
            clamps += abs(due) > do.SHORT
            assert found == max(-do.SHORT, min(do.SHORT, due))
    assert layer.clamps == clamps


def network(seed=0):
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Reshape(1, 8, 8),
        integer.Conv2d(1, 7, 3, padding=1), integer.BatchNorm(), integer.ReLUD(16), integer.MaxPool2d(2),
        integer.Conv2d(7, 9, 3), integer.BatchNorm(), integer.TanhD(15), integer.Flatten(),
        integer.Linear(36, 20), integer.BatchNorm(), integer.HardTanhD(4), integer.Linear(20, 10), seed=seed,
    )  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_machine_computes_the_same_whatever_the_statistics(seed):
    rng, net = np.random.default_rng(seed), network(seed)
    for layer in (layer for layer in net.children if isinstance(layer, integer.BatchNorm)):
        size = rng.choice([2, 30, 1000, 10**5])
        layer.weight.latent[...] = rng.integers(1, 4096, layer.channels) << 16
        layer.bias.latent[...] = rng.integers(-(2**23), 2**23, layer.channels) << 6
        layer.mean.latent[...] = rng.integers(-size, size, layer.channels) << layer._fine
        layer.deviation.latent[...] = rng.integers(1, 2 * size, layer.channels) << layer._fine
        for p in layer.parameters():
            p.refresh()
    x = rng.integers(0, 17, (5, 8, 8))
    machine = net.machine()
    assert np.array_equal(net(x), machine.run(x))
    seen, due = net.trace(x), machine.trace(x)
    assert len(seen) == 11
    assert all(np.array_equal(seen[name], due[name]) for name in seen)


def trained(steps, net=None):
    part, net = data.load("digits").train, net or network()
    net.announce(14, 33)
    rule, chance, y = Momentum("0.05"), Chance(0), part.y.astype(np.int32)
    for t in range(steps):
        rows = chance.permutation(len(y))[:33]
        net.train(t)
        delta, _, _ = do.softmax(net(part.x[rows]), y[rows], net.unit, 14)
        net.backward(delta)
        rule.step([p for p in net.parameters() if p.learns], 33, Fraction(steps - t, steps), t)
    net.eval()
    return net


@pytest.mark.skipif(native is None, reason="built without compiled kernels")
def test_a_learning_step_is_the_same_on_every_path(monkeypatch):
    (due,) = both(lambda: (trained(3).machine().hash,))
    monkeypatch.setattr(norms, "CACHE", 1000)
    assert trained(3).machine().hash == due


def test_a_network_with_norms_learns_digits():
    net, test = trained(250), data.load("digits").test
    outputs = net(test.x)
    assert (outputs.argmax(1) == test.y).mean() > 0.94
    assert np.array_equal(net.machine().run(test.x[:100]), outputs[:100])


def test_statistics_are_kept_in_checkpoints_and_are_no_optimisers_business(tmp_path):
    part = data.load("digits").train
    x, y = part.x[:300], part.y[:300]

    def fitted(epochs, net=None, **settings):
        net = net or network()
        integer.fit(
            net,
            x,
            y,
            epochs=epochs,
            batch_size=50,
            optimiser=Momentum("0.05", weight_decay=4),
            progress=False,
            **settings,
        )
        return net

    whole = fitted(3, checkpoint=tmp_path / "a.npz")
    norm = whole.children[3]
    assert np.abs(norm.mean.latent).max() > 100
    with pytest.MonkeyPatch.context() as patch:
        calls = []
        patch.setattr(Momentum, "step", lambda self, parameters, *rest: calls.append(list(parameters)) or 0)
        fitted(1)
    assert [len(group) for group in calls] == [4 * 2 + 3 * 2] * 6
    assert all(p.learns for group in calls for p in group)
    other = network(seed=1)
    integer.read_checkpoint(tmp_path / "a.npz").restore(other.parameters(), tmp_path)
    assert other.machine().hash == whole.machine().hash


def test_one_sample_is_no_batch_to_measure():
    layer = bound(3, (), most=1000, unit=100)
    before = layer.mean.latent.copy(), layer.deviation.latent.copy()
    layer.forward(np.array([[5, -7, 100]], np.int32))
    assert np.array_equal(layer.mean.latent, before[0])
    assert np.array_equal(layer.deviation.latent, before[1])
    layer.forward(np.array([[5, -7, 100], [5, 7, 0]], np.int32))
    assert not np.array_equal(layer.deviation.latent, before[1])


def test_what_does_not_fit_is_refused_by_name():
    def chain(*layers):
        return integer.Sequential(integer.Input((4,), Levels(0, 9)), integer.Linear(4, 4), *layers)

    for behind in ((), (integer.Linear(4, 2),), (integer.BatchNorm(), integer.TanhD(4))):
        with pytest.raises(LayerError, match=r"BatchNorm\(eps.*folds into the staircase"):
            chain(integer.BatchNorm(), *behind)
    with pytest.raises(LayerError, match="momentum is at most 1"):
        integer.BatchNorm(momentum="1.5")
    with pytest.raises(InputError, match="eps is a positive number"):
        integer.BatchNorm(eps="0")
    with pytest.raises(LayerError, match=r"BatchNorm.*beyond 31 bits"):
        bound(most=2**30)


@pytest.mark.skipif(native is None, reason="built without compiled kernels")
@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 999), rows=st.integers(1, 9), channels=st.sampled_from([1, 3, 64, 70]), down=st.integers(0, 9)
)
def test_sums_are_the_same_on_every_path(seed, rows, channels, down):
    rng = np.random.default_rng(seed)
    z = rng.integers(-(2**29), 2**29, (rows, channels)).astype(np.int32)
    low = z.astype(np.int64) >> down
    sums = both(lambda: norms.moments(z, down))
    assert all(np.array_equal(one, other) for one, other in zip(sums, (low.sum(0), (low**2).sum(0))))
    d, x = (rng.integers(-do.SHORT, do.SHORT + 1, (rows, channels)).astype(np.int16) for _ in range(2))
    both(lambda: norms.dots(d, x))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), power=st.booleans())
def test_thresholds_are_the_least_integers_that_reach_them(seed, power):
    rng, layer = np.random.default_rng(seed), bound(5, ())
    layer.draw = None
    layer.weight.weight[...] = rng.integers(1, 4096, 5)
    layer.mean.weight[...] = rng.integers(-(2**27), 2**27, 5)
    layer.deviation.weight[...] = 2 ** rng.integers(8, 27, 5) if power else rng.integers(1, 2**27, 5)
    layer.bias.weight[...] = 0 if power else rng.integers(-(2**22), 2**22, 5)
    due = np.sort(rng.integers(-(2**23), 2**23, 8))
    if power:
        edge = np.array([-32769, -32768, -32767, -32766, 32766, 32767, 32768, 32769])  # of what 16 bits hold
        due = np.sort(np.append(due // 4096, edge)) * int(layer.weight.weight[0])
    folded = layer.fold(due)
    for t, row in zip(due, folded.T):
        inside = np.clip(row, -(2**30), 2**30 - 1)
        below, at = (layer.forward((inside - k).astype(np.int32)[None])[0] for k in (1, 0))
        assert ((at >= t) | (row == norms.BEYOND)).all()
        assert ((below < t) | (row == -norms.BEYOND)).all()
