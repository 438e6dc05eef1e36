"""The text of an emitted file while it grows: indented lines, constant tables, and helper functions on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from zahlen.c99 import CType, smallest_of, table_lines
from zahlen.machine import IntArray, Wire

from .layout import Layout


class Code:
    """Lines with indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    def line(self, *texts: str) -> None:
        """Append lines at the present depth; preprocessor lines stand at the margin."""
        for text in texts:
            margin = "" if text.startswith("#") or not text else "    " * self._depth
            self.lines.append(margin + text)

    @contextmanager
    def block(self, head: str = "") -> Iterator[None]:
        """Braces around what is written inside."""
        self.line(f"{head} {{" if head else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def count(self, variable: str, count: int, **walks: tuple[str, int]) -> Iterator[None]:
        """A loop of `count` rounds; `walks` are further variables, each with its start and its stride.

        Offsets are walked, never multiplied: the form without multiplications has none for indices either.
        """
        start = "".join(f", {name} = {first}" for name, (first, _) in walks.items())
        stride = "".join(f", {advance(name, by)}" for name, (_, by) in walks.items())
        with self.block(f"for (int32_t {variable} = 0{start}; {variable} < {count}; {variable}++{stride})"):
            yield

    @contextmanager
    def nest(self, stem: str, axes: Sequence[tuple[int, int]], start: str) -> Iterator[str]:
        """Loops over axes, (count, stride) each, outermost first; yields the expression of the walked offset."""
        with ExitStack() as loops:
            for k, (count, stride) in enumerate(merged(axes)):
                loops.enter_context(self.count(f"{stem}{k}", count, **{f"at_{stem}{k}": (start, stride)}))
                start = f"at_{stem}{k}"
            yield start


def advance(name: str, by: int) -> str:
    """Statement that moves an offset or a pointer.

    >>> advance("p", 1), advance("p", 28), advance("p", -2)
    ('p++', 'p += 28', 'p -= 2')
    """
    return f"{name}++" if by == 1 else f"{name} += {by}" if by >= 0 else f"{name} -= {-by}"


def merged(axes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same walk with fewer axes, where two of them are one.

    >>> merged([(2, 12), (3, 4), (4, 1), (1, 7)])
    [(24, 1)]
    """
    result: list[tuple[int, int]] = []
    for count, stride in axes:
        if count == 1:
            continue
        if result and result[-1][1] == count * stride:
            result[-1] = (result[-1][0] * count, stride)
        else:
            result.append((count, stride))
    return result


def strides(shape: Sequence[int]) -> list[int]:
    """Row-major strides in elements.

    >>> strides((2, 3, 4))
    [12, 4, 1]
    """
    return [int(s) for s in np.cumprod([1, *reversed(shape)])[:-1][::-1]]


class Unit:
    """One translation unit: the body of the network's function, and what it came to need.

    Attributes
    ----------
    layout : Layout
    multiply : str
        ``native`` or ``none``.
    code : Code
        The body.
    """

    def __init__(self, layout: Layout, multiply: str):
        self.layout, self.multiply = layout, multiply
        self.code = Code()
        self.flash = 0
        self.traced_only = False
        self.quarters = 0
        self._parts: dict[str, tuple[bool, list[str], int]] = {}
        self._tables: dict[tuple[str, bytes], str] = {}

    def at(self, wire: str) -> str:
        """The array of a wire."""
        return self.layout.place[wire]

    def store(self, wire: Wire, index: str, value: str, ctype: CType) -> None:
        """Assign an element; `value` is of type `ctype` and known to fit."""
        self.code.line(f"{self.at(wire.name)}[{index}] = {self.cast(wire, value, ctype)};")

    def cast(self, wire: Wire, value: str, ctype: CType) -> str:
        """`value` in the wire's type."""
        target = self.layout.ctype[wire.name]
        if target == ctype:
            return value
        return f"({target}){value}" if value.isidentifier() or value.endswith("]") else f"({target})({value})"

    # ------------------------------------------------------------------------------------------------ parts

    def part(self, key: str, lines: list[str], flash: int = 0) -> None:
        """A definition that the body relies on, once; under trace only if nothing else needs it."""
        hidden = self._parts[key][0] if key in self._parts else True
        self._parts[key] = (hidden and self.traced_only, lines, flash)

    def table(self, stem: str, values: IntArray, comment: str = "") -> tuple[str, CType]:
        """A constant array in the smallest type; returns its name and type. Equal tables are one."""
        ctype = smallest_of(values)
        key = (ctype.name, np.ascontiguousarray(values, dtype=np.int64).tobytes())
        if key not in self._tables:
            self._tables[key] = self.layout.claim(stem)
        name = self._tables[key]
        if f"table {name}" in self._parts:
            self.part(f"table {name}", *self._parts[f"table {name}"][1:])
        else:
            self.constant(name, values, ctype, comment)
        return name, ctype

    def constant(self, name: str, values: IntArray, ctype: CType, comment: str = "") -> None:
        """A constant array of this name and type; a later one of the same name takes its place."""
        text = [f"// {comment}"] if comment else []
        self.part(f"table {name}", text + table_lines(name, ctype, values), values.size * ctype.width)

    def constants(self) -> int:
        """Bytes of the constant tables, without those for tracing."""
        return sum(flash for hidden, _, flash in self._parts.values() if not hidden)

    def definitions(self, tables: bool) -> list[str]:
        """The text of all tables, or of all helper functions."""
        text: list[str] = []
        for key, (hidden, lines, _) in self._parts.items():
            if key.startswith("table ") == tables:
                text += ["", *guarded(lines, f"{self.layout.name.upper()}_TRACE" if hidden else "")]
        return text


def guarded(lines: list[str], macro: str) -> list[str]:
    """The lines, compiled only where the macro is defined."""
    return [f"#ifdef {macro}", *lines, "#endif"] if macro else lines
