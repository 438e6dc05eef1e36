"""Recurrent layers in integer training: the machine's integers forward, and gradients by their definition back."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from zahlen import Levels, integer
from zahlen.cells import CANDIDATE
from zahlen.cells.stairs import tanh_edge
from zahlen.integer import arithmetic as do
from zahlen.kernels import native
from zahlen.machine import InputError, LayerError

KINDS = {"lstm": integer.LSTM, "gru": integer.GRU, "rnn": integer.RNN}
kinds = pytest.mark.parametrize("kind", KINDS)


def shaken(net, seed=0):
    """Latent weights anywhere on their grids, so that gates shut and cells are clamped."""
    rng = np.random.default_rng(seed)
    for p in net.parameters():
        reach = 1 if p.wide or p.latent.ndim == 1 else 2
        p.latent[...] = rng.integers(p.grid.lo << p.fraction, (p.grid.hi << p.fraction) + 1, p.latent.shape) // reach
        p.refresh()
    return net


def on_symbols(kind, layers=1, hidden=6, symbols=5, seed=0, **options):
    layer = KINDS[kind](symbols, hidden, layers, symbols=True, **options)
    start = integer.Input((), Levels(0, symbols - 1))
    return integer.Sequential(start, layer, integer.Linear(hidden, symbols), seed=seed)


def on_features(kind, layers=1, hidden=6, unit=20, **options):
    start = integer.Input((3,), Levels(-50, 50), unit=unit)
    return integer.Sequential(start, KINDS[kind](3, hidden, layers, **options), integer.Linear(hidden, 2))


def sequences(net, batch=4, time=12, seed=0):
    a, rng = net.input.alphabet, np.random.default_rng(seed)
    x = rng.integers(a.lo, a.hi + 1, (batch, time, *net.input.shape))
    x[0, :2], x[0, 2:4] = a.lo, a.hi
    return x


def learning_step(net, x, labels, bits=10):
    """Forward, back and a step: gradients before it, weights after it, and how many gradients were clamped."""
    batch, time = x.shape[:2]
    net.announce(bits, batch * time)
    y, _ = net.unroll(x)
    rows = np.ascontiguousarray(y.swapaxes(0, 1)).reshape(batch * time, -1)
    delta, loss, _ = do.softmax(rows, np.ascontiguousarray(labels.T, np.int32).reshape(-1), net.unit, bits)
    net.backward(delta)
    gradients = [p.gradient.copy() for p in net.parameters()]
    integer.Momentum("2", clip="0.25", random=True).step(net.parameters(), batch * time, Fraction(1), 5)
    return gradients, [p.latent for p in net.parameters()], sum(layer.clamps for layer in net.layers()), loss


# ---------------------------------------------------------------------------------------------------- forward


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(list(KINDS)),
    layers=st.integers(1, 2),
    hidden=st.integers(1, 20),
    levels=st.integers(2, 20),
    gate_levels=st.sampled_from([2, 5, 16, 257]),
    cell_bits=st.integers(3, 16),
    weights=st.sampled_from([255, 16, 3, 2]),
    unit=st.sampled_from([None, 1, 20, 3000]),
    seed=st.integers(0, 99),
)
def test_every_step_is_the_machines(kind, layers, hidden, levels, gate_levels, cell_bits, weights, unit, seed):
    options = {"levels": levels, "weights": weights}
    if kind != "rnn":
        options |= {"gate_levels": gate_levels, "cell_bits": cell_bits}
    try:
        made = on_symbols if unit is None else lambda *a, **o: on_features(*a, unit=unit, **o)
        net = shaken(made(kind, layers, hidden, **options), seed)
    except LayerError as error:
        event(str(error))  # weights that are shifted up beyond a factor's width
        assume(False)
    x = sequences(net, 3, 9, seed)
    machine = net.machine()
    y, state = net.unroll(x)
    assert np.array_equal(y, machine.run(x, executor="reference"))
    with do.without_kernels():
        slow, left = net.unroll(x)
    assert np.array_equal(slow, y)
    assert list(left) == list(state) == list(machine.registers)
    assert all(np.array_equal(left[name], state[name]) for name in state)


@kinds
@pytest.mark.parametrize("products", ["native", "tables"])
def test_a_state_goes_from_call_to_call_and_from_the_machine(kind, products):
    more = {} if kind == "rnn" else {"products": products}
    net = shaken(on_symbols(kind, 2, 8, levels=8, **more))
    x = sequences(net, 5, 20)
    whole, last = net.unroll(x)
    first, state = net.unroll(x[:, :7])
    rest, after = net.unroll(x[:, 7:], state)
    assert np.array_equal(np.concatenate([first, rest], 1), whole)
    assert all(np.array_equal(after[name], last[name]) for name in last)
    machine = net.machine()
    theirs = machine.initial_state(5)
    for t in range(7):
        theirs, _ = machine.step(theirs, x[:, t])
    assert all(np.array_equal(theirs[name], state[name]) for name in state)


# ---------------------------------------------------------------------------------------------------- back


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from(list(KINDS)),
    layers=st.integers(1, 2),
    hidden=st.integers(1, 40),
    levels=st.integers(2, 20),
    cell_bits=st.integers(3, 16),
    symbols=st.booleans(),
    bits=st.integers(4, 14),
    seed=st.integers(0, 99),
)
@pytest.mark.skipif(native is None, reason="built without compiled kernels")
def test_kernels_and_numpy_take_the_same_step(kind, layers, hidden, levels, cell_bits, symbols, bits, seed):
    options = {"levels": levels} | ({} if kind == "rnn" else {"cell_bits": cell_bits})
    made = on_symbols if symbols else on_features

    def step():
        net = shaken(made(kind, layers, hidden, **options), seed)
        x = sequences(net, 3, 7, seed)
        labels = np.random.default_rng(seed).integers(0, 2, x.shape[:2])
        return learning_step(net, x, labels, bits)

    with do.without_kernels():
        due = step()
    for variant in native.variants():
        native.choose(variant)
        got = step()
        for one, other in zip(got[:2], due[:2], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)), variant
        assert got[2:] == due[2:], variant


def rounded(x, shift):
    return (x + (1 << shift >> 1)) >> shift


def test_lstm_gradients_by_their_definition():
    """One unit at a time, from the formulas of the design, in Python's integers."""
    net, bits, n = shaken(on_symbols("lstm", hidden=3, levels=8, cell_bits=6), 3), 10, 3
    x = sequences(net, 2, 6, 1)
    labels = np.random.default_rng(0).integers(0, 5, x.shape)
    gradients, _, clamps, _ = learning_step(net, x, labels, bits)
    assert clamps == 0
    net = shaken(on_symbols("lstm", hidden=3, levels=8, cell_bits=6), 3)
    layer, last = net.children[1:]
    cell, machine = layer.cell, net.machine()
    edge, fraction = int(CANDIDATE * tanh_edge(cell.candidates)), cell.fraction_bits
    embed, recurrent, bias = (p.weight.astype(int).tolist() for p in layer.parameters())
    out = last.weight.weight.astype(int).tolist()
    d_embed, d_recurrent = np.zeros((5, 4 * n), int), np.zeros((n, 4 * n), int)
    for row in range(2):
        states, wires = machine.initial_state(1), []
        for t in range(6):
            wires.append({k: v[0].tolist() for k, v in machine.trace(x[row : row + 1, t], states).items()})
            states, _ = machine.step(states, x[row : row + 1, t])
        dc, dz_next = [0] * n, None
        for t in range(5, -1, -1):
            now = wires[t]
            logits = np.array([now[machine.outputs[0]]], np.int32)
            delta, _, _ = do.softmax(logits, labels[row, t : t + 1].astype(np.int32), net.unit, bits)
            dh = [
                rounded(sum(d * w for d, w in zip(delta[0].tolist(), out[j])), last.scale.bit_length() - 1)
                for j in range(n)
            ]
            if dz_next is not None:
                through = (sum(d * w for d, w in zip(dz_next, recurrent[j])) for j in range(n))
                dh = [a + rounded(b, layer.scale.bit_length() - 1) for a, b in zip(dh, through)]
            dz = [0] * (4 * n)
            for j in range(n):
                i, f, g, o = (now[f"lstm_1_{key}"][j] for key in "ifgo")
                s, c = now["lstm_1_t"][j], now["lstm_1_c"][j]
                slope = [(v * (256 - v)) >> 6 for v in (i, f, o)]
                tangents = [(CANDIDATE**2 - max(-edge, min(edge, v)) ** 2) >> 6 for v in (g, s)]
                d = dc[j] + rounded(dh[j] * o * tangents[1], 16)
                unclamped = rounded((f * c << cell.mix[0]) + (i * g << cell.mix[1]), cell.mix[2])
                d = d if abs(unclamped) <= cell.limit else 0
                dz[j] = rounded(d * g * slope[0], 17)
                dz[n + j] = rounded(d * c * slope[1], 10 + fraction)
                dz[2 * n + j] = rounded(d * i * tangents[0], 16)
                dz[3 * n + j] = rounded(dh[j] * s * slope[2], 17)
                dc[j] = rounded(d * f, 8)
            d_embed[x[row, t]] += dz
            d_recurrent += np.outer(now["lstm_1_h"], dz)
            dz_next = dz
    assert np.array_equal(gradients[0], d_embed)
    assert np.array_equal(gradients[1], d_recurrent)
    assert np.array_equal(gradients[2], d_embed.sum(0))
    assert bias != embed[0]


