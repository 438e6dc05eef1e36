"""Thresholds of activations as exact integers, the same on every computer.

libm may differ in the last place between machines, so nothing here goes through it. Thresholds are ceilings of
logarithms of rationals, which `decimal` rounds correctly at any precision: digits are added until
the ceiling is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import isqrt

import numpy as np

from .alphabets import IntArray
from .errors import MachineError

DIGITS = (50, 100, 200, 400, 800)
"""Precisions tried in turn."""


@dataclass(frozen=True)
class Point:
    """The real number ``offset + scale ln(ratio)``: a threshold of an activation before it is put on integers."""

    offset: Fraction = Fraction(0)
    scale: Fraction = Fraction(0)
    ratio: Fraction = Fraction(1)

    def value(self, context: Context) -> Decimal:
        """The number, to the context's precision."""
        offset = _decimal(self.offset, context)
        if not self.scale or self.ratio == 1:
            return offset
        return context.add(offset, context.multiply(_decimal(self.scale, context), _log(self.ratio, context)))

    @property
    def rational(self) -> bool:
        """Whether the number is `offset` alone. Otherwise it is transcendental, and never an integer."""
        return not self.scale or self.ratio == 1


def atanh(x: Fraction) -> Point:
    """Inverse hyperbolic tangent, -1 < x < 1."""
    return Point(scale=Fraction(1, 2), ratio=(1 + x) / (1 - x))


def logit(x: Fraction) -> Point:
    """Inverse of the logistic function, 0 < x < 1."""
    return Point(scale=Fraction(1), ratio=x / (1 - x))


def tanh_points(levels: int) -> list[Point]:
    """Where tanh crosses from one of L levels to the next, rounding to the nearest (arXiv 1801.05156).

    >>> [str(p.value(Context(prec=30)))[:12] for p in tanh_points(3)]
    ['-0.549306144', '0.5493061443']
    """
    return [atanh(Fraction(2 * j + 1, levels - 1) - 1) for j in range(levels - 1)]


def sigmoid_points(levels: int) -> list[Point]:
    """Where the logistic function crosses from one of L levels on [0, 1] to the next, rounding to the nearest."""
    return [logit(Fraction(2 * j + 1, 2 * (levels - 1))) for j in range(levels - 1)]


def relu_points(levels: int, top: Fraction) -> list[Point]:
    """Where min(x, top) reaches the next of L levels on [0, top]; the floor, as arXiv 1801.05156 takes it."""
    return [Point(offset=top * Fraction(j + 1, levels - 1)) for j in range(levels - 1)]


def hardtanh_points(levels: int) -> list[Point]:
    """Where x clipped to [-1, 1] crosses from one of L levels to the next, rounding to the nearest."""
    return [Point(offset=Fraction(2 * j + 1, levels - 1) - 1) for j in range(levels - 1)]


def thresholds(points: Sequence[Point], unit: Fraction | int) -> IntArray:
    """The least integers z with z / unit >= point: int64 (T,).

    Parameters
    ----------
    points : sequence of Point
        Sorted.
    unit : Fraction or int
        How many integer steps make 1; positive.

    Raises
    ------
    MachineError
        If a threshold leaves int64.

    Examples
    --------
    >>> thresholds(tanh_points(4), 100)
    array([-80,   0,  81])
    """
    unit = Fraction(unit)
    if unit <= 0:
        raise MachineError(f"a unit is positive, got {unit}")
    return _int64([_ceiling(point, unit) for point in points])


def folded_thresholds(
    points: Sequence[Point], unit: Fraction | int, scale: float, shift: float, mean: float, variance: float, eps: float
) -> tuple[IntArray, bool]:
    """Thresholds of z for ``scale (z / unit - mean) / sqrt(variance + eps) + shift >= point``: a batch norm folded in.

    All floats are taken as the rationals that they are, and what they give is decided exactly.

    Returns
    -------
    thresholds : int64 (T,)
        Sorted. For a negative scale they belong to the reversed values.
    reversed : bool
        Whether the scale is negative.

    Examples
    --------
    >>> folded_thresholds(hardtanh_points(3), 10, 1.0, 0.0, 0.25, 4.0, 0.0)
    (array([-7, 13]), False)
    """
    if scale == 0:
        raise MachineError("a batch norm of scale 0 has no thresholds")
    spread = Fraction(variance) + Fraction(eps)
    norm = _Norm(Fraction(unit), Fraction(scale), Fraction(shift), Fraction(mean), spread)
    if norm.variance <= 0:
        raise MachineError(f"a batch norm of variance {variance} + {eps} has no deviation to divide by")
    # reversed: y >= point exactly when z <= value, so the integer above the floor starts the step down
    step = ROUND_CEILING if scale > 0 else ROUND_FLOOR
    steps = [norm.rounded(point, step) + (scale < 0) for point in points]
    # beyond every accumulator: never, or always, reached
    return _int64(sorted(max(-(2**62), min(t, 2**62)) for t in steps)), scale < 0


