"""Staircases with L levels: forward an exact count of thresholds, backward difference quotients of their curve."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np

from ..flow import Spec
from ..machine import Builder, IntArray, LayerError, Levels, MachineError, Wire, tables
from .arithmetic import INT32, SHORT, Slopes, Steps
from .layer import Layer
from .norm import BatchNorm

REACH = 8
"""Curves are taken to be flat beyond this."""
PARTS = 32
"""Buckets of slopes per 1.0, at least."""

_CONTEXT = Context(prec=40)


class Activation(Layer):
    """A staircase with thresholds at `points` of the real line, and equally spaced levels."""

    local = True
    norm: BatchNorm | None = None
    """The batch norm before, which is folded into the thresholds."""

    def __init__(self, points: Sequence[tables.Point], alphabet: Levels, unit: Fraction) -> None:
        self.points, self.alphabet, self.unit = tuple(points), alphabet, unit
        if len(self.points) + 1 != alphabet.size or max(-alphabet.lo, alphabet.hi) > SHORT:
            raise LayerError(f"{type(self).__name__}: {len(self.points)} points do not fit levels {alphabet}")

    @abstractmethod
    def curve(self, x: Decimal) -> Decimal:
        """What the staircase is rounded from."""

    def bind(self, spec: Spec) -> Spec:
        try:
            thresholds = tables.thresholds(self.points, spec.unit)
        except MachineError as error:
            raise self.fail(str(error)) from None
        if spec.bound > INT32 - 1 or max(abs(int(thresholds[0])), abs(int(thresholds[-1]))) >= INT32 - 1:
            raise self.fail(f"receives values up to {spec.bound}, beyond 32 bits; take coarser weights before it")
        levels = np.arange(self.alphabet.lo, self.alphabet.hi + 1, self.alphabet.step)
        self.steps, self.slopes = Steps(thresholds, levels), self._slopes(spec.unit)
        self.spec = spec
        return spec.but(alphabet=self.alphabet, unit=self.unit)

    def _slopes(self, unit: Fraction) -> Slopes:
        """Over each bucket the difference quotient of the curve, from the left end to the right."""
        shift = max(0, int(unit / PARTS).bit_length() - 1) if unit >= PARTS else 0
        size = 1 << shift
        half = int(REACH * unit) // size + 1
        ends = [self.curve(_decimal(Fraction(k * size) / unit)) for k in range(-half, half + 1)]
        width = _decimal(4096 * unit / size)
        quotients = [_CONTEXT.multiply(_CONTEXT.subtract(b, a), width) for a, b in pairwise(ends)]
        table = np.array([int(q.to_integral_value()) for q in quotients], dtype=np.int32)
        return Slopes(-half * size, shift, table)

    def forward(self, x: IntArray) -> IntArray:
        """int32 (batch, *shape) to int16 levels."""
        self.kept = self.slopes.places(x)
        return self.steps(x)

    def backward(self, d: IntArray) -> IntArray:
        return self.slopes(d, self.kept)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        thresholds, values = self.steps.thresholds, self.steps.values
        if self.norm is None:
            return builder.staircase(x, thresholds, values)
        folded = self.norm.fold(thresholds)
        return builder.staircase(x, folded, np.broadcast_to(values, (len(folded), len(values))))

    def describe(self) -> str:
        return str(self.alphabet.size)


def _decimal(x: Fraction) -> Decimal:
    return _CONTEXT.divide(Decimal(x.numerator), Decimal(x.denominator))


class TanhD(Activation):
    """tanh rounded to L levels 2k - (L - 1), as `zahlen.nn.TanhD`."""

    def __init__(self, levels: int) -> None:
        super().__init__(tables.tanh_points(levels), Levels.odd(levels), Fraction(levels - 1))

    def curve(self, x: Decimal) -> Decimal:
        power = _CONTEXT.exp(_CONTEXT.multiply(2, x))
        return _CONTEXT.divide(_CONTEXT.subtract(power, 1), _CONTEXT.add(power, 1))


class Sign(TanhD):
    """-1 below zero, 1 from zero on."""

    def __init__(self) -> None:
        super().__init__(2)


class SigmoidD(Activation):
    """The logistic function rounded to L levels 0..L-1."""

    def __init__(self, levels: int) -> None:
        Levels.odd(levels)  # refuses what is no number of levels
        super().__init__(tables.sigmoid_points(levels), Levels(0, levels - 1), Fraction(levels - 1))

    def curve(self, x: Decimal) -> Decimal:
        return _CONTEXT.divide(1, _CONTEXT.add(1, _CONTEXT.exp(_CONTEXT.minus(x))))


class Heaviside(SigmoidD):
    """0 below zero, 1 from zero on."""

    def __init__(self) -> None:
        super().__init__(2)


class ReLUD(Activation):
    """min(max(x, 0), top) cut down to L levels 0..L-1."""

    def __init__(self, levels: int, top: int | Fraction = 4) -> None:
        Levels.odd(levels)
        self.top = Fraction(top)
        super().__init__(tables.relu_points(levels, self.top), Levels(0, levels - 1), (levels - 1) / self.top)

    def curve(self, x: Decimal) -> Decimal:
        return max(Decimal(0), min(x, _decimal(self.top)))


class HardTanhD(Activation):
    """x clipped to [-1, 1], rounded to L levels 2k - (L - 1)."""

    def __init__(self, levels: int) -> None:
        super().__init__(tables.hardtanh_points(levels), Levels.odd(levels), Fraction(levels - 1))

    def curve(self, x: Decimal) -> Decimal:
        return max(Decimal(-1), min(x, Decimal(1)))
