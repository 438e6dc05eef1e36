"""Ready-made networks of integer layers have the machines that PyTorch's have."""

from dataclasses import asdict

import numpy as np
import pytest

from zahlen import Levels, integer, nn
from zahlen.machine import LayerError
from zahlen.recipes import ACTIVATIONS, Kinds, Recipe, restored

X = np.random.default_rng(0).integers(0, 17, (20, 8, 8))


def recipe(x=X, **options):
    return Recipe.fitting("mlp", x, Levels(int(x.min()), int(x.max())), 3, **{"hidden": (7,), **options})


def listing(machine):
    """What a machine computes, whatever its weights are."""
    return [(w.operation.kind, w.operands, w.shape) for w in machine.wires.values()]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weights", [255, 3, 2])
def test_networks_compute_as_their_machines_and_as_pytorchs_do(activation, weights):
    made = recipe(activation=activation, weights=weights, levels=2 if activation == "heaviside" else 5)
    network = integer.network(made)
    machine, other = network.machine(), nn.network(made)
    assert np.array_equal(network(X), machine.run(X))
    assert listing(machine) == listing(other.machine())
    assert network.unit == other.unit


def test_columns_of_tables_are_standardised():
    table = np.stack([np.arange(-50, 50), np.full(100, 700)], axis=1)
    network = integer.network(recipe(table))
    assert isinstance(network.children[1], integer.Standardise)
    assert np.array_equal(network(table), network.machine().run(table))


def test_the_seed_decides_the_weights():
    first, same, other = (integer.network(recipe(), seed=k).machine().hash for k in (0, 0, 1))
    assert first == same != other


def test_what_cannot_be_built_is_refused():
    with pytest.raises(LayerError, match="no activation 'swish'"):
        integer.network(recipe(activation="swish"))
    with pytest.raises(LayerError, match="no model 'svm'"):
        integer.network(restored({**asdict(recipe()), "model": "svm"}))
    with pytest.raises(LayerError, match=r"zahlen\.integer has no Convolution; build this network with zahlen\.nn"):
        Kinds(integer).Convolution(1, 2)
