"""Boolean networks on words of bits: every wire is the reference's, in every form of the kernels."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from zahlen import Builder, Codes, Levels, Machine
from zahlen.kernels import native

if native is None:
    pytest.skip("built without compiled kernels", allow_module_level=True)

from zahlen.engine import Program
from zahlen.engine import gates as gates_
from zahlen.engine.forms import Form, Slot, Type
from zahlen.engine.gates import Netlist
from zahlen.engine.words import GATES_ROWS, Op
from zahlen.machine import Wire
from zahlen.machine.executors import get

BATCHES = (1, 7, 63, 64, 65, 511, 512, 513, 1500)
BIT = Levels(0, 1)


@pytest.fixture(params=native.variants())
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    assert native is not None
    native.choose(request.param)
    yield request.param
    native.choose(native.variants()[-1])


def networks(program: Program) -> list[Any]:
    return [i for i in program.instructions if i.op == Op.GATES]


def table(function: int) -> list[list[int]]:
    """By two bits: `function` >> (2 a + b) & 1."""
    return [[function >> 2 * a + b & 1 for b in range(2)] for a in range(2)]


def gate(b: Builder, one: Wire, two: Wire, function: int, **options: Any) -> Wire:
    """A gate; where an operand has one value only, what is left of it."""
    entries = table(function)
    kept = [range(w.alphabet.size) for w in (one, two)]
    return b.lookup(one, two, [[entries[i][j] for j in kept[1]] for i in kept[0]], alphabet=BIT, **options)


def due(machine: Machine, inputs: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    return get("reference")(machine, inputs, {}, wanted)


def check(machine: Machine, inputs: dict[str, Any], wanted: tuple[str, ...] | None = None) -> Program:
    """The outputs alone, then every wire."""
    everything = tuple(machine.wires)
    batch = len(next(iter(inputs.values())))
    expected = due(machine, inputs, everything)
    for names in (machine.outputs if wanted is None else wanted, everything):
        program = Program(machine, names, threads=1)
        found = {n: np.full((batch, *machine.wires[n].shape), -99, dtype=np.int64) for n in names}
        assert program.execute({n: inputs[n] for n in machine.inputs}, found, batch)
        for name in names:
            assert (found[name] == expected[name]).all(), (name, str(machine))
        if names is not everything:
            first = program
    return first


def drawn(machine: Machine, rng: np.random.Generator, batch: int) -> dict[str, Any]:
    found = {}
    for name in machine.inputs:
        a = machine.wires[name].alphabet
        found[name] = a.lo + a.step * rng.integers(0, a.size, (batch, *machine.wires[name].shape), dtype=np.int64)
    return found


def exhaustive(machine: Machine) -> dict[str, Any]:
    """All combinations of two-valued inputs."""
    sizes = [machine.wires[n].size for n in machine.inputs]
    bits = np.array(list(product((0, 1), repeat=sum(sizes))), dtype=np.int64)
    found = {}
    for name, part in zip(machine.inputs, np.split(bits, np.cumsum(sizes)[:-1], axis=1)):
        wire = machine.wires[name]
        values = wire.alphabet.lo + wire.alphabet.step * part
        found[name] = np.ascontiguousarray(values.reshape(-1, *wire.shape))
    return found


# ---------------------------------------------------------------------------------------------------- netlists


def single(seed: int, inputs: int, gates: int, outputs: int, recent: int = 10**9) -> Machine:
    """Gates of one element each, in one another's reach."""
    rng = random.Random(seed)
    b = Builder()
    x = b.input("x", (inputs,), BIT)
    wires = [b.slice(x, start=[k], stop=[k + 1]) for k in range(inputs)]
    for k in range(gates):
        one, two = (wires[-1 - rng.randrange(min(len(wires), recent))] for _ in range(2))
        wires.append(gate(b, one, two, rng.randrange(16), name=f"g{k}"))
    return b.build(b.concat(*(rng.choice(wires[-gates:]) for _ in range(outputs)), axis=0, name="y"))


@pytest.mark.parametrize("batch", BATCHES)
def test_all_batches(variant: str, batch: int) -> None:
    machine = single(3, 70, 300, 66)
    assert networks(check(machine, drawn(machine, np.random.default_rng(batch), batch)))


