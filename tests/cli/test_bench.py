"""The command ``zahlen bench``: its table, its figures as JSON, its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_cli import call

import zahlen
from zahlen import nn
from zahlen.cli import bench
from zahlen.kernels import native

SHORT = ["--seconds", "0.01", "--batch", "1,30"]
needs_kernels = pytest.mark.skipif(native is None, reason="built without compiled kernels")
OURS = ["Machine.run"] if native is None else ["Program.run_into", "Machine.run"]
STEPS = ["Machine.step"] if native is None else ["Program.step_into", "Machine.step"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TURN", 5e-4)
    monkeypatch.setattr(bench, "settle", lambda: None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    b = zahlen.Builder()
    x = b.input("x", (3,), zahlen.Levels(-9, 9, 3))
    b.build(b.affine(x, [[1, 2, 3]])).save(tmp_path / "model.zn")
    return tmp_path / "model.zn"


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    b = zahlen.Builder()
    x = b.input("x", (1,), zahlen.Levels(0, 1))
    count = b.register("count", (1,), zahlen.Levels(0, 2))
    following = b.lookup(b.add(count, x), [0, 1, 2, 0])
    b.connect(count, following)
    b.build(following).save(tmp_path / "counter.zn")
    return tmp_path / "counter.zn"


def measured(model: Path, *arguments: object) -> dict[str, Any]:
    out = model.parent / "bench.json"
    assert call("bench", model, *SHORT, "--json", out, *arguments) == 0
    record: dict[str, Any] = json.loads(out.read_text())
    return record


def test_figures_are_what_they_say(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = measured(model, "--threads", "1,2", "--seed", "3")
    assert record["machine"] == zahlen.load(model).hash
    assert (record["seed"], record["seconds"], record["model"]) == (3, 0.01, "model.zn")
    assert record["executor"] == ("numpy" if native is None else "engine")
    assert set(record["versions"]) == {"zahlen", "numpy", "python"}
    shapes = [(race["batch"], race["steps"], race["threads"], race["stream"]) for race in record["races"]]
    assert shapes == [(1, None, 1, False), (30, None, 1, False), (1, None, 2, False), (30, None, 2, False)]
    for race in record["races"]:
        assert [r["name"] for r in race["results"]] == OURS
        assert race["results"][0]["ratio"] == 1
        for r in race["results"]:
            assert 0 < r["least"] <= r["p50"] <= r["p90"] <= r["p99"]
            assert r["per_second"] == pytest.approx(race["batch"] / r["p50"])
            assert r["timed"] >= bench.LEAST_ROUNDS
            assert r["calls_at_once"] >= 1
            assert r["ratio"] > 0
    captured = capsys.readouterr()
    assert "Machine.run" in captured.out
    assert "samples/s" in captured.out
    assert "30, 2 threads" in captured.out
    assert "no checkpoint model.pt beside the machine" in captured.err


def test_a_machine_with_registers_runs_sequences_and_streams(counter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = measured(counter, "--steps", 5)
    stream, *others = record["races"]
    assert (stream["stream"], stream["batch"], stream["steps"]) == (True, 1, None)
    assert [r["name"] for r in stream["results"]] == STEPS
    assert [(race["batch"], race["steps"]) for race in others] == [(1, 5), (30, 5)]
    for race in others:
        assert [r["name"] for r in race["results"]] == OURS
        for r in race["results"]:
            assert r["per_second"] == pytest.approx(5 * race["batch"] / r["p50"])
    out = capsys.readouterr().out
    assert "steps/s" in out
    assert "one step" in out
    assert "30 x 5" in out
    assert [race["steps"] for race in measured(counter)["races"]] == [None, bench.STEPS, bench.STEPS]


def test_the_float_twin_takes_part_where_its_checkpoint_lies(tmp_path: Path) -> None:
    training = ["--model", "rnn", "--hidden", "4", "--epochs", "1", "--batch-size", "400"]
    assert call("train", "digits", *training, "-q", "-o", tmp_path) == 0
    before = torch.get_num_threads()
    record = measured(tmp_path / "model.zn", "--threads", before + 1)
    assert torch.get_num_threads() == before
    assert record["versions"]["torch"] == torch.__version__
    for race in record["races"]:
        assert [r["name"] for r in race["results"]] == [*(STEPS if race["stream"] else OURS), "PyTorch float32"]


def test_the_twin_is_called_with_the_same_samples(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Input((4,), zahlen.Levels(0, 9)), nn.Linear(4, 3))
    seen = []
    network.twin = lambda: seen.append  # type: ignore[assignment, method-assign]
    x = np.arange(8, dtype=np.uint8).reshape(2, 4)
    bench._float(network.twin(), bench.Race(2, None, 1), {"x": x}).call()
    assert (seen[0].numpy() == x).all()


def test_a_checkpoint_of_another_machine_is_left_out(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model.parent / "model.pt").write_bytes(b"damaged")
    assert call("bench", model, *SHORT) == 0
    assert "PyTorch left out" in " ".join(capsys.readouterr().err.split())


def test_the_plan_is_printed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bench", model, *SHORT, "--plan") == 0
    assert capsys.readouterr().out.startswith(zahlen.load(model).plan())


def test_several_inputs_and_outputs_and_wide_wires(tmp_path: Path) -> None:
    b = zahlen.Builder()
    x, y = b.input("x", (2,), zahlen.Levels(0, 3)), b.input("y", (2,), zahlen.Codes(5, "Z5"))
    count = b.register("count", (2,), zahlen.Levels(-3, 3))
    b.connect(count, b.sub(x, b.constant([1, 1])))
    b.build(b.add(x, count), b.lookup(y, [4, 3, 2, 1, 0])).save(tmp_path / "two.zn")
    names = [[r["name"] for r in race["results"]] for race in measured(tmp_path / "two.zn")["races"]]
    assert names[0] == ["Machine.step"]
    assert names[1] == (["Machine.run"] if native is None else ["Program.execute", "Machine.run"])
    b = zahlen.Builder()
    wide = b.input("x", (2,), zahlen.Levels(-(2**70), 2**70))
    b.build(b.mul(wide, wide)).save(tmp_path / "wide.zn")
    assert [[r["name"] for r in race["results"]] for race in measured(tmp_path / "wide.zn")["races"]] == [
        ["Machine.run"]
    ] * 2


def test_inputs_are_of_the_alphabet_and_of_few_bytes() -> None:
    b = zahlen.Builder()
    rng = np.random.default_rng(0)
    alphabets = {"uint8": (0, 255, 1), "int8": (-9, 9, 3), "int16": (0, 256, 2), "int32": (-(2**31), 0, 1)}
    for dtype, levels in {**alphabets, "int64": (0, 2**62, 1), "object": (0, 2**80, 2**79)}.items():
        wire = b.input(dtype, (3,), zahlen.Levels(*levels))
        values = bench._random(rng, wire, (40,))
        assert (values.dtype, values.shape) == (np.dtype(dtype), (40, 3))
        assert wire.alphabet.contains_all(values)
        assert len(np.unique(values)) > 2


def test_a_difference_ends_the_command(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bench._run

    def wrong(*arguments: Any) -> bench.Contestant:
        right = run(*arguments)
        return bench.Contestant(right.name, right.call, lambda: right.output() + 1)  # type: ignore[misc]

    monkeypatch.setattr(bench, "_run", wrong)
    assert call("bench", model, *SHORT) == 1
    assert "Machine.run differs from the reference" in capsys.readouterr().err


def test_it_works_without_kernels(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zahlen.cli", "bench", str(model), *SHORT, "--json", str(model.parent / "b.json")],
        env={**os.environ, "ZAHLEN_ISA": "python"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "NumPy, without compiled kernels" in done.stdout
    record = json.loads((model.parent / "b.json").read_text())
    assert record["executor"] == "numpy"
    assert [r["name"] for r in record["races"][0]["results"]] == ["Machine.run"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{}/none.zn"], 1, "no such file"),
        (["{}/bad.zn"], 1, "not a machine"),
        (["{}/model.zn", "--batch", "0"], 2, "at least 1"),
        (["{}/model.zn", "--batch", "x"], 2, "whole numbers"),
        (["{}/model.zn", "--batch", ""], 2, "at least one number"),
        (["{}/model.zn", "--batch", "10000000000"], 2, "too many"),
        (["{}/model.zn", "--threads", "-1"], 2, "at least 1"),
        (["{}/model.zn", "--seconds", "0"], 2, "more than 0"),
        (["{}/model.zn", "--seconds", "nan"], 2, "more than 0"),
        (["{}/model.zn", "--steps", "4"], 2, "only machines with registers"),
        (["{}/model.zn", "--json", "{}/none/b.json"], 1, "no directory"),
        ([], 2, "Missing argument"),
    ],
)
def test_refusals(model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str) -> None:
    (model.parent / "bad.zn").write_text("a,b\n")
    assert call("bench", *(a.replace("{}", str(model.parent)) for a in arguments)) == code
    captured = capsys.readouterr()
    assert says in " ".join(captured.err.replace("│", " ").split())
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_threads_are_left_as_they_were(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("7", None):
        monkeypatch.delenv("ZAHLEN_THREADS", raising=False)
        if before is not None:
            monkeypatch.setenv("ZAHLEN_THREADS", before)
        assert call("bench", model, *SHORT) == 0
        assert os.environ.get("ZAHLEN_THREADS") == before


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bench", "--help") == 0
    assert "zahlen bench out/model.zn" in capsys.readouterr().out
