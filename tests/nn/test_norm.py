import copy
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from networks import assert_exact, batch, shake
from torch.nn import functional as F

from zahlen import Levels, nn
from zahlen.machine import LayerError


def convolutional(activation=None):
    return nn.Sequential(
        nn.Input((2, 5, 5), Levels(0, 255), offset=100, unit=64),
        nn.Conv2d(2, 4, 3), nn.BatchNorm(), activation or nn.TanhD(9), nn.Flatten(), nn.Linear(36, 3),
    )  # fmt: skip


def dense():
    return nn.Sequential(nn.Input((6,), Levels(-9, 9), unit=4), nn.Linear(6, 5), nn.BatchNorm(), nn.TanhD(9))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("make", [convolutional, dense])
def test_odd_statistics_fold_exactly(make, seed):
    model = make()
    shake(model, random.Random(seed))
    assert_exact(model, batch(model, 16, seed))


@pytest.mark.parametrize("make", [convolutional, dense])
def test_training_is_torchs_batch_norm_and_then_the_level_below(make):
    model = make().train()
    norm, activation = model[2], model[3]
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1.5, 2, len(norm.weight)))
        norm.bias.copy_(torch.linspace(-0.5, 0.5, len(norm.weight)))
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    x, unit = batch(model, 16), float(norm.spec.unit)
    z = model[1](model[0](x))
    mean2, var2 = mean.clone(), var.clone()
    expected = F.batch_norm(z * (1 / unit), mean2, var2, norm.weight, norm.bias, True, 0.1, 1e-5) * unit
    y = norm(z)
    assert (y == expected).all()
    assert (norm.running_mean == mean2).all()
    assert (norm.running_var == var2).all()
    assert not (norm.running_mean == mean).any()
    index = (activation.thresholds <= np.floor(y.detach().numpy())[..., None]).sum(-1)
    assert (activation(y).detach().numpy() == activation.levels[index]).all()


def test_a_value_just_below_a_threshold_stays_below():
    # in float32 this value minus the first entry of the table rounds up to the threshold at 0
    model = nn.Sequential(nn.Input((1,), Levels(-999, 999), unit=100), nn.BatchNorm(), nn.Sign())
    assert model[2](torch.tensor([[-1e-9], [0.0], [1e-9]])).flatten().tolist() == [-1, 1, 1]
    model = nn.Sequential(nn.Input((1,), Levels(-999, 999), unit=100), nn.BatchNorm(), nn.TanhD(4))
    assert model[2](torch.tensor([[-1e-9], [0.0], [1e-9]])).flatten().tolist() == [-1, 1, 1]


def test_eval_mode_is_the_definition():
    """Levels of hardtanh(scale (z / 8 - mean) / 2 + shift), by rational arithmetic: what module and machine share."""
    scale, shift, mean = (
        [1.0, -1.0, 0.5, -3.0, 0.0, -0.0],
        [0.0, 0.25, -0.5, 0.0, 0.75, -2.0],
        [0.0, 0.5, -1.0, 0.25, 0.0, 0.0],
    )
    model = nn.Sequential(nn.Input((6,), Levels(-60, 60), unit=8), nn.BatchNorm(eps=0.0), nn.HardTanhD(5)).eval()
    with torch.no_grad():
        for name, values in [("weight", scale), ("bias", shift), ("running_mean", mean), ("running_var", [4.0] * 6)]:
            getattr(model[1], name).copy_(torch.tensor(values))
    z = torch.arange(-60, 61)[:, None].expand(-1, 6)
    points = [Fraction(2 * j + 1, 4) - 1 for j in range(4)]

    def level(v, g, b, m):
        y = Fraction(g) * (Fraction(v, 8) - Fraction(m)) / 2 + Fraction(b)
        return 2 * sum(y >= point for point in points) - 4

    expected = [[level(v, *channel) for channel in zip(scale, shift, mean)] for v in range(-60, 61)]
    assert model(z).tolist() == expected
    assert_exact(model, z)
    # and the module in training goes the same way
    normalised = model[1].normalise(z.float())
    assert (
        normalised
        == torch.tensor([[g * (v / 8 - m) / 2 + b for g, b, m in zip(scale, shift, mean)] for v in range(-60, 61)])
    ).all()


def test_the_fold_follows_every_change():
    model = dense()
    x = batch(model, 16)
    with torch.no_grad():
        model[2].weight.fill_(0.7)
    model.eval()
    hashes = [model.machine().hash]
    for change in (
        lambda: model[2].weight.data.fill_(0.9),
        lambda: model[2].bias.data.fill_(0.1),
        lambda: model[2].running_mean.data.fill_(0.3),
        lambda: model[2].running_var.data.fill_(2.5),
        lambda: setattr(model[2], "eps", 0.5),
    ):
        model(x)
        change()
        assert_exact(model, x)
        hashes.append(model.machine().hash)
    assert len(set(hashes)) == len(hashes)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin[2].weight.fill_(-1.0)
    assert twin.machine().hash != model.machine().hash == hashes[-1]
    assert_exact(twin, x)


def test_a_state_dict_holds_all_that_the_machine_is_made_of():
    model = convolutional()
    shake(model, random.Random(3))
    fresh = convolutional()
    fresh.load_state_dict(model.state_dict())
    assert fresh.machine().hash == model.machine().hash
    assert {"2.weight", "2.bias", "2.running_mean", "2.running_var"} <= set(model.state_dict())


