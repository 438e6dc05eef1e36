"""Machines that each hold something that C could get wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np

from zahlen import Builder, Codes, Levels, Machine
from zahlen.machine.tables import sigmoid_points, tanh_points, thresholds

MACHINES: dict[str, Callable[[], Machine]] = {}


def made(function: Callable[[], Machine]) -> Callable[[], Machine]:
    MACHINES[function.__name__] = function
    return function


def mlp(sizes: tuple[int, ...] = (30, 12, 12, 4), levels: int = 16, q: int = 127, pixels: int = 255) -> Machine:
    """A multilayer perceptron of tanhD-like units with random weights."""
    rng, b = np.random.default_rng(sum(sizes)), Builder()
    h = b.input("pixels", (sizes[0],), Levels(0, pixels))
    for k, (width, units) in enumerate(pairwise(sizes)):
        h = b.affine(h, rng.integers(-q, q + 1, (units, width)), rng.integers(-99, 99, units), name=f"sum{k}")
        if k < len(sizes) - 2:
            top = int(np.sqrt(width) * q * 60)
            thresholds = np.sort(rng.integers(-top, top, levels - 1))
            h = b.staircase(h, thresholds, 2 * np.arange(levels) - levels + 1, name=f"level{k}")
    return b.build(h, b.argmax(h, name="digit"))


def recurrent(hidden: int = 8) -> Machine:
    """A gated recurrence with products of wires, shifts with rounding, a clamp, and a cell."""
    rng, b = np.random.default_rng(3), Builder()
    x = b.input("x", (5,), Levels(-15, 15, 2))
    h = b.register("h", (hidden,), Levels.odd(16))
    c = b.register("c", (hidden,), Levels(-32767, 32767))

    def gate(name: str, values: np.ndarray) -> str:
        z = b.add(
            b.affine(x, rng.integers(-60, 61, (hidden, 5))),
            b.affine(h, rng.integers(-60, 61, (hidden, hidden))),
            name=f"z_{name}",
        )
        return b.staircase(z, np.linspace(-1500, 1500, 15).astype(int), values, name=name).name

    sigmoid, tanh = np.arange(16) * 256 // 15, (np.arange(16) * 256 // 15) - 128
    f, i, o, g = gate("f", sigmoid), gate("in", sigmoid), gate("o", sigmoid), gate("g", tanh)
    total = b.add(b.mul(f, c), b.shift(b.mul(i, g), -5), name="total")
    cell = b.clamp(b.shift(total, 8, "half_up"), -32767, 32767, name="cell")
    t = b.staircase(cell, np.linspace(-9000, 9000, 15).astype(int), tanh, name="t")
    out = b.staircase(b.mul(o, t), np.linspace(-30000, 30000, 15).astype(int), 2 * np.arange(16) - 15, name="following")
    b.connect(h, out)
    b.connect(c, cell)
    return b.build(out, b.affine(out, rng.integers(-9, 9, (3, hidden)), name="logits"))


SYMBOLS = [" ", ",", "!", "\n", '"', "'", "?", "\\", "%", "\t", *"aeinorst", "é", "€", "𝄞"]


def character_lstm(
    hidden: int = 12, levels: int = 16, symbols: list[str] = SYMBOLS, shape: tuple[int, ...] = ()
) -> Machine:
    """A discrete LSTM that models text, with random weights: a 16-bit cell, three gates, a row of sums per symbol."""
    rng, b, n = np.random.default_rng(11), Builder(), len(symbols)
    x = b.input("symbol", shape, Levels(0, n - 1))
    h = b.register("h", (hidden,), Levels.odd(levels))
    c = b.register("c", (hidden,), Levels(-32767, 32767))
    unit = 64 * (levels - 1)
    rows = b.reshape(b.embed(x, rng.integers(-2 * unit, 2 * unit, (n, 4 * hidden)), name="row"), (4 * hidden,))
    z = b.add(rows, b.affine(h, rng.integers(-127, 128, (4 * hidden, hidden)), name="recurrent"), name="z")
    k = np.arange(levels)
    sigmoid, tanh = (512 * k + levels - 1) // (2 * (levels - 1)), (512 * k // (levels - 1) + 1) // 2 - 128
    steps = {"tanh": thresholds(tanh_points(levels), unit), "sigmoid": thresholds(sigmoid_points(levels), unit)}

    def gate(number: int, name: str, kind: str, values: np.ndarray) -> str:
        part = b.slice(z, (number * hidden,), ((number + 1) * hidden,))
        return b.staircase(part, steps[kind], values, name=name).name

    i, f, o = (gate(number, f"gate_{name}", "sigmoid", sigmoid) for number, name in enumerate("ifo"))
    g = gate(3, "candidate", "tanh", tanh)
    total = b.add(b.mul(f, c), b.shift(b.mul(i, g), -5))
    cell = b.clamp(b.shift(total, 8, "half_up"), -32767, 32767, name="cell")
    t = b.staircase(cell, thresholds(tanh_points(levels), 4096), tanh, name="squashed")
    # round((o t / 32768 + 1) (L - 1) / 2), from the products 32768 (2 k - L + 1) / (L - 1) on
    ends = [-(-(65536 * k - 32768) // (levels - 1)) - 32768 for k in range(1, levels)]
    level = b.staircase(b.mul(o, t), ends, 2 * k - (levels - 1), name="level")
    b.connect(h, level)
    b.connect(c, cell)
    logits = b.affine(level, rng.integers(-127, 128, (n, hidden)), rng.integers(-500, 500, n), name="logits")
    return b.build(logits, notes={"symbols": symbols, "unit": str(Fraction(unit * 7, 8))})


@made
def characters() -> Machine:
    return character_lstm()


@made
def dense() -> Machine:
    return mlp()


@made
def gated() -> Machine:
    return recurrent()


@made
def ternary() -> Machine:
    return mlp((20, 9, 9, 3), q=1)


@made
def wide_bytes() -> Machine:
    return mlp((6, 5, 3), q=30000, pixels=65535)


@made
def image() -> Machine:
    rng, b = np.random.default_rng(5), Builder()
    h = b.conv(b.input("x", (2, 9, 8), Levels(0, 255)), rng.integers(-50, 50, (4, 2, 3, 2)), padding=((1, 2), (0, 1)))
    steps = np.sort(rng.integers(-20000, 20000, (4, 40)), axis=1)
    h = b.staircase(h, steps, rng.integers(-8, 8, (4, 41)), axis=0)
    h = b.maxpool(h, (2, 3), (2, 1), padding=(0, (2, 1)))
    h = b.conv(h, rng.integers(-3, 4, (4, 1, 3, 3)), [5, 0, -5, 1], groups=4, dilation=(1, 2), stride=(2, 1), padding=2)
    h = b.sumpool(b.staircase(h, [-4, 0, 0, 9], [3, -1, 7, 2, 2]), (2, 2), (1, 2), padding=1)
    h = b.reshape(b.transpose(h, (2, 0, 1)), (-(-h.size // 1),))
    return b.build(b.affine(h, rng.integers(-9, 9, (3, h.size)), name="logits"))


@made
def signal() -> Machine:
    rng, b = np.random.default_rng(6), Builder()
    x = b.input("x", (4, 15), Levels(-8, 7))
    h = b.conv(x, rng.integers(-9, 10, (6, 2, 3)), rng.integers(-9, 9, 6), groups=2, stride=2, dilation=3, padding=4)
    y = b.staircase(
        h, np.sort(rng.integers(-90, 90, (h.shape[1], 5)), axis=1), rng.integers(-9, 9, (h.shape[1], 6)), axis=1
    )
    return b.build(y, b.sum(y, (0,)), b.argmax(y, axis=0), b.sum(y, (0, 1)))


@made
def rows() -> Machine:
    """An affine map at every row of a matrix, with a staircase along each of the axes."""
    rng, b = np.random.default_rng(7), Builder()
    x = b.input("x", (3, 4, 5), Levels(-7, 9, 2))
    outs = []
    for axis, width in ((0, 3), (1, 4), (2, 6), (-1, 6)):
        z = b.affine(x, rng.integers(-99, 99, (6, 5)), rng.integers(-9, 9, 6))
        steps = np.sort(rng.integers(-2000, 2000, (width, 70)), axis=1)
        outs.append(b.staircase(z, steps, rng.integers(-900, 900, (width, 71)), axis=axis))
    z = b.affine(x, rng.integers(-99, 99, (6, 5)))
    outs.append(b.staircase(z, np.sort(rng.integers(-2000, 2000, 3)), [1, 0, 5, 5]))
    return b.build(*outs)


@made
def edges_of_int64() -> Machine:
    b, top = Builder(), 2**63 - 1
    x = b.input("x", (3,), Levels(-top - 1, top))
    y = b.clamp(x, -5, 5)
    steps = [-top - 1, -top, -1, 0, 0, 1, top]
    outs = [b.staircase(x, steps, [9, 1, 4, -top - 1, 3, 0, top, 2]), b.max(x, y), b.min(x, y), b.argmax(x)]
    outs += [
        b.shift(b.clamp(x, -top - 1, 2**61), 62),
        b.shift(b.clamp(x, -2, 1), -62),
        b.clamp(x, -top - 1, 0),
        b.maxpool(x, (2,), (1,)),
    ]
    return b.build(*outs, b.lookup(b.clamp(x, -top - 1, -top), [7, 8]))


@made
def edges_of_int32() -> Machine:
    b, top = Builder(), 2**31 - 1
    x = b.input("x", (4,), Levels(-top - 1, top))
    u = b.input("u", (4,), Levels(0, 2**32 - 1))
    minus = b.clamp(b.input("m", (4,), Levels(-1, 0)), -1, 0)
    outs = [b.shift(x, 30), b.shift(x, 31, "half_up"), b.shift(minus, -31), b.neg(b.clamp(x, -top, top)), b.neg(x)]
    outs += [b.max(u, minus), b.min(u, minus), b.add(u, minus), b.sub(x, u), b.affine(u, [[1, -1, 2, 0]])]
    outs += [b.staircase(x, [-top - 1, top], [0, 1, 2]), b.mul(minus, x), b.mul(b.clamp(x, -46340, 46340), minus)]
    outs += [b.mul(b.clamp(x, -46340, 46340), b.clamp(x, -46340, 46340)), b.affine(minus, [[2**31, 1, 1, 1]])]
    return b.build(*outs)


@made
def halves() -> Machine:
    """Shifts of negative values in both roundings, left and right."""
    b = Builder()
    x = b.input("x", (7,), Levels(-1000, 1000))
    outs = [b.shift(x, s, r) for s in (1, 3, 9, 15) for r in ("floor", "half_up")]
    return b.build(*outs, *(b.shift(x, -s) for s in (1, 4, 21, 40)), b.shift(x, 0))


@made
def products() -> Machine:
    """Products of wires in every way that the form without multiplication has."""
    b = Builder()
    few = b.input("few", (6,), Levels(-15, 15, 2))
    three = b.input("three", (6,), Levels(-30, 30, 3))
    byte = b.input("byte", (6,), Levels(0, 255))
    word = b.input("word", (6,), Levels(-32768, 32767))
    long = b.input("long", (6,), Levels(-(2**31), 2**31))
    pairs = [
        (few, few),
        (few, three),
        (three, byte),
        (byte, byte),
        (byte, word),
        (word, word),
        (long, word),
        (long, long),
    ]
    outs = [b.mul(x, y) for x, y in pairs]
    return b.build(*outs, b.mul(b.constant([0, 1, -1, 127, -128, 5]), byte), b.mul(few, long))


@made
def tables() -> Machine:
    """Look-ups by strange grids, of one and two operands, and rows of several widths."""
    rng, b = np.random.default_rng(8), Builder()
    x = b.input("x", (5,), Levels(-9, 12, 3))
    y = b.input("y", (5,), Levels(100, 106))
    c = b.input("c", (5,), Codes(6, "S3"))
    s = b.input("s", (2, 2), Levels(0, 4))
    outs = [b.lookup(x, rng.integers(-9, 9, 8)), b.lookup(x, y, rng.integers(0, 99, (8, 7)))]
    outs += [
        b.lookup(c, c, rng.integers(0, 6, (6, 6)), alphabet=Codes(6, "S3")),
        b.lookup(y, x, rng.integers(0, 9, (7, 8))),
    ]
    outs += [b.embed(s, rng.integers(-999, 999, (6, width))) for width in (1, 3, 4)]
    return b.build(*outs, b.embed(c, rng.integers(0, 9, (6, 5))))


@made
def moved() -> Machine:
    """What only moves elements, in four axes."""
    b = Builder()
    x = b.input("x", (2, 3, 4, 5), Levels(-300, 300))
    outs = [b.transpose(x, axes) for axes in ((3, 2, 1, 0), (0, 2, 1, 3), (0, 1, 2, 3))]
    outs += [b.slice(x, (0, 1, 0, 1), (2, 3, 4, 4), (1, 1, 3, 2)), b.slice(x, (1, 0, 0, 0), (2, 3, 4, 5))]
    outs += [b.concat(x, x, axis=axis) for axis in (0, -1)] + [b.concat(x, b.neg(x), b.clamp(x, 0, 9), axis=1)]
    outs += [b.sum(x, axes) for axes in ((0, 2), (1, 3), (0, 1, 2, 3))] + [b.argmax(x, axis) for axis in (0, 2, -1)]
    return b.build(*outs, b.reshape(x, (120,)), x)


@made
def swapped() -> Machine:
    """Registers that take each other's old values, one that keeps its own, one that widens what it takes."""
    b = Builder()
    x = b.input("x", (3,), Levels(-2, 2))
    p, q = (b.register(n, (3,), Levels(-100, 100), [k, k + 1, 0]) for k, n in enumerate(("p", "q")))
    kept = b.register("kept", (3,), Levels(0, 9), 7)
    wide = b.register("wide", (3,), Levels(-(2**40), 2**40), [1, -(2**40), 2**40])
    line = [b.register(f"delay{k}", (3, 1), Levels(-2, 2)) for k in range(3)]
    b.connect(p, q)
    b.connect(q, b.clamp(b.add(p, x), -100, 100))
    b.connect(kept, kept)
    b.connect(wide, x)
    for to, source in zip(line, [b.reshape(x, (3, 1)), *line]):
        b.connect(to, source)
    return b.build(p, b.add(wide, kept), line[2], b.reshape(q, (1, 3)), kept)


