"""A machine as a block non-linear function on its variables, to be seen and to be iterated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..alphabets import IntArray
from ..errors import InputError, ToolError
from ..file import replacing
from ..listing import size
from ..machine import Machine


@dataclass(frozen=True, eq=False)
class BlockMap:
    """A machine as an iterated map z' = F(z), block by block (arXiv 2404.00880, section 2).

    The variables are the inputs, the registers, and those outputs that are neither: z = [inputs.., registers..,
    outputs..]. All blocks read the old state. An input holds its value; a register takes what its successor is computed
    to be from the old inputs and registers; an output likewise. (In the paper F is a sum of blocks f_ij(z_j). Here
    row i is one function of those z_j whose block is there.)

    Attributes
    ----------
    machine : Machine
    names : tuple of str
        The variables.
    sizes : tuple of int
        Number of elements of each.
    blocks : bool array (n, n)
        Whether z_i' is computed from z_j, by the program as written, within a step.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.staircase(b.affine(b.input("x", (2,), Levels(0, 3)), [[1, -1]]), [0], [-1, 1], name="h")
    >>> machine = b.build(b.affine(h, [[5], [6]], name="y"))
    >>> network = machine.pipelined().as_block_map()
    >>> print(network)
    3 variables, feed-forward
              1 2 3
      1  x    = . .  2
      2  h_1  # . .  1
      3  y    . # .  2

    A perceptron of two layers, iterated twice on an input that is held:

    >>> z = network.start({"x": [[3, 1]]})
    >>> network.step(network.step(z))["y"].tolist()
    [[5, 6]]
    """

    machine: Machine
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    blocks: NDArray[np.bool_]

    @classmethod
    def of(cls, machine: Machine) -> BlockMap:
        """The block map of a machine; an output that is an input or a register is that variable."""
        names = tuple(dict.fromkeys((*machine.inputs, *machine.registers, *machine.outputs)))
        sources = {*machine.inputs, *machine.registers}
        read: dict[str, frozenset[str]] = {}
        for wire in machine.wires.values():
            own = frozenset([wire.name]) if wire.name in sources else frozenset()
            read[wire.name] = own.union(*(read[name] for name in wire.operands))
        blocks = np.array([[j in read[machine.successors.get(i, i)] for j in names] for i in names], dtype=np.bool_)
        blocks.flags.writeable = False
        return cls(machine, names, tuple(machine.wires[name].size for name in names), blocks)

    @property
    def is_feedforward(self) -> bool:
        """Whether in some order all blocks stand strictly below the diagonal, apart from those that hold the inputs."""
        blocks = self.blocks.copy()
        for k in range(len(self.machine.inputs)):
            blocks[k, k] = False
        left = np.ones(len(blocks), dtype=np.bool_)
        while left.any():
            # what reads nothing that is left may stand next
            free = left & ~(blocks & left).any(axis=1)
            if not free.any():
                return False
            left &= ~free
        return True

    # ------------------------------------------------------------------------------------------------ iteration

    def start(self, x: Any = None, state: Mapping[str, Any] | None = None) -> dict[str, IntArray]:
        """The variables before the first step.

        Parameters
        ----------
        x : as for `Machine.step`
            None for a machine without inputs.
        state : mapping from register name to integer array (batch, *shape), optional
            By default the initial one.

        Returns
        -------
        dict of arrays (batch, *shape) by name
            Outputs are zero: nothing reads them.
        """
        traced = self.machine.trace({} if x is None else x, state)
        sources = {*self.machine.inputs, *self.machine.registers}
        return {name: traced[name] if name in sources else np.zeros_like(traced[name]) for name in self.names}

    def step(self, z: Mapping[str, Any]) -> dict[str, IntArray]:
        """F(z), where every row of blocks is given those variables only that it has a block for.

        To force an input, replace it in `z` before the step.

        Raises
        ------
        InputError
            If a variable is missing or more, or no batch of its alphabet.
        """
        machine = self.machine
        if not isinstance(z, Mapping) or set(z) != set(self.names):
            raise InputError(f"the variables of this block map are a mapping with {', '.join(self.names)}")
        sources = (*machine.inputs, *machine.registers)
        old = machine.trace({n: z[n] for n in machine.inputs}, {n: z[n] for n in machine.registers})
        following = {}
        for name, row in zip(self.names, self.blocks):
            read = {n: old[n] for n, block in zip(self.names, row) if block}
            # a row without blocks is constant; it is told no more than how large the batch is
            given = read or {sources[0]: old[sources[0]]}
            target = machine.successors.get(name, name)
            inputs = {n: v for n, v in given.items() if n in machine.inputs}
            state = {n: v for n, v in given.items() if n in machine.registers}
            following[name] = reference.evaluate(machine, inputs, state, [target])[target]
        return following

    # ------------------------------------------------------------------------------------------------ pictures

    def __str__(self) -> str:
        """The matrix: ``#`` a block, ``=`` an input that is held, ``.`` none; then each variable's shape."""
        kind = "feed-forward" if self.is_feedforward else "recurrent"
        number = len(str(len(self.names)))
        width = max(map(len, self.names))
        head = " ".join(f"{k:>{number}}" for k in range(1, len(self.names) + 1))
        lines = [f"{len(self.names)} variables, {kind}", f"  {'':{number}}  {'':{width}}  {head}"]
        for k, name in enumerate(self.names):
            marks = " ".join(f"{self._mark(k, j):>{number}}" for j in range(len(self.names)))
            lines.append(f"  {k + 1:>{number}}  {name:{width}}  {marks}  {size(self.machine.wires[name].shape)}")
        return "\n".join(lines)

    def _mark(self, i: int, j: int) -> str:
        return "." if not self.blocks[i, j] else "=" if i == j < len(self.machine.inputs) else "#"

    def draw(self, to: Any) -> None:
        """Draw the matrix, every row and column as wide as the square root of its variable's size.

        Parameters
        ----------
        to : path or matplotlib Axes
            A file to write (the format by its suffix), or where to draw.

        Raises
        ------
        ToolError
            If matplotlib is not installed.
        """
        try:
            from matplotlib.axes import Axes
            from matplotlib.figure import Figure
        except ImportError:
            raise ToolError("plots need matplotlib; install it with: pip install 'zahlen[plots]'") from None
        if not isinstance(to, Axes):
            edge = 2 + 0.4 * len(self.names)
            figure = Figure(figsize=(edge, edge), layout="constrained")
            self.draw(figure.subplots())
            path = Path(to)
            with replacing(path) as file:
                figure.savefig(file, format=path.suffix[1:] or "png", dpi=120)
            return
        edges = [0.0, *np.cumsum(np.sqrt(self.sizes))]
        middles = [(a + b) / 2 for a, b in pairwise(edges)]
        held = np.diag([k < len(self.machine.inputs) for k in range(len(self.names))])
        shades = np.where(self.blocks & held, 0.4, np.where(self.blocks, 0.8, 0.0))
        to.pcolormesh(edges, edges, shades, cmap="Blues", vmin=0, vmax=1, edgecolors="0.8", linewidth=0.5)
        labels = [f"{name} ({count})" for name, count in zip(self.names, self.sizes)]
        to.set_xticks(middles, labels, rotation=90)
        to.set_yticks(middles, labels)
        to.set(xlim=(0, edges[-1]), ylim=(edges[-1], 0), aspect="equal", xlabel="reads", ylabel="computes")
