"""The pieces of a segment of the input space on which a machine is one affine function, with exact ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...machine import InputError, IntArray, Machine
from ...machine import operations as op
from ..progress import bar
from .homogeneous import Point
from .program import program
from .regions import DEFINITIONS, MAX_CELLS
from .segment import Segment
from .slices import Slice, slice_through
from .subdivision import PARTS, subdivide


@dataclass(frozen=True, eq=False)
class Pieces:
    """A segment of the line p0 + s (p1 - p0), cut into pieces on which a machine is affine.

    Attributes
    ----------
    slice : Slice
        With the machine and the two points.
    outputs : tuple of str
        The wires whose function it is.
    ends : tuple of Fraction
        Where pieces end, from left to right: piece k is from ends[k] to ends[k + 1].
    maps : int64 or object array (pieces, elements, 2)
        Element e of the outputs is maps[k, e] . (s, 1) on piece k. Coefficients are integers.
    patterns : dict of str to int64 array (pieces, *shape)
        As in `Regions`.
    """

    slice: Slice
    outputs: tuple[str, ...]
    ends: tuple[Fraction, ...]
    maps: IntArray
    patterns: Mapping[str, NDArray[np.int64]]

    @property
    def corners(self) -> tuple[Sequence[Point], Sequence[Sequence[int]]]:
        """The ends in homogeneous coordinates, and those of each piece."""
        return [s.as_integer_ratio() for s in self.ends], [(k, k + 1) for k in range(len(self.maps))]

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by the definitions of `Regions`."""
        changes = (self.maps[1:] != self.maps[:-1]).any(axis=(1, 2))
        return dict(zip(DEFINITIONS, (len(self.maps), 1 + int(changes.sum()))))

    @property
    def classes(self) -> list[tuple[Fraction, int]]:
        """Where from which class is the answer: the first of the greatest elements of the output, or what argmax says.

        From left to right, the first from ends[0] on. A class at a single point does not count.

        Raises
        ------
        InputError
            If there are several outputs, or one of one element that is no argmax.

        Examples
        --------
        >>> from zahlen import Builder, Levels
        >>> b = Builder()
        >>> x = b.input("x", (2,), Levels(0, 9))
        >>> scores = b.affine(x, [[3, 0], [0, 2], [1, 1]], [0, 0, 4])
        >>> found = pieces(b.build(scores), [[8, 0], [0, 8]], within="segment")
        >>> [(str(start), label) for start, label in found.classes]
        [('0', 0), ('1/2', 2), ('3/4', 1)]
        """
        wires = [self.slice.machine.wires[name] for name in self.outputs]
        found: list[tuple[Fraction, int]] = []
        if len(wires) == 1 and wires[0].size > 1:
            for left, right, forms in zip(self.ends, self.ends[1:], self.maps.tolist()):
                found += _greatest(forms, left, right)
        elif len(wires) == 1 and isinstance(wires[0].operation, op.Argmax):
            found += [(left, label) for left, [[_, label]] in zip(self.ends, self.maps.tolist())]
        else:
            raise InputError("pieces: classes are those of one output of several elements, or of an argmax")
        before = [None, *(label for _, label in found)]
        return [(start, label) for (start, label), last in zip(found, before) if label != last]

    def __str__(self) -> str:
        counted = (f"{count:,} {name[:-1] if count == 1 else name}" for name, count in self.counts.items())
        return f"{', '.join(counted)} from {self.ends[0]} to {self.ends[-1]}"


def _greatest(forms: list[list[int]], left: Fraction, right: Fraction) -> list[tuple[Fraction, int]]:
    """Where from which form a s + b is the greatest between two points, the first of those that are equal."""
    found, s = [], left
    while s < right:
        # just behind s, where the steeper of two that are equal at s is greater
        best = max(range(len(forms)), key=lambda k: (forms[k][0] * s + forms[k][1], forms[k][0], -k))
        found.append((s, best))
        a, b = forms[best]
        s = min((Fraction(b - d, c - a) for c, d in forms if c > a), default=right)
    return found


def pieces(
    machine: Machine,
    points: Any = None,
    *,
    within: str = "box",
    outputs: Sequence[str] | None = None,
    limit: int = MAX_CELLS,
    progress: bool = False,
) -> Pieces:
    """Cut a line of the input space into the pieces on which a machine is affine, as `regions` cuts planes.

    Parameters
    ----------
    machine : Machine
    points : integer array (2, *shape), or mapping of such by input name, optional
        Points of the line. Without them the parameter is the one element of the input.
    within : str
        ``box``: the part in the box of the input alphabets; ``segment``: that between the points.
    outputs, limit, progress
        As in `regions`.

    Raises
    ------
    InputError, LimitError
        As `regions`.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (1,), Levels(-9, 9))
    >>> h = b.clamp(b.affine(x, [[3], [-1]], [2, 1]), 0, 5, name="h")
    >>> found = pieces(b.build(b.affine(h, [[1, -1]], name="y")))
    >>> print(found)
    4 activation regions, 4 linear regions from -9 to 9
    >>> [str(end) for end in found.ends], found.maps[:, 0].tolist()
    (['-9', '-4', '-2/3', '1', '9'], [[0, -5], [1, -1], [4, 1], [0, 5]])
    """
    plan = program("pieces", machine, outputs)
    of = slice_through("pieces", machine, points, 1)
    if within not in ("box", "segment"):
        raise InputError(f"pieces: within is box or segment, got {within!r}")
    segment = Segment(of.interval() if within == "box" else [(0, 1), (1, 1)])
    with bar(progress, "pieces", PARTS * plan.decisions) as report:
        cut = subdivide("pieces", plan, of, segment, limit, report)
    places = [tuple(Fraction(*segment.points[v]) for v in segment.cells[number]) for number in cut.numbers]
    order = sorted(range(len(places)), key=places.__getitem__)
    ends = (places[order[0]][0], *(places[k][1] for k in order))
    return Pieces(of, plan.outputs, ends, cut.maps[order], {name: p[order] for name, p in cut.patterns.items()})
