"""Verdicts: what is known about a property, and what proves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...machine import IntArray
from .certificates import Certificate
from .properties import Point, Property


@dataclass(frozen=True, eq=False)
class Counterexample:
    """Inputs at which a property does not hold.

    Attributes
    ----------
    points : list of dict
        One input by name, or two that are compared.
    outputs : list of arrays
        What the machine says to each, or what both machines say to the one.
    """

    points: list[Point]
    outputs: list[IntArray]

    def __str__(self) -> str:
        with np.printoptions(threshold=12, edgeitems=3):
            inputs = " and ".join(", ".join(f"{n} = {_text(v)}" for n, v in p.items()) for p in self.points)
            return f"{inputs} gives {' and '.join(_text(y) for y in self.outputs)}"


def _text(value: IntArray) -> str:
    return np.array2string(np.asarray(value), separator=", ").replace("\n", "")


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is known about a property on a box.

    Attributes
    ----------
    property : Property
    status : str
        ``verified``, ``refuted``, or ``unknown`` if time ended.
    method : str
        What decided: ``points``, ``intervals``, ``linear bounds``, ``attack``, ``multipliers``,
        ``branch and bound``, ``annealing`` or ``CP-SAT``; ``time limit`` if nothing did.
    seconds : float
    certificate : Certificate
        What `replay` checks.
    counterexample : Counterexample or None
    regions : int
        Regions that were looked at.
    """

    property: Property
    status: str
    method: str
    seconds: float
    certificate: Certificate
    counterexample: Counterexample | None = None
    regions: int = 1

    def __str__(self) -> str:
        shown = "" if self.counterexample is None else f"; {self.counterexample}"
        return f"{self.status}: {self.property} ({self.method}){shown}"
