"""Sequences of different lengths in one array, and tables whose rows are the steps of sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zahlen.machine import DataError, IntArray


def pad(parts: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """Sequences (time, *step_shape) of different time in one array, with zeros behind the end of each.

    Returns
    -------
    x, lengths : integer arrays (n, longest time, *step_shape) and (n,)

    Examples
    --------
    >>> x, lengths = pad([np.array([[1, 2]]), np.array([[3, 4], [5, 6]])])
    >>> x.tolist(), lengths.tolist()
    ([[[1, 2], [0, 0]], [[3, 4], [5, 6]]], [1, 2])
    """
    lengths: IntArray = np.array([len(part) for part in parts], dtype=np.int64)
    x: IntArray = np.zeros((len(parts), int(lengths.max()), *parts[0].shape[1:]), dtype=parts[0].dtype)
    for k, part in enumerate(parts):
        x[k, : len(part)] = part
    return x, lengths


def starts(ids: Sequence[str], lines: Sequence[int], column: str) -> list[int]:
    """The index of the first row of each sequence, for rows with the ids of their sequences.

    Raises
    ------
    DataError
        If an id is empty, or the rows of a sequence do not stand next to each other.

    Examples
    --------
    >>> starts(["a", "a", "b"], [2, 3, 4], "id")
    [0, 2]
    >>> starts(["a", "b", "a"], [2, 3, 4], "id")
    Traceback (most recent call last):
    zahlen.machine.errors.DataError: line 4, column 'id': sequence 'a' ended at line 2; put its rows next to each other
    """
    found: list[int] = []
    last: dict[str, int] = {}
    for k, name in enumerate(ids):
        where = f"line {lines[k]}, column {column!r}"
        if not name:
            raise DataError(f"{where}: the sequence has no name; fill the cell or remove the row")
        if k == 0 or ids[k - 1] != name:
            if name in last:
                raise DataError(
                    f"{where}: sequence {name!r} ended at line {last[name]}; put its rows next to each other"
                )
            found.append(k)
        last[name] = lines[k]
    return found
