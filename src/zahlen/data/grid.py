"""Written numbers put onto a grid of integers, each rounded half to even in exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from zahlen.machine import DataError, IntArray

from .dataset import INT32
from .exact import DECIMAL, INTEGER, LONGEST, decimal

_NOT_FINITE = frozenset({"nan", "inf", "infinity"})


def on_grid(
    rows: Sequence[Sequence[str]], step: Fraction | None, where: Callable[[int, int], str]
) -> tuple[list[IntArray], Fraction]:
    """Rows of cells as integers: each value v becomes v / step.

    Parameters
    ----------
    rows : sequence of sequences of str
        The cells; rows may differ in length.
    step : Fraction, optional
        The distance of neighbours on the grid. Without it only integers are taken.
    where : callable
        What to call cell j of row i in an error.

    Returns
    -------
    list of int32 arrays, Fraction
        One array per row, and the largest distance of a value from its place on the grid.

    Raises
    ------
    DataError
        If a cell is no number, is not finite, leaves 32 bits, or is a decimal without a step.

    Examples
    --------
    >>> on_grid([["1.5", "-2"], [".25"]], Fraction(1, 2), lambda i, j: f"row {i}, cell {j}")
    ([array([ 3, -4], dtype=int32), array([0], dtype=int32)], Fraction(1, 4))
    """
    seen: dict[str, int] = {}
    largest = Fraction(0)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell in seen:
                continue
            if step is None and DECIMAL.fullmatch(cell) and not INTEGER.fullmatch(cell):
                raise DataError(f"{where(i, j)}: {cell[:LONGEST]!r} is not an integer; {_suggestion(rows)}")
            try:
                seen[cell], error = _value(cell, step or Fraction(1))
            except DataError as refused:
                raise DataError(f"{where(i, j)}: {refused}") from None
            largest = max(largest, error)
    return [np.array([seen[cell] for cell in row], dtype=np.int32) for row in rows], largest


def _value(cell: str, step: Fraction) -> tuple[int, Fraction]:
    """The integer that a cell stands for on the grid, and by how much it was rounded."""
    if not cell:
        raise DataError("the cell is empty; fill it or remove the row")
    if cell.lstrip("+-").lower() in _NOT_FINITE:
        raise DataError(f"{cell!r} is not finite; replace it or remove the row")
    if not DECIMAL.fullmatch(cell):
        raise DataError(f"{cell[:LONGEST]!r} is not a number; encode it as an integer or remove the column")
    value = decimal(cell)
    integer = round(value / step)  # half to even
    if integer not in INT32:
        raise DataError(f"{cell!r} in steps of {step} needs more than 32 bits; use a coarser step")
    return integer, abs(integer * step - value)


def _suggestion(rows: Sequence[Sequence[str]]) -> str:
    """Advice: the power of ten that holds every decimal of the file exactly, or the finest that fits 32 bits."""
    texts = {cell for row in rows for cell in row}
    written = [DECIMAL.fullmatch(text) for text in texts if len(text) <= LONGEST]
    values = [decimal(found[0]) for found in written if found and len(found["exponent"] or "") <= 2]
    largest = max(map(abs, values), default=Fraction(0))
    most = next(p for p in range(9, -1, -1) if p == 0 or largest * 10**p <= INT32.hi)
    places = next((p for p in range(most) if all((v * 10**p).denominator == 1 for v in values)), most)
    step = f"0.{'1':0>{places}}" if places else "1"
    return f"put the decimals on an integer grid, for example with step={step}"
