"""Random small machines made of every operation, and batches to run them on.

Hypothesis chooses the program (which operations, in which order) and so can shrink it; the numbers in it come from a
generator seeded by one drawn integer, which is quick. `random_machine` makes the same machines without hypothesis.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from zahlen.machine import Builder, Codes, Levels, Machine, Wire, ZahlenError
from zahlen.machine import operations as op
from zahlen.machine.ranges import INT64, fits, workspace
from zahlen.machine.shapes import result_shape

MAX_SIZE = 48
"""Most elements of one wire."""

WIDE = (-(2**199), 2**199 - 1)


@st.composite
def machines(
    draw: Callable[..., Any],
    *,
    wide: bool = False,
    registers: bool = True,
    codes: bool = True,
    kinds: Sequence[str] | None = None,
    max_wires: int = 8,
) -> Machine:
    """Random machines; with `wide`, workspaces may exceed int64. `kinds` limits the operations (by their names)."""
    chosen = draw(st.lists(st.sampled_from(sorted(kinds or STEPS)), min_size=1, max_size=max_wires))
    seed = draw(st.integers(0, 2**32 - 1))
    return random_machine(random.Random(seed), chosen, wide=wide, registers=registers, codes=codes)


@st.composite
def batches(draw: Callable[..., Any], machine: Machine, size: int = 6) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and state, each a mapping from name to an array (batch, *shape): both ends, mixtures of them, random."""
    return random_batch(machine, random.Random(draw(st.integers(0, 2**32 - 1))), size)


