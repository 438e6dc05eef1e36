"""Samples without labels."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from zahlen.data import samples
from zahlen.machine import DataError


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "new.CSV"
    path.write_text("c,a,b\n9,1.5,2\n8,-3.25,4\n")
    assert samples(path, columns=["a", "b"], step=Fraction(1, 4)).tolist() == [[6, 8], [-13, 16]]


def test_whole_arrays(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    for name in ("x.npy", "x.npz"):
        assert (samples(tmp_path / name) == x).all()
        assert samples(tmp_path / name).shape == (3, 2, 2)


@pytest.mark.parametrize("step", [None, Fraction(1)])
def test_decimals_need_a_step(tmp_path: Path, step: Fraction | None) -> None:
    path = tmp_path / "new.csv"
    path.write_text("a\n1.5\n")
    if step is None:
        with pytest.raises(DataError, match="not an integer"):
            samples(path, step=step)
    else:
        assert samples(path, step=step).tolist() == [[2]]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", "a\n1\n", "no column 'b'"),
        ("x.txt", "1", r"\.npy, \.npz or \.csv"),
        ("x.npy", "nothing", "not an array"),
        ("x.npz", "nothing", "x.npz"),
    ],
)
def test_refusals(tmp_path: Path, name: str, content: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        samples(path, columns=["b"])


def test_no_floats_no_times_no_missing_files(tmp_path: Path) -> None:
    for k, dtype in enumerate(("float32", "m8[s]", "bool")):
        path = tmp_path / f"{k}.npy"
        np.save(path, np.zeros((2, 2), dtype=dtype))
        with pytest.raises(DataError, match="integers are due"):
            samples(path)
    with pytest.raises(DataError, match="no such file"):
        samples(tmp_path / "none.npy")
    np.savez(tmp_path / "y.npz", y=np.zeros(3, dtype=int))
    with pytest.raises(DataError, match=r"no array 'x'; it holds y$"):
        samples(tmp_path / "y.npz")
    np.savez(tmp_path / "none.npz", a=np.zeros(3, dtype=int))
    with pytest.raises(DataError, match=r"no array 'x'; it holds none of x, y, lengths, x_test, y_test, lengths_test$"):
        samples(tmp_path / "none.npz")


def test_a_header_that_promises_too_much_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((6, 2), dtype=np.int64))
    content = path.read_bytes()
    for shape, says in (
        (b"(1000000000000, 2)", r"of shape \(1000000000000, 2\) needs 16,000,000,000,128 bytes, it has 224"),
        (b"(7, 2)", r"of shape \(7, 2\) needs 240 bytes, it has 224"),
        (b"(5, 2)", r"of shape \(5, 2\) needs 208 bytes, it has 224"),
        (b"(-6, -2)", "not an array"),
    ):
        old = b"(6, 2), }".ljust(len(shape) + 3)
        assert old in content
        path.write_bytes(content.replace(old, shape + b", }"))
        with pytest.raises(DataError, match=says):
            samples(path)


def test_pickles_are_refused_and_orders_of_any_kind_read(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.int16).reshape(3, 4)
    np.save(tmp_path / "objects.npy", x.astype(object))
    with pytest.raises(DataError, match="the array is a pickle, which could run code"):
        samples(tmp_path / "objects.npy")
    for name, array in (("fortran", np.asfortranarray(x)), ("big", x.astype(">i2"))):
        np.save(tmp_path / f"{name}.npy", array)
        found = samples(tmp_path / f"{name}.npy")
        assert found.tolist() == x.tolist()
        assert found.flags.c_contiguous
        assert found.dtype.isnative
