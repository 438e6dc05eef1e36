"""Properties of pairs: two machines on one input, or one machine on two inputs that differ in one feature.

Two copies share their inputs in one goal. For features it is enough to compare neighbours, as a box holds all values
between two: what does not fall, or does not change, from each value to the next one does so nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...machine import InputError, IntArray, Machine, Wire
from ...machine import operations as op
from .box import Box, Ends
from .lowering import Lowering
from .properties import Goal, Point, Property, evaluated, finish, only_output


def decision(to: Lowering, x: Wire, label: bool) -> Wire:
    """What is compared: a wire, or the index of its greatest element."""
    if not label:
        return x
    found = to.argmax(x)
    return to.reshaped(found, (found.size,))


def shown(y: IntArray, label: bool) -> IntArray:
    """What is compared of an output."""
    return np.asarray(y.argmax(axis=-1)) if label else y


@dataclass(frozen=True, eq=False)
class Equal(Property):
    """Another machine returns the same.

    Parameters
    ----------
    other : Machine
        One with the same inputs.
    label : bool
        Whether only the classes must be the same: the argmax of the last axis.
    output : str, optional
        Which output of both, where they have several.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import verify
    >>> machines = []
    >>> for slope in (2, 3):
    ...     b = Builder()
    ...     x = b.input("x", (1,), Levels(-9, 9))
    ...     machines.append(b.build(b.clamp(b.affine(x, [[slope]]), 0, 6)))
    >>> one, other = machines
    >>> print(verify(one, Box([-9], [0]), Equal(other)))
    verified: equal to the other machine (intervals)
    >>> print(verify(one, Box.whole(one), Equal(other)))
    refuted: equal to the other machine (points); x = [1] gives [2] and [3]
    """

    kind = "equal"
    other: Machine
    label: bool = False
    output: str | None = None

    def goal(self, machine: Machine, box: Box) -> Goal:
        if {n: (machine.wires[n].shape, machine.wires[n].alphabet) for n in machine.inputs} != {
            n: (self.other.wires[n].shape, self.other.wires[n].alphabet) for n in self.other.inputs
        }:
            raise InputError("Equal: both machines need inputs of the same names, shapes and alphabets")
        to = Lowering()
        inputs = to.inputs(machine)
        compared = []
        for m in (machine, self.other):
            name = only_output(m, self.output)
            compared.append(decision(to, to.copy(m, inputs, [name])[name], self.label))
        if compared[0].shape != compared[1].shape:
            raise InputError(f"Equal: outputs of shapes {compared[0].shape} and {compared[1].shape}")
        return finish(to, both_signs(to, to.add(op.Sub(), *compared)), box.ends(machine))

    def outputs(self, machine: Machine, points: list[Point]) -> list[IntArray]:
        return [evaluated(m, only_output(m, self.output), points)[0] for m in (machine, self.other)]

    def broken(self, outputs: list[IntArray]) -> bool:
        return bool((shown(outputs[0], self.label) != shown(outputs[1], self.label)).any())

    def fields(self) -> dict[str, Any]:
        return {"other": self.other.hash, "label": bool(self.label), "output": self.output}

    def __str__(self) -> str:
        return ("the class is that of" if self.label else "equal to") + " the other machine"


def both_signs(to: Lowering, difference: Wire) -> Wire:
    """A difference and its negative."""
    flat = to.reshaped(difference, (difference.size,))
    return to.add(op.Concat(0), flat, to.add(op.Neg(), flat))


@dataclass(frozen=True, eq=False)
class OfFeature(Property):
    """A property of the change of one feature.

    Parameters
    ----------
    feature : int or tuple of int
        Which element of the input: its index, or its number in row-major order.
    input : str, optional
        Which input, where a machine has several.
    output : str, optional
        Which output, where it has several.
    """

    feature: Any
    input: str | None = field(default=None, kw_only=True)
    output: str | None = field(default=None, kw_only=True)

    def place(self, machine: Machine) -> tuple[str, tuple[int, ...]]:
        """The input and the index of the feature in it."""
        name = self.input if self.input is not None or len(machine.inputs) > 1 else machine.inputs[0]
        if name not in machine.inputs:
            raise InputError(f"which of the inputs {', '.join(machine.inputs)} is meant? got {name!r}; name one")
        shape = machine.wires[name].shape
        try:
            if isinstance(self.feature, (int, np.integer)):
                return name, tuple(int(k) for k in np.unravel_index(int(self.feature), shape))
            index = tuple(int(k) for k in self.feature)
            if len(index) == len(shape) and all(0 <= k < n for k, n in zip(index, shape)):
                return name, index
        except (TypeError, ValueError):
            pass
        raise InputError(f"{name}: feature {self.feature!r} is no element of an input of shape {shape}")

    def fields(self) -> dict[str, Any]:
        index = list(self.feature) if isinstance(self.feature, (tuple, list)) else int(self.feature)
        return {"feature": index, "input": self.input, "output": self.output}

    def points(self, machine: Machine, x: Point) -> list[Point]:
        name, index = self.place(machine)
        following = np.array(x[name])
        following[index] += machine.wires[name].alphabet.step
        return [x, {**x, name: following}]

    def outputs(self, machine: Machine, points: list[Point]) -> list[IntArray]:
        return evaluated(machine, only_output(machine, self.output), points)

    def neighbours(self, machine: Machine, box: Box, label: bool) -> tuple[Lowering, Wire, Wire, Ends]:
        """Outputs of two copies, of which the second has the feature's next value, on a box that leaves room for it."""
        name, index = self.place(machine)
        ends = box.ends(machine)
        lo, hi = ends[name]
        step = machine.wires[name].alphabet.step
        # a feature that cannot change is compared with itself
        reach = step if lo[index] < hi[index] else 0
        hi = np.array(hi)
        hi[index] -= reach
        output = only_output(machine, self.output)
        to = Lowering()
        inputs = to.inputs(machine)
        offset = np.zeros(lo.shape, dtype=np.int64)
        offset[index] = reach
        moved = to.add(op.Add(), inputs[name], to.add(op.Constant(None, offset)))
        first = to.copy(machine, inputs, [output])[output]
        second = to.copy(machine, {**inputs, name: moved}, [output])[output]
        return to, decision(to, first, label), decision(to, second, label), {**ends, name: (lo, hi)}


