"""Certificates: they hold for what they are about, and nothing that is changed in them passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zahlen.analysis import Box, Certificate, Equal, Monotone, Stable, Within, replay, verify
from zahlen.analysis.verification import branching
from zahlen.analysis.verification.certificates import Node
from zahlen.machine import Builder, FileError, Levels, Machine


def network(bias: int = 0) -> Machine:
    rng = np.random.default_rng(3)
    b = Builder()
    x = b.input("x", (6,), Levels(0, 7))
    for k, (n, m) in enumerate(((6, 8), (8, 5))):
        z = b.affine(x, rng.integers(-7, 8, (m, n)), rng.integers(-20, 20, m), name=f"z{k}")
        x = b.staircase(z, [-30, -12, -3, 5, 11, 28], [-6, -3, -1, 0, 2, 3, 7], name=f"y{k}")
    return b.build(b.affine(x, rng.integers(-7, 8, (3, 5)), [0, 0, bias], name="score"))


X = np.array([3, 5, 2, 6, 1, 4])


@pytest.fixture(scope="module")
def proved() -> tuple[Machine, Certificate]:
    """A certificate with splits and leaves of several kinds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branching, "POINTS", 4)
        for bias in range(112, 130, 2):
            machine = network(bias)
            verdict = verify(machine, Box.ball(machine, X, 1), Stable(2), seconds=3)
            kinds = {n.kind for tree in verdict.certificate.trees for n in tree}
            if verdict.status == "verified" and {"split", "dual", "linear"} <= kinds:
                return machine, verdict.certificate
    raise AssertionError("no network of these needs all kinds of leaves")


@pytest.fixture(scope="module")
def refuted() -> tuple[Machine, Certificate]:
    machine = network()
    label = int(machine.run(X[None])[0].argmax())
    verdict = verify(machine, Box.whole(machine), Stable(label))
    assert verdict.status == "refuted"
    return machine, verdict.certificate


def changed_tree(certificate: Certificate, change: Callable[[list[Node]], None]) -> Certificate:
    trees = [list(tree) for tree in certificate.trees]
    change(max(trees, key=len))
    return replace(certificate, trees=tuple(map(tuple, trees)))


def first(tree: list[Node], kind: str) -> int:
    return next(k for k, node in enumerate(tree) if node.kind == kind)


def put(kind: str, **fields: Any) -> Callable[[list[Node]], None]:
    def change(tree: list[Node]) -> None:
        k = first(tree, kind)
        tree[k] = replace(tree[k], **fields)

    return change


def swell(tree: list[Node]) -> None:
    k = first(tree, "dual")
    (name, values), *rest = tree[k].multipliers
    tree[k] = replace(tree[k], multipliers=((name, tuple(9 * v + 2**27 for v in values)), *rest))


def shorten(tree: list[Node]) -> None:
    k = first(tree, "dual")
    (name, values), *rest = tree[k].multipliers
    tree[k] = replace(tree[k], multipliers=((name, values[:-1]), *rest))


