"""A program packed by hand: its arrays, its streams, its threads, and what it refuses."""

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from judge import VARIANTS, Program

from zahlen.kernels import native
from zahlen.machine import Builder, InputError, Levels

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


def perceptron(lo=0, hi=100, step=1, shape=(3, 4)):
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.reshape(b.input("x", shape, Levels(lo, hi, step)), (12,))
    y = b.staircase(b.affine(x, rng.integers(-99, 99, (33, 12))), range(-19500, 19500, 2600), range(-8, 8))
    return b.build(b.affine(y, rng.integers(-99, 99, (5, 33))))


def recurrent(units=20):
    rng = np.random.default_rng(1)
    b = Builder()
    x = b.input("x", (4,), Levels(-9, 9))
    h = b.register("h", (units,), Levels(-8, 7), initial=rng.integers(-8, 8, units))
    z = b.add(b.affine(x, rng.integers(-99, 99, (units, 4))), b.affine(h, rng.integers(-99, 99, (units, units))))
    y = b.staircase(z, range(-2800, 3200, 400), range(-8, 8))
    b.connect(h, y)
    return b.build(b.affine(y, rng.integers(-99, 99, (3, units))))


def random(machine, *leading, seed=0, dtype=np.int64):
    a, shape = machine.wires["x"].alphabet, machine.wires["x"].shape
    drawn = np.random.default_rng(seed).integers(0, a.size, (*leading, *shape))
    return (a.lo + a.step * drawn).astype(dtype)


def ran(program, x):
    out = program.empty(*x.shape[: 1 + bool(program.registers)])
    program.run_into(x, out)
    return out


