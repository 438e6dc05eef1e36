"""Ready-made networks of PyTorch layers."""

from __future__ import annotations

from importlib import import_module

from ..recipes import Kinds, Recipe, RecurrentRecipe
from .containers import Sequential


def network(recipe: Recipe | RecurrentRecipe) -> Sequential:
    """The network that a recipe describes; its weights start from PyTorch's seed.

    Examples
    --------
    >>> import zahlen
    >>> from zahlen import nn
    >>> from zahlen.recipes import Recipe
    >>> data = zahlen.data.load("digits")
    >>> nn.network(Recipe.fitting("mlp", data.train.x, data.alphabet, len(data.classes), hidden=(32,))).output.shape
    (10,)
    """
    return Sequential(*recipe.stack(Kinds(import_module(__package__))))
