"""What each operation means, written again from the table in the design: loops over Python integers, one sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from zahlen.machine import operations as op

Sample = Any  # an object array of Python integers, used as a container only


def sample(array: Any) -> Sample:
    """An object array of Python integers with the elements of any integer array."""
    array = np.asarray(array)
    return _filled(array.shape, lambda at: int(array[at]))


def define(operation: op.Operation, *xs: Sample) -> Sample:
    """The operation's value on one sample."""
    return RULES[operation.kind](operation, *map(sample, xs))


def _filled(shape: tuple[int, ...], value: Callable[[tuple[int, ...]], int]) -> Sample:
    result = np.empty(shape, dtype=object)
    for at in product(*map(range, shape)):
        result[at] = value(at)
    return result


def _each(function: Callable[..., int]) -> Callable[..., Sample]:
    return lambda o, *xs: _filled(xs[0].shape, lambda at: function(o, *(x[at] for x in xs)))


def _affine(o: op.Affine, x: Sample) -> Sample:
    rows, width = o.weight.shape

    def value(at: tuple[int, ...]) -> int:
        total = int(o.bias[at[-1]])
        for j in range(width):
            total += int(o.weight[at[-1], j]) * x[(*at[:-1], j)]
        return total

    return _filled((*x.shape[:-1], rows), value)


def _places(x: Sample, at: tuple[int, ...], size: Any, stride: Any, padding: Any, dilation: Any) -> Iterator[Any]:
    """Offsets in a window, each with its place in x if that lies inside."""
    for offset in product(*map(range, size)):
        place = tuple(s * p + d * k - pad[0] for p, s, d, k, pad in zip(at, stride, dilation, offset, padding))
        if all(0 <= q < n for q, n in zip(place, x.shape[-len(size) :])):
            yield offset, place


def _counts(lengths: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """How many windows fit, counted one by one."""
    result = []
    for n, k, s, (before, after), d in zip(lengths, size, stride, padding, dilation):
        count = 0
        while count * s + d * (k - 1) < n + before + after:
            count += 1
        result.append(count)
    return tuple(result)


def _conv(o: op.Conv, x: Sample) -> Sample:
    out, width, *kernel = o.weight.shape
    per_group = out // o.groups

    def value(at: tuple[int, ...]) -> int:
        total = int(o.bias[at[0]])
        for offset, place in _places(x, at[1:], kernel, o.stride, o.padding, o.dilation):
            for i in range(width):
                channel = at[0] // per_group * width + i
                total += int(o.weight[(at[0], i, *offset)]) * x[(channel, *place)]
        return total

    return _filled((out, *_counts(x.shape[1:], kernel, o.stride, o.padding, o.dilation)), value)


def _staircase(o: op.Staircase, x: Sample) -> Sample:
    def value(at: tuple[int, ...]) -> int:
        row = (at[o.axis],) if o.thresholds.ndim == 2 else ()
        passed = sum(1 for j in range(o.thresholds.shape[-1]) if int(o.thresholds[(*row, j)]) <= x[at])
        return int(o.values[(*row, passed)])

    return _filled(x.shape, value)


def _lookup(o: op.Lookup, *xs: Sample) -> Sample:
    def value(at: tuple[int, ...]) -> int:
        index = []
        for x, base, step in zip(xs, o.base, o.step):
            quotient, rest = divmod(x[at] - base, step)
            assert rest == 0
            assert quotient >= 0
            index.append(quotient)
        return int(o.table[tuple(index)])

    return _filled(xs[0].shape, value)


def _embed(o: op.Embed, x: Sample) -> Sample:
    return _filled((*x.shape, o.table.shape[1]), lambda at: int(o.table[x[at[:-1]], at[-1]]))


def _shift(o: op.Shift, x: int) -> int:
    if o.bits <= 0:
        return x * 2**-o.bits
    return (x + (2 ** (o.bits - 1) if o.rounding == "half_up" else 0)) >> o.bits


def _pool(reduce: Callable[[list[int]], int]) -> Callable[..., Sample]:
    def rule(o: Any, x: Sample) -> Sample:
        n = len(o.size)
        ones = (1,) * n

        def value(at: tuple[int, ...]) -> int:
            inside = _places(x, at[-n:], o.size, o.stride, o.padding, ones)
            return reduce([x[(*at[:-n], *place)] for _, place in inside])

        return _filled((*x.shape[:-n], *_counts(x.shape[-n:], o.size, o.stride, o.padding, ones)), value)

    return rule


def _sum(o: op.Sum, x: Sample) -> Sample:
    gone = {axis % x.ndim for axis in o.axes}
    result = _filled(tuple(n for k, n in enumerate(x.shape) if k not in gone), lambda at: 0)
    for at in product(*map(range, x.shape)):
        result[tuple(i for k, i in enumerate(at) if k not in gone)] += x[at]
    return result


def _argmax(o: op.Argmax, x: Sample) -> Sample:
    axis = o.axis % x.ndim

    def value(at: tuple[int, ...]) -> int:
        best = 0
        for k in range(1, x.shape[axis]):
            if x[(*at[:axis], k, *at[axis:])] > x[(*at[:axis], best, *at[axis:])]:
                best = k
        return best

    return _filled(x.shape[:axis] + x.shape[axis + 1 :], value)


def _reshape(o: op.Reshape, x: Sample) -> Sample:
    elements = iter([x[at] for at in product(*map(range, x.shape))])
    return _filled(o.shape, lambda at: next(elements))


def _concat(o: op.Concat, *xs: Sample) -> Sample:
    axis = o.axis % xs[0].ndim

    def value(at: tuple[int, ...]) -> int:
        k = at[axis]
        for x in xs:
            if k < x.shape[axis]:
                return x[(*at[:axis], k, *at[axis + 1 :])]
            k -= x.shape[axis]
        raise AssertionError

    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    return _filled(tuple(shape), value)


def _slice(o: op.Slice, x: Sample) -> Sample:
    places = [list(range(a, b, s)) for a, b, s in zip(o.start, o.stop, o.step)]
    return _filled(tuple(map(len, places)), lambda at: x[tuple(p[i] for p, i in zip(places, at))])


def _transpose(o: op.Transpose, x: Sample) -> Sample:
    def value(at: tuple[int, ...]) -> int:
        place = [0] * x.ndim
        for k, axis in enumerate(o.axes):
            place[axis] = at[k]
        return x[tuple(place)]

    return _filled(tuple(x.shape[axis] for axis in o.axes), value)


RULES: dict[str, Callable[..., Sample]] = {
    "affine": _affine,
    "conv": _conv,
    "staircase": _staircase,
    "lookup": _lookup,
    "embed": _embed,
    "add": _each(lambda o, x, y: x + y),
    "sub": _each(lambda o, x, y: x - y),
    "mul": _each(lambda o, x, y: x * y),
    "min": _each(lambda o, x, y: x if x < y else y),
    "max": _each(lambda o, x, y: x if x > y else y),
    "neg": _each(lambda o, x: -x),
    "clamp": _each(lambda o, x: o.lo if x < o.lo else o.hi if x > o.hi else x),
    "shift": _each(_shift),
    "maxpool": _pool(max),
    "sumpool": _pool(sum),
    "sum": _sum,
    "argmax": _argmax,
    "reshape": _reshape,
    "concat": _concat,
    "slice": _slice,
    "transpose": _transpose,
}
