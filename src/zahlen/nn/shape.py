"""Layers without weights: the input, changes of shape, pools."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..flow import Beginning, Scaling, Shaping
from ..machine import Builder, InputError, Levels, Wire
from ..windows import per_axis, window_counts
from .spec import Monotone, Spec, carried, carrier

SIGNED = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
UNSIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64}  # PyTorch hardly computes on these


class Input(Beginning, Monotone):
    """Where a network begins: which integers come in, and what they are worth.

    Parameters
    ----------
    shape : tuple of int
        Of one sample.
    alphabet : Levels
        The integers as stored (pixels are ``Levels(0, 255)``).
    offset : int
        Subtracted from every element, to centre it.
    unit : int or Fraction
        How many integer steps make 1.0 for the float twin; about the standard deviation is a good choice.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> nn.Input((2,), Levels(0, 255), offset=73, unit=90)(torch.tensor([[0, 255]]))
    tensor([[-73., 182.]])
    """

    def __init__(self, shape: tuple[int, ...], alphabet: Levels, *, offset: int = 0, unit: int | Fraction = 1) -> None:
        super().__init__()
        self.begins(shape, alphabet, offset, unit)

    def extra_repr(self) -> str:
        return self.describe()

    def start(self) -> Spec:
        """What the next layer receives."""
        self.spec = Spec(self.shape, self.centred(), self.unit)
        # the values as they come in are carried too
        self._dtype = carrier(self.spec.bound + abs(self.offset), self)
        return self.spec

    def bind(self, spec: Spec) -> Spec:
        raise self.fail("stands at the beginning of a network only")

    def checked(self, x: Tensor) -> Tensor:
        """The batch, or an `InputError` if it is not one of elements of the alphabet."""
        if not isinstance(x, Tensor):
            raise InputError(f"Input: a tensor of integers is due, got {type(x).__name__}; see torch.as_tensor")
        if x.dtype in UNSIGNED:
            x = x.to(UNSIGNED[x.dtype])
        if x.dtype not in SIGNED:
            raise InputError(f"Input: integers are due, got {x.dtype}; a network never rounds its input")
        if x.ndim == 0 or x.shape[1:] != self.shape:
            raise InputError(f"Input: shape (batch, {', '.join(map(str, self.shape))}) is due, got {tuple(x.shape)}")
        if x.numel():
            low, high = (int(end) for end in torch.aminmax(x))
            if low < self.alphabet.lo or high > self.alphabet.hi:
                raise InputError(f"Input: values are {low}..{high}, the alphabet is {self.alphabet}")
            step = self.alphabet.step
            if step > 1 and bool((x.long() % step != self.alphabet.lo % step).any()):
                raise InputError(f"Input: a value is off the grid {self.alphabet}")
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) of any integer type to the same as floats that hold integers, centred."""
        if self.spec is None:
            self.start()
        x = self.checked(x).to(self._dtype)
        return x.sub_(self.offset) if self.offset else x

    def twin(self) -> torch.nn.Module:
        return _Affinely(self.offset, float(self.unit))


_BYTES = (torch.uint8, torch.int8)


class _Affinely(torch.nn.Module):
    def __init__(self, offset: int, unit: float) -> None:
        super().__init__()
        self.offset, self.unit = offset, unit
        self.whole = False  # whether integers go out, for a module that subtracts a mean of its own

    def forward(self, x: Tensor) -> Tensor:
        # integers first: of large ones a float keeps no difference; of bytes it keeps them all, and costs less
        if not x.is_floating_point():
            x = x.to(torch.get_default_dtype() if x.dtype in _BYTES and not self.whole else torch.int64)
        steps = x - self.offset
        return steps if self.whole else steps.to(torch.get_default_dtype()) / self.unit


