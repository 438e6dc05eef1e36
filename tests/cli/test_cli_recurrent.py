"""Texts and labelled sequences through the command: train, run, sample, check, emit."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import call, needs_cc

import zahlen
from zahlen import nn, sampling
from zahlen.recipes import restored

TEXT = "".join(f"{k} green bottles, and {k + 1} more; " for k in range(700))
SMALL = ["--model", "lstm", "--hidden", "12", "--steps", "30", "--batch-size", "8", "--length", "16", "--quiet"]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "bottles.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def trained(book: Path) -> Path:
    out = book.parent / "out"
    assert call("train", book, *SMALL, "--twin", "-o", out) == 0
    return out


def sequences(path: Path, **changes: Any) -> Path:
    """Two classes that only a memory tells apart: whether the first step was above zero."""
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, (120, 7, 2))
    arrays = {"x": x, "y": (x[:, 0, 0] > 0).astype(int), "lengths": rng.integers(2, 8, 120)}
    np.savez(path, **{**arrays, **changes})
    return path


SERIES = ["--hidden", "10", "--epochs", "25", "--quiet"]


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    data = sequences(folder / "pairs.npz")
    assert call("train", data, "--model", "gru", *SERIES, "--twin", "-o", folder / "out") == 0
    return folder


# ---------------------------------------------------------------------------------------------------- text


def test_a_text_gives_everything(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} == {
        "model.zn", "metrics.json", "curves.png", "model.pt", "twin.pt", "c"
    }  # fmt: skip
    assert {p.name for p in (trained / "c").iterdir()} == {"model.c", "model.h", "sample.c"}
    metrics = json.loads((trained / "metrics.json").read_text())
    machine = zahlen.load(trained / "model.zn")
    assert metrics["hash"] == machine.hash
    assert metrics["state_bits"] == machine.state_bits == 12 * 4 + 12 * 8
    assert machine.notes["symbols"] == sorted(set(TEXT))


def test_bits_per_character_are_those_of_the_machines_integers(trained: Path, book: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    machine, text = zahlen.load(trained / "model.zn"), zahlen.data.text(book)
    rows = len(text.test) // 64
    streams = text.test[: rows * 64].reshape(64, rows)
    logits = machine.run(streams[:, :-1]) / float(sampling.TextModel.of(machine).unit)
    surprise = np.log2(np.exp(logits).sum(-1)) - np.take_along_axis(logits, streams[:, 1:, None].astype(int), -1)[
        ..., 0
    ] / np.log(2)
    assert abs(surprise.mean() - metrics["bits_per_character"]) < 1e-4  # floats on both sides: a report


def test_one_seed_one_text(trained: Path, book: Path, tmp_path: Path) -> None:
    assert call("train", book, *SMALL, "-o", tmp_path / "same") == 0
    assert call("train", book, *SMALL, "--seed", "1", "-o", tmp_path / "other") == 0
    first, same, other = (zahlen.load(d / "model.zn") for d in (trained, tmp_path / "same", tmp_path / "other"))
    assert first.hash == same.hash != other.hash
    assert sampling.sample(first, "1 green", 40, seed=3) == sampling.sample(same, "1 green", 40, seed=3)


@needs_cc
def test_the_c_program_beside_it_writes_what_the_command_writes(
    trained: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sources = [trained / "c" / "model.c", trained / "c" / "sample.c"]
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2"]
    subprocess.run(["cc", *flags, *map(str, sources), "-o", str(tmp_path / "sample")], check=True)
    done = subprocess.run([str(tmp_path / "sample"), "7 green", "200", "5"], capture_output=True, check=True)
    capfdbinary.readouterr()
    assert call("sample", trained, "--prompt", "7 green", "-n", "200", "--seed", "5") == 0
    assert capfdbinary.readouterr().out == done.stdout


@needs_cc
def test_check_compares_the_trained_network_on_random_and_real_steps(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", trained / "model.zn", "--samples", "20") == 0
    out = capsys.readouterr().out
    assert " 0 different" in out
    assert "real" in out
    assert "PyTorch" in out


def test_tables_compute_the_same_text_model(trained: Path, book: Path, tmp_path: Path) -> None:
    assert call("train", book, *SMALL, "--products", "tables", "-o", tmp_path / "out") == 0
    machine, other = zahlen.load(tmp_path / "out" / "model.zn"), zahlen.load(trained / "model.zn")
    assert not any(wire.operation.kind == "mul" for wire in machine.wires.values())
    x = zahlen.data.text(book).test[:200].reshape(4, 50)
    assert (machine.run(x) == other.run(x)).all()


def test_resume_goes_on_with_a_text(trained: Path, book: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "out")
    assert call("train", book, *SMALL, "--resume", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "model.zn").read_bytes() == (trained / "model.zn").read_bytes()


def test_unseen_characters_are_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", trained, "--prompt", "7 grün") == 1
    assert "'ü'" in capsys.readouterr().err


def test_no_data_means_the_language_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [*SMALL[:-1], "--steps", "2", "--quiet"]
    assert call("train", *small, "-o", tmp_path / "out") == 0
    assert "pydoc-topics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"aaaa" * 500, "only one character"), (b"ab" * 40, "too few"), (b"a\xff" * 500, "UTF-8")],
)
def test_texts_that_cannot_be_learnt_are_refused_before_anything_is_written(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "book.txt").write_bytes(content)
    assert call("train", tmp_path / "book.txt", *SMALL, "-o", tmp_path / "out") == 1
    assert reason in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "model.zn").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--model", "mlp", "--steps", "3"],
        ["--model", "mlp", "--cell-bits", "8"],
        ["--model", "rnn", "--cell-bits", "8"],
        ["--model", "rnn", "--gate-levels", "8"],
        ["--model", "mlp", "--gate-levels", "8"],
        ["--model", "lstm", "--epochs", "3"],
        ["--model", "lstm", "--hidden", "8,8"],
        ["--model", "lstm", "--channels", "8"],
        ["--model", "lstm", "--activation", "relu"],
        ["--model", "lstm", "--label", "class"],
    ],
)
def test_options_of_other_models_are_wrong_calls(wrong: list[str], book: Path, tmp_path: Path) -> None:
    assert call("train", book, *wrong, "-o", tmp_path / "out") == 2


def test_without_data_only_recurrent_models_train(tmp_path: Path) -> None:
    assert call("train", "-o", tmp_path / "out") == 2


# ---------------------------------------------------------------------------------------------------- sequences


def test_sequences_are_classified_at_their_last_step(classified: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((classified / "out" / "metrics.json").read_text())
    machine, data = zahlen.load(classified / "out" / "model.zn"), zahlen.data.load(classified / "pairs.npz")
    logits = machine.run(data.test.x)
    last = logits[np.arange(len(logits)), data.test.lengths - 1]
    assert metrics["accuracy"] == (last.argmax(1) == data.test.y).mean() > 0.7
    assert metrics["twin_accuracy"] > 0.7
    assert call("run", classified / "out" / "model.zn", classified / "pairs.npz") == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    every = np.load(classified / "pairs.npz")
    outputs = machine.run(every["x"])[np.arange(120), every["lengths"] - 1]
    assert [[int(v) for v in line[1:]] for line in lines] == outputs.tolist()


@needs_cc
def test_check_follows_real_sequences(classified: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", classified / "out" / "model.zn", "--samples", "30") == 0
    out = capsys.readouterr().out
    assert " 0 different" in out
    assert "real" in out


def test_plain_samples_become_sequences_of_one_length(tmp_path: Path) -> None:
    assert call("train", "digits", "--model", "rnn", "--hidden", "8", "--epochs", "1", "-q", "-o", tmp_path / "o") == 0
    assert zahlen.load(tmp_path / "o" / "model.zn").wires["x"].shape == (8,)


def test_sequences_need_a_recurrent_model(classified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", classified / "pairs.npz", "-o", tmp_path / "out") == 2


@pytest.mark.parametrize(
    "lengths", [np.zeros(120, int), np.full(120, 8), np.ones(119, int), np.full(120, 2.5)], ids=str
)
def test_lengths_that_disagree_are_refused(lengths: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = sequences(tmp_path / "pairs.npz", lengths=lengths)
    assert call("train", data, "--model", "lstm", *SERIES, "-o", tmp_path / "out") == 1
    assert "length" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_a_text_is_restored(trained: Path) -> None:
    content = nn.read_checkpoint(trained / "model.pt")
    network = nn.network(restored(content["remarks"]))
    network.load_state_dict(content["best"])
    assert network.machine().hash == zahlen.load(trained / "model.zn").hash


@pytest.mark.parametrize(
    "change",
    [{"model": "mlpp"}, {"hidden": 2.0}, {"shape": (2, 2)}, {"mean": (1,), "shape": (2,)}, {"lo": 9}, {"more": 1}],
    ids=str,
)
def test_recipes_that_are_none_are_refused(change: dict[str, Any]) -> None:
    good = {
        "model": "lstm", "shape": (2,), "lo": 0, "hi": 8, "step": 1, "mean": (1, 2), "deviation": (1, 1), "classes": 2
    }  # fmt: skip
    assert nn.network(restored(good))
    with pytest.raises(zahlen.ZahlenError):
        nn.network(restored({**good, **change}))
