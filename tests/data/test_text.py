"""Text as symbols."""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen.data import Text, encode, text
from zahlen.machine import DataError

CHARACTERS = st.characters(codec="utf-8")


def write(folder: Path, content: bytes) -> Path:
    path = folder / "mine.txt"
    path.write_bytes(content)
    return path


def whole(found: Text) -> str:
    return found.decode(found.train) + found.decode(found.test)


@given(st.text(CHARACTERS, min_size=20, max_size=60).filter(lambda s: len(set(s)) > 1 and s[0] != "\ufeff"))
def test_a_text_is_its_characters(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    found = text(write(tmp_path_factory.mktemp("text"), content.encode()), test="0.1")
    assert whole(found) == content
    assert len(found.test) == (2 * len(content) + 10) // 20
    assert found.symbols == tuple(sorted(set(content)))
    assert found.train.tolist() == [found.symbols.index(c) for c in content[: len(found.train)]]
    assert found.checksum == sha256(content.encode()).hexdigest()
    assert found.encode(content).tolist() == [*found.train.tolist(), *found.test.tolist()]


def test_the_reference_of_the_language() -> None:
    from pydoc_data.topics import topics

    found = text("pydoc-topics", test=0.2)
    assert found.name == "pydoc-topics"
    content = whole(found)
    assert content.startswith(topics[min(topics)])
    assert all(f"\n{topic}" in f"\n{content}" for topic in topics.values())
    assert len(content) == sum(map(len, topics.values())) + len(topics) - 1
    sizes = f"{len(found.train)} training and {len(found.test)} test"
    assert str(found) == f"pydoc-topics: {sizes} characters of {len(set(content))} symbols"
    assert found.train.dtype == found.test.dtype == np.uint8


def test_a_python_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match="pydoc-topics: this Python comes without pydoc_data; pass the path"):
        text("pydoc-topics")


def test_a_name_goes_before_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pydoc-topics").write_text("abab" * 9)
    assert len(text("pydoc-topics").symbols) > 50
    assert text("./pydoc-topics").symbols == text(Path("pydoc-topics")).symbols == ("a", "b")


def test_ends_of_lines_stay_and_the_byte_order_mark_goes(tmp_path: Path) -> None:
    found = text(write(tmp_path, b"\xef\xbb\xbfa\r\nb\rc\n\xef\xbb\xbf"), test=0.5)
    assert whole(found) == "a\r\nb\rc\n\ufeff"
    assert found.checksum == sha256(b"a\r\nb\rc\n\xef\xbb\xbf").hexdigest()


@pytest.mark.parametrize(("count", "dtype"), [(256, np.uint8), (257, np.uint16), (65536, np.uint16)])
def test_the_smallest_type(tmp_path: Path, count: int, dtype: type) -> None:
    content = "".join(map(chr, range(0x10000, 0x10000 + count)))
    found = text(write(tmp_path, content.encode()))
    assert found.train.dtype == found.test.dtype == dtype
    assert whole(found) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; a text is due"),
        (b"\xef\xbb\xbf", "empty; a text is due"),
        (b"ab", "2 characters give 2 for training and 0 for the test at test=1/10; both need two"),
        (b"aaaaabbbbb", "10 characters give 9 for training and 1 for the test"),
        (b"a" * 40, "only one character, 'a', again and again"),
        (b"ab\xe4cd" * 9, r"not UTF-8: byte 2 is 0xe4 \(.*\); convert it, for example by iconv"),
        (b"\xef\xbb\xbfab\xff", r"not UTF-8: byte 5 is 0xff"),
        ("abc".encode("utf-16"), "not UTF-8: byte 0 is 0xff"),
        ("".join(map(chr, range(0x10000, 0x20001))).encode(), "65,537 different characters, more than 65,536"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        text(path)


def test_both_parts_need_a_pair(tmp_path: Path) -> None:
    path = write(tmp_path, b"aaaaabbbbb")
    assert len(text(path, test=0.8).train) == len(text(path, test=0.2).test) == 2
    for share, sizes in ((0.9, "1 for training and 9 for the test"), (0.1, "9 for training and 1 for the test")):
        with pytest.raises(DataError, match=f"10 characters give {sizes} at test="):
            text(path, test=share)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no/such\.txt: no such file; pass the path .* or 'pydoc-topics'"):
        text("no/such.txt")
    with pytest.raises(DataError, match=f"^{tmp_path}: cannot be read: Is a directory"):
        text(tmp_path)


@pytest.mark.parametrize("test", [0, 1, 1.5, -0.2, "x", None, True])
def test_shares_that_are_none(test: object) -> None:
    with pytest.raises(DataError, match="test"):
        text("pydoc-topics", test=test)


def test_the_share_is_the_decimal_that_is_written(tmp_path: Path) -> None:
    path = write(tmp_path, b"ab" * 25)
    assert [len(text(path, test=share).test) for share in (0.29, "0.29", 0.3)] == [15, 15, 15]
    assert len(text(path, test="0.28999").test) == 14


# ---------------------------------------------------------------------------------------------------- symbols


@given(st.lists(st.characters(), min_size=1, max_size=9, unique=True), st.data())
def test_encoding_is_the_index(symbols: list[str], data: st.DataObject) -> None:
    content = "".join(data.draw(st.lists(st.sampled_from(symbols), max_size=20)))
    assert encode(symbols, content).tolist() == [symbols.index(c) for c in content]
    other = data.draw(st.characters(exclude_characters=symbols))
    with pytest.raises(DataError, match=rf"\(U\+{ord(other):04X}\) at position {len(content)} is not one of"):
        encode(symbols, content + other + content + other)


@pytest.mark.parametrize("symbols", [[], ["a", "a"], ["ab"], [""], list(map(chr, range(65537)))])
def test_symbols_that_are_none(symbols: list[str]) -> None:
    with pytest.raises(DataError, match="symbols are 1 to 65,536 different single characters"):
        encode(symbols, "a")


def test_long_lists_of_symbols_are_cut() -> None:
    with pytest.raises(DataError) as refusal:
        encode(list(map(chr, range(0x4E00, 0x5E00))), "a")
    assert "'a' (U+0061) at position 0 is not one of the 4096 symbols" in str(refusal.value)
    assert "and others; leave it out" in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_decoding(tmp_path: Path) -> None:
    found = text(write(tmp_path, b"abcabc" * 9))
    assert found.decode([2, 0, 1]) == found.decode(np.array([2, 0, 1], dtype=np.uint8)) == "cab"
    assert found.decode([]) == found.decode(found.train[:0]) == ""
    for indices, message in (
        ([0, -1], "index -1 at position 1 leaves 0..2"),
        ([3], "index 3 at position 0 leaves 0..2"),
        ([0.5], "indices are a sequence of integers, got float64"),
        ([[0]], r"indices are a sequence of integers, got int64 of \(1, 1\)"),
    ):
        with pytest.raises(DataError, match=f"mine: {message}"):
            found.decode(indices)  # type: ignore[arg-type]
