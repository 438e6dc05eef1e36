"""Recurrent layers: `LSTM`, `GRU` and `RNN` whose hidden state, gates and cell are whole numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..cells import MOST_LEVELS, PARTS, Recurrence, recurrent_scale
from ..flow import whole
from ..grids import weight_grid
from ..machine import Builder, InputError, LayerError, Levels, Wire
from .cells import Cell, GRUCell, LSTMCell, RNNCell
from .exact import exact_products
from .scan import scan
from .spec import Layer, Spec, carrier
from .stairs import reached
from .weights import integers, on_grid, warn_if_dead

State = dict[str, Tensor]
"""Every register of a network by its name in the machine, (batch, units) of integers."""

WIDE = 7.5
"""A twin's cell is not clipped where the discrete one reaches further than this: PyTorch's own layer has no clip."""


class Stateful(Layer):
    """A layer that keeps a state from step to step; the network around it names it and hands the state through."""

    kind: ClassVar[str]  # which names begin with: rnn_1, rnn_2, ..
    num_layers = 1
    recurrent = True  # whether the state lives on from step to step; otherwise every sample starts anew

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()  # of the layers' wires; their container gives them
        self.batch: int | None = None  # of what comes in, time-major; the container says so before each call
        self.entering: Mapping[str, Tensor] | None = None
        self.leaving: State = {}
        self.seen: dict[str, Tensor] | None = None  # wires by name, while a trace is taken

    def registers(self) -> dict[str, Levels]:
        """Names of the registers, in the machine's order, and what they hold."""
        raise TypeError(f"{type(self).__name__} needs registers")

    def widths(self) -> dict[str, int]:
        """How many elements each of the registers has."""
        raise TypeError(f"{type(self).__name__} needs widths")


class FloatStateful(torch.nn.Module):
    """The float twin of a `Stateful` layer."""

    def __init__(self) -> None:
        super().__init__()
        self.batch = 0  # the container says so before each call
        self.entering: Mapping[str, Tensor] | None = None
        self.leaving: State = {}


