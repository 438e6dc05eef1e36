"""One block of C per operation: element by element, tables, and what only moves elements. Sums are in `sums`."""

from __future__ import annotations

from functools import singledispatch
from math import prod

from zahlen.c99 import INT32, less, literal, working
from zahlen.machine import Wire
from zahlen.machine import operations as op

from .products import grouped, product, quotient, row_offset
from .staircases import steps
from .writer import Unit, strides


@singledispatch
def block(operation: op.Operation, unit: Unit, wire: Wire) -> None:
    """Write the loops that compute a wire from its operands."""
    raise TypeError(f"no C for {operation.kind}")


def operands(unit: Unit, wire: Wire) -> list[Wire]:
    """The wires that a wire reads."""
    return [unit.layout.wires[name] for name in wire.operands]


# ------------------------------------------------------------------------------------------- element by element


def _elementwise(unit: Unit, wire: Wire, expression: str) -> None:
    """A loop with the operands' elements in `p` (and `q`), of a type in which nothing overflows."""
    work = unit.layout.accumulator[wire.name]
    values = [f"{name} = {unit.at(operand)}[i]" for name, operand in zip("pq", wire.operands)]
    with unit.code.count("i", wire.size):
        unit.code.line(f"const {work} {', '.join(values)};")
        unit.store(wire, "i", expression, work)


@block.register
def _(operation: op.Add, unit: Unit, wire: Wire) -> None:
    _elementwise(unit, wire, "p + q")


@block.register
def _(operation: op.Sub, unit: Unit, wire: Wire) -> None:
    _elementwise(unit, wire, "p - q")


@block.register
def _(operation: op.Mul, unit: Unit, wire: Wire) -> None:
    x, y = operands(unit, wire)
    multiplied = product(unit, x.alphabet, y.alphabet, unit.layout.accumulator[wire.name])
    _elementwise(unit, wire, multiplied("p", "q"))


@block.register
def _(operation: op.Min, unit: Unit, wire: Wire) -> None:
    _elementwise(unit, wire, "p < q ? p : q")


@block.register
def _(operation: op.Max, unit: Unit, wire: Wire) -> None:
    _elementwise(unit, wire, "p > q ? p : q")


@block.register
def _(operation: op.Neg, unit: Unit, wire: Wire) -> None:
    _elementwise(unit, wire, "-p")


@block.register
def _(operation: op.Clamp, unit: Unit, wire: Wire) -> None:
    lo, hi = literal(operation.lo), literal(operation.hi)
    _elementwise(unit, wire, f"p < {lo} ? {lo} : p > {hi} ? {hi} : p")


@block.register
def _(operation: op.Shift, unit: Unit, wire: Wire) -> None:
    bits = 8 * unit.layout.accumulator[wire.name].width
    if operation.bits > 0:
        _need_shift(unit, "right", bits)
        half = f" + {2 ** (operation.bits - 1)}" if operation.rounding == "half_up" else ""
        _elementwise(unit, wire, f"shift_right_{bits}(p{half}, {operation.bits})")
    elif operation.bits < 0:
        _need_shift(unit, "left", bits)
        _elementwise(unit, wire, f"shift_left_{bits}(p, {-operation.bits})")
    else:
        _elementwise(unit, wire, "p")


def _need_shift(unit: Unit, direction: str, bits: int) -> None:
    arrow, does, negative = {
        "right": (">>", "floor(a / 2^s)", "~(~a >> s)"),
        "left": ("<<", "a 2^s", "~((~a << s) + (((int{0}_t)1 << s) - 1))"),
    }[direction]
    unit.part(
        f"shift_{direction}_{bits}",
        [
            f"// {does}; only values >= 0 are shifted, since C leaves the others open.",
            f"static int{bits}_t shift_{direction}_{bits}(int{bits}_t a, int32_t s) {{",
            f"    return a >= 0 ? a {arrow} s : {negative.format(bits)};",
            "}",
        ],
    )


# ---------------------------------------------------------------------------------------------------- tables


