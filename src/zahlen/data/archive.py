"""Arrays of integers in NumPy's ``.npz`` archives, without pickles."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from zahlen.machine import DataError, IntArray, Levels

from .dataset import Dataset, Split
from .split import divide

NAMES = ("x", "y", "lengths", "x_test", "y_test", "lengths_test")
"""The arrays that are read; others in the archive are left alone."""
MAX_BYTES = 2**32
"""Most bytes that one array of an archive may have, unpacked."""

DAMAGE = (
    *(OSError, EOFError, ValueError, SyntaxError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)
"""What zipfile and NumPy's header parser raise on damaged files."""
HINTS = {
    "y": "a label is the number of a class, 0, 1, ..",
    "lengths": "a length is the number of steps of a sequence",
}
GRID = "round it onto an integer grid, for example np.rint(x * 100).astype(np.int32), and keep the unit in mind"


def read(path: Path, test: object, seed: int) -> Dataset:
    """Read samples `x` (n, *shape) and labels `y` (n,), and `x_test` and `y_test` where there are some.

    With `lengths` (n,), and `lengths_test` beside `x_test`, the samples are sequences `x` (n, time, *step_shape), whose
    time may differ between the two parts. Labels number the classes 0, 1, .. without gaps. The alphabet is 0..255 for
    uint8 samples, and otherwise what the values span, padding aside.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "bits.npz")
    ...     np.savez(path, x=np.arange(8).reshape(4, 2) - 3, y=np.array([0, 1, 0, 1]))
    ...     print(read(path, test=0.5, seed=0))
    bits: 2 training and 2 test samples of 2 in -3..4, 2 classes (0, 1)
    """
    found = arrays(path)
    due = ["x", "y"] + ["lengths"] * ("lengths_test" in found)
    if {"x_test", "y_test", "lengths_test"} & set(found):
        due += ["x_test", "y_test"] + ["lengths_test"] * ("lengths" in found)
    for name in due:
        if name not in found:
            raise absent(path, name, found)
    try:
        whole = Split(found["x"], found["y"], found.get("lengths"))
        classes = tuple(map(str, range(_classes(whole))))
        if "x_test" in found:
            train, rest = whole, Split(found["x_test"], found["y_test"], found.get("lengths_test"))
        else:
            train, rest = divide(whole, classes, test, seed)
        return Dataset(path.stem, train, rest, _alphabet(train.values, rest.values), classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _classes(split: Split) -> int:
    if (top := int(split.y.max())) >= len(split):
        raise DataError(f"label {top}, but only {len(split)} samples; number the classes 0, 1, .. without gaps")
    return top + 1


def _alphabet(*xs: IntArray) -> Levels:
    if all(x.dtype == np.uint8 for x in xs):
        return Levels(0, 255)
    return Levels(min(int(x.min()) for x in xs), max(int(x.max()) for x in xs))


def arrays(path: Path) -> dict[str, IntArray]:
    """The integer arrays of an archive by name; nothing is unpickled, nothing else is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            return {name: _array(path, archive, entries[name], name) for name in NAMES if name in entries}
    except DAMAGE as error:
        raise DataError(f"{path}: not an .npz archive that can be read: {error}") from None


def _array(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> IntArray:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}: array {name!r} is packed by a method that NumPy does not use; save it again")
    if entry.file_size > MAX_BYTES:
        raise DataError(f"{path}: array {name!r} has {entry.file_size:,} bytes, more than {MAX_BYTES:,}")
    hint = HINTS.get(name.removesuffix("_test"), GRID)
    with archive.open(entry) as file:
        return checked_array(file, entry.file_size, f"{path}: array {name!r}", hint)


def checked_array(file: IO[bytes], size: int, what: str, hint: str = GRID) -> IntArray:
    """The integers of an ``.npy`` file of `size` bytes; nothing is unpickled, and its header is not believed.

    Raises
    ------
    DataError
        If it holds anything but integers, or more or fewer than its header states; `what` says in which file.
    DAMAGE
        Any of these, if it is no such file.
    """
    shape, dtype, head = _header(file)
    if dtype.hasobject:
        raise DataError(f"{what} is a pickle, which could run code; save it as an array of integers")
    if dtype.kind not in "iu":
        raise DataError(f"{what} holds {dtype}, integers are due; {hint}")
    needed = head + prod(shape) * dtype.itemsize
    if needed != size:
        raise DataError(f"{what} of shape {shape} needs {needed:,} bytes, it has {size:,}")
    file.seek(0)
    array = np.lib.format.read_array(file, allow_pickle=False)
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def absent(path: Path, name: str, found: Iterable[str]) -> DataError:
    """The error that an archive lacks an array."""
    return DataError(f"{path}: no array {name!r}; it holds {', '.join(found) or 'none of ' + ', '.join(NAMES)}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format is not one for integers")
    shape, _, dtype = readers[version](file)
    return shape, dtype, file.tell()
