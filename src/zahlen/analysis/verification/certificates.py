"""Certificates: what proves a verdict, as plain data and as JSON.

A proof is a tree for each element of the goal. Inner nodes split a region in two, leaves say what closes theirs; both
stand in one list, a split before its lower part and that before its upper one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np

from ...machine import FileError, IntArray, replacing
from .box import Box

VERSION = 1
LEAVES = ("ends", "linear", "points", "empty")
"""What closes a leaf without further numbers: the proven ends of the goal, linear bounds, every point, no point."""


@dataclass(frozen=True)
class Node:
    """A node of a tree.

    Attributes
    ----------
    kind : str
        ``split``, ``dual`` or one of `LEAVES`.
    wire : str
        The wire that is split.
    index, at : int
        The region below has this element, in row-major order, below `at`; the one above has the rest.
    multipliers : tuple of (str, tuple of int)
        For ``dual``: by curve, in row-major order.
    """

    kind: str
    wire: str = ""
    index: int = 0
    at: int = 0
    multipliers: tuple[tuple[str, tuple[int, ...]], ...] = ()


Tree = tuple[Node, ...]
"""A tree with every split before its lower part, and that before its upper part."""


@dataclass(frozen=True)
class Certificate:
    """What proves a verdict on a machine, a box and a property.

    Attributes
    ----------
    machine : str
        The machine's hash.
    box : tuple of (str, lower, upper)
        By input, with elements in row-major order.
    claim : dict
        The property: its kind and what else it consists of.
    status : str
        ``verified``, ``refuted`` or ``unknown``.
    linear : bool
        Whether regions are bounded by lines, or by intervals alone.
    trees : tuple of Tree
        One for each element of the goal, if verified.
    points : tuple of dict
        The inputs of a counterexample, if refuted: elements by input name.
    outputs : tuple
        What the machine says to them, nested as its shape.
    notes : dict
        Remarks such as seconds, as JSON values; they prove nothing.
    """

    machine: str
    box: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    claim: Mapping[str, Any]
    status: str
    linear: bool = False
    trees: tuple[Tree, ...] = ()
    points: tuple[Mapping[str, tuple[int, ...]], ...] = ()
    outputs: tuple[Any, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def leaves(self) -> int:
        """Leaves of all trees."""
        return sum(node.kind != "split" for tree in self.trees for node in tree)

    def save(self, path: str | Path) -> None:
        """Write the certificate as JSON, whole or not at all.

        Raises
        ------
        FileError
            If the file cannot be written.
        """
        with replacing(path) as file:
            file.write(self.to_json().encode())

    def to_json(self) -> str:
        """The certificate as JSON text, with a line for each node."""
        head = {
            "zahlen_certificate": VERSION,
            "machine": self.machine,
            "property": dict(self.claim),
            "status": self.status,
            "notes": dict(self.notes),
            "box": {name: {"lower": list(lo), "upper": list(hi)} for name, lo, hi in self.box},
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        if self.status == "verified":
            trees = ",\n".join("[\n" + ",\n".join(json.dumps(_node(n)) for n in t) + "\n]" for t in self.trees)
            lines += [f'"linear": {json.dumps(self.linear)}', f'"trees": [\n{trees}\n]']
        if self.status == "refuted":
            points = [{name: list(values) for name, values in point.items()} for point in self.points]
            lines += [f'"points": {json.dumps(points)}', f'"outputs": {json.dumps(list(self.outputs))}']
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read a certificate. Nothing in it is believed; `replay` checks it.

        Raises
        ------
        FileError
            If there is no such file, or it is no certificate that this version knows.
        """
        try:
            text = Path(path).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"{path}: cannot be read: {error}") from None
        try:
            return cls.from_json(text)
        except FileError as error:
            raise FileError(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """The certificate that a text holds; see `load`."""
        try:
            tree = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise FileError(f"no certificate: its JSON does not parse: {error}") from None
        if not isinstance(tree, dict) or tree.get("zahlen_certificate") != VERSION:
            raise FileError(f"no certificate of version {VERSION}; make it anew with zahlen verify")
        status = tree.get("status")
        due = {"verified": {"linear", "trees"}, "refuted": {"points", "outputs"}, "unknown": set()}
        if status not in due:
            raise FileError(f"no certificate: its status is {brief(status)}")
        keys = {"zahlen_certificate", "machine", "property", "status", "notes", "box"} | due[status]
        _expect(set(tree) == keys, f"exactly {', '.join(sorted(keys))} are due")
        _expect(isinstance(tree["machine"], str), "machine is a hash")
        objects = (tree[key] for key in ("property", "notes", "box"))
        _expect(all(isinstance(value, dict) for value in objects), "property, notes and box are objects")
        box = []
        for name, ends in tree["box"].items():
            _expect(isinstance(ends, dict) and set(ends) == {"lower", "upper"}, f"box {brief(name)} has two ends")
            box.append((name, _integers(ends["lower"]), _integers(ends["upper"])))
        found = cls(tree["machine"], tuple(box), tree["property"], status, notes=tree["notes"])
        if status == "verified":
            _expect(isinstance(tree["linear"], bool), "linear is true or false")
            _expect(isinstance(tree["trees"], list) and all(isinstance(t, list) for t in tree["trees"]), "trees: lists")
            trees = tuple(tuple(_parsed(n) for n in t) for t in tree["trees"])
            found = replace(found, linear=tree["linear"], trees=trees)
        elif status == "refuted":
            points = tree["points"]
            _expect(isinstance(points, list) and all(isinstance(p, dict) for p in points), "points are objects")
            _expect(isinstance(tree["outputs"], list), "outputs are a list")
            found = replace(
                found,
                points=tuple({name: _integers(values) for name, values in p.items()} for p in points),
                outputs=tuple(tree["outputs"]),
            )
        return found

    def as_box(self, shapes: Mapping[str, tuple[int, ...]]) -> Box:
        """The box as arrays of the inputs' shapes."""
        return Box(
            {name: shaped(lo, shapes[name]) for name, lo, _ in self.box},
            {name: shaped(hi, shapes[name]) for name, _, hi in self.box},
        )


def flat(array: IntArray) -> tuple[int, ...]:
    """The elements in row-major order."""
    return tuple(int(v) for v in np.ravel(array))


def shaped(values: Iterable[int], shape: tuple[int, ...]) -> IntArray:
    """Integers as an array of Python integers."""
    return np.array(list(values), dtype=object).reshape(shape)


def _node(node: Node) -> Any:
    if node.kind == "split":
        return {"wire": node.wire, "index": node.index, "at": node.at}
    if node.kind == "dual":
        return {name: list(values) for name, values in node.multipliers}
    return node.kind


def _parsed(value: Any) -> Node:
    if isinstance(value, str):
        _expect(value in LEAVES, f"no leaf is closed by {brief(value)}")
        return Node(value)
    _expect(isinstance(value, dict), "a node is a name or an object")
    if set(value) == {"wire", "index", "at"}:
        _expect(isinstance(value["wire"], str), "a wire has a name")
        index, at = _integers([value["index"], value["at"]])
        return Node("split", value["wire"], index, at)
    return Node("dual", multipliers=tuple((name, _integers(values)) for name, values in value.items()))


def _integers(values: Any) -> tuple[int, ...]:
    _expect(isinstance(values, list) and all(type(v) is int for v in values), "a list of integers is due")
    return tuple(values)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise FileError(f"no certificate: {message}")


def _no_number(literal: str) -> Any:
    raise FileError(f"no certificate: {literal} is no integer")
