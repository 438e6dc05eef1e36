"""Intervals of networks beside the proven ranges of their machines, and training on them."""

import json
import random
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from networks import batch, networks, shake
from torch.nn import functional as F

import zahlen
from zahlen import Levels, analysis, nn
from zahlen.machine import FileError, InputError, LayerError, Range
from zahlen.machine import operations as op
from zahlen.machine.ranges import result_range
from zahlen.nn.robust import Robust, certified, margins


def boxes(model, x, eps):
    """For each sample the range of every wire of the machine on the ball around it."""
    machine = model.machine()
    alphabet = machine.wires["x"].alphabet
    for row in x.numpy().astype(np.int64):
        reach = eps // alphabet.step * alphabet.step
        lo, hi = np.maximum(row - reach, alphabet.lo), np.minimum(row + reach, alphabet.hi)
        found = {}
        for name, wire in machine.wires.items():
            if isinstance(wire.operation, op.Input):
                found[name] = Range.of(lo, hi, alphabet.step)
            else:
                found[name] = result_range(wire.operation, *(found[operand] for operand in wire.operands))
        yield machine, found


def assert_ranges(model, x, eps):
    lo, hi = (end.detach().double().numpy() for end in nn.bounds(model, x, eps))
    for k, (machine, found) in enumerate(boxes(model, x, eps)):
        expected = found[machine.outputs[0]]
        assert (lo[k] == expected.lo).all()
        assert (hi[k] == expected.hi).all()


@settings(max_examples=40)
@given(networks())
def test_intervals_are_the_ranges_of_the_machine(model):
    assume(not any(isinstance(layer, nn.Embedding) for layer in model.modules()))
    x = batch(model, 4)
    for eps in (0, 1, 3, 1000):
        assert_ranges(model, x, eps)


@pytest.mark.parametrize("count", [1, 16, 33026, 2**23 // 127 - 1, 10**6])
def test_intervals_and_margins_of_large_sums_are_exact(count):
    """Whatever the type that carries them; sums of odd products, whose halves are no longer floats of 24 bits."""
    model = nn.Sequential(
        nn.Input((2,), Levels(-count, count)), nn.Linear(2, 2, bias=False, scale=1)
    )  # fmt: skip
    weight = [[127, 126], [-126, -126]]
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor(weight))
    x, y = torch.tensor([[count, count]] * 2), torch.tensor([0, 1])
    for eps in (0, 1, 10**30):
        low = max(-count, count - eps)
        lo, hi = nn.bounds(model, x, eps)
        assert lo.tolist() == [[253 * low, -252 * count]] * 2
        assert hi.tolist() == [[253 * count, -252 * low]] * 2
        assert margins(model, x, y, eps).tolist() == [[0, -505 * low], [505 * count, 0]]
        expected = [low >= 0, False]
        assert analysis.certified(model.machine(), x.numpy(), y.numpy(), eps).tolist() == expected


def small(seed=0, *, last=True):
    """2 inputs of 7 levels, and 3 classes."""
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 3, weights=7)] if last else [nn.Linear(6, 3, weights=7), nn.ReLUD(9)]
    model = nn.Sequential(
        nn.Input((2,), Levels(-6, 6, 2), unit=4), nn.Linear(2, 6, weights=15), nn.TanhD(5), *layers
    )  # fmt: skip
    shake(model, random.Random(seed))
    return model.eval()


def every(model):
    return torch.tensor(list(product(range(-6, 7, 2), repeat=2)))


@pytest.mark.parametrize("seed", range(5))
def test_margins_are_ranges_of_differences(seed):
    model = small(seed)
    x = every(model)
    y = torch.arange(len(x)) % 3
    most = margins(model, x, y, 2).detach().numpy()
    for k, (machine, found) in enumerate(boxes(model, x, 2)):
        last = machine.wires[machine.outputs[0]]
        weight, bias = (array - array[y[k]] for array in (last.operation.weight, last.operation.bias))
        expected = result_range(op.Affine(weight=weight, bias=bias), found[last.operands[0]])
        assert (most[k] == expected.hi).all()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_what_is_certified_is_true_and_the_machine_agrees(last, nested):
    found = 0
    for seed in range(4):
        model = small(seed, last=last)
        if nested:
            model = nn.Sequential(*model[:2], nn.Sequential(*model[2:])).eval()
        machine, x = model.machine(classify=True), every(model)
        label = torch.from_numpy(machine.run(x.numpy()))
        for eps in (0, 2, 5):
            near = (x[:, None] - x[None]).abs().amax(2) <= eps
            for y in (label, (label + 1) % 3):
                true = torch.stack([(label[row] == c).all() for row, c in zip(near, y)]).numpy()
                mine = certified(margins(model, x, y, eps), y).numpy()
                for of in (machine, model.machine()):
                    assert (analysis.certified(of, x.numpy(), y.numpy(), eps) == mine).all()
                assert not (mine & ~true).any()
                assert eps or (mine == true).all()
                found += mine.sum() if eps else 0
    assert found > 20


