"""Layers without weights: the input, changes of shape."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ..flow import Beginning, Scaling, Shaping, Spec
from ..machine import InputError, IntArray, LayerError, Levels
from .arithmetic import SHORT
from .layer import Layer


class Input(Beginning, Layer):
    """Where a network begins: which integers come in, and what they are worth; see `zahlen.nn.Input`."""

    def __init__(self, shape: tuple[int, ...], alphabet: Levels, *, offset: int = 0, unit: int | Fraction = 1) -> None:
        self.begins(shape, alphabet, offset, unit)

    def begin(self) -> Spec:
        """What the next layer receives."""
        self.spec = Spec(self.shape, self.centred(), self.unit)
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


def channels_last(x: IntArray) -> IntArray:
    """Images as they lie in memory; what are none stays as it is."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def channels_first(x: IntArray) -> IntArray:
    """Images as the machine has them."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


class Standardise(Scaling, Layer):
    """Put each element on one common scale, a staircase: see `zahlen.nn.Standardise`."""

    def __init__(self, mean: Any, deviation: Any, *, grain: int = 32, limit: int = 127) -> None:
        self.scales(mean, deviation, grain, limit)
        if self.limit > SHORT:
            raise LayerError(f"Standardise: levels of 16 bits are due, limit is at most {SHORT}, got {self.limit}")

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        return self.scaled(spec)

    def forward(self, x: IntArray) -> IntArray:
        """(batch, features) of integers to int16 levels."""
        columns = [
            np.searchsorted(edges, column, side="right") - self.limit for edges, column in zip(self.thresholds, x.T)
        ]
        return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.int16))

    def backward(self, d: IntArray) -> IntArray:
        return d


class Reshape(Shaping, Layer):
    """The same elements in row-major order under another shape (of one sample)."""

    def __init__(self, *shape: int) -> None:
        self.shapes(shape)

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        return self.shaped(spec)

    def forward(self, x: IntArray) -> IntArray:
        """(batch, *any) to (batch, *shape)."""
        return channels_last(channels_first(x).reshape(len(x), *self.shape))

    def backward(self, d: IntArray) -> IntArray:
        return channels_last(channels_first(d).reshape(len(d), *self.receives().shape))


class Flatten(Reshape):
    """All elements of a sample in one row."""

    def __init__(self) -> None:
        super().__init__()

    def bind(self, spec: Spec) -> Spec:
        self.shape = (spec.size,)
        return super().bind(spec)
