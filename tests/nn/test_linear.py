from fractions import Fraction

import pytest
import torch
from networks import assert_exact, batch
from torch.nn import functional as F

from zahlen import Levels, nn
from zahlen.machine import LayerError


def chain(layer, shape, alphabet=None, unit=4):
    return nn.Sequential(nn.Input(shape, alphabet or Levels(-9, 9), unit=unit), layer)


def test_linear_is_the_product_of_the_integers():
    model = chain(nn.Linear(2, 2, scale=8), (2,))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.25, -0.5], [100.0, 0.06]]))
        model[1].bias.copy_(torch.tensor([1.0, -0.5]))
    weight, bias = model[1].integers()
    assert weight.tolist() == [[2, -4], [127, 0]]
    assert bias.tolist() == [32, -16]  # 8 * 4 steps to 1.0
    assert model.unit == Fraction(32)
    assert model(torch.tensor([[3, 5]])).tolist() == [[2 * 3 - 4 * 5 + 32, 127 * 3 - 16]]


def test_gradients_are_those_of_the_real_network():
    """Small integers all along, so that both ways are exact: the integer chain, and F.linear on real numbers."""
    model = nn.Sequential(
        nn.Input((2,), Levels(-8, 8), unit=4), nn.Linear(2, 3, scale=8), nn.HardTanhD(9), nn.Linear(3, 2, scale=8)
    )
    real = [torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)]
    with torch.no_grad():  # on the grids, so that rounding changes nothing
        for k, module in enumerate(real):
            layer = model[1 + 2 * k]
            for p, q in ((layer.weight, module.weight), (layer.bias, module.bias)):
                p.copy_(torch.randint(-6, 7, p.shape) / 8)
                q.copy_(p)
    x = batch(model, 6)
    levels = [None]
    model[2].register_forward_hook(lambda m, i, y: levels.__setitem__(0, y.detach()))
    (model(x) / float(model.unit)).square().sum().backward()
    # the twin sees the levels that were emitted, and the slope of the curve where the accumulator stands
    z = real[0](x / 4)
    h = (levels[0] / 8 - F.hardtanh(z)).detach() + F.hardtanh(z)
    real[1](h).square().sum().backward()
    for k, module in enumerate(real):
        layer = model[1 + 2 * k]
        assert (layer.weight.grad == module.weight.grad).all()
        assert (layer.bias.grad == module.bias.grad).all()
        assert layer.weight.grad.abs().sum() > 0


def test_a_bias_beyond_all_products_is_clipped_and_pulled_back():
    model = chain(nn.Linear(2, 1, weights=3), (2,), unit=1)
    with torch.no_grad():
        model[1].bias.fill_(1000.0)
    assert model[1].integers()[1].tolist() == [18]  # 2 inputs of at most 9, weights of at most 1
    model(batch(model)).sum().backward()
    assert model[1].bias.grad.item() == 6  # inward
    model.zero_grad()
    (-model(batch(model))).sum().backward()
    assert model[1].bias.grad.item() == 0  # outward
    assert model.output.bound == 36


@pytest.mark.parametrize("top", [2**24 - 1, 2**24 + 1, 2**24 + 3, 2**30 + 1])
def test_a_bias_is_clipped_to_what_float32_can_hold(top):
    model = chain(nn.Linear(1, 1, weights=3, scale=1), (1,), Levels(-top, top), unit=1)
    with torch.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.fill_(1e30)
    assert int(model[1].integers()[1].item()) <= top
    x = torch.tensor([[top], [-top], [0]])
    assert int(model(x).max()) <= model.output.alphabet.hi
    assert_exact(model, x)


def test_geometry_reaches_the_twin_and_the_machine():
    layer = nn.Conv2d(4, 6, (3, 1), (2, 1), (1, 0), (1, 2), 2, False, weights=15)
    model = chain(layer, (4, 7, 5))
    twin = model.twin()[1]
    assert (twin.stride, twin.padding, twin.dilation, twin.groups, twin.bias) == ((2, 1), (1, 0), (1, 2), 2, None)
    assert (twin.weight == layer.weight).all()
    assert model(batch(model)).shape[1:] == twin(batch(model).float()).shape[1:] == model.output.shape
    assert_exact(model, batch(model))


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (1, 1), ((5, 3), 1), ((2, 3), (2, 1))])
def test_padding_by_name_is_pytorchs(kernel, dilation):
    for padding in ("same", "valid"):
        model = chain(nn.Conv2d(2, 3, kernel, padding=padding, dilation=dilation), (2, 7, 6))
        x = batch(model)
        weight, bias = model[1].integers()
        assert (model(x) == F.conv2d(x.float(), weight, bias, 1, padding, dilation)).all()
        assert model.twin()(x).shape == model(x).shape
        assert_exact(model, x)


