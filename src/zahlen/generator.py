"""Pseudo-random integers that are the same on every computer, in Python and in emitted programs: SplitMix64."""

from __future__ import annotations

from .machine import InputError

WORD = 2**64
"""The generator's numbers are below this."""


class Generator:
    """SplitMix64: a 64-bit counter with an odd increment, scrambled by two multiplications and three shifts.

    Parameters
    ----------
    seed : int
        0 to 2^64 - 1: where the counter starts.

    Raises
    ------
    InputError
        If the seed is no integer of 64 bits without sign.

    Notes
    -----
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    Examples
    --------
    >>> generator = Generator(0)
    >>> hex(generator.next())
    '0xe220a8397b1dcdaf'
    >>> [generator.below(6) for _ in range(8)]
    [2, 0, 5, 0, 1, 1, 4, 1]
    """

    def __init__(self, seed: int):
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < WORD:
            raise InputError(f"seed: an integer from 0 to 2^64 - 1 is due, got {seed!r}")
        self._state = seed

    def next(self) -> int:
        """The next of the sequence, 0 to 2^64 - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) % WORD
        z = self._state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """One of 0..n-1: the upper 32 bits times n, shifted right by 32.

        No value is preferred by more than n in 2^32. `n` is 1 to 2^32.

        Raises
        ------
        InputError
            If `n` is outside.
        """
        if not 1 <= n <= 2**32:
            raise InputError(f"below: a number from 1 to 2^32 is due, got {n}")
        return (self.next() >> 32) * n >> 32
