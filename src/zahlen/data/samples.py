"""Samples without labels, to run a machine on."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

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
            raise archive.absent(path, "x", arrays)
        return arrays["x"]
    if path.suffix.lower() != ".npy":
        raise DataError(f"{path}: samples come from .npy, .npz or .csv files")
    try:
        with path.open("rb") as file:
            return archive.checked_array(file, path.stat().st_size, f"{path}: the array")
    except archive.DAMAGE as error:
        raise DataError(f"{path}: not an array: {error}") from None


def sample_lengths(path: str | Path) -> IntArray | None:
    """How many steps each sequence of `samples` has, (n,), where an ``.npz`` file says so in its array ``lengths``.

    Raises
    ------
    DataError
        If they do not fit the samples.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz" or not path.is_file():
        return None
    arrays = archive.arrays(path)
    if "lengths" not in arrays or "x" not in arrays:
        return None
    x, lengths = arrays["x"], arrays["lengths"]
    if lengths.shape != x.shape[:1] or x.ndim < 2 or int(lengths.min()) < 1 or int(lengths.max()) > x.shape[1]:
        raise DataError(f"{path}: lengths are 1..{x.shape[1] if x.ndim > 1 else 0} for each of {len(x)} sequences")
    return lengths
