"""The definition: what every operation computes, in plain NumPy integers, to be read beside the table of operations.

Axis 0 of every array is the batch. Arrays are int64, or object arrays of Python integers where `ranges` could not
prove that every intermediate value fits; the same lines serve both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from . import operations as op
from .alphabets import IntArray

if TYPE_CHECKING:
    from .machine import Machine


def evaluate(
    machine: Machine, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], wanted: Iterable[str]
) -> dict[str, IntArray]:
    """The named wires after one step on a batch. Wires that nothing wanted depends on are not computed."""
    wanted = list(wanted)
    last_use = machine.last_uses(wanted)
    batch = len(next(iter({**inputs, **state}.values())))
    values: dict[str, IntArray] = {}
    for wire in machine.wires.values():
        if wire.name not in last_use:
            continue
        if isinstance(wire.operation, op.Input):
            value = inputs[wire.name]
        elif isinstance(wire.operation, op.Register):
            value = state[wire.name]
        elif isinstance(wire.operation, op.Constant):
            value = np.broadcast_to(wire.operation.value, (batch, *wire.shape))
        else:
            operands = [values[name].astype(wire.dtype, copy=False) for name in wire.operands]
            value = apply(wire.operation, *operands)
        values[wire.name] = value.astype(wire.value_dtype, copy=False)
        for name in {*wire.operands, wire.name}:
            if last_use[name] == wire.name and name not in wanted:
                del values[name]
    return {name: values[name] for name in wanted}


def batched(axis: int, x: IntArray) -> int:
    """Where a sample's axis stands in a batch `x`."""
    return axis + x.ndim if axis < 0 else axis + 1


@singledispatch
def apply(operation: op.Operation, *xs: IntArray) -> IntArray:
    """The operation's value on a batch of operands.

    >>> apply(op.Shift(bits=1, rounding="half_up"), np.array([[-3, 3]]))
    array([[-1,  2]])
    """
    raise TypeError(f"{operation.kind} has no value of its own")


@apply.register
def affine(operation: op.Affine, x: IntArray) -> IntArray:
    """z[.., i] = sum_j W[i, j] x[.., j] + b[i]."""
    return x @ operation.weight.T + operation.bias


