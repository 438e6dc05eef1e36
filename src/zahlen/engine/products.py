"""Affine maps and convolutions: which product, from which places, and what is done to the sums at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import IntArray, Wire
from ..machine import operations as op
from ..machine.machine import multiplies
from .forms import Form, Home, Slot, Type
from .places import Placed, channels_last
from .staircases import INT32, Steps
from .words import Op

if TYPE_CHECKING:
    from .plan import Planner


class Dot(IntEnum):
    """Products, by the numbers of ``program.h``."""

    DOT8 = 0
    DOT8_PAIRS = 1
    DOT16 = 2
    DOT32 = 3
    DOT64 = 4
    DOT1 = 5


class Epilogue(IntEnum):
    """What becomes of the sums, by the numbers of ``program.h``."""

    SUMS = 0
    CODES = 1
    CODES_PER_CHANNEL = 2


NAMES = {
    Dot.DOT8: "8-bit products",
    Dot.DOT8_PAIRS: "8-bit products, pairs in 16 bits",
    Dot.DOT16: "16-bit products",
    Dot.DOT32: "32-bit products",
    Dot.DOT64: "64-bit products",
    Dot.DOT1: "bits counted",
}
FORMS = {Dot.DOT16: Form(Type.S16, 0), Dot.DOT32: Form(Type.S32, 0), Dot.DOT64: Form(Type.S64, 0)}
DTYPES = {
    Dot.DOT8: np.int8,
    Dot.DOT8_PAIRS: np.int8,
    Dot.DOT16: np.int16,
    Dot.DOT32: np.int32,
    Dot.DOT64: np.int64,
    Dot.DOT1: np.uint8,
}


@dataclass(frozen=True)
class Fusion:
    """What is done with the sums at once: a shift, another wire added, a staircase, the greatest of four neighbours."""

    sums: Wire  # what the staircase counts
    wire: Wire  # what comes out
    names: tuple[str, ...] = ()  # what is passed over
    shift: int = 0  # to the left
    added: str | None = None
    staircase: op.Staircase | None = None
    pool: op.MaxPool | None = None


@dataclass(frozen=True, eq=False)
class Shape:
    """Where a product reads: positions of a row, and the runs of elements at each.

    Attributes
    ----------
    source : Placed
    positions : int64 (P,)
        Where each begins.
    segments : int64 (S,)
        Where each run begins, from there.
    weight : int64 (channels, S, length)
    scale, ones : int
        Of bits: the sum is scale * both + ones * those of the input + `constant`.
    constant : int64 (channels,) or int
    """

    source: Placed
    positions: IntArray
    segments: IntArray
    weight: IntArray
    scale: int = 1
    ones: int = 0
    constant: Any = 0


# ---------------------------------------------------------------------------------------------------- what follows


def fusion(planner: Planner, wire: Wire, *, additions: bool = True) -> Fusion:
    """The longest chain behind a product that its kernel can take on."""
    result = Fusion(wire, wire)
    while (name := planner.only_consumer(result.wire.name)) is not None:
        behind, names = planner.machine.wires[name], (*result.names, result.wire.name)
        operation = behind.operation
        if isinstance(operation, (op.Shift, op.Add)) and not additions:
            break
        if isinstance(operation, op.Shift) and result.wire is wire and _shiftable(wire, operation, behind):
            result = replace(result, sums=behind, wire=behind, names=names, shift=-operation.bits)
        elif isinstance(operation, op.Add) and result.wire is result.sums and _addable(planner, result, behind):
            (added,) = set(behind.operands) - {result.wire.name}
            result = replace(result, sums=behind, wire=behind, names=names, added=added)
        elif isinstance(operation, op.Staircase) and result.staircase is None and _codes(planner, result, behind):
            result = replace(result, wire=behind, names=names, staircase=operation)
        elif isinstance(operation, op.MaxPool) and result.pool is None and _fourfold(wire, operation):
            result = replace(result, wire=behind, names=names, pool=operation)
        else:
            break
    if result.staircase is None and result.pool is not None:
        return Fusion(wire, wire)  # sums of four positions are taken together only to be codes
    return result


def _shiftable(wire: Wire, operation: op.Shift, behind: Wire) -> bool:
    """Whether the kernel may shift the sums: to the left, within 32 bits."""
    return isinstance(wire.operation, op.Affine) and 0 < -operation.bits < 31 and _narrow(behind)


def _addable(planner: Planner, result: Fusion, behind: Wire) -> bool:
    """Whether the other operand of an addition may be added to the sums."""
    wire = result.wire
    others = set(behind.operands) - {wire.name}
    if result.added is not None or len(others) != 1 or len(wire.shape) != 1:
        return False
    if not isinstance(wire.operation, (op.Affine, op.Shift)):
        return False
    placed = planner.placed.get(others.pop())
    fine = _narrow(wire) and _narrow(behind)
    return fine and placed is not None and placed.start() == 0 and placed.slot.form == Form(Type.S32, 0)


def _narrow(wire: Wire) -> bool:
    return INT32[0] < wire.alphabet.lo and wire.alphabet.hi < INT32[1]


def _codes(planner: Planner, result: Fusion, behind: Wire) -> bool:
    """Whether a staircase may follow the sums at once: rising, to bytes, channel by channel or the same for all."""
    operation, sums = behind.operation, result.sums
    assert isinstance(operation, op.Staircase)
    if planner.forms[behind.name].type != Type.U8 or not _narrow(sums):
        return False
    if not operation.per_channel:
        steps = Steps.of(operation.thresholds, operation.values, sums.alphabet.lo, sums.alphabet.hi)
        return len(steps.thresholds) < 256 and bool((np.diff(steps.values) >= 0).all())
    channel_axis = 0 if isinstance(sums.operation, op.Conv) else len(behind.shape) - 1
    if operation.axis % len(behind.shape) != channel_axis or operation.thresholds.shape[1] >= 256:
        return False
    gaps = np.diff(operation.values[0])
    same = bool((operation.values == operation.values[0]).all() and (gaps == gaps[0]).all())
    return same and 0 < gaps[0] < 256


def _fourfold(wire: Wire, operation: op.MaxPool) -> bool:
    """Whether windows hold four positions each, and each position at most once."""
    if not isinstance(wire.operation, op.Conv) or len(operation.size) != len(wire.shape) - 1:
        return False
    return (
        prod(operation.size) == 4 and operation.size == operation.stride and not any(sum(p) for p in operation.padding)
    )


# ---------------------------------------------------------------------------------------------------- where


def affine_shape(planner: Planner, wire: Wire, operation: op.Affine) -> Shape:
    """Rows of the last axis, in whatever order they stand, if that is the same for all."""
    name = wire.operands[0]
    source, width = planner.operand(name), operation.weight.shape[1]
    rows = source.where.reshape(-1, width)
    inside = rows[0] - rows[0].min()
    run = int(inside.max()) + 1
    alike = bool((rows - rows.min(axis=1, keepdims=True) == inside).all())
    if not alike or run > 2 * width:
        source = planner.gathered(name, source, planner.section[wire.name])
        rows = source.where.reshape(-1, width)
        inside, run = np.arange(width), width
    weight = np.zeros((len(operation.weight), 1, run), dtype=np.int64)
    weight[:, 0, inside] = operation.weight
    return Shape(source, rows.min(axis=1), np.zeros(1, dtype=np.int64), weight)


def conv_source(planner: Planner, wire: Wire, operation: op.Conv) -> Placed:
    """The operand with channels last and as much halo as the padding needs."""
    name = wire.operands[0]
    source, x, section = planner.operand(name), planner.machine.wires[name], planner.section[wire.name]
    if not _has_zero(source.slot.form):
        source = planner.converted(name, source, Form.direct(x.alphabet), section)
    if source.halo is not None and all(
        a >= c and b >= d for (a, b), (c, d) in zip(source.halo, operation.padding, strict=True)
    ):
        return source
    elements, where = channels_last(x.shape, operation.padding)
    target = Placed(Slot(source.slot.form, elements, Home.SCRATCH), where, operation.padding)
    if elements > x.size:
        planner.zeros(target.slot, wire.name)
    return planner.moved(name, source, target, section, "channels last")


def _has_zero(form: Form) -> bool:
    """Whether zero, which padding is, can be stored."""
    return form.type != Type.U8 or 0 <= -form.base < 256


def conv_shapes(planner: Planner, wire: Wire, operation: op.Conv) -> list[Shape]:
    """The shape for each group of channels."""
    source = conv_source(planner, wire, operation)
    out, width, *kernel = operation.weight.shape
    x = planner.machine.wires[wire.operands[0]].shape
    halo = source.halo
    assert halo is not None
    sizes = [before + n + after for (before, after), n in zip(halo, x[1:])]
    strides = [x[0] * prod(sizes[k + 1 :]) for k in range(len(sizes))]
    origin = sum((h[0] - p[0]) * s for h, p, s in zip(halo, operation.padding, strides))
    positions = origin + _grid(wire.shape[1:], [a * b for a, b in zip(operation.stride, strides)])
    taps = _grid(tuple(kernel), [a * b for a, b in zip(operation.dilation, strides)])
    per, shapes = out // operation.groups, []
    for g in range(operation.groups):
        weight = operation.weight[g * per : (g + 1) * per].reshape(per, width, -1).transpose(0, 2, 1)
        segments = taps + g * width
        if operation.groups == 1 and operation.dilation[-1] == 1:
            # taps of the last axis stand one behind the other
            weight, segments = weight.reshape(per, -1, kernel[-1] * width), segments[:: kernel[-1]]
        shapes.append(Shape(source, positions, segments, np.ascontiguousarray(weight)))
    return shapes


def _grid(sizes: tuple[int, ...], strides: list[int]) -> IntArray:
    """sum_k i_k stride_k for all i below the sizes, row-major."""
    total: IntArray = np.zeros((), dtype=np.int64)
    for n, stride in zip(sizes, strides):
        total = total[..., None] + np.arange(n) * stride
    return total.ravel()


# ---------------------------------------------------------------------------------------------------- which


def largest(planner: Planner, wire: Wire, form: Form) -> int:
    """The greatest byte among a product's inputs, padding included."""
    return max(planner.machine.wires[wire.operands[0]].alphabet.hi, 0) - form.base


