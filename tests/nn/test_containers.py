import copy
import io
import random
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from networks import assert_exact, batch, network, shake

from zahlen import Levels, nn
from zahlen.machine import LayerError


def small(*more):
    return nn.Sequential(nn.Input((6,), Levels(-9, 9), unit=4), nn.Linear(6, 5), nn.TanhD(7), *more)


def test_random_networks_hold_every_layer():
    """The generator of the central contract's networks leaves nothing out."""
    seen = Counter()
    for seed in range(150):
        seen.update({type(m).__name__ for m in network(seed, 4).modules()})
    kinds = set(nn.__all__) - {"Activation", "Layer", "Spec"}
    kinds -= {"LSTM", "GRU", "RNN", "IteratedMap"}  # test_recurrent and test_iterated have networks of their own
    kinds -= {"Dropout"}  # it is nothing in eval mode: see test_nn_dropout
    kinds = {k for k in kinds if k[0].isupper()}
    assert kinds <= set(seen)
    assert all(seen[k] >= 5 for k in kinds), seen


# ---------------------------------------------------------------------------------------------------- changes


def test_layers_appended_later_are_bound():
    model = small()
    model.append(nn.Linear(5, 3))
    assert model.output.shape == (3,)
    assert_exact(model, batch(model))
    model.insert(3, nn.Linear(5, 5))
    model[4] = nn.Linear(5, 2)
    assert_exact(model, batch(model))
    del model[4]
    assert model.output.shape == (5,)
    assert_exact(model, batch(model))


def test_a_layer_appended_to_a_part_is_bound():
    body = nn.Sequential(nn.Linear(6, 6))
    model = nn.Sequential(nn.Input((6,), Levels(-9, 9)), body, nn.Linear(6, 2))
    x = batch(model)
    body.append(nn.TanhD(4))
    assert_exact(model, x)
    assert model[2].spec.alphabet == Levels(-3, 3, 2)


@pytest.mark.parametrize(
    "use", [lambda m, x: m(x), lambda m, x: m.machine(), lambda m, x: m.unit, lambda m, x: m.twin()]
)
def test_what_cannot_be_bound_is_refused_whenever_the_network_is_used(use):
    for layer in (torch.nn.ReLU(), nn.Linear(7, 2), nn.BatchNorm()):
        model = small()
        model.append(layer)
        with pytest.raises(LayerError, match=r"ReLU|Linear|BatchNorm"):
            use(model, batch(model))


def test_a_layer_bound_by_another_network_is_bound_again():
    first = small()
    hash = first.machine().hash
    second = nn.Sequential(nn.Input((6,), Levels(-9, 9), unit=50), first[1], first[2])
    assert second.machine().hash != hash
    assert_exact(second, batch(second))
    x = batch(first)
    expected = copy.deepcopy(first)(x)
    assert (first(x) == expected).all()
    assert first.machine().hash == hash
    assert_exact(first, x)


def test_modules_of_torch_are_refused():
    with pytest.raises(LayerError, match=r"Sequential: 1 is a Linear, which is no layer of zahlen\.nn"):
        nn.Sequential(nn.Input((6,), Levels(-9, 9)), torch.nn.Linear(6, 5))
    with pytest.raises(LayerError, match="Add: a branch is a Linear"):
        nn.Add(torch.nn.Linear(6, 6))
    with pytest.raises(LayerError, match="at least one branch"):
        nn.Add()


def test_only_what_begins_with_an_input_is_a_machine():
    body = nn.Sequential(nn.Linear(6, 5))
    with pytest.raises(LayerError, match=r"begins with nn.Input"):
        body.machine()
    for use in (
        lambda: body.output,
        lambda: body.unit,
        lambda: body(torch.zeros(1, 6)),
        lambda: nn.Add(body)(0),
        body.twin,
    ):
        with pytest.raises(LayerError, match=r"begins with nn.Input"):
            use()
    with pytest.raises(LayerError, match="beginning of a network only"):
        nn.Sequential(nn.Input((6,), Levels(-9, 9)), nn.Input((6,), Levels(-9, 9)))


def test_named_layers_and_slices():
    layers = OrderedDict(start=nn.Input((6,), Levels(-9, 9)), dense=nn.Linear(6, 5), act=nn.TanhD(7))
    model = nn.Sequential(layers)
    assert_exact(model, batch(model))
    head = model[:2]
    assert_exact(head, batch(model))
    assert (model[2:](head(batch(model))) == model(batch(model))).all()


# ---------------------------------------------------------------------------------------------------- sharing


def test_one_layer_at_two_places_with_equal_inputs_works():
    dense, act = nn.Linear(6, 6, weights=15), nn.TanhD(7)
    model = nn.Sequential(nn.Input((6,), Levels(-6, 6, 2), unit=6), dense, act, dense, act)
    x = batch(model)
    assert_exact(model, x)
    traced = model.trace(x)  # both places
    assert {"affine_1", "affine_2", "staircase_1", "staircase_2"} <= set(traced)
    assert not (traced["affine_1"] == traced["affine_2"]).all()
    twin = model.twin()
    assert twin[1] is twin[3]
    model(x).sum().backward()
    assert dense.weight.grad.abs().sum() > 0


