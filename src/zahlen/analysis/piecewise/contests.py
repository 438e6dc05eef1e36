"""The pieces of operations that are not linear: in every window, which of some affine forms is the greatest.

Each operation is three functions: `contest`, the forms that are compared; `pattern`, which piece that puts an element
on; `chosen`, what the operation is there. Where two forms are equal on a whole cell, the first one counts.
"""

from __future__ import annotations

from functools import singledispatch
from math import prod
from typing import Any

import numpy as np

from ...machine import IntArray, Wire
from ...machine import operations as op
from .forms import compact

PIECEWISE = (op.Max, op.Min, op.Clamp, op.MaxPool)
"""Continuous operations."""
JUMPING = (op.Staircase, op.Argmax)
"""Operations that are constant on their pieces."""


@singledispatch
def contest(operation: op.Operation, *xs: IntArray) -> IntArray:
    """What is compared: forms (cells, parameters + 1, windows, forms) of operands (cells, parameters + 1, *shape).

    >>> contest(op.Clamp(0, 9), np.array([[[2], [-4]]])).tolist()
    [[[[2, 0], [2, 0]], [[-4, 0], [-4, 9]]]]
    """
    raise TypeError(f"{operation.kind} has no pieces")


@singledispatch
def pattern(operation: op.Operation, winners: IntArray, x: IntArray) -> IntArray:
    """Which of the operation's pieces each element is on, (cells, *shape or flat), for the first operand's forms."""
    return winners


@singledispatch
def chosen(operation: op.Operation, of: IntArray, *xs: IntArray) -> IntArray:
    """Forms (cells, parameters + 1, *shape) of the result on cells of a given pattern (cells, *shape)."""
    raise TypeError(f"{operation.kind} has no pieces")


def compared(wire: Wire) -> int:
    """How many forms a wire's operation compares on each cell."""
    operation = wire.operation
    if isinstance(operation, op.Staircase):
        return 2 * wire.size * int(operation.thresholds.shape[-1])
    return wire.size * (prod(operation.size) if isinstance(operation, op.MaxPool) else 4)


def _windows(forms: IntArray) -> IntArray:
    return forms.reshape(*forms.shape[:2], -1, forms.shape[-1])


@contest.register
def _(operation: op.Max, x: IntArray, y: IntArray) -> IntArray:
    return _windows(np.stack([x, y], axis=-1))


@contest.register
def _(operation: op.Min, x: IntArray, y: IntArray) -> IntArray:
    return -_windows(np.stack([x, y], axis=-1))


@chosen.register(op.Max)
@chosen.register(op.Min)
def _(operation: op.Max | op.Min, of: IntArray, x: IntArray, y: IntArray) -> IntArray:
    return np.where(of[:, None] == 0, x, y)


@contest.register
def _(operation: op.Clamp, x: IntArray) -> IntArray:
    return _beside(x, np.array([operation.lo, operation.hi], dtype=object))


@pattern.register(op.Clamp)
@pattern.register(op.Staircase)
def _(operation: op.Clamp | op.Staircase, winners: IntArray, x: IntArray) -> IntArray:
    reached: IntArray = (winners.reshape(len(winners), *x.shape[2:], -1) == 0).sum(axis=-1)
    return reached


@chosen.register
def _(operation: op.Clamp, of: IntArray, x: IntArray) -> IntArray:
    ends = np.array([operation.lo, 0, operation.hi], dtype=object)
    return compact(np.where(of[:, None] == 1, x, _constants(ends[of], x)))


@contest.register
def _(operation: op.Staircase, x: IntArray) -> IntArray:
    return _beside(x, _rows(operation, operation.thresholds, x))


@chosen.register
def _(operation: op.Staircase, of: IntArray, x: IntArray) -> IntArray:
    table = np.broadcast_to(_rows(operation, operation.values, x), (*of.shape, operation.values.shape[-1]))
    return _constants(np.take_along_axis(table, of[..., None], axis=-1)[..., 0], x)


def _rows(operation: op.Staircase, table: IntArray, x: IntArray) -> IntArray:
    """The entries for each element, (*shape, entries), where there are channels with 1 for the other axes."""
    if not operation.per_channel:
        return table
    shape = [1] * (x.ndim - 2)
    shape[operation.axis] = len(table)
    return table.reshape(*shape, -1)


def _beside(x: IntArray, levels: IntArray) -> IntArray:
    """Every element and each of its levels as a window."""
    levels = compact(levels)
    forms = np.zeros((*x.shape, levels.shape[-1], 2), dtype=np.result_type(x, levels))
    forms[..., 0] = x[..., None]
    forms[:, -1, ..., 1] = levels
    return _windows(forms)


def _constants(values: IntArray, x: IntArray) -> IntArray:
    forms = np.zeros((len(values), x.shape[1], *values.shape[1:]), dtype=values.dtype)
    forms[:, -1] = values
    return compact(forms)


@contest.register
def _(operation: op.MaxPool, x: IntArray) -> IntArray:
    return x.reshape(*x.shape[:2], -1)[:, :, window_elements(operation, x.shape[2:])]


@chosen.register
def _(operation: op.MaxPool, of: IntArray, x: IntArray) -> IntArray:
    table = window_elements(operation, x.shape[2:])
    taken = table[np.arange(len(table)), of.reshape(len(of), -1)][:, None]
    forms = np.take_along_axis(x.reshape(*x.shape[:2], -1), taken, axis=2)
    return forms.reshape(*x.shape[:2], *of.shape[1:])


def window_elements(operation: op.MaxPool, shape: tuple[int, ...]) -> Any:
    """For each window its elements by number, (windows, size); one of them again in the place of padding."""
    axes = len(operation.size)
    padding = [(0, 0)] * (len(shape) - axes) + list(operation.padding)
    inside = np.pad(np.arange(prod(shape)).reshape(shape), padding, constant_values=-1)
    view = np.lib.stride_tricks.sliding_window_view(inside, operation.size, tuple(range(-axes, 0)))
    steps: Any = (..., *(slice(None, None, s) for s in operation.stride), *[slice(None)] * axes)
    table = view[steps].reshape(-1, prod(operation.size))
    return np.where(table < 0, table.max(axis=1, keepdims=True), table)


def once(table: Any) -> Any:
    """Which entries of each row are there for the first time."""
    return ~np.tril(table[:, :, None] == table[:, None, :], -1).any(axis=-1)


@contest.register
def _(operation: op.Argmax, x: IntArray) -> IntArray:
    return _windows(np.moveaxis(x, operation.axis if operation.axis < 0 else operation.axis + 2, -1))


@chosen.register
def _(operation: op.Argmax, of: IntArray, x: IntArray) -> IntArray:
    return _constants(of, x)
