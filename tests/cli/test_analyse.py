"""The command ``zahlen analyse``: its answers are those of the functions, its refusals say why."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import call

from zahlen import Builder, Levels, analysis
from zahlen.analysis import automata
from zahlen.machine import Machine

Capture = pytest.CaptureFixture[str]


def reader(kept: int) -> Machine:
    """Three threshold units; the last one says whether there were three zeros in a row, if `kept` is 2."""
    b = Builder()
    x, h = b.input("x", (1,), Levels(0, 2)), b.register("h", (3,), Levels(0, 1))
    z = b.affine(b.concat(b.lookup(x, [1, 0, 0]), h), [[2, 0, 0, 1], [1, 1, 0, 2], [1, 0, 1, kept]])
    b.connect(h, b.staircase(z, [2], [0, 1]))
    return b.build(b.slice(h, [2], [3], name="y"))


def threshold(units: int, seed: int = 5) -> Machine:
    """Without inputs."""
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.register("h", (units,), Levels(-1, 1, 2), initial=-1)
    z = b.affine(h, rng.integers(-7, 8, (units, units)), rng.integers(-3, 4, units))
    b.connect(h, b.staircase(z, [0], [-1, 1]))
    return b.build(h)


def counter() -> Machine:
    """Two inputs, and an output of three classes: which of the residues modulo three."""
    b = Builder()
    x, y = b.input("x", (), Levels(0, 2)), b.input("y", (2,), Levels(0, 1))
    n = b.register("n", (1,), Levels(0, 2))
    total = b.add(b.add(b.add(n, b.reshape(x, (1,))), b.slice(y, [0], [1])), b.slice(y, [1], [2]))
    b.connect(n, b.lookup(total, [0, 1, 2, 0, 1, 2, 0]))
    return b.build(b.concat(*(b.lookup(n, [int(k == j) for k in range(3)]) for j in range(3)), name="logits"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analyse")
    good = {"good": reader(2), "bad": reader(0), "units": threshold(9), "large": threshold(40), "counter": counter()}
    for name, machine in good.items():
        machine.save(folder / f"{name}.zn")
    b = Builder()
    x = b.input("x", (8, 8), Levels(0, 16))
    b.build(b.affine(b.reshape(x, (64,)), np.ones((3, 64), dtype=int))).save(folder / "perceptron.zn")
    automata.tomita(4).save(folder / "four.dot")
    return folder


def said(capsys: Capture, *arguments: object, code: int = 0) -> str:
    """What the command prints, on standard output and behind it on standard error, in one line of words."""
    assert call("analyse", *arguments) == code
    out, err = capsys.readouterr()
    return re.sub(r"[\s│╭╮╰╯─]+", " ", out + err)


GRAMMAR = ("--symbol", 0, "--symbol", 1, "--end", 2, "--accept", 0)


# ---------------------------------------------------------------------------------------------------- the portrait


def test_portrait_of_a_small_machine_has_the_answers(models: Path, tmp_path: Path, capsys: Capture) -> None:
    machine = threshold(9)
    assert call("analyse", models / "units.zn", "--json", tmp_path / "found.json") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{models / 'units.zn'}, hash {machine.hash}",
        "inputs: none",
        "registers: h: 9 of -1..1 step 2; 512 states, 9 bits",
        "outputs: h: 9 of -1..1 step 2",
        *f"states (--states): {analysis.state_graph(machine)}".splitlines(),
        "fixed points (--fixed-points): 1",
        f"orbit (--orbit): {analysis.orbit(machine)}",
        f"memory (--memory-length): {str(analysis.memory(machine)).splitlines()[0]}",
        f"automaton (--automaton): {len(analysis.automaton(machine, least=False))} states are reached, the least one "
        f"has {len(analysis.automaton(machine))}",
    ]
    record = json.loads((tmp_path / "found.json").read_text())
    assert (record["machine"], record["states"]["attractors"]) == (machine.hash, 3)
    assert record["orbit"] == {"transient": 11, "period": 15}


def test_portrait_says_what_the_rest_takes(models: Path, capsys: Capture) -> None:
    small = said(capsys, models / "good.zn")
    assert "states (--states): all 8 take 33 bytes, or 65 under several steps, under an --input" in small
    for k in range(3):
        graph = analysis.state_graph(reader(2), [[k]])
        fixed = len(analysis.fixed_points(reader(2), [[k]]).found)
        counts = f"attractors {graph.attractors}, of them fixed points {fixed}"
        expected = f"states under x={k} (--states): {counts}; longest transient {graph.longest_transient}"
        assert expected in small
    assert "states under" not in said(capsys, models / "counter.zn")
    large = said(capsys, models / "large.zn")
    assert "states (--states): 1,099,511,627,776 are more than 2^28, too many to go through" in large
    assert "a solver may find them orbit (--orbit): transient of" in large
    many = said(capsys, models / "perceptron.zn")
    assert "inputs: x: 8x8 of 0..16; about 10^78 symbols registers: none" in many
    assert "without registers nothing of one step is left" in many
    under = said(capsys, models / "good.zn", "--input", 0)
    assert "states (--states): 8 states, 1 attractor longest transient 3" in under
    assert "orbit (--orbit): transient of 3 steps, then period 1" in under


def test_portrait_of_many_symbols_and_many_states(tmp_path: Path, capsys: Capture) -> None:
    b = Builder()
    x, n = b.input("x", (2,), Levels(0, 99)), b.register("n", (1,), Levels(0, 9999))
    b.connect(n, b.affine(x, [[1, 1]]))
    b.build(n).save(tmp_path / "wide.zn")
    wide = said(capsys, tmp_path / "wide.zn")
    assert wide.count("10,000 symbols are many; choose with --symbol") == 1  # the memory is known from the graph
    b = Builder()
    n = b.register("n", (1,), Levels(0, 19999))
    b.connect(n, b.lookup(n, [(k + 1) % 20000 for k in range(20000)]))
    b.build(n).save(tmp_path / "ring.zn")
    ring = said(capsys, tmp_path / "ring.zn")
    assert "orbit (--orbit): no state comes again within 10,000 steps" in ring
    assert "memory (--memory-length): more than 65,536 pairs of states, times symbols" in ring
    assert "automaton (--automaton): more than 4,096 states are reached" in ring


# ---------------------------------------------------------------------------------------------------- dynamics


def test_states(models: Path, tmp_path: Path, capsys: Capture) -> None:
    pictures = ["--draw", tmp_path / "basins.png", "--plot", tmp_path / "transients.svg"]
    period = ["--input", 1, "--input", "0", "--input", "2"]
    out = said(capsys, models / "good.zn", "--states", *period, *pictures, "--json", tmp_path / "found.json")
    found = analysis.state_graph(reader(2), [[[1]], [[0]], [[2]]])
    assert out == re.sub(r"\s+", " ", f"states: {found} ")
    record = json.loads((tmp_path / "found.json").read_text())["states"]
    assert [one["basin"] for one in record["largest"]] == analysis.basins(reader(2), [[[1]], [[0]], [[2]]]).tolist()
    assert [one["period"] for one in record["largest"]] == found.periods.tolist()
    assert record["largest"][1]["state"] == {n: v[0].tolist() for n, v in found.cycle(1).items()}
    assert (record["longest_transient"], record["gardens"]) == (found.longest_transient, found.gardens)
    assert (tmp_path / "basins.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "transients.svg").read_bytes()[:5] == b"<?xml"


@pytest.mark.parametrize(("given", "most"), [("200", 200), ("1k", 1 << 10), ("3MiB", 3 << 20), ("2G", 2 << 30)])
def test_memory_is_a_size(models: Path, monkeypatch: pytest.MonkeyPatch, given: str, most: int) -> None:
    asked: list[int] = []
    graph = analysis.state_graph

    def watched(*arguments: Any, memory: int, **options: Any) -> Any:
        asked.append(memory)
        return graph(*arguments, **options)

    monkeypatch.setattr(analysis, "state_graph", watched)
    assert call("analyse", models / "units.zn", "--states", "--memory", given) == 0
    assert asked == [most]


def test_fixed_points_and_cycles_are_listed(models: Path, tmp_path: Path, capsys: Capture) -> None:
    out = said(capsys, models / "units.zn", "--fixed-points", "--cycles", 4, "--json", tmp_path / "found.json")
    point, cycle = analysis.fixed_points(threshold(9)), analysis.cycles(threshold(9), 4)
    assert f"fixed points: {point} h={point.found[0]['h'][0].tolist()} cycles of 4: {cycle} " in out
    assert " -> ".join(f"h={state.tolist()}" for state in cycle.found[0]["h"]) in out
    record = json.loads((tmp_path / "found.json").read_text())
    assert record["fixed points"]["found"] == [{"h": point.found[0]["h"].tolist()}]
    assert record["cycles of 4"]["found"] == [{"h": cycle.found[0]["h"].tolist()}]
    assert record["cycles of 4"]["status"] == "complete"


def test_what_was_not_decided_is_an_exit_code(models: Path, capsys: Capture) -> None:
    pytest.importorskip("ortools.sat.python.cp_model")
    out = said(capsys, models / "large.zn", "--fixed-points", "--seconds", 0.001, code=1)
    assert out == "fixed points: 0 fixed points (CP-SAT): there may be more, the search was cut short "
    assert "not decided" in said(capsys, models / "good.zn", "--memory-length", "--limit", 3, code=1)


def test_many_cycles_are_not_all_printed(tmp_path: Path, capsys: Capture) -> None:
    b = Builder()
    h = b.register("h", (6,), Levels(0, 1))
    b.connect(h, h)
    b.build(h).save(tmp_path / "model.zn")
    arguments = [tmp_path / "model.zn", "--fixed-points", "--limit", 50, "--json", tmp_path / "found.json"]
    out = said(capsys, *arguments)
    assert out.count("h=[") == 20
    assert "50 fixed points (state graph): there may be more, the limit was reached" in out
    assert "and 30 more; --json writes all of them" in out
    assert len(json.loads((tmp_path / "found.json").read_text())["fixed points"]["found"]) == 50


def test_orbit_from_a_state(models: Path, tmp_path: Path, capsys: Capture) -> None:
    options = ["--orbit", "--input", 0, "--initial", "0,1,1", "--draw", tmp_path / "orbit.png"]
    found = analysis.orbit(reader(2), {"h": [[0, 1, 1]]}, [[0]])
    assert said(capsys, models / "good.zn", *options) == f"orbit: {found} "
    assert found.transient < analysis.orbit(reader(2), None, [[0]]).transient
    assert (tmp_path / "orbit.png").read_bytes()[:4] == b"\x89PNG"


def test_memory_length_of_some_symbols(models: Path, capsys: Capture) -> None:
    found = analysis.memory(reader(2), inputs=[[0], [2]])
    out = said(capsys, models / "good.zn", "--memory-length", "--symbol", 0, "--symbol", 2)
    assert out == re.sub(r"\s+", " ", f"memory: {found} ")


# ---------------------------------------------------------------------------------------------------- automata


def test_automaton_is_printed_written_and_drawn(models: Path, tmp_path: Path, capsys: Capture) -> None:
    found = analysis.automaton(reader(2))
    for suffix in ("dot", "att", "kiss"):
        out = said(capsys, models / "good.zn", "-o", tmp_path / f"model.{suffix}")
        assert "the least one of 5 states that are reached" in out
        assert ("symbols 00 for 0, 01 for 1, 10 for 2" in out) == (suffix == "kiss")
        kept = automata.load(tmp_path / f"model.{suffix}")
        assert analysis.equivalent(kept, automata.in_bits(found) if suffix == "kiss" else found)
    assert call("analyse", models / "good.zn", "--automaton", "--draw", tmp_path / "model.png") == 0
    assert (tmp_path / "model.png").read_bytes()[:4] == b"\x89PNG"


def test_proved_equal_to_a_grammar_or_refuted(models: Path, tmp_path: Path, capsys: Capture) -> None:
    four, found = models / "four.dot", tmp_path / "found.json"
    good = said(capsys, models / "good.zn", *GRAMMAR, "--equivalent", four, "--expression", "--json", found)
    assert "acceptor of 4 states, 2 symbols" in good
    assert "equivalent: equal: both have the least automaton, of 4 states" in good
    record = json.loads(found.read_text())
    assert record["equivalent"] == {"equal": True, "word": None, "said": None, "states": [4, 4]}
    for word in ("", "1001", "0001", "11000"):
        accepted = re.fullmatch(record["expression"]["expression"], word) is not None
        assert accepted == automata.tomita(4).accepts(word)
    bad = said(capsys, models / "bad.zn", *GRAMMAR, "--equivalent", four, "--json", found, code=1)
    assert "different: to 0 0 0 1 one says accept, the other reject; to no shorter word do they differ" in bad
    assert json.loads(found.read_text())["equivalent"]["word"] == ["0", "0", "0", "1"]
    assert "to 0 0 0 1 one says" in said(
        capsys, models / "good.zn", *GRAMMAR, "--equivalent", models / "bad.zn", code=1
    )


def test_classes_of_two_inputs(models: Path, tmp_path: Path, capsys: Capture) -> None:
    symbols = ["--symbol", "x=1 y=0", "--symbol", "y=1,0 x=2"]
    inputs = {"x": [1, 2], "y": [[0, 0], [1, 0]]}
    for options, observe in (
        ([], None),
        (["--observe", "class"], lambda y: y.argmax(1)),
        (["--accept", 2], lambda y: y[:, 2] == 1),
        (["--accept", 2, "--initial", 2], lambda y: y[:, 2] == 1),
    ):
        initial = {"n": [[2]]} if "--initial" in options else None
        expected = analysis.automaton(counter(), inputs, initial, observe=observe)
        out = tmp_path / "model.dot"
        text = said(capsys, models / "counter.zn", "--automaton", *symbols, *options, "-o", out)
        assert re.sub(r"\s+", " ", str(expected)) in text
        assert out.read_text() == automata.to_dot(expected)


def test_symbols_from_a_file(models: Path, tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "x.npy", np.array([[0], [1]], dtype=np.uint8))
    symbols = said(capsys, models / "good.zn", "--automaton", "--symbol", tmp_path / "x.npy")
    assert symbols == said(capsys, models / "good.zn", "--automaton", "--symbol", 0, "--symbol", 1)
    period = said(capsys, models / "good.zn", "--states", "--input", tmp_path / "x.npy")
    assert period == said(capsys, models / "good.zn", "--states", "--input", 0, "--input", 1)


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("model", "options", "code", "reason"),
    [
        ("good", ["--states"], 2, "the input of each step is due, x: 1 of 0..2"),
        ("good", ["--states", "--input", "3"], 2, "due are x: 1 of 0..2, got 3"),
        ("good", ["--states", "--input", "0,1"], 2, "due are x: 1 of 0..2, got 0,1"),
        ("good", ["--states", "--input", "one"], 2, "whole numbers with commas between are due, got 'one'"),
        ("good", ["--states", "--input", "z=1"], 2, "due are x: 1 of 0..2, got 'z=1'"),
        ("good", ["--states", "--input", "no.npy"], 1, "no.npy: no array of NumPy"),
        ("units", ["--states", "--input", "0"], 2, "this machine has none; leave it out"),
        ("units", ["--states", "--memory", "much"], 2, "a size such as 500M or 3G is due, got 'much'"),
        ("units", ["--states", "--memory", "300"], 1, "512 states take 2,112 bytes, more than memory=300"),
        ("units", ["--cycles", "0"], 2, "should be greater than or equal to 1"),
        ("large", ["--states"], 1, "more than 2^28 = 268,435,456; ask fixed_points or cycles"),
        ("good", ["--orbit", "--input", "0", "--input", "1"], 2, "an orbit has a constant input"),
        ("good", ["--orbit", "--input", "0", "--initial", "0,1"], 2, "due are h: 3 of 0..1, got 0,1"),
        ("large", ["--orbit", "--limit", "3"], 1, "no state came again within 3 steps"),
        ("good", ["--automaton", "--input", "0"], 2, "automata and memories take --symbol"),
        ("good", ["--automaton", "--limit", "2"], 1, "inputs lead to more than 2 states"),
        ("good", ["--symbol", "0"], 2, "add --automaton or --memory-length"),
        ("good", ["--end", "2"], 2, "it says how an automaton is read; add --automaton"),
        ("good", ["--initial", "0"], 2, "add --orbit or --automaton"),
        ("good", ["--expression"], 2, "add --end and --accept"),
        ("good", ["--plot", "a.png"], 2, "add --states"),
        ("good", ["--draw", "a.png"], 2, "one of --states, --orbit, --automaton, --regions is due"),
        ("good", ["--automaton", "--accept", "7"], 2, "y: 1 of 0..1, got 7"),
        ("counter", ["--automaton", "--accept", "3"], 2, "a class is 0..2, got 3"),
        ("counter", ["--automaton", "--symbol", "1"], 2, "due are x: 1 of 0..2, y: 2 of 0..1, got '1'"),
        ("good", ["-o", "a.xyz"], 2, "the suffix is one of .dot, .gv, .kiss, .kiss2, .att, .fst.txt, .fsa.txt"),
        ("good", ["-o", "/nowhere/a.dot"], 1, "/nowhere/a.dot: cannot be written: there is no directory /nowhere"),
        ("good", ["--equivalent", "/nowhere/a.dot"], 1, "/nowhere/a.dot: [Errno 2]"),
        ("perceptron", ["--automaton"], 2, "about 10^78 symbols, x: 8x8 of 0..16, more than 65,536; choose some"),
        ("perceptron", ["--states", "--input", "0"], 1, "this machine has no registers"),
    ],
)
def test_refusals(models: Path, capsys: Capture, model: str, options: list[str], code: int, reason: str) -> None:
    assert reason in said(capsys, models / f"{model}.zn", *options, code=code)


def test_files_of_another_shape_are_refused(models: Path, tmp_path: Path, capsys: Capture) -> None:
    for values in (np.zeros((2, 3), dtype=int), np.zeros((0, 1), dtype=int), np.zeros((2, 1)), np.array(0)):
        np.save(tmp_path / "x.npy", values)
        out = said(capsys, models / "good.zn", "--states", "--input", tmp_path / "x.npy", code=1)
        assert "rows of x: 1 of 0..2 are due" in out
    np.save(tmp_path / "x.npy", np.zeros((2, 1), dtype=int))
    out = said(capsys, models / "counter.zn", "--states", "--input", tmp_path / "x.npy", code=1)
    assert "a file has the values of one input" in out
    np.save(tmp_path / "x.npy", np.array([[3]]))
    assert call("analyse", models / "good.zn", "--states", "--input", tmp_path / "x.npy") == 1


# ---------------------------------------------------------------------------------------------------- Ctrl-C


def slow_states() -> Machine:
    """2^26 states that only the machine's own step goes through."""
    b = Builder()
    h = b.register("h", (26,), Levels(0, 1))
    first, second = b.slice(h, [0], [13]), b.slice(h, [13], [26])
    product = b.mul(b.affine(first, [[1] * 13]), b.affine(second, [[1] * 13]))
    b.connect(h, b.staircase(b.affine(b.concat(product, h), np.eye(26, 27, dtype=int)), [1], [0, 1]))
    return b.build(h)


