"""Machine to C99: one readable file and a header, whole numbers only, nothing allocated.

The program computes exactly what the machine's reference does. It needs ``<stdint.h>`` and ``<string.h>``, no floating
point, no heap, and leaves nothing to the compiler's choice: no shift of a negative number, no overflow (every
accumulator is as wide as the proven range asks for), no dependence on the byte order or on the width of int.

Two macros change what is compiled: ``<NAME>_SELFTEST`` adds a main() that replays recorded vectors;
``<NAME>_TRACE`` calls ``<name>_trace(wire, index, value)``, which the user defines, for every element of every wire.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zahlen.c99 import RULER, check_name
from zahlen.machine import EmitError, Machine, Wire, replacing
from zahlen.machine import operations as op

from . import sums  # noqa: F401  (registers its blocks)
from .blocks import block
from .layout import Layout
from .selftest import Vectors, selftest
from .writer import Code, Unit, guarded

MULTIPLY = ("native", "none")


@dataclass(frozen=True)
class Footprint:
    """What a program needs on a target whose types are aligned to their width.

    Attributes
    ----------
    flash : int
        Bytes of constant tables.
    state, work : int
        Bytes of the two structs. The stack holds a few variables besides.
    """

    flash: int
    state: int
    work: int

    @property
    def ram(self) -> int:
        """Bytes of both structs."""
        return self.state + self.work

    def __str__(self) -> str:
        return f"{self.flash:,} bytes of constants, RAM {self.ram:,} bytes (state {self.state:,}, work {self.work:,})"


@dataclass(frozen=True)
class Sources:
    """The two files of a program.

    Attributes
    ----------
    name : str
        Stem of the file names and of every external identifier.
    header, source : str
        Their text.
    footprint : Footprint
    """

    name: str
    header: str
    source: str
    footprint: Footprint


def source(machine: Machine, *, name: str = "model", multiply: str = "native", vectors: Vectors = 8) -> Sources:
    """The machine as a C99 program.

    Parameters
    ----------
    machine : Machine
    name : str
        Stem of file names and identifiers.
    multiply : {"native", "none"}
        ``none`` uses no multiplication, for indices neither: products come from tables, by quarter squares or all of
        them listed. (A compiler that optimises for size may make one of its own of a walk with a stride.)
    vectors : int or mapping from input name to integer array (vectors, *shape)
        What the self-test replays; 0 leaves the self-test out. With registers they are the steps of one sequence.

    Raises
    ------
    EmitError
        If a wire or an intermediate value needs more than 64 bits, or a name is no C identifier.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 3))
    >>> machine = b.build(b.affine(x, [[1, -1]], [1], name="y"))
    >>> program = source(machine)
    >>> "void model_run(const uint8_t x[2], int8_t y[1])" in program.header
    True
    >>> print(program.footprint)
    3 bytes of constants, RAM 0 bytes (state 0, work 0)
    """
    if multiply not in MULTIPLY:
        raise EmitError(f"multiply is one of {', '.join(MULTIPLY)}, got {multiply!r}")
    layout = Layout(machine, check_name(name))
    unit = Unit(layout, multiply)
    body = _body(unit)
    figures = Footprint(unit.constants(), layout.state_bytes(), layout.work_bytes())
    head = _head(machine, name, multiply, figures)
    text = [*head, f'#include "{name}.h"', "#include <string.h>", ""]
    text += [*_see(name), ""]
    for title, tables in (("Constants, row-major.", True), ("Arithmetic.", False)):
        if definitions := unit.definitions(tables):
            text += [RULER, f"// {title}", *definitions, ""]
    text += [RULER, "// The network.", "", *body]
    if vectors if isinstance(vectors, int) else True:
        text += ["", RULER, f"// Self-test: compile with -D{name.upper()}_SELFTEST and run.", ""]
        text += selftest(layout, vectors)
    return Sources(name, "\n".join(_header(layout, head)) + "\n", "\n".join(text) + "\n", figures)


def footprint(machine: Machine, *, multiply: str = "native") -> Footprint:
    """Bytes of flash for constants and of RAM that the emitted program needs.

    Raises
    ------
    EmitError
        As `source`.
    """
    return source(machine, multiply=multiply, vectors=0).footprint


def write(
    machine: Machine,
    directory: str | Path,
    *,
    name: str = "model",
    multiply: str = "native",
    vectors: Vectors = 8,
) -> tuple[Path, Path]:
    """Write ``<name>.h`` and ``<name>.c`` into a directory that exists, each whole or not at all.

    Parameters are those of `source`.

    Returns
    -------
    (header, source) : paths of the two files.

    Raises
    ------
    EmitError
        As `source`.
    FileError
        If the directory cannot be written to.
    """
    program = source(machine, name=name, multiply=multiply, vectors=vectors)
    paths = Path(directory) / f"{name}.h", Path(directory) / f"{name}.c"
    for path, text in zip(paths, (program.header, program.source)):
        with replacing(path) as file:
            file.write(text.encode("ascii"))
    return paths


# ---------------------------------------------------------------------------------------------------- the files


def _head(machine: Machine, name: str, multiply: str, figures: Footprint) -> list[str]:
    # a backslash, or the trigraph for it, would continue the comment on the next line
    listing = [re.sub(r"[^ -~]|[\\?]", "_", line) for line in str(machine).splitlines()]
    products = "products by tables and additions" if multiply == "none" else "products by the processor"
    return [
        f"// {name}: integers only, nothing allocated, {products}.",
        "//",
        *(f"// {line}" for line in listing),
        "//",
        f"// machine {machine.hash}",
        f"// {figures}",
        "//",
        "// Written by zahlen. Elements of arrays are in row-major order.",
        "",
    ]


def _see(name: str) -> list[str]:
    return [
        f"#ifdef {name.upper()}_TRACE",
        "#define SEE_ONE(wire, index, value) " + f"{name}_trace((wire), (index), (value))",
        "#define SEE(wire, count, array) \\",
        "    for (int32_t seen = 0; seen < (count); seen++) SEE_ONE((wire), seen, (array)[seen])",
        "#else",
        "#define SEE_ONE(wire, index, value) ((void)0)",
        "#define SEE(wire, count, array) ((void)0)",
        "#endif",
    ]


def _header(layout: Layout, head: list[str]) -> list[str]:
    name, machine = layout.name, layout.machine
    guard = f"{name.upper()}_H"
    text = [*head, f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    text += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    if machine.registers:
        text += ["// What the network remembers from step to step; one for each sequence.", "typedef struct {"]
        text += [f"    {layout.ctype[r]} {layout.identifier[r]}[{machine.wires[r].size}];" for r in layout.registers]
        text += [f"}} {name}_state;", "", f"void {name}_init({name}_state *state);", ""]
    if layout.slots:
        text += _work_struct(layout)
    text += [
        "// Every element of an input must be in the range given here: nothing is checked. Arrays must not overlap.",
        *(f"//   {_described(machine.wires[w], layout.parameter.get(w, ''))}" for w in machine.inputs),
        *(f"//   {_described(machine.wires[w], _result(layout, w))}" for w in machine.outputs),
        f"{_signature(layout)};",
        "",
        f"#ifdef {name.upper()}_TRACE",
        "// Called for every element of every wire, which is named by its place in the listing above, from 0.",
        f"void {name}_trace(int32_t wire, int32_t index, int64_t value);",
        "#endif",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return text


def _work_struct(layout: Layout) -> list[str]:
    text = ["// Memory for one step; it need not be kept between steps. Arrays in a union never live together."]
    text += ["typedef struct {"]
    for slot in layout.slots:
        members = [f"{layout.ctype[w]} {layout.member[w]}[{layout.wires[w].size}];" for w in slot.wires]
        if len(members) == 1:
            text.append(f"    {members[0]}")
        else:
            text += ["    union {", *(f"        {member}" for member in members), f"    }} {slot.name};"]
    return [*text, f"}} {layout.name}_work;", ""]


def _described(wire: Wire, parameter: str) -> str:
    shape = " x ".join(map(str, wire.shape)) or "1"
    return f"{parameter}: {shape} of {re.sub(r'[^ -~]|[?]', '_', str(wire.alphabet)).replace(chr(92), '_')}"


def _result(layout: Layout, wire: str) -> str:
    return layout.copied[wire] if wire in layout.copied else layout.parameter[wire]


def _signature(layout: Layout) -> str:
    name, machine = layout.name, layout.machine
    parameters = [f"{name}_state *state"] if machine.registers else []
    parameters += [f"{name}_work *work"] if layout.slots else []
    for wire in machine.inputs:
        parameters.append(f"const {layout.ctype[wire]} {layout.identifier[wire]}[{machine.wires[wire].size}]")
    for wire in machine.outputs:
        parameters.append(f"{layout.ctype[wire]} {_result(layout, wire)}[{machine.wires[wire].size}]")
    return f"void {name}_{'step' if machine.registers else 'run'}({', '.join(parameters)})"


# ---------------------------------------------------------------------------------------------------- the functions


def _body(unit: Unit) -> list[str]:
    """The functions, as lines; tables and helpers gather in the unit."""
    layout, name = unit.layout, unit.layout.name
    text = _init(layout) if layout.machine.registers else []
    blocks: list[str] = []
    for wire in layout.wires.values():
        unit.traced_only = wire.name not in layout.alive
        unit.code = Code()
        _wire(unit, wire)
        blocks += guarded(unit.code.lines, f"{name.upper()}_TRACE" if unit.traced_only else "")
        blocks.append("")
    unit.traced_only, unit.code = False, Code()
    _finish(unit)
    blocks += unit.code.lines
    used = "\n".join(_compiled(blocks))
    given = [layout.identifier[wire] for wire in layout.machine.inputs] + ["state"] * bool(layout.machine.registers)
    unused = [f"(void){p};" for p in given if not re.search(rf"\b{p}\b", used)]
    lines = [*unused, *blocks]
    while lines and not lines[-1]:
        lines.pop()
    body = [line if line.startswith("#") or not line else f"    {line}" for line in lines]
    return [*text, f"{_signature(layout)} {{", *body, "}"]


def _compiled(lines: list[str]) -> list[str]:
    """The lines that are compiled without a trace, and are no comments."""
    result, hidden = [], False
    for line in lines:
        hidden = line.startswith("#ifdef") or (hidden and not line.startswith("#endif"))
        if not hidden and not line.lstrip().startswith(("//", "SEE")):
            result.append(line)
    return result


def _init(layout: Layout) -> list[str]:
    code = Code()
    with code.block(f"void {layout.name}_init({layout.name}_state *state)"):
        for register in layout.registers:
            operation, place = layout.wires[register].operation, layout.place[register]
            assert isinstance(operation, op.Register)
            values = operation.initial.ravel().tolist()
            if not any(values):
                code.line(f"memset({place}, 0, sizeof {place});")
            elif len(set(values)) == 1:
                with code.count("i", len(values)):
                    code.line(f"{place}[i] = {values[0]};")
            else:
                code.line(f"memcpy({place}, {layout.identifier[register]}_initial, sizeof {place});")
    return [*code.lines, ""]


def _wire(unit: Unit, wire: Wire) -> None:
    layout, code = unit.layout, unit.code
    if wire.name in layout.fused.values():
        code.line(f"SEE({layout.number[wire.name]}, {wire.size}, {unit.at(wire.name)});  // {wire.name}")
        return
    code.line(f"// {_title(wire)}")
    if wire.name in layout.fused:
        reader = layout.wires[layout.fused[wire.name]]
        code.line(f"// {_title(reader)}")
    _tables(unit, layout.fused.get(wire.name, wire.name))
    if isinstance(wire.operation, (op.Input, op.Register)):
        pass
    elif isinstance(wire.operation, op.Constant):
        unit.constant(layout.identifier[wire.name], wire.operation.value, layout.ctype[wire.name], wire.name)
    else:
        block(wire.operation, unit, wire)
    if wire.name not in layout.fused:
        code.line(f"SEE({layout.number[wire.name]}, {wire.size}, {unit.at(wire.name)});")


def _tables(unit: Unit, name: str) -> None:
    """Constants that are no operand of a block: initial states, and memory for what only a trace computes."""
    layout, wire = unit.layout, unit.layout.wires[name]
    if isinstance(wire.operation, op.Register):
        initial = wire.operation.initial
        if len(set(initial.ravel().tolist())) > 1:
            unit.constant(f"{layout.identifier[name]}_initial", initial, layout.ctype[name], f"{name} at first")
    elif unit.traced_only and layout.root[name] == name and not isinstance(wire.operation, (op.Input, op.Constant)):
        identifier = layout.place[name]
        unit.part(f"table {identifier}", [f"static {layout.ctype[name]} {identifier}[{wire.size}];"])


def _title(wire: Wire) -> str:
    call = f"{wire.operation.kind}({', '.join(wire.operands)})" if wire.operands else wire.operation.kind
    shape = "x".join(map(str, wire.shape)) or "1"
    return re.sub(r"[^ -~]|[\\?]", "_", f"{wire.name} = {call}: {shape} of {wire.alphabet}")


def _finish(unit: Unit) -> None:
    """Outputs that live elsewhere are copied; then every register takes its next value."""
    layout, code = unit.layout, unit.code
    for wire, parameter in layout.copied.items():
        _copy(unit, parameter, wire, layout.place[wire], wire)
    if layout.successors():
        code.line("// the state of the next step")
    for register, place in layout.held.items():
        successor = layout.machine.successors[register]
        _copy(unit, place, register, layout.place[successor], successor)
    for register, successor in layout.successors().items():
        if register in layout.held:
            _copy(unit, layout.place[register], register, layout.held[register], register)
        else:
            _copy(unit, layout.place[register], register, layout.place[successor], successor)


def _copy(unit: Unit, target: str, like: str, source: str, of: str) -> None:
    ctype, size = unit.layout.ctype[like], unit.layout.wires[like].size
    if ctype == unit.layout.ctype[of]:
        unit.code.line(f"memcpy({target}, {source}, {size} * sizeof {target}[0]);")
        return
    with unit.code.count("i", size):
        unit.code.line(f"{target}[i] = ({ctype}){source}[i];")
