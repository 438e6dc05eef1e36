"""What recurrent cells compute between their matrix products: staircases, products of gates, and the way back.

Forward passes are integer functions. Backward passes are those of the float cells on the values that the integers
stand for, in single precision. Each cell has two forms of both that return the same bits: PyTorch operations written
here, and the compiled kernels (``src/zahlen/kernels/recurrent.c``), which are many times faster.

At the outermost levels of a tanh, where the levels themselves say that the slope is zero, it is taken at the middle of
what rounds to that level; without it units with few levels stop learning. Gates are left to rest at their ends: there
the same would keep forget gates from staying open (measured in ``studies/text.py``'s setting: worse for every L).
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import cells
from ..cells.cell import CANDIDATE
from ..cells.stairs import GATE, tanh_edge
from ..kernels import native
from .stairs import reached


class Cell(cells.Cell):
    """What the kinds share on the way there and back."""

    @cached_property
    def slopes(self) -> Any:
        """float32 (5,): what turns integers into the real values that gradients are about."""
        edges = [
            float(tanh_edge(self.candidates)),
            float(tanh_edge(self.hidden(self.levels if self.kind == "rnn" else self.gate_levels))),
        ]
        values = [self.hidden(self.levels).hi, 1 / self.unit, 1 / self.state_unit, *edges]
        return np.array(values, dtype=np.float32)

    @abstractmethod
    def forward(self, z: Tensor, y: Tensor, c: Tensor, h_next: Tensor, c_next: Tensor, kept: Tensor) -> None:
        """One step of a batch, into `h_next`, `c_next` and `kept`.

        Parameters
        ----------
        z : float32 (batch, gates * units)
            Pre-activations; without the state's share if that is `separate`.
        y : float32 (batch, gates * units)
            The state's share, if it is `separate`.
        c, h_next, c_next : float32 (batch, units)
        kept : int16 (batch, keeps * units)
            What `backward` needs.
        """

    @abstractmethod
    def backward(
        self, dh: Tensor, y: Tensor, c: Tensor, h_next: Tensor, kept: Tensor, dc: Tensor, dz: Tensor, dy: Tensor
    ) -> None:
        """The way back through one step.

        `dh` is the gradient by the integers `h_next`, `dc` that by the real value of the cell, which is replaced by
        that of the step before; `dz` and `dy` are filled with the gradients by the pre-activations.
        """


def _halves(kept: Tensor, parts: int) -> list[Tensor]:
    return [part.to(torch.float32) for part in kept.chunk(parts, dim=-1)]


def _views(*tensors: Tensor) -> list[Any]:
    return [tensor.numpy() for tensor in tensors]


class LSTMCell(cells.LSTMCell, Cell):
    """`zahlen.cells.LSTMCell` on tensors."""

    def _unclamped(self, i: Tensor, f: Tensor, g: Tensor, c: Tensor) -> Tensor:
        old, new, shift = self.mix
        i, f, g, c = (t.to(torch.int64) for t in (i, f, g, c))
        return ((f * c << old) + (i * g << new) + (1 << (shift - 1))) >> shift

    def forward(self, z: Tensor, y: Tensor, c: Tensor, h_next: Tensor, c_next: Tensor, kept: Tensor) -> None:
        units = c.shape[-1]
        if native is not None and z.device.type == "cpu":
            native.lstm_forward(self.plan, units, *_views(z, c, h_next, c_next, kept))
            return
        zi, zf, zg, zo = z.chunk(4, dim=-1)
        i, f, g, o = reached(self.gate, zi), reached(self.gate, zf), reached(self.candidate, zg), reached(self.gate, zo)
        c_next.copy_(self._unclamped(i, f, g, c).clamp(-self.limit, self.limit))
        t = reached(self.squash, c_next)
        kept.copy_(torch.cat([i, f, g, o, t], dim=-1))
        h_next.copy_(reached(self.output, o * t))

    def backward(
        self, dh: Tensor, y: Tensor, c: Tensor, h_next: Tensor, kept: Tensor, dc: Tensor, dz: Tensor, dy: Tensor
    ) -> None:
        units = c.shape[-1]
        if native is not None and dh.device.type == "cpu":
            native.lstm_backward(self.plan, units, *_views(dh, c, kept, dc, dz), self.slopes)
            return
        gain, fall, grain, candidate, squash = self.slopes.tolist()
        vi, vf, vg, vo, vt = _halves(kept, 5)
        open_ = (self._unclamped(vi, vf, vg, c).abs() <= self.limit).to(torch.float32)
        i, f, g, o, t = vi / GATE, vf / GATE, vg / CANDIDATE, vo / GATE, vt / CANDIDATE
        sg, st = g.clamp(-candidate, candidate), t.clamp(-squash, squash)
        d = dh * gain
        cell = (dc + d * o * (1 - st * st)) * open_
        dz.copy_(
            torch.cat(
                [
                    cell * g * (i * (1 - i)) * fall,
                    cell * (c * grain) * (f * (1 - f)) * fall,
                    cell * i * (1 - sg * sg) * fall,
                    d * t * (o * (1 - o)) * fall,
                ],
                dim=-1,
            )
        )
        dc.copy_(cell * f)


class GRUCell(cells.GRUCell, Cell):
    """`zahlen.cells.GRUCell` on tensors."""

    def forward(self, z: Tensor, y: Tensor, c: Tensor, h_next: Tensor, c_next: Tensor, kept: Tensor) -> None:
        units = c.shape[-1]
        if native is not None and z.device.type == "cpu":
            native.gru_forward(self.plan, units, *_views(z, y, c, h_next, c_next, kept))
            return
        (zr, zu, zn), (yr, yu, yn) = z.chunk(3, dim=-1), y.chunk(3, dim=-1)
        r, u = reached(self.gate, zr + yr), reached(self.gate, zu + yu)
        reset = (r.to(torch.int64) * yn.to(torch.int64) + 128) >> 8
        n = reached(self.candidate, zn.to(torch.int64) + reset)
        c_next.copy_(
            (u.to(torch.int64) * c.to(torch.int64) + (GATE - u).to(torch.int64) * n.to(torch.int64) + 128) >> 8
        )
        kept.copy_(torch.cat([r, u, n], dim=-1))
        h_next.copy_(reached(self.output, c_next))

    def backward(
        self, dh: Tensor, y: Tensor, c: Tensor, h_next: Tensor, kept: Tensor, dc: Tensor, dz: Tensor, dy: Tensor
    ) -> None:
        units = c.shape[-1]
        if native is not None and dh.device.type == "cpu":
            native.gru_backward(self.plan, units, *_views(dh, y, c, kept, dc, dz, dy), self.slopes)
            return
        gain, fall, grain, candidate, _ = self.slopes.tolist()
        vr, vu, vn = _halves(kept, 3)
        r, u, n = vr / GATE, vu / GATE, vn * grain
        sn = n.clamp(-candidate, candidate)
        cell = dc + dh * gain
        dn = cell * (1 - u) * (1 - sn * sn) * fall
        dr = dn * (y[..., 2 * units :] * fall) * (r * (1 - r))
        du = cell * (c * grain - n) * (u * (1 - u)) * fall
        dz.copy_(torch.cat([dr, du, dn], dim=-1))
        dy.copy_(torch.cat([dr, du, dn * r], dim=-1))
        dc.copy_(cell * u)


class RNNCell(cells.RNNCell, Cell):
    """`zahlen.cells.RNNCell` on tensors."""

    def forward(self, z: Tensor, y: Tensor, c: Tensor, h_next: Tensor, c_next: Tensor, kept: Tensor) -> None:
        if native is not None and z.device.type == "cpu":
            native.rnn_forward(self.plan, z.shape[-1], *_views(z, h_next))
            return
        h_next.copy_(reached(self.stairs, z))

    def backward(
        self, dh: Tensor, y: Tensor, c: Tensor, h_next: Tensor, kept: Tensor, dc: Tensor, dz: Tensor, dy: Tensor
    ) -> None:
        if native is not None and dh.device.type == "cpu":
            native.rnn_backward(self.plan, dh.shape[-1], *_views(dh, h_next, dz), self.slopes)
            return
        gain, fall, grain, *_, squash = self.slopes.tolist()
        t = (h_next * grain).clamp(-squash, squash)
        dz.copy_(dh * gain * (1 - t * t) * fall)
