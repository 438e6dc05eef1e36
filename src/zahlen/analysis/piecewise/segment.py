"""A segment cut into pieces: what `Plane` is for polygons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .homogeneous import Point, point


class Segment:
    """Pieces of a segment.

    Attributes
    ----------
    points : list of Point
        Ends by number; some may belong to no piece any more.
    cells : dict of int to list of int
        For each piece its left end and its right end.

    Examples
    --------
    >>> segment = Segment([(0, 1), (1, 1)])
    >>> segment.cut(0, (3, -2))
    (0, 1)
    >>> segment.cells, segment.points[2]
    ({0: [2, 1], 1: [0, 2]}, (2, 3))
    """

    def __init__(self, ends: Sequence[Point]) -> None:
        """One piece, 0, with these ends, from left to right."""
        self.points = list(ends)
        self.cells = {0: [0, 1]}
        self._cells = 1

    def cut(self, cell: int, form: Sequence[int]) -> tuple[int, int]:
        """Cut a piece in two, where an affine form is positive and where it is negative; it must be both somewhere."""
        (left, right), other = self.cells[cell], self._cells
        a, b = form
        self._cells += 1
        self.points.append(point((-b, a)))
        new = len(self.points) - 1
        halves = [[new, right], [left, new]]
        self.cells[cell], self.cells[other] = halves if a > 0 else halves[::-1]
        return cell, other

    def merge(self, cells: Iterable[int]) -> int:
        """Make one piece of several whose union is one; the first keeps its number."""
        number, *others = cells
        pieces = [self.cells[number], *(self.cells.pop(cell) for cell in others)]
        ends = {right for _, right in pieces} ^ {left for left, _ in pieces}
        self.cells[number] = [next(p[0] for p in pieces if p[0] in ends), next(p[1] for p in pieces if p[1] in ends)]
        return number
