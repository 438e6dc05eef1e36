"""IntegerSGD and the Boolean optimiser, step by step against their definitions in Python's integers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import both

from zahlen import Levels, data, integer
from zahlen.integer import arithmetic as do
from zahlen.machine import InputError


def parameter(grid, shape, bound, seed=0, scale=32):
    rng = np.random.default_rng(seed)
    latent = rng.integers(grid.lo << 16, (grid.hi << 16) + 1, shape).astype(np.int32)
    p = integer.Parameter(grid, Fraction(scale), latent)
    p.receives(Fraction(1 << 14), bound, 8)
    return p


def gradients(p, rng, most):
    p.gradient[...] = rng.integers(-most, most + 1, p.gradient.shape)
    return [int(v) for v in p.gradient.ravel()]


@pytest.mark.parametrize("bound", [10**6, 10**12])
@pytest.mark.parametrize("lr", ["5", "0.3", "0.0001", "1e-12"])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 999), decay=st.sampled_from([0, 1000, 29000]), part=st.fractions(Fraction(1, 10), 1))
def test_integer_sgd_divides_and_cuts_off_towards_zero(bound, lr, seed, decay, part):
    grid = Levels(-7, 7)
    p, rule = parameter(grid, (9, 5), bound, seed), integer.IntegerSGD(lr, decay)
    assert p.gradient.dtype == (np.int64 if bound > 10**9 else np.int32)
    rng = np.random.default_rng(seed)
    g, v = gradients(p, rng, bound), [int(x) for x in p.latent.ravel()]
    # the rate in units of latent weights and summed gradients, turned around, over 9 inputs
    inverse = max(1, int(9 * 8 * 2**14 / (Fraction(lr) * part * 32 * 2**16) + Fraction(1, 2)))
    assert rule.inverse(p, 8, part) == inverse
    moved = [a - int(Fraction(b, inverse)) - (int(Fraction(a, decay)) if decay else 0) for a, b in zip(v, g)]
    ends = (grid.lo << 16) - (1 << 15), (grid.hi << 16) + (1 << 15) - 1
    due = [max(ends[0], min(ends[1], a)) for a in moved]
    clamps = rule.step([p], 8, part, 0)
    assert p.latent.ravel().tolist() == due
    assert clamps == sum(a != b for a, b in zip(due, moved))
    assert p.weight.ravel().tolist() == [max(-7, min(7, (a + (1 << 15)) >> 16)) for a in due]
    assert not p.gradient.any()


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 999), lr=st.sampled_from([1, 8, 256]), grid=st.sampled_from([Levels(-1, 1, 2), Levels(0, 1)])
)
def test_boolean_weights_flip_by_votes(seed, lr, grid):
    """m <- beta m + lr g; flips where m and weight agree and |m| >= 1; beta the share that stayed."""
    p, rule = parameter(grid, (8, 8), 10**8, seed), integer.BooleanOptimiser(lr)
    rng = np.random.default_rng(seed)
    weights, m, beta, flips = [int(w) for w in p.weight.ravel()], [0] * 64, Fraction(1), 0
    one = 2**20
    for step in range(12):
        g = gradients(p, rng, 2**17 >> (step % 3))
        # 2^20 for a mean gradient of 1.0, that is a sum of 8 * 2^14 over 8 samples
        votes = [one * lr * b * Fraction(1, 8 * 2**14) for b in g]
        m = [half_up(beta * a) + half_up(v) for a, v in zip(m, votes)]
        against = [a >= one if w == grid.hi else -a >= one for a, w in zip(m, weights)]
        weights = [grid.lo + grid.hi - w if flip else w for w, flip in zip(weights, against)]
        m = [0 if flip else a for a, flip in zip(m, against)]
        beta, flips = Fraction(64 - sum(against), 64), flips + sum(against)
        assert rule.step([p], 8, Fraction(1), step) == 0
        assert p.weight.ravel().tolist() == weights
        assert p.momentum.ravel().tolist() == [half_up(beta * a) for a in m]
    p.refresh()
    assert p.weight.ravel().tolist() == weights  # the latent twin says the same
    assert flips or lr == 1


def half_up(x):
    return (2 * x + 1) // 2


def test_one_vote_flips_and_no_less():
    p, rule = parameter(Levels(-1, 1, 2), (2, 2), 10**8), integer.BooleanOptimiser("0.125")
    p.weight[...] = [[1, 1], [-1, -1]]
    p.gradient[...] = [[2**20, 2**20 - 1], [-(2**20), 1 - 2**20]]  # of which lr and units leave as many
    rule.step([p], 8, Fraction(1), 0)
    assert p.weight.tolist() == [[-1, 1], [1, -1]]


def test_votes_beyond_32_bits_are_clamped_and_counted():
    p, rule = parameter(Levels(-1, 1, 2), (2, 2), 10**12), integer.BooleanOptimiser("0.3")
    p.weight[...] = -1
    p.gradient[...] = 10**12
    assert rule.step([p], 8, Fraction(1), 0) == 4
    assert (p.momentum == do.INT32).all()


def two_levels(bias=False):
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Flatten(),
        integer.Linear(64, 128, weights=2, bias=bias), integer.Sign(),
        integer.Linear(128, 128, weights=2, bias=bias), integer.Sign(),
        integer.Linear(128, 10, weights=2, bias=bias),
    )  # fmt: skip


def trained(optimiser, steps, net):
    part, batch = data.load("digits").train, 64
    net.announce(net.bits, batch)
    chance, y = integer.Chance(0), part.y.astype(np.int32)
    for t in range(steps):
        rows = chance.permutation(len(y))[:batch]
        delta, _, _ = do.softmax(net(part.x[rows]), y[rows], net.unit, net.bits)
        net.backward(delta)
        optimiser.step(net.parameters(), batch, Fraction(steps - t, steps), t)
    return net


CASES = {
    "integer sgd": (integer.IntegerSGD("20", 10**6), two_levels),
    "boolean": (integer.BooleanOptimiser(20), two_levels),
    "boolean with biases": (integer.BooleanOptimiser(20, rest=integer.Momentum("0.05")), lambda: two_levels(True)),
}


@pytest.mark.parametrize("name", CASES)
def test_two_levels_learn_digits_and_end_in_a_machine(name):
    optimiser, make = CASES[name]
    net, test = trained(optimiser, 600, make()), data.load("digits").test
    outputs = net(test.x)
    assert (outputs.argmax(1) == test.y).mean() > 0.9
    assert np.array_equal(net.machine().run(test.x), outputs)


@pytest.mark.parametrize("name", CASES)
def test_each_optimiser_has_one_hash_on_every_path(name):
    optimiser, make = CASES[name]
    both(lambda: (trained(optimiser, 20, make()).machine().hash,))


def test_more_values_than_two_need_another_optimiser():
    net = two_levels(bias=True)
    net.announce(net.bits, 4)
    with pytest.raises(InputError, match=r"bias=False.*as rest"):
        integer.BooleanOptimiser(1).step(net.parameters(), 4, Fraction(1), 0)
    with pytest.raises(InputError, match="decay"):
        integer.IntegerSGD("0.1", decay=-1)
