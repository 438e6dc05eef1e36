from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import zahlen
from zahlen.data import Dataset, Split, load
from zahlen.machine import DataError, Levels

X = np.array([[1, 2], [3, 4], [5, 6]])
Y = np.array([0, 1, 0])


def test_split_keeps_the_samples_and_makes_the_labels_int64() -> None:
    split = Split(X.astype(np.uint8), Y.astype(np.uint8))
    assert split.x.dtype == np.uint8
    assert split.y.dtype == np.int64
    assert (len(split), split.shape, split.counts(3)) == (3, (2,), (2, 1, 0))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X.astype(float), Y, "x must be an integer array, got float64"),
        (X.tolist(), Y, "x must be an integer array, got list"),
        (X.astype("m8[s]"), Y, "x must be an integer array"),
        (X > 2, Y, "x must be an integer array, got bool"),
        (X, Y.astype(float), "y must be an integer array, got float64"),
        (X[:, 0], Y, r"x has shape \(3,\)"),
        (X, Y.reshape(3, 1), r"y has shape \(3, 1\)"),
        (X, Y[:2], "3 samples but 2 labels"),
        (X[:0], Y[:0], "x is empty"),
        (X[:, :0], Y, "x is empty"),
        (X, np.array([0, -1, 1]), "label -1 of sample 1 is negative"),
        (X, np.array([0, 2**31, 1]), "label 2147483648 is beyond 32 bits"),
        (X, np.array([0, 2**64 - 1, 1], dtype=np.uint64), "beyond 32 bits"),
    ],
)
def test_split_refuses(x: object, y: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(x, y)  # type: ignore[arg-type]


X3 = np.arange(12).reshape(3, 2, 2)


def test_lengths_become_int64() -> None:
    split = Split(X3, Y, np.array([1, 2, 1], dtype=np.uint8))
    assert split.lengths is not None
    assert (split.lengths.dtype, split.lengths.tolist()) == (np.int64, [1, 2, 1])
    assert (split.shape, split.step_shape) == ((2, 2), (2,))
    assert split.values.tolist() == [[0, 1], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2, 1], "lengths must be an integer array, got list"),
        (np.array([1.0, 2.0, 1.0]), "lengths must be an integer array, got float64"),
        (np.array([True, True, True]), "lengths must be an integer array, got bool"),
        (np.array([1, 2]), r"lengths has shape \(2,\) for 3 sequences"),
        (np.array([[1], [2], [1]]), r"lengths has shape \(3, 1\) for 3 sequences"),
        (np.array([1, 3, 0]), r"length 3 of sequence 1 leaves 1\.\.2, the time axis of x"),
        (np.array([1, 2, 0]), "length 0 of sequence 2 .* remove empty sequences"),
        (np.array([1, 2, -1]), "length -1 of sequence 2"),
        (np.array([2**64 - 1, 2, 1], dtype=np.uint64), "length 18446744073709551615 of sequence 0"),
    ],
)
def test_lengths_are_refused(lengths: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(X3, Y, lengths)  # type: ignore[arg-type]


def _dataset(**change: object) -> Dataset:
    parts: dict[str, object] = {
        "train": Split(X, Y),
        "test": Split(X, Y),
        "alphabet": Levels(0, 9),
        "classes": ("a", "b"),
    }
    return Dataset("tiny", **(parts | change))  # type: ignore[arg-type]


def test_unit_is_the_inverse_of_step() -> None:
    assert _dataset().unit == 1
    assert _dataset(step=Fraction(3, 100)).unit == Fraction(100, 3)


def test_text_shortens_many_classes() -> None:
    y = np.arange(30)
    many = Split(np.zeros((30, 2, 3), dtype=np.int32), y)
    text = str(_dataset(train=many, test=many, classes=tuple(map(str, y))))
    assert text == (
        "tiny: 30 training and 30 test samples of 2x3 in 0..9, 30 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, .., 29)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": Split(X[:, :1], Y)}, r"training samples have shape \(2,\), test \(1,\)"),
        ({"classes": ("a",)}, "a single class"),
        ({"classes": ("a", "b", "c")}, r"class 2 \(c\) has no training sample"),
        ({"test": Split(X, Y + 1)}, "test label 2 has no name; there are 2 classes"),
        ({"alphabet": Levels(0, 5)}, "training values 1..6 leave 0..5"),
        ({"alphabet": Levels(1, 7, 2)}, "training values 1..6 leave 1..7 step 2"),
        ({"test": Split(X + 9, Y)}, "test values 10..15 leave 0..9"),
        ({"test": Split(X + 2**31, Y)}, "leave 32 bits"),
        ({"test": Split(X - 2**31 - 2, Y)}, "leave 32 bits"),
        ({"step": Fraction(0)}, "step must be above 0"),
    ],
)
def test_dataset_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _dataset(**change)


