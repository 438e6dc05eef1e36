"""The operations of a machine, as plain data: constants, attributes and what they must satisfy by themselves.

What an operation *means* is in `reference`, which shapes it takes in `shapes`, which values it can reach in `ranges`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from .alphabets import MAX_BITS, Alphabet, IntArray, Levels, bits, integer_array
from .errors import MachineError

Pairs = tuple[tuple[int, int], ...]

OPERATIONS: dict[str, type[Operation]] = {}
"""Every operation by its name in listings and files."""


def integers(value: object, what: str) -> IntArray:
    """A read-only int64 array with the elements of `value`, which must be integers.

    Raises
    ------
    MachineError
        If the elements are not integers (floats are refused even when they are whole) or leave int64.
    """
    try:
        array = integer_array(value)
    except ValueError as error:
        raise MachineError(f"{what}: {error}; put the values on an integer grid first") from None
    if array.size and bits(int(array.min()), int(array.max())) > 64:
        raise MachineError(f"{what}: constants are limited to 64 bits")
    array = np.array(array, dtype=np.int64, order="C")
    array.flags.writeable = False
    return array


def _whole(value: object, what: str, least: int | None = None) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise MachineError(f"{what} must be an integer, got {reprlib.repr(value)}")
    if bits(int(value), int(value)) > MAX_BITS:
        raise MachineError(f"{what} has more than {MAX_BITS} bits")
    if least is not None and value < least:
        raise MachineError(f"{what} must be at least {least}, got {value}")
    return int(value)


def _wholes(value: object, what: str, least: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise MachineError(f"{what} must be a sequence of integers, got {reprlib.repr(value)}")
    return tuple(_whole(v, what, least) for v in value)


def _pairs(value: object, what: str) -> Pairs:
    if not isinstance(value, Sequence) or not all(isinstance(p, Sequence) and len(p) == 2 for p in value):
        raise MachineError(f"{what} must be a sequence of pairs (before, after), got {reprlib.repr(value)}")
    return tuple((_whole(a, what, 0), _whole(b, what, 0)) for a, b in value)


def tensor(*ndims: int) -> Any:
    """Declare a field that is an integer array with one of these numbers of axes (any number if none is given)."""
    return field(metadata={"ndims": ndims})


@dataclass(frozen=True, eq=False)
class Operation:
    """One instruction. `kind` is its name; array fields are its constants, the others its attributes."""

    kind: ClassVar[str]
    operands: ClassVar[int | None] = 1  # None: one or more

    def __init_subclass__(cls) -> None:
        OPERATIONS[cls.kind] = cls

    def __post_init__(self) -> None:
        for name, ndims in self.tensor_fields().items():
            array = integers(getattr(self, name), f"{self.kind}: {name}")
            if ndims and array.ndim not in ndims:
                raise MachineError(f"{self.kind}: {name} has {array.ndim} axes, not {' or '.join(map(str, ndims))}")
            if array.size == 0:
                raise MachineError(f"{self.kind}: {name} is empty")
            object.__setattr__(self, name, array)
        self.check()

    @classmethod
    def tensor_fields(cls) -> dict[str, tuple[int, ...]]:
        """Names of the constants, each with the numbers of axes that it may have."""
        return {f.name: f.metadata["ndims"] for f in fields(cls) if "ndims" in f.metadata}

    @classmethod
    def attribute_fields(cls) -> tuple[str, ...]:
        """Names of the attributes."""
        return tuple(f.name for f in fields(cls) if "ndims" not in f.metadata)

    def tensors(self) -> dict[str, IntArray]:
        """The constants by name."""
        return {name: getattr(self, name) for name in self.tensor_fields()}

    def attributes(self) -> dict[str, Any]:
        """The attributes by name."""
        return {name: getattr(self, name) for name in self.attribute_fields()}

    def check(self) -> None:
        """Raise `MachineError` where the constants and attributes contradict each other."""

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _expect(self, condition: bool, message: str) -> None:
        if not condition:
            raise MachineError(f"{self.kind}: {message}")


# ---------------------------------------------------------------------------------------------------- sources


def _shape(value: object, what: str) -> tuple[int, ...]:
    shape = _wholes(value, what, 1)
    if len(shape) > 8:
        raise MachineError(f"{what} has {len(shape)} axes, more than 8")
    return shape


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """A value that comes from outside, once a step."""

    kind = "input"
    operands = 0
    shape: tuple[int, ...]
    alphabet: Alphabet

    def check(self) -> None:
        self._set("shape", _shape(self.shape, "input: shape"))
        self._expect(isinstance(self.alphabet, Alphabet), f"alphabet expected, got {reprlib.repr(self.alphabet)}")


@dataclass(frozen=True, eq=False)
class Register(Operation):
    """The value that another wire had one step ago; `initial` at the first step."""

    kind = "register"
    operands = 0
    alphabet: Alphabet
    initial: IntArray = tensor()

    def check(self) -> None:
        _shape(self.initial.shape, "register: shape")
        self._expect(isinstance(self.alphabet, Alphabet), f"alphabet expected, got {reprlib.repr(self.alphabet)}")
        self._expect(self.alphabet.contains_all(self.initial), f"the initial value leaves {self.alphabet}")


@dataclass(frozen=True, eq=False)
class Constant(Operation):
    """The same value at every step; elements of `alphabet` if one is given."""

    kind = "constant"
    operands = 0
    alphabet: Alphabet | None
    value: IntArray = tensor()

    def check(self) -> None:
        _shape(self.value.shape, "constant: shape")
        self._expect(self.alphabet is None or isinstance(self.alphabet, Alphabet), "alphabet expected")
        self._expect(self.alphabet is None or self.alphabet.contains_all(self.value), f"leaves {self.alphabet}")


# ---------------------------------------------------------------------------------------------------- affine maps


@dataclass(frozen=True, eq=False)
class Affine(Operation):
    """z = W x + b along the last axis; `weight` (out, in), `bias` (out,)."""

    kind = "affine"
    weight: IntArray = tensor(2)
    bias: IntArray = tensor(1)

    def check(self) -> None:
        rows = self.weight.shape[0]
        self._expect(self.bias.shape == (rows,), f"bias {self.bias.shape} does not fit weight {self.weight.shape}")


@dataclass(frozen=True, eq=False)
class Conv(Operation):
    """Cross-correlation with zero padding over the last one or two axes, as PyTorch defines it.

    `weight` (out, in / groups, *kernel), `bias` (out,); `padding` is a pair (before, after) per spatial axis.
    """

    kind = "conv"
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    groups: int
    weight: IntArray = tensor(3, 4)
    bias: IntArray = tensor(1)

    def check(self) -> None:
        spatial, out = self.weight.ndim - 2, self.weight.shape[0]
        self._set("stride", _wholes(self.stride, "conv: stride", 1))
        self._set("dilation", _wholes(self.dilation, "conv: dilation", 1))
        self._set("padding", _pairs(self.padding, "conv: padding"))
        self._set("groups", _whole(self.groups, "conv: groups", 1))
        for name in ("stride", "dilation", "padding"):
            self._expect(len(getattr(self, name)) == spatial, f"{name} needs {spatial} entries")
        self._expect(self.bias.shape == (out,), f"bias {self.bias.shape} does not fit weight {self.weight.shape}")
        self._expect(out % self.groups == 0, f"{out} output channels do not divide into {self.groups} groups")


# ---------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, eq=False)
class Staircase(Operation):
    """y = v[number of j with t_j <= z]: the multi-threshold unit.

    `thresholds` (T,) for all elements, or (channels, T) along `axis`; sorted. `values` (T + 1,) or (channels, T + 1).
    """

    kind = "staircase"
    axis: int
    thresholds: IntArray = tensor(1, 2)
    values: IntArray = tensor(1, 2)

    def check(self) -> None:
        t, v = self.thresholds, self.values
        self._set("axis", _whole(self.axis, "staircase: axis"))
        self._expect(t.ndim == v.ndim, f"thresholds {t.shape} and values {v.shape} differ in axes")
        self._expect(v.shape == (*t.shape[:-1], t.shape[-1] + 1), f"{t.shape} thresholds do not fit {v.shape} values")
        self._expect(bool((t[..., 1:] >= t[..., :-1]).all()), "thresholds are not sorted")

    @property
    def per_channel(self) -> bool:
        """Whether every channel has its own thresholds."""
        return self.thresholds.ndim == 2


@dataclass(frozen=True, eq=False)
class Lookup(Operation):
    """y = table[x] or table[x1, x2], with the operand's value v at index (v - base) / step of its axis.

    The result's alphabet is `alphabet`, or the levels that the table holds.
    """

    kind = "lookup"
    operands = None
    base: tuple[int, ...]
    step: tuple[int, ...]
    alphabet: Alphabet | None
    table: IntArray = tensor(1, 2)

    def check(self) -> None:
        self._set("base", _wholes(self.base, "lookup: base"))
        self._set("step", _wholes(self.step, "lookup: step", 1))
        self._expect(len(self.base) == len(self.step) == self.table.ndim, "base and step need one entry per operand")
        self._expect(self.alphabet is None or isinstance(self.alphabet, Alphabet), "alphabet expected")
        self._expect(self.alphabet is None or self.alphabet.contains_all(self.table), f"leaves {self.alphabet}")

    def domain(self, operand: int) -> Levels:
        """The values that this operand may take."""
        base, step = self.base[operand], self.step[operand]
        return Levels(base, base + step * (self.table.shape[operand] - 1), step)


@dataclass(frozen=True, eq=False)
class Embed(Operation):
    """A row of `table` (symbols, width) for each symbol 0..symbols-1."""

    kind = "embed"
    table: IntArray = tensor(2)


# ---------------------------------------------------------------------------------------------------- elementwise


class _Binary(Operation):
    kind = ""
    operands = 2


del OPERATIONS[""]


@dataclass(frozen=True, eq=False)
class Add(_Binary):
    """x1 + x2."""

    kind = "add"


@dataclass(frozen=True, eq=False)
class Sub(_Binary):
    """x1 - x2."""

    kind = "sub"


@dataclass(frozen=True, eq=False)
class Mul(_Binary):
    """x1 x2."""

    kind = "mul"


@dataclass(frozen=True, eq=False)
class Min(_Binary):
    """The lesser of the two."""

    kind = "min"


@dataclass(frozen=True, eq=False)
class Max(_Binary):
    """The greater of the two."""

    kind = "max"


@dataclass(frozen=True, eq=False)
class Neg(Operation):
    """-x."""

    kind = "neg"


@dataclass(frozen=True, eq=False)
class Clamp(Operation):
    """min(max(x, lo), hi)."""

    kind = "clamp"
    lo: int
    hi: int

    def check(self) -> None:
        self._set("lo", _whole(self.lo, "clamp: lo"))
        self._set("hi", _whole(self.hi, "clamp: hi"))
        self._expect(self.lo <= self.hi, f"lo = {self.lo} is above hi = {self.hi}")


@dataclass(frozen=True, eq=False)
class Shift(Operation):
    """x >> bits, rounding ``floor`` or ``half_up``: (x + 2^(bits-1)) >> bits. Negative `bits` multiply by 2^-bits."""

    kind = "shift"
    bits: int
    rounding: str

    def check(self) -> None:
        self._set("bits", _whole(self.bits, "shift: bits"))
        self._expect(abs(self.bits) < MAX_BITS, f"bits must be below {MAX_BITS}, got {self.bits}")
        self._expect(
            self.rounding in ("floor", "half_up"), f"rounding is floor or half_up, got {reprlib.repr(self.rounding)}"
        )
        self._expect(self.bits > 0 or self.rounding == "floor", "half_up rounds only when bits > 0")


# ---------------------------------------------------------------------------------------------------- reductions


class _Pool(Operation):
    kind = ""
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs

    def check(self) -> None:
        self._set("size", _wholes(self.size, f"{self.kind}: size", 1))
        self._set("stride", _wholes(self.stride, f"{self.kind}: stride", 1))
        self._set("padding", _pairs(self.padding, f"{self.kind}: padding"))
        self._expect(len(self.size) in (1, 2), "windows have one or two axes")
        self._expect(len(self.size) == len(self.stride) == len(self.padding), "size, stride, padding differ in length")
        # a window that holds padding alone would have no maximum
        self._expect(
            all(max(pair) < size for pair, size in zip(self.padding, self.size)), "padding must be less than the window"
        )


del OPERATIONS[""]


@dataclass(frozen=True, eq=False)
class MaxPool(_Pool):
    """Maximum over windows of the last axes; padding is never the maximum."""

    kind = "maxpool"
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs


@dataclass(frozen=True, eq=False)
class SumPool(_Pool):
    """Sum over windows of the last axes; padding counts as zero."""

    kind = "sumpool"
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs


@dataclass(frozen=True, eq=False)
class Sum(Operation):
    """Sum over `axes`, which go."""

    kind = "sum"
    axes: tuple[int, ...]

    def check(self) -> None:
        self._set("axes", _wholes(self.axes, "sum: axes"))
        self._expect(len(self.axes) > 0, "at least one axis is needed")


@dataclass(frozen=True, eq=False)
class Argmax(Operation):
    """Index of the maximum along `axis`, which goes; the lowest index among equals."""

    kind = "argmax"
    axis: int

    def check(self) -> None:
        self._set("axis", _whole(self.axis, "argmax: axis"))


# ---------------------------------------------------------------------------------------------------- no arithmetic


@dataclass(frozen=True, eq=False)
class Reshape(Operation):
    """The same elements in row-major order under another shape."""

    kind = "reshape"
    shape: tuple[int, ...]

    def check(self) -> None:
        self._set("shape", _shape(self.shape, "reshape: shape"))


@dataclass(frozen=True, eq=False)
class Concat(Operation):
    """The operands one behind the other along `axis`."""

    kind = "concat"
    operands = None
    axis: int

    def check(self) -> None:
        self._set("axis", _whole(self.axis, "concat: axis"))


@dataclass(frozen=True, eq=False)
class Slice(Operation):
    """Elements start, start + step, .. below stop of each axis."""

    kind = "slice"
    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    def check(self) -> None:
        self._set("start", _wholes(self.start, "slice: start", 0))
        self._set("stop", _wholes(self.stop, "slice: stop", 1))
        self._set("step", _wholes(self.step, "slice: step", 1))
        self._expect(len(self.start) == len(self.stop) == len(self.step), "start, stop, step differ in length")
        self._expect(all(a < b for a, b in zip(self.start, self.stop)), "a slice is empty")


@dataclass(frozen=True, eq=False)
class Transpose(Operation):
    """Axes in another order: axis k of the result is axis `axes[k]` of the operand."""

    kind = "transpose"
    axes: tuple[int, ...]

    def check(self) -> None:
        self._set("axes", _wholes(self.axes, "transpose: axes", 0))
        self._expect(sorted(self.axes) == list(range(len(self.axes))), f"{self.axes} is no permutation")
