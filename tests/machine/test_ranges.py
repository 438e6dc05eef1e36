import random
from itertools import product
from math import gcd, prod

import numpy as np
import pytest
from definition import sample
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import STEPS, batches, machines, random_batch, random_machine

from zahlen.machine import Builder, Codes, Levels, reference
from zahlen.machine import operations as op
from zahlen.machine.ranges import DOUBLE, INT64, Range, fits, narrow, result_range, workspace


def check_sound(machine, values):
    """Every value lies in its element's interval, on the wire's grid, in its alphabet and in the workspace."""
    for name, wire in machine.wires.items():
        lo, hi = sample(wire.range.lo), sample(wire.range.hi)
        assert lo.shape == hi.shape == wire.shape
        assert values[name].dtype == wire.value_dtype
        for row in map(sample, values[name]):
            assert np.all(lo <= row), wire
            assert np.all(row <= hi), wire
            assert np.all((row - lo) % wire.range.step == 0), wire
            assert all(v in wire.alphabet for v in row.flat), wire
            assert all(fits((v, v), wire.workspace) for v in row.flat), wire


@given(st.data(), machines())
def test_every_value_is_in_its_range(data, machine):
    check_sound(machine, machine.trace(*data.draw(batches(machine, size=12))))


@given(st.data(), machines(wide=True))
def test_every_value_of_a_wide_machine_is_in_its_range(data, machine):
    check_sound(machine, machine.trace(*data.draw(batches(machine, size=12))))


def everything(machine, most=3000):
    """Every input and state of a machine, if they are few."""
    wires = [machine.wires[name] for name in machine.inputs + machine.registers]
    alphabets = [w.alphabet for w in wires for _ in range(w.size)]
    if prod(a.size for a in alphabets) > most:
        return None
    rows = np.array(list(product(*(range(a.lo, a.hi + 1, a.step) for a in alphabets))), dtype=object)
    parts = np.split(rows, np.cumsum([w.size for w in wires])[:-1], axis=1)
    arrays = {w.name: part.reshape(-1, *w.shape) for w, part in zip(wires, parts)}
    return {n: arrays[n] for n in machine.inputs}, {n: arrays[n] for n in machine.registers}


@pytest.mark.parametrize("kind", sorted(set(STEPS) - {"input"}))
def test_every_value_is_in_its_range_over_all_inputs(kind):
    rng, checked = random.Random(kind), 0
    while checked < 12:
        machine = random_machine(rng, [kind, rng.choice(sorted(STEPS)), kind], wide=checked % 3 == 2)
        inputs = everything(machine)
        if inputs is not None and any(w.operation.kind == kind for w in machine.wires.values()):
            check_sound(machine, machine.trace(*inputs))
            checked += 1


GRIDS = [Levels(lo, lo + step * count, step) for lo in (-7, 0, 2) for step in (1, 2, 3, 4, 5) for count in (0, 1, 4)]


@pytest.mark.parametrize("x", GRIDS, ids=str)
def test_every_value_is_on_its_grid(x):
    """Every pair of grids, through everything that computes element by element, over all values."""
    for y in GRIDS:
        b = Builder()
        b.input("x", (2,), x)
        b.input("y", (2,), y)
        for kind in ("add", "sub", "mul", "min", "max"):
            b.append(op.OPERATIONS[kind](), "x", "y")
        b.affine("x", [[2, 4], [6, 0]], [3, 1])
        for lo, hi in ((-3, 3), (0, 4), (1, 9)):
            b.clamp("x", lo, hi)
        for bits in (-2, 1, 2, 3):
            b.shift("x", bits)
        b.sumpool("x", (2,), (1,), 1)
        b.maxpool(b.concat("x", "y"), (2,), (1,), 1)
        b.neg("x")
        check_sound(*every_pair(b.build("x"), x, y))


def every_pair(machine, x, y):
    pairs = list(product(range(x.lo, x.hi + 1, x.step), range(y.lo, y.hi + 1, y.step)))
    us, vs = np.array([[u, x.lo] for u, _ in pairs]), np.array([[v, y.hi] for _, v in pairs])
    return machine, machine.trace({"x": us, "y": vs})


def test_a_table_sees_the_grid_of_its_operand():
    b = Builder()
    x = b.input("x", (1,), Levels(1, 9, 4))
    table = [0, 10, 99, 98, 97, 30, 96, 95, 94, 50, 93]
    y = b.append(op.Lookup((0,), (1,), None, table), x)
    z = b.append(op.Lookup((0, 0), (1, 1), None, [table] * 11), x, x)
    e = b.embed(x, [[v] for v in table])
    assert y.alphabet == z.alphabet == Levels(10, 50, 20)
    assert e.range.hull() == (10, 50)


