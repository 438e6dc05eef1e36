"""Putting layers together: `Sequential` and the residual `Add`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import numpy as np

from ..flow import Spec
from ..machine import Builder, InputError, IntArray, LayerError, Levels, Machine, Wire
from .activations import Activation
from .affine import Affine
from .arithmetic import clamped
from .chance import Chance
from .layer import Layer, Parameter
from .norm import BatchNorm
from .optimisers import fraction
from .recurrent import Recurrent, State
from .shape import Input, channels_first


class Sequential(Layer):
    """Layers one behind the other. One that begins with `Input` is a whole network.

    Parameters
    ----------
    *layers : Layer
    seed : int
        Of the initial weights.
    bits : int, optional
        A gradient of 1.0 is 2^bits; gradients are clamped to 16 bits. By default 14, of recurrent networks 10, whose
        gradients are sums over time.
    gain : Fraction, int or decimal str
        Initial weights of dense and convolutional layers are uniform in +-gain / sqrt(fan_in). Of six layers and more
        signals and gradients fade with PyTorch's 1; with 2.4, near the square root of 6, they keep their size
        (He et al., arXiv 1502.01852).

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((64,), Levels(0, 16), offset=5, unit=6),
    ...     integer.Linear(64, 32), integer.TanhD(16),
    ...     integer.Linear(32, 10),
    ... )
    >>> x = np.random.default_rng(0).integers(0, 17, (100, 64))
    >>> bool((model(x) == model.machine().run(x)).all())
    True
    """

    def __init__(self, *layers: Layer, seed: int = 0, bits: int | None = None, gain: Fraction | int | str = 1) -> None:
        for k, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise LayerError(f"Sequential: {k} is a {type(layer).__name__}, which is no layer of zahlen.integer")
        if not layers:
            raise LayerError("Sequential: at least one layer is due")
        self.children, self.seed = layers, seed
        self._names: list[str] = []  # of the wires that hold the layers' outputs, once a machine was made
        self._seen: dict[str, IntArray] | None = None  # where outputs are put while they are traced
        self.stateful = [layer for layer in self.layers() if isinstance(layer, Recurrent)]
        self.bits = (10 if self.stateful else 14) if bits is None else bits
        if not 1 <= self.bits <= 14:
            raise LayerError(f"Sequential: bits of gradients are 1 to 14, got {bits}")
        if isinstance(layers[0], Input):
            self._output = self._chain(layers[0].begin(), layers[1:])
            self._steps.insert(0, layers[0])
            self._name_recurrent()
            for layer in self.layers():
                if isinstance(layer, Affine):
                    layer.gain = fraction(gain, "gain")
            self.start(Chance(seed))
            ends_gradients(layers)

    def _name_recurrent(self) -> None:
        """lstm_1, lstm_2, gru_1, .. in the order of the network, as `zahlen.nn` names them."""
        counts: dict[str, int] = {}
        for layer in self.stateful:
            first = counts.get(layer.kind, 0)
            counts[layer.kind] = first + layer.num_layers
            layer.names = tuple(f"{layer.kind}_{first + k + 1}" for k in range(layer.num_layers))

    def describe(self) -> str:
        return ", ".join(map(repr, self.children))

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        self._output = self._chain(spec, self.children)
        return self._output

    def _chain(self, spec: Spec, layers: tuple[Layer, ...]) -> Spec:
        self._steps: list[Layer] = []
        for layer, behind in zip(layers, [*layers[1:], None]):
            if isinstance(layer, BatchNorm):
                if not isinstance(behind, Activation):
                    raise layer.fail("folds into the staircase behind it; put an activation right after it")
                behind.norm = layer
            spec = layer.bind(spec)
            last = self._steps[-1] if self._steps else None
            if last is not None and last.tail is not None and layer.local:
                last.tail.append(layer)
            else:
                self._steps.append(layer)
        return spec

    def start(self, chance: Chance) -> None:
        for layer in self.children:
            layer.start(chance)

    def layers(self) -> Iterator[Layer]:
        yield self
        for layer in self.children:
            yield from layer.layers()

    def parameters(self) -> Iterator[Parameter]:
        for layer in self.children:
            yield from layer.parameters()

    def announce(self, bits: int, most: int) -> None:
        for layer in self.children:
            layer.announce(bits, most)

    def train(self, seed: int = 0) -> None:
        """Layers that behave otherwise in training do so, with random numbers of this seed, until `eval`."""
        for k, layer in enumerate(self.layers()):
            layer.draw = (seed + k * 0x9E3779B9) % 2**32

    def eval(self) -> None:
        """Layers are as in the machine: so they are at first."""
        for layer in self.layers():
            layer.draw = None

    @property
    def output(self) -> Spec:
        """What comes out: shape, alphabet, unit."""
        return self._output

    @property
    def unit(self) -> Fraction:
        """How many integer steps of the output are worth 1.0."""
        return self._output.unit

    @property
    def input(self) -> Input:
        """The first layer of a whole network."""
        if not isinstance(self.children[0], Input):
            raise LayerError("Sequential: only a network that begins with integer.Input is whole; put one in front")
        return self.children[0]

    @property
    def recurrent(self) -> bool:
        """Whether the network has a state, so that arrays are (batch, time, *shape)."""
        return bool(self.stateful)

    def __call__(self, x: Any) -> IntArray:
        """Integers (batch, *shape), checked, to the network's output; (batch, time, ..) if recurrent."""
        return self.unroll(x)[0] if self.recurrent else channels_first(self.forward(self.input.checked(x)))

    def unroll(self, x: Any, state: Mapping[str, Any] | None = None) -> tuple[IntArray, State]:
        """Run over sequences, from a state to a state.

        Parameters
        ----------
        x : integer array (batch, time, *shape)
        state : mapping of str to integer array (batch, units), optional
            As an earlier call, or the machine's `step`, left it; by default the machine's initial state.

        Returns
        -------
        output : int32 array (batch, time, *shape)
        state : dict of str to int64 array (batch, units)
            The registers after the last step, by their names in the machine.

        Raises
        ------
        InputError
            If there is no step, or the state is none of this network.
        """
        if not self.recurrent:
            raise LayerError("Sequential: a network without a recurrent layer has no state; call it")
        x = np.asarray(x)
        if x.ndim < 2 or not x.shape[0] or not x.shape[1]:
            raise InputError(f"sequences (batch, time, ..) of at least one step are due, got {x.shape}")
        batch, time = x.shape[:2]
        rows = self.input.checked(np.ascontiguousarray(x.swapaxes(0, 1)).reshape(time * batch, *x.shape[2:]))
        z, leaving = self.run(rows, batch, None if state is None else self._checked_state(state, batch))
        y = channels_first(z)
        # a copy, since recurrent layers use their arrays again
        return np.array(y.reshape(time, batch, *y.shape[1:]).swapaxes(0, 1)), leaving

    def run(self, rows: IntArray, batch: int, state: State | None = None) -> tuple[IntArray, State]:
        """`forward` over sequences, rows (time * batch, *shape) with time first; and the state that they leave."""
        for layer in self.stateful:
            layer.batch, layer.entering = batch, state
        z = self.forward(rows)
        return z, {name: value for layer in self.stateful for name, value in layer.leaving.items()}

    def _checked_state(self, state: Mapping[str, Any], batch: int) -> State:
        wanted = {n: (levels, layer) for layer in self.stateful for n, levels in layer.registers().items()}
        if not isinstance(state, Mapping) or set(state) != set(wanted):
            got = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise InputError(f"state: a mapping with {', '.join(wanted)} is due, got {got}; is it of another network?")
        result = {name: np.asarray(value) for name, value in state.items()}
        for name, (levels, layer) in wanted.items():
            value = result[name]
            if value.dtype.kind not in "iu" or value.shape != (batch, layer.hidden_size):
                raise InputError(
                    f"state: {name} is integers {(batch, layer.hidden_size)}, got {value.dtype} {value.shape}"
                )
            if not levels.contains_all(value):
                raise InputError(f"state: {name} holds {value.min()}..{value.max()}, the register {levels}")
        return result

    def forward(self, x: IntArray) -> IntArray:
        if self._seen is None:
            return run_forward(self._steps, x)
        for name, layer in zip(self._names, self.children):
            x = layer.forward(x)
            if name:
                self._seen[name] = x
        return x

    def backward(self, d: IntArray) -> IntArray:
        return run_backward(self._steps, d)

    def steps(self) -> Iterator[Layer]:
        """Layers in the order that they run in, those of networks inside one by one; some run as part of another."""
        for layer in self._steps:
            if isinstance(layer, Sequential):
                yield from layer.steps()
            else:
                yield layer

    def emit(self, builder: Builder, x: Wire) -> Wire:
        self._names = []
        for layer in self.children:
            x = layer.emit(builder, x)
            self._names.append("" if isinstance(layer, BatchNorm) else x.name)  # which is part of the next
        return x

    def trace(self, x: Any) -> dict[str, IntArray]:
        """Each layer's output in eval mode by the name of its wire in `machine()`, as `zahlen.nn.Sequential.trace`."""
        if not self._names:
            self.machine()
        self.eval()
        seen: dict[str, IntArray] = {}
        with ExitStack() as stack:
            for layer in self.layers():
                if isinstance(layer, Sequential):
                    layer._seen = seen
                    stack.callback(setattr, layer, "_seen", None)
                if layer.tail:
                    stack.callback(setattr, layer, "tail", layer.tail)
                    layer.tail = []  # each layer for itself
            self(x)
        seen = {name: channels_first(y) for name, y in seen.items()}
        if not self.recurrent:
            return seen
        for layer in self.stateful:
            seen |= layer.seen()
        batch, time = np.shape(x)[:2]
        return {name: y.reshape(time, batch, *y.shape[1:]).swapaxes(0, 1) for name, y in seen.items()}

    def machine(self, *, classify: bool = False, notes: Mapping[str, Any] | None = None) -> Machine:
        """The network as a `Machine`; with `classify` its output is the class, the lowest among equals."""
        builder = Builder()
        x = self.emit(builder, builder.input("x", self.input.shape, self.input.alphabet))
        return builder.build(builder.argmax(x, name="label") if classify else x, notes=notes or {})


