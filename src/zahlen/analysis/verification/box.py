"""Boxes: for every element of the inputs a least and a greatest value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...machine import InputError, IntArray, Machine, Wire
from ...machine.alphabets import integer_array

Ends = dict[str, tuple[IntArray, IntArray]]
"""For each input the least and the greatest value of every element."""


@dataclass(frozen=True, eq=False)
class Box:
    """All inputs between two.

    Parameters
    ----------
    lower, upper : integer arrays of the input's shape, integers for all elements, or mappings of such by input name
        Least and greatest values, both included.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (3,), Levels(0, 10, 2))
    >>> machine = b.build(b.affine(x, [[1, 1, 1]]))
    >>> box = Box.ball(machine, [0, 4, 10], 3)
    >>> box.lower["x"].tolist(), box.upper["x"].tolist()
    ([0, 2, 8], [2, 6, 10])
    >>> box.points(machine)
    12
    """

    lower: Any
    upper: Any

    @classmethod
    def ball(cls, machine: Machine, x: Any, eps: int) -> Box:
        """All elements of the input's alphabet that differ from `x` by at most `eps` in every place.

        Parameters
        ----------
        machine : Machine
        x : integer array of the input's shape, or mapping of such by input name
            An input of the machine.
        eps : int
            In units of the input: for 64 grey levels 1 is one of them.

        Raises
        ------
        InputError
            If `x` is no input of the machine, or `eps` is no integer from 0 on.
        """
        if isinstance(eps, (bool, np.bool_)) or not isinstance(eps, (int, np.integer)) or eps < 0:
            raise InputError(f"eps is an integer from 0 on, got {eps!r}")
        lower, upper = {}, {}
        for name, value in _by_name(machine, x, "x").items():
            wire = machine.wires[name]
            value = _elements(wire, value)
            if not wire.alphabet.contains_all(value):
                raise InputError(f"{name}: values are {value.min()}..{value.max()}, the alphabet is {wire.alphabet}")
            reach = int(eps) // wire.alphabet.step * wire.alphabet.step
            lower[name] = np.maximum(value - reach, wire.alphabet.lo)
            upper[name] = np.minimum(value + reach, wire.alphabet.hi)
        return cls(lower, upper)

    @classmethod
    def whole(cls, machine: Machine) -> Box:
        """All inputs of a machine."""
        wires = {name: machine.wires[name] for name in machine.inputs}
        return cls(
            {name: _filled(w, w.alphabet.lo) for name, w in wires.items()},
            {name: _filled(w, w.alphabet.hi) for name, w in wires.items()},
        )

    def ends(self, machine: Machine) -> Ends:
        """The box by input name, cut down to elements of the alphabets.

        Raises
        ------
        InputError
            If shapes do not fit, or no element of an alphabet lies between two ends.
        """
        lower, upper = _by_name(machine, self.lower, "lower"), _by_name(machine, self.upper, "upper")
        found = {}
        for name in machine.inputs:
            wire = machine.wires[name]
            lo, hi = _elements(wire, lower[name]), _elements(wire, upper[name])
            first, last, step = wire.alphabet.lo, wire.alphabet.hi, wire.alphabet.step
            lo = first + -((first - np.maximum(lo, first)) // step) * step
            hi = first + (np.minimum(hi, last) - first) // step * step
            if (lo > hi).any():
                place = tuple(int(k) for k in np.argwhere(lo > hi)[0])
                raise InputError(
                    f"{name}{list(place)}: no element of {wire.alphabet} lies in the box; its lower end must not be "
                    "above its upper end, and it has to hold one element"
                )
            found[name] = np.asarray(lo), np.asarray(hi)
        return found

    def points(self, machine: Machine) -> int:
        """How many inputs there are in the box."""
        return number_of(machine, self.ends(machine))


def number_of(machine: Machine, ends: Ends) -> int:
    """How many inputs lie between ends."""
    total = 1
    for name, (lo, hi) in ends.items():
        counts = (hi - lo) // machine.wires[name].alphabet.step + 1
        for count, times in zip(*np.unique(counts.astype(object), return_counts=True)):
            total *= int(count) ** int(times)
    return total


def _by_name(machine: Machine, value: Any, what: str) -> dict[str, Any]:
    given = dict(value) if isinstance(value, Mapping) else {machine.inputs[0]: value} if machine.inputs else {}
    if set(given) != set(machine.inputs) or not machine.inputs:
        raise InputError(
            f"{what}: arrays for the inputs {', '.join(machine.inputs)} are due, as a mapping by name if several"
        )
    return given


def _filled(wire: Wire, value: int) -> IntArray:
    return np.full(wire.shape, value, dtype=wire.value_dtype)


def _elements(wire: Wire, value: Any) -> IntArray:
    try:
        array = integer_array(value)
    except ValueError as error:
        raise InputError(f"{wire.name}: {error}") from None
    if array.ndim and array.shape != wire.shape:
        raise InputError(f"{wire.name}: shape {wire.shape} is due, got {array.shape}")
    # ends may lie far outside the alphabet
    array = array.astype(object)
    array = np.minimum(np.maximum(array, wire.alphabet.lo - wire.alphabet.step), wire.alphabet.hi + wire.alphabet.step)
    return np.broadcast_to(np.asarray(array, dtype=wire.value_dtype), wire.shape)
