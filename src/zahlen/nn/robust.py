"""Training for certificates: intervals of a whole ball of inputs, and a loss on the worst that they allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..machine import InputError, LayerError
from .containers import Sequential, through
from .linear import Linear
from .norm import BatchNorm
from .shape import Input
from .spec import Interval, Layer

WORST = 0.5
"""Weight of the worst case in the loss from the middle of a training on: Gowal et al.'s figure."""


def bounds(model: Sequential, x: Tensor, eps: int) -> Interval:
    """Intervals of the outputs for all inputs of which no element differs from that of x by more than `eps`.

    In eval mode they are the proven ranges of `model.machine()` on that box, with straight-through gradients.

    Parameters
    ----------
    model : Sequential
        A whole network without a recurrent layer.
    x : integer tensor (batch, *shape)
    eps : int
        In units of the input: for 64 grey levels 1 is one of them. No input leaves the alphabet.

    Returns
    -------
    lo, hi : tensor (batch, *shape) of integers in floats

    Raises
    ------
    LayerError
        If a layer has no interval form.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> model = nn.Sequential(nn.Input((3,), Levels(0, 9), unit=3), nn.HardTanhD(7))
    >>> lo, hi = nn.bounds(model, torch.tensor([[0, 2, 9]]), 1)
    >>> lo.tolist(), hi.tolist()
    ([[0.0, 2.0, 6.0]], [[2.0, 6.0, 6.0]])
    """
    return model.bounds(*_ball(model, x, eps))


def margins(model: Sequential, x: Tensor, y: Tensor, eps: int) -> Tensor:
    """The most by which each output may exceed that of class y, for all inputs as in `bounds`; 0 at y itself.

    A last dense layer is one with the differences, so that the bounds are closer than those of its outputs.

    Parameters
    ----------
    model, x, eps
        As for `bounds`; the outputs are (batch, classes).
    y : int64 tensor (batch,)

    Returns
    -------
    tensor (batch, classes) of integers in floats
    """
    lo, hi = _ball(model, x, eps)
    *layers, last = _unfolded(model)
    if isinstance(last, Linear) and len(last.receives().shape) == 1:
        return last.margins(*through(layers, lo, hi), y)
    lo, hi = through([*layers, last], lo, hi)
    most = hi - lo.gather(1, y[:, None])
    return most.scatter(1, y[:, None], 0)


def certified(most: Tensor, y: Tensor) -> Tensor:
    """Which samples no input of the ball takes from class y, by their `margins`: bool (batch,).

    Among equals the lowest index wins.
    """
    lower = torch.arange(most.shape[1], device=y.device) < y[:, None]
    return (most + lower.to(most.dtype)).le(0).all(1)


def _ball(model: Sequential, x: Tensor, eps: int) -> Interval:
    first = next(iter(model), None)
    if not isinstance(first, Input):
        raise LayerError("bounds: a network that begins with nn.Input is due; put one in front")
    if isinstance(eps, bool) or not isinstance(eps, int) or eps < 0:
        raise InputError(f"eps is an integer from 0 on, got {eps!r}")
    model.output  # noqa: B018  (bound, or an error that says how)
    alphabet, centre = first.alphabet, first.checked(x).long()
    away = min(eps, alphabet.hi - alphabet.lo) // alphabet.step * alphabet.step
    return (centre - away).clamp(min=alphabet.lo), (centre + away).clamp(max=alphabet.hi)


def _unfolded(model: Sequential) -> list[Layer]:
    """The layers, those of a last `Sequential` in its place."""
    layers = model.layers()
    return [*layers[:-1], *_unfolded(layers[-1])] if isinstance(layers[-1], Sequential) else layers


@dataclass(frozen=True)
class Robust:
    """The loss that a network is trained with, (1 - k) loss(outputs) + k loss(worst case), and how it sets in.

    Over the first half of the training k rises in a line from 0 to a half, and the ball, in whole steps, from a point
    to `eps`; the second half is trained at full strength (after Gowal et al., arXiv 1810.12715; their kappa is 1 - k).

    Attributes
    ----------
    eps : int
        In units of the input.
    steps : int
        Of the whole training.
    """

    eps: int
    steps: int

    def strength(self, step: int) -> tuple[int, float]:
        """The ball's radius and the weight k at a step.

        >>> [Robust(2, 8).strength(step) for step in (0, 1, 2, 3, 4, 7)]
        [(0, 0.0), (1, 0.125), (1, 0.25), (2, 0.375), (2, 0.5), (2, 0.5)]
        """
        share = min(1.0, 2 * step / self.steps)
        return math.ceil(self.eps * share), WORST * share

    def loss(
        self, model: Sequential, x: Tensor, y: Tensor, step: int, loss: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and its outputs; `loss` takes outputs in integers."""
        eps, weight = self.strength(step)
        with keeping(model):
            output = model(x)
            plain = loss(output)
            return (1 - weight) * plain + weight * loss(margins(model, x, y, eps)), output


@contextmanager
def keeping(model: torch.nn.Module) -> Iterator[None]:
    """Let batch norms keep the batches that come by, for the intervals around them."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    for norm in norms:
        norm.kept = []
    try:
        yield
    finally:
        for norm in norms:
            norm.kept = None
