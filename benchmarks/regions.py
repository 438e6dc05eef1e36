"""Regions of planar ReLU networks: exact counts and their time, beside the same subdivision in float64.

The float subdivision is plain NumPy: polygons are arrays of corners, a unit cuts a polygon if its values at the corners
are above `tolerance` and below -`tolerance` somewhere, and new corners are interpolated, as are the values of all other
units there. It keeps no vertices in common and no neighbours, so it does less than the exact one. Values are divided by
the greatest one of the layer, so that a tolerance means the same in all of them.

    python benchmarks/regions.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zahlen import Builder, Levels, Machine
from zahlen.analysis import Regions, regions
from zahlen.machine import operations as op

RESULTS = Path(__file__).parent / "results"
BOX = 127
TOLERANCE = 1e-9
TOLERANCES = (0.0, 1e-15, 1e-12, 1e-9, 1e-6)


def network(weights: list[tuple[Any, Any]], box: int = BOX) -> Machine:
    """ReLU layers of these weights and biases, and an affine one."""
    b = Builder()
    h = b.input("x", (2,), Levels(-box, box))
    for k, (weight, bias) in enumerate(weights):
        h = b.affine(h, weight, bias)
        if k + 1 < len(weights):
            h = b.max(h, b.constant([0] * len(bias)))
    return b.build(h)


def moons(count: int, seed: int) -> tuple[Any, Any]:
    """Two half circles in each other, in -1..1."""
    rng = np.random.default_rng(seed)
    angle, y = np.pi * rng.random(count), rng.integers(0, 2, count)
    x = np.stack([np.cos(angle) * (1 - 2 * y) + y, np.sin(angle) * (1 - 2 * y) + y / 2], axis=1)
    return (x + rng.normal(0, 0.1, x.shape) - [0.5, 0.25]) / 2, y


def trained(widths: list[int], seed: int, bits: int = 8) -> Machine:
    """Trained on two moons in floats, then weights rounded to integers of so many bits: nothing else is rounded.

    A layer's integers are worth `scale` to the number of layers per 1.0, so its biases are integers on that grid.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    pairs = zip(widths, [*widths[1:], 2])
    layers = [torch.nn.Linear(a, b) for a, b in pairs]
    model = torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.ReLU())][:-1])
    x, y = (torch.as_tensor(v) for v in moons(1000, seed))
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(400):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x.float()), y).backward()
        optimiser.step()
    largest = max(float(layer.weight.detach().abs().max()) for layer in layers)
    scale = min((2 ** (bits - 1) - 1) / largest, 64.0)
    weights, unit = [], float(BOX)
    for layer in layers:
        unit *= scale
        weight, bias = (v.detach().double().numpy() for v in (layer.weight, layer.bias))
        weights.append((np.rint(weight * scale).astype(int), np.rint(bias * unit).astype(int)))
    return network(weights)


