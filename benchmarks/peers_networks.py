"""The networks that are compared: trained shortly, and described in numbers that every peer can take over as they are.

Weights of 255 values are int8 weights, so that all peers hold the same integers: they only differ in how many levels an
activation has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import zahlen
from zahlen import Levels, nn
from zahlen.recipes import Recipe

BATCHES = (1, 1024)
FEATURES, UNITS, STEPS, CLASSES = 64, 128, 100, 10
SEQUENCE_UNIT = 50
"""Integers of the sequences per 1.0."""
SATURATED = 4.0
"""Beyond it a tanh of 8 bits is 1: what comes before it needs no wider range."""


@dataclass(frozen=True, eq=False)
class Affine:
    """A dense layer or a 3x3 convolution with padding 1, behind it a 2x2 maximum and a tanh where said.

    Attributes
    ----------
    weight : int8 (out, in) or (out, in, 3, 3)
    scale : float
        What one step of a weight is worth.
    bias : float64 (out,)
        In real numbers.
    tanh : bool
    reach : float
        Greatest absolute value of the pre-activations to tell apart.
    """

    weight: Any
    scale: float
    bias: Any
    tanh: bool
    reach: float = 0.0

    @property
    def conv(self) -> bool:
        """Whether it is a convolution, with a maximum behind it."""
        return bool(self.weight.ndim == 4)

    @property
    def real(self) -> Any:
        """The weights in real numbers, float32."""
        return (self.weight * self.scale).astype(np.float32)

    def __call__(self, x: Tensor) -> Tensor:
        """Pre-activations in single precision, after the maximum."""
        weight, bias = torch.from_numpy(self.real), torch.from_numpy(self.bias).float()
        if self.conv:
            return F.max_pool2d(F.conv2d(x, weight, bias, padding=1), 2)
        return F.linear(x.flatten(1), weight, bias)


@dataclass(frozen=True, eq=False)
class Recurrent:
    """An LSTM layer, gates in PyTorch's order i, f, g, o.

    Attributes
    ----------
    w, r : int8 (4 units, features), (4 units, units)
        Weights of the input and of the state.
    w_scale, r_scale : float
    bias : float64 (4 units,)
    """

    w: Any
    w_scale: float
    r: Any
    r_scale: float
    bias: Any


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network: the machine, its layers in real numbers, and inputs to time it on.

    Attributes
    ----------
    name, title : str
    machine : Machine
    x : integer array (n, *shape) or (n, steps, features)
        In the narrowest type.
    zero : int
        The integer that stands for 0.0.
    unit : float
        Integers per 1.0.
    layers : tuple of Affine
        With `recurrent` only the last, the readout.
    recurrent : Recurrent, optional
    """

    name: str
    title: str
    machine: Any
    x: Any
    zero: int
    unit: float
    layers: tuple[Affine, ...]
    recurrent: Recurrent | None = None
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", self.x.shape[1:])

    def real(self, x: Any) -> Any:
        """Inputs in real numbers, float32."""
        return ((x.astype(np.float32) - self.zero) / self.unit).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Case:
    """A network with a batch to run it on.

    Attributes
    ----------
    network : Network
    batch : int
    steps : int
        Of each sequence; 0 without a state.
    streaming : bool
        One step a call, from a state that is kept.
    """

    network: Network
    batch: int
    steps: int = 0
    streaming: bool = False

    @property
    def name(self) -> str:
        """What the tables call it."""
        if self.streaming:
            return f"batch {self.batch}, one step a call"
        return f"batch {self.batch}" + (f", {self.steps} steps" if self.steps else "")

    @property
    def x(self) -> Any:
        """Its inputs: (batch, *shape), of sequences (batch, steps, features)."""
        x = self.network.x[: self.batch]
        return np.ascontiguousarray(x[:, : self.steps] if self.steps else x)

    @cached_property
    def classes(self) -> Any:
        """The classes that the machine names for its inputs, of sequences after the last step."""
        y = self.network.machine.run(self.x)
        return (y[:, -1] if self.steps else y).argmax(1)


def cases(network: Network) -> list[Case]:
    """What a network is timed on."""
    if network.recurrent is None:
        return [Case(network, batch) for batch in BATCHES]
    return [Case(network, 1, 1, True), Case(network, 1, STEPS), Case(network, 64, STEPS)]


