"""Affine maps and convolutions of every awkward size, with all that their kernels take on behind them."""

import numpy as np
import pytest
from judge import VARIANTS, Program, ends, judged, judged_sequences

from zahlen.engine import products
from zahlen.engine.staircases import Steps
from zahlen.kernels import native
from zahlen.machine import Builder, Levels

CHANNELS = (1, 3, 10, 15, 16, 17, 31, 33, 63, 64, 65, 129)
WIDTHS = (1, 2, 3, 5, 63, 64, 65, 200)
BATCHES = (1, 2, 3, 5, 6, 7, 12, 13, 129, 300)
INPUTS = {
    "bytes": Levels(0, 255),
    "signed": Levels(-128, 127),
    "odd": Levels.odd(16),
    "words": Levels(-(2**15), 2**15 - 1),
    "unsigned": Levels(0, 2**16 - 1),
    "far": Levels(1000, 1100),
    "large": Levels(-(2**20), 2**20),
}
WEIGHTS = {"8 bits": (-128, 127), "16 bits": (-(2**15), 2**15 - 1), "17 bits": (-(2**16), 2**16), "3": (-1, 1)}


def drawn(rng, lo, hi, shape):
    """Integers of lo..hi, many of them at the ends."""
    values = rng.integers(lo, hi + 1, shape)
    return np.where(rng.random(shape) < 0.3, rng.choice((lo, hi), shape), values)