CHANGES: dict[str, Callable[[Certificate], Certificate]] = {
    "machine": lambda c: replace(c, machine="0" * 64),
    "lower": lambda c: replace(c, box=tuple((n, (0,) * len(lo), hi) for n, lo, hi in c.box)),
    "upper": lambda c: replace(c, box=tuple((n, lo, (7,) * len(hi)) for n, lo, hi in c.box)),
    "box of another shape": lambda c: replace(c, box=tuple((n, lo[:-1], hi) for n, lo, hi in c.box)),
    "box of another input": lambda c: replace(c, box=tuple(("y", lo, hi) for n, lo, hi in c.box)),
    "empty box": lambda c: replace(c, box=tuple((n, hi, lo) for n, lo, hi in c.box)),
    "no box": lambda c: replace(c, box=()),
    "label": lambda c: replace(c, claim={**c.claim, "label": (c.claim["label"] + 1) % 3}),
    "label beyond": lambda c: replace(c, claim={**c.claim, "label": 3}),
    "kind": lambda c: replace(c, claim={**c.claim, "kind": "safe"}),
    "output": lambda c: replace(c, claim={**c.claim, "output": "z0"}),
    "another field": lambda c: replace(c, claim={**c.claim, "eps": 2}),
    "refuted": lambda c: replace(c, status="refuted"),
    "unknown": lambda c: replace(c, status="unknown"),
    "no status": lambda c: replace(c, status="certain"),
    "linear": lambda c: replace(c, linear=False),
    "lines without linear": lambda c: replace(c, linear=False, trees=tuple((Node("linear"),) for _ in c.trees)),
    "no trees": lambda c: replace(c, trees=()),
    "a tree less": lambda c: replace(c, trees=c.trees[:-1]),
    "a tree more": lambda c: replace(c, trees=(*c.trees, c.trees[0])),
    "trees swapped": lambda c: replace(c, trees=c.trees[::-1]),
    "a node less": lambda c: changed_tree(c, lambda t: t.__delitem__(-1)),
    "a node more": lambda c: changed_tree(c, lambda t: t.append(Node("linear"))),
    "no node": lambda c: changed_tree(c, lambda t: t.clear()),
    "split cut off": lambda c: changed_tree(c, lambda t: t.__setitem__(slice(None), [Node("linear")])),
    "split by intervals": lambda c: changed_tree(c, lambda t: t.__setitem__(slice(None), [Node("ends")])),
    "split as empty": lambda c: changed_tree(c, lambda t: t.__setitem__(slice(None), [Node("empty")])),
    "split of all points": lambda c: changed_tree(c, lambda t: t.__setitem__(slice(None), [Node("points")] * 2)),
    "split wire": lambda c: changed_tree(c, put("split", wire="nowhere")),
    "split linear wire": lambda c: changed_tree(c, put("split", wire="goal")),
    "split element": lambda c: changed_tree(c, put("split", index=10**6)),
    "split negative element": lambda c: changed_tree(c, put("split", index=-1)),
    "split at": lambda c: changed_tree(c, put("split", at=10**9)),
    "linear as dual": lambda c: changed_tree(c, lambda t: t.__setitem__(first(t, "dual"), Node("linear"))),
    "no multipliers": lambda c: changed_tree(c, put("dual", multipliers=())),
    "other multipliers": lambda c: changed_tree(c, swell),
    "fewer multipliers": lambda c: changed_tree(c, shorten),
    "multipliers of no curve": lambda c: changed_tree(c, put("dual", multipliers=(("z0", (0,) * 8),))),
}


def test_it_holds(proved: tuple[Machine, Certificate]) -> None:
    machine, certificate = proved
    assert str(replay(machine, certificate)) == f"confirmed: verified, {certificate.leaves} leaves"


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_is_rejected(proved: tuple[Machine, Certificate], name: str) -> None:
    machine, certificate = proved
    changed = CHANGES[name](certificate)
    assert changed != certificate
    found = replay(machine, changed)
    assert not found, str(found)


def test_lines_are_not_intervals(proved: tuple[Machine, Certificate]) -> None:
    machine, certificate = proved
    assert "intervals suffice" in replay(machine, CHANGES["lines without linear"](certificate)).reason


def test_it_does_not_hold_for_another_machine(proved: tuple[Machine, Certificate]) -> None:
    certificate = proved[1]
    assert "another machine" in str(replay(network(-(10**4)), certificate))
    assert not replay(network(-(10**4)), replace(certificate, machine=network(-(10**4)).hash))


@pytest.mark.parametrize(
    "changes",
    [
        {"points": ()},
        {"outputs": ()},
        {"outputs": ([1, 2, 3],)},
        {"points": ({"x": (0, 0, 0, 0, 0, 8)},)},
        {"points": ({"x": (0, 0, 0)},)},
        {"points": ({"y": (0, 0, 0, 0, 0, 0)},)},
        {"points": ({"x": tuple(X.tolist())},)},
        {"status": "verified"},
        {"machine": "f" * 64},
        {"box": (("x", tuple(X.tolist()), tuple(X.tolist())),)},
    ],
)
def test_changed_counterexamples_are_rejected(refuted: tuple[Machine, Certificate], changes: dict[str, Any]) -> None:
    machine, certificate = refuted
    assert replay(machine, certificate)
    assert not replay(machine, replace(certificate, **changes))


