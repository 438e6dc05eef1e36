"""A machine as constraints on integers for CP-SAT, the solver of OR-Tools: one function for each kind of operation.

Every element of a wire is an expression: a Python integer where it is known, else linear in variables of the model.
Domains are proven ranges, found anew from those of the inputs, so that a box of inputs makes them narrow. For given
inputs and state the variables have one solution, whose expressions are the wires of `Machine.trace`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import IntArray, Machine, Range, RangeError, ToolError
from ..machine import operations as op
from ..machine.ranges import fits, result_range, workspace
from ..machine.reference import apply

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

LARGEST = (-(2**52), 2**52)
"""What a value of a model may be, so that no sum of the solver leaves 64 bits."""

SAME = (op.Reshape, op.Concat, op.Slice, op.Transpose, op.Neg)
SUMS = (op.Add, op.Sub, op.Sum)
"""With `SAME` the operations that the reference computes on expressions as on integers."""


def solver_module() -> Any:
    """``ortools.sat.python.cp_model``.

    Raises
    ------
    ToolError
        If OR-Tools is not installed.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise ToolError("this needs OR-Tools; install it with: pip install 'zahlen[analysis]'") from None
    return cp_model


@dataclass(frozen=True, eq=False)
class Encoded:
    """A wire in a model.

    Attributes
    ----------
    elements : object array
        An integer or a linear expression for each element.
    range : Range
        What they are proven to be.
    """

    elements: IntArray
    range: Range

    def values(self, solution: Any) -> IntArray:
        """The elements in a solution: a solver or callback, anything with a ``value``."""
        found = [e if isinstance(e, int) else solution.value(e) for e in self.elements.ravel().tolist()]
        return np.array(found, dtype=np.int64).reshape(self.elements.shape)


def free(model: cp_model.CpModel, box: Range, name: str) -> Encoded:
    """A wire of which no more is known than its range: a variable for each element that is not constant.

    Raises
    ------
    RangeError
        If the range leaves 52 bits.
    """
    if not fits(box.hull(), LARGEST):
        raise RangeError(
            f"{name}: values are {box.hull()[0]}..{box.hull()[1]}, too large for CP-SAT; choose a narrower box"
        )
    elements = np.empty(box.lo.shape, dtype=object)
    for place in np.ndindex(*box.lo.shape):
        low, high = int(box.lo[place]), int(box.hi[place])
        elements[place] = _stepped(model, low, high, box.step, f"{name}{list(place)}")
    return Encoded(elements, box)


def known(value: IntArray) -> Encoded:
    """A wire of which everything is known."""
    return Encoded(np.array(value, dtype=object), Range.exactly(np.asarray(value)))


def encode(
    model: cp_model.CpModel, machine: Machine, given: Mapping[str, Encoded], prefix: str = ""
) -> dict[str, Encoded]:
    """Add one step of a machine to a model.

    Parameters
    ----------
    model : CpModel
    machine : Machine
    given : mapping
        Every input and register that is read, within its alphabet, as `free` or `known` makes them.
    prefix : str
        What names of variables begin with.

    Returns
    -------
    dict of Encoded
        All wires that outputs and the next state depend on. The state after the step are those that
        ``machine.successors`` names.

    Raises
    ------
    RangeError
        If a wire needs more than 52 bits.

    Examples
    --------
    Inputs of a unit for which its output is 1:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 3))
    >>> machine = b.build(b.staircase(b.affine(x, [[2, -1]], name="z"), [5], [0, 1], name="y"))
    >>> cp_model = solver_module()
    >>> model, solver = cp_model.CpModel(), cp_model.CpSolver()
    >>> wires = encode(model, machine, {"x": free(model, machine.wires["x"].range, "x")})
    >>> _ = model.add(wires["y"].elements[0] == 1)
    >>> model.minimize(wires["x"].elements.sum())
    >>> solver.status_name(solver.solve(model)), wires["x"].values(solver).tolist()
    ('OPTIMAL', [3, 0])
    """
    wires: dict[str, Encoded] = dict(given)
    used = machine.last_uses([*machine.outputs, *machine.successors.values()])
    for wire in machine.wires.values():
        if wire.name in wires or wire.name not in used:
            continue
        if isinstance(wire.operation, op.Constant):
            wires[wire.name] = known(wire.operation.value)
            continue
        operands = [wires[name] for name in wire.operands]
        ranges = [x.range for x in operands]
        own = workspace(wire.operation, *ranges)
        if not fits(own, LARGEST):
            raise RangeError(f"{wire.name}: values are {own[0]}..{own[1]}, too large for CP-SAT; choose a narrower box")
        box = result_range(wire.operation, *ranges)
        to = Target(model, box, ranges, prefix + wire.name)
        elements = encoded(wire.operation, to, *(x.elements for x in operands))
        constant = box.constant()
        elements[constant] = box.lo.astype(object)[constant]
        wires[wire.name] = Encoded(elements, box)
    return wires


