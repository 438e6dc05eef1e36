"""Recurrent networks: every wire of every step against the reference machine, states, refusals, twins."""

import copy
import math
import pickle
import random

import numpy as np
import pytest
import torch

from zahlen import Levels, nn
from zahlen.machine import InputError, LayerError
from zahlen.nn.weights import integers

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
FLOAT_KINDS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
GRIDS = [255, 16, 3, 2]
kinds = pytest.mark.parametrize("kind", KINDS)


def shaken(model, seed=0, strength=2.0):
    """Weights that reach their grids' ends, so that gates shut and cells saturate."""
    r = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(strength).add_(0.3 * torch.randn(p.shape, generator=r))
    return model.eval()


def on_symbols(kind, layers=1, hidden=6, symbols=5, **options):
    layer = KINDS[kind](symbols, hidden, layers, symbols=True, **options)
    return shaken(nn.Sequential(nn.Input((), Levels(0, symbols - 1)), layer, nn.Linear(hidden, symbols)))


def on_features(kind, layers=1, hidden=6, unit=20, **options):
    start = nn.Input((3,), Levels(-50, 50), unit=unit)
    return shaken(nn.Sequential(start, KINDS[kind](3, hidden, layers, **options), nn.Linear(hidden, 2)))


def sequences(model, batch=4, time=12, seed=0):
    a, rng = model[0].alphabet, np.random.default_rng(seed)
    x = a.lo + a.step * rng.integers(0, a.size, (batch, time, *model[0].shape))
    x[0, :2], x[0, 2:4] = a.lo, a.hi
    return torch.from_numpy(x)


def assert_exact(model, x):
    """Every wire of every step that a trace gives, the outputs and the last state, are the reference machine's."""
    machine = model.machine()
    traced = {name: integers(value) for name, value in model.trace(x).items()}
    registers = [name for layer in model.modules() if hasattr(layer, "registers") for name in layer.registers()]
    assert list(machine.registers) == registers
    assert set(registers) <= set(traced)
    output, after = model.unroll(x)
    state = machine.initial_state(len(x))
    for t in range(x.shape[1]):
        wires = machine.trace(x[:, t].numpy(), state, executor="reference")
        for name, value in traced.items():
            assert value[:, t].shape == wires[name].shape, name
            assert (value[:, t] == wires[name]).all(), (name, t)
        assert (integers(output[:, t]) == wires[machine.outputs[0]]).all()
        state = {register: wires[successor] for register, successor in machine.successors.items()}
    assert list(after) == list(state)
    assert all((integers(after[name]) == state[name]).all() for name in state)
    return traced


# ---------------------------------------------------------------------------------------------------- every wire


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_a_thousand_steps_of_fifty_streams(kind, layers):
    model = shaken(on_symbols(kind, layers, hidden=12, levels=16), strength=3.0)
    x = sequences(model, 50, 1000)
    seen = assert_exact(model, x)
    assert len(np.unique(seen[f"{kind}_{layers}_h_next"])) == (15 if kind == "lstm" else 16)
    if kind != "rnn":
        top = model[1].cell.limit
        assert seen[f"{kind}_{layers}_c"].max() > 3 * top // 4


@kinds
@pytest.mark.parametrize("seed", range(12))
def test_random_layers(kind, seed):
    r = random.Random(f"{kind} {seed}")
    options = {
        "layers": r.choice([1, 2, 3]),
        "hidden": r.choice([1, 2, 7]),
        "levels": r.choice([2, 3, 4, 5, 16, 17, 64, 256, 257]),
        "gate_levels": r.choice([None, 2, 3, 16, 257]),
        "cell_bits": r.randint(3, 16),
        "weights": r.choice([*GRIDS, Levels(-6, 6, 3), Levels(1, 13, 4)]),
        "scale": r.choice([None, 1, 8, 100]),
    }
    for model in (on_symbols(kind, **options), on_features(kind, unit=r.choice([1, 20, 1000]), **options)):
        assert_exact(model, sequences(model, 5, 12, seed))


