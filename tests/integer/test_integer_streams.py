"""Training in integers on texts and sequences: seeds, checkpoints, padding, and figures that the machine confirms."""

import math
from fractions import Fraction

import numpy as np
import pytest
from paths import VARIANTS, native

from zahlen import Levels, integer
from zahlen.integer import arithmetic as do
from zahlen.integer.losses import CrossEntropy
from zahlen.machine import FileError, InputError, LayerError

KINDS = {"lstm": integer.LSTM, "gru": integer.GRU, "rnn": integer.RNN}
PERIOD = [0, 1, 2, 1, 1, 3]  # what follows a 1 takes a memory to tell


def network(kind="lstm", seed=0, hidden=12, symbols=4, layers=1):
    layer = KINDS[kind](symbols, hidden, layers, symbols=True, levels=16)
    return integer.Sequential(
        integer.Input((), Levels(0, symbols - 1)), layer, integer.Linear(hidden, symbols), seed=seed
    )


def stream(n=400, seed=0):
    """Random symbols; often the next is one more."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.choice(4, n, p=[0.1, 0.7, 0.1, 0.1])) % 4


def fit(model, symbols=None, **options):
    options = {"steps": 9, "every": 3, "batch_size": 4, "length": 8, "progress": False, **options}
    return integer.fit_stream(model, stream() if symbols is None else symbols, **options)


def fitted(seed=0, **options):
    model = network()
    fit(model, seed=seed, **options)
    return model.machine().hash


# ---------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("kind", KINDS)
def test_a_periodic_stream_is_learnt(kind):
    model = network(kind)
    history = fit(model, PERIOD * 100, steps=150, every=50, length=12, validation="0.1")
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert integer.stream_loss(model, PERIOD * 20) < 0.1  # nats; without a memory a third of log 3 at the least
    x = np.array(PERIOD * 10)
    foretold = model.machine(classify=True).run(x[None, :-1])[0]
    assert (foretold[6:] == x[7:]).all()


def test_one_seed_one_hash_on_every_path():
    due = fitted(0)
    assert fitted(0) == due != fitted(1)
    with do.without_kernels():
        assert fitted(0) == due
    for variant in VARIANTS:
        native.choose(variant)
        assert fitted(0) == due, variant


def test_an_interrupted_training_goes_on_to_the_bit(tmp_path, monkeypatch):
    due, path = fitted(), tmp_path / "model.npz"
    model, calls = network(), []
    forward = integer.LSTM.forward

    def interrupted(layer, x):
        calls.append(len(x))
        if len([n for n in calls if n == 32]) == 5:
            raise KeyboardInterrupt
        return forward(layer, x)

    monkeypatch.setattr(integer.LSTM, "forward", interrupted)
    assert fit(model, checkpoint=path).interrupted
    monkeypatch.undo()
    model = network()
    history = fit(model, checkpoint=path, resume=True)
    assert len(history.epochs) == 3
    assert model.machine().hash == due
    with pytest.raises(FileError, match="another training"):
        fit(network(), checkpoint=path, resume=True, length=9)


def test_steps_are_the_optimisers_on_the_gradients_of_the_stream():
    """The state goes on from chunk to chunk and starts anew with each pass; the rate rises, then falls."""
    model, by_hand = network(), network()
    symbols, rule = stream(150), integer.Momentum("4", clip="0.25")
    fit(model, symbols, steps=20, every=20, validation=0, optimiser=rule)
    by_hand.announce(by_hand.bits, 32)
    chance = integer.Chance(0)
    rounding = (chance.words(40) >> np.uint64(32)).reshape(-1, 2)[:, 1].tolist()
    offset = int(chance.words(1)[0]) % 8
    streams, state = symbols[:148].reshape(4, 37), None
    chunks = 36 // 8 - 1
    for t in range(20):
        if t % chunks == 0:
            state = None
        start = offset + t % chunks * 8
        window = streams[:, start : start + 9]
        z, state = by_hand.unroll(window[:, :-1], state)
        labels = np.ascontiguousarray(window[:, 1:].T, np.int32).reshape(-1)
        rows = np.ascontiguousarray(z.swapaxes(0, 1)).reshape(32, 4)
        delta, _, _ = do.softmax(rows, labels, by_hand.unit, by_hand.bits)
        by_hand.backward(delta)
        part = Fraction(20 - t, 20) * (Fraction(t + 1, 2) if t < 2 else 1)
        rule.step(by_hand.parameters(), 32, part, rounding[t])
    assert model.machine().hash == by_hand.machine().hash


def test_the_loss_is_that_of_the_machine():
    model = network(hidden=5)
    x = stream(90)
    z = model.machine().run(x[None, :-1], executor="reference")[0]
    found = CrossEntropy().measure(z.astype(np.int32), x[1:].astype(np.int32), model.unit, model.bits)
    assert integer.stream_loss(model, x, batch_size=64) == found.loss * CrossEntropy.worth / 89
    p = np.exp(z / float(model.unit))
    real = -np.log(p[np.arange(89), x[1:]] / p.sum(1)).mean()
    assert abs(found.loss * math.log(2) / 2**16 / 89 - real) < 0.02


def test_streams_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="30 symbols are too few for 4 streams in steps of 8"):
        fit(network(), stream(30), validation=0)
    with pytest.raises(InputError, match=r"symbols are 0\.\.4, but the network takes one symbol"):
        fit(network(), [0, 4] * 200)
    with pytest.raises(InputError, match="validation is a share"):
        fit(network(), validation=1)
    with pytest.raises(InputError, match="at least two integers"):
        fit(network(), [[0, 1]])
    with pytest.raises(LayerError, match="has no state"):
        fit(integer.Sequential(integer.Input((1,), Levels(0, 3)), integer.Linear(1, 4)))


# ---------------------------------------------------------------------------------------------------- sequences


def sequences(n=60, time=7, seed=0):
    """Three features a step; the class says at which step the first one was large, lengths differ."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-20, 21, (n, time, 3))
    y = rng.integers(0, 2, n)
    x[np.arange(n), y, 0] = 50
    return x, y, rng.integers(2, time + 1, n)


