"""Training on streams and on sequences: seeds, checkpoints, padding, and figures that the machine confirms."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zahlen
from zahlen import Levels, nn
from zahlen.machine import FileError, InputError, LayerError
from zahlen.nn import streams

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
PERIOD = [0, 1, 2, 1, 1, 3]  # what follows a 1 takes a memory to tell


def network(kind="lstm", seed=0, hidden=12, symbols=4):
    torch.manual_seed(seed)
    layer = KINDS[kind](symbols, hidden, symbols=True, levels=16)
    return nn.Sequential(nn.Input((), Levels(0, symbols - 1)), layer, nn.Linear(hidden, symbols))


def stream(n=400, seed=0):
    """Random symbols; often the next is one more."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.choice(4, n, p=[0.1, 0.7, 0.1, 0.1])) % 4


def fit(model, symbols=None, **options):
    options = {"steps": 9, "every": 3, "batch_size": 4, "length": 8, "lr": 0.02, "progress": False, **options}
    return nn.fit_stream(model, stream() if symbols is None else symbols, **options)


def fitted(seed=0, **options):
    model = network()
    fit(model, seed=seed, **options)
    return model.machine().hash


# ---------------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("twin", [False, True])
def test_a_periodic_stream_is_learnt(kind, twin):
    model = network(kind).twin() if twin else network(kind)
    history = fit(model, PERIOD * 100, steps=150, every=50, length=12, validation=0.1)
    assert not model.training
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert nn.stream_loss(model, PERIOD * 20) < 0.1  # nats; without a memory a third of log 3 at the least
    if not twin:
        x = np.array(PERIOD * 10)
        foretold = model.machine(classify=True).run(x[None, :-1])[0]
        assert (foretold[6:] == x[7:]).all()


def test_one_seed_one_hash():
    assert fitted() == fitted() != fitted(seed=1)


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray, lambda v: v.tolist()])
def test_symbols_of_any_type(kind):
    hash = fitted()
    for dtype in (np.uint8, np.int16, np.int64):
        assert fitted(symbols=kind(stream().astype(dtype))) == hash