@kinds
@pytest.mark.parametrize("weights", GRIDS)
def test_weights_stay_on_their_grid(kind, weights):
    for model in (on_symbols(kind, weights=weights), on_features(kind, weights=weights)):
        assert_exact(model, sequences(model))
        values = integers(model[1].constants(0)["weight_hh"])
        assert len(np.unique(values)) > 1
        assert all(int(v) in model[1].grid for v in values.ravel())


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_inputs_on_a_large_unit_shift_the_states_share(kind, layers):
    model = on_features(kind, layers, unit=3000)
    assert model[1].recurrence.shift > 0
    assert_exact(model, sequences(model))


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_inputs_on_a_small_unit_shift_their_own_share(kind, layers):
    model = on_features(kind, layers, unit=1, levels=64)
    layer = model[1]
    assert layer.recurrence.input_shift > 0
    assert layer.recurrence.shift == 0
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1.5)  # the grid reaches that far
    weight = layer.constants(0)["weight_ih"].detach()
    worth = weight.flatten()[0] * (1 << layer.recurrence.input_shift) / layer.cell.unit
    assert abs(float(worth) - 1.5) < 0.1
    assert_exact(model, sequences(model))


@kinds
def test_inputs_far_beyond_every_gate_are_cut_off_without_a_trace(kind):
    start = nn.Input((2,), Levels(-(2**30), 2**30), unit=1)
    model = shaken(nn.Sequential(start, KINDS[kind](2, 5, levels=5)))
    assert_exact(model, sequences(model))


@kinds
def test_rows_of_symbols_and_biases_at_their_limits(kind):
    for levels, scale in ((2, 50_000), (16, 2000)):
        model = on_symbols(kind, levels=levels, scale=scale, weights=3)
        with torch.no_grad():
            for p in model[1].parameters():
                p.mul_(1000.0)
        assert_exact(model, sequences(model))


@kinds
def test_vectors_of_symbols_in_front(kind):
    embedding = nn.Embedding(6, 4, weights=15)
    model = shaken(nn.Sequential(nn.Input((), Levels(0, 5)), embedding, KINDS[kind](4, 5), nn.Linear(5, 6)))
    x = sequences(model)
    assert model(x).shape == (4, 12, 6)
    assert_exact(model, x)


@kinds
def test_one_symbol_may_come_with_an_axis(kind):
    layer = KINDS[kind](5, 4, symbols=True)
    flat, row = nn.Sequential(nn.Input((), Levels(0, 4)), layer), nn.Sequential(nn.Input((1,), Levels(0, 4)), layer)
    x = sequences(flat)
    expected = flat(x)
    assert (row(x[..., None]) == expected).all()
    assert_exact(row, x[..., None])


@kinds
def test_layers_before_and_after(kind):
    before = [nn.Linear(3, 5), nn.BatchNorm(), nn.TanhD(9)]
    after = [nn.Linear(4, 6), nn.BatchNorm(), nn.ReLUD(8), nn.Linear(6, 2)]
    model = nn.Sequential(nn.Input((3,), Levels(-50, 50), unit=20), *before, KINDS[kind](5, 4), *after)
    model.train()
    x = sequences(model)
    model(x).sum().backward()  # batch norms take note of all steps of all sequences
    assert model[2].running_mean.abs().sum() > 0
    assert_exact(shaken(model), x)


@kinds
def test_a_residual_around_a_recurrent_layer(kind):
    model = nn.Sequential(
        nn.Input((3,), Levels(-50, 50), unit=20), nn.Linear(3, 5), nn.TanhD(7), nn.Add(KINDS[kind](5, 5, levels=7)),
        nn.Linear(5, 2),
    )  # fmt: skip
    assert_exact(shaken(model), sequences(model))
    body = nn.Sequential(nn.Linear(5, 5), nn.TanhD(7), KINDS[kind](5, 5, 2, levels=7))
    model = nn.Sequential(
        nn.Input((3,), Levels(-50, 50), unit=20), nn.Linear(3, 5), nn.TanhD(7), nn.Add(body, nn.RNN(5, 5, levels=4))
    )
    assert_exact(shaken(model), sequences(model))


def test_kinds_one_behind_the_other_have_names_of_their_own():
    model = nn.Sequential(
        nn.Input((), Levels(0, 4)), nn.LSTM(5, 4, 2, symbols=True), nn.GRU(4, 3), nn.LSTM(3, 4), nn.RNN(4, 2)
    )
    x = sequences(model)
    assert list(model.unroll(x)[1]) == [
        "lstm_1_h", "lstm_1_c", "lstm_2_h", "lstm_2_c", "gru_1_c", "lstm_3_h", "lstm_3_c", "rnn_1_h"
    ]  # fmt: skip
    assert_exact(shaken(model), x)


