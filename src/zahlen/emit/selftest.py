"""The self-test of an emitted program: recorded inputs, what the reference made of them, and a main() to compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from zahlen.c99 import table_lines
from zahlen.machine import Alphabet, EmitError, IntArray, Machine

from .layout import Layout
from .writer import Code

Vectors = int | Mapping[str, Any]


def recorded(machine: Machine, vectors: Vectors) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
    """Inputs and the reference's outputs, (vectors, *shape) each by wire; with registers the steps of one sequence.

    Parameters
    ----------
    vectors : int or mapping
        How many: all elements at their least, all at their greatest, then pseudo-random ones, the same on every
        computer. Or the inputs themselves by name, (vectors, *shape).
    """
    if isinstance(vectors, int):
        inputs = {n: drawn(machine.wires[n].alphabet, (vectors, *machine.wires[n].shape), n) for n in machine.inputs}
    else:
        inputs = {name: np.asarray(value) for name, value in vectors.items()}
        if set(inputs) != set(machine.inputs):
            raise EmitError(f"vectors: recorded inputs are due for {', '.join(machine.inputs)}")
    steps = {name: value[None] for name, value in inputs.items()} if machine.registers else inputs
    result = machine.run(steps, executor="reference")
    outputs = result if isinstance(result, dict) else {machine.outputs[0]: result}
    return inputs, {name: value[0] if machine.registers else value for name, value in outputs.items()}


def drawn(alphabet: Alphabet, shape: tuple[int, ...], seed: str) -> IntArray:
    """Elements of an alphabet: the first row the least, the second the greatest, the others from SHA-256 of a count.

    >>> from zahlen import Levels
    >>> drawn(Levels(-3, 3, 2), (3, 4), "x").tolist()
    [[-3, -3, -3, -3], [3, 3, 3, 3], [-1, -1, 3, -3]]
    """
    size = int(np.prod(shape, dtype=np.int64))
    stream = b"".join(hashlib.sha256(f"{seed} {k}".encode()).digest() for k in range(-(-size // 4)))
    words = [int.from_bytes(stream[8 * k : 8 * k + 8], "big") for k in range(size)]
    values = np.array([alphabet.lo + alphabet.step * (word % alphabet.size) for word in words], dtype=np.int64)
    values = values.reshape(shape)
    values[:1], values[1:2] = alphabet.lo, alphabet.hi
    return values


def selftest(layout: Layout, vectors: Vectors) -> list[str]:
    """The lines of the self-test, from its ``#ifdef`` to its ``#endif``."""
    machine, name, code = layout.machine, layout.name, Code()
    inputs, outputs = recorded(machine, vectors)
    count = len(next(iter(outputs.values())))
    sizes = {wire: machine.wires[wire].size for wire in (*inputs, *outputs)}
    code.line(f"#ifdef {name.upper()}_SELFTEST", "#include <stdio.h>", "")
    names: dict[tuple[str, str], str] = {}
    for prefix, arrays in (("given", inputs), ("expected", outputs)):
        for wire, values in arrays.items():
            names[prefix, wire] = layout.claim(f"{prefix}_{wire}")
            code.line(*table_lines(names[prefix, wire], layout.ctype[wire], values), "")
    with code.block("int main(void)"):
        code.line("int32_t wrong = 0;")
        if layout.slots:
            code.line(f"static {name}_work work;")
        if machine.registers:
            code.line(f"static {name}_state state;", f"{name}_init(&state);")
        with code.block(f"for (int32_t n = 0; n < {count}; n++)"):
            arguments = ["&state"] if machine.registers else []
            arguments += ["&work"] if layout.slots else []
            arguments += [f"{names['given', wire]} + n * {sizes[wire]}" for wire in inputs]
            for wire in outputs:
                names["found", wire] = layout.claim(f"found_{wire}")
                code.line(f"static {layout.ctype[wire]} {names['found', wire]}[{sizes[wire]}];")
            arguments += [names["found", wire] for wire in outputs]
            code.line(f"{name}_{'step' if machine.registers else 'run'}({', '.join(arguments)});")
            for wire in outputs:
                with code.block(f"for (int32_t i = 0; i < {sizes[wire]}; i++)"):
                    found, expected = names["found", wire], names["expected", wire]
                    code.line(f'printf("%lld ", (long long){found}[i]);')
                    code.line(f"wrong += {found}[i] != {expected}[n * {sizes[wire]} + i];")
            code.line('printf("\\n");')
        with code.block("if (wrong != 0)"):
            code.line('printf("%ld mismatches\\n", (long)wrong);', "return 1;")
        code.line('printf("ok\\n");', "return 0;")
    code.line("#endif")
    return code.lines
