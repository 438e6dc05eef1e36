import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen.machine import Alphabet, AlphabetError, Codes, Levels, bits
from zahlen.machine.alphabets import MAX_BITS, integer_array


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70))
def test_bits_is_the_least_width_that_holds_both_ends(a, b):
    lo, hi = sorted((a, b))
    width = bits(lo, hi)
    assert -(2 ** (width - 1)) <= lo <= hi < 2 ** (width - 1)
    assert width == 1 or not -(2 ** (width - 2)) <= lo <= hi < 2 ** (width - 2)


@given(st.integers(-50, 50), st.integers(0, 20), st.integers(1, 7), st.integers(-80, 80))
def test_levels_are_the_set_that_they_say(lo, count, step, value):
    a = Levels(lo, lo + step * count, step)
    elements = {lo + step * k for k in range(count + 1)}
    assert a.size == len(elements)
    assert (value in a) == (value in elements)
    assert (np.int16(value) in a) == (value in elements)
    assert a.contains_all(np.array(sorted(elements), dtype=np.int16))
    assert a.contains_all(np.array([lo, value], dtype=object)) == (value in elements)
    assert a.contains_all(np.array([lo, value])) == (value in elements)
    assert a.numeric


@given(st.integers(2, 300))
def test_odd_levels_are_symmetric(count):
    a = Levels.odd(count)
    assert a.size == count
    assert a.lo == -a.hi
    assert a.step == 2


def test_wide_levels_are_compared_without_overflow():
    a = Levels(-(2**63), 2**63 - 2, 2)
    assert a.contains_all(np.array([-(2**63), 2**63 - 2]))
    assert not a.contains_all(np.array([-(2**63), 2**63 - 1]))
    wide = Levels(-(2**100), 2**100, 2**99)
    assert wide.contains_all(np.array([2**100, -(2**99), 0], dtype=object))
    assert not wide.contains_all(np.array([2**98], dtype=object))
    assert 2**99 in wide
    assert Levels(0, 2**63, 1).contains_all(np.array([2**63], dtype=np.uint64))
    assert not Levels(0, 2**63 - 1).contains_all(np.array([2**63], dtype=np.uint64))


def test_nothing_is_contained_in_every_alphabet():
    assert Levels(3, 5).contains_all(np.zeros((0, 4), dtype=np.int64))


def test_other_things_are_no_elements():
    assert 1.0 not in Levels(0, 2)
    assert "1" not in Levels(0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1), "lo must be an integer, got 0.0"),
        ((0, True), "hi must be an integer, got True"),
        ((0, "1"), "hi must be an integer, got '1'"),
        ((0, 4, 0), "step must be at least 1, got 0"),
        ((0, 4, -1), "step must be at least 1, got -1"),
        ((2, 1), "lo = 2 is above hi = 1"),
        ((0, 5, 2), "hi - lo = 5 is not a multiple of step = 2"),
        ((0, 2**255), "hi has more than the 256 bits"),
        ((-(10**4299), 0), "lo has more than the 256 bits"),
    ],
)
def test_malformed_levels_are_refused(arguments, message):
    with pytest.raises(AlphabetError, match=message):
        Levels(*arguments)


def test_the_widest_levels():
    assert bits(*(a := Levels(-(2**255), 2**255 - 1), (a.lo, a.hi))[1]) == MAX_BITS


@pytest.mark.parametrize("count", [1, 0, -3])
def test_too_few_odd_levels_are_refused(count):
    with pytest.raises(AlphabetError, match="at least 2 levels"):
        Levels.odd(count)


def test_codes_are_names():
    a = Codes(6, "S3")
    assert (a.lo, a.hi, a.step, a.size) == (0, 5, 1, 6)
    assert not a.numeric
    assert 5 in a
    assert 6 not in a
    assert a == Codes(np.int64(6), "S3") != Codes(6)
    assert str(a) == "6 codes of S3"
    assert str(Codes(6)) == "6 codes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n must be in"),
        ((2**31 + 1,), "n must be in"),
        ((2.0,), "n must be an integer"),
        ((3, "a" * 201), "printable name"),
        ((3, "a\n"), "printable name"),
        ((3, None), "printable name"),
    ],
)
def test_malformed_codes_are_refused(arguments, message):
    with pytest.raises(AlphabetError, match=message):
        Codes(*arguments)


def test_levels_print_their_ends():
    assert str(Levels(-3, 3)) == "-3..3"
    assert str(Levels(-3, 3, 2)) == "-3..3 step 2"


def test_an_alphabet_is_levels_or_codes():
    with pytest.raises(TypeError, match="Levels or Codes"):
        Alphabet().numeric  # noqa: B018


@pytest.mark.parametrize("value", [3, [1, 2], [[1], [2]], np.zeros((2, 0), dtype=np.uint8), [], [2**70], [2**63, -1]])
def test_integers_are_kept_exactly(value):
    assert integer_array(value).tolist() == (value.tolist() if isinstance(value, np.ndarray) else value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0], "got float64"),
        (np.array([1.0], dtype=np.float32), "got float32"),
        ([True], "got bool"),
        (["1"], "got <U1"),
        ([None], "got object"),
        ([[1], [2, 3]], "rows of different lengths"),
        (np.array([1, 2.0], dtype=object), "got object"),
        (np.array([True], dtype=object), "got object"),
    ],
)
def test_what_is_no_integer_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        integer_array(value)
