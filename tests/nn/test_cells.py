"""Cells against definitions in Python integers and decimals, and their compiled forms against the PyTorch one."""

import copy
import pickle
import random
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest
import torch

from zahlen.cells import MOST_LEVELS, stairs
from zahlen.kernels import native
from zahlen.machine import Levels
from zahlen.nn import cells
from zahlen.nn.cells import GRUCell, LSTMCell, RNNCell
from zahlen.nn.scan import scan
from zahlen.nn.stairs import reached

KINDS = {"lstm": LSTMCell, "gru": GRUCell, "rnn": RNNCell}
LEVELS = (2, 3, 4, 5, 16, 17, 64, 256, 257)
needs_kernels = pytest.mark.skipif(native is None, reason="built without compiled kernels")


# ---------------------------------------------------------------------------------------------------- definitions


def nearest(x):
    return floor(x + Fraction(1, 2)) if isinstance(x, Fraction) else floor(x + Decimal("0.5"))


def away_from_zero(x):
    return nearest(x) if x >= 0 else -nearest(-x)


def logistic(z, unit):
    with localcontext() as context:
        context.prec = 50
        return 1 / (1 + (-Decimal(z) / unit).exp())


def gate_level(z, unit, levels):
    with localcontext() as context:
        context.prec = 50
        return nearest(logistic(z, unit) * (levels - 1))


def tanh_level(z, unit, levels):
    return gate_level(2 * z, unit, levels)  # tanh(x) = 2 logistic(2 x) - 1


def with_zero(levels):
    """How many signed levels an LSTM has, where from sixteen on zero is one of them."""
    return levels if levels < 16 else levels - (levels + 1) % 2


def gate(z, unit, levels):
    return nearest(Fraction(256 * gate_level(z, unit, levels), levels - 1))


def candidate(z, unit, levels, one):
    return away_from_zero(one * (Fraction(2 * tanh_level(z, unit, levels), levels - 1) - 1))


def hidden(value, one, levels):
    """The level nearest to value / one."""
    return 2 * nearest((Fraction(value, one) + 1) / 2 * (levels - 1)) - (levels - 1)


def lstm(cell, zi, zf, zg, zo, c):
    """h', c' of one unit."""
    grid = 2 ** (cell.cell_bits - {2: 2, 4: 3, 8: 4}[2 if cell.cell_bits <= 7 else 4 if cell.cell_bits <= 12 else 8])
    i, f, o = (gate(z, cell.unit, cell.gate_levels) for z in (zi, zf, zo))
    levels, signed = with_zero(cell.levels), with_zero(cell.gate_levels)
    g = candidate(zg, cell.unit, signed, 128)
    most = 2 ** (cell.cell_bits - 1) - 1
    c = max(-most, min(most, nearest(Fraction(f * c, 2**8) + Fraction(i * g * grid, 2**15))))
    return hidden(o * candidate(c, grid, signed, 128), 2**15, levels), c


def gru(cell, xr, xu, xn, yr, yu, yn, c):
    most = 2 ** (cell.cell_bits - 1) - 1
    r, u = gate(xr + yr, cell.unit, cell.gate_levels), gate(xu + yu, cell.unit, cell.gate_levels)
    n = candidate(xn + nearest(Fraction(r * yn, 2**8)), cell.unit, cell.gate_levels, most)
    c = nearest(Fraction(u * c + (256 - u) * n, 2**8))
    return hidden(c, most, cell.levels), c


def rnn(cell, z):
    return 2 * tanh_level(z, cell.unit, cell.levels) - (cell.levels - 1)


def stepped(cell, z, y, c):
    """h', c' and what is kept, of rows of pre-activations."""
    rows, units = c.shape
    h_next, c_next = torch.full_like(c, -777.0), torch.full_like(c, -777.0)
    kept = torch.full((rows, cell.keeps * units), -777, dtype=torch.int16)
    cell.forward(z, y, c, h_next, c_next, kept)
    return h_next, c_next, kept


def column(values):
    return torch.tensor(values, dtype=torch.float32)


