import random
from collections import Counter

import numpy as np
import pytest
from definition import RULES, define, sample
from hypothesis import given
from hypothesis import strategies as st
from strategies import STEPS, batches, machines, random_batch, random_machine

from zahlen.machine import Builder, Levels, reference
from zahlen.machine import operations as op

COMPUTED = sorted(set(STEPS) - {"input", "register", "constant"})


def equal(a, b):
    return np.shape(a) == np.shape(b) and bool(np.all(sample(a) == sample(b)))


def check_every_wire(machine, inputs, state):
    values = machine.trace(inputs, state)
    for name, wire in machine.wires.items():
        for k in range(len(values[name])):
            value = values[name][k]
            if name in machine.inputs:
                expected = inputs[name][k]
            elif name in machine.registers:
                expected = state[name][k]
            elif isinstance(wire.operation, op.Constant):
                expected = wire.operation.value
            else:
                expected = define(wire.operation, *(values[x][k] for x in wire.operands))
            assert equal(value, expected), (wire.operation, wire.operands)


def test_the_definition_covers_every_operation():
    assert set(op.OPERATIONS) == {*RULES, "input", "register", "constant"} == {*STEPS}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kind", COMPUTED)
def test_each_operation_is_its_definition(kind, wide):
    seen, rng = 0, random.Random(kind)
    while seen < 25:
        machine = random_machine(rng, [kind, kind, rng.choice(COMPUTED), kind], wide=wide)
        seen += sum(w.operation.kind == kind for w in machine.wires.values())
        check_every_wire(machine, *random_batch(machine, rng, 4))


@given(st.data(), machines())
def test_every_wire_of_random_machines_is_its_definition(data, machine):
    check_every_wire(machine, *data.draw(batches(machine)))


@given(st.data(), machines(wide=True))
def test_every_wire_of_wide_machines_is_its_definition(data, machine):
    check_every_wire(machine, *data.draw(batches(machine)))


def test_random_machines_reach_what_they_are_for():
    kinds, features = Counter(), Counter()
    for seed in range(400):
        machine = random_machine(random.Random(seed), wide=seed % 2 == 1)
        kinds.update(w.operation.kind for w in machine.wires.values())
        for wire in machine.wires.values():
            o = wire.operation
            features["beyond 64 bits"] += wire.dtype == object and o.kind not in ("input", "register")
            features["beyond 32 bits"] += 32 < wire.bits <= 64
            features["codes"] += not wire.alphabet.numeric
            features["a single number"] += wire.shape == ()
            features["per channel"] += o.kind == "staircase" and o.per_channel
            features["not monotone"] += o.kind == "staircase" and bool((np.diff(o.values) < 0).any())
            features["equal thresholds"] += o.kind == "staircase" and bool((np.diff(o.thresholds) == 0).any())
            features["groups"] += o.kind == "conv" and o.groups > 1
            features["one spatial axis"] += o.kind == "conv" and o.weight.ndim == 3
            features["two operands"] += o.kind == "lookup" and o.table.ndim == 2
        features["several inputs"] += len(machine.inputs) > 1
        features["several outputs"] += len(machine.outputs) > 1
    assert set(kinds) == set(STEPS)
    assert min(kinds.values()) >= 20, kinds
    assert len(features) == 12
    assert min(features.values()) >= 10, features


def test_narrow_machines_stay_in_64_bits():
    for seed in range(200):
        machine = random_machine(random.Random(seed))
        assert all(w.dtype == w.value_dtype == np.int64 for w in machine.wires.values())


@given(st.integers(-(2**70), 2**70), st.integers(1, 80), st.sampled_from(["floor", "half_up"]))
def test_shift_is_an_exact_rounding(x, bits, rounding):
    y = int(reference.apply(op.Shift(bits, rounding), np.array([x], dtype=object))[0])
    half = 2 ** (bits - 1) if rounding == "half_up" else 0
    assert y * 2**bits <= x + half < (y + 1) * 2**bits


def test_a_pool_over_padding_at_the_edges():
    b = Builder()
    x = b.input("x", (3,), Levels(-9, -1))
    machine = b.build(b.maxpool(x, (2,), (1,), 1, name="max"), b.sumpool(x, (2,), (1,), 1, name="sum"))
    result = machine.run([[-5, -1, -9]])
    assert result["max"].tolist() == [[-5, -1, -1, -9]]
    assert result["sum"].tolist() == [[-5, -6, -10, -9]]


def test_sources_have_no_value_of_their_own():
    with pytest.raises(TypeError, match="input has no value"):
        reference.apply(op.Input((1,), Levels(0, 1)))


@given(machines(registers=False))
def test_an_empty_batch_gives_an_empty_result(machine):
    empty = {name: np.zeros((0, *machine.wires[name].shape), dtype=np.int64) for name in machine.inputs}
    for name, values in machine.trace(empty).items():
        assert values.shape == (0, *machine.wires[name].shape)


@given(machines())
def test_only_what_is_wanted_is_computed(machine):
    inputs, state = random_batch(machine, random.Random(0))
    full = machine.trace(inputs, state)
    for name in machine.wires:
        part = reference.evaluate(machine, inputs, state, [name])
        assert set(part) == {name}
        assert equal(part[name], full[name])
