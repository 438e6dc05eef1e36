"""Emitted C that trains: after every step it is where Python is, whatever the network, the rule and the processor."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emit.compilers import CORTEX, CORTEX_M3, FLOATS, SANITIZED, STRICT, TARGETS, need, shell
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from zahlen import Levels, data, integer
from zahlen.c99 import smallest_of, table_lines
from zahlen.integer import arithmetic as do
from zahlen.integer import c
from zahlen.integer.chance import Chance
from zahlen.machine import EmitError, LayerError

DRIVER = """\
#include <inttypes.h>
#include <stdio.h>

#include "train.h"

static train_state s;

static int64_t number(void) {
    int64_t n = 0;
    return scanf("%" SCNd64, &n) == 1 ? n : 0;
}

static void show(int64_t right) {
    printf("%" PRId64 " %" PRId64 " %" PRId64, s.clamps, s.loss, right);
    for (int32_t k = 0; k < TRAIN_PARAMETERS; k++) {
        printf(" %" PRId32 " %" PRId32, s.latent[k], s.momentum[k]);
    }
    printf(" %" PRIu32 "\\n", train_hash(&s));
}

int main(void) {
    train_init(&s@init);
    show(0);
    for (int64_t steps = number(), t = 0; t < steps; t++) {
        int64_t right = 0;
        for (int64_t n = number(); n > 0; n--) {
            @element x[@size];
            for (int32_t i = 0; i < @size; i++) {
                x[i] = (@element)number();
            }
            const int32_t label = (int32_t)number();
            right += train_sample(&s, x, label) == label;
        }
        train_update(&s, (uint32_t)(steps - t), (uint32_t)steps@seed);
        show(right);
    }
    return 0;
}
"""


def network(*, levels: int = 16, weights: int = 255, seed: int = 0) -> integer.Sequential:
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Flatten(),
        integer.Linear(64, 32, weights=weights), integer.TanhD(levels), integer.Linear(32, 10), seed=seed,
    )  # fmt: skip


def steps_of(model: integer.Sequential, count: int, samples: int, seed: int) -> list[tuple[Any, Any]]:
    """Random batches, some of whose samples have no label."""
    rng, alphabet = np.random.default_rng(seed), model.input.alphabet
    classes = model.output.shape[0]
    return [
        (
            alphabet.lo + alphabet.step * rng.integers(0, alphabet.size, (n, *model.input.shape)),
            rng.integers(-1 if n > 2 else 0, classes, n).astype(np.int32),
        )
        for n in rng.integers(1, samples + 1, count).tolist()
    ]


def in_python(model: integer.Sequential, rule: integer.Momentum, batch: int, steps: list[tuple[Any, Any]]) -> list[Any]:
    """What the driver prints."""
    model.announce(model.bits, batch)
    parameters = list(model.parameters())
    taken, loss, right = 0, 0, 0

    def seen() -> list[int]:
        latent, momentum = (np.concatenate([getattr(p, n).ravel() for p in parameters]) for n in ("latent", "momentum"))
        clamps = taken + sum(layer.clamps for layer in model.layers())
        return [clamps, loss, right, *np.stack([latent, momentum], 1).ravel().tolist(), c.state_hash(model)]

    found = [seen()]
    for t, (x, labels) in enumerate(steps):
        delta, more, right = do.softmax(model(x), labels, model.unit, model.bits)
        model.backward(delta)
        taken += rule.step(parameters, batch, Fraction(len(steps) - t, len(steps)), t)
        loss += more
        found.append(seen())
    return found


def compiled(folder: Path, program: c.Sources, main: str, cc: Any, flags: Any) -> Path:
    for file, text in (("train.h", program.header), ("train.c", program.source), ("main.c", main)):
        (folder / file).write_text(text)
    shell([*cc, *flags, folder / "train.c", folder / "main.c", "-o", folder / "main"])
    return folder / "main"


def in_c(
    folder: Path, program: c.Sources, steps: list[tuple[Any, Any]], seed: int, cc: Any, flags: Any, runner: Any = ()
) -> list[list[int]]:
    element, size = re.findall(r"const (\w+) x\[(\d+)\]", program.header)[0]
    driver = DRIVER.replace("@element", element).replace("@size", size)
    driver = driver.replace("@init", f", {seed}u" if "uint64_t seed" in program.header else "")
    driver = driver.replace("@seed", ", (uint32_t)t" if "uint32_t seed" in program.header else "")
    main = compiled(folder, program, driver, cc, flags)
    numbers = [len(steps)]
    for x, labels in steps:
        numbers += [len(x), *np.concatenate([x.reshape(len(x), -1), labels[:, None]], 1).ravel().tolist()]
    done = subprocess.run([*runner, main], input=" ".join(map(str, numbers)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [list(map(int, line.split())) for line in done.stdout.splitlines()]


INPUT, LINEAR = integer.Input((4,), Levels(0, 3)), integer.Linear(4, 4)

ACTIVATIONS = [
    lambda: integer.TanhD(2), lambda: integer.TanhD(16), lambda: integer.TanhD(5), integer.Sign, integer.Heaviside,
    lambda: integer.SigmoidD(7), lambda: integer.ReLUD(16), lambda: integer.ReLUD(3, Fraction(7, 3)),
    lambda: integer.HardTanhD(9),
]  # fmt: skip
INPUTS = [
    (Levels(0, 16), 5, Fraction(6)), (Levels(0, 1), 0, Fraction(1)), (Levels(-9, 9, 3), 0, Fraction(5, 2)),
    (Levels(0, 255), 33, Fraction(90)), (Levels(-3, 3), 0, Fraction(2)), (Levels(70000, 70009), 70004, Fraction(3)),
]  # fmt: skip


@st.composite
def networks(draw: Any) -> integer.Sequential:
    alphabet, offset, unit = draw(st.sampled_from(INPUTS))
    width = draw(st.integers(1, 12))
    layers: list[integer.Layer] = [integer.Input((width,), alphabet, offset=offset, unit=unit)]
    if width % 6 == 0 and draw(st.booleans()):  # images, which lie otherwise in Python's memory
        image = integer.Input((3, width // 6, 2), alphabet, offset=offset, unit=unit)
        layers = [image, integer.Reshape(2, 3, width // 6), integer.Flatten()]
    if draw(st.integers(0, 3)) == 0:
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        mean, deviation = rng.integers(alphabet.lo - offset, alphabet.hi - offset + 1, width), rng.integers(0, 9, width)
        layers.append(integer.Standardise(mean, deviation, limit=draw(st.sampled_from([3, 127]))))
    for out in [*draw(st.lists(st.integers(1, 9), max_size=3)), -draw(st.integers(1, 6))]:
        scale = draw(st.sampled_from([None, None, 1, 3]))
        weights = draw(st.sampled_from([2, 3, 15, 255, Levels(-2, 9), Levels(-31, 33, 2)]))
        layers.append(integer.Linear(width, abs(out), draw(st.booleans()), weights=weights, scale=scale))
        layers += [draw(st.sampled_from(ACTIVATIONS))()] * (out > 0)
        width = abs(out)
    return integer.Sequential(*layers, seed=draw(st.integers(0, 9)), bits=draw(st.sampled_from([14, 14, 8, 1])))


RULES = st.builds(
    integer.Momentum, st.sampled_from(["0.1", "3", "0.007", Fraction(1, 7), Fraction(205, 4096)]), st.integers(0, 15),
    st.sampled_from([0, 0, 3, 12]), st.booleans(),
)  # fmt: skip


# a compiler is too slow for hypothesis to look for simpler examples
@settings(max_examples=25, phases=(Phase.explicit, Phase.generate))
@given(networks(), RULES, st.sampled_from([9, 64, 3000, 10**6]), st.sampled_from(c.START), st.integers(0, 999))
def test_every_network_is_after_every_step_where_python_is(
    tmp_path_factory: pytest.TempPathFactory, model: Any, rule: Any, batch: int, start: str, seed: int
) -> None:
    need("gcc")
    steps = steps_of(model, 6, 9, seed)
    program = c.source(model, rule, batch=batch, start=start)
    found = in_c(tmp_path_factory.mktemp("c"), program, steps, model.seed, ["gcc"], SANITIZED)
    assert found == in_python(model, rule, batch, steps)


# ---------------------------------------------------------------------------------------------------- clamps and widths


def wild() -> tuple[integer.Sequential, integer.Momentum]:
    """A network and a rate at which nothing stays where it is to be."""
    model = integer.Sequential(
        integer.Input((6,), Levels(0, 255)), integer.Linear(6, 5), integer.TanhD(16),
        integer.Linear(5, 3, weights=Levels(-4000, 4000), scale=1), integer.HardTanhD(9), integer.Linear(3, 4, scale=3),
    )  # fmt: skip
    return model, integer.Momentum(4000, decay=15)


def slow() -> tuple[integer.Sequential, integer.Momentum]:
    """A network that hardly learns, with momentum that is hardly lost."""
    model = integer.Sequential(integer.Input((6,), Levels(0, 255)), integer.Linear(6, 4))
    return model, integer.Momentum(Fraction(1, 2**26), decay=15)


@pytest.mark.parametrize("make", [wild, slow])
@pytest.mark.parametrize(("batch", "held"), [(9, "int32_t"), (300, "int64_t")])
def test_all_that_is_clamped_is_counted(tmp_path: Path, batch: int, held: str, make: Any) -> None:
    need("gcc")
    model, rule = make()
    steps = [(np.full((batch, 6), 255), np.arange(batch, dtype=np.int32) % 4)] * 90 + steps_of(model, 5, batch, 1)
    program = c.source(model, rule, batch=batch)
    assert f"{held} gradient[" in program.header
    wanted = in_python(model, rule, batch, steps)
    assert in_c(tmp_path, program, steps, 0, ["gcc"], SANITIZED) == wanted
    if make is slow:
        assert max(abs(m) for found in wanted for m in found[4:-1:2]) == do.INT32
    else:
        assert 0 < sum(layer.clamps for layer in model.layers()) < wanted[-1][0]


def test_the_way_back_is_clamped_on_both_sides_and_has_sums_beyond_32_bits(tmp_path: Path) -> None:
    need("gcc")
    grid = Levels(-32000, 32000)
    model = integer.Sequential(
        INPUT, integer.Linear(4, 5, False), integer.TanhD(3), integer.Linear(5, 5, False, weights=grid, scale=1),
        integer.TanhD(3), integer.Linear(5, 2, False, weights=grid, scale=1),
    )  # fmt: skip
    first, second, third = model.parameters()
    first.latent[...] = 0  # no sum leaves zero, where slopes are greatest
    second.latent[...] = 32000 << second.fraction
    third.latent[...] = [[32000 << third.fraction, -32000 << third.fraction]] * 5
    second.latent[:, 1] *= -1
    for p in model.parameters():
        p.refresh()
    rule = integer.Momentum(Fraction(1, 2**20))
    x, program = np.full((1, 4), 3), c.source(model, rule, start="weights")
    steps = [(x, np.array([0], np.int32)), (x, np.array([1], np.int32))]
    wanted = in_python(model, rule, 64, steps)
    assert wanted[-1][0] > 0
    assert in_c(tmp_path, program, steps, 0, ["gcc"], SANITIZED) == wanted


# ---------------------------------------------------------------------------------------------------- the digits

DIGITS = """\
#include <stdio.h>

