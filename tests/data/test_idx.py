from __future__ import annotations

import gzip
import tracemalloc
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from idx_files import IMAGES, LABELS, encode, write_folder

from zahlen.data import idx, load
from zahlen.machine import DataError, IntArray, Levels


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
def test_a_folder_in_every_spelling(tmp_path: Path, end: str, mark: str) -> None:
    data = load(write_folder(tmp_path / "mine", end, mark))
    assert (data.name, data.classes, data.alphabet, data.unit) == ("mine", ("0", "1"), Levels(0, 255), 1)
    for part in (data.train, data.test):
        assert part.x.tolist() == IMAGES.tolist()
        assert part.x.dtype == np.uint8
        assert part.y.tolist() == LABELS.tolist()


def test_the_path_may_be_text(tmp_path: Path) -> None:
    assert load(str(write_folder(tmp_path / "mine"))).name == "mine"


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=5)), st.booleans())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, array: IntArray, packed: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(encode(array)) if packed else encode(array))
    read = idx.read(path, array.ndim)
    assert read.shape == array.shape
    assert read.tolist() == array.tolist()


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"missing: t10k-labels-idx1-ubyte\[\.gz\]$"):
        load(tmp_path)


GOOD = encode(IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, 00 00 08 03 is due"),
        (b"\0\0", "begins with 00 00, 00 00 08 03 is due"),
        (encode(LABELS), "begins with 00 00 08 01"),
        (b"\0\0\x0d\x03" + GOOD[4:], "begins with 00 00 0d 03"),
        (b"\x89PNG" + GOOD[4:], "begins with 89 50 4e 47"),
        (GOOD[:10], "truncated within its header, at byte 10"),
        (GOOD[:-1], "truncated"),
        (GOOD[:16], "truncated"),
        (GOOD + b"\0", "bytes follow the 24 values"),
        (encode(IMAGES[:0]), r"empty: its header states the shape \(0, 3, 2\)"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"more than 4,294,967,296 bytes"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(tmp_path: Path, content: bytes, message: str, packed: bool) -> None:
    path = write_folder(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte: .*{message}"):
        load(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b[:20], lambda b: b[:-8] + b"\0" * 8, lambda b: b + b"no"]
)
def test_damaged_compression(tmp_path: Path, damage: object) -> None:
    path = write_folder(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(damage(gzip.compress(GOOD)))  # type: ignore[operator]
    with pytest.raises(DataError, match="train-images-idx3-ubyte: the compressed file is damaged"):
        load(tmp_path)


def test_a_stated_size_takes_no_memory(tmp_path: Path) -> None:
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2**16, 2**8, 2**8))
    assert prod((2**16, 2**8, 2**8)) == idx.MAX_BYTES
    plain = head + b"\0" * 99
    for content, found in ((plain, "115 bytes"), (gzip.compress(plain), "99 values")):
        (tmp_path / "file").write_bytes(content)
        tracemalloc.start()
        with pytest.raises(DataError, match=f"truncated: {found}"):
            idx.read(tmp_path / "file", 3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**23


def test_a_bomb_is_unpacked_no_further_than_its_header_states(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(encode(LABELS) + b"\0" * 2**26))
    tracemalloc.start()
    with pytest.raises(DataError, match="bytes follow the 4 values"):
        idx.read(tmp_path / "file", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_checksums(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: its content has the SHA-256 [0-9a-f]{64}, not 00"):
        idx.read_folder(tmp_path, checksums={"t10k-images": "00"})


def test_labels_must_fit_the_samples(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "t10k-labels-idx1-ubyte").write_bytes(encode(LABELS[:3]))
    with pytest.raises(DataError, match="t10k-images and t10k-labels: 4 samples but 3 labels"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("part", "labels", "message"),
    [
        ("train", [0, 0, 0, 0], "a single class"),
        ("train", [0, 3, 3, 0], r"class 1 \(1\) has no training sample"),
        ("t10k", [0, 2, 1, 0], "test label 2 has no name"),
    ],
)
def test_labels_must_be_classes(tmp_path: Path, part: str, labels: list[int], message: str) -> None:
    (write_folder(tmp_path) / f"{part}-labels-idx1-ubyte").write_bytes(encode(np.array(labels, dtype=np.uint8)))
    with pytest.raises(DataError, match=rf"^{tmp_path}: .*{message}"):
        load(tmp_path)


def test_sizes_must_agree(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "t10k-images-idx3-ubyte").write_bytes(encode(IMAGES.reshape(4, 2, 3)))
    with pytest.raises(DataError, match=r"training samples have shape \(3, 2\), test \(2, 3\)"):
        load(tmp_path)
