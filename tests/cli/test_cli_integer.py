"""``--trainer integer`` through the command: its files, its figures, one hash, and nothing of PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_cli import call
from test_cli_recurrent import SERIES, TEXT, sequences
from test_cli_recurrent import SMALL as SMALL_TEXT

import zahlen
from zahlen import integer
from zahlen.recipes import Recipe, restored

SMALL = ["digits", "--trainer", "integer", "--hidden", "24", "--batch-size", "32", "--quiet", "--epochs", "3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("integer") / "out"
    assert call("train", *SMALL, "-o", out) == 0
    return out


def test_train_writes_everything(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {"model.zn", "metrics.json", "curves.png", "model.npz", "c"}
    metrics = json.loads((trained / "metrics.json").read_text())
    machine, data = zahlen.load(trained / "model.zn"), zahlen.data.load("digits")
    right = int((machine.run(data.test.x).argmax(1) == data.test.y).sum())
    assert metrics["accuracy"] == right / len(data.test) > 0.8
    assert metrics["hash"] == machine.hash
    assert metrics["trainer"] == "integer"
    assert metrics["training"]["lr"] == 0.05
    assert [epoch["clamps"] for epoch in metrics["epochs"]["discrete"]] == [0, 0, 0]
    assert set(metrics["versions"]) == {"zahlen", "numpy", "python"}


def test_a_perceptron_gets_a_program_that_learns_on_a_device(trained: Path, tmp_path: Path) -> None:
    assert {p.name for p in (trained / "c").iterdir()} == {"model.c", "model.h", "train.c", "train.h"}
    cnn = ["digits", "--trainer", "integer", "--model", "cnn", "--channels", "4", "--epochs", "1", "--quiet"]
    assert call("train", *cnn, "-o", tmp_path / "cnn") == 0
    assert {p.name for p in (tmp_path / "cnn" / "c").iterdir()} == {"model.c", "model.h"}


@pytest.mark.parametrize("trainer", ["torch", "integer"])
def test_inputs_are_dropped_while_it_learns(trainer: str, tmp_path: Path, trained: Path) -> None:
    assert call("train", *SMALL, "--trainer", trainer, "--dropout", "0.2", "-o", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["network"]["dropout"] == "0.2"
    machine = zahlen.load(tmp_path / "out" / "model.zn")
    assert machine.hash != zahlen.load(trained / "model.zn").hash
    assert call("check", tmp_path / "out" / "model.zn", "--samples", "20", "--no-c") == 0


def test_a_missing_library_is_named_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call("train", *SMALL, "--epochs", "1", "-o", tmp_path / "out") == 0
    assert (
        "no curves.png: plots need matplotlib; install it with: pip install 'zahlen[plots]'" in capsys.readouterr().err
    )
    assert not (tmp_path / "out" / "curves.png").exists()


def test_clipped_training_says_why_there_is_no_such_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", *SMALL, "--clip", "1", "-o", tmp_path / "out") == 0
    assert "no c/train.c" in capsys.readouterr().err
    assert not (tmp_path / "out" / "c" / "train.c").exists()


def test_one_seed_one_hash(trained: Path, tmp_path: Path) -> None:
    assert call("train", *SMALL, "-o", tmp_path / "same") == 0
    assert call("train", *SMALL, "--seed", "1", "-o", tmp_path / "other") == 0
    first, same, other = (zahlen.load(d / "model.zn").hash for d in (trained, tmp_path / "same", tmp_path / "other"))
    assert first == same
    assert first != other
    data = zahlen.data.load("digits", seed=1)
    model = integer.network(Recipe.fitting("mlp", data.train.x, data.alphabet, 10, hidden=(24,)), seed=1)
    integer.fit(model, data.train.x, data.train.y, epochs=3, batch_size=32, seed=1, progress=False)
    assert model.machine().hash == other


def test_the_checkpoint_is_the_machines(trained: Path) -> None:
    content = integer.read_checkpoint(trained / "model.npz")
    network = integer.network(restored(content.remarks), seed=9)
    content.restore(network.parameters(), trained / "model.npz")
    assert network.machine().hash == zahlen.load(trained / "model.zn").hash


def test_neither_training_nor_checking_imports_pytorch(tmp_path: Path) -> None:
    script = "import sys; sys.modules['torch'] = None; from zahlen import cli; cli.main()"
    check = ["check", tmp_path / "model.zn", "--no-c", "--samples", "20"]
    for arguments, says in ((["train", *SMALL, "-o", tmp_path], "hash"), (check, ", 0 different")):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert says in done.stdout
    assert "integers" in done.stdout


def test_check_goes_red(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    forward = integer.Linear.forward
    monkeypatch.setattr(integer.Linear, "forward", lambda self, x: forward(self, x) + (self.out_features == 10))
    assert call("check", trained / "model.zn", "--samples", "20", "--no-c") == 1
    assert "integers differs on wire affine_2" in capsys.readouterr().err


def test_interrupted_and_resumed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = integer.Run.epoch

    def interrupted(self: Any, report: Any) -> None:
        if len(self.records) == 1:
            raise KeyboardInterrupt
        epoch(self, report)

    monkeypatch.setattr(integer.Run, "epoch", interrupted)
    assert call("train", *SMALL, "-o", tmp_path) == 130
    assert json.loads((tmp_path / "metrics.json").read_text())["interrupted"] is True
    monkeypatch.undo()
    assert call("train", *SMALL, "--resume", "-o", tmp_path) == 0
    assert zahlen.load(tmp_path / "model.zn").hash == zahlen.load(trained / "model.zn").hash


def test_the_twin_learns_with_pytorch_and_a_rate_of_its_own(trained: Path, tmp_path: Path) -> None:
    arguments = [*SMALL, "--twin", "--lr", "0.03", "--clip", "1"]
    assert call("train", *arguments, "-o", tmp_path / "both") == 0
    metrics = json.loads((tmp_path / "both/metrics.json").read_text())
    assert (metrics["training"]["lr"], metrics["training"]["clip"], metrics["twin_lr"]) == (0.03, 1.0, 0.001)
    assert "torch" in metrics["versions"]
    assert "clamps" not in metrics["epochs"]["float twin"][0]
    assert (tmp_path / "both/twin.pt").exists()
    rule = integer.read_checkpoint(tmp_path / "both/model.npz").settings["optimiser"]
    assert rule == repr(integer.Momentum("0.03", clip=1))
    assert zahlen.load(tmp_path / "both/model.zn").hash != zahlen.load(trained / "model.zn").hash


def test_weights_of_16_bits(tmp_path: Path) -> None:
    assert call("train", *SMALL, "--weights", "65535", "--epochs", "1", "-o", tmp_path) == 0


def test_convolutions(tmp_path: Path) -> None:
    arguments = ["--model", "cnn", "--channels", "4", "--epochs", "1", "--hidden", ""]
    assert call("train", *SMALL, *arguments, "-o", tmp_path) == 0
    assert call("check", tmp_path / "model.zn", "--no-c", "--samples", "20") == 0


@pytest.mark.parametrize("model", ["lstm", "gru", "rnn"])
def test_a_text(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bottles.txt").write_text(TEXT)
    arguments = ["--trainer", "integer", *SMALL_TEXT, "--model", model, "--twin"]
    assert call("train", tmp_path / "bottles.txt", *arguments, "-o", tmp_path / "out") == 0
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (metrics["training"]["lr"], metrics["training"]["clip"], metrics["twin_lr"]) == (
        integer.streams.RATES[model], 0.25, 0.01,
    )  # fmt: skip
    capsys.readouterr()
    assert call("check", tmp_path / "out/model.zn", "--no-c", "--samples", "20") == 0
    assert "integers" in capsys.readouterr().out


def test_sequences(tmp_path: Path) -> None:
    arguments = ["--trainer", "integer", "--model", "gru", *SERIES, "-o", tmp_path / "out"]
    assert call("train", sequences(tmp_path / "pairs.npz"), *arguments) == 0
    assert json.loads((tmp_path / "out/metrics.json").read_text())["accuracy"] > 0.7
    assert call("check", tmp_path / "out/model.zn", "--no-c", "--samples", "20") == 0


def test_refusals(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, says in [
        (["--lr", "0"], 1, "lr is a positive number"),
    ]:
        assert call("train", *SMALL, *arguments, "-o", tmp_path / "none") == code
        assert says in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert call("train", *SMALL, "--seed", "5", "-o", tmp_path) == 0
    shutil.copy(trained / "model.npz", tmp_path)
    assert call("check", tmp_path / "model.zn", "--no-c") == 1
    assert "of another machine" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "model.npz").write_bytes(b"damaged")
    assert call("check", tmp_path / "model.zn", "--no-c") == 1
    assert "not a checkpoint" in " ".join(capsys.readouterr().err.split())
