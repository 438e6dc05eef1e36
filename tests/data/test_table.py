from __future__ import annotations

import csv
import io
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen.data import Dataset, load
from zahlen.machine import DataError, Levels


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "mine.csv"
    path.write_bytes(text.encode(encoding))
    return path


def rows(data: Dataset) -> list[tuple[list[int], str]]:
    """Every sample with its class, in no order."""
    parts = (data.train, data.test)
    return sorted((x.tolist(), data.classes[y]) for part in parts for x, y in zip(part.x, part.y))


GOOD = "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n-7,8,y\n"
VALUES = [([-7, 8], "y"), ([1, 2], "x"), ([3, 4], "y"), ([5, 6], "x")]


def test_integers(tmp_path: Path) -> None:
    data = load(write(tmp_path, GOOD), label="kind")
    assert rows(data) == VALUES
    assert (data.name, data.classes, data.features, data.shape) == ("mine", ("x", "y"), ("a", "b"), (2,))
    assert (data.alphabet, data.step, data.error) == (Levels(-7, 8), 1, 0)
    assert data.train.x.dtype == np.int32


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.rstrip("\n"),
        "\n\n" + GOOD.replace("\n", "\n\n"),
        "\ufeff" + GOOD,
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", "|"),
        GOOD.replace(",", " , "),
        GOOD.replace("x", '"x"').replace("5", '"5"').replace("kind", '"kind"'),
        GOOD.replace(",", ", ").replace("x", '"x"'),
        GOOD.replace("5", "+5").replace("6", "006"),
        GOOD.replace("a,", '"a",'),
    ],
)
def test_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    data = load(write(tmp_path, text), label="kind")
    assert (rows(data), data.features) == (VALUES, ("a", "b"))


def test_the_label_may_be_any_column(tmp_path: Path) -> None:
    data = load(write(tmp_path, "a,kind,b\n1,0,2\n3,1,4\n5,0,6\n7,1,8\n"), label="kind")
    assert (data.features, rows(data)[1]) == (("a", "b"), ([3, 4], "1"))


def test_quoted_fields_hold_delimiters_and_lines(tmp_path: Path) -> None:
    text = 'a,"k;i,n\nd"\n1,"x,\r\n""y"""\n2,z\n3,"x,\r\n""y"""\n4,z\n'
    data = load(write(tmp_path, text), label="k;i,n\nd")
    assert data.classes == ('x,\r\n"y"', "z")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("10 9 -1 10 9 -1", ("-1", "9", "10")),
        ("b a c b a c", ("a", "b", "c")),
        ("10 9 a 10 9 a", ("10", "9", "a")),
        ("1 01 +1 1 01 +1", ("+1", "01", "1")),
        ("nan inf x nan inf x", ("inf", "nan", "x")),
    ],
)
def test_classes_are_sorted(tmp_path: Path, labels: str, classes: tuple[str, ...]) -> None:
    text = "a,b\n" + "".join(f"{k},{label}\n" for k, label in enumerate(labels.split()))
    data = load(write(tmp_path, text), label="b", test=0.5)
    assert data.classes == classes
    assert [label for _, label in rows(data)] == labels.split()


# ---------------------------------------------------------------------------------------------------- decimals


@pytest.mark.parametrize(
    ("step", "expected", "error"),
    [
        ("0.01", [(0,), (2,), (2,), (4,), (-2,), (150,)], Fraction(1, 200)),
        (0.005, [(1,), (3,), (5,), (7,), (-3,), (300,)], Fraction(0)),
        (Decimal("0.5"), [(0,), (0,), (0,), (0,), (0,), (3,)], Fraction(35, 1000)),
        (Fraction(1, 3), [(0,), (0,), (0,), (0,), (0,), (4,)], Fraction(1, 6)),
        (1, [(0,), (0,), (0,), (0,), (0,), (2,)], Fraction(1, 2)),
        ("5e-3", [(1,), (3,), (5,), (7,), (-3,), (300,)], Fraction(0)),
    ],
)
def test_decimals_go_half_to_even(tmp_path: Path, step: object, expected: list[tuple[int]], error: Fraction) -> None:
    cells = [".005", "0.015", "2.5e-2", "35E-3", "-0.015", "1.50"]
    data = load(write(tmp_path, "v,k\n" + "".join(f"{c},{i % 2}\n" for i, c in enumerate(cells))), label="k", step=step)
    assert rows(data) == sorted((list(x), str(i % 2)) for i, x in enumerate(expected))
    assert data.error == error
    assert data.unit * data.step == 1


