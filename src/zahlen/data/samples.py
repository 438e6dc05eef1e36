"""Samples without labels, to run a machine on."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from zahlen.machine import DataError, IntArray

from . import archive, table


def samples(path: str | Path, *, columns: Sequence[str] = (), step: Fraction | None = None) -> IntArray:
    r"""Integer samples (n, *shape) from a file.

    Parameters
    ----------
    path : path
        An ``.npy`` array, the array ``x`` of an ``.npz``, or a ``.csv`` with a header.
    columns : sequence of str
        Which columns of a table to take, in this order; others are ignored. All of them by default.
    step : Fraction, optional
        What one unit is worth in a table's cells; without it decimals are refused.

    Raises
    ------
    DataError
        If the file is missing or malformed, its values are no integers, or a column is missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "new.csv")
    ...     _ = path.write_text("width,length\n3.5,5.1\n3,4.9\n")
    ...     samples(path, columns=["length", "width"], step=Fraction(1, 10)).tolist()
    [[51, 35], [49, 30]]
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() == ".csv":
        return table.features(path, columns, step)
    if path.suffix.lower() == ".npz":
        arrays = archive.arrays(path)
        if "x" not in arrays:
            raise DataError(f"{path}: no array x; there are {', '.join(arrays)}")
        return arrays["x"]
    if path.suffix.lower() != ".npy":
        raise DataError(f"{path}: samples come from .npy, .npz or .csv files")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an array: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise DataError(f"{path}: integers are due, got {getattr(array, 'dtype', type(array).__name__)}")
    return array