@apply.register
def conv(operation: op.Conv, x: IntArray) -> IntArray:
    """z[o, p] = sum_{i, k} W[o, i, k] x[i, stride p + dilation k - padding] + b[o], zero outside x."""
    groups, (out, width, *kernel) = operation.groups, operation.weight.shape
    x = _pad(x, operation.padding, 0)
    extent = [d * (k - 1) + 1 for d, k in zip(operation.dilation, kernel)]
    sizes = [(n - e) // s + 1 for n, e, s in zip(x.shape[2:], extent, operation.stride)]
    weight = operation.weight.reshape(groups, out // groups, width, -1)
    z: IntArray = np.zeros((len(x), groups, out // groups, int(np.prod(sizes))), dtype=x.dtype)
    for tap, offset in enumerate(product(*map(range, kernel))):
        spatial = zip(operation.dilation, offset, operation.stride, sizes)
        window = (slice(None), slice(None), *(slice(d * k, d * k + s * n, s) for d, k, s, n in spatial))
        z = z + weight[..., tap] @ x[window].reshape(len(x), groups, width, z.shape[-1])
    return z.reshape(len(x), out, *sizes) + operation.bias.reshape(-1, *[1] * len(kernel))


@apply.register
def staircase(operation: op.Staircase, z: IntArray) -> IntArray:
    """Y = v[number of j with t_j <= z]."""
    if not operation.per_channel:
        return operation.values[np.searchsorted(operation.thresholds, z, side="right")]
    axis = batched(operation.axis, z)
    channels = np.moveaxis(z, axis, 0)
    rows = zip(operation.thresholds, operation.values, channels)
    return np.moveaxis(np.stack([v[np.searchsorted(t, c, side="right")] for t, v, c in rows]), 0, axis)


@apply.register
def lookup(operation: op.Lookup, *xs: IntArray) -> IntArray:
    """Y = table[(x - base) / step], an index per operand."""
    index = tuple(((x - b) // s).astype(np.int64) for x, b, s in zip(xs, operation.base, operation.step))
    return operation.table[index]


@apply.register
def embed(operation: op.Embed, x: IntArray) -> IntArray:
    """y[.., :] = table[x[..], :]."""
    return operation.table[x.astype(np.int64)]


@apply.register
def add(operation: op.Add, x: IntArray, y: IntArray) -> IntArray:
    """X + y."""
    return x + y


@apply.register
def sub(operation: op.Sub, x: IntArray, y: IntArray) -> IntArray:
    """X - y."""
    return x - y


@apply.register
def mul(operation: op.Mul, x: IntArray, y: IntArray) -> IntArray:
    """X y."""
    return x * y


@apply.register
def minimum(operation: op.Min, x: IntArray, y: IntArray) -> IntArray:
    """The lesser of the two."""
    return np.minimum(x, y)


@apply.register
def maximum(operation: op.Max, x: IntArray, y: IntArray) -> IntArray:
    """The greater of the two."""
    return np.maximum(x, y)


@apply.register
def neg(operation: op.Neg, x: IntArray) -> IntArray:
    """-x."""
    return -x


@apply.register
def clamp(operation: op.Clamp, x: IntArray) -> IntArray:
    """min(max(x, lo), hi)."""
    return np.minimum(np.maximum(x, operation.lo), operation.hi)


@apply.register
def shift(operation: op.Shift, x: IntArray) -> IntArray:
    """Floor of x / 2^bits, or of x / 2^bits + 1/2."""
    scale: int = 2 ** abs(operation.bits)
    if operation.bits <= 0:
        return x * scale
    if operation.rounding == "half_up":
        x = x + scale // 2
    return x // scale


def _pad(x: IntArray, padding: op.Pairs, value: int) -> IntArray:
    """`x` with more elements before and after in its last axes (numpy.pad mixes its own scalars into objects)."""
    pairs = [(0, 0)] * (x.ndim - len(padding)) + list(padding)
    padded = np.full([a + n + b for n, (a, b) in zip(x.shape, pairs)], value, dtype=x.dtype)
    padded[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pairs))] = x
    return padded


def _windows(x: IntArray, size: tuple[int, ...], stride: tuple[int, ...]) -> IntArray:
    """A view with the windows' elements as further last axes."""
    n = len(size)
    view = np.lib.stride_tricks.sliding_window_view(x, size, tuple(range(-n, 0)))
    steps = [1] * (x.ndim - n) + list(stride)
    return view[tuple(slice(None, None, s) for s in steps)]


@apply.register
def maxpool(operation: op.MaxPool, x: IntArray) -> IntArray:
    """y[p] = max_k x[stride p + k - padding] over the k that lie inside x."""
    # a window is never all padding, so the least element is never the only maximum
    x = _pad(x, operation.padding, x.min() if x.size else 0)
    windows = _windows(x, operation.size, operation.stride)
    y: IntArray = windows.max(axis=tuple(range(-len(operation.size), 0)))
    return y


@apply.register
def sumpool(operation: op.SumPool, x: IntArray) -> IntArray:
    """y[p] = sum_k x[stride p + k - padding], zero outside x."""
    windows = _windows(_pad(x, operation.padding, 0), operation.size, operation.stride)
    y: IntArray = windows.sum(axis=tuple(range(-len(operation.size), 0)))
    return y


@apply.register
def sum_(operation: op.Sum, x: IntArray) -> IntArray:
    """Sum over the named axes."""
    y: IntArray = x.sum(axis=tuple(batched(axis, x) for axis in operation.axes))
    return y


@apply.register
def argmax(operation: op.Argmax, x: IntArray) -> IntArray:
    """The lowest index whose element is the maximum."""
    y: IntArray = np.argmax(x, axis=batched(operation.axis, x))
    return y


@apply.register
def reshape(operation: op.Reshape, x: IntArray) -> IntArray:
    """The same elements, row-major."""
    return x.reshape(len(x), *operation.shape)


@apply.register
def concat(operation: op.Concat, *xs: IntArray) -> IntArray:
    """One behind the other."""
    return np.concatenate(xs, axis=batched(operation.axis, xs[0]))


@apply.register
def slice_(operation: op.Slice, x: IntArray) -> IntArray:
    """x[start:stop:step] in each axis."""
    return x[(slice(None), *map(slice, operation.start, operation.stop, operation.step))]


@apply.register
def transpose(operation: op.Transpose, x: IntArray) -> IntArray:
    """Axes in another order."""
    return x.transpose(0, *(axis + 1 for axis in operation.axes))
