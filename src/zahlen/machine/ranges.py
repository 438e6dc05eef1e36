"""Range proof: for every element of every wire an interval, and a grid, that contain all that it can reach.

Most operations are monotone in each operand, so the reference itself, applied to the ends, gives the ends. Two things
are proven for an operation: the `Range` of its result, and its `workspace`, an interval that contains every
intermediate value in whichever order a back end sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce, singledispatch

import numpy as np

from . import operations as op
from .alphabets import Alphabet, IntArray, Levels
from .reference import apply, batched
from .shapes import result_shape

Interval = tuple[int, int]

INT64 = (-(2**63), 2**63 - 1)
DOUBLE = (-(2**53), 2**53)
"""Sums that stay in here are exact in double precision, in any order."""


@dataclass(frozen=True, eq=False)
class Range:
    """Intervals `lo` <= x <= `hi`, element by element, on a grid: x = lo + k step.

    Parameters
    ----------
    lo, hi : int64 or object array
        Ends for each element of one sample.
    step : int
        Common grid: all elements of `lo`, and all values, are congruent modulo `step`.
    """

    lo: IntArray
    hi: IntArray
    step: int

    @classmethod
    def of(cls, lo: IntArray, hi: IntArray, step: int) -> Range:
        """Make a range from possibly incongruent ends: the grid is refined until it holds them all."""
        lo, hi = narrow(lo), narrow(hi)
        step = math.gcd(step, _spread(lo), _spread(hi), int(hi.flat[0]) - int(lo.flat[0]))
        return cls(_compact(lo), _compact(hi), step or 1)

    @classmethod
    def uniform(cls, shape: tuple[int, ...], alphabet: Alphabet) -> Range:
        """Every element anywhere in the alphabet."""
        lo, hi = (narrow(np.array(end, dtype=object)) for end in (alphabet.lo, alphabet.hi))
        return cls(np.broadcast_to(lo, shape), np.broadcast_to(hi, shape), alphabet.step)

    @classmethod
    def exactly(cls, value: IntArray) -> Range:
        """Each element is constant."""
        return cls.of(value, value, 0)

    def hull(self) -> Interval:
        """Least and greatest value over all elements."""
        return int(self.lo.min()), int(self.hi.max())

    def levels(self) -> Levels:
        """The least numeric alphabet that holds all elements."""
        lo, hi = self.hull()
        return Levels(lo, hi, self.step if hi > lo else 1)

    def within(self, alphabet: Alphabet) -> bool:
        """Whether all that can be reached belongs to the alphabet."""
        lo, hi = self.hull()
        if not (lo in alphabet and hi in alphabet):
            return False
        return lo == hi or self.step % alphabet.step == 0

    def constant(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which elements have only one value."""
        return np.asarray(self.lo == self.hi, dtype=bool)


def narrow(array: IntArray) -> IntArray:
    """Keep as int64 what fits into int64."""
    if array.dtype == object and INT64[0] <= int(array.min()) and int(array.max()) <= INT64[1]:
        return array.astype(np.int64)
    return array


def _spread(array: IntArray) -> int:
    """The greatest common divisor of all differences between elements."""
    first = int(array.flat[0])
    if array.dtype != object and max(abs(int(array.min())), abs(int(array.max()))) < 2**62:
        return int(np.gcd.reduce(np.abs(array - first), axis=None))
    return math.gcd(*(int(v) - first for v in array.flat))


def _compact(array: IntArray) -> IntArray:
    """One stored element where all are equal: inputs and wide layers often are."""
    if array.size > 1 and bool((array == array.flat[0]).all()):
        array = np.broadcast_to(np.asarray(array.flat[0], dtype=array.dtype), array.shape)
    array.flags.writeable = False
    return array


def fits(interval: Interval, within: Interval = INT64) -> bool:
    """Whether the first interval lies inside the second."""
    return within[0] <= interval[0] and interval[1] <= within[1]


def _join(*intervals: Interval) -> Interval:
    return min(lo for lo, _ in intervals), max(hi for _, hi in intervals)


def _ends(array: IntArray) -> Interval:
    return int(array.min()), int(array.max())


# ---------------------------------------------------------------------------------------------------- workspace


