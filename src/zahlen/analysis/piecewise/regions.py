"""The polygons of a plane slice on which a machine is one affine function, with exact coordinates, and their counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...machine import InputError, IntArray, Machine
from ..progress import bar
from .homogeneous import Point, above, point, rational
from .plane import Plane
from .program import program
from .rational import numerators
from .slices import Slice, slice_through
from .subdivision import PARTS, subdivide

if TYPE_CHECKING:
    import networkx

MAX_CELLS = 1 << 20
"""Most cells by default."""
DEFINITIONS = {
    "activation regions": "cells with interior, as large as can be, on which each operation stays on one of its pieces",
    "linear regions": "connected open sets, as large as can be, on which the outputs are one affine map",
    "affine maps": "different ones, wherever they are",
}
"""What is counted. Cells that meet at a vertex only are not connected."""
CORNERS = {"triangle": [(0, 0, 1), (1, 0, 1), (0, 1, 1)], "parallelogram": [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]}


@dataclass(frozen=True, eq=False)
class Regions:
    """A polygon of a plane slice, cut into convex cells on which a machine is affine.

    The slice is p0 + s (p1 - p0) + t (p2 - p0), and all coordinates are (s, t). Vertices, edges and cells are numbered.

    Attributes
    ----------
    slice : Slice
        With the machine and the three points.
    outputs : tuple of str
        The wires whose function it is.
    continuous : bool
        Whether no operation before them jumps, as staircases do and argmax.
    points : tuple of Point
        The vertices as integers (x, y, w) for (x / w, y / w).
    cells : tuple of tuples of int
        The vertices of each cell, anticlockwise.
    maps : int64 or object array (cells, elements, 3)
        Element e of the outputs is maps[c, e] . (s, t, 1) on cell c. Coefficients are integers.
    patterns : dict of str to int64 array (cells, *shape)
        For each wire with pieces which of them every element is on: of ``max`` 0 for the first operand and 1 for the
        second, of ``clamp`` 0, 1, 2 for below, between and above, of ``maxpool`` the place in the window, of
        ``staircase`` how many thresholds are reached.
    """

    slice: Slice
    outputs: tuple[str, ...]
    continuous: bool
    points: tuple[Point, ...]
    cells: tuple[tuple[int, ...], ...]
    maps: IntArray
    patterns: Mapping[str, NDArray[np.int64]]

    @cached_property
    def vertices(self) -> list[tuple[Fraction, ...]]:
        """The vertices' coordinates (s, t)."""
        return [rational(p) for p in self.points]

    @cached_property
    def edges(self) -> list[tuple[int, int, int, int]]:
        """(from, to, cell on the left, cell on the right): -1 where the polygon ends, always on the right."""
        sides = {edge: c for c, polygon in enumerate(self.cells) for edge in _sides(polygon)}
        return [(u, v, c, other) for (u, v), c in sides.items() if (other := sides.get((v, u), -1)) < c]

    @cached_property
    def region(self) -> NDArray[np.int64]:
        """Which linear region each cell belongs to, int64 (cells,); numbered from 0 on in the order of the cells."""
        parent = list(range(len(self.cells)))

        def root(c: int) -> int:
            while parent[c] != c:
                parent[c] = parent[parent[c]]
                c = parent[c]
            return c

        same = self.map_numbers
        for _, _, c, other in self.edges:
            if other >= 0 and same[c] == same[other]:
                a, b = root(c), root(other)
                parent[max(a, b)] = min(a, b)
        roots = [root(c) for c in range(len(parent))]
        number = {r: k for k, r in enumerate(dict.fromkeys(roots))}
        return np.array([number[r] for r in roots])

    @cached_property
    def map_numbers(self) -> NDArray[np.int64]:
        """A number for each cell, equal where the affine maps are, int64 (cells,)."""
        number: dict[Any, int] = {}
        rows = self.maps.reshape(len(self.maps), -1)
        keys = map(tuple, rows.tolist()) if rows.dtype == object else (row.tobytes() for row in rows)
        return np.array([number.setdefault(key, len(number)) for key in keys])

    @property
    def corners(self) -> tuple[Sequence[Point], Sequence[Sequence[int]]]:
        """The vertices, and those of each cell."""
        return self.points, self.cells

    @property
    def counts(self) -> dict[str, int]:
        """How many there are, by `DEFINITIONS`."""
        found = len(self.cells), int(self.region.max()) + 1, int(self.map_numbers.max()) + 1
        return dict(zip(DEFINITIONS, found))

    @property
    def euler(self) -> int:
        """Vertices - edges + cells: 1 for a polygon."""
        return len(self.points) - len(self.edges) + len(self.cells)

    @cached_property
    def areas(self) -> list[Fraction]:
        """The area of every cell, in units of the parallelogram of the three points."""
        return [area([self.points[v] for v in polygon]) for polygon in self.cells]

    def inside(self, cell: int) -> Point:
        """A point inside a cell, in homogeneous coordinates: a weighted mean of its vertices."""
        return point([sum(values) for values in zip(*(self.points[v] for v in self.cells[cell]))])

    def cell_at(self, s: Fraction | int, t: Fraction | int) -> int:
        """A cell that holds a point, the first of several that meet there.

        Raises
        ------
        InputError
            If the point is outside the polygon.
        """
        x, y = Fraction(s), Fraction(t)
        for c, polygon in enumerate(self.cells):
            corners = [self.vertices[v] for v in polygon]
            turns = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in _sides(corners))
            if all(turn >= 0 for turn in turns):
                return c
        raise InputError(f"regions: ({x}, {y}) is outside the polygon")

    def values(self, cell: int, s: Fraction | int, t: Fraction | int) -> list[Fraction]:
        """Every element of the outputs at a point of a cell, by the cell's map."""
        at = (Fraction(s), Fraction(t), Fraction(1))
        return [sum((a * x for a, x in zip(form, at)), Fraction(0)) for form in self.maps[cell].tolist()]

    def check(self) -> bool:
        """Whether all fits together, computed again from the vertices and the machine's operations.

        What has a cell on one side only is one closed path; V - E + F is 1; every cell has a positive area; and its map
        is the machine's function at a point inside, and at all its vertices where the machine is continuous.
        """
        outline = {u: v for u, v, _, other in self.edges if other < 0}
        first = v = next(iter(outline))
        steps = 1
        while (v := outline[v]) != first and steps <= len(outline):
            steps += 1
        if self.euler != 1 or steps != len(outline) or min(self.areas) <= 0:
            return False
        middles = [self.inside(c) for c in range(len(self.cells))]
        asked = [*middles, *self.points] if self.continuous else middles
        below = np.array([p[-1] for p in asked], dtype=object)
        wires = numerators(program("regions", self.slice.machine, self.outputs), self.slice.inputs(asked), below)
        found = np.concatenate([wires[name].reshape(len(asked), -1) for name in self.outputs], axis=1).tolist()
        for c, (forms, polygon) in enumerate(zip(self.maps.tolist(), self.cells)):
            places = (c, *(len(middles) + v for v in polygon)) if self.continuous else (c,)
            for k in places:
                if [above(form, asked[k]) for form in forms] != found[k]:
                    return False
        return True

    def graph(self) -> networkx.Graph[int]:
        """Cells as nodes, with `region` and `area`; an edge where two have a side in common, with its `vertices`.

        Raises
        ------
        ToolError
            If networkx is not installed.
        """
        from .drawing import adjacency

        return adjacency(self)

    def plot(self, to: Any) -> None:
        """Draw the cells, each linear region in a colour of its own.

        Parameters
        ----------
        to : path or matplotlib Axes
            A file to write (the format by its suffix), or where to draw.

        Raises
        ------
        ToolError
            If matplotlib is not installed.
        """
        from .drawing import plot_regions

        plot_regions(self, to)

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {name[:-1] if count == 1 else name}" for name, count in self.counts.items())
        of = f"V - E + F = {len(self.points):,} - {len(self.edges):,} + {len(self.cells):,} = {self.euler}"
        return f"{counted}\n  {'continuous' if self.continuous else 'with jumps between cells'}, {of}"


