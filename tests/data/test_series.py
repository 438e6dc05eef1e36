"""Files of the archive of time series classification."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen.data import load
from zahlen.machine import DataError, Levels

HEAD = """# A comment
%# another one
@problemName Mine
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""
SAMPLES = "1,2,3:-4,5,6:down\n7:8:up\n9,1:2,3:up\n4,4,4,4:5,5,5,5:down\n"
GOOD = HEAD + SAMPLES
STEPS = {
    ((1, -4), (2, 5), (3, 6)): "down",
    ((7, 8),): "up",
    ((9, 2), (1, 3)): "up",
    ((4, 5), (4, 5), (4, 5), (4, 5)): "down",
}


def write(folder: Path, text: str, name: str = "Mine.ts") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def steps(path: Path, **arguments: object) -> dict[tuple[tuple[int, ...], ...], str]:
    """The own steps of each sample, with its class."""
    data = load(path, **arguments)  # type: ignore[arg-type]
    found = {}
    for part in (data.train, data.test):
        assert part.lengths is not None
        for x, n, y in zip(part.x, part.lengths, part.y):
            found[tuple(map(tuple, x[:n].tolist()))] = data.classes[y]
    return found


def test_one_file_is_divided(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert steps(path) == STEPS
    data = load(path)
    assert (data.name, data.classes, data.alphabet) == ("Mine", ("up", "down"), Levels(-4, 9))
    assert (data.train.x.shape, data.train.x.dtype, data.step_shape) == ((2, 4, 2), np.int32, (2,))
    assert str(data) == "Mine: 2 training and 2 test samples of 1..4 steps of 2 in -4..9, 2 classes (up, down)"


def test_the_test_part_is_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "1,2.5,3:-4,5,6:down\n7:8:up\n", "Mine_TRAIN.ts")
    # alone it would be divided, which a class of one sample does not allow
    with pytest.raises(DataError, match=f"^{path}: class 'up' has 1 sample"):
        load(path, step=1)
    write(tmp_path, GOOD.replace("up down", "down up") + "11.25:1:up\n", "Mine_TEST.ts")
    data = load(path, step="0.5")
    assert (data.name, data.classes, len(data.train), len(data.test)) == ("Mine", ("up", "down"), 2, 5)
    assert data.train.x.tolist() == [[[2, -8], [5, 10], [6, 12]], [[14, 16], [0, 0], [0, 0]]]
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([1, 0], [1, 0, 0, 1, 0])
    assert (data.test.x.shape, data.test.x[4, 0].tolist()) == ((5, 4, 2), [22, 2])
    assert (data.alphabet, data.step, data.error) == (Levels(-8, 22), Fraction(1, 2), Fraction(1, 4))


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\n\n"),
        GOOD.replace("\n", "\t\n  "),
        GOOD.replace("@data\n", "@data\n# said again\n"),
        GOOD.replace(",", " , ").replace(":", " : "),
        GOOD.replace("@timeStamps false", "@TIMESTAMPS False").replace("@data", "@DATA"),
        GOOD.replace("@missing false", "@missing true"),
        GOOD.replace("dimensions", "dimension").replace("@problemName Mine\n", ""),
        SAMPLES.join(["@classLabel true up down\n@data\n", ""]),
    ],
)
def test_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    assert steps(write(tmp_path, text)) == STEPS


def test_only_a_training_part_has_a_test_part(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("7", "8"), "Mine_TEST.ts")
    assert steps(path) == STEPS


def test_one_dimension_and_equal_lengths_are_sequences_too(tmp_path: Path) -> None:
    head = "@univariate true\n@equalLength true\n@seriesLength 3\n@classLabel true 0.0 1.0\n@data\n"
    data = load(write(tmp_path, head + "1,2,3:0.0\n4,5,6:1.0\n7,8,9:0.0\n1,1,1:1.0\n"))
    assert (data.sequences, data.shape, data.classes) == (True, (3, 1), ("0.0", "1.0"))
    assert str(data) == "Mine: 2 training and 2 test samples of 3 steps of 1 in 1..9, 2 classes (0.0, 1.0)"


