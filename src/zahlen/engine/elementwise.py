"""Chains of elementwise operations become one short program over strips, whose values stay in the nearest cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import IntArray, Wire
from ..machine import operations as op
from .cells import lstm
from .forms import Slot, Type
from .places import Placed
from .staircases import INT32, Steps
from .words import Op, Section

if TYPE_CHECKING:
    from .plan import Planner

ELEMENTWISE = (
    op.Add, op.Sub, op.Mul, op.Min, op.Max, op.Neg, op.Clamp, op.Shift, op.Staircase, op.Lookup,
)  # fmt: skip
MOST_WORKS = 96
INT64 = (-(2**63), 2**63 - 1)


class Kind(IntEnum):
    """Kinds of work, by the numbers of ``program.h``."""

    LOAD = 0
    CONSTANT = 1
    FILL = 2
    ADD = 3
    SUB = 4
    MUL = 5
    MIN = 6
    MAX = 7
    NEG = 8
    CLAMP = 9
    RIGHT = 10
    HALF_UP = 11
    LEFT = 12
    STAIRS = 13
    STAIRS_PER_CHANNEL = 14
    LOOKUP = 15
    LOOKUP2 = 16
    SAVE = 17


@dataclass(eq=False)
class Work:
    """One operation on a strip: from values to a value, each by the number of the work that makes it."""

    kind: Kind
    values: tuple[int, ...]
    words: list[Any]


def wide(planner: Planner, wire: Wire) -> bool:
    """Whether 32 bits are too few, for the values or for how they are kept."""
    operands = [planner.machine.wires[name] for name in wire.operands]
    spans = [(x.alphabet.lo, x.alphabet.hi) for x in (wire, *operands)]
    if not isinstance(wire.operation, (op.Staircase, op.Clamp)):
        spans.append(wire.workspace)  # of those two only what the operand reaches counts
    forms = [planner.forms[wire.name], *(planner.placed[x].slot.form for x in wire.operands if x in planner.placed)]
    return any(lo <= INT32[0] or hi >= INT32[1] for lo, hi in spans) or any(f.type == Type.S64 for f in forms)


class Group:
    """Wires of one size, one order of elements and one section, computed together.

    Parameters
    ----------
    planner : Planner
    elements : int
    order : int64 (elements,)
        Which element of the wires stands at each place.
    section : Section
    wide : bool
        Whether to compute in 64 bits.
    """

    def __init__(self, planner: Planner, elements: int, order: IntArray, section: Section, wide: bool) -> None:
        self.planner, self.elements, self.order, self.section, self.wide = planner, elements, order, section, wide
        self.works: list[Work] = []
        self.values: dict[str, int] = {}  # of wires that were loaded or computed
        self.names: list[str] = []  # of wires that are computed

    @classmethod
    def beginning(cls, planner: Planner, wire: Wire) -> Group:
        """A group whose first wire this is to be."""
        order = np.arange(wire.size)
        for name in wire.operands:
            if name in planner.placed:
                found = planner.placed[name].order()
                order = order if found is None else found[1]
                break
        return cls(planner, wire.size, order, planner.section[wire.name], wide(planner, wire))

    def takes(self, wire: Wire) -> bool:
        """Whether the wire may join."""
        planner = self.planner
        operands = [planner.machine.wires[name] for name in wire.operands]
        if wire.size != self.elements or planner.section[wire.name] != self.section or len(self.works) > MOST_WORKS:
            return False
        if wide(planner, wire) and not self.wide:
            return False
        for x in operands:
            if x.name in self.values or isinstance(x.operation, op.Constant):
                continue
            found = planner.placed[x.name].order()
            if found is None or not (found[1] == self.order).all():
                return False
        return True

    def holds(self, names: Iterable[str]) -> bool:
        """Whether any of these wires is computed here."""
        return any(name in self.names for name in names)

    # ------------------------------------------------------------------------------------------------ values

    def append(self, wire: Wire) -> None:
        """Compute a wire."""
        operands = tuple(self._value(name) for name in wire.operands)
        self.values[wire.name] = self.work(wire.operation, wire, *operands)
        self.names.append(wire.name)

    def _add(self, kind: Kind, values: tuple[int, ...], *words: Any) -> int:
        self.works.append(Work(kind, values, list(words)))
        return len(self.works) - 1

    def _value(self, name: str) -> int:
        if name not in self.values:
            self.values[name] = self._loaded(name)
        return self.values[name]

    def _loaded(self, name: str) -> int:
        planner, wire = self.planner, self.planner.machine.wires[name]
        if isinstance(wire.operation, op.Constant) and name not in planner.placed:
            value = wire.operation.value.ravel()
            if (value == value[0]).all():
                return self._add(Kind.FILL, (), int(value[0]))
            return self._add(Kind.CONSTANT, (), self._constants(value[self.order]))
        placed = planner.placed[name]
        found = placed.order()
        if found is None or not (found[1] == self.order).all():
            target = Slot(placed.slot.form, self.elements)
            where = np.argsort(self.order).reshape(placed.where.shape)
            placed = planner.moved(name, placed, Placed(target, where), self.section, "in the order of the others")
            found = (0, self.order)
        return self._add(Kind.LOAD, (), placed.slot, found[0], 1, 0)

    def _constants(self, array: Any) -> int:
        # entries that leave the type are out of reach
        lo, hi = INT64 if self.wide else INT32
        return self.planner.data.add(np.clip(array, lo, hi), np.int64 if self.wide else np.int32)

    def _within(self, value: int) -> int:
        lo, hi = INT64 if self.wide else INT32
        return min(max(value, lo), hi)

    # ------------------------------------------------------------------------------------------------ operations

    @singledispatchmethod
    def work(self, operation: op.Operation, wire: Wire, *values: int) -> int:
        """Append what computes the operation; returns its number."""
        return self._add(Kind[operation.kind.upper()], values)

    @work.register
    def _(self, operation: op.Clamp, wire: Wire, *values: int) -> int:
        return self._add(Kind.CLAMP, values, self._within(operation.lo), self._within(operation.hi))

    @work.register
    def _(self, operation: op.Shift, wire: Wire, *values: int) -> int:
        most = 63 if self.wide else 31
        if operation.bits <= 0:
            return self._add(Kind.LEFT, values, min(-operation.bits, most))  # further only where all is zero
        if operation.rounding == "half_up":
            return self._add(Kind.HALF_UP, values, min(operation.bits, most))
        return self._add(Kind.RIGHT, values, min(operation.bits, most))

    @work.register
    def _(self, operation: op.Staircase, wire: Wire, *values: int) -> int:
        x = self.planner.machine.wires[wire.operands[0]]
        if operation.per_channel:
            return self._per_channel(operation, wire, *values)
        steps = Steps.of(operation.thresholds, operation.values, x.alphabet.lo, x.alphabet.hi)
        if not self.wide:
            return self._add(Kind.STAIRS, values, *steps.words(self.planner.data))
        table = self._constants([*steps.thresholds, *steps.values])
        return self._add(Kind.STAIRS, values, len(steps.thresholds), table)

    def _per_channel(self, operation: op.Staircase, wire: Wire, *values: int) -> int:
        axis, channels = operation.axis % len(wire.shape), len(operation.thresholds)
        index = np.arange(channels).reshape([-1 if k == axis else 1 for k in range(len(wire.shape))])
        channel = np.broadcast_to(index, wire.shape).ravel()[self.order]
        table = np.concatenate([operation.thresholds.T[:, channel], operation.values.T[:, channel]])
        return self._add(Kind.STAIRS_PER_CHANNEL, values, operation.thresholds.shape[1], self._constants(table))

    @work.register
    def _(self, operation: op.Lookup, wire: Wire, *values: int) -> int:
        table = self._constants(operation.table)
        if operation.table.ndim == 1:
            return self._add(
                Kind.LOOKUP, values, operation.base[0], operation.step[0], operation.table.size, table
            )  # fmt: skip
        (base, base2), (step, step2) = operation.base, operation.step
        columns = operation.table.shape[1]
        return self._add(Kind.LOOKUP2, values, base, step, base2, step2, columns, operation.table.size, table)

    # ------------------------------------------------------------------------------------------------ the end

    def write(self) -> None:
        """Give the wires that others need a place, and emit the instruction."""
        planner = self.planner
        if lstm(self):
            return
        for name in self.names:
            if planner.local(name, self.names):
                continue
            wire = planner.machine.wires[name]
            slot = Slot(planner.forms[name], self.elements, planner.home(name))
            planner.placed[name] = Placed(slot, np.argsort(self.order).reshape(wire.shape))
            self._add(Kind.SAVE, (self.values[name],), slot, 0, 1, 0)
        self._emit(tuple(self.names))

    def copy(self, source: Slot, target: Slot, name: str) -> None:
        """Convert a slot to another form."""
        value = self._add(Kind.LOAD, (), source, 0, 1, 0)
        self._add(Kind.SAVE, (value,), target, 0, 1, 0)
        self._emit((name,))

    def _emit(self, names: tuple[str, ...]) -> None:
        registers, count = self._registers()
        slots = [word for work in self.works for word in work.words if isinstance(word, Slot)]
        rowwise = {Kind.CONSTANT, Kind.STAIRS_PER_CHANNEL}
        whole = all(s.elements == self.elements and s.stride == s.elements * s.form.type.size for s in slots)
        whole = whole and not any(work.kind in rowwise for work in self.works)
        words: list[Any] = [self.elements, count, int(self.wide), int(whole), len(self.works)]
        for k, work in enumerate(self.works):
            a, b = (*(registers[v] for v in work.values), 0, 0)[:2]
            words += [work.kind, registers[k], a, b, *work.words]
        self.planner.emit(
            Op.ELEMENTWISE, self.section, words, *names, kernel="elementwise, 64 bits" if self.wide else "elementwise",
            reason=f"{len(self.works)} operations on strips, {count} registers",
        )  # fmt: skip

    def _registers(self) -> tuple[list[int], int]:
        """A register for each work; those of values that are not read any more are taken again."""
        last = {v: k for k, work in enumerate(self.works) for v in work.values}
        free: list[int] = []
        registers: list[int] = []
        count = 0
        for k, work in enumerate(self.works):
            # a kernel may read an operand after it began to write: no register serves both
            if free:
                registers.append(free.pop())
            else:
                registers.append(count)
                count += 1
            if work.kind == Kind.SAVE or k not in last:
                free.append(registers[k])
            free += [registers[v] for v in dict.fromkeys(work.values) if last[v] == k]
        return registers, count
