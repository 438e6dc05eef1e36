"""Intervals of whole boxes of inputs, for many boxes at once: a machine that computes them, and what they certify."""

from __future__ import annotations

from functools import reduce, singledispatch
from typing import Any

import numpy as np

from ..machine import Builder, InputError, IntArray, Machine, MachineError, Wire
from ..machine import operations as op

Pair = tuple[Wire, Wire]
"""The least and the greatest value of each element of a wire."""

PART = 1000
"""How many samples are looked at together."""

MONOTONE = (
    op.Add, op.Min, op.Max, op.Clamp, op.Shift, op.MaxPool, op.SumPool, op.Sum, op.Reshape, op.Concat, op.Slice,
    op.Transpose,
)  # fmt: skip
"""Operations whose result never falls where an operand rises."""


def interval_machine(machine: Machine, *wires: str) -> Machine:
    """The machine that computes intervals: from the ends of a box of inputs those of the wires, or of the outputs.

    Parameters
    ----------
    machine : Machine
        Without registers.
    wires : str
        Of which the ends are computed, by default the outputs.

    Returns
    -------
    Machine
        For each input ``x`` it has two, ``x_from`` and ``x_to``; for each wire ``y`` two outputs, ``y_least`` and
        ``y_most``, which `Range` would have as ends on that box.

    Raises
    ------
    MachineError
        If the machine has registers, or an operation that does not go up or down with its operands.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 9))
    >>> machine = b.build(b.staircase(b.affine(x, [[2, -1]]), [0, 5], [0, 1, 2], name="y"))
    >>> box = interval_machine(machine).run({"x_from": [[2, 3]], "x_to": [[3, 4]]})
    >>> {name: values.tolist() for name, values in box.items()}
    {'y_least': [[1]], 'y_most': [[1]]}
    """
    if machine.registers:
        raise MachineError("intervals: a machine without registers is due; see machine.unrolled")
    wanted = wires or machine.outputs
    used = machine.last_uses(wanted)
    builder = Builder()
    ends: dict[str, Pair] = {}
    for wire in machine.wires.values():
        if isinstance(wire.operation, op.Input):
            first, last = (builder.input(f"{wire.name}_{end}", wire.shape, wire.alphabet) for end in ("from", "to"))
            ends[wire.name] = first, last
        elif wire.name in used:
            try:
                ends[wire.name] = _ends(wire.operation, builder, *(ends[name] for name in wire.operands))
            except _NotMonotoneError:
                raise MachineError(
                    f"intervals: {wire.name} is a {wire.operation.kind} that does not go up or down with its operands; "
                    "zahlen.analysis.verify takes it"
                ) from None
    named = [
        builder.slice(end, [0] * len(end.shape), end.shape, name=f"{name}_{kind}")
        for name in wanted
        for end, kind in zip(ends[name], ("least", "most"))
    ]
    return builder.build(*named)


class _NotMonotoneError(Exception):
    """The operation does not go up or down with its operands."""


@singledispatch
def _ends(operation: op.Operation, b: Builder, *xs: Pair) -> Pair:
    """Ends of the result from those of the operands."""
    if not isinstance(operation, MONOTONE):
        raise _NotMonotoneError
    return b.append(operation, *(x[0] for x in xs)), b.append(operation, *(x[1] for x in xs))


@_ends.register
def _(operation: op.Constant, b: Builder) -> Pair:
    value = b.append(operation)
    return value, value


@_ends.register(op.Affine)
@_ends.register(op.Conv)
def _(operation: op.Affine | op.Conv, b: Builder, x: Pair) -> Pair:
    kind, attributes = type(operation), operation.attributes()
    up = kind(**attributes, weight=np.maximum(operation.weight, 0), bias=operation.bias)
    down = kind(**attributes, weight=np.minimum(operation.weight, 0), bias=np.zeros_like(operation.bias))
    lo, hi = x
    return b.add(b.append(up, lo), b.append(down, hi)), b.add(b.append(up, hi), b.append(down, lo))


@_ends.register(op.Staircase)
@_ends.register(op.Lookup)
def _(operation: op.Staircase | op.Lookup, b: Builder, *xs: Pair) -> Pair:
    if len(xs) != 1:
        raise _NotMonotoneError
    steps = np.diff(operation.values if isinstance(operation, op.Staircase) else operation.table)
    falling = (steps <= 0).all(axis=-1)
    if not ((steps >= 0).all(axis=-1) | falling).all():
        raise _NotMonotoneError
    at_lo, at_hi = (b.append(operation, x) for x in xs[0])
    return (b.min(at_lo, at_hi), b.max(at_lo, at_hi)) if falling.any() else (at_lo, at_hi)


@_ends.register
def _(operation: op.Sub, b: Builder, x: Pair, y: Pair) -> Pair:
    return b.sub(x[0], y[1]), b.sub(x[1], y[0])


@_ends.register
def _(operation: op.Neg, b: Builder, x: Pair) -> Pair:
    return b.neg(x[1]), b.neg(x[0])


