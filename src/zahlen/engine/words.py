"""Instructions as the numbers that ``program.c`` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from .forms import Data, Home, Slot, assign

MAGIC = 0x5A50524F47524D31
ROWS_BYTES = 1 << 19
"""How much of a cache the rows of a tile may take."""
MOST_ROWS = 120
ROWS_AT_ONCE = 12
"""As many as the kernels of products take at most; a tile of a large batch is a multiple of them."""
GATES_ROWS = 512
GATES_BYTES = 1 << 24
"""Words of gates hold so many rows; they are worth more than a cache, up to here."""


class Op(IntEnum):
    """Kinds of instructions."""

    PORT_IN = 0
    PORT_OUT = 1
    PRODUCT = 2
    ELEMENTWISE = 3
    POOL = 4
    MOVE = 5
    EMBEDDING = 6
    ARGMAX = 7
    SUM = 8
    CONSTANT = 9
    BITS = 10
    LSTM_CELL = 11
    GATES = 12


class Section(IntEnum):
    """When an instruction is due."""

    START = 0
    BEFORE = 1
    EACH = 2
    AFTER = 3
    END = 4


@dataclass(frozen=True, eq=False)
class Sole:
    """A word that is 1 if two instructions use a slot, the one that writes it and the one that reads it."""

    slot: Slot


@dataclass(eq=False)
class Instruction:
    """One kernel's work.

    Attributes
    ----------
    op : Op
    section : Section
    words : list of int, Slot or Sole
        Slots stand for their numbers.
    uses : tuple of Slot
    wires : tuple of str
        What it computes, for the reader of the plan.
    kernel, reason : str
    operations : int
        Multiply-adds of a row.
    """

    op: Op
    section: Section
    words: list[Any]
    wires: tuple[str, ...]
    kernel: str
    reason: str = ""
    operations: int = 0
    uses: tuple[Slot, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.uses = tuple(word for word in self.words if isinstance(word, Slot))


@dataclass(frozen=True)
class RegisterWords:
    """A register: its slot, its successor's, and the row that it starts from."""

    state: Slot
    following: Slot
    initial: int


def encode(
    instructions: list[Instruction], registers: list[RegisterWords], data: Data, inputs: int, outputs: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], bytes, dict[str, int]]:
    """Words, constants, and what a row takes."""
    ordered = [i for section in Section for i in instructions if i.section == section]
    slots: dict[Slot, int] = {}
    for k, instruction in enumerate(ordered):
        for slot in instruction.uses:
            slots.setdefault(slot, len(slots))
            slot.touch(k)
    for register in registers:
        for slot in (register.state, register.following):
            slots.setdefault(slot, len(slots))
            slot.touch(max(0, len(ordered) - 1))  # read at the end of a step
    sizes = assign(list(slots))
    bytes_of_row = sizes[Home.SCRATCH] + sizes[Home.TIMED]
    rows = max(1, min(MOST_ROWS, ROWS_BYTES // max(1, bytes_of_row)))
    rows -= rows % ROWS_AT_ONCE if rows > ROWS_AT_ONCE else 0
    if any(i.op == Op.GATES for i in ordered):
        rows = max(rows, min(GATES_ROWS, GATES_BYTES // max(1, bytes_of_row)))
    operations = sum(i.operations for i in ordered)
    ends = [sum(i.section < section for i in ordered) for section in Section]
    words: list[int] = [MAGIC, len(slots), len(ordered), len(registers), inputs, outputs, operations, rows]
    words += [sizes[home] for home in Home]
    words += [*ends, len(ordered)]
    for slot in slots:
        words += [slot.form.type, slot.home, slot.elements, slot.stride, slot.offset, slot.form.base, 1]
    for register in registers:
        words += [slots[register.state], slots[register.following], register.initial]
    for instruction in ordered:
        words.append(instruction.op)
        for word in instruction.words:
            if isinstance(word, Sole):
                users = sum(word.slot in i.uses for i in ordered) + sum(word.slot == r.following for r in registers)
                words.append(int(users == 2))
            else:
                words.append(slots[word] if isinstance(word, Slot) else int(word))
    sizes_named = {"row": bytes_of_row, "state": sizes[Home.STATE], "rows": rows, "operations": operations}
    return np.array(words, dtype=np.int64), data.bytes(), sizes_named
