"""Training in integers: one seed, one hash; interrupted or not; and nothing lost by what is refused."""

import json
import math
import random
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from zahlen import Levels, integer
from zahlen.integer import arithmetic as do
from zahlen.integer.chance import Chance
from zahlen.integer.losses import CrossEntropy
from zahlen.machine import FileError, InputError, LayerError


def data(n=90, seed=0):
    """Three classes told apart by which pair of elements is the largest."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 17, (n, 6)).astype(np.uint8)
    return x, x.reshape(n, 3, 2).astype(int).sum(2).argmax(1)


def network(seed=0, *, hidden=8, dropout=False, bits=14, weights=255):
    drop = [integer.Dropout("0.25")] if dropout else []
    return integer.Sequential(
        integer.Input((6,), Levels(0, 16), offset=8, unit=5), integer.Linear(6, hidden), integer.TanhD(9), *drop,
        integer.Linear(hidden, 3, weights=weights), seed=seed, bits=bits,
    )  # fmt: skip


def fit(model, *args, **options):
    x, y = args or data()
    return integer.fit(model, x, y, **{"epochs": 3, "batch_size": 16, "progress": False, **options})


def trained(seed=0, **options):
    model = network()
    return model, fit(model, seed=seed, **options)


def state(model):
    return [(p.latent.tobytes(), p.weight.tobytes()) for p in model.parameters()]


# ---------------------------------------------------------------------------------------------------- what comes out


def test_it_learns_and_its_machine_computes_the_same():
    model, history = trained(epochs=40)
    x, y = data(300, 1)
    accuracy = integer.evaluate(model, x, y)[1]
    assert accuracy > 0.85
    assert (model.machine(classify=True).run(x) == y).mean() == accuracy
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_one_seed_one_hash():
    hashes = [trained(seed)[0].machine().hash for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]
    with do.without_kernels():
        assert trained(0)[0].machine().hash == hashes[0]


@pytest.mark.parametrize("labels", [np.uint8, np.int16, np.int64, list])
def test_samples_and_labels_of_any_integer_type(labels):
    x, y = data()
    model = network()
    fit(model, x.tolist() if labels is list else x, y.tolist() if labels is list else y.astype(labels))
    assert model.machine().hash == trained()[0].machine().hash


@pytest.mark.parametrize("dropout", [False, True])
def test_the_best_epoch_is_kept(dropout):
    model = network(dropout=dropout)
    history = fit(model, epochs=12, optimiser=integer.Momentum("0.4"))
    ranks = [(e.validation_accuracy, -e.validation_loss) for e in history.epochs]
    assert history.best == max(range(12), key=lambda k: (ranks[k], k))
    x, y = data()
    held = Chance(0).permutation(90)[:9]
    best = history.epochs[history.best]
    assert integer.evaluate(model, x[held], y[held]) == (best.validation_loss, best.validation_accuracy)


def test_of_equal_epochs_the_last_is_kept():
    assert trained(optimiser=integer.Momentum("0.000000001"))[1].best == 2


def test_a_batch_is_no_larger_than_the_data():
    models = [network(), network()]
    for model, size in zip(models, (81, 1000)):
        fit(model, batch_size=size)
    assert state(models[0]) == state(models[1])


def test_the_loop_is_the_optimiser_on_the_gradients():
    """All steps divide by the full batch, so that each sample of the last one counts as much as any other."""
    model, by_hand, rule = network(), network(), integer.Momentum("0.05", random=True)
    x, y = data()
    fit(model, epochs=2, validation=0, optimiser=rule)
    by_hand.announce(14, 16)
    chance, step = Chance(0), 0
    for _ in range(2):
        words = chance.words(12) >> np.uint64(32)
        order = chance.permutation(90)
        for rows, seed in zip(np.split(order, range(16, 90, 16)), words[1::2]):
            delta, _, _ = do.softmax(by_hand(x[rows]), y[rows].astype(np.int32), by_hand.unit, 14)
            by_hand.backward(delta)
            rule.step(by_hand.parameters(), 16, Fraction(12 - step, 12), int(seed))
            step += 1
    assert state(model) == state(by_hand)


def test_a_second_training_begins_without_momentum():
    model, fresh = network(), network()
    fit(model)
    for p, q in zip(model.parameters(), fresh.parameters()):
        q.latent[...] = p.latent
        q.refresh()
    assert any(p.momentum.any() for p in model.parameters())
    fit(model)
    fit(fresh)
    assert state(model) == state(fresh)


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_other_losses_learn(loss):
    model, history = trained(epochs=40, loss=loss, optimiser=integer.Momentum("0.02"))
    assert integer.evaluate(model, *data(300, 1), loss=loss)[1] > 0.8
    assert history.epochs[-1].validation_loss < history.epochs[0].validation_loss


def test_integers_as_targets():
    x, _ = data()
    model = network()
    target = x[:, :3].astype(int) * int(model.unit) // 16
    history = fit(model, x, target, loss="squared", epochs=60, optimiser=integer.Momentum("0.1"))
    assert math.isnan(history.epochs[-1].accuracy)
    assert history.epochs[-1].loss < history.epochs[0].loss / 4
    losses = [e.validation_loss for e in history.epochs]
    assert losses[history.best] == min(losses)


def test_what_is_clamped_is_counted():
    """Errors of 4.0 are beyond the 16 bits of gradients: one clamped value for each output of each sample."""
    x, _ = data()
    far = np.full((90, 3), 4 * int(network().unit))
    history = fit(network(), x, far, loss="squared", epochs=2, validation=0, optimiser=integer.Momentum("0.000001"))
    assert [e.clamps for e in history.epochs] == [270, 270]
    assert [e.clamps for e in trained()[1].epochs] == [0, 0, 0]
    model = network(weights=3)
    history = fit(model, optimiser=integer.Momentum("2"), epochs=4)
    at_the_end = sum(int((abs(p.latent) >= p.grid.hi << p.fraction).sum()) for p in model.parameters())
    assert sum(e.clamps for e in history.epochs) > at_the_end / 2 > 0


# ---------------------------------------------------------------------------------------------------- validation


def test_validation_by_share_pair_or_not_at_all():
    _, history = trained(validation=data(30, 5))
    assert not math.isnan(history.epochs[0].validation_accuracy)
    _, history = trained(validation=0)
    assert history.best == 2
    assert math.isnan(history.epochs[0].validation_loss)
    for share in (0.5, "0.5", Fraction(1, 2)):
        _, history = trained(validation=share)
        assert history.epochs[-1].validation_accuracy == round(history.epochs[-1].validation_accuracy * 45) / 45


@pytest.mark.parametrize(
    "validation", [1.0, -0.1, 0.999, math.nan, (np.zeros((3, 6), int), np.zeros(2, int)), (1,), "a", None, True, [0.1]]
)
def test_validation_that_is_none_is_refused(validation):
    with pytest.raises(InputError, match="validation"):
        fit(network(), validation=validation)


# ---------------------------------------------------------------------------------------------------- refusals


def test_nothing_to_train():
    with pytest.raises(LayerError, match="no parameter to train"):
        fit(integer.Sequential(integer.Input((6,), Levels(0, 16))), data()[0], data()[0], loss="squared")
    with pytest.raises(LayerError, match=r"begins with integer\.Input"):
        fit(integer.Sequential(integer.Linear(6, 3)))
    with pytest.raises(InputError, match=r"an integer\.Sequential is due, got Linear"):
        fit(integer.Linear(6, 3))


SETTINGS = [("epochs", value) for value in (0, -1, 1.5, 2.0, True, "3", None)]
SETTINGS += [("batch_size", value) for value in (0, 8.0, False, "8")]
SETTINGS += [("seed", value) for value in (-1, 0.0, "a", None)]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is a"):
        fit(network(), **{name: value})


def test_samples_that_do_not_pair_or_are_no_elements_are_refused():
    model, (x, y) = network(), data()
    before = state(model)
    for pair in ((x, y[:-1]), (x[:0], y[:0]), (x[0, 0], y)):
        for measure in (integer.evaluate, fit):
            with pytest.raises(InputError, match="do not pair up"):
                measure(model, *pair)
    for wrong, reason in [(x.astype(int) + 9, "alphabet"), (x.astype(float), "integers are due"), (x[:, :5], "shape")]:
        with pytest.raises(InputError, match=reason):
            fit(model, wrong, y)
    for wrong, reason in [
        (np.where(np.arange(90) == 7, 3, y), r"a target is class 3, but the network has outputs for 0\.\.2"),
        (np.where(np.arange(90) == 89, -1, y), "a target is class -1"),
        (y.astype(np.float32), "targets are float32"),
        (y == 1, "targets are bool"),
        (y[:, None], r"targets are int64 \(90, 1\)"),
    ]:
        for measure in (fit, integer.evaluate, lambda m, x, y: fit(m, x, data()[1], validation=(x, y))):
            with pytest.raises(InputError, match=reason):
                measure(model, x, wrong)
    with pytest.raises(InputError, match="no loss 'swish'"):
        fit(model, loss="swish")
    assert state(model) == before


def test_targets_may_be_marked_as_none():
    x, y = data()
    model = network()
    marked = np.where(np.arange(90) < 10, -100, y)
    fit(model, x, marked, epochs=1, validation=0, batch_size=90)
    other = network()
    other.announce(14, 90)
    delta, _, _ = do.softmax(other(x[10:]), y[10:].astype(np.int32), other.unit, 14)
    other.backward(delta)
    integer.Momentum("0.05").step(other.parameters(), 90, Fraction(1), 0)
    assert state(model) == state(other)


def test_batches_of_an_evaluation():
    x, y = data()
    assert integer.evaluate(network(), x, y, batch_size=1) == integer.evaluate(network(), x, y, batch_size=90)
    with pytest.raises(InputError, match="batch_size is an integer of at least 1"):
        integer.evaluate(network(), x, y, batch_size=0)


# ---------------------------------------------------------------------------------------------------- checkpoints


class Stop(CrossEntropy):
    """A loss that presses Ctrl-C at its n-th call."""

    def __init__(self, n):
        self.left = n

    def measure(self, *arguments):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().measure(*arguments)

    def __repr__(self):
        return "CrossEntropy()"


@pytest.mark.parametrize("calls", [8, 15, 20])
@pytest.mark.parametrize("dropout", [False, True])
def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path, calls, dropout):
    rule = integer.Momentum("0.05", random=dropout)
    whole = network(dropout=dropout)
    expected = fit(whole, epochs=4, optimiser=rule, checkpoint=tmp_path / "whole.npz")
    model, path = network(dropout=dropout), tmp_path / "model.npz"
    history = fit(model, epochs=4, loss=Stop(calls), checkpoint=path, optimiser=rule)
    assert history.interrupted
    assert len(history.epochs) == calls // 7  # six batches of training and one of validation make an epoch
    content = integer.read_checkpoint(path)
    assert all(np.array_equal(p.latent, best) for p, best in zip(model.parameters(), content.best))
    other = network(seed=5, dropout=dropout)
    again = fit(other, epochs=4, checkpoint=path, resume=True, optimiser=rule)
    assert not again.interrupted
    assert state(other) == state(whole)
    strip = [{**vars(e), "seconds": 0} for e in again.epochs], [{**vars(e), "seconds": 0} for e in expected.epochs]
    assert strip[0] == strip[1]
    assert again.best == expected.best
    ours, theirs = integer.read_checkpoint(path), integer.read_checkpoint(tmp_path / "whole.npz")
    assert ours.state == theirs.state
    assert all(np.array_equal(a, b) for a, b in zip(ours.momentum, theirs.momentum))
    # a finished training resumes to itself
    last = network(seed=6, dropout=dropout)
    fit(last, epochs=4, checkpoint=path, resume=True, optimiser=rule)
    assert state(last) == state(whole)


def test_ctrl_c_before_the_first_epoch_ends_leaves_a_network(tmp_path):
    model = network()
    history = fit(model, loss=Stop(2), checkpoint=tmp_path / "model.npz")
    assert history.interrupted
    assert (history.epochs, history.best) == ([], -1)
    assert not (tmp_path / "model.npz").exists()
    x = data()[0]
    assert np.array_equal(model(x), model.machine().run(x))


def test_without_a_checkpoint_resume_begins_anew(tmp_path):
    model = network()
    fit(model, checkpoint=tmp_path / "model.npz", resume=True)
    assert model.machine().hash == trained()[0].machine().hash


def test_a_checkpoint_holds_integers_only(tmp_path):
    fit(network(), checkpoint=tmp_path / "model.npz", remarks={"shape": (3, 4), "kind": "mlp"})
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert {file[name].dtype for name in file.files} == {np.dtype(np.int32), np.dtype(np.uint8)}
        header = json.loads(file["header"].tobytes())
    assert header["remarks"] == {"shape": [3, 4], "kind": "mlp"}

    def numbers(value):
        if isinstance(value, (list, dict)):
            return [n for v in (value.values() if isinstance(value, dict) else value) for n in numbers(v)]
        return [value]

    assert not any(isinstance(v, float) for v in numbers(header))


@pytest.mark.parametrize(
    "other",
    [{"epochs": 5}, {"batch_size": 8}, {"optimiser": integer.Momentum("0.01")}, {"seed": 3}, {"validation": "0.2"},
     {"loss": "hinge"}, {"data": (90, 4)}, {"data": (80,)}, {"model": lambda: network(hidden=9)},
     {"model": lambda: network(weights=15)}, {"model": lambda: network(bits=13)}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_a_checkpoint_of_another_training_is_refused_and_nothing_lost(tmp_path, other):
    path = tmp_path / "model.npz"
    fit(network(), checkpoint=path)
    content = path.read_bytes()
    other = dict(other)
    model = other.pop("model", network)()
    before = state(model)
    with pytest.raises(FileError, match="checkpoint of another training"):
        fit(model, *data(*other.pop("data", ())), checkpoint=path, resume=True, **other)
    assert path.read_bytes() == content
    assert state(model) == before


def test_damaged_checkpoints_are_refused_and_nothing_lost(tmp_path):
    path = tmp_path / "model.npz"
    fit(network(), checkpoint=path)
    content = path.read_bytes()
    rng = random.Random(0)
    cases = [b"", b"x", rng.randbytes(3000), content[:-1], content[: len(content) // 2], content[100:], b"PK" * 500]
    for damaged in cases:
        path.write_bytes(damaged)
        model = network(seed=3)
        before = state(model)
        with pytest.raises(FileError, match=r"model\.npz: not a checkpoint"):
            fit(model, checkpoint=path, resume=True)
        assert path.read_bytes() == damaged
        assert state(model) == before


def test_flipped_bytes_are_noticed_or_harmless(tmp_path):
    path = tmp_path / "model.npz"
    fit(network(), checkpoint=path)
    content, expected = path.read_bytes(), trained()[0].machine().hash
    rng = random.Random(1)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        model = network(seed=3)
        try:
            fit(model, checkpoint=path, resume=True)
        except FileError:
            continue
        assert model.machine().hash == expected


def rewritten(path, change):
    """A checkpoint with correct checksums and wrong content."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path.parent / "wrong.npz", **arrays)
    return path.parent / "wrong.npz"