@kinds
@pytest.mark.parametrize("options", [{}, {"levels": 4, "cell_bits": 4}, {"levels": 5, "gate_levels": 16, "layers": 2}])
def test_tables_in_place_of_products(kind, options):
    for make in (on_symbols, on_features):
        native = make(kind, **options)
        tables = make(kind, products="tables", **options)
        tables.load_state_dict(native.state_dict())
        x = sequences(native, 5, 40)
        a, b = native.machine(), tables.machine()
        assert (a.run(x.numpy()) == b.run(x.numpy())).all()
        assert_exact(tables, x)
        ours, theirs = native.trace(x), tables.trace(x)
        assert all((ours[name] == theirs[name]).all() for name in a.registers)
        operations = [{type(wire.operation).__name__ for wire in m.wires.values()} for m in (a, b)]
        assert "Mul" in operations[0] or kind == "rnn"
        assert "Mul" not in operations[1]


@kinds
@pytest.mark.parametrize("bias", [-1.5, 0.0, 1.5])
def test_tables_of_gates_that_reach_few_of_their_levels(kind, bias):
    model = on_features(kind, levels=8, cell_bits=6, products="tables")
    with torch.no_grad():
        for name, p in model[1].named_parameters():
            p.mul_(0.1) if "weight" in name else p.fill_(bias)
    machine = model.machine()
    reached = [wire.alphabet for wire in machine.wires.values() if type(wire.operation).__name__ == "Staircase"]
    assert any(a.size < 8 for a in reached)
    assert_exact(model, sequences(model, 5, 20))


def test_tables_that_are_too_large_are_refused():
    model = on_symbols("lstm", cell_bits=16, products="tables")
    with pytest.raises(LayerError, match=r"table of all products.*fewer cell_bits or levels, or products='native'"):
        model.machine()


# ---------------------------------------------------------------------------------------------------- states


@kinds
def test_thirty_steps_and_twenty_more_are_fifty(kind):
    model = on_features(kind, 2)
    x = sequences(model, 5, 50)
    whole, last = model.unroll(x)
    first, state = model.unroll(x[:, :30])
    second, end = model.unroll(x[:, 30:], state)
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert all(torch.equal(end[name], last[name]) for name in last)
    assert not torch.equal(model(x[:, 30:]), second)


@kinds
def test_gradients_pass_through_a_state_that_is_handed_over(kind):
    """Up to rounding: sums over time are split in two."""
    model = on_features(kind, 2)
    x, weight = sequences(model, 5, 20), torch.randn(5, 20, 2)
    (model(x) * weight).sum().backward()
    wanted = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    first, state = model.unroll(x[:, :12])
    second, _ = model.unroll(x[:, 12:], state)
    (torch.cat([first, second], 1) * weight).sum().backward()
    for p, want in zip(model.parameters(), wanted):
        assert (p.grad - want).abs().max() <= 2.0**-18 * want.abs().max()


@kinds
def test_states_go_from_the_network_to_the_machine_and_back(kind):
    model = on_symbols(kind, 2)
    machine, x = model.machine(), sequences(model, 5, 20)
    whole, last = model.unroll(x)
    _, state = model.unroll(x[:, :7])
    held = {name: integers(value) for name, value in state.items()}
    for t in range(7, 12):
        held, output = machine.step(held, x[:, t].numpy())
        assert (output == integers(whole[:, t])).all()
    for given in (held, {name: torch.from_numpy(value).long() for name, value in held.items()}):
        rest, end = model.unroll(x[:, 12:], given)
        assert torch.equal(rest, whole[:, 12:])
        assert all(torch.equal(end[name], last[name]) for name in last)
    after, outputs = machine.run(x[:, 12:].numpy(), state=held, return_state=True)
    assert (outputs == integers(whole[:, 12:])).all()
    assert all((after[name] == integers(last[name])).all() for name in last)


