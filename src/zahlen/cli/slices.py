"""What ``zahlen analyse`` says of a machine as a piecewise affine function: regions, pieces, tropical form."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import typer

from ..machine import DataError, IntArray, Machine
from .app import belongs, numbers
from .files import Notes, divided_samples, expected_samples, samples

if TYPE_CHECKING:
    from fractions import Fraction

    from ..analysis import Pieces, Regions, Tropical
    from .analyse import Task

Within = Literal["box", "triangle", "parallelogram", "segment"]

PARTS: dict[Within, tuple[str, ...]] = {
    "box": ("--regions", "--pieces"),
    "triangle": ("--regions",),
    "parallelogram": ("--regions",),
    "segment": ("--pieces",),
}
"""What each part of a slice is for."""
SHOWN = 20
"""Most classes along a line that are printed."""
LISTED = 1000
"""Most cells, or monomials of a polynomial, that are written to a JSON file."""
DUE = {"--regions": (3, "a plane"), "--pieces": (2, "a line")}
"""How many points what is asked for needs, and what goes through them."""


@dataclass(frozen=True)
class Slicing:
    """Which slice of the input space is asked for, as the options say it."""

    asked: tuple[str, ...]
    """Of ``--regions``, ``--pieces``, ``--tropical``."""
    data: str
    through: str | None
    divide: int | None
    within: Within | None
    outputs: str | None

    def belongs(self) -> None:
        """Refuse options that do not belong together, and what can be seen without the machine."""
        for name, given in (("DATA", bool(self.data)), ("--through", self.through), ("--outputs", self.outputs)):
            belongs(bool(given), bool(self.asked), name, "add --regions, --pieces or --tropical")
        belongs(self.divide is not None, bool(self.data), "--divide", "it divides the values of DATA")
        belongs(bool(self.data), self.through is not None, "DATA", "add --through, which of its samples are meant")
        belongs(self.through is not None, bool(self.data), "--through", "these are samples of DATA, which is missing")
        if self.within is not None:
            fits = any(option in self.asked for option in PARTS[self.within])
            belongs(True, fits, "--within", f"{self.within} is a part for {' or '.join(PARTS[self.within])}")
            cornered = self.within == "box" or self.through is not None
            belongs(True, cornered, "--within", f"a {self.within} has its corners in samples; add --through")
        chosen = self.numbers()
        for option, (due, what) in DUE.items():
            if option in self.asked and chosen is not None and len(chosen) != due:
                reason = f"{option} takes {due} samples, which {what} goes through, got {len(chosen)}"
                raise typer.BadParameter(reason, param_hint="--through")
        if chosen is not None and len(chosen) < 2:
            raise typer.BadParameter(f"two samples or more are due, got {self.through}", param_hint="--through")

    def numbers(self) -> tuple[int, ...] | None:
        """Which samples are points of the slice."""
        return None if self.through is None else numbers(self.through, 0, "--through")

    def names(self) -> list[str] | None:
        """The wires whose function is asked for; none for the machine's outputs."""
        return None if self.outputs is None else [name.strip() for name in self.outputs.split(",")]

    def points(self, machine: Machine) -> IntArray | None:
        """Points of the slice; none where its parameters are the elements of the input."""
        from ..analysis.piecewise.program import program

        program(" ".join(self.asked), machine, self.names())  # refuses before any data are read
        chosen = self.numbers()
        if chosen is None:
            size = sum(machine.wires[name].size for name in machine.inputs)
            for option, (due, what) in DUE.items():
                if option in self.asked and size != due - 1:
                    reason = f"the input has {size:,} elements; give DATA, and --through with {due} of its samples"
                    raise typer.BadParameter(f"{reason}, which {what} goes through", param_hint=option)
            return None
        x = expected_samples(machine, samples(machine, self.data)[0], self.data)
        if max(chosen) >= len(x):
            raise DataError(f"{self.data}: there is no sample {max(chosen):,}; --through takes 0..{len(x) - 1:,}")
        return divided_samples(machine, x[list(chosen)], self.divide or 1, self.data)


def slices(task: Task, asked: Slicing, draw: Path | None) -> None:
    """Answer what is asked of a slice."""
    points = asked.points(task.machine)
    if "--regions" in asked.asked:
        _regions(task, asked, points, draw)
    if "--pieces" in asked.asked:
        _pieces(task, asked, points)
    if "--tropical" in asked.asked:
        _tropical(task, asked, points)


