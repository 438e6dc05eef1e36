"""A network as linear layers with an activation between each two: what a program in C can train."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .activations import Activation
from .affine import Linear
from .containers import Sequential
from .shape import Input, Reshape, Standardise


@dataclass(frozen=True)
class Perceptron:
    """The parts of a perceptron.

    Attributes
    ----------
    input : Input
    standardise : Standardise or None
    linears, activations : list
        One activation less than there are linear layers.
    unit : Fraction
        Steps of the output per 1.0.
    bits : int
        A gradient of 1.0 is 2^bits.
    """

    input: Input
    standardise: Standardise | None
    linears: list[Linear]
    activations: list[Activation]
    unit: Fraction
    bits: int

    @classmethod
    def of(cls, model: Sequential) -> Perceptron:
        """The network's parts; a `LayerError` names the first that is none of these, or out of turn."""
        standardise: Standardise | None = None
        linears: list[Linear] = []
        activations: list[Activation] = []
        begin = model.input
        for layer in model.children[1:]:
            if isinstance(layer, Standardise) and standardise is None and not linears:
                standardise = layer
            elif isinstance(layer, Linear) and len(linears) == len(activations):
                linears.append(layer)
            elif isinstance(layer, Activation) and len(linears) == len(activations) + 1:
                activations.append(layer)
            elif isinstance(layer, (Standardise, Linear, Activation)):
                raise layer.fail("cannot be trained in C where it stands: Linear and activations take turns")
            elif not isinstance(layer, Reshape):
                raise layer.fail(
                    "cannot be trained in C, which knows Input, Flatten, Reshape, Standardise, Linear and activations; "
                    "train here, and write the machine that comes of it with zahlen.emit.c"
                )
        if len(linears) != len(activations) + 1:
            raise model.fail("cannot be trained in C: a network is to end in a Linear, whose sums are the logits")
        return cls(begin, standardise, linears, activations, model.unit, model.bits)
