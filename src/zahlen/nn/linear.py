"""Affine layers: dense and convolutional, with weights on an integer grid; and embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..flow import whole
from ..grids import default_scale, weight_grid
from ..machine import Builder, Levels, Wire
from ..windows import padding_per_axis, per_axis, window_counts
from .exact import exact_products
from .spec import FLOAT32_LIMIT, Interval, Layer, Spec, carrier
from .weights import integers, on_grid, warn_if_dead

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Of values, weights and a bias, or none."""


class _Affine(Layer):
    """z = W x + b with W on a grid and b an integer, whatever the geometry."""

    weight: torch.nn.Parameter
    bias: torch.nn.Parameter | None

    def _parameters_of(self, shape: tuple[int, ...], bias: bool, weights: int | Levels, scale: int | None) -> None:
        """Latent weights start as PyTorch's do: uniform in +-1/sqrt(fan_in)."""
        self.grid = weight_grid(weights)
        fan_in = math.prod(shape[1:])
        self.scale = default_scale(self.grid, fan_in) if scale is None else whole(scale, "scale", of=self)
        bound = 1 / math.sqrt(fan_in)
        self.weight = torch.nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = torch.nn.Parameter(torch.empty(shape[0]).uniform_(-bound, bound)) if bias else None
        warn_if_dead(on_grid(self.weight, self.scale, self.grid), type(self).__name__, 3)

    def _bind(self, spec: Spec, shape: tuple[int, ...], channels: int) -> Spec:
        self.spec = spec
        self.unit = spec.unit * self.scale
        # a bias as large as all products together decides by itself: nothing is lost by clipping it there
        widest = max(abs(self.grid.lo), abs(self.grid.hi)) * spec.bound * math.prod(self.weight.shape[1:])
        finest = 2 ** max(0, widest.bit_length() - 24)  # biases are rounded in float32
        largest = widest // finest * finest
        self._bias_grid = Levels(-largest, largest)
        self._bound = widest + largest if self.bias is not None else widest
        carrier(self._bound, self)
        return Spec(shape, Levels(-self._bound, self._bound), self.unit, channels)

    def integers(self) -> tuple[Tensor, Tensor | None]:
        """Weights and bias as float32 tensors of integers, with straight-through gradients to the latent ones."""
        self.receives()
        weight = on_grid(self.weight, self.scale, self.grid)
        bias = None if self.bias is None else on_grid(self.bias, float(self.unit), self._bias_grid)
        return weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) of integers to (batch, *shape) of integers, exact for the weights as they are now."""
        weight, bias = self.integers()
        dtype = self._carrier(weight, bias)
        with exact_products(x.device):
            return self._product(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        return self._span(lo, hi, *self.integers(), self._product)

    def _span(
        self, lo: Tensor, hi: Tensor, weight: Tensor, bias: Tensor | None, product: Product, rows: int = 1
    ) -> Interval:
        """Least and greatest product over an interval: half of W (hi + lo) + 2 b -+ |W| (hi - lo)."""
        dtype = self._carrier(weight, bias, 2, rows)
        lo, hi, weight = lo.to(dtype), hi.to(dtype), weight.to(dtype)
        with exact_products(lo.device):
            middle = product(hi + lo, weight, None if bias is None else 2 * bias.to(dtype))
            width = product(hi - lo, weight.abs(), None)
        return (middle - width) / 2, (middle + width) / 2

    def _carrier(self, weight: Tensor, bias: Tensor | None, times: int = 1, rows: int = 1) -> torch.dtype:
        """float32 where the weights as they are now, or as they ever may be, keep every partial sum below 2^24.

        Of sums taken `times` over, with weights that are made of `rows` rows of the layer's own.
        """
        if carrier(times * rows * self._bound, self) == torch.float32:
            return torch.float32
        # float32 sums of integers are exact below 2^24, and never fall below it once they have reached it
        widest = float(weight.detach().abs().flatten(1).sum(1).amax())
        largest = 0.0 if bias is None else float(bias.detach().abs().amax())
        fits = times * (widest * self.receives().bound + largest) < FLOAT32_LIMIT
        return torch.float32 if fits else torch.float64

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise TypeError(f"{type(self).__name__} needs a product")

    def _constants(self) -> tuple[Any, Any]:
        weight, bias = self.integers()
        return integers(weight), None if bias is None else integers(bias)

    def _copied(self, module: Any) -> torch.nn.Module:
        """A float module with this layer's latent weights."""
        result: torch.nn.Module = module
        with torch.no_grad():
            module.weight.copy_(self.weight)
            if self.bias is not None:
                module.bias.copy_(self.bias)
        return result


