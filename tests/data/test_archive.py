from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zahlen.data import load
from zahlen.machine import DataError, Levels, ZahlenError

X = np.arange(-6, 6).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez_compressed(path, **arrays)
    return path


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def raw(folder: Path, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    path = folder / "mine.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("dtype", ["i1", "<i2", ">i4", "<i8", ">i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_with_a_test_part(tmp_path: Path, dtype: str, order: Any) -> None:
    path = save(tmp_path, x=np.array(X, dtype, order=order), y=Y.astype("u1"), x_test=X[:3].astype(dtype), y_test=Y[:3])
    data = load(path)
    assert (data.name, data.classes, data.alphabet) == ("mine", ("0", "1", "2"), Levels(-6, 5))
    assert (data.train.x.tolist(), data.train.y.tolist()) == (X.tolist(), Y.tolist())
    assert (data.test.x.tolist(), data.test.y.tolist()) == (X[:3].tolist(), Y[:3].tolist())
    assert data.train.x.dtype == np.dtype(dtype).newbyteorder("=")
    assert data.train.x.dtype.isnative


def test_without_a_test_part_it_is_divided(tmp_path: Path) -> None:
    data = load(save(tmp_path, x=X, y=Y), test=0.5, seed=3)
    assert data.train.counts(3) == data.test.counts(3) == (1, 1, 1)
    assert sorted(data.train.x.tolist() + data.test.x.tolist()) == X.tolist()


def test_bytes_are_pixels(tmp_path: Path) -> None:
    assert load(save(tmp_path, x=(X + 6).astype(np.uint8), y=Y), test=0.5).alphabet == Levels(0, 255)


def test_other_arrays_are_left_alone(tmp_path: Path) -> None:
    assert len(load(save(tmp_path, x=X, y=Y, names=np.array([{}], dtype=object)), test=0.5).train) == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "no array 'y'; it holds x"),
        ({"a": X}, "no array 'x'; it holds none of x, y, lengths, x_test, y_test, lengths_test"),
        ({"x": X, "y": Y, "x_test": X}, "no array 'y_test'; it holds x, y, x_test"),
        ({"x": X, "y": Y, "y_test": Y}, "no array 'x_test'"),
        ({"x": X, "y": Y, "lengths_test": Y}, "no array 'lengths'; it holds x, y, lengths_test"),
        (
            {"x": X, "y": Y, "lengths": Y + 0.5},
            "array 'lengths' holds float64, integers are due; a length is the number",
        ),
        ({"x": X, "y": Y, "lengths": Y}, r"length 0 of sequence 0 leaves 1\.\.2, the time axis of x; count the steps"),
        ({"x": X, "y": Y, "lengths": Y + 1}, r"length 3 of sequence 2 leaves 1\.\.2"),
        ({"x": X, "y": Y, "lengths": Y[:5]}, r"lengths has shape \(5,\) for 6 sequences; one length each is due"),
        ({"x": X / 2, "y": Y}, "array 'x' holds float64, integers are due; round it onto an integer grid"),
        ({"x": X.astype(float), "y": Y}, "array 'x' holds float64"),
        ({"x": X > 0, "y": Y}, "array 'x' holds bool"),
        ({"x": X.astype("m8[s]"), "y": Y}, "array 'x' holds timedelta64"),
        ({"x": X.astype("U3"), "y": Y}, "array 'x' holds <U3"),
        ({"x": X, "y": Y.astype(float)}, "array 'y' holds float64, integers are due; a label is the number of a class"),
        ({"x": X.astype(object), "y": Y}, "array 'x' is a pickle"),
        ({"x": X, "y": Y - 1}, "label -1 of sample 0 is negative"),
        ({"x": X, "y": Y[:5]}, "6 samples but 5 labels"),
        ({"x": X, "y": Y * 0}, "a single class"),
        ({"x": X, "y": Y * 2}, "class '1' has 0 samples"),
        ({"x": X, "y": Y * 2, "x_test": X, "y_test": Y}, r"class 1 \(1\) has no training sample"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, "test label 3 has no name"),
        ({"x": X, "y": Y * 10**9}, "label 2000000000, but only 6 samples"),
        ({"x": X, "y": np.array([0, 0, 0, 0, 1, 1]), "x_test": X[:0], "y_test": Y[:0]}, "x is empty"),
        ({"x": X[:0], "y": Y[:0]}, "x is empty"),
        ({"x": X + 2**31, "y": Y}, "leave 32 bits"),
        ({"x": X.astype(np.uint64) + np.uint64(2**63), "y": Y}, "leave 32 bits"),
        ({"x": X, "y": np.array([0, 0, 0, 0, 0, 1])}, "class '1' has 1 sample"),
        ({"x": X[:, 0], "y": Y}, r"x has shape \(6,\)"),
        ({"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y}, r"training samples have shape \(2,\), test \(1,\)"),
    ],
)
def test_refusals(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        load(path)


# ---------------------------------------------------------------------------------------------------- sequences

LENGTHS = np.array([1, 2, 1, 1, 2, 2])


def test_lengths_make_sequences(tmp_path: Path) -> None:
    data = load(save(tmp_path, x=X, y=Y, lengths=LENGTHS.astype(np.uint8)), test=0.5)
    assert (data.sequences, data.shape, data.step_shape, data.alphabet) == (True, (2,), (), Levels(-6, 5))
    found = {}
    for part in (data.train, data.test):
        assert part.lengths is not None
        assert part.lengths.dtype == np.int64
        found |= {row[0]: (row, n) for row, n in zip(part.x.tolist(), part.lengths.tolist())}
    assert found == {
        -6: ([-6, 0], 1),
        -4: ([-4, -3], 2),
        -2: ([-2, 0], 1),
        0: ([0, 0], 1),
        2: ([2, 3], 2),
        4: ([4, 5], 2),
    }
    assert str(data) == "mine: 3 training and 3 test samples of 1..2 steps of 1 in -6..5, 3 classes (0, 1, 2)"


def test_parts_of_different_time(tmp_path: Path) -> None:
    x, longer = X.reshape(3, 2, 2), np.arange(-6, 6).reshape(2, 3, 2)
    path = save(tmp_path, x=x, y=Y[:3], lengths=[2, 1, 2], x_test=longer, y_test=Y[:2], lengths_test=[3, 2])
    data = load(path)
    assert (data.shape, data.step_shape, data.test.shape) == ((2, 2), (2,), (3, 2))
    assert data.train.x[1].tolist() == [[-2, -1], [0, 0]]
    assert data.test.x[1].tolist() == [[0, 1], [2, 3], [0, 0]]
    assert str(data).startswith("mine: 3 training and 2 test samples of 1..3 steps of 2 in -6..5, ")


def test_padding_does_not_widen_the_alphabet(tmp_path: Path) -> None:
    x = np.where(np.arange(2) < LENGTHS[:, None], X + 20, 2**40)
    assert load(save(tmp_path, x=x, y=Y, lengths=LENGTHS), test=0.5).alphabet == Levels(14, 25)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"lengths": LENGTHS, "x_test": X, "y_test": Y}, "no array 'lengths_test'; it holds x, y, lengths, x_test"),
        ({"lengths_test": LENGTHS, "x_test": X, "y_test": Y}, "no array 'lengths'"),
        ({"lengths": LENGTHS, "lengths_test": LENGTHS}, "no array 'x_test'"),
        ({"lengths": LENGTHS, "x_test": X, "y_test": Y, "lengths_test": LENGTHS * 2}, "length 4 of sequence 1 leaves"),
        (
            {"lengths": LENGTHS, "x_test": X.reshape(2, 3, 2), "y_test": Y[:2], "lengths_test": LENGTHS[:2]},
            r"training steps have shape \(\), test \(2,\)",
        ),
    ],
)
def test_refusals_of_sequences(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path, x=X, y=Y, **arrays)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        load(path)


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["x", "y"])
def test_pickles_are_never_run(tmp_path: Path, name: str) -> None:
    arrays = {"x": X, "y": Y} | {name: np.array([Trap(tmp_path / "sprung")], dtype=object)}
    with pytest.raises(DataError, match=f"array '{name}' is a pickle, which could run code"):
        load(save(tmp_path, **arrays))
    assert not (tmp_path / "sprung").exists()