def test_a_counterexample_must_contradict() -> None:
    machine = network()
    y = machine.run(X[None])[0]
    at = (("x", tuple(X.tolist()), tuple(X.tolist())),)
    claim = {"kind": "stable", "label": int(y.argmax()), "output": None}
    points = ({"x": tuple(X.tolist())},)
    fake = Certificate(machine.hash, at, claim, "refuted", points=points, outputs=(y.tolist(),))
    assert "does not contradict" in str(replay(machine, fake))


def test_pairs_are_replayed() -> None:
    machine, other = network(), network(1)
    verdict = verify(machine, Box.ball(machine, X, 1), Equal(other))
    assert verdict.status == "refuted"
    assert replay(machine, verdict.certificate, other=other)
    assert "name the other" in str(replay(machine, verdict.certificate))
    assert "another second machine" in str(replay(machine, verdict.certificate, other=network(2)))
    verdict = verify(machine, Box.whole(machine), Monotone(0))
    assert verdict.status == "refuted"
    assert replay(machine, verdict.certificate)
    apart = [dict(p) for p in verdict.certificate.points]
    apart[1]["x"] = (*apart[1]["x"][:5], (apart[1]["x"][5] + 1) % 8)
    assert not replay(machine, replace(verdict.certificate, points=tuple(apart)))


def test_files_come_back(proved: tuple[Machine, Certificate], refuted: Any, tmp_path: Path) -> None:
    machine, certificate = proved
    certificate.save(tmp_path / "proof.json")
    assert Certificate.load(tmp_path / "proof.json") == certificate
    assert replay(machine, Certificate.load(tmp_path / "proof.json"))
    refuted[1].save(tmp_path / "point.json")
    assert replay(refuted[0], Certificate.load(tmp_path / "point.json"))
    within = verify(machine, Box.whole(machine), Within(-(10**6), [10**6, 10**6, 10**6])).certificate
    assert replay(machine, Certificate.from_json(within.to_json()))
    with pytest.raises(FileError, match="cannot be read"):
        Certificate.load(tmp_path / "none.json")


def test_bad_files_are_refused(proved: tuple[Machine, Certificate]) -> None:
    machine, certificate = proved
    text = certificate.to_json()
    tree = json.loads(text)
    for key in tree:
        with pytest.raises(FileError):
            Certificate.from_json(json.dumps({k: v for k, v in tree.items() if k != key}))
        with pytest.raises(FileError):
            Certificate.from_json(json.dumps({**tree, key: None}))
    for change in (
        {"zahlen_certificate": 2},
        {"more": 1},
        {"status": "refuted"},
        {"trees": [[1.5]]},
        {"trees": [["?"]]},
    ):
        with pytest.raises(FileError):
            Certificate.from_json(json.dumps({**tree, **change}))
    for bad in ("", "[]", "{", text[:-3], text.replace('"at": ', '"at": 0.5, "was": '), "NaN"):
        with pytest.raises(FileError):
            Certificate.from_json(bad)
    rng = np.random.default_rng(0)
    for _ in range(30):  # a character somewhere is another
        k = int(rng.integers(len(text)))
        other = text[:k] + "0123456789-,[]{}x"[rng.integers(17)] + text[k + 1 :]
        try:
            found = Certificate.from_json(other)
        except FileError:
            continue
        # what still passes proves the same about this machine, on a box that is no larger
        if found != certificate and replay(machine, found):
            assert found.machine == machine.hash
            for _, lo, hi in found.box:
                grid = np.stack([rng.integers(a, b + 1, 500) for a, b in zip(lo, hi)], axis=1)
                grid = np.clip(grid, 0, 7)
                assert (machine.run(grid).argmax(axis=1) == found.claim["label"]).all()