def exact_network():
    """All numbers of whose gradients are small binary fractions."""
    model = nn.Sequential(
        nn.Input((4,), Levels(-8, 8), unit=4), nn.Linear(4, 5, scale=4, weights=Levels(-8, 8)), nn.HardTanhD(9),
        nn.Linear(5, 3, scale=4, weights=Levels(-8, 8)), nn.HardTanhD(5), nn.Add(nn.Identity(), nn.Identity()),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter * 8).round() / 4)
    return model


def test_gradients_of_a_point_are_those_of_the_forward_pass():
    x, weight = torch.randint(-8, 9, (6, 4)), torch.randint(-4, 5, (6, 3)).float()
    model = exact_network()
    (model(x) * weight).sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    for k in (0, 1):
        model.zero_grad()
        (nn.bounds(model, x, 0)[k] * weight).sum().backward()
        assert all((p.grad == e).all() for p, e in zip(model.parameters(), expected))
    assert any((e != 0).any() for e in expected)


def test_gradients_widen_and_narrow():
    """Of lo = W x - |W| eps, and hi = W x + |W| eps."""
    model = nn.Sequential(nn.Input((3,), Levels(-99, 99)), nn.Linear(3, 1, bias=False, weights=Levels(-9, 9), scale=1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[2.0, -3.0, 0.0]]))
    for k, value, expected in ((0, -21, [[3.0, 9.0, 11.0]]), (1, -1, [[7.0, 5.0, 11.0]])):
        model.zero_grad()
        end = nn.bounds(model, torch.tensor([[5, 7, 11]]), 2)[k]
        assert end.item() == value
        end.backward()
        assert model[1].weight.grad.tolist() == expected


def test_in_training_a_batch_norm_takes_the_batch_that_the_balls_are_around():
    model = nn.Sequential(
        nn.Input((2,), Levels(-20, 20), unit=4), nn.BatchNorm(eps=3.0), nn.HardTanhD(33), nn.Linear(2, 2)
    ).train()
    norm = model[1]
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -2.0]))
        norm.running_mean.fill_(100.0)
    x = torch.tensor([[4, 4], [-4, -4]])  # of mean 0 and variance 1
    with nn.robust.keeping(model):
        model(x)
        lo, hi = nn.robust.through(list(model)[:3], x - 1, x + 1)
    # x / sqrt(1 + 3) times the weight falls to the quarter below; 32 levels are worth 1
    assert lo.tolist() == [[8, -32], [-24, 24]]
    assert hi.tolist() == [[16, -24], [-16, 32]]
    assert norm.kept is None


# ---------------------------------------------------------------------------------------------------- training


