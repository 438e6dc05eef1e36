"""What linear operations make of affine forms of a slice's parameters.

The value of every element of a wire on a cell is an affine form. An array of them is (cells, parameters + 1, *shape):
behind the coefficients of the parameters stands the constant. Points of a slice are integers and no operation divides,
so all coefficients are integers. Arrays are int64 where no difference of two forms leaves it, else of Python integers.
"""

from __future__ import annotations

import numpy as np

from ...machine import IntArray, Range
from ...machine import operations as op
from ...machine.ranges import fits, narrow, workspace
from ...machine.reference import apply

LINEAR = (
    op.Affine, op.Conv, op.Add, op.Sub, op.Neg, op.Sum, op.SumPool, op.Reshape, op.Concat, op.Slice, op.Transpose,
)  # fmt: skip
HALF = (-(2**62) + 1, 2**62 - 1)
"""Where forms are int64."""


def compact(forms: IntArray) -> IntArray:
    """As int64 if differences fit, else as Python integers."""
    return forms.astype(np.int64 if fits((int(forms.min()), int(forms.max())), HALF) else object, copy=False)


def constant(value: IntArray, rows: int) -> IntArray:
    """Forms of one cell that do not depend on the parameters.

    >>> constant(np.array([5, 7]), 3).tolist()
    [[[0, 0], [0, 0], [5, 7]]]
    """
    forms = np.zeros((1, rows, *value.shape), dtype=value.dtype)
    forms[:, -1] = value
    return compact(forms)


def linear(operation: op.Operation, forms: list[IntArray]) -> IntArray:
    """The forms of the result of an operation that is linear, or so but for a constant.

    >>> x = np.array([[[1, 0], [0, 1], [0, 0]]])
    >>> linear(op.Affine([[2, -1]], [5]), [x]).tolist()
    [[[2], [-1], [5]]]
    """
    batches = [f.reshape(-1, *f.shape[2:]) for f in forms]
    ranges = [symmetric(b.shape[1:], int(abs(b).max())) for b in batches]
    zeros = [np.zeros((1, *b.shape[1:]), dtype=object) for b in batches]
    offset = narrow(apply(operation, *zeros))
    small = fits(workspace(operation, *ranges), HALF) and offset.dtype != object
    found = apply(operation, *(b.astype(np.int64 if small else object, copy=False) for b in batches))
    found = found.reshape(-1, forms[0].shape[1], *found.shape[1:])
    if offset.any():
        found[:, :-1] -= offset
    return compact(found)


def symmetric(shape: tuple[int, ...], most: int) -> Range:
    """Elements of which none is further from zero than `most`."""
    return Range(np.full(shape, -most, dtype=object), np.full(shape, most, dtype=object), 1)


def scaled(forms: IntArray, factors: IntArray) -> IntArray:
    """The product with integers, (*shape)."""
    return compact(forms.astype(object) * factors)
