"""The reference's integers without compiled kernels: NumPy, with products through BLAS where floats are proven exact.

Sums of whole numbers are exact in floats, in any order, while no partial sum leaves -2^24..2^24 in single precision or
-2^53..2^53 in double: a wire's proven `workspace` says so. Every wire is kept in the type in which its readers take
it, and a batch goes through in blocks that stay in a cache. All else is the reference's own functions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..machine import IntArray, Machine, Wire
from ..machine import operations as op
from ..machine.executors import get
from ..machine.ranges import DOUBLE, INT64, Interval, fits
from ..machine.reference import apply, batched

Array = np.ndarray[Any, np.dtype[Any]]
Type = np.dtype[Any]
Function = Callable[..., Array]

SINGLE = (-(2**24), 2**24)
"""Sums that stay in here are exact in single precision, in any order."""
INT32 = (-(2**31), 2**31 - 1)

F32, F64, I32, I64 = (np.dtype(name) for name in ("float32", "float64", "int32", "int64"))
LIMITS: dict[Type, Interval] = {F32: SINGLE, F64: DOUBLE, I32: INT32, I64: INT64}
INDEX = np.dtype(np.intp)

PRODUCTS = (op.Affine, op.Conv)
LINEAR = (op.Add, op.Sub, op.Mul, op.Min, op.Max, op.Neg, op.Clamp)
MOVES = (op.Reshape, op.Concat, op.Slice, op.Transpose, op.MaxPool)
"""Operations that are as exact in floats as in integers, while operands and results are."""
TABLES = (op.Staircase, op.Lookup, op.Embed)

TABLE = 1 << 16
"""Ranges of so many integers have a table with an entry for each."""
MOST_COMPARED = 24
"""Up to so many thresholds are compared one by one."""
BLOCK_BYTES = 1 << 21
"""How much the largest wire of a block of rows may take."""
SEGMENT_BYTES = 1 << 23
"""How much the largest wire of some steps of a block of sequences may take."""
FEW_POSITIONS = 16
"""Convolutions with fewer positions are one product of all samples in place of one each."""


class MissingKernelsWarning(UserWarning):
    """No compiled kernels: machines run on NumPy, with the same results, but slower."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: operands in a type that is exact for them, the result as the function leaves it.

    Attributes
    ----------
    name : str
    operands : tuple of str
    dtype : dtype
        In which the operands are taken.
    function : callable
    kernel, reason : str
        For the reader of the plan.
    """

    name: str
    operands: tuple[str, ...]
    dtype: Type
    function: Function
    kernel: str
    reason: str

    def __call__(self, values: Mapping[str, Array]) -> Array:
        return self.function(*[values[name].astype(self.dtype, copy=False) for name in self.operands])


# ---------------------------------------------------------------------------------------------------- which type


@cache
def exact(dtype: Type) -> bool:
    """Whether this BLAS multiplies whole numbers exactly: some can be set to round operands to fewer bits.

    >>> exact(np.dtype(np.float64))
    True
    """
    bits, n = (21 if dtype == F32 else 50), np.arange(64)
    wide: Array = n[:, None] * n * 0x9E3779B97F4A7 % (1 << bits)
    few = np.zeros((64, 64), dtype=np.int64)
    for k, value in enumerate((1, -3, 2)):  # sums are below 6 * 2^bits
        few[n, (n + k) % 64] = value
    pairs = [(wide, few), (few, wide), (wide[:1], few), (few, wide[:, :1])]
    return all(bool((x.astype(dtype) @ y.astype(dtype) == x @ y).all()) for x, y in pairs)


def precision(wire: Wire) -> Type:
    """In which type a product is exact: a float for BLAS, else int64."""
    for dtype in (F32, F64):
        if fits(wire.workspace, LIMITS[dtype]) and exact(dtype):
            return dtype
    return I64


def narrowest(interval: Interval) -> Type:
    """int32 or int64."""
    return I32 if fits(interval, INT32) else I64


def preferences(machine: Machine, needed: Mapping[str, str]) -> dict[str, Type]:
    """The float type in which products will read a wire, perhaps through operations that are exact in it too."""
    preferred: dict[str, Type] = {}
    for wire in reversed(list(machine.wires.values())):
        if wire.name not in needed:
            continue
        dtype: Type | None = None
        if isinstance(wire.operation, PRODUCTS):
            dtype = precision(wire)
        elif isinstance(wire.operation, (*LINEAR, *MOVES)):
            dtype = preferred.get(wire.name)
        if dtype is not None and dtype.kind == "f" and fits(wire.workspace, LIMITS[dtype]):
            preferred.update(dict.fromkeys(wire.operands, dtype))
    return preferred


# ---------------------------------------------------------------------------------------------------- products


def affine(operation: op.Affine, dtype: Type) -> Function:
    """One product of matrices for all rows."""
    weight, bias = operation.weight.astype(dtype).T, operation.bias.astype(dtype)

    def function(x: Array) -> Array:
        z: Array = x.reshape(-1, x.shape[-1]) @ weight
        z += bias
        return z.reshape(*x.shape[:-1], len(bias))

    return function


def padded(x: Array, padding: op.Pairs, value: int) -> Array:
    """`x` with more elements before and after in its last axes."""
    if not any(map(any, padding)):
        return x
    pairs = [(0, 0)] * (x.ndim - len(padding)) + list(padding)
    result = np.full([a + n + b for n, (a, b) in zip(x.shape, pairs)], value, dtype=x.dtype)
    result[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pairs))] = x
    return result


def taps(
    x: Array, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], Iterator[Array]]:
    """How many positions there are, and for each element of a window the elements under it at all positions."""
    spatial = x.shape[-len(kernel) :]
    sizes = tuple((n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(spatial, dilation, kernel, stride))

    def views() -> Iterator[Array]:
        for offset in product(*map(range, kernel)):
            places = zip(dilation, offset, stride, sizes)
            index: tuple[Any, ...] = tuple(slice(d * k, d * k + s * (n - 1) + 1, s) for d, k, s, n in places)
            yield x[(..., *index)]

    return sizes, views()


def conv(operation: op.Conv, dtype: Type) -> Function:
    """Windows side by side, (batch, groups, taps, positions), and one product of matrices for each sample and group."""
    groups, (out, width, *kernel) = operation.groups, operation.weight.shape
    # the taps stand outside the channels, so that each tap is copied at once
    weight = operation.weight.reshape(groups, out // groups, width, -1).swapaxes(2, 3)
    matrix = np.ascontiguousarray(weight.reshape(groups, out // groups, -1).astype(dtype))
    bias = operation.bias.astype(dtype).reshape(groups, -1, 1)
    count = math.prod(kernel)

    def function(x: Array) -> Array:
        x = padded(x, operation.padding, 0)
        sizes, views = taps(x, tuple(kernel), operation.stride, operation.dilation)
        rows, positions = len(x), math.prod(sizes)
        windows = np.empty((rows, groups, count, width, *sizes), dtype=dtype)
        for k, view in enumerate(views):
            windows[:, :, k] = view.reshape(rows, groups, width, *sizes)
        columns = windows.reshape(rows, groups, count * width, positions)
        z: Array
        if positions < FEW_POSITIONS:
            turned = columns.transpose(1, 0, 3, 2).reshape(groups, rows * positions, -1)
            flat: Array = turned @ matrix.swapaxes(1, 2)
            z = np.ascontiguousarray(flat.reshape(groups, rows, positions, -1).transpose(1, 0, 3, 2))
        else:
            z = matrix @ columns
        z += bias
        return z.reshape(rows, out, *sizes)

    return function


# ---------------------------------------------------------------------------------------------------- tables


def entries(values: Array, lo: int) -> Array:
    """A table for indices from `lo` on; those below zero count from its end, as NumPy's do.

    >>> entries(np.array([5, 6, 7]), -1).tolist()
    [6, 7, 5]
    """
    if lo >= 0:
        return np.concatenate([np.zeros(lo, dtype=values.dtype), values])
    hi = lo + len(values) - 1
    above = values[-lo:] if hi >= 0 else values[:0]
    return np.concatenate([above, values[:-lo], np.zeros(max(0, -hi - 1), dtype=values.dtype)])


def spread(lo: int, hi: int) -> int:
    """How many entries a table from lo to hi has, or to zero if that is outside."""
    return max(hi, 0) - min(lo, 0) + 1


def staircase(operation: op.Staircase, x: Wire, dtype: Type, taken: Type) -> tuple[Function, str]:
    """Values in `dtype` for sums in `taken`."""
    if operation.per_channel:
        return _rows_of_steps(operation, x, dtype, taken)
    lo, hi = x.alphabet.lo, x.alphabet.hi
    # thresholds that no sum, or every sum, reaches are left out: the others can be compared in the sums' own type
    first, last = (int(np.searchsorted(operation.thresholds, end, side="right")) for end in (lo, hi))
    t, v = operation.thresholds[first:last], operation.values[first : last + 1].astype(dtype)
    if spread(lo, hi) <= TABLE:
        table = entries(v[np.searchsorted(t, np.arange(lo, hi + 1), side="right")], lo)
        return lambda z: table[z.astype(INDEX)], f"a table of {len(table):,}"
    t = np.ascontiguousarray(t.astype(taken))
    if len(t) <= MOST_COMPARED:
        return lambda z: v[_count(z, t).astype(INDEX)], f"{len(t)} thresholds compared"
    if (buckets := _buckets(operation.thresholds[first:last], lo, hi)) is not None:
        shift, below, bound = buckets
        bound, behind = bound.astype(taken), np.append(v, v[-1])

        def search(z: Array) -> Array:
            bucket = (z.astype(I64, copy=False) >> shift) - (lo >> shift)
            index = below[bucket]
            index += z >= bound[bucket]
            result: Array = behind[index]
            return result

        return search, f"{len(t)} thresholds in {len(below):,} buckets"
    return lambda z: v[np.searchsorted(t, z, side="right")], f"{len(t)} thresholds searched"


def _count(z: Array, thresholds: Any) -> Array:
    """How many of at most 255 thresholds, each a number or an array that fits, are reached."""
    count: Array = np.zeros(z.shape, dtype=np.uint8)
    reached = np.empty(z.shape, dtype=bool)
    for threshold in thresholds:
        np.greater_equal(z, threshold, out=reached)
        count += reached.view(np.uint8)
    return count


def _buckets(thresholds: IntArray, lo: int, hi: int) -> tuple[int, Array, IntArray] | None:
    """Buckets of 2^shift integers with one threshold at the most in each.

    Returns the shift, how many thresholds are below each bucket, and the next of them: it is inside, or out of reach
    there. Behind the last threshold it is the last again, so that one more is counted, with one more value for it.
    """
    gap = int(np.diff(thresholds).min()) if len(thresholds) > 1 else 0
    shift = max(0, gap.bit_length() - 1)
    if gap < 1 or (hi >> shift) - (lo >> shift) >= TABLE:
        return None
    starts = np.arange(lo >> shift, (hi >> shift) + 1) << shift
    below = np.searchsorted(thresholds, starts, side="left")
    return shift, below.astype(INDEX), np.append(thresholds, thresholds[-1])[below]


def _rows_of_steps(operation: op.Staircase, x: Wire, dtype: Type, taken: Type) -> tuple[Function, str]:
    """A staircase for each channel."""
    lo, hi, axes = x.alphabet.lo, x.alphabet.hi, len(x.shape)
    t, v, axis = operation.thresholds, operation.values.astype(dtype), operation.axis % axes
    channels, count = t.shape
    aligned = [1] * axes
    aligned[axis] = channels
    if channels * (hi - lo + 1) <= TABLE:
        every = np.arange(lo, hi + 1)
        table = np.concatenate([b[np.searchsorted(a, every, side="right")] for a, b in zip(t, v)])
        start = (np.arange(channels) * len(every) - lo).reshape(aligned)
        return lambda z: table[z.astype(INDEX) + start], f"a table of {len(every):,} for each of {channels} channels"
    if count <= MOST_COMPARED and fits((lo, hi + 1), LIMITS[taken]):
        # what the sums cannot reach is moved to hi + 1, which their type holds
        thresholds = [np.clip(column, lo, hi + 1).astype(taken).reshape(aligned) for column in t.T]
        flat, start = v.ravel(), (np.arange(channels) * (count + 1)).reshape(aligned)
        return lambda z: flat[_count(z, thresholds) + start], f"{count} thresholds a channel compared"
    # as integers, since a threshold out of reach may be no float of the sums' type
    return lambda z: apply(operation, z.astype(I64, copy=False)).astype(dtype), f"{count} thresholds a channel searched"


def lookup(operation: op.Lookup, dtype: Type) -> Function:
    """An entry of a table, whose index is the sum of one index for each operand."""
    flat, strides = operation.table.astype(dtype).ravel(), [*operation.table.shape[1:], 1]
    keys = list(zip(operation.base, operation.step, strides))

    def function(*xs: Array) -> Array:
        index = np.zeros((), dtype=INDEX)
        for x, (base, step, stride) in zip(xs, keys):
            part = x.astype(INDEX)
            part -= base
            if step > 1:
                part //= step
            if stride > 1:
                part *= stride
            index = index + part if index.ndim else part
        result: Array = flat[index]
        return result

    return function


def embed(operation: op.Embed, dtype: Type) -> Function:
    """Rows of a table."""
    table = operation.table.astype(dtype)
    return lambda x: table[x.astype(INDEX)]


# ---------------------------------------------------------------------------------------------------- all else


def maxpool(operation: op.MaxPool, least: int) -> Function:
    """Element by element over the places in a window; padding is no more than any element."""

    def function(x: Array) -> Array:
        _, views = taps(
            padded(x, operation.padding, least), operation.size, operation.stride, (1,) * len(operation.size)
        )
        result = next(views).copy()
        for view in views:
            np.maximum(result, view, out=result)
        return result

    return function


def sumpool(operation: op.SumPool) -> Function:
    """Element by element over the places in a window."""

    def function(x: Array) -> Array:
        _, views = taps(padded(x, operation.padding, 0), operation.size, operation.stride, (1,) * len(operation.size))
        result = next(views).copy()
        for view in views:
            result += view
        return result

    return function


def total(operation: op.Sum, dtype: Type) -> Function:
    """A sum over axes, in a type that holds it."""

    def function(x: Array) -> Array:
        result: Array = x.sum(axis=tuple(batched(axis, x) for axis in operation.axes), dtype=dtype)
        return result

    return function


def shift(operation: op.Shift) -> Function:
    """A shift of integers, which rounds down."""
    bits, half = operation.bits, 1 << operation.bits - 1 if operation.rounding == "half_up" else 0
    if bits <= 0:
        return lambda x: x << -bits
    return lambda x: (x + half if half else x) >> bits


# ---------------------------------------------------------------------------------------------------- programs


class NumPyProgram:
    """A machine's wires as functions of arrays, each in types that are proven to hold what it computes.

    It knows names and operations, but not the machine, which may go while a program is kept for it.
    """

    def __init__(self, machine: Machine, wanted: tuple[str, ...]) -> None:
        successors = tuple(machine.successors.values())
        self.wanted, self.successors = wanted, dict(machine.successors)
        self.shapes = {name: machine.wires[name].shape for name in (*wanted, *machine.registers)}
        self.needed = machine.last_uses((*wanted, *successors))
        self.inputs = tuple(name for name in machine.inputs if name in self.needed)
        self.steps: list[Step] = []
        self.sources: dict[str, Type] = {}
        self.constants: dict[str, Array] = {}
        self.held: dict[str, Type] = {}
        self._preferred = preferences(machine, self.needed)
        for wire in machine.wires.values():
            if wire.name in self.needed:
                self._plan(wire, [machine.wires[name] for name in wire.operands])
        self._sections(machine)
        widest = max(machine.wires[name].size for name in self.needed)
        self.row = 8 * max(
            [widest, *(_windows(machine.wires[s.operands[0]], machine.wires[s.name]) for s in self.steps)]
        )

    # ------------------------------------------------------------------------------------------------ planning

    def _plan(self, wire: Wire, operands: list[Wire]) -> None:
        operation = wire.operation
        own = (wire.alphabet.lo, wire.alphabet.hi)
        result = self._preferred.get(wire.name, narrowest(own))
        if isinstance(operation, (op.Input, op.Register)):
            self.held[wire.name] = self.sources[wire.name] = result
            return
        if isinstance(operation, op.Constant):
            self.held[wire.name] = result
            self.constants[wire.name] = operation.value.astype(result)
            return
        taken, result, function, kernel, reason = self._choose(wire, operands, result)
        self.held[wire.name] = result
        self.steps.append(Step(wire.name, wire.operands, taken, function, kernel, reason))

    def _choose(self, wire: Wire, operands: list[Wire], result: Type) -> tuple[Type, Type, Function, str, str]:
        """Type of the operands and of the result, the function, its name, and why it is exact."""
        operation: Any = wire.operation
        sums = f"{wire.workspace[0]:,}..{wire.workspace[1]:,}"
        if isinstance(operation, PRODUCTS):
            taken = precision(wire)
            if taken.kind == "i":
                return taken, taken, _reference(operation), "integer products", f"sums in {sums} need int64"
            make: Any = affine if isinstance(operation, op.Affine) else conv
            name, limit = ("float32", "2^24") if taken == F32 else ("float64", "2^53")
            return taken, taken, make(operation, taken), f"{name} products by BLAS", f"sums in {sums}, within {limit}"
        if isinstance(operation, TABLES):
            taken = self._as_they_come(wire.operands, _hull(operands))
            if isinstance(operation, op.Staircase):
                function, about = staircase(operation, operands[0], result, taken)
                return taken, result, function, "staircase", about
            if isinstance(operation, op.Lookup):
                return taken, result, lookup(operation, result), "lookup", f"a table of {operation.table.size:,}"
            return taken, result, embed(operation, result), "embed", f"{len(operation.table):,} rows"
        if isinstance(operation, (op.Shift, op.Sum, op.SumPool)):
            taken = narrowest(wire.workspace)
            if isinstance(operation, op.Sum):
                function = total(operation, taken)
            else:
                function = shift(operation) if isinstance(operation, op.Shift) else sumpool(operation)
            return taken, taken, function, operation.kind, f"in {taken}"
        taken = self._exact_for(wire)
        if isinstance(operation, op.Argmax):
            return taken, I64, _reference(operation), operation.kind, f"in {taken}"
        if isinstance(operation, op.MaxPool):
            return taken, taken, maxpool(operation, operands[0].alphabet.lo), operation.kind, f"in {taken}"
        return taken, taken, _reference(operation), operation.kind, f"in {taken}"

    def _exact_for(self, wire: Wire) -> Type:
        """In which type an operation is computed that is the same in floats: as wanted, as it comes, or integers."""
        wanted = self._preferred.get(wire.name)
        if wanted is not None and fits(wire.workspace, LIMITS[wanted]):
            return wanted
        return self._as_they_come(wire.operands, wire.workspace)

    def _as_they_come(self, operands: tuple[str, ...], interval: Interval) -> Type:
        types = {self.held[name] for name in operands}
        if len(types) == 1 and fits(interval, LIMITS[held := types.pop()]):
            return held
        return narrowest(interval)

    def _sections(self, machine: Machine) -> None:
        """What no register matters for, what the registers need, and what only outputs need: before, each, after."""
        moving = set(machine.registers)
        for step in self.steps:
            if moving & set(step.operands):
                moving.add(step.name)
        cycle = set(machine.last_uses(machine.successors.values())) & moving
        self.before = [s for s in self.steps if s.name not in moving]
        self.each = [s for s in self.steps if s.name in cycle]
        self.after = [s for s in self.steps if s.name in moving - cycle]
        mine = {s.name for s in self.each} | set(machine.registers)
        still = {*self.inputs, *(s.name for s in self.before)}
        # what passes from section to section has its steps behind one another
        self.entering = tuple(
            {n for s in self.each for n in s.operands if n in still}
            | {n for n in self.successors.values() if n in still}
        )
        self.leaving = tuple(
            {n for s in self.after for n in s.operands if n in mine} | {n for n in self.wanted if n in mine}
        )

    # ------------------------------------------------------------------------------------------------ runs

    def run(
        self, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], wanted: tuple[str, ...], batch: int
    ) -> dict[str, IntArray]:
        """One step."""
        outputs = {name: np.empty((batch, *self.shapes[name]), dtype=I64) for name in wanted}
        rows = max(1, BLOCK_BYTES // self.row)
        for start in range(0, batch, rows):
            block = slice(start, min(start + rows, batch))
            values = self._constants(block.stop - start)
            for name, dtype in self.sources.items():
                values[name] = (inputs if name in inputs else state)[name][block].astype(dtype, copy=False)
            for step in self.steps:
                values[step.name] = step(values)
            for name, output in outputs.items():
                output[block] = values[name]
        return outputs

    def unroll(
        self, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], batch: int, times: int
    ) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
        """Sequences: the state behind them, and the wanted wires of all steps."""
        outputs = {name: np.empty((batch, times, *self.shapes[name]), dtype=I64) for name in self.wanted}
        following = {name: np.empty((batch, *self.shapes[name]), dtype=I64) for name in self.successors}
        rows = max(1, min(batch, BLOCK_BYTES // self.row))
        length = max(1, min(times, SEGMENT_BYTES // (self.row * rows)))
        for start in range(0, batch, rows):
            block = slice(start, min(start + rows, batch))
            current = {n: state[n][block].astype(self._kept(n), copy=False) for n in self.successors}
            for first in range(0, times, length):
                span = slice(first, min(first + length, times))
                values = self._segment({n: v[block, span] for n, v in inputs.items()}, current, span.stop - first)
                for name, output in outputs.items():
                    found = values[name].reshape(span.stop - first, -1, *self.shapes[name])
                    output[block, span] = found.swapaxes(0, 1)
            for name, value in current.items():
                following[name][block] = value
        return following, outputs

    def _segment(self, inputs: Mapping[str, IntArray], current: dict[str, Array], times: int) -> dict[str, Array]:
        """Some steps of a block: all wanted wires, time first; `current` is taken on."""
        rows = len(next(iter(current.values())))
        values = self._constants(times * rows)
        for name in self.inputs:
            value = inputs[name].swapaxes(0, 1).astype(self.sources[name], order="C")
            values[name] = value.reshape(times * rows, *value.shape[2:])
        for step in self.before:
            values[step.name] = step(values)
        kept: dict[str, list[Array]] = {name: [] for name in self.leaving}
        for t in range(times):
            now = {name: value[:rows] for name, value in values.items() if name in self.constants}
            now |= {name: values[name][t * rows : (t + 1) * rows] for name in self.entering}
            now |= current
            for step in self.each:
                now[step.name] = step(now)
            for name, parts in kept.items():
                parts.append(now[name])
            current |= {name: now[s].astype(self._kept(name), copy=False) for name, s in self.successors.items()}
        values |= {name: np.concatenate(parts) for name, parts in kept.items()}
        for step in self.after:
            values[step.name] = step(values)
        return values

    def _kept(self, register: str) -> Type:
        return self.sources.get(register, I64)  # a register that nobody reads is kept all the same

    def _constants(self, rows: int) -> dict[str, Array]:
        return {name: np.broadcast_to(value, (rows, *value.shape)) for name, value in self.constants.items()}

    def __str__(self) -> str:
        return "\n".join(f"{step.name}: {step.kernel}  ({step.reason})" for step in self.steps)


def _reference(operation: op.Operation) -> Function:
    return lambda *xs: apply(operation, *xs)


def _hull(operands: list[Wire]) -> Interval:
    return min(w.alphabet.lo for w in operands), max(w.alphabet.hi for w in operands)


def _windows(x: Wire, wire: Wire) -> int:
    """How many elements the windows of a convolution have."""
    if not isinstance(wire.operation, op.Conv):
        return 0
    _, *window = wire.operation.weight.shape
    return wire.operation.groups * math.prod(window) * math.prod(wire.shape[1:])


class Fallback:
    """Runs machines on NumPy, and on the reference those with wires of more than 64 bits.

    Parameters
    ----------
    missing : bool
        Whether kernels ought to be there: the first run says once that they are not.
    """

    def __init__(self, missing: bool = False) -> None:
        self.missing = missing
        self._programs: WeakKeyDictionary[Machine, dict[tuple[str, ...], NumPyProgram | str]] = WeakKeyDictionary()

    def program(self, machine: Machine, wanted: tuple[str, ...]) -> NumPyProgram | str:
        """The program that computes these wires, or why there is none."""
        known = self._programs.setdefault(machine, {})
        if wanted not in known:
            known[wanted] = _program(machine, wanted)
        return known[wanted]

    def __call__(
        self, machine: Machine, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], wanted: tuple[str, ...]
    ) -> dict[str, IntArray]:
        """One step, as the reference takes it."""
        self.tell()
        program = self.program(machine, wanted)
        if isinstance(program, str):
            return get("reference")(machine, inputs, state, wanted)
        return program.run(inputs, state, wanted, len(next(iter({**inputs, **state}.values()))))

    def unroll(
        self, machine: Machine, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], steps: int
    ) -> tuple[dict[str, IntArray], dict[str, IntArray]] | None:
        """Whole sequences: the state behind them and the outputs of all times; None if there is no program."""
        self.tell()
        program = self.program(machine, machine.outputs)
        if isinstance(program, str):
            return None
        return program.unroll(inputs, state, len(next(iter({**inputs, **state}.values()))), steps)

    def explain(self, machine: Machine) -> str:
        """Which operations go through BLAS, in which precision, and why."""
        program = self.program(machine, machine.outputs)
        if isinstance(program, str):
            return f"every operation by the reference interpreter: {program}"
        return f"NumPy, without compiled kernels\n{program}"

    def tell(self) -> None:
        """Say once that kernels are missing, and how to get them."""
        if self.missing:
            self.missing = False
            warnings.warn(
                "zahlen was installed without its compiled kernels: machines run on NumPy, with the same results, but "
                "slower. To build the kernels, have a C compiler (cc) at hand and install again: pip install "
                "--force-reinstall --no-deps --no-cache-dir zahlen. ZAHLEN_ISA=python asks for NumPy and silence.",
                MissingKernelsWarning,
                stacklevel=3,
            )


def _program(machine: Machine, wanted: tuple[str, ...]) -> NumPyProgram | str:
    needed = machine.last_uses((*wanted, *machine.successors.values(), *machine.registers))
    for name in needed:
        if "O" in (machine.wires[name].dtype.kind, machine.wires[name].value_dtype.kind):
            return f"{name} needs more than 64 bits"
    return NumPyProgram(machine, wanted)


fallback = Fallback()
