"""From a machine to a packed program: a kernel for every operation, chosen by proven ranges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import singledispatchmethod
from math import prod
from typing import Any

import numpy as np

from ..machine import IntArray, Machine, Wire
from ..machine import operations as op
from .elementwise import ELEMENTWISE, Group
from .forms import Data, Form, Home, Slot, Type
from .gates import Gates
from .places import Halo, Placed, channels_last
from .products import product
from .words import Instruction, Op, RegisterWords, Section, encode


class NoPlan(Exception):  # noqa: N818 -- no error: the reference goes on
    """The engine has no kernel that is exact here; the reference computes the machine."""


@dataclass(eq=False)
class Planner:
    """Writes the program of one machine, operation by operation.

    Attributes
    ----------
    machine : Machine
    wanted : tuple of str
        Wires that are to come out.
    any_dot8 : bool
        Whether products of 8 bits are exact on this processor whatever the weights.
    """

    machine: Machine
    wanted: tuple[str, ...]
    any_dot8: bool
    data: Data = field(default_factory=Data)
    instructions: list[Instruction] = field(default_factory=list)
    placed: dict[str, Placed] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    group: Group | None = None

    def __post_init__(self) -> None:
        machine = self.machine
        self.successors = tuple(dict.fromkeys(machine.successors.values()))
        self.roots = tuple(dict.fromkeys((*self.wanted, *self.successors)))
        # inputs are checked and registers kept even where nobody reads them
        self.needed = machine.last_uses((*self.roots, *machine.inputs, *machine.registers))
        for name in self.needed:
            if "O" in (machine.wires[name].dtype.kind, machine.wires[name].value_dtype.kind):
                raise NoPlan(f"{name} needs more than 64 bits")
        self.consumers = {name: tuple(c for c in machine.consumers[name] if c in self.needed) for name in self.needed}
        self._sections()
        self._forms()
        self.gates = Gates(self)

    # ------------------------------------------------------------------------------------------------ what is when

    def _sections(self) -> None:
        wires = self.machine.wires
        registers = {name for name in self.needed if isinstance(wires[name].operation, op.Register)}
        near = {name for name in self.needed if registers & set(wires[name].operands)}
        # what registers take, what reads them (they last for a step only), and all that these read
        stepwise = {*registers, *self.machine.last_uses((*self.successors, *near))}
        stateful = set(registers)
        self.section: dict[str, Section] = {}
        for name in self.needed_in_order():
            if stateful & set(wires[name].operands):
                stateful.add(name)
            section = Section.EACH if name in stepwise else Section.AFTER
            self.section[name] = section if name in stateful else Section.BEFORE

    def _forms(self) -> None:
        self.forms = {name: Form.of(self.machine.wires[name].alphabet) for name in self.needed}
        for register, successor in self.machine.successors.items():
            if not isinstance(self.machine.wires[successor].operation, op.Register):
                self.forms[successor] = self.forms[register]  # copied as it stands

    def home(self, name: str) -> Home:
        """Wires that a later section reads have a place for every time."""
        own = self.section[name]
        read = [self.section[c] for c in self.consumers[name]]
        read += [Section.EACH] if name in self.successors else []  # registers take it at the end of a step
        return Home.SCRATCH if all(section == own for section in read) else Home.TIMED

    def local(self, name: str, readers: Iterable[str]) -> bool:
        """Whether nobody but these needs the wire."""
        return name not in self.roots and set(self.consumers[name]) <= set(readers)

    def only_consumer(self, name: str) -> str | None:
        """The one wire that reads this one within its section, if nobody else needs it."""
        readers = self.consumers[name]
        if len(readers) != 1 or name in self.roots or self.section[readers[0]] != self.section[name]:
            return None
        return readers[0]

    # ------------------------------------------------------------------------------------------------ the program

    def run(self) -> None:
        """Plan every wire."""
        for number, name in enumerate(self.machine.registers):
            wire = self.machine.wires[name]
            self.placed[name] = Placed.in_order(Slot(self.forms[name], wire.size, Home.STATE), wire.shape)
            self._port(Op.PORT_IN, name, Section.START, number)
            self._port(Op.PORT_OUT, name, Section.END, number)
            self.done.add(name)
        for name in self.needed_in_order():
            wire = self.machine.wires[name]
            if name in self.done:
                self._finish(name)
                continue
            if self.gates.takes(wire):
                self.gates.append(wire)
            elif isinstance(wire.operation, ELEMENTWISE):
                self._elementwise(wire)
            elif isinstance(wire.operation, op.Constant):
                if name in self.wanted:
                    self.operand(name)
                    self._finish(name)
            else:
                self.close(wire.operands)
                self.plan(wire.operation, wire)
                self._finish(name)
        self.close()

    def needed_in_order(self) -> list[str]:
        """Needed wires in the machine's order."""
        return [name for name in self.machine.wires if name in self.needed]

    def encode(self) -> tuple[Any, bytes, dict[str, int]]:
        """The program's numbers and constants."""
        registers = []
        for name, successor in self.machine.successors.items():
            state = self.placed[name].slot
            following = self.settled(successor, state.form)
            initial: Any = self.machine.wires[name].operation
            registers.append(
                RegisterWords(
                    state, following, self.data.add(state.form.stored(initial.initial), state.form.type.dtype)
                )
            )
        return encode(self.instructions, registers, self.data, len(self.machine.inputs), len(self.wanted))

    def emit(self, operation: Op, section: Section, words: list[Any], *wires: str, **about: Any) -> None:
        """Append an instruction."""
        self.instructions.append(Instruction(operation, section, words, wires, **about))

    def _finish(self, name: str) -> None:
        if name in self.wanted and name in self.placed:
            self._port(Op.PORT_OUT, name, self.section[name], self.wanted.index(name))

    def _port(self, operation: Op, name: str, section: Section, number: int) -> None:
        wire, placed = self.machine.wires[name], self.placed[name]
        a = wire.operation.alphabet if isinstance(wire.operation, (op.Input, op.Register)) else wire.alphabet
        words = [placed.slot, int(section in (Section.START, Section.END)), number, a.lo, a.hi, a.step, wire.size]
        run, firsts = placed.runs()
        words += [0, wire.size, -1] if placed.start() == 0 else [1, run, self.data.add(firsts, np.int32)]
        kernel = "checked and stored" if operation == Op.PORT_IN else "handed out"
        self.emit(operation, section, words, name, kernel=kernel, reason=self.kept(placed.slot))

    @staticmethod
    def kept(slot: Slot) -> str:
        """How a slot keeps its elements, in words."""
        form = slot.form
        above = "" if form.base == 0 else f" above {form.base}"
        return f"{form.type.name.lower()}{above}"

    # ------------------------------------------------------------------------------------------------ places

    def new(self, wire: Wire, halo: Halo | None = None, *, last: bool = False, form: Form | None = None) -> Placed:
        """A slot for a wire: row-major, or with channels last and a halo that holds zeros."""
        form = self.forms[wire.name] if form is None else form
        if not last:
            return Placed.in_order(Slot(form, wire.size, self.home(wire.name)), wire.shape)
        elements, where = channels_last(wire.shape, halo)
        slot = Slot(form, elements, self.home(wire.name))
        if elements > wire.size:
            self.zeros(slot, wire.name)
        return Placed(slot, where, ((0, 0),) * (len(wire.shape) - 1) if halo is None else halo)

    def zeros(self, slot: Slot, name: str) -> None:
        """Fill a slot with what stands for zero."""
        row = np.full(slot.elements, 0 - slot.form.base)
        self.emit(
            Op.CONSTANT, self.section[name], [slot, self.data.add(row, slot.form.type.dtype)], name, kernel="padding"
        )

    def operand(self, name: str) -> Placed:
        """Where a wire stands; constants get a place when they are first asked for."""
        if name not in self.placed:
            wire = self.machine.wires[name]
            assert isinstance(wire.operation, op.Constant), name
            self.placed[name] = placed = self.new(wire)
            row = self.data.add(placed.slot.form.stored(wire.operation.value.ravel()), placed.slot.form.type.dtype)
            self.emit(Op.CONSTANT, self.section[name], [placed.slot, row], name, kernel="copied")
        return self.placed[name]

    def moved(self, name: str, source: Placed, target: Placed, section: Section, reason: str) -> Placed:
        """Copy elements to other places of the same form."""
        words = [source.slot, target.slot, source.where.size, 0]
        words += [self.data.add(p.where.ravel(), np.int32) for p in (source, target)]
        self.emit(Op.MOVE, section, words, name, kernel="moved", reason=reason)
        return target

    def converted(self, name: str, source: Placed, form: Form, section: Section) -> Placed:
        """The same places in another form; the halo goes along."""
        if source.slot.form == form:
            return source
        slot = Slot(form, source.slot.elements, Home.SCRATCH)
        group = Group(
            self,
            source.slot.elements,
            np.arange(source.slot.elements),
            section,
            wide=Type.S64 in (form.type, source.slot.form.type),
        )
        group.copy(source.slot, slot, name)
        return Placed(slot, source.where, source.halo)

    def settled(self, name: str, form: Form) -> Slot:
        """A slot that holds a wire row-major, whole and in this form, at the end of a step."""
        placed = self.operand(name)
        section = Section.EACH
        if placed.slot.form != form:
            if placed.start() is None or not placed.plain:
                placed = self.gathered(name, placed, section)
            placed = self.converted(name, placed, form, section)
        if not placed.plain or placed.slot.home == Home.STATE:
            placed = self.gathered(name, placed, section)
        return placed.slot

    def gathered(self, name: str, placed: Placed, section: Section) -> Placed:
        """A row-major copy."""
        target = Placed.in_order(Slot(placed.slot.form, placed.where.size), placed.where.shape)
        return self.moved(name, placed, target, section, "row-major")

    # ------------------------------------------------------------------------------------------------ elementwise

    def _elementwise(self, wire: Wire) -> None:
        if self._rebased(wire):
            return
        self._close_gates(wire.operands)
        if self.group is None or not self.group.takes(wire):
            self._close_group()
            self.group = Group.beginning(self, wire)
        self.group.append(wire)
        self.done.add(wire.name)

    def close(self, operands: Iterable[str] | None = None) -> None:
        """Write down what is open, if any of these wires (by default all) is part of it."""
        self._close_gates(operands)
        if self.group is not None and (operands is None or self.group.holds(operands)):
            self._close_group()

    def _close_gates(self, operands: Iterable[str] | None) -> None:
        for name in self.gates.close(operands):
            self._finish(name)

    def _close_group(self) -> None:
        if self.group is None:
            return
        group, self.group = self.group, None
        group.write()
        for name in group.names:
            self._finish(name)

    # ------------------------------------------------------------------------------------------------ operations

    @singledispatchmethod
    def plan(self, operation: op.Operation, wire: Wire) -> None:
        """Plan one operation whose operands are placed."""
        raise NoPlan(f"{wire.name}: no kernel for {operation.kind}")

    @plan.register
    def _(self, operation: op.Input, wire: Wire) -> None:
        # where only the input less a constant is read, its padding is what that calls zero
        name = self.only_consumer(wire.name)
        read = self.machine.wires[name] if name is not None else wire
        halo = self.wish(read) if name is not None and self.rebase(read) is not None else None
        if halo is None:
            halo = self.wish(wire)
            self.placed[wire.name] = self.new(wire, halo, last=halo is not None)
        else:
            placed = self.placed[read.name] = self.new(read, halo, last=True)
            self.placed[wire.name] = Placed(placed.slot.rebased(self.forms[wire.name].base), placed.where)
            self.done.add(read.name)
        self._port(Op.PORT_IN, wire.name, Section.BEFORE, self.machine.inputs.index(wire.name))

    def rebase(self, wire: Wire) -> int | None:
        """The base from which an operand's bytes are this wire's: it adds a constant, or takes one away."""
        if not isinstance(wire.operation, (op.Add, op.Sub)) or wire.name in self.successors:
            return None
        x, y = (self.machine.wires[name] for name in wire.operands)
        if isinstance(x.operation, op.Constant) and isinstance(wire.operation, op.Add):
            x, y = y, x
        if not isinstance(y.operation, op.Constant) or isinstance(x.operation, op.Constant):
            return None
        value, form, own = y.operation.value, self.forms[x.name], self.forms[wire.name]
        if not (value == value.flat[0]).all() or {form.type, own.type} != {Type.U8}:
            return None
        by = int(value.flat[0])
        base = form.base + (by if isinstance(wire.operation, op.Add) else -by)
        return base if base == own.base and self.section[x.name] == self.section[wire.name] else None

    def _rebased(self, wire: Wire) -> bool:
        """Whether the wire needs no work, since its operand's bytes are its own from another base."""
        base = self.rebase(wire)
        if base is None:
            return False
        name = next(n for n in wire.operands if not isinstance(self.machine.wires[n].operation, op.Constant))
        placed = self.placed.get(name)
        if placed is None or placed.slot.form != self.forms[name] or placed.slot.home != self.home(wire.name):
            return False
        bare = placed.halo is not None and not any(n for pair in placed.halo for n in pair)
        self.placed[wire.name] = Placed(placed.slot.rebased(base), placed.where, placed.halo if bare else None)
        self.done.add(wire.name)
        self._finish(wire.name)
        return True

    def wish(self, wire: Wire, form: Form | None = None) -> Halo | None:
        """The halo that convolutions behind want of a wire in this form; None if channels need not be last."""
        if len(wire.shape) not in (2, 3):
            return None
        spatial, halo, found = len(wire.shape) - 1, [(0, 0)] * (len(wire.shape) - 1), False
        for name in self.consumers[wire.name]:
            operation = self.machine.wires[name].operation
            if isinstance(operation, op.Conv) and operation.weight.ndim - 2 == spatial:
                found = True
                halo = [(max(a, c), max(b, d)) for (a, b), (c, d) in zip(halo, operation.padding)]
            elif isinstance(operation, (op.MaxPool, op.SumPool)) and len(operation.size) == spatial:
                found = True
        if not found:
            return None
        form = self.forms[wire.name] if form is None else form
        zero = 0 <= -form.base < 256 if form.type == Type.U8 else True
        return tuple(halo) if zero else ((0, 0),) * spatial

    @plan.register(op.Affine)
    @plan.register(op.Conv)
    def _(self, operation: op.Affine | op.Conv, wire: Wire) -> None:
        product(self, wire)

    @plan.register(op.MaxPool)
    @plan.register(op.SumPool)
    def _(self, operation: op.MaxPool | op.SumPool, wire: Wire) -> None:
        x, source = self.machine.wires[wire.operands[0]], self.operand(wire.operands[0])
        n = len(operation.size)
        leading, spatial = x.shape[:-n], x.shape[-n:]
        channels = prod(leading)
        where = source.where.reshape(channels, *spatial)
        steps = np.diff(where, axis=0) if channels > 1 else np.ones((1,), dtype=int)
        if not (steps == 1).all():
            elements, last = channels_last((channels, *spatial))
            target = Placed(Slot(source.slot.form, elements, Home.SCRATCH), last)
            source = self.moved(x.name, Placed(source.slot, where), target, self.section[wire.name], "channels last")
            where = source.where
        total = isinstance(operation, op.SumPool)
        form = self.forms[wire.name]
        if total and form.type < Type.S32:
            form = Form(Type.S32, 0)
        elif not total:
            form = source.slot.form
        if len(leading) == 1:
            target = self.new(wire, self.wish(wire, form), last=True, form=form)
            to = target.where
        else:
            elements, to = channels_last((channels, *wire.shape[-n:]))
            target = Placed(Slot(form, elements, self.home(wire.name)), to.reshape(wire.shape))
        windows = _windows(where[0], operation.size, operation.stride, operation.padding)
        words = [source.slot, target.slot, channels, len(windows), windows.shape[1], int(total)]
        words += [self.data.add(windows, np.int32), self.data.add(to[0].ravel(), np.int32)]
        kernel = "sum of windows" if total else "maximum of windows"
        about = f"{channels} channels side by side"
        self.emit(Op.POOL, self.section[wire.name], words, wire.name, kernel=kernel, reason=about)
        self.placed[wire.name] = target

    @plan.register
    def _(self, operation: op.Embed, wire: Wire) -> None:
        x = self.operand(wire.operands[0])
        section = self.section[wire.name]
        if x.start() != 0:
            x = self.gathered(wire.operands[0], x, section)
        target = self.placed[wire.name] = self.new(wire)
        table = self.data.add(target.slot.form.stored(operation.table), target.slot.form.type.dtype)
        symbols, width = operation.table.shape
        words = [x.slot, target.slot, symbols, width, x.where.size, table]
        self.emit(Op.EMBEDDING, section, words, wire.name, kernel="row of a table", reason=f"{symbols} symbols")

    @plan.register(op.Argmax)
    @plan.register(op.Sum)
    def _(self, operation: op.Argmax | op.Sum, wire: Wire) -> None:
        source, x = self.operand(wire.operands[0]), self.machine.wires[wire.operands[0]]
        axes = (operation.axis,) if isinstance(operation, op.Argmax) else operation.axes
        axes = tuple(sorted(axis % len(x.shape) for axis in axes))
        rest = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
        # the axes that go stand last
        turned = source.where.transpose(*rest, *axes).reshape(-1)
        length = prod(x.shape[axis] for axis in axes)
        section = self.section[wire.name]
        view = Placed(source.slot, turned)
        if view.start() != 0:
            view = self.gathered(x.name, view, section)
        total = isinstance(operation, op.Sum)
        form = self.forms[wire.name]
        target = self.new(wire, form=form if not total or form.type >= Type.S32 else Form(Type.S32, 0))
        words = [view.slot, target.slot, len(turned) // length, length, 1]
        self.emit(Op.SUM if total else Op.ARGMAX, section, words, wire.name, kernel=operation.kind)
        self.placed[wire.name] = target

    @plan.register
    def _(self, operation: op.Reshape, wire: Wire) -> None:
        self.view(wire, self.operand(wire.operands[0]).where.reshape(wire.shape))

    @plan.register
    def _(self, operation: op.Slice, wire: Wire) -> None:
        index = tuple(map(slice, operation.start, operation.stop, operation.step))
        self.view(wire, self.operand(wire.operands[0]).where[index])

    @plan.register
    def _(self, operation: op.Transpose, wire: Wire) -> None:
        self.view(wire, self.operand(wire.operands[0]).where.transpose(operation.axes))

    def view(self, wire: Wire, where: IntArray) -> None:
        """The same elements under another shape, or fewer of them: nothing is moved."""
        source = self.operand(wire.operands[0]).slot
        if source.home != Home.TIMED and self.home(wire.name) == Home.TIMED:
            target = Placed.in_order(Slot(source.form, where.size, Home.TIMED), wire.shape)
            section = self.section[wire.operands[0]]
            self.placed[wire.name] = self.moved(wire.name, Placed(source, where), target, section, "for later sections")
            return
        self.placed[wire.name] = Placed(source, where)

    @plan.register
    def _(self, operation: op.Concat, wire: Wire) -> None:
        form, section = self.forms[wire.name], self.section[wire.name]
        target = self.new(wire)
        parts = np.split(
            target.where, np.cumsum([self.machine.wires[n].shape[operation.axis] for n in wire.operands])[:-1],
            axis=operation.axis,
        )  # fmt: skip
        for name, where in zip(wire.operands, parts):
            source = self.converted(name, self.operand(name), form, section)
            self.moved(wire.name, source, Placed(target.slot, where), section, "side by side")
        self.placed[wire.name] = target


def _windows(
    where: IntArray, size: tuple[int, ...], stride: tuple[int, ...], padding: op.Pairs
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Places under each window, -1 outside: (windows, elements)."""
    padded = np.pad(where, padding, constant_values=-1)
    view = np.lib.stride_tricks.sliding_window_view(padded, size)
    view = view[tuple(slice(None, None, s) for s in stride)]
    return np.ascontiguousarray(view.reshape(-1, prod(size)))
