"""Affine maps take in what stands right before them."""

from __future__ import annotations

import numpy as np

from .. import operations as op
from ..alphabets import IntArray, bits
from ..machine import Machine, Wire
from ..ranges import workspace
from .rewrite import Node, as_constant, in_int64, nodes, pinned, product, rebuilt, size, with_constants
from .unused import drop_unused


def compose_affine(machine: Machine) -> Machine:
    """Compose an affine map with the one that it reads, where nothing else reads that one and the product is no larger.

    Nothing is composed where a product or a sum would leave int64.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    Machine

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> z = b.affine(b.input("x", (1,), Levels(0, 1)), [[1], [2]], [3, 4], name="z")
    >>> machine = compose_affine(b.build(b.affine(z, [[5, 6]], name="y")))
    >>> list(machine.wires), machine.wires["y"].operation.weight.tolist(), machine.wires["y"].operation.bias.tolist()
    (['x', 'y'], [[17]], [39])
    """
    program, seen = nodes(machine), pinned(machine)
    for wire in machine.wires.values():
        outer = program[wire.name][0]
        if not isinstance(outer, op.Affine):
            continue
        first = machine.wires[wire.operands[0]]
        if first.name in seen or len(machine.consumers[first.name]) > 1:
            continue
        # in a chain of three the inner pair is composed by now
        inner, source = program[first.name]
        if isinstance(inner, op.Affine):
            composed = _composed(outer, inner)
            if composed is not None and _no_wider(composed, machine.wires[source[0]], first, wire):
                program[wire.name] = (composed, source)
                del program[first.name]
    return rebuilt(machine, program)


def _composed(outer: op.Affine, inner: op.Affine) -> op.Affine | None:
    weight = product(outer.weight, inner.weight)
    bias = product(outer.weight, inner.bias[:, None])[:, 0].astype(object) + outer.bias.astype(object)
    if not in_int64(weight, bias):
        return None
    composed = op.Affine(weight.astype(np.int64), bias.astype(np.int64))
    return composed if size(composed) <= size(outer) + size(inner) else None


def _no_wider(operation: op.Operation, operand: Wire, *replaced: Wire) -> bool:
    """Whether the operation can be summed in int64, or in the width of what it replaces."""
    return bits(*workspace(operation, operand.range)) <= max(64, *(bits(*wire.workspace) for wire in replaced))


def fold_offsets(machine: Machine) -> Machine:
    """Fold the addition or subtraction of a constant into the biases of the affine maps that read it.

    Only where nothing else reads the sum, the constant is the same for all positions that an affine map is applied to,
    and int64 holds the biases.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    Machine

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 255))
    >>> centred = b.sub(x, b.constant([100, 50]))
    >>> machine = fold_offsets(b.build(b.affine(centred, [[1, 2]], name="y")))
    >>> list(machine.wires), machine.wires["y"].operation.bias.tolist()
    (['x', 'y'], [-200])
    """
    program, seen = nodes(machine), pinned(machine)
    for wire in machine.wires.values():
        source = _offset(machine, wire)
        if source is None or wire.name in seen:
            continue
        readers = [machine.wires[name] for name in machine.consumers[wire.name]]
        shifted = [_shifted(program[reader.name], reader, machine, *source) for reader in readers]
        nodes_left = [node for node in shifted if node is not None]
        if readers and len(nodes_left) == len(readers):
            program.update(zip((reader.name for reader in readers), nodes_left))
            del program[wire.name]
    folded = rebuilt(machine, program)
    # the constant goes with its last reader
    return machine if folded is machine else drop_unused(folded)


def _offset(machine: Machine, wire: Wire) -> tuple[str, IntArray] | None:
    """The variable operand of a sum and, as one row along the last axis, the constant added to it."""
    if not isinstance(wire.operation, (op.Add, op.Sub)):
        return None
    x, y = (machine.wires[name] for name in wire.operands)
    constant = as_constant(y)
    if constant is None and isinstance(wire.operation, op.Add):
        x, y, constant = y, x, as_constant(x)
    if constant is None:
        return None
    rows = constant.value.reshape(-1, *wire.shape[-1:]).astype(object)
    if bool((rows != rows[0]).any()):
        return None
    return x.name, np.atleast_1d(rows[0] if isinstance(wire.operation, op.Add) else -rows[0])


def _shifted(node: Node, reader: Wire, machine: Machine, source: str, row: IntArray) -> Node | None:
    """The reader applied to the source instead, with W `row` in its bias."""
    operation = node[0]
    if not isinstance(operation, op.Affine):
        return None
    bias = operation.weight.astype(object) @ row + operation.bias.astype(object)
    if not in_int64(bias):
        return None
    shifted = with_constants(operation, bias=bias.astype(np.int64))
    operand = machine.wires[source]
    return (shifted, (source,)) if _no_wider(shifted, operand, reader) else None