# ---------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_type_goes_in_and_comes_out(variant, dtype):
    for lo, hi, step in ((0, 100, 1), (-100, 100, 1), (-99, 99, 3), (5, 125, 5), (-1000, 1000, 1), (0, 2**31, 2**20)):
        info = np.iinfo(dtype)
        if lo < info.min or hi > info.max:
            continue
        machine = perceptron(lo, hi, step)
        x = random(machine, 9, dtype=dtype)
        due = machine.run(x, executor="reference")
        for out_type in INTEGERS:
            out, a = np.empty((9, 5), dtype=out_type), machine.wires[machine.outputs[0]].alphabet
            if np.iinfo(out_type).min <= a.lo and a.hi <= np.iinfo(out_type).max:
                Program(machine).run_into(x, out)
                assert (out == due).all()


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "levels", [(-100, 100, 1), (0, 100, 1), (10, 100, 10), (0, 255, 1), (-1000, 1000, 1), (0, 2**40, 1)]
)
def test_values_outside_the_alphabet_are_refused(variant, dtype, levels):
    machine, info = perceptron(*levels), np.iinfo(dtype)
    program, a = Program(machine), machine.wires["x"].alphabet
    out = program.empty(5)
    wrong = {a.lo - 1, a.hi + 1, a.hi + a.step, a.lo - 2**8, a.hi + 2**8, a.lo + 2**16, a.lo + 2**32, a.lo + 2**63}
    wrong |= {2**64 - 1, 2**63, 2**63 - 1, -(2**63), a.lo + 1 if a.step > 1 else a.hi + 2}
    for value in wrong:
        if value in a or not info.min <= value <= info.max:
            continue
        for place in (0, 37, 59):
            x = np.full((5, 3, 4), max(a.lo, 0), dtype=dtype)
            x.reshape(-1)[place] = value
            with pytest.raises(InputError, match=rf"x: values are .*{value}\b.*the alphabet is"):
                program.run_into(x, out)
    x = np.full((5, 3, 4), max(a.lo, 0), dtype=dtype)
    program.run_into(x, out)
    assert (out == machine.run(x, executor="reference")).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3, 4)), "x: integers are due, got float64; a machine never rounds its input"),
        (np.zeros((2, 3, 4), np.float16), "x: integers are due, got float16"),
        (np.zeros((2, 3, 4), bool), "x: integers are due, got bool"),
        (np.zeros((2, 3, 4), object), "x: integers are due, got object"),
        (np.zeros((2, 3, 4), complex), "x: integers are due, got complex128"),
        (np.zeros((2, 3, 4), "M8[s]"), "x: integers are due"),
        (np.zeros((2, 3, 4), np.dtype(np.int32).newbyteorder()), "x: integers are due, got [<>]i4"),
        (np.zeros((2, 12), np.uint8), r"x: shape \(batch, \*\(3, 4\)\) is due, got \(2, 12\)"),
        (np.zeros((2, 4, 3), np.uint8), r"x: shape .* is due, got \(2, 4, 3\)"),
        (np.zeros((3, 4), np.uint8), r"x: shape .* is due, got \(3, 4\)"),
        (np.zeros((2, 1, 3, 4), np.uint8), r"x: shape .* is due, got \(2, 1, 3, 4\)"),
        (np.zeros((2, 3, 2), np.int16), r"x: shape .* is due, got \(2, 3, 2\)"),
        (np.zeros((), np.uint8), r"x: shape .* is due, got \(\)"),
        (np.zeros((3, 3, 4), np.uint8), r"x is \(3, 3, 4\) and affine_2 \(2, 5\): they differ in batch or time"),
        (np.zeros((4, 3, 4), np.uint8)[::2], "x: a C-contiguous array is due"),
        (np.zeros((2, 4, 3), np.uint8).transpose(0, 2, 1), "x: a C-contiguous array is due"),
        (np.zeros((2, 3, 4), np.uint8, order="F"), "x: a C-contiguous array is due"),
        ([[[0] * 4] * 3] * 2, "x: a NumPy array is due, got list"),
        (None, "x: a NumPy array is due, got NoneType"),
        (bytes(24), "x: a NumPy array is due, got bytes"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, message):
    program = Program(perceptron())
    out = program.empty(2)
    for call in (program.run_into, program.step_into, program.bind):
        with pytest.raises(InputError, match=message):
            call(x, out)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((2, 5)), "affine_2: integers are due, got float64"),
        (np.zeros((2, 5), np.int8), r"affine_2: int8 does not hold -\d+..\d+.*; `empty` makes an array that does"),
        (np.zeros((2, 5), np.uint32), "affine_2: uint32 does not hold"),
        (np.zeros((2, 5), np.uint64), "affine_2: uint64 does not hold"),
        (np.zeros((2, 6), np.int32), r"affine_2: shape \(batch, \*\(5,\)\) is due, got \(2, 6\)"),
        (np.zeros((1, 5), np.int32), "differ in batch or time"),
        (np.zeros((5, 2), np.int32).T, "affine_2: a C-contiguous array is due"),
        (np.zeros((2, 10), np.int32)[:, ::2], "affine_2: a C-contiguous array is due"),
        (np.broadcast_to(np.int32(0), (2, 5)), "C-contiguous|read-only"),
        ([[0] * 5] * 2, "affine_2: a NumPy array is due, got list"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(out, message):
    program = Program(perceptron())
    with pytest.raises(InputError, match=message):
        program.run_into(np.zeros((2, 3, 4), np.uint8), out)


def test_an_output_must_be_writable_and_apart_from_the_input():
    program = Program(perceptron())
    out = program.empty(2)
    out.flags.writeable = False
    with pytest.raises(InputError, match="affine_2: the array is read-only"):
        program.run_into(np.zeros((2, 3, 4), np.uint8), out)
    memory = np.zeros(100, np.uint8)
    with pytest.raises(InputError, match="x and affine_2 lie in the same memory"):
        program.run_into(memory[:24].reshape(2, 3, 4), memory[16:56].view(np.int32).reshape(2, 5))
    x = np.zeros((2, 3, 4), np.uint8)
    x.flags.writeable = False
    program.run_into(x, program.empty(2))


def test_arrays_at_odd_addresses():
    machine = perceptron()
    x, out = random(machine, 7, dtype=np.int32), np.zeros(7 * 5 * 4 + 1, np.uint8)[1:].view(np.int32).reshape(7, 5)
    shifted = np.zeros(x.nbytes + 3, np.uint8)[3:].view(np.int32).reshape(x.shape)
    shifted[:] = x
    Program(machine).run_into(shifted, out)
    assert (out == machine.run(x, executor="reference")).all()


def test_arrays_filled_again_are_read_anew_and_others_are_not_taken_for_them():
    machine = perceptron()
    program = Program(machine)
    x, out = random(machine, 4, dtype=np.uint8), program.empty(4)
    for seed in range(5):
        x[:] = random(machine, 4, seed=seed)
        program.run_into(x, out)
        assert (out == machine.run(x, executor="reference")).all()
    for seed in range(50):  # ids come back as soon as an array has gone
        batch = 1 + seed % 3
        found = ran(program, random(machine, batch, seed=seed, dtype=INTEGERS[1 + seed % 7]))
        assert (found == machine.run(random(machine, batch, seed=seed), executor="reference")).all()
    x[2, 1, 1] = 101
    with pytest.raises(InputError, match=r"x: values are .*\.\.101"):
        program.run_into(x, out)


def test_bound_arrays_live_as_long_as_the_call():
    machine = perceptron()
    program, x = Program(machine), random(perceptron(), 3, dtype=np.uint8)
    out = program.empty(3)
    call = program.bind(x.copy(), out)
    del program
    gc.collect()
    [np.ones((3, 3, 4), np.uint8) for _ in range(100)]
    assert call() is True
    assert (out == machine.run(x, executor="reference")).all()
    x[0, 0, 0] = 200
    assert Program(machine).bind(x, out)() is False


def test_wanted_wires_come_out_of_a_program():
    machine = perceptron()
    x = random(machine, 6, dtype=np.uint8)
    due = machine.trace(x, executor="reference")
    for name in machine.wires:
        program = Program(machine, (name,))
        out = program.empty(6)
        program.run_into(x, out)
        assert (out == due[name]).all()
        assert out.dtype in (np.int32, np.int64)


def test_nothing_and_the_empty_sequence():
    machine = perceptron()
    assert ran(Program(machine), random(machine, 0)).shape == (0, 5)
    program = Program(recurrent())
    assert ran(program, random(recurrent(), 0, 3)).shape == (0, 3, 3)
    with pytest.raises(InputError, match="a sequence has at least one step"):
        ran(program, np.zeros((2, 0, 4), np.int8))


def test_several_arrays_are_for_run():
    b = Builder()
    x, y = (b.input(name, (2,), Levels(0, 9)) for name in "xy")
    for outs in ((b.add(x, y),), (x, y)):
        program = Program(b.build(*outs))
        for call in (
            lambda p=program: p.empty(1),
            lambda p=program: p.run_into(np.zeros((1, 2), int), np.zeros((1, 2), int)),
        ):
            with pytest.raises(InputError, match=r"machine\.run takes several by name"):
                call()
    with pytest.raises(InputError, match="one input and one output are due"):
        _ = Program(b.build(x)).input_dtype


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**9])
def test_a_number_of_threads_that_cannot_be(threads):
    with pytest.raises(InputError, match=r"threads: 1\.\.1024 are possible"):
        Program(perceptron(), threads=threads)


