"""On an emulated Cortex-M3, without a floating point unit: every wire, and what the object needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from compilers import CORTEX_M3, FLOATS, STRICT, compare, compare_sequences, need, shell, target
from handmade import MACHINES, character_lstm
from strategies import random_batch, random_machine, random_sequences

from zahlen.emit import c, harness, text
from zahlen.machine import Machine

NETWORKS = {"lstm": lambda: character_lstm(48), **{name: MACHINES[name] for name in ("dense", "image", "products")}}


@pytest.mark.parametrize("form", c.MULTIPLY)
def test_every_wire_over_hundreds_of_steps(form: str) -> None:
    found = {"lstm": character_lstm(24, 64), "gated": MACHINES["gated"](), "swapped": MACHINES["swapped"]()}
    programs = harness.several(found, flags=(*STRICT, "-Os"), multiply=form, **target("cortex-m3"))
    for name, machine in found.items():
        compare_sequences(programs[name], machine, random_sequences(machine, random.Random(4), 2, 300))


@pytest.mark.parametrize("form", c.MULTIPLY)
def test_every_machine(form: str) -> None:
    found = {name: make() for name, make in MACHINES.items()}
    found |= {f"m{k}": random_machine(random.Random(f"cortex {k}")) for k in range(10)}
    programs = harness.several(found, flags=(*STRICT, "-O2"), multiply=form, **target("cortex-m3"))
    for name, machine in found.items():
        x, state = random_batch(machine, random.Random(1), 8)
        if machine.inputs or state:
            compare(programs[name], machine, x, state)


def symbols(directory: Path, file: str) -> set[str]:
    """What an object for the processor defines and needs."""
    need("arm-none-eabi-gcc", "arm-none-eabi-nm")
    shell([*CORTEX_M3, *STRICT, "-Os", "-c", directory / file, "-o", directory / "object.o"])
    return {line.split()[-1] for line in shell(["arm-none-eabi-nm", directory / "object.o"]).splitlines()}


@pytest.mark.parametrize("form", c.MULTIPLY)
@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_no_floating_point(tmp_path: Path, make: Callable[[], Machine], form: str) -> None:
    c.write(make(), tmp_path, multiply=form, vectors=0)
    found = symbols(tmp_path, "model.c")
    assert {"model_run", "model_step"} & found
    assert not set(filter(FLOATS.fullmatch, found))


def test_no_floating_point_in_the_draw(tmp_path: Path) -> None:
    c.write(character_lstm(), tmp_path)
    text.write(character_lstm(), tmp_path)
    found = symbols(tmp_path, "sample.c")
    assert "model_sample" in found
    assert not set(filter(FLOATS.fullmatch, found))


@pytest.mark.parametrize(
    "expression", ["a * b", "a + b", "a < b", "(float)n * (float)a", "n", "a + 1.0f", "(double)(int64_t)n", "(int)a"]
)
def test_floating_point_is_found_where_it_is(tmp_path: Path, expression: str) -> None:
    declared = "typedef long long int64_t;\n" if "int64_t" in expression else ""
    (tmp_path / "f.c").write_text(
        f"{declared}double f(double a, double b, int n);\n"
        f"double f(double a, double b, int n) {{ (void)a; (void)b; (void)n; return (double)({expression}); }}\n"
    )
    assert set(filter(FLOATS.fullmatch, symbols(tmp_path, "f.c")))


def test_flash_and_ram_are_those_of_the_object(tmp_path: Path) -> None:
    """Constants, and a few kilobytes of code; no memory but what the caller gives."""
    need("arm-none-eabi-size")
    machine = character_lstm(48)
    c.write(machine, tmp_path, vectors=0)
    symbols(tmp_path, "model.c")
    flash, data, bss = map(int, shell(["arm-none-eabi-size", tmp_path / "object.o"]).splitlines()[1].split()[:3])
    assert c.footprint(machine).flash < flash < c.footprint(machine).flash + 2048
    assert (data, bss) == (0, 0)
