import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from networks import assert_exact

from zahlen import Levels, nn
from zahlen.machine import LayerError
from zahlen.nn.models import ACTIVATIONS, readout


def images(n=20, shape=(8, 8)):
    return np.random.default_rng(0).integers(0, 17, (n, *shape))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("weights", [255, 15, 3, 2])
def test_ready_made_networks_are_exact(act, weights):
    x = images()
    for model in ("mlp", "cnn"):
        recipe = nn.Recipe.fitting(
            model, x, Levels(0, 16), 3, hidden=(7,), channels=(2, 3), levels=5, weights=weights, act=act
        )
        network = recipe.network()
        assert network.output.shape == (3,)
        assert_exact(network, torch.from_numpy(x))
        assert network.twin()(torch.from_numpy(x)).shape == (20, 3)


def test_a_recipe_builds_the_same_network_again():
    recipe = nn.Recipe.fitting("cnn", images(), Levels(0, 16), 3, channels=(2,), hidden=(4,))
    again = nn.Recipe.restored(json.loads(json.dumps(asdict(recipe))))
    assert again == recipe
    networks = []
    for r in (recipe, again):
        torch.manual_seed(1)
        networks.append(r.network())
    assert networks[0].machine().hash == networks[1].machine().hash


def test_images_get_one_centre_and_columns_one_each():
    x = images()
    recipe = nn.Recipe.fitting("mlp", x, Levels(0, 16), 3)
    assert (recipe.mean, recipe.deviation) == (round(float(x.mean())), round(float(x.std())))
    assert (recipe.lo, recipe.hi) == (0, 16)
    table = np.stack([np.arange(-50, 50), np.full(100, 700)], axis=1)
    recipe = nn.Recipe.fitting("mlp", table, Levels(-50, 700), 2, hidden=())
    assert (recipe.lo, recipe.hi) == (-50 - 1500, 700 + 1500)
    assert recipe.mean == [0, 700]
    network = recipe.network()
    assert isinstance(network[1], nn.Standardise)
    assert_exact(network, torch.from_numpy(table))


def test_what_is_no_recipe_is_refused():
    good = asdict(nn.Recipe.fitting("mlp", images(), Levels(0, 16), 3))
    for values, reason in [
        ({**good, "colour": 1}, "not a recipe"),
        ({k: v for k, v in good.items() if k != "classes"}, "not a recipe"),
    ]:
        with pytest.raises(LayerError, match=reason):
            nn.Recipe.restored(values)
    for change, reason in [
        ({"model": "rnn"}, "no model 'rnn'"),
        ({"act": "swish"}, "no activation 'swish'"),
        ({"model": "cnn", "channels": (2,) * 4}, "4 halvings are too many"),
    ]:
        with pytest.raises(LayerError, match=reason):
            nn.Recipe.restored({**good, **change}).network()
    table = nn.Recipe.fitting("cnn", images(shape=(5,)), Levels(0, 16), 3)
    with pytest.raises(LayerError, match="cnn: images"):
        table.network()


def test_the_readouts_weights_reach_further():
    assert [readout(64, 3, w).scale for w in (255, 15, 3)] == [32, 4, 8]
    assert [nn.Linear(64, 3, weights=w).scale for w in (255, 15, 3)] == [128, 8, 8]