@_ends.register
def _(operation: op.Mul, b: Builder, x: Pair, y: Pair) -> Pair:
    corners = [b.mul(left, right) for left in dict.fromkeys(x) for right in dict.fromkeys(y)]
    return reduce(b.min, corners), reduce(b.max, corners)


def certified(machine: Machine, x: Any, y: Any, eps: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which samples keep their class on their whole ball, by intervals alone.

    The ball is that of `Box.ball`: all inputs of which no element differs from the sample's by more than `eps`. True is
    a proof; False says that intervals are too coarse for one, or that there is none: `verify` decides. The mean is a
    lower bound of the accuracy that no change within the ball can take away.

    Parameters
    ----------
    machine : Machine
        Without registers, with one input; its output is a row of scores, of which the greatest (the lowest index among
        equals) is the class, or their ``argmax``.
    x : integer array (n, *shape)
    y : integer array (n,)
        The right classes.
    eps : int
        In units of the input: for 64 grey levels 1 is one of them. No input leaves the alphabet.

    Returns
    -------
    bool array (n,)

    Raises
    ------
    MachineError
        As `interval_machine` does, or if there are no scores.
    InputError
        If samples and classes are not what the machine takes and gives.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 9))
    >>> machine = b.build(b.affine(x, [[1, 0], [0, 1]]))
    >>> certified(machine, [[4, 2], [4, 3], [0, 0]], [0, 0, 1], 1)
    array([ True, False, False])
    """
    scores = _scores(machine)
    last = scores.operation if isinstance(scores.operation, op.Affine) else None
    before = scores if last is None else machine.wires[scores.operands[0]]
    ends = interval_machine(machine, before.name)
    (name,) = machine.inputs
    samples, classes = _checked(machine.wires[name], scores.size, x, y, eps)
    alphabet = machine.wires[name].alphabet
    found = np.zeros(len(samples), dtype=np.bool_)
    for start in range(0, len(samples), PART):
        part = slice(start, start + PART)
        away = min(eps, alphabet.hi - alphabet.lo) // alphabet.step * alphabet.step
        first, final = samples[part] - away, samples[part] + away
        box = {f"{name}_from": np.maximum(first, alphabet.lo), f"{name}_to": np.minimum(final, alphabet.hi)}
        lo, hi = ends.run(box).values()
        for label in np.unique(classes[part]).tolist():
            rows = classes[part] == label
            most = _margins(last, lo[rows], hi[rows], label)
            # among equals the lowest index wins
            found[part][rows] = (most + (np.arange(scores.size) < label) <= 0).all(axis=1)
    return found


def _margins(last: op.Affine | None, lo: IntArray, hi: IntArray, label: int) -> IntArray:
    """The most by which each score may exceed that of the label: (n, scores), 0 at the label itself.

    Behind a last affine map it is that of the differences of its rows.
    """
    if last is None:
        most: IntArray = hi - lo[:, [label]]
        most[:, label] = 0
        return most
    weight, bias = (array.astype(object) - array[label] for array in (last.weight, last.bias))
    largest = max(1, *map(abs, (int(lo.min()), int(hi.max()))))
    if int((abs(weight).sum(axis=1) * largest + abs(bias)).max()) < 2**62:
        weight, bias = weight.astype(np.int64), bias.astype(np.int64)
    most = hi @ np.maximum(weight, 0).T + lo @ np.minimum(weight, 0).T + bias
    return most


def _scores(machine: Machine) -> Wire:
    """The wire whose greatest element is the class."""
    if len(machine.inputs) != 1 or len(machine.outputs) != 1 or machine.registers:
        raise MachineError("certified: a machine with one input, one output and no registers is due")
    wire = machine.wires[machine.outputs[0]]
    if isinstance(wire.operation, op.Argmax):
        wire = machine.wires[wire.operands[0]]
    if len(wire.shape) != 1:
        raise MachineError(f"certified: {wire.name} has shape {wire.shape}, but one row of scores is due")
    return wire


def _checked(wire: Wire, classes: int, x: Any, y: Any, eps: int) -> tuple[IntArray, IntArray]:
    """Samples and labels as arrays that the machine takes."""
    samples, labels = np.asarray(x), np.asarray(y)
    if isinstance(eps, bool) or not isinstance(eps, (int, np.integer)) or eps < 0:
        raise InputError(f"certified: eps is an integer from 0 on, got {eps!r}")
    if not wire.alphabet.numeric:
        raise InputError(f"certified: elements of {wire.alphabet} have no neighbours in an order")
    if samples.dtype.kind not in "iu" or samples.shape[1:] != wire.shape or len(samples) != len(labels):
        raise InputError(
            f"certified: integers {('n', *wire.shape)} and as many labels are due, got {samples.dtype} {samples.shape} "
            f"and {labels.shape}"
        )
    if not wire.alphabet.contains_all(samples):
        raise InputError(f"certified: a sample leaves {wire.alphabet}")
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not np.isin(labels, np.arange(classes)).all():
        raise InputError(f"certified: labels are integers 0..{classes - 1}")
    return samples.astype(np.int64), labels.astype(np.int64)
