"""A polygon cut into convex cells: vertices in exact coordinates, and each edge with the cells on both of its sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .homogeneous import Line, Point, above, cross, line, point

Edge = tuple[int, int]


class Plane:
    """Convex cells, face to face: where a vertex lies on the side of a cell, it is a vertex of that cell too.

    Attributes
    ----------
    points : list of Point
        Vertices by number; some may belong to no cell any more.
    cells : dict of int to list of int
        For each cell its vertices, anticlockwise.
    sides : dict of (int, int) to int
        For each directed edge the cell on its left.
    lines : dict of (int, int) to Line
        For each directed edge the line that it lies on.

    Examples
    --------
    >>> square = Plane([(0, 0, 1), (2, 0, 1), (2, 2, 1), (0, 2, 1)])
    >>> square.cut(0, (1, -1, 0))
    (0, 1)
    >>> square.cut(0, (1, 0, -1))
    (0, 2)
    >>> square.cells, square.points[4:]
    ({0: [4, 1, 2, 5], 1: [2, 3, 0, 5], 2: [5, 0, 4]}, [(1, 0, 1), (1, 1, 1)])
    """

    def __init__(self, corners: Sequence[Point]) -> None:
        """One cell, 0, with these corners, anticlockwise."""
        self.points = list(corners)
        self.cells = {0: list(range(len(corners)))}
        self.sides: dict[Edge, int] = {}
        self.lines: dict[Edge, Line] = {}
        self._cells = 1
        for u, v in _edges(self.cells[0]):
            self.sides[u, v] = 0
            self.lines[u, v] = line(cross(self.points[u], self.points[v]))

    def cut(self, cell: int, form: Sequence[int]) -> tuple[int, int]:
        """Cut a cell in two, where an affine form is positive and where it is negative; it must be both somewhere.

        The positive side keeps the cell's number.
        """
        through, points = line(form), self.points
        signs = {v: above(form, points[v]) for v in self.cells[cell]}
        for u, v in _edges(tuple(self.cells[cell])):
            if signs[u] < 0 < signs[v] or signs[v] < 0 < signs[u]:
                signs[self._split(u, v, through)] = 0
        polygon = self.cells[cell]
        # from the vertex on the line that the positive side follows
        start = next(k for k, v in enumerate(polygon) if signs[polygon[k - 1]] <= 0 < signs[v]) - 1
        polygon = polygon[start:] + polygon[:start]
        end = next(k for k, v in enumerate(polygon[1:], 1) if signs[v] <= 0)
        first, last, other = polygon[0], polygon[end], self._cells
        self._cells += 1
        self.cells[cell], self.cells[other] = polygon[: end + 1], [*polygon[end:], first]
        for edge in _edges(self.cells[other]):
            self.sides[edge] = other
        self.sides[last, first] = cell
        self.lines[first, last] = self.lines[last, first] = through
        return cell, other

    def _split(self, u: int, v: int, through: Line) -> int:
        """A new vertex where an edge meets a line, in the cells on both sides."""
        old, new = self.lines[u, v], len(self.points)
        self.points.append(point(cross(old, through)))
        for a, b in ((u, v), (v, u)):
            if (cell := self.sides.pop((a, b), None)) is not None:
                del self.lines[a, b]
                polygon = self.cells[cell]
                polygon.insert(polygon.index(a) + 1, new)
                self.sides[a, new] = self.sides[new, b] = cell
                self.lines[a, new] = self.lines[new, b] = old
        return new

    def drop(self, cell: int) -> None:
        """Remove a cell: its edges become the outside's."""
        for edge in _edges(self.cells.pop(cell)):
            del self.sides[edge], self.lines[edge]

    def merge(self, cells: Iterable[int]) -> int:
        """Make one cell of several whose union is convex; the first keeps its number."""
        number, *others = cells
        inside, following = {number, *others}, {}
        edges = [edge for cell in inside for edge in _edges(self.cells[cell])]
        inner = [(u, v) for u, v in edges if self.sides.get((v, u)) in inside]
        for edge in inner:
            del self.lines[edge]
        for edge in set(edges).difference(inner):
            following[edge[0]] = edge[1]
            self.sides[edge] = number
        for edge in inner:
            del self.sides[edge]
        for cell in others:
            del self.cells[cell]
        first = next(iter(following))
        polygon = [first]
        while (v := following[polygon[-1]]) != first:
            polygon.append(v)
        self.cells[number] = polygon
        for v in tuple(polygon):
            self._straighten(number, v)
        return number

    def _straighten(self, cell: int, v: int) -> None:
        """Remove a vertex in the middle of an edge, where no other edge ends."""
        k, polygon = self.cells[cell].index(v), self.cells[cell]
        u, w = polygon[k - 1], polygon[(k + 1) % len(polygon)]
        across = self.sides.get((v, u))
        if (through := self.lines[u, v]) != self.lines[v, w] or across != self.sides.get((w, v)):
            return
        for number, a, b in ((cell, u, w), (across, w, u)):
            if number is not None:
                self.cells[number].remove(v)
                for edge in ((a, v), (v, b)):
                    del self.sides[edge], self.lines[edge]
                self.sides[a, b], self.lines[a, b] = number, through


def _edges(polygon: Sequence[int]) -> Iterator[Edge]:
    return zip(polygon, (*polygon[1:], polygon[0]))
