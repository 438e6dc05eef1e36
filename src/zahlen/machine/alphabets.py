"""Alphabets: the finite sets that values come from."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import AlphabetError

IntArray = NDArray[Any]
"""An int64 array, or an object array of Python integers where a proven range needs more."""

MAX_BITS = 256
"""Widest value that a wire may be proven to carry, in bits, sign included."""


def bits(lo: int, hi: int) -> int:
    """Width of the smallest two's complement integer type that holds both ends.

    >>> bits(-128, 127), bits(0, 255), bits(0, 0)
    (8, 9, 1)
    """
    return 1 + max((~v if v < 0 else v).bit_length() for v in (lo, hi))


class Alphabet:
    """A finite set of values, each named by one integer of ``{lo, lo + step, .., hi}``.

    Subclasses are `Levels`, whose elements are numbers, and `Codes`, whose elements are only named by numbers.
    """

    lo: int
    hi: int
    step: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return (self.hi - self.lo) // self.step + 1

    @property
    def numeric(self) -> bool:
        """Whether arithmetic on the elements means anything."""
        raise TypeError("use Levels or Codes")

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, (int, np.integer))
            and self.lo <= int(value) <= self.hi
            and (int(value) - self.lo) % self.step == 0
        )

    def contains_all(self, values: IntArray) -> bool:
        """Whether every element of an integer array belongs to the alphabet."""
        if values.size == 0:
            return True
        if not (self.lo <= int(values.min()) and int(values.max()) <= self.hi):
            return False
        small = bits(self.lo, self.hi) <= 63  # then no difference leaves int64
        return self.step == 1 or not np.any((values.astype(np.int64 if small else object) - self.lo) % self.step)


def integer_array(value: object) -> IntArray:
    """`value` as an array of some integer type, or of Python integers; raises `ValueError` if it holds anything else.

    >>> integer_array([2**70, -1]).dtype
    dtype('O')
    """
    try:
        array = np.asarray(value)
        # NumPy makes floats of [2**63, -1]
        exact = np.asarray(value, dtype=object) if isinstance(value, (list, tuple)) and array.dtype == float else array
    except ValueError:
        raise ValueError("integers are due, got rows of different lengths") from None
    if exact.dtype == object and all(type(v) is int for v in exact.flat):
        return exact
    if array.dtype.kind not in "iu":
        raise ValueError(f"integers are due, got {array.dtype}")
    return array


def _integer(value: object, what: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise AlphabetError(f"{what} must be an integer, got {reprlib.repr(value)}")
    if bits(int(value), int(value)) > MAX_BITS:
        raise AlphabetError(f"{what} has more than the {MAX_BITS} bits of a wire")
    return int(value)


@dataclass(frozen=True)
class Levels(Alphabet):
    """The integers ``{lo, lo + step, .., hi}``.

    Parameters
    ----------
    lo, hi : int
        Least and greatest element.
    step : int
        Distance of neighbours, at least 1; `hi - lo` is a multiple of it.

    Raises
    ------
    AlphabetError
        If the ends are not integers, are in the wrong order, off the grid, or wider than `MAX_BITS`.

    Examples
    --------
    >>> Levels(-15, 15, 2).size
    16
    >>> -3 in Levels(-15, 15, 2), 0 in Levels(-15, 15, 2)
    (True, False)
    >>> Levels.odd(4)
    Levels(lo=-3, hi=3, step=2)
    """

    lo: int
    hi: int
    step: int = 1

    def __post_init__(self) -> None:
        for name in ("lo", "hi", "step"):
            object.__setattr__(self, name, _integer(getattr(self, name), f"Levels: {name}"))
        if self.step < 1:
            raise AlphabetError(f"Levels: step must be at least 1, got {self.step}")
        if self.hi < self.lo:
            raise AlphabetError(f"Levels: lo = {self.lo} is above hi = {self.hi}")
        if (self.hi - self.lo) % self.step:
            raise AlphabetError(f"Levels: hi - lo = {self.hi - self.lo} is not a multiple of step = {self.step}")

    @classmethod
    def odd(cls, levels: int) -> Levels:
        """The symmetric grid ``2k - (L - 1), k = 0..L-1`` of `levels` = L values (arXiv 1801.05156)."""
        if _integer(levels, "levels") < 2:
            raise AlphabetError(f"at least 2 levels are needed, got {levels}")
        return cls(1 - levels, levels - 1, 2)

    @property
    def numeric(self) -> bool:
        """Always true: levels are numbers."""
        return True

    def __str__(self) -> str:
        return f"{self.lo}..{self.hi}" + (f" step {self.step}" if self.step > 1 else "")


@dataclass(frozen=True)
class Codes(Alphabet):
    """A finite structure whose elements are named 0..n-1: residues, group elements, nodes.

    No arithmetic operation accepts a coded wire: its elements are combined by `lookup` in the structure's own table.

    Parameters
    ----------
    n : int
        Number of elements.
    structure : str
        Name of the structure; wires of different structures never meet in one `concat` or register.

    Examples
    --------
    >>> Codes(6, "S3").size
    6
    """

    n: int
    structure: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", _integer(self.n, "Codes: n"))
        if not 1 <= self.n <= 2**31:
            raise AlphabetError(f"Codes: n must be in 1..2**31, got {self.n}")
        if not isinstance(self.structure, str) or len(self.structure) > 200 or not self.structure.isprintable():
            raise AlphabetError("Codes: structure must be a printable name of at most 200 characters")

    @property
    def lo(self) -> int:  # type: ignore[override]
        """Always 0."""
        return 0

    @property
    def hi(self) -> int:  # type: ignore[override]
        """The last code, n - 1."""
        return self.n - 1

    @property
    def step(self) -> int:  # type: ignore[override]
        """Always 1."""
        return 1

    @property
    def numeric(self) -> bool:
        """Always false: codes are names."""
        return False

    def __str__(self) -> str:
        return f"{self.n} codes" + (f" of {self.structure}" if self.structure else "")
