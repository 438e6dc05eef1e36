"""SplitMix64 against its published numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen.generator import Generator
from zahlen.machine import InputError


def test_published_numbers() -> None:
    zero, other = Generator(0), Generator(1234567)
    assert [zero.next() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [other.next() for _ in range(2)] == [6457827717110365317, 3203168211198807973]


@given(seed=st.integers(0, 2**64 - 1), n=st.integers(1, 2**32))
def test_below_scales_the_upper_half(seed: int, n: int) -> None:
    word = Generator(seed).next()
    assert Generator(seed).below(n) == (word // 2**32) * n // 2**32
    assert 0 <= Generator(seed).below(n) < n


def test_the_counter_wraps() -> None:
    generator = Generator(2**64 - 1)
    generator.next()
    follower = Generator(0x9E3779B97F4A7C14)  # 2^64 - 1 plus the increment, modulo 2^64
    assert [generator.next() for _ in range(4)] == [follower.next() for _ in range(4)]


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", True, None])
def test_other_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(InputError, match="seed"):
        Generator(seed)


@pytest.mark.parametrize("n", [0, -3, 2**32 + 1])
def test_other_bounds_are_refused(n: int) -> None:
    with pytest.raises(InputError, match="below"):
        Generator(0).below(n)