HEAD = npy(X)[:128]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an .npz archive"),
        (b"nonsense" * 20, "not an .npz archive"),
        (npy(X)[:-1], r"array 'x' of shape \(6, 2\) needs 224 bytes, it has 223"),
        (npy(X) + b"\0", "needs 224 bytes, it has 225"),
        (HEAD.replace(b"(6, 2), ", b"(9**9,),"), "not an .npz archive"),
        (HEAD.replace(b"(6, 2), }    ", b"(6000000, 2),"), "not an .npz archive"),
        (HEAD.replace(b"(6, 2), }       ", b"(6000000000, 2)}"), "needs 96,000,000,128 bytes, it has 128"),
        (npy(X).replace(b"(6, 2), } ", b"(-6, -2)} "), "not an .npz archive"),
        (HEAD.replace(b"{'descr'", b"{{{{{{{{"), "not an .npz archive"),
    ],
)
def test_damaged_arrays(tmp_path: Path, content: bytes, message: str) -> None:
    path = raw(tmp_path, x=content, y=npy(Y))
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        load(path)


def test_odd_compression(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="packed by a method that NumPy does not use"):
        load(raw(tmp_path, zipfile.ZIP_LZMA, x=npy(X), y=npy(Y)))


def test_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(npy(X))
    with pytest.raises(DataError, match=r"mine\.npz: not an \.npz archive that can be read: File is not a zip file"):
        load(path)


@settings(max_examples=300)
@given(st.data())
def test_damage_anywhere_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("npz")
    path = save(folder, x=X, y=Y) if data.draw(st.booleans()) else raw(folder, x=npy(X), y=npy(Y))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        found = load(path, test=0.5)
    except ZahlenError:
        return
    assert sorted(found.train.x.tolist() + found.test.x.tolist()) == X.tolist()
