"""Boolean networks: wires of two values become bits of 512 rows at once, and operations on them gates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import Alphabet, IntArray, Wire
from ..machine import operations as op
from ..machine.reference import apply
from .elementwise import ELEMENTWISE
from .forms import Form, Home, Slot, Type
from .places import Placed
from .words import Op, Section

if TYPE_CHECKING:
    from .plan import Planner

MOVES = (op.Reshape, op.Slice, op.Transpose, op.Concat)
FEWEST_GATES = 16
FEWEST_WIRES = 4
"""Smaller networks are elementwise work, which is quicker for a single row."""
CHUNK = 64
"""Elements of a row that the kernel takes together."""

Key = tuple[Any, int, int]
"""An input bit: the slot and what stands there for the lesser value; or a wire that has no slot yet, and -1."""


class Kind(IntEnum):
    """Kinds of gates, by the numbers of ``program.h``."""

    AND = 0
    AND_NOT = 1
    OR = 2
    XOR = 3


KINDS = {0b1000: Kind.AND, 0b0100: Kind.AND_NOT, 0b1110: Kind.OR, 0b0110: Kind.XOR}


@dataclass
class Netlist:
    """Gates of two inputs, equal ones once.

    A bit is a node's or its complement: twice the node's number, plus 1 for the complement. Node 0 is never set.

    Attributes
    ----------
    nodes : list of (Kind, int, int) or None
        What each is computed from; None for inputs.
    inputs : dict of Key to int
        Nodes of the inputs.

    Examples
    --------
    >>> net = Netlist()
    >>> a, b = (net.input(("x", k, 0)) for k in range(2))
    >>> both = net.gate(0b1000, a, b)
    >>> net.gate(0b0111, b, a) == both + 1, net.gate(0b0010, both, both) == 0
    (True, True)
    """

    nodes: list[tuple[Kind, int, int] | None] = field(default_factory=lambda: [None])
    inputs: dict[Key, int] = field(default_factory=dict)
    _known: dict[tuple[Kind, int, int], int] = field(default_factory=dict)

    def input(self, key: Key) -> int:
        """The bit of an input."""
        if key not in self.inputs:
            self.inputs[key] = len(self.nodes)
            self.nodes.append(None)
        return 2 * self.inputs[key]

    def gate(self, function: int, a: int, b: int) -> int:
        """The bit that is `function` >> (2 a + b) & 1."""
        if a & 1:
            function = function >> 2 | (function & 0b0011) << 2
        if b & 1:
            function = (function & 0b1010) >> 1 | (function & 0b0101) << 1
        a, b = a & ~1, b & ~1
        if a == 0:  # only the rows of a = 0 count
            function = (function & 0b0011) * 0b0101
        if b == 0:
            function = (function & 0b0101) * 0b0011
        if a == b:
            function = (function & 1) * 0b0011 | (function >> 3) * 0b1100
        inverted = function & 1
        function = function ^ 0b1111 if inverted else function
        if function == 0:
            return inverted
        if function == 0b1100:
            return a ^ inverted
        if function == 0b1010:
            return b ^ inverted
        if function == 0b0010:
            function, a, b = 0b0100, b, a
        kind = KINDS[function]
        if kind != Kind.AND_NOT and a > b:
            a, b = b, a
        key = kind, a >> 1, b >> 1
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(key)
        return 2 * self._known[key] ^ inverted

    def scheduled(self, bits: Iterable[int]) -> tuple[list[tuple[int, int, int, int]], dict[int, int], int]:
        """What these bits need: gates with their words, each needed node's last word, and how many words there are.

        A word is taken again when nothing reads it any more, the one that was used last first: it is near.
        """
        needed = [False] * len(self.nodes)
        last: dict[int, int] = {}
        for bit in bits:
            needed[bit >> 1] = True
            last[bit >> 1] = len(self.nodes)
        for node in range(len(self.nodes) - 1, 0, -1):
            found = self.nodes[node]
            if needed[node] and found is not None:
                for operand in found[1:]:
                    needed[operand] = True
                    last.setdefault(operand, node)
        # node 0 has no word: no gate reads it, and outputs that are always the same need none
        words = {node: k for k, node in enumerate(n for n in self.inputs.values() if needed[n])}
        count = max(1, len(words))
        free: list[int] = []
        gates = []
        for node, found in enumerate(self.nodes):
            if found is None or not needed[node]:
                continue
            kind, a, b = found
            free += [words[n] for n in {a, b} if last[n] == node]
            if free:
                word = free.pop()
            else:
                word, count = count, count + 1
            gates.append((word, words[a], words[b], int(kind)))
            words[node] = word
        return gates, words, count


@dataclass(eq=False)
class Part:
    """The network of one section while it grows: bits of its own wires, and of those that it read."""

    net: Netlist = field(default_factory=Netlist)
    own: dict[str, IntArray] = field(default_factory=dict)
    read: dict[str, IntArray] = field(default_factory=dict)


def small(alphabet: Alphabet) -> bool:
    """Whether there are at most two values, and bytes hold them."""
    return alphabet.size <= 2 and Form.of(alphabet).type == Type.U8


class Gates:
    """All Boolean networks of a machine: one open part for each section.

    Parameters
    ----------
    planner : Planner
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.members = self._members()
        self.open: dict[Section, Part] = {}
        self._bytes: dict[tuple[Slot, Form], Slot] = {}

    def _members(self) -> set[str]:
        """Wires of networks that are large enough; what reads the same wires is one network."""
        planner, wires = self.planner, self.planner.machine.wires
        parents: dict[str, str] = {}
        members: set[str] = set()

        def root(name: str) -> str:
            parents.setdefault(name, name)
            while parents[name] != name:
                parents[name] = name = parents[parents[name]]
            return name

        for name in planner.needed_in_order():
            wire = wires[name]
            gate = isinstance(wire.operation, ELEMENTWISE)
            if not gate and not isinstance(wire.operation, MOVES):
                continue
            if all(small(wires[x].alphabet) for x in (name, *wire.operands)):
                # elements of other wires only change their place
                if gate or members & set(wire.operands):
                    members.add(name)
                for x in wire.operands:
                    if not isinstance(wires[x].operation, op.Constant):
                        parents[root(x)] = root(name)
        elements: dict[str, int] = {}
        count: dict[str, int] = {}
        for name in members:
            if isinstance(wires[name].operation, ELEMENTWISE):
                elements[root(name)] = elements.get(root(name), 0) + wires[name].size
                count[root(name)] = count.get(root(name), 0) + 1
        large = {name for name, n in elements.items() if n >= FEWEST_GATES and count[name] >= FEWEST_WIRES}
        return {name for name in members if root(name) in large}

    # ------------------------------------------------------------------------------------------------ what joins

    def takes(self, wire: Wire) -> bool:
        """Whether the wire is part of a network."""
        return wire.name in self.members

    def append(self, wire: Wire) -> None:
        """Compute a wire."""
        section = self.planner.section[wire.name]
        part = self.open.setdefault(section, Part())
        operands = [self.bits(part, section, name) for name in wire.operands]
        alphabets = [self.planner.machine.wires[name].alphabet for name in wire.operands]
        operation = wire.operation
        if isinstance(operation, ELEMENTWISE):
            part.own[wire.name] = self._gates(part.net, wire, operands)
            return
        operands = [_relative(bits, a, wire.alphabet) for bits, a in zip(operands, alphabets)]
        if isinstance(operation, op.Reshape):
            bits = operands[0].reshape(wire.shape)
        elif isinstance(operation, op.Slice):
            bits = operands[0][tuple(map(slice, operation.start, operation.stop, operation.step))]
        elif isinstance(operation, op.Transpose):
            bits = operands[0].transpose(operation.axes)
        else:
            assert isinstance(operation, op.Concat)
            bits = np.concatenate(operands, axis=operation.axis)
        part.own[wire.name] = bits

    def _gates(self, net: Netlist, wire: Wire, operands: Sequence[IntArray]) -> IntArray:
        """The operation itself on all combinations of values says what its gates are."""
        alphabets = [self.planner.machine.wires[name].alphabet for name in wire.operands]
        if len(operands) == 1:
            values = [[a.lo, a.lo, a.hi, a.hi] for a in alphabets]
        else:
            values = [[alphabets[0].lo] * 2 + [alphabets[0].hi] * 2, [alphabets[1].lo, alphabets[1].hi] * 2]
        xs = [
            np.broadcast_to(np.array(v, dtype=np.int64).reshape(4, *[1] * len(wire.shape)), (4, *wire.shape))
            for v in values
        ]
        # what no operands reach may leave the alphabet, and be anything
        set_ = apply(wire.operation, *xs) != wire.alphabet.lo
        functions = (set_ * np.array([1, 2, 4, 8]).reshape(4, *[1] * len(wire.shape))).sum(axis=0)
        a, b = operands[0].ravel().tolist(), operands[-1].ravel().tolist()
        if len(operands) == 1:
            b = [0] * len(a)
        found = [net.gate(f, x, y) for f, x, y in zip(functions.ravel().tolist(), a, b)]
        return np.array(found, dtype=np.int64).reshape(wire.shape)

    def bits(self, part: Part, section: Section, name: str) -> IntArray:
        """The bits of a wire: whether each element is the greater of two values."""
        if name in part.own:
            return part.own[name]
        if name not in part.read:
            part.read[name] = self._read(part.net, section, self.planner.machine.wires[name])
        return part.read[name]

    def _read(self, net: Netlist, section: Section, wire: Wire) -> IntArray:
        planner, name, alphabet = self.planner, wire.name, wire.alphabet
        if alphabet.size == 1:
            return np.zeros(wire.shape, dtype=np.int64)
        if isinstance(wire.operation, op.Constant):
            constant: IntArray = (wire.operation.value != alphabet.lo).astype(np.int64)
            return constant
        keys: Iterable[Key]
        if self.holds((name,)):  # of another section, and written before this one's
            keys = ((name, k, -1) for k in range(wire.size))
        else:
            planner.close((name,))
            placed = planner.operand(name)
            slot = self._in_bytes(name, placed, Form.of(alphabet), section)
            keys = ((slot, k, alphabet.lo - slot.form.base) for k in placed.where.ravel().tolist())
        return np.array([net.input(key) for key in keys], dtype=np.int64).reshape(wire.shape)

    def _in_bytes(self, name: str, placed: Placed, form: Form, section: Section) -> Slot:
        if placed.slot.form.type == Type.U8:
            return placed.slot
        key = placed.slot, form
        if key not in self._bytes:
            self._bytes[key] = self.planner.converted(name, placed, form, section).slot
        return self._bytes[key]

    # ------------------------------------------------------------------------------------------------ the end

    def holds(self, names: Iterable[str]) -> bool:
        """Whether any of these wires is computed here, and not written down yet."""
        return any(name in part.own for part in self.open.values() for name in names)

    def close(self, operands: Iterable[str] | None = None) -> list[str]:
        """Write down the parts that any of these wires (by default all) belong to; returns what they compute."""
        names = None if operands is None else tuple(operands)
        found: list[str] = []
        for section in list(self.open):
            part = self.open.get(section)
            if part is not None and (names is None or any(name in part.own for name in names)):
                found += self._write(section)
        return found

    def _write(self, section: Section) -> list[str]:
        planner, part = self.planner, self.open.pop(section)
        found = [*part.own]
        roots = set(planner.roots)
        out = [name for name in part.own if name in roots or not part.own.keys() >= set(planner.consumers[name])]
        # what it reads of other sections is written before it
        late = dict.fromkeys(where for where, _, low in part.net.inputs if low < 0)
        found += self.close(name for name in late if name not in planner.placed)
        if not out:
            return found
        bits = {name: part.own[name].ravel() for name in out}
        gates, words, count = part.net.scheduled(np.unique(np.concatenate(list(bits.values()))).tolist())
        sources = self._sources(part.net, words)
        sinks = self._sinks(out, bits, words)
        data = planner.data
        numbers: list[Any] = [count, len(sources), len(sinks), len(gates), data.add(gates, np.int32)]
        for slot, first, low, places in sources:
            numbers += [slot, first, low, data.add(places, np.int32)]
        for slot, first, row, codes in sinks:
            numbers += [slot, first, data.add(row, np.int32), data.add(codes, np.uint8)]
        named = out if len(out) <= 4 else [out[0], f"{len(out) - 2:,} more", out[-1]]
        planner.emit(
            Op.GATES, section, numbers, *named, kernel="Boolean network, 512 rows at once",
            reason=f"{len(gates):,} gates, {count:,} words",
        )  # fmt: skip
        return found

    def _sources(self, net: Netlist, words: dict[int, int]) -> list[tuple[Slot, int, int, list[int]]]:
        """By runs of elements: the slot, the first, the lesser value as it is stored, each element's word."""
        chunks: dict[tuple[Slot, int, int], list[int]] = {}
        for (where, element, low), node in net.inputs.items():
            if node not in words:
                continue
            if low < 0:
                placed, alphabet = self.planner.placed[where], self.planner.machine.wires[where].alphabet
                where, element = placed.slot, int(placed.where.ravel()[element])
                low = alphabet.lo - where.form.base
            first = element // CHUNK * CHUNK
            chunks.setdefault((where, first, low), [-1] * CHUNK)[element - first] = words[node]
        return [(*key, places) for key, places in chunks.items()]

    def _sinks(
        self, names: list[str], bits: dict[str, IntArray], words: dict[int, int]
    ) -> list[tuple[Slot, int, IntArray, IntArray]]:
        """By runs of elements: the slot, the first, each element's word and codes. Places wires that others need.

        Wires of one form share a slot; what registers take stands alone, as it is copied.
        """
        planner, wires = self.planner, self.planner.machine.wires
        slots: dict[tuple[Form, Home, str], list[str]] = {}
        for name in names:
            form = planner.forms[name]
            form = form if form.type == Type.U8 else Form.of(wires[name].alphabet)
            slots.setdefault((form, planner.home(name), name if name in planner.successors else ""), []).append(name)
        word = np.zeros(max(words, default=0) + 1, dtype=np.int64)
        word[list(words)] = list(words.values())
        sinks = []
        for (form, home, _), together in slots.items():
            slot = Slot(form, sum(wires[name].size for name in together), home)
            places = np.zeros(-(-slot.elements // CHUNK) * CHUNK, dtype=np.int64)
            codes = np.zeros((2, len(places)), dtype=np.int64)
            first = 0
            for name in together:
                wire = wires[name]
                where = np.arange(first, first + wire.size)
                planner.placed[name] = Placed(slot, where.reshape(wire.shape))
                low, high = wire.alphabet.lo - form.base, wire.alphabet.hi - form.base
                inverted, node = (bits[name] & 1).astype(bool), bits[name] >> 1
                places[where] = word[node]
                codes[0, where] = np.where(inverted, high, low)
                codes[1, where] = np.where(node == 0, 0, low ^ high)
                first += wire.size
            for k in range(0, len(places), CHUNK):
                sinks.append((slot, k, places[k : k + CHUNK], codes[:, k : k + CHUNK]))
        return sinks


def _relative(bits: IntArray, alphabet: Alphabet, to: Alphabet) -> IntArray:
    """Bits of elements that become elements of another alphabet."""
    if to.size == 1 or alphabet.size == 1:
        return np.full(bits.shape, int(to.size > 1 and alphabet.lo != to.lo))
    return bits