def stepped(b, z, rng, count=None, *, axis=None, style="even"):
    """A staircase to bytes behind z, which is to be reached in most of its steps."""
    lo, hi = z.alphabet.lo, z.alphabet.hi
    count = int(rng.choice((1, 2, 7, 15, 16, 17, 40, 100, 255))) if count is None else count
    rows = () if axis is None else (z.shape[axis],)
    centre, spread = (lo + hi) // 2, max(8, (hi - lo) // 8)
    thresholds = np.sort(
        rng.integers(max(lo - 2, centre - spread), min(hi + 3, centre + spread), (*rows, count)), axis=-1
    )
    if style == "equal":
        thresholds = thresholds // 16 * 16
    if style == "ends":
        thresholds[..., 0], thresholds[..., -1] = lo, hi + 1
    if style == "beyond":
        thresholds[..., : count // 2], thresholds[..., -1] = -(2**40), 2**40
        thresholds = np.sort(thresholds, axis=-1)
    values = {
        "falling": lambda: np.arange(count, -1, -1),
        "uneven": lambda: np.sort(rng.integers(-50, 200, count + 1)),
        "gaps of 2": lambda: np.arange(count + 1) * 2 - count,
        "up and down": lambda: rng.integers(-9, 9, count + 1),
    }.get(style, lambda: np.arange(count + 1) - 7)()
    return b.staircase(z, thresholds, np.broadcast_to(values, (*rows, count + 1)), axis=axis or 0)


STYLES = ("even", "equal", "ends", "beyond", "falling", "uneven", "gaps of 2", "up and down")


def compare(machine, rng, *, batches=BATCHES, most=None, variants=VARIANTS):
    """Outputs alone (products and what follows at once), then every wire."""
    work = max(1, machine.multiplies)
    most = max(1, min(max(batches), 20_000_000 // work if most is None else most))
    inputs = {
        name: ends(machine.wires[name].alphabet, rng, (most, *machine.wires[name].shape)) for name in machine.inputs
    }
    assert judged(machine, inputs, {}, machine.outputs, variants, batches)
    few = {name: x[:7] for name, x in inputs.items()}
    assert judged(machine, few, {}, tuple(machine.wires), variants)


# ---------------------------------------------------------------------------------------------------- affine maps


@pytest.mark.parametrize("channels", CHANNELS)
def test_affine_maps_of_odd_sizes(channels):
    rng = np.random.default_rng(channels)
    for k, width in enumerate(WIDTHS):
        alphabet = list(INPUTS.values())[(k + channels) % len(INPUTS)]
        lo, hi = WEIGHTS[rng.choice(list(WEIGHTS))]
        b = Builder()
        z = b.affine(
            b.input("x", (width,), alphabet), drawn(rng, lo, hi, (channels, width)), drawn(rng, -9, 9, channels)
        )
        out = stepped(b, z, rng, style=STYLES[k], axis=0 if rng.random() < 0.3 else None) if k % 3 else z
        compare(b.build(out), rng)


@pytest.mark.parametrize("x", INPUTS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_integers_at_their_ends(x, weights):
    rng = np.random.default_rng([len(x), len(weights)])
    lo, hi = WEIGHTS[weights]
    for width, channels in ((1, 17), (5, 33), (64, 3), (65, 16)):
        weight = rng.choice((lo, hi), (channels, width))
        weight[0], weight[-1] = lo, hi
        b = Builder()
        z = b.affine(b.input("x", (width,), INPUTS[x]), weight)
        compare(b.build(z), rng, batches=(1, 2, 7, 13))
        b = Builder()
        z = b.affine(b.input("x", (width,), INPUTS[x]), weight)
        compare(b.build(stepped(b, z, rng, style="ends")), rng, batches=(1, 2, 7, 13))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("count", [1, 2, 3, 14, 15, 16, 17, 31, 32, 64, 254, 255, 256, 257, 1000])
def test_staircases_behind_products(count, style):
    rng = np.random.default_rng([count, len(style)])
    b = Builder()
    x = b.input("x", (30,), Levels(-128, 127))
    z = b.affine(x, drawn(rng, -128, 127, (19, 30)), rng.integers(-999, 999, 19))
    outs = [stepped(b, z, rng, count, style=style, axis=axis) for axis in (None, 0)]
    for out in outs:
        compare(b.build(out), rng, batches=(1, 2, 13), most=60)
    compare(b.build(*outs, z), rng, batches=(1, 2, 13), most=60)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 7), (1, 1, 1, 6)])
def test_affine_maps_of_several_rows_in_any_order(shape):
    rng = np.random.default_rng(len(shape))
    for axes in ([*range(len(shape))], [*range(len(shape))][::-1], [len(shape) - 1, *range(len(shape) - 1)]):
        b = Builder()
        x = b.transpose(b.input("x", shape, Levels(-8, 7)), axes)
        part = b.slice(x, [0] * len(shape), x.shape, [1] * (len(shape) - 1) + [2])
        for operand in (x, part):
            z = b.affine(operand, rng.integers(-128, 128, (17, operand.shape[-1])), rng.integers(-9, 9, 17))
            outs = [z, stepped(b, z, rng, 9), stepped(b, z, rng, 9, axis=len(shape) - 1), stepped(b, z, rng, 9, axis=0)]
            compare(b.build(*outs), rng, batches=(1, 2, 13), most=30)
            compare(b.build(outs[1]), rng, batches=(1, 2, 13), most=30)
            compare(b.build(outs[2]), rng, batches=(1, 2, 13), most=30)


# ---------------------------------------------------------------------------------------------------- convolutions


def random_conv(rng, axes, alphabet=None):
    """A builder, its convolution and its operand."""
    groups = int(rng.choice((1, 1, 1, 2, 3)))
    width = groups * int(rng.choice((1, 2, 3, 5, 8, 16, 21)))
    out = groups * int(rng.choice((1, 3, 5, 10, 16, 17, 33)))
    kernel = [int(rng.integers(1, 5)) for _ in range(axes)]
    dilation = [int(rng.choice((1, 1, 2, 3))) for _ in range(axes)]
    padding = [tuple(int(v) for v in rng.choice((0, 0, 1, 2, 3), 2)) for _ in range(axes)]
    stride = [int(rng.choice((1, 1, 2, 3))) for _ in range(axes)]
    sizes = [max(1, d * (k - 1) + 1 - sum(p)) + int(rng.integers(0, 9)) for d, k, p in zip(dilation, kernel, padding)]
    alphabet = INPUTS[rng.choice(list(INPUTS))] if alphabet is None else alphabet
    lo, hi = WEIGHTS[rng.choice(("8 bits", "8 bits", "3", "16 bits"))]
    b = Builder()
    x = b.input("x", (width, *sizes), alphabet)
    z = b.conv(
        x, drawn(rng, lo, hi, (out, width // groups, *kernel)), rng.integers(-99, 99, out), stride=stride,
        padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    return b, z


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_convolutions(axes, seed):
    rng = np.random.default_rng([axes, seed])
    for style in STYLES:
        b, z = random_conv(rng, axes)
        out = stepped(b, z, rng, style=style, axis=0 if rng.random() < 0.3 else None) if rng.random() < 0.8 else z
        compare(b.build(out), rng, batches=(1, 2, 5, 13), most=13 if z.size < 3000 else 3)


@pytest.mark.parametrize("size", [(2, 2), (4, 1), (1, 4), (4,)])
@pytest.mark.parametrize("order", ["pool first", "staircase first", "between"])
def test_the_greatest_of_four_neighbours(size, order):
    rng = np.random.default_rng([len(size), size[0], len(order)])
    found = 0
    while found < 6:
        b, z = random_conv(rng, len(size), alphabet=Levels(0, 15))
        if any(n < s for n, s in zip(z.shape[1:], size)):
            continue
        style, axis = rng.choice(STYLES), 0 if rng.random() < 0.5 else None
        if order == "pool first":
            out = stepped(b, b.maxpool(z, size), rng, 15, style=style, axis=axis)
        else:
            out = b.maxpool(stepped(b, z, rng, 15, style=style, axis=axis), size)
        if order == "between":  # what follows is one more convolution, with padding
            w = rng.integers(-9, 9, (5, out.shape[0], *[3] * len(size)))
            out = stepped(b, b.conv(out, w, padding=[1] * len(size)), rng, 15)
        compare(b.build(out), rng, batches=(1, 2, 5), most=5)
        found += 1


def test_convolutions_share_an_operand_with_different_paddings():
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input("x", (3, 9, 8), Levels(-4, 251))
    y = stepped(b, b.conv(x, rng.integers(-9, 9, (5, 3, 3, 3)), padding=1), rng, 16)
    outs = [
        b.conv(y, rng.integers(-9, 9, (4, 5, k, k)), padding=((p, q), (q, p)))
        for k, p, q in ((1, 0, 0), (3, 1, 1), (5, 3, 0), (3, 0, 2))
    ]
    outs += [b.maxpool(y, (3, 3), padding=1), b.sumpool(y, (2, 3), padding=((1, 0), (0, 2))), b.reshape(y, (5, 72))]
    outs += [b.conv(outs[-1], rng.integers(-9, 9, (4, 5, 4)), padding=((3, 1),), dilation=(2,))]
    compare(b.build(*outs), rng, batches=(1, 3), most=9)


# ---------------------------------------------------------------------------------------------------- two values


@pytest.mark.parametrize(
    "x", [(-1, 1, 2), (0, 1, 1), (5, 9, 4), (-100, 155, 255), (-3, -2, 1), (0, 255, 255), (0, 300, 300)]
)
@pytest.mark.parametrize(
    "weights", [(-1, 1), (0, 1), (-1, 0), (3, 3), (0, 0), (-7, 20), (-128, 127), (2**11, -(2**11) - 1)]
)
def test_inputs_and_weights_of_two_values(x, weights):
    """Which are counted as bits where there are many of them."""
    rng = np.random.default_rng([x[1] + 200, abs(weights[0])])
    for width in rng.choice((31, 32, 33, 63, 64, 65, 96, 200, 1000), 2):
        channels = int(rng.choice(CHANNELS))
        for style in ("even", "uneven", "falling", None):
            b = Builder()
            z = b.affine(
                b.input("x", (int(width),), Levels(*x)),
                rng.choice(weights, (channels, width)),
                drawn(rng, -99, 99, channels),
            )
            out = z if style is None else stepped(b, z, rng, style=style, axis=0 if rng.random() < 0.3 else None)
            compare(b.build(out), rng, batches=(1, 2, 7, 13), most=40)


def test_rows_of_two_values_in_any_order_and_between_steps():
    rng = np.random.default_rng(9)
    b = Builder()
    x = b.input("x", (3, 4, 40), Levels.odd(2))
    for axes in ((0, 1, 2), (1, 0, 2), (0, 2, 1)):
        turned = b.transpose(x, axes)
        parts = [turned, b.slice(turned, (0, 0, 0), (2, turned.shape[1], turned.shape[2]), (1, 1, 2))]
        flat = b.reshape(turned, (480,))
        for part in (*parts, flat):
            z = b.affine(part, rng.choice((-1, 1), (17, part.shape[-1])))
            compare(b.build(z), rng, batches=(1, 2, 13), most=13)
            compare(b.build(stepped(b, z, rng, 3)), rng, batches=(1, 2, 13), most=13)
    b = Builder()
    x = b.input("x", (3,), Levels(-9, 9))
    h = b.register("h", (50,), Levels.odd(2), initial=1)
    z = b.add(b.affine(x, rng.integers(-9, 9, (50, 3))), b.affine(h, rng.choice((-1, 1), (50, 50))))
    y = b.staircase(z, [1], [-1, 1])
    b.connect(h, y)
    machine = b.build(b.affine(y, rng.choice((-2, 3), (7, 50))))
    for batch, time in ((1, 9), (13, 3), (150, 2)):
        assert judged_sequences(machine, {"x": rng.integers(-9, 10, (batch, time, 3))}, None)


# ---------------------------------------------------------------------------------------------------- the ends of sums


@pytest.mark.parametrize("bias", [2**31 - 1, 2**31 - 2, -(2**31), -(2**31) + 1, 2**31, 0, 2**33])
def test_sums_beside_the_end_of_32_bits(bias):
    rng = np.random.default_rng(1)
    for alphabet, weight in ((Levels(0, 255), 127), (Levels(-(2**15), 2**15 - 1), 2**15 - 1), (Levels(0, 2**20), 1)):
        for terms in (1, 2, 3, 7):
            reach = weight * terms * max(alphabet.hi, -alphabet.lo)
            b = Builder()
            x = b.input("x", (terms,), alphabet)
            rows = np.array([[weight] * terms, [-weight] * terms])
            offsets = np.array([bias - reach, bias + reach])
            z = b.affine(x, rows, offsets)
            t = sorted((bias - 3, bias - 1, bias, bias + 1, bias + 2))
            compare(b.build(z, b.staircase(z, t, range(6))), rng, batches=(1, 2, 13), most=40)
            compare(b.build(b.staircase(z, t, range(6))), rng, batches=(1, 2, 13), most=40)
            compare(b.build(b.staircase(z, [t, t], [range(6)] * 2)), rng, batches=(1, 2, 13), most=40)


@pytest.mark.parametrize("lo", [0, -128, -5, 7])
def test_pairs_of_bytes_fit_into_16_bits_to_the_last_one(lo):
    """Two products of up to 255 times 127 are too many; the ends are 32767 and -32768."""
    rng = np.random.default_rng(3)
    for top in (255, 128, 217, 31, 1):
        b = Builder()
        x = b.input("x", (7,), Levels(lo, lo + top))
        edge, least = 32767 // top, -32768 // top
        outs = []
        for total in (edge, edge + 1, least, least - 1):
            for a in (total // 2, total - 127 if total > 0 else total + 128, 0):
                pair = [a, total - a]
                if all(-128 <= v <= 127 for v in pair):
                    rows = [[*pair, *pair, *pair, 0], [0, *pair, 1, *pair, -1], [pair[0], *pair[::-1], *pair, *pair]]
                    outs.append(b.affine(x, rows))
        for out in outs:
            compare(b.build(out), rng, batches=(1, 2, 13), most=20)
            z = b.staircase(out, [out.alphabet.hi - 1, out.alphabet.hi], [0, 1, 2])
            compare(b.build(z), rng, batches=(1, 2, 13), most=20)


@pytest.mark.skipif("avx2" not in VARIANTS, reason="another kind of processor")
def test_where_bytes_are_multiplied_in_pairs():
    native.choose("avx2")
    for weight, kernel in ((64, "8-bit products, pairs in 16 bits"), (65, "16-bit products")):
        b = Builder()
        x = b.input("x", (2,), Levels(0, 255))
        z = b.affine(x, [[64, weight]])
        program = Program(b.build(z))
        assert kernel in str(program)
        out = program.empty(1)
        program.run_into(np.full((1, 2), 255, np.uint8), out)
        assert out == [[255 * (64 + weight)]]


@pytest.mark.skipif("avx2" not in VARIANTS, reason="another kind of processor")
@pytest.mark.parametrize(
    ("top", "weight", "depth"), [(64, -64, 4), (64, 64, 3), (30, 127, 4), (15, 127, 8), (15, -128, 8), (2, 127, 64)]
)
@pytest.mark.parametrize("kind", ["affine", "conv"])
def test_sums_of_16_bits_go_on_as_far_as_they_hold(top, weight, depth, kind, monkeypatch):
    """Greatest inputs times greatest weights reach the end of 16 bits; one dword more is too much."""
    native.choose("avx2")
    dwords, channels = 2 * depth + 3, 70
    b = Builder()
    if kind == "affine":
        x = b.input("x", (4 * dwords - 1,), Levels(0, top))
        b.affine(x, np.full((channels, 4 * dwords - 1), weight), name="z")
    else:
        x = b.input("x", (dwords - 1, 9), Levels(0, top))
        b.conv(x, np.full((channels, dwords - 1, 4), weight), name="z")
    machine = b.build("z")
    inputs = np.full((14, *machine.wires["x"].shape), top, np.uint8)

    def right(batch):
        program = Program(machine)
        out = program.empty(batch)
        program.run_into(inputs[:batch], out)
        return bool((out == machine.run(inputs[:batch], executor="reference")).all())

    stored = machine.wires["z"].operation.weight
    shape = stored[:, None] if kind == "affine" else stored.transpose(0, 2, 1).reshape(channels, 1, -1)
    assert products.deepest(shape, top)[0] == depth
    assert products.together(shape, top, depth) is not None
    assert f"sums of {2 * depth} products" in str(Program(machine))
    assert all(right(batch) for batch in (1, 2, 3, 4, 13, 14))
    assert products.together(shape, top, depth + 1) is None
    monkeypatch.setattr(products, "deepest", lambda *_: (depth + 1, "too deep"))
    assert not any(right(batch) for batch in (1, 2, 4, 14))


@pytest.mark.parametrize("levels", [2, 4, 16])
@pytest.mark.parametrize("channels", [5, 64, 130])
def test_few_levels_times_bytes(levels, channels):
    """Sums of 16 bits to a depth that differs from matrix to matrix, with all that follows."""
    rng = np.random.default_rng(levels * channels)
    for width in (8, 9, 37, 200):
        b = Builder()
        x = b.input("x", (width,), Levels(0, levels - 1))
        most = rng.choice([3, 40, 127])
        z = b.affine(x, drawn(rng, -most, most, (channels, width)), rng.integers(-99, 99, channels))
        compare(b.build(z), rng, batches=(1, 2, 5, 13))
        compare(b.build(stepped(b, z, rng, 15)), rng, batches=(1, 2, 5, 13))


@pytest.mark.parametrize("seed", range(20))
def test_buckets_in_registers(seed):
    """The kernels' arithmetic in NumPy, for thresholds of every span, beside each of them and far away."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(100):
        count, scale = rng.integers(1, 16), 10 ** rng.uniform(0.5, 8.9)
        points = np.arctanh((2 * np.arange(count) - count + 1) / (count + 1)) if seed % 2 else rng.uniform(-1, 1, count)
        t = np.unique((points * scale + rng.integers(-100, 100)).astype(np.int64))
        near = Steps(t, np.arange(len(t) + 1)).near()
        if near is None:
            continue
        lo, hi, before, table = near
        *entries, factor, behind = table.tolist()
        x = np.concatenate([t - 1, t, t + 1, [-(2**31), lo - 1, hi + 1, 2**31 - 1], rng.integers(lo - 9, hi + 9, 99)])
        y = np.clip(x, lo, hi) - lo
        assert (y >> before).max() < 2**16
        assert 0 < factor < 2**16
        entered = y + np.array(entries)[(y >> before) * factor >> 16]
        assert (entered >= 0).all()
        assert (entered < 2**31).all()
        assert ((entered >> behind) == np.searchsorted(t, x, side="right")).all()
        found += 1
    assert found > 50


# ---------------------------------------------------------------------------------------------------- recurrent layers


@pytest.mark.parametrize("units", [1, 15, 33, 64, 129])
def test_recurrent_layers(units):
    rng = np.random.default_rng(units)
    for alphabet, reads in ((Levels(0, 4), 3), (Levels(-128, 127), 17), (Levels(-300, 300), 1)):
        for style in ("even", "gaps of 2", "falling"):
            b = Builder()
            x = b.input("x", (reads,), alphabet)
            h = b.register("h", (units,), Levels(-128, 255))
            a = b.affine(x, drawn(rng, -128, 127, (units, reads)), rng.integers(-9, 9, units))
            z = b.affine(h, drawn(rng, -128, 127, (units, units)), rng.integers(-9, 9, units))
            s = b.add(a, z) if rng.random() < 0.5 else b.add(z, a)
            y = stepped(b, s, rng, 15, style=style)
            b.connect(h, y)
            out = b.affine(y, drawn(rng, -128, 127, (5, units)))
            machine = b.build(out)
            for batch, time in ((1, 7), (13, 3), (130, 2), (2, 140)):
                sequences = {"x": ends(alphabet, rng, (batch * time, reads)).reshape(batch, time, reads)}
                state = {"h": ends(Levels(-128, 255), rng, (batch, units))} if time == 3 else None
                assert judged_sequences(machine, sequences, state)


def lstm(units, order, extra, *, reads=5, cell=127, shift=0, style="even"):
    """A step of an LSTM with gates in this order; whoever reads `extra` as well."""
    rng, b = np.random.default_rng(units), Builder()
    x, h = b.input("x", (reads,), Levels(0, 255)), b.register("h", (units,), Levels(-14, 14))
    c = b.register("c", (units,), Levels(-cell, cell))
    a = b.affine(x, drawn(rng, -128, 127, (4 * units, reads)), rng.integers(-999, 999, 4 * units))
    r = b.affine(h, drawn(rng, -128, 127, (4 * units, units)), rng.integers(-999, 999, 4 * units))
    z = b.add(a, b.shift(r, -shift) if shift else r, name="z")
    parts = {g: b.slice(z, (k * units,), ((k + 1) * units,)) for k, g in enumerate(order)}
    ends = np.sort(rng.choice(np.arange(-9000, 9000, 7 if style == "gaps" else 613), 15, replace=False))
    odd = np.arange(-7, 8) * 1000 + rng.integers(-300, 300, 15)
    rising = np.linspace(0, 256, 16).round().astype(int)
    i, f, o = (b.staircase(parts[g], ends, rising) for g in "ifo")
    g = b.staircase(parts["g"], odd, np.linspace(-128, 128, 16).round().astype(int))
    total = b.add(b.mul(f, c), b.shift(b.mul(i, g), -1))
    c_next = b.clamp(b.shift(total, 8, "half_up"), -cell, cell, name="cell")
    t = b.staircase(c_next, np.unique(np.linspace(-cell, cell, 13).astype(int)), 20 * np.arange(14) - 130)
    level = b.staircase(b.mul(o, t), np.linspace(-30000, 30000, 14).astype(int), 2 * np.arange(15) - 14, name="level")
    b.connect(h, level)
    b.connect(c, c_next)
    logits = b.affine(level, drawn(rng, -9, 9, (3, units)), name="logits")
    return b.build(logits, *{"z": [z], "level": [level], "cell": [c_next]}.get(extra, []))


@pytest.mark.parametrize("units", [31, 32, 64, 96])
@pytest.mark.parametrize("extra", ["", "level", "cell", "z"])
def test_cells_are_done_with_their_products(units, extra):
    """Also where somebody else wants the sums, and they are not; for gates in another order; with any staircases."""
    rng = np.random.default_rng(units)
    for order, cell, shift, style in (
        ("ifgo", 127, 3, "even"), ("ifgo", 32767, 0, "gaps"), ("ogif", 127, 0, "even"), ("ifog", 2000, 1, "even"),
    ):  # fmt: skip
        machine = lstm(units, order, extra, cell=cell, shift=shift, style=style)
        for batch, times in ((1, 5), (2, 3), (13, 3), (30, 2)):
            state = {n: ends(machine.wires[n].alphabet, rng, (batch, units)) for n in "hc"} if times == 3 else None
            assert judged_sequences(machine, {"x": rng.integers(0, 256, (batch, times, 5))}, state)
