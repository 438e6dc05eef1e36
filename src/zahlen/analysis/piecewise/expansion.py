"""Tropical polynomials of every wire multiplied out, for any number of variables; see `tropical` for the rules."""

from __future__ import annotations

from functools import reduce, singledispatch

import numpy as np

from ...machine import IntArray, Wire
from ...machine import operations as op
from ...machine.reference import apply
from ..orbit import LimitError
from .contests import once, window_elements
from .polynomial import Polynomial, reduced
from .program import Program
from .slices import Slice

Pair = tuple[Polynomial, Polynomial]
COEFFICIENTS = 1 << 23
"""Most integers of a product; each takes some 60 bytes, and a microsecond."""


class _Products:
    """Products of no more than so many monomials."""

    def __init__(self, wire: Wire, limit: int, variables: int) -> None:
        self.wire, self.limit, self.variables = wire, limit, variables
        self.most = min(limit, COEFFICIENTS // (variables + 1))

    def __call__(self, *factors: Polynomial) -> Polynomial:
        return reduce(self._product, sorted(factors, key=len), self.constant(0))

    def _product(self, p: Polynomial, q: Polynomial) -> Polynomial:
        if len(p) * len(q) > self.most:
            way = "raise limit, or " if self.most == self.limit else ""
            raise LimitError(
                f"tropical: wire {self.wire.name!r} needs a product of {len(p):,} by {len(q):,} monomials, which are "
                f"{len(p) * len(q):,}, more than {self.most:,}; {way}give 3 points of the input: on a "
                "plane monomials that are not needed never arise"
            )
        return p * q

    def constant(self, value: int) -> Polynomial:
        return _constant(self.variables, value)


def _constant(variables: int, value: int) -> Polynomial:
    return Polynomial(((*[0] * variables, value),))


def _constants(variables: int, values: IntArray) -> IntArray:
    pairs = [(_constant(variables, v), _constant(variables, 0)) for v in values.ravel().tolist()]
    return _objects(pairs, values.shape)


def expanded(plan: Program, of: Slice, limit: int) -> list[Pair]:
    """P and Q of every element of the outputs."""
    wires = {name: _constants(of.parameters, value) for name, value in plan.fixed.items()}
    for wire in plan.wires:
        products = _Products(wire, limit, of.parameters)
        if isinstance(wire.operation, op.Input):
            forms = of.forms[wire.name][0].reshape(of.parameters + 1, -1).T.tolist()
            wires[wire.name] = _objects([(Polynomial.of([f]), products.constant(0)) for f in forms], wire.shape)
            continue
        operands = [wires[name] for name in wire.operands]
        if isinstance(wire.operation, (op.Mul, op.Shift)):
            moving = operands[plan.moving(wire)].ravel().tolist()
            factors = np.broadcast_to(plan.factors(wire), wire.shape).ravel().tolist()
            pairs = [_sum(products, [pair], [factor], 0) for pair, factor in zip(moving, factors)]
        else:
            pairs = _pairs(wire.operation, products, *operands)
        wires[wire.name] = _objects([reduced(p, q) for p, q in pairs], wire.shape)
    return [pair for name in plan.outputs for pair in wires[name].ravel().tolist()]


def _objects(pairs: list[Pair], shape: tuple[int, ...]) -> IntArray:
    array = np.empty(len(pairs), dtype=object)
    for k, pair in enumerate(pairs):
        array[k] = pair
    return array.reshape(shape)


def _sum(products: _Products, pairs: list[Pair], weights: list[int], constant: int) -> Pair:
    """The sum with these weights."""
    above, below = [products.constant(constant)], []
    for (p, q), weight in zip(pairs, weights):
        if weight:
            up, down = (p, q) if weight > 0 else (q, p)
            above.append(up.power(abs(weight)))
            below.append(down.power(abs(weight)))
    return products(*above), products(*below)


def _greater(products: _Products, x: Pair, y: Pair) -> Pair:
    return products(x[0], y[1]) + products(y[0], x[1]), products(x[1], y[1])


@singledispatch
def _pairs(operation: op.Operation, products: _Products, *xs: IntArray) -> list[Pair]:
    """The elements of the result in their order: here of a linear operation, from its matrix."""
    pairs = [pair for x in xs for pair in x.ravel().tolist()]
    splits = np.cumsum([x.size for x in xs])[:-1]
    rows = [
        part.reshape(-1, *x.shape)
        for part, x in zip(np.split(np.eye(len(pairs) + 1, len(pairs), -1, int), splits, 1), xs)
    ]
    found = apply(operation, *(row.astype(object) for row in rows)).reshape(len(pairs) + 1, -1)
    return [_sum(products, pairs, [v - column[0] for v in column[1:]], column[0]) for column in found.T.tolist()]


@_pairs.register
def _(operation: op.Max, products: _Products, x: IntArray, y: IntArray) -> list[Pair]:
    return [_greater(products, a, b) for a, b in zip(x.ravel().tolist(), y.ravel().tolist())]


@_pairs.register
def _(operation: op.Min, products: _Products, x: IntArray, y: IntArray) -> list[Pair]:
    pairs = (_greater(products, a[::-1], b[::-1]) for a, b in zip(x.ravel().tolist(), y.ravel().tolist()))
    return [(q, p) for p, q in pairs]


@_pairs.register
def _(operation: op.Clamp, products: _Products, x: IntArray) -> list[Pair]:
    found = []
    for p, q in x.ravel().tolist():
        raised = p + products(q, products.constant(operation.lo))
        found.append((raised, q + products(raised, products.constant(-operation.hi))))
    return found


@_pairs.register
def _(operation: op.MaxPool, products: _Products, x: IntArray) -> list[Pair]:
    table, pairs = window_elements(operation, x.shape), x.ravel().tolist()
    windows = [[pairs[k] for k, first in zip(row, firsts) if first] for row, firsts in zip(table, once(table))]
    return [reduce(lambda a, b: _greater(products, a, b), window) for window in windows]