class Linear(_Affine):
    """z = W x + b along the last axis.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    weights : int or Levels
        How many values a weight may take, symmetric around zero (255 is -127..127, 3 ternary, 2 binary), or the grid.
    scale : int, optional
        Integer steps per 1.0 of a latent weight.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> model = nn.Sequential(nn.Input((4,), Levels(0, 9), unit=9), nn.Linear(4, 3))
    >>> model(torch.tensor([[0, 1, 2, 9]])).shape
    torch.Size([1, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        weights: int | Levels = 255,
        scale: int | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        for value in (in_features, out_features):
            whole(value, "a number of features", of=self)
        self._parameters_of((out_features, in_features), bias, weights, scale)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}{grid_repr(self)}"

    def bind(self, spec: Spec) -> Spec:
        if not spec.shape or spec.shape[-1] != self.in_features:
            raise self.fail(f"receives shape {spec.shape}, not (.., {self.in_features}); put an nn.Flatten before?")
        return self._bind(spec, (*spec.shape[:-1], self.out_features), len(spec.shape) - 1)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def margins(self, lo: Tensor, hi: Tensor, y: Tensor) -> Tensor:
        """The most by which each output may exceed that of class y (n,) over an interval (n, features): (n, outputs).

        Of z_j - z_y, whose weights are differences: less than the differences of what z_j and z_y may be.
        """
        weight, bias = self.integers()
        classes, place = torch.unique(y, return_inverse=True)
        weight = (weight - weight[classes, None]).flatten(0, 1)
        bias = None if bias is None else (bias - bias[classes, None]).flatten()
        _, most = self._span(lo, hi, weight, bias, F.linear, 2)
        return most.view(len(y), len(classes), -1)[torch.arange(len(y), device=y.device), place]

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.affine(x, *self._constants())

    def twin(self) -> torch.nn.Module:
        return self._copied(torch.nn.Linear(self.in_features, self.out_features, self.bias is not None))


class _Conv(_Affine):
    dims: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | Literal["same", "valid"] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weights: int | Levels = 255,
        scale: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = (
            per_axis(self, v, self.dims, 1) for v in (kernel_size, stride, dilation)
        )
        self.padding = padding_per_axis(self, padding, self.kernel_size, self.stride, self.dilation)
        for value in (in_channels, out_channels, groups):
            whole(value, "a number of channels or groups", of=self)
        if in_channels % groups or out_channels % groups:
            raise self.fail(f"{groups} groups do not divide the channels")
        self._parameters_of((out_channels, in_channels // groups, *self.kernel_size), bias, weights, scale)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            text += f", {name}={value}" if set(value) != {usual} else ""
        return text + (f", groups={self.groups}" if self.groups != 1 else "") + grid_repr(self)

    def bind(self, spec: Spec) -> Spec:
        if len(spec.shape) != 1 + self.dims or spec.shape[0] != self.in_channels:
            axes = ("length",) if self.dims == 1 else ("height", "width")
            raise self.fail(
                f"receives shape {spec.shape}, not ({self.in_channels}, {', '.join(axes)}); put an nn.Reshape before?"
            )
        lengths = window_counts(self, spec.shape[1:], self.kernel_size, self.stride, self.padding, self.dilation)
        return self._bind(spec, (self.out_channels, *lengths), 0)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        function: Any = F.conv1d if self.dims == 1 else F.conv2d
        result: Tensor = function(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return result

    def emit(self, builder: Builder, x: Wire) -> Wire:
        weight, bias = self._constants()
        geometry: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return builder.conv(x, weight, bias, groups=self.groups, **geometry)

    def twin(self) -> torch.nn.Module:
        kind: Any = torch.nn.Conv1d if self.dims == 1 else torch.nn.Conv2d
        geometry = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        return self._copied(kind(self.in_channels, self.out_channels, *geometry, self.bias is not None))


class Conv1d(_Conv):
    """Cross-correlation over (channels, length) with zeros around; see `Conv2d` for the parameters."""

    dims = 1


class Conv2d(_Conv):
    """Cross-correlation over (channels, height, width) with zeros around.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups, bias
        As in `torch.nn.Conv2d`; its `padding_mode`, `device` and `dtype` are left out.
    padding : int, tuple of int, "valid" or "same"
        Zeros at each end of an axis. "same" keeps the lengths, for windows of odd span and stride 1.
    weights, scale
        As in `Linear`.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> model = nn.Sequential(nn.Input((1, 8, 8), Levels(0, 16), unit=16), nn.Conv2d(1, 4, 3, padding=1))
    >>> model(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([1, 4, 8, 8])
    """

    dims = 2


class Embedding(Layer):
    """An integer vector per symbol: symbols (*shape) to (*shape, width).

    Parameters
    ----------
    symbols, width : int
    weights, scale
        As in `Linear`; the default scale lets a grid of 255 values reach +-4 around the initial N(0, 1).
    """

    def __init__(self, symbols: int, width: int, *, weights: int | Levels = 255, scale: int | None = None) -> None:
        super().__init__()
        self.symbols, self.width = symbols, width
        for value in (symbols, width):
            whole(value, "a number of symbols, or the width,", of=self)
        self.grid = weight_grid(weights)
        usual = max(1, max(abs(self.grid.lo), abs(self.grid.hi)) // 4)
        self.scale = usual if scale is None else whole(scale, "scale", of=self)
        self.weight = torch.nn.Parameter(torch.randn(symbols, width))
        warn_if_dead(on_grid(self.weight, self.scale, self.grid), type(self).__name__, 2)

    def extra_repr(self) -> str:
        return f"{self.symbols}, {self.width}{grid_repr(self)}"

    def bind(self, spec: Spec) -> Spec:
        if spec.alphabet.lo < 0 or spec.alphabet.hi >= self.symbols:
            raise self.fail(f"receives {spec.alphabet}, but has rows for 0..{self.symbols - 1}")
        self.spec = spec
        return Spec((*spec.shape, self.width), self.grid, Fraction(self.scale), len(spec.shape))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) of symbols to (batch, *shape, width) of integers."""
        self.receives()
        return F.embedding(x.long(), on_grid(self.weight, self.scale, self.grid))

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.embed(x, integers(on_grid(self.weight, self.scale, self.grid)))

    def twin(self) -> torch.nn.Module:
        module = _FloatEmbedding(self.symbols, self.width, _weight=self.weight.detach().clone())
        module.unit = float(self.receives().unit)
        return module


class _FloatEmbedding(torch.nn.Embedding):
    unit = 1.0

    def forward(self, input: Tensor) -> Tensor:
        return super().forward((input * self.unit).round().long())


def grid_repr(layer: _Affine | Embedding) -> str:
    """What the integer weights are, for `extra_repr`."""
    return f", weights={layer.grid}, scale={layer.scale}" if hasattr(layer, "scale") else ""