class Recurrent(Stateful):
    """What the three kinds share. Use them inside an `nn.Sequential`, which knows the batch from the time."""

    cell_type: ClassVar[type[Cell]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.kind = cls.cell_type.kind

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        levels: int = 16,
        gate_levels: int | None = None,
        cell_bits: int = 8,
        symbols: bool = False,
        weights: int | Levels = 255,
        scale: int | None = None,
        products: Literal["native", "tables"] = "native",
    ) -> None:
        super().__init__()
        for value, what in ((input_size, "input_size"), (hidden_size, "hidden_size"), (num_layers, "num_layers")):
            whole(value, what, of=self)
        self.input_size, self.hidden_size, self.num_layers = int(input_size), int(hidden_size), int(num_layers)
        self.levels = whole(levels, "levels", 2, of=self)
        self.gate_levels = self.levels if gate_levels is None else whole(gate_levels, "gate_levels", 2, of=self)
        self.cell_bits = whole(cell_bits, "cell_bits", 3, of=self)
        if self.cell_bits > 16 or max(self.levels, self.gate_levels) > MOST_LEVELS:
            raise LayerError(
                f"{type(self).__name__}: cell_bits is at most 16, levels and gate_levels at most {MOST_LEVELS}; "
                f"got {cell_bits}, {levels} and {self.gate_levels}"
            )
        if products not in ("native", "tables"):
            raise LayerError(f"{type(self).__name__}: products is 'native' or 'tables', got {products!r}")
        self.products, self.symbols = products, bool(symbols)
        self.grid = weight_grid(weights)
        usual = recurrent_scale(self.grid, self.hidden_size)
        self.scale = usual if scale is None else whole(scale, "scale", of=self)
        bound = 1 / math.sqrt(hidden_size)
        for k in range(num_layers):
            for part, shape in zip(PARTS, self._shapes(k)):
                weight = torch.nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
                if self.symbols and k == 0 and part == "weight_ih":
                    # rows of symbols start as those of an embedding do, which lets a text be learnt in fewer steps
                    weight = torch.nn.Parameter(torch.randn(shape))
                self.register_parameter(f"{part}_l{k}", weight)
            warn_if_dead(on_grid(self._parameter("weight_hh", k), self.scale, self.grid), type(self).__name__, 2)

    def _shapes(self, k: int) -> tuple[tuple[int, ...], ...]:
        width, before = self.cell_type.gates * self.hidden_size, self.hidden_size if k else self.input_size
        return (width, before), (width, self.hidden_size), (width,), (width,)

    def _parameter(self, part: str, k: int) -> Tensor:
        value: Tensor = getattr(self, f"{part}_l{k}")
        return value

    def extra_repr(self) -> str:
        more = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        more += ", symbols=True" if self.symbols else ""
        cell = "" if self.cell_type is RNNCell else f", gate_levels={self.gate_levels}, cell_bits={self.cell_bits}"
        size = f"{self.input_size}, {self.hidden_size}{more}, levels={self.levels}{cell}"
        return f"{size}, weights={self.grid}, scale={self.scale}, products={self.products!r}"

    # ------------------------------------------------------------------------------------------------ units

    def bind(self, spec: Spec) -> Spec:
        if self.symbols:
            if spec.size != 1 or spec.alphabet.lo < 0 or spec.alphabet.hi >= self.input_size:
                raise self.fail(
                    f"receives {spec.shape} of {spec.alphabet}, not one symbol of 0..{self.input_size - 1} a step"
                )
        elif spec.shape != (self.input_size,):
            raise self.fail(f"receives shape {spec.shape} a step, not ({self.input_size},)")
        self.spec = spec
        unit = None if self.symbols else spec.unit
        self.recurrence = Recurrence.fitting(self._cell, self.grid, self.scale, self.hidden_size, spec.size, unit)
        if not self.recurrence.room:
            raise self.fail(
                f"pre-activations up to {self.recurrence.bound} leave 24 bits; take a smaller scale, fewer levels, "
                "weights or units"
            )
        return Spec((self.hidden_size,), self.recurrence.hidden, Fraction(self.recurrence.hidden.hi))

    def _cell(self, unit: int) -> Cell:
        return self.cell_type(self.levels, self.gate_levels, self.cell_bits, unit)

    @property
    def cell(self) -> Cell:
        """The cell between the products."""
        return cast(Cell, self.recurrence.cell)

    def constants(self, k: int) -> dict[str, Tensor]:
        """A layer's integers as float32 tensors by the names in `PARTS`, gradients passing straight through.

        ``weight_ih`` of symbols is (gates * units, symbols), one column a symbol, in units of the pre-activation.
        """
        unit = float(self.cell.unit)
        scales = (float(self.recurrence.input_scale(k)), float(self.scale), unit, unit)
        rows = self.recurrence.row_grid
        grids = (self.grid, self.grid, rows, rows)
        if self.symbols and k == 0:
            scales, grids = (unit, *scales[1:]), (rows, *grids[1:])
        values = (on_grid(self._parameter(part, k), s, g) for part, s, g in zip(PARTS, scales, grids))
        return dict(zip(PARTS, values))

    # ------------------------------------------------------------------------------------------------ forward

    def forward(self, x: Tensor) -> Tensor:
        """(time * batch, input) of integers, or of one symbol each, to (time * batch, units) of levels."""
        self.receives()
        batch, self.batch = self.batch, None
        if batch is None:
            raise self.fail("works inside an nn.Sequential that begins with nn.Input and is called with sequences")
        self.leaving = {}
        for k in range(self.num_layers):
            x = self._layer(x, k, batch)
        return x

    def _layer(self, x: Tensor, k: int, batch: int) -> Tensor:
        constants = self.constants(k)
        bias = constants["bias_ih"]
        if not self.cell.separate:
            bias = bias + constants["bias_hh"]
        z = self._pre_activations(x, constants["weight_ih"], bias, k)
        z = z.view(_steps(z, batch), batch, z.shape[-1])
        h, c = self._entering(k, z)
        more = constants["bias_hh"] if self.cell.separate else None
        hs, cs = scan(self.cell, z, constants["weight_hh"], h, c, shift=self.recurrence.shift, bias=more)
        registers = {"h": hs, "c": cs}
        for key in self.cell.state:
            self.leaving[f"{self.names[k]}_{key}"] = registers[key][-1]
        if self.seen is not None:
            for key in self.cell.state:
                self.seen[f"{self.names[k]}_{key}"] = registers[key][:-1].flatten(0, 1)
                self.seen[f"{self.names[k]}_{key}_next"] = registers[key][1:].flatten(0, 1)
            self.seen[f"{self.names[k]}_h_next"] = hs[1:].flatten(0, 1)
        return hs[1:].reshape(-1, self.hidden_size)

    def _pre_activations(self, x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Tensor:
        if self.symbols and k == 0:
            # a row for each symbol with its bias added once
            return F.embedding(x.long().view(-1), weight.t() + bias)
        bound = self.receives().bound if k == 0 else self.cell_type.hidden(self.levels).hi
        shift = self.recurrence.shift_of(k)
        weight = weight * float(1 << shift) if shift else weight
        rows = float(weight.detach().abs().sum(1).amax()) * bound + float(bias.detach().abs().amax())
        dtype = carrier(int(rows), self)
        with exact_products(x.device):
            z = F.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))
        if rows > self.recurrence.input_limit:
            z = z.clamp(-self.recurrence.input_limit, self.recurrence.input_limit)
        return z.to(torch.float32)

    def _entering(self, k: int, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (like.shape[1], self.hidden_size)
        state = {}
        for key, start in self.cell.initial.items():
            name = f"{self.names[k]}_{key}"
            if self.entering is None:
                state[key] = like.new_full(shape, start, dtype=torch.float32)
            else:
                state[key] = self.entering[name].to(like.device, torch.float32)
        if "h" not in state:
            c = state["c"]
            state["h"] = reached(self.cell.output, c.detach())  # type: ignore[attr-defined]
            if c.requires_grad:  # the float cell has one state, so what the levels get goes to it, as inside `scan`
                steps = c * (self.cell_type.hidden(self.levels).hi / self.cell.limit)
                state["h"] = state["h"] + (steps - steps.detach())
        return state["h"], state.get("c", state["h"])

    def registers(self) -> dict[str, Levels]:
        held = self.recurrence.held()
        return {f"{name}_{key}": held[key] for name in self.names for key in self.cell.state}

    def widths(self) -> dict[str, int]:
        return dict.fromkeys(self.registers(), self.hidden_size)

    # ------------------------------------------------------------------------------------------------ machine

    def emit(self, builder: Builder, x: Wire) -> Wire:
        for k, name in enumerate(self.names):
            constants = {part: integers(value) for part, value in self.constants(k).items()}
            x = self.recurrence.emit(builder, x, k, name, constants, self.products)
        return x

    # ------------------------------------------------------------------------------------------------ twin

    def twin(self) -> torch.nn.Module:
        module = FloatRecurrent(self)
        with torch.no_grad():
            for name, value in module.cells.named_parameters():
                value.copy_(getattr(self, name))
        return module


class LSTM(Recurrent):
    """Long short-term memory in whole numbers; parameters are named and shaped as those of `torch.nn.LSTM`.

    Per step, with integer weights W on their grid, the hidden state h on symmetric levels of which U integer steps make
    1.0, and one step of z worth 1 / A with A = scale U::

        z = W_x x + W_h h + b                       i, f, o = sigmoidD(z) in 0..256,  g = tanhD(z) in -128..128
        c' = clamp((f c + (i g << F - 7) + 128) >> 8, -limit, limit)         the cell, on a grid of 2^-F
        h' = the level nearest to o tanhD(c')

    Parameters
    ----------
    input_size : int
        Features a step, or with `symbols` the number of symbols.
    hidden_size : int
    num_layers : int
        Layers one behind the other.
    levels : int
        L, of the hidden state, 2..257: the levels 2k - (L - 1), and U = L - 1. In an LSTM even L from 16 on have one
        less, to include zero (16 are -14, -12, .., 14).
    gate_levels : int, optional
        Of the gates, and of the candidate and the squashed cell, by the same rule; as many as `levels` by default.
    cell_bits : int
        Width of an element of the cell, 3..16. The cell's range is +-2 up to 7 bits, +-4 up to 12, else +-8.
    symbols : bool
        The input is one symbol 0..input_size-1 a step, and W_x a table with a row for each, which starts from N(0, 1)
        as an embedding's does.
    weights : int or Levels
        As in `Linear`.
    scale : int, optional
        Integer steps per 1.0 of a recurrent weight.
    products : {"native", "tables"}
        How the machine multiplies gates: ``tables`` looks up pairs of levels and has no multiplication between two
        wires. Both compute the same hidden states, cells and outputs.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(
    ...     nn.Input((), Levels(0, 25)), nn.LSTM(26, 8, levels=16, cell_bits=8, symbols=True), nn.Linear(8, 26)
    ... )
    >>> x = torch.randint(0, 26, (3, 50))  # three sequences of fifty steps
    >>> y, state = model.unroll(x)
    >>> tuple(y.shape), sorted(state)
    ((3, 50, 26), ['lstm_1_c', 'lstm_1_h'])
    >>> bool((y.detach().numpy() == model.machine().run(x.numpy())).all())
    True
    """

    cell_type = LSTMCell


class GRU(Recurrent):
    """Gated recurrent unit in whole numbers; parameters are named and shaped as those of `torch.nn.GRU`.

    The state c has `cell_bits` bits on -1..1; the matrices see its levels h. With the order r, u, n of gates, and x and
    y the input's and the state's shares of the pre-activations::

        r, u = sigmoidD(x + y) in 0..256        n = tanhD(x_n + ((r y_n + 128) >> 8)) on the grid of c
        c' = (u c + (256 - u) n + 128) >> 8     h' = the level nearest to c'

    Parameters are those of `LSTM`.
    """

    cell_type = GRUCell


class RNN(Recurrent):
    """Elman's network with tanhD: h' = tanhD(W_x x + W_h h + b). Parameters are those of `LSTM`, without a cell."""

    cell_type = RNNCell


def _steps(x: Tensor, batch: int) -> int:
    return len(x) // batch if batch else 1  # a batch of none is as good after one step as after many


class FloatRecurrent(FloatStateful):
    """The float twin of a recurrent layer: PyTorch's own, or for an LSTM whose cell is clipped, a loop."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        kind: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[layer.cell_type.kind]
        self.cells = kind(layer.input_size, layer.hidden_size, layer.num_layers)
        self.symbols, self.names = layer.symbols, layer.names
        self.unit = float(layer.receives().unit)
        self.clip = layer.cell.limit / layer.cell.state_unit if isinstance(layer.cell, LSTMCell) else math.inf

    def forward(self, x: Tensor) -> Tensor:
        """(time * batch, input) to (time * batch, units)."""
        if self.symbols:
            symbols = (x.view(-1) * self.unit).round().long()
            x = F.one_hot(symbols, self.cells.input_size).to(torch.get_default_dtype())
        x = x.view(_steps(x, self.batch), self.batch, self.cells.input_size)
        state = self._state(x)
        if self.clip < WIDE:
            y, last = self._clipped(x, state)
        else:
            y, last = self.cells(x, state)
        parts = last if isinstance(last, tuple) else (last,)
        self.leaving = {f"{name}_{key}": part[k] for key, part in zip("hc", parts) for k, name in enumerate(self.names)}
        return y.reshape(-1, self.cells.hidden_size)

    def _state(self, x: Tensor) -> Any:
        if self.entering is None:
            return None
        keys = "hc" if isinstance(self.cells, torch.nn.LSTM) else "h"
        wanted = {f"{name}_{key}": None for name in self.names for key in keys}
        state = self.entering
        if isinstance(state, Mapping):  # other layers take theirs from it
            state = {name: value for name, value in state.items() if name in wanted}
        state = checked_state(state, wanted, x.shape[1], dict.fromkeys(wanted, self.cells.hidden_size))
        parts = tuple(torch.stack([state[f"{name}_{key}"] for name in self.names]) for key in keys)
        return parts if len(parts) == 2 else parts[0]

    def _clipped(self, x: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        n, ends = self.cells.hidden_size, []
        for k in range(self.cells.num_layers):
            w_ih, w_hh, b_ih, b_hh = (getattr(self.cells, f"{part}_l{k}") for part in PARTS)
            z = F.linear(x, w_ih, b_ih + b_hh)
            h, c = (x.new_zeros(x.shape[1], n),) * 2 if state is None else (state[0][k], state[1][k])
            steps = []
            for z_t in z.unbind(0):
                i, f, g, o = torch.addmm(z_t, h, w_hh.t()).chunk(4, dim=-1)
                c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-self.clip, self.clip)
                h = o.sigmoid() * c.tanh()
                steps.append(h)
            x = torch.stack(steps)
            ends.append((h, c))
        return x, (torch.stack([h for h, _ in ends]), torch.stack([c for _, c in ends]))


def checked_state(state: Any, wanted: Mapping[str, Levels | None], batch: int, units: Mapping[str, int]) -> State:
    """A state that a network can go on from.

    Raises
    ------
    InputError
        If it is the state of another network, or holds what no register can.
    """
    if not isinstance(state, Mapping) or set(state) != set(wanted):
        got = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise InputError(f"state: a mapping with {', '.join(wanted)} is due, got {got}; is it of another network?")
    result = dict(state)
    for name, alphabet in wanted.items():
        value = state[name]
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu":  # as a machine leaves it
            value = result[name] = torch.from_numpy(np.ascontiguousarray(value))
        if not isinstance(value, Tensor) or value.shape != (batch, units[name]):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"state: {name} is a tensor of shape {(batch, units[name])}, got {shape}")
        if alphabet is not None and value.numel():
            steps = value.detach().to(torch.float64)
            low, high = float(steps.min()), float(steps.max())
            on_the_grid = bool(((steps - alphabet.lo) % alphabet.step == 0).all())
            if low < alphabet.lo or high > alphabet.hi or not on_the_grid:
                raise InputError(f"state: {name} holds {low:g}..{high:g}, the register {alphabet}")
    return result
