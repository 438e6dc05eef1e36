"""Convolutions, whose products find their patches in place: images lie channels-last, and no window is copied.

A batch is worked on in parts that stay in the cache; no result depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from ..flow import Spec, whole
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from ..windows import padding_per_axis, per_axis, window_counts
from . import arithmetic as do
from .affine import Affine

CACHE = 2**19
"""Bytes of images that are worked on at a time."""

Pair = tuple[int, int]


def paired(offsets: IntArray) -> tuple[IntArray, IntArray]:
    """Where the pairs begin that hold the elements at these offsets, and which elements those are.

    One whose neighbour in memory does not follow has a pair of its own, whose other place is -1.

    >>> [row.tolist() for row in paired(np.array([0, 1, 2, 8, 9]))]
    [[0, 2, 8], [0, 1, 2, -1, 3, 4]]
    """
    steps, places, k = [], [], 0
    while k < len(offsets):
        both = k + 1 < len(offsets) and offsets[k + 1] == offsets[k] + 1
        steps.append(offsets[k])
        places += [k, k + 1 if both else -1]
        k += 2 if both else 1
    return np.array(steps, dtype=np.int32), np.array(places, dtype=np.int32)


def sums(*axes: IntArray) -> IntArray:
    """int32: all sums of one number of each axis, the last axis fastest."""
    total = np.zeros(1, dtype=np.int64)
    for axis in axes:
        total = (total[:, None] + axis).reshape(-1)
    return total.astype(np.int32)


def many(count: int, stride: int) -> IntArray:
    """int64 (count,): 0, stride, 2 stride, .."""
    return np.arange(count) * stride


@dataclass(frozen=True)
class Frame:
    """Zeros around images (height, width, channels).

    Attributes
    ----------
    before, behind : tuple of int
        How many on both axes.
    shape : tuple of int
        Of an image with them.
    """

    before: Pair
    behind: Pair
    shape: tuple[int, int, int]

    @classmethod
    def around(cls, shape: tuple[int, int, int], before: Pair, behind: Pair) -> Frame:
        """Of images of this shape."""
        height, width = (before[k] + shape[k] + behind[k] for k in range(2))
        return cls(before, behind, (height, width, shape[2]))

    @property
    def size(self) -> int:
        """Elements of an image with its zeros."""
        return prod(self.shape)

    def strides(self) -> Pair:
        """Elements from one row, and from one column, to the next."""
        return self.shape[1] * self.shape[2], self.shape[2]

    def put(self, x: IntArray) -> IntArray:
        """int16 (batch, height, width, channels) with zeros around, flat, and one zero behind."""
        (top, left), (_, height, width, _) = self.before, x.shape
        flat = np.zeros(len(x) * self.size + 1, dtype=np.int16)
        flat[:-1].reshape(-1, *self.shape)[:, top : top + height, left : left + width] = x
        return flat


class Patches:
    """Sums over the elements behind each of some positions of an image, times weights.

    Parameters
    ----------
    positions : int32 (positions,)
        Where they begin in an image with its frame.
    elements : int32 (inner,)
        Where a sum's elements stand behind its position.
    weights : int32 (inner,)
        Where their weights begin.
    """

    def __init__(self, positions: IntArray, elements: IntArray, weights: IntArray) -> None:
        self.positions, self.elements, self.weights = positions, elements, weights
        self.steps, self._places = paired(elements)

    def several(self, images: int, size: int) -> None:
        """Take note of how many images there are at the most, and of their size."""
        self._rows = sums(many(images, size), self.positions)

    def left(self, images: IntArray, count: int, channel: int) -> do.Left:
        """Of so many flat images with their frames, from a channel on."""
        rows = self._rows[: count * len(self.positions)]
        return do.Left(images, rows + np.int32(channel) if channel else rows, self.steps, len(self._places))

    def right(self, weights: IntArray, columns: IntArray, nothing: int) -> do.Right:
        """The weights, of which each column's begin so much further; zeros stand at `nothing`."""
        rows = np.where(self._places < 0, nothing, self.weights[self._places]).astype(np.int32)
        return do.right_of_rows(weights, rows, columns.astype(np.int32))


@dataclass(frozen=True, eq=False)
class Phase:
    """The way back along an axis to each stride-th element from `first` on.

    The i-th of them was reached from output ``bases[j] + i`` by tap ``taps[j]``.
    """

    first: int
    count: int
    taps: IntArray
    bases: IntArray


