"""Run as a script by test_engine_loader.py: programs with numbers changed are refused, or run without harm."""

from __future__ import annotations

import random
import sys
from contextlib import suppress

import numpy as np

from zahlen.engine.plan import Planner
from zahlen.kernels import native
from zahlen.machine import Builder, Levels

BATCH, TIMES = 3, 2
ENDS = (
    -(2**63),
    2**63 - 1,
    -(2**31),
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**20,
    2**16,
    256,
    255,
    128,
    65,
    64,
    63,
    16,
    3,
    2,
    1,
    0,
    -1,
)


def image():
    """Convolutions with all that may follow, pools and moves."""
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input("x", (3, 6, 6), Levels(0, 255))
    y = b.maxpool(
        b.staircase(b.conv(x, rng.integers(-99, 99, (5, 3, 3, 3)), padding=1), range(15), range(-8, 8)), (2, 2)
    )
    z = b.conv(y, rng.integers(-9, 9, (20, 5, 2, 2)), stride=(1, 1), padding=((1, 0), (0, 1)))
    z = b.staircase(z, np.sort(rng.integers(-99, 99, (20, 7))), [range(8)] * 20)
    p = b.sumpool(b.maxpool(z, (2, 2), (1, 1), padding=((1, 0), (0, 0))), (2, 2), padding=((0, 1), (0, 0)))
    z = b.staircase(
        b.affine(b.reshape(p, (p.size,)), rng.integers(-999, 999, (17, p.size))), range(0, 90000, 900), range(101)
    )
    return b.build(b.argmax(z, 0), b.sum(b.transpose(p, (1, 2, 0)), (0, 2)), b.concat(z, b.neg(z)))


def chain():
    """Elementwise work of every kind, in 32 and in 64 bits."""
    rng = np.random.default_rng(1)
    b = Builder()
    x, s = b.input("x", (70,), Levels(-9, 9, 3)), b.input("s", (3, 2), Levels(0, 11))
    y = b.mul(b.add(x, b.constant(rng.integers(-9, 9, 70))), b.shift(b.clamp(x, -5, 7), 1, "half_up"))
    y = b.max(b.min(y, x), b.sub(b.shift(y, 2), b.shift(x, -3)))
    one = b.staircase(y, range(-90, 90, 3), range(61))
    two = b.staircase(y, np.sort(rng.integers(-99, 99, (70, 4))), rng.integers(-9, 9, (70, 5)))
    table = b.lookup(x, x, table=rng.integers(-9, 9, (7, 7)))
    wide = b.mul(b.shift(one, -30), b.lookup(x, rng.integers(-9, 9, 7)))
    wide = b.staircase(b.staircase(wide, [-(2**33), 0, 2**32], [-1, 0, 2**40, 3]), [[5, 2**39]] * 70, [[1, 2, 3]] * 70)
    return b.build(
        one,
        two,
        table,
        b.affine(wide, rng.integers(-9, 9, (2, 70))),
        b.affine(b.shift(wide, -40), [[1] * 70]),
        b.embed(s, rng.integers(-300, 300, (12, 4))),
    )


def cell():
    """Registers, and sums that start from others."""
    rng = np.random.default_rng(2)
    b = Builder()
    x = b.input("x", (3,), Levels(-300, 300))
    h, c = b.register("h", (20,), Levels(-8, 7)), b.register("c", (20,), Levels(-99, 999))
    z = b.add(b.affine(x, rng.integers(-99, 99, (20, 3))), b.affine(h, rng.integers(-99, 99, (20, 20))))
    y = b.staircase(z, range(-3000, 3000, 400), range(-8, 8))
    b.connect(h, y)
    b.connect(c, b.clamp(b.add(c, y), -99, 999))
    return b.build(b.affine(y, rng.integers(-99, 99, (3, 20))), c)


def packed(machine):
    planner = Planner(machine, machine.outputs, native.any_dot8())
    planner.run()
    words, data, _ = planner.encode()
    return words, data


def arrays(machine):
    """What the program is run on; far more room than it needs would hide nothing here, so there is none."""
    times = TIMES if machine.registers else 1

    def of(names, *leading):
        wires = [machine.wires[name] for name in names]
        return tuple(np.full((BATCH, *leading, *w.shape), w.alphabet.lo, dtype=np.int64) for w in wires)

    inputs, outputs = (
        of(machine.inputs, *[times] * bool(machine.registers)),
        of(machine.outputs, *[times] * bool(machine.registers)),
    )
    return inputs, outputs, of(machine.registers), of(machine.registers), times


def runs(program, given):
    """In the ways of a call, of one without states, and of a stream."""
    inputs, outputs, before, after, times = given
    for states in ((before, after), (None, after), (None, None)):
        for threads in (1, 2):
            native.execute(program, inputs, outputs, *states, None, BATCH, times, threads)
    kept = np.zeros(1 << 16, np.uint8)
    native.reset(program, kept, BATCH)
    native.execute(program, inputs, outputs, None, None, kept, BATCH, times, 1)


def mangled(rng, words, data):
    """The same program with something changed."""
    words, data = words.copy(), bytearray(data)
    kind = rng.randrange(12)
    if kind == 0:
        words = words[: rng.randrange(len(words))]
    elif kind == 1:
        data = data[: rng.randrange(len(data) + 1)]
    elif kind == 2:
        words = np.insert(words, rng.randrange(len(words) + 1), rng.choice(ENDS))
    elif kind == 3:
        words = np.delete(words, rng.randrange(len(words)))
    elif kind == 4:
        a, b = rng.randrange(len(words)), rng.randrange(len(words))
        words[a], words[b] = words[b], words[a]
    elif kind == 5:
        for _ in range(rng.choice((1, 4, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 6:
        at = rng.randrange(len(data) // 4) * 4
        data[at : at + 4] = int(rng.choice(ENDS) % 2**32).to_bytes(4, sys.byteorder)
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(words))
            change = rng.randrange(4)
            old = int(words[at])
            new = (rng.choice(ENDS), old + rng.choice((-1, 1, -64, 64, 8, -8)), old * 2, rng.randrange(40))[change]
            words[at] = max(-(2**63), min(new, 2**63 - 1))
    return words, bytes(data)


def main(seed, count):
    native.choose(native.variants()[seed % len(native.variants())])
    rng, ran, refused = random.Random(seed), 0, 0
    cases = [(packed(machine), arrays(machine)) for machine in (image(), chain(), cell())]
    for (words, data), given in cases:  # unchanged ones run
        runs(native.program(words, data), given)

    def tried(words, data, given):
        nonlocal ran, refused
        try:
            program = native.program(words, data)
        except ValueError:
            refused += 1
            return
        with suppress(ValueError):  # arrays of another size are due
            runs(program, given)
        ran += 1

    for (words, data), given in cases:
        for at in range(len(words)):  # each word, by the ends and by its neighbours
            for new in (int(words[at]) + 1, int(words[at]) - 1, rng.choice(ENDS)):
                changed = words.copy()
                changed[at] = max(-(2**63), min(new, 2**63 - 1))
                tried(changed, data, given)
    for _ in range(count):
        (words, data), given = rng.choice(cases)
        tried(*mangled(rng, words, data), given)
    for rubbish in (b"", b"\0" * 8, b"\0" * 7, rng.randbytes(8000), words.tobytes()[:-3]):
        tried(np.frombuffer(rubbish, np.uint8), b"", given)
    print(ran, refused)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
