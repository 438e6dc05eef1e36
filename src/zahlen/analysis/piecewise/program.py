"""The operations of a machine as a piecewise affine function of rational inputs, and which operations are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...machine import InputError, IntArray, Machine, Wire
from ...machine import operations as op
from ...machine.reference import apply
from .contests import JUMPING, PIECEWISE
from .forms import LINEAR

REASONS = {
    "shift": "rounds at every integer",
    "lookup": "has values at the integers of its table only",
    "embed": "has values at the integers of its table only",
    "mul": "is a product of wires that both depend on the input",
}


@dataclass(frozen=True, eq=False)
class Program:
    """What has to be computed for some wires.

    Attributes
    ----------
    outputs : tuple of str
        Names of those wires.
    wires : tuple of Wire
        What depends on the input and is needed, in the order of computation.
    fixed : dict of str to integer array (*shape)
        What does not.
    last : dict of str to str
        The last wire that reads each wire.
    """

    outputs: tuple[str, ...]
    wires: tuple[Wire, ...]
    fixed: dict[str, IntArray]
    last: dict[str, str]

    @property
    def continuous(self) -> bool:
        """Whether no operation jumps."""
        return not any(isinstance(wire.operation, JUMPING) for wire in self.wires)

    @property
    def decisions(self) -> int:
        """How many operations have pieces."""
        return sum(isinstance(wire.operation, (*PIECEWISE, *JUMPING)) for wire in self.wires)

    def moving(self, wire: Wire) -> int:
        """Which operand of a product depends on the input."""
        return int(wire.operands[0] in self.fixed)

    def factors(self, wire: Wire) -> IntArray:
        """What a product or a shift multiplies with, (*shape) or one for all."""
        if isinstance(wire.operation, op.Shift):
            return np.array(2**-wire.operation.bits, dtype=object)
        return self.fixed[wire.operands[1 - self.moving(wire)]].astype(object)


def program(who: str, machine: Machine, outputs: Sequence[str] | None = None) -> Program:
    """What has to be computed for these wires, by default the machine's outputs.

    Raises
    ------
    InputError
        If the machine has registers, there is no such wire, or an operation is not piecewise affine over the rationals.
    """
    names = machine.outputs if outputs is None else (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if unknown := [name for name in names if name not in machine.wires]:
        raise InputError(f"{who}: no wire {unknown[0]!r}; there are {', '.join(machine.wires)}")
    if not names:
        raise InputError(f"{who}: outputs are names of wires, at least one")
    if machine.registers:
        raise InputError(
            f"{who}: the machine has registers ({', '.join(machine.registers)}); take machine.unrolled(steps) instead"
        )
    last, wires, fixed = machine.last_uses(names), [], {}
    for wire in machine.wires.values():
        if wire.name not in last:
            continue
        if isinstance(wire.operation, op.Constant):
            fixed[wire.name] = wire.operation.value
        elif wire.operands and all(name in fixed for name in wire.operands):
            operands = [fixed[name][None].astype(wire.dtype) for name in wire.operands]
            fixed[wire.name] = apply(wire.operation, *operands)[0]
        elif not _is_piecewise(wire, fixed):
            raise InputError(
                f"{who}: wire {wire.name!r} is no piecewise affine function over the rationals: {wire.operation.kind} "
                f"{REASONS[wire.operation.kind]}; ask for wires before it with outputs, such as "
                f"outputs=[{next(name for name in wire.operands if name not in fixed)!r}]"
            )
        else:
            wires.append(wire)
    return Program(names, tuple(wires), fixed, last)


def _is_piecewise(wire: Wire, fixed: dict[str, IntArray]) -> bool:
    if isinstance(wire.operation, op.Shift):
        return wire.operation.bits <= 0
    if isinstance(wire.operation, op.Mul):
        return any(name in fixed for name in wire.operands)
    return isinstance(wire.operation, (op.Input, *LINEAR, *PIECEWISE, *JUMPING))