@pytest.mark.parametrize("seed", range(12))
def test_all_inputs(variant: str, seed: int) -> None:
    bits = 1 + seed
    machine = single(seed, bits, 40 + 20 * seed, 1 + 9 * seed, recent=(3, 10, 1000)[seed % 3])
    check(machine, exhaustive(machine))


@pytest.mark.parametrize("function", range(16))
def test_every_function(variant: str, function: int) -> None:
    """On all combinations of operands that are inputs, complements, constants and the same."""
    b = Builder()
    x, y = b.input("x", (4,), BIT), b.input("y", (4,), Levels(-3, 4, 7))
    zero, one = b.constant(np.zeros(4, dtype=int), name="zero"), b.constant([0, 1, 1, 0], alphabet=BIT, name="one")
    operands = [x, y, zero, one, b.lookup(x, [1, 0], name="not_x"), b.lookup(y, [9, 2], name="not_y")]
    wires = []
    for p, q in product(operands, repeat=2):
        full = table(function)
        entries = [row[: q.alphabet.size] for row in full[: p.alphabet.size]]
        wires.append(b.lookup(p, q, entries, alphabet=BIT))
    machine = b.build(*wires)
    check(machine, drawn(machine, np.random.default_rng(function), 300))


def random_shapes(seed: int, *, sections: bool = False) -> Machine:
    """Gates of many elements and alphabets, between reshapes, slices, transposes and concats."""
    rng = random.Random(seed)
    alphabets = [BIT, Levels(-1, 1, 2), Codes(2), Levels(200, 455, 255), Levels(-7, -6)]
    b = Builder()
    wires = [b.input(f"x{k}", (3, 4, 2), rng.choice(alphabets)) for k in range(3)]
    wires.append(b.constant(np.array(rng.choices((0, 1), k=24)).reshape(3, 4, 2), alphabet=BIT, name="c"))
    # levels of more values, which are compared first
    level = b.input("level", (3, 4, 2), Levels(0, 9))
    wires.append(b.staircase(level, [5], [0, 1], name="high"))
    for _ in range(60):
        one = rng.choice([w for w in wires if w.alphabet.size <= 2])
        same = [w for w in wires if w.shape == one.shape and w.alphabet.size <= 2]
        two = rng.choice(same)
        kind = rng.randrange(12)
        entries = [[rng.randrange(2) for _ in range(two.alphabet.size)] for _ in range(one.alphabet.size)]
        target = rng.choice([BIT, Codes(2)])
        if kind < 6:
            made = b.lookup(one, two, entries, alphabet=target)
        elif kind == 6:
            made = b.lookup(one, rng.choice([[-5, 3], [3, -5], [7, 7]])[: one.alphabet.size])
        elif kind == 7 and one.alphabet.numeric and two.alphabet.numeric:
            made = rng.choice([b.min, b.max])(one, two)
        elif kind == 8 and one.alphabet.numeric:
            made = b.neg(one) if rng.random() < 0.5 else b.staircase(one, [one.alphabet.hi], [rng.randrange(9), 3])
        elif kind == 9:
            shape = rng.choice([(3, 4, 2), (4, 6), (24,), (2, 12)])
            made = b.reshape(one, shape) if one.size == 24 else b.reshape(one, (one.size,))
        elif kind == 10:
            axes = list(range(len(one.shape)))
            rng.shuffle(axes)
            made = b.transpose(one, axes)
        else:
            axis = rng.randrange(len(one.shape))
            n = one.shape[axis]
            at = rng.randrange(n)
            lists = [[0] * len(one.shape), list(one.shape)]
            lists[0][axis], lists[1][axis] = 0, at
            front = b.slice(one, start=lists[0], stop=lists[1]) if at else None
            lists[0][axis], lists[1][axis] = at, n
            back = b.slice(one, start=lists[0], stop=lists[1])
            others = [w for w in same if w.alphabet == one.alphabet]
            made = back if front is None else b.concat(back, front, axis=axis)
            if len(others) > 1 and rng.random() < 0.3:
                made = b.concat(one, rng.choice(others), axis=axis) if one.size < 100 else made
        wires.append(made)
    outputs = [w for w in wires[6:] if rng.random() < 0.2] + [wires[-1]]
    # what follows is arithmetic again
    ends = [b.sum(w, list(range(len(w.shape)))) for w in wires[-8:] if w.alphabet.numeric]
    return b.build(*dict.fromkeys([w.name for w in outputs] + [w.name for w in ends]))


