from fractions import Fraction

import numpy as np
import pytest
import torch
from networks import assert_exact, batch

from zahlen import Levels, nn
from zahlen.flow import positive, whole
from zahlen.machine import LayerError
from zahlen.nn.spec import Spec, carried, carrier


class Double(nn.Layer):
    """A layer of a user's own: bind, forward, emit and twin."""

    def bind(self, spec):
        self.spec = spec
        return spec.but(alphabet=Levels(2 * spec.alphabet.lo, 2 * spec.alphabet.hi, 2 * spec.alphabet.step))

    def forward(self, x):
        return 2 * x

    def emit(self, builder, x):
        return builder.shift(x, -1, name="doubled")

    def twin(self):
        return torch.nn.Identity()


def test_a_layer_of_ones_own_is_a_layer():
    model = nn.Sequential(nn.Input((3,), Levels(-9, 9)), Double(), nn.Linear(3, 2))
    x = batch(model)
    assert (model.trace(x)["doubled"] == 2 * x).all()
    assert_exact(model, x)


def test_the_base_class_says_what_is_missing():
    layer = nn.Layer()
    for call in (lambda: layer.bind(None), lambda: layer.emit(None, None), layer.twin):
        with pytest.raises(TypeError, match="Layer needs"):
            call()


def test_a_spec_is_of_one_sample():
    spec = Spec((2, 3), Levels(-7, 5), Fraction(4))
    assert (spec.size, spec.bound) == (6, 7)
    assert spec.but(channels=1) == Spec((2, 3), Levels(-7, 5), Fraction(4), 1)


def test_carriers_are_exact_up_to_their_bounds():
    layer = nn.Identity()
    assert [carrier(b, layer) for b in (0, 2**24 - 1)] == [torch.float32] * 2
    assert [carrier(b, layer) for b in (2**24, 2**53 - 1)] == [torch.float64] * 2
    with pytest.raises(LayerError, match=r"^Identity\(\): values up to 9007199254740992 need more than 53 bits"):
        carrier(2**53, layer)
    assert carried(torch.tensor([2**53 - 1]), 2**53 - 1, layer).long().item() == 2**53 - 1


def test_numbers_given_to_layers():
    layer = nn.Identity()
    assert positive(layer, 0.5, "a") == Fraction(1, 2)
    assert type(positive(layer, np.int64(3), "a").numerator) is int
    assert whole(np.uint8(3), "a", of=layer) == 3
    for value in (0, -1, float("nan"), "x", None):
        with pytest.raises(LayerError, match="Identity: a is"):
            positive(layer, value, "a")
    for value in (0, True, 2.0, "3", None):
        with pytest.raises(LayerError, match="Identity: a is"):
            whole(value, "a", of=layer)
