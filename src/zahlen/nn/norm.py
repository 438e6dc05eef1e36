"""Batch normalisation that folds exactly into the staircase behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..machine import Builder, LayerError, MachineError, Wire, tables
from .spec import Interval, Layer, Spec


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
        if not (math.isfinite(eps) and eps >= 0 and 0 <= momentum <= 1):
            raise LayerError(f"BatchNorm: eps >= 0 and momentum in 0..1 are due, got {eps} and {momentum}")
        self.eps, self.momentum = eps, momentum
        for name in ("weight", "bias"):
            self.register_parameter(name, None)  # until bind tells how many channels there are
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, None)
        self._cache: tuple[Any, Any] | None = None
        self.kept: list[Tensor] | None = None  # batches since `keeping` began, for intervals around them

    def bind(self, spec: Spec) -> Spec:
        channels = spec.shape[spec.channels]
        if self.weight is None:
            self.weight = torch.nn.Parameter(torch.ones(channels))
            self.bias = torch.nn.Parameter(torch.zeros(channels))
            self.running_mean, self.running_var = torch.zeros(channels), torch.ones(channels)
        if len(self.weight) != channels:
            raise self.fail(f"was made for {len(self.weight)} channels and receives {channels}; make a second layer")
        self.spec, self.axis = spec, spec.channels
        return spec.but(norm=self)

    def forward(self, z: Tensor) -> Tensor:
        """In training the normalised values on the accumulator's scale; in eval mode the accumulator as it is."""
        spec = self.receives()
        if not self.training:
            return z
        unit = float(spec.unit)
        if z.numel() <= len(self.weight):
            raise self.fail("in training a batch has more than one value per channel; take another batch size")
        dtype = self._checked()[0].dtype
        x = z.to(dtype).mul(1 / unit).movedim(1 + self.axis, 1)
        if self.kept is not None:
            self.kept.append(x)
        y = torch.nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )
        return y.mul(unit).movedim(1, 1 + self.axis)

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        """In training around the batch kept; in eval mode the accumulator's, which the activation turns around."""
        if not self.training:
            return lo, hi
        mean, variance = self.running_mean, self.running_var
        if self.kept:
            batch = self.kept.pop(0)  # the first, where the layer stands at several places
            variance, mean = torch.var_mean(batch, [k for k in range(batch.ndim) if k != 1], correction=0)
        unit = float(self.receives().unit)
        lo, hi = (self._normalised(z, mean, variance).mul(unit) for z in (lo, hi))
        return self.ordered(lo, hi, self.weight < 0)

    def ordered(self, lo: Tensor, hi: Tensor, turned: Tensor) -> Interval:
        """Ends of intervals, exchanged in those channels that are turned around, bool (channels,)."""
        where = turned.view(self._along(lo))
        return torch.where(where, hi, lo), torch.where(where, lo, hi)

    def normalise(self, z: Tensor) -> Tensor:
        """The eval mode's real function, for gradients only."""
        return self._normalised(z, self.running_mean, self.running_var)

    def _normalised(self, z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        unit = float(self.receives().unit)
        slope = self.weight / torch.sqrt(variance + self.eps)
        shift = self.bias - mean * slope
        shape = self._along(z)
        return z.to(torch.float32) * (slope / unit).view(shape) + shift.view(shape)

    def _along(self, z: Tensor) -> list[int]:
        """The shape in which one value for each channel lies along a batch."""
        return [-1 if k == 1 + self.axis else 1 for k in range(z.ndim)]

    def alone(self) -> LayerError:
        """The error where no activation follows."""
        return self.fail("folds into the staircase behind it; put an activation right after it")

    def fold(self, points: Sequence[tables.Point]) -> tuple[Any, Any]:
        """Thresholds (channels, T) on the accumulator, and which channels are turned around, bool (channels,)."""
        unit = self.receives().unit
        state = tuple(t.detach().to("cpu", torch.float64) for t in self._checked())
        key = (tuple(points), unit, self.eps, *(t.numpy().tobytes() for t in state))
        if self._cache is None or self._cache[0] != key:
            try:
                rows = [
                    tables.folded_thresholds(points, unit, scale or 1.0, shift, mean, variance, self.eps)
                    for scale, shift, mean, variance in zip(*(t.tolist() for t in state))
                ]
            except MachineError as error:
                raise self.fail(str(error)) from None
            self._cache = (key, (np.stack([t for t, _ in rows]), np.array([turned for _, turned in rows])))
        thresholds, turned = self._cache[1]
        return thresholds.copy(), turned

    def constant_channels(self) -> dict[int, float]:
        """Channels of scale zero, each with its shift: the only value that it takes."""
        scale, shift = self.weight.tolist(), self.bias.tolist()
        return {k: shift[k] for k, value in enumerate(scale) if value == 0}

    def _checked(self) -> tuple[Tensor, ...]:
        """Scale, shift, mean and variance, or a `LayerError` if they are no numbers to work with."""
        state = self.weight, self.bias, self.running_mean, self.running_var
        if any(t.dtype not in (torch.float32, torch.float64) for t in state):
            raise self.fail(f"works in float32 or float64, not {self.weight.dtype}; call model.float()")
        if not all(bool(t.isfinite().all()) for t in state):
            raise self.fail("a parameter or statistic is no longer finite; train with a smaller lr")
        return state

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x

    def twin(self) -> torch.nn.Module:
        channels = len(self.running_mean)
        dims = len(self.receives().shape)
        kinds: dict[int, Any] = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm2d}
        if dims not in kinds or (dims == 2 and self.axis == 1):
            raise self.fail(f"the float twin has no batch norm over shape {self.receives().shape}")
        module: torch.nn.Module = kinds[dims](channels, eps=self.eps, momentum=self.momentum)
        names = ("weight", "bias", "running_mean", "running_var")
        module.load_state_dict({name: getattr(self, name) for name in names}, strict=False)  # but the count of batches
        return module
