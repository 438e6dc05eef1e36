"""Where every wire of a machine lives in C: its type, its name, and the memory that it shares with others."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from zahlen.c99 import INT64, KEYWORDS, CType, smallest, working
from zahlen.machine import EmitError, Machine, Wire
from zahlen.machine import operations as op

LOCALS = frozenset(
    re.findall(
        r"\w+",
        """at best channel col filter group half first index left n p plane q quarter rest row s seen state sum t times
        top v value w work wrong""",
    )
)
"""Names of the emitted program's own variables and functions; a wire of such a name gets another one."""

PATTERNS = re.compile(r"(at_)?[ijk][0-9]*|at_.*|.*_t|(count|shift|times|divide|from)_.*|[A-Z0-9_]+")
"""More such names, and what might be a macro (NULL, EOF, INT8_MAX) or a type of the library."""


@dataclass
class Slot:
    """A piece of work memory that several wires use one after the other."""

    wires: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    name: str = ""

    def free(self, span: tuple[int, int]) -> bool:
        """Whether no wire in here lives during this span of program steps."""
        return all(b < span[0] or span[1] < a for a, b in self.spans)


class Layout:
    """Types, names and memory of one machine.

    Attributes
    ----------
    number : dict of str to int
        Every wire's place in the program, by which a trace names it.
    alive : set of str
        Wires that an output or a register depends on; the others are computed only under trace.
    ctype, accumulator : dict of str to CType
        A wire's element type, and the type that its operation computes in.
    fused : dict of str to str
        Sums that only a staircase reads, by the name of the sum: their array never exists.
    place : dict of str to str
        The C expression for a wire's array.
    member : dict of str to str
        The name of an array within the work struct.
    copied : dict of str to str
        Output parameters that are filled at the end, by wire: their wire lives elsewhere.
    """

    def __init__(self, machine: Machine, name: str):
        self.machine, self.name = machine, name
        self.wires = machine.wires
        self.number = {wire: k for k, wire in enumerate(self.wires)}
        self.ctype = {w.name: _ctype(w) for w in self.wires.values()}
        self.accumulator = {w.name: working(w.workspace) for w in self.wires.values()}
        self.alive = set(machine.last_uses((*machine.outputs, *machine.successors.values()))) | set(machine.registers)
        self._taken: set[str] = set()
        self.identifier = {wire: self.claim(wire) for wire in self.wires}
        self.fused = {z: y for z, y in map(self._fusion, self.wires.values()) if z}
        self.root = self._roots()
        self.parameter: dict[str, str] = {}
        self.copied: dict[str, str] = {}
        self.place: dict[str, str] = {}
        self.held = self._held()
        self._place_fixed()
        self._place_outputs()
        self.member: dict[str, str] = {}
        self.slots = self._share()
        for slot in self.slots:
            for wire in slot.wires:
                member = self.member[wire] = self.held.get(wire) or self.identifier[wire]
                expression = f"work->{slot.name}.{member}" if len(slot.wires) > 1 else f"work->{member}"
                if wire in self.held:
                    self.held[wire] = expression
                else:
                    self.place[wire] = expression
        for wire, root in self.root.items():
            if root in self.place:
                self.place.setdefault(wire, self.place[root])

    # ------------------------------------------------------------------------------------------------ names

    def claim(self, name: str) -> str:
        """A C identifier as close to this name as possible that nothing else in the file has."""
        if name in KEYWORDS | LOCALS or PATTERNS.fullmatch(name) or name.startswith(f"{self.name}_"):
            name = f"wire_{name}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    # ------------------------------------------------------------------------------------------------ fusion

    def _fusion(self, wire: Wire) -> tuple[str, str]:
        """The wire and its staircase, if the sum can be turned into a level as soon as it is complete."""
        readers = self.machine.consumers[wire.name]
        outside = (*self.machine.outputs, *self.machine.successors.values())
        if not isinstance(wire.operation, (op.Affine, op.Conv)) or wire.name in outside or len(readers) != 1:
            return "", ""
        reader = self.wires[readers[0]].operation
        if not isinstance(reader, op.Staircase):
            return "", ""
        channels = len(wire.shape) - 1 if isinstance(wire.operation, op.Affine) else 0
        along = reader.axis % len(wire.shape)
        return (wire.name, readers[0]) if not reader.per_channel or along == channels else ("", "")

    # ------------------------------------------------------------------------------------------------ memory

    def _roots(self) -> dict[str, str]:
        """For each wire the one whose memory it is: a reshape has none of its own."""
        root: dict[str, str] = {}
        for wire in self.wires.values():
            root[wire.name] = root[wire.operands[0]] if isinstance(wire.operation, op.Reshape) else wire.name
        return root

    def _held(self) -> dict[str, str]:
        """Registers whose next value is another register's old one: it is put aside before that one changes."""
        held = {}
        for register, successor in self.machine.successors.items():
            root = self.root[successor]
            if isinstance(self.wires[root].operation, op.Register) and root != register:
                held[register] = self.claim(f"{self.identifier[register]}_next")
        return held

    def _place_fixed(self) -> None:
        for wire in self.wires.values():
            identifier = self.identifier[wire.name]
            if isinstance(wire.operation, op.Input):
                self.place[wire.name] = self.parameter[wire.name] = identifier
            elif isinstance(wire.operation, op.Register):
                self.place[wire.name] = f"state->{identifier}"
            elif isinstance(wire.operation, op.Constant) or (
                wire.name not in self.alive and self.root[wire.name] == wire.name
            ):
                self.place[wire.name] = identifier

    def _only_traced(self, wire: Wire) -> bool:
        """Whether a wire has an array of its own that exists only under trace."""
        return wire.name not in self.alive and self.root[wire.name] == wire.name

    def _place_outputs(self) -> None:
        for wire in self.machine.outputs:
            root = self.root[wire]
            if root in self.place:
                self.copied[wire] = self.claim(f"{self.identifier[wire]}_out")
            else:
                self.place[root] = self.parameter[wire] = self.identifier[wire]

    def size(self, wire: str) -> int:
        """Bytes of a wire's array."""
        return self.wires[wire].size * self.ctype[wire].width

    def _spans(self) -> dict[str, tuple[int, int]]:
        """From which to which step of the program each array in work memory is needed."""
        end = len(self.wires)
        last: dict[str, int] = {}
        for wire in self.wires.values():
            when = self.number[self.fused.get(wire.name, wire.name)]
            for operand in wire.operands:
                last[self.root[operand]] = max(last.get(self.root[operand], 0), when)
        for successor in self.machine.successors.values():
            last[self.root[successor]] = end
        spans = {}
        for name in self.wires:
            if self.root[name] == name and name not in self.place and name not in self.fused:
                # a level is stored while the sum in front of it is still being computed
                source = next((z for z, y in self.fused.items() if y == name), name)
                spans[name] = (self.number[source], last.get(name, self.number[name]))
        return {**spans, **dict.fromkeys(self.held, (end, end))}

    def _share(self) -> list[Slot]:
        """Arrays to slots, the largest first, each into the first slot that is free while it lives."""
        spans, slots = self._spans(), list[Slot]()
        for name in sorted(spans, key=lambda w: (-self.size(w), self.number[w])):
            slot = next((s for s in slots if s.free(spans[name])), None)
            if slot is None:
                slots.append(slot := Slot())
            slot.wires.append(name)
            slot.spans.append(spans[name])
        slots.sort(key=lambda s: (-self.alignment(s), min(s.spans)))
        for k, slot in enumerate((s for s in slots if len(s.wires) > 1), 1):
            slot.name = self.claim(f"slot{k}")
        return slots

    def alignment(self, slot: Slot) -> int:
        """Bytes to whose multiple a slot is aligned."""
        return max(self.ctype[w].width for w in slot.wires)

    # ------------------------------------------------------------------------------------------------ figures

    def work_bytes(self) -> int:
        """``sizeof`` the work struct where every type is aligned to its width."""
        pieces = [(self.alignment(s), max(map(self.size, s.wires))) for s in self.slots]
        return _struct_bytes([(align, -(-size // align) * align) for align, size in pieces])

    def state_bytes(self) -> int:
        """``sizeof`` the state struct where every type is aligned to its width."""
        return _struct_bytes([(self.ctype[r].width, self.size(r)) for r in self.registers])

    def successors(self) -> dict[str, str]:
        """Registers that change, with the wire that each takes its next value from."""
        return {r: s for r, s in self.machine.successors.items() if self.root[s] != r}

    @property
    def registers(self) -> list[str]:
        """Registers in the order of the state struct: the widest first, so that nothing is padded in between."""
        return sorted(self.machine.registers, key=lambda r: -self.ctype[r].width)


def _struct_bytes(members: list[tuple[int, int]]) -> int:
    """Size of a struct whose members, (alignment, size) each, come widest first."""
    align = max((a for a, _ in members), default=1)
    return -(-sum(size for _, size in members) // align) * align


def _ctype(wire: Wire) -> CType:
    lo, hi = wire.alphabet.lo, wire.alphabet.hi
    found = smallest(lo, hi)
    if found is None:
        raise EmitError(f"wire {wire.name!r}: reaches {lo}..{hi}, beyond int64_t of C; clamp or shift before")
    if not INT64.holds(*wire.workspace):
        lo, hi = wire.workspace
        raise EmitError(
            f"wire {wire.name!r}: {wire.operation.kind} may pass through {lo}..{hi} on its way, beyond int64_t of C; "
            "clamp or shift before"
        )
    return found
