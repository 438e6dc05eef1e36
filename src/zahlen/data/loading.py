"""One door to all data: a name, a folder or a file."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from zahlen.machine import DataError

from . import archive, idx, series, table
from .dataset import Dataset
from .known import KNOWN
from .text import TOPICS


def load(
    spec: str | os.PathLike[str],
    *,
    label: str | None = None,
    step: object = None,
    sequence: str | None = None,
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
        - an ``.npz`` file with integer arrays `x` and `y`, and optionally `x_test` and `y_test`; with `lengths` (and
          `lengths_test`), the samples are sequences (time, ..) of these lengths;
        - a ``.csv`` file with a header;
        - a ``.ts`` file of the UEA and UCR archive of time series, whose samples are sequences (time, dimensions); the
          test part of ``NAME_TRAIN.ts`` is ``NAME_TEST.ts`` beside it.

        A name goes before a folder of that name; ``./digits`` is the folder.
    label : str, optional
        For a table: the column that holds the class labels.
    step : number or str, optional
        For a table or time series with decimals: the grid that they are rounded onto, half to even; 0.01 makes 150
        of 1.50. It is taken exactly as it is written.
    sequence : str, optional
        For a table whose rows are steps of sequences: the column that says of which; the rows of a sequence stand next
        to each other and have one label.
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
    kind = path.suffix.lower()
    for name, value in (("label", label), ("sequence", sequence)):
        if value is not None and kind != ".csv":
            raise DataError(f"{text}: {name}= is for tables (.csv) only; leave it out")
    if step is not None and kind not in (".csv", ".ts"):
        raise DataError(f"{text}: step= is for tables (.csv) and time series (.ts) only; leave it out")
    if isinstance(spec, str) and text in KNOWN:
        return KNOWN[text](test, seed)
    if text and path.is_dir():
        return idx.read_folder(path)
    if path.is_file():
        if kind == ".csv":
            return table.read(path, label, step, test, seed, sequence)
        if kind == ".ts":
            return series.read(path, step, test, seed)
        if kind == ".npz":
            return archive.read(path, test, seed)
        raise DataError(f"{path}: none of .npz, .csv and .ts; for IDX files pass the folder that holds all four")
    if text and (path.suffix or len(path.parts) != 1 or not isinstance(spec, str)):
        raise DataError(f"{path}: no such file or folder; check the path, relative to {Path.cwd()}")
    raise DataError(_unknown(text))


def _unknown(name: str) -> str:
    close = get_close_matches(name.lower(), KNOWN, n=3)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    if name.lower() == "mnist":
        guess = "for MNIST pass the folder that holds its four IDX files. "
    if name == TOPICS:
        guess = "it is a text without labels, see zahlen.data.text. "
    known = f"There are {', '.join(KNOWN)}; otherwise pass a folder of IDX files, an .npz, .csv or .ts file"
    return f"no data set is named {name!r}; {guess}{known}"
