"""Emitted C that trains: after every step it is where Python is, whatever the network, the rule and the processor."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emit.compilers import SANITIZED, need, shell
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from zahlen import Levels, integer
from zahlen.integer import arithmetic as do
from zahlen.integer import c
from zahlen.integer.c_program import state_hash

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
        return [clamps, loss, right, *np.stack([latent, momentum], 1).ravel().tolist(), state_hash(parameters)]

    found = [seen()]
    for t, (x, labels) in enumerate(steps):
        delta, more, right = do.softmax(model(x), labels, model.unit, model.bits)
        model.backward(delta)
        taken += rule.step(parameters, batch, Fraction(len(steps) - t, len(steps)), t)
        loss += more
        found.append(seen())
    return found


def in_c(
    folder: Path, program: c.Sources, steps: list[tuple[Any, Any]], seed: int, cc: Any, flags: Any, runner: Any = ()
) -> list[list[int]]:
    for suffix, text in ((".h", program.header), (".c", program.source)):
        (folder / f"train{suffix}").write_text(text)
    element, size = re.findall(r"const (\w+) x\[(\d+)\]", program.header)[0]
    driver = DRIVER.replace("@element", element).replace("@size", size)
    driver = driver.replace("@init", f", {seed}u" if "uint64_t seed" in program.header else "")
    driver = driver.replace("@seed", ", (uint32_t)t" if "uint32_t seed" in program.header else "")
    (folder / "main.c").write_text(driver)
    shell([*cc, *flags, folder / "train.c", folder / "main.c", "-o", folder / "main"])
    numbers = [len(steps)]
    for x, labels in steps:
        numbers += [len(x), *np.concatenate([x.reshape(len(x), -1), labels[:, None]], 1).ravel().tolist()]
    done = subprocess.run([*runner, folder / "main"], input=" ".join(map(str, numbers)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [list(map(int, line.split())) for line in done.stdout.splitlines()]


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
