"""Small data sets in the IDX format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from zahlen.data import idx
from zahlen.machine import IntArray

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([0, 1, 1, 0], dtype=np.uint8)


def encode(array: IntArray) -> bytes:
    lengths = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


def write_folder(folder: Path, end: str = "", mark: str = "-") -> Path:
    folder.mkdir(exist_ok=True)
    for part, axes in idx.PARTS.items():
        content = encode(IMAGES if axes == 3 else LABELS)
        path = folder / f"{part}{mark}idx{axes}-ubyte{end}"
        path.write_bytes(gzip.compress(content) if end else content)
    return folder