def test_frozen_statistics_stay_and_still_give_gradients():
    model = dense().train()
    shake(model, random.Random(2))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([1.0, -0.5, 2.0, 0.25, 1.0]))
        model[2].running_var.fill_(2.0)
        model[2].running_mean.fill_(0.25)
        model[2].bias.zero_()
    model[2].eval()
    before = {k: v.clone() for k, v in model[2].state_dict().items()}
    x = batch(model, 16)
    y = model(x)
    with torch.no_grad():
        assert (y == model(x)).all()
    y.sum().backward()
    assert all((before[k] == v).all() for k, v in model[2].state_dict().items())
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model[1].weight.grad.abs().sum() > 0
    # the curve's own derivative, where the accumulator stands
    z = model[1](model[0](x)).detach()
    weight = model[2].weight.detach().clone().requires_grad_()
    norm = copy.copy(model[2])
    norm._parameters = {**model[2]._parameters, "weight": weight}
    (torch.tanh(norm.normalise(z)) * 8).sum().backward()
    assert (weight.grad == model[2].weight.grad).all()
    # mode by mode, and trace leaves each as it was
    model.trace(x)
    assert model.training
    assert not model[2].training


def test_slopes_beyond_float32_leave_no_nan_in_the_levels():
    model = dense()
    with torch.no_grad():
        model[2].weight.fill_(3e38)
        model[2].running_var.fill_(1e-38)
        model[2].running_mean.fill_(1.0)
    model.eval()
    x = batch(model, 16)
    assert model(x).isfinite().all()
    assert_exact(model, x)


def test_numbers_that_are_none_are_refused():
    for name, value in [("weight", float("nan")), ("bias", float("inf")), ("running_var", float("inf"))]:
        model = dense()
        with torch.no_grad():
            getattr(model[2], name)[1] = value
        with pytest.raises(LayerError, match=r"BatchNorm.*no longer finite"):
            model.machine()
        with pytest.raises(LayerError, match=r"BatchNorm.*no longer finite"):
            model.train()(batch(model, 4))
    model = dense()
    with torch.no_grad():
        model[2].running_var[0] = -1.0
    with pytest.raises(LayerError, match=r"BatchNorm.*no deviation"):
        model.machine()
    for eps, momentum in [(-1.0, 0.1), (float("nan"), 0.1), (1e-5, 2.0)]:
        with pytest.raises(LayerError, match="BatchNorm: eps"):
            nn.BatchNorm(eps, momentum)


def test_double_works_and_half_is_refused_loudly():
    model = dense()
    shake(model, random.Random(4))
    assert_exact(model.double(), batch(model, 8))
    model.train()(batch(model, 8)).sum().backward()
    with pytest.raises(LayerError, match=r"float32 or float64, not torch.float16; call model.float\(\)"):
        model.half().machine()


def test_one_value_per_channel_is_no_batch():
    with pytest.raises(LayerError, match="another batch size"):
        dense().train()(batch(dense(), 1))
    convolutional().train()(batch(convolutional(), 1))


def test_an_activation_must_follow():
    start = [nn.Input((6,), Levels(-9, 9)), nn.Linear(6, 6)]
    for layers in (
        [nn.BatchNorm()],
        [nn.BatchNorm(), nn.Linear(6, 2)],
        [nn.BatchNorm(), nn.BatchNorm(), nn.TanhD(3)],
        [nn.BatchNorm(), nn.Add(nn.TanhD(3))],
        [nn.Add(nn.BatchNorm())],
        [nn.Add(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm())), nn.TanhD(3)],
        [nn.Sequential(nn.BatchNorm())],
    ):
        with pytest.raises(LayerError, match=r"BatchNorm.*put an activation right after it"):
            nn.Sequential(*start, *layers)


def test_a_norm_may_end_a_nested_network_before_an_activation():
    model = nn.Sequential(
        nn.Input((6,), Levels(-9, 9), unit=4), nn.Sequential(nn.Linear(6, 6), nn.BatchNorm()), nn.TanhD(5)
    )
    shake(model, random.Random(5))
    assert_exact(model, batch(model, 8))


def test_an_activation_forgets_the_norm_of_another_network():
    model = dense()
    shake(model, random.Random(6))
    other = nn.Sequential(nn.Input((5,), Levels(-99, 99), unit=Fraction(7)), model[3])
    assert_exact(other, batch(other, 8))
    assert other.machine().wires["staircase_1"].operation.thresholds.ndim == 1
    assert_exact(model, batch(model, 8))  # bound again
    assert model.machine().wires["staircase_1"].operation.thresholds.ndim == 2


def test_the_twin_starts_from_the_same_state():
    for model in (convolutional(), dense()):
        shake(model, random.Random(7))
        twin = model.twin()[2]
        assert all((twin.state_dict()[k] == v).all() for k, v in model[2].state_dict().items())


def test_a_norm_keeps_its_channels():
    norm = nn.BatchNorm()
    nn.Sequential(nn.Input((6,), Levels(-9, 9)), norm, nn.TanhD(3))
    with pytest.raises(LayerError, match="6 channels and receives 5"):
        nn.Sequential(nn.Input((5,), Levels(-9, 9)), norm, nn.TanhD(3))
    with pytest.raises(LayerError, match=r"nn.Sequential that begins with nn.Input"):
        nn.BatchNorm()(torch.zeros(2, 2))
