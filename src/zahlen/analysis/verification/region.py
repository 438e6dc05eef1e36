"""A region: a part of a box, with proven ends of every wire and lines beside every curve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray, Wire
from .curves import Points, Side, points


@dataclass(frozen=True)
class Split:
    """A part of a region: one element of a wire is at least, or below, a number.

    Attributes
    ----------
    wire : str
    index : int
        Of the element, in row-major order.
    at : int
    above : bool
        Whether the element is at least `at`, or below it.
    """

    wire: str
    index: int
    at: int
    above: bool

    @property
    def other(self) -> Split:
        """The rest of the region."""
        return Split(self.wire, self.index, self.at, not self.above)


Sides = tuple[Side, Side]
"""Lines below and above a curve, elements in row-major order."""


class Hull(NamedTuple):
    """Corners of the convex hulls of a curve, (corners, elements), between ends of its operand."""

    lo: IntArray
    hi: IntArray
    z: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a box.

    Attributes
    ----------
    ends : dict
        For each wire the least and the greatest value of every element, (*shape) each.
    sides : dict of Sides
        By curve.
    bits : dict of int
        By curve the precision of its lines, which all parts of a box share.
    hulls : dict of Hull
        By curve what `duals` has found; proofs do without.
    """

    ends: dict[str, tuple[IntArray, IntArray]]
    sides: dict[str, Sides] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    hulls: dict[str, Hull] = field(default_factory=dict)

    def copy(self) -> Region:
        """The same region, in dictionaries of its own."""
        return Region(dict(self.ends), dict(self.sides), dict(self.bits), dict(self.hulls))

    def points(self, wire: Wire) -> Points:
        """The points of a curve in this region, (points, *shape)."""
        lo, hi = (np.ravel(end) for end in self.ends[wire.operands[0]])
        found = points(wire, np.arange(wire.size), lo, hi)
        return Points(found.z.reshape(-1, *wire.shape), found.y.reshape(-1, *wire.shape))


def with_elements(array: IntArray, places: NDArray[np.int64], new: IntArray) -> IntArray:
    """A copy with other elements at some places."""
    found = array.astype(new.dtype) if new.dtype == object else array.copy()
    found.flat[places] = new
    return found
