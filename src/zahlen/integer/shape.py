"""Layers without weights: the input, changes of shape."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from ..machine import Builder, InputError, IntArray, LayerError, Levels, Wire
from .arithmetic import SHORT
from .layer import Layer, Spec, whole


class Input(Layer):
    """Where a network begins: which integers come in, and what they are worth; see `zahlen.nn.Input`."""

    def __init__(self, shape: tuple[int, ...], alphabet: Levels, *, offset: int = 0, unit: int | Fraction = 1) -> None:
        if not isinstance(alphabet, Levels):
            raise LayerError(f"Input: the shape of one sample and Levels are due, got {shape!r} and {alphabet!r}")
        self.shape, self.alphabet = tuple(whole(n, "an entry of shape") for n in shape), alphabet
        self.offset, self.unit = int(offset), Fraction(unit)

    def describe(self) -> str:
        return f"{self.shape}, {self.alphabet}, offset={self.offset}, unit={self.unit}"

    def begin(self) -> Spec:
        """What the next layer receives."""
        low, high, step = self.alphabet.lo - self.offset, self.alphabet.hi - self.offset, self.alphabet.step
        self.spec = Spec(self.shape, Levels(low, high, step), self.unit)
        return self.spec

    def bind(self, spec: Spec) -> Spec:
        raise self.fail("stands at the beginning of a network only")

    def checked(self, x: Any) -> IntArray:
        """The batch, or an `InputError` if it is not one of elements of the alphabet."""
        x = np.asarray(x)
        if x.dtype.kind not in "iu":
            raise InputError(f"Input: integers are due, got {x.dtype}; a network never rounds its input")
        if x.ndim == 0 or x.shape[1:] != self.shape:
            raise InputError(f"Input: shape (batch, {', '.join(map(str, self.shape))}) is due, got {x.shape}")
        if x.size and not self.alphabet.contains_all(x):
            raise InputError(f"Input: values are {int(x.min())}..{int(x.max())}, the alphabet is {self.alphabet}")
        return np.asarray(x)

    def forward(self, x: IntArray) -> IntArray:
        """Integers of any type, centred: int16 where they fit, else int64."""
        bound = max(abs(self.alphabet.lo - self.offset), abs(self.alphabet.hi - self.offset))
        y: IntArray
        if bound <= SHORT and max(abs(self.alphabet.lo), abs(self.alphabet.hi)) <= SHORT:
            y = x.astype(np.int16)
            y = y - np.int16(self.offset) if self.offset else y
        else:
            y = x.astype(np.int64) - self.offset
            y = y.astype(np.int16) if bound <= SHORT else y
        return channels_last(y)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        if not self.offset:
            return x
        return builder.sub(x, builder.constant(np.full(self.shape, self.offset)))


def channels_last(x: IntArray) -> IntArray:
    """Images as they lie in memory; what are none stays as it is."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def channels_first(x: IntArray) -> IntArray:
    """Images as the machine has them."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


class Standardise(Layer):
    """Put each element on one common scale, a staircase: see `zahlen.nn.Standardise`."""

    def __init__(self, mean: Any, deviation: Any, *, grain: int = 32, limit: int = 127) -> None:
        self.grain, self.limit = whole(grain, "grain"), whole(limit, "limit")
        self.mean = np.asarray(mean, dtype=np.int64)
        self.deviation = np.maximum(np.asarray(deviation, dtype=np.int64), 1)
        if self.mean.ndim != 1 or self.mean.shape != self.deviation.shape or not self.mean.size:
            raise LayerError("Standardise: mean and deviation are one row of integers each, of equal length")
        levels = np.arange(1 - self.limit, self.limit + 1)
        self.thresholds = self.mean[:, None] - (self.deviation[:, None] * (1 - 2 * levels)) // (2 * self.grain)
        self.levels = np.arange(-self.limit, self.limit + 1)

    def describe(self) -> str:
        return f"{len(self.mean)}, grain={self.grain}, limit={self.limit}"

    def bind(self, spec: Spec) -> Spec:
        if spec.shape != self.mean.shape:
            raise self.fail(f"receives shape {spec.shape}, not {self.mean.shape}")
        self.spec = spec
        return spec.but(alphabet=Levels(-self.limit, self.limit), unit=Fraction(self.grain))

    def forward(self, x: IntArray) -> IntArray:
        """(batch, features) of integers to int16 levels."""
        columns = [
            np.searchsorted(edges, column, side="right") - self.limit for edges, column in zip(self.thresholds, x.T)
        ]
        return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.int16))

    def backward(self, d: IntArray) -> IntArray:
        return d

    def emit(self, builder: Builder, x: Wire) -> Wire:
        values = np.broadcast_to(self.levels, (len(self.mean), len(self.levels)))
        return builder.staircase(x, self.thresholds, values)


class Reshape(Layer):
    """The same elements in row-major order under another shape (of one sample)."""

    def __init__(self, *shape: int) -> None:
        self.shape = tuple(whole(n, "an entry of the shape") for n in shape)

    def describe(self) -> str:
        return ", ".join(map(str, self.shape))

    def bind(self, spec: Spec) -> Spec:
        if prod(self.shape) != spec.size:
            raise self.fail(f"receives {spec.size} elements {spec.shape}")
        self.spec = spec
        return spec.but(shape=self.shape)

    def forward(self, x: IntArray) -> IntArray:
        """(batch, *any) to (batch, *shape)."""
        return channels_last(channels_first(x).reshape(len(x), *self.shape))

    def backward(self, d: IntArray) -> IntArray:
        return channels_last(channels_first(d).reshape(len(d), *self.receives().shape))

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x if x.shape == self.shape else builder.reshape(x, self.shape)


class Flatten(Reshape):
    """All elements of a sample in one row."""

    def __init__(self) -> None:
        super().__init__()

    def bind(self, spec: Spec) -> Spec:
        self.shape = (spec.size,)
        return super().bind(spec)
