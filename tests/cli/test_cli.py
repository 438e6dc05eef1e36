"""The command, run as a user runs it: its files, its figures, its messages and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zahlen
from zahlen import analysis, cli
from zahlen.emit import harness
from zahlen.machine import executors

SMALL = ["digits", "--hidden", "24", "--batch-size", "32", "--lr", "0.01", "--quiet", "--epochs", "3"]
needs_cc = pytest.mark.skipif(
    shutil.which("cc") is None and not os.environ.get("ZAHLEN_REQUIRE_TOOLS"), reason="no C compiler"
)


def call(*arguments: object) -> int:
    """The command's exit code."""
    old, sys.argv = sys.argv, ["zahlen", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = old
    return 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    assert call("train", *SMALL, "--twin", "-o", out) == 0
    return out


def test_train_writes_everything(trained: Path) -> None:
    names = {"model.zn", "metrics.json", "curves.png", "model.pt", "twin.pt", "c"}
    assert {p.name for p in trained.iterdir()} == names
    assert {p.name for p in (trained / "c").iterdir()} == {"model.c", "model.h"}
    assert (trained / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_metrics_say_what_the_machine_does(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    machine, data = zahlen.load(trained / "model.zn"), zahlen.data.load("digits")
    right = int((machine.run(data.test.x).argmax(1) == data.test.y).sum())
    assert metrics["accuracy"] == right / len(data.test)
    assert metrics["hash"] == machine.hash
    assert metrics["constants"] == machine.constants
    assert metrics["file_bytes"] == (trained / "model.zn").stat().st_size
    assert 0.5 < metrics["twin_accuracy"] <= 1
    assert metrics["training"]["seed"] == 0
    assert set(metrics["versions"]) >= {"zahlen", "torch", "numpy", "python"}
    assert len(metrics["epochs"]["discrete"]) == len(metrics["epochs"]["float twin"]) == 3


def test_robust_training_reports_what_it_certifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", *SMALL, "--epochs", "8", "--robust", "1", "--twin", "-o", tmp_path) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    machine, test = zahlen.load(tmp_path / "model.zn"), zahlen.data.load("digits").test
    share = analysis.certified(machine, test.x, test.y, 1).mean()
    assert metrics["certified_accuracy"] == share > 0.3
    assert metrics["training"]["robust"] == 1
    assert f"certified against changes by 1: {100 * share:.2f} % of test samples" in capsys.readouterr().out
    certified = {name: [epoch["validation_certified"] for epoch in e] for name, e in metrics["epochs"].items()}
    assert all(0 <= value <= 1 for value in certified["discrete"])
    assert set(certified["float twin"]) == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "lstm"], "take --model mlp or cnn"),
        (["--trainer", "integer"], "take --trainer torch"),
        (["--robust", "0"], "greater than or equal to 1"),
    ],
)
def test_robust_training_that_cannot_be_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "digits", "--robust", "1", *options, "-o", tmp_path) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_one_seed_one_hash(trained: Path, tmp_path: Path) -> None:
    assert call("train", *SMALL, "-o", tmp_path / "same") == 0
    assert call("train", *SMALL, "--seed", "1", "-o", tmp_path / "other") == 0
    first, same, other = (zahlen.load(d / "model.zn").hash for d in (trained, tmp_path / "same", tmp_path / "other"))
    assert first == same
    assert first != other


def test_resume_of_a_finished_training_changes_nothing(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "out")
    assert call("train", *SMALL, "--resume", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "model.zn").read_bytes() == (trained / "model.zn").read_bytes()


def test_resume_refuses_another_training(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained, tmp_path / "out")
    before = (tmp_path / "out" / "model.zn").read_bytes()
    assert call("train", *SMALL[:-2], "--epochs", "9", "--resume", "-o", tmp_path / "out") == 1
    assert "checkpoint of another training" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "out" / "model.zn").read_bytes() == before


def test_interrupt_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zahlen.nn import run

    epoch = run.Run.epoch

    def interrupted(self: Any, report: Any) -> None:
        if len(self.history.epochs) == 1:
            raise KeyboardInterrupt
        epoch(self, report)

    monkeypatch.setattr(run.Run, "epoch", interrupted)
    assert call("train", *SMALL, "-o", tmp_path / "out") == 130
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["interrupted"] is True
    monkeypatch.undo()
    assert call("train", *SMALL, "--resume", "-o", tmp_path / "out") == 0
    assert call("train", *SMALL, "-o", tmp_path / "whole") == 0
    assert zahlen.load(tmp_path / "out/model.zn").hash == zahlen.load(tmp_path / "whole/model.zn").hash


