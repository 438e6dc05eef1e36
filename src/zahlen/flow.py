"""What flows between the layers of either trainer, and what their layers without weights have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any, Self, TypeVar

import numpy as np

from .machine import Builder, InputError, IntArray, LayerError, Levels, Wire


@dataclass(frozen=True)
class Spec:
    """What a layer receives or returns, whatever its weights become.

    Attributes
    ----------
    shape : tuple of int
        Of one sample.
    alphabet : Levels
        Holds every value.
    unit : Fraction
        How many integer steps make 1.0.

    Examples
    --------
    >>> spec = Spec((2, 3), Levels(-7, 5), Fraction(4))
    >>> spec.size, spec.bound, spec.but(shape=(6,)).shape
    (6, 7, (6,))
    """

    shape: tuple[int, ...]
    alphabet: Levels
    unit: Fraction

    @property
    def size(self) -> int:
        """Number of elements of one sample."""
        return prod(self.shape)

    @property
    def bound(self) -> int:
        """Greatest absolute value."""
        return max(abs(self.alphabet.lo), abs(self.alphabet.hi))

    def but(self, **changes: Any) -> Self:
        """The same with some attributes changed."""
        return replace(self, **changes)


S = TypeVar("S", bound=Spec)


class Beginning:
    """An input: integers of an alphabet, of which an offset is subtracted."""

    shape: tuple[int, ...]
    alphabet: Levels
    offset: int
    unit: Fraction

    def begins(self, shape: Any, alphabet: Any, offset: Any, unit: Any) -> None:
        """Take the settings, or raise a `LayerError`."""
        name = type(self).__name__
        if not isinstance(shape, (tuple, list)) or not isinstance(alphabet, Levels):
            raise LayerError(f"{name}: the shape of one sample and Levels are due, got {shape!r} and {alphabet!r}")
        self.shape, self.alphabet = tuple(whole(n, "an entry of shape", of=self) for n in shape), alphabet
        self.unit = positive(self, unit, "unit")
        if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)):
            raise LayerError(f"{name}: offset is an integer, got {offset!r}")
        self.offset = int(offset)

    def centred(self) -> Levels:
        """What goes on."""
        return Levels(self.alphabet.lo - self.offset, self.alphabet.hi - self.offset, self.alphabet.step)

    def describe(self) -> str:
        """The settings."""
        return f"{self.shape}, {self.alphabet}, offset={self.offset}, unit={self.unit}"

    def emit(self, builder: Builder, x: Wire) -> Wire:
        """Subtract the offset, if there is one."""
        if not self.offset:
            return x
        return builder.sub(x, builder.constant(np.full(self.shape, self.offset)))


class Scaling:
    """Each column on one common scale: x -> clip(round(grain (x - mean) / deviation), -limit, limit), halves up.

    Attributes
    ----------
    mean, deviation : int64 array (columns,)
    grain, limit : int
    thresholds : int64 array (columns, 2 limit)
        Where a column reaches each level but the lowest.
    levels : int64 array (2 limit + 1,)
    """

    mean: IntArray
    deviation: IntArray

    def scales(self, mean: Any, deviation: Any, grain: int, limit: int) -> None:
        """Take the settings, or raise a `LayerError`."""
        name = type(self).__name__
        self.grain, self.limit = whole(grain, "grain", of=self), whole(limit, "limit", of=self)
        self.mean, self.deviation = np.asarray(mean), np.asarray(deviation)
        if self.mean.ndim != 1 or self.mean.shape != self.deviation.shape or not self.mean.size:
            raise LayerError(f"{name}: mean and deviation are one row of integers each, of equal length")
        if self.mean.dtype.kind not in "iu" or self.deviation.dtype.kind not in "iu":
            raise LayerError(f"{name}: mean and deviation are integers; round them, or put the input on a finer grid")
        if max(abs(int(v)) for row in (self.mean, self.deviation) for v in (row.min(), row.max())) >= 2**40:
            raise LayerError(f"{name}: mean and deviation are below 2^40")
        if self.limit * max(self.grain, 2) >= 2**20:
            raise LayerError(f"{name}: limit times grain is below 2^20")
        self.mean, self.deviation = self.mean.astype(np.int64), np.maximum(self.deviation.astype(np.int64), 1)
        # x reaches level k where grain (x - mean) / deviation + 1/2 >= k
        levels = np.arange(1 - self.limit, self.limit + 1)
        self.thresholds = self.mean[:, None] - (self.deviation[:, None] * (1 - 2 * levels)) // (2 * self.grain)
        self.levels = np.arange(-self.limit, self.limit + 1)

    def describe(self) -> str:
        """The settings."""
        return f"{len(self.mean)}, grain={self.grain}, limit={self.limit}"

    def scaled(self, spec: S) -> S:
        """What comes out, or a `LayerError` if there are other columns."""
        if spec.shape != self.mean.shape:
            raise LayerError(f"{self!r}: receives shape {spec.shape}, not {self.mean.shape}")
        return spec.but(alphabet=Levels(-self.limit, self.limit), unit=Fraction(self.grain))

    def emit(self, builder: Builder, x: Wire) -> Wire:
        """One staircase for each column."""
        values = np.broadcast_to(self.levels, (len(self.mean), len(self.levels)))
        return builder.staircase(x, self.thresholds, values)


class Shaping:
    """The same elements in row-major order under another shape (of one sample); without one, in one row."""

    shape: tuple[int, ...]

    def shapes(self, shape: tuple[Any, ...]) -> None:
        """Take the shape, or raise a `LayerError`."""
        self.shape = tuple(whole(n, "an entry of the shape", of=self) for n in shape)

    def describe(self) -> str:
        """The shape."""
        return ", ".join(map(str, self.shape))

    def shaped(self, spec: S) -> S:
        """What comes out, or a `LayerError` if it has another number of elements."""
        if prod(self.shape) != spec.size:
            raise LayerError(f"{self!r}: receives {spec.size} elements {spec.shape}")
        return spec.but(shape=self.shape)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        """An operation only where the shape changes."""
        return x if x.shape == self.shape else builder.reshape(x, self.shape)


def positive(layer: object, value: Any, what: str) -> Fraction:
    """A positive number as the fraction that it is; `layer` is whom an error names."""
    try:
        number = Fraction(value)
    except (TypeError, ValueError, OverflowError):
        raise LayerError(f"{type(layer).__name__}: {what} is a positive number, got {value!r}") from None
    if number <= 0:
        raise LayerError(f"{type(layer).__name__}: {what} is positive, got {value!r}")
    return Fraction(int(number.numerator), int(number.denominator))  # NumPy integers would overflow


def whole(value: object, what: str, least: int = 1, *, of: object = None) -> int:
    """An integer of at least `least`, in 64 bits; `of` is the layer that an error names."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**63:
        said = f"{what} is an integer of at least {least}, got {value!r}"
        raise InputError(said) if of is None else LayerError(f"{type(of).__name__}: {said}")
    return int(value)