def random_batch(machine: Machine, rng: random.Random, size: int = 6) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `batches`, without hypothesis."""
    inputs, state = (
        {name: _elements(machine.wires[name], rng, size) for name in names}
        for names in (machine.inputs, machine.registers)
    )
    return inputs, state


def random_sequences(machine: Machine, rng: random.Random, size: int = 3, time: int = 5) -> dict[str, Any]:
    """Inputs by name, each (batch, time, *shape)."""
    steps = [random_batch(machine, rng, size)[0] for _ in range(time)]
    return {name: np.stack([step[name] for step in steps], axis=1) for name in machine.inputs}


def _elements(wire: Wire, rng: random.Random, size: int) -> Any:
    a, rows = wire.alphabet, []
    for k in range(size):
        if k < 2:
            rows.append([(a.lo, a.hi)[k]] * wire.size)
        elif k % 2:
            rows.append([rng.choice((a.lo, a.hi)) for _ in range(wire.size)])
        else:
            rows.append([a.lo + a.step * rng.randrange(a.size) for _ in range(wire.size)])
    dtype = np.int64 if fits((a.lo, a.hi)) else object
    return np.array(rows, dtype=dtype).reshape(size, *wire.shape)


def random_machine(
    rng: random.Random,
    chosen: Sequence[str] | None = None,
    *,
    wide: bool = False,
    registers: bool = True,
    codes: bool = True,
) -> Machine:
    """A machine grown from one or two inputs by the chosen operations, where each finds operands that fit."""
    return _Grower(rng, wide, registers, codes).grow(chosen or rng.choices(sorted(STEPS), k=rng.randint(1, 8)))


class _SkipError(Exception):
    """No operand fits, or the result would be too large."""


class _Grower:
    def __init__(self, rng: random.Random, wide: bool, registers: bool, codes: bool) -> None:
        self.rng, self.b, self.wires = rng, Builder(), []
        self.wide, self.registers, self.codes = wide, registers, codes
        self.limit = WIDE if wide else INT64

    def grow(self, chosen: Sequence[str]) -> Machine:
        self.source()
        for kind in chosen:
            try:
                STEPS[kind](self)
            except _SkipError:
                continue
        for wire in self.wires.copy():
            if isinstance(wire.operation, op.Register):
                self.follow(wire)
        last = [self.wires[-1], *self.rng.sample(self.wires, min(len(self.wires), self.rng.choice((0, 0, 1, 2))))]
        return self.b.build(*dict.fromkeys(w.name for w in last), notes={"made": "for a test"})

    # ------------------------------------------------------------------------------------------------ choices

    def maybe(self, probability: float = 0.5) -> bool:
        return self.rng.random() < probability

    def integer(self, least: int, most: int) -> int:
        return self.rng.randint(least, most)

    def magnitude(self) -> int:
        return self.rng.choice((1, 1, 3, 8, 127, 255, 2**15, 2**33) + ((2**62,) if self.wide else ()))

    def array(self, *shape: int, magnitude: int | None = None) -> Any:
        top = self.magnitude() if magnitude is None else magnitude
        low = self.rng.choice((-top, -top, 0))
        return np.array([self.rng.randint(low, top) for _ in range(prod(shape))], dtype=np.int64).reshape(shape)

    def shape(self) -> tuple[int, ...]:
        axes = self.rng.choice((0, 1, 1, 1, 2, 2, 3, 3, 3))
        most = (0, 9, 5, 4)[axes]
        return tuple(self.integer(1, most) for _ in range(axes))

    def levels(self) -> Levels:
        style = self.rng.randrange(6 if self.wide else 5)
        if style == 0:
            return Levels.odd(self.integer(2, 9))
        if style == 1:
            return Levels(0, self.rng.choice((1, 3, 15, 255)))
        if style == 2:
            lo, step = self.integer(-20, 20), self.rng.choice((1, 1, 2, 3, 10))
            return Levels(lo, lo + step * self.integer(0, 12), step)
        if style == 3:
            return Levels(-128, 127)
        top = 2**80 if style == 5 else self.rng.choice((2**15, 2**31 - 1, 2**31, 2**36))
        return Levels(-top, top, self.rng.choice((1, top)))

    def pick(self, fits_in: Callable[[Wire], bool] = lambda w: True, numeric: bool = True) -> Wire:
        found = [w for w in self.wires if (w.alphabet.numeric or not numeric) and fits_in(w)]
        if not found:
            raise _SkipError
        # the latest wires more often, so that programs get deep
        return self.rng.choice(found[-3:] if self.maybe(0.7) else found)

    def spatial(self, axes: int) -> Wire:
        """An operand with this number of axes: one that is there, or one reshaped."""
        try:
            return self.pick(lambda w: len(w.shape) == axes)
        except _SkipError:
            x = self.pick(lambda w: w.size > 1)
            rest, shape = x.size, []
            for _ in range(axes - 1):
                shape.append(self.rng.choice([d for d in range(1, rest + 1) if rest % d == 0]))
                rest //= shape[-1]
            return self.put(op.Reshape((*shape, rest)), x)

    def twin(self, x: Wire) -> Wire:
        """An operand of the same shape."""
        return self.pick(lambda w: w.shape == x.shape)

    def small(self, most: int, numeric: bool = False) -> Wire:
        """An operand with few values: one that is there, or one clamped."""
        try:
            return self.pick(lambda w: w.alphabet.size <= most, numeric=numeric)
        except _SkipError:
            x = self.pick()
            lo = self.integer(max(x.alphabet.lo - 2, -(2**62)), min(x.alphabet.hi, 2**62))
            return self.put(op.Clamp(lo, lo + self.integer(0, most - 1)), x)

    def put(self, operation: op.Operation, *operands: Wire) -> Wire:
        """Append, unless the result is too large or too wide for these machines."""
        if prod(result_shape(operation, *(w.shape for w in operands))) > MAX_SIZE:
            raise _SkipError
        if operands and not fits(workspace(operation, *(w.range for w in operands)), self.limit):
            raise _SkipError
        self.wires.append(self.b.append(operation, *operands))
        return self.wires[-1]

    # ------------------------------------------------------------------------------------------------ sources

    def source(self) -> None:
        name = f"x{sum(isinstance(w.operation, op.Input) for w in self.wires)}"
        shape = self.rng.choice(self.wires).shape if self.wires and self.maybe() else self.shape()
        coded = self.codes and self.wires and self.maybe(0.3)
        alphabet = Codes(self.integer(1, 7), self.rng.choice(("", "S3"))) if coded else self.levels()
        self.wires.append(self.b.input(name, shape, alphabet))

    def register(self) -> None:
        if not self.registers:
            raise _SkipError
        name = f"r{sum(isinstance(w.operation, op.Register) for w in self.wires)}"
        model = self.pick(numeric=False)
        coded = self.codes and self.maybe(0.2)
        alphabet = Codes(self.integer(1, 6), "S3") if coded else self.levels()
        spots = [alphabet.lo + alphabet.step * self.rng.randrange(alphabet.size) for _ in range(model.size)]
        if not fits((min(spots), max(spots))):
            spots = [0 if 0 in alphabet else self.rng.choice([v for v in spots if fits((v, v))] or [None])] * model.size
            if None in spots:
                raise _SkipError
        self.wires.append(self.b.append(op.Register(alphabet, np.array(spots).reshape(model.shape)), name=name))

    def follow(self, register: Wire) -> None:
        """Connect a register to something of its shape that is made to fit."""
        a = register.alphabet
        if not a.numeric:
            same = [w for w in self.wires if w.alphabet == a and w.shape == register.shape]
            source = self.rng.choice(same)
            table = self.array(a.size, magnitude=0) + np.array([self.rng.randrange(a.size) for _ in range(a.size)])
            self.b.connect(register, self.b.lookup(source, table, alphabet=a))
            return
        found = [w for w in self.wires if w.shape == register.shape and w.alphabet.numeric]
        inside = [w for w in found if w is not register and w.range.within(a)]
        source = self.rng.choice(inside or found)
        if not source.range.within(a) and a.step == 1:
            source = self.b.clamp(source, a.lo, a.hi)
        elif not source.range.within(a):  # a staircase onto the register's grid
            values = [a.lo + a.step * self.rng.randrange(a.size) for _ in range(4)]
            if fits((min(values), max(values))):
                source = self.b.staircase(source, sorted(self.integer(-9, 9) for _ in range(3)), values)
            else:
                source = register
        self.b.connect(register, source)

    def constant(self) -> None:
        shape = self.pick(numeric=False).shape if self.maybe(0.8) else self.shape()
        if self.codes and self.maybe(0.2):
            codes = Codes(self.integer(1, 6), "S3")
            self.put(op.Constant(codes, self.array(*shape, magnitude=10**6) % codes.n))
            return
        self.put(op.Constant(None, self.array(*shape)))

    # ------------------------------------------------------------------------------------------------ numbers

    def affine(self) -> None:
        x, out = self.pick(lambda w: len(w.shape) > 0), self.integer(1, 5)
        self.put(op.Affine(self.array(out, x.shape[-1]), self.array(out)), x)

    def conv(self) -> None:
        n = self.rng.choice((1, 2, 2))
        x = self.spatial(n + 1)
        groups = self.rng.choice([g for g in range(1, x.shape[0] + 1) if x.shape[0] % g == 0])
        out = groups * self.integer(1, 2)
        dilation = tuple(self.rng.choice((1, 1, 2)) for _ in range(n))
        kernel = tuple(self.integer(1, 3) for _ in range(n))
        padding = tuple((self.integer(0, 2), self.integer(0, 2)) for _ in range(n))
        stride = tuple(self.rng.choice((1, 1, 2, 3)) for _ in range(n))
        self.fitting(
            lambda: op.Conv(
                stride,
                padding,
                dilation,
                groups,
                self.array(out, x.shape[0] // groups, *kernel),
                self.array(out),
            ),
            x,
        )

    def fitting(self, make: Callable[[], op.Operation], *operands: Wire) -> None:
        """Append what may be malformed for these operands."""
        try:
            operation = make()
            result_shape(operation, *(w.shape for w in operands))
        except ZahlenError:
            raise _SkipError from None
        self.put(operation, *operands)

    def staircase(self) -> None:
        x, count = self.pick(), self.integer(1, 6)
        axis = self.integer(-len(x.shape), len(x.shape) - 1) if x.shape else 0
        rows = (x.shape[axis],) if x.shape and self.maybe() else ()
        lo, hi = (max(-(2**63), min(v, 2**63 - 1)) for v in (x.alphabet.lo - 3, x.alphabet.hi + 3))
        thresholds = [sorted(self.integer(lo, hi) for _ in range(count)) for _ in range(prod(rows))]
        if self.maybe(0.3):  # equal neighbours
            thresholds = [sorted([t[0], *t[:-1]]) for t in thresholds]
        values = self.array(prod(rows), count + 1)
        style = self.rng.randrange(4)
        if style < 2:  # monotone, as activations are
            values = np.sort(values, axis=1)
        if style == 1:
            values = values[:, ::-1]
        self.put(op.Staircase(axis, np.reshape(thresholds, (*rows, count)), values.reshape(*rows, count + 1)), x)

    def lookup(self) -> None:
        xs = [self.small(40)]
        if self.maybe():
            xs.append(self.pick(lambda w: w.shape == xs[0].shape and w.alphabet.size <= 40, numeric=False))
        alphabets = [w.alphabet for w in xs]
        table = self.array(*(a.size for a in alphabets))
        result = None
        if self.codes and self.maybe(0.3):
            result = next((a for a in alphabets if not a.numeric), Codes(self.integer(1, 7), "S3"))
            table = table % result.n
        self.put(op.Lookup(tuple(a.lo for a in alphabets), tuple(a.step for a in alphabets), result, table), *xs)

    def embed(self) -> None:
        x = self.pick(lambda w: w.alphabet.lo >= 0 and w.alphabet.hi < 20 and len(w.shape) < 4, numeric=False)
        self.put(op.Embed(self.array(x.alphabet.hi + self.integer(1, 2), self.integer(1, 3))), x)

    def binary(self, kind: type[op.Operation]) -> None:
        x = self.pick()
        self.put(kind(), x, self.twin(x))

    def neg(self) -> None:
        self.put(op.Neg(), self.pick())

    def clamp(self) -> None:
        x = self.pick()
        a, b = sorted(self.integer(x.alphabet.lo - 2, x.alphabet.hi + 2) for _ in range(2))
        self.put(op.Clamp(a, b), x)

    def shift(self) -> None:
        bits = self.rng.choice((-5, -1, 0, 1, 1, 2, 4, 9, 33) + ((-70, 63, 90) if self.wide else ()))
        self.put(op.Shift(bits, self.rng.choice(("floor", "half_up")) if bits > 0 else "floor"), self.pick())

    # ------------------------------------------------------------------------------------------------ reductions

    def pool(self, kind: type[op.MaxPool] | type[op.SumPool]) -> None:
        n = self.rng.choice((1, 2))
        x = self.pick(lambda w: len(w.shape) >= n) if self.maybe() else self.spatial(n + 1)
        size = tuple(self.integer(1, 3) for _ in range(n))
        stride = tuple(self.integer(1, 3) for _ in range(n))
        padding = tuple((self.integer(0, s - 1), self.integer(0, s - 1)) for s in size)
        self.fitting(lambda: kind(size, stride, padding), x)

    def sum(self) -> None:
        x = self.pick(lambda w: len(w.shape) > 0)
        axes = self.rng.sample(range(len(x.shape)), self.integer(1, len(x.shape)))
        self.put(op.Sum(tuple(a - len(x.shape) if self.maybe(0.3) else a for a in axes)), x)

    def argmax(self) -> None:
        x = self.pick(lambda w: len(w.shape) > 0)
        self.put(op.Argmax(self.integer(-len(x.shape), len(x.shape) - 1)), x)

    # ------------------------------------------------------------------------------------------------ no arithmetic

    def reshape(self) -> None:
        x = self.pick(numeric=False)
        first = self.rng.choice([d for d in range(1, x.size + 1) if x.size % d == 0])
        self.put(op.Reshape(self.rng.choice(((x.size,), (first, x.size // first), (1, first, x.size // first)))), x)

    def concat(self) -> None:
        x = self.pick(lambda w: len(w.shape) > 0, numeric=False)
        axis = self.integer(-len(x.shape), len(x.shape) - 1)
        k = axis % len(x.shape)
        mates = [
            w
            for w in self.wires
            if len(w.shape) == len(x.shape)
            and w.shape[:k] + w.shape[k + 1 :] == x.shape[:k] + x.shape[k + 1 :]
            and (w.alphabet == x.alphabet if not x.alphabet.numeric else w.alphabet.numeric)
        ]
        self.put(op.Concat(axis), *[x, *self.rng.choices(mates, k=self.integer(0, 2))])

    def slice(self) -> None:
        x = self.pick(numeric=False)
        start = tuple(self.integer(0, n - 1) for n in x.shape)
        stop = tuple(self.integer(a + 1, n) for a, n in zip(start, x.shape))
        self.put(op.Slice(start, stop, tuple(self.integer(1, 3) for _ in start)), x)

    def transpose(self) -> None:
        x = self.pick(numeric=False)
        self.put(op.Transpose(tuple(self.rng.sample(range(len(x.shape)), len(x.shape)))), x)


STEPS: dict[str, Callable[[_Grower], None]] = {
    "input": _Grower.source,
    "register": _Grower.register,
    "constant": _Grower.constant,
    "affine": _Grower.affine,
    "conv": _Grower.conv,
    "staircase": _Grower.staircase,
    "lookup": _Grower.lookup,
    "embed": _Grower.embed,
    **{k: (lambda g, k=k: g.binary(op.OPERATIONS[k])) for k in ("add", "sub", "mul", "min", "max")},
    "neg": _Grower.neg,
    "clamp": _Grower.clamp,
    "shift": _Grower.shift,
    "maxpool": lambda g: g.pool(op.MaxPool),
    "sumpool": lambda g: g.pool(op.SumPool),
    "sum": _Grower.sum,
    "argmax": _Grower.argmax,
    "reshape": _Grower.reshape,
    "concat": _Grower.concat,
    "slice": _Grower.slice,
    "transpose": _Grower.transpose,
}
