"""How gradients reach the layers: backpropagation, direct feedback alignment, local losses.

The last two cut a network into *blocks*: a layer with weights and all up to the next one behind an activation. Within
a block gradients go their usual way; none crosses from one block to another. What is trained is the same network, with
the same layers, gradients and steps, and ends in the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import isqrt

import numpy as np

from ..flow import Spec
from ..grids import readout_scale, weight_grid
from ..machine import InputError, IntArray, LayerError, Levels
from . import arithmetic as do
from .activations import Activation
from .affine import Linear
from .chance import Chance
from .containers import Sequential, ends_gradients, run_backward, run_forward
from .layer import Layer, Parameter
from .losses import Loss, named
from .optimisers import fraction
from .shape import Flatten


class Rule:
    """A way in which gradients reach the layers of a network."""

    model: Sequential

    def begin(self, model: Sequential, most: int) -> None:
        """Take note of the network, and of how many samples gradients are summed over."""
        self.model = model
        for layer in model.layers():
            layer.first = False
        self.blocks = self._cut(model)
        for block in self.blocks:
            ends_gradients(block)
        model.announce(model.bits, most)

    def _cut(self, model: Sequential) -> list[list[Layer]]:
        return [list(model.children)]

    def forward(self, x: IntArray) -> IntArray:
        """The network's output."""
        return self.model.forward(x)

    def backward(self, d: IntArray, y: IntArray, loss: Loss) -> None:
        """Gradients of all parameters, from that of the last output by this loss with these targets."""
        self.model.backward(d)

    def parameters(self) -> Iterator[Parameter]:
        """What there is to train."""
        return self.model.parameters()

    def layers(self) -> Iterator[Layer]:
        """All layers, for what they count."""
        return self.model.layers()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"

    def describe(self) -> str:
        """The rule's settings."""
        return ""


class Backpropagation(Rule):
    """Gradients come to a layer through all layers behind it.

    Examples
    --------
    A step as `zahlen.integer.fit` takes it; `FeedbackAlignment` and `LocalLosses` stand in the same place.

    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((4,), Levels(0, 1)), integer.Linear(4, 8), integer.TanhD(4), integer.Linear(8, 3)
    ... )
    >>> rule, loss, optimiser = Backpropagation(), integer.CrossEntropy(), integer.Momentum("0.1")
    >>> rule.begin(model, most=2)
    >>> x, y = np.array([[0, 1, 1, 0], [1, 1, 0, 0]]), np.array([2, 0], dtype=np.int32)
    >>> found = loss.measure(rule.forward(x), y, model.unit, model.bits)
    >>> rule.backward(found.delta, y, loss)
    >>> optimiser.step(rule.parameters(), 2, Fraction(1), seed=0)
    0
    """


class _Local(Rule):
    """Gradients do not cross from one block of a network to another."""

    def _cut(self, model: Sequential) -> list[list[Layer]]:
        if model.recurrent:
            raise LayerError(
                f"{type(self).__name__}: gradients of a recurrent network go back through time; train it "
                "by backpropagation"
            )
        found = blocks(model)
        self.specs = [block[0].receives() for block in found[1:]]
        if len(model.output.shape) != 1:
            raise LayerError(f"{type(self).__name__}: outputs of shape (classes,) are due, got {model.output.shape}")
        return found

    def forward(self, x: IntArray) -> IntArray:
        x = self.model.input.forward(x)
        self._hidden = []
        for block in self.blocks:
            x = run_forward(block, x)
            self._hidden.append(x)
        return x


