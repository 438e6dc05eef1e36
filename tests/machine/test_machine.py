import random

import numpy as np
import pytest
from definition import sample
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import batches, machines, random_batch, random_machine, random_sequences

from zahlen.machine import Builder, Codes, InputError, Levels, MachineError
from zahlen.machine import machine as module
from zahlen.machine import operations as op


def equal(a, b):
    return np.shape(a) == np.shape(b) and bool(np.all(sample(a) == sample(b)))


def outputs(machine, result):
    """A result of `run` as a mapping."""
    return result if len(machine.outputs) > 1 else {machine.outputs[0]: result}


# ---------------------------------------------------------------------------------------------------- running


@given(st.data(), machines(registers=False, wide=True))
def test_run_and_step_and_trace_agree(data, machine):
    inputs, _ = data.draw(batches(machine))
    values = machine.trace(inputs)
    result = outputs(machine, machine.run(inputs))
    state, stepped = machine.step({}, inputs)
    assert state == {}
    assert list(result) == list(machine.outputs)
    for name in machine.outputs:
        assert equal(result[name], values[name])
        assert equal(outputs(machine, stepped)[name], values[name])
        assert result[name].dtype == machine.wires[name].value_dtype


@given(machines(kinds=["register", "add", "affine", "lookup", "max", "clamp", "staircase"]), st.randoms())
def test_running_a_sequence_is_stepping_through_it(machine, rng):
    assume(machine.registers)
    sequences = random_sequences(machine, rng, size=3, time=6)
    result = outputs(machine, machine.run(sequences))
    state = machine.initial_state(3)
    for t in range(6):
        inputs = {name: values[:, t] for name, values in sequences.items()}
        traced = machine.trace(inputs, state)
        following, stepped = machine.step(state, inputs)
        for name in machine.outputs:
            assert equal(result[name][:, t], traced[name])
            assert equal(outputs(machine, stepped)[name], traced[name])
        for name in machine.registers:
            assert equal(traced[name], state[name])
            assert equal(following[name], traced[machine.successors[name]])
        state = following


@given(machines(kinds=["register", "add", "affine", "lookup", "max", "clamp", "staircase"]), st.randoms())
def test_a_run_goes_on_from_where_another_ended(machine, rng):
    assume(machine.registers)
    sequences = random_sequences(machine, rng, size=3, time=5)
    start = random_batch(machine, rng, 3)[1]
    assert equal_states(machine.run(sequences, state=start, return_state=True)[0], stepped(machine, start, sequences))
    parts = [{n: v[:, part] for n, v in sequences.items()} for part in (slice(0, 2), slice(2, 5))]
    for begin in (None, start):
        end, whole = machine.run(sequences, state=begin, return_state=True)
        middle, first = machine.run(parts[0], state=begin, return_state=True)
        last, second = machine.run(parts[1], state=middle, return_state=True)
        assert equal_states(last, end)
        for name in machine.outputs:
            joined = np.concatenate([outputs(machine, first)[name], outputs(machine, second)[name]], axis=1)
            assert equal(joined, outputs(machine, whole)[name])
        assert equal_states(outputs(machine, machine.run(sequences, state=begin)), outputs(machine, whole))


def equal_states(a, b):
    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)


def stepped(machine, state, sequences):
    for t in range(next(iter(sequences.values())).shape[1]):
        state, _ = machine.step(state, {name: values[:, t] for name, values in sequences.items()})
    return state


@given(st.data(), machines())
def test_the_samples_of_a_batch_do_not_meet(data, machine):
    inputs, state = data.draw(batches(machine))
    together = machine.trace(inputs, state)
    for k in range(6):
        alone = machine.trace(*({n: v[k : k + 1] for n, v in part.items()} for part in (inputs, state)))
        assert all(equal(alone[name][0], together[name][k]) for name in machine.wires)


