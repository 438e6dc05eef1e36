"""Where the elements of a wire stand in its slot. Reshapes, slices and transpositions only change that."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from ..machine import IntArray
from .forms import Slot

Halo = tuple[tuple[int, int], ...]
"""Further elements before and after each spatial axis."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A wire's elements in a slot.

    Attributes
    ----------
    slot : Slot
    where : int64, of the wire's shape
        Index of each element.
    halo : Halo, optional
        If channels are last: what stands around them, from the slot's beginning to its end.
    """

    slot: Slot
    where: IntArray
    halo: Halo | None = None

    @classmethod
    def in_order(cls, slot: Slot, shape: tuple[int, ...]) -> Placed:
        """Row-major from the slot's beginning."""
        return cls(slot, np.arange(prod(shape)).reshape(shape))

    @property
    def plain(self) -> bool:
        """Whether they stand in row-major order from the beginning on, and nothing else does."""
        return self.where.size == self.slot.elements and self.start() == 0

    def start(self) -> int | None:
        """Where they begin, if they stand in row-major order one behind the other."""
        flat = self.where.ravel()
        first = int(flat[0])
        return first if bool((flat == np.arange(first, first + len(flat))).all()) else None

    def runs(self) -> tuple[int, IntArray]:
        """How many elements always stand side by side, and where each such run begins."""
        flat = self.where.ravel()
        breaks = np.flatnonzero(np.diff(flat) != 1) + 1
        run = int(np.gcd.reduce(np.append(breaks, len(flat))))
        return run, flat[::run]

    def order(self) -> tuple[int, IntArray] | None:
        """Where they begin and which element stands at each place, if they fill a run of places."""
        flat = self.where.ravel()
        first, last = int(flat.min()), int(flat.max())
        if last - first + 1 != len(flat):
            return None
        order = np.full(len(flat), -1)
        order[flat - first] = np.arange(len(flat))
        return None if (order < 0).any() else (first, order)


def channels_last(shape: tuple[int, ...], halo: Halo | None = None) -> tuple[int, IntArray]:
    """Elements of a slot for (channels, *spatial) with a halo, and where each stands.

    >>> channels_last((2, 3), ((1, 0),))
    (8, array([[2, 4, 6],
           [3, 5, 7]]))
    """
    channels, *spatial = shape
    halo = ((0, 0),) * len(spatial) if halo is None else halo
    sizes = [before + n + after for n, (before, after) in zip(spatial, halo)]
    where = np.arange(prod(sizes) * channels).reshape(*sizes, channels)
    inside = where[tuple(slice(before, before + n) for n, (before, _) in zip(spatial, halo))]
    return where.size, np.moveaxis(inside, -1, 0)