@given(machines(kinds=["affine", "conv", "sumpool", "reshape", "sum"], max_wires=1), st.randoms())
def test_linear_maps_reach_the_ends_of_their_ranges(machine, rng):
    linear = [w for w in machine.wires.values() if w.operation.kind in ("affine", "conv", "sumpool", "sum")]
    assume(len(linear) == 1)
    (z,) = linear
    (x,) = (machine.wires[name] for name in machine.inputs)
    lo, hi = x.alphabet.lo, x.alphabet.hi
    # which inputs raise an element is seen by raising them one by one
    zero = sample(machine.trace(np.full((1, *x.shape), lo))[z.name][0])
    raised = [sample(row) for row in machine.trace(np.where(np.eye(x.size), hi, lo).reshape(-1, *x.shape))[z.name]]
    for at in product(*map(range, z.shape)):
        gains = [r[at] - zero[at] for r in raised]
        best = np.array([hi if g > 0 else lo for g in gains]).reshape(1, *x.shape)
        worst = np.array([hi if g < 0 else lo for g in gains]).reshape(1, *x.shape)
        assert machine.trace(best)[z.name][(0, *at)] == z.range.hi[at]
        assert machine.trace(worst)[z.name][(0, *at)] == z.range.lo[at]


@pytest.mark.parametrize("seed", range(30))
def test_the_ranges_of_tables_are_exactly_what_is_reached(seed):
    rng = random.Random(seed)
    b = Builder()
    x = b.input("x", (3,), Levels(rng.randint(-9, 0), rng.randint(1, 9)))
    y = b.affine(x, np.diag([rng.choice((-1, 1)) for _ in range(3)]), [rng.randint(-5, 5) for _ in range(3)])
    thresholds = [sorted(rng.sample(range(-15, 16), 5)) for _ in range(3)]
    values = [[rng.randint(-50, 50) for _ in range(6)] for _ in range(3)]
    z = b.staircase(y, thresholds, values)
    machine = b.build(z)
    seen = sample(machine.run(np.array(list(range(x.alphabet.lo, x.alphabet.hi + 1)))[:, None].repeat(3, axis=1)))
    assert z.range.lo.tolist() == seen.min(axis=0).tolist()
    assert z.range.hi.tolist() == seen.max(axis=0).tolist()
    assert z.range.step == (gcd(*(int(v) - int(seen.flat[0]) for v in seen.flat)) or 1)


@given(machines(kinds=["affine", "conv", "sumpool", "sum"], max_wires=3), st.randoms())
def test_partial_sums_in_any_order_stay_in_the_workspace(machine, rng):
    inputs, state = random_batch(machine, rng, 4)
    values = machine.trace(inputs, state)
    for wire in machine.wires.values():
        for terms in sums_of_terms(wire, values):
            for _ in range(3):
                rng.shuffle(terms)
                total = 0
                for term in terms:
                    assert fits((term, term), wire.workspace)
                    total += term
                    assert fits((total, total), wire.workspace)


def sums_of_terms(wire, values):
    """The terms whose sum is an element of the wire, for a few elements."""
    o = wire.operation
    if isinstance(o, op.Affine):
        for x in values[wire.operands[0]].reshape(-1, o.weight.shape[1])[:6]:
            for row, offset in zip(o.weight, o.bias):
                yield [int(a) * int(b) for a, b in zip(row, x)] + [int(offset)]
    elif isinstance(o, op.Conv):
        # any subset of the products of one row with any values of the operand
        flat = [int(v) for v in values[wire.operands[0]].flat]
        for k, (row, offset) in enumerate(zip(o.weight.reshape(len(o.weight), -1), o.bias)):
            yield [int(w) * flat[(k + 7 * j) % len(flat)] for j, w in enumerate(row)] + [int(offset)]
    elif isinstance(o, op.SumPool):
        flat = [int(v) for v in values[wire.operands[0]].flat]
        yield [flat[(5 * j) % len(flat)] for j in range(prod(o.size))]
    elif isinstance(o, op.Sum):
        x = values[wire.operands[0]]
        yield [int(v) for v in np.moveaxis(x[0], o.axes, range(len(o.axes))).reshape(-1, max(1, wire.size))[:, 0]]


@given(st.data(), machines())
def test_int64_never_overflows(data, machine):
    """The same operation on Python integers gives the same: no wire of int64 wraps around."""
    inputs, state = data.draw(batches(machine))
    values = machine.trace(inputs, state)
    for wire in machine.wires.values():
        if wire.operands:
            exact = reference.apply(wire.operation, *(values[x].astype(object) for x in wire.operands))
            assert np.array_equal(exact, values[wire.name])


