"""Steps of latent weights: momentum, and a rate that falls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any, Protocol

import numpy as np

from ..machine import InputError, IntArray
from . import arithmetic as do
from .chance import noise
from .layer import Parameter

RESOLUTION = 19
"""Bits that a mean gradient of 1.0 keeps in the momentum, if 32 bits are not proven to hold more."""
SEEDS = 0x9E3779B9
"""Between the seeds of random rounding of one parameter and the next."""


class Optimiser(Protocol):
    """A rule for steps of latent weights."""

    def step(self, parameters: Iterable[Parameter], batch: int, part: Fraction, seed: int) -> int:
        """Take a step on all parameters and empty their gradients; how many values were clamped.

        Parameters
        ----------
        parameters : iterable of Parameter
        batch : int
            What the sums of gradients are divided by; the same at every step of a training.
        part : Fraction
            Of the first rate.
        seed : int
            Of random rounding, below 2^32.
        """


@dataclass(frozen=True)
class Momentum:
    """Stochastic gradient descent: M <- M - M / 2^decay + G,  V <- V - lr M.

    Gradients are means over a batch. With `decay` = 3 this is PyTorch's SGD with momentum 7/8.

    Parameters
    ----------
    lr : Fraction, int or decimal str
        The first rate.
    decay : int
        Momentum loses its 2^decay-th part a step; 0: there is none.
    weight_decay : int
        Latent weights lose their 2^weight_decay-th part a step; 0: they lose nothing.
    random : bool
        Round steps by chance, up as often as the part that is rounded away says.
    clip : Fraction, optional
        Largest Euclidean norm of a mean gradient.
    """

    lr: Fraction
    decay: int = 3
    weight_decay: int = 0
    random: bool = False
    clip: Fraction | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", fraction(self.lr, "lr"))
        if self.clip is not None:
            object.__setattr__(self, "clip", fraction(self.clip, "clip"))
        if not (0 <= self.decay <= 15 and 0 <= self.weight_decay <= 31):
            raise InputError("Momentum: decay is 0 to 15, weight_decay 0 to 31")

    def step(self, parameters: Iterable[Parameter], batch: int, part: Fraction, seed: int) -> int:
        """See `Optimiser`."""
        parameters = list(parameters)
        clip = self._clip(parameters, batch)
        clamps = 0
        for k, p in enumerate(parameters):
            down = self.down(p, batch)
            scale = latent_scale(p, self.lr * part, batch, down)
            if scale.factor > do.INT32:
                raise InputError(f"Momentum: at a rate of {self.lr} the least gradient moves weights off their grid")
            clamps += take_step(p, self, down, clip, scale, (seed + k * SEEDS) % 2**32)
        return clamps

    def spare(self, p: Parameter) -> int:
        """Bits that gradients have to be shifted by for a momentum that is proven to stay within 32."""
        return max(0, (p.bound << self.decay).bit_length() - 31)

    def down(self, p: Parameter, batch: int) -> int:
        """Bits that gradients are shifted by: none if the momentum holds all, else what `RESOLUTION` leaves."""
        wanted = max(0, (p.unit.numerator * batch // p.unit.denominator).bit_length() - RESOLUTION)
        return min(self.spare(p), wanted)

    def _clip(self, parameters: list[Parameter], batch: int) -> int:
        """2^16, or what less than that brings the norm down to `clip`."""
        if self.clip is None:
            return 1 << 16
        square = sum((squares(p.gradient) / p.unit**2 for p in parameters), Fraction(0)) / batch**2
        if square <= self.clip**2:
            return 1 << 16
        return int(isqrt_fraction((Fraction(1 << 32) * self.clip**2) / square))


def isqrt_fraction(x: Fraction) -> int:
    """floor(sqrt(x))."""
    return isqrt(x.numerator // x.denominator)


def squares(g: IntArray) -> int:
    """The sum of squares, exact but for the lowest bits of large numbers."""
    low, high = int(g.min(initial=0)), int(g.max(initial=0))
    shift = max(0, max(-low, high).bit_length() - 20)
    part = g >> shift if shift else g
    part = part.astype(np.int64, copy=False).reshape(-1)
    return int(part @ part) << 2 * shift


def take_step(p: Parameter, rule: Momentum, down: int, clip: int, scale: do.Scale, seed: int) -> int:
    """Momentum, latent weights and weights of one parameter, its gradient emptied; how many values were clamped."""
    grid = p.grid
    if do.kernels is not None:
        wide, long = p.gradient.dtype == np.int64, p.weight.dtype == np.int32
        name = f"update{'64' if wide else '32'}{'_long' if long else ''}"
        count: int = getattr(do.kernels, name)(
            p.gradient, p.momentum, p.latent, p.weight, down, clip, rule.decay, scale.factor, scale.shift,
            rule.weight_decay, p.fraction, grid.lo, grid.hi, grid.step, rule.random, seed,
        )  # fmt: skip
        return count
    g = do.Scale(clip, down + 16)(p.gradient.astype(np.int64))
    m = p.momentum.astype(np.int64)
    m, clamps = do.clamped(m + g - (m >> rule.decay), do.INT32)
    chance: Any = (1 << scale.shift) >> 1
    if rule.random:
        chance = noise(seed, m.shape) & ((1 << scale.shift) - 1)
    v = p.latent - ((m * scale.factor + chance) >> scale.shift)
    v = v - (v >> rule.weight_decay) if rule.weight_decay else v
    p.gradient[...], p.momentum[...] = 0, m
    return clamps + settle(p, v)


def latent_rate(p: Parameter, rate: Fraction, batch: int) -> Fraction:
    """By how much a latent weight moves for one unit of a gradient summed over a batch."""
    return rate * p.scale * (1 << p.fraction) / (batch * p.unit)


def latent_scale(p: Parameter, rate: Fraction, batch: int, down: int) -> do.Scale:
    """`latent_rate` for 2^down units, as updates take it: at every step, so without the fraction's lowest terms."""
    above = rate.numerator * p.scale.numerator * p.unit.denominator << p.fraction + down
    return do.Scale.ratio(above, rate.denominator * p.scale.denominator * p.unit.numerator * batch, 31, 32)


def settle(p: Parameter, v: IntArray) -> int:
    """Take int64 latent weights, clamped to what the grid's elements are nearest to; how many had to be clamped."""
    half = p.grid.step << p.fraction >> 1
    inside = np.clip(v, (p.grid.lo << p.fraction) - half, (p.grid.hi << p.fraction) + half - 1)
    p.latent[...] = inside
    p.refresh()
    return int(np.count_nonzero(inside != v))


def fraction(value: Any, what: str, least: int | None = None) -> Fraction:
    """A positive number, or one from `least` on, as it is written; floats count as the decimals that they print as."""
    due = "a positive number" if least is None else f"a number from {least} on"
    try:
        result = value if isinstance(value, Fraction) else Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{what} is {due}, got {value!r}") from None
    if result <= 0 if least is None else result < least:
        raise InputError(f"{what} is {due}, got {value!r}")
    return result
