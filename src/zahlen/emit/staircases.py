"""Staircases: y = v[number of j with t_j <= z], by a table over all z, one comparison, or a binary search."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from zahlen.c99 import INT64, CType, less, literal, smallest_of, working
from zahlen.machine import IntArray, Wire
from zahlen.machine import operations as op

from .writer import Code, Unit, advance

DIRECT = 512
"""Bytes up to which a table over all values of the accumulator is taken even where a search needs fewer."""


@dataclass
class Steps:
    """A staircase, ready to be written.

    Attributes
    ----------
    expression : str
        The level of ``{z}``.
    ctype : CType
        The expression's type.
    walked : dict of str to (str, str, int)
        Pointers that follow the channel: declared type, table, and stride.
    """

    expression: str
    ctype: CType
    walked: dict[str, tuple[str, str, int]] = field(default_factory=dict)

    @property
    def per_channel(self) -> bool:
        """Whether there is anything to walk."""
        return bool(self.walked)

    def declare(self, code: Code) -> None:
        """Pointers to the first channel's constants."""
        for name, (ctype, table, _) in self.walked.items():
            code.line(f"const {ctype} *{name} = {table};")

    def follow(self, code: Code) -> None:
        """On to the next channel."""
        for name, (_, _, stride) in self.walked.items():
            code.line(f"{advance(name, stride)};")

    def level(self, z: str) -> str:
        """The level of the value in the variable `z`."""
        return self.expression.format(z=z)


def steps(unit: Unit, wire: Wire, source: Wire, held: CType) -> Steps:
    """The cheapest exact form of a staircase over the proven range of its operand, which is in a variable of `held`."""
    operation = wire.operation
    assert isinstance(operation, op.Staircase)
    lo, hi = source.alphabet.lo, source.alphabet.hi
    rows = len(operation.thresholds) if operation.per_channel else 1
    thresholds = _reachable(operation.thresholds.reshape(rows, -1), lo, hi)
    values = operation.values.reshape(rows, -1)
    thresholds, values = _shared(thresholds, values)
    searched = thresholds.size * smallest_of(thresholds).width + values.size * smallest_of(values).width
    rows = max(len(thresholds), len(values))
    if rows * (hi - lo + 1) * smallest_of(values).width <= max(DIRECT, searched):
        return _direct(unit, wire, thresholds, values, lo, hi)
    if rows == 1 and thresholds.size == 1:
        below, above = map(literal, values.ravel().tolist())
        choice = f"{{z}} >= {literal(int(thresholds[0, 0]))} ? {above} : {below}"
        return Steps(choice, working(_ends(values)))
    compared = working((lo, hi), _ends(thresholds))
    return _search(unit, wire, thresholds, values, compared, held)


def _reachable(thresholds: IntArray, lo: int, hi: int) -> IntArray:
    """The same staircase on lo..hi: what is always or never reached moves to the ends, where types are small."""
    return np.clip(thresholds, lo, min(hi + 1, INT64.hi))


def _shared(thresholds: IntArray, values: IntArray) -> tuple[IntArray, IntArray]:
    """One row where all channels have the same."""
    return tuple(a[:1] if bool((a == a[0]).all()) else a for a in (thresholds, values))  # type: ignore[return-value]


def _ends(array: IntArray) -> tuple[int, int]:
    return int(array.min()), int(array.max())


def _direct(unit: Unit, wire: Wire, thresholds: IntArray, values: IntArray, lo: int, hi: int) -> Steps:
    z = np.array(range(lo, hi + 1), dtype=np.int64)
    rows = max(len(thresholds), len(values))
    t, v = (np.broadcast_to(a, (rows, a.shape[1])) for a in (thresholds, values))
    levels = np.stack([v[k][np.searchsorted(t[k], z, side="right")] for k in range(rows)])
    name, ctype = unit.table(f"{unit.layout.identifier[wire.name]}_level", levels, f"the level of each of {lo}..{hi}")
    if rows == 1:
        return Steps(f"{name}[{less('{z}', lo)}]", ctype)
    return Steps(f"v[{less('{z}', lo)}]", ctype, {"v": (ctype.name, name, len(z))})


def _search(unit: Unit, wire: Wire, thresholds: IntArray, values: IntArray, compared: CType, held: CType) -> Steps:
    stem = unit.layout.identifier[wire.name]
    t, t_type = unit.table(f"{stem}_threshold", thresholds)
    v, v_type = unit.table(f"{stem}_value", values)
    count = f"count_{t_type.name[:-2]}_{8 * compared.width}"
    unit.part(count, _counting(count, t_type, compared))
    walked = {}
    if len(thresholds) > 1:
        walked["t"] = (t_type.name, t, thresholds.shape[1])
    if len(values) > 1:
        walked["v"] = (v_type.name, v, values.shape[1])
    array, first = ("v" if "v" in walked else v), ("t" if "t" in walked else t)
    z = "{z}" if held.width <= compared.width else f"({compared}){{z}}"
    return Steps(f"{array}[{count}({first}, {thresholds.shape[1]}, {z})]", v_type, walked)


def _counting(name: str, t: CType, z: CType) -> list[str]:
    return [
        "// How many of the sorted t[0], .., t[n - 1] are at most z.",
        f"static int32_t {name}(const {t} *t, int32_t n, {z} z) {{",
        "    int32_t first = 0;",
        "    while (n > 0) {",
        "        const int32_t half = n >> 1;",
        "        if (t[first + half] <= z) {",
        "            first += half + 1;",
        "            n -= half + 1;",
        "        } else {",
        "            n = half;",
        "        }",
        "    }",
        "    return first;",
        "}",
    ]
