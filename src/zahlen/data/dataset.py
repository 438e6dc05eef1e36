"""A data set: labelled samples of one shape over one finite set of integers, in two parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    lengths : int64 array (n,), optional
        For sequences: x is (n, time, *step_shape), and the first ``lengths[k]`` steps of sample k, 1 to time, are its
        own. What follows them is padding; a `Dataset` overwrites it.

    Raises
    ------
    DataError
        If the arrays are no integers or contradict each other.

    Examples
    --------
    >>> Split(np.array([[1, 2], [3, 4], [5, 6]]), np.array([0, 1, 0])).counts(2)
    (2, 1)
    >>> part = Split(np.array([[[1], [9]], [[3], [4]]]), np.array([0, 1]), np.array([1, 2]))
    >>> part.step_shape, part.values.tolist()
    ((1,), [[1], [3], [4]])
    """

    x: IntArray
    y: IntArray
    lengths: IntArray | None = None

    def __post_init__(self) -> None:
        given = {"x": self.x, "y": self.y} | ({} if self.lengths is None else {"lengths": self.lengths})
        for name, array in given.items():
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
        if self.lengths is not None:
            self._check_lengths(self.lengths)
            object.__setattr__(self, "lengths", self.lengths.astype(np.int64, copy=False))

    def _check_lengths(self, lengths: IntArray) -> None:
        if lengths.shape != self.y.shape:
            raise DataError(f"lengths has shape {lengths.shape} for {len(self)} sequences; one length each is due")
        time = self.x.shape[1]
        wrong = (lengths < 1) | (lengths > time)
        if wrong.any():
            where = int(wrong.argmax())
            raise DataError(
                f"length {lengths[where]} of sequence {where} leaves 1..{time}, the time axis of x; count the steps "
                "of each sequence without its padding, and remove empty sequences"
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: for sequences (time, *step_shape)."""
        return self.x.shape[1:]

    @property
    def step_shape(self) -> tuple[int, ...]:
        """Shape of one step of a sequence; a plain sample is one step."""
        return self.shape if self.lengths is None else self.shape[1:]

    @property
    def values(self) -> IntArray:
        """The steps of all samples without their padding, (steps, *step_shape)."""
        return self.x if self.lengths is None else self.x[self._own(self.lengths)]

    def padded(self, value: int) -> Split:
        """The same sequences with this value behind the end of each."""
        if self.lengths is None:
            return self
        wide = value not in Levels(int(np.iinfo(self.x.dtype).min), int(np.iinfo(self.x.dtype).max))
        x = self.x.astype(np.int64 if wide else self.x.dtype)
        x[~self._own(self.lengths)] = value
        return Split(x, self.y, self.lengths)

    def part(self, chosen: IntArray) -> Split:
        """Those samples where `chosen`, booleans (n,), is true."""
        return Split(self.x[chosen], self.y[chosen], None if self.lengths is None else self.lengths[chosen])

    def _own(self, lengths: IntArray) -> IntArray:
        own: IntArray = np.arange(self.x.shape[1]) < lengths[:, None]
        return own

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
        The two parts, both of plain samples of one shape or both of sequences whose steps have one shape. Every class
        has at least one training sample. Behind the end of each sequence, x is made 0, or the least element of the
        alphabet where that has no 0.
    alphabet : Levels
        The finite set that holds every value of both parts (without the padding that was there).
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
    >>> part = Split(np.array([[[1, 2], [9, 9]], [[3, 4], [5, 6]]]), np.array([1, 0]), np.array([1, 2]))
    >>> data = Dataset("short", part, part, Levels(0, 6), ("no", "yes"))
    >>> data.shape, data.step_shape, data.train.x.tolist()
    ((2, 2), (2,), [[[1, 2], [0, 0]], [[3, 4], [5, 6]]])
    >>> print(data)
    short: 2 training and 2 test samples of 1..2 steps of 2 in 0..6, 2 classes (no, yes)
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
        if (self.train.lengths is None) != (self.test.lengths is None):
            raise DataError(f"{self.name}: one part has lengths, the other has none; sequences need them in both")
        if self.train.step_shape != self.test.step_shape:
            what = "steps" if self.sequences else "samples"
            raise DataError(
                f"{self.name}: training {what} have shape {self.train.step_shape}, test {self.test.step_shape}"
            )
        if len(self.classes) < 2:
            raise DataError(f"{self.name}: a single class, {self.classes}; nothing can be learnt from it")
        if self.step <= 0:
            raise DataError(f"{self.name}: step must be above 0, got {self.step}")
        for part, split in (("training", self.train), ("test", self.test)):
            values = split.values
            lo, hi, top = int(values.min()), int(values.max()), int(split.y.max())
            if lo not in INT32 or hi not in INT32:
                raise DataError(f"{self.name}: {part} values {lo}..{hi} leave 32 bits; use a coarser grid")
            if not self.alphabet.contains_all(values):
                raise DataError(f"{self.name}: {part} values {lo}..{hi} leave {self.alphabet}")
            if top >= len(self.classes):
                raise DataError(f"{self.name}: {part} label {top} has no name; there are {len(self.classes)} classes")
        for label, count in enumerate(self.train.counts(len(self.classes))):
            if count == 0:
                raise DataError(
                    f"{self.name}: class {label} ({self.classes[label]}) has no training sample; number the classes "
                    "0, 1, .. without gaps, and give each at least one sample"
                )

        padding = 0 if 0 in self.alphabet else self.alphabet.lo
        object.__setattr__(self, "train", self.train.padded(padding))
        object.__setattr__(self, "test", self.test.padded(padding))

    @property
    def sequences(self) -> bool:
        """Whether the samples are sequences, with lengths."""
        return self.train.lengths is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one training sample; sequences are (time, *step_shape), and the test part's time may differ."""
        return self.train.shape

    @property
    def step_shape(self) -> tuple[int, ...]:
        """Shape of one step of a sequence; a plain sample is one step."""
        return self.train.step_shape

    @property
    def unit(self) -> Fraction:
        """Units of `x` per 1 of the source: ``1 / step``. A step of 0.01 gives 100."""
        return 1 / self.step

    def as_sequences(self) -> Dataset:
        """The same samples as sequences along their first axis, all of one length; sequences as they are.

        >>> part = Split(np.arange(12).reshape(2, 3, 2), np.array([0, 1]))
        >>> Dataset("rows", part, part, Levels(0, 11), ("no", "yes")).as_sequences().train.lengths.tolist()
        [3, 3]
        """
        if self.sequences:
            return self

        def whole(split: Split) -> Split:
            return Split(split.x, split.y, np.full(len(split), split.x.shape[1]))

        return replace(self, train=whole(self.train), test=whole(self.test))

    def __str__(self) -> str:
        size = self._steps() + ("x".join(map(str, self.step_shape)) or "1")
        grid = "" if self.step == 1 else f" in steps of {self.step}"
        rounded = f", rounded by at most {self.error}" if self.error else ""
        names = list(
            self.classes if len(self.classes) <= _SHOWN else (*self.classes[: _SHOWN - 2], "..", self.classes[-1])
        )
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test samples of {size} in {self.alphabet}"
            f"{grid}{rounded}, {len(self.classes)} classes ({', '.join(names)})"
        )

    def _steps(self) -> str:
        lengths = [int(n) for part in (self.train, self.test) if part.lengths is not None for n in part.lengths]
        if not lengths:
            return ""
        same = min(lengths) == max(lengths)
        return f"{min(lengths)} steps of " if same else f"{min(lengths)}..{max(lengths)} steps of "
