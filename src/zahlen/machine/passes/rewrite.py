"""What the passes share: rebuilding a machine with other operations, and which of its wires are alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np

from .. import operations as op
from ..alphabets import Codes, IntArray
from ..builder import MAX_ELEMENTS, Builder
from ..machine import Machine, Wire
from ..ranges import INT64, fits

Node = tuple[op.Operation, tuple[str, ...]]
"""An operation and the names of the wires that it reads."""

Kind = TypeVar("Kind", bound=op.Operation)


def nodes(machine: Machine) -> dict[str, Node]:
    """Every wire's operation and operands, in the order of computation."""
    return {wire.name: (wire.operation, wire.operands) for wire in machine.wires.values()}


def rebuilt(machine: Machine, program: Mapping[str, Node]) -> Machine:
    """The machine with these wires in this order, proven again; the machine itself if they are its own."""
    own = nodes(machine)
    if program.keys() == own.keys() and all(_same(program[name], own[name]) for name in own):
        return machine
    # a limit raised for the machine as it was holds for the smaller one, too
    builder = Builder(max(MAX_ELEMENTS, sum(wire.size for wire in machine.wires.values())))
    for name, (operation, operands) in program.items():
        builder.append(operation, *operands, name=name)
    for register, successor in machine.successors.items():
        if register in program and isinstance(program[register][0], op.Register):
            builder.connect(register, successor)
    return builder.build(*machine.outputs, notes=machine.notes)


def _same(one: Node, other: Node) -> bool:
    return one[0] is other[0] and one[1] == other[1]


def alive(machine: Machine, program: Mapping[str, Node]) -> set[str]:
    """Names of the wires of `program` that some output depends on in some step, and of all inputs."""
    found: set[str] = set()
    waiting = [*machine.outputs, *machine.inputs]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            operation, operands = program[name]
            waiting.extend(operands)
            if isinstance(operation, op.Register):
                waiting.append(machine.successors[name])
    return found


def pinned(machine: Machine) -> set[str]:
    """Wires that others than operations look at: outputs, and what registers take."""
    return {*machine.outputs, *machine.successors.values()}


def with_constants(operation: Kind, **tensors: IntArray) -> Kind:
    """The same operation with other constants of the same names."""
    return type(operation)(**{**operation.attributes(), **operation.tensors(), **tensors})


def as_constant(wire: Wire) -> op.Constant | None:
    """The constant that a wire is by its range, unless it leaves what constants may hold."""
    if not wire.range.constant().all() or not fits(wire.range.hull(), INT64):
        return None
    return op.Constant(wire.alphabet if isinstance(wire.alphabet, Codes) else None, wire.range.lo)


def constants_of(program: Mapping[str, Node], names: Iterable[str]) -> int:
    """Number of integers in the constants of these wires."""
    return sum(size(program[name][0]) for name in names)


def size(operation: op.Operation) -> int:
    """Number of integers in an operation's constants."""
    return sum(array.size for array in operation.tensors().values())


def in_int64(*arrays: IntArray) -> bool:
    """Whether exact results may stand as constants."""
    return all(INT64[0] <= int(a.min()) and int(a.max()) <= INT64[1] for a in arrays if a.size)


def product(left: IntArray, right: IntArray) -> IntArray:
    """The exact matrix product of int64 arrays: in Python integers where int64 might not hold a sum.

    >>> int(product(np.array([[2**40]]), np.array([[2**40]]))[0, 0]) == 2**80
    True
    """
    if _magnitude(left) * _magnitude(right) * left.shape[-1] <= INT64[1]:
        return np.asarray(left @ right)
    return np.asarray(left.astype(object) @ right.astype(object))


def total(array: IntArray, axis: int | tuple[int, ...]) -> IntArray:
    """The exact sum along axes, which go."""
    if _magnitude(array) * array.size <= INT64[1]:
        return np.asarray(array.sum(axis=axis))
    return np.asarray(array.astype(object).sum(axis=axis))


def share(operation: op.Affine | op.Conv, value: IntArray) -> IntArray:
    """What each output gets from units of these values, everywhere the same; a convolution sees no padding.

    >>> share(op.Affine([[1, 2], [3, 4]], [0, 9]), np.array([10, 1])).tolist()
    [12, 34]
    """
    if isinstance(operation, op.Affine):
        return product(operation.weight, value[:, None])[:, 0]
    out, width = operation.weight.shape[:2]
    rows = total(operation.weight.reshape(operation.groups, out // operation.groups, width, -1), 3)
    return product(rows, value.reshape(operation.groups, width, 1)).reshape(out)


def _magnitude(array: IntArray) -> int:
    return max(abs(int(array.min())), abs(int(array.max())))
