"""Ready-made networks as plain values: the command's ``mlp``, ``cnn``, ``lstm``, ``gru`` and ``rnn``.

A recipe says what a network is made of; `zahlen.nn.network` and `zahlen.integer.network` build it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from .grids import readout_scale, weight_grid
from .machine import AlphabetError, InputError, LayerError, Levels

ACTIVATIONS = {
    "tanh": "TanhD", "relu": "ReLUD", "sigmoid": "SigmoidD", "hardtanh": "HardTanhD", "heaviside": "Heaviside",
}  # fmt: skip
"""Names of activations, and of the layers that they are."""
RECURRENT = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
"""Recurrent models, and the layers that they are made of."""


class Kinds:
    """The classes of layers of a package; a `LayerError` where it has none of that name."""

    def __init__(self, package: ModuleType) -> None:
        self._package = package

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._package, name)
        except AttributeError:
            raise LayerError(f"{self._package.__name__} has no {name}; build this network with zahlen.nn") from None


@dataclass(frozen=True)
class Recipe:
    """All that is needed to build a ready-made network for labelled samples again: plain values, so it can be stored.

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
    dropout : str
        Share of the inputs that are dropped while the network learns, a decimal.

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
    dropout: str = "0"

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
        if not isinstance(self.dropout, str) or not re.fullmatch(r"0?\.\d+|0", self.dropout):
            raise LayerError(f"Recipe: dropout is a decimal from 0 to below 1, got {self.dropout!r}")
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

    def stack(self, kinds: Kinds) -> list[Any]:
        """The layers of the network, one behind the other."""
        alphabet = Levels(self.lo, self.hi, self.step)
        if isinstance(self.mean, int) and isinstance(self.deviation, int):  # no table
            layers = [kinds.Input(self.shape, alphabet, offset=self.mean, unit=self.deviation)]
        else:
            layers = [kinds.Input(self.shape, alphabet), kinds.Standardise(self.mean, self.deviation)]
        layers += [kinds.Dropout(self.dropout)] if float(self.dropout) else []
        features = math.prod(self.shape)
        if self.model == "cnn":
            convolutions, features = self._convolutions(kinds)
            layers += convolutions
        elif self.model != "mlp":
            raise LayerError(f"no model {self.model!r}; there are mlp and cnn")
        layers.append(kinds.Flatten())
        for width in self.hidden:
            layers += [kinds.Linear(features, width, weights=self.weights), self._activation(kinds)]
            features = width
        return [*layers, readout(kinds, features, self.classes, self.weights)]

    def _convolutions(self, kinds: Kinds) -> tuple[list[Any], int]:
        """3x3 convolutions, each with an activation and a 2x2 maximum, and how many features they end in."""
        if len(self.shape) not in (2, 3):
            raise LayerError(f"cnn: images (height, width) or (channels, height, width) are due, got {self.shape}")
        depth, height, width = self.shape if len(self.shape) == 3 else (1, *self.shape)
        layers = [kinds.Reshape(depth, height, width)]
        for count in self.channels:
            if min(height, width) < 2:
                raise LayerError(f"cnn: {len(self.channels)} halvings are too many for images {self.shape}")
            convolution = kinds.Conv2d(depth, count, 3, padding=1, weights=self.weights)
            layers += [convolution, self._activation(kinds), kinds.MaxPool2d(2)]
            depth, height, width = count, height // 2, width // 2
        return layers, depth * height * width

    def _activation(self, kinds: Kinds) -> Any:
        if self.activation not in ACTIVATIONS:
            raise LayerError(f"no activation {self.activation!r}; there are {', '.join(ACTIVATIONS)}")
        kind = getattr(kinds, ACTIVATIONS[self.activation])
        if self.activation != "heaviside":
            return kind(self.levels)
        if self.levels != 2:
            raise LayerError(f"heaviside has 2 levels, not {self.levels}; pass levels=2")
        return kind()


_LEAST: dict[str, float] = {"shape": 1, "hidden": 1, "channels": 1, "step": 1, "classes": 1, "levels": 2, "weights": 2}
_LEAST |= {"lo": -math.inf, "hi": -math.inf, "mean": -math.inf, "deviation": 1}
"""Least value of each of a recipe's integers."""


