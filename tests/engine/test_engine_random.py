"""Random machines of every operation: the engine's integers are the reference's, on every kind of processor."""

import random

import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import VARIANTS, judged, judged_sequences

from zahlen.machine import ZahlenError
from zahlen.machine.operations import OPERATIONS

SPATIAL = ("conv", "maxpool", "sumpool", "staircase", "transpose", "slice", "concat")
CHAINS = ("add", "sub", "mul", "min", "max", "neg", "clamp", "shift", "staircase", "lookup", "register", "constant")
LAYERS = ("affine", "conv", "staircase", "maxpool", "add", "register", "reshape")


def compare(machine, rng, variants=VARIANTS):
    """Every wire, the outputs alone, and sequences; returns whether the engine has a plan."""
    size = rng.choice((1, 2, 3, 5, 9, 33))
    inputs, state = strategies.random_batch(machine, rng, size)
    try:
        inputs, state = machine._inputs(inputs), machine._state(state, None) if machine.registers else {}
    except ZahlenError:
        return None
    if not judged(machine, inputs, state, tuple(machine.wires), variants):
        return False
    assert judged(machine, inputs, state, machine._step_wires, variants)
    assert judged(machine, inputs, state, machine.outputs, variants)
    if machine.registers and machine.inputs:
        batch, time = rng.choice(((1, 1), (1, 9), (3, 4), (70, 3), (2, 150)))
        sequences = strategies.random_sequences(machine, rng, batch, time)
        start = strategies.random_batch(machine, rng, batch)[1] if rng.random() < 0.5 else None
        assert judged_sequences(machine, sequences, start, variants)
    return True


@given(machine=strategies.machines(max_wires=10), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_random_machines(machine, seed):
    compare(machine, random.Random(seed))


@given(machine=strategies.machines(wide=True), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_random_machines_of_wide_integers(machine, seed):
    compare(machine, random.Random(seed))


@given(machine=strategies.machines(kinds=LAYERS, max_wires=8), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_random_layers(machine, seed):
    compare(machine, random.Random(seed))


@pytest.mark.parametrize(
    "kinds", [tuple(OPERATIONS), SPATIAL, CHAINS, LAYERS], ids=["all", "spatial", "chains", "layers"]
)
@pytest.mark.parametrize("seed", range(3))
def test_many_seeds(kinds, seed):
    rng, planned = random.Random(f"{kinds[0]} {seed}"), 0
    for _ in range(40):
        chosen = [kind for kind in rng.choices(kinds, k=rng.randint(2, 14)) if kind in strategies.STEPS]
        machine = strategies.random_machine(rng, chosen, wide=rng.random() < 0.15)
        variants = rng.sample(VARIANTS, min(2, len(VARIANTS)))
        planned += compare(machine, rng, variants) is True
    assert planned > 20


@pytest.mark.parametrize("kind", [k for k in OPERATIONS if k in strategies.STEPS])
def test_each_operation_gets_a_plan(kind):
    rng, found = random.Random(kind), 0
    for _ in range(200):
        machine = strategies.random_machine(rng, [kind])
        if any(w.operation.kind == kind for w in machine.wires.values()):
            found += compare(machine, rng, VARIANTS[-1:]) is True
        if found == 8:
            return
    assert found
