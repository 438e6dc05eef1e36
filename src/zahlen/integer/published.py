"""Published steps of integer weights beside `Momentum`: NITRO-D's IntegerSGD, BOLD's Boolean optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..machine import InputError
from . import arithmetic as do
from .layer import Parameter
from .optimisers import Momentum, fraction, latent_rate, settle


@dataclass(frozen=True)
class IntegerSGD:
    """Gradient descent by integer division: V <- V - trunc(G / inverse) - trunc(V / decay).

    The optimiser of NITRO-D (arXiv 2407.11698), whose rates are integers that are divided by. Division cuts off towards
    zero, so gradients below `inverse` do nothing, nor do weights below `decay` decay.

    The paper's scaling layers divide by a layer's inputs on the way forward, but not on the way back, so that a rate
    means the same whatever their number; here `lr` is divided by it (weights only), which comes to the same.

    Ours departs from the paper in this: its rate is an integer, here it is the integer nearest to what `lr` comes to in
    each parameter's units; its weights, of 16 bits in practice, are here the latent ones, whose upper bits are used;
    learning layers have the same `decay` as all others.

    Parameters
    ----------
    lr : Fraction, int or decimal str
        The first rate, of a layer with one input.
    decay : int
        A latent weight loses its `decay`-th part a step; 0: it loses nothing.
    """

    lr: Fraction
    decay: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", fraction(self.lr, "lr"))
        if self.decay < 0:
            raise InputError(f"IntegerSGD: decay is 0 or an integer to divide by, got {self.decay}")

    def step(self, parameters: Iterable[Parameter], batch: int, part: Fraction, seed: int) -> int:
        """As `Momentum.step`; nothing is left to chance."""
        clamps = 0
        for p in parameters:
            v = p.latent - truncated(p.gradient, self.inverse(p, batch, part))
            if self.decay:
                v -= truncated(p.latent, self.decay)
            clamps += settle(p, v)
            p.gradient[...] = 0
        return clamps

    def inverse(self, p: Parameter, batch: int, part: Fraction = Fraction(1)) -> int:
        """What gradients of a parameter, summed over a batch, are divided by."""
        inputs = p.latent.shape[0] if p.latent.ndim > 1 else 1
        return max(1, int(inputs / latent_rate(p, self.lr * part, batch) + Fraction(1, 2)))


def truncated(x: Any, divisor: int) -> Any:
    """int64: x / divisor, cut off towards zero; x is not the least of its type."""
    size = np.abs(x) // min(divisor, np.iinfo(x.dtype).max)
    return np.where(x < 0, -size, size).astype(np.int64)


@dataclass(frozen=True)
class BooleanOptimiser:
    """Weights of two values flip where the votes against them add up to one; there are no latent weights.

    BOLD (arXiv 2405.16339, section 3.3, equations 9 to 11): m <- beta m + lr G; where m and the weight have the same
    sign and |m| >= 1 the weight flips, and m starts anew from zero; beta is the share of the parameter's weights that
    did not flip in the step before. With Boolean weights and activations, xnor is a product of -1 and 1, a neuron's
    count of votes is `Linear`, and the aggregated variation of a weight is its gradient.

    Ours departs from the paper in this: votes are weighed by the slope of tanh, from the table of differences of
    `Sign`; G is the mean gradient by real values, so that `lr` does not depend on the batch; m is an integer in units
    of 2^-20, clamped to 32 bits; a weight's latent twin only repeats it; parameters of more than two values, such as
    biases, take the steps of another optimiser, as the paper's do those of Adam.

    Parameters
    ----------
    lr : Fraction, int or decimal str
        What a mean gradient of 1.0 adds to m.
    rest : Momentum or IntegerSGD, optional
        For parameters of more than two values.
    """

    lr: Fraction
    rest: Momentum | IntegerSGD | None = None

    ONE = 1 << 20
    """1.0 of m."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", fraction(self.lr, "lr"))

    def step(self, parameters: Iterable[Parameter], batch: int, part: Fraction, seed: int) -> int:
        """As `Momentum.step`; m stands where momentum does."""
        parameters = list(parameters)
        others = [p for p in parameters if p.grid.size > 2]
        if others and self.rest is None:
            raise InputError(
                f"BooleanOptimiser: weights of two values are due, got {others[0].grid}; "
                "build layers with weights=2 and bias=False, or give an optimiser for the others as rest"
            )
        clamps = sum(self._vote(p, batch, part) for p in parameters if p.grid.size == 2)
        return clamps + (self.rest.step(others, batch, part, seed) if self.rest is not None else 0)

    def _vote(self, p: Parameter, batch: int, part: Fraction) -> int:
        down = max(0, p.bound.bit_length() - 31)
        rate = do.Scale.of(self.lr * part * (self.ONE << down) / (batch * p.unit), 31, 32)
        g = do.Scale(1, down)(p.gradient.astype(np.int64))
        m, clamps = do.clamped(p.momentum + rate(g), do.INT32)
        flips = np.where(p.weight == p.grid.hi, m, -m) >= self.ONE
        flipped = p.grid.lo + p.grid.hi - p.weight[flips]
        p.weight[flips], p.latent[flips], m[flips] = flipped, flipped.astype(np.int32) << p.fraction, 0
        # beta of the step to come
        p.momentum[...] = do.Scale.of(Fraction(flips.size - int(flips.sum()), flips.size), 31, 31)(m)
        p.gradient[...] = 0
        return clamps
