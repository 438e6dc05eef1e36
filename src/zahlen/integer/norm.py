"""Batch normalisation in integers, which folds exactly into the staircase behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import isqrt, prod

import numpy as np

from ..flow import Spec
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from . import arithmetic as do
from .chance import Chance
from .layer import FRACTION, Layer, Parameter
from .optimisers import fraction

UNIT = 10
"""A normalised 1.0 is 2^UNIT; 16 bits hold 32 deviations."""
GAMMA = 10
"""A scale of 1.0 is 2^GAMMA; scales are positive and below 4."""
CACHE = 2**19
"""Bytes of normalised values that are worked on at a time."""
BEYOND = 2**62
"""A threshold above all accumulators."""


class BatchNorm(Layer):
    """Normalise each channel over the batch; in eval mode and in the machine it is part of the next staircase.

    An activation must follow. While the network learns, mean and deviation are the batch's; in eval mode they are
    running averages of these, and each channel has integer thresholds of its own on the bare accumulator.

    Parameters
    ----------
    eps : Fraction or decimal str
        Added to the variance, in squares of the accumulator's unit.
    momentum : Fraction or decimal str
        Weight of the newest batch in the running averages, of means and of deviations.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((4,), Levels(0, 9)), integer.Linear(4, 3), integer.BatchNorm(), integer.TanhD(16)
    ... )
    >>> x = np.arange(40).reshape(10, 4) % 10
    >>> model.train()
    >>> bool((abs(model(x).sum(0)) < 30).all())  # a mean below 3, of levels from -15 to 15
    True
    >>> model.eval()
    >>> bool((model(x) == model.machine().run(x)).all())
    True
    """

    def __init__(self, eps: Fraction | str = "0.00001", momentum: Fraction | str = "0.1") -> None:
        self.eps, self.momentum = fraction(eps, "eps"), fraction(momentum, "momentum")
        if self.momentum > 1:
            raise LayerError(f"BatchNorm: momentum is at most 1, got {self.momentum}")

    def describe(self) -> str:
        return f"eps={self.eps}, momentum={self.momentum}"

    def bind(self, spec: Spec) -> Spec:
        if 2 * spec.bound > do.INT32:
            raise self.fail(f"receives values up to {spec.bound}, beyond 31 bits; take coarser weights before it")
        self.spec, self.channels, self.tail = spec, spec.shape[0], []
        self._positions = prod(spec.shape[1:])
        self._fine = max(0, min(8, 30 - spec.bound.bit_length()))  # bits of statistics behind those of integers
        limit = 8 << UNIT + GAMMA
        self._grids = Levels(1, (4 << GAMMA) - 1), Levels(-limit, limit)
        bound = do.SHORT * self._grids[0].hi + limit
        return spec.but(alphabet=Levels(-bound, bound), unit=Fraction(1 << UNIT + GAMMA))

    def start(self, chance: Chance) -> None:
        """Scales of 1 and shifts of 0; statistics of mean 0 and deviation 1."""
        gamma, beta = self._grids
        ones = np.full(self.channels, 1 << GAMMA + FRACTION, dtype=np.int32)
        zeros = np.zeros(self.channels, dtype=np.int32)
        self.weight = Parameter(gamma, Fraction(1 << GAMMA), ones)
        self.bias = Parameter(beta, Fraction(1 << UNIT + GAMMA), zeros.copy(), 6)
        unit = self.receives().unit
        deviation = np.full(self.channels, min(2**30, max(1, int(unit * (1 << self._fine)))), dtype=np.int32)
        grain = Fraction(1 << self._fine)
        self.mean = Parameter(Levels(-(2**30), 2**30), grain, zeros.copy(), 0, learns=False)
        self.deviation = Parameter(Levels(1, 2**30), grain, deviation, 0, learns=False)

    def parameters(self) -> Iterator[Parameter]:
        yield from (self.weight, self.bias, self.mean, self.deviation)

    def announce(self, bits: int, most: int) -> None:
        self.bits = bits
        self.weight.receives(Fraction(1 << bits + UNIT), do.SHORT**2 * self._positions, most)
        self.bias.receives(Fraction(1 << bits), do.SHORT * self._positions, most)
        for statistic in (self.mean, self.deviation):
            statistic.receives(Fraction(1), 0, most)

    def _statistics(self, z: IntArray) -> tuple[IntArray, IntArray]:
        """int64 (channels,): mean and deviation, in 2^-fine, to normalise rows by; running averages follow them."""
        self._own = self.draw is not None and len(z) > 1
        if not self._own:
            return self.mean.weight.astype(np.int64), self.deviation.weight.astype(np.int64)
        found = self._measured(z)
        top, bottom = self.momentum.numerator, self.momentum.denominator
        for running, new in zip((self.mean, self.deviation), found):
            old = running.latent.astype(np.int64)
            running.latent[...] = old + (2 * top * (new - old) + bottom) // (2 * bottom)
            running.refresh()
        return found

    def _measured(self, z: IntArray) -> tuple[IntArray, IntArray]:
        count, spec = len(z), self.receives()
        # sums of squares are to fit 64 bits
        down = max(0, (2 * spec.bound.bit_length() + count.bit_length() - 61) // 2)
        sums, squares = moments(z, down)
        means = (2 * (sums << down + self._fine) + count) // (2 * count)
        eps = int(self.eps * spec.unit**2 * (1 << 2 * self._fine))
        variances = (count * int(s2) - int(s1) ** 2 for s1, s2 in zip(sums, squares))
        deviations = [isqrt((v << 2 * (down + self._fine)) // count**2 + eps) for v in variances]
        return means, np.clip(np.array(deviations, dtype=np.int64), 1, 2**30)

    def _constants(self, mean: IntArray, deviation: IntArray) -> IntArray:
        """int64 (5, channels): mean, factor, shift, gamma, beta."""
        factors = ratios((1 << UNIT + self._fine, d) for d in deviation.tolist())
        whole = (mean + (1 << self._fine >> 1)) >> self._fine
        return np.stack([whole, *factors, self.weight.weight.astype(np.int64), self.bias.weight.astype(np.int64)])

    def _parts(self, count: int) -> Iterator[tuple[slice, slice]]:
        """Samples, and the rows that they are."""
        size = self._positions
        step = max(1, CACHE // (4 * size * self.channels))
        for first in range(0, count, step):
            last = min(first + step, count)
            yield slice(first, last), slice(first * size, last * size)

    def forward(self, x: IntArray) -> IntArray:
        """int32 (batch, *shape) to what comes out behind the tail."""
        rows, tail = x.reshape(-1, self.channels).astype(np.int32, copy=False), self.tail or []
        mean, self._deviation = self._statistics(rows)
        constants = self._constants(mean, self._deviation)
        self._x, self._kept, done = np.empty(rows.shape, dtype=np.int16), [], []
        for part, inside in self._parts(len(x)):
            flat, clamps = normalise(rows[inside], constants, self._x[inside])
            self.clamps += clamps
            y = flat.reshape(x[part].shape)
            for layer in tail:
                y = layer.forward(y)
            self._kept.append([layer.kept for layer in tail])
            done.append(y)
        return np.concatenate(done) if len(done) > 1 else done[0]

    def backward(self, d: IntArray) -> IntArray:
        dy, tail, count = np.empty_like(self._x), self.tail or [], len(self._x)
        for (part, inside), kept in zip(self._parts(len(d)), self._kept):
            back = d[part]
            for layer, of_part in zip(reversed(tail), reversed(kept)):
                layer.kept = of_part
                back = layer.backward(back)
            dy[inside] = back.reshape(-1, self.channels)
        sums, products = dots(dy, self._x)
        self.bias.gradient += sums.astype(self.bias.gradient.dtype)
        self.weight.gradient += products.astype(self.weight.gradient.dtype)
        own = int(self._own)  # running averages do not depend on what they normalise
        mean, slope = own * (512 * sums + count) // (2 * count), own * (128 * products + count) // (2 * count)
        unit = self.receives().unit
        top, bottom = unit.numerator << self._fine, unit.denominator << GAMMA + 8
        pairs = zip(self.weight.weight.tolist(), self._deviation.tolist())
        factors = ratios((top * gamma, bottom * deviation) for gamma, deviation in pairs)
        dz, clamps = norm_back(dy, self._x, np.stack([mean, slope, *factors]))
        self.clamps += clamps
        return dz.reshape(len(d), *self.receives().shape[1:], self.channels)

    def fold(self, thresholds: IntArray) -> IntArray:
        """int64 (channels, T): the least z whose y is at or above each threshold."""
        mean, deviation = (s.weight.astype(np.int64) for s in (self.mean, self.deviation))
        rows = []
        for centre, factor, shift, gamma, beta in self._constants(mean, deviation).T.tolist():
            row = []
            for t in thresholds.tolist():
                x = -((beta - t) // gamma)
                if -do.SHORT < x <= do.SHORT:
                    row.append(centre - (((1 << shift) >> 1) - (x << shift)) // factor)
                else:  # reached always, or never
                    row.append(BEYOND if x > 0 else -BEYOND)
            rows.append(row)
        return np.array(rows, dtype=np.int64)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x


def ratios(pairs: Iterable[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    """Factors of 15 or 16 bits, of large ratios more, and shifts: factor / 2^shift is nearest to each ratio.

    >>> [row.tolist() for row in ratios([(3, 4), (1, 3)])]
    [[49152, 21845], [16, 16]]
    """
    factors, shifts = [], []
    for top, bottom in pairs:
        shift = min(62, max(0, 15 + bottom.bit_length() - top.bit_length()))
        factors.append(((top << shift + 1) + bottom) // (2 * bottom))
        shifts.append(shift)
    return np.array(factors, dtype=np.int64), np.array(shifts, dtype=np.int64)


def moments(z: IntArray, down: int) -> tuple[IntArray, IntArray]:
    """int64 (channels,): sums over int32 rows of z / 2^down, rounded down, and of its squares."""
    if do.kernels is None:
        part = z.astype(np.int64) >> down
        return part.sum(axis=0), (part * part).sum(axis=0)
    sums, squares = np.empty(z.shape[1], dtype=np.int64), np.empty(z.shape[1], dtype=np.int64)
    do.kernels.moments(z, sums, squares, down)
    return sums, squares


def normalise(z: IntArray, constants: IntArray, x: IntArray) -> tuple[IntArray, int]:
    """Put round((z - mean) factor / 2^shift) into x; return gamma x + beta, int32, and how many were clamped."""
    if do.kernels is None:
        mean, factor, shift, gamma, beta = constants
        x[...], count = do.clamped(((z.astype(np.int64) - mean) * factor + ((1 << shift) >> 1)) >> shift)
        return (gamma * x + beta).astype(np.int32), count
    y = np.empty(z.shape, dtype=np.int32)
    return y, do.kernels.normalise(z, x, y, constants)


def dots(d: IntArray, x: IntArray) -> tuple[IntArray, IntArray]:
    """int64 (channels,): sums over int16 rows of d, and of d x."""
    if do.kernels is None:
        return d.sum(axis=0, dtype=np.int64), (d.astype(np.int64) * x).sum(axis=0)
    sums, products = np.empty(d.shape[1], dtype=np.int64), np.empty(d.shape[1], dtype=np.int64)
    do.kernels.dots(d, x, sums, products)
    return sums, products


def norm_back(d: IntArray, x: IntArray, constants: IntArray) -> tuple[IntArray, int]:
    """int16 (d - mean / 2^8 - x slope / 2^26) 2^8 factor / 2^shift, for each channel; and how many were clamped."""
    out = np.empty(d.shape, dtype=np.int16)
    if do.kernels is not None:
        return out, do.kernels.norm_back(d, x, out, constants)
    mean, slope, factor, shift = constants
    fine = d.astype(np.int64) * 256 - mean - ((x * slope + (1 << 17)) >> 18)
    out[...], count = do.clamped((fine * factor + ((1 << shift) >> 1)) >> shift)
    return out, count