@kinds
@pytest.mark.parametrize(("symbols", "layers"), [(True, 1), (False, 1), (True, 2), (False, 2)])
def test_gradients_point_where_float_gradients_do(kind, symbols, layers):
    """The network of zahlen.nn with the same weights, whose backward pass is in floats."""
    torch = pytest.importorskip("torch")
    from zahlen import nn

    net = (on_symbols if symbols else on_features)(kind, layers, hidden=24, levels=33)
    x = sequences(net, 8, 16)
    labels = np.random.default_rng(1).integers(0, 2, x.shape[:2])
    layer, last = net.children[1:]
    start = nn.Input(net.input.shape, net.input.alphabet, unit=net.input.unit)
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](
        layer.input_size, 24, layers, levels=33, symbols=symbols, scale=layer.scale
    )
    twin = nn.Sequential(start, theirs, nn.Linear(24, last.out_features, scale=last.scale))
    with torch.no_grad():
        for one in layer.passes:
            for part, p in one.parameters.items():
                getattr(theirs, f"{part}_l{one.k}").copy_(torch.from_numpy(p.weight.T / float(p.scale)))
            if kind != "gru":
                getattr(theirs, f"bias_hh_l{one.k}").zero_()
        twin[2].weight.copy_(torch.from_numpy(last.weight.weight.T / float(last.weight.scale)))
        twin[2].bias.copy_(torch.from_numpy(last.bias.weight / float(last.bias.scale)))
    output = twin(torch.from_numpy(x))
    assert np.array_equal(output.detach().numpy(), net.unroll(x)[0])
    loss = torch.nn.functional.cross_entropy(
        nn.outputs(twin, torch.from_numpy(x)).flatten(0, 1), torch.from_numpy(labels).flatten()
    )
    loss.backward()
    gradients = iter(learning_step(net, x, labels, 12)[0])
    for part, p, k in ((part, p, one.k) for one in layer.passes for part, p in one.parameters.items()):
        real = getattr(theirs, f"{part}_l{k}").grad.numpy().T.ravel()
        mine = next(gradients).astype(float).ravel() / float(p.unit) / labels.size
        cosine = (real @ mine) / np.sqrt((real @ real) * (mine @ mine))
        assert cosine > 0.99, (part, k)
        assert 0.9 < np.sqrt((mine @ mine) / (real @ real)) < 1.1, (part, k)