def test_conv1d_and_linear_over_time():
    model = nn.Sequential(
        nn.Input((3, 8), Levels(0, 255), offset=73, unit=90),
        nn.Conv1d(3, 4, 3, padding=1, stride=2), nn.TanhD(5), nn.Linear(4, 6), nn.ReLUD(7), nn.Flatten(),
    )  # fmt: skip
    assert model.output.shape == (24,)
    assert_exact(model, batch(model, 8))
    assert [type(m).__name__ for m in model.twin()][1:4] == ["Conv1d", "Tanh", "Linear"]


def test_embedding_rows_are_integers_and_their_twin_real():
    model = chain(nn.Embedding(5, 3, weights=255), (2,), Levels(0, 4), unit=1)
    x = torch.tensor([[0, 4], [2, 2]], dtype=torch.uint8)
    assert model.unit == 31
    assert (model(x) == (model[1].weight[x.long()] * 31).round().clamp(-127, 127)).all()
    assert (model.twin()(x) == model[1].weight[x.long()]).all()
    assert_exact(model, x)
    with pytest.raises(LayerError, match=r"Embedding\(5, 3.*rows for 0..4"):
        chain(nn.Embedding(5, 3), (2,), Levels(0, 5))
    with pytest.raises(LayerError, match="rows for"):
        chain(nn.Embedding(5, 3), (2,), Levels(-1, 4))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(0, 3),
        lambda: nn.Linear(3, -1),
        lambda: nn.Linear(3, 2, scale=0),
        lambda: nn.Linear(3, 2, scale=1.5),
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(2, 2, (3, 3, 3)),
        lambda: nn.Conv2d(2, 2, (3, 2), padding="same"),
        lambda: nn.Conv2d(2, 2, 3, 2, padding="same"),
        lambda: nn.Conv1d(2, 2, 3, padding="full"),
        lambda: nn.Conv2d(2, 2, 3, stride=0),
        lambda: nn.Conv2d(2, 2, 3, padding=-1),
        lambda: nn.Conv1d(2, 2, 0),
        lambda: nn.Embedding(0, 2),
        lambda: nn.Embedding(3, 2, scale=-1),
    ],
)
def test_arguments_that_make_no_layer_are_refused(make):
    with pytest.raises(LayerError, match=r"^(Linear|Conv1d|Conv2d|Embedding)[:(]"):
        make()


def test_wrong_shapes_name_the_layer():
    with pytest.raises(LayerError, match=r"^Linear\(5, 2.*receives shape \(4,\).*nn.Flatten"):
        chain(nn.Linear(5, 2), (4,))
    with pytest.raises(LayerError, match=r"^Conv2d\(3, 2.*receives shape \(4, 4\).*nn.Reshape"):
        chain(nn.Conv2d(3, 2, 1), (4, 4))
    with pytest.raises(LayerError, match=r"window of \(3, 3\) does not fit into \(2, 4\)"):
        chain(nn.Conv2d(1, 2, 3), (1, 2, 4))


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Embedding(9, 2)])
def test_a_layer_on_its_own_says_where_it_belongs(layer):
    with pytest.raises(LayerError, match=r"nn.Sequential that begins with nn.Input"):
        layer(torch.ones(1, 1, 2, 2))


def test_a_description_tells_what_the_integers_are():
    assert repr(nn.Linear(4, 2, weights=3, scale=5)) == "Linear(4, 2, weights=-1..1, scale=5)"
    conv = nn.Conv2d(4, 2, 3, 2, 1, groups=2, scale=5)
    assert "stride=(2, 2), padding=(1, 1), groups=2, weights=-127..127" in repr(conv)
