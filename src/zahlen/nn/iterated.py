"""The block non-linear function of Hershey et al. as a layer: perceptron, recurrent network, and all between."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import reduce
from itertools import accumulate, pairwise, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..cells import LARGEST_INPUT, MOST_LEVELS, coarse, rise
from ..flow import whole
from ..grids import default_scale, weight_grid
from ..machine import Builder, IntArray, LayerError, Levels, Wire
from .cells import RNNCell
from .exact import exact_products
from .recurrent import FloatStateful, Stateful, checked_state
from .scan import scan
from .spec import FLOAT32_LIMIT, Spec, carrier
from .weights import integers, on_grid, warn_if_dead


class IteratedMap(Stateful):
    """An iterated map on blocks z = [x, h1, .., hk], of which every one reads the *old* value of those that it may.

    With integer weights W on their grid, and levels 2k - (L - 1), k = 0..L - 1, of every element of h::

        h_i' = tanhD(sum of W_ij z_j over all j with mask[i - 1][j] + b_i)

    This is the block non-linear function of Hershey, Paffenroth, Pathak and Tavener (arXiv 2404.00880, section 2), with
    blocks f_ij that are linear and one activation behind their sum. What comes out is the last block, hk; put an
    `nn.Linear` behind it. Two uses:

    - With `steps` the input is held while the map is applied so often, to each sample anew, from the levels of zero
      on (for even L the ones above). A strictly lower triangular mask, where block i reads x and earlier blocks only,
      with at least as many steps as blocks **is the perceptron** (with shortcuts where it reads more than one); its
      machine has every block once.
    - Without `steps` it is a **recurrent layer**: one application of the map per step of the input sequence, and
      h1, .., hk are registers (``map_1_h1`` and so on). One block with mask [[1, 1]] is `nn.RNN`.

    Weights of closed blocks are 0 in the function and get no gradient. All parameters have the same shapes, and all
    scales are the same, whatever is open; so those of one map may be loaded into another one with more blocks open,
    and since closed blocks start at 0 it computes the same function until it is trained on (on grids with a 0).

    Parameters
    ----------
    sizes : sequence of int
        Elements of x, h1, .., hk; at least two.
    mask : booleans (k, k + 1)
        Whether block i = 1..k (row i - 1) reads z_j (column j; the input is column 0). Every block reads something, and
        the last one is reached from the input.
    steps : int, optional
        How often the map is applied to an input that is held. None for a recurrent layer.
    levels : int
        Of every element of h, 2..257.
    weights : int or Levels
        As in `Linear`.
    scale : int, optional
        Integer steps per 1.0 of a weight that reads h. Weights that read x have the scale that makes the units equal;
        where that is too coarse the sums over h are shifted up, as in `RNN`.

    Attributes
    ----------
    weight_ih, weight_hh, bias : Parameter (H, sizes[0]), (H, H), (H,)
        Latent; H is the sum of the hidden blocks' sizes, in their order.

    Raises
    ------
    LayerError
        If sizes, mask or steps are not as said, or the sums would leave 24 bits.

    Examples
    --------
    A perceptron of two hidden layers, and the same blocks with the first one reading the second:

    >>> from zahlen import Levels, nn
    >>> _ = torch.manual_seed(0)
    >>> def network(mask, steps):
    ...     layers = nn.IteratedMap((4, 8, 8), mask, steps), nn.Linear(8, 3)
    ...     return nn.Sequential(nn.Input((4,), Levels(0, 9), unit=9), *layers)
    >>> perceptron, opened = network([[1, 0, 0], [0, 1, 0]], 2), network([[1, 0, 1], [0, 1, 0]], 2)
    >>> [name for name in perceptron.machine().wires if "_h" in name]
    ['map_1_h1_1', 'map_1_h2_2']
    >>> _ = opened.load_state_dict(perceptron.state_dict())
    >>> x = torch.randint(0, 10, (5, 4))
    >>> bool((opened(x) == perceptron(x)).all())
    True

    The same blocks over sequences, one application a step:

    >>> y, state = network([[1, 0, 1], [0, 1, 0]], None).unroll(torch.randint(0, 10, (5, 20, 4)))
    >>> tuple(y.shape), sorted(state)
    ((5, 20, 3), ['map_1_h1', 'map_1_h2'])
    """

    kind = "map"

    def __init__(
        self,
        sizes: Sequence[int],
        mask: Any,
        steps: int | None = None,
        *,
        levels: int = 16,
        weights: int | Levels = 255,
        scale: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(sizes, Sequence) or isinstance(sizes, str) or len(sizes) < 2:
            raise LayerError(f"IteratedMap: sizes of the input and of at least one block are due, got {sizes!r}")
        self.sizes = tuple(whole(n, "a size", of=self) for n in sizes)
        self.levels = whole(levels, "levels", 2, of=self)
        if self.levels > MOST_LEVELS:
            raise LayerError(f"IteratedMap: levels is at most {MOST_LEVELS}, got {levels}")
        self.steps = None if steps is None else whole(steps, "steps", of=self)
        self.recurrent = steps is None
        self.mask = _mask(mask, self.sizes, self.steps)
        self.grid = weight_grid(weights)
        self.hidden = sum(self.sizes[1:])
        ends = tuple(accumulate(self.sizes[1:], initial=0))
        self._parts = tuple(slice(a, b) for a, b in pairwise(ends))
        # as for an RNN of as many units, whatever is open: a fine grid reaches far
        usual = default_scale(self.grid, self.hidden)
        usual = max(1, usual // 2) if self.grid.size >= 128 else usual
        self.scale = usual if scale is None else whole(scale, "scale", of=self)
        rows = torch.as_tensor(self.mask).repeat_interleave(torch.tensor(self.sizes[1:]), 0)
        entries = rows.repeat_interleave(torch.tensor(self.sizes), 1).to(torch.float32)
        self.open_ih: Tensor
        self.open_hh: Tensor
        self.register_buffer("open_ih", entries[:, : self.sizes[0]].contiguous(), persistent=False)
        self.register_buffer("open_hh", entries[:, self.sizes[0] :].contiguous(), persistent=False)
        bounds = entries.sum(1).rsqrt()  # 1 / sqrt(fan_in), as PyTorch's layers start
        start = torch.empty(self.hidden, 1 + sum(self.sizes)).uniform_(-1, 1) * bounds[:, None]
        weight = start[:, 1:] * entries
        self.weight_ih = torch.nn.Parameter(weight[:, : self.sizes[0]].clone())
        self.weight_hh = torch.nn.Parameter(weight[:, self.sizes[0] :].clone())
        self.bias = torch.nn.Parameter(start[:, 0].clone())
        warn_if_dead(on_grid(self.weight_hh, self.scale, self.grid)[self.open_hh > 0], "IteratedMap", 2)

    def extra_repr(self) -> str:
        rows = " ".join("".join(".#"[entry] for entry in row) for row in self.mask)
        return (
            f"{self.sizes}, mask=[{rows}], steps={self.steps}, levels={self.levels}, weights={self.grid}, "
            f"scale={self.scale}"
        )

    # ------------------------------------------------------------------------------------------------ units

    def bind(self, spec: Spec) -> Spec:
        if spec.shape != (self.sizes[0],):
            raise self.fail(f"receives shape {spec.shape}, not ({self.sizes[0]},); put an nn.Flatten before?")
        self.spec = spec
        # a coarse unit leaves too few integers for the weights of the input: the sums over h are shifted up, as far as
        # 24 bits reach with all blocks open, so that units are the same whatever is open
        unit, self.shift, input_ = self.scale * (self.levels - 1), 0, (self.grid, spec.size, spec.unit)
        while self.shift < 12 and coarse(unit << self.shift, *input_) and self._room(self.shift + 1, self.hidden):
            self.shift += 1
        self.input_shift = rise(unit << self.shift, *input_)
        self.cell = self._cell(self.shift)
        self._bias_grid = Levels(-LARGEST_INPUT * self.cell.unit, LARGEST_INPUT * self.cell.unit)
        reads = max(sum(n for n, entry in zip(self.sizes[1:], row[1:]) if entry) for row in self.mask)
        if not self._room(self.shift, reads):
            bound = self._bound(self.shift, reads)
            raise self.fail(f"sums up to {bound} leave 24 bits; take a smaller scale, fewer levels, weights or units")
        # what the input adds may be cut off where a unit saturates whatever the blocks add
        self._input_limit = FLOAT32_LIMIT - 1 - self._bound(self.shift, reads)
        return Spec((self.sizes[-1],), Levels.odd(self.levels), Fraction(self.levels - 1))

    def _cell(self, shift: int) -> RNNCell:
        return RNNCell(self.levels, self.levels, 8, self.scale * (self.levels - 1) << shift)

    def _bound(self, shift: int, reads: int) -> int:
        """What the sums over so many elements of h, and the bias, stay below."""
        widest = max(abs(self.grid.lo), abs(self.grid.hi)) * (self.levels - 1)
        return (reads * widest << shift) + LARGEST_INPUT * self._cell(shift).unit

    def _room(self, shift: int, reads: int) -> bool:
        """Whether 24 bits have room for the sums, and for an input that saturates every unit against them."""
        return 2 * self._bound(shift, reads) + self._cell(shift).reach() < FLOAT32_LIMIT

    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """`weight_ih`, `weight_hh` and `bias` as float32 tensors of integers, closed blocks 0; gradients go through."""
        scale = self.cell.unit / (self.receives().unit * (1 << self.input_shift))
        weight_ih = on_grid(self.weight_ih, float(scale), self.grid)
        weight_hh = on_grid(self.weight_hh, self.scale, self.grid)
        return weight_ih * self.open_ih, weight_hh * self.open_hh, on_grid(self.bias, self.cell.unit, self._bias_grid)

    # ------------------------------------------------------------------------------------------------ forward

    def forward(self, x: Tensor) -> Tensor:
        """(batch, input), recurrent (time * batch, input), of integers to the last block's levels, as many rows."""
        self.receives()
        weight_ih, weight_hh, bias = self.integers()
        z = self._input_share(x, weight_ih, bias)
        if self.steps is not None:
            held = z.clamp(-self._input_limit, self._input_limit).to(torch.float32).expand(self.steps, -1, -1)
            hs = self._scan(held, weight_hh, held.new_full(held.shape[1:], self.cell.initial["h"]))
            if self.seen is not None:
                self._see(self._stem_seen(), z, weight_hh, hs)
            return hs[-1][:, self._parts[-1]]
        batch, self.batch = self.batch, None
        if batch is None:
            raise self.fail("works inside an nn.Sequential that begins with nn.Input and is called with sequences")
        z = z.view(len(x) // batch if batch else 1, batch, self.hidden)
        hs = self._scan(
            z.clamp(-self._input_limit, self._input_limit).to(torch.float32), weight_hh, self._entering(batch, z.device)
        )
        self.leaving = {name: hs[-1][:, part] for name, part in zip(self.registers(), self._parts)}
        if self.seen is not None:
            self._see(self.names[0], z, weight_hh, hs)
        return hs[1:, :, self._parts[-1]].reshape(-1, self.sizes[-1])

    def _input_share(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        weight = weight * float(1 << self.input_shift) if self.input_shift else weight
        rows = float(weight.detach().abs().sum(1).amax()) * self.receives().bound + float(bias.detach().abs().amax())
        dtype = carrier(int(rows), self)
        with exact_products(x.device):
            return F.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))

    def _scan(self, z: Tensor, weight: Tensor, h: Tensor) -> Tensor:
        return scan(self.cell, z, weight, h, h, shift=self.shift)[0]

    def _entering(self, batch: int, device: torch.device) -> Tensor:
        if self.entering is None:
            return torch.full((batch, self.hidden), float(self.cell.initial["h"]), device=device)
        return torch.cat([self.entering[name].to(device, torch.float32) for name in self.registers()], dim=1)

    def _see(self, stem: str, z: Tensor, weight: Tensor, hs: Tensor) -> None:
        """Note the wires of a machine: every step's in registers, or those steps that a machine has."""
        assert self.seen is not None
        with exact_products(z.device):
            state = hs[:-1].to(torch.float64) @ weight.to(torch.float64).t() * float(1 << self.shift)
        sums = z + state
        if self.recurrent:
            for i, part in enumerate(self._parts, 1):
                self.seen[f"{stem}_h{i}"] = hs[:-1, :, part].flatten(0, 1)
                self.seen[f"{stem}_z{i}"] = sums[..., part].flatten(0, 1)
                self.seen[f"{stem}_h{i}_next"] = hs[1:, :, part].flatten(0, 1)
            return
        for t, i in self._program():
            self.seen[f"{stem}_z{i}_{t}"] = sums[t - 1][:, self._parts[i - 1]]
            self.seen[f"{stem}_h{i}_{t}"] = hs[t][:, self._parts[i - 1]]

    def _stem_seen(self) -> str:
        assert self.seen is not None
        t, i = self._program()[-1]
        place = next(p for p in range(len(self.seen) + 1) if f"{self._stem(p)}_h{i}_{t}" not in self.seen)
        return self._stem(place)

    def _stem(self, place: int) -> str:
        """What names begin with where the layer stands for the first time, and where it stands again."""
        name = self.names[0] if self.names else self.kind
        return name if place == 0 else f"{name}_place{place + 1}"

    def registers(self) -> dict[str, Levels]:
        names = [f"{name}_h{i}" for name in self.names for i in range(1, len(self.sizes))]
        return dict.fromkeys(names, Levels.odd(self.levels))

    def widths(self) -> dict[str, int]:
        return dict(zip(self.registers(), self.sizes[1:]))

    # ------------------------------------------------------------------------------------------------ machine

    def emit(self, builder: Builder, x: Wire) -> Wire:
        weight_ih, weight_hh, bias = (integers(value) for value in self.integers())
        blocks = [
            _Block(self, weight_ih[part], [weight_hh[part, other] for other in self._parts], bias[part], row)
            for part, row in zip(self._parts, self.mask)
        ]
        if self.recurrent:
            name = self.names[0]
            held = [
                builder.register(f"{name}_h{i}", (n,), Levels.odd(self.levels), self.cell.initial["h"])
                for i, n in enumerate(self.sizes[1:], 1)
            ]
            following = [b.emit(builder, x, held, f"{name}_z{i}", f"{name}_h{i}_next") for i, b in enumerate(blocks, 1)]
            for register, wire in zip(held, following):
                builder.connect(register, wire)
            return following[-1]
        stem = self._stem(len(self.wire_names))
        made: dict[tuple[int, int], Wire] = {}
        for t, i in self._program():
            before = [made.get((self._same(t - 1, j), j)) for j in range(1, len(self.sizes))]
            made[t, i] = blocks[i - 1].emit(builder, x, before, f"{stem}_z{i}_{t}", f"{stem}_h{i}_{t}")
        return made[self._program()[-1]]

    def _settled(self) -> list[float]:
        """For each of z_1, .. the step from which on it keeps its value under a held input; infinite behind a cycle."""
        steps = [math.inf] * len(self.mask)
        for _ in steps:
            steps = [1 + max((steps[j - 1] for j in _read(row)), default=0) for row in self.mask]
        return steps

    def _same(self, t: int, i: int) -> int:
        """The first step at which block i has the value of step t."""
        return int(min(t, self._settled()[i - 1]))

    def _program(self) -> list[tuple[int, int]]:
        """What a machine computes of a held input, (step, block) in order: no value twice, none that is not read."""
        assert self.steps is not None
        needed = [{len(self.mask)}]
        for _ in range(self.steps - 1):
            needed.append({j for i in needed[-1] for j in _read(self.mask[i - 1])})
        pairs = ((self._same(t, i), i) for t, level in enumerate(reversed(needed), 1) for i in sorted(level))
        return list(dict.fromkeys(pairs))

    # ------------------------------------------------------------------------------------------------ twin

    def twin(self) -> torch.nn.Module:
        return _FloatRecurrentMap(self) if self.recurrent else _FloatMap(self)