def phases(length: int, size: int, stride: int, padding: int, dilation: int) -> list[Phase]:
    """All elements of an axis of this length, under windows of this size."""
    found = []
    for first in range(min(stride, length)):
        place = first + padding
        # falling, so that what they are reached from stands side by side
        taps = np.array([k for k in range(size - 1, -1, -1) if (place - dilation * k) % stride == 0], dtype=np.int64)
        found.append(Phase(first, len(range(first, length, stride)), taps, (place - dilation * taps) // stride))
    return found


class Conv2d(Affine):
    """Cross-correlation over (channels, height, width) with zeros around; see `zahlen.nn.Conv2d` for the parameters.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(integer.Input((1, 8, 8), Levels(0, 16), unit=16), integer.Conv2d(1, 4, 3, padding=1))
    >>> x = np.arange(64).reshape(1, 1, 8, 8) % 17
    >>> bool((model(x) == model.machine().run(x)).all())
    True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same", "valid"] = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weights: int | Levels = 255,
        scale: int | None = None,
    ) -> None:
        self.in_channels = whole(in_channels, "in_channels", of=self)
        self.out_channels = whole(out_channels, "out_channels", of=self)
        self.groups = whole(groups, "groups", of=self)
        self.kernel_size, self.stride, self.dilation = (
            per_axis(self, v, 2, 1) for v in (kernel_size, stride, dilation)
        )
        self.padding = padding_per_axis(self, padding, self.kernel_size, self.stride, self.dilation)
        if in_channels % groups or out_channels % groups:
            raise LayerError(f"Conv2d: {groups} groups do not divide {in_channels} and {out_channels} channels")
        self._in, self._out = in_channels // groups, out_channels // groups  # of a group
        self._prepare(prod(self.kernel_size) * self._in, out_channels, bias, weights, scale)

    def describe(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            text += f", {name}={value}" if set(value) != {usual} else ""
        groups = f", groups={self.groups}" if self.groups != 1 else ""
        return f"{text}{groups}, weights={self.grid}, scale={self.scale}"

    def bind(self, spec: Spec) -> Spec:
        if len(spec.shape) != 3 or spec.shape[0] != self.in_channels:
            raise self.fail(
                f"receives shape {spec.shape}, not ({self.in_channels}, height, width); put a Reshape before?"
            )
        lengths = spec.shape[1:]
        counts = window_counts(self, lengths, self.kernel_size, self.stride, self.padding, self.dilation)
        self._counts = (counts[0], counts[1])
        self._go((lengths[0], lengths[1], self.in_channels))
        self._return((lengths[0], lengths[1]))
        largest = max(self._frame.size, self._frame_back.size, 2 * prod(counts) * self.out_channels)
        self._part = max(1, CACHE // (4 * largest)) * 2  # even, as pairs are made of two images
        self.tail = []
        self._index()
        return self._bind(spec, (self.out_channels, *counts))

    def _index(self) -> None:
        """Where things stand in a part of a batch; of a smaller one they are the first."""
        size, outputs, count = self._frame.size, prod(self._counts), self._part
        self._patches.several(count, size)
        for _, _, patches in self._patches_back:
            patches.several(count, self._frame_back.size)
        self._steps = 2 * sums(many(count // 2, size), self._patches.positions)
        images = many(count, outputs * self.out_channels).reshape(-1, 1, 2)
        self._pairs = (images + many(outputs, self.out_channels)[:, None]).reshape(-1).astype(np.int32)

    def _framed(self, shape: tuple[int, int, int], before: Pair, behind: Pair) -> Frame:
        frame = Frame.around(shape, before, behind)
        if 8 * frame.size > do.INT32:  # places in several of them have 32 bits
            raise self.fail(f"images of {frame.size} elements with their zeros are too large; put a pool before it")
        return frame

    def _go(self, shape: tuple[int, int, int]) -> None:
        self._frame = self._framed(shape, self.padding, self.padding)
        strides = self._frame.strides()
        positions = [many(n, s * step) for n, s, step in zip(self._counts, self.stride, strides)]
        taps = [many(n, s * step) for n, s, step in zip(self.kernel_size, self.dilation, strides)]
        weights = many(self.fan_in, self.out_channels)
        self._patches = Patches(sums(*positions), sums(*taps, many(self._in, 1)), weights)

    def _return(self, lengths: Pair) -> None:
        axes = [
            phases(*of_axis) for of_axis in zip(lengths, self.kernel_size, self.stride, self.padding, self.dilation)
        ]
        reached = [[(p.bases.min(), p.bases.max() + p.count) for p in axis if len(p.taps)] for axis in axes]
        before = [max(0, -min((int(low) for low, _ in ends), default=0)) for ends in reached]
        behind = [max(0, max((int(high) for _, high in ends), default=0) - n) for ends, n in zip(reached, self._counts)]
        shape = (*self._counts, self.out_channels)
        self._frame_back = self._framed(shape, (before[0], before[1]), (behind[0], behind[1]))
        rows, columns = self._frame_back.strides()
        across = self._in * self.out_channels  # weights from one tap to the next
        self._patches_back = [
            (
                y,
                x,
                Patches(
                    sums(many(y.count, rows), many(x.count, columns)),
                    sums((y.bases + before[0]) * rows, (x.bases + before[1]) * columns, many(self._out, 1)),
                    sums(y.taps * self.kernel_size[1] * across, x.taps * across, many(self._out, 1)),
                ),
            )
            for y in axes[0]
            for x in axes[1]
            if len(y.taps) and len(x.taps)
        ]
        self._covers = len(self._patches_back) == len(axes[0]) * len(axes[1])

    def _positions(self) -> tuple[int, ...]:
        return self._counts

    def _parts(self, count: int) -> Iterator[slice]:
        return (slice(first, min(first + self._part, count)) for first in range(0, count, self._part))

    def _groups(self) -> Iterator[tuple[int, int]]:
        """First channels, of the input and of the output."""
        return ((g * self._in, g * self._out) for g in range(self.groups))

    def _weights(self) -> tuple[IntArray, int]:
        """The weights, flat, with zeros behind; and where those begin."""
        flat = self.weight.weight.reshape(-1)
        return np.concatenate([flat, np.zeros(self._in * self.out_channels, dtype=np.int16)]), len(flat)

    def forward(self, x: IntArray) -> IntArray:
        """int16 (batch, height, width, in_channels) to what comes out behind the tail."""
        self._x, self._kept = x, []
        weights, nothing = self._weights()
        factors = [self._patches.right(weights, many(self._out, 1) + out, nothing) for _, out in self._groups()]
        z = np.empty((self._part if self.tail else len(x), *self._counts, self.out_channels), dtype=np.int32)
        if not self.tail:
            for part in self._parts(len(x)):
                self._product(x[part], factors, z[part])
            return z
        done = []
        for part in self._parts(len(x)):
            y = z[: part.stop - part.start]
            self._product(x[part], factors, y)
            for layer in self.tail:
                y = layer.forward(y)
            self._kept.append([layer.kept for layer in self.tail])
            done.append(y)
        return np.concatenate(done) if len(done) > 1 else done[0]

    def _product(self, x: IntArray, factors: list[do.Right], z: IntArray) -> None:
        images, rows, start = self._frame.put(x), z.reshape(-1, self.out_channels), self._start()
        for (channel, out), right in zip(self._groups(), factors):
            left, columns = self._patches.left(images, len(x), channel), slice(out, out + self._out)
            bias = None if start is None else start[columns]
            if self.groups == 1:
                do.product(left, right, bias, rows)
            else:
                rows[:, columns] = do.product(left, right, bias)

    def backward(self, d: IntArray) -> IntArray:
        channels, *lengths = self.receives().shape
        weights, nothing = self._weights()
        columns = many(self._in, self.out_channels)
        factors = [
            [] if self.first else [patches.right(weights, columns + out, nothing) for _, out in self._groups()]
            for _, _, patches in self._patches_back
        ]
        make = np.empty if self._covers else np.zeros
        back = make((0 if self.first else len(d), *lengths, channels), dtype=np.int16)
        for k, part in enumerate(self._parts(len(d))):
            dz = d[part]
            for layer, kept in zip(reversed(self.tail or []), reversed(self._kept[k] if self.tail else [])):
                layer.kept = kept
                dz = layer.backward(dz)
            self._add_gradient(self._x[part], dz)
            if self.bias is not None:
                total = do.column_sums(dz.reshape(-1, self.out_channels))
                self.bias.gradient += total.astype(self.bias.gradient.dtype)
            if not self.first:
                self._input_gradient(dz, factors, back[part])
        return back

    def _add_gradient(self, x: IntArray, d: IntArray) -> None:
        """Sums over positions; pairs are of two images, and a last one on its own is paired with zeros."""
        size, count, outputs = self._frame.size, len(x), prod(self._counts)
        images = do.left_of_rows(self._frame.put(x), do.places(count, size), size)
        pairs = (count + 1) // 2
        steps, rows = self._steps[: pairs * outputs], self._pairs[: 2 * pairs * outputs]
        if count % 2:
            rows = rows.copy()
            rows[-2 * outputs + 1 :: 2] = rows[-2 * outputs :: 2]  # any will do, as zeros are its factors
        gradient = self.weight.gradient
        for channel, out in self._groups():
            left = do.Left(images.at, 2 * (self._patches.elements + np.int32(channel)), steps, len(rows))
            right = do.right_of_rows(d.reshape(-1), rows, (many(self._out, 1) + out).astype(np.int32))
            total = gradient if self.groups == 1 else np.zeros((self.fan_in, self._out), dtype=gradient.dtype)
            do.add_product(left, right, total, do.SHORT * self.receives().bound)
            if self.groups > 1:
                gradient[:, out : out + self._out] += total

    def _input_gradient(self, d: IntArray, factors: list[list[do.Right]], back: IntArray) -> None:
        images = self._frame_back.put(d)
        for (y, x, patches), rights in zip(self._patches_back, factors):
            for (channel, out), right in zip(self._groups(), rights):
                left = patches.left(images, len(d), out)
                found, clamps = do.scaled_product(left, right, self.back, self._widest)
                self.clamps += clamps
                inside = back[:, y.first :: self.stride[0], x.first :: self.stride[1]]
                inside[..., channel : channel + self._in] = found.reshape(len(d), y.count, x.count, self._in)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        weight = self.weight.weight.astype(np.int64).reshape(*self.kernel_size, self._in, self.out_channels)
        bias = None if self.bias is None else self.bias.weight.astype(np.int64)
        geometry = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return builder.conv(x, weight.transpose(3, 2, 0, 1), bias, groups=self.groups, **geometry)