def choose(planner: Planner, wire: Wire, form: Form, weight: IntArray) -> tuple[Dot, str]:
    """The narrowest exact product, and why."""
    x = planner.machine.wires[wire.operands[0]].alphabet
    most = int(np.abs(weight).max())
    if _narrow(wire):
        if form.type == Type.U8 and weight.min() >= -128 and weight.max() <= 127:
            top = largest(planner, wire, form)
            if planner.any_dot8:
                return Dot.DOT8, f"inputs 0..{top}, weights of 8 bits"
            if (ends := together(weight, top, 1)) is not None:
                return Dot.DOT8_PAIRS, f"two products stay in {ends[0]}..{ends[1]}"
        if x.lo >= -(2**15) and x.hi < 2**15 and most < 2**15:
            return Dot.DOT16, "inputs and weights of 16 bits"
        if INT32[0] < x.lo and x.hi < INT32[1] and most < 2**31:
            return Dot.DOT32, "sums of 32 bits"
    return Dot.DOT64, "sums need 64 bits"


DEPTHS = (64, 48, 32, 24, 16, 12, 10, 8, 7, 6, 5, 4, 3)
"""Over so many dwords of the input sums of 16 bits may go on; for fewer it is not worth while."""


def together(weight: IntArray, top: int, depth: int) -> tuple[int, int] | None:
    """Where sums of pairs over `depth` dwords of inputs 0..top stay, whatever these are; None if not in 16 bits.

    One 16-bit sum takes the first two bytes of each dword, one the last two; a channel's dwords are taken in turn.
    """
    channels, _, length = weight.shape
    dwords = np.pad(weight, ((0, 0), (0, 0), (0, -length % 4))).reshape(channels, -1, 2, 2)
    dwords = np.pad(dwords, ((0, 0), (0, -dwords.shape[1] % depth), (0, 0), (0, 0)))
    parts = dwords.reshape(channels, -1, depth, 2, 2)
    lo, hi = (
        int(np.minimum(parts, 0).sum(axis=(2, 4)).min()) * top,
        int(np.maximum(parts, 0).sum(axis=(2, 4)).max()) * top,
    )
    return (lo, hi) if lo >= -(2**15) and hi < 2**15 else None