def _samples(quick: bool) -> tuple[Any, Any, Any]:
    """Training images and labels of 28x28 in 0..255, and as many test images as are timed."""
    count = 2560 if quick else 25600
    try:
        data = zahlen.data.load("fashion-mnist")
    except zahlen.ZahlenError:  # digits, made as large: the arithmetic does not depend on what is seen
        data = zahlen.data.load("digits")

        def grown(x: Any) -> Any:
            large = np.kron(x, np.ones((1, 4, 4), dtype=np.int64))[:, 2:30, 2:30]
            return np.resize(large * 255 // 16, (max(1024, len(x)), 28, 28)).astype(np.uint8)

        return grown(data.train.x), np.resize(data.train.y, max(1024, len(data.train.x))), grown(data.test.x)
    return data.train.x[:count], data.train.y[:count], data.test.x[:1024]


def _affine(network: nn.Sequential, x: Tensor) -> tuple[Affine, ...]:
    """The layers in real numbers, with the ranges that they have on x."""
    found = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    layers = []
    for k, module in enumerate(found):
        weight, bias = (t.detach().numpy() for t in module.integers() if t is not None)
        last = k == len(found) - 1
        layer = Affine(weight.astype(np.int8), 1 / module.scale, bias / float(module.unit), not last)
        z = layer(x)
        reach = float(z.abs().max())
        layers.append(Affine(layer.weight, layer.scale, layer.bias, not last, reach if last else min(reach, SATURATED)))
        x = torch.tanh(z)
    return tuple(layers)


def _images(name: str, title: str, model: str, quick: bool, *, shades: int = 256, **options: Any) -> Network:
    x, y, test = _samples(quick)
    x, test = (images // (256 // shades) for images in (x, test))
    torch.manual_seed(0)
    network: Any = nn.network(Recipe.fitting(model, x, Levels(0, shades - 1), CLASSES, **options))
    zahlen.fit(network, x, y, epochs=1, validation=0.0, progress=False)
    spec = network[0]
    zero, unit = spec.offset, float(spec.unit)
    real = torch.from_numpy((test.astype(np.float32) - zero) / np.float32(unit))
    with torch.inference_mode():
        layers = _affine(network, real[:, None] if model == "cnn" else real)
    return Network(name, title, network.machine(), np.ascontiguousarray(test, dtype=np.uint8), zero, unit, layers)


def _sequences(count: int, seed: int) -> tuple[Any, Any]:
    """Sequences of ten kinds: a slow pattern of each kind under noise, int8 (count, steps, features)."""
    patterns = np.random.default_rng(0).normal(size=(CLASSES, STEPS, FEATURES)).cumsum(1)
    patterns = 30 * patterns / patterns.std()
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = patterns[y] + rng.normal(scale=50, size=(count, STEPS, FEATURES))
    return np.clip(np.rint(x), -127, 127).astype(np.int8), y


def _lstm(name: str, title: str, quick: bool) -> Network:
    x, y = _sequences(320 if quick else 3200, 1)
    torch.manual_seed(0)
    network: Any = nn.Sequential(
        nn.Input((FEATURES,), Levels(-127, 127), unit=SEQUENCE_UNIT),
        nn.LSTM(FEATURES, UNITS, levels=16, cell_bits=16),
        nn.Linear(UNITS, CLASSES),
    )
    zahlen.fit(network, x, y, epochs=1, batch_size=32, clip=1.0, validation=0.0, progress=False)
    layer, readout = network[1], network[2]
    constants = {part: value.detach().numpy() for part, value in layer.constants(0).items()}
    bias = (constants["bias_ih"] + constants["bias_hh"]).astype(np.float64) / layer.cell.unit
    recurrent = Recurrent(
        constants["weight_ih"].astype(np.int8),
        1 / float(layer.recurrence.input_scale(0)),
        constants["weight_hh"].astype(np.int8),
        1 / layer.scale,
        bias,
    )
    weight, shift = readout.integers()
    last = Affine(
        weight.detach().numpy().astype(np.int8), 1 / readout.scale, shift.detach().numpy() / float(readout.unit), False
    )
    reach = float(np.abs(last.real).sum(1).max() / 2)
    last = Affine(last.weight, last.scale, last.bias, False, reach)
    return Network(name, title, network.machine(), _sequences(64, 2)[0], 0, SEQUENCE_UNIT, (last,), recurrent)


NETWORKS: dict[str, Callable[[bool], Network]] = {
    "mlp": lambda quick: _images("mlp", "MLP 784-256-256-10, 16 levels", "mlp", quick, hidden=(256, 256), levels=16),
    "cnn": lambda quick: _images(
        "cnn", "CNN 28x28, 16 and 32 channels 3x3, 128 dense, 16 levels", "cnn", quick, hidden=(128,), levels=16
    ),
    "lstm": lambda quick: _lstm("lstm", "LSTM 64 -> 128, 16 levels, 16-bit cell, readout 10", quick),
    "binary": lambda quick: _images(
        "binary", "MLP 784-256-256-10, 2 levels, 2 weights", "mlp", quick, hidden=(256, 256), levels=2, weights=2
    ),
    "bits": lambda quick: _images(
        "bits",
        "MLP 784-256-256-10, 2 levels, 2 weights, inputs of 2 shades",
        "mlp",
        quick,
        shades=2,
        hidden=(256, 256),
        levels=2,
        weights=2,
    ),
}
"""How to train each network, by its name; shortly if told."""


def trained(names: Sequence[str], quick: bool) -> list[Network]:
    """These networks, on one thread, so that they are the same at every number of threads."""
    torch.set_num_threads(1)
    return [NETWORKS[name](quick) for name in names]
