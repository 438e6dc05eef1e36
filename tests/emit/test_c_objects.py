"""What a compiler makes of the emitted C: no multiplication where none is wanted, no floating point, RAM as told."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from compilers import FLOAT_INSTRUCTIONS, STRICT, instructions, matching, need, shell
from handmade import MACHINES, mlp
from strategies import random_machine

from zahlen.emit import c
from zahlen.machine import Machine

TOOLS = {"x86": ("gcc", "objdump"), "s390x": ("s390x-linux-gnu-gcc", "s390x-linux-gnu-objdump")}

MULTIPLIES = {
    "x86": r"v?p?i?mul.*|v?pmadd.*|i?div[bwlq]?|mulx.*",
    # every mnemonic in m.. but the moves; d.. are divisions
    "s390x": r"m(?!v).*|d|dr|d[ls].*|v(m[aehlo].*|ml.*)",
}
SOFT_FLOAT = re.compile(r"__(add|sub|mul|div|neg|eq|ne|lt|le|gt|ge|fix|float|extend|trunc)\w*[sdtx]f\w*")


def compiled_object(machine: Machine, form: str, directory: Path, target: str, *flags: str) -> tuple[set[str], str]:
    """Mnemonics and undefined symbols of the object file of the program alone."""
    compiler, dump = TOOLS[target]
    need(compiler, dump)
    c.write(machine, directory, multiply=form)
    shell([compiler, *STRICT, *flags, "-c", directory / "model.c", "-o", directory / "model.o"])
    return instructions(dump, directory / "model.o"), shell([dump, "-t", directory / "model.o"])


NETWORKS = {
    "mlp": lambda: mlp((64, 16, 16, 10)),
    **{n: MACHINES[n] for n in ("ternary", "gated", "image", "tables", "products")},
}


# optimising for size, gcc makes a multiplication of its own where a stride of 6 or 17 is walked
CASES = [(n, o) for n in NETWORKS for o in ("-Os", "-O2", "-O3") if o != "-Os" or n not in ("tables", "products")]


@pytest.mark.parametrize("target", TOOLS)
@pytest.mark.parametrize(("network", "optimise"), CASES)
def test_no_multiplication(tmp_path: Path, network: str, optimise: str, target: str) -> None:
    mnemonics, symbols = compiled_object(NETWORKS[network](), "none", tmp_path, target, optimise)
    assert not matching(MULTIPLIES[target], mnemonics)
    assert not re.search(r"__(u?mul|u?div|u?mod)\w+", symbols)


@pytest.mark.parametrize("target", TOOLS)
def test_multiplications_are_found_where_they_are(tmp_path: Path, target: str) -> None:
    mnemonics, _ = compiled_object(mlp(), "native", tmp_path, target, "-Os")
    assert matching(MULTIPLIES[target], mnemonics)


@pytest.mark.parametrize("target", TOOLS)
@pytest.mark.parametrize("form", c.MULTIPLY)
def test_no_floating_point(tmp_path: Path, form: str, target: str) -> None:
    for network in ("mlp", "gated", "image"):
        mnemonics, symbols = compiled_object(NETWORKS[network](), form, tmp_path, target, "-O2")
        assert not matching(FLOAT_INSTRUCTIONS[target], mnemonics)
        assert not SOFT_FLOAT.search(symbols)
        text = (tmp_path / "model.c").read_text() + (tmp_path / "model.h").read_text()
        assert not re.search(r"\b(float|double|malloc|calloc|alloca)\b|\d\.\d|<math|<stdlib", text)


@pytest.mark.parametrize("target", TOOLS)
def test_floating_point_is_found_where_it_is(tmp_path: Path, target: str) -> None:
    compiler, dump = TOOLS[target]
    need(compiler, dump)
    (tmp_path / "f.c").write_text("double f(double a, int b) { return a * b + 1.5; }\n")
    shell([compiler, "-O2", "-c", tmp_path / "f.c", "-o", tmp_path / "f.o"])
    assert matching(FLOAT_INSTRUCTIONS[target], instructions(dump, tmp_path / "f.o"))


@pytest.mark.parametrize("form", c.MULTIPLY)
def test_figures_are_those_of_the_program(tmp_path: Path, form: str) -> None:
    need("gcc")
    found = [make() for make in MACHINES.values()] + [random_machine(random.Random(f"figures {k}")) for k in range(20)]
    main = ["#include <stdio.h>"]
    told = []
    for k, machine in enumerate(found):
        program = c.source(machine, name=f"m{k}", multiply=form, vectors=0)
        (tmp_path / f"m{k}.h").write_text(program.header)
        widths = {name: int(re.sub(r"\D", "", name)) // 8 for name in ("int8_t", "int16_t", "int32_t", "int64_t")}
        widths |= {f"u{name}": width for name, width in widths.items()}
        text = re.sub(r"#ifdef M\d+_TRACE.*?#endif", "", program.source, flags=re.S)
        constants = re.findall(r"^static const (\w+) \w+\[(\d+)\]", text, flags=re.M)
        assert sum(widths[ctype] * int(count) for ctype, count in constants) == program.footprint.flash
        assert c.footprint(machine, multiply=form) == program.footprint
        assert str(program.footprint) in program.source
        assert str(program.footprint) in program.header
        told.append((program.footprint.state, program.footprint.work))
    main += [f'#include "m{k}.h"' for k in range(len(found))] + ["int main(void) {"]
    for k, (state, work) in enumerate(told):
        sizes = ", ".join([f"(int)sizeof(m{k}_state)" if state else "0", f"(int)sizeof(m{k}_work)" if work else "0"])
        main.append(f'    printf("%d %d\\n", {sizes});')
    (tmp_path / "main.c").write_text("\n".join([*main, "}", ""]))
    shell(["gcc", *STRICT, tmp_path / "main.c", "-o", tmp_path / "main"])
    printed = [tuple(map(int, line.split())) for line in shell([tmp_path / "main"]).splitlines()]
    assert printed == told


def test_buffers_are_shared() -> None:
    deep = mlp((40, 20, 20, 20, 20, 20, 4))
    assert c.footprint(deep).ram == 2 * 20  # two layers' levels; no sum is ever stored
    assert c.footprint(mlp((784, 256, 256, 10))).flash < 784 * 256 + 256 * 256 + 2560 + 4 * 522 + 256


def test_products_stay_within_a_few_kilobytes() -> None:
    plain, without = (c.footprint(mlp((784, 64, 10)), multiply=form).flash for form in c.MULTIPLY)
    assert without - plain <= 1024
