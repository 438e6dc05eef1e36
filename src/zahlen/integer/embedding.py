"""A row of integers for each symbol."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ..flow import Spec, whole
from ..grids import weight_grid
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from . import arithmetic as do
from .chance import Chance
from .layer import Layer, Parameter, fraction_of


class Embedding(Layer):
    """An integer vector per symbol, as `zahlen.nn.Embedding`: symbols (*shape) to (*shape, width).

    Parameters
    ----------
    symbols, width : int
    weights, scale
        As in `Linear`; the default scale lets a grid of 255 values reach +-4 around the initial N(0, 1).

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((3,), Levels(0, 9)), integer.Embedding(10, 4), integer.Flatten(), integer.Linear(12, 2)
    ... )
    >>> model([[0, 9, 9], [1, 2, 3]]).shape
    (2, 2)
    """

    def __init__(self, symbols: int, width: int, *, weights: int | Levels = 255, scale: int | None = None) -> None:
        self.symbols, self.width = whole(symbols, "symbols", of=self), whole(width, "width", of=self)
        self.grid = weight_grid(weights)
        most = max(abs(self.grid.lo), abs(self.grid.hi))
        if most > do.SHORT or self.grid.step not in (1, 2):
            raise LayerError(f"Embedding: weights of 16 bits in steps of 1 or 2 are due, got {self.grid}")
        self.scale = max(1, most // 4) if scale is None else whole(scale, "scale", of=self)

    def describe(self) -> str:
        return f"{self.symbols}, {self.width}, weights={self.grid}, scale={self.scale}"

    def bind(self, spec: Spec) -> Spec:
        if spec.alphabet.lo < 0 or spec.alphabet.hi >= self.symbols:
            raise self.fail(f"receives {spec.alphabet}, but has rows for 0..{self.symbols - 1}")
        if len(spec.shape) > 1:
            raise self.fail(f"receives shape {spec.shape}; put a Flatten before it")
        self.spec = spec
        return Spec((*spec.shape, self.width), self.grid, Fraction(self.scale))

    def start(self, chance: Chance) -> None:
        """From N(0, 1)."""
        fraction = fraction_of(self.grid)
        latent = chance.normal(self.symbols * self.width, self.scale << fraction)
        inside = np.clip(latent, self.grid.lo << fraction, self.grid.hi << fraction).astype(np.int32)
        self.weight = Parameter(self.grid, Fraction(self.scale), inside.reshape(self.symbols, self.width), fraction)

    def parameters(self) -> Iterator[Parameter]:
        yield self.weight

    def announce(self, bits: int, most: int) -> None:
        self.bits = bits
        self.weight.receives(Fraction(1 << bits), do.SHORT * self.receives().size, most, long=True)

    def forward(self, x: IntArray) -> IntArray:
        """int16 (batch, *shape) of symbols to int16 (batch, *shape, width)."""
        self._x = np.ascontiguousarray(x.reshape(-1), dtype=np.int32)
        return self.weight.weight[self._x].reshape(*x.shape, self.width)

    def backward(self, d: IntArray) -> IntArray:
        """Symbols have no gradient."""
        do.add_rows(np.ascontiguousarray(d).reshape(-1, self.width), self._x, self.weight.gradient)
        return d[:0]

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.embed(x, self.weight.weight.astype(np.int64))