@made
def exchanged() -> Machine:
    """Two registers that swap, and nothing else."""
    b = Builder()
    p, q = b.register("p", (2,), Levels(0, 5), [1, 2]), b.register("q", (2,), Levels(0, 5), [3, 4])
    b.connect(p, q)
    b.connect(q, p)
    return b.build(b.sub(p, q))


@made
def passed_through() -> Machine:
    """Outputs that are inputs, constants, and other outputs in another shape; an input that nothing reads."""
    b = Builder()
    x = b.input("x", (2, 2), Levels(0, 9))
    b.input("ignored", (3,), Levels(0, 9))
    constant = b.constant([[1, 2], [3, 400]], name="constant")
    y = b.add(x, constant, name="y")
    return b.build(x, constant, y, b.reshape(y, (4,)), b.reshape(x, (4,)), b.reshape(constant, (1, 4)))


@made
def unused() -> Machine:
    """Wires that no output depends on: they are seen in a trace, and cost nothing otherwise."""
    b = Builder()
    x = b.input("x", (4,), Levels(-9, 9))
    lost = b.affine(x, [[300, 2, 3, 4]] * 5, [1, 2, 3, 4, 5])
    b.staircase(lost, [-4, 100], [5, -1000, 7])
    b.shift(b.mul(x, x), 1)
    b.reshape(b.constant([[1, 2], [3, 4]]), (4,))
    b.reshape(x, (2, 2))
    return b.build(b.neg(x))


