"""Dropout: random zeros while a network learns."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..machine import Builder, LayerError, Levels, Wire
from .spec import Interval, Layer, Spec, carried


class Dropout(Layer):
    """While the network learns, each element is zero by chance, and what is left is larger (Srivastava et al., 2014).

    What is left is multiplied by 1 / (1 - p) and rounded to an integer, halves up. In eval mode, and in the machine,
    nothing is done.

    Parameters
    ----------
    p : Fraction, float or decimal str
        How likely an element is to be zero.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> model = nn.Sequential(nn.Input((4,), Levels(1, 9)), nn.Dropout("0.5"))
    >>> model.eval()(torch.tensor([[1, 2, 3, 4]]))
    tensor([[1., 2., 3., 4.]])
    >>> bool(torch.isin(model.train()(torch.ones(1, 4, dtype=torch.int64)), torch.tensor([0.0, 2.0])).all())
    True
    """

    def __init__(self, p: Any = "0.5") -> None:
        super().__init__()
        try:
            self.p = Fraction(str(p))
        except (ValueError, ZeroDivisionError):
            self.p = Fraction(-1)
        if not 0 <= self.p < 1:
            raise LayerError(f"Dropout: p is a share from 0 to below 1, got {p!r}")

    def extra_repr(self) -> str:
        return str(self.p)

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        low, high = (int((end / (1 - self.p) + Fraction(1, 2)) // 1) for end in (spec.alphabet.lo, spec.alphabet.hi))
        self.bound = max(-low, high)
        return spec.but(alphabet=Levels(min(low, spec.alphabet.lo, 0), max(high, spec.alphabet.hi, 0)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) to the same."""
        self.receives()
        if not self.training:
            return x
        left = x.double() * (torch.rand_like(x, dtype=torch.float32) >= float(self.p)) / float(1 - self.p)
        return carried(left + ((left + 0.5).floor() - left).detach(), self.bound, self)

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        """Those of the machine, which drops nothing."""
        return lo, hi

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x

    def twin(self) -> torch.nn.Module:
        return torch.nn.Dropout(float(self.p))