#include "digits.h"
#include "train.h"

#define EPOCHS 2

static train_state s;
static uint16_t order[sizeof train_y];

int main(void) {
    uint64_t generator = 0;
    uint32_t left = EPOCHS * ((sizeof train_y + TRAIN_BATCH - 1) / TRAIN_BATCH), steps = left, right = 0;
    train_init(&s, 0);
    while (left > 0) {
        train_shuffle(&generator, order, sizeof train_y);
        for (uint32_t k = 0; k < sizeof train_y; k++) {
            train_sample(&s, train_x + 64 * order[k], train_y[order[k]]);
            if (s.samples == TRAIN_BATCH || k + 1 == sizeof train_y) {
                train_update(&s, left, steps@seed);
                left--;
                printf("%08lx\\n", (unsigned long)train_hash(&s));
            }
        }
    }
    for (uint32_t n = 0; n < sizeof test_y; n++) {
        right += train_predict(&s, test_x + 64 * n) == test_y[n];
    }
    printf("%lu\\n", (unsigned long)right);
    return 0;
}
"""


LM3S = ("--specs=rdimon.specs", "-T", str(CORTEX / "mps2.ld"), "-Wl,--defsym=__flash=256K,--defsym=__ram=64K")
PROCESSORS = {
    "host": (("gcc",), ()),
    "s390x": TARGETS["s390x"],
    "aarch64": (("aarch64-linux-gnu-gcc", "-static"), ("qemu-aarch64",)),
    "cortex-m3": ((*CORTEX_M3, *LM3S), ("env", "BOARD=lm3s6965evb", str(CORTEX / "run"))),
}
"""Big-endian too; and a board without an operating system, with 256 KB of flash and 64 KB of RAM."""


def digits(folder: Path) -> Any:
    """The bundled digits, also as tables in C."""
    found = data.load("digits")
    arrays = {f"{p}_{n}": getattr(getattr(found, p), n) for p in ("train", "test") for n in ("x", "y")}
    tables = [line for name, array in arrays.items() for line in table_lines(name, smallest_of(array), array)]
    (folder / "digits.h").write_text("\n".join(["#include <stdint.h>", *tables, ""]))
    return found


def digits_in_python(rule: integer.Momentum, found: Any) -> list[str]:
    model, chance, hashes = network(), Chance(0), []
    model.announce(model.bits, 64)
    y, total = found.train.y.astype(np.int32), 2 * -(-len(found.train.y) // 64)
    for _ in range(2):
        order = chance.permutation(len(y))
        for first in range(0, len(y), 64):
            rows = order[first : first + 64]
            delta, _, _ = do.softmax(model(found.train.x[rows]), y[rows], model.unit, model.bits)
            model.backward(delta)
            left = total - len(hashes)
            rule.step(model.parameters(), 64, Fraction(left, total), left)
            hashes.append(f"{c.state_hash(model):08x}")
    return [*hashes, str(int((model(found.test.x).argmax(1) == found.test.y).sum()))]


@pytest.mark.parametrize("random", [False, True], ids=["nearest", "random"])
@pytest.mark.parametrize("on", PROCESSORS)
def test_digits_are_learnt_step_by_step_as_in_python(tmp_path: Path, on: str, random: bool) -> None:
    cc, runner = PROCESSORS[on]
    need(cc[0], *(["qemu-system-arm"] if on == "cortex-m3" else runner))
    rule, found = integer.Momentum("0.1", random=random), digits(tmp_path)
    main = DIGITS.replace("@seed", ", left" if random else "")
    program = compiled(tmp_path, c.source(network(), rule), main, cc, [*STRICT, "-O2"])
    lines = shell([*runner, program]).split()
    assert lines == digits_in_python(rule, found)
    assert int(lines[-1]) > 0.85 * len(found.test.y)


EPOCHS = """\
#include <stdio.h>