@block.register
def _(operation: op.Staircase, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    held = working((source.alphabet.lo, source.alphabet.hi))
    staircase, code = steps(unit, wire, source, held), unit.code
    value = f"const {held} value = {unit.at(source.name)}"
    if not staircase.per_channel:
        with code.count("i", wire.size):
            code.line(f"{value}[i];")
            unit.store(wire, "i", staircase.level("value"), staircase.ctype)
        return
    axis = operation.axis % len(wire.shape)
    outer, inner = prod(wire.shape[:axis]), prod(wire.shape[axis + 1 :])
    with code.block():
        code.line("int32_t k = 0;")
        with code.count("i", outer):
            staircase.declare(code)
            with code.count("channel", wire.shape[axis]):
                with code.count("j", inner):
                    code.line(f"{value}[k];")
                    unit.store(wire, "k", staircase.level("value"), staircase.ctype)
                    code.line("k++;")
                staircase.follow(code)


@block.register
def _(operation: op.Lookup, unit: Unit, wire: Wire) -> None:
    code, accumulator = unit.code, unit.layout.accumulator[wire.name]
    table, ctype = unit.table(f"{unit.layout.identifier[wire.name]}_table", operation.table)
    with code.count("i", wire.size):
        indices = []
        for name, operand, base, step in zip("pq", wire.operands, operation.base, operation.step):
            code.line(f"const {accumulator} {name} = {unit.at(operand)}[i];")
            indices.append(quotient(unit, less(name, base), step, accumulator))
        if len(indices) == 2:
            rows, columns = operation.table.shape
            row = grouped(indices[0]) if accumulator == INT32 else f"(int32_t){grouped(indices[0])}"
            stem = unit.layout.identifier[wire.name]
            indices = [f"{row_offset(unit, stem, row, columns, rows)} + {indices[1]}"]
        unit.store(wire, "i", f"{table}[{indices[0]}]", ctype)


@block.register
def _(operation: op.Embed, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    rows, width = operation.table.shape
    stem, code = unit.layout.identifier[wire.name], unit.code
    table, ctype = unit.table(f"{stem}_table", operation.table)
    with code.block():
        code.line("int32_t k = 0;")
        with code.count("i", source.size):
            index = f"(int32_t){unit.at(source.name)}[i]"
            code.line(f"const {ctype} *row = {table} + {row_offset(unit, stem, index, width, rows)};")
            with code.count("j", width):
                unit.store(wire, "k++", "row[j]", ctype)


@block.register
def _(operation: op.Argmax, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    axis, code = operation.axis % len(source.shape), unit.code
    axes = list(zip(source.shape, strides(source.shape)))
    count, stride = axes.pop(axis)
    x, ctype = unit.at(source.name), unit.layout.ctype[source.name]
    with code.block():
        code.line("int32_t k = 0;")
        with code.nest("i", axes, "0") as start:
            code.line(f"{ctype} best = {x}[{start}];", "int32_t index = 0;")
            with code.count("j", count, at=(start, stride)), code.block(f"if ({x}[at] > best)"):
                code.line(f"best = {x}[at];", "index = j;")
            unit.store(wire, "k++", "index", INT32)


# ---------------------------------------------------------------------------------------------------- no arithmetic


@block.register
def _(operation: op.Reshape, unit: Unit, wire: Wire) -> None:
    unit.code.line("// the same memory under another shape")


@block.register
def _(operation: op.Concat, unit: Unit, wire: Wire) -> None:
    axis, code = operation.axis % len(wire.shape), unit.code
    sources = operands(unit, wire)
    walks = {f"at_{n}": ("0", prod(source.shape[axis:])) for n, source in enumerate(sources)}
    with code.block():
        code.line("int32_t k = 0;")
        with code.count("i", prod(wire.shape[:axis]), **walks):
            for (at, (_, chunk)), source in zip(walks.items(), sources):
                with code.count("j", chunk):
                    unit.store(wire, "k++", f"{unit.at(source.name)}[{at} + j]", unit.layout.ctype[source.name])


def _gather(unit: Unit, wire: Wire, axes: list[tuple[int, int]], start: int) -> None:
    """Copy elements that lie `axes` apart, (count, stride) each, one behind the other."""
    (source,) = operands(unit, wire)
    with unit.code.block():
        unit.code.line("int32_t k = 0;")
        with unit.code.nest("i", axes, str(start)) as at:
            unit.store(wire, "k++", f"{unit.at(source.name)}[{at}]", unit.layout.ctype[source.name])


@block.register
def _(operation: op.Slice, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    walk = strides(source.shape)
    start = sum(a * s for a, s in zip(operation.start, walk))
    _gather(unit, wire, [(n, s * step) for n, s, step in zip(wire.shape, walk, operation.step)], start)


@block.register
def _(operation: op.Transpose, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    walk = strides(source.shape)
    _gather(unit, wire, [(n, walk[axis]) for n, axis in zip(wire.shape, operation.axes)], 0)