def on_features(kind="lstm", seed=0):
    start = integer.Input((3,), Levels(-50, 50), unit=20)
    return integer.Sequential(start, KINDS[kind](3, 16), integer.Linear(16, 2), seed=seed)


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_of_different_lengths_are_learnt(kind):
    x, y, lengths = sequences(200)
    model = on_features(kind)
    rule = integer.Momentum("0.5", clip="1")
    integer.fit(model, x, y, lengths=lengths, epochs=30, batch_size=20, optimiser=rule, progress=False)
    x, y, lengths = sequences(100, seed=1)
    accuracy = integer.evaluate(model, x, y, lengths=lengths)[1]
    assert accuracy > 0.9
    outputs = model.machine(classify=True).run(x)
    assert (outputs[np.arange(100), lengths - 1] == y).mean() == accuracy


def test_padding_changes_nothing():
    x, y, lengths = sequences()
    noise, hashes = x.copy(), []
    noise[np.arange(7) >= lengths[:, None]] = 33
    for inputs in (x, noise):
        model = on_features()
        integer.fit(model, inputs, y, lengths=lengths, epochs=2, batch_size=16, progress=False)
        hashes.append(model.machine().hash)
    assert hashes[0] == hashes[1]


def test_targets_at_each_step():
    """As many equal targets at the last step alone are learnt from as if they stood behind the sequences."""
    x, y, _ = sequences()
    last, each = on_features(), on_features()
    targets = np.full((60, 7), -100)
    targets[:, -1] = y
    rule = integer.Momentum("0.7")
    integer.fit(last, x, y, epochs=2, batch_size=20, validation=0, progress=False, optimiser=integer.Momentum("0.1"))
    integer.fit(each, x, targets, epochs=2, batch_size=20, validation=0, progress=False, optimiser=rule)
    assert each.machine().hash == last.machine().hash  # seven times the targets to divide by, and the rate
    assert integer.evaluate(each, x, targets) == integer.evaluate(last, x, y)


def test_sequences_that_do_not_fit_are_refused():
    x, y, lengths = sequences()
    model = on_features()
    with pytest.raises(InputError, match=r"lengths are 2\.\.9, but sequences have 1\.\.7"):
        integer.fit(model, x, y, lengths=lengths + np.where(lengths == 7, 2, 0), progress=False)
    plain = integer.Sequential(integer.Input((3,), Levels(-50, 50)), integer.Linear(3, 2))
    with pytest.raises(InputError, match="lengths are for recurrent networks"):
        integer.fit(plain, x[:, 0], y, lengths=lengths, progress=False)
    with pytest.raises(InputError, match="targets have 5 steps, sequences 7"):
        integer.fit(model, x, np.zeros((60, 5), int), progress=False)
    with pytest.raises(InputError, match="give no lengths"):
        integer.fit(model, x, np.zeros((60, 7), int), lengths=lengths, progress=False)