#include "digits.h"
#include "train.h"

int main(void) {
    static train_state s;
    static uint16_t order[sizeof train_y];
    uint64_t generator = 5;
    train_init(&s, 3);
    for (uint32_t epoch = 0; epoch < 3; epoch++) {
        const uint32_t right = train_epoch(&s, train_x, train_y, order, sizeof train_y, epoch, 3, &generator);
        printf("%lu ", (unsigned long)right);
    }
    printf("%08lx\\n", (unsigned long)train_hash(&s));
    return 0;
}
"""


@pytest.mark.parametrize("random", [False, True], ids=["nearest", "random"])
def test_epochs_are_those_of_fit(tmp_path: Path, random: bool) -> None:
    need("gcc")
    rule, found = integer.Momentum("0.1", random=random, weight_decay=14), digits(tmp_path)
    program = compiled(tmp_path, c.source(network(), rule, batch=100), EPOCHS, ["gcc"], SANITIZED)
    model = network(seed=3)
    history = integer.fit(
        model,
        found.train.x,
        found.train.y,
        epochs=3,
        batch_size=100,
        optimiser=rule,
        seed=5,
        validation=0,
        progress=False,
    )
    right = [round(epoch.accuracy * len(found.train.y)) for epoch in history.epochs]
    assert shell([program]).split() == [*map(str, right), f"{c.state_hash(model):08x}"]


def test_order_is_the_permutation_of_chance(tmp_path: Path) -> None:
    need("gcc")
    main = """
