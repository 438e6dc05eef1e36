"""Units that are equal by their definition are read once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import singledispatch

import numpy as np

from .. import operations as op
from ..alphabets import IntArray
from ..machine import Machine, Wire
from .rewrite import in_int64, nodes, rebuilt, with_constants

Labels = tuple[IntArray, ...]
"""For each axis of a wire one label per index; slices of equal label along an axis carry equal values."""


def merge_units(machine: Machine) -> Machine:
    """Let `affine` and `conv` read only the first of equal units: their weights are added up, and the rest are zero.

    Units are equal if the same weights, thresholds, tables and element-wise operations make them of equal units.
    They stay until `drop_units` drops the unread ones. Where a sum of weights would leave int64 nothing is merged.

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
    >>> h = b.affine(b.input("x", (1,), Levels(0, 1)), [[1], [2], [1]], name="h")
    >>> machine = b.build(b.affine(h, [[5, 3, 4]], name="y"))
    >>> merge_units(machine).wires["y"].operation.weight.tolist()
    [[9, 3, 0]]
    """
    labels: dict[str, Labels] = {}
    program = nodes(machine)
    for wire in machine.wires.values():
        given = [labels[name] for name in wire.operands]
        operands = [machine.wires[name] for name in wire.operands]
        labels[wire.name] = _labels(wire.operation, wire, given, operands)
        if isinstance(wire.operation, op.Affine):
            program[wire.name] = (_merged(wire.operation, given[0][-1], 1), wire.operands)
        elif isinstance(wire.operation, op.Conv):
            program[wire.name] = (_merged(wire.operation, given[0][0], wire.operation.groups), wire.operands)
    return rebuilt(machine, program)


def _merged(operation: op.Affine | op.Conv, labels: IntArray, groups: int) -> op.Operation:
    """The operation with the columns of equal units of one group added up in the first of them."""
    weight = operation.weight
    rows = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    pairs = list(_equal_units(rows, labels.reshape(groups, -1)))
    if not pairs:
        return operation
    sums = rows.astype(object)
    for group, target, unit in pairs:
        sums[group, :, target] += sums[group, :, unit]
        sums[group, :, unit] = 0
    if not in_int64(sums):
        return operation
    return with_constants(operation, weight=sums.astype(np.int64).reshape(weight.shape))


def _equal_units(rows: IntArray, labels: IntArray) -> Iterator[tuple[int, int, int]]:
    """A group, a unit that its rows read, and another unit that they read and that is equal to it."""
    for group, units in enumerate(labels.tolist()):
        read = rows[group].any(axis=(0, 2))
        first: dict[int, int] = {}
        for unit, label in enumerate(units):
            if read[unit] and first.setdefault(label, unit) != unit:
                yield group, first[label], unit


# ---------------------------------------------------------------------------------------------------- equal units


def _numbered(keys: Iterable[Hashable]) -> IntArray:
    """Equal numbers for equal keys."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _different(length: int) -> IntArray:
    return np.arange(length)


def _slices(array: IntArray, axis: int) -> IntArray:
    """Labels of a constant's slices along an axis."""
    return _numbered(part.tobytes() for part in np.moveaxis(array, axis, 0))


@singledispatch
def _labels(operation: op.Operation, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    """Labels of the operation's result; with no rule for it all slices count as different."""
    return tuple(map(_different, wire.shape))


@_labels.register(op.Add)
@_labels.register(op.Sub)
@_labels.register(op.Mul)
@_labels.register(op.Min)
@_labels.register(op.Max)
@_labels.register(op.Neg)
@_labels.register(op.Clamp)
@_labels.register(op.Shift)
@_labels.register(op.Lookup)
def _(operation: op.Operation, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    return tuple(_numbered(zip(*(labels[axis].tolist() for labels in given))) for axis in range(len(wire.shape)))


@_labels.register
def _(operation: op.Constant, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    return tuple(_slices(operation.value, axis) for axis in range(len(wire.shape)))


@_labels.register
def _(operation: op.Affine, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    return (*given[0][:-1], _slices(np.column_stack([operation.weight, operation.bias]), 0))


@_labels.register
def _(operation: op.Conv, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    out = len(operation.weight)
    group = np.arange(out) // (out // operation.groups)
    rows = np.column_stack([group, operation.weight.reshape(out, -1), operation.bias])
    return (_slices(rows, 0), *map(_different, wire.shape[1:]))


@_labels.register
def _(operation: op.Staircase, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    labels = list(given[0])
    if operation.per_channel:
        axis = operation.axis % len(wire.shape)
        rows = _slices(np.hstack([operation.thresholds, operation.values]), 0)
        labels[axis] = _numbered(zip(labels[axis].tolist(), rows.tolist()))
    return tuple(labels)


@_labels.register
def _(operation: op.Embed, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    return (*given[0], _slices(operation.table, 1))


@_labels.register(op.MaxPool)
@_labels.register(op.SumPool)
def _(operation: op.MaxPool | op.SumPool, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    n = len(operation.size)
    return (*given[0][:-n], *map(_different, wire.shape[-n:]))


@_labels.register
def _(operation: op.Sum, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    summed = {axis % len(given[0]) for axis in operation.axes}
    return tuple(labels for axis, labels in enumerate(given[0]) if axis not in summed)


@_labels.register
def _(operation: op.Argmax, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    axis = operation.axis % len(given[0])
    return given[0][:axis] + given[0][axis + 1 :]


@_labels.register
def _(operation: op.Transpose, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    return tuple(given[0][axis] for axis in operation.axes)


@_labels.register
def _(operation: op.Slice, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    return tuple(labels[a:b:s] for labels, a, b, s in zip(given[0], operation.start, operation.stop, operation.step))


@_labels.register
def _(operation: op.Concat, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    joined = operation.axis % len(wire.shape)
    parts = [(o.name, int(label)) for o, labels in zip(operands, given) for label in labels[joined]]
    return tuple(
        _numbered(parts) if axis == joined else _numbered(zip(*(labels[axis].tolist() for labels in given)))
        for axis in range(len(wire.shape))
    )


@_labels.register
def _(operation: op.Reshape, wire: Wire, given: list[Labels], operands: list[Wire]) -> Labels:
    rest = tuple(map(_different, wire.shape[1:]))
    channels, length = operands[0].shape[:1], wire.shape[:1]
    if channels and length and length[0] % channels[0] == 0:
        # flattening: a channel becomes a block, and equal channels become equal blocks
        block = length[0] // channels[0]
        return (_numbered((int(c), k) for c in given[0][0] for k in range(block)), *rest)
    return tuple(map(_different, wire.shape))