@made
def between() -> Machine:
    """Wires that come and go between a sum and its staircase, which are one loop in the program."""
    b = Builder()
    x = b.input("x", (6,), Levels(-9, 9))
    z = b.affine(x, np.arange(36).reshape(6, 6) - 17)
    back = b.neg(b.neg(b.neg(x)))
    y = b.staircase(z, np.arange(-900, 900, 100), np.arange(19))
    return b.build(b.add(y, back), b.neg(b.neg(y)))


@made
def single_numbers() -> Machine:
    """Wires without axes."""
    b = Builder()
    x = b.input("x", (), Levels(-3, 3))
    total = b.sum(b.input("v", (3,), Levels(0, 5)), (0,))
    r = b.register("r", (), Levels(0, 18), 2)
    b.connect(r, b.clamp(b.add(r, x), 0, 18))
    return b.build(b.add(x, total), b.staircase(b.mul(x, r), [0], [-1, 1]), b.reshape(total, (1, 1)))


@made
def hostile_names() -> Machine:
    """Wires called like C's words, the program's own variables, and each other's tables."""
    names = re.findall(
        r"\w+",
        """int for sum w i j k i0 at_i0 value state work s p q n t v best index row col top left filter channel group
        plane k1 NULL EOF SEE INT8_MAX I errno memcpy string linux uint8_t times quarter count_int16_32 shift_right_32
        a_weight first half model_run main seen rest""",
    )
    b = Builder()
    x = b.input("double", (3,), Levels(-99, 99))
    for name in names:
        x = b.input(name, (3,), Levels(-9, 9)) if len(name) % 3 == 0 else b.clamp(x, -9, 9, name=name)
    a = b.affine(x, [[5, -3, 999]] * 2, [4, 5], name="a")
    y = b.staircase(
        a, np.arange(-2000, 2000, 9), np.arange(446)[: len(np.arange(-2000, 2000, 9)) + 1] % 50, name="switch"
    )
    r = b.register("register", (2,), Levels(0, 49))
    b.connect(r, y)
    return b.build(b.shift(b.sub(y, r, name="return"), 1, name="goto"), *names[:20], "main", "times", y)


@made
def shared_thresholds() -> Machine:
    """Staircases with equal rows, thresholds that are never or always reached, and one threshold alone."""
    b = Builder()
    x = b.input("x", (3, 2), Levels(-20000, 20000))
    outs = [
        b.staircase(x, [[5, 900, 900]] * 3, [[1, 2, 3, 4]] * 3),
        b.staircase(x, [[5, 9], [1, 7], [0, 0]], [[1, 0, 2]] * 3),
    ]
    outs += [b.staircase(x, [[5, 9]] * 2, [[1, 2, 3], [3, 2, 1]], axis=1), b.staircase(x, [17], [-1, 1])]
    far = [-(2**62), -20001, -20000, 20000, 20001, 2**62]
    return b.build(*outs, b.staircase(x, far, [9, 8, 7, 6, 5, 4, 3]), b.staircase(x, [[1], [2], [3]], [[0, 1]] * 3))
