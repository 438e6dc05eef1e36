"""What all layers are: an integer function, its way back, and the operations that it is in a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..flow import Spec
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from .arithmetic import INT32, SHORT
from .chance import Chance

FRACTION = 16
"""Bits of a latent weight behind the weight's own, where int32 leaves as many."""


def fraction_of(grid: Levels) -> int:
    """Bits of a latent weight behind those of a weight on this grid.

    >>> fraction_of(Levels(-127, 127)), fraction_of(Levels(-(2**20), 2**20))
    (16, 9)
    """
    return max(0, min(FRACTION, 30 - max(-grid.lo, grid.hi).bit_length()))


@dataclass(eq=False)
class Parameter:
    """Weights on a grid, with latent weights behind them that steps are taken on.

    A weight is the element of the grid nearest to ``latent / 2^fraction``; halves go up.

    Attributes
    ----------
    grid : Levels
    scale : Fraction
        Integer steps of a weight per 1.0.
    latent : int32 array
    weight : int16 array, or int32 where the grid is wider
    gradient : int32 or int64 array
        Summed over a batch; whichever is proven to hold it.
    unit : Fraction
        Integer steps of the gradient per 1.0.
    momentum : int32 array
    learns : bool
        Whether optimisers move it. What does not learn is a statistic, which its layer keeps.
    """

    grid: Levels
    scale: Fraction
    latent: IntArray
    fraction: int = FRACTION
    gradient: IntArray = field(init=False)
    unit: Fraction = field(init=False, default=Fraction(1))
    bound: int = field(init=False, default=0)
    learns: bool = True

    def __post_init__(self) -> None:
        self.momentum = np.zeros(self.latent.shape, dtype=np.int32)
        self.wide = max(abs(self.grid.lo), abs(self.grid.hi)) > SHORT
        self.weight = np.empty(self.latent.shape, dtype=np.int32 if self.wide else np.int16)
        self.refresh()

    def refresh(self) -> None:
        """Weights from latent weights."""
        grain, grid = self.grid.step << self.fraction, self.grid
        steps = (self.latent.astype(np.int64) - (grid.lo << self.fraction) + grain // 2) // grain
        self.weight[...] = np.clip(grid.lo + grid.step * steps, grid.lo, grid.hi)

    def receives(self, unit: Fraction, bound: int, most: int, *, long: bool = False) -> None:
        """Take note of what gradients are: steps per 1.0, greatest of one sample, and how many samples are summed.

        They are kept in 64 bits where 32 are not proven to hold them, or `long` asks for it.
        """
        self.unit, self.bound = unit, bound * most
        self.gradient = np.zeros(self.latent.shape, dtype=np.int64 if long or self.bound > INT32 else np.int32)


class Layer:
    """An integer function (batch, *shape) -> (batch, *shape), and the way back of gradients through it.

    A layer learns from `bind` what it will receive. `backward` takes the gradient by its last output's real values, in
    units of 2^-bits, and returns that by its input's; both are int16. Values that had to be clamped on the way are
    counted in `clamps`.
    """

    spec: Spec | None = None
    bits: int = 0  # of gradients; the network says it
    clamps: int = 0
    first: bool = False  # whether nobody asks for the gradient of the input
    local: bool = False  # whether all that `backward` needs to know of a batch is in `kept`
    kept: Any = None
    tail: list[Layer] | None = None  # local layers behind it that it runs through, a part of the batch at a time
    draw: int | None = None  # seed of a training step's random numbers; none in eval mode

    def bind(self, spec: Spec) -> Spec:
        """Take note of what comes in; return what goes out."""
        raise TypeError(f"{type(self).__name__} needs bind")

    def start(self, chance: Chance) -> None:
        """Draw initial weights."""

    def forward(self, x: IntArray) -> IntArray:
        """int16 (batch, *shape) of what was announced to `bind`; int32 behind affine layers."""
        raise TypeError(f"{type(self).__name__} needs forward")

    def backward(self, d: IntArray) -> IntArray:
        """int16 gradients of the last output to those of the last input; parameters' gradients are added up."""
        raise TypeError(f"{type(self).__name__} needs backward")

    def emit(self, builder: Builder, x: Wire) -> Wire:
        """Add the layer's operations to a machine."""
        raise TypeError(f"{type(self).__name__} needs emit")

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, in a fixed order."""
        return iter(())

    def announce(self, bits: int, most: int) -> None:
        """Gradients have this unit, and those of so many samples are summed."""
        self.bits = bits

    def layers(self) -> Iterator[Layer]:
        """The layer itself, and those inside."""
        yield self

    def receives(self) -> Spec:
        """What comes in; raises `LayerError` before `bind`."""
        if self.spec is None:
            raise LayerError(f"{type(self).__name__} does not know its input yet; put it into an integer.Sequential")
        return self.spec

    def fail(self, reason: str) -> LayerError:
        """A `LayerError` that names the layer."""
        return LayerError(f"{self!r}: {reason}")

    def describe(self) -> str:
        """The layer's settings."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"
