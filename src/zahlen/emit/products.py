"""Products: the multiplication of the processor, or tables and additions alone.

Without multiplication, a b = q(a + b) - q(a - b) with q(n) = floor(n^2 / 4) serves all operands with
|a| + |b| <= `QUARTERS`: a + b and a - b are both even or both odd, so what the two floors cut off is the same and
cancels. Wider operands are taken apart into bytes. Where weights and levels are few, one table of all their products
is shorter in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zahlen.c99 import INT32, CType, distinct, less, log2, smallest_of
from zahlen.machine import Alphabet, IntArray

from .writer import Unit

PRODUCTS = 2048
"""Most entries of a table of all products of one layer."""

QUARTERS = 511
"""Largest argument of q: its table has uint16_t entries then, and any two bytes are within."""

Interval = tuple[int, int]


@dataclass(frozen=True)
class Dot:
    """How the terms of a dot product are written.

    Attributes
    ----------
    weights : str
        The constant array to walk through.
    ctype : CType
        Its type.
    add : callable
        Lines that add to the accumulator the product of the weight at a pointer and an element of the operand.
    """

    weights: str
    ctype: CType
    add: Callable[[str, str, str], list[str]]


def dot(unit: Unit, stem: str, weight: IntArray, x: Alphabet, accumulator: CType) -> Dot:
    """Choose the products of a layer: weights (any shape, stored row-major) by elements of `x`."""
    if unit.multiply == "native":
        name, ctype = unit.table(f"{stem}_weight", weight)
        return Dot(name, ctype, lambda z, w, e: [f"{z} += ({accumulator})*{w}++ * {e};"])
    if int(np.abs(weight).max()) <= 1:
        name, ctype = unit.table(f"{stem}_weight", weight, "-1 subtracts, 0 skips, 1 adds")
        return Dot(name, ctype, lambda z, w, e: _signs(z, w, e, ctype))
    grid = distinct(weight)
    levels = _index_levels(x)
    if levels is not None and len(grid) * levels.row <= PRODUCTS:
        codes, ctype = unit.table(f"{stem}_code", np.searchsorted(grid, weight), "weights, as rows of the products")
        products, _ = unit.table(
            f"{stem}_products", grid[:, None] * levels.values, f"each weight times {x}, {levels.row} to a row"
        )
        cast = "(int32_t)" if x.lo else ""  # where int has 16 bits, so has a sum of two of them
        return Dot(codes, ctype, lambda z, w, e: [f"{z} += {levels.entry(products, f'(int32_t)*{w}++', cast + e)};"])
    name, ctype = unit.table(f"{stem}_weight", weight)
    function = times(unit, _ends(weight), (x.lo, x.hi), accumulator)
    return Dot(name, ctype, lambda z, w, e: [f"{z} += {function}(*{w}++, {e});"])


def product(unit: Unit, a: Alphabet, b: Alphabet, accumulator: CType) -> Callable[[str, str], str]:
    """The product of two wires' elements, `p` and `q` being of the accumulator's type, as an expression."""
    if unit.multiply == "native":
        return lambda p, q: f"{p} * {q}"
    rows, columns = _index_levels(a), _index_levels(b)
    if rows is not None and columns is not None and len(rows.values) * columns.row <= PRODUCTS:
        name, _ = unit.table("mul_products", rows.values[:, None] * columns.values, f"{a} times {b}")
        return lambda p, q: columns.entry(name, rows.index(p), q)
    function = times(unit, (a.lo, a.hi), (b.lo, b.hi), accumulator)
    narrow = function == "times" and accumulator.width > 4
    return lambda p, q: f"times((int32_t){p}, (int32_t){q})" if narrow else f"{function}({p}, {q})"


def _signs(z: str, w: str, element: str, ctype: CType) -> list[str]:
    return [
        f"const {ctype} s = *{w}++;",
        "if (s > 0) {",
        f"    {z} += {element};",
        "} else if (s != 0) {",
        f"    {z} -= {element};",
        "}",
    ]


def _ends(array: IntArray) -> Interval:
    return int(array.min()), int(array.max())


# ---------------------------------------------------------------------------------------------------- all products


@dataclass(frozen=True)
class _Levels:
    """Columns of a table of products: the operand's element e is at (e - lo) >> shift; a row has 2^k entries."""

    values: IntArray
    lo: int
    shift: int

    @property
    def row(self) -> int:
        return len(self.values)

    def index(self, element: str) -> str:
        offset = less(element, self.lo)
        return f"(({offset}) >> {self.shift})" if self.shift else f"({offset})"

    def entry(self, table: str, row: str, element: str) -> str:
        return f"{table}[({row} << {self.row.bit_length() - 1}) + {self.index(element)}]"


