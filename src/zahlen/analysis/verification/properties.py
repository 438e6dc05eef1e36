"""Properties: what is asked of a machine on a box, and the goal that stands for it.

A goal is a lowered machine whose one output must be nowhere negative. It is made by a few lines for each property, and
what a counterexample shows is found again with the machine itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...machine import InputError, IntArray, Machine, Wire
from ...machine import operations as op
from ...machine.alphabets import integer_array
from .box import Box, Ends
from .lowering import Lowering

Point = dict[str, IntArray]
"""One input by name, each an array of the input's shape."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What is to be proved: an output of a lowered machine that is at least 0 everywhere in a box.

    Attributes
    ----------
    machine : Machine
        Its one output is ``goal``, (n,).
    also : mapping
        See `Lowering`.
    ends : Ends
        The box of its inputs.
    """

    machine: Machine
    also: Mapping[str, tuple[op.Operation, tuple[str, ...]]]
    ends: Ends


@dataclass(frozen=True, eq=False)
class Property:
    """What may hold for all inputs of a box; see its subclasses."""

    kind: ClassVar[str]

    @abstractmethod
    def goal(self, machine: Machine, box: Box) -> Goal:
        """The goal that is nowhere negative exactly if this holds."""

    def points(self, machine: Machine, x: Point) -> list[Point]:
        """The inputs that are compared at one point of the goal's box."""
        return [x]

    @abstractmethod
    def outputs(self, machine: Machine, points: list[Point]) -> list[IntArray]:
        """What the machine says to such inputs, by the reference."""

    @abstractmethod
    def broken(self, outputs: list[IntArray]) -> bool:
        """Whether these outputs contradict the property."""

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """What it is, as JSON values."""


def only_output(machine: Machine, output: str | None) -> str:
    """The name of the output that is meant."""
    if output is None and len(machine.outputs) == 1:
        return machine.outputs[0]
    if output not in machine.outputs:
        raise InputError(f"which of the outputs {', '.join(machine.outputs)} is meant? got {output!r}; name one")
    return output


def evaluated(machine: Machine, output: str, points: list[Point]) -> list[IntArray]:
    """An output at some points, by the reference."""
    found = machine.run({n: np.stack([p[n] for p in points]) for n in machine.inputs}, executor="reference")
    return list(found[output] if len(machine.outputs) > 1 else found)


def signed_rows(to: Lowering, x: Wire, weight: IntArray, bias: IntArray) -> Wire:
    """Rows of linear forms of all elements of a wire."""
    flat = to.reshaped(x, (x.size,))
    return to.add(op.Affine(weight, bias), flat)


def finish(to: Lowering, goal: Wire, ends: Ends) -> Goal:
    """The goal with this wire."""
    goal = to.reshaped(goal, (goal.size,))
    return Goal(to.builder.build(goal), to.also, ends)


