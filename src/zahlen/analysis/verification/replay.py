"""Checking certificates: with integers only, by the definition of the machine, without any search or solver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ...machine import InputError, IntArray, Machine, ZahlenError
from .box import Ends, number_of
from .certificates import Certificate, Node, Tree, shaped
from .pairs import Equal, Invariant, Monotone
from .properties import Point, Property, Stable, Within
from .region import Region, Split
from .regions import Bounder

MAX_POINTS = 1 << 16
"""Most points of a region that a leaf may go through."""
PART = 1 << 10
"""How many of them at once."""

WITHOUT_LINES = ("ends", "points")
"""Leaves of a certificate by intervals alone."""


@dataclass(frozen=True)
class Replay:
    """What came of checking a certificate; true if it proves what it says.

    Attributes
    ----------
    valid : bool
    reason : str
        What is wrong with it, or what it proves.
    """

    valid: bool
    reason: str

    def __bool__(self) -> bool:
        return self.valid

    def __str__(self) -> str:
        return f"{'confirmed' if self.valid else 'rejected'}: {self.reason}"


class _RejectedError(Exception):
    """The certificate does not prove what it says."""


def replay(machine: Machine, certificate: Certificate, *, other: Machine | None = None) -> Replay:
    """Check a certificate.

    Every leaf's inequality is found again in integers of 64 bits, or of any length where those do not suffice; no
    solver and nothing of the search takes part, and nothing is rounded (see `zahlen.machine.ranges` for its
    products). A counterexample is computed by the reference.

    Parameters
    ----------
    machine : Machine
        The one that the certificate is about.
    certificate : Certificate
    other : Machine, optional
        The second one of a certificate about two.

    Returns
    -------
    Replay

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import Box, Stable, verify
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 9))
    >>> machine = b.build(b.affine(x, [[2, 1], [0, 3]]))
    >>> verdict = verify(machine, Box.ball(machine, [6, 3], 1), Stable(0))
    >>> print(replay(machine, verdict.certificate))
    confirmed: verified, 1 leaf
    >>> print(replay(machine.unrolled(1), verdict.certificate))
    rejected: it is about another machine
    """
    try:
        if certificate.machine != machine.hash:
            raise _RejectedError("it is about another machine")
        asked = _property(certificate.claim, other)
        names = {name for name, _, _ in certificate.box}
        if names != set(machine.inputs):
            raise _RejectedError("its box is of other inputs")
        box = certificate.as_box({name: machine.wires[name].shape for name in machine.inputs})
        if certificate.status == "verified":
            _check_trees(Bounder(asked.goal(machine, box), doubles=False), certificate)
            leaves = certificate.leaves
            return Replay(True, f"verified, {leaves:,} {'leaf' if leaves == 1 else 'leaves'}")
        if certificate.status == "refuted":
            _check_points(machine, certificate, asked, box.ends(machine))
            return Replay(True, "refuted by its counterexample")
        raise _RejectedError("it says nothing")
    except _RejectedError as error:
        return Replay(False, str(error))
    except (ZahlenError, ValueError, TypeError, KeyError, OverflowError) as error:
        return Replay(False, f"it does not fit the machine: {error}")


def _property(value: Mapping[str, Any], other: Machine | None) -> Property:
    """The property that a certificate is about."""
    fields = dict(value)
    kinds: dict[str, type[Property]] = {p.kind: p for p in (Stable, Within, Monotone, Invariant)}
    kind = fields.pop("kind", None)
    if kind == Equal.kind:
        if other is None:
            raise _RejectedError("it is about two machines; name the other one")
        if fields.pop("other", None) != other.hash:
            raise _RejectedError("it is about another second machine")
        return Equal(other, **fields)
    if kind not in kinds:
        raise _RejectedError(f"no property of the kind {kind!r} is known")
    if isinstance(fields.get("feature"), list):
        fields["feature"] = tuple(fields["feature"])
    return kinds[kind](**fields)


def _check_points(machine: Machine, certificate: Certificate, asked: Property, ends: Ends) -> None:
    points: list[Point] = []
    for given in certificate.points:
        if set(given) != set(machine.inputs):
            raise _RejectedError("its counterexample is of other inputs")
        point = {}
        for name, values in given.items():
            wire = machine.wires[name]
            value = shaped(values, wire.shape)
            lo, hi = ends[name]
            if not wire.alphabet.contains_all(value) or (value < lo).any() or (value > hi).any():
                raise _RejectedError("its counterexample is not in the box")
            point[name] = value.astype(wire.value_dtype)
        points.append(point)
    due = asked.points(machine, points[0]) if points else []
    if len(due) != len(points) or any((a[n] != b[n]).any() for a, b in zip(due, points) for n in a):
        raise _RejectedError("its counterexample is not of the kind that the property asks for")
    found = asked.outputs(machine, points)
    if [y.tolist() for y in found] != list(certificate.outputs):
        raise _RejectedError("the machine says something else to its counterexample")
    if not asked.broken(found):
        raise _RejectedError("its counterexample does not contradict the property")


def _check_trees(bounder: Bounder, certificate: Certificate) -> None:
    rows = bounder.wires[bounder.output].size
    if len(certificate.trees) != rows:
        raise _RejectedError(f"it has {len(certificate.trees)} trees, not one for each of {rows} inequalities")
    if not certificate.linear and any(node.kind not in WITHOUT_LINES for tree in certificate.trees for node in tree):
        raise _RejectedError("it has splits or lines, and says that intervals suffice")
    whole = bounder.whole(certificate.linear)
    for row, tree in enumerate(certificate.trees):
        _check_tree(bounder, whole, row, tree)


def _check_tree(bounder: Bounder, whole: Region, row: int, tree: Tree) -> None:
    pending: list[Region | None] = [whole]
    for node in tree:
        if not pending:
            raise _RejectedError("a tree goes on behind its end")
        region = pending.pop()
        if node.kind == "split":
            if region is None:
                raise _RejectedError("an empty region is split")
            split = Split(node.wire, node.index, node.at, True)
            pending += [bounder.part(region, part) for part in (split, split.other)]
        elif not closes(bounder, region, row, node):
            raise _RejectedError(f"a leaf of inequality {row} is not closed by what it says")
    if pending:
        raise _RejectedError("a tree ends before its end")


def closes(bounder: Bounder, region: Region | None, row: int, node: Node) -> bool:
    """Whether a leaf proves that an element of the goal is nowhere negative in its region."""
    if region is None or node.kind == "empty":
        return region is None and node.kind == "empty"
    if node.kind == "ends":
        return int(region.ends[bounder.output][0].flat[row]) >= 0
    if node.kind == "linear":
        rows: IntArray = np.zeros((1, bounder.wires[bounder.output].size), dtype=np.int64)
        rows[0, row] = 1
        return int(bounder.linear_bounds(region, bounder.output, rows)[0]) >= 0
    if node.kind == "dual":
        multipliers = {}
        for name, values in node.multipliers:
            if name not in bounder.curves:
                raise _RejectedError(f"there is no curve {name!r}")
            multipliers[name] = narrowed(shaped(values, bounder.wires[name].shape))
        return bounder.dual_bound(region, row, multipliers) >= 0
    return all(bool((y[:, row] >= 0).all()) for _, y in every_point(bounder, region))


def narrowed(array: IntArray) -> IntArray:
    """In 64 bits if all of it fits."""
    return array.astype(np.int64) if all(-(2**63) <= v < 2**63 for v in array.ravel()) else array


def points_of(bounder: Bounder, region: Region) -> int:
    """How many points of the goal's inputs a region has."""
    machine = bounder.goal.machine
    return number_of(machine, inputs_of(bounder, region))


