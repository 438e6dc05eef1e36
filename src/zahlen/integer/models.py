"""Ready-made networks that learn with integers only."""

from __future__ import annotations

from importlib import import_module

from ..recipes import Kinds, Recipe, RecurrentRecipe
from .containers import Sequential


def network(recipe: Recipe | RecurrentRecipe, *, seed: int = 0) -> Sequential:
    """The network that a recipe describes; `seed` decides the initial weights.

    Raises
    ------
    LayerError
        If a layer of it is only in `zahlen.nn`, or the values do not fit the widths of integer training.

    Examples
    --------
    >>> import zahlen
    >>> from zahlen import integer
    >>> from zahlen.recipes import Recipe
    >>> data = zahlen.data.load("digits")
    >>> recipe = Recipe.fitting("mlp", data.train.x, data.alphabet, len(data.classes), hidden=(32,))
    >>> integer.network(recipe, seed=1).output.shape
    (10,)
    """
    return Sequential(*recipe.stack(Kinds(import_module(__package__))), seed=seed)
