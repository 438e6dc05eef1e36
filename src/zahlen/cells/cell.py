"""Recurrent cells in whole numbers: their constants, and the operations that they are in a machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..kernels import native
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from .stairs import GATE, Stairs, gate_stairs, nearest_stairs, tanh_stairs, with_zero

CANDIDATE = 128
"""What 1.0 of a candidate, or of a squashed cell, is worth."""
MOST_LEVELS = 257
"""More levels of a gate would not all have values of their own."""
TABLE_LIMIT = 2**16
"""Most entries of a table of all products of two operands."""


@dataclass(frozen=True)
class Cell(ABC):
    """A recurrent cell with `levels` levels of the hidden state, and what comes in at `unit` steps per 1.0.

    Attributes
    ----------
    levels : int
        Of the hidden state: `Cell.hidden` says which.
    gate_levels : int
        Of the gates and of the candidate.
    cell_bits : int
        Width of an element of the cell.
    unit : int
        Integer steps of the pre-activations per 1.0.
    """

    levels: int
    gate_levels: int
    cell_bits: int
    unit: int

    kind: ClassVar[str]
    gates: ClassVar[int]
    keeps: ClassVar[int]  # int16 values per unit that the way back needs
    state: ClassVar[tuple[str, ...]]  # of the registers
    separate: ClassVar[bool] = False  # whether the state's share of the pre-activation comes apart

    # ------------------------------------------------------------------------------------------------ constants

    @classmethod
    def hidden(cls, levels: int) -> Levels:
        """What the hidden state holds; `hi` stands for 1.0."""
        return Levels.odd(levels)

    @abstractmethod
    def numbers(self) -> list[Any]:
        """Staircases and constants as the kernels read them."""

    @property
    @abstractmethod
    def state_unit(self) -> int:
        """Integer steps of the state that runs through time per 1.0."""

    @property
    @abstractmethod
    def limit(self) -> int:
        """Greatest absolute value of that state."""

    @property
    @abstractmethod
    def initial(self) -> dict[str, int]:
        """Where each register starts: the level of zero (the one above, if zero is none)."""

    def reach(self) -> int:
        """Pre-activations beyond this absolute value change nothing."""
        return int(max(np.abs(stairs.thresholds).max() for stairs in self.inner())) + 1

    @abstractmethod
    def inner(self) -> tuple[Stairs, ...]:
        """The staircases over pre-activations."""

    @cached_property
    def plan(self) -> Any:
        """The kernels' form of the cell."""
        assert native is not None
        return native.plan(self.kind, np.concatenate(self.numbers()).astype(np.int32))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "plan"}  # pointers stay here

    @property
    def candidates(self) -> Levels:
        """What a candidate is rounded to."""
        return self.hidden(self.gate_levels)

    @property
    def squashed(self) -> Levels:
        """What the last tanh is rounded to."""
        return self.candidates

    # ------------------------------------------------------------------------------------------------ the machine

    @abstractmethod
    def emit(self, builder: Builder, name: str, parts: list[tuple[Wire, ...]], products: str) -> Wire:
        """Add one step to a machine whose registers ``name_h`` and the like exist; returns the next hidden state.

        `parts` are the pre-activations of each gate, in their order.
        """


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate by Gers et al., 2000) in whole numbers.

    With gates i, f, o in 0..256, the candidate g in -128..128, and a cell on a grid of 2^-F::

        c' = clamp(round(f c / 2^8 + i g 2^F / 2^15), -limit, limit),   h' = the level nearest to o tanh(c')
    """

    kind = "lstm"
    gates = 4
    keeps = 5
    state = ("h", "c")

    @classmethod
    def hidden(cls, levels: int) -> Levels:
        return with_zero(levels)

    @property
    def fraction_bits(self) -> int:
        """F: a cell of n bits has a grid of 2^-F. The range is 2 up to 7 bits, 4 up to 12, then 8."""
        n = self.cell_bits
        return n - 2 if n <= 7 else n - 3 if n <= 12 else n - 4

    @property
    def state_unit(self) -> int:
        return 1 << self.fraction_bits

    @property
    def limit(self) -> int:
        return (1 << (self.cell_bits - 1)) - 1

    @cached_property
    def gate(self) -> Stairs:
        """Pre-activations of i, f, o to 0..256."""
        return gate_stairs(self.gate_levels, self.unit)

    @cached_property
    def candidate(self) -> Stairs:
        """Pre-activation of g to -128..128."""
        return tanh_stairs(self.candidates, self.unit, CANDIDATE)

    @cached_property
    def squash(self) -> Stairs:
        """The cell to -128..128."""
        return tanh_stairs(self.candidates, self.state_unit, CANDIDATE)

    @cached_property
    def output(self) -> Stairs:
        """A product o t, worth 1.0 at 2^15, to the hidden state's levels."""
        return nearest_stairs(self.hidden(self.levels), GATE * CANDIDATE)

    @property
    def mix(self) -> tuple[int, int, int]:
        """Left shifts of f c and of i g, then the right shift of their sum."""
        f = self.fraction_bits
        return max(0, 7 - f), max(0, f - 7), 8 + max(0, 7 - f)

    @property
    def initial(self) -> dict[str, int]:
        return {"h": self.output.at(0), "c": 0}

    def inner(self) -> tuple[Stairs, ...]:
        return self.gate, self.candidate

    def numbers(self) -> list[Any]:
        old, new, shift = self.mix
        stairs = [s.numbers() for s in (self.gate, self.candidate, self.squash, self.output)]
        return [*stairs, [1 << old, 1 << new, 1 << (shift - 1), shift, self.limit]]

    def emit(self, builder: Builder, name: str, parts: list[tuple[Wire, ...]], products: str) -> Wire:
        old, new, shift = self.mix
        indexed = products == "tables"

        def stairs(key: str, z: Wire, s: Stairs) -> Wire:
            values = np.arange(s.levels) if indexed else s.values
            return builder.staircase(z, s.thresholds, values, name=f"{name}_{key}")

        zi, zf, zg, zo = (_sum(builder, part) for part in parts)
        i, f = stairs("i", zi, self.gate), stairs("f", zf, self.gate)
        g, o = stairs("g", zg, self.candidate), stairs("o", zo, self.gate)
        if indexed:
            cells = np.arange(-self.limit, self.limit + 1)
            kept = _lookup(builder, f, f"{name}_c", self.gate.values[:, None] * cells << old)
            added = _lookup(builder, i, g, self.gate.values[:, None] * self.candidate.values << new)
        else:
            kept, added = builder.mul(f, f"{name}_c"), builder.mul(i, g)
            kept = builder.shift(kept, -old) if old else kept
            added = builder.shift(added, -new) if new else added
        c = builder.shift(builder.add(kept, added), shift, "half_up")
        c = builder.clamp(c, -self.limit, self.limit, name=f"{name}_c_next")
        builder.connect(f"{name}_c", c)
        t = stairs("t", c, self.squash)
        if indexed:
            levels = [[self.output.at(int(a * b)) for b in self.squash.values] for a in self.gate.values]
            return _lookup(builder, o, t, np.array(levels), name=f"{name}_h_next")
        return builder.staircase(builder.mul(o, t), self.output.thresholds, self.output.values, name=f"{name}_h_next")


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al., 2014) as cuDNN and PyTorch define it, in whole numbers.

    With gates r, u in 0..256, and the candidate n and the state c on -limit..limit, which is worth -1 to 1::

        n = tanh(x_n + round(r y_n / 2^8)),   c' = round((u c + (256 - u) n) / 2^8),   h' = the level nearest to c'

    The state c runs through time; its levels h are what the matrices see.
    """

    kind = "gru"
    gates = 3
    keeps = 3
    state = ("c",)
    separate = True

    @property
    def limit(self) -> int:
        return (1 << (self.cell_bits - 1)) - 1

    @property
    def state_unit(self) -> int:
        return self.limit

    @cached_property
    def gate(self) -> Stairs:
        """Pre-activations of r, u to 0..256."""
        return gate_stairs(self.gate_levels, self.unit)

    @cached_property
    def candidate(self) -> Stairs:
        """Pre-activation of n to the state's grid."""
        return tanh_stairs(self.candidates, self.unit, self.limit)

    @cached_property
    def output(self) -> Stairs:
        """The state to the hidden state's levels."""
        return nearest_stairs(self.hidden(self.levels), self.limit)

    @property
    def initial(self) -> dict[str, int]:
        return {"c": 0}

    def inner(self) -> tuple[Stairs, ...]:
        return self.gate, self.candidate

    def numbers(self) -> list[Any]:
        return [s.numbers() for s in (self.gate, self.candidate, self.output)]

    def emit(self, builder: Builder, name: str, parts: list[tuple[Wire, ...]], products: str) -> Wire:
        (xr, yr), (xu, yu), (xn, yn) = parts
        indexed = products == "tables"

        def gate(key: str, *z: Wire) -> Wire:
            values = np.arange(self.gate.levels) if indexed else self.gate.values
            return builder.staircase(_sum(builder, z), self.gate.thresholds, values, name=f"{name}_{key}")

        r, u = gate("r", xr, yr), gate("u", xu, yu)
        product = _byte_products(builder, r, yn, self.gate.values) if indexed else builder.mul(r, yn)
        z = builder.add(xn, builder.shift(product, 8, "half_up"))
        values = np.arange(self.candidate.levels) if indexed else self.candidate.values
        n = builder.staircase(z, self.candidate.thresholds, values, name=f"{name}_n")
        if indexed:
            cells = np.arange(-self.limit, self.limit + 1)
            kept = _lookup(builder, u, f"{name}_c", self.gate.values[:, None] * cells)
            added = _lookup(builder, u, n, (GATE - self.gate.values)[:, None] * self.candidate.values)
        else:
            kept = builder.mul(u, f"{name}_c")
            added = builder.mul(builder.sub(builder.constant(np.full(u.shape, GATE)), u), n)
        c = builder.shift(builder.add(kept, added), 8, "half_up")
        c = builder.clamp(c, -self.limit, self.limit, name=f"{name}_c_next")  # a mean of both: nothing is cut off
        builder.connect(f"{name}_c", c)
        return builder.staircase(c, self.output.thresholds, self.output.values, name=f"{name}_h_next")