#include <stdio.h>
#include "train.h"
int main(void) {
    static uint16_t order[65536];
    uint64_t generator = 9;
    const uint32_t counts[] = {0, 1, 2, 3, 10, 1000, 65536};
    for (int k = 0; k < 7; k++) {
        train_shuffle(&generator, order, counts[k]);
        for (uint32_t n = 0; n < counts[k]; n++) {
            printf("%u ", (unsigned)order[n]);
        }
    }
    return 0;
}
"""
    program = compiled(tmp_path, c.source(network(), integer.Momentum(1)), main, ["gcc"], SANITIZED)
    chance = Chance(9)
    due = np.concatenate([chance.permutation(n) for n in (0, 1, 2, 3, 10, 1000, 65536)])
    assert list(map(int, shell([program]).split())) == due.tolist()


# ---------------------------------------------------------------------------------------------------- the text


@pytest.mark.parametrize(
    "make", [lambda: (network(), integer.Momentum("0.1", random=True)), wild], ids=["digits", "wild"]
)
def test_no_floating_point_and_no_memory_of_its_own(tmp_path: Path, make: Any) -> None:
    need("arm-none-eabi-gcc", "arm-none-eabi-nm", "arm-none-eabi-size")
    program = c.write(*make(), tmp_path, batch=10**6)
    found = tmp_path / "train.o"
    shell([*CORTEX_M3, *STRICT, "-Os", "-c", tmp_path / "train.c", "-o", found])
    symbols = {line.split()[-1] for line in shell(["arm-none-eabi-nm", found]).splitlines()}
    assert "train_sample" in symbols
    assert not set(filter(FLOATS.fullmatch, symbols))
    assert not re.search(r"\b(float|double)\b", program.source + program.header)
    flash, initialised, zeroed = map(int, shell(["arm-none-eabi-size", found]).splitlines()[1].split()[:3])
    assert program.flash < flash < program.flash + 4096
    assert (initialised, zeroed) == (0, 0)


@pytest.mark.parametrize("make", [lambda: (network(), integer.Momentum("0.1")), wild], ids=["digits", "wild"])
@pytest.mark.parametrize("batch", [64, 10**6])
def test_ram_is_the_size_of_the_state(tmp_path: Path, make: Any, batch: int) -> None:
    need("gcc")
    main = '#include <stdio.h>\n#include "train.h"\nint main(void) { printf("%zu", sizeof(train_state)); return 0; }\n'
    program = c.source(*make(), batch=batch)
    assert int(shell([compiled(tmp_path, program, main, ["gcc"], STRICT)])) == program.ram


@pytest.mark.parametrize("start", c.START)
@pytest.mark.parametrize("name", ["train", "digits2"])
def test_selftest(tmp_path: Path, name: str, start: str) -> None:
    need("gcc")
    model = network(seed=7)
    before = [p.latent.copy() for p in model.parameters()]
    c.write(model, integer.Momentum("0.1", random=True), tmp_path, name=name, start=start)
    assert all(np.array_equal(a, p.latent) for a, p in zip(before, model.parameters()))
    command = ["gcc", *SANITIZED, f"-D{name.upper()}_SELFTEST", tmp_path / f"{name}.c", "-o", tmp_path / "selftest"]
    shell(command)
    assert shell([tmp_path / "selftest"]).splitlines()[-1] == "ok"
    text = (tmp_path / f"{name}.c").read_text()
    (tmp_path / f"{name}.c").write_text(text.replace("a * factor + (((int64_t)1 << shift) >> 1)", "a * factor"))
    shell(command)
    shell([tmp_path / "selftest"], expected=1)


def test_a_trained_network_learns_on(tmp_path: Path) -> None:
    """What is in the network, not in its seed, is where start="weights" begins; momentum is not part of it."""
    need("gcc")
    model, rule = network(weights=15), integer.Momentum("0.1")
    in_python(model, rule, 64, steps_of(model, 5, 9, 0))
    for p in model.parameters():
        p.momentum[...] = 0
    steps, program = steps_of(model, 3, 9, 1), c.source(model, rule, start="weights")
    for layer in model.layers():
        layer.clamps = 0
    assert in_c(tmp_path, program, steps, 0, ["gcc"], SANITIZED) == in_python(model, rule, 64, steps)


def test_what_the_program_will_not_do_it_leaves(tmp_path: Path) -> None:
    """A label too great, a sample too many, and an update of nothing."""
    need("gcc")
    main = """
