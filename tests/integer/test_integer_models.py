"""Ready-made networks of integer layers have the machines that PyTorch's have."""

from dataclasses import asdict

import numpy as np
import pytest

from zahlen import Levels, integer, nn
from zahlen.machine import LayerError
from zahlen.recipes import ACTIVATIONS, Kinds, Recipe, RecurrentRecipe, restored

X = np.random.default_rng(0).integers(0, 17, (20, 8, 8))


def recipe(x=X, model="mlp", **options):
    return Recipe.fitting(model, x, Levels(int(x.min()), int(x.max())), 3, **{"hidden": (7,), **options})


def listing(machine):
    """What a machine computes, whatever its weights are."""
    return [(w.operation.kind, w.operands, w.shape) for w in machine.wires.values()]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("weights", [255, 3, 2])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_networks_compute_as_their_machines_and_as_pytorchs_do(model, activation, weights):
    levels = 2 if activation == "heaviside" else 5
    made = recipe(model=model, channels=(2, 3), activation=activation, weights=weights, levels=levels)
    network = integer.network(made)
    machine, other = network.machine(), nn.network(made)
    assert np.array_equal(network(X), machine.run(X))
    assert listing(machine) == listing(other.machine())
    assert network.unit == other.unit


def test_columns_of_tables_are_standardised():
    table = np.stack([np.arange(-50, 50), np.full(100, 700)], axis=1)
    network = integer.network(recipe(table))
    assert isinstance(network.children[1], integer.Standardise)
    assert np.array_equal(network(table), network.machine().run(table))


def test_the_seed_decides_the_weights():
    first, same, other = (integer.network(recipe(), seed=k).machine().hash for k in (0, 0, 1))
    assert first == same != other


def test_what_cannot_be_built_is_refused():
    with pytest.raises(LayerError, match="no activation 'swish'"):
        integer.network(recipe(activation="swish"))
    with pytest.raises(LayerError, match="no model 'svm'"):
        integer.network(restored({**asdict(recipe()), "model": "svm"}))
    with pytest.raises(LayerError, match=r"zahlen\.integer has no Convolution; build this network with zahlen\.nn"):
        Kinds(integer).Convolution(1, 2)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_trace_is_the_machines(model):
    network = integer.network(recipe(model=model, channels=(2, 3)))
    network.train(1)
    seen, due = network.trace(X), network.machine().trace({"x": X})
    assert all(np.array_equal(values, due[name]) for name, values in seen.items())
    assert len(seen) == len(network.children)
    assert np.array_equal(network(X), list(seen.values())[-1])


def test_a_trace_looks_into_parts_and_over_time():
    parts = integer.Sequential(
        integer.Input((6,), Levels(-9, 9), unit=4),
        integer.Dropout(),
        integer.Add(integer.Sequential(integer.Linear(6, 6, scale=1), integer.Linear(6, 6, scale=1))),
    )
    symbols = integer.network(RecurrentRecipe.of_text("lstm", 5, hidden=6))
    for network, x in (
        (parts, np.random.default_rng(1).integers(-9, 10, (20, 6))),
        (symbols, np.random.default_rng(1).integers(0, 5, (4, 7))),
    ):
        machine = network.machine()
        network.train(1)
        seen = network.trace(x)
        state, steps = machine.initial_state(len(x)), []
        for t in range(x.shape[1] if network.recurrent else 1):
            wires = machine.trace({"x": x[:, t] if network.recurrent else x}, state)
            state = {name: wires[after] for name, after in machine.successors.items()}
            steps.append(wires)
        for name, values in seen.items():
            due = np.stack([wires[name] for wires in steps], axis=1) if network.recurrent else steps[0][name]
            assert np.array_equal(values, due), name
        assert len(seen) >= 2
