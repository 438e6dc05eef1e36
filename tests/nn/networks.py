"""Random networks made of every layer, batches for them, and the comparison that all of `zahlen.nn` stands on.

Networks come from one seed, so that they can be made again without hypothesis; hypothesis draws the seed and the plan.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from zahlen import Levels, nn
from zahlen.machine import LayerError

ACTIVATIONS: dict[str, Any] = {
    "tanh": lambda r: nn.TanhD(levels(r)),
    "sign": lambda r: nn.Sign(),
    "relu": lambda r: nn.ReLUD(levels(r), Fraction(r.randint(1, 9), r.randint(1, 5))),
    "sigmoid": lambda r: nn.SigmoidD(levels(r)),
    "hardtanh": lambda r: nn.HardTanhD(levels(r)),
    "heaviside": lambda r: nn.Heaviside(),
}
GRIDS: list[Any] = [255, 16, 15, 4, 3, 2, Levels(0, 1), Levels(-6, 6, 3), Levels(-7, -1, 2), Levels(1, 13, 4)]


def levels(r: random.Random) -> int:
    return r.choice([2, 3, 4, 5, 8, 16, 17, 64, 300])


def activation(r: random.Random) -> Any:
    return ACTIVATIONS[r.choice(sorted(ACTIVATIONS))](r)


def grid(r: random.Random) -> dict[str, Any]:
    return {"weights": r.choice(GRIDS), "scale": r.choice([None, 1, 3, 8, 100]), "bias": r.random() < 0.7}


def normalised(r: random.Random) -> list[Any]:
    """An activation, often behind a batch norm."""
    return [*([nn.BatchNorm(eps=r.choice([0.0, 1e-5, 0.5]))] if r.random() < 0.5 else []), activation(r)]


def linear(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    return [nn.Linear(shape[-1], r.randint(1, 5), **grid(r)), *normalised(r)]


def conv1d(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    return [nn.Conv1d(*geometry(r, shape[0], shape[1:]), **grid(r)), *normalised(r)]


def conv2d(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    return [nn.Conv2d(*geometry(r, shape[0], shape[1:]), **grid(r)), *normalised(r)]


def geometry(r: random.Random, channels: int, lengths: tuple[int, ...]) -> Any:
    groups = r.choice([g for g in range(1, channels + 1) if channels % g == 0])
    padding, dilation, kernel = [], [], []
    for n in lengths:
        padding.append(r.randint(0, 2))
        kernel.append(r.randint(1, min(3, n + 2 * padding[-1])))
        room = (n + 2 * padding[-1] - 1) // max(1, kernel[-1] - 1)
        dilation.append(r.randint(1, max(1, min(2, room))))
    stride = tuple(r.randint(1, 2) for _ in lengths)
    return channels, groups * r.randint(1, 2), tuple(kernel), stride, tuple(padding), tuple(dilation), groups


def pool(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    size = tuple(r.randint(1, min(3, n)) for n in shape[1:])
    padding = tuple(r.randint(0, k // 2) for k in size)
    kind = r.choice([nn.MaxPool2d, nn.SumPool2d])
    return [kind(size, r.choice([None, 1, (2, 1)]), padding)]


def residual(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    n, count = shape[-1], levels(r)
    body = nn.Sequential(nn.Linear(n, n, **grid(r)), nn.TanhD(count))
    if r.random() < 0.5:  # equal units
        return [nn.TanhD(count), nn.Add(body)]
    factor = r.randint(2, 5)  # units that are multiples
    other = nn.Sequential(nn.Linear(n, n, **grid(r)), nn.HardTanhD(factor * (count - 1) + 1))
    return [nn.TanhD(count), nn.Add(body, other, nn.Identity())]


def step(r: random.Random, shape: tuple[int, ...]) -> list[Any]:
    kinds: list[Any] = [linear, lambda r, s: [activation(r)], lambda r, s: [nn.Flatten()], residual]
    if len(shape) == 2:
        kinds += [conv1d, conv1d]
    if len(shape) == 3:
        kinds += [conv2d, conv2d, pool, pool]
    if len(shape) > 1:
        kinds.append(lambda r, s: [nn.Reshape(*s[::-1])])
    return r.choice(kinds)(r, shape)


def network(seed: int, steps: int) -> nn.Sequential:
    """A random network with random weights, now and then nested."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    shape = tuple(r.randint(1, 5) for _ in range(r.randint(1, 3)))
    if r.random() < 0.2:
        layers: list[Any] = [nn.Input(shape, Levels(1, 6), offset=1), nn.Embedding(6, r.randint(1, 4), weights=15)]
    elif r.random() < 0.2:
        n = r.randint(1, 5)
        mean, deviation = ([r.randint(low, 40) for _ in range(n)] for low in (-40, 0))
        layers = [nn.Input((n,), Levels(-100, 100)), nn.Standardise(mean, deviation, grain=r.choice([3, 32]))]
    else:
        lo, size, width = r.randint(-300, 300), r.randint(2, 200), r.randint(1, 3)
        unit = Fraction(r.randint(1, 90), r.randint(1, 3))
        layers = [nn.Input(shape, Levels(lo, lo + width * size, width), offset=r.randint(-50, 300), unit=unit)]
    for _ in range(steps):
        following = step(r, nn.Sequential(*layers).output.shape)
        try:
            nn.Sequential(*layers, *following)
        except LayerError:
            following = [activation(r)]  # too wide a unit or range: narrow it
        layers += [nn.Sequential(*following)] if r.random() < 0.3 else following
    model = nn.Sequential(*layers)
    shake(model, r)
    return model.eval()


def shake(model: nn.Sequential, r: random.Random) -> None:
    """Weights that reach and leave their grids, and batch norms as odd as they can become."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(r.choice([0.5, 1.0, 4.0, 30.0]))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm):
                unit = float(module.receives().unit)
                for channel in range(len(module.weight)):
                    module.weight[channel] = r.choice([0.0, -0.0, -1.5, 0.3, 1.0, 1e-30, -1e30, r.gauss(0, 1)])
                    module.bias[channel] = r.gauss(0, 1)
                    module.running_mean[channel] = r.choice([0.0, r.gauss(0, 50) / unit, r.gauss(0, 1)])
                    module.running_var[channel] = r.choice([1e-38, 1e-6, 1.0, 4.0, r.random()])


@st.composite
def networks(draw: Any, max_steps: int = 4) -> nn.Sequential:
    return network(draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, max_steps)))


def batch(model: nn.Sequential, size: int = 6, seed: int = 0) -> torch.Tensor:
    """Both ends of the alphabet, mixtures of the ends, and random elements."""
    first = model[0]
    assert isinstance(first, nn.Input)
    a, rng = first.alphabet, np.random.default_rng(seed)
    rows = rng.integers(0, a.size, (size, *first.shape))
    rows[0] = 0
    if size > 1:
        rows[1] = a.size - 1
    if size > 2:
        rows[2] = rng.integers(0, 2, first.shape) * (a.size - 1)
    return torch.from_numpy(a.lo + a.step * rows)


def assert_exact(model: nn.Sequential, x: torch.Tensor) -> None:
    """The central contract: every wire that the module computes, and the output, equal the machine's."""
    machine = model.machine()
    expected = machine.trace(x.cpu().long().numpy())
    for name, value in model.trace(x).items():
        got = value.detach().cpu().double().numpy()
        assert got.shape == expected[name].shape, name
        assert (got == expected[name]).all(), name
    training = model.training
    model.eval()
    assert (model(x).detach().cpu().double().numpy() == machine.run(x.cpu().long().numpy())).all()
    model.train(training)