# ---------------------------------------------------------------------------------------------------- staircases


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("unit", [1, 7, 40])
def test_gates_and_candidates_are_the_rounded_functions_at_every_integer(levels, unit):
    cell = LSTMCell(levels, levels, 8, unit)
    ends = cell.reach() + 3
    z = range(-ends, ends + 1)
    assert reached(cell.gate, column(list(z))).tolist() == [gate(v, unit, levels) for v in z]
    assert reached(cell.candidate, column(list(z))).tolist() == [candidate(v, unit, with_zero(levels), 128) for v in z]
    assert reached(RNNCell(levels, levels, 8, unit).stairs, column(list(z))).tolist() == [
        2 * tanh_level(v, unit, levels) - (levels - 1) for v in z
    ]
    assert [cell.gate.at(v) for v in z] == reached(cell.gate, column(list(z))).tolist()


@pytest.mark.parametrize("levels", LEVELS)
def test_pre_activations_beyond_the_reach_change_nothing(levels):
    for kind in KINDS.values():
        cell = kind(levels, levels, 8, 1000)
        for inner in cell.inner():
            assert inner.at(cell.reach() - 1) == inner.at(2**23) == inner.values[-1]
            assert inner.at(-cell.reach()) == inner.at(-(2**23)) == inner.values[0]


