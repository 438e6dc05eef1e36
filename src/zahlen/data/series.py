"""Time series in ``.ts`` files, the format of the UEA and UCR archive of time series classification.

After a header of directives, each line is a sample: its dimensions, separated by colons, each the values of all steps,
separated by commas; then a colon and the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from zahlen.machine import DataError, Levels

from .dataset import Dataset, Split
from .exact import INTEGER, LONGEST, positive
from .grid import on_grid
from .sequences import pad
from .split import divide

DIRECTIVES = (
    *("problemname", "timestamps", "missing", "univariate", "dimension", "dimensions"),
    *("equallength", "serieslength", "classlabel", "targetlabel", "data"),
)
"""What a header may state, in small letters; capitals mean the same."""
TRAIN, TEST = "_TRAIN", "_TEST"
"""How the names of a data set's two files end."""

_MISSING = frozenset({"", "?", "nan"})


@dataclass(frozen=True)
class _Sample:
    line: int
    dimensions: list[list[str]]
    label: str


def read(path: Path, step: object, test: object, seed: int) -> Dataset:
    r"""Read a file of time series; the test part of ``NAME_TRAIN.ts`` is ``NAME_TEST.ts`` beside it, if it is there.

    The samples are sequences (time, dimensions), also where there is one dimension or one length. Values are put onto
    the grid `step` as those of tables, the alphabet is what they span, and the classes are those of ``@classLabel`` in
    their order.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "Two_TRAIN.ts")
    ...     head = "@problemName Two\n@univariate false\n@classLabel true up down\n@data\n"
    ...     _ = path.write_text(head + "0.1,0.2,0.3:1,1,2:up\n0.5,0.1:2,1:down\n")
    ...     _ = path.with_name("Two_TEST.ts").write_text(head + "0.12,0.4:1,3:up\n")
    ...     data = read(path, 0.1, test=0.2, seed=0)
    >>> data.train.x[1].tolist(), data.train.lengths.tolist(), data.error, data.classes
    ([[5, 20], [1, 10], [1, 1]], [3, 2], Fraction(1, 50), ('up', 'down'))
    """
    grid = None if step is None else positive(step, "step")
    if path.stem.endswith(TEST):
        first = path.stem.removesuffix(TEST) + TRAIN + path.suffix
        raise DataError(f"{path}: a test part by its name; pass {first}, beside which it is found, or rename it")
    name = path.stem.removesuffix(TRAIN)
    beside = path.with_name(name + TEST + path.suffix)
    classes, samples = _parse(path)
    whole, error = _split(path, classes, samples, grid)
    aside = None
    if name != path.stem and beside.is_file():
        aside, more = _split(beside, classes, _parse(beside)[1], grid)
        error = max(error, more)
    try:
        train, rest = divide(whole, classes, test, seed) if aside is None else (whole, aside)
        ends = [int(end(part.values)) for part in (train, rest) for end in (np.min, np.max)]
        return Dataset(name, train, rest, Levels(min(ends), max(ends)), classes, grid or Fraction(1), error)
    except DataError as refused:
        raise DataError(f"{path}: {refused}") from None


def _split(
    path: Path, classes: Sequence[str], samples: Sequence[_Sample], grid: Fraction | None
) -> tuple[Split, Fraction]:
    """The samples as padded integers, and the largest rounding error."""
    index = {name: k for k, name in enumerate(classes)}
    for sample in samples:
        if sample.label not in index:
            raise DataError(
                f"{path}: line {sample.line}: class {sample.label[:LONGEST]!r} is not one of @classLabel: "
                f"{', '.join(classes)}"
            )
    places = [(sample.line, k + 1) for sample in samples for k in range(len(sample.dimensions))]
    cells = [dimension for sample in samples for dimension in sample.dimensions]
    integers, error = on_grid(
        cells, grid, lambda i, j: f"{path}: line {places[i][0]}, dimension {places[i][1]}, step {j + 1}"
    )
    width = len(samples[0].dimensions)
    x, lengths = pad([np.stack(integers[k : k + width], axis=1) for k in range(0, len(integers), width)])
    return Split(x, np.array([index[sample.label] for sample in samples]), lengths), error


