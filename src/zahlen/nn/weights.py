"""Weights on an integer grid: latent floats in front, integers in the function."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from ..machine import LayerError, Levels


class _OnGrid(torch.autograd.Function):
    """Round to the grid; the gradient passes straight through, but never pushes a clipped weight further out."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor, scale: float, lo: int, hi: int, step: int) -> Tensor:
        scaled = latent.float() * scale
        low, high = float(scaled.amin()), float(scaled.amax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise LayerError("a latent weight is no longer finite; train with a smaller lr")
        ctx.scale = scale
        if low < lo or high > hi:
            inside = scaled.clamp(lo, hi)
            ctx.save_for_backward(scaled.sub_(inside))
            scaled = inside
        if step == 1:
            return scaled.round_()
        # values are middle + step k; halves go up, so a binary weight is the sign of the latent one, 1 at zero
        below = (lo - step / 2) % step
        return scaled.sub_(below).div_(step).floor_().mul_(step).add_(below + step / 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0] * ctx.scale
        if ctx.saved_tensors:
            # a step goes against the gradient, so opposite signs push out; the gradient stays where the product > -tiny
            (excess,) = ctx.saved_tensors
            grad = torch.ops.aten.threshold_backward(grad, grad * excess, -torch.finfo(grad.dtype).tiny)
        return grad, None, None, None, None


def on_grid(latent: Tensor, scale: float, grid: Levels) -> Tensor:
    """The grid's element nearest to ``latent * scale``, as float32 integers, with a straight-through gradient."""
    result: Tensor = _OnGrid.apply(latent, scale, grid.lo, grid.hi, grid.step)  # type: ignore[no-untyped-call]
    return result


def warn_if_dead(integers: Tensor, name: str, depth: int) -> None:
    """Warn, at the caller `depth` calls up, where all weights start at one value: nothing would ever be learnt."""
    if integers.numel() > 1 and bool((integers == integers.flatten()[0]).all()):
        warnings.warn(f"{name}: all integer weights start equal; take a larger scale", stacklevel=1 + depth)


def integers(tensor: Tensor) -> Any:
    """An int64 NumPy array of a tensor that holds integers."""
    return tensor.detach().to("cpu", torch.int64).numpy()