@dataclass(frozen=True)
class RecurrentRecipe:
    """All that is needed to build a ready-made recurrent network again: plain values, so it can be stored.

    Attributes
    ----------
    model : {"lstm", "gru", "rnn"}
    shape : tuple of int
        Of one step, at most one axis; () for a symbol.
    lo, hi, step : int
        The alphabet of a step; symbols are 0..hi.
    mean, deviation : tuple of int
        Centre and scale of each feature; empty for symbols.
    classes : int
        Outputs: classes of a sequence, or the symbols.
    hidden, layers : int
        Units of a recurrent layer, and how many there are.
    levels, cell_bits, weights, products, gate_levels
        As in `zahlen.nn.LSTM`.

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
    mean: tuple[int, ...]
    deviation: tuple[int, ...]
    classes: int
    hidden: int = 128
    layers: int = 1
    levels: int = 16
    cell_bits: int = 8
    weights: int = 255
    products: Literal["native", "tables"] = "native"
    gate_levels: int | None = None

    def __post_init__(self) -> None:
        if self.model not in RECURRENT:
            raise LayerError(f"no recurrent model {self.model!r}; there are {', '.join(RECURRENT)}")
        numbers: tuple[int, ...] = (
            self.lo,
            self.hi,
            self.step,
            self.classes,
            self.hidden,
            self.layers,
            self.levels,
            self.cell_bits,
        )
        numbers += () if self.gate_levels is None else (self.gate_levels,)
        rows = (self.shape, self.mean, self.deviation)
        if any(not isinstance(row, tuple) for row in rows) or any(
            type(v) is not int for v in (*numbers, self.weights, *(v for row in rows for v in row))
        ):
            raise LayerError("RecurrentRecipe: shape, mean and deviation are tuples of integers, the rest integers")
        features = 1 if not self.shape else self.shape[0]
        if len(self.shape) > 1:
            raise LayerError(f"{self.model}: a step of shape {self.shape} has more than one axis; flatten it before")
        if self.mean and not len(self.mean) == len(self.deviation) == features:
            raise LayerError(f"RecurrentRecipe: a mean and a deviation are due for each of {features} features")
        try:
            Levels(self.lo, self.hi, self.step)
        except AlphabetError as error:
            raise LayerError(f"RecurrentRecipe: {error}") from None

    @classmethod
    def of_text(cls, model: str, symbols: int, **options: Any) -> RecurrentRecipe:
        """A recipe for a text of so many symbols."""
        return cls(model, (), 0, symbols - 1, 1, (), (), symbols, **options)

    @classmethod
    def fitting(cls, model: str, steps: Any, alphabet: Levels, classes: int, **options: Any) -> RecurrentRecipe:
        """A recipe for sequences whose steps, (n, features) or (n,) of integers, are like these.

        Each feature gets a centre and a scale, and room for twice the span seen on each side.
        """
        shape, span = tuple(int(n) for n in steps.shape[1:]), alphabet.hi - alphabet.lo
        columns = steps.reshape(len(steps), -1).T
        mean, deviation = zip(*(centre_and_scale(column) for column in columns))
        lo, hi = alphabet.lo - 2 * span, alphabet.hi + 2 * span
        return cls(model, shape, lo, hi, alphabet.step, mean, deviation, classes, **options)

    def stack(self, kinds: Kinds) -> list[Any]:
        """The layers of the network, one behind the other."""
        options: dict[str, Any] = {"levels": self.levels, "weights": self.weights}
        if self.model != "rnn":
            options |= {"cell_bits": self.cell_bits, "products": self.products, "gate_levels": self.gate_levels}
        layers = [kinds.Input(self.shape, Levels(self.lo, self.hi, self.step))]
        if self.mean:
            layers += [] if self.shape else [kinds.Reshape(1)]
            layers += [kinds.Standardise(self.mean, self.deviation)]
            width = len(self.mean)
        else:
            width, options["symbols"] = self.classes, True
        layers.append(getattr(kinds, RECURRENT[self.model])(width, self.hidden, self.layers, **options))
        return [*layers, readout(kinds, self.hidden, self.classes, self.weights)]


def restored(values: Any) -> Recipe | RecurrentRecipe:
    """The recipe that `dataclasses.asdict` was taken of, tuples or what JSON makes of them."""
    try:
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return RecurrentRecipe(**fields) if fields.get("model") in RECURRENT else Recipe(**fields)
    except (AttributeError, TypeError) as error:
        raise LayerError(f"not a recipe of this version: {error}") from None


def readout(kinds: Kinds, features: int, classes: int, weights: int) -> Any:
    """The last layer; see `readout_scale`."""
    return kinds.Linear(features, classes, weights=weights, scale=readout_scale(weight_grid(weights), features))


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