class Standardise(Scaling, Monotone):
    """Put each element on one common scale: clamp(round(grain (x - mean) / deviation), -limit, limit), a staircase.

    For tables whose columns have different units. Stands behind `Input`.

    Parameters
    ----------
    mean, deviation : integer arrays of the input's shape (features,)
        Centre and scale of each element; deviations below 1 count as 1.
    grain : int
        Integer steps per standard deviation.
    limit : int
        Largest absolute value that comes out.
    """

    def __init__(self, mean: Any, deviation: Any, *, grain: int = 32, limit: int = 127) -> None:
        super().__init__()
        self.scales(mean, deviation, grain, limit)

    def extra_repr(self) -> str:
        return self.describe()

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        return self.scaled(spec)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features) of integers to (batch, features) of levels."""
        self.receives()
        edges = torch.as_tensor(self.thresholds, dtype=torch.float64, device=x.device)
        index = torch.searchsorted(edges, x.detach().to(torch.float64).T.contiguous(), right=True).T
        return index.to(torch.float32) - self.limit

    def twin(self) -> torch.nn.Module:
        return _Standardised(torch.as_tensor(self.mean), torch.as_tensor(self.deviation), float(self.receives().unit))


class _Standardised(torch.nn.Module):
    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, unit: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        steps = x * self.unit if x.is_floating_point() else x
        return (steps - self.mean).to(torch.get_default_dtype()) / self.deviation


class Reshape(Shaping, Monotone):
    """The same elements in row-major order under another shape (of one sample)."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shapes(shape)

    def extra_repr(self) -> str:
        return self.describe()

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        return self.shaped(spec).but(channels=0)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *any) to (batch, *shape)."""
        self.receives()
        return x.reshape(len(x), *self.shape)

    def twin(self) -> torch.nn.Module:
        return torch.nn.Unflatten(1, self.shape) if len(self.receives().shape) == 1 else _Reshaped(self.shape)


class _Reshaped(torch.nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)


class Flatten(Reshape):
    """All elements of a sample in one row."""

    def __init__(self) -> None:
        super().__init__()

    def bind(self, spec: Spec) -> Spec:
        self.shape = (spec.size,)
        return super().bind(spec)


class _Pool2d(Monotone):
    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = per_axis(self, kernel_size, 2, 1)
        self.stride = self.kernel_size if stride is None else per_axis(self, stride, 2, 1)
        self.padding = per_axis(self, padding, 2, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size)):
            raise self.fail("padding is at most half of the window")

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def _counts(self, spec: Spec) -> tuple[int, ...]:
        if len(spec.shape) != 3:
            raise self.fail(f"receives shape {spec.shape}, not (channels, height, width)")
        self.spec = spec
        counts = window_counts(self, spec.shape[1:], self.kernel_size, self.stride, self.padding, (1, 1))
        return (spec.shape[0], *counts)


class MaxPool2d(_Pool2d):
    """Maximum over windows of (channels, height, width).

    `kernel_size`, `stride` and `padding` as in `torch.nn.MaxPool2d`; its `dilation`, `return_indices` and `ceil_mode`
    are left out.
    """

    def bind(self, spec: Spec) -> Spec:
        return spec.but(shape=self._counts(spec), channels=0)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) of integers to the same with fewer rows and columns."""
        self.receives()
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.maxpool(x, self.kernel_size, self.stride, self.padding)

    def twin(self) -> torch.nn.Module:
        return torch.nn.MaxPool2d(self.kernel_size, self.stride, self.padding)


class SumPool2d(_Pool2d):
    """Sum over windows: average pooling whose unit grows by the window's size, so that nothing is divided.

    `kernel_size`, `stride` and `padding` (zeros, which count) as in `torch.nn.AvgPool2d`; its `ceil_mode`,
    `count_include_pad` and `divisor_override` are left out.
    """

    def bind(self, spec: Spec) -> Spec:
        shape, window = self._counts(spec), prod(self.kernel_size)
        ends = (spec.alphabet.lo, spec.alphabet.hi, 0) if any(self.padding) else (spec.alphabet.lo, spec.alphabet.hi)
        self.bound = spec.bound * window
        alphabet = Levels(min(ends) * window, max(ends) * window)
        carrier(self.bound, self)
        return spec.but(shape=shape, alphabet=alphabet, unit=spec.unit * window, channels=0)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) of integers to the same with fewer rows and columns."""
        self.receives()
        x = carried(x, self.bound, self)
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, divisor_override=1)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.sumpool(x, self.kernel_size, self.stride, self.padding)

    def twin(self) -> torch.nn.Module:
        return torch.nn.AvgPool2d(self.kernel_size, self.stride, self.padding)
