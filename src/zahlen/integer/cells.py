"""One step of a recurrent cell and the way back through it, in kernels and in NumPy with the same result.

Gradients are int16 in units of 2^-bits by real values: of the hidden state, of the cell, of pre-activations. Slopes of
gates and of tangents come from their levels (design, section 8); those of a tangent's outermost levels are taken at the
middle of what rounds to them, as in `zahlen.nn`. What leaves 16 bits is clamped and counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .. import cells
from ..cells import CANDIDATE, GATE, Stairs
from ..cells.stairs import tanh_edge
from ..machine import IntArray, Levels
from . import arithmetic as do

UNIT = 4096
"""What a slope of 1.0 is worth, before a sigmoid's (which is at most 1/4 of it) and a tangent's are applied."""


def reached(stairs: Stairs, z: Any) -> Any:
    """int64 levels of an integer array."""
    return stairs.values[np.searchsorted(stairs.thresholds, z, side="right")]


def rounded(x: Any, shift: int) -> Any:
    """X / 2^shift, halves up."""
    return (x + (1 << shift >> 1)) >> shift


def edge(grid: Levels, one: int) -> int:
    """Where the slope of a rounded tangent stops falling, `one` being 1.0."""
    return int(one * tanh_edge(grid))


def returned(through: IntArray, scale: do.Scale) -> Any:
    """What comes back through the recurrent weights, within 17 bits: more than what becomes of it has."""
    return np.clip(scale(through.astype(np.int64)), -65535, 65535)


@dataclass
class Tape:
    """What the steps leave for the way back; time comes first.

    Attributes
    ----------
    h, c : int16 (time + 1, batch, units)
        With the state before the first step in front.
    y : int32 (time, batch, gates * units)
        The state's share of the pre-activations, if the cell keeps it apart.
    kept : int16 (time, batch, keeps * units)
    """

    h: IntArray
    c: IntArray
    y: IntArray
    kept: IntArray


@dataclass
class Share:
    """What the input adds to pre-activations; int32.

    Attributes
    ----------
    rows : int32 (time, batch, gates * units), or (symbols, gates * units)
    symbols : int32 (time, batch)
        Rows of each step; empty if `rows` are the steps'.
    work : int32 (batch, gates * units)
    """

    rows: IntArray
    symbols: IntArray
    work: IntArray

    def at(self, t: int) -> IntArray:
        """(batch, gates * units) of a step, to be written to."""
        if not self.symbols.size:
            return np.asarray(self.rows[t])
        self.work[...] = self.rows[self.symbols[t]]
        return self.work


class Steps(ABC):
    """A cell's arithmetic, forward and back.

    Parameters
    ----------
    cell : zahlen.cells.Cell
    scale : int
        Integer steps of a recurrent weight per 1.0.
    """

    def __init__(self, cell: Any, scale: int) -> None:
        self.cell, self.state = cell, do.Scale.of(Fraction(1, scale))

    def unroll(self, share: Share, across: do.Right, bias: IntArray, tape: Tape) -> None:
        """All steps; `bias` is that of the state's share, if the cell keeps it apart."""
        for t in range(len(tape.kept)):
            z, h = share.at(t), do.left(tape.h[t])
            if self.cell.separate:
                do.product(h, across, bias, tape.y[t])
            else:
                do.add_product(h, across, z, 1)
            self.forward(t, z, tape)

    def back(
        self, span: range, dh: IntArray, across: do.Right, tape: Tape, dc: IntArray, dz: IntArray, dy: IntArray
    ) -> int:
        """Back through a span of steps; how many gradients were clamped.

        Parameters
        ----------
        span : range
        dh : int16 (time, batch, units)
            Of all steps.
        across : Right
            The transpose of the recurrent weights.
        tape : Tape
        dc : int16 (batch, units)
        dz, dy : int16 (len(span) + 1, batch, gates * units)
            Filled, but for the last, which is of the step behind.
        """
        clamps = 0
        for k, t in reversed(list(enumerate(span))):
            through = do.product(do.left(dy[k + 1]), across)
            clamps += self.backward(t, dh[t], through, tape, dc, dz[k], dy[k])
        return clamps

    @abstractmethod
    def forward(self, t: int, z: IntArray, tape: Tape) -> None:
        """Step t from pre-activations int32 (batch, gates * units)."""

    @abstractmethod
    def backward(
        self, t: int, dh: IntArray, through: IntArray, tape: Tape, dc: IntArray, dz: IntArray, dy: IntArray
    ) -> int:
        """Back through step t; how many gradients were clamped.

        Parameters
        ----------
        t : int
        dh : int16 (batch, units)
            By the hidden state, from outside.
        through : int32 (batch, units)
            From the step behind, before the recurrent weights' scale is taken off.
        tape : Tape
        dc : int16 (batch, units)
            By the cell; replaced.
        dz, dy : int16 (batch, gates * units)
            Filled with the gradients by the input's and the state's shares of pre-activations.
        """


