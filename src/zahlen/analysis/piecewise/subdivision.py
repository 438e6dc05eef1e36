"""The cells of a machine on a part of a slice: operation by operation, each cell is cut where an operation has pieces.

On a cell of the operations so far every wire is affine, so the next operation cuts it along straight lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray
from ...machine import operations as op
from ..orbit import LimitError
from .contests import JUMPING, PIECEWISE, chosen, compared, contest, pattern
from .forms import constant, linear, scaled
from .program import Program
from .signs import extremes
from .slices import Slice
from .windows import Cells, Window, carve

PARTS = 100
"""Steps of progress that are reported for each operation with pieces."""
MEMORY = 2 << 30
"""Most bytes that the forms of all cells may take."""
WIDTH = 1 << 21
"""Most coefficients of forms that are compared at once."""


@dataclass(frozen=True, eq=False)
class Subdivision:
    """What is known of the cells.

    Attributes
    ----------
    numbers : list of int
        Each cell's number in the `Plane` or `Segment`.
    maps : array (cells, elements, parameters + 1)
        For each cell the affine forms of all elements of the outputs, in their order.
    patterns : dict of str to int64 array (cells, *shape)
        For each wire with pieces which of them every element is on.
    """

    numbers: list[int]
    maps: IntArray
    patterns: dict[str, NDArray[np.int64]]


def subdivide(
    who: str, plan: Program, of: Slice, cells: Cells, limit: int, report: Callable[[int], None]
) -> Subdivision:
    """Cut the one cell of `cells` until every wire of the program is affine on each.

    Raises
    ------
    LimitError
        If there are more than `limit` cells, or their forms would take more than `MEMORY`.
    """
    rows = of.parameters + 1
    values: dict[str, IntArray] = {}
    patterns: dict[str, NDArray[np.int64]] = {}
    numbers = list(cells.cells)

    most, at = limit, ""

    def counted() -> None:
        if len(cells.cells) >= limit:
            raise LimitError(f"{who}: more than {limit:,} cells; raise limit, or take a smaller part of the slice")
        if len(cells.cells) >= most:
            raise LimitError(
                f"{who}: {most:,} cells are as many as {MEMORY >> 20:,} MiB hold at wire {at!r}; take a smaller part "
                "of the slice, or ask for wires before it with outputs"
            )

    for wire in plan.wires:
        operands: list[Any] = [values.get(name) for name in wire.operands]
        if isinstance(wire.operation, op.Input):
            values[wire.name] = np.repeat(of.forms[wire.name], len(numbers), axis=0)
        elif isinstance(wire.operation, (op.Mul, op.Shift)):
            values[wire.name] = scaled(operands[plan.moving(wire)], plan.factors(wire))
        else:
            known = [
                np.repeat(constant(plan.fixed[name], rows), len(numbers), axis=0) if x is None else x
                for name, x in zip(wire.operands, operands)
            ]
            if isinstance(wire.operation, (*PIECEWISE, *JUMPING)):
                live = sum(forms[0].size for forms in (*values.values(), *patterns.values(), *known))
                most, at = max(1, MEMORY // (16 * (live + 2 * rows * compared(wire)))), wire.name
                numbers, parents, winners = _refined(cells, numbers, contest(wire.operation, *known), counted, report)
                values = {name: forms[parents] for name, forms in values.items()}
                patterns = {name: old[parents] for name, old in patterns.items()}
                patterns[wire.name] = pattern(wire.operation, winners, known[0]).reshape(-1, *wire.shape)
                values[wire.name] = chosen(wire.operation, patterns[wire.name], *(x[parents] for x in known))
            else:
                values[wire.name] = linear(wire.operation, known)
        values = {n: v for n, v in values.items() if plan.last[n] != wire.name or n in plan.outputs or n == wire.name}
    return Subdivision(numbers, _maps(plan, values, len(numbers), rows), patterns)


def _maps(plan: Program, values: dict[str, IntArray], count: int, rows: int) -> IntArray:
    found = []
    for name in plan.outputs:
        forms = values[name] if name in values else np.repeat(constant(plan.fixed[name], rows), count, axis=0)
        found.append(forms.reshape(count, rows, -1).swapaxes(1, 2))
    return np.concatenate(found, axis=1)


def _refined(
    cells: Cells, numbers: list[int], forms: IntArray, cut: Callable[[], None], report: Callable[[int], None]
) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Cells on which the greatest of each window is one, (cells, coordinates, windows, forms): with their parents."""
    winners = _undisputed(cells, numbers, forms)
    found: list[int] = []
    parents: list[int] = []
    decisions: list[NDArray[np.int64]] = []
    for k, number in enumerate(numbers):
        disputed = np.flatnonzero(winners[k] < 0).tolist()
        windows = [Window(w, forms[k, :, w].T.tolist(), cells.points) for w in disputed]
        for piece, decision in carve(cells, number, windows, winners[k], cut) if windows else [(number, winners[k])]:
            found.append(piece)
            parents.append(k)
            decisions.append(decision)
        report(PARTS * (k + 1) // len(numbers) - PARTS * k // len(numbers))
    return found, np.array(parents), np.stack(decisions)


def _undisputed(cells: Cells, numbers: list[int], forms: IntArray) -> NDArray[np.int64]:
    """For every cell and window the first form that is nowhere less than another, or -1: (cells, windows)."""
    count, rows, windows, size = forms.shape
    pairs = list(combinations(range(size), 2))
    found = np.zeros((count, windows), dtype=np.int64)
    if not pairs:
        return found
    step = max(1, WIDTH // (rows * windows * len(pairs)))
    polygons = [cells.cells[number] for number in numbers]
    for first in range(0, count, step):
        part = forms[first : first + step]
        lines = np.concatenate([part[..., i] - part[..., j] for i, j in pairs], axis=2)
        low, high = extremes(cells.points, polygons[first : first + step], lines)
        never_less = np.ones((size, len(part), windows), dtype=bool)
        for k, (i, j) in enumerate(pairs):
            here = slice(k * windows, (k + 1) * windows)
            never_less[i] &= low[:, here] >= 0
            never_less[j] &= high[:, here] <= 0
        found[first : first + step] = np.where(never_less.any(axis=0), never_less.argmax(axis=0), -1)
    return found