@dataclass(frozen=True, eq=False)
class Stable(Property):
    """The class stays `label`: the lowest index among the greatest scores, as `operations.Argmax` has it.

    Parameters
    ----------
    label : int
    output : str, optional
        The output with the scores, or the argmax of scores, where a machine has several.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import verify
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 9))
    >>> machine = b.build(b.argmax(b.affine(x, [[2, 1], [0, 3]])))
    >>> print(verify(machine, Box.ball(machine, [6, 3], 1), Stable(0)))
    verified: class 0 (intervals)
    >>> print(verify(machine, Box.ball(machine, [6, 3], 2), Stable(0)))
    refuted: class 0 (points); x = [4, 5] gives 1
    """

    kind = "stable"
    label: int
    output: str | None = None

    def goal(self, machine: Machine, box: Box) -> Goal:
        name = only_output(machine, self.output)
        wire = machine.wires[name]
        if isinstance(wire.operation, op.Argmax):
            wire = machine.wires[wire.operands[0]]
        if len(wire.shape) != 1 or not wire.alphabet.numeric:
            raise InputError(
                f"{name}: scores in one axis are due, or their argmax; ask for Within(label, label) of other outputs"
            )
        n = wire.size
        if isinstance(self.label, (bool, np.bool_)) or not isinstance(self.label, (int, np.integer)):
            raise InputError(f"a label is an integer, got {self.label!r}")
        if not 0 <= self.label < n:
            raise InputError(f"label {self.label} is none of the {n} classes 0..{n - 1}")
        to = Lowering()
        scores = to.copy(machine, to.inputs(machine), [wire.name])[wire.name]
        others = [j for j in range(n) if j != self.label]
        weight = np.zeros((max(1, n - 1), n), dtype=np.int64)
        weight[np.arange(n - 1), others] = -1
        weight[: n - 1, self.label] = 1
        bias = -(np.array([*others, self.label][: max(1, n - 1)]) < self.label).astype(np.int64)
        return finish(to, signed_rows(to, scores, weight, bias), box.ends(machine))

    def outputs(self, machine: Machine, points: list[Point]) -> list[IntArray]:
        return evaluated(machine, only_output(machine, self.output), points)

    def broken(self, outputs: list[IntArray]) -> bool:
        found = np.asarray(outputs[0])
        return bool((int(found.argmax()) if found.ndim else int(found)) != self.label)

    def fields(self) -> dict[str, Any]:
        return {"label": int(self.label), "output": self.output}

    def __str__(self) -> str:
        return f"class {self.label}"


@dataclass(frozen=True, eq=False)
class Within(Property):
    """Every element of an output stays from `lo` to `hi`.

    Parameters
    ----------
    lo, hi : int, or integer array of the output's shape, or None
        Ends, both included; None for no bound.
    output : str, optional
        Which output, where a machine has several.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import verify
    >>> b = Builder()
    >>> x = b.input("x", (1,), Levels(-8, 8))
    >>> y = b.staircase(x, [0], [0, 1])
    >>> machine = b.build(b.sub(y, b.staircase(x, [1], [0, 1]), name="y"))
    >>> print(verify(machine, Box([-8], [8]), Within(0, 1)))
    verified: output within 0..1 (points)
    """

    kind = "within"
    lo: Any = None
    hi: Any = None
    output: str | None = None

    def __post_init__(self) -> None:
        for name in ("lo", "hi"):
            value = getattr(self, name)
            if value is not None:
                try:
                    object.__setattr__(self, name, integer_array(value).astype(object))
                except ValueError as error:
                    raise InputError(f"Within: {name}: {error}") from None

    def goal(self, machine: Machine, box: Box) -> Goal:
        name = only_output(machine, self.output)
        shape = machine.wires[name].shape
        to = Lowering()
        x = to.copy(machine, to.inputs(machine), [name])[name]
        parts = []
        for end, side in ((self.lo, 1), (self.hi, -1)):
            if end is None:
                continue
            if end.ndim and end.shape != shape:
                raise InputError(f"Within: ends of shape {shape} are due, got {end.shape}")
            value = np.broadcast_to(end, shape)
            bound = to.add(op.Constant(None, value))
            parts.append(to.add(op.Sub(), *((x, bound) if side > 0 else (bound, x))))
        if not parts:
            raise InputError("Within: an end is due, lo or hi or both")
        return finish(to, to.add(op.Concat(0), *(to.reshaped(p, (p.size,)) for p in parts)), box.ends(machine))

    def outputs(self, machine: Machine, points: list[Point]) -> list[IntArray]:
        return evaluated(machine, only_output(machine, self.output), points)

    def broken(self, outputs: list[IntArray]) -> bool:
        (y,) = outputs
        return bool((self.lo is not None and (y < self.lo).any()) or (self.hi is not None and (y > self.hi).any()))

    def fields(self) -> dict[str, Any]:
        ends = {name: None if end is None else end.tolist() for name, end in (("lo", self.lo), ("hi", self.hi))}
        return {**ends, "output": self.output}

    def __str__(self) -> str:
        ends = ("" if e is None else str(e.item()) if e.size == 1 else f"[{e.size}]" for e in (self.lo, self.hi))
        return "output within " + "..".join(ends)