# ---------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("batch", [1, 3, 130])
def test_steps_of_a_stream_are_one_long_run(variant, batch):
    machine = recurrent()
    x = random(machine, batch, 12, dtype=np.int8)
    due = machine.run(x, executor="reference")
    program = Program(machine)
    assert (ran(program, x) == due).all()
    for again in range(3):  # from the initial state each time
        program.reset(batch)
        now, out = np.empty((batch, 4), np.int8), program.empty(batch)
        for t in range(12):
            now[:] = x[:, t]
            step = now if t % 3 or again else now.astype(np.int16)  # also from other arrays
            program.step_into(step, out)
            assert (out == due[:, t]).all()


def test_a_stream_begins_by_itself_and_is_not_disturbed_by_runs():
    machine = recurrent()
    x = random(machine, 2, 6, dtype=np.int8)
    due = machine.run(x, executor="reference")
    program = Program(machine)
    for t in range(6):
        out = program.empty(2)
        program.step_into(np.ascontiguousarray(x[:, t]), out)
        assert (out == due[:, t]).all()
        assert (ran(program, x) == due).all()


def test_bound_steps_begin_anew_with_reset():
    machine = recurrent()
    x = random(machine, 2, 6, dtype=np.int8)
    due = machine.run(x, executor="reference")
    program = Program(machine)
    now, out = np.empty((2, 4), np.int8), program.empty(2)
    call = program.bind(now, out, stream=True)
    for _ in range(2):
        program.reset(2)
        for t in range(6):
            now[:] = x[:, t]
            assert call()
            assert (out == due[:, t]).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 300])
def test_a_refused_step_leaves_the_streams_as_they_were(batch, threads):
    machine = recurrent()
    x = random(machine, batch, 6, dtype=np.int8)
    due = machine.run(x, executor="reference")
    program = Program(machine, threads=threads)
    out = program.empty(batch)
    for t in range(6):
        wrong = x[:, t].copy()
        wrong[-1, 2] = 10
        with pytest.raises(InputError, match=r"\.\.10, the alphabet"):
            program.step_into(wrong, out)
        program.step_into(np.ascontiguousarray(x[:, t]), out)
        assert (out == due[:, t]).all()


