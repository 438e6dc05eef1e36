"""Ready-made networks for labelled samples: the command's ``mlp`` and ``cnn``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..grids import readout_scale, weight_grid
from ..machine import AlphabetError, InputError, LayerError, Levels
from .activations import Activation, HardTanhD, Heaviside, ReLUD, SigmoidD, TanhD
from .containers import Sequential
from .linear import Conv2d, Linear
from .shape import Flatten, Input, MaxPool2d, Reshape, Standardise
from .spec import Layer

ACTIVATIONS: dict[str, Callable[[int], Activation]] = {
    "tanh": TanhD,
    "relu": ReLUD,
    "sigmoid": SigmoidD,
    "hardtanh": HardTanhD,
    "heaviside": lambda levels: _heaviside(levels),
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
    mean, deviation : int or tuple of int
        Centre and scale of all elements; of a table, whose shape is (columns,), of each column.
    classes : int
    hidden : tuple of int
        Widths of the hidden dense layers.
    channels : tuple of int
        Of the convolutions of a ``cnn``.
    levels, weights : int
        Levels of the activations, values that a weight may take.
    activation : str
        One of `ACTIVATIONS`.

    Raises
    ------
    LayerError
        If a value is not of its kind.
    """

    model: str
    shape: tuple[int, ...]
    lo: int
    hi: int
    step: int
    mean: int | tuple[int, ...]
    deviation: int | tuple[int, ...]
    classes: int
    hidden: tuple[int, ...] = (256, 256)
    channels: tuple[int, ...] = (16, 32)
    levels: int = 16
    weights: int = 255
    activation: str = "tanh"

    def __post_init__(self) -> None:
        table = isinstance(self.shape, tuple) and len(self.shape) == 1
        rows = {"shape", "hidden", "channels"} | ({"mean", "deviation"} if table else set())
        for name, least in _LEAST.items():
            value = getattr(self, name)
            values = value if name in rows else (value,)
            if not isinstance(values, tuple) or any(type(v) is not int or v < least for v in values):
                kind = "a tuple of integers" if name in rows else "an integer"
                bound = f" of at least {least}" if least > -math.inf else ""
                raise LayerError(f"Recipe: {name} is {kind}{bound}, got {value!r}")
        if not self.shape:
            raise LayerError("Recipe: the shape of one sample is due, got ()")
        if any(isinstance(v, tuple) and len(v) != self.shape[0] for v in (self.mean, self.deviation)):
            raise LayerError(f"Recipe: a mean and a deviation are due for each of {self.shape[0]} columns")
        try:
            Levels(self.lo, self.hi, self.step)
        except AlphabetError as error:
            raise LayerError(f"Recipe: {error}") from None

    @classmethod
    def fitting(cls, model: str, x: Any, alphabet: Levels, classes: int, **options: Any) -> Recipe:
        """A recipe for training samples x (n, *shape) of integers.

        Images get one centre and scale; the columns of a table one each, and room for twice the span seen on each side.
        """
        shape, span = tuple(x.shape[1:]), alphabet.hi - alphabet.lo
        if x.dtype.kind not in "iu" or not x.size:
            raise InputError(f"Recipe: samples of integers are due, got {x.dtype} {x.shape}")
        lo, hi = alphabet.lo, alphabet.hi
        mean: Any
        deviation: Any
        if len(shape) == 1:
            mean, deviation = zip(*(centre_and_scale(column) for column in x.T))
            lo, hi = lo - 2 * span, hi + 2 * span
        else:
            mean, deviation = centre_and_scale(x)
        return cls(model, shape, lo, hi, alphabet.step, mean, deviation, classes, **options)

    def network(self) -> Sequential:
        """The network; its weights start from PyTorch's seed."""
        alphabet = Levels(self.lo, self.hi, self.step)
        if isinstance(self.mean, int) and isinstance(self.deviation, int):  # no table
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
            layers += [Linear(features, width, weights=self.weights), activation(self.activation, self.levels)]
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
            layers += [convolution, activation(self.activation, self.levels), MaxPool2d(2)]
            depth, height, width = count, height // 2, width // 2
        return layers, depth * height * width


_LEAST: dict[str, float] = {"shape": 1, "hidden": 1, "channels": 1, "step": 1, "classes": 1, "levels": 2, "weights": 2}
_LEAST |= {"lo": -math.inf, "hi": -math.inf, "mean": -math.inf, "deviation": 1}
"""Least value of each of a recipe's integers."""


def centre_and_scale(x: Any) -> tuple[int, int]:
    """Exact mean and standard deviation of integers, each rounded once, halves up; the latter is at least 1.

    >>> centre_and_scale(np.array([0, 1])), centre_and_scale(np.array([10**9, 10**9 + 7]))
    ((1, 1), (1000000004, 4))
    """
    n, low = x.size, int(x.min())
    # a part's sum of squares stays below 2^63
    kind: Any = np.int64 if int(x.max()) - low < 2**23 else object
    total = squares = 0
    for part in np.array_split(x.reshape(-1), 1 + n // 2**16):
        steps = part.astype(kind) - low
        total, squares = total + int(steps.sum()), squares + int(steps @ steps)
    mean = low + (2 * total + n) // (2 * n)
    return mean, max(1, (math.isqrt(4 * (n * squares - total**2)) + n) // (2 * n))


def _heaviside(levels: int) -> Activation:
    if levels != 2:
        raise LayerError(f"heaviside has 2 levels, not {levels}; pass levels=2")
    return Heaviside()


def activation(name: str, levels: int) -> Activation:
    """An activation of `ACTIVATIONS` by its name."""
    if name not in ACTIVATIONS:
        raise LayerError(f"no activation {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](levels)


def readout(features: int, classes: int, weights: int) -> Linear:
    """The last layer; see `readout_scale`."""
    return Linear(features, classes, weights=weights, scale=readout_scale(weight_grid(weights), features))