@pytest.mark.parametrize(
    ("alphabet", "dtype", "padding"),
    [
        (Levels(-5, 7), "i8", 0),
        (Levels(1, 9), "u1", 1),
        (Levels(-9, 7, 2), "i1", -9),
        (Levels(-9, 7, 2), "u1", -9),
        (Levels(-999, 7, 2), "i1", -999),
        (Levels(-(2**40) + 1, 7, 2), "i1", -(2**40) + 1),
    ],
)
def test_padding_is_overwritten(alphabet: Levels, dtype: str, padding: int) -> None:
    x = np.array([[1, 77], [3, 5], [7, 99]], dtype=dtype)
    split = Split(x, Y, np.array([1, 2, 1]))
    data = _dataset(train=split, test=split, alphabet=alphabet)
    for part in (data.train, data.test):
        assert part.x.tolist() == [[1, padding], [3, 5], [7, padding]]
        assert part.y.tolist() == Y.tolist()
    assert (x[0, 1], x[2, 1]) == (77, 99), "the caller's array is left alone"
    assert alphabet.contains_all(data.train.x)
    assert (data.train.x.dtype == dtype) == (padding in Levels(np.iinfo(dtype).min, np.iinfo(dtype).max))


def test_sequences_say_how_many_steps() -> None:
    split = Split(X3, Y, np.array([2, 2, 2]))
    assert str(_dataset(train=split, test=split, alphabet=Levels(0, 11))) == (
        "tiny: 3 training and 3 test samples of 2 steps of 2 in 0..11, 2 classes (a, b)"
    )
    assert not _dataset().sequences
    assert _dataset().step_shape == (2,)


def test_a_part_of_sequences_and_one_of_samples() -> None:
    split = Split(X3, Y, np.array([2, 2, 2]))
    for parts in ({"train": split, "test": Split(X3, Y)}, {"train": Split(X3, Y), "test": split}):
        with pytest.raises(DataError, match="tiny: one part has lengths, the other has none"):
            _dataset(**parts, alphabet=Levels(0, 11))


def test_a_step_beyond_the_alphabet_is_refused() -> None:
    for alphabet, last in ((Levels(0, 9), 2), (Levels(0, 8), 2)):
        split = Split(X3, Y, np.array([2, 2, last]))
        with pytest.raises(DataError, match=r"training values 0\.\.11 leave"):
            _dataset(train=split, test=split, alphabet=alphabet)


def test_a_test_part_may_lack_a_class() -> None:
    assert _dataset(test=Split(X[:1], Y[:1])).test.counts(2) == (1, 0)


# ---------------------------------------------------------------------------------------------------- the door


def test_data_is_reached_from_the_package() -> None:
    assert zahlen.data.load is load


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashion_mnist", "did you mean fashion-mnist"),
        ("Digits", "did you mean digits"),
        ("mnist", "for MNIST pass the folder"),
        ("xyzzy", "no data set is named 'xyzzy'; There are digits, fashion-mnist; otherwise pass a folder"),
        ("pydoc-topics", "no data set is named 'pydoc-topics'; it is a text without labels, see zahlen.data.text"),
        ("", "no data set is named ''"),
        ("no/such.csv", "no/such.csv: no such file or folder"),
        ("no/such", "no/such: no such file or folder"),
        ("such.npz", "such.npz: no such file or folder"),
        (Path("digits"), "digits: no such file or folder"),
    ],
)
def test_missing(name: str | Path, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        load(name)


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"a\.parquet: none of \.npz, \.csv and \.ts"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize("arguments", [{"label": "a"}, {"step": 1}, {"sequence": "a"}])
def test_arguments_of_tables_are_refused_elsewhere(arguments: dict[str, object]) -> None:
    with pytest.raises(DataError, match="is for tables"):
        load("digits", **arguments)  # type: ignore[arg-type]


def test_a_name_goes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load("digits").name == "digits"
    with pytest.raises(DataError, match="no data set in the IDX format"):
        load("./digits/")
    with pytest.raises(DataError, match="no data set in the IDX format"):
        load(Path("digits"))
