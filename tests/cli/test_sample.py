"""The command ``zahlen sample``, and the program beside it that writes the same text."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_cli import call, needs_cc

import zahlen
from zahlen.sampling import sample

TABLE = [[0, 20, 7, 3], [9, 0, 30, 12], [5, 25, 0, 11], [8, 14, 21, 0]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    b = zahlen.Builder()
    x = b.input("x", (), zahlen.Levels(0, 3))
    notes = {"symbols": ["a", " ", "é", "\n"], "unit": "9"}
    b.build(b.embed(x, TABLE), notes=notes).save(tmp_path / "model.zn")
    return tmp_path / "model.zn"


def test_prompt_and_text_are_printed(model: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    machine = zahlen.load(model)
    assert call("sample", model, "--prompt", "é a", "-n", 50, "--seed", 3) == 0
    assert capfdbinary.readouterr().out.decode() == "é a" + sample(machine, "é a", 50, seed=3) + "\n"
    assert call("sample", model.parent, "-n", 20, "--seed", 2**64 - 1, "--temperature", "0.5") == 0
    expected = sample(machine, "", 20, seed=2**64 - 1, temperature="1/2")
    assert capfdbinary.readouterr().out.decode() == expected + "\n"


def test_characters_are_seen_as_they_are_drawn(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Terminal(io.BytesIO):
        def flush(self) -> None:
            seen.append(self.getvalue().decode())

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=Terminal(), flush=lambda: None))
    assert call("sample", model, "--prompt", "é", "-n", 5) == 0
    text = "é" + sample(zahlen.load(model), "é", 5) + "\n"
    assert seen == [text[:length] for length in range(2, 8)]


def test_interrupt_ends_the_line(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        yield "a"
        raise KeyboardInterrupt

    monkeypatch.setattr("zahlen.cli.sample.stream", interrupted)
    assert call("sample", model, "--prompt", "é") == 130
    captured = capfdbinary.readouterr()
    assert captured.out.decode() == "éa\n"
    assert b"Traceback" not in captured.err


@needs_cc
@pytest.mark.parametrize("temperature", ["1", "0.5"])
def test_the_emitted_program_prints_the_same(
    model: Path, tmp_path: Path, temperature: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert call("emit", "c", model, "-o", tmp_path / "c", "--sample", "--temperature", temperature) == 0
    assert str(tmp_path / "c/sample.c") in capfdbinary.readouterr().err.decode().replace("\n", "")
    sources = [tmp_path / "c/model.c", tmp_path / "c/sample.c"]
    subprocess.run(["cc", "-std=c99", *sources, "-o", tmp_path / "sample"], check=True)
    done = subprocess.run([tmp_path / "sample", "a é", "80", "9"], check=True, capture_output=True)
    assert call("sample", model, "--prompt", "a é", "-n", 80, "--seed", 9, "--temperature", temperature) == 0
    assert capfdbinary.readouterr().out == done.stdout


def test_nothing_that_samples_is_written_unasked(model: Path, tmp_path: Path) -> None:
    assert call("emit", "c", model, "-o", tmp_path / "c") == 0
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["model.c", "model.h"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{}", "--prompt", "aß"], 1, "'ß' (U+00DF), at position 1"),
        (["{}", "--temperature", "hot"], 1, "temperature: a number"),
        (["{}", "--temperature", "-1"], 1, "temperature: a number"),
        (["{}", "-n", "-1"], 2, "-n"),
        (["{}", "--seed", "18446744073709551616"], 2, "seed"),
        (["{}/none.zn"], 1, "no such file"),
        ([], 2, "Missing argument"),
    ],
)
def test_refusals(model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str) -> None:
    assert call("sample", *(a.replace("{}", str(model.parent)) for a in arguments)) == code
    captured = capsys.readouterr()
    assert says in " ".join(captured.err.replace("│", " ").split())
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_machine_that_models_no_text(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = zahlen.Builder()
    b.build(b.embed(b.input("x", (), zahlen.Levels(0, 3)), TABLE)).save(model)
    assert call("sample", model) == 1
    assert "no model of text" in " ".join(capsys.readouterr().err.split())
    assert call("emit", "c", model, "-o", model.parent / "c", "--sample") == 1
    assert "no model of text" in " ".join(capsys.readouterr().err.split())
    assert list((model.parent / "c").iterdir()) == []


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", "--help") == 0
    assert "zahlen sample out/model.zn --prompt" in capsys.readouterr().out