class _Block:
    """One row of the map as operations of a machine: a product for each open block, their sum, the staircase."""

    def __init__(
        self, layer: IteratedMap, weight: IntArray, across: list[IntArray], bias: IntArray, row: Sequence[bool]
    ) -> None:
        self.cell, self.shift, self.start = layer.cell, layer.shift, layer.cell.initial["h"]
        self.input_shift = layer.input_shift
        self.weight, self.across, self.bias, self.row = weight, across, bias, row

    def emit(self, builder: Builder, x: Wire, h: Sequence[Wire | None], z: str, name: str) -> Wire:
        """The next levels; a block of h that is None is at its start."""
        read = [(w, wire) for w, wire, entry in zip(self.across, h, self.row[1:]) if entry]
        offset = self.bias + sum(((w.sum(1) * self.start) << self.shift for w, wire in read if wire is None))
        products = [(w, wire) for w, wire in read if wire is not None]
        total = self._sum(builder, x, products, offset, z)
        return builder.staircase(total, self.cell.stairs.thresholds, self.cell.stairs.values, name=name)

    def _sum(self, builder: Builder, x: Wire, products: list[tuple[IntArray, Wire]], offset: IntArray, z: str) -> Wire:
        if not products:
            return self._input(builder, x, offset, z) if self.row[0] else builder.constant(offset, name=z)
        if self.row[0]:
            return builder.add(self._input(builder, x, offset), self._shifted(builder, products), name=z)
        if self.shift:
            return builder.add(self._shifted(builder, products), builder.constant(offset), name=z)
        (weight, wire), *more = products
        if not more:
            return builder.affine(wire, weight, offset, name=z)
        return builder.add(builder.affine(wire, weight, offset), self._shifted(builder, more), name=z)

    def _input(self, builder: Builder, x: Wire, offset: IntArray, name: str | None = None) -> Wire:
        if not self.input_shift:
            return builder.affine(x, self.weight, offset, name=name)
        products = builder.shift(builder.affine(x, self.weight), -self.input_shift)
        return builder.add(products, builder.constant(offset), name=name)

    def _shifted(self, builder: Builder, products: list[tuple[IntArray, Wire]]) -> Wire:
        total = reduce(builder.add, (builder.affine(wire, weight) for weight, wire in products))
        return builder.shift(total, -self.shift) if self.shift else total


