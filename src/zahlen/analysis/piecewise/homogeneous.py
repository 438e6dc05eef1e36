"""Points and lines of the plane, and points of the line, in homogeneous coordinates that are integers.

A point (x, y, w) with w > 0 is (x / w, y / w), and on a line (x, w) is x / w. A line (a, b, c) is where
a x + b y + c w = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from operator import mul

Point = tuple[int, ...]
Line = tuple[int, ...]


def point(coordinates: Sequence[int]) -> Point:
    """The same point in its least coordinates, the last one positive.

    >>> point((2, -6, -4))
    (-1, 3, 2)
    """
    divisor = gcd(*coordinates)
    if coordinates[-1] < 0:
        divisor = -divisor
    return tuple(v // divisor for v in coordinates)


def line(coefficients: Sequence[int]) -> Line:
    """The same line in its least coefficients, the first that is not zero positive.

    >>> line((0, -4, 6))
    (0, 2, -3)
    """
    divisor = gcd(*coefficients)
    if next(v for v in coefficients if v) < 0:
        divisor = -divisor
    return tuple(v // divisor for v in coefficients)


def cross(p: Sequence[int], q: Sequence[int]) -> tuple[int, int, int]:
    """Where two lines meet, or the line through two points: all three are zero if they are the same.

    >>> point(cross((1, 0, -2), (1, 1, -5)))
    (2, 3, 1)
    """
    (a, b, c), (d, e, f) = p, q
    return b * f - c * e, c * d - a * f, a * e - b * d


def above(form: Sequence[int], at: Sequence[int]) -> int:
    """A value whose sign is that of an affine form at a point.

    >>> above((1, -1, 0), (1, 3, 2))
    -2
    """
    if len(at) == 3:  # twice as fast as the general line
        (a, b, c), (x, y, w) = form, at
        return a * x + b * y + c * w
    return sum(map(mul, form, at))


def rational(at: Sequence[int]) -> tuple[Fraction, ...]:
    """The coordinates of a point.

    >>> rational((1, 3, 2))
    (Fraction(1, 2), Fraction(3, 2))
    """
    return tuple(Fraction(v, at[-1]) for v in at[:-1])
