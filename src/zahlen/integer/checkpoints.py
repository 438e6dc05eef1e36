"""Checkpoints of a training in integers: an ``.npz`` file of integers only."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..machine import FileError, IntArray, replacing
from .epochs import Record
from .layer import Parameter

VERSION = 1
"""Of the content of a file."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    settings: dict[str, Any]
    records: list[Record]
    best_epoch: int
    state: int
    remarks: dict[str, Any]
    latent: list[IntArray]
    momentum: list[IntArray]
    best: list[IntArray]

    def restore(self, parameters: Iterable[Parameter], path: Path) -> None:
        """Give parameters the best weights; `path` is what a `FileError` names if they are of another network."""
        parameters = list(parameters)
        self.fitting(parameters, path)
        for p, best in zip(parameters, self.best):
            p.latent[...] = best
            p.refresh()

    def fitting(self, parameters: Iterable[Parameter], path: Path) -> None:
        """A `FileError` if latent weights or momenta are not as the parameters'."""
        due = [p.latent.shape for p in parameters]
        for arrays in (self.latent, self.momentum, self.best):
            if [a.shape for a in arrays] != due or any(a.dtype.kind != "i" or a.dtype.itemsize != 4 for a in arrays):
                raise FileError(f"{path}: not a checkpoint of this network")

    def write(self, path: Path) -> None:
        """To a file, whole or not at all."""
        header = {
            "version": VERSION, "settings": self.settings, "records": [asdict(record) for record in self.records],
            "best": self.best_epoch, "state": self.state, "remarks": self.remarks,
        }  # fmt: skip
        arrays: dict[str, IntArray] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
        for k, (latent, momentum, best) in enumerate(zip(self.latent, self.momentum, self.best)):
            arrays |= {f"latent.{k}": latent, f"momentum.{k}": momentum, f"best.{k}": best}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        with replacing(path) as file:
            file.write(buffer.getvalue())


def read_checkpoint(path: Path) -> Checkpoint:
    """The content of a checkpoint.

    Raises
    ------
    FileError
        If it is none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if any(info.compress_type != zipfile.ZIP_STORED for info in file.zip.infolist()):
                raise ValueError("it is compressed")
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header.pop("version") != VERSION:
            raise ValueError("it is of another version")
        records = [_record(values) for values in header.pop("records")]
        best, state = (_whole(header.pop(name)) for name in ("best", "state"))
        if not 0 <= best < len(records):
            raise ValueError("it has no best epoch")
        rows: dict[str, Any] = {"latent": [], "momentum": [], "best": []}
        for k in range(len(arrays) // 3):
            for name, row in rows.items():
                row.append(arrays.pop(f"{name}.{k}"))
        if arrays or set(header) != {"settings", "remarks"} or not all(isinstance(v, dict) for v in header.values()):
            raise ValueError("it has other parts than zahlen writes")
        return Checkpoint(records=records, best_epoch=best, state=state, **header, **rows)
    except Exception as error:  # whatever a damaged content makes of it
        raise FileError(f"{path}: not a checkpoint: {error}") from None


def _record(values: dict[str, Any]) -> Record:
    record = Record(**values)
    for name, value in values.items():
        if value is not None or name not in ("right", "held_right"):
            _whole(value)
    return record


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no integer")
    return value


def checksum(arrays: Iterable[IntArray]) -> int:
    """Of arrays' types, shapes and values, the same on computers of either byte order."""
    result = 0
    for array in arrays:
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        result = zlib.crc32(little.tobytes(), zlib.crc32(f"{little.dtype.str}{little.shape}".encode(), result))
    return result