@dataclass(frozen=True, eq=False)
class Monotone(OfFeature):
    """No element of the output falls when one feature grows and all others stay.

    Parameters
    ----------
    feature : int or tuple of int
        Which element of the input: its index, or its number in row-major order.
    increasing : bool
        False for: no element rises.
    input, output : str, optional
        Which ones, where a machine has several.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import verify
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(-50, 50))
    >>> machine = b.build(b.shift(b.affine(x, [[3, -1]]), 2))
    >>> print(verify(machine, Box.whole(machine), Monotone(0)))
    verified: grows with feature 0 (linear bounds)
    >>> print(verify(machine, Box([0, -1], [0, 1]), Monotone(1)))
    refuted: grows with feature 1 (points); x = [0, 0] and x = [0, 1] gives [0] and [-1]
    """

    kind = "monotone"
    increasing: bool = True

    def goal(self, machine: Machine, box: Box) -> Goal:
        to, first, second, ends = self.neighbours(machine, box, False)
        return finish(to, to.add(op.Sub(), *((second, first) if self.increasing else (first, second))), ends)

    def broken(self, outputs: list[IntArray]) -> bool:
        return bool((outputs[1] < outputs[0]).any() if self.increasing else (outputs[1] > outputs[0]).any())

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "increasing": bool(self.increasing)}

    def __str__(self) -> str:
        return f"{'grows' if self.increasing else 'falls'} with feature {self.feature}"


@dataclass(frozen=True, eq=False)
class Invariant(OfFeature):
    """The output stays when one feature changes and all others stay.

    Parameters
    ----------
    feature : int or tuple of int
        Which element of the input: its index, or its number in row-major order.
    label : bool
        Whether only the class must stay: the argmax of the last axis.
    input, output : str, optional
        Which ones, where a machine has several.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> from zahlen.analysis import verify
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 99))
    >>> machine = b.build(b.staircase(b.affine(x, [[10, 1]]), [300], [0, 1], name="y"))
    >>> print(verify(machine, Box([31, 0], [99, 99]), Invariant(1)))
    verified: does not depend on feature 1 (intervals)
    >>> verify(machine, Box([30, 0], [30, 9]), Invariant(1)).status
    'verified'
    """

    kind = "invariant"
    label: bool = False

    def goal(self, machine: Machine, box: Box) -> Goal:
        to, first, second, ends = self.neighbours(machine, box, self.label)
        return finish(to, both_signs(to, to.add(op.Sub(), second, first)), ends)

    def broken(self, outputs: list[IntArray]) -> bool:
        return bool((shown(outputs[0], self.label) != shown(outputs[1], self.label)).any())

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "label": bool(self.label)}

    def __str__(self) -> str:
        return f"{'the class ' if self.label else ''}does not depend on feature {self.feature}"
