"""The listing: a machine as text, one wire a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .alphabets import Alphabet, IntArray
from .machine import Machine, Wire


def listing(machine: Machine) -> str:
    """The program as aligned text: name, shape, proven alphabet, operation, constants."""
    rows = [_row(machine, wire) for wire in machine.wires.values()]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    state = f"{machine.state_bits} bits of state" if machine.registers else "no state"
    head = (
        f"{', '.join(machine.inputs)} -> {', '.join(machine.outputs)}, 1 step of {machine.multiplies:,} multiply-adds, "
        f"{machine.constants:,} constants, {state}"
    )
    lines = ["  " + "  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[3]]).rstrip() for row in rows]
    return "\n".join([head, *lines])


def _row(machine: Machine, wire: Wire) -> tuple[str, str, str, str]:
    operands = ", ".join(wire.operands)
    call = f"{wire.operation.kind}({operands})" if operands else wire.operation.kind
    details = ", ".join(_details(machine, wire))
    return wire.name, f"{size(wire.shape)} of {wire.alphabet}", call, details


def size(shape: tuple[int, ...]) -> str:
    """A shape as ``3x4``; a single number has the shape ``1``."""
    return "x".join(map(str, shape)) or "1"


def _details(machine: Machine, wire: Wire) -> Iterator[str]:
    for name, value in wire.operation.attributes().items():
        if value is not None and not isinstance(value, Alphabet) and name not in ("shape", "base"):
            yield f"{name} {_attribute(value)}"
    for name, array in wire.operation.tensors().items():
        yield f"{name} {_constants(array)}"
    if wire.name in machine.successors:
        yield f"next {machine.successors[wire.name]}"


def _attribute(value: Any) -> str:
    return ",".join(map(_attribute, value)) if isinstance(value, tuple) else str(value)


def _constants(array: IntArray) -> str:
    return f"{size(array.shape)} in {array.min()}..{array.max()}"
