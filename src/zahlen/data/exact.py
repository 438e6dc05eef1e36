"""Numbers that a user writes as decimals, taken exactly as written."""

from __future__ import annotations

import re
from fractions import Fraction

from zahlen.machine import DataError

INTEGER = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

_RATIO = re.compile(r"[0-9]+/[1-9][0-9]*")
_LONGEST = 40
_EXPONENT = re.compile(r"[eE][+-]?0*[0-9]{3,}")


def exact(value: object, what: str) -> Fraction:
    """The positive number that the decimal (or ratio) `value` is written as: 0.01 is 1/100, not the nearest double.

    >>> exact(0.01, "step"), exact("1e-3", "step"), exact(Fraction(1, 3), "step")
    (Fraction(1, 100), Fraction(1, 1000), Fraction(1, 3))
    """
    text = str(value).strip()
    written = DECIMAL.fullmatch(text) or _RATIO.fullmatch(text)
    if isinstance(value, bool) or not written or len(text) > _LONGEST or _EXPONENT.search(text):
        raise DataError(f"{what}: a decimal such as 0.01 is due, got {value!r}")
    if (number := Fraction(text)) <= 0:
        raise DataError(f"{what} must be above 0, got {value!r}")
    return number