@kinds
def test_the_machines_initial_state_is_where_sequences_begin(kind):
    model = on_symbols(kind)
    x = sequences(model)
    start = {name: torch.from_numpy(value) for name, value in model.machine().initial_state(len(x)).items()}
    assert torch.equal(model.unroll(x, start)[0], model(x))


@kinds
def test_states_of_another_network_or_of_no_register_are_refused(kind):
    model = on_symbols(kind)
    x = sequences(model, 4, 5)
    _, state = model.unroll(x)
    name, value = next(iter(state.items()))
    top = model[1].registers()[name].hi
    wrong = [
        3, [], {}, {name: value, "other": value}, on_symbols("rnn" if kind != "rnn" else "gru").unroll(x)[1],
        on_symbols(kind, 2).unroll(x)[1], on_symbols(kind, hidden=7).unroll(x)[1],
    ]  # fmt: skip
    wrong += [
        {**state, name: other}
        for other in (
            value[:3], value[:, :-1], value[None], value[0], integers(value).tolist(), None, value + 0.5,
            torch.full_like(value, top + 1), torch.full_like(value, -top - 1), torch.full_like(value, math.nan),
            torch.full_like(value, math.inf), integers(value) + 0.5, np.full(value.shape, top + 1),
        )
    ]  # fmt: skip
    wrong += [{**state, "lstm_1_h": state["lstm_1_h"] * 0 + 1}] if kind == "lstm" else []  # levels are even
    for bad in wrong:
        with pytest.raises(InputError, match="state: "):
            model.unroll(x, bad)
    with pytest.raises(InputError, match="state: "):
        model.unroll(x[:3], state)
    expected = model(x)
    assert torch.equal(model.unroll(x)[0], expected)  # nothing of a refused state is left


# ---------------------------------------------------------------------------------------------------- inputs


@kinds
def test_what_is_no_batch_of_sequences_is_refused(kind):
    model = on_features(kind)
    x = sequences(model)
    for use in (model, model.unroll, lambda v: model.unroll(v, {})):
        for wrong in (x[:, :0], x[0, 0, 0], x[0, 0], x[0], x[..., :2], x[None], x.float(), x * 1000, x.numpy(), None):
            with pytest.raises(InputError):
                use(wrong)
    with pytest.raises(InputError, match="at least one step"):
        model(x[:, :0])
    with pytest.raises(InputError, match="integers are due"):
        model(x.double())


@kinds
def test_a_batch_of_none(kind):
    for model in (on_features(kind, 2), on_symbols(kind)):
        x = sequences(model)[:0]
        output, state = model.unroll(x)
        assert output.shape == model.machine().run(x.numpy()).shape
        assert all(value.shape == (0, 6) for value in state.values())
        assert model.unroll(x, state)[0].shape == output.shape
        assert model.twin()(x).shape == output.shape


@kinds
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_integers_of_any_type_strided_or_not(kind, dtype):
    model = on_symbols(kind)
    x = sequences(model)
    expected = model(x)
    assert torch.equal(model(x.to(dtype)), expected)
    assert torch.equal(model(x.t().contiguous().t()), expected)
    assert torch.equal(model(x.repeat_interleave(2, 1)[:, ::2]), expected)


@kinds
def test_a_layer_by_itself_is_refused_however_often(kind):
    with pytest.raises(LayerError, match=r"begins with nn\.Input"):
        KINDS[kind](3, 4)(torch.zeros(6, 3))
    model = on_features(kind)
    for _ in range(2):
        model(sequences(model))
        with pytest.raises(LayerError, match=r"begins with nn\.Input and is called with sequences"):
            model[1](torch.zeros(4, 3))


def test_a_network_without_a_state_does_not_unroll():
    model = nn.Sequential(nn.Input((3,), Levels(0, 4)), nn.Linear(3, 2))
    assert not model.recurrent
    with pytest.raises(LayerError, match="has no state; call it"):
        model.unroll(torch.zeros(2, 5, 3, dtype=torch.int64))


@kinds
def test_a_layer_at_two_places_is_refused(kind):
    layer = KINDS[kind](4, 4, levels=5)
    start = [nn.Input((3,), Levels(-9, 9)), nn.Linear(3, 4), nn.TanhD(5)]
    for layers in ([layer, layer], [nn.Add(layer, layer)], [layer, nn.Sequential(nn.Identity(), layer)]):
        with pytest.raises(LayerError, match="two places of one network, which would share one state; make a second"):
            nn.Sequential(*start, *layers)