def test_a_step_is_truncated_backpropagation_from_the_state_of_the_step_before():
    """Streams of 100 symbols have eleven chunks of 8 behind any offset; then the next pass begins without a state."""
    model, by_hand = network(), network()
    fit(model, steps=13, every=13, validation=0, clip=0.5)
    symbols = torch.from_numpy(stream()).view(4, 100)
    offset = int(torch.randint(8, (1,), generator=torch.Generator().manual_seed(0)))
    optimiser, state = torch.optim.Adam(by_hand.parameters(), lr=0.02, fused=True), None
    for step in range(13):
        state = None if step == 11 else state
        optimiser.param_groups[0]["lr"] = 0.02 * (1 + math.cos(math.pi * step / 13)) / 2
        window = symbols[:, offset + 8 * (step % 11) :][:, :9]
        output, state = by_hand.unroll(window[:, :-1], state)
        state = {name: value.detach() for name, value in state.items()}
        loss = F.cross_entropy((output / float(by_hand.unit)).flatten(0, 1), window[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.5)
        optimiser.step()
    assert all(torch.equal(model.state_dict()[k], v) for k, v in by_hand.state_dict().items())


@pytest.mark.parametrize(
    ("n", "batch_size", "length"), [(40, 64, 256), (400, 64, 256), (400, 5, 7), (2, 1, 1), (97, 4, 10)]
)
def test_a_loss_is_that_of_the_machines_integers(n, batch_size, length):
    """Equal up to single precision: a sum of n losses is off by at most n roundings of the whole."""
    model, symbols = network(), stream(n, 3)
    rows = batch_size if n >= 8 * batch_size else 1
    parts = symbols[: n // rows * rows].reshape(rows, -1)
    logits = model.machine().run(parts[:, :-1]).astype(float) / float(model.unit)
    chances = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    wanted = -np.log(np.take_along_axis(chances, parts[:, 1:, None], 2)).mean()
    found = nn.stream_loss(model, symbols, batch_size=batch_size, length=length)
    assert abs(found - wanted) <= (n + 16) * 2.0**-24 * wanted


def test_how_a_stream_is_cut_into_windows_changes_no_state():
    model, symbols = network(), stream(300)
    losses = {nn.stream_loss(model, symbols, batch_size=3, length=length) for length in (1, 7, 99, 1000)}
    assert max(losses) - min(losses) < 300 * 2.0**-24 * max(losses)


def test_the_state_of_the_least_validation_loss_is_kept():
    model, held = network(), stream(80, 9)
    history = fit(model, steps=24, every=3, lr=0.4, validation=held)
    losses = [epoch.validation_loss for epoch in history.epochs]
    assert history.best == min(range(8), key=lambda k: (losses[k], -k))
    assert nn.stream_loss(model, held) == losses[history.best]
    assert all(math.isnan(epoch.accuracy) and math.isnan(epoch.validation_accuracy) for epoch in history.epochs)


def test_forms_of_validation():
    symbols = stream()
    assert len(fit(network(), validation=0).epochs) == 3
    assert math.isnan(fit(network(), validation=0).epochs[0].validation_loss)
    by_share = fit(network(), symbols, validation=0.25).epochs
    by_stream = fit(network(), symbols[:300], validation=symbols[300:]).epochs
    assert [e.validation_loss for e in by_share] == [e.validation_loss for e in by_stream]
    assert len(fit(network(), steps=25, every=None).epochs) == 9  # of three steps each, and one


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"symbols": stream(67), "validation": 0}, "67 symbols are too few .* at least 68 are needed"),
        ({"symbols": [1]}, "symbols: at least two integers"), ({"symbols": []}, "symbols: at least two"),
        ({"symbols": [[1, 2]]}, "symbols: at least two"), ({"symbols": [0.5, 1.5]}, "symbols: at least two"),
        ({"symbols": "abc"}, "symbols: at least two"), ({"symbols": [True, False]}, "symbols: at least two"),
        ({"symbols": [0, 1, 2, 3, 4] * 80}, r"symbols are 0..4, but the network has outputs for 0..3"),
        ({"symbols": [0, 1, 2, -100] * 100}, r"symbols are -100..2"), ({"symbols": [0, 2**70]}, "symbols: at least"),
        ({"validation": [0, 1, 4]}, r"symbols are 0..4"), ({"validation": [1]}, "validation: at least two"),
        ({"validation": [0.5, 0.5]}, "validation: at least two"), ({"validation": 1.0}, "validation is a share"),
        ({"validation": -0.1}, "validation is a share"), ({"validation": math.nan}, "validation is a share"),
        ({"validation": True}, "validation is a share"), ({"validation": "all"}, "validation is a share"),
        ({"validation": None}, "validation is a share"), ({"validation": 0.003}, "1 of 400 symbols is too few"),
        ({"validation": 0.99}, "too few"), ({"steps": 0}, "steps is"), ({"steps": 1.0}, "steps is"),
        ({"every": 0}, "every is"), ({"batch_size": 0}, "batch_size is"), ({"length": True}, "length is"),
        ({"seed": -1}, "seed is"), ({"lr": -1.0}, "lr is"), ({"lr": math.nan}, "lr is"), ({"clip": 0}, "clip is"),
        ({"clip": math.inf}, "clip is"), ({"clip": "1"}, "clip is"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_refused(options, reason):
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=reason):
        fit(model, **options)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_shortest_stream_is_enough():
    assert len(fit(network(), stream(68), validation=0).epochs) == 3


def test_networks_without_a_state_are_refused():
    model = nn.Sequential(nn.Input((), Levels(0, 3)), nn.Embedding(4, 3), nn.Linear(3, 4))
    for other in (model, model.twin(), torch.nn.Linear(3, 3)):
        with pytest.raises(LayerError, match="fit_stream: the network has no state; give it a recurrent layer"):
            fit(other)
        with pytest.raises(LayerError, match="stream_loss: the network has no state"):
            nn.stream_loss(other, stream())


def test_a_loss_of_what_is_no_stream_is_refused():
    model = network()
    for wrong in ([1], [0.5, 1.0], [[1, 2]], [0, 1, 4], [0, 1, -100], [-1, 0], "ab"):
        with pytest.raises(InputError, match=r"symbols|alphabet"):
            nn.stream_loss(model, wrong)
    for options in ({"batch_size": 0}, {"batch_size": 2.0}, {"batch_size": "a"}, {"length": 0}, {"length": None}):
        with pytest.raises(InputError, match="is an integer of at least 1"):
            nn.stream_loss(model, stream(50), **options)


def test_modes_are_left_alone():
    model = network().train()
    nn.stream_loss(model, stream())
    assert all(module.training for module in model.modules())