def _regions(task: Task, asked: Slicing, points: IntArray | None, draw: Path | None) -> None:
    from .. import analysis
    from ..analysis.piecewise.regions import DEFINITIONS

    start = time.perf_counter()
    options = task.options(outputs=asked.names(), progress=task.progress)
    found = analysis.regions(task.machine, points, within=asked.within or "box", **options)
    counts = found.counts
    seconds = time.perf_counter() - start
    task.say("regions", found, {**counts, "vertices": len(found.points), "edges": len(found.edges)} | _cells(found))
    for name, definition in DEFINITIONS.items():
        print(f"  {name}: {definition}")
    print(f"  found in {seconds:.2f} s")
    if draw is not None:
        found.plot(draw)
    where = "at its corners and inside" if found.continuous else "inside"
    _confirmed(found.check(), f"the map of each cell {where}, by the machine's operations")


def _cells(found: Regions) -> dict[str, Any]:
    """The first cells for JSON."""
    listed = [
        {
            "corners": [[str(value) for value in found.vertices[v]] for v in polygon],
            "region": int(found.region[c]),
            "map": found.maps[c].tolist(),
        }
        for c, polygon in enumerate(found.cells[:LISTED])
    ]
    return {"cells": listed}


def _pieces(task: Task, asked: Slicing, points: IntArray | None) -> None:
    from .. import analysis

    start = time.perf_counter()
    within = asked.within or ("box" if points is None else "segment")
    options = task.options(outputs=asked.names(), progress=task.progress)
    found = analysis.pieces(task.machine, points, within=within, **options)
    seconds = time.perf_counter() - start
    record: dict[str, Any] = {**found.counts, "ends": [str(end) for end in found.ends]}
    classes = _classes(found)
    if classes is not None:
        record["classes"] = [{"from": str(start), "class": label} for start, label in classes]
    task.say("pieces", found, record)
    if classes is not None:
        names = Notes.of(task.machine).classes
        for (left, label), (right, _) in list(zip(classes, [*classes[1:], (found.ends[-1], -1)]))[:SHOWN]:
            name = f" ({names[label]})" if label < len(names) and names[label] != str(label) else ""
            print(f"  class {label}{name} from {_about(left)} to {_about(right)}")
        if len(classes) > SHOWN:
            print(f"  and {len(classes) - SHOWN:,} more; --json writes all of them")
    print(f"  found in {seconds:.2f} s")


def _classes(found: Pieces) -> list[tuple[Fraction, int]] | None:
    """Where from which class is the answer; none of machines without classes."""
    from ..machine import InputError

    try:
        return found.classes
    except InputError:
        return None


def _about(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{value} (about {float(value):.4f})"


def _tropical(task: Task, asked: Slicing, points: IntArray | None) -> None:
    from .. import analysis

    start = time.perf_counter()
    options = task.options(outputs=asked.names(), progress=task.progress)
    found = analysis.tropical(task.machine, points, **options)
    seconds = time.perf_counter() - start
    sides = {"numerators": found.numerators, "denominators": found.denominators}
    record: dict[str, Any] = {"variables": found.slice.names, "minimal": found.minimal}
    record |= {f"{side} monomials": [len(p) for p in each] for side, each in sides.items()}
    record |= {side: [p.monomials[:LISTED] for p in each] for side, each in sides.items()}
    task.say("tropical", found, record)
    print(f"  found in {seconds:.2f} s")
    _confirmed(*_checked(found, task.machine, points))


def _checked(found: Tropical, machine: Machine, points: IntArray | None) -> tuple[bool, str]:
    """Whether a form is the machine's function, and where that was compared."""
    from .. import analysis

    names, count = found.outputs, found.slice.parameters
    if count == 2:
        cells = analysis.regions(machine, points, outputs=names)
        return found.check(cells), f"on all {len(cells.cells):,} cells of the plane in the box of the input"
    if points is None or count == 1:
        wires = [machine.wires[name] for name in machine.inputs]
        ends = {w.name: np.array([np.full(w.shape, end) for end in (w.alphabet.lo, w.alphabet.hi)]) for w in wires}
        line = analysis.pieces(machine, ends if points is None else points, outputs=names)
        where = "the diagonal of the box" if points is None else "the line in the box"
        return found.check(line), f"on all {len(line.maps):,} pieces of {where} of the input"
    values = analysis.evaluate(machine, {machine.inputs[0]: points.astype(object)}, names)
    rows = np.concatenate([values[name].reshape(len(points), -1) for name in names], axis=1).tolist()
    corners = np.eye(count + 1, count, -1, dtype=int).tolist()
    return all(found.values(at) == row for at, row in zip(corners, rows)), f"at all {len(points)} samples"


def _confirmed(right: bool, where: str) -> None:
    if not right:
        raise RuntimeError(f"analyse: the machine's operations do not confirm it: {where}; please report this")
    print(f"  checked {where}")
