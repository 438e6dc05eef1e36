"""Tables in ``.csv`` files: a header, a column of class labels, and columns of integers or of decimals on a grid."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from zahlen.machine import DataError, IntArray, Levels

from .dataset import Dataset, Split
from .exact import DECIMAL, INTEGER, LONGEST, positive
from .grid import on_grid
from .sequences import pad, starts
from .split import divide

DELIMITERS = ",;\t|"
"""Tried on the header in this order; the one that makes most columns of it is taken."""


@dataclass(frozen=True)
class _Row:
    line: int
    cells: list[str]


def read(path: Path, label: str | None, step: object, test: object, seed: int, sequence: str | None = None) -> Dataset:
    r"""Read a table.

    Every column but `label` is a feature, in the order of the file. Cells are integers; with a `step`, decimals too,
    and each value v becomes the integer v / step, rounded half to even in exact arithmetic. The alphabet is what the
    values span. Labels are integers or names; the classes are sorted, by number where all labels are integers.

    With `sequence`, each row is one step: rows next to each other with the same cell in this column are one sample
    (time, features), and have one label.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "iris.csv")
    ...     _ = path.write_text("length,width,kind\n5.1,3.5,b\n4.9,3,a\n6.35,-1.4,a\n7,2.1,b\n")
    ...     data = read(path, "kind", 0.1, test=0.5, seed=0)
    >>> print(data)
    iris: 2 training and 2 test samples of 2 in -14..70 in steps of 1/10, rounded by at most 1/20, 2 classes (a, b)
    >>> data.train.x.tolist(), data.features
    ([[51, 35], [49, 30]], ('length', 'width'))
    """
    grid = None if step is None else positive(step, "step")
    header, rows = _open(path)
    column = _label_column(path, header, label)
    others = [k for k in range(len(header)) if k != column]
    if sequence is not None:
        others.remove(_sequence_column(path, header, column, sequence))
    x, rounding = _features(path, header, others, rows, grid)
    y, classes = _labels(path, header[column], [(row.line, row.cells[column]) for row in rows])
    try:
        whole = Split(x, y) if sequence is None else _sequences(x, y, rows, header, sequence, column)
        train, rest = divide(whole, classes, test, seed)
        alphabet = Levels(int(x.min()), int(x.max()))
        features = tuple(header[k] for k in others)
        return Dataset(path.stem, train, rest, alphabet, classes, grid or Fraction(1), rounding, features)
    except DataError as refused:
        raise DataError(f"{path}: {refused}") from None


def features(path: Path, columns: Sequence[str], step: Fraction | None) -> IntArray:
    """The named columns (by default all) of a table as integers (rows, columns), rounded as `read` does."""
    header, rows = _open(path)
    for name in columns:
        if name not in header:
            raise DataError(f"{path}: no column {name!r}; the columns are {', '.join(header)}")
    chosen = [header.index(name) for name in columns] or list(range(len(header)))
    return _features(path, header, chosen, rows, step)[0]


# ---------------------------------------------------------------------------------------------------- rows and columns


def _open(path: Path) -> tuple[list[str], list[_Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(path, file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _parse(path: Path, text: str) -> tuple[list[str], list[_Row]]:
    first = next((line for line in io.StringIO(text, newline="") if line.strip()), "")
    delimiter = max(DELIMITERS, key=lambda d: len(next(csv.reader([first], delimiter=d), [])))
    lines = _lines(path, text, delimiter)
    header = next(lines, None)
    if header is None:
        raise DataError(f"{path}: empty; a header and rows are due")
    for k, name in enumerate(header.cells):
        if not name:
            raise DataError(f"{path}: column {k + 1} has no name (a saved row index?); name or remove it")
        if name in header.cells[:k]:
            raise DataError(f"{path}: two columns are named {name!r}; rename one")
    rows = list(lines)
    for row in rows:
        if len(row.cells) != len(header.cells):
            raise DataError(
                f"{path}: line {row.line} has {len(row.cells)} cells, but the header has {len(header.cells)} columns"
            )
    if not rows:
        raise DataError(f"{path}: a header but no rows")
    return header.cells, rows


def _lines(path: Path, text: str, delimiter: str) -> Iterator[_Row]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if cells not in ([], [""]):
                yield _Row(reader.line_num, cells)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from None


def _label_column(path: Path, header: Sequence[str], label: str | None) -> int:
    columns = ", ".join(header)
    if label is None:
        raise DataError(f"{path}: which column holds the class labels? Pass label=; the columns are {columns}")
    if label not in header:
        bare = all(DECIMAL.fullmatch(name) for name in header)
        hint = "; the first line must be a header, this one looks like data" if bare else ""
        raise DataError(f"{path}: no column {label!r}; the columns are {columns}{hint}")
    if len(header) < 2:
        raise DataError(f"{path}: no column beside the labels {label!r}")
    return header.index(label)


def _sequence_column(path: Path, header: Sequence[str], label: int, sequence: str) -> int:
    if sequence not in header:
        raise DataError(f"{path}: no column {sequence!r} for sequence=; the columns are {', '.join(header)}")
    if sequence == header[label]:
        raise DataError(f"{path}: column {sequence!r} cannot both name the sequences and label them")
    if len(header) < 3:
        raise DataError(f"{path}: no column beside the labels {header[label]!r} and the sequences {sequence!r}")
    return header.index(sequence)


def _sequences(
    x: IntArray, y: IntArray, rows: Sequence[_Row], header: Sequence[str], sequence: str, label: int
) -> Split:
    """Rows as steps of the sequences that a column names."""
    ids = [row.cells[header.index(sequence)] for row in rows]
    first = starts(ids, [row.line for row in rows], sequence)
    for begin, end in zip(first, [*first[1:], len(rows)]):
        for row in rows[begin:end]:
            if row.cells[label] != rows[begin].cells[label]:
                raise DataError(
                    f"line {row.line}, column {header[label]!r}: {row.cells[label]!r} within sequence {ids[begin]!r}, "
                    f"which is {rows[begin].cells[label]!r} at line {rows[begin].line}; a sequence has one label"
                )
    steps, lengths = pad(np.split(x, first[1:]))
    return Split(steps, y[first], lengths)


# ---------------------------------------------------------------------------------------------------- cells


def _features(
    path: Path, header: Sequence[str], columns: Sequence[int], rows: Sequence[_Row], grid: Fraction | None
) -> tuple[IntArray, Fraction]:
    """The integers (rows, columns), and the largest rounding error."""
    cells = [[row.cells[k] for k in columns] for row in rows]
    integers, rounding = on_grid(
        cells, grid, lambda i, j: f"{path}: line {rows[i].line}, column {header[columns[j]]!r}"
    )
    return np.stack(integers), rounding


# ---------------------------------------------------------------------------------------------------- labels


def _labels(path: Path, column: str, cells: Sequence[tuple[int, str]]) -> tuple[IntArray, tuple[str, ...]]:
    for line, cell in cells:
        if not cell:
            raise DataError(f"{path}: line {line}, column {column!r}: the label is empty; fill it or remove the row")
    found = {cell for _, cell in cells}
    if all(map(DECIMAL.fullmatch, found)) and not all(map(INTEGER.fullmatch, found)):
        line, cell = next((line, cell) for line, cell in cells if not INTEGER.fullmatch(cell))
        raise DataError(
            f"{path}: line {line}, column {column!r}: {cell!r} is a decimal; class labels are integers or names"
        )
    classes = sorted(found, key=int) if all(map(_is_canonical, found)) else sorted(found)
    index = {name: k for k, name in enumerate(classes)}
    return np.array([index[cell] for _, cell in cells], dtype=np.int64), tuple(classes)


def _is_canonical(text: str) -> bool:
    """Whether this is how Python writes some integer, so that different texts are different numbers."""
    return bool(INTEGER.fullmatch(text)) and len(text) <= LONGEST and str(int(text)) == text
