"""Affine maps take in what stands right before them."""

from __future__ import annotations

from itertools import count

import numpy as np

from .. import operations as op
from ..alphabets import IntArray, bits
from ..machine import Machine, Wire
from ..ranges import Range, result_range, workspace
from .rewrite import Node, as_constant, in_int64, nodes, pinned, product, rebuilt, share, size, with_constants
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
            if composed is not None and _no_wider(composed, machine.wires[source[0]].range, first, wire):
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


def _no_wider(operation: op.Operation, operand: Range, *replaced: Wire) -> bool:
    """Whether the operation can be summed in int64, or in the width of what it replaces."""
    return bits(*workspace(operation, operand)) <= max(64, *(bits(*wire.workspace) for wire in replaced))


def fold_offsets(machine: Machine) -> Machine:
    """Fold the addition or subtraction of a constant into the biases of the maps that read it.

    These are affine maps, and convolutions without padding. They may read the sum through a `reshape`, which then has
    the variable operand and, since its values are others, a new name. Only where nothing else reads the sum, the
    constant is the same for all positions that a map is applied to, and int64 holds the biases.

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

    >>> b = Builder()
    >>> x = b.input("x", (2, 1), Levels(0, 255))
    >>> flat = b.reshape(b.sub(x, b.constant([[100], [50]])), (2,), name="flat")
    >>> machine = fold_offsets(b.build(b.affine(flat, [[1, 2]], name="y")))
    >>> list(machine.wires), machine.wires["y"].operation.bias.tolist()
    (['x', 'reshape_1', 'y'], [-200])
    """
    program, seen = nodes(machine), pinned(machine)
    for wire in machine.wires.values():
        offset = _offset(machine, wire)
        if offset is None:
            continue
        chain = _reshapes(machine, wire, seen)
        last = machine.wires[chain[-1]]
        readers = [machine.wires[name] for name in machine.consumers[last.name]]
        if not readers or last.name in seen:
            continue
        variable, constant = offset
        reshape, source = op.Reshape(last.shape), variable.name
        if variable.shape != last.shape:
            source = next(name for k in count(1) if (name := f"reshape_{k}") not in {*machine.wires, *program})
        operand, value = result_range(reshape, variable.range), constant.reshape(last.shape)
        shifted = [_shifted(reader, source, operand, value, wire.operation) for reader in readers]
        nodes_left = [node for node in shifted if node is not None]
        if len(nodes_left) == len(readers):
            program.update(zip((reader.name for reader in readers), nodes_left))
            # where the last wire of the chain was, is the reshape, if one is needed
            new = {last.name: (source, (reshape, (variable.name,)))} if source != variable.name else {}
            items = (new.get(name, (name, node)) for name, node in program.items())
            program = {name: node for name, node in items if name not in chain}
    folded = rebuilt(machine, program)
    # the constant goes with its last reader
    return machine if folded is machine else drop_unused(folded)


def _offset(machine: Machine, wire: Wire) -> tuple[Wire, IntArray] | None:
    """The variable operand of a sum or difference, and the constant one."""
    if not isinstance(wire.operation, (op.Add, op.Sub)):
        return None
    x, y = (machine.wires[name] for name in wire.operands)
    constant = as_constant(y)
    if constant is None and isinstance(wire.operation, op.Add):
        x, y, constant = y, x, as_constant(x)
    return None if constant is None else (x, constant.value)


def _reshapes(machine: Machine, wire: Wire, seen: set[str]) -> list[str]:
    """The wire and the reshapes behind it, each read by nothing but the next."""
    chain = [wire.name]
    while chain[-1] not in seen and len(machine.consumers[chain[-1]]) == 1:
        (reader,) = machine.consumers[chain[-1]]
        if not isinstance(machine.wires[reader].operation, op.Reshape):
            break
        chain.append(reader)
    return chain


def _shifted(reader: Wire, source: str, operand: Range, constant: IntArray, sign: op.Operation) -> Node | None:
    """The reader applied to the source in this range instead, with the constant's share added or subtracted."""
    operation = reader.operation
    if not isinstance(operation, (op.Affine, op.Conv)):
        return None
    if isinstance(operation, op.Conv) and any(map(any, operation.padding)):
        return None
    axis = -1 if isinstance(operation, op.Affine) else 0
    units = np.moveaxis(constant, axis, 0).reshape(constant.shape[axis], -1)
    if bool((units != units[:, :1]).any()):
        return None
    more = share(operation, units[:, 0]).astype(object)
    bias = operation.bias.astype(object) + (more if isinstance(sign, op.Add) else -more)
    if not in_int64(bias):
        return None
    shifted = with_constants(operation, bias=bias.astype(np.int64))
    return (shifted, (source,)) if _no_wider(shifted, operand, reader) else None
