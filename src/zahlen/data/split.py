"""The division of samples into a training and a test part: by class, by seed, and the same on every computer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from math import floor

import numpy as np

from zahlen.machine import DataError

from .dataset import Split
from .exact import share


def divide(whole: Split, classes: Sequence[str], test: object, seed: int) -> tuple[Split, Split]:
    """Put a share of each class aside for testing.

    The samples are ranked by the SHA-256 of the ASCII text ``seed:index``. Of each class of n samples, the first
    floor(n test + 1/2) in this order are test samples, but at least one and at most n - 1. Both parts keep the order
    of the source. No random number generator takes part.

    Parameters
    ----------
    whole : Split
        All samples.
    classes : sequence of str
    test : number or str
        The share of test samples, between 0 and 1, taken exactly as the decimal that it is written as.
    seed : int

    Raises
    ------
    DataError
        If a class has fewer than two samples, or `test` or `seed` is unusable.

    Examples
    --------
    >>> x, y = np.arange(10).reshape(10, 1), np.array([0] * 5 + [1] * 5)
    >>> train, test = divide(Split(x, y), ("a", "b"), test=0.2, seed=0)
    >>> train.x.ravel().tolist(), test.x.ravel().tolist()
    ([0, 1, 2, 3, 5, 6, 8, 9], [4, 7])
    """
    part = share(test, "test")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise DataError(f"seed must be an integer, got {seed!r}")
    members: list[list[int]] = [[] for _ in classes]
    for index in sorted(range(len(whole)), key=lambda i: sha256(b"%d:%d" % (seed, i)).digest()):
        members[whole.y[index]].append(index)
    chosen = np.zeros(len(whole), dtype=bool)
    for name, ranked in zip(classes, members):
        if len(ranked) < 2:
            raise DataError(
                f"class {name!r} has {len(ranked)} sample{'s' * (len(ranked) != 1)}; the division into training and "
                "test parts needs at least two, so add samples or remove the class"
            )
        size = floor(len(ranked) * part + Fraction(1, 2))
        chosen[ranked[: min(max(size, 1), len(ranked) - 1)]] = True
    return whole.part(~chosen), whole.part(chosen)