@dataclass(frozen=True)
class _Norm:
    """What a batch norm does to z: scale (z / unit - mean) / sqrt(variance) + shift."""

    unit: Fraction
    scale: Fraction
    shift: Fraction
    mean: Fraction
    variance: Fraction

    def rounded(self, point: Point, rounding: str) -> int:
        """The z that is mapped onto `point`, rounded to an integer."""
        deviation = _root(self.variance)
        if point.rational and (deviation is not None or point.offset == self.shift):
            z = ((point.offset - self.shift) / self.scale * (deviation or 0) + self.mean) * self.unit
            return z.__ceil__() if rounding == ROUND_CEILING else z.__floor__()
        # otherwise z is irrational, so enough digits decide
        return _decided(lambda context: self._value(point, context), rounding)

    def _value(self, point: Point, context: Context) -> tuple[Decimal, int]:
        """The z that is mapped onto `point`, and the exponent of the largest number that it is computed from."""
        numbers = (self.scale, self.shift, self.mean * self.unit, self.unit, self.variance)
        scale, shift, centre, unit, variance = (_decimal(v, context) for v in numbers)
        value = _value(point, context.prec)
        slope = context.multiply(context.divide(context.sqrt(variance), scale), unit)
        z = context.add(context.multiply(context.subtract(value, shift), slope), centre)
        return z, max(slope.adjusted() + max(value.adjusted(), shift.adjusted()) + 1, centre.adjusted())


def _root(value: Fraction) -> Fraction | None:
    """The square root of a positive number if it is rational."""
    root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
    return root if root * root == value else None


def _ceiling(point: Point, unit: Fraction) -> int:
    if point.rational:
        return (point.offset * unit).__ceil__()

    def value(context: Context) -> tuple[Decimal, int]:
        result = context.multiply(_value(point, context.prec), _decimal(unit, context))
        return result, result.adjusted()

    return _decided(value, ROUND_CEILING)


def _decided(value: Callable[[Context], tuple[Decimal, int]], rounding: str) -> int:
    """An irrational number rounded to an integer; `value` gives it, and the exponent of the largest number on the way.

    Python's operators on decimals are not used: they round to whatever context the caller has set.
    """
    for digits in DIGITS:
        context = Context(prec=digits)
        number, exponent = value(context)
        slack = Decimal((0, (1,), exponent - digits + 6))
        wide = Context(prec=2 * digits + abs(exponent))
        low, high = (end(number, slack).to_integral_value(rounding) for end in (wide.subtract, wide.add))
        if low == high:
            return int(low)
    raise MachineError(f"a threshold is not decided with {DIGITS[-1]} digits")


def _decimal(value: Fraction, context: Context) -> Decimal:
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


def _log(ratio: Fraction, context: Context) -> Decimal:
    # ln p - ln q would cancel; the quotient is rounded once, which costs one unit in the last place over |ln|
    wide = Context(prec=context.prec + 10)
    return context.plus(wide.ln(_decimal(ratio, wide)))


def _int64(values: list[int]) -> IntArray:
    if any(not -(2**63) <= v < 2**63 for v in values):
        raise MachineError("a threshold leaves 64 bits; take a smaller unit")
    return np.array(values, dtype=np.int64)


def reached(points: Sequence[Point], x: float) -> int:
    """How many points are at most x.

    >>> reached(tanh_points(4), 0.0)
    2
    """

    def below(point: Point) -> bool:
        return point.offset <= Fraction(x) if point.rational else _value(point, DIGITS[1]) <= Decimal(x)

    return sum(map(below, points))


@lru_cache(maxsize=4096)
def _value(point: Point, digits: int) -> Decimal:
    return point.value(Context(prec=digits))
