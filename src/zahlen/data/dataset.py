"""A data set: labelled samples of one shape over one finite set of integers, in two parts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from zahlen.machine import DataError, IntArray, Levels

INT32 = Levels(-(2**31), 2**31 - 1)
"""What a sample's values may be."""

_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set, for training or for testing.

    Parameters
    ----------
    x : integer array (n, *shape)
        The samples in the order and the integer type of their source. Images of one channel have no channel axis:
        they are (n, height, width), and a model that needs the axis adds it.
    y : int64 array (n,)
        The class of each sample, an index into `Dataset.classes`.

    Examples
    --------
    >>> Split(np.array([[1, 2], [3, 4], [5, 6]]), np.array([0, 1, 0])).counts(2)
    (2, 1)
    """

    x: IntArray
    y: IntArray

    def __post_init__(self) -> None:
        for name, array in (("x", self.x), ("y", self.y)):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
                found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise DataError(
                    f"{name} must be an integer array, got {found}; put the values on an integer grid first"
                )
        if self.x.ndim < 2:
            raise DataError(f"x has shape {self.x.shape}; (samples, ..) is due, so reshape single numbers to (n, 1)")
        if self.y.ndim != 1:
            raise DataError(f"y has shape {self.y.shape}; one class label per sample is due, (samples,)")
        if len(self.x) != len(self.y):
            raise DataError(f"{len(self.x)} samples but {len(self.y)} labels; one label per sample is due")
        if self.x.size == 0:
            raise DataError(f"x is empty: its shape is {self.x.shape}")
        if int(self.y.min()) < 0:
            where = int(np.argmax(self.y < 0))
            raise DataError(f"label {self.y[where]} of sample {where} is negative; number the classes from 0")
        if int(self.y.max()) not in INT32:
            raise DataError(f"label {self.y.max()} is beyond 32 bits; number the classes from 0")
        object.__setattr__(self, "y", self.y.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.x.shape[1:]

    def counts(self, classes: int) -> tuple[int, ...]:
        """How many samples each of the classes has."""
        return tuple(np.bincount(self.y, minlength=classes).tolist())


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples for training and for testing.

    Parameters
    ----------
    name : str
        What the data set is called.
    train, test : Split
        The two parts. Every class has at least one training sample.
    alphabet : Levels
        The finite set that holds every value of both parts.
    classes : tuple of str
        Names of the classes, at least two; labels are indices into it.
    step : Fraction
        What one unit of `x` is worth in the source: a source value is ``x * step``, up to `error`.
    error : Fraction
        The largest distance between a source value and ``x * step``; 0 where nothing was rounded.
    features : tuple of str
        Names of the columns of a table; empty for images.

    Raises
    ------
    DataError
        If the parts contradict each other.

    Examples
    --------
    >>> part = Split(np.array([[150, -25], [0, 75]]), np.array([1, 0]))
    >>> data = Dataset("tiny", part, part, Levels(-25, 150), ("no", "yes"), step=Fraction(1, 100))
    >>> data.shape, data.unit, float(data.train.x[0, 0] * data.step)
    ((2,), Fraction(100, 1), 1.5)
    >>> print(data)
    tiny: 2 training and 2 test samples of 2 in -25..150 in steps of 1/100, 2 classes (no, yes)
    """

    name: str
    train: Split
    test: Split
    alphabet: Levels
    classes: tuple[str, ...]
    step: Fraction = Fraction(1)
    error: Fraction = Fraction(0)
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise DataError(f"{self.name}: training samples have shape {self.train.shape}, test {self.test.shape}")
        if len(self.classes) < 2:
            raise DataError(f"{self.name}: a single class, {self.classes}; nothing can be learnt from it")
        if self.step <= 0:
            raise DataError(f"{self.name}: step must be above 0, got {self.step}")
        for part, split in (("training", self.train), ("test", self.test)):
            lo, hi, top = int(split.x.min()), int(split.x.max()), int(split.y.max())
            if lo not in INT32 or hi not in INT32:
                raise DataError(f"{self.name}: {part} values {lo}..{hi} leave 32 bits; use a coarser grid")
            if not self.alphabet.contains_all(split.x):
                raise DataError(f"{self.name}: {part} values {lo}..{hi} leave {self.alphabet}")
            if top >= len(self.classes):
                raise DataError(f"{self.name}: {part} label {top} has no name; there are {len(self.classes)} classes")
        for label, count in enumerate(self.train.counts(len(self.classes))):
            if count == 0:
                raise DataError(
                    f"{self.name}: class {label} ({self.classes[label]}) has no training sample; number the classes "
                    "0, 1, .. without gaps, and give each at least one sample"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.train.shape

    @property
    def unit(self) -> Fraction:
        """Units of `x` per 1 of the source: ``1 / step``. A step of 0.01 gives 100."""
        return 1 / self.step

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        grid = "" if self.step == 1 else f" in steps of {self.step}"
        rounded = f", rounded by at most {self.error}" if self.error else ""
        names = list(
            self.classes if len(self.classes) <= _SHOWN else (*self.classes[: _SHOWN - 2], "..", self.classes[-1])
        )
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test samples of {size} in {self.alphabet}"
            f"{grid}{rounded}, {len(self.classes)} classes ({', '.join(names)})"
        )
