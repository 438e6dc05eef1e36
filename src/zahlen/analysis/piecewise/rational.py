"""The function that a machine's operations define on rational inputs, evaluated point by point.

Every sample is kept as integers over its own denominator, so that each operation is one on integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import singledispatch
from math import lcm
from typing import Any

import numpy as np

from ...machine import IntArray, Machine
from ...machine import operations as op
from ...machine.ranges import fits, workspace
from ...machine.reference import apply
from .forms import HALF, symmetric
from .program import Program, program

DIGIT = 24
"""Bits of the digits that numerators are multiplied in."""


def evaluate(
    machine: Machine, inputs: Mapping[str, IntArray], outputs: Sequence[str] | None = None
) -> dict[str, IntArray]:
    """Wires at rational inputs.

    Parameters
    ----------
    machine : Machine
        One without registers, whose operations are piecewise affine: no rounding, tables or products of wires.
    inputs : mapping from input name to object array (batch, *shape)
        Fractions or integers.
    outputs : sequence of str, optional
        Names of wires; by default the machine's outputs.

    Returns
    -------
    dict of object arrays (batch, *shape) of Fraction

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (1,), Levels(0, 9))
    >>> machine = b.build(b.clamp(b.affine(x, [[4]], [-1]), 0, 5, name="y"))
    >>> found = evaluate(machine, {"x": np.array([[Fraction(1, 3)], [7]])})
    >>> [str(v) for v in found["y"].ravel()]
    ['1/3', '5']
    """
    plan = program("evaluate", machine, outputs)
    samples = {name: np.asarray(inputs[name], dtype=object) for name in machine.inputs}
    rows = zip(*(value.reshape(len(value), -1).tolist() for value in samples.values()))
    below = np.array([lcm(*(Fraction(v).denominator for part in parts for v in part)) for parts in rows], dtype=object)
    whole: Any = np.frompyfunc(lambda v: Fraction(v).numerator, 1, 1)
    found = numerators(plan, {name: whole(value * _fitting(below, value)) for name, value in samples.items()}, below)
    fraction: Any = np.frompyfunc(Fraction, 2, 1)
    return {name: fraction(value, _fitting(below, value)) for name, value in found.items()}


def numerators(plan: Program, inputs: Mapping[str, IntArray], below: IntArray) -> dict[str, IntArray]:
    """The outputs of a program as integers, each sample over its own denominator.

    Parameters
    ----------
    plan : Program
    inputs : mapping from input name to object array (batch, *shape)
        Numerators.
    below : object array (batch,)
        Denominators, positive.
    """
    values = {name: array[None].astype(object) * _fitting(below, array[None]) for name, array in plan.fixed.items()}
    for wire in plan.wires:
        xs = [values[name] for name in wire.operands]
        if isinstance(wire.operation, op.Input):
            values[wire.name] = inputs[wire.name]
        elif isinstance(wire.operation, op.Mul):
            values[wire.name] = xs[0] * xs[1] // _fitting(below, xs[0])
        else:
            values[wire.name] = _over(wire.operation, below, *xs)
        for name in wire.operands:
            if plan.last[name] == wire.name and name not in plan.outputs:
                values.pop(name, None)
    return {name: values[name] for name in plan.outputs}


def _fitting(below: IntArray, x: IntArray) -> IntArray:
    return below.reshape(-1, *[1] * (x.ndim - 1))


@singledispatch
def _over(operation: op.Operation, below: IntArray, *xs: IntArray) -> IntArray:
    """The numerator of the result, of numerators over the same denominators (batch,): here of a linear operation."""
    offset = apply(operation, *(np.zeros_like(x[:1]) for x in xs))
    result: IntArray = apply(operation, *xs) + (_fitting(below, offset) - 1) * offset
    return result


@_over.register(op.Affine)
@_over.register(op.Conv)
def _(operation: op.Affine | op.Conv, below: IntArray, x: IntArray) -> IntArray:
    """Digit by digit, where products with digits fit 64 bits, since those of Python's integers take long."""
    offset = apply(operation, np.zeros_like(x[:1]))
    total: IntArray = _fitting(below, offset) * offset
    digits = [x]
    if fits(workspace(operation, symmetric(x.shape[1:], 1 << DIGIT)), HALF):
        while int(abs(digits[-1]).max()) >> DIGIT:
            digits[-1:] = [digits[-1] & (1 << DIGIT) - 1, digits[-1] >> DIGIT]
        digits = [digit.astype(np.int64) for digit in digits]
    for k, digit in enumerate(digits):
        total = total + ((apply(operation, digit) - offset).astype(object) << k * DIGIT)
    return total


@_over.register(op.Max)
@_over.register(op.Min)
@_over.register(op.MaxPool)
def _(operation: op.Operation, below: IntArray, *xs: IntArray) -> IntArray:
    return apply(operation, *xs)


@_over.register
def _(operation: op.Clamp, below: IntArray, x: IntArray) -> IntArray:
    below = _fitting(below, x)
    clamped: IntArray = np.minimum(np.maximum(x, operation.lo * below), operation.hi * below)
    return clamped


@_over.register
def _(operation: op.Staircase, below: IntArray, x: IntArray) -> IntArray:
    """A threshold is an integer, so z reaches it where its floor does."""
    below = _fitting(below, x)
    return apply(operation, x // below).astype(object) * below


@_over.register
def _(operation: op.Argmax, below: IntArray, x: IntArray) -> IntArray:
    found = apply(operation, x).astype(object)
    return found * _fitting(below, found)