def deepest(weight: IntArray, top: int) -> tuple[int, str]:
    """Over how many dwords of the input sums of 16 bits may go on, and why; (1, "") if over no more than one."""
    dwords = weight.shape[1] * -(-weight.shape[2] // 4)
    for depth in DEPTHS:
        ends = together(weight, top, depth) if dwords > 2 else None
        if ends is not None:
            return depth, f"sums of {2 * min(depth, dwords)} products stay in {ends[0]}..{ends[1]}"
    return 1, ""


FEWEST_BITS = 32
"""Of fewer inputs all the bits would fit into one step, and the products of bytes are as fast."""


def two_valued(planner: Planner, wire: Wire, shapes: list[Shape]) -> bool:
    """Whether bits may be counted: an affine map of two-valued inputs with weights of at most two values."""
    x = planner.machine.wires[wire.operands[0]].alphabet
    (shape, *_) = shapes
    return (
        isinstance(wire.operation, op.Affine)
        and _narrow(wire)
        and x.size == 2
        and shape.source.slot.form == Form(Type.U8, x.lo)
        and shape.weight.shape[2] == wire.operation.weight.shape[1] >= FEWEST_BITS
        and len(np.unique(shape.weight)) <= 2
        and int(np.abs(shape.weight).max()) * (x.hi - x.lo) < 2**20
    )


def bits(planner: Planner, wire: Wire, shape: Shape) -> Shape:
    """The input as bits, and what counts them: with x = x0 + dx a and w = w0 + dw b, sums of products are counts.

    sum w x = x0 sum w + dx (w0 sum a + dw sum a b).
    """
    x = planner.machine.wires[wire.operands[0]].alphabet
    count = shape.weight.shape[2]
    length = -(-count // 32) * 4
    slot = Slot(Form(Type.U8, 0), len(shape.positions) * (length + 4), Home.SCRATCH)
    positions = np.arange(len(shape.positions)) * (length + 4)
    places = [planner.data.add(p, np.int32) for p in (shape.positions + shape.segments[0], positions)]
    planner.emit(
        Op.BITS, planner.section[wire.name], [shape.source.slot, slot, len(positions), count, *places],
        wire.operands[0], kernel="bytes to bits",
    )  # fmt: skip
    low, high = int(shape.weight.min()), int(shape.weight.max())
    weight = np.zeros((len(shape.weight), 1, length), dtype=np.int64)
    packed = np.packbits(shape.weight[:, 0] != low, axis=1, bitorder="little")
    weight[:, 0, : packed.shape[1]] = packed
    step = x.hi - x.lo
    return Shape(
        Placed(slot, np.arange(slot.elements)), positions, np.zeros(1, dtype=np.int64), weight,
        scale=step * (high - low), ones=step * low, constant=x.lo * shape.weight[:, 0].sum(axis=1),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the instruction


def product(planner: Planner, wire: Wire) -> None:
    """Plan an affine map or a convolution with what follows it."""
    operation: Any = wire.operation
    if isinstance(operation, op.Conv):
        shapes = conv_shapes(planner, wire, operation)
    else:
        shapes = [affine_shape(planner, wire, operation)]
    dot, reason = max(choose(planner, wire, shape.source.slot.form, shape.weight) for shape in shapes)
    if two_valued(planner, wire, shapes):
        dot, reason = Dot.DOT1, "inputs and weights of two values each"
        shapes = [bits(planner, wire, shapes[0])]
    then = Fusion(wire, wire) if dot == Dot.DOT64 else fusion(planner, wire, additions=dot != Dot.DOT1)
    result = then.wire
    form = planner.forms[result.name]
    if then.staircase is None:
        form = Form(Type.S64 if dot == Dot.DOT64 else Type.S32, 0)
    if isinstance(operation, op.Conv):
        target = planner.new(result, planner.wish(result), last=True, form=form)
        to = np.moveaxis(target.where.reshape(result.shape[0], -1), 0, 1)
    else:
        target = planner.new(result, form=form)
        to = target.where.reshape(-1, result.shape[-1])
    source = planner.converted(wire.operands[0], shapes[0].source, FORMS.get(dot, shapes[0].source.slot.form),
                               planner.section[wire.name])  # fmt: skip
    order = np.arange(len(shapes[0].positions))
    if then.pool is not None:
        order = _windows_in_turn(wire.shape[1:], then.pool.size)
    first = 0
    for shape in shapes:
        channels = slice(first, first + len(shape.weight))
        depth = 1
        if dot == Dot.DOT8_PAIRS:
            depth, deep = deepest(shape.weight, largest(planner, wire, source.slot.form))
            reason = deep or reason
        words, about = _words(
            planner, wire, then, replace(shape, source=source), dot, depth, order, to, channels, target
        )
        planner.emit(
            Op.PRODUCT, planner.section[wire.name], words, *then.names, result.name, kernel=NAMES[dot] + about,
            reason=reason, operations=multiplies(wire) // len(shapes),
        )  # fmt: skip
        first = channels.stop
    planner.placed[result.name] = target
    planner.done.update((*then.names, result.name))


def _windows_in_turn(shape: tuple[int, ...], size: tuple[int, ...]) -> IntArray:
    """Positions window by window; what no window holds is left out."""
    places = np.arange(prod(shape)).reshape(shape)
    places = places[tuple(slice(0, n // s * s) for n, s in zip(shape, size))]
    split = places.reshape([k for n, s in zip(places.shape, size) for k in (n // s, s)])
    return split.transpose([*range(0, split.ndim, 2), *range(1, split.ndim, 2)]).ravel()


def _words(
    planner: Planner, wire: Wire, then: Fusion, shape: Shape, dot: Dot, depth: int, order: IntArray, to: IntArray,
    channels: slice, target: Placed,
) -> tuple[list[Any], str]:  # fmt: skip
    operation: Any = wire.operation
    data, out, base = planner.data, target.slot, target.slot.form.base
    weight = shape.weight.reshape(len(shape.weight), -1)
    # sums are of what is stored, which is `base` less than the elements
    bias = operation.bias[channels] + shape.source.slot.form.base * weight.sum(axis=1) + shape.constant
    epilogue, count, stairs, spacing, offset, about = Epilogue.SUMS, 0, -1, 1, 0, ""
    shared: list[int] = []
    if then.staircase is not None and then.staircase.per_channel:
        epilogue = Epilogue.CODES_PER_CHANNEL
        # what the sums cannot reach may be moved to the ends of the type
        thresholds = np.clip(then.staircase.thresholds[channels], INT32[0] + 1, INT32[1])
        count, stairs = thresholds.shape[1], data.add(thresholds.T, np.int32)
        values = then.staircase.values[0]
        spacing, offset = int(values[1] - values[0]), int(values[0]) - base
        about = f", {count} thresholds a channel"
    elif then.staircase is not None:
        epilogue, a = Epilogue.CODES, then.sums.alphabet
        steps = Steps.of(then.staircase.thresholds, then.staircase.values, a.lo, a.hi)
        even = steps.spacing is not None and int(steps.values[0]) == base
        spacing = steps.spacing or 0 if even else 0
        shared = steps.words(data, steps.values - base)
        about = f", {steps.describe()}"
    about += ", the greatest of four neighbours" if then.pool is not None else ""
    about = ", added to" + about if then.added is not None else about
    about = f", shifted by {then.shift}" + about if then.shift else about
    added = -1 if then.added is None else planner.placed[then.added].slot
    words: list[Any] = [
        shape.source.slot, out, added, then.shift, dot, epilogue, len(shape.segments), shape.weight.shape[2],
        data.add(shape.segments, np.int32), len(order), 4 if then.pool is not None else 1, len(weight),
        data.add(shape.positions[order], np.int32), data.add(to[:, channels.start], np.int32),
        data.add(weight, DTYPES[dot]), data.add(bias, np.int64 if dot == Dot.DOT64 else np.int32),
        depth, shape.scale, shape.ones, count, stairs, *shared, spacing, offset,
    ]  # fmt: skip
    return words, about