def test_a_large_batch_is_run_in_chunks(monkeypatch):
    machine = random_machine(random.Random(3), ["affine", "staircase"], registers=False)
    inputs, _ = random_batch(machine, random.Random(0), 50)
    whole = machine.run(inputs)
    sizes = []
    evaluate = module.executors.get("reference")
    monkeypatch.setattr(
        module.executors, "_EXECUTORS", {"seen": lambda m, x, *a: [sizes.append(len(x["x0"])), evaluate(m, x, *a)][1]}
    )
    monkeypatch.setattr(module, "CHUNK_BYTES", 8 * 7 * sum(w.size for w in machine.wires.values()))
    assert equal(outputs(machine, machine.run(inputs))[machine.outputs[0]], outputs(machine, whole)[machine.outputs[0]])
    assert sizes == [7] * 7 + [1]


@given(machines())
def test_every_wire_is_the_same_however_the_input_is_typed(machine):
    inputs, state = random_batch(machine, random.Random(1))
    expected = machine.trace(inputs, state)
    as_objects = {n: v.astype(object) for n, v in inputs.items()}
    as_lists = {n: v.tolist() for n, v in inputs.items()}
    for other in (as_objects, as_lists):
        values = machine.trace(other, state)
        assert all(equal(values[n], expected[n]) and values[n].dtype == expected[n].dtype for n in machine.wires)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.uint64, object])
def test_any_integer_type_will_do(dtype):
    b = Builder()
    machine = b.build(b.affine(b.input("x", (2,), Levels(0, 100)), [[300, -300]]))
    assert machine.run(np.array([[100, 0], [0, 100]], dtype=dtype)).tolist() == [[30000], [-30000]]


def test_a_value_of_64_bits_without_sign_does_not_wrap():
    b = Builder()
    machine = b.build(b.neg(b.input("x", (1,), Levels(0, 2**64))))
    assert machine.run(np.array([[2**64 - 1]], dtype=np.uint64)).tolist() == [[1 - 2**64]]
    assert machine.run([[2**64]]).tolist() == [[-(2**64)]]


def test_inputs_are_not_changed_and_not_kept():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 9))
    machine = b.build(x, b.reshape(x, (2, 1), name="same"))
    given_array = np.array([[1, 2]])
    result = machine.run(given_array)
    result["x"][0, 0] = 7
    assert given_array.tolist() == [[1, 2]]


# ---------------------------------------------------------------------------------------------------- registers


def counter():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    count = b.register("count", (1,), Levels(0, 2), 1)
    following = b.lookup(b.add(count, x), [0, 1, 2, 0], name="following")
    b.connect(count, following)
    return b.build(following, count)


def test_a_register_holds_the_value_of_the_step_before():
    result = counter().run([[[1], [1], [0], [1]]])
    assert result["following"].ravel().tolist() == [2, 0, 0, 1]
    assert result["count"].ravel().tolist() == [1, 2, 0, 0]


def test_every_sequence_starts_from_the_initial_state():
    machine = counter()
    assert machine.initial_state(2)["count"].tolist() == [[1], [1]]
    result = machine.run([[[1], [1]], [[0], [0]]])
    assert result["following"].reshape(2, 2).tolist() == [[2, 0], [1, 1]]
    assert machine.run([[[1], [1]]])["following"].ravel().tolist() == [2, 0]


def test_registers_exchange_their_values_at_once():
    b = Builder()
    b.input("x", (1,), Levels(0, 0))
    p, q = b.register("p", (1,), Levels(0, 9), 3), b.register("q", (1,), Levels(0, 9), 5)
    b.connect(p, q)
    b.connect(q, p)
    result = b.build(p, q).run(np.zeros((1, 3, 1), dtype=int))
    assert result["p"].ravel().tolist() == [3, 5, 3]
    assert result["q"].ravel().tolist() == [5, 3, 5]


