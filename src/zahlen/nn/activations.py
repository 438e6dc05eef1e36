"""Activations with L levels: forward a staircase over integers, backward the derivative of the curve itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..flow import positive
from ..machine import Builder, LayerError, Levels, MachineError, Wire, tables
from .norm import BatchNorm
from .spec import FLOAT32_LIMIT, Interval, Monotone, Spec

TABLE_LIMIT = 2**22
"""Most entries of a direct table over the accumulator; beyond it thresholds are searched."""


class _Surrogate(torch.autograd.Function):
    """Forward `values` at z, backward the gradient of `curve`, both given by the activation."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, activation: Activation) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(z)
        # thresholds are integers, so what a batch norm makes of its batch falls to the integer below
        return activation.stairs(z if activation.norm is None else z.floor())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (z,), activation = ctx.saved_tensors, ctx.activation
        unit = float(activation.receives().unit)
        grad = activation.pull_back(z.to(torch.float32).mul(1 / unit), grads[0])
        return grad.mul_(float(activation.unit) / unit).to(z.dtype), None


class _Folded(torch.autograd.Function):
    """Forward the levels, backward into the smooth function that they stand for."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, levels: Tensor) -> Tensor:
        return levels.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Activation(Monotone):
    """A staircase with thresholds at `points` of the real line (put on the accumulator's integers) and given levels.

    Parameters
    ----------
    points : sequence of tables.Point
        Where the curve crosses to the next level, sorted.
    alphabet : Levels
        The levels emitted, in order.
    unit : Fraction
        Levels' integer steps per 1.0 of the curve.
    """

    def __init__(self, points: Sequence[tables.Point], alphabet: Levels, unit: Fraction) -> None:
        super().__init__()
        self.points, self.alphabet, self.unit = tuple(points), alphabet, unit
        if len(self.points) + 1 != alphabet.size or max(-alphabet.lo, alphabet.hi) >= FLOAT32_LIMIT:
            raise LayerError(f"{type(self).__name__}: {len(self.points)} points do not fit levels {alphabet}")
        self._tables: dict[torch.device, Tensor] = {}

    def extra_repr(self) -> str:
        return str(self.alphabet.size)

    @property
    def levels(self) -> Any:
        """The emitted values, int64 (L,)."""
        return np.arange(self.alphabet.lo, self.alphabet.hi + 1, self.alphabet.step)

    def curve(self, x: Tensor) -> Tensor:
        """The real function that the staircase stands for."""
        raise TypeError(f"{type(self).__name__} needs a curve")

    def pull_back(self, x: Tensor, grad: Tensor) -> Tensor:
        """`grad` times the curve's derivative at x: the surrogate gradient, a new tensor."""
        raise TypeError(f"{type(self).__name__} needs a derivative")

    @property
    def norm(self) -> BatchNorm | None:
        """The batch norm before, which is folded into the thresholds."""
        return self.receives().norm

    def bind(self, spec: Spec) -> Spec:
        try:
            self.thresholds = tables.thresholds(self.points, spec.unit)
        except MachineError as error:
            raise self.fail(str(error)) from None
        self.spec = spec
        self._tables = {}
        return spec.but(alphabet=self.alphabet, unit=self.unit, norm=None)

    def forward(self, z: Tensor) -> Tensor:
        """(batch, *shape) of integers, or of a batch norm's output in training, to (batch, *shape) of levels."""
        if self.norm is not None and not self.norm.training:
            return self._folded(z, self.norm)
        result: Tensor = _Surrogate.apply(z, self)  # type: ignore[no-untyped-call]
        return result

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        norm = self.norm
        if norm is not None and not norm.training:
            _, turned = norm.fold(self.points)
            lo, hi = norm.ordered(lo, hi, torch.as_tensor(turned, device=lo.device))
        return super().bounds(lo, hi)

    def stairs(self, z: Tensor) -> Tensor:
        """v[number of j with t_j <= z] by a direct table over the integers between the first and last threshold."""
        lo, hi = int(self.thresholds[0]) - 1, int(self.thresholds[-1])
        if hi - lo >= TABLE_LIMIT or max(-lo, hi) >= FLOAT32_LIMIT:  # float32 would round z - lo
            edges = torch.as_tensor(self.thresholds, dtype=torch.float64, device=z.device)
            index = torch.bucketize(z.to(torch.float64), edges, right=True)
            return index.to(torch.float32).mul_(self.alphabet.step).add_(self.alphabet.lo)
        table = self._tables.get(z.device)
        if table is None:
            runs = np.diff(self.thresholds, prepend=lo, append=hi + 1)
            table = torch.as_tensor(np.repeat(self.levels, runs), dtype=torch.float32, device=z.device)
            self._tables[z.device] = table
        index = z.sub(lo).clamp_(0, hi - lo).to(torch.int32)
        return table.index_select(0, index.flatten()).view(z.shape)

    def _folded(self, z: Tensor, norm: BatchNorm) -> Tensor:
        """Eval mode behind a batch norm: each channel has its own thresholds on the bare accumulator."""
        thresholds, values = self._folded_constants(norm)
        rows = z.detach().to(torch.float64).movedim(1 + norm.axis, 0)
        flat = rows.reshape(rows.shape[0], -1).contiguous()
        index = torch.searchsorted(torch.as_tensor(thresholds, dtype=torch.float64, device=z.device), flat, right=True)
        levels = torch.as_tensor(values, dtype=torch.float32, device=z.device).gather(1, index)
        y = levels.reshape(rows.shape).movedim(0, 1 + norm.axis)
        if not (torch.is_grad_enabled() and any(t.requires_grad for t in (z, norm.weight, norm.bias))):
            return y
        result: Tensor = _Folded.apply(self.curve(norm.normalise(z)) * float(self.unit), y)  # type: ignore[no-untyped-call]
        return result

    def _folded_constants(self, norm: BatchNorm) -> tuple[Any, Any]:
        thresholds, turned = norm.fold(self.points)
        values = np.where(turned[:, None], self.levels[::-1], self.levels)
        for channel, constant in norm.constant_channels().items():
            # without a slope a channel has one level: the one that its shift reaches
            reached = tables.reached(self.points, constant)
            values[channel], thresholds[channel] = self.levels[reached], 0
        return thresholds, values

    def emit(self, builder: Builder, x: Wire) -> Wire:
        if self.norm is None:
            return builder.staircase(x, self.thresholds, self.levels)
        return builder.staircase(x, *self._folded_constants(self.norm), axis=self.norm.axis)


class TanhD(Activation):
    """tanh rounded to L levels, equally spaced in its output: 2k - (L - 1) (Baluja et al., arXiv 1801.05156).

    Parameters
    ----------
    levels : int
        At least 2; 2 is the sign function. May differ from layer to layer, and need not be a power of two.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> model = nn.Sequential(nn.Input((5,), Levels(-300, 300), unit=100), nn.TanhD(4))
    >>> model(torch.tensor([[-81, -80, 0, 80, 81]])).tolist()
    [[-3.0, -1.0, 1.0, 1.0, 3.0]]
    """

    def __init__(self, levels: int) -> None:
        alphabet = Levels.odd(levels)
        super().__init__(tables.tanh_points(levels), alphabet, Fraction(levels - 1))

    def curve(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def pull_back(self, x: Tensor, grad: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.tanh_backward(grad, torch.tanh(x))
        return result

    def twin(self) -> torch.nn.Module:
        return torch.nn.Tanh()


class Sign(TanhD):
    """-1 below zero, 1 from zero on: `TanhD` with two levels."""

    def __init__(self) -> None:
        super().__init__(2)


class SigmoidD(Activation):
    """The logistic function rounded to L levels 0..L-1, worth 0 to 1."""

    def __init__(self, levels: int) -> None:
        alphabet = _counted(levels)
        super().__init__(tables.sigmoid_points(levels), alphabet, Fraction(levels - 1))

    def curve(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def pull_back(self, x: Tensor, grad: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.sigmoid_backward(grad, torch.sigmoid(x))
        return result

    def twin(self) -> torch.nn.Module:
        return torch.nn.Sigmoid()


class Heaviside(SigmoidD):
    """0 below zero, 1 from zero on: `SigmoidD` with two levels."""

    def __init__(self) -> None:
        super().__init__(2)


class ReLUD(Activation):
    """min(max(x, 0), top) cut down to L levels 0..L-1, worth 0 to `top` (arXiv 1801.05156, 1809.09244).

    Parameters
    ----------
    levels : int
        At least 2.
    top : int or Fraction
        Where it saturates.
    """

    def __init__(self, levels: int, top: int | Fraction = 4) -> None:
        alphabet = _counted(levels)
        self.top = positive(self, top, "top")
        super().__init__(tables.relu_points(levels, self.top), alphabet, (levels - 1) / self.top)

    def curve(self, x: Tensor) -> Tensor:
        return x.clamp(0, float(self.top))

    def pull_back(self, x: Tensor, grad: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.hardtanh_backward(grad, x, 0.0, float(self.top))
        return result

    def twin(self) -> torch.nn.Module:
        return torch.nn.ReLU()


class HardTanhD(Activation):
    """x clipped to [-1, 1], rounded to L levels 2k - (L - 1)."""

    def __init__(self, levels: int) -> None:
        alphabet = Levels.odd(levels)
        super().__init__(tables.hardtanh_points(levels), alphabet, Fraction(levels - 1))

    def curve(self, x: Tensor) -> Tensor:
        return x.clamp(-1, 1)

    def pull_back(self, x: Tensor, grad: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.hardtanh_backward(grad, x, -1.0, 1.0)
        return result

    def twin(self) -> torch.nn.Module:
        return torch.nn.Hardtanh()


def _counted(levels: int) -> Levels:
    Levels.odd(levels)  # refuses what is no number of levels
    return Levels(0, levels - 1)