# ---------------------------------------------------------------------------------------------------- learning


def learned(kind, steps=120):
    net = on_symbols(kind, 1, 16, 3, levels=16)
    x = np.arange(4 * 9).reshape(4, 9) % 3
    net.announce(10, 4 * 8)
    rule, losses = integer.Momentum("1", clip="0.25"), []
    for t in range(steps):
        y, _ = net.unroll(x[:, :-1])
        labels = np.ascontiguousarray(x[:, 1:].T, np.int32).reshape(-1)
        delta, loss, _ = do.softmax(np.ascontiguousarray(y.swapaxes(0, 1)).reshape(32, 3), labels, net.unit, 10)
        net.backward(delta)
        rule.step(net.parameters(), 32, Fraction(steps - t, steps), t)
        losses.append(loss)
    return net, losses


@kinds
def test_a_cycle_is_learnt_and_has_one_hash_on_every_path(kind):
    with do.without_kernels():
        net, losses = learned(kind)
    assert losses[-1] < losses[0] // 20
    for variant in native.variants() if native is not None else ():
        native.choose(variant)
        assert learned(kind)[0].machine().hash == net.machine().hash, variant


# ---------------------------------------------------------------------------------------------------- refusals


def test_what_does_not_fit_is_refused():
    net = on_symbols("lstm")
    x = sequences(net)
    with pytest.raises(InputError, match=r"sequences \(batch, time"):
        net.unroll(x[:, :0])
    with pytest.raises(InputError, match="lstm_1_h, lstm_1_c is due, got gru_1_c"):
        net.unroll(x, on_symbols("gru").unroll(x)[1])
    with pytest.raises(InputError, match=r"lstm_1_c holds -200\.\.0"):
        net.unroll(x, {"lstm_1_h": np.zeros((4, 6), int), "lstm_1_c": np.minimum(0, -200 * np.eye(4, 6, dtype=int))})
    with pytest.raises(LayerError, match="has no state"):
        integer.Sequential(integer.Input((3,), Levels(0, 1)), integer.Linear(3, 2)).unroll(x)
    with pytest.raises(LayerError, match="inside an integer"):
        net.children[1].forward(np.zeros(3, np.int16))
    with pytest.raises(LayerError, match="not one symbol of 0"):
        integer.Sequential(integer.Input((), Levels(0, 9)), integer.LSTM(5, 6, symbols=True))
    with pytest.raises(LayerError, match="cell_bits is at most 16"):
        integer.LSTM(5, 6, cell_bits=17)
