"""Operands of tables, where a rewriting proves less about them than the machine did."""

from __future__ import annotations

from collections.abc import Sequence

from .. import operations as op
from ..alphabets import Levels
from ..builder import Builder
from ..machine import Wire
from .names import Names


def inside(builder: Builder, names: Names, wire: Wire, operands: Sequence[Wire]) -> list[Wire]:
    """The operands of a copy of `wire`, proven to stay in the tables that it looks up.

    A register has one alphabet for all elements, and a constant no grid, so behind them the proofs may be wider than
    in the machine that is rewritten. The *values* are those of that machine, which has an entry for each. So what is
    clamped here, or put on the grid by a staircase, stays what it is.
    """
    return [
        x if domain is None or x.range.within(domain) or not x.alphabet.numeric else _snapped(builder, names, x, domain)
        for x, domain in zip(operands, _domains(wire.operation, len(operands)))
    ]


def _domains(operation: op.Operation, operands: int) -> list[Levels | None]:
    """For each operand the values that a table has entries for."""
    if isinstance(operation, op.Embed):
        return [Levels(0, len(operation.table) - 1)]
    if isinstance(operation, op.Lookup):
        return [operation.domain(k) for k in range(operands)]
    return [None] * operands


def _snapped(builder: Builder, names: Names, x: Wire, domain: Levels) -> Wire:
    name = names.fresh(x.name, "_inside")
    if domain.step == 1 or domain.size == 1:
        return builder.clamp(x, domain.lo, domain.hi, name=name)
    elements = list(range(domain.lo, domain.hi + 1, domain.step))
    return builder.staircase(x, elements[1:], elements, name=name)
