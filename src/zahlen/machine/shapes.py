"""Which shape each operation makes of its operands' shapes (of one sample; the batch is never part of it)."""

from __future__ import annotations

from functools import singledispatch
from math import prod

from . import operations as op
from .errors import ShapeError

Shape = tuple[int, ...]


@singledispatch
def result_shape(operation: op.Operation, *shapes: Shape) -> Shape:
    """Shape of the result; raises `ShapeError` where the operands do not fit.

    >>> result_shape(op.Concat(axis=0), (2, 3), (4, 3))
    (6, 3)
    """
    raise TypeError(f"no shape rule for {operation.kind}")


@result_shape.register
def _(operation: op.Input) -> Shape:
    return operation.shape


@result_shape.register
def _(operation: op.Register) -> Shape:
    return operation.initial.shape


@result_shape.register
def _(operation: op.Constant) -> Shape:
    return operation.value.shape


@result_shape.register
def _(operation: op.Affine, x: Shape) -> Shape:
    out, width = operation.weight.shape
    if not x or x[-1] != width:
        raise ShapeError(f"affine: weight {out} x {width} needs a last axis of {width}, the operand has shape {x}")
    return (*x[:-1], out)


@result_shape.register
def _(operation: op.Conv, x: Shape) -> Shape:
    out, width, *kernel = operation.weight.shape
    channels = width * operation.groups
    if len(x) != 1 + len(kernel) or x[0] != channels:
        axes = ("length",) if len(kernel) == 1 else ("height", "width")
        raise ShapeError(f"conv: needs an operand ({channels} channels, {', '.join(axes)}), got shape {x}")
    extent = [d * (k - 1) + 1 for d, k in zip(operation.dilation, kernel)]
    return (out, *_windows("conv", x[1:], extent, operation.stride, operation.padding))


def _windows(kind: str, lengths: Shape, extent: list[int], stride: Shape, padding: op.Pairs) -> Shape:
    result = []
    for length, size, jump, (before, after) in zip(lengths, extent, stride, padding):
        if length + before + after < size:
            raise ShapeError(f"{kind}: a window of {size} does not fit into {length} with padding {before}, {after}")
        result.append((length + before + after - size) // jump + 1)
    return tuple(result)


@result_shape.register
def _(operation: op.Staircase, x: Shape) -> Shape:
    if operation.per_channel:
        axis, channels = normal_axis("staircase", operation.axis, x), operation.thresholds.shape[0]
        if x[axis] != channels:
            raise ShapeError(f"staircase: {channels} channels of thresholds, but axis {operation.axis} of {x}")
    return x


@result_shape.register
def _(operation: op.Lookup, *xs: Shape) -> Shape:
    if len(xs) != operation.table.ndim:
        raise ShapeError(f"lookup: a table of {operation.table.ndim} axes, but {len(xs)} operands")
    return _equal("lookup", *xs)


@result_shape.register
def _(operation: op.Embed, x: Shape) -> Shape:
    return (*x, operation.table.shape[1])


@result_shape.register(op.Add)
@result_shape.register(op.Sub)
@result_shape.register(op.Mul)
@result_shape.register(op.Min)
@result_shape.register(op.Max)
def _(operation: op.Operation, x: Shape, y: Shape) -> Shape:
    return _equal(operation.kind, x, y)


def _equal(kind: str, *xs: Shape) -> Shape:
    if len(set(xs)) != 1:
        raise ShapeError(f"{kind}: operands must have one shape, got {' and '.join(map(str, xs))}")
    return xs[0]


@result_shape.register(op.Neg)
@result_shape.register(op.Clamp)
@result_shape.register(op.Shift)
def _(operation: op.Operation, x: Shape) -> Shape:
    return x


@result_shape.register(op.MaxPool)
@result_shape.register(op.SumPool)
def _(operation: op.MaxPool | op.SumPool, x: Shape) -> Shape:
    n = len(operation.size)
    if len(x) < n:
        raise ShapeError(f"{operation.kind}: windows over {n} axes, but the operand has shape {x}")
    windows = _windows(operation.kind, x[-n:], list(operation.size), operation.stride, operation.padding)
    return (*x[:-n], *windows)


@result_shape.register
def _(operation: op.Sum, x: Shape) -> Shape:
    axes = [normal_axis("sum", axis, x) for axis in operation.axes]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"sum: an axis is named twice in {operation.axes}")
    return tuple(n for k, n in enumerate(x) if k not in axes)


@result_shape.register
def _(operation: op.Argmax, x: Shape) -> Shape:
    axis = normal_axis("argmax", operation.axis, x)
    return x[:axis] + x[axis + 1 :]


@result_shape.register
def _(operation: op.Reshape, x: Shape) -> Shape:
    if prod(operation.shape) != prod(x):
        raise ShapeError(f"reshape: {x} has {prod(x)} elements, {operation.shape} has {prod(operation.shape)}")
    return operation.shape


@result_shape.register
def _(operation: op.Concat, *xs: Shape) -> Shape:
    axis = normal_axis("concat", operation.axis, xs[0])
    if len({(*x[:axis], 0, *x[axis + 1 :]) for x in xs}) != 1 or len({len(x) for x in xs}) != 1:
        raise ShapeError(f"concat: shapes may differ in axis {operation.axis} only, got {', '.join(map(str, xs))}")
    return (*xs[0][:axis], sum(x[axis] for x in xs), *xs[0][axis + 1 :])


@result_shape.register
def _(operation: op.Slice, x: Shape) -> Shape:
    if len(operation.start) != len(x) or any(b > n for b, n in zip(operation.stop, x)):
        raise ShapeError(f"slice: stop {operation.stop} leaves the shape {x}")
    return tuple(-(-(b - a) // s) for a, b, s in zip(operation.start, operation.stop, operation.step))


@result_shape.register
def _(operation: op.Transpose, x: Shape) -> Shape:
    if len(operation.axes) != len(x):
        raise ShapeError(f"transpose: {len(operation.axes)} axes named, the operand has shape {x}")
    return tuple(x[axis] for axis in operation.axes)


def padded_size(operation: op.Operation, *shapes: Shape) -> int:
    """How many elements the first operand has when it is padded; 0 for operations without padding."""
    if not isinstance(operation, (op.Conv, op.MaxPool, op.SumPool)):
        return 0
    n = len(operation.padding)
    lengths = (length + before + after for length, (before, after) in zip(shapes[0][-n:], operation.padding))
    return prod(shapes[0][:-n]) * prod(lengths)


def work(operation: op.Operation, shape: Shape) -> int:
    """About how long a result of this shape takes for one sample, in multiply-adds of a fast matrix product."""
    if isinstance(operation, op.Affine):
        return prod(shape) * int(operation.weight.shape[1])
    if isinstance(operation, op.Conv):
        out, width, *kernel = operation.weight.shape
        # every tap copies its window and adds to the result, which takes longer than the products of few channels
        moved = prod(shape[1:]) * (width * operation.groups + out) + 2**13
        return int(prod(kernel) * (prod(shape) * width + 16 * moved))
    if isinstance(operation, (op.MaxPool, op.SumPool)):
        return 16 * prod(shape) * prod(operation.size)
    return 0


def normal_axis(kind: str, axis: int, shape: Shape) -> int:
    """The axis counted from the front, or a `ShapeError` if there is no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{kind}: no axis {axis} in shape {shape}")
    return axis % len(shape)
