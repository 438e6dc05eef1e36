"""C99 as text: which type holds an interval, how literals, tables and names are written."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .machine import EmitError, IntArray

LINE = 116
"""Columns of a line of a table."""

RULER = "// " + "-" * 100

KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if inline int long
        register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
        asm typeof linux unix main memcpy memset printf stdin stdout stderr errno string stdint stdio stdlib
        alignas alignof bool catch class constexpr delete false friend namespace new nullptr operator private protected
        public template this throw true try using virtual wchar_t""",
    )
)
"""Words of C and C++ and of the libraries in use that no wire's array may be called."""


@dataclass(frozen=True)
class CType:
    """One of the fixed-width integer types of ``<stdint.h>``."""

    name: str
    width: int
    lo: int
    hi: int

    def __str__(self) -> str:
        return self.name

    def holds(self, lo: int, hi: int) -> bool:
        """Whether both ends are values of this type."""
        return self.lo <= lo and hi <= self.hi


def _signed(width: int) -> CType:
    return CType(f"int{8 * width}_t", width, -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1)


def _unsigned(width: int) -> CType:
    return CType(f"uint{8 * width}_t", width, 0, 2 ** (8 * width) - 1)


UINT16, UINT32 = _unsigned(2), _unsigned(4)
INT16, INT32, INT64 = _signed(2), _signed(4), _signed(8)

# An operand of 8 or 16 bits is converted to int32_t by C itself, whatever its sign; uint32_t would pull an int32_t
# into unsigned arithmetic, so it comes after int32_t and appears only beside int64_t.
_TYPES = (_unsigned(1), _signed(1), _unsigned(2), _signed(2), INT32, _unsigned(4), INT64)


def smallest(lo: int, hi: int) -> CType | None:
    """The smallest type that holds lo..hi, or None beyond int64_t.

    >>> print(smallest(0, 255), smallest(-1, 127), smallest(0, 2**31), smallest(0, 2**63))
    uint8_t int8_t uint32_t None
    """
    return next((t for t in _TYPES if t.holds(lo, hi)), None)


def smallest_of(array: IntArray) -> CType:
    """The smallest type for the elements of an int64 array."""
    found = smallest(int(array.min()), int(array.max()))
    assert found is not None, "constants of a machine are int64"
    return found


def working(*intervals: tuple[int, int]) -> CType:
    """int32_t if every interval lies in it, else int64_t: the type of an accumulator.

    >>> print(working((0, 100)), working((0, 100), (-(2**31) - 1, 0)))
    int32_t int64_t
    """
    return INT32 if all(INT32.holds(lo, hi) for lo, hi in intervals) else INT64


def literal(value: int) -> str:
    """A decimal literal: C99 gives it a type that is wide enough, except for the least int64_t.

    >>> literal(-5), literal(-(2**63))
    ('-5', '(-9223372036854775807 - 1)')
    """
    return "(-9223372036854775807 - 1)" if value == INT64.lo else str(value)


def less(expression: str, base: int) -> str:
    """``expression - base`` as one would write it.

    >>> less("z", -3), less("z", 0), less("z", 3), less("0", 3)
    ('z + 3', 'z', 'z - 3', '-3')
    """
    if expression == "0":
        return str(-base)
    if base == 0:
        return expression
    if base == INT64.lo:
        return f"{expression} - {literal(base)}"
    return f"{expression} - {base}" if base > 0 else f"{expression} + {-base}"


def table_lines(name: str, ctype: CType, values: IntArray) -> list[str]:
    r"""The definition of a constant array, row-major, as many numbers to a line as fit.

    >>> print("\n".join(table_lines("t", INT32, np.array([[1, -2], [3, 4]]))))
    static const int32_t t[4] = {
        1, -2, 3, 4,
    };
    """
    texts = [literal(v) for v in values.ravel().tolist()]
    step = max(1, (LINE - 4) // (max(map(len, texts)) + 2))
    rows = ("    " + ", ".join(texts[i : i + step]) + "," for i in range(0, len(texts), step))
    return [f"static const {ctype} {name}[{len(texts)}] = {{", *rows, "};"]


def log2(value: int) -> int | None:
    """The exponent k of 2^k, or None for what is no power of two.

    >>> log2(8), log2(1), log2(6)
    (3, 0, None)
    """
    return value.bit_length() - 1 if value > 0 and value & (value - 1) == 0 else None


def distinct(values: IntArray) -> IntArray:
    """The different values, sorted."""
    return np.unique(values)


def check_name(name: str) -> str:
    """The name, if C can have it as the stem of its identifiers."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", name) or name in KEYWORDS:
        raise EmitError(f"name {name!r}: a C identifier of at most 31 letters, digits and underscores is due")
    return name
