"""Recipes of networks: what they are fitted to, stored and restored as, and refuse."""

import json
from dataclasses import asdict

import numpy as np
import pytest

import zahlen
from zahlen import Levels
from zahlen.machine import DataError, InputError, LayerError
from zahlen.recipes import Recipe, centre_and_scale, restored


def images(n=20, shape=(8, 8)):
    return np.random.default_rng(0).integers(0, 17, (n, *shape))


def stored(recipe):
    return restored(json.loads(json.dumps(asdict(recipe))))


@pytest.mark.parametrize("offset", [0, -7, 10**9, 2**60])
@pytest.mark.parametrize("width", [1, 2, 200, 2**24, 2**35])
def test_centre_and_scale_are_rounded_from_exact_sums(offset, width):
    x = offset + np.random.default_rng(0).integers(0, width, 70_000)
    mean, deviation = centre_and_scale(x)
    n, exact = len(x), [int(v) for v in x]
    assert 2 * n * mean - n <= 2 * sum(exact) < 2 * n * mean + n
    variance = sum(v * v for v in exact) * n - sum(exact) ** 2  # times n^2
    assert deviation >= 1
    assert deviation == 1 or (2 * deviation - 1) ** 2 * n * n <= 4 * variance
    assert 4 * variance < (2 * deviation + 1) ** 2 * n * n


def test_centres_of_real_images():
    for name, wanted in {"digits": (5, 6), "fashion-mnist": (73, 90)}.items():
        try:
            data = zahlen.data.load(name)
        except DataError:
            pytest.skip(f"{name} is not here")
        recipe = Recipe.fitting("mlp", data.train.x, data.alphabet, 10)
        assert (recipe.mean, recipe.deviation) == wanted


def test_samples_that_are_no_integers_are_refused():
    for x in (images().astype(float), images(0)):
        with pytest.raises(InputError, match="samples of integers"):
            Recipe.fitting("mlp", x, Levels(0, 16), 3)


def test_images_get_one_centre_and_columns_one_each():
    x = images()
    recipe = Recipe.fitting("mlp", x, Levels(0, 16), 3)
    assert (recipe.mean, recipe.deviation) == (round(float(x.mean())), round(float(x.std())))
    assert (recipe.lo, recipe.hi) == (0, 16)
    table = np.stack([np.arange(-50, 50), np.full(100, 700)], axis=1)
    recipe = Recipe.fitting("mlp", table, Levels(-50, 700), 2, hidden=())
    assert (recipe.lo, recipe.hi) == (-50 - 1500, 700 + 1500)
    assert (recipe.mean, recipe.deviation) == ((0, 700), (29, 1))
    assert stored(recipe) == recipe


def test_a_recipe_is_stored_as_plain_values():
    recipe = Recipe.fitting("cnn", images(), Levels(0, 16), 3, channels=(2,), hidden=(4,))
    assert stored(recipe) == recipe


WRONG = [(name, value) for name in ("shape", "hidden", "channels") for value in (9, (0,), (2.0,), "12", None, [[3]])]
WRONG += [(name, value) for name in ("lo", "hi", "mean") for value in ("1", 1.0, None, True, [1])]
WRONG += [(name, 0) for name in ("step", "deviation", "classes")] + [("levels", 1), ("weights", 1)]
WRONG += [("levels", 16.0), ("weights", Levels(0, 1)), ("deviation", (1,))]


def test_what_is_no_recipe_is_refused():
    good = asdict(Recipe.fitting("mlp", images(), Levels(0, 16), 3))
    for values, reason in [
        ({**good, "colour": 1}, "not a recipe"),
        ({k: v for k, v in good.items() if k != "classes"}, "not a recipe"),
        ({}, "not a recipe"),
        ([1], "not a recipe"),
        ({1: 2}, "not a recipe"),
        ({**good, "shape": ()}, "the shape of one sample is due"),
        ({**good, "lo": 17}, "lo = 17 is above hi = 16"),
        ({**good, "shape": (5,)}, "mean is a tuple of integers, got 8"),
        ({**good, "shape": (5,), "mean": [1] * 5, "deviation": [1] * 4}, "for each of 5 columns"),
        *(({**good, name: value}, f"Recipe: {name} is ") for name, value in WRONG),
    ]:
        with pytest.raises(LayerError, match=reason):
            restored(values)