@kinds
def test_inputs_that_do_not_fit_are_refused(kind):
    layer = KINDS[kind]
    for start, made in [
        (nn.Input((4,), Levels(-9, 9)), layer(3, 4)),
        (nn.Input((), Levels(-9, 9)), layer(1, 4)),
        (nn.Input((3, 2), Levels(-9, 9)), layer(6, 4)),
        (nn.Input((), Levels(0, 5)), layer(5, 4, symbols=True)),
        (nn.Input((), Levels(-1, 4)), layer(5, 4, symbols=True)),
        (nn.Input((2,), Levels(0, 4)), layer(5, 4, symbols=True)),
    ]:
        with pytest.raises(LayerError, match=r"^(LSTM|GRU|RNN)\(.*receives"):
            nn.Sequential(start, made)


@kinds
def test_settings_out_of_range_are_refused(kind):
    for options in (
        {"levels": 1}, {"levels": 258}, {"gate_levels": 1}, {"gate_levels": 300}, {"cell_bits": 2}, {"cell_bits": 17},
        {"levels": 4.0}, {"cell_bits": True}, {"weights": 1}, {"weights": "a"}, {"scale": 0}, {"scale": 1.5},
        {"products": "both"}, {"num_layers": 0}, {"num_layers": 1.0}, {"hidden_size": 0}, {"input_size": -1},
    ):  # fmt: skip
        with pytest.raises(LayerError):
            KINDS[kind](**{"input_size": 3, "hidden_size": 4, **options})


@kinds
def test_sums_beyond_24_bits_are_refused_with_a_way_out(kind):
    for options in ({"levels": 257, "hidden_size": 1000}, {"weights": Levels(-(2**20), 2**20), "hidden_size": 9}):
        layer = KINDS[kind](**{"input_size": 3, "hidden_size": 9, **options})
        with pytest.raises(LayerError, match="leave 24 bits; take a smaller scale, fewer levels, weights or units"):
            nn.Sequential(nn.Input((3,), Levels(-9, 9)), layer)


@kinds
def test_the_largest_sums_that_are_taken_are_exact(kind):
    """The widest layer that is not refused, with every weight at its end: partial sums just below 2^24."""

    def made(hidden):
        layer = KINDS[kind](2, hidden, levels=257, scale=16)
        return nn.Sequential(nn.Input((2,), Levels(-500, 500), unit=200), layer)

    good, bad = 1, 1024
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            made(middle)
            good = middle
        except LayerError:
            bad = middle
    model = made(good)
    assert model[1].recurrence.bound > 2**22
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(1e3 * p.sign())
    assert_exact(model, sequences(model, 3, 4))


