"""Which of several affine forms is the greatest where: a convex cell is cut until one of them is on each piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .homogeneous import Point, above

Form = Sequence[int]


class Cells(Protocol):
    """What is cut: a `Plane` or a `Segment`."""

    points: list[Point]
    cells: dict[int, list[int]]

    def cut(self, cell: int, form: Sequence[int]) -> tuple[int, int]: ...

    def merge(self, cells: Iterable[int]) -> int: ...


class Window:
    """Affine forms, one of which is to be the greatest.

    Sets of forms are integers: form k is in a set if bit k is 1.
    """

    def __init__(self, number: int, forms: Sequence[Form], points: list[Point]) -> None:
        self.number, self.forms, self.points = number, forms, points
        self.difference = [a - b for a, b in zip(*forms)] if len(forms) == 2 else None
        self._greatest: dict[int, int] = {}

    def greatest(self, vertex: int) -> int:
        """The set of forms that are greatest at a vertex."""
        if (found := self._greatest.get(vertex)) is None:
            at = self.points[vertex]
            if self.difference is not None:
                value = above(self.difference, at)
                found = 1 if value > 0 else 2 if value < 0 else 3
            else:
                values = [above(form, at) for form in self.forms]
                most = max(values)
                found = sum(1 << k for k, value in enumerate(values) if value == most)
            self._greatest[vertex] = found
        return found

    def common(self, polygon: Sequence[int]) -> int:
        """The set of forms that are greatest at all of these vertices, so on the whole of their convex hull."""
        found = -1
        for v in polygon:
            found &= self._greatest[v] if v in self._greatest else self.greatest(v)
            if not found:
                break
        return found

    def line(self, polygon: Sequence[int]) -> Form:
        """A form that is positive somewhere and negative somewhere, if none is greatest at all of these vertices.

        Two forms are compared that are both greatest somewhere. Such a pair exists: if each that is greatest somewhere
        were nowhere above some other, following those others would end in one that is greatest everywhere.
        """
        if self.difference is not None:
            return self.difference
        sets = [self.greatest(v) for v in polygon]
        met = [k for k in range(len(self.forms)) if any(s >> k & 1 for s in sets)]
        for i, j in permutations(met, 2):
            form = [a - b for a, b in zip(self.forms[i], self.forms[j])]
            values = [above(form, self.points[v]) for v in polygon]
            if min(values) < 0 < max(values):
                return form
        raise AssertionError("no pair of forms differs in sign, so one of them is greatest")


def carve(
    cells: Cells, cell: int, windows: Sequence[Window], winners: NDArray[np.int64], cut: Callable[[], None]
) -> list[tuple[int, NDArray[np.int64]]]:
    """Cut a convex cell until each window has one form that is greatest on the whole of each piece.

    Parameters
    ----------
    cells : Plane or Segment
    cell : int
    windows : sequence of Window
        Those that are not decided on the whole cell.
    winners : int64 array
        Which form is greatest in each window that is decided.
    cut : function
        Called before each cut.

    Returns
    -------
    list of (int, int64 array)
        Every piece, with the greatest form of each window: the first of those that are equal on the piece. No two
        pieces have the same.
    """
    found, waiting = [], [(cell, list(windows), winners)]
    while waiting:
        cell, undecided, winners = waiting.pop()
        polygon = cells.cells[cell]
        still, winners = [], winners.copy()
        for window in undecided:
            if common := window.common(polygon):
                winners[window.number] = (common & -common).bit_length() - 1
            else:
                still.append(window)
        if not still:
            found.append((cell, winners))
            continue
        cut()
        for side in cells.cut(cell, still[0].line(polygon)):
            waiting.append((side, still, winners))
    if any(len(window.forms) > 2 for window in windows):
        return _joined(cells, found)
    return found


def _joined(cells: Cells, found: list[tuple[int, NDArray[np.int64]]]) -> list[tuple[int, NDArray[np.int64]]]:
    """Pieces with the same winners as one: where more than two forms meet, cuts go further than they have to."""
    alike: dict[bytes, list[tuple[int, NDArray[np.int64]]]] = {}
    for piece in found:
        alike.setdefault(piece[1].tobytes(), []).append(piece)
    return [
        (cells.merge(cell for cell, _ in group) if len(group) > 1 else group[0][0], group[0][1])
        for group in alike.values()
    ]
