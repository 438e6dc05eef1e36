"""A recurrent cell over all steps of a batch of sequences, forward and back, in one function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .cells import Cell
from .exact import exact_products


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, shift: int, z: Tensor, weight: Tensor, bias: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps, batch, width = z.shape
        units = width // cell.gates
        scale = float(1 << shift)
        z = z.contiguous()
        hs, cs = (z.new_empty(steps + 1, batch, units) for _ in range(2))
        hs[0], cs[0] = h, c
        kept = torch.empty(steps, batch, cell.keeps * units, dtype=torch.int16, device=z.device)
        ys = torch.empty_like(z) if cell.separate else z.new_empty(1, batch, width)
        across = weight.t().contiguous()
        base = None if bias is None else bias.expand(batch, width).contiguous()
        with exact_products(z.device):
            for t in range(steps):
                if cell.separate:
                    y = ys[t]
                    if base is None:
                        torch.mm(hs[t], across, out=y)
                        y.mul_(scale)
                    else:
                        torch.addmm(base, hs[t], across, alpha=scale, out=y)
                    cell.forward(z[t], y, cs[t], hs[t + 1], cs[t + 1], kept[t])
                else:
                    torch.addmm(z[t], hs[t], across, alpha=scale, out=ys[0])
                    cell.forward(ys[0], ys[0], cs[t], hs[t + 1], cs[t + 1], kept[t])
        ctx.cell, ctx.scale, ctx.biased = cell, scale, bias is not None
        ctx.save_for_backward(weight, hs, cs, kept, ys if cell.separate else z.new_empty(0))
        return hs, cs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cell, scale = ctx.cell, ctx.scale
        weight, hs, cs, kept, ys = ctx.saved_tensors
        gh, gc = (g.contiguous() for g in grads)
        steps, batch, units = len(hs) - 1, hs.shape[1], hs.shape[2]
        width = cell.gates * units
        dz = hs.new_empty(steps, batch, width)
        dy = torch.empty_like(dz) if cell.separate else dz
        dh, dc = gh[steps].clone(), gc[steps] * float(cell.state_unit)
        step_gradients = bool(gc[1:-1].any())
        for t in range(steps - 1, -1, -1):
            if t < steps - 1:
                torch.addmm(gh[t + 1], dy[t + 1], weight, alpha=scale, out=dh)
                if step_gradients:
                    dc += gc[t + 1] * float(cell.state_unit)
            y = ys[t] if cell.separate else dh
            cell.backward(dh, y, cs[t], hs[t + 1], kept[t], dc, dz[t], dy[t])
        rows = dy.view(-1, width)
        dweight = torch.mm(rows.t(), hs[:-1].reshape(-1, units)).mul_(scale)
        dbias = rows.sum(0) if ctx.biased else None
        first = torch.addmm(gh[0], dy[0], weight, alpha=scale)
        return None, None, dz, dweight, dbias, first, dc / float(cell.state_unit) + gc[0]


def scan(
    cell: Cell, z: Tensor, weight: Tensor, h: Tensor, c: Tensor, *, shift: int = 0, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The hidden state and the cell over time, each with the state before the first step in front.

    Parameters
    ----------
    cell : Cell
    z : float32 (time, batch, gates * units)
        The input's share of the pre-activations, as integers.
    weight : float32 (gates * units, units)
        Integers; the state's share is ``(weight h + bias) << shift``, or ``weight h << shift`` without a bias.
    h, c : float32 (batch, units)
        The state before the first step; `c` is not read by cells without one.
    shift : int
    bias : float32 (gates * units,), optional
        Of the state's share, for cells that keep it apart; in final units.

    Returns
    -------
    h, c : float32 (time + 1, batch, units)
    """
    result: tuple[Tensor, Tensor] = _Scan.apply(cell, shift, z, weight, bias, h, c)  # type: ignore[no-untyped-call]
    return result