class LSTMSteps(Steps):
    """`zahlen.cells.LSTMCell`: kept are i, f, g, o and the squashed cell t."""

    def __init__(self, cell: Any, scale: int) -> None:
        super().__init__(cell, scale)
        self.inner, self.outer = edge(cell.candidates, CANDIDATE), edge(cell.squashed, CANDIDATE)

    def unroll(self, share: Share, across: do.Right, bias: IntArray, tape: Tape) -> None:
        if do.kernels is None:
            super().unroll(share, across, bias, tape)
            return
        sizes = len(tape.kept), *tape.h.shape[1:]
        do.kernels.lstm_forward_steps(
            self.cell.plan, share.rows, share.symbols, share.work, across.at, tape.h, tape.c, tape.kept, *sizes
        )

    def back(
        self, span: range, dh: IntArray, across: do.Right, tape: Tape, dc: IntArray, dz: IntArray, dy: IntArray
    ) -> int:
        if do.kernels is None:
            return super().back(span, dh, across, tape, dc, dz, dy)
        part, through = slice(span.start, span.stop), np.empty(dc.shape, np.int32)
        count: int = do.kernels.lstm_backward_steps(
            self.cell.plan, dh[part], through, across.at, tape.c[part], tape.kept[part], dc, dz, len(span), *dc.shape,
            self.inner, self.outer, self.cell.fraction_bits, self.state.factor, self.state.shift,
        )  # fmt: skip
        return count

    def _unclamped(self, i: Any, f: Any, g: Any, c: Any) -> Any:
        old, new, shift = self.cell.mix
        return rounded(((f * c) << old) + ((i * g) << new), shift)

    def forward(self, t: int, z: IntArray, tape: Tape) -> None:
        c, h_next, c_next, kept = tape.c[t], tape.h[t + 1], tape.c[t + 1], tape.kept[t]
        cell = self.cell
        zi, zf, zg, zo = np.split(z, 4, axis=1)
        i, f, g, o = (
            reached(s, p) for s, p in zip((cell.gate, cell.gate, cell.candidate, cell.gate), (zi, zf, zg, zo))
        )
        c_next[...] = np.clip(self._unclamped(i, f, g, c.astype(np.int64)), -cell.limit, cell.limit)
        squashed = reached(cell.squash, c_next)
        kept[...] = np.concatenate([i, f, g, o, squashed], axis=1)
        h_next[...] = reached(cell.output, o * squashed)

    def backward(
        self, t: int, dh: IntArray, through: IntArray, tape: Tape, dc: IntArray, dz: IntArray, dy: IntArray
    ) -> int:
        cell, c, kept = self.cell, tape.c[t], tape.kept[t]
        inner, outer, fraction = self.inner, self.outer, cell.fraction_bits
        i, f, g, o, s = np.split(kept.astype(np.int64), 5, axis=1)
        before = c.astype(np.int64)
        open_ = np.abs(self._unclamped(i, f, g, before)) <= cell.limit
        slope_g = (CANDIDATE**2 - np.clip(g, -inner, inner) ** 2) >> 6
        slope_s = (CANDIDATE**2 - np.clip(s, -outer, outer) ** 2) >> 6
        slope_i, slope_f, slope_o = ((gate * (GATE - gate)) >> 6 for gate in (i, f, o))
        h, first = do.clamped(dh + returned(through, self.state))
        d, second = do.clamped(dc + rounded(h * o * slope_s, 16))
        d = d * open_
        fine = min(fraction, 4)  # so that 32 bits hold the product with the slope
        by_f, third = do.clamped(rounded(rounded(d * before, fraction - fine) * slope_f, 10 + fine))
        parts = [rounded(d * g * slope_i, 17), by_f, rounded(d * i * slope_g, 16), rounded(h * s * slope_o, 17)]
        dz[...] = np.concatenate(parts, axis=1)
        dc[...] = rounded(d * f, 8)
        return first + second + third


