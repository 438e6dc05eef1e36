"""Machines on NumPy alone: every wire is the reference's, and floats are taken only where they are exact."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import weakref
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import machines, random_batch, random_machine, random_sequences

from zahlen import Builder, Levels, Machine, nn
from zahlen.engine import fallback
from zahlen.engine.fallback import Fallback
from zahlen.machine import InputError, executors
from zahlen.machine import operations as op


@pytest.fixture(autouse=True)
def numpy_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"numpy": fallback.fallback, **executors._EXECUTORS}
    monkeypatch.setattr(executors, "_EXECUTORS", chosen)


def same(found: Any, expected: Any) -> None:
    """Shapes, types and integers of one array, or of several by name."""
    if not isinstance(expected, dict):
        found, expected = {"": found}, {"": expected}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        assert (found[name] == values).all(), name


def check(machine: Machine, x: Any, state: Any = None) -> None:
    """Every wire after a step, and whole runs."""
    wires = machine.trace(x, state, executor="reference")
    same(machine.trace(x, state, executor="numpy"), wires)
    for name in machine.wires:  # alone, so that nothing else needs it
        found = fallback.fallback(machine, machine._inputs(x), state or {}, (name,)) if not machine.registers else None
        if found is not None:
            same(found[name], wires[name])
    if not machine.registers:
        same(machine.run(x, executor="numpy"), machine.run(x, executor="reference"))


def check_sequences(machine: Machine, x: Any, state: Any = None) -> None:
    found, expected = (machine.run(x, state=state, return_state=True, executor=name) for name in ("numpy", "reference"))
    same(found[0], expected[0])
    same(found[1], expected[1])


def program(machine: Machine) -> Any:
    found = fallback.fallback.program(machine, machine.outputs)
    assert isinstance(found, fallback.NumPyProgram)
    return found


def kernels(machine: Machine) -> dict[str, str]:
    return {step.name: step.kernel for step in program(machine).steps}


# ---------------------------------------------------------------------------------------------------- random machines


@pytest.mark.parametrize("seed", range(8))
def test_every_wire_of_random_machines(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "BLOCK_BYTES", (1 << 21, 200)[seed % 2])
    monkeypatch.setattr(fallback, "SEGMENT_BYTES", (1 << 23, 1000)[seed % 2])
    monkeypatch.setattr(fallback, "TABLE", (1 << 16, 40, 0)[seed % 3])
    monkeypatch.setattr(fallback, "MOST_COMPARED", (24, 0, 2, 24)[seed % 4])
    for k in range(60):
        rng = random.Random(1000 * seed + k)
        machine = random_machine(rng, wide=k % 6 == 0)
        inputs, state = random_batch(machine, rng)
        check(machine, inputs, state)
        if machine.registers:
            check_sequences(machine, random_sequences(machine, rng))
            if machine.inputs:
                check_sequences(machine, random_sequences(machine, rng, 6, 9), state)


@given(st.data())
def test_every_wire_of_drawn_machines(data: st.DataObject) -> None:
    machine = data.draw(machines(kinds=("affine", "conv", "staircase", "lookup", "maxpool", "sumpool", "sum", "add")))
    inputs, state = random_batch(machine, random.Random(data.draw(st.integers(0, 2**32 - 1))))
    executors._EXECUTORS = {"numpy": fallback.fallback, **executors._EXECUTORS}
    check(machine, inputs, state)


def test_no_samples_and_wrong_ones() -> None:
    b = Builder()
    machine = b.build(b.affine(b.input("x", (2,), Levels(0, 3)), [[1, 2]]))
    assert machine.run(np.zeros((0, 2), dtype=int), executor="numpy").shape == (0, 1)
    with pytest.raises(InputError):
        machine.run([[0, 4]], executor="numpy")


# ---------------------------------------------------------------------------------------------------- networks


def mlp(levels: int) -> Any:
    return [
        nn.Input((6, 7), Levels(0, 255), offset=73, unit=90), nn.Flatten(), nn.Linear(42, 30), nn.TanhD(levels),
        nn.Linear(30, 20), nn.BatchNorm(), nn.ReLUD(levels, 2), nn.Linear(20, 5),
    ]  # fmt: skip


def cnn(levels: int) -> Any:
    return [
        nn.Input((2, 13, 11), Levels(0, 16), offset=5, unit=6), nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm(),
        nn.TanhD(levels), nn.MaxPool2d(2), nn.Conv2d(6, 4, (3, 2), stride=2, groups=2), nn.TanhD(levels),
        nn.Flatten(), nn.Linear(4 * 2 * 2, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("levels", [2, 16, 256])
@pytest.mark.parametrize("make", [mlp, cnn])
def test_networks(make: Any, levels: int) -> None:
    torch.manual_seed(levels)
    machine = nn.Sequential(*make(levels)).machine()
    x = np.random.default_rng(0).integers(0, 17, (70, *machine.wires["x"].shape))
    check(machine, x)
    assert "float32 products by BLAS" in kernels(machine).values()


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    machine = nn.Sequential(
        nn.Input((), Levels(0, 9)), layer(10, 24, 2, symbols=True, levels=17), nn.Linear(24, 10)
    ).machine()
    x = np.random.default_rng(0).integers(0, 10, (9, 40))
    check_sequences(machine, x)
    sections = program(machine)
    assert sections.before
    assert sections.each
    assert sections.after[-1].name == machine.outputs[0]  # the read-out, behind all steps
    monkeypatch.setattr(fallback, "SEGMENT_BYTES", 7 * sections.row * 9)
    check_sequences(machine, x)
    state, _ = machine.run(x[:, :11], return_state=True, executor="numpy")
    same(machine.run(x[:, 11:], state=state, executor="numpy"), machine.run(x, executor="reference")[:, 11:])
    for t in range(3):
        state, y = machine.step(state, x[:, t], executor="numpy")
    assert y.dtype == np.int64


def test_registers_that_follow_anything() -> None:
    """Inputs, constants, other registers; some that nobody reads, one that is an output."""
    b = Builder()
    x = b.input("x", (2,), Levels(0, 5))
    k = b.constant([3, 4], name="k")
    one, two, three, four = (b.register(name, (2,), Levels(0, 5), initial=n) for n, name in enumerate("abcd"))
    b.connect(one, x)
    b.connect(two, one)
    b.connect(three, k)
    b.connect(four, b.clamp(b.add(two, three), 0, 5))
    machine = b.build(b.neg(x, name="still"), two, b.affine(four, [[1, -1]], name="read"), k)
    check_sequences(machine, np.random.default_rng(0).integers(0, 6, (4, 7, 2)))
    check(machine, np.random.default_rng(0).integers(0, 6, (4, 2)), machine.initial_state(4))


# ---------------------------------------------------------------------------------------------------- convolutions


@pytest.mark.parametrize("few", [0, 16, 10**9])
def test_convolutions_of_every_geometry(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "FEW_POSITIONS", few)
    rng = np.random.default_rng(few % 7)
    for stride, before, after, dilation, groups in product((1, 2, 3), (0, 1, 3), (0, 2), (1, 2), (1, 2, 4)):
        b = Builder()
        x = b.input("x", (4, 9, 7), Levels(-3, 9))
        weight = rng.integers(-40, 40, (8, 4 // groups, 3, 2))
        padding, strides = ((before, after), (after, before)), (stride, 4 - stride)
        z = b.conv(x, weight, rng.integers(-9, 9, 8), stride=strides, padding=padding, dilation=dilation, groups=groups)
        line = b.reshape(z, (8, int(np.prod(z.shape[1:]))))
        weight = rng.integers(-9, 9, (4, 8 // groups, 2))
        machine = b.build(b.conv(line, weight, stride=stride, padding=((after, before),), groups=groups))
        check(machine, rng.integers(-3, 10, (3, 4, 9, 7)))


def test_pools_of_every_geometry() -> None:
    rng = np.random.default_rng(0)
    for stride, before, after, size in product((1, 2, 3), (0, 1), (0, 2), (3, 4)):
        b = Builder()
        x = b.input("x", (2, 9, 7), Levels(-9, -3))
        for pool in (b.maxpool, b.sumpool):
            pool(x, (size, 3), (stride, 2), ((before, after), (after, before)))
            pool(x, (size,), (stride,), ((before, after),))
        b.conv(x, rng.integers(-3, 3, (1, 2, 3, 3)), name="products")  # inputs are wanted as floats
        machine = b.build(*list(b._wires)[1:])
        check(machine, rng.integers(-9, -2, (3, 2, 9, 7)))


# ---------------------------------------------------------------------------------------------------- where floats end


@pytest.mark.parametrize(("bits", "inside", "outside"), [(24, "float32", "float64"), (53, "float64", "integer")])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", ["two", "many", "bias", "conv"])
def test_sums_that_reach_the_bound(bits: int, inside: str, outside: str, sign: int, kind: str) -> None:
    for over in (-1, 0, 1):
        most, n = (1 << bits) + over, 16
        b = Builder()
        if kind == "many":
            x = b.input("x", (n,), Levels(0, 255))
            each, rest = divmod(most, 255 * n)
            weight, bias = [[sign * each] * n], [sign * rest]
            rows = np.array([[255] * n, [0] * n, [255] * (n - 1) + [254]])
        else:
            x = b.input("x", (2, 1) if kind == "conv" else (2,), Levels(0, 1))
            weight, bias = [[sign * (most - 1), sign]], [0]
            if kind == "bias":
                weight, bias = [[sign * (most - 2), sign]], [sign]
            rows = np.array(list(product((0, 1), repeat=2)))
        if kind == "conv":
            z = b.conv(x, np.array(weight)[..., None], bias)
        else:
            z = b.affine(x, weight, bias)
        machine = b.build(b.sub(z, b.constant(np.full(z.shape, 1))), z)
        assert max(map(abs, z.workspace)) == most
        x_all = rows.reshape(-1, *x.shape)
        assert abs(machine.run(x_all, executor="reference")[z.name]).max() == most
        check(machine, x_all)
        assert kernels(machine)[z.name].startswith(inside if over <= 0 else outside), over


@pytest.mark.parametrize("bits", [24, 31, 53])
def test_elementwise_at_the_bounds(bits: int) -> None:
    for over, sign in product((-2, -1, 0, 1, 2), (1, -1)):
        most = (1 << bits) + over
        lo, hi = sorted((0, sign * most))
        b = Builder()
        x = b.input("x", (2,), Levels(lo, hi))
        one = b.constant([1, 1])
        up, down = b.add(x, one), b.sub(x, one)
        b.affine(x, [[1, 0]], name="as_floats")
        b.mul(b.neg(up), one)
        b.clamp(down, -5, most)
        b.shift(up, 3, "half_up")
        b.shift(down, 1)
        b.shift(x, -2)
        b.sum(x, (0,))
        b.argmax(b.concat(x, up, down))
        b.staircase(x, sorted((0, sign * most - 1, sign * most)), [0, 1, most, -most])
        b.staircase(x, np.sort([[lo, lo + 1, hi], [hi - 1, hi, hi + 1]], axis=1), [[1, 2, 3, 4], [5, 6, 7, 8]])
        machine = b.build(*(w for w in b._wires if w != "x"))
        rows = [[lo, hi], [hi, lo], [lo + 1, hi - 1], [hi - 2, hi - 1], [(lo + hi) // 2, lo]]
        check(machine, np.array(rows))


def test_what_is_clamped_for_a_product_is_no_float_before() -> None:
    b = Builder()
    x = b.input("x", (2,), Levels(-(2**60), 2**60))
    z = b.affine(b.clamp(b.neg(x), -3, 2**24 - 9), [[1, 0]], [9])
    machine = b.build(x, z, "neg_1")
    assert kernels(machine)[z.name] == "float32 products by BLAS"
    check(machine, [[2**24 + 1, -(2**24) - 1], [-(2**24) + 8, -(2**24) + 10], [2**53 + 1, 3], [-(2**60) + 1, 5]])


def test_a_blas_that_rounds_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fallback.exact(fallback.F32)
    assert fallback.exact(fallback.F64)
    monkeypatch.setattr(fallback, "exact", lambda dtype: dtype == fallback.F64)
    b = Builder()
    machine = b.build(b.affine(b.input("x", (2,), Levels(0, 1)), [[1, 2]], name="z"))
    assert kernels(machine) == {"z": "float64 products by BLAS"}
    monkeypatch.setattr(fallback, "exact", lambda dtype: False)
    machine = b.build("z")
    assert kernels(machine) == {"z": "integer products"}
    check(machine, [[1, 1]])


def test_wide_machines_are_the_references() -> None:
    b = Builder()
    x = b.input("x", (2,), Levels(-(2**40), 2**40))
    machine = b.build(b.mul(x, x, name="square"))
    check(machine, [[2**40, -(2**40) + 1]])
    narrow = Builder()  # values of a few bits, and a bound that no type of NumPy has
    check(narrow.build(narrow.clamp(narrow.input("x", (1,), Levels(0, 9)), -(2**70), 5)), [[9], [0]])
    assert (
        machine.plan(executor="numpy") == "every operation by the reference interpreter: square needs more than 64 bits"
    )


# ---------------------------------------------------------------------------------------------------- staircases


@pytest.mark.parametrize(
    ("top", "count", "how"),
    [
        (300, 15, "a table of 601"),
        (10**6, 15, "thresholds compared"),
        (10**6, 200, "thresholds in"),
        (2**40, 200, "thresholds searched"),
        (2**62, 15, "thresholds compared"),
    ],
)
def test_staircases_of_every_kind(top: int, count: int, how: str) -> None:
    rng = np.random.default_rng(count)
    for start in (-top, 0, 1, top // 2, -top - 50):
        lo, hi = start, min(start + 2 * top, top)
        b = Builder()
        x = b.input("x", (3,), Levels(lo, hi))
        thresholds = (
            np.sort(rng.integers(lo, hi, count)) if top < 10**6 else np.linspace(lo - 9, hi + 9, count).astype(int)
        )
        if "searched" in how:
            thresholds[100:103] = thresholds[100]  # equal ones have no buckets
        values = rng.integers(-999, 999, count + 1)
        machine = b.build(b.staircase(x, thresholds, values, name="y"))
        near = np.clip((thresholds[:, None] + np.array([-1, 0, 1])), lo, hi)
        check(machine, np.concatenate([near, [[lo, lo + 1, hi]], rng.integers(lo, hi, (40, 3), endpoint=True)]))
        (step,) = program(machine).steps
        if start == -top:
            assert how in step.reason


def test_equal_thresholds_far_from_zero() -> None:
    lo = 10**6
    b = Builder()
    x = b.input("x", (5,), Levels(lo, lo + 999))
    thresholds = np.sort(np.random.default_rng(0).integers(lo, lo + 999, 50).repeat(2))
    machine = b.build(b.staircase(x, thresholds, np.random.default_rng(1).integers(-9, 9, 101)))
    check(machine, np.arange(lo, lo + 1000).reshape(-1, 5))
    assert "searched" in program(machine).steps[0].reason


@pytest.mark.parametrize(
    ("top", "count", "how"), [(300, 5, "a table"), (10**6, 5, "compared"), (10**6, 60, "searched")]
)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_staircases_of_channels(top: int, count: int, how: str, axis: int) -> None:
    rng = np.random.default_rng(count)
    b = Builder()
    x = b.input("x", (4, 5), Levels(-top, top))
    channels = (4, 5)[axis]
    thresholds = np.sort(rng.integers(-top - top // 9, top + top // 9, (channels, count)), axis=1)
    machine = b.build(b.staircase(x, thresholds, rng.integers(-9, 9, (channels, count + 1)), axis=axis))
    check(machine, rng.integers(-top, top, (50, 4, 5), endpoint=True))
    assert how in program(machine).steps[0].reason


# ---------------------------------------------------------------------------------------------------- the executor


def test_the_plan_says_what_goes_through_blas_and_why() -> None:
    b = Builder()
    x = b.input("x", (3,), Levels(0, 255))
    z = b.affine(x, [[1, -2, 3]] * 2, name="z")
    y = b.staircase(z, [0, 9], [-1, 0, 1], name="y")
    machine = b.build(b.affine(y, [[1 << 30, 5]], name="wide"))
    assert machine.plan(executor="numpy").splitlines() == [
        "NumPy, without compiled kernels",
        "z: float32 products by BLAS  (sums in -510..1,020, within 2^24)",
        "y: staircase  (a table of 1,531)",
        "wide: float64 products by BLAS  (sums in -1,073,741,829..1,073,741,829, within 2^53)",
    ]


def test_machines_go_when_nobody_needs_them() -> None:
    b = Builder()
    machine = b.build(b.affine(b.input("x", (2,), Levels(0, 1)), [[1, 2]]))
    machine.run([[0, 1]], executor="numpy")
    gone = weakref.ref(machine)
    del machine, b
    gc.collect()
    assert gone() is None


def test_missing_kernels_are_told_once() -> None:
    b = Builder()
    machine = b.build(b.neg(b.input("x", (), Levels(0, 1))))
    executors.register("telling", Fallback(missing=True))  # the default by now
    with pytest.warns(fallback.MissingKernelsWarning, match="same results, but slower"):
        machine.run([1])
    assert machine.run([1]).tolist() == [-1]  # a second warning would be an error


pytestmark = pytest.mark.filterwarnings("error::zahlen.engine.fallback.MissingKernelsWarning")

SCRIPT = """
import sys
{before}
import numpy as np, zahlen
from zahlen.machine import executors
print(executors.names())
b = zahlen.Builder()
x = b.input("x", (9,), zahlen.Levels(0, 255))
h = b.staircase(b.affine(x, np.arange(-36, 45).reshape(9, 9)), np.arange(-4000, 4001, 1000), np.arange(10))
machine = b.build(b.affine(h, np.ones((2, 9), dtype=int)))
x = np.random.default_rng(0).integers(0, 256, (500, 9))
for _ in range(2):
    print((machine.run(x) == machine.run(x, executor="reference")).all())
print("BLAS" in machine.plan())
"""


@pytest.mark.parametrize("asked", [True, False])
def test_numpy_is_the_default_without_kernels(asked: bool) -> None:
    before = "" if asked else "sys.modules['zahlen.kernels._native'] = None"  # importing it is an ImportError
    environment = {**os.environ, "ZAHLEN_ISA": "python" if asked else ""}
    script = SCRIPT.format(before=before)
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["('reference', 'numpy')", "True", "True", "True"]
    assert done.stderr.count("MissingKernelsWarning") == (0 if asked else 1)
    assert ("C compiler" in done.stderr) is not asked


def test_every_operation_has_a_place() -> None:
    """A kind that nobody thought of would go to the reference with operands of a type that it does not prove."""
    known = {
        "input",
        "register",
        "constant",
        "affine",
        "conv",
        "staircase",
        "lookup",
        "embed",
        "shift",
        "sum",
        "sumpool",
    }
    known |= {kind.kind for kind in (*fallback.LINEAR, *fallback.MOVES)} | {"argmax"}
    assert known == set(op.OPERATIONS)