#include <stdio.h>
#include "train.h"
int main(void) {
    static train_state s;
    const uint8_t x[64] = {1, 2, 3};
    train_init(&s, 0);
    train_update(&s, 1, 1);
    printf("%08lx %d ", (unsigned long)train_hash(&s), (int)train_sample(&s, x, 10));
    printf("%08lx %d ", (unsigned long)train_hash(&s), (int)s.samples);
    for (int k = 0; k < 3; k++) {
        printf("%d ", train_sample(&s, x, 1) < 0);
        printf("%08lx ", (unsigned long)train_hash(&s));
    }
    return 0;
}
"""
    program = compiled(tmp_path, c.source(network(), integer.Momentum("0.1"), batch=2), main, ["gcc"], SANITIZED)
    before, refused, same, samples, *rest = shell([program]).split()
    assert (before, refused, samples) == (same, "-1", "0")
    assert rest[0::2] == ["0", "0", "1"]
    assert before != rest[1] != rest[3] == rest[5]


IMAGE = integer.Input((1, 4, 4), Levels(0, 3))
COARSE = integer.Linear(4, 4, weights=2)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([IMAGE, integer.Conv2d(1, 2, 3), integer.Flatten(), integer.Linear(8, 2)], r"Conv2d\(1, 2"),
        ([INPUT, LINEAR, integer.Sign(), integer.Add(integer.Sequential(LINEAR, integer.Sign())), LINEAR], r"Add\("),
        ([INPUT, LINEAR, integer.Sign()], "end in a Linear"),
        ([INPUT, integer.Sequential(LINEAR)], r"Sequential\("),
        ([INPUT, integer.Sign(), LINEAR], r"Sign\(2\).*take turns"),
        ([INPUT, COARSE, LINEAR], r"Linear\(4, 4, weights=-127.*take turns"),
        ([INPUT, LINEAR, integer.Sign(), integer.Dropout("0.5"), LINEAR], r"Dropout\("),
    ],
)
def test_layers_without_c_are_refused_by_name(layers: Any, reason: str) -> None:
    with pytest.raises(LayerError, match=reason):
        c.source(integer.Sequential(*layers), integer.Momentum("0.1"))


def test_rules_without_c_are_refused() -> None:
    with pytest.raises(EmitError, match=r"clip=1 .*leave it out"):
        c.source(network(), integer.Momentum("0.1", clip=1))
    with pytest.raises(EmitError, match=r"IntegerSGD.*Momentum"):
        c.source(network(), integer.IntegerSGD("0.1"))
    with pytest.raises(EmitError, match=r"rate 1234567891234567/10000000000000000 .*fewer digits"):
        c.source(network(), integer.Momentum("0.1234567891234567"))
    with pytest.raises(EmitError, match=r"rate 1000000000 .*fewer"):
        c.source(network(), integer.Momentum(10**9))
    with pytest.raises(EmitError, match="start is one of seed, weights"):
        c.source(network(), integer.Momentum(1), start="zero")
    with pytest.raises(EmitError, match="identifier"):
        c.source(network(), integer.Momentum(1), name="1x")


def test_same_network_same_text() -> None:
    assert c.source(network(), integer.Momentum("0.1")) == c.source(network(), integer.Momentum("0.1"))
