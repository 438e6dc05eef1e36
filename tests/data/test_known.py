from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_folder

from zahlen.data import idx, known, load
from zahlen.machine import DataError, Levels

DIGITS_TRAIN_X = "798adfc1766ae8df47c5e0ee12bb8bc711a53edc7f712bd9f569a691cef9c5cf"
DIGITS_TRAIN_Y = "d1d5ec737911a7c30732d626e742f11df2ad5bcf7934a67d586f0a5191286d0c"
DIGITS_TEST_X = "79fd07b508f658403880ed13043e0576a9ddd473670fe84711dc551502768ca6"
DIGITS_TEST_Y = "978b72cb0d46b68745dc60c66e605846d27483c41cea854677505807a6ea7605"


def sha256(array: object) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype="<i8").tobytes()).hexdigest()


def test_digits_are_the_recorded_ones() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test), data.shape) == (1438, 359, (8, 8))
    assert (data.alphabet, data.classes) == (Levels(0, 16), tuple("0123456789"))
    assert data.train.x.dtype == np.uint8
    assert (int(data.train.x.min()), int(data.train.x.max())) == (0, 16)
    recorded = [DIGITS_TRAIN_X, DIGITS_TRAIN_Y, DIGITS_TEST_X, DIGITS_TEST_Y]
    assert [sha256(a) for a in (data.train.x, data.train.y, data.test.x, data.test.y)] == recorded


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    theirs, ours = datasets.load_digits(), load("digits", test=0.5)
    rows = {(*x.ravel().tolist(), y) for part in (ours.train, ours.test) for x, y in zip(part.x, part.y.tolist())}
    assert rows == {(*map(int, x), int(y)) for x, y in zip(theirs.data, theirs.target)}
    assert len(ours.train) + len(ours.test) == len(theirs.target)


def test_digits_come_with_their_licence() -> None:
    text = Path(known.__file__).with_name("digits.LICENSE.txt").read_text(encoding="utf-8")
    assert "E. Alpaydin and C. Kaynak" in text
    assert "CC BY 4.0" in text


def test_digits_need_nothing_but_numpy() -> None:
    import subprocess

    code = (
        "import sys, zahlen.data; zahlen.data.load('digits'); print({'sklearn', 'torch', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ---------------------------------------------------------------------------------------------------- fashion-mnist


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The four places that are looked in, all empty and in their order."""
    names = ["own", "cache/zahlen", "home/.cache/zahlen", "system"]
    monkeypatch.setenv("ZAHLEN_DATA", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(known, "SYSTEM", (tmp_path / "system",))
    return [tmp_path / name / "fashion-mnist" for name in names]


def test_fashion_mnist_says_how_to_get_it(places: list[Path]) -> None:
    with pytest.raises(DataError) as refusal:
        load("fashion-mnist")
    message = str(refusal.value)
    assert f"looked in {', '.join(map(str, places))}. " in message
    assert "apt-get install dataset-fashion-mnist" in message
    for part in idx.PARTS:
        assert part in message


def test_places_are_looked_in_one_after_the_other(places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "FASHION_SHA256", {})
    monkeypatch.setattr(known, "FASHION_CLASSES", ("a", "b"))
    seen = []
    monkeypatch.setattr(known.idx, "read_folder", lambda folder, **_: seen.append(folder))
    for place in reversed(places):
        place.mkdir(parents=True)
        write_folder(place)
        load("fashion-mnist")
    assert seen == places[::-1]


def test_another_data_set_under_its_name_is_refused(places: list[Path]) -> None:
    places[0].mkdir(parents=True)
    write_folder(places[0])
    with pytest.raises(DataError, match=r"own/fashion-mnist/.*-ubyte: its content has the SHA-256 .* get it again"):
        load("fashion-mnist")


def test_fashion_mnist() -> None:
    if not any(len(idx.find(place / "fashion-mnist")) == 4 for place in (*known.caches(), *known.SYSTEM)):
        if os.environ.get("ZAHLEN_REQUIRE_TOOLS") == "1":
            pytest.fail("fashion-mnist is not installed: apt-get install dataset-fashion-mnist")
        pytest.skip("fashion-mnist is not installed: apt-get install dataset-fashion-mnist")
    data = load("fashion-mnist")
    assert data.train.counts(10) == (6000,) * 10
    assert data.test.counts(10) == (1000,) * 10
    assert (data.train.x.shape, data.test.x.shape, data.train.x.dtype) == ((60000, 28, 28), (10000, 28, 28), np.uint8)
    assert (data.alphabet, data.classes[9]) == (Levels(0, 255), "Ankle boot")
    assert data.train.y[:5].tolist() == [9, 0, 0, 3, 0]
    assert (int(data.train.x.min()), int(data.train.x.max())) == (0, 255)
    # the mean pixel, 72.94, is in the literature
    assert int(data.train.x.sum(dtype=np.int64)) * 100 // data.train.x.size == 7294
    digest = hashlib.sha256(data.test.x.tobytes()).hexdigest()
    assert digest == "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a"