# ---------------------------------------------------------------------------------------------------- modules


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_parameters_are_those_of_pytorch(kind, layers):
    ours, theirs = KINDS[kind](3, 4, layers), FLOAT_KINDS[kind](3, 4, layers)
    assert [(n, p.shape) for n, p in ours.named_parameters()] == [(n, p.shape) for n, p in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


@kinds
def test_saved_copied_and_pickled_networks_are_the_same_machine(kind, tmp_path):
    model = on_features(kind, 2)
    x = sequences(model)
    expected, hash = model(x), model.machine().hash
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = shaken(on_features(kind, 2), seed=1)
    assert other.machine().hash != hash
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    for again in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.machine().hash == hash
        assert torch.equal(again(x), expected)


@kinds
def test_training_changes_a_copy_and_not_the_model(kind):
    model = on_symbols(kind)
    hash, other = model.machine().hash, copy.deepcopy(model)
    with torch.no_grad():
        other[1].weight_hh_l0.mul_(-1.0)
    assert other.machine().hash != hash == model.machine().hash
    assert_exact(other, sequences(other))


# ---------------------------------------------------------------------------------------------------- twins


@kinds
@pytest.mark.parametrize("layers", [1, 2])
def test_a_twin_is_pytorchs_own_layer(kind, layers):
    model = on_features(kind, layers, cell_bits=16)
    x = sequences(model)
    twin, own = model.twin(), FLOAT_KINDS[kind](3, 6, layers, batch_first=True)
    own.load_state_dict(model[1].state_dict())
    by_hand, last = own(x.float() / 20)
    out = by_hand @ model[2].weight.t() + model[2].bias
    got, state = twin.unroll(x)
    assert torch.allclose(got, out, rtol=0, atol=1e-5)
    assert torch.equal(twin(x), got)
    for k in range(layers):
        assert torch.allclose(state[f"{kind}_{k + 1}_h"], (last[0] if kind == "lstm" else last)[k], rtol=0, atol=1e-5)


@kinds
@pytest.mark.parametrize("bits", [8, 16])
def test_the_state_of_a_twin_is_handed_over(kind, bits):
    twin = on_features(kind, 2, cell_bits=bits).twin()
    x = sequences(on_features(kind), 5, 20)
    whole, last = twin.unroll(x)
    first, state = twin.unroll(x[:, :12])
    second, end = twin.unroll(x[:, 12:], state)
    assert torch.allclose(torch.cat([first, second], 1), whole, rtol=0, atol=1e-5)
    assert set(end) == set(last) == set(state)
    for wrong in ({}, {"other": x}, 3, {**state, f"{kind}_1_h": state[f"{kind}_1_h"][:2]}):
        with pytest.raises(InputError, match="state: "):
            twin.unroll(x, wrong)


def test_a_clip_that_nothing_reaches_leaves_pytorchs_lstm():
    model = on_features("lstm", 2, cell_bits=8)
    x = sequences(model)
    clipped, free = model.twin(), model.twin()
    assert clipped[1].clip == 127 / 32
    clipped[1].clip, free[1].clip = 7.4, math.inf
    with torch.no_grad():
        for twin in (clipped, free):
            for p in twin.parameters():
                p.mul_(0.5)  # cells stay small
    assert torch.allclose(clipped(x), free(x), rtol=0, atol=1e-5)


def test_the_clip_of_a_twin_is_the_discrete_cells():
    model = on_features("lstm", cell_bits=6)
    with torch.no_grad():
        model[1].bias_ih_l0.copy_(torch.tensor([9.0] * 24))  # open gates: one more each step
    _, state = model.unroll(sequences(model))
    _, real = model.twin().unroll(sequences(model))
    assert (state["lstm_1_c"] == 31).all()
    assert torch.equal(real["lstm_1_c"], torch.full((4, 6), 31 / 16))


@kinds
@pytest.mark.parametrize("options", [{}, {"unit": 3000}, {"unit": 3000, "layers": 2}, {"layers": 3}])
def test_many_levels_come_near_the_twin(kind, options):
    """So the discrete network has the twin's scales: a rough bound, several times what rounding does here."""
    options = {"unit": 20, **options}
    start = nn.Input((3,), Levels(-2 * options["unit"], 2 * options["unit"]), unit=options.pop("unit"))
    layer = KINDS[kind](3, 6, options.get("layers", 1), levels=65, cell_bits=16, weights=Levels(-250, 250))
    model = nn.Sequential(start, layer)
    x = sequences(model)
    real = model.twin()(x)
    assert (model(x) / float(model.unit) - real).abs().mean() < 0.02 < real.abs().mean() / 4


@kinds
@pytest.mark.parametrize("start", [{"unit": 3}, {"offset": -2}, {}])
def test_the_twin_reads_the_same_symbols(kind, start):
    low = start.get("offset", 0)
    layer = KINDS[kind](5, 6, symbols=True, levels=65, cell_bits=16, scale=64)
    model = nn.Sequential(nn.Input((), Levels(low, low + 4), **start), layer)
    x = sequences(model)
    real = model.twin()(x)
    assert (model(x) / float(model.unit) - real).abs().mean() < 0.02 < real.abs().mean() / 4


# ---------------------------------------------------------------------------------------------------- training


@kinds
def test_one_seed_one_hash(kind):
    def trained(seed):
        torch.manual_seed(seed)
        layer = KINDS[kind](3, 5, symbols=True, levels=8)
        model = nn.Sequential(nn.Input((), Levels(0, 2)), layer, nn.Linear(5, 3))
        nn.fit_stream(model, [0, 1, 2, 2] * 60, steps=4, batch_size=4, length=6, validation=0, progress=False)
        return model.machine().hash

    assert trained(0) == trained(0) != trained(1)