# ---------------------------------------------------------------------------------------------------- checkpoints


class Stop:
    """Stands for torch.nn.functional, and presses Ctrl-C at the n-th loss."""

    def __init__(self, n):
        self.left = n

    def cross_entropy(self, *args, **options):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return F.cross_entropy(*args, **options)


@pytest.mark.parametrize("calls", [4, 6, 9])
def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path, monkeypatch, calls):
    whole, path = network(), tmp_path / "model.pt"
    expected = fit(whole)
    with monkeypatch.context() as patched:
        patched.setattr(streams, "F", Stop(calls))
        history = fit(network(), checkpoint=path)
    assert history.interrupted
    assert len(history.epochs) == calls // 4  # three steps and one window of validation each
    other = network(seed=5)
    again = fit(other, checkpoint=path, resume=True)
    assert not again.interrupted
    assert other.machine().hash == whole.machine().hash
    assert [e.loss for e in again.epochs] == [e.loss for e in expected.epochs]
    last = network(seed=6)
    fit(last, checkpoint=path, resume=True)
    assert last.machine().hash == whole.machine().hash


@pytest.mark.parametrize(
    "other",
    [{"steps": 12}, {"every": 2}, {"batch_size": 5}, {"length": 7}, {"lr": 0.01}, {"seed": 3}, {"validation": 0.2},
     {"clip": 0.5}, {"symbols": stream(seed=1)}, {"kind": "gru"}, {"hidden": 7}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_a_checkpoint_of_another_training_is_refused(tmp_path, other):
    path = tmp_path / "model.pt"
    fit(network(), checkpoint=path)
    content, other = path.read_bytes(), dict(other)
    model = network(**{key: other.pop(key) for key in ("kind", "hidden") if key in other})
    with pytest.raises(FileError, match="checkpoint of another training"):
        fit(model, checkpoint=path, resume=True, **other)
    assert path.read_bytes() == content


# ---------------------------------------------------------------------------------------------------- sequences


def sequences(n=60, time=9, seed=0):
    """Which of three symbols comes first in each sequence, whose length varies; and what padding holds."""
    rng = np.random.default_rng(seed)
    x, lengths = rng.integers(0, 4, (n, time)), rng.integers(1, time + 1, n)
    return x, x[:, 0] % 3, lengths


def classifier(kind="lstm", seed=0):
    return network(kind, seed)[:2].append(nn.Linear(12, 3))


def padded(x, lengths, fill):
    return np.where(np.arange(x.shape[1]) < lengths[:, None], x, fill)


def classified(x, y, lengths, **options):
    model = classifier()
    options = {"epochs": 3, "batch_size": 16, "lr": 0.02, "progress": False, **options}
    zahlen.fit(model, x, y, lengths=lengths, **options)
    return model


def test_sequences_are_learnt():
    x, y, lengths = sequences(200)
    model = classified(x, y, lengths, epochs=30)
    assert nn.evaluate(model, x, y, lengths=lengths)[1] > 0.9


def test_padding_never_changes_the_result():
    x, y, lengths = sequences()
    hash = classified(x, y, lengths).machine().hash
    for fill in (0, 3, np.random.default_rng(5).integers(0, 4, x.shape)):
        assert classified(padded(x, lengths, fill), y, lengths).machine().hash == hash
    longer = np.concatenate([x, x], 1)
    assert classified(longer, y, lengths).machine().hash == hash
    assert classified(x, y, np.full(60, 9)).machine().hash != hash
    assert classified(x, y, np.full(60, 9)).machine().hash == classified(x, y, None).machine().hash


def test_padding_of_other_samples_for_validation_never_changes_the_result():
    x, y, lengths = sequences()
    v, w, ends = sequences(20, 9, 1)
    hash = classified(x, y, lengths, validation=(v, w, ends)).machine().hash
    assert classified(x, y, lengths, validation=(padded(v, ends, 0), w, ends)).machine().hash == hash


def test_an_evaluation_is_the_machines_output_at_the_last_step_of_each():
    x, y, lengths = sequences()
    model = classified(x, y, lengths)
    last = model.machine().run(x)[np.arange(len(x)), lengths - 1]
    loss, share = nn.evaluate(model, x, y, lengths=lengths, batch_size=7)
    assert share == (last.argmax(1) == y).mean()
    logits = last / float(model.unit)
    wanted = (np.log(np.exp(logits).sum(1)) - logits[np.arange(len(x)), y]).mean()
    assert abs(loss - wanted) < 1e-5
    assert nn.evaluate(model, padded(x, lengths, 0), y, lengths=lengths, batch_size=7) == (loss, share)
    assert nn.evaluate(model, x, y)[1] == (model.machine().run(x)[:, -1].argmax(1) == y).mean()


def test_a_target_for_each_step():
    x, _, lengths = sequences()
    y = x % 3
    model = classified(x, y, None, epochs=20)
    _, share = nn.evaluate(model, x, y)
    assert share == (model.machine().run(x).argmax(2) == y).mean()
    assert share > 0.9
    marked = np.where(np.arange(9) < lengths[:, None], y, -100)
    other = classified(x, marked, None)
    assert classified(padded(x, lengths, 1), marked, None).machine().hash == other.machine().hash


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        (np.zeros(60, int), r"lengths are 0..0"), (np.full(60, 10), r"lengths are 10..10, .* 1..9"),
        (np.full(59, 3), "60 integers"), (np.full((60, 1), 3), "60 integers"), (np.full(60, 3.0), "60 integers"),
        (np.full(60, True), "60 integers"), (3, "60 integers"), (np.full(60, -1), r"lengths are -1..-1"),
    ],
)  # fmt: skip
def test_wrong_lengths_are_refused(lengths, reason):
    x, y, good = sequences()
    with pytest.raises(InputError, match=reason):
        classified(x, y, lengths)
    with pytest.raises(InputError, match=reason):
        nn.evaluate(classifier(), x, y, lengths=lengths)
    with pytest.raises(InputError, match=reason):
        classified(x, y, good, validation=(x, y, lengths))


