"""The emitted C computes every wire as the reference does: each operation, random machines, both forms of products."""

from __future__ import annotations

import random

import pytest
from compilers import SANITIZED, STRICT, compare, compare_sequences, need
from handmade import MACHINES, mlp, recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import STEPS, machines, random_batch, random_machine, random_sequences

from zahlen.emit import harness
from zahlen.machine import Machine

FORMS = ("native", "none")
EACH = 4

Programs = dict[str, tuple[Machine, harness.Compiled]]


def programs(found: dict[str, Machine], **options: object) -> Programs:
    compiled = harness.several(found, **options)  # type: ignore[arg-type]
    return {name: (machine, compiled[name]) for name, machine in found.items()}


def check(machine: Machine, program: harness.Compiled, seed: int = 0) -> None:
    x, state = random_batch(machine, random.Random(seed), 8)
    if machine.inputs or state:
        compare(program, machine, x, state)
    if machine.registers:
        compare_sequences(program, machine, random_sequences(machine, random.Random(seed), 2, 7))


# ---------------------------------------------------------------------------------------------------- each operation


def of_kind(kind: str) -> list[Machine]:
    """Machines in which this operation occurs."""
    found: list[Machine] = []
    for seed in range(200):
        rng = random.Random(f"{kind} {seed}")
        machine = random_machine(rng, [*rng.choices(("input", "clamp", "affine", "staircase"), k=2), kind, kind])
        if any(wire.operation.kind == kind for wire in machine.wires.values()):
            found.append(machine)
        if len(found) == EACH:
            return found
    raise AssertionError(f"no machine with {kind}")


@pytest.fixture(scope="module", params=FORMS)
def every_kind(request: pytest.FixtureRequest) -> Programs:
    need("gcc")
    found = {f"{kind}{k}": machine for kind in STEPS for k, machine in enumerate(of_kind(kind))}
    return programs(found, cc="gcc", flags=SANITIZED, multiply=request.param)


@pytest.mark.parametrize("kind", STEPS)
def test_each_operation(every_kind: Programs, kind: str) -> None:
    for k in range(EACH):
        check(*every_kind[f"{kind}{k}"], seed=k)


# ---------------------------------------------------------------------------------------------------- whole machines


@pytest.fixture(scope="module", params=FORMS)
def all_handmade(request: pytest.FixtureRequest) -> Programs:
    need("gcc")
    found = {name: make() for name, make in MACHINES.items()}
    return programs(found, cc="gcc", flags=SANITIZED, multiply=request.param)


@pytest.mark.parametrize("name", MACHINES)
def test_handmade(all_handmade: Programs, name: str) -> None:
    check(*all_handmade[name])


@settings(max_examples=5)
@given(found=st.lists(machines(), min_size=10, max_size=10), form=st.sampled_from(FORMS), seed=st.integers(0, 99))
def test_random_machines(found: list[Machine], form: str, seed: int) -> None:
    need("gcc")
    named = {f"m{k}": machine for k, machine in enumerate(found)}
    for machine, program in programs(named, cc="gcc", flags=SANITIZED, multiply=form).values():
        check(machine, program, seed)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_optimised(cc: str, form: str) -> None:
    need(cc)
    found = {f"m{k}": random_machine(random.Random(f"optimised {k}")) for k in range(12)}
    found |= {"image": MACHINES["image"](), "edges": MACHINES["edges_of_int64"](), "gated": recurrent()}
    for machine, program in programs(found, cc=cc, flags=(*STRICT, "-O3"), multiply=form).values():
        check(machine, program)


@pytest.mark.parametrize("form", FORMS)
def test_state_over_hundreds_of_steps(form: str) -> None:
    need("gcc")
    machine = recurrent()
    program = harness.compiled(machine, cc="gcc", flags=SANITIZED, multiply=form)
    compare_sequences(program, machine, random_sequences(machine, random.Random(1), 2, 400))


@pytest.mark.parametrize("form", FORMS)
def test_big_endian(form: str) -> None:
    need("s390x-linux-gnu-gcc", "qemu-s390x")
    found = {f"m{k}": random_machine(random.Random(f"big {k}")) for k in range(10)}
    found |= {name: MACHINES[name]() for name in ("dense", "gated", "image", "edges_of_int32", "swapped", "products")}
    flags = (*STRICT, "-O1", "-static")
    options = {"cc": "s390x-linux-gnu-gcc", "flags": flags, "runner": ["qemu-s390x"], "multiply": form}
    for machine, program in programs(found, **options).values():
        check(machine, program)


def test_thousands_of_images_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    monkeypatch.setattr(harness, "CHUNK_BYTES", 1 << 17)
    machine = mlp((196, 32, 32, 10))
    program = harness.compiled(machine, cc="gcc")
    x, _ = random_batch(machine, random.Random(2), 1003)
    assert len(list(program.traces(x))) > 3
    compare(program, machine, x)