@dataclass(frozen=True, eq=False)
class Target:
    """Where an operation's result goes: the model, the proven ranges of result and operands, and its name."""

    model: cp_model.CpModel
    box: Range
    operands: list[Range]
    name: str

    def empty(self) -> IntArray:
        """Room for the result's elements."""
        return np.empty(self.box.lo.shape, dtype=object)

    def places(self) -> Any:
        """Indices of the elements that are not constant."""
        return (place for place in np.ndindex(*self.box.lo.shape) if self.box.lo[place] != self.box.hi[place])

    def variable(self, place: tuple[int, ...]) -> Any:
        """A variable for one element of the result."""
        low, high = int(self.box.lo[place]), int(self.box.hi[place])
        return self.model.new_int_var(low, high, f"{self.name}{list(place)}")

    def equal(self, place: tuple[int, ...], expression: Any) -> Any:
        """A variable for one element, equal to an expression."""
        found = self.variable(place)
        self.model.add(found == expression)
        return found

    def literal(self, place: tuple[int, ...], what: object) -> Any:
        """A variable that is 0 or 1."""
        return self.model.new_bool_var(f"{self.name}{list(place)} {what}")


def _stepped(model: cp_model.CpModel, low: int, high: int, step: int, name: str) -> Any:
    """low, low + step, .., high."""
    if low == high:
        return low
    return (
        low + step * model.new_int_var(0, (high - low) // step, name)
        if step > 1
        else model.new_int_var(low, high, name)
    )


@singledispatch
def encoded(operation: op.Operation, to: Target, *xs: IntArray) -> IntArray:
    """The operation's result in a model; elements that are constant by their range may be anything.

    Parameters
    ----------
    operation : Operation
    to : Target
    xs : object arrays
        The operands' elements.
    """
    if not isinstance(operation, (*SAME, *SUMS)):
        raise TypeError(f"{operation.kind} has no encoding")
    found: IntArray = np.array(apply(operation, *(x[None] for x in xs)), dtype=object).reshape(to.box.lo.shape)
    if isinstance(operation, SUMS):
        for place in to.places():
            found[place] = to.equal(place, found[place])
    return found


def _weighted(to: Target, place: tuple[int, ...], terms: list[tuple[Any, int]], bias: int) -> Any:
    """A variable for the sum of elements times weights."""
    total = bias + sum(x * w for x, w in terms if isinstance(x, int))
    rest = [(x, w) for x, w in terms if w and not isinstance(x, int)]
    expression = sum_of([x for x, _ in rest], [w for _, w in rest])
    return to.equal(place, expression + total)


def sum_of(expressions: list[Any], weights: list[int]) -> Any:
    """The sum of expressions times weights."""
    return solver_module().LinearExpr.weighted_sum(expressions, weights)


@encoded.register
def _(operation: op.Affine, to: Target, x: IntArray) -> IntArray:
    found = to.empty()
    weight, bias = operation.weight.tolist(), operation.bias.tolist()
    for place in to.places():
        terms = list(zip(x[place[:-1]].tolist(), weight[place[-1]]))
        found[place] = _weighted(to, place, terms, bias[place[-1]])
    return found


@encoded.register
def _(operation: op.Conv, to: Target, x: IntArray) -> IntArray:
    found = to.empty()
    groups, (out, width, *kernel) = operation.groups, operation.weight.shape
    for place in to.places():
        channel, *spatial = place
        first = channel // (out // groups) * width
        terms: list[tuple[Any, int]] = []
        for offset in product(*map(range, kernel)):
            geometry = zip(operation.stride, spatial, operation.dilation, offset, operation.padding)
            at = tuple(s * p + d * k - pad[0] for s, p, d, k, pad in geometry)
            if all(0 <= a < n for a, n in zip(at, x.shape[1:])):
                weights = operation.weight[(channel, slice(None), *offset)].tolist()
                terms += zip(x[(slice(first, first + width), *at)].tolist(), weights)
        found[place] = _weighted(to, place, terms, int(operation.bias[channel]))
    return found


@encoded.register
def _(operation: op.Staircase, to: Target, x: IntArray) -> IntArray:
    """Y = v[0] + sum of (v[j] - v[j - 1]) over the j with t_j <= x, each of them a literal."""
    found = to.empty()
    channels = x.ndim + operation.axis if operation.axis < 0 else operation.axis
    for place in to.places():
        row = (place[channels],) if operation.per_channel else ()
        found[place] = _stairs(to, place, x[place], operation.thresholds[row].tolist(), operation.values[row].tolist())
    return found


def _stairs(to: Target, place: tuple[int, ...], x: Any, thresholds: list[int], values: list[int]) -> Any:
    low, high = (int(end[place]) for end in (to.operands[0].lo, to.operands[0].hi))
    first = bisect_right(thresholds, low)
    literals, rises, before, value = [], [], None, values[first]
    for t in sorted({t for t in thresholds[first:] if t <= high}):
        rise = values[bisect_right(thresholds, t)] - value
        if rise == 0:
            continue
        value += rise
        literal = to.literal(place, t)
        to.model.add(x >= t).only_enforce_if(literal)
        to.model.add(x < t).only_enforce_if(~literal)
        if before is not None:
            to.model.add_implication(literal, before)
        before = literal
        literals.append(literal)
        rises.append(rise)
    if not literals:
        return value
    expression = sum_of(literals, rises) + values[first]
    return expression if len(literals) == 1 else to.equal(place, expression)


@encoded.register
def _(operation: op.Lookup, to: Target, *xs: IntArray) -> IntArray:
    found = to.empty()
    lengths = operation.table.shape
    for place in to.places():
        index: Any = 0
        for x, base, step, length in zip(xs, operation.base, operation.step, lengths):
            index = index * length + _index(to, place, x[place], base, step, length)
        found[place] = to.variable(place)
        to.model.add_element(
            index if len(xs) == 1 else _bound(to, place, index, operation.table.size),
            operation.table.ravel().tolist(),
            found[place],
        )
    return found


def _index(to: Target, place: tuple[int, ...], x: Any, base: int, step: int, length: int) -> Any:
    """(x - base) / step, which is from 0 on and below `length`."""
    if isinstance(x, int):
        return (x - base) // step
    if step == 1:
        return _bound(to, place, x - base, length)
    index = to.model.new_int_var(0, length - 1, f"{to.name}{list(place)} index")
    to.model.add(base + step * index == x)
    return index


def _bound(to: Target, place: tuple[int, ...], expression: Any, length: int) -> Any:
    index = to.model.new_int_var(0, length - 1, f"{to.name}{list(place)} index")
    to.model.add(index == expression)
    return index


@encoded.register
def _(operation: op.Embed, to: Target, x: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        found[place] = to.variable(place)
        column = operation.table[:, place[-1]].tolist()
        to.model.add_element(_index(to, place, x[place[:-1]], 0, 1, len(column)), column, found[place])
    return found


@encoded.register
def _(operation: op.Mul, to: Target, x: IntArray, y: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        a, b = x[place], y[place]
        if isinstance(a, int) or isinstance(b, int):
            found[place] = a * b
        else:
            found[place] = to.variable(place)
            to.model.add_multiplication_equality(found[place], [a, b])
    return found


def _greatest(to: Target, place: tuple[int, ...], xs: list[Any]) -> Any:
    found = to.variable(place)
    to.model.add_max_equality(found, xs)
    return found


@encoded.register
def _(operation: op.Max, to: Target, x: IntArray, y: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        found[place] = _greatest(to, place, [x[place], y[place]])
    return found


@encoded.register
def _(operation: op.Min, to: Target, x: IntArray, y: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        found[place] = to.variable(place)
        to.model.add_min_equality(found[place], [x[place], y[place]])
    return found


@encoded.register
def _(operation: op.Clamp, to: Target, x: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        # y is x where that is inside; where it is not, one of the two ends
        highest = max(operation.lo, int(to.operands[0].hi[place]))
        at_least = to.model.new_int_var(operation.lo, highest, f"{to.name}{list(place)} up")
        to.model.add_max_equality(at_least, [x[place], operation.lo])
        found[place] = to.variable(place)
        to.model.add_min_equality(found[place], [at_least, operation.hi])
    return found


@encoded.register
def _(operation: op.Shift, to: Target, x: IntArray) -> IntArray:
    """2^bits y + r = x, or x + 2^(bits - 1), with a remainder r of 0 .. 2^bits - 1."""
    found = to.empty()
    scale = 2 ** abs(operation.bits)
    for place in to.places():
        if operation.bits <= 0:
            found[place] = x[place] * scale
            continue
        found[place] = to.variable(place)
        remainder = to.model.new_int_var(0, scale - 1, f"{to.name}{list(place)} remainder")
        half = scale // 2 if operation.rounding == "half_up" else 0
        to.model.add(scale * found[place] + remainder == x[place] + half)
    return found


def _window(operation: op.MaxPool | op.SumPool, place: tuple[int, ...], x: IntArray) -> list[Any]:
    """The elements of a window that are inside."""
    axes = len(operation.size)
    geometry = zip(operation.stride, place[-axes:], operation.size, operation.padding, x.shape[-axes:])
    spans = [slice(max(s * p - pad[0], 0), min(s * p - pad[0] + size, n)) for s, p, size, pad, n in geometry]
    inside: list[Any] = x[place[:-axes]][tuple(spans)].ravel().tolist()
    return inside


@encoded.register
def _(operation: op.MaxPool, to: Target, x: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        found[place] = _greatest(to, place, _window(operation, place, x))
    return found


@encoded.register
def _(operation: op.SumPool, to: Target, x: IntArray) -> IntArray:
    found = to.empty()
    for place in to.places():
        inside = _window(operation, place, x)
        found[place] = _weighted(to, place, [(e, 1) for e in inside], 0)
    return found


@encoded.register
def _(operation: op.Argmax, to: Target, x: IntArray) -> IntArray:
    """One literal for each index: greater than all before, and no less than all behind."""
    found = to.empty()
    rows = np.moveaxis(x, operation.axis, -1)
    for place in to.places():
        row = rows[place].tolist()
        literals = [to.literal(place, k) for k in range(len(row))]
        to.model.add_exactly_one(literals)
        for k, literal in enumerate(literals):
            for j in range(len(row)):
                if j != k:
                    to.model.add(row[k] >= row[j] + (j < k)).only_enforce_if(literal)
        found[place] = to.equal(place, sum_of(literals, list(range(len(row)))))
    return found
