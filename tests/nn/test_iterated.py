import copy
import random
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import batch as samples
from networks import shake

from zahlen import Levels, nn
from zahlen.emit import harness
from zahlen.machine import InputError, LayerError, tables

GRIDS = [255, 15, 3, 2, Levels(0, 3)]


def mask_of(r, blocks, steps):
    """A random mask that is accepted."""
    while True:
        mask = [[r.random() < 0.5 for _ in range(blocks + 1)] for _ in range(blocks)]
        try:
            nn.IteratedMap((1,) * (blocks + 1), mask, steps)
        except LayerError:
            continue
        return mask


def fits(layers):
    try:
        return nn.Sequential(*layers)
    except LayerError as error:
        if "leave 24 bits" in str(error):
            return None
        raise


def network(seed, recurrent, mask=None):
    """A random map between an input and a readout."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    while (model := fits(layers(r, recurrent, mask))) is None:
        pass
    shake(model, r)
    return model.eval()


def layers(r, recurrent, mask):
    blocks = len(mask) if mask else r.randint(1, 4)
    sizes = tuple(r.randint(1, 5) for _ in range(blocks + 1))
    steps = None if recurrent else r.randint(1, 5)
    options = {"weights": r.choice(GRIDS), "scale": r.choice([None, 1, 5]), "levels": r.choice([2, 3, 7, 16, 64])}
    layer = nn.IteratedMap(sizes, mask or mask_of(r, blocks, steps), steps, **options)
    unit = Fraction(r.choice([1, 9, 2000]), r.randint(1, 3))
    start = nn.Input(sizes[:1], Levels(-r.randint(0, 40), 60, 1), offset=r.randint(-9, 9), unit=unit)
    return start, layer, nn.Linear(sizes[-1], 3)


def sequences(model, batch=4, time=6):
    x = samples(model, batch * time, seed=1)
    return x[torch.randperm(len(x))].view(batch, time, *x.shape[1:])


def put(layer, weight_ih, weight_hh, bias):
    """Set latent weights that stand for these integers."""
    with torch.no_grad():
        scale = layer.cell.unit / (layer.receives().unit * (1 << layer.input_shift))
        layer.weight_ih.copy_(torch.as_tensor(weight_ih) / float(scale))
        layer.weight_hh.copy_(torch.as_tensor(weight_hh) / layer.scale)
        layer.bias.copy_(torch.as_tensor(bias) / layer.cell.unit)


# ---------------------------------------------------------------------------------------------------- the mask


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ([[1, 0, 0]], "a row for each of 2 blocks"),
        ([[1, 0], [0, 1]], "a row for each of 2 blocks"),
        ([[1, 0, 0], [0, 1]], "a row for each of 2 blocks"),
        ([[1, 0, 0], [0, 2, 0]], "booleans"),
        ([[1.0, 0, 0], [0, 1, 0]], "booleans"),
        ([["x", "", ""], ["", "x", ""]], "booleans"),
        (None, "booleans"),
        ([[0, 0, 0], [1, 0, 0]], "block 1 reads nothing"),
        ([[1, 0, 0], [0, 0, 1]], "block 2 comes out, but is not reached"),
        ([[0, 0, 1], [0, 1, 0]], "block 2 comes out, but is not reached"),
    ],
)
@pytest.mark.parametrize("steps", [None, 2])
def test_masks_that_make_no_sense_are_refused(mask, reason, steps):
    with pytest.raises(LayerError, match=reason):
        nn.IteratedMap((3, 2, 2), mask, steps)


def test_too_few_steps_are_refused():
    chain = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    with pytest.raises(LayerError, match="reached from the input after 3 steps, not after 2; take steps=3"):
        nn.IteratedMap((1, 1, 1, 1), chain, 2)
    nn.IteratedMap((1, 1, 1, 1), chain, 3)
    nn.IteratedMap((1, 1, 1, 1), chain)
    nn.IteratedMap((1, 1, 1, 1), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sizes": (3,)},
        {"sizes": 3},
        {"sizes": (3, 0)},
        {"sizes": (3, 2.0)},
        {"steps": 0},
        {"steps": 1.5},
        {"levels": 1},
        {"levels": 258},
        {"weights": 1},
        {"scale": 0},
    ],
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(LayerError):
        nn.IteratedMap(**{"sizes": (3, 2), "mask": [[1, 1]], "steps": None, **arguments})


def test_what_does_not_fit_its_neighbours_is_refused():
    layer = nn.IteratedMap((3, 2), [[1, 1]], 1)
    with pytest.raises(LayerError, match=r"receives shape \(4,\), not \(3,\)"):
        nn.Sequential(nn.Input((4,), Levels(0, 9)), layer)
    with pytest.raises(LayerError, match="leave 24 bits"):
        nn.Sequential(nn.Input((3,), Levels(0, 9)), nn.IteratedMap((3, 200), [[1, 1]], levels=257, scale=5000))
    recurrent = nn.Sequential(nn.Input((3,), Levels(0, 9)), nn.IteratedMap((3, 2), [[1, 1]]))
    with pytest.raises(LayerError, match=r"works inside an nn\.Sequential"):
        recurrent[1](torch.zeros(4, 3))


# ---------------------------------------------------------------------------------------------------- equalities


def perceptron_map(seed, shortcuts, unit=None):
    """A map with a strictly lower triangular mask; its integers, the bounds of its blocks, and its scales."""
    r, rng = random.Random(seed), np.random.default_rng(seed)
    levels, blocks, factor, scale = r.choice([2, 3, 5, 16]), r.randint(1, 4), r.randint(1, 3), 8
    sizes = [r.randint(1, 6) for _ in range(blocks + 1)]
    mask = np.tri(blocks, blocks + 1, dtype=bool) if shortcuts else np.eye(blocks, blocks + 1, dtype=bool)
    layer = nn.IteratedMap(sizes, mask, blocks + r.randint(0, 2), levels=levels, scale=scale, weights=15)
    # by default one that gives weights of the input the whole scale `factor`
    start = nn.Input((sizes[0],), Levels(-9, 9), unit=unit or Fraction(scale * (levels - 1), factor))
    width = sum(sizes[1:])
    raw = (rng.integers(-7, 8, (width, sizes[0])), rng.integers(-7, 8, (width, width)), rng.integers(-40, 41, width))
    model = nn.Sequential(start, layer)
    put(layer, *raw)
    return model, raw, [0, *accumulate(sizes[1:])], (factor, scale)


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_strictly_lower_triangular_it_is_the_perceptron(seed):
    model, (ih, hh, bias), ends, (factor, scale) = perceptron_map(seed, shortcuts=False)
    layers, levels = [copy.deepcopy(model[0])], model[1].levels
    for k, (a, b) in enumerate(pairwise(ends)):
        weight = ih[a:b] if k == 0 else hh[a:b, ends[k - 1] : a]
        layers += [nn.Linear(weight.shape[1], b - a, weights=15, scale=scale if k else factor), nn.TanhD(levels)]
    perceptron = nn.Sequential(*layers)
    with torch.no_grad():
        for k, (a, b) in enumerate(pairwise(ends)):
            dense, weight = perceptron[1 + 2 * k], ih[a:b] if k == 0 else hh[a:b, ends[k - 1] : a]
            dense.weight.copy_(torch.as_tensor(weight) / dense.scale)
            dense._bias_grid = Levels(-40, 40)  # of few inputs it would be narrower
            dense._bound += 40
            dense.bias.copy_(torch.as_tensor(bias[a:b]) / float(dense.unit))
            assert (dense.integers()[1].detach().numpy() == bias[a:b]).all()
    x = samples(model, 20)
    assert (model(x) == perceptron(x)).all()
    machine, other = model.machine(), perceptron.machine()
    assert (machine.run(x.numpy()) == other.run(x.numpy())).all()
    # every block once
    assert [w.operation.kind for w in machine.wires.values()] == [w.operation.kind for w in other.wires.values()]
    assert (machine.multiplies, machine.constants) == (other.multiplies, other.constants)


@given(st.integers(0, 10**6), st.sampled_from([None, 1, 2000]))
@settings(max_examples=40)
def test_with_shortcuts_it_is_the_definition(seed, unit):
    """All earlier blocks read, by integers in NumPy, each block once."""
    model, (ih, hh, bias), ends, _ = perceptron_map(seed, shortcuts=True, unit=unit)
    layer, x = model[1], samples(model, 20)
    assert (layer.shift > 0) == (unit == 2000)
    assert unit == 1 or layer.input_shift == 0
    hidden = np.zeros((20, ends[-1]), dtype=np.int64)
    thresholds = tables.thresholds(tables.tanh_points(layer.levels), layer.scale * (layer.levels - 1) << layer.shift)
    for a, b in pairwise(ends):
        z = (x.numpy() @ ih[a:b].T << layer.input_shift) + bias[a:b] + (hidden[:, :a] @ hh[a:b, :a].T << layer.shift)
        hidden[:, a:b] = 2 * np.searchsorted(thresholds, z, side="right") - (layer.levels - 1)
    assert (model(x).detach().numpy() == hidden[:, ends[-2] :]).all()
    kinds = [wire.operation.kind for wire in model.machine().wires.values()]
    assert kinds.count("staircase") == len(ends) - 1  # however often a block is read


@pytest.mark.parametrize("unit", [4, 3000])
@pytest.mark.parametrize("weights", [255, 3])
def test_one_block_that_reads_itself_is_an_rnn(unit, weights):
    start = nn.Input((3,), Levels(-2 * unit, 2 * unit), unit=unit)
    options = {"levels": 7, "weights": weights}
    rnn = nn.Sequential(start, nn.RNN(3, 6, **options), nn.Linear(6, 4))
    readout = copy.deepcopy(rnn[2])
    ours = nn.Sequential(copy.deepcopy(start), nn.IteratedMap((3, 6), [[1, 1]], **options), readout)
    with torch.no_grad():
        for parameter in rnn[1].parameters():
            parameter.normal_()
        ours[2].load_state_dict(rnn[2].state_dict())
        rnn[1].bias_hh_l0.zero_()
        for name, value in (("weight_ih", 0), ("weight_hh", 0), ("bias", "bias_ih_l0")):
            getattr(ours[1], name).copy_(getattr(rnn[1], value or f"{name}_l0"))
    assert (ours[1].scale, ours[1].shift, ours[1].cell.unit) == (
        rnn[1].scale,
        rnn[1].recurrence.shift,
        rnn[1].cell.unit,
    )
    assert (ours[1].shift > 0) == (unit == 3000)
    x = sequences(rnn)
    expected, state = rnn.unroll(x)
    got, ours_state = ours.unroll(x)
    assert expected.unique().numel() > 5
    assert (got == expected).all()
    assert (ours_state["map_1_h1"] == state["rnn_1_h"]).all()
    a, b = (m.machine().trace(x[:, 0].numpy()) for m in (ours, rnn))
    for name, other in (("map_1_h1", "rnn_1_h"), ("map_1_z1", "rnn_1_z"), ("map_1_h1_next", "rnn_1_h_next")):
        assert (a[name] == b[other]).all()
    rnn.unroll(x)[0].sum().backward()
    ours.unroll(x)[0].sum().backward()
    assert (ours[1].weight_hh.grad == rnn[1].weight_hh_l0.grad).all()
    assert ours[1].weight_hh.grad.abs().sum() > 0


def test_units_do_not_depend_on_what_is_open():
    """Sums are shifted as far as 24 bits reach with all blocks open, even where more would be better for the input."""
    masks = [np.eye(4, 5, dtype=bool), *(np.tri(4, 5, k=k, dtype=bool) for k in (0, 1, 4))]
    maps = [nn.IteratedMap((784, 32, 32, 32, 32), mask, 8, scale=32) for mask in masks]
    for layer in maps:
        layer.bind(nn.Input((784,), Levels(0, 255), offset=73, unit=90).start())
    assert {(layer.scale, layer.shift, layer.cell.unit) for layer in maps} == {(32, 5, 32 * 15 << 5)}
    bound = (128 * 127 * 15 << 5) + 8 * 15360
    assert maps[-1]._bound(5, 128) == bound
    assert 2 * bound + maps[-1].cell.reach() < 2**24 <= 4 * (bound - 8 * 15360)
    assert maps[0]._input_limit > maps[-1]._input_limit == 2**24 - 1 - bound


def test_inputs_beyond_the_limit_saturate_all_the_same():
    """Sums that would leave float32 are cut off where nothing else can bring them back."""
    model = nn.Sequential(nn.Input((3,), Levels(-(10**7), 10**7), unit=100), nn.IteratedMap((3, 4), [[1, 1]]))
    x = torch.tensor([[[10**7, -(10**7), 10**7]], [[-(10**7)] * 3], [[1, 2, 3]]]).expand(3, 5, 3)
    layer = model[1]
    share = layer._input_share(x[:, 0].float(), *layer.integers()[::2]).detach()
    assert float(share.abs().max()) > layer._input_limit
    assert_steps_exact(model, x)


# ---------------------------------------------------------------------------------------------------- the contract


def assert_steps_exact(model, x):
    """Every wire at every step."""
    machine, traced = model.machine(), model.trace(x)
    state = machine.initial_state(len(x))
    for t in range(x.shape[1]):
        wires = machine.trace(x[:, t].numpy(), state)
        for name, value in traced.items():
            assert (value[:, t].detach().double().numpy() == wires[name]).all(), (name, t)
        state = {register: wires[successor] for register, successor in machine.successors.items()}
    return traced


@given(st.integers(0, 10**6))
@settings(max_examples=60)
def test_every_wire_over_a_held_input(seed):
    model = network(seed, recurrent=False)
    x = samples(model, 8)
    machine, traced = model.machine(), model.trace(x)
    expected = machine.trace(x.numpy())
    for name, value in traced.items():
        assert (value.double().numpy() == expected[name]).all(), name
    ours = {name for name in machine.wires if name.startswith("map_1_")}
    assert ours <= set(traced)
    assert len(ours) >= 2
    assert (model(x).detach().double().numpy() == machine.run(x.numpy())).all()


@given(st.integers(0, 10**6))
@settings(max_examples=60)
def test_every_wire_over_sequences(seed):
    model = network(seed, recurrent=True)
    x = sequences(model)
    traced = assert_steps_exact(model, x)
    machine = model.machine()
    assert {name for name in machine.wires if name.startswith("map_1_")} == {n for n in traced if "map_1_" in n}
    assert (model(x).detach().double().numpy() == machine.run(x.numpy())).all()


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30)
def test_blocks_of_the_machine_are_those_of_the_mask(seed, recurrent):
    r = random.Random(seed)
    mask = mask_of(r, 3, None)
    machine = network(seed, True, mask).machine()
    picture = machine.as_block_map()
    order = [picture.names.index(name) for name in ("x", "map_1_h1", "map_1_h2", "map_1_h3")]
    assert picture.blocks[np.ix_(order[1:], order)].tolist() == mask


def test_a_held_input_is_iterated_as_the_block_map_says():
    """Fixed blocks read the old state: iterating the pipelined perceptron reaches the same output."""
    model, _, ends, _ = perceptron_map(11, shortcuts=True)
    machine, x = model.machine(), samples(model, 9).numpy()
    blocks = machine.pipelined().as_block_map()
    assert blocks.is_feedforward
    z = blocks.start({"x": x})
    for _ in range(len(ends)):
        z = blocks.step(z)
    assert (z[machine.pipelined().outputs[0]] == machine.run(x)).all()


def test_state_goes_in_and_out():
    model = network(3, True, [[1, 0, 1], [1, 1, 1]])
    x = sequences(model, time=9)
    whole, last = model.unroll(x)
    first, state = model.unroll(x[:, :4])
    rest, end = model.unroll(x[:, 4:], state)
    assert (torch.cat([first, rest], dim=1) == whole).all()
    assert list(end) == ["map_1_h1", "map_1_h2"] == list(model.machine().registers)
    assert all((end[name] == last[name]).all() for name in end)
    left, out = model.machine().run(
        x[:, 4:].numpy(), state={n: v.detach().long().numpy() for n, v in state.items()}, return_state=True
    )
    assert (out == rest.detach().numpy()).all()
    assert all((left[name] == end[name].detach().numpy()).all() for name in end)
    with pytest.raises(InputError, match="map_1_h1 holds"):
        model.unroll(x, {**state, "map_1_h1": torch.full_like(state["map_1_h1"], 999.0)})


def test_unrolled_and_pipelined_machines_are_equal():
    model = network(5, True, [[1, 1, 0], [0, 1, 1]])
    x = sequences(model, time=5)
    expected = model(x).detach().numpy()
    lifted = model.machine().unrolled(5)
    assert (lifted.run(x.numpy()) == expected).all()
    held = network(6, False, [[1, 1, 0], [0, 1, 1]])
    machine = held.machine()
    pipeline = machine.pipelined()
    rows = samples(held, 4).numpy()
    latency = pipeline.notes["latency"]
    stream = np.concatenate([rows, np.repeat(rows[:1], latency, axis=0)])[None]
    assert (pipeline.run(stream)[0, latency:] == machine.run(rows)).all()


@pytest.mark.parametrize("recurrent", [False, True])
def test_c_computes_the_same(recurrent):
    model = network(8, recurrent, [[1, 1, 0], [1, 1, 1]])
    machine = model.machine()
    program = harness.compiled(machine)
    if not recurrent:
        x = samples(model, 8).numpy()
        expected, got = machine.trace(x), program.trace(x)
        assert all((got[name] == expected[name]).all() for name in machine.wires)
        return
    x = sequences(model)
    got = program.sequence(x.numpy())
    for name, value in model.trace(x).items():
        assert (got[name] == value.double().numpy()).all(), name


def test_a_held_map_behind_and_within_recurrent_layers():
    """It is applied to each step of the sequence, and numbered with its kind."""
    model = nn.Sequential(
        nn.Input((3,), Levels(-5, 5), unit=3),
        nn.IteratedMap((3, 4, 2), [[1, 0, 1], [1, 1, 0]], levels=5),
        nn.IteratedMap((2, 3, 3), [[1, 1, 0], [0, 1, 0]], 4, levels=4),
        nn.RNN(3, 2, levels=6),
    )
    traced = assert_steps_exact(model, sequences(model))
    assert {"map_1_h2_next", "map_2_h1_3", "map_2_h2_4", "rnn_1_h"} <= set(traced)
    assert set(model.unroll(sequences(model))[1]) == {"map_1_h1", "map_1_h2", "rnn_1_h"}


def test_one_map_at_two_places():
    held = nn.IteratedMap((3, 2, 3), [[1, 1, 0], [0, 1, 1]], 3, levels=7)
    model = nn.Sequential(nn.Input((3,), Levels(-6, 6, 2), unit=6), held, held)
    x = samples(model, 8)
    machine, traced = model.machine(), model.trace(x)
    assert "map_1_place2_h2_3" in traced
    expected = machine.trace(x.numpy())
    assert all((value.numpy() == expected[name]).all() for name, value in traced.items())
    assert {n for n in machine.wires if n.startswith("map_1")} <= set(traced)
    recurrent = nn.IteratedMap((3, 3), [[1, 1]], levels=7)
    with pytest.raises(LayerError, match="share one state"):
        nn.Sequential(nn.Input((3,), Levels(-6, 6, 2), unit=6), recurrent, recurrent)


def test_a_batch_of_none():
    for recurrent in (False, True):
        model = network(4, recurrent, [[1, 1, 0], [1, 1, 1]])
        x = torch.zeros((0, 5, model[0].shape[0]) if recurrent else (0, model[0].shape[0]), dtype=torch.int64)
        assert model(x).shape == (*x.shape[:-1], 3)


# ---------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("steps", [None, 4])
def test_closed_blocks_stay_zero_and_open_ones_learn(steps):
    mask = [[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]]
    layer = nn.IteratedMap((5, 6, 4, 3), mask, steps)
    model = nn.Sequential(nn.Input((5,), Levels(-8, 8), unit=5), layer, nn.Linear(3, 2))
    rng = np.random.default_rng(0)
    x = rng.integers(-8, 9, (200, 7, 5) if steps is None else (200, 5))
    y = (x.reshape(200, -1).sum(1) > 0).astype(np.int64)
    before = [p.detach().clone() for p in layer.parameters()]
    nn.fit(model, x, y, epochs=3, batch_size=20, lr=0.01, progress=False)
    closed = torch.cat([layer.open_ih, layer.open_hh], dim=1) == 0
    weights = torch.cat([layer.weight_ih, layer.weight_hh], dim=1)
    assert closed.sum() == 5 * 3 + 6 * 6 + 6 * 4 + 4 * 4 + 4 * 3 + 3 * 3
    assert (weights[closed] == 0).all()
    moved = [torch.cat([new - old for new, old in zip(layer.parameters(), before)][:2], dim=1)][0]
    assert (moved[~closed] != 0).float().mean() > 0.9
    _, hh, _ = layer.integers()
    assert (hh[layer.open_hh == 0] == 0).all()


def test_closed_blocks_are_zero_whatever_their_latent_weights_are():
    model = network(9, True, [[1, 1, 0], [1, 1, 1]])
    x = sequences(model)
    expected = model(x)
    with torch.no_grad():
        model[1].weight_hh[model[1].open_hh == 0] = 77.0
    assert (model(x) == expected).all()
    assert_steps_exact(model, x)
    model(x).sum().backward()
    assert (model[1].weight_hh.grad[model[1].open_hh == 0] == 0).all()


@pytest.mark.parametrize("steps", [None, 3])
def test_opening_blocks_keeps_the_function(steps):
    def made(mask):
        return nn.Sequential(
            nn.Input((4,), Levels(-9, 9), unit=5), nn.IteratedMap((4, 5, 6), mask, steps), nn.Linear(6, 3)
        )

    narrow, wide = made([[1, 0, 0], [1, 1, 0]]), made([[1, 1, 1], [1, 1, 1]])
    x = sequences(narrow) if steps is None else samples(narrow)
    assert not (wide(x) == narrow(x)).all()
    wide.load_state_dict(narrow.state_dict())
    assert (wide(x) == narrow(x)).all()
    wide(x).sum().backward()
    assert (wide[1].weight_hh.grad != 0).any(1).all()  # what was closed can be learnt


def test_gradients_point_where_those_of_the_float_map_do():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Input((4,), Levels(-900, 900), unit=900), nn.IteratedMap((4, 8, 8), [[1, 1, 1], [1, 1, 1]], 4, levels=65)
    )
    x = samples(model, 30)
    twin = model.twin()
    weight = torch.randn(8)
    (model(x) / float(model.unit) @ weight).sum().backward()
    (twin(x) @ weight).sum().backward()
    for name in ("weight_ih", "weight_hh", "bias"):
        ours, theirs = getattr(model[1], name).grad, getattr(twin[1], name).grad
        # many levels and fine weights: the surrogate's direction is that of the float network
        assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.99, name


# ---------------------------------------------------------------------------------------------------- twins


@pytest.mark.parametrize("mask", [[[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [1, 0, 1]]])
def test_twins_have_the_shape_and_the_state(mask):
    network = nn.Sequential(nn.Input((3,), Levels(-9, 9), unit=5), nn.IteratedMap((3, 4, 5), mask), nn.Linear(5, 2))
    twin, x = network.twin(), sequences(network, time=8)
    assert twin.recurrent
    y, state = twin.unroll(x)
    assert y.shape == (4, 8, 2)
    assert {name: tuple(value.shape) for name, value in state.items()} == {"map_1_h1": (4, 4), "map_1_h2": (4, 5)}
    first, middle = twin.unroll(x[:, :3])
    rest, _ = twin.unroll(x[:, 3:], middle)
    assert torch.allclose(torch.cat([first, rest], dim=1), y, atol=1e-6)
    with torch.no_grad():
        for weight, entries in ((twin[1].weight_ih, twin[1].open_ih), (twin[1].weight_hh, twin[1].open_hh)):
            weight[entries == 0] = 77.0  # what is closed is not read
    assert (twin[1].open_hh == 0).any()
    assert (twin(x) == y).all()
    with pytest.raises(InputError, match="map_1_h2"):
        twin.unroll(x, {"map_1_h1": middle["map_1_h1"]})


def test_the_twin_of_one_block_is_pytorchs_rnn():
    model = nn.Sequential(nn.Input((3,), Levels(-9, 9), unit=5), nn.IteratedMap((3, 4), [[1, 1]]))
    twin, x = model.twin(), sequences(model)
    theirs = torch.nn.RNN(3, 4, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(model[1].weight_ih)
        theirs.weight_hh_l0.copy_(model[1].weight_hh)
        theirs.bias_ih_l0.copy_(model[1].bias)
        theirs.bias_hh_l0.zero_()
    assert torch.allclose(twin(x), theirs(x / 5)[0], atol=1e-6)


def test_the_twin_of_a_held_map_is_a_perceptron():
    model = nn.Sequential(
        nn.Input((3,), Levels(-9, 9), unit=5), nn.IteratedMap((3, 4, 2), [[1, 0, 0], [0, 1, 0]], 2), nn.Linear(2, 2)
    )
    twin, x = model.twin(), samples(model)
    assert not twin.recurrent
    layer = model[1]
    h = torch.tanh(x / 5 @ layer.weight_ih[:4].t() + layer.bias[:4])
    h = torch.tanh(h @ layer.weight_hh[4:, :4].t() + layer.bias[4:])
    assert torch.allclose(twin[:2](x), h, atol=1e-6)
    assert twin(x).shape == (6, 2)