def test_sequences_that_do_not_fit_are_refused():
    x, y, lengths = sequences()
    for case, reason in [
        ((x[:, 0], y, None), "sequences"), ((x[:, :0], y, None), "at least one step"),
        ((x, x[:, :5] % 3, None), "targets have 5 steps, sequences 9"), ((x, x % 3, lengths), "give no lengths"),
        ((x, y + 1, lengths), "a target is class 3"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=reason):
            classified(*case)
    plain = nn.Sequential(nn.Input((9,), Levels(0, 3)), nn.Linear(9, 3))
    with pytest.raises(InputError, match="lengths are for recurrent networks"):
        zahlen.fit(plain, x, y, lengths=lengths, progress=False)


def test_a_batch_norm_would_count_padding():
    model = nn.Sequential(
        nn.Input((2,), Levels(-4, 4)), nn.Linear(2, 3), nn.BatchNorm(), nn.TanhD(5), nn.RNN(3, 4), nn.Linear(4, 2)
    )
    x, y, lengths = torch.randint(-4, 5, (12, 6, 2)), torch.arange(12) % 2, torch.arange(12) % 6 + 1
    for net in (model, model.twin()):
        with pytest.raises(LayerError, match="padding"):
            nn.fit(net, x, y, lengths=lengths, epochs=1, progress=False)
        nn.fit(net, x, y, lengths=torch.full((12,), 6), epochs=1, progress=False)


def test_another_clip_is_another_training(tmp_path):
    def train(clip, **options):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Input((2,), Levels(-4, 4)), nn.RNN(2, 4), nn.Linear(4, 2))
        x, y = torch.ones(12, 6, 2, dtype=torch.int64), torch.arange(12) % 2
        nn.fit(net, x, y, epochs=1, clip=clip, checkpoint=tmp_path / "c.pt", progress=False, **options)

    train(1.0)
    train(1.0, resume=True)
    with pytest.raises(FileError, match="clip"):
        train(0.5, resume=True)


def test_a_trace_of_two_streams_of_two_rows_keeps_its_axes():
    model = nn.Sequential(nn.Input((2, 3), Levels(-4, 4)), nn.Flatten(), nn.RNN(6, 4))
    x = torch.randint(-4, 5, (2, 4, 2, 3))
    assert model.trace(x)["x"].shape == x.shape
    assert (model.trace(x)["x"] == x).all()


def test_the_twin_of_an_embedding_finds_symbols_behind_a_unit():
    model = nn.Sequential(nn.Input((3,), Levels(0, 4), unit=7), nn.Embedding(5, 2))
    x = torch.arange(5)[:, None].expand(5, 3)
    assert (model.twin()(x) == model[1].weight[x]).all()