def _index_levels(x: Alphabet) -> _Levels | None:
    """The operand's levels as columns, rounded up to a power of two; None if they are far too many."""
    shift = log2(x.step)
    step = x.step if shift is not None else 1
    count = (x.hi - x.lo) // step + 1
    if count > PRODUCTS or not INT32.holds(min(x.lo, -x.lo), x.hi - x.lo):
        return None
    row = 1 << (count - 1).bit_length()
    # the columns that only fill up a row are never read
    values = np.minimum(x.lo + step * np.arange(row, dtype=np.int64), x.hi)
    return _Levels(values, x.lo, shift or 0)


# ---------------------------------------------------------------------------------------------------- any products


def times(unit: Unit, a: Interval, b: Interval, accumulator: CType) -> str:
    """Name of a function that multiplies operands in these intervals without a multiplication."""
    largest = [max(map(abs, interval)) for interval in (a, b)]
    if sum(largest) <= QUARTERS:
        _need_times(unit, sum(largest))
        return "times"
    _need_times(unit, 2 * 255)
    bits = 8 * accumulator.width
    unit.part(f"times_{bits}", _wide(bits))
    return f"times_{bits}"


def _need_times(unit: Unit, largest: int) -> None:
    unit.quarters = max(unit.quarters, largest + 1)
    n = np.arange(unit.quarters, dtype=np.int64)
    squares = n * n // 4
    ctype = smallest_of(squares)
    unit.constant("quarter", squares, ctype, "quarter[n] = floor(n^2 / 4)")
    unit.part(
        "times",
        [
            "// a b = quarter[|a + b|] - quarter[|a - b|]: a + b and a - b are both even or both odd, so what the two",
            "// floors cut off is equal. No multiplication.",
            "static int32_t times(int32_t a, int32_t b) {",
            "    const int32_t p = a + b, q = a - b;",
            "    return (int32_t)quarter[p < 0 ? -p : p] - (int32_t)quarter[q < 0 ? -q : q];",
            "}",
        ],
    )


def _wide(bits: int) -> list[str]:
    return [
        "// a b from the products of their bytes, the signs apart. The caller has proven that the result fits.",
        f"static int{bits}_t times_{bits}(int{bits}_t a, int{bits}_t b) {{",
        f"    uint{bits}_t p = a < 0 ? 0 - (uint{bits}_t)a : (uint{bits}_t)a;",
        f"    const uint{bits}_t q = b < 0 ? 0 - (uint{bits}_t)b : (uint{bits}_t)b;",
        f"    uint{bits}_t sum = 0;",
        "    for (int32_t i = 0; p != 0; p >>= 8, i += 8) {",
        "        int32_t j = i;",
        f"        for (uint{bits}_t rest = q; rest != 0; rest >>= 8, j += 8) {{",
        f"            sum += (uint{bits}_t)times((int32_t)(p & 255), (int32_t)(rest & 255)) << j;",
        "        }",
        "    }",
        "    // minus sum, also where sum is 2 to the power of all bits but one",
        f"    return (a < 0) == (b < 0) || sum == 0 ? (int{bits}_t)sum : -(int{bits}_t)(sum - 1) - 1;",
        "}",
    ]


def grouped(expression: str) -> str:
    """The expression as an operand: in parentheses, unless it is a name or has them."""
    return expression if expression.isidentifier() or expression.startswith("(") else f"({expression})"


def row_offset(unit: Unit, stem: str, index: str, width: int, rows: int) -> str:
    """``index * width`` as an expression of type int32_t; without multiplication from a table of all of them."""
    if width == 1:
        return index
    if unit.multiply == "native":
        return f"{index} * {width}"
    if (bits := log2(width)) is not None:
        return f"({index} << {bits})"
    name, _ = unit.table(f"{stem}_row", width * np.arange(rows, dtype=np.int64), "where each row begins")
    return f"(int32_t){name}[{index}]"


def quotient(unit: Unit, dividend: str, step: int, accumulator: CType) -> str:
    """``dividend / step`` of a dividend that is at least 0, as an expression."""
    if step == 1:
        return dividend
    if (bits := log2(step)) is not None:
        return f"({grouped(dividend)} >> {bits})"
    if unit.multiply == "native":
        return f"({grouped(dividend)} / {step})"
    size = 8 * accumulator.width
    unit.part(f"divide_{size}", _division(size))
    return f"divide_{size}({dividend}, {step})"


def _division(bits: int) -> list[str]:
    return [
        "// n / d for n >= 0 and d > 0 by shift and subtract: a compiler makes of n / 3 a multiplication.",
        f"static int{bits}_t divide_{bits}(int{bits}_t n, int{bits}_t d) {{",
        f"    int{bits}_t quotient = 0, rest = 0;",
        f"    for (int32_t i = {bits - 2}; i >= 0; i--) {{",
        "        // rest < d, so rest - (d - rest) is the doubled rest less d, without overflow",
        f"        const int{bits}_t bit = (n >> i) & 1;",
        "        quotient <<= 1;",
        "        if (rest >= d - rest - bit) {",
        "            rest = rest - (d - rest - bit);",
        "            quotient |= 1;",
        "        } else {",
        "            rest = rest + rest + bit;",
        "        }",
        "    }",
        "    return quotient;",
        "}",
    ]
