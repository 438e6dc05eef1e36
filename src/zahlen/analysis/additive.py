"""The step of a machine as sums of functions of single elements, each sum with a table behind it, where it is that.

A threshold network is: its next state is a staircase of an affine map of the state. So is a cellular automaton, or a
Boolean network whose elements read few others: what reads few elements is a table at the place of their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine import IntArray, Machine, Wire
from ..machine import operations as op
from ..machine.ranges import fits
from ..machine.reference import apply
from .states import radices

Ints = NDArray[np.int64]

MAX_TABLE = 1 << 16
"""Most entries of a table."""
MAX_JOINT = 1 << 12
"""Most values of the elements that a table reads one by one."""
MAX_ROWS = 1 << 25
"""Most terms of all sums of a wire."""
SMALL = (-(2**40), 2**40)

STRUCTURAL = (op.Reshape, op.Concat, op.Slice, op.Transpose)
LINEAR = (op.Affine, op.Conv, op.Add, op.Sub, op.Neg, op.Sum, op.SumPool)
ELEMENTWISE = (
    op.Add, op.Sub, op.Mul, op.Min, op.Max, op.Neg, op.Clamp, op.Shift, op.Staircase, op.Lookup,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sum:
    """A constant and, for every element of the state, one of the terms that belong to its values.

    Attributes
    ----------
    row : int64 array (sum of the radices + 1,)
        The terms, element after element, and the constant.
    """

    row: Ints


@dataclass(frozen=True, eq=False)
class Table:
    """A table at the place of a sum less its least value."""

    form: Sum
    values: Ints


class _NoFormError(Exception):
    """The machine is not of this kind."""


class Digits:
    """The elements of a state: where the terms of each one stand in a row."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.width = int(self.starts[-1])

    def terms(self, row: Ints, digit: int) -> Ints:
        """What each value of this element adds."""
        found: Ints = row[..., self.starts[digit] : self.starts[digit + 1]]
        return found

    def ends(self, row: Ints) -> tuple[int, int]:
        """Least and greatest value of a sum."""
        low = np.minimum.reduceat(row[:-1], self.starts[:-1])
        high = np.maximum.reduceat(row[:-1], self.starts[:-1])
        return int(low.sum() + row[-1]), int(high.sum() + row[-1])

    def support(self, row: Ints) -> tuple[int, ...]:
        """Elements that matter."""
        low = np.minimum.reduceat(row[:-1], self.starts[:-1])
        return tuple(np.flatnonzero(low != np.maximum.reduceat(row[:-1], self.starts[:-1])).tolist())

    def joint(self, chosen: tuple[int, ...]) -> Sum:
        """The number of the values of these elements together, in mixed radix."""
        row, place = np.zeros(self.width + 1, dtype=np.int64), 1
        for digit in reversed(chosen):
            self.terms(row, digit)[:] = place * np.arange(self.sizes[digit])
            place *= self.sizes[digit]
        return Sum(row)

    def sums(self, row: Ints, chosen: tuple[int, ...]) -> Ints:
        """A sum at all values of these elements, which are all that matter to it, in the order of `joint`."""
        found = row[-1:]
        for digit, start in enumerate(self.starts[:-1]):
            terms = self.terms(row, digit) if digit in chosen else row[start : start + 1]
            found = (found[:, None] + terms).ravel()
        return found

    def at(self, element: Sum | Table, chosen: tuple[int, ...]) -> Ints:
        """As `sums`, for tables too."""
        if isinstance(element, Sum):
            return self.sums(element.row, chosen)
        return element.values[self.sums(element.form.row, chosen) - self.ends(element.form.row)[0]]

    def tabulated(self, element: Sum | Table) -> Table:
        """A sum as the table of its own values."""
        if isinstance(element, Table):
            return element
        low, high = self.ends(element.row)
        if high - low >= MAX_TABLE:
            raise _NoFormError
        return Table(element, np.arange(low, high + 1, dtype=np.int64))

    def summed(self, element: Sum | Table) -> Sum:
        """A table that reads one element at most as a sum."""
        if isinstance(element, Sum):
            return element
        support = self.support(element.form.row)
        if len(support) > 1:
            raise _NoFormError
        row = np.zeros(self.width + 1, dtype=np.int64)
        if support:
            self.terms(row, support[0])[:] = self.at(element, support)
        else:
            row[-1] = element.values[0]
        return Sum(row)


