"""Putting layers together: `Sequential` and the residual `Add`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..machine import Builder, InputError, LayerError, Levels, Machine, Wire
from .activations import Activation
from .recurrent import FloatStateful, State, Stateful, checked_state
from .shape import Input, Standardise
from .spec import Interval, Layer, Monotone, Spec, carried, carrier


class Identity(Monotone):
    """What comes in goes out: the shortcut of a residual `Add`."""

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        return spec

    def forward(self, x: Tensor) -> Tensor:
        """The same tensor."""
        return x

    def emit(self, builder: Builder, x: Wire) -> Wire:
        return x

    def twin(self) -> torch.nn.Module:
        return torch.nn.Identity()


class Sequential(torch.nn.Sequential, Layer):
    """Layers one behind the other. One that begins with `Input` is a whole network.

    A whole network maps integer tensors (batch, *shape) to tensors that hold integers; divide by `unit` for the
    values that its float twin would give (logits for a cross-entropy, say). With a recurrent layer in it tensors are
    (batch, time, *shape), and `unroll` takes and returns the state.

    Raises
    ------
    LayerError
        If layers do not fit, by the first that does not.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(
    ...     nn.Input((64,), Levels(0, 16), offset=5, unit=6),
    ...     nn.Linear(64, 32), nn.TanhD(16),
    ...     nn.Linear(32, 10),
    ... )
    >>> x = torch.randint(0, 17, (100, 64))
    >>> bool((model(x).detach().numpy() == model.machine().run(x.numpy())).all())
    True
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__(*layers)
        self._bound: Any = None
        self._named = False  # whether the layers know the names of their wires
        self._given: list[tuple[Layer, Spec]] = []
        self._recurrent: list[Stateful] = []
        self.layers()
        self._follow_changes()

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        self._output = self._chain(spec, self.layers())
        return self._output

    def layers(self) -> list[Layer]:
        for name, layer in self.named_children():
            if not isinstance(layer, Layer):
                raise LayerError(f"Sequential: {name} is a {type(layer).__name__}, which is no layer of zahlen.nn")
        return [layer for layer in self if isinstance(layer, Layer)]

    def _chain(self, spec: Spec, layers: list[Layer]) -> Spec:
        self._given = []
        for layer in layers:
            # a nested Sequential looks at its own first layer
            if spec.norm is not None and not isinstance(layer, (Activation, Sequential)):
                raise spec.norm.alone()
            self._given.append((layer, spec))
            spec = layer.bind(spec)
        return spec

    def _follow_changes(self) -> None:
        """Bind a whole network anew if layers came, went, or were bound by another network since."""
        first = next(iter(self), None)
        if not isinstance(first, Input) or self._bound == self._binding():
            return
        self._bound, self._named = None, False
        self._output = self._chain(first.start(), self.layers()[1:])
        if self._output.norm is not None:
            raise self._output.norm.alone()
        for container in self.modules():
            for layer, spec in getattr(container, "_given", ()):
                if layer.spec != spec:
                    raise layer.fail(
                        "stands at two places of one network that give it different inputs; make a second layer"
                    )
        self._number_recurrent()
        self._bound = self._binding()

    def _number_recurrent(self) -> None:
        """Name the recurrent layers' registers: lstm_1, lstm_2, gru_1, .. in the order of the network."""
        stateful = [layer for layer in self.modules() if isinstance(layer, Stateful)]
        self._recurrent = [layer for layer in stateful if layer.recurrent]
        counts: dict[str, int] = {}
        for layer in stateful:
            first = counts.get(layer.kind, 0)
            counts[layer.kind] = first + layer.num_layers
            layer.names = tuple(f"{layer.kind}_{first + k + 1}" for k in range(layer.num_layers))
        walked = [layer for container in self.modules() for layer, _ in getattr(container, "_given", ())]
        for layer in self._recurrent:
            if sum(other is layer for other in walked) > 1:
                raise layer.fail(
                    "stands at two places of one network, which would share one state; make a second layer"
                )

    def _binding(self) -> list[Any]:
        return [(module, getattr(module, "spec", None)) for module in self.modules()]

    @property
    def recurrent(self) -> bool:
        """Whether the network has a state, so that tensors are (batch, time, *shape)."""
        self._follow_changes()
        return bool(self._recurrent)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, *shape) of integers to (batch, *shape) of integers in floats; (batch, time, ..) if recurrent."""
        if self.recurrent:
            return self.unroll(input)[0]
        result: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return result

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        self._follow_changes()
        return through(self.layers(), lo, hi)

    def unroll(self, input: Tensor, state: Mapping[str, Tensor] | None = None) -> tuple[Tensor, State]:
        """Run over sequences, from a state to a state.

        Parameters
        ----------
        input : integer tensor (batch, time, *shape)
        state : mapping of str to tensor (batch, units), optional
            As an earlier call, or the machine's `step`, left it; by default the machine's initial state.

        Returns
        -------
        output : tensor (batch, time, *shape) of integers in floats
        state : dict of str to tensor (batch, units)
            The registers after the last step, by their names in the machine; detach them to cut the gradient.

        Raises
        ------
        InputError
            If there is no step, or the state is none of this network.
        """
        if not self.recurrent:
            raise LayerError("Sequential: a network without a recurrent layer has no state; call it")
        if state is not None:
            batch = input.shape[0] if isinstance(input, Tensor) and input.ndim else 0
            wanted = {name: levels for layer in self._recurrent for name, levels in layer.registers().items()}
            units = {name: width for layer in self._recurrent for name, width in layer.widths().items()}
            state = checked_state(state, wanted, batch, units)
        return over_time(super().forward, self._recurrent, input, state)

    @property
    def output(self) -> Spec:
        """What comes out: shape, alphabet, unit."""
        self._follow_changes()
        if not hasattr(self, "_output"):
            self.receives()
        return self._output

    @property
    def unit(self) -> Fraction:
        """How many integer steps of the output make 1.0 in the float twin."""
        return self.output.unit

    def _input(self) -> Input:
        first = next(iter(self), None)
        if not isinstance(first, Input):
            raise LayerError("Sequential: only a network that begins with nn.Input is a machine; put one in front")
        return first

    def emit(self, builder: Builder, x: Wire) -> Wire:
        for layer in self.layers():
            x = layer.place(builder, x)
        return x

    def machine(self, *, classify: bool = False, notes: Mapping[str, Any] | None = None) -> Machine:
        """The network as it would run in eval mode, as a `Machine`.

        Parameters
        ----------
        classify : bool
            Let the output be the class (the lowest among equals) in place of the last layer's values.
        notes : mapping of str
            JSON values kept in the machine's file.
        """
        builder = Builder()
        first = self._input()
        self._follow_changes()
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.wire_names = ()
        x = self.emit(builder, builder.input("x", first.shape, first.alphabet))
        if classify:
            x = builder.argmax(x, name="label")
        self._named = True
        return builder.build(x, notes=notes or {})

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """Each layer's output in eval mode by the name of its wire in `machine()`; integers in float tensors.

        Only where the module computes the wire: constants, and steps inside a layer, are left out.
        """
        self._follow_changes()
        if not self._named:
            self.machine()
        seen: dict[str, Tensor] = {}
        with ExitStack() as stack:
            stack.enter_context(evaluating(self))
            for layer in self.modules():
                if isinstance(layer, Stateful):
                    layer.seen = seen
                    stack.callback(setattr, layer, "seen", None)
                if isinstance(layer, Layer) and layer.wire_names:
                    names = iter(layer.wire_names)  # a layer at several places is called in the order of its wires
                    hook = layer.register_forward_hook(lambda _, __, y, names=names: seen.__setitem__(next(names), y))
                    stack.callback(hook.remove)
            self(x)
        if not self.recurrent:
            return seen
        batch, time = x.shape[:2]
        return {name: y.reshape(time, batch, *y.shape[1:]).transpose(0, 1) for name, y in seen.items()}

    def twin(self) -> torch.nn.Sequential:
        """The float network of the same shape, starting from the same latent weights.

        Twins of recurrent networks have the same `unroll`; the cell of an LSTM is clipped where the discrete one is.
        """
        self.output  # noqa: B018  (bound, or an error that says how)
        layers = self.layers()
        made: dict[Layer, Any] = {layer: layer.twin() for layer in layers}  # a layer at two places stays one layer
        for before, after in pairwise(layers):
            if isinstance(before, Input) and isinstance(after, Standardise):
                made[before].whole = True
        return Twin(*(made[layer] for layer in layers))


def through(layers: Iterable[Layer], lo: Tensor, hi: Tensor) -> Interval:
    """Intervals through layers one behind the other."""
    for layer in layers:
        lo, hi = layer.bounds(lo, hi)
    return lo, hi


class Twin(torch.nn.Sequential):
    """A float network with the calls of a `Sequential`: (batch, time, *shape) if it is recurrent."""

    @property
    def recurrent(self) -> bool:
        """Whether there is a recurrent layer."""
        return any(isinstance(layer, FloatStateful) for layer in self.modules())

    def forward(self, input: Tensor) -> Tensor:
        """(batch, *shape) or (batch, time, *shape) to the same with other shapes."""
        if self.recurrent:
            return self.unroll(input)[0]
        result: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return result

    def unroll(self, input: Tensor, state: Mapping[str, Tensor] | None = None) -> tuple[Tensor, State]:
        """Run over sequences, from a state to a state."""
        layers = [layer for layer in self.modules() if isinstance(layer, FloatStateful)]
        return over_time(super().forward, layers, input, state)


def over_time(
    chain: Any, recurrent: Sequence[Any], x: Tensor, state: Mapping[str, Tensor] | None
) -> tuple[Tensor, State]:
    """Call a chain of layers on (batch, time, ..) as one batch of time * batch rows, time first."""
    if not isinstance(x, Tensor) or x.ndim < 2 or not x.shape[1]:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"sequences (batch, time, ..) of at least one step are due, got {got}")
    batch, time = x.shape[:2]
    for layer in recurrent:
        layer.batch, layer.entering = batch, state
    y = chain(x.transpose(0, 1).reshape(time * batch, *x.shape[2:])) if batch else chain(x.reshape(0, *x.shape[2:]))
    leaving = {name: value for layer in recurrent for name, value in layer.leaving.items()}
    for layer in recurrent:
        layer.entering, layer.leaving = None, {}
    return y.reshape(time, batch, *y.shape[1:]).transpose(0, 1), leaving


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


class Add(Layer):
    """The sum of branches that all read the same input: ``Add(body)`` is a residual connection.

    Branches on different units are put on the largest one if that is an integer multiple; otherwise they are refused.

    Parameters
    ----------
    *branches : Layer
        One branch gets the input itself as the second.
    """

    def __init__(self, *branches: Layer) -> None:
        super().__init__()
        self._given: list[tuple[Layer, Spec]] = []
        if not branches:
            raise LayerError("Add: at least one branch is due")
        self.branches = torch.nn.ModuleList(branches if len(branches) > 1 else (*branches, Identity()))
        self.layers()

    def layers(self) -> list[Layer]:
        for branch in self.branches:
            if not isinstance(branch, Layer):
                raise LayerError(f"Add: a branch is a {type(branch).__name__}, which is no layer of zahlen.nn")
        return [branch for branch in self.branches if isinstance(branch, Layer)]

    def extra_repr(self) -> str:
        return f"{len(self.branches)} branches"

    def bind(self, spec: Spec) -> Spec:
        self.spec = spec
        self._given = [(branch, spec) for branch in self.layers()]
        specs = [branch.bind(spec) for branch in self.layers()]
        for norm in (s.norm for s in specs):
            if norm is not None:
                raise norm.alone()
        if len({s.shape for s in specs}) != 1:
            raise self.fail(f"branches end in shapes {' and '.join(str(s.shape) for s in specs)}")
        unit = max(s.unit for s in specs)
        ratios = [unit / s.unit for s in specs]
        if any(ratio.denominator != 1 for ratio in ratios):
            raise self.fail(
                f"branches have units {' and '.join(str(s.unit) for s in specs)}, of which one is no multiple of the "
                "other; end them with the same activation, or choose the last layer's scale"
            )
        self.factors = [int(ratio) for ratio in ratios]
        lo = sum(s.alphabet.lo * f for s, f in zip(specs, self.factors))
        hi = sum(s.alphabet.hi * f for s, f in zip(specs, self.factors))
        # prefixes of the sum stay below the sum of bounds
        self.bound = sum(s.bound * f for s, f in zip(specs, self.factors))
        carrier(self.bound, self)
        return Spec(specs[0].shape, Levels(lo, hi), unit, specs[0].channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *shape) to (batch, *shape): the branches' integers, each times its factor, added."""
        self.receives()
        return self._sum(branch(x) for branch in self.layers())

    def _sum(self, parts: Iterable[Tensor]) -> Tensor:
        held = (carried(part, self.bound, self) for part in parts)
        return reduce(torch.add, (p * f if f > 1 else p for p, f in zip(held, self.factors)))

    def bounds(self, lo: Tensor, hi: Tensor) -> Interval:
        self.receives()
        ends = zip(*(branch.bounds(lo, hi) for branch in self.layers()))
        least, greatest = (self._sum(parts) for parts in ends)
        return least, greatest

    def emit(self, builder: Builder, x: Wire) -> Wire:
        wires = []
        for branch, factor in zip(self.layers(), self.factors):
            wire = branch.place(builder, x)
            if factor & (factor - 1) == 0:
                wire = builder.shift(wire, -(factor.bit_length() - 1)) if factor > 1 else wire
            else:
                wire = builder.mul(wire, builder.constant(np.full(wire.shape, factor)))
            wires.append(wire)
        return reduce(builder.add, wires)

    def twin(self) -> torch.nn.Module:
        return _FloatAdd(*(branch.twin() for branch in self.layers()))


class _FloatAdd(torch.nn.Module):
    def __init__(self, *branches: torch.nn.Module) -> None:
        super().__init__()
        self.branches = torch.nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = [branch(x) for branch in self.branches]
        return reduce(torch.add, parts)
