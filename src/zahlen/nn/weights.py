"""Weights on an integer grid: latent floats in front, integers in the function."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from ..machine import LayerError, Levels


def weight_grid(weights: int | Levels) -> Levels:
    """The grid of a number of weight values: symmetric, with zero if the number is odd.

    >>> weight_grid(255), weight_grid(3), weight_grid(2)
    (Levels(lo=-127, hi=127, step=1), Levels(lo=-1, hi=1, step=1), Levels(lo=-1, hi=1, step=2))
    """
    if isinstance(weights, Levels):
        return weights
    if isinstance(weights, bool) or not isinstance(weights, int) or weights < 2:
        raise LayerError(f"weights: a number of values of at least 2, or Levels, is due; got {weights!r}")
    return Levels.odd(weights) if weights % 2 == 0 else Levels(-(weights // 2), weights // 2)


def default_scale(grid: Levels, fan_in: int) -> int:
    """Integer steps per 1.0 of a weight, so that the grid reaches well beyond the initial +-1/sqrt(fan_in).

    Fine grids reach eight times as far, rounded to a power of two; coarse ones only just, or all would start at zero.

    >>> default_scale(Levels(-127, 127), 784), default_scale(Levels(-7, 7), 256), default_scale(Levels(-1, 1), 784)
    (512, 16, 28)
    """
    reach = math.sqrt(fan_in) * max(abs(grid.lo), abs(grid.hi))
    return 2 ** max(0, round(math.log2(reach / 8))) if grid.size >= 15 else max(1, round(reach))


class _OnGrid(torch.autograd.Function):
    """Round to the grid; the gradient passes straight through, but never pushes a clipped weight further out."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor, scale: float, lo: int, hi: int, step: int) -> Tensor:
        scaled = latent.float() * scale
        ctx.scale = scale
        low, high = (float(end) for end in torch.aminmax(scaled))
        clipped = low < lo or high > hi
        # a step goes against the gradient: positive gradients push down
        ctx.save_for_backward(*((scaled > hi, scaled < lo) if clipped else ()))
        if step == 1:
            rounded = scaled.round_()
            return rounded.clamp_(lo, hi) if clipped else rounded
        return scaled.sub_(lo).div_(step).round_().clamp_(0, (hi - lo) // step).mul_(step).add_(lo)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0] * ctx.scale
        if ctx.saved_tensors:
            above, below = ctx.saved_tensors
            grad.masked_fill_((above & (grad < 0)) | (below & (grad > 0)), 0)
        return grad, None, None, None, None


def on_grid(latent: Tensor, scale: float, grid: Levels) -> Tensor:
    """The grid's element nearest to ``latent * scale``, as float32 integers, with a straight-through gradient."""
    result: Tensor = _OnGrid.apply(latent, scale, grid.lo, grid.hi, grid.step)  # type: ignore[no-untyped-call]
    return result


def warn_if_dead(integers: Tensor, name: str) -> None:
    """Warn where all weights start at one value, so that nothing would ever be learnt."""
    if integers.numel() > 1 and bool((integers == integers.flatten()[0]).all()):
        warnings.warn(f"{name}: all integer weights start equal; take a larger scale", stacklevel=3)


def integers(tensor: Tensor) -> Any:
    """An int64 NumPy array of a tensor that holds integers."""
    return tensor.detach().to("cpu", torch.int64).numpy()