@given(
    st.lists(st.decimals(-(10**6), 10**6, places=4, allow_nan=False), min_size=4, max_size=12),
    st.decimals("0.001", 50, places=3),
)
def test_every_value_is_the_nearest_on_the_grid(
    tmp_path_factory: pytest.TempPathFactory, values: list[Decimal], step: Decimal
) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["n", "value", "label"])
    writer.writerows([k, value, k % 2] for k, value in enumerate(values))
    path = write(tmp_path_factory.mktemp("csv"), out.getvalue())
    indices = load(path, label="label", step=step, test="0.5")
    # the first column is on the grid too, so samples are told apart by their place in the source
    grid, errors = Fraction(step), []
    expected = []
    for k, value in enumerate(values):
        row = []
        for exact in (Fraction(k), Fraction(value)):
            floor = exact // grid
            above = exact - floor * grid
            up = 2 * above > grid or (2 * above == grid and floor % 2 == 1)
            row.append(floor + up)
            errors.append(grid - above if up else above)
        expected.append((row, str(k % 2)))
    assert rows(indices) == sorted(expected)
    assert indices.error == max(errors)
    assert 2 * indices.error <= grid


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=4, max_size=10), st.integers(0, 9))
def test_a_fine_step_loses_nothing(tmp_path_factory: pytest.TempPathFactory, integers: list[int], places: int) -> None:
    cells = [str(Decimal(v).scaleb(-places)) for v in integers]
    text = "v,k\n" + "".join(f"{cell},{k % 2}\n" for k, cell in enumerate(cells))
    data = load(write(tmp_path_factory.mktemp("csv"), text), label="k", step=f"1e-{places}")
    assert rows(data) == sorted(([v], str(k % 2)) for k, v in enumerate(integers))
    assert (data.error, data.unit) == (0, 10**places)
    assert data.alphabet == Levels(min(integers), max(integers))


@pytest.mark.parametrize(
    ("cells", "step"),
    [
        ("1 2.5 3 4", "0.1"),
        ("1 2.50 3.125 4", "0.001"),
        ("1.0 2 3 4", "1"),
        ("1e0 2 3 4", "1"),
        ("0.00000000001 0.2 1 2", "0.000000001"),
        ("0.0001 2000000 3 4", "0.001"),
        ("1.5 1e99999 x 1.23e-4567", "0.1"),
        (f"1.5 {'9' * 200}.1 3 4", "0.1"),
    ],
)
def test_decimals_without_a_step_are_refused_with_one(tmp_path: Path, cells: str, step: str) -> None:
    text = "v,k\n" + "".join(f"{cell},{k % 2}\n" for k, cell in enumerate(cells.split()))
    with pytest.raises(DataError, match=rf"line \d, column 'v': '.*' is not an integer; .* step={step}$"):
        load(write(tmp_path, text), label="k")


@pytest.mark.parametrize("step", [0, -1, "-0.1", "x", "nan", "inf", True, "1/0", "1e-9999", "0.0", "9" * 101])
def test_steps_that_are_none(tmp_path: Path, step: object) -> None:
    with pytest.raises(DataError, match="step"):
        load(write(tmp_path, GOOD), label="kind", step=step)


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; a header and rows are due"),
        ("\n\n", "empty; a header and rows are due"),
        ("a,b,kind\n", "a header but no rows"),
        (GOOD.replace("5,6,x", "5,6"), "line 4 has 2 cells, but the header has 3 columns"),
        (GOOD.replace("5,6,x", "5,6,x,"), "line 4 has 4 cells, but the header has 3 columns"),
        (GOOD.replace("3,", '"3\n",').replace("5,6,x", "5,6"), "line 5 has 2 cells"),
        (GOOD.replace("5", ""), "line 4, column 'a': the cell is empty"),
        (GOOD.replace("5", " "), "line 4, column 'a': the cell is empty"),
        (GOOD.replace("6", "nan"), "line 4, column 'b': 'nan' is not finite"),
        (GOOD.replace("6", "-Inf"), "line 4, column 'b': '-Inf' is not finite"),
        (GOOD.replace("6", "infinity"), "'infinity' is not finite"),
        (GOOD.replace("6", "NA"), "line 4, column 'b': 'NA' is not a number; encode it"),
        (GOOD.replace("6", "6_0"), "'6_0' is not a number"),
        (GOOD.replace("6", "٦"), "'٦' is not a number"),
        (GOOD.replace("6", "0x6"), "'0x6' is not a number"),
        (GOOD.replace("6", "6 0"), "'6 0' is not a number"),
        (GOOD.replace("6", '"6,5"'), "'6,5' is not a number"),
        (GOOD.replace("6", "9" * 101), "has too many digits"),
        (GOOD.replace("6", "2147483648"), "line 4, column 'b': '2147483648' in steps of 1 needs more than 32 bits"),
        (GOOD.replace("6", "-2147483649"), "needs more than 32 bits; use a coarser step"),
        (GOOD.replace("x", ""), "line 2, column 'kind': the label is empty"),
        (GOOD.replace("x", "1").replace("y", "2.5"), "line 3, column 'kind': '2.5' is a decimal; class labels are"),
        (GOOD.replace("y", "x"), "a single class"),
        (GOOD.replace("3,4,y", "3,4,z"), "class 'y' has 1 sample"),
        (GOOD.replace("a,", ",", 1), r"column 1 has no name \(a saved row index\?\)"),
        (GOOD.replace("a,", "b,", 1), "two columns are named 'b'"),
        (GOOD.replace("kind", "Kind"), "no column 'kind'; the columns are a, b, Kind$"),
        (GOOD.split("\n", 1)[1], "no column 'kind'; the columns are 1, 2, x$"),
        ("1,2\n3,4\n", "the first line must be a header, this one looks like data"),
        ("kind\nx\ny\n", "no column beside the labels 'kind'"),
        (GOOD + '1,2,"x', r"line 6: unexpected end of data"),
        (GOOD + '1,2,"x"y\n', "line 6: ',' expected after '\"'"),
        (GOOD + f"1,2,{'x' * 200000}\n", "line 6: field larger than field limit"),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        load(path, label="kind")