def test_intermediate_values_beyond_64_bits_are_computed_exactly():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 2**62))
    z = b.affine(x, [[3, -3]], [1])
    machine = b.build(b.clamp(z, -5, 5, name="small"), b.sub(z, z, name="none"))
    assert (z.dtype, z.value_dtype) == (np.dtype(object), np.dtype(object))
    assert machine.wires["small"].dtype == object
    assert machine.wires["small"].value_dtype == np.int64
    result = machine.run([[2**62, 0], [0, 2**62], [7, 7]])
    assert result["small"].tolist() == [[5], [-5], [1]]
    assert result["small"].dtype == np.int64
    assert result["none"].dtype == object
    assert all(type(v) is int for v in result["none"].flat)


@pytest.mark.parametrize("bits", [62, 63, 64, 200])
def test_a_shift_by_more_than_64_bits(bits):
    b = Builder()
    x = b.input("x", (1,), Levels(-(2**63), 2**63 - 1))
    y = b.build(b.shift(x, bits)).run([[-(2**63)], [-1], [0], [2**63 - 1]])
    assert y.tolist() == [[v >> bits] for v in (-(2**63), -1, 0, 2**63 - 1)]


def test_workspace_of_sums_counts_bias_and_order():
    x = Range.uniform((3,), Levels(-1, 2))
    assert workspace(op.Affine([[1, -2, 3]], [5]), x) == (-8, 5 + 2 + 2 + 6)
    assert workspace(op.Affine([[0, 0, 0]], [0]), Range.uniform((3,), Levels(0, 2**90))) == (0, 2**90)
    assert workspace(op.Argmax(0), x) == (-1, 2)
    assert workspace(op.Argmax(0), Range.uniform((9,), Levels(0, 1))) == (0, 8)
    assert workspace(op.Sum((0,)), x) == (-3, 6)
    assert workspace(op.SumPool((2,), (1,), ((1, 1),)), Range.uniform((3,), Levels(2, 3))) == (0, 6)


@pytest.mark.parametrize("scale", [1, 2**30, 2**48, 2**60, 2**100])
def test_affine_ranges_agree_whatever_computes_them(scale):
    """Doubles, int64 and Python integers prove the same range."""
    rng = random.Random(scale)
    weight = np.array([[rng.randint(-9, 9) for _ in range(7)] for _ in range(5)])
    x = Range.uniform((7,), Levels(-scale, 3 * scale, scale))
    r = result_range(op.Affine(weight, [0, 1, -1, 2, 3]), x)
    assert fits(workspace(op.Affine(weight, [0] * 5), x), DOUBLE) == (scale < 2**48)
    for k, (row, offset) in enumerate(zip(weight.tolist(), (0, 1, -1, 2, 3))):
        assert r.lo[k] == offset + sum(w * scale * (-1 if w > 0 else 3) for w in row)
        assert r.hi[k] == offset + sum(w * scale * (3 if w > 0 else -1) for w in row)
        assert type(r.lo[k]) is (np.int64 if fits(r.hull()) else int)


def test_a_range_knows_its_hull_levels_and_constants():
    r = Range.of(np.array([0, 6]), np.array([4, 6]), 4)
    assert r.hull() == (0, 6)
    assert r.levels() == Levels(0, 6, 2)
    assert r.constant().tolist() == [False, True]
    assert r.within(Levels(-2, 8, 2))
    assert r.within(Levels(0, 6))
    assert not r.within(Levels(-1, 7, 2))
    assert not r.within(Levels(0, 5))
    assert not r.within(Levels(0, 8, 4))
    assert Range.exactly(np.array([3, 3])).within(Levels(0, 6, 3))
    assert Range.uniform((2,), Codes(5)).levels() == Levels(0, 4)


def test_narrow_keeps_what_int64_cannot_hold():
    assert narrow(np.array([INT64[0], INT64[1]], dtype=object)).dtype == np.int64
    assert narrow(np.array([INT64[1] + 1], dtype=object)).dtype == object
    assert narrow(np.array([INT64[0] - 1], dtype=object)).dtype == object


def test_uniform_ranges_take_no_memory():
    r = Range.uniform((1000, 1000), Levels(0, 255))
    assert r.lo.strides == r.hi.strides == (0, 0)
    assert result_range(op.Clamp(0, 7), r).lo.strides == (0, 0)


def test_ranges_are_not_to_be_written():
    b = Builder()
    z = b.affine(b.input("x", (2,), Levels(0, 3)), [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="read-only"):
        z.range.lo[0] = 5