def at_random(widths: list[int], seed: int, largest: int, box: int = BOX) -> Machine:
    """Weights up to `largest`, biases up to three times as much on the layer's grid."""
    rng = np.random.default_rng(seed)
    weights, unit = [], 1
    for a, b in zip(widths, [*widths[1:], 2]):
        weights.append(
            (rng.integers(-largest, largest + 1, (b, a)), rng.integers(-3 * unit, 3 * unit + 1, b) * box // 3)
        )
        unit *= largest
    return network(weights, box)


def close(depth: int, seed: int) -> Machine:
    """Layers of 8 units, weights up to 42; the last hidden one has 4 units in three forms.

    As they are, with biases greater by 1, and multiplied by 3: lines coincide, and others are as close as they can be.
    """
    rng = np.random.default_rng(seed)
    weights: list[tuple[Any, Any]] = []
    for k in range(depth):
        bias = 9 * 42**k
        weights.append((rng.integers(-42, 43, (8, 8 if k else 2)), rng.integers(-bias, bias + 1, 8)))
    w, b = (v[:4] for v in weights.pop())
    weights.append((np.concatenate([w, w, 3 * w]), np.concatenate([b, b + 1, 3 * b])))
    return network([*weights, (rng.integers(-42, 43, (2, 12)), [0, 0])], box=9)


def float_cells(machine: Machine, tolerance: float) -> int:
    """Activation regions by the subdivision in float64."""
    layers = [wire.operation for wire in machine.wires.values() if isinstance(wire.operation, op.Affine)]
    box = float(machine.wires["x"].alphabet.hi)
    square = np.array([[-box, -box], [box, -box], [box, box], [-box, box]])
    cells = [(square, np.eye(2), np.zeros(2))]
    for layer in layers[:-1]:
        weight, bias = layer.weight.astype(float), layer.bias.astype(float)
        maps = [(weight @ a, weight @ c + bias) for _, a, c in cells]
        values = [polygon @ a.T + c for (polygon, _, _), (a, c) in zip(cells, maps)]
        largest = max(float(np.abs(v).max()) for v in values) or 1.0
        following = []
        for (polygon, _, _), (a, c), v in zip(cells, maps, values):
            for piece, signs in float_cut(polygon, v / largest, tolerance):
                following.append((piece, a * signs[:, None], c * signs))
        cells = following
    return len(cells)


def float_cut(polygon: Any, values: Any, tolerance: float) -> list[tuple[Any, Any]]:
    """The pieces of a polygon, and which units are positive on each."""
    signs = values.mean(axis=0) > 0
    found, waiting = [], [(polygon, values, np.arange(values.shape[1]), signs)]
    while waiting:
        corners, v, units, on = waiting.pop()
        cut = (v.max(axis=0) > tolerance) & (v.min(axis=0) < -tolerance)
        on = on.copy()
        on[units] = v.max(axis=0) > -v.min(axis=0)
        v, units = v[:, cut], units[cut]
        if not len(units):
            found.append((corners, on))
            continue
        first = v[:, 0]
        after = np.roll(first, -1)
        sides = ((first > tolerance) & (after < -tolerance)) | ((first < -tolerance) & (after > tolerance))
        crossing = np.flatnonzero(sides)
        table = np.concatenate([corners, v], axis=1)
        share = (first[crossing] / (first[crossing] - after[crossing]))[:, None]
        new = table[crossing] + share * (np.roll(table, -1, axis=0)[crossing] - table[crossing])
        new[:, 2] = 0
        table = np.insert(table, crossing + 1, new, axis=0)
        for side in (1, -1):
            kept = table[side * table[:, 2] >= -tolerance]
            waiting.append((kept[:, :2], kept[:, 2:], units, on))
    return found


def seconds(what: Callable[[], Any]) -> tuple[float, Any]:
    """Of this process on its one thread, so that others on the same computer matter less."""
    start = time.process_time()
    found = what()
    return time.process_time() - start, found


def row(name: str, machine: Machine, rounds: int) -> str:
    exact, floating = [], []
    for _ in range(rounds):
        taken, (found, counts) = seconds(lambda: ((found := regions(machine)), found.counts))
        exact.append(taken)
        taken, cells = seconds(lambda: float_cells(machine, TOLERANCE))
        floating.append(taken)
    assert found.check()
    ours, theirs = statistics.median(exact), statistics.median(floating)
    cells_and_points = f"{counts['activation regions']:,} | {counts['linear regions']:,} | {len(found.points):,}"
    return f"| {name} | {cells_and_points} | {ours:.3f} | {cells:,} | {theirs:.3f} | {theirs / ours:.1f} |"


def counted(name: str, machine: Machine) -> str:
    found: Regions = regions(machine)
    assert found.check()
    cells = len(found.cells)
    others = [float_cells(machine, tolerance) for tolerance in TOLERANCES]
    return f"| {name} | {cells:,} | " + " | ".join(f"{n:,}" if n == cells else f"**{n:,}**" for n in others) + " |"


def computer() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return (
        f"{model}, one thread; Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    shapes = {"2-50": [2, 50], "2-100": [2, 100], "4x32": [2, 32, 32, 32, 32]}
    speeds = [row(f"{name}, trained", trained(widths, 0), rounds) for name, widths in shapes.items()]
    speeds += [row(f"{name}, random", at_random(widths, 0, 127), rounds) for name, widths in shapes.items()]
    degenerate = [
        counted("2-40, weights -1..1", at_random([2, 40], 2, 1, 9)),
        counted("4x16, weights -1..1", at_random([2, 16, 16, 16, 16], 2, 1, 9)),
        counted("8 layers of 8, lines coincide or nearly", close(8, 1)),
        counted("9 layers of 8, lines coincide or nearly", close(9, 3)),
    ]
    text = [
        computer(),
        "",
        f"Seconds of CPU time, medians of {rounds} rounds in turn. Planar networks of ReLU layers and two outputs,",
        "weights of 8 bits: trained on two moons in floats and rounded, or random. Exact: cells with vertices and",
        "neighbours, affine maps, linear regions. float64: NumPy, polygon by polygon, cells and maps only, tolerance",
        f"{TOLERANCE:g}. The exact check, each map at all vertices of its cell and inside, passed for all networks",
        "here; it is not part of the time.",
        "",
        "| network | activation regions | linear regions | vertices | exact, s | float64 count | float64, s | ratio |",
        "|---|---|---|---|---|---|---|---|",
        *speeds,
        "",
        "Activation regions of networks in which lines coincide or meet in points, and what float64 counts with each",
        "tolerance (relative to the layer's greatest value); wrong counts are bold:",
        "",
        "| network | exact | " + " | ".join(f"{tolerance:g}" for tolerance in TOLERANCES) + " |",
        "|---|---|" + "---|" * len(TOLERANCES),
        *degenerate,
    ]
    (RESULTS / "regions.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