# ---------------------------------------------------------------------------------------------------- header


def _parse(path: Path) -> tuple[tuple[str, ...], list[_Sample]]:
    """The classes and the samples of a file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    header: dict[str, list[str]] = {}
    samples = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line[0] in "#%":
            continue
        if "data" in header:
            samples.append(_sample(f"{path}: line {number}", number, line))
            continue
        keyword, *words = line.split()
        if (directive := keyword.removeprefix("@").lower()) not in DIRECTIVES or keyword[0] != "@":
            raise DataError(
                f"{path}: line {number}: {keyword[:LONGEST]!r} before @data is no directive of the format; "
                f"they are @{', @'.join(DIRECTIVES)}"
            )
        header[directive] = words
        if directive == "data":
            classes = _classes(path, header)
    if not samples:
        raise DataError(f"{path}: no samples; after a line @data one line for each is due")
    _check(path, header, samples)
    return classes, samples


def _classes(path: Path, header: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if _flag(path, header, "timestamps"):
        raise DataError(f"{path}: time stamps (@timestamps true) are not read; write one plain value per step")
    if _flag(path, header, "targetlabel"):
        raise DataError(
            f"{path}: its labels are numbers to predict (@targetlabel true); classes are due, @classlabel true NAME .."
        )
    if not _flag(path, header, "classlabel"):
        raise DataError(
            f"{path}: it has no classes; state them as @classlabel true NAME NAME .. and end each sample with one"
        )
    classes = tuple(header["classlabel"][1:])
    for name in classes:
        if classes.count(name) > 1:
            raise DataError(f"{path}: @classlabel names {name!r} twice; remove one")
    return classes


def _flag(path: Path, header: Mapping[str, Sequence[str]], directive: str) -> bool:
    word = next(iter(header.get(directive, ["false"])), "")
    if word.lower() not in ("true", "false"):
        raise DataError(f"{path}: @{directive} is true or false, got {word!r}")
    return word.lower() == "true"


def _number(path: Path, header: Mapping[str, Sequence[str]], directive: str) -> int | None:
    if directive not in header:
        return None
    words = " ".join(header[directive])
    if len(words) > 9 or not INTEGER.fullmatch(words) or int(words) < 1:
        raise DataError(f"{path}: @{directive} is a number from 1, got {words[:LONGEST]!r}")
    return int(words)


# ---------------------------------------------------------------------------------------------------- samples


def _sample(where: str, number: int, line: str) -> _Sample:
    *dimensions, label = line.split(":")
    cells = [[cell.strip() for cell in dimension.split(",")] for dimension in dimensions]
    if not cells:
        raise DataError(f"{where}: no class; values, a colon and the class are due")
    for k, dimension in enumerate(cells):
        for j, cell in enumerate(dimension):
            if cell.lower() in _MISSING:
                raise DataError(
                    f"{where}, dimension {k + 1}, step {j + 1}: {cell!r} is a missing value; "
                    "fill it in or remove the sample"
                )
        if len(dimension) != len(cells[0]):
            raise DataError(
                f"{where}: dimension {k + 1} has {len(dimension)} steps, dimension 1 has {len(cells[0])}; "
                "all dimensions of a sample need the same"
            )
    return _Sample(number, cells, label.strip())


def _check(path: Path, header: Mapping[str, Sequence[str]], samples: Sequence[_Sample]) -> None:
    """Hold the samples against each other, and against what the header states of them."""
    first = samples[0].dimensions
    stated = _number(path, header, "dimensions") or _number(path, header, "dimension")
    width = 1 if _flag(path, header, "univariate") else stated or len(first)
    length = _number(path, header, "serieslength") or len(first[0])
    for sample in samples:
        where, found = f"{path}: line {sample.line}", sample.dimensions
        if len(found) != width:
            raise DataError(f"{where} has {len(found)} dimensions, {width} are due by the header or the first sample")
        if _flag(path, header, "equallength") and len(found[0]) != length:
            raise DataError(f"{where} has {len(found[0])} steps, with @equallength true {length} are due")