@pytest.mark.parametrize("seed", range(40))
def test_shapes_and_alphabets(seed: int) -> None:
    machine = random_shapes(seed)
    assert networks(Program(machine))
    check(machine, drawn(machine, np.random.default_rng(seed), (1, 100, 600)[seed % 3]))


@pytest.mark.parametrize("seed", range(3))
def test_shapes_and_alphabets_in_every_form(variant: str, seed: int) -> None:
    machine = random_shapes(100 + seed)
    check(machine, drawn(machine, np.random.default_rng(seed), 530))


def test_operations_that_are_gates() -> None:
    """Whatever maps two values to two, by ranges if need be."""
    b = Builder()
    x, y = b.input("x", (20,), BIT), b.input("y", (20,), Levels(-1, 1, 2))
    made = [
        b.mul(x, x), b.mul(y, y, name="one"), b.neg(x), b.neg(y),
        b.clamp(y, 0, 5), b.shift(y, 1), b.min(x, x), b.staircase(y, [0], [4, -4]),
        b.staircase(x, [[1]] * 20, [[2, 3], [3, 2]] * 10), b.add(b.clamp(x, 0, 0), x),
        b.sub(b.constant(np.full(20, 7)), x), b.max(b.neg(x), b.constant(np.full(20, -1))), b.shift(y, -3),
    ]  # fmt: skip
    machine = b.build(*made)
    assert {w.alphabet.size for w in made} == {2}
    program = check(machine, drawn(machine, np.random.default_rng(1), 70))
    kinds = {i.op for i in program.instructions}
    assert kinds == {Op.PORT_IN, Op.PORT_OUT, Op.GATES}


# ---------------------------------------------------------------------------------------------------- what is one


def test_small_networks_are_elementwise() -> None:
    for count in (gates_.FEWEST_GATES - 1, gates_.FEWEST_GATES):
        machine = single(1, 4, count, 4)
        used = machine.last_uses(machine.outputs)
        found = [n for n in machine.wires if n in used and n.startswith("g")]
        assert bool(networks(Program(machine))) == (len(found) >= gates_.FEWEST_GATES)
    b = Builder()
    x = b.input("x", (100,), BIT)
    assert not networks(Program(b.build(b.neg(b.neg(x)))))


def test_one_network_for_gates_between_other_wires() -> None:
    """Other work between does not part a network."""
    b = Builder()
    x, z = b.input("x", (8,), BIT), b.input("z", (5,), Levels(0, 9))
    for k in range(10):
        x = b.lookup(x, b.lookup(x, [1, 0]), table(k + 3), alphabet=BIT)
        z = b.clamp(b.add(z, z), 0, 9)
    machine = b.build(x, z)
    assert len(networks(check(machine, drawn(machine, np.random.default_rng(1), 65)))) == 1


def test_a_network_behind_and_before_products(variant: str) -> None:
    rng = np.random.default_rng(5)
    b = Builder()
    x = b.input("x", (30,), Levels(0, 20))
    signs = b.staircase(b.affine(x, rng.integers(-9, 10, (64, 30))), [0], [-1, 1])
    for _ in range(3):
        signs = b.mul(signs, b.lookup(signs, b.reshape(b.transpose(b.reshape(signs, (8, 8)), (1, 0)), (64,)),
                                      [[1, -1], [-1, 1]]))  # fmt: skip
        signs = b.lookup(b.neg(signs), [-1, 1])
    machine = b.build(b.affine(signs, rng.integers(-9, 10, (10, 64)), name="score"))
    check(machine, drawn(machine, rng, 513))


def test_two_valued_sums_of_wider_slots() -> None:
    """Operands that are kept in other forms than bytes."""
    b = Builder()
    x = b.input("x", (24,), BIT)
    weight = np.zeros((24, 24), dtype=int)
    weight[np.arange(24), np.arange(24)[::-1]] = 1
    z = b.affine(x, weight, name="turned")
    assert z.alphabet.size == 2
    y = z
    for k in range(4):
        y = gate(b, y, z, 6 + k)
    machine = b.build(y, z)
    check(machine, drawn(machine, np.random.default_rng(1), 100))


