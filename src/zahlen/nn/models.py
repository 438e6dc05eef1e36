"""Ready-made networks for labelled samples: the command's ``mlp`` and ``cnn``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..machine import LayerError, Levels
from .activations import Activation, HardTanhD, Heaviside, ReLUD, SigmoidD, TanhD
from .containers import Sequential
from .linear import Conv2d, Linear
from .shape import Flatten, Input, MaxPool2d, Reshape, Standardise
from .spec import Layer
from .weights import default_scale, weight_grid

ACTIVATIONS: dict[str, Callable[[int], Activation]] = {
    "tanh": TanhD,
    "relu": ReLUD,
    "sigmoid": SigmoidD,
    "hardtanh": HardTanhD,
    "heaviside": lambda _: Heaviside(),
}


@dataclass(frozen=True)
class Recipe:
    """All that is needed to build a ready-made network again: plain values, so it can be stored.

    Attributes
    ----------
    model : {"mlp", "cnn"}
    shape : tuple of int
        Of one sample.
    lo, hi, step : int
        The alphabet of the samples.
    mean, deviation : int or list of int
        Centre and scale of all elements, or of each.
    classes : int
    hidden : tuple of int
        Widths of the hidden dense layers.
    channels : tuple of int
        Of the convolutions of a ``cnn``.
    levels, weights : int
        Levels of the activations, values that a weight may take.
    act : str
        One of `ACTIVATIONS`.
    """

    model: str
    shape: tuple[int, ...]
    lo: int
    hi: int
    step: int
    mean: int | list[int]
    deviation: int | list[int]
    classes: int
    hidden: tuple[int, ...] = (256, 256)
    channels: tuple[int, ...] = (16, 32)
    levels: int = 16
    weights: int = 255
    act: str = "tanh"

    @classmethod
    def fitting(cls, model: str, x: Any, alphabet: Levels, classes: int, **options: Any) -> Recipe:
        """A recipe for training samples x (n, *shape) of integers.

        Images get one centre and scale; the columns of a table one each, and room for twice the span seen on each side.
        """
        shape, wide, span = tuple(x.shape[1:]), x.astype(np.float64), alphabet.hi - alphabet.lo
        mean: Any = round(wide.mean())
        deviation: Any = max(1, round(wide.std()))
        lo, hi = alphabet.lo, alphabet.hi
        if len(shape) == 1:
            mean, deviation = ([round(v) for v in column] for column in (wide.mean(0), wide.std(0)))
            lo, hi = lo - 2 * span, hi + 2 * span
        return cls(model, shape, lo, hi, alphabet.step, mean, deviation, classes, **options)

    @classmethod
    def restored(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `dataclasses.asdict` was taken of."""
        fields: dict[str, Any] = {k: tuple(v) if k in ("shape", "hidden", "channels") else v for k, v in values.items()}
        try:
            return cls(**fields)
        except TypeError as error:
            raise LayerError(f"not a recipe of this version: {error}") from None

    def network(self) -> Sequential:
        """The network; its weights start from PyTorch's seed."""
        alphabet = Levels(self.lo, self.hi, self.step)
        if isinstance(self.mean, int) and isinstance(self.deviation, int):
            layers: list[Any] = [Input(self.shape, alphabet, offset=self.mean, unit=self.deviation)]
        else:
            layers = [Input(self.shape, alphabet), Standardise(self.mean, self.deviation)]
        features = math.prod(self.shape)
        if self.model == "cnn":
            convolutions, features = self._convolutions()
            layers += convolutions
        elif self.model != "mlp":
            raise LayerError(f"no model {self.model!r}; there are mlp and cnn")
        layers.append(Flatten())
        for width in self.hidden:
            layers += [Linear(features, width, weights=self.weights), activation(self.act, self.levels)]
            features = width
        return Sequential(*layers, readout(features, self.classes, self.weights))

    def _convolutions(self) -> tuple[list[Layer], int]:
        """3x3 convolutions, each with an activation and a 2x2 maximum, and how many features they end in."""
        if len(self.shape) not in (2, 3):
            raise LayerError(f"cnn: images (height, width) or (channels, height, width) are due, got {self.shape}")
        depth, height, width = self.shape if len(self.shape) == 3 else (1, *self.shape)
        layers: list[Layer] = [Reshape(depth, height, width)]
        for count in self.channels:
            if min(height, width) < 2:
                raise LayerError(f"cnn: {len(self.channels)} halvings are too many for images {self.shape}")
            convolution = Conv2d(depth, count, 3, padding=1, weights=self.weights)
            layers += [convolution, activation(self.act, self.levels), MaxPool2d(2)]
            depth, height, width = count, height // 2, width // 2
        return layers, depth * height * width


def activation(name: str, levels: int) -> Activation:
    """An activation of `ACTIVATIONS` by its name."""
    if name not in ACTIVATIONS:
        raise LayerError(f"no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](levels)


def readout(features: int, classes: int, weights: int) -> Linear:
    """The last layer, whose weights grow larger than those before a saturating activation."""
    grid = weight_grid(weights)
    reach = 4 if grid.size >= 128 else 2 if grid.size >= 15 else 1
    return Linear(features, classes, weights=weights, scale=max(1, default_scale(grid, features) // reach))
