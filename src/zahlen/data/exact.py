"""Decimals taken exactly as they are written, never through a binary fraction."""

from __future__ import annotations

import re
from fractions import Fraction

from zahlen.machine import DataError

INTEGER = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?(?P<exponent>[0-9]+))?")
LONGEST = 100
"""Most characters that a number may have."""

_RATIO = re.compile(r"[0-9]+/[1-9][0-9]*")


def decimal(text: str) -> Fraction:
    """The number that a decimal is written as.

    Raises
    ------
    DataError
        If it is no decimal, or one so long that arithmetic with it would take a while.

    Examples
    --------
    >>> decimal("-1.50"), decimal("5e-1"), decimal(".1") == 0.1
    (Fraction(-3, 2), Fraction(1, 2), False)
    """
    written = DECIMAL.fullmatch(text)
    if written is None:
        raise DataError(f"{text[:LONGEST]!r} is not a number")
    if len(text) > LONGEST or len(written["exponent"] or "") > 3:
        raise DataError(f"{text[:LONGEST]!r} has too many digits")
    return Fraction(text)


def positive(value: object, what: str) -> Fraction:
    """An argument above 0: the decimal (or ratio) that it is written as. 0.01 is 1/100, not the nearest double.

    >>> positive(0.01, "step"), positive("1e-3", "step"), positive(Fraction(1, 3), "step")
    (Fraction(1, 100), Fraction(1, 1000), Fraction(1, 3))
    """
    text = str(value).strip()
    try:
        number = Fraction(text) if len(text) <= LONGEST and _RATIO.fullmatch(text) else decimal(text)
    except DataError:
        raise DataError(f"{what}: a decimal such as 0.01 is due, got {value!r}") from None
    if number <= 0:
        raise DataError(f"{what} must be above 0, got {value!r}")
    return number


def share(value: object, what: str) -> Fraction:
    """An argument between 0 and 1, neither of them, taken as `positive` takes it.

    >>> share(0.1, "test")
    Fraction(1, 10)
    """
    part = positive(value, what)
    if part >= 1:
        raise DataError(f"{what} must be a share below 1, got {value!r}")
    return part