class _FloatMap(torch.nn.Module):
    """The map on real numbers, the input held; twin of an `IteratedMap` with steps."""

    def __init__(self, layer: IteratedMap) -> None:
        super().__init__()
        self.steps, self.last, self.hidden = layer.steps, layer.sizes[-1], layer.hidden
        self.weight_ih, self.weight_hh, self.bias = (
            torch.nn.Parameter(value.detach().clone()) for value in (layer.weight_ih, layer.weight_hh, layer.bias)
        )
        self.open_ih: Tensor
        self.open_hh: Tensor
        self.register_buffer("open_ih", layer.open_ih.clone(), persistent=False)
        self.register_buffer("open_hh", layer.open_hh.clone(), persistent=False)

    def iterates(self, z: Iterable[Tensor], h: Tensor) -> Iterator[Tensor]:
        """The state after each step; `z` is what the input adds to the sums of each."""
        across = (self.weight_hh * self.open_hh).t()
        for z_t in z:
            h = torch.addmm(z_t, h, across).tanh()
            yield h

    def input_share(self, x: Tensor) -> Tensor:
        """What the input adds to the sums."""
        return F.linear(x, self.weight_ih * self.open_ih, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, input) to (batch, last block)."""
        z = self.input_share(x)
        assert self.steps is not None
        *_, h = self.iterates(repeat(z, self.steps), torch.zeros_like(z))
        return h[:, -self.last :]


class _FloatRecurrentMap(_FloatMap, FloatStateful):
    """The map on real numbers, one application a step of the input."""

    def __init__(self, layer: IteratedMap) -> None:
        super().__init__(layer)
        self.registers = layer.widths()

    def forward(self, x: Tensor) -> Tensor:
        """(time * batch, input) to (time * batch, last block)."""
        z = self.input_share(x)
        z = z.view(len(x) // self.batch if self.batch else 1, self.batch, self.hidden)
        h = z.new_zeros(self.batch, self.hidden)
        if self.entering is not None:
            state = {name: value for name, value in self.entering.items() if name in self.registers}
            state = checked_state(state, dict.fromkeys(self.registers), self.batch, self.registers)
            h = torch.cat([state[name] for name in self.registers], dim=1)
        hs = torch.stack(list(self.iterates(z.unbind(0), h)))
        self.leaving = dict(zip(self.registers, torch.split(hs[-1], list(self.registers.values()), dim=1)))
        return hs[..., -self.last :].reshape(-1, self.last)


def _mask(mask: Any, sizes: tuple[int, ...], steps: int | None) -> tuple[tuple[bool, ...], ...]:
    """The mask as rows of booleans, or a `LayerError` that says what is wrong with it."""
    blocks = len(sizes) - 1
    try:
        entries = np.asarray(mask)
    except ValueError:  # rows of different lengths
        entries = np.empty(0)
    if entries.shape != (blocks, blocks + 1) or entries.dtype.kind not in "biu" or not np.isin(entries, (0, 1)).all():
        raise LayerError(
            f"IteratedMap: mask has a row for each of {blocks} blocks that says for x and each block whether it is "
            f"read, booleans {(blocks, blocks + 1)}; got {mask!r}"
        )
    rows = tuple(tuple(bool(entry) for entry in row) for row in entries)
    for i, row in enumerate(rows, 1):
        if not any(row):
            raise LayerError(f"IteratedMap: block {i} reads nothing and would be a constant; open one of its blocks")
    reached: set[int] = set()
    needed = 0
    while blocks not in reached:
        needed += 1
        reached = {i for i, row in enumerate(rows, 1) if row[0] or reached.intersection(_read(row))}
        if needed > blocks:
            raise LayerError(f"IteratedMap: block {blocks} comes out, but is not reached from the input; open a way")
    if steps is not None and steps < needed:
        raise LayerError(
            f"IteratedMap: block {blocks}, which comes out, is reached from the input after {needed} steps, not after "
            f"{steps}; take steps={needed} or more"
        )
    return rows


def _read(row: Sequence[bool]) -> list[int]:
    """Which blocks of h a row reads, numbered from 1."""
    return [j for j, entry in enumerate(row) if entry and j]
