import copy
import math
import random

import numpy as np
import pytest
import torch
from networks import assert_exact
from torch.nn import functional as F

import zahlen
from zahlen import Levels, nn
from zahlen.machine import FileError, InputError, LayerError
from zahlen.nn import training


def data(n=90, seed=0):
    """Three classes told apart by which pair of elements is the largest."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 17, (n, 6)).astype(np.uint8)
    return x, x.reshape(n, 3, 2).astype(int).sum(2).argmax(1)


def network(seed=0, *, norm=True, hidden=8):
    torch.manual_seed(seed)
    layers = [nn.BatchNorm()] if norm else []
    return nn.Sequential(
        nn.Input((6,), Levels(0, 16), offset=8, unit=5),
        nn.Linear(6, hidden),
        *layers,
        nn.TanhD(9),
        nn.Linear(hidden, 3),
    )


def fit(model, *args, **options):
    x, y = args or data()
    return zahlen.fit(model, x, y, **{"epochs": 3, "batch_size": 16, "lr": 0.02, "progress": False, **options})


def trained(seed=0, **options):
    model = network()
    return model, fit(model, seed=seed, **options)


# ---------------------------------------------------------------------------------------------------- what comes out


def test_it_learns_and_stays_exact():
    model, history = trained(epochs=30)
    x, y = data(300, 1)
    assert not model.training
    accuracy = nn.evaluate(model, x, y)[1]
    assert accuracy > 0.85
    assert (model.machine(classify=True).run(x) == y).mean() == accuracy
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert_exact(model, torch.from_numpy(x))


def test_one_seed_one_hash():
    hashes = [trained(seed)[0].machine().hash for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_best_epoch_is_kept():
    model, history = trained(epochs=12, lr=0.3)
    ranks = [(e.validation_accuracy, -e.validation_loss) for e in history.epochs]
    assert history.best == max(range(12), key=lambda k: (ranks[k], k))
    x, y = data()
    generator = torch.Generator().manual_seed(0)
    held = torch.randperm(90, generator=generator)[:9].numpy()
    assert nn.evaluate(model, x[held], y[held]) == (
        history.epochs[history.best].validation_loss, history.epochs[history.best].validation_accuracy
    )  # fmt: skip


def test_the_loop_is_adam_on_the_surrogate_gradients():
    model, by_hand = network(), network()
    x, y = (torch.from_numpy(v) for v in data())
    fit(model, x, y, epochs=2, validation=0)
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=0.02, fused=True)
    generator, step = torch.Generator().manual_seed(0), 0
    for _ in range(2):
        for rows in torch.split(torch.randperm(90, generator=generator), 16):
            optimiser.param_groups[0]["lr"] = 0.02 * (1 + math.cos(math.pi * step / 12)) / 2
            loss = F.cross_entropy(by_hand(x[rows]) / float(by_hand.unit), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    assert all((model.state_dict()[k] == v).all() for k, v in by_hand.state_dict().items())


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray, lambda v: v.tolist()])
@pytest.mark.parametrize("labels", [np.uint8, np.int16, np.int32, np.int64])
def test_samples_and_labels_of_any_integer_type(kind, labels):
    x, y = data()
    model = network()
    fit(model, kind(x), kind(y.astype(labels)))
    assert model.machine().hash == trained()[0].machine().hash


def test_a_last_sample_on_its_own_joins_the_batch_before_it():
    sizes = lambda n, batch: [len(rows) for rows in training._batches(torch.arange(n), batch)]  # noqa: E731
    assert sizes(33, 16) == [16, 17]
    assert sizes(34, 16) == [16, 16, 2]
    assert (sizes(1, 16), sizes(3, 1)) == ([1], [1, 1, 1])


# ---------------------------------------------------------------------------------------------------- validation


def test_validation_by_share_pair_or_not_at_all():
    other = data(30, 5)
    _, history = trained(validation=other)
    assert not math.isnan(history.epochs[0].validation_accuracy)
    _, history = trained(validation=0)
    assert history.best == 2
    assert math.isnan(history.epochs[0].validation_loss)
    _, history = trained(validation=0.5)
    assert history.epochs[-1].validation_accuracy == round(history.epochs[-1].validation_accuracy * 45) / 45


@pytest.mark.parametrize(
    "validation", [1.0, -0.1, 0.999, float("nan"), (np.zeros((3, 6), int), np.zeros(2, int)), (1,)]
)
def test_validation_that_is_none_is_refused(validation):
    with pytest.raises(InputError, match="validation"):
        fit(network(), validation=validation)


def test_other_losses_and_targets():
    x, _ = data()
    target = x.astype(np.float32) / 8 - 1
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Input((6,), Levels(0, 16), offset=8, unit=8), nn.Linear(6, 8), nn.TanhD(33), nn.Linear(8, 6)
    )
    history = fit(model, x, target, loss=F.mse_loss, epochs=40)
    assert math.isnan(history.epochs[-1].accuracy)
    assert math.isnan(history.epochs[-1].validation_accuracy)
    assert history.epochs[-1].loss < history.epochs[0].loss / 4
    losses = [e.validation_loss for e in history.epochs]
    assert losses[history.best] == min(losses)
    # integer targets of a regression are no classes
    history = fit(
        network(norm=False)[:2].append(nn.Linear(8, 1)), x, x[:, 0], loss=lambda o, t: F.mse_loss(o[:, 0], t.float())
    )
    assert math.isnan(history.epochs[-1].accuracy)
    # the input itself, as integers
    fit(nn.Sequential(nn.Input((6,), Levels(0, 16)), nn.Linear(6, 6)), x, x, loss=lambda o, t: F.mse_loss(o, t.float()))


def test_accuracy_is_the_machines_with_ties_and_beyond_float32():
    model = nn.Sequential(nn.Input((3,), Levels(-(2**40), 2**40), unit=3), nn.Linear(3, 3, False, weights=3, scale=1))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(3))
    x = torch.tensor([[5, 5, 1], [1, 5, 5], [2**40 - 1, 2**40, 0], [2**40, 2**40 - 1, 0]])
    y = torch.tensor([0, 1, 1, 0])  # float32 outputs would tie in the last two
    assert nn.evaluate(model, x, y)[1] == 1.0
    assert (model.machine(classify=True).run(x.numpy()) == y.numpy()).all()
    assert nn.outputs(model, x[:1]).tolist() == (torch.tensor([[5.0, 5.0, 1.0]]) / 3).tolist()


def test_evaluate_leaves_modes_alone_and_refuses_what_does_not_pair():
    model = network().train()
    model[2].eval()
    nn.evaluate(model, *data())
    assert model.training
    assert model[1].training
    assert not model[2].training
    x, y = data()
    for pair in ((x, y[:-1]), (x[:0], y[:0]), (x[0, 0], y)):
        with pytest.raises(InputError, match="do not pair up"):
            nn.evaluate(model, *pair)
        with pytest.raises(InputError, match="do not pair up"):
            fit(model, *pair)


# ---------------------------------------------------------------------------------------------------- refusals


def test_a_loss_that_is_no_number_ends_it_and_the_best_stays():
    calls = []

    def loss(output, y):
        calls.append(0)
        value = F.cross_entropy(output, y)
        return value * math.nan if len(calls) > 12 else value

    model = network()
    with pytest.raises(LayerError, match="no longer finite; take a smaller lr"):
        fit(model, loss=loss)
    assert all(v.isfinite().all() for v in model.state_dict().values())
    assert not model.training
    model.machine()


def test_latent_weights_that_explode_are_noticed():
    with pytest.raises(LayerError, match="no longer finite"):
        fit(network(), lr=1e38, epochs=5)


def test_nothing_to_train():
    model = network().requires_grad_(False)
    with pytest.raises(LayerError, match="no parameter to train"):
        fit(model)


SETTINGS = [("epochs", value) for value in (0, -1, 1.5, 2.0, True, "3", None, math.nan)]
SETTINGS += [("batch_size", value) for value in (0, 8.0, False, "8")]
SETTINGS += [("lr", value) for value in (-1, -1e-9, math.nan, math.inf, "a", None, True)]
SETTINGS += [("seed", value) for value in (-1, 0.0, "a", None, 2**63)]
SETTINGS += [("validation", value) for value in ("a", None, True, [0.1])]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is a"):
        fit(network(), **{name: value})


def test_batches_of_an_evaluation():
    x, y = data()
    assert nn.evaluate(network(), x, y, batch_size=1)[1] == nn.evaluate(network(), x, y, batch_size=90)[1]
    for size in (0, 8.0, None):
        with pytest.raises(InputError, match="batch_size is an integer of at least 1"):
            nn.evaluate(network(), x, y, batch_size=size)


@pytest.mark.parametrize("twin", [False, True])
def test_targets_that_the_cross_entropy_cannot_take_are_refused(twin):
    model = network().twin() if twin else network()
    before = copy.deepcopy(model.state_dict())
    x, y = data()
    for wrong, reason in [
        (np.where(np.arange(90) == 7, 3, y), r"a target is class 3, but the network has outputs for 0\.\.2"),
        (np.where(np.arange(90) == 89, -1, y), "a target is class -1"),
        (y.astype(np.float32), r"targets are float32 \(n\), but the cross-entropy compares outputs \(n, 3\)"),
        (y == 1, r"targets are bool \(n\)"),
        (y[:, None], r"targets are int64 \(n, 1\)"),
        (np.zeros((90, 4), np.float32), r"targets are float32 \(n, 4\)"),
    ]:
        with pytest.raises(InputError, match=reason):
            fit(model, x, wrong, epochs=1)
        with pytest.raises(InputError, match=reason):
            fit(model, epochs=1, validation=(x, wrong))
        with pytest.raises(InputError, match=reason):
            nn.evaluate(model, x, wrong)
    assert all((before[k] == v).all() for k, v in model.state_dict().items())


def test_targets_may_be_probabilities_or_marked_as_none():
    x, y = data()
    model = network()
    fit(model, x, np.eye(3, dtype=np.float32)[y])
    assert model.machine().hash == trained()[0].machine().hash
    fit(network(), x, np.where(np.arange(90) == 7, -100, y))


def test_inputs_outside_the_alphabet_are_refused():
    x, y = data()
    with pytest.raises(InputError, match="alphabet"):
        fit(network(), x.astype(int) + 9, y)


# ---------------------------------------------------------------------------------------------------- checkpoints


class Stop:
    """A loss that presses Ctrl-C at its n-th call."""

    def __init__(self, n):
        self.left = n

    def __call__(self, output, y):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return F.cross_entropy(output, y)


@pytest.mark.parametrize("calls", [8, 15, 20])
@pytest.mark.parametrize("norm", [False, True])
def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path, calls, norm):
    whole = network(norm=norm)
    expected = fit(whole, epochs=4)
    model, path = network(norm=norm), tmp_path / "model.pt"
    history = fit(model, epochs=4, loss=Stop(calls), checkpoint=path)
    done = calls // 6  # five batches of training and one of validation make an epoch
    assert history.interrupted
    assert len(history.epochs) == done
    assert not model.training
    content = nn.read_checkpoint(path)
    assert all((model.state_dict()[k] == v).all() for k, v in content["best"].items())
    torch.manual_seed(77)
    other = network(seed=5, norm=norm)
    again = fit(other, epochs=4, checkpoint=path, resume=True)
    assert not again.interrupted
    assert other.machine().hash == whole.machine().hash
    assert [e.loss for e in again.epochs] == [e.loss for e in expected.epochs]
    assert again.best == expected.best
    # a finished training resumes to itself
    last = network(seed=6, norm=norm)
    fit(last, epochs=4, checkpoint=path, resume=True)
    assert last.machine().hash == whole.machine().hash


def test_ctrl_c_before_the_first_epoch_ends_leaves_a_network(tmp_path):
    model = network()
    history = fit(model, loss=Stop(2), checkpoint=tmp_path / "model.pt")
    assert history.interrupted
    assert (history.epochs, history.best) == ([], -1)
    assert not (tmp_path / "model.pt").exists()
    model.machine()


def test_without_a_checkpoint_resume_begins_anew(tmp_path):
    model = network()
    fit(model, checkpoint=tmp_path / "model.pt", resume=True)
    assert model.machine().hash == trained()[0].machine().hash


@pytest.mark.parametrize(
    "other",
    [{"epochs": 5}, {"batch_size": 8}, {"lr": 0.01}, {"seed": 3}, {"validation": 0.2}, {"data": (90, 4)},
     {"data": (80,)},
     {"model": lambda: network(hidden=9)}, {"model": lambda: network(norm=False)},
     {"model": lambda: network()[:4].append(nn.Linear(8, 3, weights=15))}],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_a_checkpoint_of_another_training_is_refused_and_nothing_lost(tmp_path, other):
    path = tmp_path / "model.pt"
    fit(network(), checkpoint=path)
    content = path.read_bytes()
    other = dict(other)
    model = other.pop("model", network)()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FileError, match=r"checkpoint of another training \((data|network|batch_size|epochs|lr|seed)"):
        fit(model, *data(*other.pop("data", ())), checkpoint=path, resume=True, **other)
    assert path.read_bytes() == content
    assert all((before[k] == v).all() for k, v in model.state_dict().items())


def test_damaged_checkpoints_are_refused_and_nothing_lost(tmp_path):
    path = tmp_path / "model.pt"
    fit(network(), checkpoint=path)
    content = path.read_bytes()
    rng = random.Random(0)
    cases = [b"", b"x", rng.randbytes(3000), content[:-1], content[: len(content) // 2], content[100:], b"PK" * 500]
    for damaged in cases:
        path.write_bytes(damaged)
        model = network(seed=3)
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(FileError, match=r"model\.pt: not a checkpoint"):
            nn.read_checkpoint(path)
        with pytest.raises(FileError, match=r"model\.pt: not a checkpoint"):
            fit(model, checkpoint=path, resume=True)
        assert path.read_bytes() == damaged
        assert all((before[k] == v).all() for k, v in model.state_dict().items())


def test_flipped_bytes_are_noticed_or_harmless(tmp_path):
    """No flipped byte raises anything but a FileError, or changes what comes out."""
    path = tmp_path / "model.pt"
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


def test_a_file_with_code_in_it_is_not_run(tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    path = tmp_path / "model.pt"
    torch.save({"settings": Bad()}, path)
    with pytest.raises(FileError, match="not a checkpoint"):
        nn.read_checkpoint(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("part", ["model", "best", "optimiser", "generator", "torch_generator", "history"])
def test_a_checkpoint_with_a_wrong_part_is_refused_and_nothing_lost(tmp_path, part):
    path = tmp_path / "model.pt"
    fit(network(), checkpoint=path)
    for wrong in (None, 3, {"0.weight": torch.ones(2)}, [], torch.ones(3)):
        torch.save({**nn.read_checkpoint(path), part: wrong}, tmp_path / "wrong.pt")
        model = network(seed=3)
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        with pytest.raises(FileError, match="not a checkpoint"):
            fit(model, checkpoint=tmp_path / "wrong.pt", resume=True)
        assert all((before[k] == v).all() for k, v in model.state_dict().items())
        assert (torch.get_rng_state() == state).all()


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    fit(network(), checkpoint=path)
    content = path.read_bytes()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    model = network()
    with pytest.raises(FileError, match="No space left"):
        fit(model, checkpoint=path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]
    assert not model.training  # and the epoch that was spent is in the network


def test_what_cannot_be_written_is_refused_before_an_epoch(tmp_path):
    calls = []
    with pytest.raises(FileError, match="there is no directory"):
        fit(network(), checkpoint=tmp_path / "nowhere" / "model.pt", loss=lambda *_: calls.append(0))
    with pytest.raises(InputError, match="plain Python values"):
        fit(network(), checkpoint=tmp_path / "model.pt", remarks={"a": np.float64(1)}, loss=lambda *_: calls.append(0))
    assert not calls


def test_remarks_and_numpy_settings_are_kept(tmp_path):
    path = tmp_path / "model.pt"
    fit(
        network(),
        checkpoint=path,
        remarks={"shape": (3, 4), "kind": "mlp"},
        lr=np.float64(0.02),
        batch_size=np.int64(16),
    )
    assert nn.read_checkpoint(path)["remarks"] == {"shape": (3, 4), "kind": "mlp"}


# ---------------------------------------------------------------------------------------------------- the float twin


def test_the_twin_starts_from_the_same_latent_weights_and_trains_in_the_same_loop():
    model = network()
    twin = model.twin()
    assert (twin[1].weight == model[1].weight).all()
    assert (twin[4].bias == model[4].bias).all()
    x, y = data()
    history = fit(twin, x, y, epochs=20)
    assert nn.evaluate(twin, x, y)[1] > 0.8
    assert len(history.epochs) == 20


def test_fine_levels_and_weights_approach_the_twin():
    """A bound on the difference, not a measured one: 2^14 levels and weights of 2^-18 leave less than 2^-10."""
    torch.manual_seed(0)
    fine = {"weights": 2**20 + 1, "scale": 2**18}
    model = nn.Sequential(
        nn.Input((6,), Levels(0, 16), offset=8, unit=4), nn.Linear(6, 8, **fine), nn.TanhD(2**14),
        nn.Linear(8, 3, **fine),
    )  # fmt: skip
    x, _ = data()
    real = model.twin()[1:].double()((torch.from_numpy(x).double() - 8) / 4).detach()
    # rounding: 8 weights of at most 0.36 by half a level of 2^-14, and 6 or 8 weights by 2^-19 each
    assert (nn.outputs(model, torch.from_numpy(x)).double() - real).abs().max() < 2**-10
    coarse = model[:2].append(nn.TanhD(2)).append(model[3])
    assert (nn.outputs(coarse, torch.from_numpy(x)).double() - real).abs().max() > 2**-10


def test_a_bar_and_a_name(capsys):
    fit(network(), progress=True, name="digits", epochs=1)
    assert "digits" in capsys.readouterr().err


def test_history_starts_empty():
    assert training.History() == training.History([], -1, False)
