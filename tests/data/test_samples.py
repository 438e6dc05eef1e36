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
    with pytest.raises(DataError, match="no array x"):
        samples(tmp_path / "y.npz")
