"""Random integers in arrays: SplitMix64, the same numbers as `zahlen.generator.Generator` gives one by one."""

from __future__ import annotations

from math import isqrt, prod
from typing import Any

import numpy as np

from ..generator import Generator
from ..machine import IntArray

_GOLDEN = 0x9E3779B97F4A7C15


class Chance(Generator):
    """A generator whose numbers may be asked for in arrays.

    Examples
    --------
    >>> one, many = Generator(7), Chance(7)
    >>> [one.next() for _ in range(3)] == many.words(3).tolist()
    True
    >>> sorted(Chance(0).permutation(5).tolist())
    [0, 1, 2, 3, 4]
    """

    @property
    def state(self) -> int:
        """Where the counter stands: a `Chance` of this seed goes on from here."""
        return self._state

    @state.setter
    def state(self, value: int) -> None:
        self._state = value % 2**64

    def words(self, count: int) -> Any:
        """uint64 (count,): the next of the sequence."""
        steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        z = steps + np.uint64(self._state)
        self._state = (self._state + count * _GOLDEN) % 2**64
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform(self, count: int, bound: int) -> IntArray:
        """int64 (count,): integers from -bound to bound, each as likely as the others to within 2^-30."""
        high = (self.words(count) >> np.uint64(32)) * np.uint64(2 * bound + 1) >> np.uint64(32)
        return np.asarray(high.astype(np.int64) - bound)

    def normal(self, count: int, deviation: int) -> IntArray:
        """int64 (count,): roughly normal, of mean 0 and this standard deviation.

        The sum of twelve uniform numbers of 16 bits, less its mean: its variance is 2^32 (Irwin and Hall).
        """
        words = self.words(3 * count).reshape(count, 3)
        parts = [(words >> np.uint64(16 * k)) & np.uint64(0xFFFF) for k in range(4)]
        total = sum(part.astype(np.int64).sum(axis=1) for part in parts) - 6 * 65535
        return np.asarray((total * deviation + 2**15) >> 16)

    def permutation(self, count: int) -> IntArray:
        """int64 (count,): 0 .. count-1 in some order, by sorting random words."""
        return np.argsort(self.words(count), kind="stable")


def root_bound(scale: int, fan_in: int) -> int:
    """floor(scale / sqrt(fan_in)).

    >>> root_bound(1000, 100)
    100
    """
    return isqrt(scale * scale // fan_in)


def noise(seed: int, shape: tuple[int, ...]) -> IntArray:
    """int64 array of 32-bit numbers, one for each place: Wellons' low-bias hash of place and seed."""
    x = np.arange(prod(shape), dtype=np.uint64) * np.uint64(0x9E3779B9) + np.uint64(seed)
    mask = np.uint64(0xFFFFFFFF)
    x &= mask
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & mask
    x ^= x >> np.uint64(16)
    return x.astype(np.int64).reshape(shape)