def test_one_layer_at_two_places_with_different_inputs_is_refused():
    act = nn.TanhD(7)
    with pytest.raises(LayerError, match=r"TanhD\(7\).*two places.*make a second layer"):
        nn.Sequential(nn.Input((6,), Levels(-9, 9)), nn.Linear(6, 6), act, nn.Linear(6, 6), act)
    with pytest.raises(LayerError, match="two places"):
        nn.Sequential(nn.Input((6,), Levels(-9, 9)), nn.Add(act, nn.Sequential(nn.Linear(6, 6), act)))
    norm = nn.BatchNorm()
    with pytest.raises(LayerError, match="two places"):
        nn.Sequential(nn.Input((6,), Levels(-6, 6, 2), unit=6), nn.Linear(6, 6, scale=1), norm, act, act)


# ---------------------------------------------------------------------------------------------------- residuals


def test_branches_of_equal_units():
    model = small(nn.Add(nn.Sequential(nn.Linear(5, 5), nn.TanhD(7))))
    assert model.output.alphabet == Levels(-12, 12)
    assert model.unit == 6
    assert_exact(model, batch(model))
    assert set(model.trace(batch(model))) >= {"staircase_2", "add_1"}


def test_three_branches_whose_units_are_multiples():
    model = small(
        nn.Add(nn.Identity(), nn.Sequential(nn.Linear(5, 5), nn.TanhD(13)), nn.HardTanhD(25), nn.HardTanhD(4)),
        nn.TanhD(3),
    )
    assert model[3].factors == [4, 2, 1, 8]
    assert model.output.unit == 2
    assert_exact(model, batch(model))
    twin = model.twin()[:4]
    real = twin(batch(model))
    assert real.shape == (6, 5)


def test_gradients_of_branches_add_up_in_the_units_of_the_sum():
    model = nn.Sequential(
        nn.Input((2,), Levels(-8, 8), unit=4), nn.Linear(2, 2, scale=4), nn.Add(nn.HardTanhD(2), nn.HardTanhD(4))
    )
    assert model[2].factors == [3, 1]
    z = torch.tensor([[1.0, -15.0], [40.0, 0.0]], requires_grad=True)
    model[2](z).sum().backward()
    # two hard tanhs of slope 1 inside [-1, 1] = [-16, 16] steps; 3 steps of the sum are 1.0
    assert (z.grad == torch.tensor([[6 / 16, 6 / 16], [0, 6 / 16]])).all()


def test_branches_that_do_not_add_up_are_refused():
    start = nn.Input((6,), Levels(-9, 9), unit=4)
    with pytest.raises(LayerError, match="units 6 and 4, of which one is no multiple"):
        nn.Sequential(start, nn.Add(nn.TanhD(7)))
    with pytest.raises(LayerError, match=r"shapes \(5,\) and \(6,\)"):
        nn.Sequential(start, nn.Add(nn.Sequential(nn.Linear(6, 5), nn.TanhD(5))))


def test_sums_beyond_float32_are_exact():
    model = nn.Sequential(nn.Input((1,), Levels(-(2**24) + 1, 2**24 - 1)), nn.Add(nn.Identity()), nn.Add(nn.Identity()))
    x = torch.tensor([[2**24 - 1], [1 - 2**24]])
    assert (model(x).long() == 4 * x).all()
    assert_exact(model, x)
    with pytest.raises(LayerError, match=r"^Add\(2 branches\).*53 bits"):
        nn.Sequential(nn.Input((1,), Levels(0, 2**52)), nn.Add(nn.Identity()))


# ---------------------------------------------------------------------------------------------------- PyTorch manners


def test_copies_pickles_and_state_dicts_have_the_same_hash():
    for seed in range(12):
        model = network(seed, 3)
        hash = model.machine().hash
        twin = copy.deepcopy(model)
        assert twin.machine().hash == hash
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        buffer.seek(0)
        other = network(seed, 3)
        shake(other, random.Random(99))
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert other.machine().hash == hash
        assert_exact(twin, batch(model))
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        assert torch.load(buffer, weights_only=False).machine().hash == hash


def test_a_copy_is_independent():
    model = small(nn.BatchNorm(), nn.TanhD(5))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin[1].weight.add_(0.5)
        twin[3].bias.add_(0.5)
    assert twin[4].norm is twin[3]
    assert model.machine().hash != twin.machine().hash
    assert_exact(twin, batch(model))
    assert_exact(model, batch(model))


def test_parameters_that_are_frozen_get_no_gradient():
    model = small(nn.Linear(5, 2))
    model[1].requires_grad_(False)
    model(batch(model)).sum().backward()
    assert model[1].weight.grad is None
    assert model[3].weight.grad is not None
    assert {name for name, _ in model.named_parameters()} == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_batches_of_a_data_loader():
    model = small(nn.Linear(5, 2))
    x = batch(model, 20)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=7)
    assert (torch.cat([model(rows) for (rows,) in loader]) == model(x)).all()


def test_meta_free_moves_keep_the_integers():
    model = small(nn.BatchNorm(), nn.TanhD(5))
    hash = model.machine().hash
    assert model.to("cpu").to(torch.float64).float().machine().hash == hash


def test_machines_can_end_in_a_class_and_carry_notes():
    model = small(nn.Linear(5, 3))
    x = batch(model, 32)
    machine = model.machine(classify=True, notes={"seed": 3, "classify": "yes"})
    assert (machine.run(x.numpy()) == model(x).argmax(1).numpy()).all()
    assert machine.notes == {"seed": 3, "classify": "yes"}
    assert machine.outputs == ("label",)
    assert (model.machine().run(x.numpy()) == model(x).detach().numpy()).all()
    assert machine.run(x.numpy()).dtype == np.int64


def test_a_trace_leaves_nothing_behind():
    model = small()
    model[1].eval()
    modes = [m.training for m in model.modules()]
    model.trace(batch(model))
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks for m in model.modules())
