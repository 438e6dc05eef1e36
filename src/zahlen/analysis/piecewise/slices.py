"""Affine slices of a machine's input space through given points, and the part of one that lies in the input box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from ...machine import InputError, IntArray, Levels, Machine
from ...machine.alphabets import integer_array
from .forms import compact
from .homogeneous import Point, above, cross, point
from .plane import Plane

PLACES = ("first", "second", "third")


@dataclass(frozen=True, eq=False)
class Slice:
    """All inputs p0 + s_1 (p1 - p0) + .. + s_k (pk - p0), with rational parameters s.

    Attributes
    ----------
    machine : Machine
    points : mapping from input name to int64 or object array (k + 1, *shape)
    axes : bool
        Whether the parameters are the elements of the inputs.
    """

    machine: Machine
    points: Mapping[str, IntArray]
    axes: bool = False

    @property
    def parameters(self) -> int:
        """How many there are."""
        return len(next(iter(self.points.values()))) - 1

    @property
    def names(self) -> tuple[str, ...]:
        """What the parameters are called: s and t, or the elements of the inputs.

        >>> from zahlen import Builder
        >>> b = Builder()
        >>> machine = b.build(b.neg(b.input("x", (2,), Levels(0, 9))))
        >>> slice_through("here", machine, None, 2).names
        ('x[0]', 'x[1]')
        """
        if not self.axes:
            few = self.parameters <= 2
            return ("s", "t")[: self.parameters] if few else tuple(f"s{k + 1}" for k in range(self.parameters))
        wires = [self.machine.wires[name] for name in self.machine.inputs]
        places = ((wire.name, ",".join(map(str, k))) for wire in wires for k in np.ndindex(*wire.shape))
        return tuple(f"{name}[{place}]" if place else name for name, place in places)

    @cached_property
    def forms(self) -> dict[str, IntArray]:
        """Every input as affine forms of the parameters, (1, k + 1, *shape)."""
        found = {}
        for name, value in self.points.items():
            exact = value.astype(object)
            found[name] = compact(np.concatenate([exact[1:] - exact[:1], exact[:1]])[None])
        return found

    @cached_property
    def elements(self) -> list[tuple[int, ...]]:
        """The form of every element of all inputs."""
        return [
            tuple(form) for forms in self.forms.values() for form in forms.reshape(self.parameters + 1, -1).T.tolist()
        ]

    @cached_property
    def _ends(self) -> list[tuple[int, int]]:
        """Least and greatest value of every element of all inputs."""
        wires = [self.machine.wires[name] for name in self.forms]
        return [(wire.alphabet.lo, wire.alphabet.hi) for wire in wires for _ in range(wire.size)]

    def inputs(self, at: Sequence[Point]) -> dict[str, IntArray]:
        """The inputs at points in homogeneous coordinates, (batch, *shape), as numerators over their last ones.

        >>> from zahlen import Builder
        >>> b = Builder()
        >>> machine = b.build(b.neg(b.input("x", (2,), Levels(0, 9))))
        >>> slice_through("here", machine, [[0, 0], [4, 2]], 1).inputs([(1, 4)])["x"].tolist()
        [[4, 2]]
        """
        rows = np.array(at, dtype=object).reshape(len(at), -1)
        return {
            name: (rows @ forms[0].reshape(len(forms[0]), -1).astype(object)).reshape(len(at), *forms.shape[2:])
            for name, forms in self.forms.items()
        }

    def interval(self) -> tuple[Point, Point]:
        """The part of a line in the input box: its ends."""
        low, high = None, None
        for (a, b), (least, most) in zip(self.elements, self._ends):
            if a == 0:
                if not least <= b <= most:
                    raise self._outside()
                continue
            ends = sorted((Fraction(least - b, a), Fraction(most - b, a)))
            low = ends[0] if low is None else max(low, ends[0])
            high = ends[1] if high is None else min(high, ends[1])
        if low is None or high is None or low >= high:
            raise self._outside()
        return (low.numerator, low.denominator), (high.numerator, high.denominator)

    def polygon(self) -> Plane:
        """The part of a plane in the input box."""
        plane = Plane(self._parallelogram())
        for (a, b, c), (least, most) in zip(self.elements, self._ends):
            for form in ((a, b, c - least), (-a, -b, most - c)):
                values = [above(form, plane.points[v]) for v in plane.cells[0]]
                if max(values) <= 0 and (any(form[:2]) or form[2] < 0):
                    raise self._outside()
                if min(values) < 0:
                    _, other = plane.cut(0, form)
                    plane.drop(other)
        return plane

    def _parallelogram(self) -> list[Point]:
        """The corners of the part where two of the elements are between their ends, anticlockwise."""
        i = next(k for k, (a, b, _) in enumerate(self.elements) if a or b)
        a, b, c = self.elements[i]
        j = next(k for k, (d, e, _) in enumerate(self.elements) if a * e != b * d)
        d, e, f = self.elements[j]
        (low, high), (left, right) = self._ends[i], self._ends[j]
        if low == high or left == right:
            raise self._outside()
        ends = ((low, left), (high, left), (high, right), (low, right))
        corners = [point(cross((a, b, c - p), (d, e, f - q))) for p, q in ends]
        return corners if a * e > b * d else corners[::-1]

    def _outside(self) -> InputError:
        kind = "plane" if self.parameters == 2 else "line"
        return InputError(
            f"slice: the {kind} through these points has no more than its edge in the box of the input alphabets; "
            "choose points inside, or another part of it with within"
        )


def slice_through(who: str, machine: Machine, points: Any, parameters: int | None) -> Slice:
    """The slice through points of the input space.

    Parameters
    ----------
    who : str
        Who asks, for messages.
    machine : Machine
        One without registers.
    points : integer array (k + 1, *shape), mapping of such by input name, or None
        None: the parameters are the elements of the inputs.
    parameters : int or None
        Which k is due; None for any.

    Raises
    ------
    InputError
        If an input is a code, or if the points are not integers of its shape, too many or few, or on a smaller slice.
    """
    for name in machine.inputs:
        if not isinstance(machine.wires[name].alphabet, Levels):
            raise InputError(f"{who}: {name} is {machine.wires[name].alphabet}; between codes there is nothing")
    due = None if parameters is None else parameters + 1
    arrays = _axes(who, machine, parameters) if points is None else _given(who, machine, points, due)
    found = Slice(machine, arrays, axes=points is None)
    if not found.axes and _rank(found.elements) < found.parameters:
        raise InputError(
            f"{who}: the {found.parameters + 1} points lie on a slice of fewer dimensions; take another one"
        )
    return found


def _axes(who: str, machine: Machine, parameters: int | None) -> dict[str, IntArray]:
    """The origin, and one step in each element."""
    sizes = [machine.wires[name].size for name in machine.inputs]
    if parameters is not None and sum(sizes) != parameters:
        raise InputError(
            f"{who}: the input has {sum(sizes):,} elements; give {parameters + 1} points for a slice through them"
        )
    rows = np.eye(sum(sizes) + 1, sum(sizes), -1, dtype=np.int64)
    parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
    return {n: part.reshape(len(rows), *machine.wires[n].shape) for n, part in zip(machine.inputs, parts)}


def _given(who: str, machine: Machine, points: Any, due: int | None) -> dict[str, IntArray]:
    if not isinstance(points, Mapping):
        if len(machine.inputs) != 1:
            raise InputError(f"{who}: points of inputs {', '.join(machine.inputs)} are due, as a mapping by name")
        points = {machine.inputs[0]: points}
    if set(points) != set(machine.inputs):
        raise InputError(f"{who}: points of inputs {', '.join(machine.inputs)} are due, got {', '.join(points)}")
    arrays = {}
    for name in machine.inputs:
        shape = machine.wires[name].shape
        try:
            array = integer_array(points[name])
        except ValueError as error:
            raise InputError(f"{who}: {name}: {error}; scale the points to integers") from None
        if array.ndim != 1 + len(shape) or array.shape[1:] != shape or len(array) != (due or len(array)):
            raise InputError(f"{who}: {name}: shape ({due or 'points'}, *{shape}) is due, got {array.shape}")
        arrays[name] = array
    if len({len(array) for array in arrays.values()}) != 1 or len(next(iter(arrays.values()))) < 2:
        raise InputError(f"{who}: inputs differ in their number of points, or have fewer than two")
    return arrays


def _rank(forms: list[tuple[int, ...]]) -> int:
    """The rank of the forms' coefficients, by elimination without division."""
    rows, rank = [list(form[:-1]) for form in set(forms)], 0
    for column in range(len(forms[0]) - 1):
        pivot = next((row for row in rows if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rank += 1
        rows = [
            [pivot[column] * v - row[column] * p for v, p in zip(row, pivot)] if row[column] else row for row in rows
        ]
    return rank
