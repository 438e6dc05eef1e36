"""The main() beside a traced program: records in, every wire out, as little-endian bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zahlen.c99 import CType
from zahlen.machine import IntArray

from .layout import Layout
from .writer import Code


class Record:
    """The bytes of one step: what is given (mode, state, inputs) and what is answered (wires, outputs, state)."""

    def __init__(self, layout: Layout):
        self.layout = layout
        machine = layout.machine
        self.state, self.inputs, self.outputs = machine.registers, machine.inputs, machine.outputs
        self.wires = tuple(machine.wires)
        self.given = 1 + sum(map(layout.size, (*self.state, *self.inputs)))
        self.answered = sum(map(layout.size, (*self.wires, *self.outputs, *self.state)))

    def encode(self, modes: IntArray, states: Mapping[str, IntArray], inputs: Mapping[str, IntArray]) -> bytes:
        """Records of a batch: modes (batch,), states and inputs (batch, *shape) by name."""
        batch = len(modes)
        columns = [modes.astype(np.uint8).reshape(batch, 1)]
        for name in (*self.state, *self.inputs):
            array = {**states, **inputs}[name]
            little = np.ascontiguousarray(array.reshape(batch, -1).astype(_dtype(self.layout.ctype[name])))
            columns.append(little.view(np.uint8))
        return np.concatenate(columns, axis=1).tobytes()

    def decode(self, answer: bytes) -> tuple[dict[str, IntArray], dict[str, IntArray], dict[str, IntArray]]:
        """Wires, outputs, and the state afterwards, (batch, *shape) by name, of records in a row."""
        rows = np.frombuffer(answer, dtype=np.uint8).reshape(-1, self.answered)
        at, parts = 0, []
        for names in (self.wires, self.outputs, self.state):
            part = {}
            for name in names:
                size, shape = self.layout.size(name), self.layout.wires[name].shape
                raw = np.ascontiguousarray(rows[:, at : at + size]).view(_dtype(self.layout.ctype[name]))
                part[name] = raw.astype(np.int64).reshape(len(rows), *shape)
                at += size
            parts.append(part)
        return parts[0], parts[1], parts[2]


def _dtype(ctype: CType) -> np.dtype[np.generic]:
    return np.dtype(f"<{'u' if ctype.lo == 0 else 'i'}{ctype.width}")


_COMMON = """\
#include <stdio.h>
#include <stdlib.h>

static unsigned char *put(unsigned char *to, int width, int64_t value) {
    uint64_t bits = (uint64_t)value;
    for (int k = 0; k < width; k++, bits >>= 8) {
        *to++ = (unsigned char)(bits & 255);
    }
    return to;
}

// Reads an integer of `width` bytes; `sign` says whether its top bit is one.
static int64_t get(const unsigned char **from, int width, int sign) {
    uint64_t bits = 0;
    for (int k = 0; k < width; k++) {
        bits |= (uint64_t)*(*from)++ << 8 * k;
    }
    if (sign && bits >> (8 * width - 1) != 0) {
        // minus (2^n - bits), without a conversion that C leaves open
        const uint64_t below = width < 8 ? ((uint64_t)1 << 8 * width) - bits : 0 - bits;
        return -(int64_t)(below - 1) - 1;
    }
    return (int64_t)bits;
}
"""


def driver(records: Sequence[Record]) -> str:
    """The text of the main(): its first argument chooses the machine."""
    code = Code()
    code.line(*(f'#include "{record.layout.name}.h"' for record in records), *_COMMON.splitlines(), "")
    for record in records:
        _machine(code, record)
    with code.block("int main(int argc, char **argv)"):
        with code.block("switch (argc > 1 ? atoi(argv[1]) : 0)"):
            for k, record in enumerate(records):
                code.line(f"case {k}: return serve_{record.layout.name}();")
        code.line("return 2;")
    return "\n".join(code.lines) + "\n"


def _machine(code: Code, record: Record) -> None:
    """The trace callback of one machine, which puts each element to its place, and the loop over records."""
    layout, name = record.layout, record.layout.name
    sizes = [layout.size(wire) for wire in record.wires]
    places = ", ".join(str(sum(sizes[:k])) for k in range(len(sizes)))
    widths = ", ".join(str(layout.ctype[wire].width) for wire in record.wires)
    code.line(f"static unsigned char {name}_answer[{record.answered}];", f"static long {name}_seen;", "")
    with code.block(f"void {name}_trace(int32_t wire, int32_t index, int64_t value)"):
        code.line(f"static const long place[] = {{{places}}};", f"static const int width[] = {{{widths}}};")
        code.line(f"put({name}_answer + place[wire] + index * width[wire], width[wire], value);", f"{name}_seen++;")
    code.line("")
    with code.block(f"static int serve_{name}(void)"):
        _buffers(code, record)
        with code.block("while (fread(given, 1, sizeof given, stdin) == sizeof given)"):
            code.line("const unsigned char *from = given;", "const int mode = *from++;")
            _read(code, record)
            arguments = ["&state"] if record.state else []
            arguments += ["&work"] if layout.slots else []
            arguments += [f"in_{wire}" for wire in record.inputs] + [f"out_{wire}" for wire in record.outputs]
            code.line(f"{name}_seen = 0;", f"{name}_{'step' if record.state else 'run'}({', '.join(arguments)});")
            total = sum(wire.size for wire in layout.wires.values())
            with code.block(f"if ({name}_seen != {total})"):
                code.line(f'fprintf(stderr, "%ld of {total} elements were traced\\n", {name}_seen);', "return 1;")
            code.line(f"unsigned char *to = {name}_answer + {sum(sizes)};")
            for wire in record.outputs:
                _write(code, layout, wire, f"out_{wire}")
            for wire in record.state:
                _write(code, layout, wire, f"state.{layout.identifier[wire]}")
            code.line("(void)to;", "(void)mode;", f"fwrite({name}_answer, 1, sizeof {name}_answer, stdout);")
        code.line("return 0;")
    code.line("")


def _buffers(code: Code, record: Record) -> None:
    layout, name = record.layout, record.layout.name
    code.line(f"static unsigned char given[{record.given}];")
    if record.state:
        code.line(f"static {name}_state state;")
    if layout.slots:
        code.line(f"static {name}_work work;")
    for prefix, wires in (("in", record.inputs), ("out", record.outputs)):
        for wire in wires:
            code.line(f"static {layout.ctype[wire]} {prefix}_{wire}[{layout.wires[wire].size}];")


def _read(code: Code, record: Record) -> None:
    layout, name = record.layout, record.layout.name
    if record.state:
        with code.block("if (mode == 1)"):
            code.line(f"{name}_init(&state);")
    arrays = [(wire, f"state.{layout.identifier[wire]}") for wire in record.state]
    for wire, array in [*arrays, *((wire, f"in_{wire}") for wire in record.inputs)]:
        ctype = layout.ctype[wire]
        with code.block(f"for (long i = 0; i < {layout.wires[wire].size}; i++)"):
            value = f"({ctype})get(&from, {ctype.width}, {int(ctype.lo < 0)})"
            if wire in record.state:
                code.line(f"const {ctype} loaded = {value};", f"{array}[i] = mode == 2 ? loaded : {array}[i];")
            else:
                code.line(f"{array}[i] = {value};")


def _write(code: Code, layout: Layout, wire: str, array: str) -> None:
    with code.block(f"for (long i = 0; i < {layout.wires[wire].size}; i++)"):
        code.line(f"to = put(to, {layout.ctype[wire].width}, {array}[i]);")
