import random
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import batches, machines, random_batch, random_sequences

from zahlen.machine import Builder, Codes, InputError, Levels, MachineError, ToolError, load
from zahlen.machine import operations as op
from zahlen.machine.rewriting.names import Names

RECURRENT = ["register", "register", "add", "affine", "lookup", "max", "clamp", "staircase", "concat", "slice", "embed"]
STATEFUL = machines(kinds=RECURRENT, max_wires=10).filter(lambda machine: machine.registers)


def outputs(machine, result):
    """A result of `run` as a list, in the order of the outputs."""
    return list(result.values()) if len(machine.outputs) > 1 else [result]


def assert_equal(a, b):
    assert np.shape(a) == np.shape(b)
    assert bool(np.all(np.asarray(a, dtype=object) == np.asarray(b, dtype=object)))


def mlp():
    """Three layers with something before the first, a skip connection, and a table behind."""
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input("x", (3,), Levels(0, 7))
    centred = b.sub(x, b.constant([3, 3, 4]), name="centred")
    h1 = b.staircase(b.affine(centred, rng.integers(-3, 4, (4, 3))), [-6, 0, 6], [-3, -1, 1, 3], name="h1")
    h2 = b.staircase(b.affine(h1, rng.integers(-3, 4, (4, 4))), [-4, 0, 4], [-3, -1, 1, 3], name="h2")
    logits = b.affine(b.concat(h2, h1, centred), rng.integers(-3, 4, (2, 11)), name="logits")
    return b.build(logits, b.argmax(logits, name="class"), h1, notes={"seed": 0})


def rnn():
    """A recurrent network of two layers; its readout reads the old and the new state."""
    rng = np.random.default_rng(1)
    b = Builder()
    x = b.input("x", (2,), Levels(-1, 1))
    old = [b.register("h", (3,), Levels.odd(4), 1), b.register("g", (2,), Levels.odd(4), -3)]
    h = b.staircase(
        b.affine(b.concat(x, old[0]), rng.integers(-2, 3, (3, 5))), [-2, 0, 2], [-3, -1, 1, 3], name="h_new"
    )
    g = b.staircase(
        b.affine(b.concat(h, old[1]), rng.integers(-2, 3, (2, 5))), [-3, 0, 3], [-3, -1, 1, 3], name="g_new"
    )
    b.connect(old[0], h)
    b.connect(old[1], g)
    return b.build(b.affine(b.concat(g, old[1]), rng.integers(-2, 3, (2, 4)), name="y"), "h")


# ---------------------------------------------------------------------------------------------------- pipelined


def assert_pipelined(machine, rng, time=3):
    """Every output, `latency` steps later, is the machine's; whatever came before, and at every start."""
    pipeline = machine.pipelined()
    latency = pipeline.notes["latency"]
    stream = random_sequences(machine, rng, size=3, time=time + latency)
    for state in (None, random_batch(pipeline, rng, 3)[1]):
        got = outputs(pipeline, pipeline.run(stream, state=state))
        for t in range(time):
            expected = outputs(machine, machine.run({n: v[:, t] for n, v in stream.items()}))
            for a, e in zip(got, expected):
                assert_equal(a[:, t + latency], e)
    return pipeline


@given(machines(registers=False, max_wires=12), st.randoms())
def test_a_pipeline_is_the_machine_later(machine, rng):
    assert_pipelined(machine, rng)


DEEP = ["affine", "affine", "conv", "staircase", "lookup", "embed", "clamp", "sub", "concat", "constant", "argmax"]


@given(machines(registers=False, kinds=DEEP, max_wires=14), st.randoms())
def test_a_deep_pipeline_is_the_machine_later(machine, rng):
    pipeline = assert_pipelined(machine, rng)
    assert pipeline.inputs == machine.inputs
    for old, new in zip(machine.outputs, pipeline.outputs):
        assert old in machine.inputs or old == new
    # between registers there is one layer at most
    layers = dict.fromkeys((*pipeline.inputs, *pipeline.registers), 0)
    for wire in pipeline.wires.values():
        one = isinstance(wire.operation, (op.Affine, op.Conv)) and bool(sources(pipeline, wire.name))
        layers[wire.name] = max((layers[name] for name in wire.operands), default=0) + one
    assert max(layers[name] for name in (*pipeline.outputs, *pipeline.successors.values())) <= 1


def sources(machine, name):
    wire = machine.wires[name]
    if isinstance(wire.operation, (op.Input, op.Register)):
        return {name}
    return set().union(*(sources(machine, operand) for operand in wire.operands))