def test_show_prints_the_listing_and_the_hash(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", trained / "model.zn") == 0
    machine = zahlen.load(trained / "model.zn")
    assert capsys.readouterr().out == f"{machine}\nhash {machine.hash}\n"


def test_run_prints_class_and_integers(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, machine = zahlen.data.load("digits"), zahlen.load(trained / "model.zn")
    expected = [",".join(map(str, [row.argmax(), *row])) for row in machine.run(data.test.x[:5])]
    np.save(tmp_path / "x.npy", data.test.x[:5])
    assert call("run", trained / "model.zn", tmp_path / "x.npy") == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert call("run", trained / "model.zn", "digits") == 0
    assert capsys.readouterr().out.splitlines()[:5] == expected
    assert call("run", trained / "model.zn", tmp_path / "x.npy", "-o", tmp_path / "y.npy") == 0
    assert (np.load(tmp_path / "y.npy") == machine.run(data.test.x[:5])).all()


@needs_cc
@pytest.mark.parametrize("multiply", ["native", "none"])
def test_emitted_c_passes_its_own_test(trained: Path, tmp_path: Path, multiply: str) -> None:
    assert call("emit", "c", trained / "model.zn", "-o", tmp_path, "--name", "digit", "--multiply", multiply) == 0
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-DDIGIT_SELFTEST"]
    subprocess.run(["cc", *flags, tmp_path / "digit.c", "-o", tmp_path / "selftest"], check=True)
    done = subprocess.run([tmp_path / "selftest"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "ok"


@needs_cc
def test_check_compares_everything(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", trained / "model.zn", "--samples", "50") == 0
    shown = capsys.readouterr().out
    assert "PyTorch" in shown
    assert all(kind in shown for kind in ("random", "boundary", "real"))
    machine = zahlen.load(trained / "model.zn")
    samples = 50 + 100 + 50
    in_c = samples * sum(w.size for w in machine.wires.values())
    in_torch = in_c - samples * (2 * 64)  # PyTorch shows neither its input nor the constant
    simple = machine.simplified()
    kept = [n for n, w in simple.wires.items() if n in machine.wires and machine.wires[n].shape == w.shape]
    in_simplified = samples * sum(simple.wires[n].size for n in kept)
    assert "affine_2" in kept
    engines = len(executors.names()) - 1  # beside the reference
    assert f"{(2 + engines) * in_c + in_torch + in_simplified:,} values compared and equal, 0 different" in shown


@needs_cc
def test_check_goes_red(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Wrong:
        def __init__(self, machine: zahlen.Machine, **_: object) -> None:
            self.machine = machine

        def trace(self, x: Any) -> Any:
            wires = dict(self.machine.trace(x))
            wires["affine_2"] = wires["affine_2"] + (np.arange(10) == 3)
            return wires

    monkeypatch.setattr(harness, "compiled", Wrong)
    assert call("check", trained / "model.zn", "--samples", "20") == 1
    captured = capsys.readouterr()
    assert "C differs on wire affine_2" in captured.err
    assert f"{2 * (20 + 100 + 20)} different" in captured.out  # both forms


def test_check_without_anything_to_compare(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(executors, "_EXECUTORS", {"reference": executors.get("reference")})
    shutil.copy(trained / "model.zn", tmp_path)
    assert call("check", tmp_path / "model.zn", "--no-c") == 1
    assert "nothing to compare with" in capsys.readouterr().err


def test_a_checkpoint_of_another_machine_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", *SMALL, "--seed", "5", "-o", tmp_path) == 0
    shutil.copy(trained / "model.pt", tmp_path)
    assert call("check", tmp_path / "model.zn", "--no-c") == 1
    assert "of another machine" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "model.pt").write_bytes(b"damaged")
    assert call("check", tmp_path / "model.zn", "--no-c") == 1
    assert "not a checkpoint" in " ".join(capsys.readouterr().err.split())


@needs_cc
def test_check_follows_registers_over_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = zahlen.Builder()
    x = b.input("x", (1,), zahlen.Levels(0, 1))
    count = b.register("count", (1,), zahlen.Levels(0, 2))
    following = b.lookup(b.add(count, x), [0, 1, 2, 0])
    b.connect(count, following)
    b.build(following).save(tmp_path / "counter.zn")
    assert call("check", tmp_path / "counter.zn", "--samples", "30") == 0
    # both forms of C, the simplified machine and other executors, 4 wires, 20 steps
    assert (
        f"{(2 + len(executors.names())) * 4 * 20 * 30:,} values compared and equal, 0 different"
        in capsys.readouterr().out
    )


def test_notes_are_not_believed(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = zahlen.load(trained / "model.zn")
    for note in ({"step": "abc"}, {"step": "0"}, {"features": 3}, {"classes": [1, 2]}):
        machine.annotated(**note).save(tmp_path / "model.zn")
        assert call("run", tmp_path / "model.zn", "digits") == 1
        assert next(iter(note)) in capsys.readouterr().err


def test_samples_of_another_shape(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 7), dtype=np.uint8))
    assert call("run", trained / "model.zn", tmp_path / "x.npy") == 1
    assert "the machine takes (8, 8)" in " ".join(capsys.readouterr().err.split())


def test_metrics_are_json_without_validation(tmp_path: Path) -> None:
    assert call("train", *SMALL, "--validation", "0", "-o", tmp_path) == 0
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["epochs"]["discrete"][0]["validation_loss"] is None


def test_the_machine_does_not_tell_where_the_data_lay(tmp_path: Path) -> None:
    rows = "\n".join(f"{k},{k % 3}" for k in range(30))
    (tmp_path / "secret.csv").write_text(f"a,y\n{rows}\n")
    arguments = ["--label", "y", "--hidden", "4", "--epochs", "1", "-q", "-o", tmp_path / "out"]
    assert call("train", tmp_path / "secret.csv", *arguments) == 0
    assert b"secret" not in (tmp_path / "out/model.zn").read_bytes()


def test_simplify_drops_the_offset(trained: Path, tmp_path: Path) -> None:
    machine = zahlen.load(trained / "model.zn")
    assert call("emit", "c", trained / "model.zn", "-o", tmp_path, "--simplify") == 0
    assert f"machine {machine.simplified().hash}" in (tmp_path / "model.c").read_text()


def test_a_table_keeps_its_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{k / 4 - 3},{k % 7},{'odd' if k > 20 else 'even'}" for k in range(40))
    (tmp_path / "t.csv").write_text(f"a,b,kind\n{rows}\n")
    arguments = ["--label", "kind", "--step", "0.25", "--hidden", "8", "--epochs", "2", "-q", "-o", tmp_path / "out"]
    assert call("train", tmp_path / "t.csv", *arguments) == 0
    (tmp_path / "new.csv").write_text("b,a\n1,-2.5\n6,100\n")
    capsys.readouterr()
    assert call("run", tmp_path / "out/model.zn", tmp_path / "new.csv") == 1  # far outside what was ever seen
    assert "alphabet" in capsys.readouterr().err
    (tmp_path / "new.csv").write_text("b,a\n1,-2.5\n6,7\n")
    assert call("run", tmp_path / "out/model.zn", tmp_path / "new.csv") == 0
    machine = zahlen.load(tmp_path / "out/model.zn")
    outputs = machine.run(np.array([[-10, 4], [28, 24]]))
    expected = [",".join([["even", "odd"][row.argmax()], *map(str, row)]) for row in outputs]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "fashion-mist", "-o", "{}"], 1, "did you mean fashion-mnist"),
        (["train", "{}/none.csv", "-o", "{}"], 1, "none.csv"),
        (["train", "{}/hole.csv", "--label", "y", "-o", "{}"], 1, "line 3"),
        (["train", "digits", "--model", "svm", "-o", "{}"], 2, "svm"),
        (["train", "digits", "--channels", "4", "-o", "{}"], 2, "only a cnn"),
        (["train", "digits", "--activation", "heaviside", "--levels", "4", "-o", "{}"], 1, "levels"),
        (["train", "digits", "--model", "cnn", "--channels", "4,4,4,4", "-o", "{}"], 1, "too many"),
        (["train", "digits", "--activation", "gelu", "-o", "{}"], 2, "gelu"),
        (["train", "digits", "-o", "{}/hole.csv"], 1, "no directory"),
        (["train", "digits", "--hidden", "12,x", "-o", "{}"], 2, "whole numbers"),
        (["train", "digits", "--levels", "1", "-o", "{}"], 2, "levels"),
        (["train", "digits"], 2, "out"),
        (["show", "{}/none.zn"], 1, "no such file"),
        (["show", "{}/hole.csv"], 1, "not a machine"),
        (["emit", "c", "{}/none.zn", "-o", "{}"], 1, "no such file"),
        (["check", "{}/none.zn"], 1, "no such file"),
        (["dance"], 2, "dance"),
    ],
)
def test_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "hole.csv").write_text("a,b,y\n1,2,0\n3,,1\n")
    assert call(*(a.replace("{}", str(tmp_path)) for a in arguments)) == code
    captured = capsys.readouterr()
    assert says in " ".join(captured.err.replace("│", " ").split())
    assert "Traceback" not in captured.err


def test_a_damaged_model_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((trained / "model.zn").read_bytes())
    content[-3] ^= 1
    (tmp_path / "model.zn").write_bytes(content)
    assert call("show", tmp_path / "model.zn") == 1
    assert "damaged" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["train"], ["show"], ["run"], ["emit", "c"], ["check"]):
        assert call(*command, "--help") == 0
        shown = capsys.readouterr().out
        assert f"zahlen {' '.join(command)} " in shown
        assert "\\b" not in shown
    assert call("--version") == 0
    assert capsys.readouterr().out.strip() == zahlen.__version__


def test_the_import_is_light() -> None:
    """Importing the package brings in NumPy and nothing heavier."""
    script = "import sys, zahlen; print([m for m in ('torch', 'matplotlib', 'rich', 'typer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
