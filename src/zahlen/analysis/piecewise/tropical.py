"""A ReLU network as the difference of two tropical polynomials (Zhang, Naitzat, Lim 2018, arXiv 1805.07091).

Every wire is P - Q with convex P and Q. There is a rule for Q of each operation, and P = Q + z with the wire's value z:

- z = W x + b: Q = W+ Q_x + W- P_x, with the positive and the negative part of W = W+ - W-;
- z = max(x, y): Q = Q_x + Q_y, so that P = max(P_x + Q_y, P_y + Q_x);
- z = min(x, y): Q = P_x + P_y - z, so that P = P_x + P_y;
- z = min(max(x, lo), hi): Q = Q_x + max(x, lo) - z;
- z the greatest of a window: Q is the sum of its elements' Q.

Where one of P and Q is a monomial it is subtracted from both, so exponents may be negative.
All of P and Q are affine on every cell of constant pattern. With one variable or two, such cells of the whole space are
found, and their different forms are the monomials: exactly those that are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...machine import InputError, IntArray, Machine, Wire
from ...machine import operations as op
from ...machine.ranges import workspace
from ..progress import bar
from .contests import PIECEWISE, chosen, once, window_elements
from .expansion import expanded
from .forms import LINEAR, compact, constant, linear, scaled, symmetric
from .pieces import Pieces
from .plane import Plane
from .polynomial import Polynomial, reduced
from .program import Program, program
from .regions import Regions
from .segment import Segment
from .slices import Slice, slice_through
from .subdivision import PARTS, subdivide

MAX_TERMS = 1 << 16
"""Most monomials of a polynomial, or cells, by default."""


@dataclass(frozen=True, eq=False)
class Tropical:
    """Every element of the outputs as P - Q, a tropical rational function of a slice's parameters.

    Attributes
    ----------
    slice : Slice
        With the machine and the points; the variables are its parameters.
    outputs : tuple of str
        The wires whose function it is.
    numerators, denominators : tuples of Polynomial
        P and Q of each element, in order.
    minimal : bool
        Whether each monomial is needed: it alone is the greatest somewhere.
    """

    slice: Slice
    outputs: tuple[str, ...]
    numerators: tuple[Polynomial, ...]
    denominators: tuple[Polynomial, ...]
    minimal: bool

    def values(self, at: Sequence[Fraction | int]) -> list[Fraction]:
        """Every element of the outputs at a point."""
        return [p(at) - q(at) for p, q in zip(self.numerators, self.denominators)]

    def check(self, found: Regions | Pieces) -> bool:
        """Whether it is the machine's function on all cells that `regions` or `pieces` found.

        On a cell whose vertices have one monomial of P in common that is greatest at all of them, P is that monomial,
        since P is convex; likewise Q. Then the difference of the two has to be the cell's affine map. So every vertex,
        and all of every cell, is proved, not sampled. A cell on which P or Q is not affine fails; on those of the
        machine itself both are.

        Parameters
        ----------
        found : Regions or Pieces
            Of the same machine and outputs, on the same slice, or on any if the variables are the inputs' elements.

        Raises
        ------
        InputError
            If it is of other outputs, or on a slice that says nothing about this one's variables.
        """
        forms = self._variables(found)
        points, cells = found.corners
        if found.maps.shape[1] != len(self.numerators) or found.outputs != self.outputs:
            raise InputError(f"tropical: regions of outputs {', '.join(self.outputs)} are due")
        corners = np.array(points, dtype=object)
        for e, (p, q) in enumerate(zip(self.numerators, self.denominators)):
            tops = [_tops(np.array(poly.after(forms).monomials, dtype=object), corners, cells) for poly in (p, q)]
            for above, below, affine in zip(*tops, found.maps[:, e].tolist()):
                if above is None or below is None or [a - b for a, b in zip(above, below)] != affine:
                    return False
        return True

    def _variables(self, found: Regions | Pieces) -> list[tuple[int, ...]]:
        """The variables as forms of the parameters of another slice."""
        if found.slice.machine.inputs == self.slice.machine.inputs:
            if self.slice.axes:
                return found.slice.elements
            mine, theirs = self.slice.points, found.slice.points
            if all(mine[name].tolist() == theirs[name].tolist() for name in mine):
                count = self.slice.parameters
                return [tuple(int(j == k) for j in range(count + 1)) for k in range(count)]
        raise InputError("tropical: the regions are on another slice; find them on the same points")

    def __str__(self) -> str:
        counts = [f"{len(p):,} - {len(q):,}" for p, q in zip(self.numerators, self.denominators)]
        rule = "each is needed" if self.minimal else "not all may be needed"
        lines = [f"P - Q with {', '.join(counts[:16])}{' ..' if len(counts) > 16 else ''} monomials ({rule})"]
        for p, q in zip(self.numerators, self.denominators):
            text = f"  {p.said(self.slice.names)} - {_grouped(q.said(self.slice.names))}"
            if len(text) <= 120 and len(lines) <= 8:
                lines.append(text)
        return "\n".join(lines)


def _grouped(text: str) -> str:
    return f"({text})" if " " in text and not text.startswith("max(") else text


def _tops(monomials: IntArray, corners: IntArray, cells: Sequence[Sequence[int]]) -> list[list[int] | None]:
    """For each cell the monomial that is greatest at all of its vertices, if there is one."""
    values = corners @ monomials.T
    greatest = (values == values.max(axis=1, keepdims=True)).astype(bool)
    found: list[list[int] | None] = []
    for cell in cells:
        common = np.flatnonzero(greatest[list(cell)].all(axis=0))
        found.append(monomials[common[0]].tolist() if len(common) else None)
    return found


def tropical(
    machine: Machine,
    points: Any = None,
    *,
    outputs: Sequence[str] | None = None,
    limit: int = MAX_TERMS,
    progress: bool = False,
) -> Tropical:
    """A machine of affine maps and maxima as the difference P - Q of two tropical polynomials with integer exponents.

    With one or two variables P and Q have exactly the monomials that they need. With more, products are multiplied out
    and only monomials of equal exponents are joined, which is feasible for small networks.

    Parameters
    ----------
    machine : Machine
        One without registers, of continuous operations.
    points : integer array (k + 1, *shape), or mapping of such by input name, optional
        Points of the input space: the variables are the parameters of the slice through them, as in `regions` and
        `pieces`. Without them the variables are the elements of the inputs.
    outputs : sequence of str, optional
        Which wires; by default the machine's outputs.
    limit : int
        Most cells with one or two variables, most monomials of a product with more, where no product is of more
        than 2^23 integers in any case.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Tropical

    Raises
    ------
    InputError
        If an operation is not piecewise affine, or jumps; or the points span no such slice.
    LimitError
        If there are too many cells, or a product would have too many monomials: it says how many.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(-9, 9))
    >>> h = b.max(b.affine(x, [[1, 2], [1, -1]], [0, 3]), b.constant([0, 0]))
    >>> machine = b.build(b.affine(h, [[1, -2]], name="y"))
    >>> found = tropical(machine)
    >>> print(found)
    P - Q with 2 - 2 monomials (each is needed)
      max(0, x[0] + 2x[1]) - max(0, 2x[0] - 2x[1] + 6)
    >>> from zahlen.analysis import regions
    >>> found.check(regions(machine))
    True
    """
    plan = program("tropical", machine, outputs)
    if not plan.continuous:
        jumps = next(
            wire
            for wire in plan.wires
            if not isinstance(wire.operation, (op.Input, op.Mul, op.Shift, *LINEAR, *PIECEWISE))
        )
        raise InputError(
            f"tropical: wire {jumps.name!r} ({jumps.operation.kind}) jumps, and no tropical function does; ask for "
            f"wires before it with outputs, such as outputs=[{jumps.operands[0]!r}]"
        )
    of = slice_through("tropical", machine, points, None)
    if of.parameters > 2:
        above, below = zip(*expanded(plan, of, limit))
        return Tropical(of, plan.outputs, above, below, minimal=False)
    size = _far(plan, of)
    if of.parameters == 2:
        space: Any = Plane([(-size, -size, 1), (size, -size, 1), (size, size, 1), (-size, size, 1)])
    else:
        space = Segment([(-size, 1), (size, 1)])
    with bar(progress, "tropical", PARTS * plan.decisions) as report:
        patterns = subdivide("tropical", plan, of, space, limit, report).patterns
    sides = _monomials(plan, of, patterns, len(space.cells))
    above, below = zip(*(reduced(Polynomial.of(p), Polynomial.of(q)) for p, q in zip(*sides)))
    return Tropical(of, plan.outputs, above, below, minimal=True)


def _far(plan: Program, of: Slice) -> int:
    """A bound on the coordinates of every point in which lines meet on which an operation of the program decides.

    If no coefficient is above m, forms that are compared differ by coefficients up to 2 m, and two lines with such
    coefficients meet at 2 (2 m)^2 at most.
    """
    wires = of.machine.wires
    largest: dict[str, int] = {name: int(abs(value.astype(object)).max()) for name, value in plan.fixed.items()}
    for wire in plan.wires:
        if isinstance(wire.operation, op.Input):
            most = int(abs(of.forms[wire.name].astype(object)).max())
        elif isinstance(wire.operation, op.Clamp):
            most = max(largest[wire.operands[0]], abs(wire.operation.lo), abs(wire.operation.hi))
        elif isinstance(wire.operation, op.Mul):
            most = largest[wire.operands[0]] * largest[wire.operands[1]]
        elif isinstance(wire.operation, op.Shift):
            most = largest[wire.operands[0]] << -wire.operation.bits
        elif isinstance(wire.operation, LINEAR):
            ranges = (symmetric(wires[name].shape, largest[name]) for name in wire.operands)
            most = max(map(abs, workspace(wire.operation, *ranges)))
        else:
            most = max(largest[name] for name in wire.operands)
        largest[wire.name] = most
    return 8 * max(largest.values()) ** 2 + 1


def _monomials(
    plan: Program, of: Slice, patterns: Mapping[str, NDArray[np.int64]], cells: int
) -> tuple[list[Any], list[Any]]:
    """For each element of the outputs the forms of P and those of Q, on cells of these patterns."""
    rows = of.parameters + 1
    value = {name: np.repeat(constant(array, rows), cells, axis=0) for name, array in plan.fixed.items()}
    below = {name: np.zeros_like(forms) for name, forms in value.items()}
    for wire in plan.wires:
        if isinstance(wire.operation, op.Input):
            value[wire.name] = np.repeat(of.forms[wire.name], cells, axis=0)
            below[wire.name] = np.zeros_like(value[wire.name])
            continue
        xs, qs = ([side[name] for name in wire.operands] for side in (value, below))
        if isinstance(wire.operation, PIECEWISE):
            value[wire.name] = chosen(wire.operation, patterns[wire.name], *xs)
        elif isinstance(wire.operation, LINEAR):
            value[wire.name] = linear(wire.operation, xs)
        else:
            value[wire.name] = scaled(xs[plan.moving(wire)], plan.factors(wire))
        q = _below(plan, wire, xs, qs, value[wire.name], patterns.get(wire.name))
        below[wire.name] = _alone(value[wire.name], q)
        for name in wire.operands:
            if plan.last[name] == wire.name and name not in plan.outputs and name not in plan.fixed:
                value.pop(name, None)
                below.pop(name, None)
    sides: tuple[list[Any], list[Any]] = [], []
    for name in plan.outputs:
        lower = below[name].reshape(cells, rows, -1)
        upper = _sum(value[name].reshape(cells, rows, -1), lower)
        for side, forms in zip(sides, (upper, lower)):
            side.extend({tuple(form) for form in element} for element in forms.transpose(2, 0, 1).tolist())
    return sides


def _sum(*forms: IntArray) -> IntArray:
    total = forms[0].astype(object)
    for form in forms[1:]:
        total = total + form
    return compact(total)


def _below(plan: Program, wire: Wire, xs: list[IntArray], qs: list[IntArray], z: IntArray, pattern: Any) -> IntArray:
    """Q of a wire, of its operands' values and their Q."""
    operation = wire.operation
    ps = [_sum(x, q) for x, q in zip(xs, qs)]
    if isinstance(operation, (op.Affine, op.Conv)):
        # W- P is W+ P - W P, and W+ fits where -W may not
        whole = replace(operation, bias=0 * operation.bias)
        part = replace(whole, weight=np.maximum(operation.weight, 0))
        return _sum(linear(part, [_sum(*ps, *qs)]), -linear(whole, ps).astype(object))
    if isinstance(operation, op.Sub):
        return _sum(qs[0], ps[1])
    if isinstance(operation, op.Neg):
        return ps[0]
    if isinstance(operation, (op.Mul, op.Shift)):
        k, factors = plan.moving(wire), plan.factors(wire)
        return _sum(scaled(qs[k], np.maximum(factors, 0)), scaled(ps[k], np.maximum(-factors, 0)))
    if isinstance(operation, op.Max):
        return _sum(*qs)
    if isinstance(operation, op.Min):
        return _sum(*ps, -z)
    if isinstance(operation, op.Clamp):
        raised = chosen(op.Max(), np.equal(pattern, 0).astype(np.int64), xs[0], _level(operation.lo, xs[0]))
        return _sum(qs[0], raised, -z)
    if isinstance(operation, op.MaxPool):
        table = window_elements(operation, xs[0].shape[2:])
        taken = qs[0].reshape(*qs[0].shape[:2], -1)[:, :, table].astype(object)
        return compact((taken * once(table)).sum(axis=-1).reshape(z.shape))
    return linear(operation, qs)


def _alone(z: IntArray, q: IntArray) -> IntArray:
    """0 in the place of Q where Q is the same form everywhere, and -z where P is."""
    p = _sum(z, q)
    one_q, one_p = ((side == side[:1]).all(axis=(0, 1)) for side in (q, p))
    return compact(np.where(one_q, 0, np.where(one_p, -z, q)))


def _level(value: int, like: IntArray) -> IntArray:
    forms = np.zeros_like(like, dtype=object)
    forms[:, -1] = value
    return compact(forms)