def test_the_layers_of_a_perceptron():
    pipeline = mlp().pipelined()
    assert pipeline.notes == {"seed": 0, "latency": 3}
    assert pipeline.outputs == ("logits", "class", "h1")
    # what is read two layers on passes two registers, once for all readers
    assert set(pipeline.registers) == {"centred_1", "h1_1", "concat_1_1", "h1_2", "h1", "logits", "class"}
    assert pipeline.successors["h1"] == "h1_2"
    assert pipeline.successors["logits"] == "logits_now"
    assert pipeline.wires["class_now"].operands == ("logits_now",)
    x = np.array(list(product(range(8), repeat=3)))
    held = np.repeat(x[:, None], 4, axis=1)
    for got, expected in zip(outputs(pipeline, pipeline.run(held)), outputs(mlp(), mlp().run(x))):
        assert_equal(got[:, 3], expected)


def test_constants_are_not_delayed_and_make_no_layer():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 3))
    fixed = b.affine(b.affine(b.constant([1]), [[2]]), [[3]], name="fixed")
    y = b.add(b.affine(b.affine(x, [[1]], name="first"), [[1]]), fixed, name="y")
    pipeline = b.build(y, fixed).pipelined()
    assert pipeline.notes["latency"] == 2
    assert pipeline.registers == ("first_1", "y", "fixed_1", "fixed")
    assert_pipelined(b.build(y, fixed), random.Random(0))


def test_a_machine_without_layers_is_one():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 3))
    machine = b.build(b.neg(x, name="y"), x)
    pipeline = machine.pipelined()
    assert (pipeline.notes["latency"], pipeline.outputs) == (1, ("y", "x_1"))
    assert_pipelined(machine, random.Random(0))


@pytest.mark.parametrize("step", [1, 2])
def test_tables_hold_what_they_are_asked_behind_a_register(step):
    """A register has one alphabet for all elements, so behind it more is proven than there is a table for."""
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    h = b.affine(x, [[3 * step], [0]], [0, 7 * step], name="h")
    z = b.affine(h, [[1, 1]], [-7 * step], name="z")
    assert z.alphabet == Levels(0, 3 * step, step)
    rows = [b.embed(z, [[5, 6], [7, 8], [9, 0], [1, 2]], name="rows")] if step == 1 else []
    machine = b.build(b.lookup(z, [5, 6, 7, 8], name="table"), *rows, b.affine(z, [[1]]))
    assert "z_inside" in assert_pipelined(machine, random.Random(0)).wires


def test_tables_hold_what_they_are_asked_behind_a_constant():
    """An initial value is a constant, which has no grid."""
    b = Builder()
    x = b.input("x", (1,), Levels(0, 2, 2))
    r = b.register("r", (1,), Levels(0, 2, 2), 2)
    total = b.add(x, r, name="total")
    assert total.alphabet == Levels(0, 4, 2)
    b.connect(r, b.lookup(total, [0, 2, 0], name="following"))
    machine = b.build("following")
    lifted = machine.unrolled(2)
    assert "total_0_inside" in lifted.wires
    words = [[[0], [0]], [[0], [2]], [[2], [0]], [[2], [2]]]
    assert_equal(lifted.run(words), machine.run(words))


def test_a_pipeline_starts_where_the_machine_can_be():
    b = Builder()
    x = b.input("x", (1,), Levels(-1, 1))
    h = b.affine(x, [[4], [4], [4], [1]], [10, -10, 1, 2], name="h")
    pipeline = b.build(b.affine(h, [[1, 1, 1, 1]], name="y")).pipelined()
    assert h.range.lo.tolist() == [6, -14, -3, 1]
    assert pipeline.wires["h_1"].operation.initial.tolist() == [6, -6, 0, 1]


def test_what_cannot_be_pipelined_is_refused():
    with pytest.raises(MachineError, match=r"h, g hold state.*machine.unrolled\(T\).pipelined\(\)"):
        rnn().pipelined()
    b = Builder()
    x = b.input("x", (1,), Levels(2**70, 2**70 + 1))
    with pytest.raises(MachineError, match=r"x crosses layers, but holds.*shift or clamp"):
        b.build(b.affine(b.affine(b.shift(x, 30), [[1]]), [[1]]), x).pipelined()


def test_delays_are_named_anew_where_a_name_is_taken():
    b = Builder()
    x = b.input("h_1", (1,), Levels(0, 3))
    h = b.affine(x, [[1]], name="h")
    long = b.affine(h, [[1]], name="y" * 64)
    machine = b.build(b.add(long, b.affine(h, [[2]], name="y_now"), name="y"), long)
    pipeline = assert_pipelined(machine, random.Random(0))
    assert pipeline.registers == ("h_1_1", "y", "y" * 64)
    assert {"y" * 60 + "_now", "y_now_1"} <= set(pipeline.wires)
    names = Names(["a", "a_0"])
    assert [names.fresh("a", "_0") for _ in range(3)] == ["a_0_1", "a_0_2", "a_0_3"]