def test_a_machine_without_inputs_runs_by_itself():
    b = Builder()
    n = b.register("n", (1,), Levels(0, 7), 1)
    b.connect(n, b.lookup(n, [(3 * k + 1) % 8 for k in range(8)]))
    machine = b.build(n)
    assert machine.inputs == ()
    state, seen = {"n": [[1], [5]]}, []
    for _ in range(4):
        state, output = machine.step(state, {})
        seen.append(output.ravel().tolist())
    assert seen == [[1, 5], [4, 0], [5, 1], [0, 4]]
    assert machine.trace({}, {"n": [[1], [5]]})["n"].tolist() == [[1], [5]]
    assert machine.trace({})["n"].tolist() == [[1]]
    assert machine.run({}).tolist() == [[[1]]]


def test_wide_registers_hold_python_integers():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 2**70))
    r = b.register("r", (1,), Levels(0, 2**70))
    b.connect(r, b.max(r, x))
    result = b.build(r).run([[[2**70], [3], [0]]])
    assert result.ravel().tolist() == [0, 2**70, 2**70]
    assert all(type(v) is int for v in result.flat)


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.0]], "x: integers are due, got float64; a machine never rounds its input"),
        (np.zeros((1, 1), dtype=np.float32), "x: integers are due, got float32"),
        ([[True]], "x: integers are due, got bool"),
        ([["1"]], "x: integers are due"),
        ([[1], [1, 2]], "x: integers are due, got rows of different lengths"),
        ([1], r"x: shape \(batch, time, \*\(1,\)\) is due, got \(1,\)"),
        ([[1]], r"shape \(batch, time, \*\(1,\)\) is due, got \(1, 1\)"),
        ([[[1, 1]]], "is due, got"),
        ([[[2]]], "x: values are 2..2, the alphabet is 0..1"),
        ([[[-1], [0]]], "x: values are -1..0, the alphabet is 0..1"),
        ([[[2**80]]], "x: values are"),
        ({"y": [[[1]]]}, "inputs x are due, as a mapping"),
        ({}, "inputs x are due"),
        (np.zeros((1, 0, 1), dtype=int), "a sequence has at least one step"),
        (None, "x: integers are due, got object"),
    ],
)
def test_what_is_no_batch_of_the_alphabet_is_refused(x, message):
    with pytest.raises(InputError, match=message):
        counter().run(x)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state of this machine is a mapping with count"),
        ({"count": [[0]], "more": [[0]]}, "a mapping with count"),
        ([[0]], "a mapping with count"),
        ({"count": [[3]]}, "count: values are 3..3, the alphabet is 0..2"),
        ({"count": [[0.0]]}, "count: integers are due, got float64"),
        ({"count": [0]}, r"count: shape \(batch, \*\(1,\)\) is due"),
        ({"count": [[0], [0]]}, "state and input differ in batch"),
    ],
)
def test_what_is_no_state_is_refused(state, message):
    uses = (
        lambda: counter().step(state, [[1]]),
        lambda: counter().trace([[1]], state),
        lambda: counter().run([[[1]]], state=state),
    )
    for use in uses:
        with pytest.raises(InputError, match=message) as refusal:
            use()
        if "differ" not in message:
            assert r"the state of another machine? Due: count (batch, *(1,)) of 0..2" in str(refusal.value)


def test_a_machine_without_registers_has_no_state_to_start_from():
    b = Builder()
    machine = b.build(b.neg(b.input("x", (1,), Levels(0, 1))))
    for more in ({"state": {}}, {"state": {"count": [[0]]}}, {"return_state": True}):
        with pytest.raises(InputError, match="has no registers"):
            machine.run([[1]], **more)
    with pytest.raises(InputError, match="got one with count: the state of another machine"):
        machine.step({"count": [[0]]}, [[1]])


def test_a_state_gives_the_batch_where_there_are_no_inputs():
    b = Builder()
    n = b.register("n", (1,), Levels(0, 7), 1)
    b.connect(n, b.lookup(n, [(3 * k + 1) % 8 for k in range(8)]))
    state, output = b.build(n).run({}, state={"n": [[1], [5]]}, return_state=True)
    assert output.tolist() == [[[1]], [[5]]]
    assert state["n"].tolist() == [[4], [0]]


