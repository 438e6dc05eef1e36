from __future__ import annotations

from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen.data import Split
from zahlen.data.split import divide
from zahlen.machine import DataError


def test_the_division_never_changes() -> None:
    """Recorded once: whoever changes these numbers changes every result that is published with them."""
    x, y = np.arange(24).reshape(24, 1), np.arange(24) % 3
    assert divide(Split(x, y), "abc", "0.25", 0)[1].x.ravel().tolist() == RECORDED[0]
    assert divide(Split(x, y), "abc", "0.25", 7)[1].x.ravel().tolist() == RECORDED[7]


RECORDED: dict[int, list[int]] = {0: [4, 7, 15, 18, 20, 23], 7: [3, 4, 7, 8, 12, 20]}


def test_the_rule_is_the_documented_one() -> None:
    x, y = np.arange(50).reshape(50, 1), (np.arange(50) ** 2) % 3 % 2
    chosen = set()
    for label in (0, 1):
        members = [i for i in range(50) if y[i] == label]
        ranked = sorted(members, key=lambda i: sha256(f"-3:{i}".encode()).hexdigest())
        chosen |= set(ranked[: int(len(members) * Fraction(3, 10) + Fraction(1, 2))])
    assert divide(Split(x, y), "ab", 0.3, -3)[1].x.ravel().tolist() == sorted(chosen)


@given(
    st.lists(st.integers(2, 12), min_size=2, max_size=5),
    st.fractions(min_value=Fraction(1, 50), max_value=Fraction(49, 50), max_denominator=50),
    st.integers(-(2**70), 2**70),
    st.randoms(use_true_random=False),
)
def test_every_sample_is_in_one_part_and_every_class_in_both(
    sizes: list[int], share: Fraction, seed: int, random: object
) -> None:
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(labels)  # type: ignore[attr-defined]
    x, y = np.arange(len(labels)).reshape(-1, 1), np.array(labels)
    train, test = divide(Split(x, y), [*map(str, sizes)], share, seed)
    assert sorted([*train.x.ravel().tolist(), *test.x.ravel().tolist()]) == list(range(len(labels)))
    for part in (train, test):
        assert part.x.ravel().tolist() == sorted(part.x.ravel().tolist())
        assert part.y.tolist() == [labels[i] for i in part.x.ravel()]
    for size, aside in zip(sizes, test.counts(len(sizes))):
        assert aside == min(
            max((2 * size * share.numerator + share.denominator) // (2 * share.denominator), 1), size - 1
        )


def test_the_seed_matters() -> None:
    x, y = np.arange(40).reshape(40, 1), np.arange(40) % 2
    assert divide(Split(x, y), "ab", 0.5, 0)[1].x.tolist() != divide(Split(x, y), "ab", 0.5, 1)[1].x.tolist()


def test_a_class_of_one_is_refused() -> None:
    with pytest.raises(DataError, match=r"class 'b' has 1 sample; the division .* needs at least two"):
        divide(Split(np.arange(4).reshape(4, 1), np.array([0, 0, 0, 1])), "ab", 0.2, 0)


def test_a_class_of_none_is_refused() -> None:
    with pytest.raises(DataError, match="class 'b' has 0 samples"):
        divide(Split(np.arange(4).reshape(4, 1), np.array([0, 0, 2, 2])), "abc", 0.2, 0)


@pytest.mark.parametrize("test", [0, 1, 1.5, -0.2, "x", None, True, float("nan"), float("inf"), "1e-9999", "3/0"])
def test_shares_that_are_none(test: object) -> None:
    with pytest.raises(DataError, match="test"):
        divide(Split(np.arange(4).reshape(4, 1), np.array([0, 0, 1, 1])), "ab", test, 0)


@pytest.mark.parametrize("seed", [0.5, "1", None, True])
def test_seeds_that_are_none(seed: object) -> None:
    with pytest.raises(DataError, match="seed must be an integer"):
        divide(Split(np.arange(4).reshape(4, 1), np.array([0, 0, 1, 1])), "ab", 0.5, seed)  # type: ignore[arg-type]


def test_lengths_go_with_their_sequences() -> None:
    lengths = np.array([3, 1, 2, 3, 1, 2, 2, 1])
    whole = Split(np.arange(24).reshape(8, 3), np.arange(8) % 2, lengths)
    for part in divide(whole, "ab", 0.5, 0):
        assert part.lengths is not None
        assert part.lengths.tolist() == [lengths[first // 3] for first in part.x[:, 0]]
        assert part.x.shape == (4, 3)
