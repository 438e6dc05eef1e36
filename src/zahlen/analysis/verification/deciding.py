"""Deciding a property on a box: defences one behind the other, the cheapest first."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ...machine import InputError, IntArray, Machine
from . import branching
from .attack import Batch, climb, first_corners, middle, values
from .box import Box
from .branching import OutOfTimeError, Search
from .certificates import Certificate, Node, Tree, flat
from .program import program
from .properties import Property
from .region import Region
from .regions import Bounder
from .replay import every_point, points_of
from .solver import solved
from .verdict import Counterexample, Verdict

SHARE = 0.95
"""The part of the time after which CP-SAT alone looks for a counterexample."""


def verify(machine: Machine, box: Box, property: Property, *, seconds: float = 60) -> Verdict:
    """Decide whether a property holds for every input of a box.

    Parameters
    ----------
    machine : Machine
        One without registers.
    box : Box
    property : Property
        `Stable`, `Within`, `Equal`, `Monotone` or `Invariant`.
    seconds : float
        Most time; after it the verdict is ``unknown``.

    Returns
    -------
    Verdict
        With a certificate that `replay` checks, or a counterexample.

    Raises
    ------
    InputError
        If machine, box and property do not fit each other, or the machine has an operation that is not verified.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import Within
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 99))
    >>> machine = b.build(b.max(b.slice(x, [0], [1]), b.slice(x, [1], [2])))
    >>> verdict = verify(machine, Box([10, 20], [30, 40]), Within(20, 40))
    >>> print(verdict)
    verified: output within 20..40 (intervals)
    >>> verdict.certificate.leaves
    2
    """
    started = time.monotonic()
    if not isinstance(box, Box) or not isinstance(property, Property):
        raise InputError("a Box and a property (Stable, Within, Equal, Monotone or Invariant) are due")
    return _Search(machine, box, property, started, seconds).verdict()


@dataclass(eq=False)
class _Search:
    machine: Machine
    box: Box
    property: Property
    started: float
    seconds: float
    regions: int = 1

    def verdict(self) -> Verdict:
        self.bounder = Bounder(self.property.goal(self.machine, self.box))
        rows = self.bounder.wires[self.bounder.output].size
        region = self.bounder.whole(linear=False)
        if (self._ends(region) >= 0).all():
            return self._verified("intervals", False, [(Node("ends"),)] * rows)
        if (bad := self._attacked(middle(self.bounder, self.bounder.goal.ends))) is not None:
            return bad
        if points_of(self.bounder, region) <= branching.POINTS:
            return self._enumerated(region, rows)
        region = self.bounder.whole()
        lower = self._ends(region)
        open_rows = np.flatnonzero(lower < 0)
        units = np.zeros((len(open_rows), rows), dtype=np.int64)
        units[np.arange(len(open_rows)), open_rows] = 1
        trees: list[Tree] = [(Node("ends"),)] * rows
        if len(open_rows):
            bounds = self.bounder.linear_bounds(region, self.bounder.output, units)
            for row, bound in zip(open_rows.tolist(), bounds):
                trees[row] = (Node("linear"),) if bound >= 0 else ()
        if all(trees):
            return self._verified("linear bounds", True, trees)
        least = dict(zip(open_rows.tolist(), bounds))
        rest = sorted((k for k, tree in enumerate(trees) if not tree), key=lambda k: least[k])
        starts = first_corners(self.bounder, region, rest, self.bounder.goal.ends)
        if (bad := self._attacked(starts)) is not None:
            return bad
        for x in climb(self.bounder, region, starts, np.array(rest)):
            if (bad := self._attacked(x)) is not None:
                return bad
        programs = program(self.bounder, region)
        for row in rest:
            search = Search(self.bounder, row, self.started + self.seconds * SHARE, programs)
            try:
                found = search.run(region)
            except OutOfTimeError:
                self.regions += search.regions
                return self._last(region, rest)
            self.regions += search.regions
            if isinstance(found, dict):
                bad = self._attacked(found, search.method)
                assert bad is not None
                return bad
            trees[row] = found
        method = "multipliers" if all(len(tree) == 1 for tree in trees) else "branch and bound"
        return self._verified(method, True, trees)

    def _last(self, region: Region, rows: list[int]) -> Verdict:
        """A counterexample by CP-SAT, or no answer."""
        found = solved(self.bounder, region, rows, self.started + self.seconds - time.monotonic())
        if found is not None and (bad := self._attacked(found, "CP-SAT")) is not None:
            return bad
        return self._verdict("unknown", "time limit", self._certificate("unknown"))

    def _ends(self, region: Region) -> IntArray:
        return np.ravel(region.ends[self.bounder.output][0])

    def _enumerated(self, region: Region, rows: int) -> Verdict:
        for x, y in every_point(self.bounder, region):
            if (y < 0).any():
                k = int((y < 0).any(axis=1).argmax())
                return self._refuted("points", {name: value[k] for name, value in x.items()})
        return self._verified("points", False, [(Node("points"),)] * rows)

    def _attacked(self, x: Batch, method: str = "attack") -> Verdict | None:
        least = values(self.bounder, x).min(axis=1)
        k = int(least.argmin())
        return self._refuted(method, {n: v[k] for n, v in x.items()}) if least[k] < 0 else None

    def _refuted(self, method: str, x: Batch) -> Verdict:
        points = self.property.points(
            self.machine, {n: v.astype(self.machine.wires[n].value_dtype) for n, v in x.items()}
        )
        outputs = self.property.outputs(self.machine, points)
        if not self.property.broken(outputs):
            raise RuntimeError("verify: the machine does not confirm a counterexample; please report this")
        certificate = self._certificate(
            "refuted",
            points=tuple({n: flat(v) for n, v in p.items()} for p in points),
            outputs=tuple(y.tolist() for y in outputs),
        )
        return self._verdict("refuted", method, certificate, Counterexample(points, outputs))

    def _verified(self, method: str, linear: bool, trees: list[Tree]) -> Verdict:
        return self._verdict("verified", method, self._certificate("verified", linear=linear, trees=tuple(trees)))

    def _certificate(self, status: str, **more: object) -> Certificate:
        box = tuple((n, flat(lo), flat(hi)) for n, (lo, hi) in self.box.ends(self.machine).items())
        asked = {"kind": self.property.kind, **self.property.fields()}
        return Certificate(self.machine.hash, box, asked, status, **more)  # type: ignore[arg-type]

    def _verdict(
        self, status: str, method: str, certificate: Certificate, found: Counterexample | None = None
    ) -> Verdict:
        taken = time.monotonic() - self.started
        return Verdict(self.property, status, method, taken, certificate, found, self.regions)