def test_another_number_of_streams_is_refused_until_a_reset():
    program = Program(recurrent())
    program.reset(3)
    program.step_into(np.zeros((3, 4), np.int8), program.empty(3))
    with pytest.raises(InputError, match=r"3 streams are under way, got 2: reset\(2\) begins so many"):
        program.step_into(np.zeros((2, 4), np.int8), program.empty(2))
    program.reset(2)
    program.step_into(np.zeros((2, 4), np.int8), program.empty(2))
    with pytest.raises(InputError, match="a batch of -1 streams"):
        program.reset(-1)


def test_runs_and_steps_do_not_take_each_others_arrays():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    count = b.register("count", (1,), Levels(0, 6))
    y = b.lookup(b.add(count, x), [0, 1, 2, 3, 4, 5, 6, 0])
    b.connect(count, y)
    program = Program(b.build(y))
    step, out = np.ones((1, 1), np.uint8), program.empty(1)
    program.step_into(step, out)
    program.step_into(step, out)
    assert out == [[2]]
    with pytest.raises(InputError, match=r"shape \(batch, time, \*\(1,\)\) is due"):
        program.run_into(step, out)
    program.step_into(step, out)
    assert out == [[3]]
    b = Builder()  # without registers both are the same
    program = Program(b.build(b.neg(b.input("x", (1,), Levels(0, 1)))))
    for call in (program.run_into, program.step_into, program.run_into):
        call(step, out)
        assert out == [[-1]]


# ---------------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("make", [perceptron, recurrent])
def test_threads_change_no_bit(variant, make):
    machine = make()
    leading = (1, 2, 3, 7, 130, 300, 1001)
    for batch in leading:
        x = random(machine, batch, *((5,) if machine.registers else ()), dtype=np.int8)
        due = machine.run(x, executor="reference")
        for threads in (1, 2, 3, 8):
            assert (ran(Program(machine, threads=threads), x) == due).all()


@pytest.mark.parametrize("make", [perceptron, recurrent])
def test_values_outside_are_found_by_every_thread(make):
    machine = make()
    program = Program(machine, threads=3)
    time = (5,) if machine.registers else ()
    for place in (0, 150, 299):
        x = random(machine, 300, *time, dtype=np.int8)
        x[place].reshape(-1)[-1] = 101
        with pytest.raises(InputError, match=r"\.\.101"):
            ran(program, x)


@pytest.mark.parametrize("threads", [None, 2])
def test_several_callers_at_once(threads):
    machines = [perceptron(), recurrent(), recurrent(65)]
    programs = [Program(machine, threads=threads) for machine in machines]
    jobs = []
    for seed in range(60):
        k = seed % 3
        time = (1 + seed % 9,) if k else ()
        jobs.append(
            (programs[k], random(machines[k], 1 + seed * 7 % 200, *time, seed=seed, dtype=np.int8), machines[k])
        )
    due = [machine.run(x, executor="reference") for _, x, machine in jobs]

    def often(job):
        program, x, _ = job
        out = program.empty(*x.shape[: 1 + bool(program.registers)])
        for _ in range(5):
            out[:] = 0
            program.run_into(x, out)
        return out

    with ThreadPoolExecutor(6) as pool:
        for found, want in zip(pool.map(often, jobs), due):
            assert (found == want).all()


def test_the_number_of_threads_may_be_set_from_outside():
    code = "from zahlen.engine.program import cores; print(cores())"
    for value, due in (("3", 3), ("99999", 1024), ("0", None), ("x", None), ("", None)):
        environment = {**os.environ, "ZAHLEN_THREADS": value}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert int(done.stdout) == due or (due is None and 0 < int(done.stdout) < 1024)


# ---------------------------------------------------------------------------------------------------- the listing


def test_a_program_says_what_it_does(variant):
    text = str(Program(perceptron()))
    for part in ("x: checked and stored", "affine_1 > staircase_1: ", "15 thresholds", "affine_2: handed out", "a row"):
        assert part in text
    assert "8-bit products" in text or not native.any_dot8()


def test_every_variant_is_tried_here():
    assert "portable" in VARIANTS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_goes_on_without_the_threads_that_it_lost():
    code = """
import os, signal
import numpy as np
from zahlen import Builder, Levels
from zahlen.engine import Program
b = Builder()
x = b.input("x", (64,), Levels(0, 255))
program = Program(b.build(b.affine(x, np.ones((64, 64), int))), threads=2)
x, out = np.ones((2000, 64), np.uint8), program.empty(2000)
program.run_into(x, out)
child = os.fork()
if child == 0:
    signal.alarm(20)
    out[:] = 0
    program.run_into(x, out)
    os._exit(0 if (out == 64).all() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
