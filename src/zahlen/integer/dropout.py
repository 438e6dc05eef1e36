"""Dropout: random zeros while a network learns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ..flow import Spec
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from . import arithmetic as do
from .chance import noise
from .layer import Layer
from .optimisers import fraction


class Dropout(Layer):
    """While the network learns, each element is zero by chance, and what is left is larger (Srivastava et al., 2014).

    What is left is multiplied by 1 / (1 - p) and rounded to an integer, halves up; p = 1/2 needs no rounding. In eval
    mode, and in the machine, nothing is done.

    Parameters
    ----------
    p : Fraction or decimal str
        How likely an element is to be zero.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> layer = integer.Dropout("0.5")
    >>> model = integer.Sequential(integer.Input((4,), Levels(1, 9)), layer)
    >>> model([[1, 2, 3, 4]])
    array([[1, 2, 3, 4]], dtype=int16)
    >>> model.train(3)
    >>> bool(np.isin(model([[1, 1, 1, 1]]), (0, 2)).all())
    True
    """

    def __init__(self, p: Fraction | str = "0.5") -> None:
        self.p = fraction(p, "p")
        if self.p >= 1:
            raise LayerError(f"Dropout: p is below 1, got {self.p}")
        self.scale = do.Scale.of(1 / (1 - self.p))
        self._below = int(self.p * 2**32)

    def describe(self) -> str:
        return str(self.p)

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        low, high = (int(self.scale(np.int64(end))) for end in (spec.alphabet.lo, spec.alphabet.hi))
        if max(-low, high) > do.SHORT:
            raise self.fail(f"receives values up to {spec.bound}, too large for 16 bits; put an activation before it")
        return spec.but(alphabet=Levels(min(low, spec.alphabet.lo, 0), max(high, spec.alphabet.hi, 0)))

    def forward(self, x: IntArray) -> IntArray:
        """int16 (batch, *shape) to the same."""
        if self.draw is None:
            return x
        self._kept = noise(self.draw, x.shape) >= self._below
        return np.asarray(self.scale(x.astype(np.int64)) * self._kept, dtype=np.int16)

    def backward(self, d: IntArray) -> IntArray:
        if self.draw is None:
            return d
        back, clamps = do.clamped(self.scale(d.astype(np.int64)) * self._kept)
        self.clamps += clamps
        return np.asarray(back, dtype=np.int16)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x