def test_huge_exponents_are_refused_at_once(tmp_path: Path) -> None:
    for cell in ("1e999999999", "1e-999999999", "0e-99999", "1e99999999999999999999"):
        with pytest.raises(DataError, match=r"line 4, column 'b': .* has too many digits"):
            load(write(tmp_path, GOOD.replace("6", cell)), label="kind", step=0.1)


def test_the_label_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Pass label=; the columns are a, b, kind"):
        load(write(tmp_path, GOOD))


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        load(write(tmp_path, GOOD.replace("x", "ä"), "latin-1"), label="kind")


def test_a_header_of_numbers_is_one_when_it_holds_the_label(tmp_path: Path) -> None:
    assert rows(load(write(tmp_path, GOOD.replace("a,b,kind", "0,1,2")), label="2")) == VALUES


# ---------------------------------------------------------------------------------------------------- sequences

LONG = "id,t,kind,a\np,1,x,5\np,2,x,6\nq,1,y,7\nr,1,x,8\nr,2,x,9\nr,3,x,1\ns,1,y,2\n"


def test_rows_are_steps(tmp_path: Path) -> None:
    data = load(write(tmp_path, LONG), label="kind", sequence="id", test=0.5)
    assert (data.features, data.classes, data.step_shape, data.alphabet) == (("t", "a"), ("x", "y"), (2,), Levels(1, 9))
    found = []
    for part in (data.train, data.test):
        assert part.lengths is not None
        for x, n, y in zip(part.x, part.lengths, part.y):
            assert x.shape == (3, 2)
            assert (x[n:] == 1).all(), "padding is the least element where the alphabet lacks 0"
            found.append((data.classes[y], x[:n].tolist()))
    assert sorted(found) == [
        ("x", [[1, 5], [2, 6]]),
        ("x", [[1, 8], [2, 9], [3, 1]]),
        ("y", [[1, 2]]),
        ("y", [[1, 7]]),
    ]
    assert str(data) == "mine: 2 training and 2 test samples of 1..3 steps of 2 in 1..9, 2 classes (x, y)"


def test_steps_go_onto_the_grid(tmp_path: Path) -> None:
    text = LONG.replace("6", "6.25")
    data = load(write(tmp_path, text), label="kind", sequence="id", step="0.5", test=0.5)
    assert data.error == Fraction(1, 4)
    assert sorted(set(data.train.values.ravel().tolist()) | set(data.test.values.ravel().tolist()))[-1] == 18
    with pytest.raises(DataError, match=r"line 3, column 'a': '6\.25' is not an integer"):
        load(write(tmp_path, text), label="kind", sequence="id")


@pytest.mark.parametrize(
    ("text", "sequence", "message"),
    [
        (LONG, "no", "no column 'no' for sequence=; the columns are id, t, kind, a"),
        (LONG, "kind", "column 'kind' cannot both name the sequences and label them"),
        ("id,kind\np,x\nq,y\n", "id", "no column beside the labels 'kind' and the sequences 'id'"),
        (LONG.replace("p,2", ",2"), "id", "line 3, column 'id': the sequence has no name"),
        (LONG.replace("s,1", "p,1"), "id", "line 8, column 'id': sequence 'p' ended at line 3; put its rows next to"),
        (LONG.replace("r,3", "q,3"), "id", "line 7, column 'id': sequence 'q' ended at line 4"),
        (LONG.replace("3,x", "3,y"), "id", "line 7, column 'kind': 'y' within sequence 'r', which is 'x' at line 5; a"),
        (LONG.replace("s,1,y,2\n", ""), "id", "class 'y' has 1 sample"),
    ],
)
def test_refusals_of_sequences(tmp_path: Path, text: str, sequence: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        load(path, label="kind", sequence=sequence)