def slow_words() -> Machine:
    """A shift register: words lead to all of its 2^30 states."""
    b = Builder()
    x, h = b.input("x", (1,), Levels(0, 1)), b.register("h", (30,), Levels(0, 1))
    b.connect(h, b.concat(x, b.slice(h, [0], [29])))
    return b.build(b.slice(h, [29], [30]))


@pytest.mark.parametrize(
    ("machine", "options"), [(slow_states(), ["--states", "--plot", "a.png"]), (slow_words(), ["-o", "a.dot"])]
)
def test_interrupt_leaves_no_file(tmp_path: Path, machine: Machine, options: list[str]) -> None:
    machine.save(tmp_path / "model.zn")
    written = tmp_path / "written"
    written.mkdir()
    code = (
        "from zahlen import analysis, cli; from zahlen.cli import analyse, bench, check, inspect, sample, train;"
        "print('go', flush=True); cli.main()"
    )
    command = [sys.executable, "-c", code, "analyse", "../model.zn", *options, "--json", "a.json"]
    process = subprocess.Popen(command, cwd=written, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(written.iterdir()) == []


def test_interrupted_search_keeps_what_was_found(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """That Ctrl-C in a solver leads to this status is a test of `analysis.cycles`."""
    search = analysis.cycles
    monkeypatch.setattr(analysis, "cycles", lambda *a, **o: replace(search(*a, **o), status="interrupted"))
    arguments = [models / "units.zn", "--fixed-points", "--cycles", 4, "--memory-length"]
    out = said(capsys, *arguments, "--json", tmp_path / "found.json", code=130)
    point = search(threshold(9), 1).found[0]["h"].tolist()
    said_so = "1 fixed point (state graph): there may be more, the search was interrupted"
    assert out == f"fixed points: {said_so} h={point[0]} "
    record = json.loads((tmp_path / "found.json").read_text())
    assert set(record) == {"machine", "model", "interrupted", "fixed points"}
    assert record["interrupted"] is True
    assert record["fixed points"]["found"] == [{"h": point}]