@singledispatch
def workspace(operation: op.Operation, *xs: Range) -> Interval:
    """An interval that holds the operands, the result, and every intermediate value in any order of summation.

    >>> x = Range.uniform((3,), Levels(0, 10))
    >>> workspace(op.Affine([[1, -2, 3]], [5]), x)
    (-20, 45)
    """
    return _join(*(x.hull() for x in xs))


@workspace.register(op.Input)
@workspace.register(op.Register)
def _(operation: op.Input | op.Register) -> Interval:
    return operation.alphabet.lo, operation.alphabet.hi


@workspace.register
def _(operation: op.Constant) -> Interval:
    return _ends(operation.value)


def _terms(weight: IntArray, x: Interval) -> Interval:
    """Most negative and most positive sum of any terms of one row of `weight` (rows, terms) against values in x."""
    largest = max(map(abs, _ends(weight))) * max(map(abs, x)) * weight.shape[1]
    weight = weight if largest < 2**63 and fits(x) else weight.astype(object)
    down = np.minimum(0, np.minimum(weight * x[0], weight * x[1])).sum(axis=1)
    up = np.maximum(0, np.maximum(weight * x[0], weight * x[1])).sum(axis=1)
    return int(down.min()), int(up.max())


@workspace.register(op.Affine)
@workspace.register(op.Conv)
def _(operation: op.Affine | op.Conv, x: Range) -> Interval:
    low, high = _terms(operation.weight.reshape(len(operation.weight), -1), x.hull())
    bias = _ends(operation.bias)
    return _join(x.hull(), (min(0, bias[0]) + low, max(0, bias[1]) + high), _ends(operation.weight))


@workspace.register
def _(operation: op.Staircase, x: Range) -> Interval:
    return _join(x.hull(), _ends(operation.thresholds), _ends(operation.values))


@workspace.register
def _(operation: op.Lookup, *xs: Range) -> Interval:
    offsets = [x.hull()[1] - base for x, base in zip(xs, operation.base)]
    own = [0, *operation.base, *operation.step, *offsets]
    return _join(*(x.hull() for x in xs), (min(own), max(own)), _ends(operation.table))


@workspace.register
def _(operation: op.Embed, x: Range) -> Interval:
    return _join(x.hull(), _ends(operation.table))


@workspace.register
def _(operation: op.Add, x: Range, y: Range) -> Interval:
    (a, b), (c, d) = x.hull(), y.hull()
    return _join((a, b), (c, d), (a + c, b + d))


@workspace.register
def _(operation: op.Sub, x: Range, y: Range) -> Interval:
    (a, b), (c, d) = x.hull(), y.hull()
    return _join((a, b), (c, d), (a - d, b - c))


@workspace.register
def _(operation: op.Mul, x: Range, y: Range) -> Interval:
    products = [a * b for a in x.hull() for b in y.hull()]
    return _join(x.hull(), y.hull(), (min(products), max(products)))


@workspace.register
def _(operation: op.Neg, x: Range) -> Interval:
    lo, hi = x.hull()
    return _join((lo, hi), (-hi, -lo))


@workspace.register
def _(operation: op.Clamp, x: Range) -> Interval:
    return _join(x.hull(), (operation.lo, operation.hi))


