"""What flows between layers, and the base class of all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import flow
from ..machine import Builder, LayerError, Wire

if TYPE_CHECKING:
    from .norm import BatchNorm

Interval = tuple[Tensor, Tensor]
"""Least and greatest values, element by element."""

FLOAT32_LIMIT = 2**24
FLOAT64_LIMIT = 2**53
"""Below these bounds every integer, every product and every partial sum is exact in the type."""


@dataclass(frozen=True)
class Spec(flow.Spec):
    """What a layer receives or returns, whatever its weights become; 1.0 is that of the float twin.

    Attributes
    ----------
    channels : int
        The axis that a batch norm normalises along.
    norm : BatchNorm, optional
        The batch norm that these values come from, for the activation that follows to fold.
    """

    channels: int = 0
    norm: BatchNorm | None = None


class Layer(torch.nn.Module):
    """A module whose forward pass is an integer function, carried in floats that hold integers exactly.

    A layer learns from `bind` what it will receive, computes on tensors (batch, *shape) that hold integers, and adds
    itself to a machine with `emit`. Layers of your own need these three methods and `twin`.
    """

    spec: Spec | None = None
    wire_names: tuple[str, ...] = ()  # of the wires that hold the output, one per place, once a machine was made

    def bind(self, spec: Spec) -> Spec:
        """Take note of what comes in; return what goes out.

        Raises
        ------
        LayerError
            If the layer cannot work on it.
        """
        raise TypeError(f"{type(self).__name__} needs bind")

    def emit(self, builder: Builder, x: Wire) -> Wire:
        """Add the layer's operations to a machine; the wire returned equals the module's output in eval mode."""
        raise TypeError(f"{type(self).__name__} needs emit")

    def place(self, builder: Builder, x: Wire) -> Wire:
        """`emit`, and take note of the wire returned."""
        wire = self.emit(builder, x)
        self.wire_names = (*self.wire_names, wire.name)
        return wire

    def twin(self) -> torch.nn.Module:
        """A float module of the same kind that starts from the same latent weights."""
        raise TypeError(f"{type(self).__name__} needs twin")

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        """What comes out for all inputs from `lo` to `hi`: integer intervals, those that the machine's ranges are.

        Raises
        ------
        LayerError
            If the layer has no such form.
        """
        raise self.fail("has no interval form, which robust training needs; train without robust=, or take it out")

    def receives(self) -> Spec:
        """The `Spec` of what comes in; raises `LayerError` before `bind`."""
        if self.spec is None:
            raise LayerError(
                f"{type(self).__name__} does not know its input yet; put it into an nn.Sequential "
                "that begins with nn.Input"
            )
        return self.spec

    def fail(self, reason: str) -> LayerError:
        """A `LayerError` that names the layer."""
        return LayerError(f"{type(self).__name__}({self.extra_repr()}): {reason}")


class Monotone(Layer):
    """A layer whose outputs never fall where an input rises, so that ends of intervals go to ends."""

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        return self(lo), self(hi)


def carrier(bound: int, layer: Layer) -> torch.dtype:
    """The float type in which integers up to `bound`, and sums that stay below it, are exact."""
    if bound < FLOAT32_LIMIT:
        return torch.float32
    if bound < FLOAT64_LIMIT:
        return torch.float64
    raise layer.fail(f"values up to {bound} need more than 53 bits; put an activation before, or fewer levels")


def carried(x: Tensor, bound: int, layer: Layer) -> Tensor:
    """The tensor in the type that `carrier` names."""
    return x.to(carrier(bound, layer))
