"""A recurrent layer in whole numbers: what its integers are worth, and the operations that it is in a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..grids import default_scale
from ..machine import Builder, IntArray, Levels, Wire
from .cell import Cell

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Parameters of a layer, by PyTorch's names."""
LARGEST_INPUT = 8
"""Symbols' rows and biases are limited to this absolute value, in real units: every gate is shut long before."""
SUMS = 2**24
"""Pre-activations stay below it, so that they are exact in single precision too."""


def recurrent_scale(grid: Levels, units: int) -> int:
    """Integer steps per 1.0 of a recurrent weight.

    These grow larger than those of dense layers: a fine grid reaches +-2 for 128 units.
    """
    usual = default_scale(grid, units)
    return max(1, usual // 2) if grid.size >= 128 else usual


def coarse(unit: int, grid: Levels, features: int, input_unit: Fraction) -> bool:
    """Whether this unit leaves too few integers for the input's weights, so that the state's share is shifted up."""
    return unit < max(1, default_scale(grid, features) // 2) * input_unit


def rise(unit: int, grid: Levels, features: int, input_unit: Fraction) -> int:
    """By how much the input's products are shifted up, where this unit would hold its weights near zero.

    Weights are to reach +-2, or twice as far as usual for so many features if their grid is coarse.
    """
    finest = max(Fraction(max(abs(grid.lo), abs(grid.hi)), 2), Fraction(2 * default_scale(grid, features)))
    shift = 0
    while unit > finest * input_unit * (1 << shift):
        shift += 1
    return shift


@dataclass(frozen=True, eq=False)
class Recurrence:
    """Units and shifts of a recurrent layer.

    Attributes
    ----------
    cell : Cell
    grid : Levels
        Of the weights.
    scale : int
        Integer steps of a recurrent weight per 1.0.
    units : int
    shift : int
        Of the state's share of a pre-activation, up.
    input_shift : int
        Of the input's share.
    input_unit : Fraction, optional
        Of what comes in; none for symbols.
    """

    cell: Cell
    grid: Levels
    scale: int
    units: int
    shift: int = 0
    input_shift: int = 0
    input_unit: Fraction | None = None

    @classmethod
    def fitting(
        cls,
        cell: Callable[[int], Cell],
        grid: Levels,
        scale: int,
        units: int,
        features: int = 0,
        input_unit: Fraction | None = None,
    ) -> Recurrence:
        """Units for this input: ``cell(unit)`` makes the cell; symbols have no unit."""

        def at(shift: int) -> Recurrence:
            steps = scale * first.hidden(first.levels).hi
            return cls(cell(steps << shift), grid, scale, units, shift, input_unit=input_unit)

        first = cell(scale)
        found = at(0)
        if input_unit is None:
            return found
        while found.shift < 12 and coarse(found.cell.unit, grid, features, input_unit) and at(found.shift + 1).room:
            found = at(found.shift + 1)
        by = rise(found.cell.unit, grid, features, input_unit)
        return cls(found.cell, grid, scale, units, found.shift, by, input_unit)

    @property
    def widest(self) -> int:
        """Greatest absolute value of a weight."""
        return max(abs(self.grid.lo), abs(self.grid.hi))

    @property
    def hidden(self) -> Levels:
        """What the hidden state holds."""
        return self.cell.hidden(self.cell.levels)

    @property
    def row_grid(self) -> Levels:
        """Of biases, and of the rows of symbols."""
        return Levels(-LARGEST_INPUT * self.cell.unit, LARGEST_INPUT * self.cell.unit)

    @property
    def bound(self) -> int:
        """Of the state's share with its bias."""
        return (self.units * self.widest * self.hidden.hi << self.shift) + LARGEST_INPUT * self.cell.unit

    @property
    def room(self) -> bool:
        """Whether `SUMS` has room for the state's share, and for an input that shuts every gate against it."""
        return 2 * self.bound + self.cell.reach() < SUMS

    @property
    def input_limit(self) -> int:
        """What the input adds may be cut off here: it shuts every gate whatever the state adds."""
        return SUMS - 1 - self.bound

    def input_scale(self, k: int) -> Fraction:
        """Integer steps of layer k's input weight per 1.0, before the shift; layers behind the first read a state."""
        if k or self.input_unit is None:
            return Fraction(self.scale)
        return self.cell.unit / (self.input_unit * (1 << self.input_shift))

    def shift_of(self, k: int) -> int:
        """By how much the products of layer k's input are shifted up."""
        return self.shift if k else self.input_shift

    def held(self) -> dict[str, Levels]:
        """What each kind of register holds."""
        return {"h": self.hidden, "c": Levels(-self.cell.limit, self.cell.limit)}

    def emit(
        self, builder: Builder, x: Wire, k: int, name: str, constants: Mapping[str, IntArray], products: str
    ) -> Wire:
        """Add layer k to a machine; the wire returned is the hidden state.

        Parameters
        ----------
        builder : Builder
        x : Wire
            (features,), or a symbol.
        k : int
        name : str
            What the layer's wires and registers begin with.
        constants : mapping of str to int64 array
            By the names in `PARTS`, shaped as PyTorch's.
        products : {"native", "tables"}
        """
        cell, n, held = self.cell, self.units, self.held()
        registers = {key: builder.register(f"{name}_{key}", (n,), held[key], cell.initial[key]) for key in cell.state}
        h = registers.get("h")
        if h is None:
            stairs = cell.output  # type: ignore[attr-defined]
            h = builder.staircase(registers["c"], stairs.thresholds, stairs.values, name=f"{name}_h")
        bias, more = constants["bias_ih"], constants["bias_hh"]
        if not cell.separate:
            bias, more = bias + more, np.zeros_like(more)
        if self.input_unit is None and k == 0:
            symbol = builder.reshape(x, ()) if x.shape else x
            ours = builder.embed(symbol, constants["weight_ih"].T + bias, name=f"{name}_x")
        elif shift := self.shift_of(k):
            ours = builder.shift(builder.affine(x, constants["weight_ih"]), -shift)
            ours = builder.add(ours, builder.constant(bias), name=f"{name}_x")
        else:
            ours = builder.affine(x, constants["weight_ih"], bias, name=f"{name}_x")
        if self.shift:
            theirs = builder.shift(builder.affine(h, constants["weight_hh"]), -self.shift)
            theirs = builder.add(theirs, builder.constant(more)) if more.any() else theirs
        else:
            theirs = builder.affine(h, constants["weight_hh"], more)
        parts: list[tuple[Wire, ...]]
        if cell.separate:
            parts = [(_part(builder, ours, j, n), _part(builder, theirs, j, n)) for j in range(cell.gates)]
        else:
            z = builder.add(ours, theirs, name=f"{name}_z")
            parts = [(_part(builder, z, j, n),) for j in range(cell.gates)]
        following = cell.emit(builder, name, parts, products)
        if "h" in registers:
            builder.connect(registers["h"], following)
        return following


def _part(builder: Builder, z: Wire, j: int, n: int) -> Wire:
    return z if z.shape == (n,) else builder.slice(z, (j * n,), ((j + 1) * n,))