class RNNCell(Cell):
    """h' = tanhD(z) (Elman, 1990)."""

    kind = "rnn"
    gates = 1
    keeps = 0
    state = ("h",)

    @property
    def squashed(self) -> Levels:
        return self.hidden(self.levels)

    @property
    def limit(self) -> int:
        return self.levels - 1

    @property
    def state_unit(self) -> int:
        return self.levels - 1

    @cached_property
    def stairs(self) -> Stairs:
        """The pre-activation to the hidden state's levels."""
        return tanh_stairs(self.squashed, self.unit, self.squashed.hi)

    @property
    def initial(self) -> dict[str, int]:
        return {"h": self.stairs.at(0)}

    def inner(self) -> tuple[Stairs, ...]:
        return (self.stairs,)

    def numbers(self) -> list[Any]:
        return [self.stairs.numbers()]

    def emit(self, builder: Builder, name: str, parts: list[tuple[Wire, ...]], products: str) -> Wire:
        (z,) = parts
        return builder.staircase(_sum(builder, z), self.stairs.thresholds, self.stairs.values, name=f"{name}_h_next")


def _sum(builder: Builder, parts: tuple[Wire, ...]) -> Wire:
    return parts[0] if len(parts) == 1 else builder.add(*parts)


def _lookup(builder: Builder, *operands: Any, name: str | None = None) -> Wire:
    *wires, table = operands
    for axis, wire in enumerate(wires):
        # levels that are proven out of reach have no entries
        if isinstance(wire, Wire) and wire.alphabet.size < table.shape[axis]:
            table = table.take(np.arange(wire.alphabet.lo, wire.alphabet.hi + 1, wire.alphabet.step), axis)
    if table.size > TABLE_LIMIT:
        raise LayerError(
            f"a table of all products would have {table.size:,} entries, more than {TABLE_LIMIT:,}; "
            "take fewer cell_bits or levels, or products='native'"
        )
    return builder.lookup(*wires, table=table, name=name)


def _byte_products(builder: Builder, level: Wire, y: Wire, values: IntArray) -> Wire:
    """``values[level] * y`` without a multiplication: y is taken apart into bytes, the top one signed."""
    total, place = None, 0
    while True:
        last = y.range.hull()[0] >= -128 and y.range.hull()[1] <= 127
        high = None if last else builder.shift(y, 8)
        byte = y if high is None else builder.sub(y, builder.shift(high, -8))
        if not last:
            byte = builder.clamp(byte, 0, 255)  # what is left after the higher bytes: nothing is cut off
        entries = np.arange(byte.alphabet.lo, byte.alphabet.hi + 1, byte.alphabet.step)
        part = _lookup(builder, level, byte, values[:, None] * entries)
        part = builder.shift(part, -place) if place else part
        total = part if total is None else builder.add(total, part)
        if high is None:
            return total
        y, place = high, place + 8
