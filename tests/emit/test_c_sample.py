"""The emitted program writes what Python writes: on the host, on a big-endian processor, on a microcontroller."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilers import SANITIZED, STRICT, TARGETS, need, shell, target
from handmade import SYMBOLS, character_lstm, mlp

from zahlen import Builder, Levels, Machine
from zahlen.emit import c, text
from zahlen.generator import Generator
from zahlen.machine import EmitError, FileError, InputError
from zahlen.sampling import draw, sample
from zahlen.textmodel import weights

WARNINGS = (*STRICT, "-Wmissing-prototypes", "-Wstrict-prototypes")


def pairs(unit: str, span: int, symbols: Sequence[str] = SYMBOLS, shape: tuple[int, ...] = ()) -> Machine:
    """Logits by the last symbol alone, from 0 to `span`: no registers, no work memory."""
    n, b = len(symbols), Builder()
    rng = np.random.default_rng(span % 97)
    x = b.input("x", shape, Levels(0, n - 1))
    table = rng.integers(0, span, (n, n), endpoint=True) - span // 2
    table[0, :2] = -(span // 2), span - span // 2
    return b.build(b.reshape(b.embed(x, table), (n,)), notes={"symbols": list(symbols), "unit": unit})


EDGE = "25000000000000001/16777216"
"""A unit by which distances are multiplied with 2^30, and do not weigh 0 before 2^34."""

# what the machine is, at which temperature, and the type that its distances take
CASES: dict[str, tuple[Callable[[], Machine], Any, str]] = {
    "lstm": (character_lstm, 1, "uint32_t"),
    "cold lstm": (lambda: character_lstm(shape=(1,)), "0.7", "uint32_t"),
    "greedy lstm": (character_lstm, 0, ""),
    "greedy among equals": (lambda: pairs("1", 2), 0, ""),
    "edge of 32 bits": (lambda: pairs("6000001", 2**26 - 1), 1, "uint32_t"),
    "beyond 32 bits": (lambda: pairs("6000001", 2**26), 1, "uint64_t"),
    "edge of 64 bits": (lambda: pairs(EDGE, 2**34 - 1), 1, "uint64_t"),
    "all near": (lambda: pairs("4", 30, shape=(1,)), 1, "uint32_t"),
    "hot": (lambda: pairs("3", 1000), "1e3", "uint32_t"),
    "words": (lambda: pairs("960000000/7", 10**10), 1, "uint64_t"),
    "product of 64 bits": (lambda: pairs("16000000001/7", 2**33), "1/3", "uint64_t"),
    "least and greatest": (lambda: pairs("1/3", 2**63 - 1), "1e18", "uint64_t"),
    "two symbols": (lambda: pairs("1", 5, ["a", "b"]), 1, "uint32_t"),
}


def program(machine: Machine, directory: Path, flags: Sequence[str] = STRICT, on: str = "host", **options: Any) -> Any:
    """Emit and compile; what runs the program and returns its bytes."""
    tools = target(on)
    c.write(machine, directory, vectors=0)
    text.write(machine, directory, **options)
    shell([*tools["cc"], *WARNINGS, *flags, directory / "model.c", directory / "sample.c", "-o", directory / "sample"])

    def run(prompt: str, n: object, seed: object) -> bytes:
        command = [*tools["runner"], directory / "sample", prompt, str(n), str(seed)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    return run


@pytest.mark.parametrize("on", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_same_text(tmp_path: Path, case: str, on: str) -> None:
    make, temperature, held = CASES[case]
    machine = make()
    flags = SANITIZED if on == "host" else ("-O2",)
    run = program(machine, tmp_path, flags, on, temperature=temperature)
    assert set(re.findall(r"const (\w+) behind", (tmp_path / "sample.c").read_text())) == ({held} if held else set())
    prompt = "a" if case == "two symbols" else "té€𝄞, a"
    for given, n, seed in (("", 40, 0), (prompt, 200, 2**64 - 1), (prompt, 0, 5), ("a", 60, 12345678901234567890)):
        written = sample(machine, given, n, seed=seed, temperature=temperature)
        assert run(given, n, seed).decode() == f"{given}{written}\n"
    assert case != "lstm" or len(set(written)) > 9


@pytest.mark.parametrize(
    ("unit", "span"), [("4", 30), ("4", 47), ("4", 48), ("3", 40), ("3", 4000), ("960/7", 4000), ("1/5", 9), ("7", 82)]
)
def test_every_distance_weighs_as_in_the_table(tmp_path: Path, unit: str, span: int) -> None:
    machine = pairs(unit, span)
    lo, hi = machine.wires["reshape_1"].alphabet.lo, machine.wires["reshape_1"].alphabet.hi
    assert hi - lo == span
    print_all = f'for (int d = 0; d <= {span}; d++) printf("%lu\\n", (unsigned long)weigh({hi}, {hi} - d));'
    table, scale = weights(), 64 / Fraction(unit)
    expected = [table[min(int(d * scale // 1), len(table) - 1)] for d in range(span + 1)]
    assert list(map(int, inside(machine, tmp_path, print_all))) == expected


def test_a_number_on_the_edge_belongs_to_the_next_symbol(tmp_path: Path) -> None:
    seeds = {40106: 0, 444704: 65535, 255155: 65536, 91199: 131071}
    assert {seed: Generator(seed).below(2 * 65536) for seed in seeds} == seeds
    expected = [0, 0, 1, 1]
    assert [draw([30, 30], Generator(seed), Fraction(16)) for seed in seeds] == expected
    calls = (f'generator = {seed}; printf("%d\\n", (int)draw(equal, &generator));' for seed in seeds)
    text = f"const int8_t equal[2] = {{30, 30}}; uint64_t generator; {' '.join(calls)}"
    assert list(map(int, inside(pairs("4", 60, "ab"), tmp_path, text))) == expected


def inside(machine: Machine, directory: Path, statements: str) -> list[str]:
    """What statements print that see the program's own functions."""
    need("gcc")
    c.write(machine, directory, vectors=0)
    text.write(machine, directory)
    main = f'#define main command\n#include "sample.c"\n#undef main\nint main(void) {{ {statements} return 0; }}\n'
    (directory / "main.c").write_text(main)
    flags = ("-std=c99", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    shell(["gcc", *flags, directory / "model.c", directory / "main.c", "-o", directory / "main"])
    return shell([directory / "main"]).split()


def test_strange_symbols_are_strings(tmp_path: Path) -> None:
    symbols = ["\n", *"\"\\?%/=1'", "\r", "\x01", "\x7f", "é", "\U0010ffff"]
    machine = pairs("2", 9, symbols)
    run = program(machine, tmp_path, SANITIZED)
    assert (tmp_path / "sample.c").read_text().isascii()
    assert "??" not in (tmp_path / "sample.c").read_text()
    for prompt in ("".join(symbols), '??/1"'):
        assert run(prompt, 100, 1).decode() == prompt + sample(machine, prompt, 100, seed=1) + "\n"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["abéxa", "5", "0"], 1, "the model does not know what stands at byte 4 of the prompt"),
        (["è", "5", "0"], 1, "byte 0"),
        ([], 2, "usage"),
        (["a", "5"], 2, "usage"),
        (["a", "5", "0", "1"], 2, "usage"),
        (["a", "", "0"], 2, "usage"),
        (["a", "-1", "0"], 2, "usage"),
        (["a", "1", "1x"], 2, "usage"),
        (["a", "1", "18446744073709551616"], 2, "usage"),
        (["a", "18446744073709551620", "1"], 2, "usage"),
    ],
)
def test_wrong_calls(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    program(pairs("2", 9, ["a", "b", "é"]), tmp_path, SANITIZED)
    done = subprocess.run([tmp_path / "sample", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr


@pytest.mark.parametrize("machine", [character_lstm, lambda: pairs("3", 9)])
def test_without_an_operating_system_there_is_one_function(tmp_path: Path, machine: Callable[[], Machine]) -> None:
    need("gcc", "nm")
    c.write(machine(), tmp_path, name="net")
    text.write(machine(), tmp_path, name="net")
    shell(["gcc", *WARNINGS, "-ffreestanding", "-Os", "-c", tmp_path / "sample.c", "-o", tmp_path / "sample.o"])
    symbols = [line.split()[-2:] for line in shell(["nm", tmp_path / "sample.o"]).splitlines()]
    assert [name for kind, name in symbols if kind.isupper() and kind != "U"] == ["net_sample"]
    needed = {name for kind, name in symbols if kind == "U"} - {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    machines = {"net_init", "net_step"} if machine().registers else {"net_run"}
    assert needed == machines | {"strlen", "strncmp"}


def test_same_machine_same_text_of_the_program(tmp_path: Path) -> None:
    path = text.write(character_lstm(), tmp_path, temperature="0.5")
    assert path == tmp_path / "sample.c"
    assert path.read_text() == text.source(character_lstm(), temperature="0.5")
    assert character_lstm().hash in path.read_text()
    assert not re.search(r"\b(float|double|malloc)\b|\d\.\d*f\b|<math|<stdlib", path.read_text())


# ---------------------------------------------------------------------------------------------------- refusals


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EmitError, match=r"output 'reshape_1': .* more than 64 bits; take a simpler temperature"):
        text.source(pairs("1" + 30 * "0" + "1", 9))
    with pytest.raises(EmitError, match="more than 64 bits"):
        text.source(pairs("1/1" + 30 * "0" + "1", 9))
    with pytest.raises(EmitError, match="more than 64 bits"):
        text.source(pairs(EDGE, 2**34))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(EmitError, match=r"symbol U\+0000"):
        text.source(pairs("2", 9, ["a", "\0"]))
    with pytest.raises(EmitError, match=r"name 'sample': sample.c would be both"):
        text.write(pairs("2", 9), tmp_path, name="sample")
    with pytest.raises(EmitError, match="identifier"):
        text.source(pairs("2", 9), name="1st")
    with pytest.raises(InputError, match="no model of text"):
        text.source(mlp((4, 3, 2)))
    with pytest.raises(InputError, match="temperature"):
        text.source(pairs("2", 9), temperature="hot")
    with pytest.raises(FileError):
        text.write(pairs("2", 9), tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
