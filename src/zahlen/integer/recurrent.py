"""Recurrent layers that learn through time: `LSTM`, `GRU` and `RNN`, the same machines as those of `zahlen.nn`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from ..cells import MOST_LEVELS, PARTS, Cell, Recurrence, recurrent_scale
from ..flow import Spec, whole
from ..grids import weight_grid
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from . import arithmetic as do
from .cells import CELLS, STEPS, Share, Tape, reached
from .chance import Chance, root_bound
from .layer import Layer, Parameter, fraction_of

SPAN = 2**18
"""Gradients by pre-activations that are summed up in one go."""
_NOTHING = np.empty(0, np.int32)

State = dict[str, IntArray]
"""Every register of a network by its name in the machine, (batch, units) of integers."""


class Recurrent(Layer):
    """What the three kinds share. Use them inside an `integer.Sequential`, which knows the batch from the time."""

    kind: ClassVar[str]

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
        self.input_size = whole(input_size, "input_size", of=self)
        self.hidden_size = whole(hidden_size, "hidden_size", of=self)
        self.num_layers, self.levels = whole(num_layers, "num_layers", of=self), whole(levels, "levels", 2, of=self)
        self.gate_levels = self.levels if gate_levels is None else whole(gate_levels, "gate_levels", 2, of=self)
        self.cell_bits = whole(cell_bits, "cell_bits", 3, of=self)
        self.grid = weight_grid(weights)
        if self.cell_bits > 16 or max(self.levels, self.gate_levels) > MOST_LEVELS:
            raise LayerError(
                f"{type(self).__name__}: cell_bits is at most 16, levels and gate_levels at most {MOST_LEVELS}; "
                f"got {cell_bits}, {levels} and {self.gate_levels}"
            )
        if products not in ("native", "tables"):
            raise LayerError(f"{type(self).__name__}: products is 'native' or 'tables', got {products!r}")
        if max(abs(self.grid.lo), abs(self.grid.hi)) > do.SHORT or self.grid.step not in (1, 2):
            raise LayerError(f"{type(self).__name__}: weights of 16 bits in steps of 1 or 2 are due, got {self.grid}")
        self.products, self.symbols = products, bool(symbols)
        self.scale = recurrent_scale(self.grid, self.hidden_size) if scale is None else whole(scale, "scale", of=self)
        self.names: tuple[str, ...] = ()  # of the layers' wires; the network gives them
        self.batch = 0  # of what comes in, time first; the network says so before each call
        self.entering: Mapping[str, IntArray] | None = None
        self.leaving: State = {}

    def describe(self) -> str:
        more = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        more += ", symbols=True" if self.symbols else ""
        cell = "" if self.kind == "rnn" else f", gate_levels={self.gate_levels}, cell_bits={self.cell_bits}"
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
        units = Recurrence.fitting(self._cell, self.grid, self.scale, self.hidden_size, spec.size, unit)
        most = units.widest << units.shift
        if not units.room or most > do.SHORT:
            raise self.fail(
                f"pre-activations up to {units.bound} leave 24 bits, or weights up to {most} 16; "
                "take a smaller scale, fewer levels, weights or units"
            )
        self.recurrence, self.cell = units, units.cell
        hidden = units.hidden
        self.passes = [_Pass(self, k) for k in range(self.num_layers)]
        return Spec((self.hidden_size,), hidden, Fraction(hidden.hi))

    def _cell(self, unit: int) -> Cell:
        return CELLS[self.kind](self.levels, self.gate_levels, self.cell_bits, unit)

    def start(self, chance: Chance) -> None:
        """Uniform in +-1/sqrt(hidden_size) as PyTorch draws them; rows of symbols from N(0, 1), as an embedding's."""
        for one in self.passes:
            one.start(chance)

    def parameters(self) -> Iterator[Parameter]:
        for one in self.passes:
            yield from one.parameters.values()

    def announce(self, bits: int, most: int) -> None:
        self.bits = bits
        for one in self.passes:
            one.announce(bits, most)

    # ------------------------------------------------------------------------------------------------ through time

    def registers(self) -> dict[str, Levels]:
        """Names of the registers, in the machine's order, and what they hold."""
        held = self.recurrence.held()
        return {f"{name}_{key}": held[key] for name in self.names for key in self.cell.state}

    def seen(self) -> State:
        """The wires of the last call by name, (time * batch, units): registers, and what follows in them."""
        wires: State = {}
        for one, name in zip(self.passes, self.names):
            for key in {"h", *self.cell.state}:
                values = {"h": one.tape.h, "c": one.tape.c}[key]
                wires[f"{name}_{key}_next"] = values[1:].reshape(-1, self.hidden_size)
                if key in self.cell.state:
                    wires[f"{name}_{key}"] = values[:-1].reshape(-1, self.hidden_size)
        return wires

    def forward(self, x: IntArray) -> IntArray:
        """int16 (time * batch, input), or one symbol each, to int16 (time * batch, units) of levels."""
        if not self.batch or len(x) % self.batch:
            raise self.fail("works inside an integer.Sequential that begins with integer.Input, called with sequences")
        self.leaving = {}
        for one in self.passes:
            x = one.forward(x, self.batch)
        return x

    def backward(self, d: IntArray) -> IntArray:
        """int16 gradients through all steps; that of the state before the first step is cut off."""
        for one in reversed(self.passes):
            d = one.backward(d)
        return d

    def emit(self, builder: Builder, x: Wire) -> Wire:
        for one, name in zip(self.passes, self.names):
            x = self.recurrence.emit(builder, x, one.k, name, one.constants(), self.products)
        return x