class FeedbackAlignment(_Local):
    """Direct feedback alignment: the output's error reaches each block through a fixed random matrix.

    The gradient by a hidden block's output h_k is e B_k, where e is that by the network's output and B_k a matrix of
    random integers that never changes (Nøkland, arXiv 1609.01596; in integers: PocketNN, arXiv 2201.02863). B_k is
    uniform in +-gain / sqrt(outputs).

    Ours departs from PocketNN in this: its pocket activations, piecewise linear ones of 8 bits, are here whatever
    staircase stands in the network; loss and steps are the trainer's (PocketNN has a squared loss and plain gradient
    descent with an integer inverse rate, for which see `IntegerSGD`); weights begin at random, not at zero.

    Parameters
    ----------
    gain : Fraction, int or decimal str
        Hidden gradients are proportional to it.
    seed : int
    """

    FRACTION = 12
    """Bits of the matrices behind the point."""

    def __init__(self, gain: Fraction | int | str = 1, seed: int = 0) -> None:
        self.gain, self.seed = fraction(gain, "gain"), seed

    def describe(self) -> str:
        return f"gain={self.gain}, seed={self.seed}"

    def begin(self, model: Sequential, most: int) -> None:
        super().begin(model, most)
        outputs, chance = model.output.size, Chance(self.seed)
        bound = isqrt(int((self.gain * (1 << self.FRACTION)) ** 2) // outputs)
        if not 1 <= bound <= do.SHORT:
            raise LayerError(f"FeedbackAlignment: gain {self.gain} with {outputs} outputs does not fit 16 bits")
        self.bound = bound
        self.feedback = [
            chance.uniform(outputs * spec.size, bound).reshape(outputs, spec.size).astype(np.int16)
            for spec in self.specs
        ]

    def backward(self, d: IntArray, y: IntArray, loss: Loss) -> None:
        scale = do.Scale(1, self.FRACTION)
        for block, matrix, h in zip(self.blocks, self.feedback, self._hidden):
            back, clamps = do.scaled_product(do.left(d), do.right(matrix), scale, do.SHORT * self.bound)
            self.model.clamps += clamps
            run_backward(block, back.reshape(h.shape))
        run_backward(self.blocks[-1], d)


class LocalLosses(_Local):
    """Local losses: each block learns from a linear classifier of its own output, which is thrown away in the end.

    The integer local-loss blocks of NITRO-D (arXiv 2407.11698): behind each hidden block stand *learning layers*, one
    affine layer to as many outputs as there are classes; its loss is the block's loss. The last block has the network's
    own.

    Ours departs from NITRO-D in this: a NITRO scaling layer and its NITRO-ReLU are whatever staircase stands in the
    network, whose thresholds are the division; gradients are in units of real values; learning layers see a block's
    whole output, without the pooling before them. The paper's loss is the residual sum of squares, and its steps are
    `IntegerSGD`.

    Parameters
    ----------
    loss : {"cross_entropy", "squared", "hinge"} or Loss, optional
        Of the learning layers; the network's if none is given.
    amplification : Fraction, int or decimal str
        What gradients that leave the learning layers are multiplied by. In the paper they are not divided by the
        learning layers' scale, but by an amplification factor of the rate instead.
    weights : int or Levels
        Values that a weight of a learning layer may take.
    seed : int
        Of the learning layers' initial weights.
    """

    def __init__(
        self,
        loss: str | Loss | None = None,
        *,
        amplification: Fraction | int | str = 1,
        weights: int | Levels = 255,
        seed: int = 0,
    ) -> None:
        self.amplification = fraction(amplification, "amplification")
        self.loss = None if loss is None else named(loss)
        self.weights, self.seed = weight_grid(weights), seed

    def describe(self) -> str:
        return f"{self.loss}, amplification={self.amplification}, weights={self.weights}, seed={self.seed}"

    def begin(self, model: Sequential, most: int) -> None:
        super().begin(model, most)
        chance = Chance(self.seed)
        self.heads = [self._head(spec, model, chance, most) for spec in self.specs]

    def _head(self, spec: Spec, model: Sequential, chance: Chance, most: int) -> Sequential:
        scale = readout_scale(self.weights, spec.size)
        linear = Linear(spec.size, model.output.size, weights=self.weights, scale=scale)
        head = Sequential(Flatten(), linear)
        head.bind(spec)
        linear.back = do.Scale.of(self.amplification / scale)
        head.start(chance)
        head.announce(model.bits, most)
        return head

    def backward(self, d: IntArray, y: IntArray, loss: Loss) -> None:
        if y.ndim != 1:
            raise InputError("LocalLosses: targets are classes, which learning layers are to name as the network is")
        own = self.loss or loss
        for block, head, h in zip(self.blocks, self.heads, self._hidden):
            found = own.measure(head.forward(h), y, head.unit, self.model.bits)
            head.clamps += found.clamps
            run_backward(block, head.backward(found.delta))
        run_backward(self.blocks[-1], d)

    def parameters(self) -> Iterator[Parameter]:
        yield from self.model.parameters()
        for head in self.heads:
            yield from head.parameters()

    def layers(self) -> Iterator[Layer]:
        yield from self.model.layers()
        for head in self.heads:
            yield from head.layers()


def blocks(model: Sequential) -> list[list[Layer]]:
    """The blocks of a whole network: each begins at a layer with weights that stands behind an activation.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((2, 2), Levels(0, 1)), integer.Flatten(), integer.Linear(4, 8), integer.TanhD(4),
    ...     integer.Linear(8, 3)
    ... )
    >>> [[type(layer).__name__ for layer in block] for block in blocks(model)]
    [['Flatten', 'Linear', 'TanhD'], ['Linear']]
    """
    begin, parts = model.input, list[list[Layer]]([[]])
    for layer in model.steps():
        if layer is begin:
            continue
        if next(layer.parameters(), None) is not None and any(map(_activates, parts[-1])):
            parts.append([])
        parts[-1].append(layer)
    return parts


def _activates(layer: Layer) -> bool:
    inside = [*layer.layers(), *(layer.tail or ())]
    return any(isinstance(part, Activation) for part in inside)
