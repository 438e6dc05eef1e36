import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch
from networks import assert_exact

from zahlen import Levels, nn
from zahlen.machine import LayerError
from zahlen.recipes import ACTIVATIONS, Kinds, Recipe, readout, restored


def images(n=20, shape=(8, 8)):
    return np.random.default_rng(0).integers(0, 17, (n, *shape))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weights", [255, 15, 3, 2])
def test_ready_made_networks_are_exact(activation, weights):
    x, levels = images(), 2 if activation == "heaviside" else 5
    for model in ("mlp", "cnn"):
        recipe = Recipe.fitting(
            model, x, Levels(0, 16), 3, hidden=(7,), channels=(2, 3), levels=levels, weights=weights,
            activation=activation,
        )  # fmt: skip
        network = nn.network(recipe)
        assert network.output.shape == (3,)
        assert_exact(network, torch.from_numpy(x))
        assert network.twin()(torch.from_numpy(x)).shape == (20, 3)


def test_a_recipe_builds_the_same_network_again():
    recipe = Recipe.fitting("cnn", images(), Levels(0, 16), 3, channels=(2,), hidden=(4,))
    networks = []
    for r in (recipe, restored(asdict(recipe))):
        torch.manual_seed(1)
        networks.append(nn.network(r))
    assert networks[0].machine().hash == networks[1].machine().hash


def test_columns_are_standardised():
    table = np.stack([np.arange(-50, 50), np.full(100, 700)], axis=1)
    network = nn.network(Recipe.fitting("mlp", table, Levels(-50, 700), 2, hidden=()))
    assert isinstance(network[1], nn.Standardise)
    assert_exact(network, torch.from_numpy(table))


def test_what_cannot_be_built_is_refused():
    good = asdict(Recipe.fitting("mlp", images(), Levels(0, 16), 3))
    for change, reason in [
        ({"model": "svm"}, "no model 'svm'"),
        ({"activation": "swish"}, "no activation 'swish'"),
        ({"activation": "heaviside"}, "heaviside has 2 levels, not 16; pass levels=2"),
        ({"model": "cnn", "channels": (2,) * 4}, "4 halvings are too many"),
    ]:
        with pytest.raises(LayerError, match=reason):
            nn.network(restored({**good, **change}))
    table = Recipe.fitting("cnn", images(shape=(5,)), Levels(0, 16), 3)
    with pytest.raises(LayerError, match="cnn: images"):
        nn.network(table)


def test_the_readouts_weights_reach_further():
    assert [readout(Kinds(nn), 64, 3, w).scale for w in (255, 15, 3)] == [32, 5, 8]
    assert [nn.Linear(64, 3, weights=w).scale for w in (255, 15, 3)] == [128, 8, 8]


@pytest.mark.parametrize("weights", [255, 64, 16, 15, 4, 3, 2])
@pytest.mark.parametrize("features", [4, 100, 256, 1024])
def test_no_readout_starts_with_equal_weights(features: int, weights: int):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        readout(Kinds(nn), features, 10, weights)
