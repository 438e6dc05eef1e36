"""Losses in integers, and where they point: each gives gradients by a network's outputs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..flow import Spec
from ..machine import InputError, IntArray
from . import arithmetic as do
from .shape import channels_last

NONE = -100
"""A class that stands for no target; PyTorch's cross-entropy leaves it out, too."""


class Measured(NamedTuple):
    """What a loss makes of a batch.

    Attributes
    ----------
    delta : int16 array of the outputs' shape
        Gradient of each sample's loss by its outputs; 1.0 is 2^bits.
    loss : int
        Sum over the batch, in 2^-16 of the loss's unit.
    right : int or None
        How many classes are named right; None where targets are no classes.
    clamps : int
        How many gradients had to be clamped to 16 bits.
    """

    delta: IntArray
    loss: int
    right: int | None
    clamps: int


class Loss(ABC):
    """From int32 outputs (rows, *shape) and targets to gradients."""

    worth: ClassVar[float] = 2**-16
    """What a loss of 1 is in reports."""

    @abstractmethod
    def checked(self, y: Any, output: Spec) -> IntArray:
        """Targets for such outputs as `measure` wants them, or an `InputError`."""

    @abstractmethod
    def measure(self, z: IntArray, y: IntArray, unit: Fraction, bits: int) -> Measured:
        """Of outputs z with `unit` steps per 1.0; gradients in units of 2^-bits."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CrossEntropy(Loss):
    """Of the softmax of the outputs, by tables; see `zahlen.integer.arithmetic.softmax`. Reported in nats."""

    worth = math.log(2) / 2**16

    def checked(self, y: Any, output: Spec) -> IntArray:
        return classes(y, output)

    def measure(self, z: IntArray, y: IntArray, unit: Fraction, bits: int) -> Measured:
        return Measured(*do.softmax(z.astype(np.int32, copy=False), y, unit, bits), 0)


class Squared(Loss):
    """Half the squared difference of outputs and targets, summed over a sample's outputs.

    Targets are classes, whose outputs shall be 1.0 and all others 0, or integers of the outputs' shape in the network's
    unit. Beyond what 16 bits hold, which is 2.0 with gradients of 14 bits, the loss goes on as a straight line (Huber,
    1964), and each gradient there is counted as clamped.
    """

    def checked(self, y: Any, output: Spec) -> IntArray:
        array = np.asarray(y)
        if array.ndim == 1 and len(output.shape) == 1:
            return classes(y, output)
        if array.dtype.kind not in "iu" or array.shape[1:] != output.shape:
            raise InputError(
                f"targets are {array.dtype} {array.shape[1:]}, the squared loss compares outputs {output.shape} with "
                f"as many integers, {output.unit} of which are 1.0; or give one class for each sample"
            )
        if array.size and max(int(array.max()), -int(array.min())) > do.INT32:
            raise InputError("targets of the squared loss are integers of 32 bits")
        return channels_last(array).astype(np.int64)

    def measure(self, z: IntArray, y: IntArray, unit: Fraction, bits: int) -> Measured:
        target, right = y, None
        if y.ndim == 1:
            rows = np.flatnonzero(y >= 0)
            target, right = z.astype(np.int64), _right(z, y)
            target[rows] = 0
            target[rows, y[rows]] = _one(unit)
        error = do.Scale.of((1 << bits) / unit)(z - target)
        error = np.clip(error, -do.INT32, do.INT32)
        delta, clamps = do.clamped(error)
        twice = _sum(delta * (2 * error - delta))  # twice the loss, in units of 2^-2bits
        return Measured(delta.astype(np.int16), (twice << 16) + (1 << 2 * bits) >> 2 * bits + 1, right, clamps)


class Hinge(Loss):
    """How far the best wrong class is from being 1.0 below the right one (Crammer and Singer, 2001)."""

    def checked(self, y: Any, output: Spec) -> IntArray:
        if output.size < 2:
            raise InputError("the hinge loss compares at least two outputs")
        return classes(y, output)

    def measure(self, z: IntArray, y: IntArray, unit: Fraction, bits: int) -> Measured:
        rows = np.flatnonzero(y >= 0)
        labels = y[rows]
        wrong = z[rows].astype(np.int64)
        due = wrong[np.arange(len(rows)), labels]
        wrong[np.arange(len(rows)), labels] = np.iinfo(np.int64).min
        best = wrong.argmax(axis=1)
        short = _one(unit) + wrong[np.arange(len(rows)), best] - due
        delta = np.zeros(z.shape, dtype=np.int16)
        missed = np.flatnonzero(short > 0)
        delta[rows[missed], best[missed]] = 1 << bits
        delta[rows[missed], labels[missed]] = -1 << bits
        return Measured(delta, _sum(do.Scale.of((1 << 16) / unit)(short[missed])), _right(z, y), 0)


LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "squared": Squared, "hinge": Hinge}


def named(loss: str | Loss) -> Loss:
    """A loss by its name."""
    if isinstance(loss, Loss):
        return loss
    if loss not in LOSSES:
        raise InputError(f"no loss {loss!r}; there are {', '.join(LOSSES)}")
    return LOSSES[loss]()


def classes(y: Any, output: Spec) -> IntArray:
    """int32 (n,): a class for each sample, or `NONE`; an `InputError` where an output has no such class."""
    array = np.asarray(y)
    if len(output.shape) != 1 or array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"targets are {array.dtype} {array.shape}, outputs {output.shape}: one class for each sample is due, and "
            "an output for each class"
        )
    strange = array[(array >= output.size) | ((array < 0) & (array != NONE))]
    if strange.size:
        raise InputError(
            f"a target is class {strange[0]}, but the network has outputs for 0..{output.size - 1}; "
            "number classes from 0 on, or give the last layer more outputs"
        )
    return array.astype(np.int32)


def _one(unit: Fraction) -> int:
    """The integer nearest to 1.0."""
    return int(unit + Fraction(1, 2))


def _right(z: IntArray, y: IntArray) -> int:
    return int((z.argmax(axis=1) == y).sum())


def _sum(x: IntArray) -> int:
    """Of int64 numbers, exact whatever it is."""
    return (int((x >> 24).sum()) << 24) + int((x & 0xFFFFFF).sum())
