"""How wires are kept: a type, and what a stored 0 stands for; and the constants of a packed program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from ..machine import Alphabet, IntArray

ALIGNMENT = 64
"""Rows begin at multiples of so many bytes."""


class Type(IntEnum):
    """What a slot holds, by the numbers of ``program.h``."""

    U8 = 0
    S16 = 1
    S32 = 2
    S64 = 3

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return 1 << self.value

    @property
    def dtype(self) -> np.dtype[Any]:
        """The elements in NumPy."""
        return np.dtype((np.uint8, np.int16, np.int32, np.int64)[self.value])


class Home(IntEnum):
    """Where a slot lies, by the numbers of ``program.h``."""

    SCRATCH = 0
    TIMED = 1
    STATE = 2


@dataclass(frozen=True)
class Form:
    """How an alphabet's elements are stored: as what is `base` less.

    Bytes hold 0..hi - lo, so that products of 8 bits may be taken; wider types hold the elements themselves. Steps
    between levels are not divided out: then zero is a stored value even where it is no level, as padding needs it.
    """

    type: Type
    base: int

    @classmethod
    def of(cls, alphabet: Alphabet) -> Form:
        """The narrowest form.

        >>> from zahlen.machine import Levels
        >>> Form.of(Levels.odd(16)), Form.of(Levels(-1000, 1000))
        (Form(type=<Type.U8: 0>, base=-15), Form(type=<Type.S16: 1>, base=0))
        """
        if alphabet.hi - alphabet.lo < 256 and alphabet.lo > -(2**31) and alphabet.hi < 2**31 - 1:
            return cls(Type.U8, alphabet.lo)
        return cls.direct(alphabet)

    @classmethod
    def direct(cls, alphabet: Alphabet) -> Form:
        """The narrowest form that keeps the elements themselves."""
        for type in (Type.S16, Type.S32):
            if -(1 << 8 * type.size - 1) <= alphabet.lo and alphabet.hi < 1 << 8 * type.size - 1:
                return cls(type, 0)
        return cls(Type.S64, 0)

    def stored(self, values: IntArray) -> np.ndarray[Any, Any]:
        """What stands in memory for these values."""
        return (values - self.base).astype(self.type.dtype)


@dataclass(eq=False)
class Slot:
    """Room for the rows of a wire."""

    form: Form
    elements: int
    home: Home = Home.SCRATCH
    first: int = -1  # instructions between which it is in use
    last: int = -1
    offset: int = 0
    same: Slot | None = None  # whose memory this is, read from another base

    @property
    def stride(self) -> int:
        """Bytes from row to row."""
        return -(-self.elements * self.form.type.size // ALIGNMENT) * ALIGNMENT

    def touch(self, instruction: int) -> None:
        """It is in use there."""
        self.first = instruction if self.first < 0 else self.first
        self.last = max(self.last, instruction)
        if self.same is not None:
            self.same.touch(instruction)

    def rebased(self, base: int) -> Slot:
        """The same memory, where what is stored counts from another base."""
        return Slot(Form(self.form.type, base), self.elements, self.home, same=self.same or self)


class Data:
    """Constants one behind the other, equal ones once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self._known: dict[bytes, int] = {}

    def add(self, array: Any, dtype: Any) -> int:
        """Where the array lies, of which an empty one is nowhere."""
        content = np.ascontiguousarray(array, dtype=dtype).tobytes()
        if not content:
            return -1
        if content not in self._known:
            self._known[content] = self.size
            padded = content + bytes(-len(content) % 8)
            self.parts.append(padded)
            self.size += len(padded)
        return self._known[content]

    def bytes(self) -> bytes:
        """All of them."""
        return b"".join(self.parts)


def assign(slots: list[Slot]) -> dict[Home, int]:
    """Give scratch slots that are in use at different times the same place; returns the bytes of a row by home.

    Greedy by size, the lowest place that is free while the slot is in use.
    """
    sizes = dict.fromkeys(Home, 0)
    placed: list[Slot] = []
    views = [slot for slot in slots if slot.same is not None]
    slots = list(dict.fromkeys(slot.same or slot for slot in slots))
    for slot in slots:
        if slot.home != Home.SCRATCH:
            slot.offset = sizes[slot.home]
            sizes[slot.home] += slot.stride
    for slot in sorted((s for s in slots if s.home == Home.SCRATCH), key=lambda s: -s.stride):
        busy = sorted(
            (other.offset, other.offset + other.stride)
            for other in placed
            if other.first <= slot.last and slot.first <= other.last
        )
        place = 0
        for start, end in busy:
            if place + slot.stride <= start:
                break
            place = max(place, end)
        slot.offset = place
        placed.append(slot)
        sizes[Home.SCRATCH] = max(sizes[Home.SCRATCH], place + slot.stride)
    for slot in views:
        assert slot.same is not None
        slot.offset = slot.same.offset
    return sizes
