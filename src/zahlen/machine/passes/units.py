"""Units that nothing reads go, from all the wires that carry them.

For every axis of every wire a mask says which indices are read. Operations that treat an axis element by element tie
the masks of operands and result together; a matrix product needs the columns with a weight, and its rows are free.
From what is visible outside, the masks grow until nothing changes, and what is still unread is cut away.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from .. import operations as op
from ..machine import Machine, Wire
from .rewrite import nodes, pinned, rebuilt, with_constants
from .unused import drop_unused

Mask = NDArray[np.bool_]
Masks = list[Mask]
"""Which indices are read, for each axis of one wire."""


def drop_units(machine: Machine) -> Machine:
    """Drop units that nothing reads, from every wire between the one that makes them and those that ignore them.

    Inputs, outputs, registers and what registers take keep all their units. Elements of a unit axis go as rows of
    `affine`, output channels of `conv` (in groups: where one channel makes each group), columns of `embed`, slices of
    constants and rows of a `staircase`, through element-wise operations, pooling, `concat`, `slice`, `transpose` and
    the flattening of channels. At least one unit stays.

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
    >>> z = b.affine(b.input("x", (1,), Levels(0, 9)), [[1], [2], [3]], name="z")
    >>> h = b.staircase(z, [[5], [6], [7]], [[0, 1]] * 3, name="h")
    >>> machine = drop_units(b.build(b.affine(h, [[5, 0, 3]], name="y")))
    >>> machine.wires["z"].operation.weight.tolist(), machine.wires["h"].operation.thresholds.tolist()
    ([[1], [3]], [[5], [7]])
    """
    machine = drop_unused(machine)
    read = _read_units(machine)
    program = nodes(machine)
    for wire in machine.wires.values():
        own, operands = read[wire.name], [read[name] for name in wire.operands]
        if not all(mask.all() for masks in (own, *operands) for mask in masks):
            program[wire.name] = (_cut(wire.operation, own, operands), wire.operands)
    return rebuilt(machine, program)


def _read_units(machine: Machine) -> dict[str, Masks]:
    seen = pinned(machine)
    read = {
        wire.name: [np.full(n, wire.name in seen or _fixed(wire)) for n in wire.shape]
        for wire in machine.wires.values()
    }
    while True:
        before = _count(read)
        for wire in reversed(list(machine.wires.values())):
            _spread(wire.operation, read[wire.name], [read[name] for name in wire.operands])
        if _count(read) == before:
            # a wire without elements is none: where all are unread the first one stays
            empty = [mask for masks in read.values() for mask in masks if not mask.any()]
            if not empty:
                return read
            empty[0][0] = True


def _fixed(wire: Wire) -> bool:
    return isinstance(wire.operation, (op.Input, op.Register))


def _count(read: dict[str, Masks]) -> int:
    return sum(int(mask.sum()) for masks in read.values() for mask in masks)


# ---------------------------------------------------------------------------------------------------- who reads what


def _tie(one: Mask, other: Mask) -> None:
    """Both axes keep the same indices."""
    one |= other
    other |= one


def _tie_blocks(channels: Mask, elements: Mask) -> None:
    """Each channel stays with its block of elements."""
    blocks = elements.reshape(len(channels), -1)  # a view: the caller's mask grows
    channels |= blocks.any(axis=1)
    blocks |= channels[:, None]


def _keep_all(masks: Masks) -> None:
    for mask in masks:
        mask[:] = True


@singledispatch
def _spread(operation: op.Operation, own: Masks, operands: list[Masks]) -> None:
    """Grow the masks of the operands by what the result needs, and those of the result by what cannot be cut."""
    raise TypeError(f"no rule for the units of {operation.kind}")


@_spread.register(op.Input)
@_spread.register(op.Register)
@_spread.register(op.Constant)
def _(operation: op.Operation, own: Masks, operands: list[Masks]) -> None:
    pass


@_spread.register(op.Staircase)
@_spread.register(op.Lookup)
@_spread.register(op.Add)
@_spread.register(op.Sub)
@_spread.register(op.Mul)
@_spread.register(op.Min)
@_spread.register(op.Max)
@_spread.register(op.Neg)
@_spread.register(op.Clamp)
@_spread.register(op.Shift)
def _(operation: op.Operation, own: Masks, operands: list[Masks]) -> None:
    for masks in operands:
        for mask, other in zip(own, masks):
            _tie(mask, other)


@_spread.register
def _(operation: op.Affine, own: Masks, operands: list[Masks]) -> None:
    for mask, other in zip(own[:-1], operands[0][:-1]):
        _tie(mask, other)
    operands[0][-1] |= operation.weight[own[-1]].any(axis=0)


@_spread.register
def _(operation: op.Conv, own: Masks, operands: list[Masks]) -> None:
    weight, groups, given = operation.weight, operation.groups, operands[0]
    _keep_all(own[1:] + given[1:])
    if groups == 1:
        given[0] |= weight[own[0]].any(axis=(0, *range(2, weight.ndim)))
    elif weight.shape[1] == 1:
        _tie_blocks(given[0], own[0])
    else:
        _keep_all([own[0], given[0]])


@_spread.register
def _(operation: op.Embed, own: Masks, operands: list[Masks]) -> None:
    for mask, other in zip(own[:-1], operands[0]):
        _tie(mask, other)


@_spread.register(op.MaxPool)
@_spread.register(op.SumPool)
def _(operation: op.MaxPool | op.SumPool, own: Masks, operands: list[Masks]) -> None:
    n = len(operation.size)
    _keep_all(own[-n:] + operands[0][-n:])
    for mask, other in zip(own[:-n], operands[0][:-n]):
        _tie(mask, other)


@_spread.register(op.Sum)
@_spread.register(op.Argmax)
def _(operation: op.Sum | op.Argmax, own: Masks, operands: list[Masks]) -> None:
    given = operands[0]
    axes = operation.axes if isinstance(operation, op.Sum) else (operation.axis,)
    gone = {axis % len(given) for axis in axes}
    _keep_all([given[axis] for axis in gone])
    for mask, other in zip(own, (mask for axis, mask in enumerate(given) if axis not in gone)):
        _tie(mask, other)


@_spread.register
def _(operation: op.Reshape, own: Masks, operands: list[Masks]) -> None:
    given = operands[0]
    ends = _block_axes(operation, own, operands)
    if ends is None:
        _keep_all(own + given)
        return
    _keep_all(own[1:] + given[1:])
    _tie_blocks(*ends)


def _block_axes(operation: op.Reshape, own: Masks, operands: list[Masks]) -> tuple[Mask, Mask] | None:
    """The masks of the two first axes, the shorter one first, if each of its indices is a block of the longer one."""
    if not own or not operands[0]:
        return None
    short, long = sorted((own[0], operands[0][0]), key=len)
    return (short, long) if len(long) % len(short) == 0 else None


@_spread.register
def _(operation: op.Concat, own: Masks, operands: list[Masks]) -> None:
    axis, start = operation.axis % len(own), 0
    for masks in operands:
        for k, (mask, other) in enumerate(zip(own, masks)):
            _tie(mask[start : start + len(other)] if k == axis else mask, other)
        start += len(masks[axis])


@_spread.register
def _(operation: op.Slice, own: Masks, operands: list[Masks]) -> None:
    for mask, other, a, b, s in zip(own, operands[0], operation.start, operation.stop, operation.step):
        if s > 1:
            _keep_all([mask, other])  # what is left between the steps would have to stay even
        _tie(mask, other[a:b:s])


@_spread.register
def _(operation: op.Transpose, own: Masks, operands: list[Masks]) -> None:
    for mask, axis in zip(own, operation.axes):
        _tie(mask, operands[0][axis])


# ---------------------------------------------------------------------------------------------------- cutting


@singledispatch
def _cut(operation: op.Operation, own: Masks, operands: list[Masks]) -> op.Operation:
    """The operation on operands without their unread units, making a result without its unread units."""
    return operation


@_cut.register
def _(operation: op.Constant, own: Masks, operands: list[Masks]) -> op.Operation:
    return with_constants(operation, value=operation.value[np.ix_(*own)])


@_cut.register
def _(operation: op.Affine, own: Masks, operands: list[Masks]) -> op.Operation:
    weight = operation.weight[np.ix_(own[-1], operands[0][-1])]
    return with_constants(operation, weight=weight, bias=operation.bias[own[-1]])


@_cut.register
def _(operation: op.Conv, own: Masks, operands: list[Masks]) -> op.Operation:
    channels = operands[0][0]
    weight, bias = operation.weight[own[0]], operation.bias[own[0]]
    if operation.groups == 1:
        return with_constants(operation, weight=weight[:, channels], bias=bias)
    groups = int(channels.sum()) if weight.shape[1] == 1 else operation.groups
    return op.Conv(operation.stride, operation.padding, operation.dilation, groups, weight, bias)


@_cut.register
def _(operation: op.Staircase, own: Masks, operands: list[Masks]) -> op.Operation:
    if not operation.per_channel:
        return operation
    rows = own[operation.axis % len(own)]
    return with_constants(operation, thresholds=operation.thresholds[rows], values=operation.values[rows])


@_cut.register
def _(operation: op.Embed, own: Masks, operands: list[Masks]) -> op.Operation:
    return with_constants(operation, table=operation.table[:, own[-1]])


@_cut.register
def _(operation: op.Reshape, own: Masks, operands: list[Masks]) -> op.Operation:
    return op.Reshape(tuple(int(mask.sum()) for mask in own))


@_cut.register
def _(operation: op.Slice, own: Masks, operands: list[Masks]) -> op.Operation:
    start = tuple(int(mask[:a].sum()) for mask, a in zip(operands[0], operation.start))
    stop = tuple(
        int(mask[:b].sum()) if s == 1 else b for mask, b, s in zip(operands[0], operation.stop, operation.step)
    )
    return op.Slice(start, stop, operation.step)
