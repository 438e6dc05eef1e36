"""Linear operations backwards: which weights of the operands a weighted sum of the result has."""

from __future__ import annotations

from functools import singledispatch
from itertools import product

import numpy as np

from ...machine import IntArray, Wire
from ...machine import operations as op
from .exact import matmul, times


@singledispatch
def pull(operation: op.Operation, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    """For each operand the weights (K, *operand shape) that give the same sums but for what is constant.

    Parameters
    ----------
    operation : Operation
        A linear one, see `lowering`.
    weights : integer or float array (K, *result shape)
    xs : list of Wire
        The operands.
    doubles : bool
        Whether integer products may run in double precision where that is exact.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> x = Builder().input("x", (2,), Levels(0, 3))
    >>> pull(op.Affine([[1, 2], [3, 4]], [5, 6]), np.array([[1, 0], [1, -1]]), [x])
    [array([[ 1,  2],
           [-2, -2]])]
    """
    raise TypeError(f"{operation.kind} is not linear")


def offset(operation: op.Operation, shape: tuple[int, ...]) -> IntArray | None:
    """What a linear operation adds, (*result shape); None for nothing."""
    if isinstance(operation, op.Affine):
        return np.broadcast_to(operation.bias, shape)
    if isinstance(operation, op.Conv):
        return np.broadcast_to(operation.bias.reshape(-1, *[1] * (len(shape) - 1)), shape)
    return None


@pull.register
def _(operation: op.Affine, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    flat = weights.reshape(-1, weights.shape[-1])
    return [matmul(flat, operation.weight, doubles).reshape(len(weights), *xs[0].shape)]


@pull.register
def _(operation: op.Conv, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    groups, (out, width, *kernel) = operation.groups, operation.weight.shape
    count, sizes = len(weights), weights.shape[2:]
    per_group = weights.reshape(count, groups, out // groups, -1)
    taps = operation.weight.reshape(groups, out // groups, width, -1)
    padded = [n + a + b for n, (a, b) in zip(xs[0].shape[1:], operation.padding)]
    parts = [
        matmul(np.ascontiguousarray(taps[..., k].swapaxes(1, 2)), per_group, doubles) for k in range(taps.shape[-1])
    ]
    wide = any(part.dtype == object for part in parts)
    found: IntArray = np.zeros((count, groups * width, *padded), dtype=object if wide else parts[0].dtype)
    for part, at in zip(parts, product(*map(range, kernel))):
        window = (slice(d * k, d * k + s * n, s) for d, k, s, n in zip(operation.dilation, at, operation.stride, sizes))
        found[(slice(None), slice(None), *window)] += part.reshape(count, groups * width, *sizes)
    inside = (slice(a, a + n) for n, (a, _) in zip(xs[0].shape[1:], operation.padding))
    return [found[(slice(None), slice(None), *inside)]]


@pull.register
def _(operation: op.SumPool, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    n = len(operation.size)
    shape = xs[0].shape
    padded = [m + a + b for m, (a, b) in zip(shape[-n:], operation.padding)]
    found: IntArray = np.zeros((len(weights), *shape[:-n], *padded), dtype=weights.dtype)
    lead = (slice(None),) * (found.ndim - n)
    for at in product(*map(range, operation.size)):
        window = tuple(slice(k, k + s * m, s) for k, s, m in zip(at, operation.stride, weights.shape[-n:]))
        found[lead + window] += weights
    inside = tuple(slice(a, a + m) for m, (a, _) in zip(shape[-n:], operation.padding))
    return [found[lead + inside]]


@pull.register
def _(operation: op.Sum, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    axes = sorted(axis % len(xs[0].shape) for axis in operation.axes)
    for axis in axes:
        weights = np.expand_dims(weights, axis + 1)
    return [np.broadcast_to(weights, (len(weights), *xs[0].shape))]


@pull.register
def _(operation: op.Add, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    return [weights, weights]


@pull.register
def _(operation: op.Sub, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    return [weights, -weights]


@pull.register
def _(operation: op.Neg, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    return [-weights]


@pull.register
def _(operation: op.Mul, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    """One of the operands is constant; if both are, their product is taken to be that of the first."""
    x, y = (wire.operation for wire in xs)
    if isinstance(y, op.Constant):
        return [_scaled(weights, y.value), None]
    assert isinstance(x, op.Constant)
    return [None, _scaled(weights, x.value)]


def _scaled(weights: IntArray, factors: IntArray) -> IntArray:
    return weights * factors if weights.dtype.kind == "f" else times(weights, factors)


@pull.register
def _(operation: op.Shift, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    return [_scaled(weights, np.array(2**-operation.bits, dtype=object if operation.bits < -62 else np.int64))]


@pull.register
def _(operation: op.Reshape, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    return [weights.reshape(len(weights), *xs[0].shape)]


@pull.register
def _(operation: op.Concat, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    axis = operation.axis % len(xs[0].shape)
    ends = np.cumsum([x.shape[axis] for x in xs])[:-1]
    return list(np.split(weights, ends, axis=axis + 1))


@pull.register
def _(operation: op.Slice, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    found: IntArray = np.zeros((len(weights), *xs[0].shape), dtype=weights.dtype)
    found[(slice(None), *map(slice, operation.start, operation.stop, operation.step))] = weights
    return [found]


@pull.register
def _(operation: op.Transpose, weights: IntArray, xs: list[Wire], doubles: bool = True) -> list[IntArray | None]:
    back = np.argsort(operation.axes)
    return [weights.transpose(0, *(int(k) + 1 for k in back))]