class _Pass:
    """One of a layer's layers, forward and back through time."""

    def __init__(self, owner: Recurrent, k: int) -> None:
        self.owner, self.k, self.units = owner, k, owner.recurrence
        self.steps = STEPS[owner.kind](owner.cell, owner.scale)
        self.symbols = owner.symbols and k == 0
        self.inputs = owner.hidden_size if k else owner.input_size
        self.bound = self.units.hidden.hi if k else owner.receives().bound
        self.parameters: dict[str, Parameter] = {}
        self.arrays: dict[str, IntArray] = {}
        scale = self.units.input_scale(k)
        self.back = do.Scale.of(1 / scale)
        self.widest = 0 if self.symbols else self.units.widest * self.bound * self.inputs << self.units.shift_of(k)
        shifted = self.units.widest << self.units.shift_of(k)
        if not self.symbols and (self.bound > do.SHORT or shifted > do.SHORT or 4 * self.widest > do.INT32):
            raise owner.fail(
                f"receives values up to {self.bound}, so sums reach {self.widest}: 16 bits and 30 are due; "
                "put a Standardise before it, or take fewer weight values"
            )

    def start(self, chance: Chance) -> None:
        width, n, units = self.owner.cell.gates * self.owner.hidden_size, self.owner.hidden_size, self.units
        one, rows = units.cell.unit, units.row_grid
        wide = fraction_of(rows)
        scale = units.input_scale(self.k)
        grid = self.owner.grid
        fraction = fraction_of(grid)
        if self.symbols:
            self._put(
                "weight_ih", chance.normal(self.inputs * width, one << wide), (self.inputs, width), rows, one, wide
            )
        else:
            bound = root_bound(int(scale * (1 << fraction)), n)
            latent = chance.uniform(self.inputs * width, bound)
            self._put("weight_ih", latent, (self.inputs, width), grid, scale, fraction)
        latent = chance.uniform(n * width, root_bound(self.owner.scale << fraction, n))
        self._put("weight_hh", latent, (n, width), grid, self.owner.scale, fraction)
        for part in ("bias_ih", "bias_hh") if units.cell.separate else ("bias_ih",):
            latent = chance.uniform(width, root_bound(one << wide, n))
            self._put(part, latent, (width,), rows, one, wide)

    def _put(
        self, part: str, latent: IntArray, shape: tuple[int, ...], grid: Levels, scale: int | Fraction, fraction: int
    ) -> None:
        inside = np.clip(latent, grid.lo << fraction, grid.hi << fraction).astype(np.int32).reshape(shape)
        self.parameters[part] = Parameter(grid, Fraction(scale), inside, fraction)

    def announce(self, bits: int, most: int) -> None:
        one, known = Fraction(1 << bits), self.parameters
        # a weight's gradient is a sum of input times gradient, in units of the input; rows of symbols see them alone
        unit, bound = (Fraction(1), 1) if self.symbols else (self._input_unit(), self.bound)
        known["weight_ih"].receives(one * unit, do.SHORT * bound, most, long=self.symbols)
        known["weight_hh"].receives(one * self.units.hidden.hi, do.SHORT * self.units.hidden.hi, most)
        for part in ("bias_ih", "bias_hh"):
            if part in known:
                known[part].receives(one, do.SHORT, most)

    def _input_unit(self) -> Fraction:
        return Fraction(self.units.hidden.hi) if self.k else self.owner.receives().unit

    # ------------------------------------------------------------------------------------------------ forward

    def _array(self, name: str, shape: tuple[int, ...], kind: type) -> Any:
        """An array that the next call finds again: large ones cost more to get than to fill."""
        known = self.arrays.get(name)
        if known is None or known.shape != shape:
            known = self.arrays[name] = np.empty(shape, kind)
        return known

    def forward(self, x: IntArray, batch: int) -> IntArray:
        n, cell, units = self.owner.hidden_size, self.units.cell, self.units
        width, time = cell.gates * n, len(x) // batch
        self.across = do.right(_shifted(self.parameters["weight_hh"].weight, units.shift))
        tape = self.tape = Tape(
            self._array("h", (time + 1, batch, n), np.int16),
            self._array("c", (time + 1, batch, n), np.int16),
            self._array("y", (time if cell.separate else 0, batch, width), np.int32),
            self._array("kept", (time, batch, cell.keeps * n), np.int16),
        )
        tape.h[0], tape.c[0] = self._entering(batch)
        bias = self.parameters["bias_hh"].weight if cell.separate else _NOTHING
        self.steps.unroll(self._share(x, time, batch), self.across, bias, tape)
        last = {"h": tape.h[time], "c": tape.c[time]}
        for key in cell.state:
            self.owner.leaving[f"{self.owner.names[self.k]}_{key}"] = last[key].astype(np.int64)
        return tape.h[1:].reshape(time * batch, n)

    def _share(self, x: IntArray, time: int, batch: int) -> Share:
        """The input's share of pre-activations."""
        weight, bias = self.parameters["weight_ih"].weight, self.parameters["bias_ih"].weight
        if self.symbols:
            self.x = np.ascontiguousarray(x.reshape(-1), dtype=np.int32)
            work = self._array("z", (batch, len(bias)), np.int32)
            return Share(weight.astype(np.int32) + bias, self.x.reshape(time, batch), work)
        self.x = x
        right = do.right(_shifted(weight, self.units.shift_of(self.k)))
        z = do.product(do.left(x), right, bias, self._array("z", (time * batch, len(bias)), np.int32))
        return Share(z.reshape(time, batch, -1), _NOTHING, _NOTHING)

    def _entering(self, batch: int) -> tuple[Any, Any]:
        cell, state, name = self.units.cell, self.owner.entering, self.owner.names[self.k]
        held = {
            key: np.full((batch, self.owner.hidden_size), start) if state is None else state[f"{name}_{key}"]
            for key, start in cell.initial.items()
        }
        if "h" not in held:
            held["h"] = reached(cell.output, held["c"])  # type: ignore[attr-defined]
        return held["h"], held.get("c", held["h"])

    # ------------------------------------------------------------------------------------------------ back

    def backward(self, d: IntArray) -> IntArray:
        tape, owner, n = self.tape, self.owner, self.owner.hidden_size
        time, batch, width = tape.kept.shape[0], tape.h.shape[1], self.units.cell.gates * n
        back, inner = do.right_transposed(self.parameters["weight_hh"].weight), not (owner.first and self.k == 0)
        dx = np.empty((time, batch, self.inputs if inner and not self.symbols else 0), np.int16)
        # sums over some steps at a time, while their gradients are in the cache
        some = max(1, min(time, SPAN // (batch * width)))
        dz = self._array("dz", (some + 1, batch, width), np.int16)
        dy = self._array("dy", dz.shape, np.int16) if self.units.cell.separate else dz
        dy[some], dc = 0, np.zeros((batch, n), np.int16)
        for end in range(time, 0, -some):
            span = range(max(0, end - some), end)
            z, y = dz[some - len(span) :], dy[some - len(span) :]
            owner.clamps += self.steps.back(span, d.reshape(time, batch, n), back, tape, dc, z, y)
            self._sum_up(span, z[:-1].reshape(-1, width), y[:-1].reshape(-1, width), dx)
            dy[some] = y[0]
        return dx.reshape(time * batch, -1)

    def _sum_up(self, span: range, dz: IntArray, dy: IntArray, dx: IntArray) -> None:
        """Parameters' gradients and the input's, from those by the pre-activations of some steps."""
        known, part = self.parameters, slice(span.start, span.stop)
        batch, n = self.tape.h.shape[1:]
        right = do.right(dy)
        seen, bound = self.tape.h[part].reshape(-1, n), do.SHORT * self.units.hidden.hi
        do.add_product(do.left_transposed(seen), right, known["weight_hh"].gradient, bound)
        known["bias_ih"].gradient += do.column_sums(dz).astype(known["bias_ih"].gradient.dtype)
        if "bias_hh" in known:
            known["bias_hh"].gradient += do.column_sums(dy).astype(known["bias_hh"].gradient.dtype)
        x = self.x[span.start * batch : span.stop * batch]
        if self.symbols:
            do.add_rows(dz, x, known["weight_ih"].gradient)
            return
        right = do.right(dz) if self.units.cell.separate else right
        do.add_product(do.left_transposed(x), right, known["weight_ih"].gradient, do.SHORT * self.bound)
        if dx.shape[2]:
            weight = do.right_transposed(known["weight_ih"].weight)
            found, clamps = do.scaled_product(do.left(dz), weight, self.back, do.SHORT * self.units.widest)
            dx[part] = found.reshape(len(span), batch, -1)
            self.owner.clamps += clamps

    def constants(self) -> dict[str, IntArray]:
        """int64 arrays by the names in `PARTS`, shaped as PyTorch's."""
        values = {part: p.weight.astype(np.int64).T for part, p in self.parameters.items()}
        return {
            part: values.get(part, np.zeros(self.units.cell.gates * self.owner.hidden_size, np.int64)) for part in PARTS
        }


def _shifted(weight: IntArray, shift: int) -> IntArray:
    return weight << np.int16(shift) if shift else weight


class LSTM(Recurrent):
    """Long short-term memory that learns in integers; parameters and the machine are those of `zahlen.nn.LSTM`.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((), Levels(0, 25)), integer.LSTM(26, 8, levels=16, symbols=True), integer.Linear(8, 26)
    ... )
    >>> x = np.arange(150).reshape(3, 50) % 26  # three sequences of fifty steps
    >>> y, state = model.unroll(x)
    >>> y.shape, sorted(state)
    ((3, 50, 26), ['lstm_1_c', 'lstm_1_h'])
    >>> bool((y == model.machine().run(x)).all())
    True
    """

    kind = "lstm"


class GRU(Recurrent):
    """Gated recurrent unit that learns in integers; parameters and the machine are those of `zahlen.nn.GRU`."""

    kind = "gru"


class RNN(Recurrent):
    """Elman's network with tanhD that learns in integers; see `zahlen.nn.RNN`."""

    kind = "rnn"