def inputs_of(bounder: Bounder, region: Region) -> Ends:
    """The ends of all inputs; those that the goal does not depend on stay at their lower ends."""
    machine = bounder.goal.machine
    return {n: region.ends.get(n, (bounder.goal.ends[n][0],) * 2) for n in machine.inputs}


def every_point(bounder: Bounder, region: Region) -> Iterator[tuple[dict[str, IntArray], IntArray]]:
    """All points of a region's inputs, with the goal there, some at a time.

    Raises
    ------
    InputError
        If there are more than `MAX_POINTS`.
    """
    machine = bounder.goal.machine
    if points_of(bounder, region) > MAX_POINTS:
        raise InputError(f"more than {MAX_POINTS:,} points")
    ends = inputs_of(bounder, region)
    free = []
    for name, (lo, hi) in ends.items():
        step = machine.wires[name].alphabet.step
        for k in np.flatnonzero(np.ravel(lo < hi)):
            free.append((name, int(k), range(int(lo.flat[int(k)]), int(hi.flat[int(k)]) + 1, step)))
    rows = product(*(values for _, _, values in free))
    while part := [row for _, row in zip(range(PART), rows)]:
        x = {
            name: np.repeat(np.asarray(lo)[None], len(part), axis=0).astype(machine.wires[name].value_dtype)
            for name, (lo, _) in ends.items()
        }
        for column, (name, place, _) in enumerate(free):
            x[name].reshape(len(part), -1)[:, place] = [row[column] for row in part]
        yield x, machine.run(x, executor="reference")