def run_forward(steps: Iterable[Layer], x: IntArray) -> IntArray:
    """Through all of them."""
    for layer in steps:
        x = layer.forward(x)
    return x


def run_backward(steps: Sequence[Layer], d: IntArray) -> IntArray:
    """Back through all of them, or to the last that anybody asks for."""
    for layer in reversed(steps):
        if isinstance(layer, Input):
            break
        d = layer.backward(d)
        if layer.first:
            break
    return d


def ends_gradients(layers: Iterable[Layer]) -> None:
    """Nobody asks for the gradient before the first layer with weights, so that it need not be computed."""
    first = next((layer for layer in layers if next(layer.parameters(), None) is not None), None)
    if isinstance(first, (Affine, Recurrent)):  # any other may be a network itself
        first.first = True


class Add(Layer):
    """A residual connection: what comes in, added to what a body makes of it; see `zahlen.nn.Add`.

    The one with the smaller unit is multiplied up, which must be by an integer.
    """

    def __init__(self, body: Layer) -> None:
        self.body = body

    def describe(self) -> str:
        return repr(self.body)

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        out = self.body.bind(spec)
        unit = max(out.unit, spec.unit)
        ratios = (unit / out.unit, unit / spec.unit)
        if out.shape != spec.shape or any(ratio.denominator != 1 for ratio in ratios):
            raise self.fail(
                f"adds shapes {out.shape} and {spec.shape} on units {out.unit} and {spec.unit}: equal shapes are due, "
                "and one unit a multiple of the other; end the body with the same activation"
            )
        self.factors = tuple(int(ratio) for ratio in ratios)
        ends = [
            sum(end * factor for end, factor in zip(pair, self.factors))
            for pair in ((out.alphabet.lo, spec.alphabet.lo), (out.alphabet.hi, spec.alphabet.hi))
        ]
        return Spec(spec.shape, Levels(*ends), unit)

    def start(self, chance: Chance) -> None:
        self.body.start(chance)

    def layers(self) -> Iterator[Layer]:
        yield self
        yield from self.body.layers()

    def parameters(self) -> Iterator[Parameter]:
        yield from self.body.parameters()

    def announce(self, bits: int, most: int) -> None:
        self.body.announce(bits, most)

    def forward(self, x: IntArray) -> IntArray:
        wide = self.body.forward(x).astype(np.int32) * self.factors[0] + x.astype(np.int32) * self.factors[1]
        return wide

    def backward(self, d: IntArray) -> IntArray:
        both, clamps = clamped(self.body.backward(d).astype(np.int32) + d)
        self.clamps += clamps
        return np.asarray(both, dtype=np.int16)

    def emit(self, builder: Builder, x: Wire) -> Wire:
        wires = [self.body.emit(builder, x), x]
        scaled = [
            builder.mul(wire, builder.constant(np.full(wire.shape, factor))) if factor > 1 else wire
            for wire, factor in zip(wires, self.factors)
        ]
        return builder.add(*scaled)