def additive(machine: Machine, inputs: dict[str, IntArray]) -> list[Table] | None:
    """The next state under a constant input, element by element as a table of a sum; None if it is not of that kind.

    Parameters
    ----------
    inputs : dict of integer arrays (1, *shape)

    Returns
    -------
    list of Table
        The values are digits: 0 for the least element of the register's alphabet, 1 for the next.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.register("h", (2,), Levels(0, 1))
    >>> b.connect(h, b.staircase(b.affine(h, [[3, 1], [1, -1]], [-2, 0]), [1], [0, 1]))
    >>> for table in additive(b.build(h), {}):
    ...     print(table.form.row.tolist(), table.values.tolist())
    [0, 3, 0, 1, -2] [0, 0, 0, 1, 1]
    [0, 1, 0, -1, 0] [0, 0, 1]
    """
    digits = Digits(radices(machine, machine.registers))
    if max(digits.sizes) > MAX_TABLE or digits.width > 1 << 20:
        return None
    successors = [machine.successors[name] for name in machine.registers]
    used = machine.last_uses(successors)
    fixed = machine.trace(inputs)
    wires: dict[str, Any] = {}
    moving = set(machine.registers)
    place = 0
    try:
        for wire in machine.wires.values():
            if wire.name in machine.registers:
                wires[wire.name] = _register(digits, wire, place)
                place += wire.size
            elif wire.name in used:
                if moving.intersection(wire.operands):
                    moving.add(wire.name)
                    wires[wire.name] = _applied(digits, wire, [wires[name] for name in wire.operands])
                else:
                    wires[wire.name] = _constants(digits, fixed[wire.name][0])
        found = []
        for name, after in zip(machine.registers, successors):
            alphabet = machine.wires[name].alphabet
            for element in wires[after].ravel():
                table = digits.tabulated(element)
                found.append(Table(table.form, (table.values - alphabet.lo) // alphabet.step))
    except _NoFormError:
        return None
    return found


def _objects(elements: list[Sum | Table], shape: tuple[int, ...]) -> Any:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


def _constants(digits: Digits, value: IntArray) -> Any:
    if value.dtype == object or (value.size and not fits((int(value.min()), int(value.max())), SMALL)):
        raise _NoFormError
    rows = np.zeros((value.size, digits.width + 1), dtype=np.int64)
    rows[:, -1] = value.ravel()
    return _objects([Sum(row) for row in rows], value.shape)


def _register(digits: Digits, wire: Wire, place: int) -> Any:
    a = wire.alphabet
    rows = np.zeros((wire.size, digits.width + 1), dtype=np.int64)
    if not fits((a.lo, a.hi), SMALL):
        raise _NoFormError
    for k, row in enumerate(rows):
        digits.terms(row, place + k)[:] = np.arange(a.lo, a.hi + 1, a.step)
    return _objects([Sum(row) for row in rows], wire.shape)


def _applied(digits: Digits, wire: Wire, operands: list[Any]) -> Any:
    operation = wire.operation
    if not fits(wire.workspace, SMALL):
        raise _NoFormError
    if isinstance(operation, STRUCTURAL):
        elements = np.concatenate([x.ravel() for x in operands])
        ids = np.split(np.arange(len(elements)), np.cumsum([x.size for x in operands])[:-1])
        order = apply(operation, *(k.reshape(1, *x.shape) for k, x in zip(ids, operands)))
        return _objects(list(elements[order.ravel()]), wire.shape)
    if isinstance(operation, LINEAR):
        try:
            return _linear(digits, wire, operands)
        except _NoFormError:
            pass  # a product of two tables may still read few elements
    if isinstance(operation, ELEMENTWISE) and all(x.shape == wire.shape for x in operands):
        return _elementwise(digits, wire, operands)
    if isinstance(operation, op.Embed):
        return _embedded(digits, operation, wire, operands[0])
    raise _NoFormError


def _linear(digits: Digits, wire: Wire, operands: list[Any]) -> Any:
    """A linear operation of sums: of each term by itself, with its own constant only once."""
    if max(wire.size, *(x.size for x in operands)) * digits.width > MAX_ROWS:
        raise _NoFormError
    columns = [np.stack([digits.summed(e).row for e in x.ravel()], axis=1) for x in operands]
    batches = [c.reshape(digits.width + 1, *x.shape) for c, x in zip(columns, operands)]
    result = apply(wire.operation, *batches).reshape(digits.width + 1, -1)
    result[:-1] -= apply(wire.operation, *(np.zeros_like(b[:1]) for b in batches)).reshape(1, -1)
    return _objects([Sum(row) for row in np.ascontiguousarray(result.T)], wire.shape)


def _elementwise(digits: Digits, wire: Wire, operands: list[Any]) -> Any:
    """An operation of elements at the same place: of one sum, or of few elements of the state."""
    forms, parts = [], []
    for elements in zip(*(x.ravel() for x in operands)):
        tables = [e for e in elements if digits.support(_row(e))]
        if len({id(e) for e in tables}) == 1:
            table = digits.tabulated(tables[0])
            form, length = table.form, len(table.values)
            values = [table.values if e is tables[0] else np.repeat(digits.at(e, ()), length) for e in elements]
        else:
            chosen = tuple(sorted({d for e in tables for d in digits.support(_row(e))}))
            if prod(digits.sizes[d] for d in chosen) > MAX_JOINT:
                raise _NoFormError
            form, values = digits.joint(chosen), [digits.at(e, chosen) for e in elements]
        forms.append(form)
        parts.append(values)
    longest = max(len(values[0]) for values in parts)
    # what is missing of a shorter table is its last value, which is in the operation's domain
    batches = [
        np.stack([np.pad(values[k], (0, longest - len(values[k])), mode="edge") for values in parts], axis=1)
        for k in range(len(operands))
    ]
    result = apply(wire.operation, *(b.reshape(longest, *wire.shape) for b in batches)).reshape(longest, -1)
    tables = [Table(form, result[: len(v[0]), k].copy()) for k, (form, v) in enumerate(zip(forms, parts))]
    return _objects(list(tables), wire.shape)


def _embedded(digits: Digits, operation: op.Embed, wire: Wire, x: Any) -> Any:
    tables = [digits.tabulated(e) for e in x.ravel()]
    rows = [[Table(t.form, column[t.values]) for column in operation.table.T] for t in tables]
    return _objects([e for row in rows for e in row], wire.shape)


def _row(element: Sum | Table) -> Ints:
    return element.row if isinstance(element, Sum) else element.form.row