@pytest.mark.parametrize("levels", LEVELS)
def test_products_go_to_the_nearest_level_halves_up(levels):
    output = LSTMCell(levels, levels, 8, 1).output
    products = range(-(2**15), 2**15 + 1)
    found = reached(output, column(list(products))).tolist()
    levels = with_zero(levels)
    assert found == [2 * ((v * (levels - 1) + 2**15 * levels) // 2**16) - (levels - 1) for v in products]
    some = random.Random(0).sample(products, 300)
    assert len(output.values) == levels
    assert (0 in found) == (levels >= 16 or levels % 2 == 1)
    assert [output.at(v) for v in some] == [hidden(v, 2**15, levels) for v in some]


@pytest.mark.parametrize("bits", range(3, 17))
def test_squashed_cells_and_states_at_every_integer(bits):
    most = 2 ** (bits - 1) - 1
    step = 1 if bits < 12 else 61
    for levels in (2, 5, 16, 257):
        cell = LSTMCell(levels, 16, bits, 1)
        assert cell.limit == most
        assert cell.state_unit == 2 ** (bits - (2 if bits <= 7 else 3 if bits <= 12 else 4))
        states = [*range(-most, most, step), most]
        assert reached(cell.squash, column(states)).tolist() == [candidate(c, cell.state_unit, 15, 128) for c in states]
        state = GRUCell(levels, 16, bits, 1)
        assert reached(state.output, column(states)).tolist() == [hidden(c, most, levels) for c in states]
        assert state.candidate.values.tolist() == [away_from_zero(most * (Fraction(2 * k, 15) - 1)) for k in range(16)]


def test_no_two_levels_of_a_gate_have_one_value():
    for levels in range(2, MOST_LEVELS + 1):
        assert len(set(stairs.gate_stairs(levels, 1).values)) == levels
        signed = stairs.worth(Levels.odd(levels), 128)
        assert (signed == -signed[::-1]).all()
        assert len(set(signed)) == levels


# ---------------------------------------------------------------------------------------------------- one step


def one_of_each(level, levels):
    """A pre-activation of each level, where they change."""
    return [next(z for z in range(-60, 61) if level(z) == k) for k in range(levels)]


@pytest.mark.parametrize(("levels", "bits"), [(2, 3), (2, 8), (3, 3), (3, 4), (3, 7), (4, 5), (3, 13)])
def test_lstm_over_all_levels_and_cells(levels, bits):
    cell = LSTMCell(levels, levels, bits, 5)
    gates = one_of_each(lambda z: gate_level(z, 5, levels), levels)
    candidates = one_of_each(lambda z: tanh_level(z, 5, levels), levels)
    step = max(1, cell.limit // 8)
    cases = list(product(gates, gates, candidates, gates, range(-cell.limit, cell.limit + 1, step)))
    table = column(cases)
    h, c, kept = stepped(cell, table[:, :4].contiguous(), table, table[:, 4:].contiguous())
    assert list(zip(h[:, 0].tolist(), c[:, 0].tolist())) == [lstm(cell, *case) for case in cases]
    assert kept[:, 2].tolist() == [candidate(case[2], 5, with_zero(levels), 128) for case in cases]


@pytest.mark.parametrize(("levels", "bits"), [(2, 3), (3, 4), (4, 8), (5, 16)])
def test_gru_over_all_levels_and_states(levels, bits):
    cell = GRUCell(levels, levels, bits, 5)
    gates = one_of_each(lambda z: gate_level(z, 5, levels), levels)
    step = max(1, cell.limit // 4)
    shares = (-9, -1, 0, 2, 7)
    cases = [
        (r - 3, u + 4, xn, 3, -4, yn, c)
        for r, u, xn, yn, c in product(gates, gates, shares, shares, range(-cell.limit, cell.limit + 1, step))
    ]
    table = column(cases)
    h, c, _ = stepped(cell, table[:, :3].contiguous(), table[:, 3:6].contiguous(), table[:, 6:].contiguous())
    assert list(zip(h[:, 0].tolist(), c[:, 0].tolist())) == [gru(cell, *case) for case in cases]


@pytest.mark.parametrize("levels", LEVELS)
def test_rnn_at_every_integer(levels):
    cell = RNNCell(levels, levels, 8, 9)
    z = list(range(-60, 61))
    h, _, _ = stepped(cell, column(z)[:, None], column(z), column(z)[:, None])
    assert h[:, 0].tolist() == [rnn(cell, v) for v in z]


def test_registers_start_at_zero_or_the_level_above():
    for levels in LEVELS:
        above = 1 if levels % 2 == 0 else 0
        zero = above if levels < 16 else 0
        assert LSTMCell(levels, 16, 8, 10).initial == {"h": zero, "c": 0}
        assert GRUCell(levels, 16, 8, 10).initial == {"c": 0}
        assert GRUCell(levels, 16, 8, 10).output.at(0) == above
        assert RNNCell(levels, 16, 8, 10).initial == {"h": above}


# ---------------------------------------------------------------------------------------------------- forms


@pytest.fixture
def variants():
    """Every form: None for PyTorch's, then the compiled ones, of which the fastest is in use again afterwards."""
    yield [None, *(native.variants() if native is not None else [])]
    if native is not None:
        native.choose(native.variants()[-1])
    torch.set_num_threads(1)


def in_form(variant, monkeypatch, call):
    monkeypatch.setattr(cells, "native", None if variant is None else native)
    if variant is not None:
        native.choose(variant)
    return call()


def random_step(cell, rows, units, seed):
    """Pre-activations near the thresholds and at the ends of what a float carries, cells, gradients."""
    r = torch.Generator().manual_seed(seed)

    def z():
        near = torch.randint(-cell.reach() - 2, cell.reach() + 3, (rows, cell.gates * units), generator=r)
        ends = (2 * torch.randint(0, 2, near.shape, generator=r) - 1) * 2**23
        return torch.where(torch.rand(near.shape, generator=r) < 0.1, ends, near).float()

    c = torch.randint(-cell.limit, cell.limit + 1, (rows, units), generator=r).float()
    dh, dc = (torch.randn(rows, units, generator=r) for _ in range(2))
    dh[torch.rand(dh.shape, generator=r) < 0.1] = 0.0
    return z(), z(), c, dh, dc


def both_ways(cell, z, y, c, dh, dc):
    h_next, c_next, kept = stepped(cell, z, y, c)
    dc, dz, dy = dc.clone(), torch.full_like(z, -777.0), torch.full_like(z, -777.0)
    cell.backward(dh, y, c, h_next, kept, dc, dz, dy)
    return h_next, c_next, kept, dc, dz, dy


def bits_of(tensor):
    return tensor if tensor.dtype == torch.int16 else tensor.view(torch.int32)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", LEVELS)
def test_every_form_returns_the_same_bits(kind, levels, variants, monkeypatch):
    for k, (units, rows) in enumerate(product((1, 3, 17, 128), (1, 5, 64))):
        r = random.Random(f"{kind} {levels} {k}")
        cell = KINDS[kind](levels, r.choice([levels, 2, 16, 257]), 3 + (k + levels) % 14, r.choice([1, 30, 960, 16000]))
        step = random_step(cell, rows, units, k)
        threads = 1 + k % 2
        torch.set_num_threads(threads)
        results = [in_form(variant, monkeypatch, lambda: both_ways(cell, *step)) for variant in variants]  # noqa: B023
        for variant, result in zip(variants[1:], results[1:]):
            for name, one, other in zip(("h", "c", "kept", "dc", "dz", "dy"), results[0], result):
                assert torch.equal(bits_of(one), bits_of(other)), (variant, cell, units, rows, threads, name)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_whole_sequence_returns_the_same_bits(kind, variants, monkeypatch):
    def run():
        z, weight, bias, gh, gc, h, c = sequence(cell, 9, 20, 5, seed=1)
        leaves = [t.requires_grad_() for t in (z, weight, bias, h, c)]
        hs, cs = scan(cell, z, weight, h, c, shift=1, bias=bias if cell.separate else None)
        loss = (hs * gh).sum() + ((cs * gc).sum() if kind != "rnn" else 0.0)
        return hs, *torch.autograd.grad(loss, [t for t in leaves if cell.separate or t is not bias], allow_unused=True)

    cell = KINDS[kind](16, 16, 8, 200)
    first, *others = [in_form(variant, monkeypatch, run) for variant in variants]
    for other in others:
        assert all(torch.equal(bits_of(a.detach()), bits_of(b.detach())) for a, b in zip(first, other))


def test_cells_are_copied_and_pickled_without_the_kernels_pointers():
    for kind in KINDS.values():
        cell = kind(16, 16, 8, 100)
        step = random_step(cell, 5, 3, 0)
        before = both_ways(cell, *step)
        for copied in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
            assert copied == cell
            after = both_ways(copied, *step)
            assert all(torch.equal(a, b) for a, b in zip(before, after))


# ---------------------------------------------------------------------------------------------------- gradients


class Through(torch.autograd.Function):
    """Any value forward, a slope backward."""

    @staticmethod
    def forward(ctx, x, value, slope):
        ctx.save_for_backward(torch.as_tensor(slope, dtype=torch.float64))
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None, None


def sequence(cell, steps, batch, units, seed):
    r = torch.Generator().manual_seed(seed)
    width = cell.gates * units
    reach = cell.reach()
    z = torch.randint(-reach, reach + 1, (steps, batch, width), generator=r).float()
    weight = torch.randint(-9, 10, (width, units), generator=r).float()
    bias = torch.randint(-50, 51, (width,), generator=r).float()
    gh, gc = (torch.randn(steps + 1, batch, units, generator=r) for _ in range(2))
    h = 2 * torch.randint(0, cell.levels, (batch, units), generator=r).float() - (cell.levels - 1)
    c = torch.randint(-cell.limit, cell.limit + 1, (batch, units), generator=r).float()
    return z, weight, bias, gh, gc, h, c


def float_backward(cell, z, weight, bias, gh, gc, h, c, *, shift, size):
    """Gradients by z, weight, bias, h and c of the real-valued cells, straight through their roundings.

    With `size` every coefficient and gradient is replaced by its absolute value, and 1 - s^2 by 1 + s^2: then they
    are sums of the sizes of all terms, which bound what rounding the terms can do.
    """
    kind, one = cell.kind, cell.state_unit
    levels, signed = cell.levels, cell.gate_levels  # of the hidden state; of the candidate and the squashed cell
    if kind == "lstm":
        levels, signed = with_zero(levels), with_zero(signed)
    z, weight, bias, gh, gc, h, c = (t.detach().double() for t in (z, weight, bias, gh, gc, h, c))
    edge = {n: 1 - 1 / (2 * (n - 1)) for n in (levels, signed)}

    def sized(v):
        return v.abs() if size else v

    leaves = [sized(t).clone().requires_grad_() for t in (z, weight, bias, h, c)]
    lz, lweight, lbias, lh, lc = leaves

    def share(k):
        """In real units; only its gradient matters."""
        return (lh_now @ lweight.t() * 2**shift + (lbias if cell.separate else 0))[:, part(k)] / cell.unit

    def part(k):
        n = h.shape[1]
        return slice(k * n, (k + 1) * n)

    def logistic_of(x, value):
        return Through.apply(x, value, value * (1 - value))

    def tanh_of(x, value, n):
        s = value.clamp(-edge[n], edge[n])
        return Through.apply(x, sized(value), 1 + s * s if size else 1 - s * s)

    def to_levels(x, value):
        return Through.apply(x, sized(value) / (levels - 1), 1.0) * (levels - 1)

    total = (lh * sized(gh[0])).sum() + (lc * sized(gc[0])).sum()
    lh_now, real = lh, lc / one
    for t in range(len(z)):
        y = h @ weight.t() * 2**shift + (bias if cell.separate else 0)
        args = z[t].float(), y.float(), c.float()
        args = args if cell.separate else ((z[t] + y).float(), y.float(), c.float())
        h_next, c_next, kept = stepped(cell, *(a.contiguous() for a in args))
        kept = kept.double()
        a = [lz[t][:, part(k)] / cell.unit for k in range(cell.gates)]
        if kind == "lstm":
            vi, vf, vg, vo, vt = (kept[:, part(k)] for k in range(5))
            raw = torch.floor(vf * c / 256 + vi * vg * one / 2**15 + 0.5)
            i, f, o = (logistic_of(a[k] + share(k), v / 256) for k, v in ((0, vi), (1, vf), (3, vo)))
            g = tanh_of(a[2] + share(2), vg / 128, signed)
            real = Through.apply(f * real + i * g, sized(c_next.double()) / one, (raw.abs() <= cell.limit).double())
            squashed = tanh_of(real, vt / 128, signed)
            lh_now = to_levels(o * squashed, h_next.double())
        elif kind == "gru":
            vr, vu, vn = (kept[:, part(k)] for k in range(3))
            r, u = (logistic_of(a[k] + share(k), v / 256) for k, v in ((0, vr), (1, vu)))
            yn = Through.apply(share(2), sized(y[:, part(2)]) / cell.unit, 1.0)
            n = tanh_of(a[2] + r * yn, vn / one, signed)
            shut = Through.apply(u, 1 - vu / 256, 1.0 if size else -1.0)
            real = Through.apply(u * real + shut * n, sized(c_next.double()) / one, 1.0)
            lh_now = to_levels(real, h_next.double())
        else:
            x = tanh_of(a[0] + share(0), h_next.double() / (levels - 1), levels)
            lh_now = to_levels(x, h_next.double())
        h, c = h_next.double(), c_next.double() if kind != "rnn" else c
        total = total + (lh_now * sized(gh[t + 1])).sum()
        if kind != "rnn":
            total = total + (real * one * sized(gc[t + 1])).sum()
    return torch.autograd.grad(total, leaves, allow_unused=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("levels", "gate_levels", "bits"), [(2, 2, 4), (3, 16, 3), (16, 16, 8), (64, 17, 6), (257, 256, 16)]
)
def test_the_way_back_is_the_float_cells(kind, levels, gate_levels, bits):
    cell = KINDS[kind](levels, gate_levels, bits, 60)
    steps, shift = 6, 1
    data = sequence(cell, steps, 7, 4, seed=levels)
    z, weight, bias, gh, gc, h, c = data
    leaves = [t.requires_grad_() for t in (z, weight, bias, h, c)]
    hs, cs = scan(cell, z, weight, h, c, shift=shift, bias=bias if cell.separate else None)
    loss = (hs * gh).sum() + ((cs * gc).sum() if kind != "rnn" else (cs[0] * gc[0]).sum())
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    wanted = float_backward(cell, *data, shift=shift, size=False)
    sizes = float_backward(cell, *data, shift=shift, size=True)
    # Single precision: a term passes fewer than 64 roundings in each step, and 64 in the sums over time and batch;
    # each changes it by at most 2^-24 of its size.
    roundings = 64 * (steps + 1)
    for name, got, want, most in zip(("z", "weight", "bias", "h", "c"), found, wanted, sizes):
        if got is None:
            assert name == "bias"
            assert not cell.separate
            continue
        assert float(want.abs().max()) > 0, name
        assert ((got.double() - want).abs() <= roundings * 2.0**-24 * most).all(), name


def test_a_saturated_cell_passes_no_gradient_and_a_cell_at_its_limit_does():
    cell = LSTMCell(16, 16, 8, 100)
    far = 10 * cell.reach()
    z = torch.tensor([[far, far, far, far], [-far, far, far, far]]).float()  # i = 1 adds 1.0 to a full cell; i = 0 not
    c = torch.full((2, 1), float(cell.limit))
    _, c_next, _, dc, dz, _ = both_ways(cell, z, z, c, torch.zeros(2, 1), torch.ones(2, 1))
    assert c_next.flatten().tolist() == [cell.limit, cell.limit]
    assert dc.flatten().tolist() == [0, 1]
    assert dz[0, :3].tolist() == [0, 0, 0]


def test_outermost_levels_of_a_tanh_still_learn():
    """Their slope is that of the middle of what rounds to the level, of which the level itself would say zero."""
    for levels in LEVELS:
        cell = RNNCell(levels, levels, 8, 64)
        z = torch.tensor([[64.0 * 20]])
        *_, dz, _ = both_ways(cell, z, z, z, torch.ones(1, 1), torch.zeros(1, 1))
        edge = 1 - Fraction(1, 2 * (levels - 1))  # a float: 1 - edge^2 loses up to 9 of 24 bits
        assert float(dz) == pytest.approx(float((levels - 1) * (1 - edge**2) / 64), rel=1e-4)


# ---------------------------------------------------------------------------------------------------- wrong calls

REFUSALS = (ValueError, TypeError, BufferError)


def arguments(kind, cell, rows, units):
    """Functions of the extension module with arguments that fit."""
    f = lambda width: np.zeros((rows, width * units), np.float32)  # noqa: E731
    kept = np.zeros((rows, cell.keeps * units), np.int16)
    forward = {"lstm": [f(4), f(1), f(1), f(1), kept], "gru": [f(3), f(3), f(1), f(1), f(1), kept], "rnn": [f(1), f(1)]}
    backward = {
        "lstm": [f(1), f(1), kept.copy(), f(1), f(4), cell.slopes],
        "gru": [f(1), f(3), f(1), kept.copy(), f(1), f(3), f(3), cell.slopes],
        "rnn": [f(1), f(1), f(1), cell.slopes],
    }
    written = {"lstm": ((2, 3, 4), (3, 4)), "gru": ((3, 4, 5), (4, 5, 6)), "rnn": ((1,), (2,))}[kind]
    return [
        (getattr(native, f"{kind}_forward"), [cell.plan, units, *forward[kind]], written[0]),
        (getattr(native, f"{kind}_backward"), [cell.plan, units, *backward[kind]], written[1]),
    ]


def wrong_buffers(array):
    """The same buffer made wrong in every way that a caller could."""
    yield array.reshape(-1)[:-1]
    yield np.concatenate([array.reshape(-1), array.reshape(-1)[:1]])
    yield array.view(np.uint16 if array.dtype == np.int16 else np.int32)
    yield array.astype(np.float64)
    if array.nbytes % 8 == 0:
        yield array.reshape(-1).view(np.float64)  # half as many, of as many bytes
    yield array.reshape(-1).view(np.uint8)
    yield array.tobytes()
    yield np.zeros(2 * array.size, array.dtype)[::2]
    yield array.astype(array.dtype.newbyteorder())
    yield from (None, 3, "text", [0.0], object())


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_buffers_are_refused(kind):
    cell = KINDS[kind](16, 16, 8, 100)
    for function, given, written in arguments(kind, cell, 4, 6):
        assert function(*given) is None
        for k, array in enumerate(given[2:]):
            for wrong in wrong_buffers(array):
                with pytest.raises(REFUSALS):
                    function(*given[: 2 + k], wrong, *given[3 + k :])
        for k in written:
            frozen = given[2 + k].copy()
            frozen.flags.writeable = False
            with pytest.raises(REFUSALS):
                function(*given[: 2 + k], frozen, *given[3 + k :])


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_plans_and_units_are_refused(kind):
    cell = KINDS[kind](16, 16, 8, 100)
    others = [other(16, 16, 8, 100).plan for name, other in KINDS.items() if name != kind]
    for function, given, _ in arguments(kind, cell, 4, 6):
        for plan in (None, 0, "plan", object(), b"", cell, torch._C, *others):
            with pytest.raises(REFUSALS):
                function(plan, *given[1:])
        for units in (0, -1, 5, 7, 2**24 + 1, 2**63, -(2**80), 6.0, "6", None):
            with pytest.raises(REFUSALS):
                function(given[0], units, *given[2:])
        for some in (given[:-1], [*given, given[-1]], []):
            with pytest.raises(REFUSALS):
                function(*some)
        assert function(*given) is None


@needs_kernels
def test_calls_with_anything_anywhere_are_refused_or_work():
    r = random.Random(0)
    made = [KINDS[kind](16, 16, 8, 100) for kind in KINDS]
    calls = [call for cell in made for rows in (0, 1, 4) for call in arguments(cell.kind, cell, rows, 6)]
    pool = [value for _, given, _ in calls for value in given] + [None, 1, 3, -1, 0.5, b"", bytearray(96), "x"]
    worked = 0
    for _ in range(4000):
        function, given, _ = r.choice(calls)
        args = [r.choice(pool) if r.random() < 0.2 else value for value in given]
        try:
            assert function(*args) is None
            worked += 1
        except REFUSALS:
            pass
    assert 0 < worked < 4000


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_no_plan_are_refused_or_make_one_that_works(kind):
    r = random.Random(kind)
    cell = KINDS[kind](5, 4, 4, 3)
    numbers = np.concatenate(cell.numbers()).astype(np.int32)
    refused = 0
    z = np.array([-(2**23), -5, 0, 4, 2**23, 1, 2, 3] * 3, np.float32)
    for trial in range(1500):
        changed = numbers.copy()
        for _ in range(r.randint(1, 3)):
            changed[r.randrange(len(changed))] = r.choice([-1, 0, 1, 2, 7, 31, 1000, 2**31 - 1, -(2**31), 2**30])
        if trial % 5 == 0:
            changed = changed[: r.randrange(len(changed) + 1)]
        try:
            plan = native.plan(kind, changed)
        except ValueError:
            refused += 1
            continue
        function, given, _ = arguments(kind, cell, 2, 3)[0]
        given[2] = np.resize(z, given[2].shape)
        assert function(plan, *given[1:]) is None
    assert refused > 100


@needs_kernels
def test_stairs_that_would_be_read_beyond_their_ends_are_refused():
    lo, hi, shift, levels, buckets = range(5)
    numbers = np.concatenate(RNNCell(5, 5, 8, 30).numbers()).astype(np.int32)
    last_bucket, last_threshold = 4 + numbers[buckets], 4 + numbers[buckets] + numbers[levels]
    assert numbers[last_threshold] == 2**31 - 1
    native.plan("rnn", numbers)
    for place, value in [
        (last_threshold, numbers[hi]), (last_threshold, 0), (last_bucket, numbers[levels]), (last_bucket, -1), (5, 5),
        (hi, 2**31 - 1), (hi, numbers[lo] - 1), (lo, -(2**31)), (shift, -1), (shift, 31), (shift, 0), (levels, 0),
        (levels, 6), (levels, 2**31 - 1), (buckets, 0), (buckets, -1), (buckets, 2**31 - 1),
    ]:  # fmt: skip
        changed = numbers.copy()
        changed[place] = value
        with pytest.raises(ValueError, match="not the numbers of a cell"):
            native.plan("rnn", changed)


@needs_kernels
def test_numbers_of_another_kind_or_type_are_refused():
    numbers = np.concatenate(LSTMCell(5, 4, 4, 3).numbers()).astype(np.int32)
    native.plan("lstm", numbers)
    for kind, wrong in [
        ("gru", numbers), ("rnn", numbers), ("none", numbers), ("", numbers), ("lstm", numbers[:-1]),
        ("lstm", np.append(numbers, 0)), ("lstm", numbers.astype(np.int64)), ("lstm", numbers.astype(np.float32)),
        ("lstm", numbers.tobytes()), ("lstm", None), ("lstm", numbers.tolist()), (None, numbers),
        ("lstm", numbers[::2]), ("lstm", numbers[:0]),
    ]:  # fmt: skip
        with pytest.raises(REFUSALS):
            native.plan(kind, wrong)


@needs_kernels
def test_an_unknown_variant_is_refused_and_the_one_in_use_stays():
    for name in ("", "sse", "python", "Portable"):
        with pytest.raises(ValueError, match="no kernels named"):
            native.choose(name)
    cell = RNNCell(16, 16, 8, 100)
    assert stepped(cell, torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1))[0].tolist() == [[1]]