def data(n=240, seed=0):
    """Three classes, of each of which two elements are larger."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.integers(0, 11, (n, 6)) + 6 * np.repeat(np.eye(3, dtype=int)[y], 2, axis=1), y


def network(seed=0, *, norm=False):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Input((6,), Levels(0, 16), offset=8, unit=5), nn.Linear(6, 16), *([nn.BatchNorm()] if norm else []),
        nn.TanhD(17), nn.Linear(16, 3),
    )  # fmt: skip


def fit(model, **options):
    return zahlen.fit(model, *data(), **{"epochs": 20, "batch_size": 16, "lr": 0.02, "progress": False, **options})


@pytest.mark.parametrize("norm", [False, True])
def test_robust_training_certifies_more(norm):
    shares = []
    for robust in (None, 2):
        model = network(norm=norm)
        fit(model, robust=robust, epochs=10)
        machine = model.machine()
        x, y = data(300, 1)
        shares.append(analysis.certified(machine, x, y, 2).mean())
        assert (machine.run(x).argmax(1) == y).mean() > 0.8
    assert shares[1] > shares[0] + 0.05


def test_the_history_has_what_is_certified_and_the_best_of_it_wins():
    model = network()
    history = fit(model, robust=1, epochs=6, lr=0.05)
    held = torch.randperm(240, generator=torch.Generator().manual_seed(0))[:24].numpy()
    x, y = (array[held] for array in data())
    best = history.epochs[history.best]
    assert best.validation_certified == analysis.certified(model.machine(), x, y, 1).mean()
    assert (best.validation_loss, best.validation_accuracy) == nn.evaluate(model, x, y)
    ranks = [(e.validation_certified, e.validation_accuracy, -e.validation_loss) for e in history.epochs]
    assert history.best == max(range(6), key=lambda k: (ranks[k], k))
    assert history.best != max(range(6), key=lambda k: (ranks[k][1:], k))
    assert np.isnan([e.validation_certified for e in fit(network(), epochs=1).epochs]).all()


def test_the_loop_is_the_loss_of_both_on_a_rising_schedule():
    model, by_hand = network(), network()
    fit(model, epochs=2, validation=0, robust=2)
    x, y = (torch.from_numpy(v) for v in data())
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=0.02, fused=True)
    generator, step = torch.Generator().manual_seed(0), 0
    for _ in range(2):
        for rows in torch.split(torch.randperm(240, generator=generator), 16):
            optimiser.param_groups[0]["lr"] = 0.02 * (1 + np.cos(np.pi * step / 30)) / 2
            share = min(1.0, step / 15)
            eps = 0 if step == 0 else 1 if share <= 0.5 else 2
            unit = float(by_hand.unit)
            plain = F.cross_entropy(by_hand(x[rows]) / unit, y[rows])
            worst = F.cross_entropy(margins(by_hand, x[rows], y[rows], eps) / unit, y[rows])
            loss = (1 - share / 2) * plain + share / 2 * worst
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    assert all((model.state_dict()[k] == v).all() for k, v in by_hand.state_dict().items())


def test_it_goes_on_from_a_checkpoint_of_the_same_ball(tmp_path):
    whole, part = network(norm=True), network(norm=True)
    fit(whole, epochs=4, robust=1)
    stopping(part, tmp_path / "c.pt", robust=1, epochs=4)
    with pytest.raises(FileError, match=r"another training \(robust\)"):
        fit(network(norm=True), epochs=4, robust=2, checkpoint=tmp_path / "c.pt", resume=True)
    fit(part, epochs=4, robust=1, checkpoint=tmp_path / "c.pt", resume=True)
    assert part.machine().hash == whole.machine().hash


def stopping(model, path, **options):
    """Train until Ctrl-C in the third epoch."""
    steps = 0

    def interrupt(*_):
        nonlocal steps
        steps += 1
        if steps == 35:
            raise KeyboardInterrupt

    hook = model[1].weight.register_hook(interrupt)
    assert fit(model, checkpoint=path, **options).interrupted
    hook.remove()


def test_the_ball_and_its_weight_grow_over_the_first_half():
    robust = Robust(3, 100)
    strengths = [robust.strength(step) for step in range(100)]
    assert strengths[0] == (0, 0.0)
    assert strengths[50:] == [(3, 0.5)] * 50
    assert [eps for eps, _ in strengths] == sorted(eps for eps, _ in strengths)
    assert {eps for eps, _ in strengths} == {0, 1, 2, 3}
    assert [weight for _, weight in strengths[:51]] == [step / 100 for step in range(51)]


# ---------------------------------------------------------------------------------------------------- refusals


def test_what_has_no_intervals_is_refused():
    x, y = data(20)
    words = nn.Sequential(nn.Input((6,), Levels(0, 16)), nn.Embedding(17, 3), nn.Flatten(), nn.Linear(18, 3))
    with pytest.raises(LayerError, match=r"Embedding\(.*no interval form.*without robust="):
        fit(words, robust=1)
    states = nn.Sequential(nn.Input((6,), Levels(0, 16)), nn.RNN(6, 4), nn.Linear(4, 3))
    with pytest.raises(LayerError, match="without a state"):
        zahlen.fit(states, x[:, None], y, robust=1, progress=False)
    with pytest.raises(LayerError, match=r"intervals, which networks of zahlen\.nn"):
        fit(network().twin(), robust=1)
    folded = nn.IteratedMap((6, 4, 3), [[1, 0, 0], [0, 1, 0]], 2)
    with pytest.raises(LayerError, match=r"IteratedMap\(.*no interval form"):
        fit(nn.Sequential(nn.Input((6,), Levels(0, 16)), folded), robust=1)


@pytest.mark.parametrize("robust", [0, -1, 1.5, True, "1"])
def test_balls_are_counted_in_levels(robust):
    with pytest.raises(InputError, match="robust is an integer of at least 1"):
        fit(network(), robust=robust)


@pytest.mark.parametrize("eps", [-1, 0.5, True])
def test_so_are_those_of_bounds(eps):
    with pytest.raises(InputError, match="eps is an integer from 0 on"):
        nn.bounds(network(), torch.zeros(1, 6, dtype=torch.int64), eps)


def test_targets_are_classes():
    x, y = data()
    for targets in (np.eye(3, dtype=np.float32)[y], np.where(y == 0, -100, y)):
        with pytest.raises(InputError, match="robust= needs classes"):
            zahlen.fit(network(), x, targets, robust=1, progress=False)


def test_history_is_plain_values():
    history = fit(network(), robust=1, epochs=1)
    assert json.loads(json.dumps(history.epochs[0].__dict__))["validation_certified"] >= 0
