"""``zahlen verify``, run as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_cli import call

from zahlen.machine import Builder, Levels


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    b = Builder()
    x = b.input("x", (2,), Levels(0, 9))
    b.build(b.affine(x, [[2, 1], [0, 3]])).save(tmp_path / "model.zn")
    np.save(tmp_path / "x.npy", np.array([[12, 6], [2, 16]]))
    return tmp_path / "model.zn", tmp_path / "x.npy"


def test_verify_and_replay(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = files
    out = tmp_path / "proofs"
    assert call("verify", model, data, "--divide", 2, "--eps", "1,3", "-o", out) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[:4] == ["eps", "verified", "refuted", "unknown"]
    assert [line.split()[:4] for line in shown[1:]] == [["1", "2", "0", "0"], ["3", "1", "1", "0"]]
    assert len(list(out.glob("*.json"))) == 4
    assert call("verify", model, data, "--divide", 2, "--eps", "1,3", "-o", out) == 1
    assert "--resume" in capsys.readouterr().err
    assert call("verify", model, data, "--divide", 2, "--eps", "1,3,4", "-o", out, "--resume") == 0
    capsys.readouterr()
    assert call("verify", model, "--replay", out) == 0
    assert "confirmed: 3 verified, 3 refuted; rejected: 0; without an answer: 0" in capsys.readouterr().out
    path = next(p for p in sorted(out.glob("*.json")) if '"refuted"' in p.read_text())
    path.write_text(path.read_text().replace('"label": 0', '"label": 1'))
    assert call("verify", model, "--replay", out) == 1
    assert path.name in capsys.readouterr().err.replace("\n", "")


def test_wrong_calls(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = files
    assert call("verify", model) == 2
    assert call("verify", model, data, "--resume") == 2
    assert call("verify", model, data, "--eps", "a") == 2
    assert call("verify", model, data, "--eps", "-1") == 2
    assert call("verify", model, data, "--replay", tmp_path) == 2
    capsys.readouterr()
    assert call("verify", model, data) == 1
    assert "--divide" in capsys.readouterr().err
    assert call("verify", model, "--replay", tmp_path / "none") == 1
    assert "no certificates" in capsys.readouterr().err
