"""Dropout beside integers: zeros by chance, integers that are left, nothing in eval mode and in the machine."""

import numpy as np
import pytest
import torch

from zahlen import Levels, nn
from zahlen.machine import LayerError


def network(p):
    return nn.Sequential(
        nn.Input((40,), Levels(-20, 20), unit=10), nn.Dropout(p), nn.Linear(40, 8), nn.TanhD(16), nn.Linear(8, 2)
    )


@pytest.mark.parametrize("p", ["0", "0.2", 0.5, "2/3"])
def test_what_is_left_is_rounded_and_as_much_as_before(p):
    layer = network(p)[1]
    x = torch.randint(-20, 21, (4000, 40))
    y = layer(x.float())
    kept = y[(y != 0) & (x != 0)]
    due = np.floor(x.numpy()[((y != 0) & (x != 0)).numpy()] / (1 - float(layer.p)) + 0.5)
    assert (kept.numpy() == due).all()
    assert abs(float((y[x != 0] == 0).float().mean()) - float(layer.p)) < 0.01


def test_nothing_is_done_in_eval_mode_and_in_the_machine():
    torch.manual_seed(0)
    net, x = network("0.3"), torch.randint(-20, 21, (30, 40))
    wires = net.machine().trace(x.numpy())
    assert (net.eval()(x).detach().numpy() == wires[net.machine().outputs[0]]).all()
    traced = net.trace(x)
    assert len(traced) == 4
    assert all((values.detach().numpy() == wires[name]).all() for name, values in traced.items())


def test_gradients_pass_what_is_left():
    layer = network("0.5")[1]
    x = torch.full((8, 40), 3.0, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert (x.grad == (y != 0) * 2.0).all()


@pytest.mark.parametrize("p", [1, -0.1, "x", None])
def test_shares_are_checked(p):
    with pytest.raises(LayerError, match="p is a share from 0 to below 1"):
        nn.Dropout(p)
