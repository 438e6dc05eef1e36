"""The integer arithmetic of training: each operation with compiled kernels, and in NumPy with the same result.

Factors are int16, sums int32 or int64, whichever is proven to hold them. What is stored in 16 bits is clamped to
+-32767; how often that changed a value is returned, never hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from ..cells import Stairs
from ..kernels import native as _native
from ..machine import IntArray

SHORT = 2**15 - 1
"""Greatest absolute value of a factor."""
INT32 = 2**31 - 1

kernels: Any = None if _native is None else _native.train
PUT32, ADD32, ADD64, PUT16 = range(4)  # what becomes of sums, by the numbers of train.h


@contextmanager
def without_kernels() -> Iterator[None]:
    """Everything in NumPy, as where no compiler was at hand."""
    global kernels
    before, kernels = kernels, None
    try:
        yield
    finally:
        kernels = before


@dataclass(frozen=True)
class Scale:
    """x -> floor(x factor / 2^shift + 1/2).

    >>> Scale.of(Fraction(1, 64))
    Scale(factor=1, shift=6)
    """

    factor: int
    shift: int

    @classmethod
    def of(cls, value: Fraction, bits: int = 16, most: int = 62) -> Scale:
        """The nearest to a number from 0 on, with a factor of at most `bits` bits and a shift of at most `most`."""
        return cls.ratio(value.numerator, value.denominator, bits, most)

    @classmethod
    def ratio(cls, above: int, below: int, bits: int = 16, most: int = 62) -> Scale:
        """`of` for above / below, which need not be in lowest terms."""
        # the greatest shift with above << shift below the denominator << bits
        shift = max(0, min(most, bits + below.bit_length() - above.bit_length()))
        while shift and above << shift >= below << bits:
            shift -= 1
        factor = ((above << (shift + 1)) + below) // (2 * below)
        common = min(shift, (factor & -factor).bit_length() - 1) if factor else 0
        return cls(factor >> common, shift - common)

    def __call__(self, x: Any) -> Any:
        """Of an int64 array."""
        return (x * self.factor + (1 << self.shift >> 1)) >> self.shift


def clamped(x: Any, limit: int = SHORT) -> tuple[Any, int]:
    """An int64 array within +-limit, and how many of its values had to be clamped."""
    inside = np.clip(x, -limit, limit)
    return inside, int(np.count_nonzero(inside != x))


# ---------------------------------------------------------------------------------------------------- products


@lru_cache(maxsize=256)
def places(count: int, stride: int) -> IntArray:
    """int32 (count,): 0, stride, 2 stride, .."""
    return np.arange(count, dtype=np.int32) * np.int32(stride)


@dataclass(frozen=True, eq=False)
class Left:
    """Factors on the left of a product: row i has its pair p at ``at[rows[i] + steps[p]]`` and behind it."""

    at: IntArray
    rows: IntArray
    steps: IntArray
    inner: int  # sums go over so many elements

    def dense(self) -> Any:
        """int64 (rows, inner)."""
        index = self.rows[:, None].astype(np.int64) + (self.steps[:, None] + np.arange(2, dtype=np.int32)).reshape(-1)
        return self.at[index[:, : self.inner]].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Right:
    """Factors on the right of a product, (inner, columns): packed for the kernels, or as they are."""

    at: IntArray
    inner: int
    columns: int


def left(x: IntArray) -> Left:
    """Rows of an int16 matrix (rows, inner)."""
    rows, inner = x.shape
    if inner % 2:
        x, inner = np.pad(x, ((0, 0), (0, 1))), inner + 1
    return Left(x.reshape(-1), places(rows, inner), places(inner // 2, 2), inner)


def left_transposed(x: IntArray) -> Left:
    """Columns of an int16 matrix (inner, columns): sums go over its rows."""
    inner, columns = x.shape
    return left_of_rows(x.reshape(-1), places(inner, columns), columns)


def left_of_rows(at: IntArray, rows: IntArray, width: int) -> Left:
    """Columns of the matrix whose row k is ``at[rows[k] : rows[k] + width]``."""
    pairs = (len(rows) + 1) // 2
    out = np.empty((pairs, width), dtype=np.int32)
    if kernels is not None:
        kernels.interleave(at, rows, out, width)
    else:
        both = out.view(np.int16).reshape(pairs, width, 2)
        both[...] = 0
        taken = at[rows[:, None] + np.arange(width)]
        both[:, :, 0], both[: len(rows) // 2, :, 1] = taken[0::2], taken[1::2]
    return Left(out.view(np.int16).reshape(-1), places(width, 2), places(pairs, 2 * width), 2 * pairs)


def right(b: IntArray) -> Right:
    """An int16 matrix (inner, columns)."""
    inner, columns = b.shape
    return right_of_rows(b.reshape(-1), places(inner, columns), places(columns, 1))


def right_of_rows(at: IntArray, rows: IntArray, columns: IntArray) -> Right:
    """The matrix whose element (k, j) is ``at[rows[k] + columns[j]]``."""
    if kernels is None:
        return Right(at[rows[:, None].astype(np.int64) + columns], len(rows), len(columns))
    packed = np.empty(kernels.packed_size((len(rows) + 1) // 2, len(columns)), dtype=np.int32)
    kernels.pack_rows(at, rows, columns, packed)
    return Right(packed, len(rows), len(columns))


def right_transposed(b: IntArray) -> Right:
    """The transpose of an int16 matrix (columns, inner)."""
    columns, inner = b.shape
    if kernels is None:
        return Right(b.T, inner, columns)
    packed = np.empty(kernels.packed_size((inner + 1) // 2, columns), dtype=np.int32)
    kernels.pack_columns(b, packed, inner, columns)
    return Right(packed, inner, columns)


def _sums(a: Left, b: Right) -> Any:
    factors = b.at.astype(np.int64)
    return a.dense()[:, : b.inner] @ factors


_NO_START = np.empty(0, dtype=np.int32)


def product(a: Left, b: Right, start: IntArray | None = None, out: IntArray | None = None) -> IntArray:
    """int32 (rows, columns) of sums that are proven to fit; `start` (columns,) is added to each row."""
    out = np.empty((len(a.rows), b.columns), dtype=np.int32) if out is None else out
    start = _NO_START if start is None else start.astype(np.int32, copy=False)
    if kernels is not None:
        kernels.product32(a.at, a.rows, a.steps, b.at, out, start, b.columns, PUT32, 1, 1, 0)
    else:
        out[...] = _sums(a, b) + (start if len(start) else 0)
    return out


def add_product(a: Left, b: Right, out: IntArray, bound: int) -> None:
    """Add to `out`, int32 where that is proven to hold all, else int64; products of two factors are within `bound`."""
    if kernels is None:
        out += _sums(a, b)
    elif out.dtype == np.int32:
        kernels.product32(a.at, a.rows, a.steps, b.at, out, _NO_START, b.columns, ADD32, 1, 1, 0)
    else:
        kernels.product64(a.at, a.rows, a.steps, b.at, out, _NO_START, b.columns, ADD64, _depth(bound), 1, 0)


def _depth(bound: int) -> int:
    """Sums of so many pairs of products within `bound` stay within 32 bits."""
    return max(1, INT32 // (2 * max(1, bound)))


def scaled_product(a: Left, b: Right, scale: Scale, bound: int, out: IntArray | None = None) -> tuple[IntArray, int]:
    """int16 (rows, columns): sums of products within `bound`, scaled and clamped; and how many were clamped."""
    out = np.empty((len(a.rows), b.columns), dtype=np.int16) if out is None else out
    if kernels is not None:
        return out, kernels.product16(
            a.at, a.rows, a.steps, b.at, out, _NO_START, b.columns, PUT16, _depth(bound), scale.factor, scale.shift
        )
    sums, count = clamped(scale(_sums(a, b)))
    out[...] = sums
    return out, count


def column_sums(d: IntArray) -> IntArray:
    """int64 (columns,) of an int16 matrix (rows, columns)."""
    if kernels is None:
        return np.asarray(d.sum(axis=0, dtype=np.int64))
    sums = np.empty(d.shape[1], dtype=np.int64)
    kernels.column_sums(d, sums)
    return sums


def add_rows(d: IntArray, index: IntArray, out: IntArray) -> None:
    """Add row r of an int16 matrix to row ``index[r]`` of an int64 matrix; the index is int32."""
    if kernels is None:
        np.add.at(out, index, d)
    else:
        kernels.add_rows(d, index, out, d.shape[1])


# ---------------------------------------------------------------------------------------------------- activations


@dataclass(frozen=True, eq=False)
class Steps:
    """A staircase of integers with values of 16 bits: thresholds (T,), values (T + 1,)."""

    thresholds: IntArray
    values: IntArray

    def __post_init__(self) -> None:
        # of thresholds at one place only the last level is ever reached
        last = np.append(self.thresholds[1:] != self.thresholds[:-1], True)
        stairs = Stairs(self.thresholds[last], np.append(self.values[:1], self.values[1:][last]))
        object.__setattr__(self, "_numbers", stairs.numbers().astype(np.int32))

    def __call__(self, z: IntArray) -> IntArray:
        """int32 of any shape to int16."""
        numbers: IntArray = self._numbers  # type: ignore[attr-defined]
        if kernels is None:
            return np.asarray(self.values[np.searchsorted(self.thresholds, z, side="right")], dtype=np.int16)
        out = np.empty(z.shape, dtype=np.int16)
        kernels.stairs(numbers, z, out)
        return out


@dataclass(frozen=True, eq=False)
class Slopes:
    """Difference quotients of a curve, 1.0 being 4096, over buckets of 2^shift integers from `lo` on."""

    lo: int
    shift: int
    table: IntArray  # int32, of 16 bits

    def places(self, z: IntArray) -> IntArray:
        """int16: the buckets of int32 integers, of which the first and the last go on without end."""
        if kernels is None:
            last = self.lo + (len(self.table) << self.shift) - 1
            return np.asarray((np.clip(z, self.lo, last).astype(np.int64) - self.lo) >> self.shift, dtype=np.int16)
        out = np.empty(z.shape, dtype=np.int16)
        kernels.buckets(z, out, self.lo, self.shift, len(self.table))
        return out

    def __call__(self, d: IntArray, places: IntArray) -> IntArray:
        """int16 gradients behind the activation to those before it."""
        if kernels is None:
            return np.asarray((d.astype(np.int64) * self.table[places] + 2048) >> 12, dtype=np.int16)
        out = np.empty(d.shape, dtype=np.int16)
        kernels.slopes(self.table, d, places, out)
        return out


# ---------------------------------------------------------------------------------------------------- the softmax

_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)


def _rounded(value: Decimal) -> int:
    return int(value.to_integral_value(context=_CONTEXT))


@lru_cache(maxsize=1)
def powers() -> IntArray:
    """int32 (4096,): 65536 exp(-k / 256), rounded."""
    one = Decimal(65536)
    return np.array(
        [
            _rounded(_CONTEXT.multiply(one, _CONTEXT.exp(_CONTEXT.divide(Decimal(-k), Decimal(256)))))
            for k in range(4096)
        ],
        dtype=np.int32,
    )


@lru_cache(maxsize=1)
def logs() -> IntArray:
    """int32 (1024,): 65536 log2(1 + k / 1024), rounded."""
    per_bit = _CONTEXT.divide(Decimal(65536), _CONTEXT.ln(Decimal(2)))
    return np.array(
        [
            _rounded(
                _CONTEXT.multiply(per_bit, _CONTEXT.ln(_CONTEXT.add(1, _CONTEXT.divide(Decimal(k), Decimal(1024)))))
            )
            for k in range(1024)
        ],
        dtype=np.int32,
    )


def softmax_places(unit: Fraction) -> int:
    """What a distance of logits is multiplied by, before a shift by 24, to be a place in `powers`."""
    return min(INT32, int(Fraction(256 << 24) / unit))


def softmax(logits: IntArray, labels: IntArray, unit: Fraction, bits: int) -> tuple[IntArray, int, int]:
    """Softmax and cross-entropy of int32 logits (rows, classes) with `unit` steps per 1.0.

    Returns
    -------
    delta : int16 (rows, classes)
        Probability, less 1 at the label; 1.0 is 2^bits. Zero where the label is negative.
    loss : int
        Sum of the cross-entropies in 2^-16 bits.
    right : int
        How many labels have the greatest logit, the lowest index among equals.
    """
    factor = softmax_places(unit)
    if kernels is not None:
        delta = np.empty(logits.shape, dtype=np.int16)
        loss, right = kernels.softmax(powers(), logs(), logits, labels, delta, factor, bits)
        return delta, loss, right
    top = logits.max(axis=1, keepdims=True).astype(np.int64)
    place = ((top - logits) * factor) >> 24
    power = powers()[np.minimum(place, 4095)].astype(np.int64)
    total = power.sum(axis=1, keepdims=True)
    p = (power * ((1 << 40) // total) + (1 << 39 - bits)) >> (40 - bits)
    rows = np.flatnonzero(labels >= 0)
    delta = np.zeros(logits.shape, dtype=np.int16)
    delta[rows] = p[rows]
    delta[rows, labels[rows]] -= np.int16(1 << bits)
    whole = np.array([int(s).bit_length() - 1 for s in total[rows, 0]], dtype=np.int64)
    parts = np.where(whole >= 10, total[rows, 0] >> np.maximum(whole - 10, 0), 0) - 1024
    entropy = (whole << 16) + logs()[parts] - (16 << 16) + ((place[rows, labels[rows]] * 94548 + 128) >> 8)
    return delta, int(entropy.sum()), int((logits[rows].argmax(axis=1) == labels[rows]).sum())
