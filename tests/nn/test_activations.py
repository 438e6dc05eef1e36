import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import ACTIVATIONS, assert_exact
from torch.nn import functional as F

from zahlen import Levels, nn
from zahlen.machine import LayerError, tables
from zahlen.nn import activations


def behind(activation, top=2**20, unit=Fraction(100)):
    return nn.Sequential(nn.Input((1,), Levels(-top, top), unit=unit), activation)


def around(model, top):
    """The integers beside every threshold, and the ends."""
    t = model[1].thresholds
    z = np.unique(np.clip(np.concatenate([t - 1, t, t + 1, [-top, 0, top]]), -top, top))
    return torch.from_numpy(z)[:, None]


MAKERS = [nn.TanhD, nn.SigmoidD, nn.HardTanhD, nn.ReLUD, lambda n: nn.ReLUD(n, Fraction(7, 3))]


@given(
    st.sampled_from(MAKERS),
    st.integers(2, 300),
    st.one_of(st.fractions(Fraction(1, 100), 10**9), st.integers(10**9, 10**14).map(Fraction)),
    st.sampled_from([5, 2**20, 2**24 - 1, 2**24 + 5, 2**40, 2**52]),
)
@settings(max_examples=150)
def test_levels_at_every_threshold(make, levels, unit, top):
    """Small units make thresholds coincide; large ones leave the direct table, float32 and the accumulator."""
    model = behind(make(levels), top, unit)
    x = around(model, top)
    assert_exact(model, x)
    expected = model[1].levels[(model[1].thresholds[None] <= x.numpy()).sum(1)]
    assert (model(x)[:, 0].numpy() == expected).all()


@pytest.mark.parametrize("gap", [activations.TABLE_LIMIT - 2, activations.TABLE_LIMIT - 1, activations.TABLE_LIMIT])
@pytest.mark.parametrize("start", [-(2**24) - 3, -(2**23), 0, 2**24 - 100, 2**31 - 3, 2**40])
def test_direct_tables_and_searches_agree(gap, start):
    points = [tables.Point(offset=Fraction(start)), tables.Point(offset=Fraction(start + gap))]
    model = behind(nn.Activation(points, Levels(0, 2), Fraction(1)), 2**44, 1)
    model[1].curve = torch.tanh
    for top in (2**44, 2**24 - 1):
        model[0].alphabet = Levels(-top, top)
        x = torch.tensor([[start - 1], [start], [start + 1], [start + gap - 1], [start + gap], [top], [-top]])
        x = x.clamp(-top, top)
        assert model(x).flatten().tolist() == [sum(start + d <= v for d in (0, gap)) for v in x.flatten().tolist()]


def test_a_table_whose_start_float32_cannot_hold():
    start = -(2**24) - 2
    points = [tables.Point(offset=Fraction(start)), tables.Point(offset=Fraction(start + 6))]
    model = behind(nn.Activation(points, Levels(0, 2), Fraction(1)), 2**24 - 1, 1)
    x = torch.arange(1 - 2**24, 9 - 2**24)[:, None]
    assert model[0](x).dtype == torch.float32
    assert model(x).flatten().tolist() == [1, 1, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("layer", "curve"),
    [
        (nn.TanhD(16), torch.tanh),
        (nn.Sign(), torch.tanh),
        (nn.SigmoidD(9), torch.sigmoid),
        (nn.Heaviside(), torch.sigmoid),
        (nn.HardTanhD(5), lambda x: F.hardtanh(x, -1.0, 1.0)),
        (nn.ReLUD(8, 3), lambda x: F.hardtanh(x, 0.0, 3.0)),
    ],
)
def test_the_gradient_is_that_of_the_curve(layer, curve):
    model = behind(layer, 2**20, 64)  # powers of two: putting z on the curve's scale is exact
    z = torch.arange(-400.0, 401.0, 7)[:, None].requires_grad_()
    grad = torch.randn(z.shape)
    layer(z).backward(grad)
    x = (z.detach() / 64).requires_grad_()
    curve(x).backward(grad)
    assert (z.grad == x.grad * (float(layer.unit) / 64)).all()
    assert (layer.curve(x) == curve(x)).all()
    assert model(torch.tensor([[3]])).grad_fn is None  # nothing to learn before it


def test_the_units_are_those_of_the_levels():
    for make, top, unit in [
        (nn.TanhD(16), 15, 15),
        (nn.Sign(), 1, 1),
        (nn.SigmoidD(9), 8, 8),
        (nn.HardTanhD(5), 4, 4),
        (nn.ReLUD(8, Fraction(7, 2)), 7, 2),
        (nn.ReLUD(np.int64(8).item(), np.int64(7)), 7, 1),
    ]:
        model = behind(make)
        assert model(torch.tensor([[2**20]])).item() == top == model.output.alphabet.hi
        assert model.unit == unit
        assert type(model.unit.numerator) is int


@pytest.mark.parametrize("levels", [1, 0, -2, 2.0, True, "4"])
def test_what_is_no_number_of_levels_is_refused(levels):
    for make in MAKERS:
        with pytest.raises(Exception, match="levels"):
            make(levels)


def test_arguments_that_make_no_activation_are_refused():
    for top in (0, -1, float("nan"), float("inf"), "much"):
        with pytest.raises(LayerError, match="ReLUD: top"):
            nn.ReLUD(4, top)
    with pytest.raises(LayerError, match="points do not fit"):
        nn.Activation([tables.Point()], Levels(0, 2), Fraction(1))
    with pytest.raises(LayerError, match=r"TanhD\(4\): a threshold leaves 64 bits"):
        behind(nn.TanhD(4), 2**20, 10**20)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_on_its_own_says_where_it_belongs(name):
    with pytest.raises(LayerError, match=r"nn.Sequential that begins with nn.Input"):
        ACTIVATIONS[name](random.Random(0))(torch.zeros(1, 1))


def test_no_output_is_a_negative_zero():
    for make in MAKERS:
        y = behind(make(5))(torch.arange(-300, 300)[:, None])
        assert not (torch.signbit(y) & (y == 0)).any()
