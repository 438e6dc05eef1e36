"""The harness: it sees what is wrong, and says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilers import compare, need
from handmade import mlp, recurrent

from zahlen import Builder, Levels
from zahlen.emit import c, harness
from zahlen.machine import EmitError, InputError, Machine, ToolError


def altered(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Let the emitter write something else."""
    write = c.write

    def wrong(machine: Machine, directory: Path, **options: Any) -> tuple[Path, Path]:
        header, source = write(machine, directory, **options)
        text = source.read_text()
        assert old in text
        source.write_text(text.replace(old, new))
        return header, source

    monkeypatch.setattr(c, "write", wrong)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<= z)", "< z)"),
        ("sum += (int32_t)*w++ *", "sum -= (int32_t)*w++ *"),
        ("? a >> s : ~(~a >> s)", "? a >> s : -(-a >> s)"),
        (" + 128, 8)", " + 127, 8)"),
        ("_value[count", "_value[0 * count"),
        ("p < -32767 ? -32767", "p < -32767 ? -32766"),
    ],
)
def test_wrong_programs_are_noticed(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    need("gcc")
    machine, rng = recurrent(), np.random.default_rng(0)
    x = {"x": 2 * rng.integers(0, 16, (4000, 5)) - 15}
    state = {"h": 2 * rng.integers(0, 16, (4000, 8)) - 15, "c": rng.choice([-32767, 0, 1000, 32767], (4000, 8))}
    altered(monkeypatch, old, new)
    program = harness.compiled(machine, cc="gcc")
    with pytest.raises(AssertionError, match="wire"):
        compare(program, machine, x, state)


def test_wrong_ties_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    altered(monkeypatch, "> best", ">= best")
    b = Builder()
    machine = b.build(b.argmax(b.input("x", (3,), Levels(0, 1))))
    program = harness.compiled(machine, cc="gcc")
    with pytest.raises(AssertionError, match="wire"):
        compare(program, machine, {"x": np.array([[0, 1, 1]])})


def test_contradictions_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    machine = recurrent()
    altered(monkeypatch, "    memcpy(state->h,", "    // memcpy(state->h,")
    program = harness.compiled(machine, cc="gcc")
    with pytest.raises(EmitError, match="register 'h'"):
        program.trace(np.full((2, 5), 15))


def test_missing_traces_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    altered(monkeypatch, "SEE_ONE(1, i, sum);", "")
    with pytest.raises(ToolError, match="elements were traced"):
        harness.compiled(mlp(), cc="gcc").trace(np.zeros((1, 30), int))


def test_kept_directory(tmp_path: Path) -> None:
    need("gcc")
    program = harness.compiled(mlp(), tmp_path, cc="gcc", name="net")
    assert {"net.c", "net.h", "harness.c"} <= {p.name for p in tmp_path.iterdir()}
    assert program.trace(np.zeros((0, 30), int))["digit"].shape == (0,)
    scratch = Path(harness.compiled(mlp(), cc="gcc").command[0]).parent
    assert not scratch.exists()


def test_wrong_inputs() -> None:
    need("gcc")
    program = harness.compiled(mlp(), cc="gcc", flags=("-O0",))
    for x in (np.zeros((2, 29), int), np.zeros((2, 30)), np.full((2, 30), 256), {"x": np.zeros((2, 30), int)}):
        with pytest.raises(InputError):
            program.trace(x)
    for dtype in ("m8[s]", "M8[s]", bool):
        with pytest.raises(InputError, match="integers are due"):
            program.trace(np.zeros((2, 30), dtype))
    with pytest.raises(InputError):
        program.trace(np.zeros((2, 30), int), {"h": np.zeros((2, 3), int)})


def test_missing_tools() -> None:
    with pytest.raises(ToolError, match=r"no-such-cc not found; install gcc or clang"):
        harness.compiled(mlp(), cc="no-such-cc")
    need("gcc")
    with pytest.raises(ToolError, match=r"no-such-emulator not found; install"):
        harness.compiled(mlp(), cc="gcc", runner=["no-such-emulator"])
    with pytest.raises(ToolError, match=r"(?s)gcc refused the program:.*no-such-option"):
        harness.compiled(mlp(), cc="gcc", flags=["--no-such-option"])


def test_dying_programs_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    altered(monkeypatch, "    // pixels = input", "    *(volatile int *)0 = 0;\n    // pixels = input")
    with pytest.raises(ToolError, match="ended with status -"):
        harness.compiled(mlp(), cc="gcc").trace(np.zeros((40000, 30), int))
