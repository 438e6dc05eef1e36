"""A group of elementwise operations that is one step of an LSTM becomes one kernel, whose values stay in registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import Wire
from ..machine import operations as op
from .forms import Form, Slot, Type
from .places import Placed
from .staircases import Steps
from .words import Op, Sole

if TYPE_CHECKING:
    from .elementwise import Group

INT16 = (-(2**15), 2**15 - 1)


class _OtherError(Exception):
    """It is something else."""


def lstm(group: Group) -> bool:
    """Whether the group was an LSTM's step, which is then written down.

    With gates i, f, o, candidate g and cell c, as `zahlen.nn.LSTM` emits it::

        c' = clamp(((f c << a) + (i g << b) + half) >> s)        h' = output(o squash(c'))
    """
    try:
        _write(group)
    except _OtherError:
        return False
    return True


def _take(condition: bool) -> None:
    if not condition:
        raise _OtherError


def _write(group: Group) -> None:
    planner = group.planner
    wires = [planner.machine.wires[name] for name in group.names]
    _take(not group.wide and 12 <= len(wires) <= 14)
    outer = [w for w in wires if not planner.local(w.name, group.names)]
    _take(len(outer) == 2)
    by_name = {w.name: w for w in wires}

    def inner(name: str, kind: type[op.Operation]) -> Wire:
        _take(name in by_name and isinstance(by_name[name].operation, kind))
        return by_name[name]

    def stairs(wire: Wire) -> Steps:
        operation = wire.operation
        assert isinstance(operation, op.Staircase)
        x = planner.machine.wires[wire.operands[0]].alphabet
        _take(not operation.per_channel)
        return Steps.of(operation.thresholds, operation.values, x.lo, x.hi)

    def fits(wire: Wire) -> None:
        _take(wire.alphabet.lo >= INT16[0] and wire.alphabet.hi <= INT16[1])

    def shifted(name: str) -> tuple[Wire, int]:
        if name in by_name and isinstance(by_name[name].operation, op.Shift):
            bits = by_name[name].operation.bits  # type: ignore[attr-defined]
            _take(-16 <= bits <= 0)
            return inner(by_name[name].operands[0], op.Mul), -bits
        return inner(name, op.Mul), 0

    # from the hidden state back to the gates
    h = inner(wires[-1].name, op.Staircase)
    product = inner(h.operands[0], op.Mul)
    o, t = (inner(name, op.Staircase) for name in product.operands)
    c_next = inner(t.operands[0], op.Clamp)
    rounded = inner(c_next.operands[0], op.Shift)
    total = inner(rounded.operands[0], op.Add)
    (kept, old_shift), (added, new_shift) = (shifted(name) for name in total.operands)
    f, (i, g) = inner(kept.operands[0], op.Staircase), (inner(name, op.Staircase) for name in added.operands)
    c = planner.machine.wires[kept.operands[1]]
    _take({w.name for w in outer} == {h.name, c_next.name} and c.name in planner.placed)
    shift, clamp = rounded.operation, c_next.operation
    assert isinstance(shift, op.Shift) and isinstance(clamp, op.Clamp)  # noqa: PT018
    _take(shift.rounding == "half_up" and shift.bits <= 30)
    gates = [stairs(w) for w in (i, f, o)]
    _take(all(_equal(gates[0], other) for other in gates[1:]))
    for wire in (i, f, g, o, t, c, c_next):
        fits(wire)
    _take(min(w.alphabet.lo for w in (i, f, o)) >= 0)

    # in their places
    z = [planner.placed.get(w.operands[0]) for w in (i, f, g, o)]
    cell = planner.placed[c.name]
    slots = {p.slot for p in z if p is not None}
    _take(all(p is not None and p.start() is not None for p in z) and len(slots) == 1)
    (slot,) = slots
    _take(
        slot.form == Form(Type.S32, 0) and cell.start() == 0 and bool((group.order == np.arange(group.elements)).all())
    )
    _take(max(f.type for f in (cell.slot.form, planner.forms[c_next.name], planner.forms[h.name])) <= Type.S16)
    _take(clamp.lo >= INT16[0] and clamp.hi <= INT16[1])
    new = {}
    for wire in (c_next, h):
        new[wire.name] = Slot(planner.forms[wire.name], group.elements, planner.home(wire.name))
        planner.placed[wire.name] = Placed.in_order(new[wire.name], wire.shape)
    words: list[Any] = [slot, cell.slot, new[c_next.name], new[h.name], Sole(slot), group.elements]
    words += [p.start() for p in z if p is not None]
    words += [old_shift, new_shift, shift.bits, clamp.lo, clamp.hi]
    for steps in (gates[0], stairs(g), stairs(t), stairs(h)):
        words += steps.words(planner.data)
    planner.emit(
        Op.LSTM_CELL, group.section, words, *group.names, kernel="a step of an LSTM",
        reason=f"gates with {gates[0].describe()}, all in 16 bits",
    )  # fmt: skip


def _equal(a: Steps, b: Steps) -> bool:
    return np.array_equal(a.thresholds, b.thresholds) and np.array_equal(a.values, b.values)