@given(st.data(), st.integers(1, 3), st.decimals("0.001", 5, places=3))
def test_every_value_is_the_nearest_on_the_grid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, width: int, step: Decimal
) -> None:
    numbers = st.decimals(-1000, 1000, places=4, allow_nan=False)
    row = st.lists(numbers, min_size=width, max_size=width)
    series = data.draw(st.lists(st.lists(row, min_size=1, max_size=4), min_size=2, max_size=5))
    text = "@classLabel true a b\n@data\n" + "".join(
        ":".join(",".join(str(values[k]) for values in sample) for k in range(width)) + f":{'ab'[i % 2]}\n"
        for i, sample in enumerate(series)
    )
    folder = tmp_path_factory.mktemp("ts")
    write(folder, text, "Mine_TEST.ts")
    found = load(write(folder, text, "Mine_TRAIN.ts"), step=step)
    expected = [[[round(Fraction(v) / Fraction(step)) for v in values] for values in sample] for sample in series]
    for part in (found.train, found.test):
        assert part.lengths is not None
        assert [x[:n].tolist() for x, n in zip(part.x, part.lengths)] == expected
        padding = 0 if 0 in found.alphabet else found.alphabet.lo
        assert all((x[n:] == padding).all() for x, n in zip(part.x, part.lengths))
    flat = [v for sample in expected for values in sample for v in values]
    assert found.alphabet == Levels(min(flat), max(flat))


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no samples; after a line @data one line for each is due"),
        (HEAD, "no samples"),
        (HEAD.replace("@data\n", ""), "no samples"),
        (GOOD.replace("@data\n", ""), "line 10: '1,2,3:-4,5,6:down' before @data is no directive of the format; they"),
        (GOOD.replace("@missing", "@relation"), "line 5: '@relation' before @data is no directive"),
        (GOOD.replace("@missing", "missing"), "line 5: 'missing' before @data is no directive"),
        (GOOD.replace("timeStamps false", "timeStamps true"), r"time stamps \(@timestamps true\) are not read; write"),
        (GOOD.replace("classLabel", "targetLabel"), r"its labels are numbers to predict \(@targetlabel true\)"),
        (GOOD.replace("true up down", "false"), "it has no classes; state them as @classlabel true NAME"),
        (GOOD.replace("@classLabel true up down\n", ""), "it has no classes"),
        (GOOD.replace("true up down", "up down"), "@classlabel is true or false, got 'up'"),
        (GOOD.replace("true up down", ""), "@classlabel is true or false, got ''"),
        (GOOD.replace("up down", "up down up"), "@classlabel names 'up' twice"),
        (GOOD.replace("up down", "up"), "line 11: class 'down' is not one of @classLabel: up"),
        (GOOD.replace("up down", "up down left"), r"Mine: class 2 \(left\) has no training sample|class 'left' has 0"),
        (GOOD.replace("6:down", "6"), "line 11 has 1 dimensions, 2 are due by the header or the first sample"),
        (GOOD.replace("7:8:up", "up"), "line 12: no class; values, a colon and the class are due"),
        (GOOD.replace("7:8:up", "7:8:"), "line 12: class '' is not one of @classLabel: up, down"),
        (GOOD.replace("dimensions 2", "dimensions 3"), "line 11 has 2 dimensions, 3 are due"),
        (GOOD.replace("univariate false", "univariate true"), "line 11 has 2 dimensions, 1 are due"),
        (GOOD.replace("@dimensions 2\n", "").replace("7:8", "7"), "line 11 has 1 dimensions, 2 are due"),
        (GOOD.replace("dimensions 2", "dimension 3"), "line 11 has 2 dimensions, 3 are due"),
        (GOOD.replace("dimensions 2", "dimensions two"), "@dimensions is a number from 1, got 'two'"),
        (GOOD.replace("dimensions 2", "dimensions"), "@dimensions is a number from 1, got ''"),
        (GOOD.replace("dimensions 2", "dimensions 0"), "@dimensions is a number from 1, got '0'"),
        (GOOD.replace("dimensions 2", f"dimensions {'9' * 5000}"), "@dimensions is a number from 1, got '9"),
        (
            GOOD.replace("equalLength false", "equalLength true"),
            "line 12 has 1 steps, with @equallength true 3 are due",
        ),
        (
            GOOD.replace("equalLength false", "equalLength true\n@seriesLength 4"),
            "line 12 has 3 steps, with @equallength true 4 are due",
        ),
        (GOOD.replace("-4,5,6", "-4,5"), "line 11: dimension 2 has 2 steps, dimension 1 has 3; all dimensions"),
        (GOOD.replace("-4,5", "-4,?"), r"line 11, dimension 2, step 2: '\?' is a missing value; fill it in"),
        (GOOD.replace("-4,5", "-4,NaN"), "line 11, dimension 2, step 2: 'NaN' is a missing value"),
        (GOOD.replace("-4,5,6", "-4,5,"), "line 11, dimension 2, step 3: '' is a missing value"),
        (GOOD.replace("7:8", "7:"), "line 12, dimension 2, step 1: '' is a missing value"),
        (GOOD.replace("9,1", "9,inf"), "line 13, dimension 1, step 2: 'inf' is not finite"),
        (GOOD.replace("2,3:up", "2,x:up"), "line 13, dimension 2, step 2: 'x' is not a number"),
        (GOOD.replace("2,3:up", "2,(1,3):up"), "line 13: dimension 2 has 3 steps"),
        (GOOD.replace("9,1", "9,1.25"), "line 13, dimension 1, step 2: '1.25' is not an integer; .* step=0.01$"),
        (GOOD.replace("9,1", "9,2147483648"), "line 13, dimension 1, step 2: '2147483648' .* more than 32 bits"),
        (GOOD.replace(":up", ":down", 2), "class 'up' has 0 samples"),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=f"^{path}: .*({message})"):
        load(path)


def test_a_fault_in_the_test_part_names_it(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "Mine_TRAIN.ts")
    for text, message in (
        (GOOD.replace("7", "?"), "line 12, dimension 1, step 1"),
        (GOOD.replace("7", "7.5"), "line 12, dimension 1, step 1: '7.5' is not an integer"),
        (GOOD.replace("up", "left"), "line 12: class 'left' is not one of @classLabel: up, down"),
    ):
        other = write(tmp_path, text, "Mine_TEST.ts")
        with pytest.raises(DataError, match=f"^{other}: {message}"):
            load(path)
    write(tmp_path, "@classLabel true up down\n@data\n1:up\n2:down\n", "Mine_TEST.ts")
    with pytest.raises(DataError, match=rf"^{path}: Mine: training steps have shape \(2,\), test \(1,\)"):
        load(path)


def test_a_test_part_is_not_loaded_alone(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "Mine_TEST.ts")
    with pytest.raises(DataError, match=r"a test part by its name; pass Mine_TRAIN\.ts, beside which it is found"):
        load(path)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "Mine.ts"
    path.write_bytes(b"# \xe4\n" + GOOD.encode())
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        load(path)