def test_several_inputs_are_named_and_have_one_batch():
    b = Builder()
    x, y = b.input("x", (1,), Levels(0, 1)), b.input("y", (1,), Levels(-3, 3, 2))
    machine = b.build(b.add(x, y))
    assert machine.run({"y": [[3]], "x": [[1]]}).tolist() == [[4]]
    for wrong, message in (
        ([[1]], "inputs x, y are due"),
        ({"x": [[1]]}, "inputs x, y are due"),
        ({"x": [[1]], "y": [[1], [1]]}, "inputs differ in batch"),
        ({"x": [[1]], "y": [[0]]}, "y: values are 0..0, the alphabet is -3..3 step 2"),
    ):
        with pytest.raises(InputError, match=message):
            machine.run(wrong)


def test_codes_are_checked():
    b = Builder()
    machine = b.build(b.input("x", (1,), Codes(3)))
    assert machine.run([[2]]).tolist() == [[2]]
    with pytest.raises(InputError, match="the alphabet is 3 codes"):
        machine.run([[3]])


# ---------------------------------------------------------------------------------------------------- structure


@given(machines())
def test_consumers_and_last_uses_are_what_the_wires_say(machine):
    order = list(machine.wires)
    for name, readers in machine.consumers.items():
        assert set(readers) == {w.name for w in machine.wires.values() if name in w.operands}
    for wire in machine.wires.values():
        assert all(order.index(x) < order.index(wire.name) for x in wire.operands)
    last = machine.last_uses(machine.outputs)
    needed = set()
    for name in reversed(order):
        if name in machine.outputs or any(name in machine.wires[n].operands for n in needed):
            needed.add(name)
    assert set(last) == needed
    for name in needed:
        readers = [n for n in order if n in needed and name in machine.wires[n].operands]
        assert last[name] == (readers[-1] if readers else name)


@given(machines())
def test_names_of_inputs_registers_and_outputs(machine):
    kinds = {name: type(w.operation) for name, w in machine.wires.items()}
    assert machine.inputs == tuple(n for n, k in kinds.items() if k is op.Input)
    assert machine.registers == tuple(n for n, k in kinds.items() if k is op.Register)
    assert set(machine.successors) == set(machine.registers)
    assert machine.constants == sum(a.size for w in machine.wires.values() for a in w.operation.tensors().values())


def test_sizes():
    b = Builder()
    x = b.input("x", (2, 4, 4), Levels(0, 1))
    z = b.conv(x, np.ones((6, 1, 3, 3), dtype=int), groups=2, padding=1)
    r = b.register("r", (3,), Levels(-2, 2))
    b.connect(r, r)
    b.mul(r, r)
    machine = b.build(b.affine(b.reshape(z, (6, 16)), np.ones((5, 16), dtype=int)))
    assert machine.multiplies == 6 * 16 * 9 + 6 * 5 * 16 + 3
    assert machine.constants == 6 * 9 + 6 + 3 + 5 * 16 + 5
    assert machine.state_bits == 3 * 3
    assert machine.wires["x"].bits == 2
    assert machine.wires["conv_1"].size == 96


def test_machines_do_not_change():
    machine = counter()
    for mapping in (machine.wires, machine.successors, machine.notes):
        with pytest.raises(TypeError):
            mapping["x"] = None
    with pytest.raises(AttributeError):
        machine.outputs = ()
    state = machine.initial_state()
    state["count"][:] = 0
    assert machine.initial_state()["count"].tolist() == [[1]]


def test_a_builder_may_go_on_after_building():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    machine = b.build(x)
    b.neg(x)
    assert list(machine.wires) == ["x"]


def test_notes_are_no_part_of_the_function():
    machine = counter()
    noted = machine.annotated(seed=7).annotated(data="digits")
    assert noted.notes == {"seed": 7, "data": "digits"}
    assert noted.hash == machine.hash
    assert machine.notes == {}


def test_a_machine_in_short():
    assert repr(counter()) == "<Machine x -> following, count, 4 wires>"


def test_only_registers_have_an_initial_value():
    with pytest.raises(MachineError, match="x is no register"):
        module._initial(counter().wires["x"])