@workspace.register
def _(operation: op.Shift, x: Range) -> Interval:
    (lo, hi), scale = x.hull(), 2 ** abs(operation.bits)
    if operation.bits <= 0:
        return _join((lo, hi), (lo * scale, hi * scale), (scale, scale))
    return _join((lo, hi), (scale, scale), (hi, hi + scale // 2), (lo // scale, (hi + scale // 2) // scale))


@workspace.register
def _(operation: op.Argmax, x: Range) -> Interval:
    return _join(x.hull(), (0, x.lo.shape[operation.axis] - 1))


@workspace.register
def _(operation: op.SumPool, x: Range) -> Interval:
    return _sums(x, math.prod(operation.size))


@workspace.register
def _(operation: op.Sum, x: Range) -> Interval:
    return _sums(x, math.prod(x.lo.shape[axis] for axis in operation.axes))


def _sums(x: Range, terms: int) -> Interval:
    lo, hi = x.hull()
    return _join((lo, hi), (min(0, lo) * terms, max(0, hi) * terms))


# ---------------------------------------------------------------------------------------------------- result


def result_range(operation: op.Operation, *xs: Range) -> Range:
    """Range of the result for operands in these ranges.

    >>> x = Range.uniform((3,), Levels(-1, 1, 2))
    >>> r = result_range(op.Affine([[1, 1, 1]], [0]), x)
    >>> r.levels()
    Levels(lo=-3, hi=3, step=2)
    """
    if isinstance(operation, (op.Input, op.Register)):
        return Range.uniform(result_shape(operation), operation.alphabet)
    if isinstance(operation, op.Constant):
        return Range.exactly(operation.value)
    dtype = np.dtype(np.int64 if fits(workspace(operation, *xs)) else object)
    # the reference works on batches: here on a batch of one
    batch = (Range(x.lo.astype(dtype, copy=False)[None], x.hi.astype(dtype, copy=False)[None], x.step) for x in xs)
    result = _result(operation, *batch)
    return Range(_only(result.lo), _only(result.hi), result.step)


def _only(batch: IntArray) -> IntArray:
    return batch.reshape(batch.shape[1:])


@singledispatch
def _result(operation: op.Operation, *xs: Range) -> Range:
    """The rule for monotone operations that stay on the operands' common grid."""
    lo, hi = (apply(operation, *ends) for ends in ([x.lo for x in xs], [x.hi for x in xs]))
    return Range.of(lo, hi, math.gcd(*(x.step for x in xs)))


@_result.register(op.Min)
@_result.register(op.Max)
def _(operation: op.Min | op.Max, x: Range, y: Range) -> Range:
    step = math.gcd(x.step, y.step, int(x.lo.flat[0]) - int(y.lo.flat[0]))
    return Range.of(apply(operation, x.lo, y.lo), apply(operation, x.hi, y.hi), step)


@_result.register
def _(operation: op.Clamp, x: Range) -> Range:
    lo, hi = apply(operation, x.lo), apply(operation, x.hi)
    # an active bound is one more value, which need not be on the operand's grid
    return Range.of(lo, hi, math.gcd(x.step, int(lo.flat[0]) - int(x.lo.flat[0])))


@_result.register(op.Affine)
@_result.register(op.Conv)
def _(operation: op.Affine | op.Conv, x: Range) -> Range:
    kind, attributes = type(operation), operation.attributes()
    up = kind(**attributes, weight=np.maximum(operation.weight, 0), bias=operation.bias)
    down = kind(**attributes, weight=np.minimum(operation.weight, 0), bias=np.zeros_like(operation.bias))
    ends = x.lo, x.hi
    if x.lo.dtype != object and fits(workspace(operation, x), DOUBLE):
        ends = x.lo.astype(np.float64), x.hi.astype(np.float64)  # exact here, and many times faster
    lo = apply(up, ends[0]) + apply(down, ends[1])
    hi = apply(up, ends[1]) + apply(down, ends[0])
    dtype = x.lo.dtype
    return Range.of(lo.astype(dtype), hi.astype(dtype), x.step * int(np.gcd.reduce(operation.weight, axis=None)))


@_result.register
def _(operation: op.Staircase, x: Range) -> Range:
    t, v = operation.thresholds, operation.values
    index = np.arange(v.shape[-1])
    position = op.Staircase(axis=operation.axis, thresholds=t, values=np.broadcast_to(index, v.shape))
    first, last = apply(position, x.lo), apply(position, x.hi)
    if not operation.per_channel:
        return _reached(v[None], np.zeros_like(first), first, last)
    channel = np.arange(len(t)).reshape(-1, *[1] * (x.lo.ndim - 1 - batched(operation.axis, x.lo)))
    return _reached(v, np.broadcast_to(channel, first.shape), first, last)


def _reached(rows: IntArray, row: IntArray, first: IntArray, last: IntArray) -> Range:
    """Range of rows[row, k] over first <= k <= last, element by element."""
    lo, hi = np.empty((2, *row.shape), dtype=np.int64)
    least = greatest = rows  # over `width` entries from each place on
    span, width = last - first + 1, 1
    while least.shape[1] > 0 and (span >= width).any():
        # a span is two of these windows, which may overlap
        mine = (span >= width) & (span < 2 * width)
        r, a, b = row[mine], first[mine], last[mine] - width + 1
        lo[mine] = np.minimum(least[r, a], least[r, b])
        hi[mine] = np.maximum(greatest[r, a], greatest[r, b])
        least = np.minimum(least[:, :-width], least[:, width:])
        greatest = np.maximum(greatest[:, :-width], greatest[:, width:])
        width *= 2
    spans = np.zeros((len(rows), rows.shape[1] + 1), dtype=np.int64)
    np.add.at(spans, (row, first), 1)
    np.add.at(spans, (row, last + 1), -1)
    return Range.of(lo, hi, _spread(rows[np.cumsum(spans[:, :-1], axis=1) > 0]))


@_result.register
def _(operation: op.Lookup, *xs: Range) -> Range:
    if len(xs) == 1:
        (x,), (base,), (step,) = xs, operation.base, operation.step
        stride = max(1, x.step // step)  # the operand may live on a coarser grid than the table
        start = (int(x.hull()[0]) - base) // step % stride
        first = (((x.lo - base) // step - start) // stride).astype(np.int64)
        last = (((x.hi - base) // step - start) // stride).astype(np.int64)
        return _reached(operation.table[None, start::stride], np.zeros_like(first), first, last)
    spans = [
        range((x.hull()[0] - b) // s, (x.hull()[1] - b) // s + 1, max(1, x.step // s))
        for x, b, s in zip(xs, operation.base, operation.step)
    ]
    seen = operation.table[np.ix_(*spans)]
    levels = Levels(*_ends(seen), _spread(seen) or 1)
    return Range.uniform(xs[0].lo.shape, levels)


@_result.register
def _(operation: op.Embed, x: Range) -> Range:
    table = operation.table
    lo, hi = (f(table[x.hull()[0] : x.hull()[1] + 1 : x.step], axis=0) for f in (np.min, np.max))
    shape = (*x.lo.shape, table.shape[1])
    return Range.of(np.broadcast_to(lo, shape), np.broadcast_to(hi, shape), _spread(table))


@_result.register
def _(operation: op.Sub, x: Range, y: Range) -> Range:
    return Range.of(x.lo - y.hi, x.hi - y.lo, math.gcd(x.step, y.step))


@_result.register
def _(operation: op.Neg, x: Range) -> Range:
    return Range.of(-x.hi, -x.lo, x.step)


@_result.register
def _(operation: op.Mul, x: Range, y: Range) -> Range:
    corners = [a * b for a in (x.lo, x.hi) for b in (y.lo, y.hi)]
    lo, hi = reduce(np.minimum, corners), reduce(np.maximum, corners)
    # (a + s i)(c + t j) = ac + at j + cs i + st ij
    step = math.gcd(_content(x.lo) * y.step, _content(y.lo) * x.step, x.step * y.step)
    return Range.of(lo, hi, math.gcd(step, _spread(corners[0])))


def _content(array: IntArray) -> int:
    """The greatest common divisor of all elements."""
    return math.gcd(*array.flat) if array.dtype == object else int(np.gcd.reduce(array, axis=None))


@_result.register
def _(operation: op.Shift, x: Range) -> Range:
    lo, hi = apply(operation, x.lo), apply(operation, x.hi)
    scale = 2 ** abs(operation.bits)
    if operation.bits <= 0:
        return Range.of(lo, hi, x.step * scale)
    return Range.of(lo, hi, x.step // scale if x.step % scale == 0 else 1)


@_result.register(op.SumPool)
@_result.register(op.Sum)
def _(operation: op.SumPool | op.Sum, x: Range) -> Range:
    return Range.of(apply(operation, x.lo), apply(operation, x.hi), x.step)


@_result.register
def _(operation: op.Argmax, x: Range) -> Range:
    axis = batched(operation.axis, x.lo)
    shape = x.lo.shape[:axis] + x.lo.shape[axis + 1 :]
    return Range.uniform(shape, Levels(0, x.lo.shape[axis] - 1))
