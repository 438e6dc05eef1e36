"""Maxima and sums over windows of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from ..flow import Spec
from ..machine import Builder, IntArray, Levels, Wire
from ..windows import per_axis, window_counts
from . import arithmetic as do
from .layer import Layer


@dataclass(frozen=True)
class Windows:
    """Windows over images (batch, height, width, channels).

    Attributes
    ----------
    shape : tuple of int
        Height, width, channels.
    size, stride, padding, counts : tuple of int
        Of both axes; `counts` is how many windows there are.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    counts: tuple[int, ...]

    def _numbers(self) -> tuple[int, ...]:
        return (*self.shape, *self.size, *self.stride, *self.padding)

    def _outputs(self, count: int, dtype: Any) -> IntArray:
        return np.empty((count, *self.counts, self.shape[2]), dtype=dtype)

    def _padded(self, x: IntArray, value: int) -> IntArray:
        around = [(0, 0), *((p, p) for p in self.padding), (0, 0)]
        return np.pad(x, around, constant_values=value)

    def _parts(self, x: IntArray) -> Iterator[IntArray]:
        """What stands at each place of all windows: views (batch, *counts, channels) of padded images."""
        rows, columns = ((count - 1) * stride + 1 for count, stride in zip(self.counts, self.stride))
        for i in range(self.size[0]):
            for k in range(self.size[1]):
                yield x[:, i : i + rows : self.stride[0], k : k + columns : self.stride[1]]

    def maximum(self, x: IntArray) -> tuple[IntArray, IntArray]:
        """Greatest elements; and at which place of its window the first of them stands, int16, counted row by row."""
        which = self._outputs(len(x), np.int16)
        if do.kernels is not None and x.dtype == np.int16:
            y = self._outputs(len(x), np.int16)
            do.kernels.maxpool(x, y, which, *self._numbers())
            return y, which
        # no element is the least number of its type, and no window lies outside entirely
        y = np.full(which.shape, np.iinfo(x.dtype).min, dtype=x.dtype)
        for place, part in enumerate(self._parts(self._padded(x, np.iinfo(x.dtype).min))):
            more = part > y
            y[more], which[more] = part[more], place
        return y, which

    def total(self, x: IntArray) -> IntArray:
        """int32 sums, which are proven to fit."""
        y = self._outputs(len(x), np.int32)
        if do.kernels is not None and x.dtype == np.int16:
            do.kernels.sumpool(x, y, *self._numbers())
            return y
        y[...] = sum(part.astype(np.int64) for part in self._parts(self._padded(x, 0)))
        return y

    def back(self, d: IntArray, which: IntArray | None, scale: do.Scale) -> tuple[IntArray, int]:
        """int16 sums over the windows that an element is in, or is the maximum of; and how many were clamped.

        Parameters
        ----------
        d : int16 (batch, *counts, channels)
        which : int16 (batch, *counts, channels), optional
            Places of the maxima.
        scale : Scale
            Of the sums, before they are clamped.
        """
        out = np.empty((len(d), *self.shape), dtype=np.int16)
        if do.kernels is not None:
            places = np.empty(0, dtype=np.int16) if which is None else which
            return out, do.kernels.pool_back(d, places, out, *self._numbers(), scale.factor, scale.shift)
        sums = self._padded(np.zeros(out.shape, dtype=np.int64), 0)
        for place, part in enumerate(self._parts(sums)):
            part += d if which is None else np.where(which == place, d, 0)
        (top, left), (height, width, _) = self.padding, self.shape
        out[...], count = do.clamped(scale(sums[:, top : top + height, left : left + width]))
        return out, count


class _Pool2d(Layer):
    local = True

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        self.kernel_size = per_axis(self, kernel_size, 2, 1)
        self.stride = self.kernel_size if stride is None else per_axis(self, stride, 2, 1)
        self.padding = per_axis(self, padding, 2, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size)):
            raise self.fail("padding is at most half of the window")
        if prod(self.kernel_size) > do.SHORT:
            raise self.fail(f"a window has at most {do.SHORT} places")

    def describe(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def bind(self, spec: Spec) -> Spec:
        if len(spec.shape) != 3:
            raise self.fail(f"receives shape {spec.shape}, not (channels, height, width)")
        self.spec = spec
        counts = window_counts(self, spec.shape[1:], self.kernel_size, self.stride, self.padding, (1, 1))
        shape = (*spec.shape[1:], spec.shape[0])
        self.windows = Windows(shape, self.kernel_size, self.stride, self.padding, counts)
        return spec.but(shape=(spec.shape[0], *counts))


class MaxPool2d(_Pool2d):
    """Maximum over windows; the gradient goes to the first of them, row by row. See `zahlen.nn.MaxPool2d`."""

    def forward(self, x: IntArray) -> IntArray:
        y, self.kept = self.windows.maximum(x)
        return y

    def backward(self, d: IntArray) -> IntArray:
        back, clamps = self.windows.back(d, self.kept, do.Scale(1, 0))
        self.clamps += clamps
        return back

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.maxpool(x, self.kernel_size, self.stride, self.padding)


class SumPool2d(_Pool2d):
    """Sum over windows: average pooling whose unit grows by the window's size. See `zahlen.nn.SumPool2d`."""

    def bind(self, spec: Spec) -> Spec:
        out, size = super().bind(spec), prod(self.kernel_size)
        ends = (spec.alphabet.lo, spec.alphabet.hi, *((0,) if any(self.padding) else ()))
        if spec.bound * size > do.INT32:
            raise self.fail(f"receives values up to {spec.bound}, so sums leave 32 bits; put an activation before it")
        self.scale = do.Scale.of(Fraction(1, size))
        self.narrow = spec.bound * size <= do.SHORT
        return out.but(alphabet=Levels(min(ends) * size, max(ends) * size), unit=spec.unit * size)

    def forward(self, x: IntArray) -> IntArray:
        y = self.windows.total(x)
        return y.astype(np.int16) if self.narrow else y

    def backward(self, d: IntArray) -> IntArray:
        back, clamps = self.windows.back(d, None, self.scale)
        self.clamps += clamps
        return back

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return builder.sumpool(x, self.kernel_size, self.stride, self.padding)
