"""Machines whose structure is unusual: what registers take, what nobody reads, many arrays, and what has no room."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from copy import copy

import numpy as np
import pytest
from judge import VARIANTS, Engine, Program, agree, ends, judged, judged_sequences, named

from zahlen.engine import NoPlan
from zahlen.kernels import native
from zahlen.machine import Builder, Codes, InputError, Levels, executors


def compare(machine, seed=0, batches=(1, 2, 13, 300), times=(1, 2, 9)):
    """Every wire, the outputs, and sequences where there is a state."""
    rng = np.random.default_rng(seed)
    for batch in batches:
        inputs, state = (
            {n: ends(machine.wires[n].alphabet, rng, (batch, *machine.wires[n].shape)) for n in names}
            for names in (machine.inputs, machine.registers)
        )
        for wanted in (tuple(machine.wires), machine.outputs, machine._step_wires):
            assert judged(machine, inputs, state, wanted)
        if not machine.registers or not machine.inputs:
            continue
        for time in times:
            drawn = {n: ends(machine.wires[n].alphabet, rng, (batch * time, *v.shape[1:])) for n, v in inputs.items()}
            sequences = {n: v.reshape(batch, time, *v.shape[1:]) for n, v in drawn.items()}
            assert judged_sequences(machine, sequences, state)
            assert judged_sequences(machine, sequences, None)


# ---------------------------------------------------------------------------------------------------- registers


def test_registers_take_registers_inputs_and_constants():
    b = Builder()
    x = b.input("x", (3,), Levels(-2, 9))
    first, second, third = (b.register(n, (3,), Levels(-5, k)) for n, k in (("a", 9), ("b", 200), ("c", 2**40)))
    fixed = b.register("d", (3,), Levels(-7, 100), initial=[1, 2, 3])
    alone = b.register("e", (3,), Levels(0, 3), initial=2)
    swapped = [b.register(n, (2,), Levels(0, 5), initial=i) for n, i in (("f", [0, 1]), ("g", [4, 5]))]
    b.connect(first, x)
    b.connect(second, first)
    b.connect(third, second)
    b.connect(fixed, b.constant([-7, 50, 100]))
    b.connect(alone, alone)
    b.connect(swapped[0], swapped[1])
    b.connect(swapped[1], swapped[0])
    compare(b.build(third, fixed, alone, *swapped, x))


def test_registers_share_a_successor():
    b = Builder()
    x = b.input("x", (4,), Levels(-3, 3))
    registers = [
        b.register(f"r{k}", (4,), Levels(lo, hi)) for k, (lo, hi) in enumerate([(-3, 3), (-200, 200), (-9, 9)])
    ]
    y = b.clamp(b.sub(x, registers[1]), -3, 3)
    for register in registers:
        b.connect(register, y)
    compare(b.build(b.add(registers[0], registers[2])))


def test_views_of_registers_go_to_registers_and_to_what_comes_later():
    b = Builder()
    x = b.input("x", (6,), Levels(-4, 4))
    h = b.register("h", (2, 3), Levels(-40, 40))
    turned = b.transpose(h, (1, 0))
    g = b.register("g", (3, 2), Levels(-100, 100))
    part = b.register("part", (2,), Levels(-40, 40))
    b.connect(g, turned)
    b.connect(part, b.slice(b.reshape(h, (6,)), (1,), (4,), (2,)))
    b.connect(h, b.clamp(b.add(b.reshape(x, (2, 3)), b.reshape(b.reshape(g, (6,)), (2, 3))), -40, 40))
    later = b.affine(b.reshape(b.transpose(g, (1, 0)), (6,)), np.arange(-6, 6).reshape(2, 6))
    compare(b.build(later, b.neg(turned), part))


def test_registers_that_nobody_reads_and_machines_of_registers_alone():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 9))
    unread = b.register("unread", (2,), Levels(-5, 20), initial=[20, -5])
    b.connect(unread, b.add(x, x, name="twice"))
    compare(b.build(x))
    b = Builder()
    r = b.register("r", (5,), Levels(0, 6), initial=range(5))
    s = b.lookup(r, [1, 2, 3, 4, 5, 6, 0])
    b.connect(r, s)
    machine = b.build(b.affine(r, np.arange(10).reshape(2, 5)), s)
    compare(machine)
    assert machine.run({}, state=machine.initial_state(3), return_state=True)[0]["r"].tolist() == [[1, 2, 3, 4, 5]] * 3


def test_a_register_keeps_a_pooled_map_that_a_padded_convolution_reads():
    rng = np.random.default_rng(0)
    for pool in ("maxpool", "sumpool"):
        for levels in (Levels(5, 200), Levels(-9, 90), Levels(0, 255), Levels(-(2**12), 2**12)):
            b = Builder()
            x = b.input("x", (2, 6, 6), levels)
            y = getattr(b, pool)(x, (2, 2))
            wide = y.alphabet
            h = b.register("h", (2, 3, 3), Levels(min(-20, wide.lo), max(wide.hi, 235)))
            b.connect(h, y)
            z = b.conv(y, rng.integers(-9, 9, (3, 2, 3, 3)), padding=1)
            compare(b.build(z, b.conv(h, rng.integers(-9, 9, (3, 2, 3, 3)), padding=((1, 0), (2, 1)))))


def test_feedback_through_convolutions():
    rng = np.random.default_rng(1)
    b = Builder()
    x = b.input("x", (3, 7, 5), Levels(-8, 7))
    h = b.register("h", (4, 7, 5), Levels(3, 18), initial=rng.integers(3, 19, (4, 7, 5)))
    z = b.add(
        b.conv(x, rng.integers(-9, 9, (4, 3, 3, 3)), padding=1), b.conv(h, rng.integers(-9, 9, (4, 4, 3, 3)), padding=1)
    )
    y = b.staircase(z, np.arange(-150, 150, 20), np.arange(3, 19))
    b.connect(h, y)
    p = b.maxpool(y, (2, 2))
    out = b.affine(b.reshape(p, (p.size,)), rng.integers(-9, 9, (5, p.size)))
    compare(b.build(out), batches=(1, 2, 13))


# ---------------------------------------------------------------------------------------------------- arrays


def test_many_inputs_and_outputs():
    b = Builder()
    xs = [b.input(f"x{k}", (2,), Levels(-k, 3 * k, 1)) for k in range(100)]
    total = xs[0]
    for x in xs[1:]:
        total = b.add(total, x)
    compare(b.build(total, *xs), batches=(1, 3))


def test_many_steps_unrolled():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 3))
    h = b.register("h", (2,), Levels(0, 3))
    b.connect(h, b.clamp(b.sub(b.add(h, x), b.constant([1, 2])), 0, 3))
    machine = b.build(h).unrolled(120)
    compare(machine, batches=(3,))


def test_traces_of_thousands_of_wires():
    b = Builder()
    x = b.input("x", (), Levels(-9, 9))
    for _ in range(4500):
        x = b.neg(x)
    machine = b.build(x)
    assert judged(machine, {"x": np.arange(-9, 10)}, {}, tuple(machine.wires), VARIANTS[-1:])


def test_an_output_may_be_an_input_a_constant_or_a_register():
    b = Builder()
    x = b.input("x", (2, 2), Levels(3, 300, 3))
    c = b.constant([[1, -(2**40)], [5, 7]])
    r = b.register("r", (2, 2), Levels(3, 2**33))
    b.connect(r, x)
    compare(b.build(r, c, x, b.reshape(c, (4,)), b.transpose(b.slice(x, (0, 0), (2, 2), (1, 1)), (1, 0))))


def test_codes_keep_their_names():
    b = Builder()
    x = b.input("x", (3,), Codes(6, "S3"))
    h = b.register("h", (3,), Codes(6, "S3"), initial=[5, 0, 3])
    table = np.random.default_rng(0).integers(0, 6, (6, 6))
    y = b.lookup(h, x, table=table, alphabet=Codes(6, "S3"))
    b.connect(h, y)
    compare(b.build(b.concat(y, x, axis=0), b.embed(y, np.arange(12).reshape(6, 2) - 5)))


# ---------------------------------------------------------------------------------------------------- the ends of types


@pytest.mark.parametrize("top", [2**7, 2**8, 2**15, 2**16, 2**31 - 2, 2**31 - 1, 2**31, 2**32, 2**59])
def test_alphabets_at_the_ends_of_types(top):
    for levels in (
        Levels(-top, top - 1),
        Levels(-top, top, top),
        Levels(0, top - 1),
        Levels(top - 3, top),
        Levels(-top, 3 - top),
    ):
        b = Builder()
        x = b.input("x", (5,), levels)
        outs = [x, b.neg(x), b.clamp(x, -3, 3), b.shift(x, 1, "half_up"), b.shift(x, 3), b.shift(x, 40), b.shift(x, -1)]
        outs += [
            b.max(x, b.neg(x)),
            b.min(x, b.constant([0] * 5)),
            b.sub(x, b.constant([1, -1, 0, 2, 3])),
            b.argmax(x, 0),
        ]
        outs += [b.sum(x, [0]), b.sumpool(x, (2,)), b.maxpool(x, (2,), padding=1), b.shift(x, 33, "half_up")]
        t = sorted({levels.lo, levels.lo + 1, 0, 1, levels.hi, levels.hi - 1})
        outs += [b.staircase(x, t, range(len(t) + 1)), b.staircase(x, t, [-(2**33), *range(len(t))])]
        outs += [b.staircase(x, [t] * 5, [range(len(t) + 1)] * 5), b.concat(x, outs[2], axis=0)]
        if levels.size < 10:
            outs += [
                b.lookup(x, np.arange(levels.size) * 3 - 4),
                b.lookup(x, x, table=np.arange(levels.size**2).reshape(levels.size, -1)),
            ]
        compare(b.build(*outs), batches=(1, 2, 60))


def test_a_staircase_of_thousands_of_thresholds():
    rng = np.random.default_rng(0)
    for count in (1, 17, 70_000):
        b = Builder()
        x = b.input("x", (3,), Levels(-(2**17), 2**17))
        t = np.sort(rng.integers(-(2**17), 2**17, (3, count)), axis=1)
        v = np.sort(rng.integers(-99, 99, (3, count + 1)), axis=1)
        compare(b.build(b.staircase(x, t[0], v[0]), b.staircase(x, t, v)), batches=(1, 60))
        compare(b.build(b.staircase(b.affine(x, rng.integers(-9, 9, (3, 3))), t, v)), batches=(1, 60))


def test_what_needs_more_than_64_bits_is_left_to_the_reference():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 2**62))
    machine = b.build(b.mul(x, x))
    with pytest.raises(NoPlan, match="more than 64 bits"):
        Program(machine)
    assert machine.run([[2**62]]).tolist() == [[2**124]]
    assert "more than 64 bits" in machine.plan()


# ---------------------------------------------------------------------------------------------------- programs kept


def small():
    b = Builder()
    return b.build(b.affine(b.input("x", (2,), Levels(0, 9)), [[1, -2]]))


def test_programs_go_with_their_machine():
    engine, gone = Engine(), []
    wide = Builder()
    x = wide.input("x", (1,), Levels(0, 2**62))
    for machine in (small(), wide.build(wide.mul(x, x))):
        engine.program(machine, machine.outputs)
        machine.run(np.zeros((1, *machine.wires["x"].shape), np.int64))
        gone.append(weakref.ref(machine))
    del machine, wide, x
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert not engine._programs


def test_a_copy_has_programs_of_its_own():
    machine = small()
    assert machine.run([[3, 1]]).tolist() == [[1]]
    twin, noted = copy(machine), machine.annotated(a=1)
    assert twin.run([[3, 1]]).tolist() == noted.run([[3, 1]]).tolist() == [[1]]
    assert noted.hash == machine.hash


def test_a_saved_machine_runs_the_same(tmp_path):
    from zahlen import load

    machine = small()
    before = machine.run([[3, 1], [9, 0]])
    machine.save(tmp_path / "m.zn")
    assert (load(tmp_path / "m.zn").run([[3, 1], [9, 0]]) == before).all()


def test_the_reason_of_every_executor():
    machine = small()
    assert executors.names()[-1] == "engine"
    assert "affine_1" in machine.plan(executor="engine")
    assert machine.plan(executor="reference") == "every operation by the reference interpreter"


def test_several_threads_ask_for_one_machine():
    rng = np.random.default_rng(5)
    b = Builder()
    x = b.input("x", (40,), Levels(-128, 127))
    y = b.staircase(b.affine(x, rng.integers(-99, 99, (70, 40))), range(-9000, 9000, 300), range(61))
    machine = b.build(b.affine(y, rng.integers(-99, 99, (9, 70))))
    batches = [rng.integers(-128, 128, (n, 40)) for n in (1, 7, 200, 33, 64, 2, 500, 12) * 3]
    due = [machine.run(x, executor="reference") for x in batches]
    with ThreadPoolExecutor(6) as pool:
        for found, want in zip(pool.map(machine.run, batches), due):
            assert (found == want).all()


def test_nothing_in_the_batch_and_no_step():
    machine = small()
    assert machine.run(np.zeros((0, 2), np.int64)).shape == (0, 1)
    b = Builder()
    x = b.input("x", (2,), Levels(0, 9))
    h = b.register("h", (2,), Levels(0, 9))
    b.connect(h, x)
    recurrent = b.build(h)
    state, out = recurrent.run(np.zeros((0, 4, 2), np.int64), return_state=True)
    assert out.shape == (0, 4, 2)
    assert state["h"].shape == (0, 2)
    with pytest.raises(InputError, match="at least one step"):
        recurrent.run(np.zeros((3, 0, 2), np.int64))


def test_one_output_after_another_from_every_variant():
    machine, results = small(), []
    for variant in VARIANTS:
        native.choose(variant)
        results.append(Engine()(machine, {"x": np.array([[9, 0], [0, 9]])}, {}, ("affine_1", "x")))
    for found in results:
        agree(named(machine, found), results[0], "variants")