def test_bits_of_slots_that_hold_more_values() -> None:
    """Two values of a wire that has four, since elsewhere in it are others."""
    b = Builder()
    x = b.input("x", (20,), BIT)
    y = b.input("y", (20,), Levels(2, 3))
    both = b.concat(x, y, axis=0, name="both")
    weight = np.zeros((40, 40), dtype=int)
    weight[np.arange(40), np.arange(40)[::-1]] = 1
    turned = b.reshape(b.affine(both, weight), (40,))
    high = b.slice(both, start=[20], stop=[40], name="high")
    first = b.slice(turned, start=[0], stop=[20], name="first")
    assert high.alphabet == first.alphabet == Levels(2, 3)
    machine = b.build(*(gate(b, w, x, k) for w in (high, first) for k in (6, 7, 8, 4)), both)
    assert networks(check(machine, drawn(machine, np.random.default_rng(1), 100)))


def test_tiles_of_several_blocks(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zahlen.engine.words.GATES_ROWS", 1400)
    machine = single(6, 70, 300, 66)
    program = check(machine, drawn(machine, np.random.default_rng(1), 1500))
    assert program.sizes["rows"] == 1400


def test_equal_gates_are_one_and_dead_ones_none() -> None:
    net = Netlist()
    a, b, c = (net.input(("x", k, 0)) for k in range(3))
    both = net.gate(0b1000, a, b)
    assert net.gate(0b1000, b, a) == both
    assert net.gate(0b0111, a, b) == both ^ 1
    assert net.gate(0b1000, a ^ 1, b ^ 1) == net.gate(0b0001, a, b)
    net.gate(0b0110, both, c)
    gates, words, count = net.scheduled([both])
    assert len(gates) == 1
    assert count == 2  # the result takes an operand's word
    assert len(words) == 3


def test_words_are_taken_again() -> None:
    net = Netlist()
    bit = first = net.input(("x", 0, 0))
    for k in range(1, 100):
        bit = net.gate(0b0110, bit, net.input(("x", k, 0)))
    gates, _, count = net.scheduled([bit])
    assert len(gates) == 99
    assert count == 100
    assert len(net.scheduled([bit, first])[0]) == 99


# ---------------------------------------------------------------------------------------------------- registers


def lfsr(width: int = 16, taps: tuple[int, ...] = (15, 13, 12, 10)) -> Machine:
    """A shift register that a bit of input disturbs."""
    b = Builder()
    x = b.input("x", (1,), BIT)
    state = b.register("state", (width,), BIT, initial=[1] + [0] * (width - 1))
    bit = x
    for k in taps:
        bit = b.lookup(bit, b.slice(state, start=[k], stop=[k + 1]), table(6), alphabet=BIT)
    masked = b.lookup(state, b.constant([1] * (width - 1) + [0], alphabet=BIT), table(8), alphabet=BIT)
    b.connect(state, b.concat(bit, b.slice(masked, start=[0], stop=[width - 1]), axis=0, name="following"))
    return b.build(b.lookup(state, [1, 0], name="y"))


def counter(width: int = 8) -> Machine:
    """Bits that count, each a register of its own; the input says by which steps, as bits and as levels."""
    b = Builder()
    x = b.input("x", (2,), BIT)
    carry = b.lookup(b.slice(x, start=[0], stop=[1]), b.slice(x, start=[1], stop=[2]), table(14), alphabet=BIT)
    bits = [b.register(f"bit{k}", (1,), (BIT, Levels(-1, 1))[k % 2], initial=k % 2) for k in range(width)]
    made = []
    for k, bit in enumerate(bits):
        one = bit if k % 2 == 0 else b.staircase(bit, [1], [0, 1], name=f"set{k}")
        made.append(gate(b, one, carry, 6, name=f"next{k}"))
        carry = gate(b, one, carry, 8, name=f"carry{k}")
        b.connect(bit, made[-1])
    later = b.concat(*made, axis=0)
    for _ in range(3):
        later = b.lookup(later, b.lookup(later, [1, 0]), table(11), alphabet=BIT)
    return b.build(b.concat(*made, carry, axis=0, name="count"), later)


def several_sections() -> Machine:
    """Networks before all steps, in each, and behind them, that read one another."""
    b = Builder()
    x = b.input("x", (8,), BIT)
    state = b.register("state", (8,), BIT)
    first = b.lookup(state, [1, 0], name="first")  # what a later section has is begun before an earlier one's
    before, each = x, first
    wires = []
    for k in range(6):
        before = gate(b, before, x, (6, 7, 11)[k % 3], name=f"before{k}")
        each = gate(b, each, before, (6, 14, 9)[k % 3], name=f"each{k}")
        wires.append(b.reshape(b.slice(before, start=[k], stop=[k + 1]), (1,)))
    after = each
    for k in range(6):
        after = gate(b, after, before if k % 2 else each, (6, 2, 9)[k % 3], name=f"after{k}")
    b.connect(state, each)
    return b.build(b.concat(after, *wires, axis=0, name="y"))


@pytest.mark.parametrize("machine", [lfsr(), lfsr(70, (69, 5, 3, 2)), counter(), several_sections()])
@pytest.mark.parametrize(("batch", "steps"), [(1, 20), (7, 300), (513, 3), (1100, 2)])
def test_sequential_circuits(variant: str, machine: Machine, batch: int, steps: int) -> None:
    rng = np.random.default_rng(batch)
    shape = machine.wires["x"].shape
    x = rng.integers(0, 2, (batch, steps, *shape))
    assert networks(Program(machine))
    found, expected = (machine.run(x, return_state=True, executor=name) for name in ("engine", "reference"))
    for one, two in zip(found, expected):
        one, two = (v if isinstance(v, dict) else {"y": v} for v in (one, two))
        assert one.keys() == two.keys()
        for name in one:
            assert (one[name] == two[name]).all(), name
    state = expected[0]
    step = x[:, 0]
    wires = machine.trace(step, state, executor="reference")
    for name, value in machine.trace(step, state, executor="engine").items():
        assert (value == wires[name]).all(), name


def test_a_counter_counts() -> None:
    machine = counter()
    x = np.ones((1, 700, 2), dtype=np.int64)
    count, _ = machine.run(x).values()
    values = (count[0, :, :8] << np.arange(8)).sum(axis=1)
    first = sum(1 << k for k in range(1, 8, 2))
    assert (values == (first + 1 + np.arange(700)) % 256).all()


def test_streams_of_many_samples(variant: str) -> None:
    machine = lfsr()
    program = Program(machine)
    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (600, 5, 1), dtype=np.uint8)
    expected = machine.run(x, executor="reference")
    program.reset(600)
    out = program.empty(600)
    for t in range(5):
        program.step_into(np.ascontiguousarray(x[:, t]), out)
        assert (out == expected[:, t]).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads(threads: int) -> None:
    machine = single(8, 40, 200, 30)
    program = Program(machine, threads=threads)
    assert program.sizes["rows"] == GATES_ROWS
    x = np.random.default_rng(1).integers(0, 2, (2000, 40), dtype=np.uint8)
    out = program.empty(2000)
    program.run_into(x, out)
    assert (out == machine.run(x, executor="reference")).all()


