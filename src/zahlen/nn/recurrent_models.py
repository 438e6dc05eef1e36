"""Ready-made recurrent networks, for labelled sequences and for text: the command's ``lstm``, ``gru`` and ``rnn``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..machine import AlphabetError, LayerError, Levels
from .containers import Sequential
from .models import Recipe, centre_and_scale, readout
from .recurrent import GRU, LSTM, RNN, Recurrent
from .shape import Input, Reshape, Standardise

KINDS: dict[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


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
        As in `LSTM`.

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
        if self.model not in KINDS:
            raise LayerError(f"no recurrent model {self.model!r}; there are {', '.join(KINDS)}")
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

    def network(self) -> Sequential:
        """The network; its weights start from PyTorch's seed."""
        options: dict[str, Any] = {"levels": self.levels, "weights": self.weights}
        if self.model != "rnn":
            options |= {"cell_bits": self.cell_bits, "products": self.products, "gate_levels": self.gate_levels}
        layers: list[Any] = [Input(self.shape, Levels(self.lo, self.hi, self.step))]
        if self.mean:
            layers += [] if self.shape else [Reshape(1)]
            layers += [Standardise(self.mean, self.deviation)]
            width = len(self.mean)
        else:
            width, options["symbols"] = self.classes, True
        layers.append(KINDS[self.model](width, self.hidden, self.layers, **options))
        return Sequential(*layers, readout(self.hidden, self.classes, self.weights))


def restored(values: Any) -> Recipe | RecurrentRecipe:
    """The recipe that `dataclasses.asdict` was taken of, tuples or what JSON makes of them."""
    try:
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return RecurrentRecipe(**fields) if fields.get("model") in KINDS else Recipe(**fields)
    except (AttributeError, TypeError) as error:
        raise LayerError(f"not a recipe of this version: {error}") from None
