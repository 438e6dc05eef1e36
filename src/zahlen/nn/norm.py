"""Batch normalisation that folds exactly into the staircase behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..machine import Builder, Wire, tables
from .spec import Layer, Spec


class BatchNorm(Layer):
    """Normalise each channel over the batch; in eval mode and in the machine it is part of the next staircase.

    An activation must follow. In training, batch statistics move the thresholds; in eval mode the running statistics
    give each channel its own integer thresholds on the bare accumulator, so nothing is left to compute.

    Parameters
    ----------
    eps : float
        Added to the variance, in squares of the float twin's units.
    momentum : float
        Weight of the newest batch in the running statistics.
    """

    running_mean: Tensor
    running_var: Tensor
    weight: torch.nn.Parameter
    bias: torch.nn.Parameter

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        for name in ("weight", "bias"):
            self.register_parameter(name, None)  # until bind tells how many channels there are
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, None)
        self._cache: tuple[Any, Any] | None = None

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        self.axis = spec.channels
        channels = spec.shape[self.axis]
        if self.weight is None:
            self.weight = torch.nn.Parameter(torch.ones(channels))
            self.bias = torch.nn.Parameter(torch.zeros(channels))
            self.running_mean, self.running_var = torch.zeros(channels), torch.ones(channels)
        return spec

    def forward(self, z: Tensor) -> Tensor:
        """In training the normalised values on the accumulator's scale; in eval mode the accumulator as it is."""
        if not self.training:
            return z
        unit = float(self.receives().unit)
        x = z.to(torch.float32).mul(1 / unit).movedim(1 + self.axis, 1)
        y = torch.nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )
        return y.mul(unit).movedim(1, 1 + self.axis)

    def normalise(self, z: Tensor) -> Tensor:
        """The eval mode's real function, for gradients only."""
        unit = float(self.receives().unit)
        shape = [1] * z.ndim
        shape[1 + self.axis] = -1
        slope = self.weight / torch.sqrt(self.running_var + self.eps)
        shift = self.bias - self.running_mean * slope
        return z.to(torch.float32) * (slope / unit).view(shape) + shift.view(shape)

    def fold(self, points: Sequence[tables.Point]) -> tuple[Any, Any]:
        """Thresholds (channels, T) on the accumulator, and which channels are turned around, bool (channels,)."""
        unit = self.receives().unit
        state = tuple(t.detach().to("cpu", torch.float32) for t in self._state())
        key = (tuple(points), unit, *(t.numpy().tobytes() for t in state))
        if self._cache is None or self._cache[0] != key:
            rows = [
                tables.folded_thresholds(points, unit, scale or 1.0, shift, mean, variance, self.eps)
                for scale, shift, mean, variance in zip(*(t.tolist() for t in state))
            ]
            self._cache = (key, (np.stack([t for t, _ in rows]), np.array([turned for _, turned in rows])))
        thresholds, turned = self._cache[1]
        return thresholds.copy(), turned

    def constant_channels(self) -> dict[int, float]:
        """Channels of scale zero, each with its shift: the only value that it takes."""
        scale, shift = self.weight.tolist(), self.bias.tolist()
        return {k: shift[k] for k, value in enumerate(scale) if value == 0}

    def _state(self) -> tuple[Tensor, ...]:
        return self.weight, self.bias, self.running_mean, self.running_var

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x

    def twin(self) -> torch.nn.Module:
        channels = len(self.running_mean)
        dims = len(self.receives().shape)
        kinds: dict[int, Any] = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm2d}
        if dims not in kinds or (dims == 2 and self.axis == 1):
            raise self.fail(f"the float twin has no batch norm over shape {self.receives().shape}")
        return kinds[dims](channels, eps=self.eps, momentum=self.momentum)