def regions(
    machine: Machine,
    points: Any = None,
    *,
    within: str = "box",
    outputs: Sequence[str] | None = None,
    limit: int = MAX_CELLS,
    progress: bool = False,
) -> Regions:
    """Cut a plane slice of the input space into the polygons on which a machine is affine.

    The machine is taken as the function that its operations define on rational inputs: ``affine``, ``conv`` and sums
    are affine; ``max``, ``min``, ``clamp`` and ``maxpool``, so ReLU layers, piecewise linear; ``staircase`` and
    ``argmax`` piecewise constant. All coordinates are rational, and exact: no float decides anything.

    Parameters
    ----------
    machine : Machine
        One without registers.
    points : integer array (3, *shape), or mapping of such by input name, optional
        Points of the input space that span the plane. Without them the parameters are the two elements of the input.
    within : str
        Which part of the plane: ``box``, where it is in the box of the input alphabets; ``triangle`` or
        ``parallelogram``, that of the three points.
    outputs : sequence of str, optional
        Whose function it is; by default the machine's outputs. Other wires allow a look at a network's inner layers.
    limit : int
        Most cells.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Regions

    Raises
    ------
    InputError
        If an operation is not piecewise affine (rounding, tables, products), the machine has registers, or the points
        span no plane, or one outside the box.
    LimitError
        If there are more cells than `limit`, or more than 2 GiB hold.

    Examples
    --------
    Two ReLUs, which never saturate in the box:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.clamp(b.input("x", (2,), Levels(-3, 3)), 0, 3, name="h")
    >>> machine = b.build(b.affine(h, [[2, 1]], name="y"))
    >>> found = regions(machine)
    >>> print(found)
    4 activation regions, 4 linear regions, 4 affine maps
      continuous, V - E + F = 9 - 12 + 4 = 1
    >>> found.cell_at(1, 2), found.maps[found.cell_at(1, 2)].tolist(), found.check()
    (3, [[2, 1, 0]], True)
    """
    plan = program("regions", machine, outputs)
    of = slice_through("regions", machine, points, 2)
    if within != "box" and within not in CORNERS:
        raise InputError(f"regions: within is box, triangle or parallelogram, got {within!r}")
    plane = of.polygon() if within == "box" else Plane(CORNERS[within])
    with bar(progress, "regions", PARTS * plan.decisions) as report:
        cut = subdivide("regions", plan, of, plane, limit, report)
    polygons = [plane.cells[number] for number in cut.numbers]
    number = {v: k for k, v in enumerate(dict.fromkeys(v for polygon in polygons for v in polygon))}
    cells = tuple(tuple(number[v] for v in polygon) for polygon in polygons)
    corners = tuple(plane.points[v] for v in number)
    return Regions(of, plan.outputs, plan.continuous, corners, cells, cut.maps, cut.patterns)


def area(corners: Sequence[Point]) -> Fraction:
    """The area of a polygon: positive if its corners are anticlockwise.

    >>> area([(0, 0, 1), (3, 0, 1), (1, 1, 2)])
    Fraction(3, 4)
    """
    at = [rational(p) for p in corners]
    return sum((a[0] * b[1] - a[1] * b[0] for a, b in _sides(at)), Fraction(0)) / 2


def _sides(polygon: Sequence[Any]) -> Any:
    return zip(polygon, (*polygon[1:], polygon[0]))
