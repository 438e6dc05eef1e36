"""Trained recurrent networks: the reference, PyTorch and C over a thousand steps, on three processors."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compilers import STRICT, TARGETS, compare_sequences, shell, target

from zahlen import Machine, nn, sampling
from zahlen.emit import c, harness, text
from zahlen.recipes import RecurrentRecipe

TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells, i am sure. " * 60
SYMBOLS = sorted(set(TEXT))
STEPS, STREAMS = 1000, 50

NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"model": "lstm", "cell_bits": 16},
    "lstm of tables": {"model": "lstm", "cell_bits": 4, "weights": 16, "products": "tables"},
    "two lstms": {"model": "lstm", "levels": 64, "cell_bits": 6, "layers": 2},
    "gru": {"model": "gru", "cell_bits": 8},
    "gru of tables": {"model": "gru", "levels": 5, "cell_bits": 6, "products": "tables"},
    "rnn": {"model": "rnn", "levels": 16},
}


@cache
def trained(name: str) -> tuple[nn.Sequential, Machine]:
    torch.manual_seed(1)
    options = dict(NETWORKS[name])
    network = nn.network(RecurrentRecipe.of_text(options.pop("model"), len(SYMBOLS), hidden=12, **options))
    symbols = [SYMBOLS.index(s) for s in TEXT]
    nn.fit_stream(network, symbols, steps=40, batch_size=16, length=16, lr=0.03, validation=0.0, progress=False)
    return network, network.machine(notes={"symbols": SYMBOLS, "unit": str(network.unit)})


def streams(time: int, count: int) -> Any:
    return np.random.default_rng(5).integers(0, len(SYMBOLS), (count, time))


@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch_is_the_reference_over_a_thousand_steps(name: str) -> None:
    network, machine = trained(name)
    x = streams(STEPS, STREAMS)
    found = {wire: values.numpy() for wire, values in network.trace(torch.from_numpy(x)).items()}
    assert {*machine.registers, *machine.successors.values(), *machine.outputs} <= set(found)
    state = machine.initial_state(STREAMS)
    for t in range(STEPS):
        wires = machine.trace(x[:, t], state, executor="reference")
        for wire, values in found.items():
            assert (values[:, t] == wires[wire]).all(), (wire, t)
        state = {register: wires[successor] for register, successor in machine.successors.items()}


@pytest.mark.parametrize("form", c.MULTIPLY)
@pytest.mark.parametrize("name", NETWORKS)
def test_c_is_the_reference_over_a_thousand_steps(name: str, form: str) -> None:
    _, machine = trained(name)
    program = harness.compiled(machine, multiply=form, **target("host"))
    many = STREAMS if form == "native" else 5  # products without a multiplication take their time
    compare_sequences(program, machine, {"x": streams(STEPS, many)})


@pytest.mark.parametrize("on", [name for name in TARGETS if name != "host"])
@pytest.mark.parametrize("name", ["lstm", "lstm of tables", "gru", "rnn"])
def test_other_processors_are_the_reference_and_write_its_text(name: str, on: str, tmp_path: Path) -> None:
    _, machine = trained(name)
    tools = target(on)
    form = "none" if "tables" in name else "native"
    compare_sequences(harness.compiled(machine, multiply=form, **tools), machine, {"x": streams(100, 3)})
    c.write(machine, tmp_path, multiply=form, vectors=0)
    text.write(machine, tmp_path)
    shell([*tools["cc"], *STRICT, "-Os", tmp_path / "model.c", tmp_path / "sample.c", "-o", tmp_path / "sample"])
    command = [*tools["runner"], tmp_path / "sample", "she sells", "120", "3"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.decode() == "she sells" + sampling.sample(machine, "she sells", 120, seed=3) + "\n"