# ---------------------------------------------------------------------------------------------------- unrolled


@settings(deadline=None)
@given(st.one_of(STATEFUL, machines(wide=True)), st.integers(1, 4), st.randoms())
def test_an_unrolled_machine_is_the_run(machine, steps, rng):
    assume(machine.inputs and all(len(machine.wires[name].shape) < 8 for name in machine.inputs))
    sequences = random_sequences(machine, rng, size=3, time=steps)
    state = random_batch(machine, rng, 3)[1]
    closed, opened = machine.unrolled(steps), machine.unrolled(steps, state=True)
    assert closed.registers == opened.registers == ()
    assert closed.inputs == machine.inputs
    assert closed.outputs == machine.outputs
    assert closed.notes == machine.notes
    got = outputs(closed, closed.run(sequences))
    if machine.registers:
        after, expected = machine.run(sequences, state=state, return_state=True)
        both = opened.run({**sequences, **{f"{name}_before": value for name, value in state.items()}})
        both = outputs(opened, both)
        for a, e in zip(both, [*outputs(machine, expected), *(after[name] for name in machine.registers)], strict=True):
            assert_equal(a, e)
        assert opened.outputs == (*machine.outputs, *(f"{name}_after" for name in machine.registers))
        expected = outputs(machine, machine.run(sequences))
    else:
        one_by_one = [outputs(machine, machine.run({n: v[:, t] for n, v in sequences.items()})) for t in range(steps)]
        expected = [np.stack(values, axis=1) for values in zip(*one_by_one)]
        assert opened.hash == closed.hash
    for a, e in zip(got, expected, strict=True):
        assert_equal(a, e)


def test_a_recurrent_network_on_every_sequence(tmp_path):
    machine = rnn()
    lifted = machine.unrolled(3)
    lifted.save(tmp_path / "lifted.zahlen")
    words = np.array(list(product(product((-1, 0, 1), repeat=2), repeat=3)))
    expected = machine.run(words)
    for one in (lifted, lifted.simplified(), load(tmp_path / "lifted.zahlen")):
        result = one.run(words)
        for name in machine.outputs:
            assert_equal(result[name], expected[name])


def test_unrolled_then_pipelined():
    machine = rnn()
    pipeline = machine.unrolled(3).pipelined()
    assert pipeline.notes["latency"] == 3 + 2
    words = np.array(list(product(product((-1, 1), repeat=2), repeat=3)))
    expected = machine.run(words)
    result = pipeline.run(np.repeat(words[:, None], 6, axis=1))
    for name in machine.outputs:
        assert_equal(result[name][:, 5], expected[name])


def test_a_machine_without_inputs_unrolls_with_its_state_open():
    b = Builder()
    n = b.register("n", (1,), Levels(0, 7), 1)
    b.connect(n, b.lookup(n, [(3 * k + 1) % 8 for k in range(8)]))
    machine = b.build(n)
    assert machine.unrolled(3, state=True).run([[1], [5]])["n"].tolist() == [[[1], [4], [5]], [[5], [0], [1]]]
    with pytest.raises(MachineError, match="state=True"):
        machine.unrolled(3)


def test_registers_of_codes_unroll():
    b = Builder()
    x = b.input("x", (1,), Codes(3, "Z3"))
    r = b.register("r", (1,), Codes(3, "Z3"), 2)
    b.connect(r, b.lookup(r, x, table=np.add.outer(range(3), range(3)) % 3, alphabet=Codes(3, "Z3"), name="sum"))
    assert b.build("sum").unrolled(2).run([[[1], [1]]]).ravel().tolist() == [0, 1]


@pytest.mark.parametrize("steps", [0, -1, True, 2.0, "3", None])
def test_steps_are_a_positive_integer(steps):
    with pytest.raises(MachineError, match="over 1 step or more"):
        rnn().unrolled(steps)


def test_too_many_steps_are_refused():
    b = Builder()
    x = b.input("x", (2**13,), Levels(0, 1))
    with pytest.raises(MachineError, match=r"unrolled over 10,000 steps: .*exceed the limit.*unroll fewer steps"):
        b.build(x).unrolled(10_000)


# ---------------------------------------------------------------------------------------------------- block maps


