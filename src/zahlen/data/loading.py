"""One door to all data: a name, a folder or a file."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from zahlen.machine import DataError

from . import archive, idx, table
from .dataset import Dataset
from .known import KNOWN


def load(
    spec: str | os.PathLike[str],
    *,
    label: str | None = None,
    step: object = None,
    test: object = 0.2,
    seed: int = 0,
) -> Dataset:
    """Load a data set by its name or from the user's own files.

    Parameters
    ----------
    spec : str or path
        One of

        - ``digits``, part of the package, or ``fashion-mnist``, looked for in ``$ZAHLEN_DATA``,
          ``$XDG_CACHE_HOME/zahlen``, ``~/.cache/zahlen`` and ``/usr/share/datasets``;
        - a folder with four IDX files named as those of MNIST, plain or compressed by gzip;
        - an ``.npz`` file with integer arrays `x` and `y`, and optionally `x_test` and `y_test`;
        - a ``.csv`` file with a header.

        A name goes before a folder of that name; ``./digits`` is the folder.
    label : str, optional
        For a table: the column that holds the class labels.
    step : number or str, optional
        For a table with decimals: the grid that they are rounded onto, half to even; 0.01 makes 150 of 1.50. It is
        taken exactly as it is written.
    test : number or str
        Share of the samples put aside for testing where the source has no test part of its own.
    seed : int
        Which samples these are.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the data are missing, damaged, or not what they must be; the message says where and what to do.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.train.x.shape, digits.train.x.dtype, digits.alphabet, digits.test.counts(10)
    ((1438, 8, 8), dtype('uint8'), Levels(lo=0, hi=16, step=1), (36, 36, 35, 37, 36, 36, 36, 36, 35, 36))
    >>> load("digit")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    zahlen.machine.errors.DataError: no data set is named 'digit'; did you mean digits? There are ...
    """
    path, text = Path(spec), os.fspath(spec)
    is_table = path.suffix.lower() == ".csv"
    for name, value in (("label", label), ("step", step)):
        if value is not None and not is_table:
            raise DataError(f"{text}: {name}= is for tables (.csv) only; leave it out")
    if isinstance(spec, str) and text in KNOWN:
        return KNOWN[text](test, seed)
    if text and path.is_dir():
        return idx.read_folder(path)
    if path.is_file():
        if is_table:
            return table.read(path, label, step, test, seed)
        if path.suffix.lower() == ".npz":
            return archive.read(path, test, seed)
        raise DataError(f"{path}: neither .npz nor .csv; for IDX files pass the folder that holds all four")
    if text and (path.suffix or len(path.parts) != 1 or not isinstance(spec, str)):
        raise DataError(f"{path}: no such file or folder; check the path, relative to {Path.cwd()}")
    raise DataError(_unknown(text))


def _unknown(name: str) -> str:
    close = get_close_matches(name.lower(), KNOWN, n=3)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    if name.lower() == "mnist":
        guess = "for MNIST pass the folder that holds its four IDX files. "
    known = f"There are {', '.join(KNOWN)}; otherwise pass a folder of IDX files, an .npz or a .csv file"
    return f"no data set is named {name!r}; {guess}{known}"
