"""What is constant by its range becomes a constant, or part of a bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .. import operations as op
from ..alphabets import IntArray
from ..machine import Machine, Wire
from .rewrite import (
    Node,
    alive,
    as_constant,
    constants_of,
    in_int64,
    nodes,
    rebuilt,
    share,
    with_constants,
)
from .unused import drop_unused

Map = TypeVar("Map", op.Affine, op.Conv)


def fold_constants(machine: Machine) -> Machine:
    """Make constants of wires that have one value, and fold constant units into the bias of what reads them.

    Units are the elements that `affine` reads, and the channels that `conv` reads; those of a convolution fold where
    it has no padding or the unit is zero, which is what padding is. Their weights become zero, so that `drop_units`
    may drop them. A wire becomes a constant where that, and dropping what nothing else reads, takes no more integers.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    Machine

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.affine(b.input("x", (1,), Levels(0, 1)), [[1], [0]], [0, 4], name="h")
    >>> machine = b.build(b.affine(h, [[5, 3]], name="y"))
    >>> folded = fold_constants(machine).wires["y"].operation
    >>> folded.weight.tolist(), folded.bias.tolist()
    ([[5, 0]], [12])
    """
    folded = fold_where(machine, lambda wire: True)
    program = nodes(folded)
    for wire in folded.wires.values():
        if isinstance(wire.operation, op.Affine):
            program[wire.name] = (_affine(wire.operation, folded.wires[wire.operands[0]]), wire.operands)
        elif isinstance(wire.operation, op.Conv):
            program[wire.name] = (_conv(wire.operation, folded.wires[wire.operands[0]]), wire.operands)
    return rebuilt(folded, program)


def fold_where(machine: Machine, eligible: Callable[[Wire], bool]) -> Machine:
    """Make constants of the eligible wires that have one value, where that takes no more integers."""
    candidates = {}
    for wire in reversed(list(machine.wires.values())):
        if not isinstance(wire.operation, (op.Input, op.Constant)) and eligible(wire):
            constant = as_constant(wire)
            if constant is not None:
                candidates[wire.name] = constant
    if not candidates:
        return machine
    program = nodes(machine)
    # from the outputs backwards: what only served a constant is gone before its own turn comes
    kept = alive(machine, program)
    for name, constant in candidates.items():
        if name not in kept:
            continue
        trial: dict[str, Node] = {**program, name: (constant, ())}
        left = alive(machine, trial)
        if constants_of(trial, left) <= constants_of(program, kept):
            program, kept = trial, left
    return drop_unused(rebuilt(machine, program))


def _units(wire: Wire, axis: int) -> tuple[IntArray, IntArray]:
    """Which slices along an axis hold one and the same value everywhere, and that value (else 0)."""
    lo, hi = (np.moveaxis(end, axis, 0).reshape(wire.shape[axis], -1) for end in (wire.range.lo, wire.range.hi))
    constant = np.asarray((lo == lo[:, :1]).all(axis=1) & (hi == lo[:, :1]).all(axis=1), dtype=bool)
    value = np.where(constant, lo[:, 0], 0)
    if not in_int64(value):
        return np.zeros_like(constant), np.zeros(len(value), dtype=np.int64)
    return constant, value.astype(np.int64)


def _affine(operation: op.Affine, operand: Wire) -> op.Affine:
    constant, value = _units(operand, -1)
    weight = np.where(constant, 0, operation.weight)
    return _folded(operation, weight, share(operation, value))


def _conv(operation: op.Conv, operand: Wire) -> op.Conv:
    constant, value = _units(operand, 0)
    if any(map(any, operation.padding)):
        constant = constant & (value == 0)
        value = np.zeros_like(value)
    weight, groups = operation.weight, operation.groups
    out, width = weight.shape[:2]
    rows = weight.reshape(groups, out // groups, width, -1)
    mask = constant.reshape(groups, 1, width, 1)
    return _folded(operation, np.where(mask, 0, rows).reshape(weight.shape), share(operation, value))


def _folded(operation: Map, weight: IntArray, more: IntArray) -> Map:
    """The operation with these weights and `more` added to its bias, if it changes and int64 holds it."""
    bias = operation.bias.astype(object) + more.astype(object)
    if bool((weight == operation.weight).all()) or not in_int64(bias):
        return operation
    return with_constants(operation, weight=weight, bias=bias.astype(np.int64))