class GRUSteps(Steps):
    """`zahlen.cells.GRUCell`: kept are r, u and the candidate n; the state's share of pre-activations is apart."""

    def __init__(self, cell: Any, scale: int) -> None:
        super().__init__(cell, scale)
        self.inner = edge(cell.candidates, cell.limit)
        self.share = do.Scale.of(Fraction(UNIT, cell.unit))
        self.square = do.Scale.of(Fraction(UNIT, cell.limit**2), most=32)
        self.grain = do.Scale.of(Fraction(UNIT, cell.limit))

    def forward(self, t: int, z: IntArray, tape: Tape) -> None:
        y, c, h_next, c_next, kept = tape.y[t], tape.c[t], tape.h[t + 1], tape.c[t + 1], tape.kept[t]
        if do.kernels is not None:
            do.kernels.gru_forward(self.cell.plan, z, y, c, h_next, c_next, kept, *c.shape)
            return
        (zr, zu, zn), (yr, yu, yn) = np.split(z.astype(np.int64), 3, axis=1), np.split(y.astype(np.int64), 3, axis=1)
        r, u = reached(self.cell.gate, zr + yr), reached(self.cell.gate, zu + yu)
        n = reached(self.cell.candidate, zn + rounded(r * yn, 8))
        c_next[...] = rounded(u * c + (GATE - u) * n, 8)
        kept[...] = np.concatenate([r, u, n], axis=1)
        h_next[...] = reached(self.cell.output, c_next)

    def backward(
        self, t: int, dh: IntArray, through: IntArray, tape: Tape, dc: IntArray, dz: IntArray, dy: IntArray
    ) -> int:
        cell, y, c, kept = self.cell, tape.y[t], tape.c[t], tape.kept[t]
        inner = self.inner
        if do.kernels is not None:
            scales = (v for s in (self.state, self.share, self.square, self.grain) for v in (s.factor, s.shift))
            count: int = do.kernels.gru_backward(
                dh, through, y, c, kept, dc, dz, dy, *c.shape, cell.limit, inner, *scales
            )
            return count
        r, u, n = np.split(kept.astype(np.int64), 3, axis=1)
        slope = self.square(cell.limit**2 - np.clip(n, -inner, inner) ** 2)
        d, first = do.clamped(dc.astype(np.int64) + dh + returned(through, self.state))
        dn = rounded(rounded(d * (GATE - u), 8) * slope, 12)
        near, _ = do.clamped(self.share(y[:, 2 * u.shape[1] :].astype(np.int64)))
        dr, second = do.clamped(rounded(rounded(dn * near, 12) * ((r * (GATE - r)) >> 6), 10))
        between = self.grain(c.astype(np.int64) - n)
        du, third = do.clamped(rounded(rounded(d * between, 12) * ((u * (GATE - u)) >> 6), 10))
        dz[...] = np.concatenate([dr, du, dn], axis=1)
        dy[...] = np.concatenate([dr, du, rounded(dn * r, 8)], axis=1)
        dc[...] = rounded(d * u, 8)
        return first + second + third


class RNNSteps(Steps):
    """`zahlen.cells.RNNCell`: nothing is kept but the hidden state."""

    def __init__(self, cell: Any, scale: int) -> None:
        super().__init__(cell, scale)
        self.stairs = do.Steps(cell.stairs.thresholds, cell.stairs.values)
        self.square = do.Scale.of(Fraction(UNIT, cell.limit**2), most=32)
        self.outer = edge(cell.squashed, cell.limit)

    def forward(self, t: int, z: IntArray, tape: Tape) -> None:
        tape.h[t + 1] = self.stairs(z)

    def backward(
        self, t: int, dh: IntArray, through: IntArray, tape: Tape, dc: IntArray, dz: IntArray, dy: IntArray
    ) -> int:
        limit, outer, h = self.cell.limit, self.outer, tape.h[t + 1]
        if do.kernels is not None:
            count: int = do.kernels.rnn_backward(
                dh, through, h, dz, outer, limit, self.state.factor, self.state.shift, self.square.factor,
                self.square.shift,
            )  # fmt: skip
            return count
        d, clamps = do.clamped(dh + returned(through, self.state))
        slope = self.square(limit**2 - np.clip(h.astype(np.int64), -outer, outer) ** 2)
        dz[...] = rounded(d * slope, 12)
        return clamps


STEPS: dict[str, type[Steps]] = {"lstm": LSTMSteps, "gru": GRUSteps, "rnn": RNNSteps}
CELLS: dict[str, type[cells.Cell]] = {"lstm": cells.LSTMCell, "gru": cells.GRUCell, "rnn": cells.RNNCell}