@pytest.mark.parametrize(
    "change",
    [
        *(
            lambda h, a, name=name: h.pop(name)
            for name in ("settings", "records", "best", "state", "remarks", "version")
        ),
        *(lambda h, a, name=name: a.pop(name) for name in ("latent.0", "momentum.1", "best.3")),
        *(lambda h, a, v=v: h.update(best=v) for v in (-1, 3, 1.0, None, "1")),
        *(lambda h, a, v=v: h.update(state=v) for v in (1.0, None, [1])),
        *(lambda h, a, v=v: h["records"][0].update(loss=v) for v in (1.5, None)),
        *(lambda h, a, v=v: h["records"].__setitem__(0, v) for v in ({}, 3, {"more": 1})),
        lambda h, a: h.update(settings=3),
        lambda h, a: h.update(version=2),
        lambda h, a: a.update({"latent.0": a["latent.0"].T}),
        lambda h, a: a.update({"latent.0": a["latent.0"].astype(np.float32)}),
        lambda h, a: a.update({"best.0": a["best.0"].astype(np.int64)}),
        lambda h, a: a.update({"more": a["best.0"]}),
    ],
)
def test_a_checkpoint_with_a_wrong_part_is_refused_and_nothing_lost(tmp_path, change):
    fit(network(), checkpoint=tmp_path / "model.npz")
    wrong = rewritten(tmp_path / "model.npz", change)
    model = network(seed=3)
    before = state(model)
    with pytest.raises(FileError, match=r"wrong\.npz: (not a checkpoint|a checkpoint of another training)"):
        fit(model, checkpoint=wrong, resume=True)
    assert state(model) == before


def test_neither_code_nor_compressed_bytes_are_read(tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    path = tmp_path / "model.npz"
    np.savez(path, header=np.array([Bad()], dtype=object))
    with pytest.raises(FileError, match="not a checkpoint"):
        integer.read_checkpoint(path)
    assert not (tmp_path / "made").exists()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.npy", bytes(10**6))
    with pytest.raises(FileError, match="compressed"):
        integer.read_checkpoint(path)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    fit(network(), checkpoint=path)
    content = path.read_bytes()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    model = network()
    with pytest.raises(FileError, match="No space left"):
        fit(model, checkpoint=path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    assert state(model) != state(network())  # the epoch that was spent is in the network


def test_what_cannot_be_written_is_refused_before_an_epoch(tmp_path):
    stop = Stop(0)
    with pytest.raises(FileError, match="there is no directory"):
        fit(network(), checkpoint=tmp_path / "nowhere" / "model.npz", loss=stop)
    for remark in (np.float64(math.nan), {1, 2}, object()):
        with pytest.raises(InputError, match="plain Python values"):
            fit(network(), checkpoint=tmp_path / "model.npz", remarks={"a": remark}, loss=stop)
    assert stop.left == 0