@given(st.one_of(STATEFUL, machines()), st.randoms())
def test_iterating_the_block_map_is_running_the_machine(machine, rng):
    blocks = machine.as_block_map()
    assert blocks.names[: len(machine.inputs) + len(machine.registers)] == (*machine.inputs, *machine.registers)
    state = random_batch(machine, rng, 3)[1]
    sequences = random_sequences(machine, rng, size=3, time=4)
    z = None
    for t in range(4):
        inputs = {name: values[:, t] for name, values in sequences.items()}
        z = blocks.start(inputs, state) if z is None else {**z, **inputs}
        following = blocks.step(z)
        state, result = machine.step(state, inputs)
        for name, value in state.items():
            assert_equal(following[name], value)
        for name, value in zip(machine.outputs, outputs(machine, result)):
            assert_equal((z if name in (*machine.inputs, *machine.registers) else following)[name], value)
        for name in machine.inputs:
            assert_equal(following[name], z[name])
        z = following


@given(st.data(), st.one_of(STATEFUL, machines()))
def test_a_missing_block_is_read_by_nothing(data, machine):
    """Another value of z_j changes no z_i without a block."""
    blocks = machine.as_block_map()
    inputs, state = data.draw(batches(machine))
    others = dict(zip(("inputs", "state"), data.draw(batches(machine))))
    z = blocks.start(inputs, state)
    expected = blocks.step(z)
    for j, name in enumerate(blocks.names):
        new = {**others["inputs"], **others["state"]}.get(name)
        changed = blocks.step({**z, name: z[name] if new is None else new})
        for i, other in enumerate(blocks.names):
            if not blocks.blocks[i, j]:
                assert_equal(changed[other], expected[other])


def test_the_blocks_of_a_recurrent_network():
    blocks = rnn().as_block_map()
    assert blocks.names == ("x", "h", "g", "y")
    assert blocks.sizes == (2, 3, 2, 2)
    assert blocks.blocks.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, False],
    ]
    assert not blocks.is_feedforward
    assert str(blocks) == (
        "4 variables, recurrent\n"
        "        1 2 3 4\n"
        "  1  x  = . . .  2\n"
        "  2  h  # # . .  3\n"
        "  3  g  # # # .  2\n"
        "  4  y  # # # .  2"
    )


def test_a_pipelined_perceptron_is_feedforward_and_reads_off_its_output():
    machine = mlp()
    blocks = machine.pipelined().as_block_map()
    assert blocks.is_feedforward
    assert machine.as_block_map().is_feedforward
    assert machine.as_block_map().names == ("x", "logits", "class", "h1")
    z = blocks.start([[1, 2, 3], [7, 0, 5]])
    for _ in range(3):
        z = blocks.step(z)
    for name, value in machine.run([[1, 2, 3], [7, 0, 5]]).items():
        assert_equal(z[name], value)


def ring(closed):
    """Registers in an order that is not that of their blocks; the last may feed the first."""
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    p, q, r = (b.register(name, (1,), Levels(0, 1)) for name in "pqr")
    b.connect(p, q)
    b.connect(q, r)
    b.connect(r, b.max(x, p) if closed else x)
    return b.build(p)


def test_feedforward_in_some_order():
    assert ring(False).as_block_map().is_feedforward
    assert not ring(True).as_block_map().is_feedforward


def test_a_constant_row_has_no_blocks():
    b = Builder()
    b.input("x", (2,), Levels(0, 1))
    machine = b.build(b.constant([7], name="y"))
    blocks = machine.as_block_map()
    assert blocks.blocks.tolist() == [[True, False], [False, False]]
    assert blocks.step(blocks.start([[0, 1]] * 3))["y"].tolist() == [[7]] * 3


def test_what_are_not_the_variables_is_refused():
    blocks = rnn().as_block_map()
    z = blocks.start([[0, 0]])
    for wrong in ({}, {**z, "more": z["x"]}, None, [z["x"]]):
        with pytest.raises(InputError, match="a mapping with x, h, g, y"):
            blocks.step(wrong)
    with pytest.raises(InputError, match="x: values are"):
        blocks.step({**z, "x": [[9, 9]]})


def test_a_drawing(tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    blocks = rnn().as_block_map()
    for name in ("blocks.png", "blocks.svg", "blocks"):
        blocks.draw(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert b"<svg" in (tmp_path / "blocks.svg").read_bytes()
    axes = figure.Figure().subplots()
    blocks.draw(axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x (2)", "h (3)", "g (2)", "y (2)"]
    shades = axes.collections[0].get_array().reshape(4, 4)
    assert ((shades > 0) == blocks.blocks).all()
    assert shades[0, 0] < shades[1, 1]


def test_a_drawing_needs_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.axes", None)
    with pytest.raises(ToolError, match=r"zahlen\[plots\]"):
        rnn().as_block_map().draw(tmp_path / "blocks.png")