# ---------------------------------------------------------------------------------------------------- the reader


def packed(machine: Machine) -> tuple[np.ndarray[Any, Any], bytes]:
    from zahlen.engine.plan import Planner

    planner = Planner(machine, machine.outputs, True)
    planner.run()
    words, data, _ = planner.encode()
    return words, data


def test_what_leaves_its_memory_is_refused() -> None:
    """Whatever number of a network is changed: what is still read runs within bounds, and indices outside are not."""
    assert native is not None
    words, data = packed(single(1, 20, 60, 10))
    native.program(words, data)
    at = int(np.flatnonzero(words == Op.GATES)[-1])
    refused = 0
    for k in range(at, len(words)):
        for value in (-(2**40), -2, 2**20 + 1, 2**40):
            changed = words.copy()
            changed[k] = value
            try:
                native.program(changed, data)
            except ValueError:
                refused += 1
    assert refused > 3.5 * (len(words) - at - 20)
    # the tables: words of gates, of inputs and of outputs
    count, _, _, gates, table_at = (int(v) for v in words[at + 1 : at + 6])
    for offset in range(gates * 4):
        for value in (-1, count if offset % 4 < 3 else 4):
            changed_data = bytearray(data)
            changed_data[table_at + 4 * offset : table_at + 4 * offset + 4] = value.to_bytes(4, "little", signed=True)
            with pytest.raises(ValueError, match="network"):
                native.program(words, bytes(changed_data))


def test_slots_are_whole_runs() -> None:
    """The kernel writes 64 bytes of a row at once: a slot has room for them."""
    for elements in (1, 63, 64, 65, 700):
        slot = Slot(Form(Type.U8, 0), elements)
        assert slot.stride == -(-elements // gates_.CHUNK) * gates_.CHUNK
