"""IDX, the format of MNIST: four big-endian bytes of magic, the lengths of the axes, then unsigned bytes."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from zahlen.machine import DataError, IntArray, Levels

from .dataset import Dataset, Split

PARTS = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}
"""The four files of a data set by the start of their name, each with its number of axes."""
MAX_BYTES = 2**32
"""Most bytes that one file may state to hold."""

_CHUNK = 2**20


def find(folder: Path) -> dict[str, Path]:
    """The IDX files in a folder by part, for those parts that are there; plain files before compressed ones."""
    found: dict[str, Path] = {}
    for part, axes in PARTS.items():
        names = [f"{part}{mark}idx{axes}-ubyte{end}" for end in ("", ".gz") for mark in ("-", ".")]
        for path in (folder / name for name in names):
            if path.is_file():
                found.setdefault(part, path)
    return found


def missing(found: Mapping[str, Path]) -> str:
    """The names of the files that are not there."""
    return ", ".join(f"{part}-idx{axes}-ubyte[.gz]" for part, axes in PARTS.items() if part not in found)


def read_folder(
    folder: Path, *, name: str = "", classes: Sequence[str] = (), checksums: Mapping[str, str] | None = None
) -> Dataset:
    """Read the four files of a data set.

    Parameters
    ----------
    folder : Path
    name : str
        By default the folder's name.
    classes : sequence of str
        By default "0", "1", .. up to the largest training label.
    checksums : mapping of part to str, optional
        SHA-256 of each file's uncompressed content.
    """
    if len(found := find(folder)) < len(PARTS):
        raise DataError(f"{folder}: no data set in the IDX format; missing: {missing(found)}")
    arrays = {part: read(path, PARTS[part], (checksums or {}).get(part)) for part, path in found.items()}
    splits = []
    for prefix in ("train", "t10k"):
        images, labels = (arrays[f"{prefix}-{kind}"] for kind in ("images", "labels"))
        try:
            splits.append(Split(images, labels))
        except DataError as error:
            raise DataError(f"{folder}: {prefix}-images and {prefix}-labels: {error}") from None
    train, test = splits
    names = tuple(classes) or tuple(map(str, range(int(train.y.max()) + 1)))
    try:
        return Dataset(name or folder.resolve().name, train, test, Levels(0, 255), names)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from None


def read(path: Path, axes: int, checksum: str | None = None) -> IntArray:
    """Read one file, plain or compressed by gzip, as a uint8 array with this number of axes.

    A plain file is compared with the size that its header states before memory is taken for it; of a compressed one no
    more is unpacked than its header states.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train-labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
    ...     read(path, 1)
    array([7, 0, 9], dtype=uint8)
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    return _content(path, unpacked, axes, checksum, None)
            return _content(path, raw, axes, checksum, os.fstat(raw.fileno()).st_size)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the compressed file is damaged: {error}; get it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _content(
    path: Path, file: IO[bytes] | gzip.GzipFile, axes: int, checksum: str | None, size: int | None
) -> IntArray:
    head = file.read(4 + 4 * axes)
    magic = bytes([0, 0, 8, axes])
    if head[:4] != magic:
        raise DataError(
            f"{path}: not an IDX file of unsigned bytes with {axes} axes: it begins with "
            f"{head[:4].hex(' ') or 'nothing'}, {magic.hex(' ')} is due"
        )
    if len(head) < 4 + 4 * axes:
        raise DataError(f"{path}: truncated within its header, at byte {len(head)}")
    shape = tuple(int.from_bytes(head[k : k + 4], "big") for k in range(4, len(head), 4))
    stated = prod(shape)
    if stated == 0:
        raise DataError(f"{path}: empty: its header states the shape {shape}")
    if stated > MAX_BYTES:
        raise DataError(f"{path}: its header states the shape {shape}, more than {MAX_BYTES:,} bytes")
    if size is not None and size < len(head) + stated:
        raise DataError(f"{path}: truncated: {size:,} bytes, but its header {shape} needs {len(head) + stated:,}")
    content = bytearray()
    while len(content) < stated:
        chunk = file.read(min(_CHUNK, stated - len(content)))
        if not chunk:
            raise DataError(f"{path}: truncated: {len(content):,} values, but its header {shape} needs {stated:,}")
        content += chunk
    if file.read(1):
        raise DataError(f"{path}: bytes follow the {stated:,} values that its header {shape} states")
    if checksum is not None and (found := sha256(head + content).hexdigest()) != checksum:
        raise DataError(
            f"{path}: its content has the SHA-256 {found}, not {checksum}: "
            "it is another or a damaged file, get it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
