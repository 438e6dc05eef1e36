"""Machines that are piecewise affine, and what they are at rational points, by the reference on fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import machines

from zahlen.machine import Builder, Levels, Machine
from zahlen.machine import operations as op
from zahlen.machine.reference import apply, batched

CONTINUOUS = (
    "affine",
    "affine",
    "conv",
    "clamp",
    "maxpool",
    "max",
    "max",
    "min",
    "add",
    "sub",
    "neg",
    "sum",
    "sumpool",
)
KINDS = (*CONTINUOUS, "constant", "reshape", "concat", "slice", "transpose", "input")
JUMPS = ("staircase", "argmax")


def any_machine(jumps: bool = False) -> st.SearchStrategy[Machine]:
    """Machines of every operation that is piecewise affine, now and then with coefficients beyond 64 bits."""
    kinds = KINDS + JUMPS if jumps else KINDS
    return st.booleans().flatmap(
        lambda wide: machines(kinds=kinds, registers=False, codes=False, wide=wide, max_wires=7)
    )


@st.composite
def networks(draw: Callable[..., Any], inputs: int = 2, most: int = 4, jumps: bool = False) -> Machine:
    """ReLU networks with small weights, in which many lines meet in points or are the same."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, largest = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 5, 30]))
    b = Builder()
    h = b.input("x", (inputs,), Levels(-size, size))
    for width in draw(st.lists(st.integers(1, most), min_size=1, max_size=3)):
        weight = rng.integers(-largest, largest + 1, (width, h.shape[0]))
        h = b.affine(h, weight, rng.integers(-largest, largest + 1, width))
        unit = draw(st.sampled_from(["relu", "relu", "clamp", "pool", *(["stairs", "argmax"] if jumps else [])]))
        if unit == "relu":
            h = b.max(h, b.constant(np.zeros(width, dtype=int)))
        elif unit == "clamp":
            h = b.clamp(h, -1, 2 * largest)
        elif unit == "stairs":
            h = b.staircase(h, np.sort(rng.integers(-largest, largest + 1, 3)), rng.integers(-3, 4, 4))
        elif unit == "argmax":
            h = b.reshape(b.argmax(h), (1,))
        elif width > 1:
            h = b.maxpool(h, (min(3, width),), 1)
    return b.build(b.affine(h, rng.integers(-largest, largest + 1, (draw(st.integers(1, 2)), h.shape[0]))))


def on_fractions(machine: Machine, inputs: dict[str, Any]) -> dict[str, Any]:
    """Every wire at a batch of inputs whose elements are fractions, by the definitions of the operations."""
    values: dict[str, Any] = {}
    for wire in machine.wires.values():
        operation, xs = wire.operation, [values[name] for name in wire.operands]
        if isinstance(operation, op.Input):
            values[wire.name] = inputs[wire.name]
        elif isinstance(operation, op.Constant):
            count = len(next(iter(inputs.values())))
            values[wire.name] = np.repeat(operation.value.astype(object)[None], count, axis=0)
        elif isinstance(operation, op.Staircase):
            values[wire.name] = staircase(operation, xs[0])
        else:
            values[wire.name] = apply(operation, *xs).astype(object)
    return values


def staircase(operation: op.Staircase, x: Any, values: Any = None) -> Any:
    found = np.empty_like(x)
    axis = batched(operation.axis, x) if operation.per_channel else 0
    for place in np.ndindex(*x.shape):
        t, v = operation.thresholds, operation.values
        if operation.per_channel:
            t, v = t[place[axis]], v[place[axis]]
        reached = sum(int(threshold) <= x[place] for threshold in t)
        found[place] = int(v[reached]) if values is None else reached
    return found


def pattern_of(machine: Machine, name: str, values: dict[str, Any]) -> Any:
    """Which pieces of its operation a wire is on, by comparing its operands; the first of those that are equal."""
    operation = machine.wires[name].operation
    xs = [values[operand] for operand in machine.wires[name].operands]
    if isinstance(operation, op.Max):
        return (xs[0] < xs[1]).astype(int)
    if isinstance(operation, op.Min):
        return (xs[0] > xs[1]).astype(int)
    if isinstance(operation, op.Clamp):
        return (xs[0] >= operation.lo).astype(int) + (xs[0] >= operation.hi).astype(int)
    if isinstance(operation, op.Staircase):
        return staircase(operation, xs[0], values="counts")
    if isinstance(operation, op.Argmax):
        return values[name]
    return None  # of a maximum over windows see its value


def fractions(array: Any) -> Any:
    return np.frompyfunc(Fraction, 1, 1)(np.asarray(array, dtype=object))
