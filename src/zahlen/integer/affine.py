"""Affine layers: dense and convolutional."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import prod

import numpy as np

from ..flow import Spec, whole
from ..grids import default_scale, weight_grid
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from . import arithmetic as do
from .chance import Chance, root_bound
from .layer import Layer, Parameter, fraction_of


class Affine(Layer):
    """z = W x + b, whatever the geometry: weights (fan_in, out) on a grid, biases in units of z."""

    weight: Parameter
    bias: Parameter | None
    gain: Fraction = Fraction(1)  # of initial weights
    drawn: list[int]  # greatest initial latent weight and bias

    def _prepare(self, fan_in: int, out: int, bias: bool, weights: int | Levels, scale: int | None) -> None:
        self.grid = weight_grid(weights)
        if max(abs(self.grid.lo), abs(self.grid.hi)) > do.SHORT or self.grid.step not in (1, 2):
            raise LayerError(f"{type(self).__name__}: weights of 16 bits in steps of 1 or 2 are due, got {self.grid}")
        self.fan_in, self.out, self._has_bias = fan_in, out, bias
        self.scale = default_scale(self.grid, fan_in) if scale is None else whole(scale, "scale", of=self)

    def _bind(self, spec: Spec, shape: tuple[int, ...]) -> Spec:
        self.spec = spec
        self.unit = spec.unit * self.scale
        widest = max(abs(self.grid.lo), abs(self.grid.hi)) * spec.bound * self.fan_in
        if spec.bound > do.SHORT or 2 * widest > do.INT32:
            raise self.fail(
                f"receives values up to {spec.bound}, so sums reach {widest}: 16 bits and 31 are due; "
                "put an activation before it, or take fewer weight values"
            )
        self._widest = do.SHORT * max(abs(self.grid.lo), abs(self.grid.hi))  # of a gradient times a weight
        # a bias as large as all products together decides by itself
        self._bias_grid = Levels(-widest, widest)
        bound = 2 * widest if self._has_bias else widest
        self.back = do.Scale.of(Fraction(1, self.scale))
        return Spec(shape, Levels(-bound, bound), self.unit)

    def start(self, chance: Chance) -> None:
        """Uniform in +-1/sqrt(fan_in), as PyTorch draws them; weights times the gain."""
        fraction = fraction_of(self.grid)
        self.drawn = [root_bound(int((self.scale << fraction) * self.gain), self.fan_in)]
        latent = chance.uniform(self.fan_in * self.out, self.drawn[0]).reshape(self.fan_in, self.out)
        self.weight = Parameter(self.grid, Fraction(self.scale), self._inside(latent, self.grid, fraction), fraction)
        self.bias = None
        if self._has_bias:
            fraction = fraction_of(self._bias_grid)
            whole_unit = int(self.unit * (1 << fraction))
            self.drawn.append(root_bound(whole_unit, self.fan_in))
            latent = chance.uniform(self.out, self.drawn[1])
            self.bias = Parameter(self._bias_grid, self.unit, self._inside(latent, self._bias_grid, fraction), fraction)

    @staticmethod
    def _inside(latent: IntArray, grid: Levels, fraction: int) -> IntArray:
        return np.clip(latent, grid.lo << fraction, grid.hi << fraction).astype(np.int32)

    def parameters(self) -> Iterator[Parameter]:
        yield self.weight
        if self.bias is not None:
            yield self.bias

    def announce(self, bits: int, most: int) -> None:
        self.bits = bits
        spec = self.receives()
        positions = prod(self._positions())
        self.weight.receives((spec.unit * (1 << bits)), do.SHORT * spec.bound * positions, most)
        if self.bias is not None:
            self.bias.receives(Fraction(1 << bits), do.SHORT * positions, most)

    def _positions(self) -> tuple[int, ...]:
        return ()

    def _start(self) -> IntArray | None:
        return None if self.bias is None else self.bias.weight


class Linear(Affine):
    """z = W x + b.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    weights : int or Levels
        How many values a weight may take, symmetric around zero, or the grid.
    scale : int, optional
        Integer steps per 1.0 of a latent weight.
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
        self.in_features = whole(in_features, "in_features", of=self)
        self.out_features = whole(out_features, "out_features", of=self)
        self._prepare(in_features, out_features, bias, weights, scale)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}, weights={self.grid}, scale={self.scale}"

    def bind(self, spec: Spec) -> Spec:
        if spec.shape != (self.in_features,):
            raise self.fail(f"receives shape {spec.shape}, not ({self.in_features},); put a Flatten before?")
        return self._bind(spec, (self.out_features,))

    def forward(self, x: IntArray) -> IntArray:
        """Values of 16 bits (batch, in_features) to int32 (batch, out_features)."""
        self._x = x.astype(np.int16, copy=False)  # an Add's output is wider, its values are proven not to be
        return do.product(do.left(self._x), do.right(self.weight.weight), self._start())

    def backward(self, d: IntArray) -> IntArray:
        do.add_product(do.left_transposed(self._x), do.right(d), self.weight.gradient, do.SHORT * self.receives().bound)
        if self.bias is not None:
            self.bias.gradient += do.column_sums(d).astype(self.bias.gradient.dtype)
        if self.first:
            return d[:, :0]
        back, clamps = do.scaled_product(do.left(d), do.right_transposed(self.weight.weight), self.back, self._widest)
        self.clamps += clamps
        return back

    def emit(self, builder: Builder, x: Wire) -> Wire:
        bias = None if self.bias is None else self.bias.weight.astype(np.int64)
        return builder.affine(x, self.weight.weight.T.astype(np.int64), bias)
