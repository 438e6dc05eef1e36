"""Fashion-MNIST: eight layers of convolutions trained with integers only, beside their float twin.

The network is VGG8B (Pirillo et al., NITRO-D, arXiv 2407.11698) at three sixteenths of its width: 3x3 convolutions of
24, 48, 48, 96, 96 and 96 channels with four pools between them, then dense layers of 192 and 10; no augmentation. Each
layer but the last has a batch norm and a ReLU of 16 levels behind it, weights have 8 bits.

Protocol: settings are chosen with networks of an eighth of the width, 20,000 images and 5 epochs, by their accuracy on
6,000 training images that are held back. Then the network learns all 60,000 images for 8 epochs with two seeds, and
the last epoch's weights read the test set once. Twins start from the same initial weights. Integers: momentum of 7/8, a
rate that falls along a line. Floats: Adam, whose rate falls along a cosine.

    python studies/vgg.py                  # all of it, about two hours of one core
    python studies/vgg.py --only chosen    # the choice of settings alone
    python studies/vgg.py --only final     # the rest, with the settings that are recorded
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import torch

import zahlen
from zahlen import Levels, integer, nn
from zahlen.grids import readout_scale, weight_grid
from zahlen.recipes import centre_and_scale

RESULTS = Path(__file__).parent / "results"
LEVELS = 16
SEEDS = (0, 1)
HELD = 6000
BATCH = 64
NORM, BARE = {"norm": True, "gain": "1"}, {"norm": False, "gain": "2.4"}  # weights start greater where no norm scales
INTEGERS = [*({"rate": rate, **NORM} for rate in ("0.0125", "0.025", "0.05", "0.1")), {"rate": "0.03", **BARE}]
FLOATS = [*({"rate": rate, **NORM} for rate in ("0.0005", "0.001", "0.002")), {"rate": "0.001", **BARE}]
METHODS = {"integers": INTEGERS, "floats": FLOATS}


def layers(kinds: ModuleType, width: int, norm: bool, mean: int, deviation: int) -> list[Any]:
    """The network's layers, of `zahlen.integer` or `zahlen.nn`; `width` is that of the first."""
    stack = [kinds.Input((28, 28), Levels(0, 255), offset=mean, unit=deviation), kinds.Reshape(1, 28, 28)]

    def behind() -> list[Any]:
        return [*([kinds.BatchNorm()] if norm else []), kinds.ReLUD(LEVELS)]

    channels = 1
    for count, pooled in ((1, False), (2, True), (2, False), (4, True), (4, True), (4, True)):
        stack += [kinds.Conv2d(channels, count * width, 3, padding=1), *behind()]
        stack += [kinds.MaxPool2d(2)] if pooled else []
        channels = count * width
    stack += [kinds.Flatten(), kinds.Linear(channels, 8 * width), *behind()]
    return [*stack, kinds.Linear(8 * width, 10, scale=readout_scale(weight_grid(255), 8 * width))]


def learn(method: str, setting: dict[str, Any], seed: int, final: bool) -> dict[str, Any]:
    """Train once, and measure on what is held back; or, `final`, on the test set."""
    torch.set_num_threads(1)
    data = zahlen.data.load("fashion-mnist")
    mean, deviation = centre_and_scale(data.train.x)
    order = integer.Chance(2024).permutation(len(data.train.x))  # the same division whatever the seed
    rows = order if final else order[HELD : HELD + 20000]
    x, y = data.train.x[rows], data.train.y[rows]
    seen = (data.test.x, data.test.y) if final else (data.train.x[order[:HELD]], data.train.y[order[:HELD]])
    width, epochs = (24, 8) if final else (16, 5)
    stack: Callable[[ModuleType], list[Any]] = lambda kinds: layers(  # noqa: E731
        kinds, width, setting["norm"], mean, deviation
    )
    network = integer.Sequential(*stack(integer), seed=seed, gain=setting["gain"])
    start = time.perf_counter()
    if method == "integers":
        rule = integer.Momentum(setting["rate"])
        history = integer.fit(
            network, x, y, epochs=epochs, batch_size=BATCH, optimiser=rule, seed=seed, validation=0,
            progress=False,
        )  # fmt: skip
        found: dict[str, Any] = {"clamps": sum(epoch.clamps for epoch in history.epochs)}
        accuracy = integer.evaluate(network, *seen)[1]
        if final:
            machine = network.machine()
            assert np.array_equal(machine.run(seen[0][:500]), network(seen[0][:500]))
            found["hash"] = machine.hash
    else:
        torch.manual_seed(seed)
        twin = nn.Sequential(*stack(nn)).twin()
        same_start(network, twin)
        nn.fit(
            twin, x, y, epochs=epochs, batch_size=BATCH, lr=float(setting["rate"]), seed=seed, validation=0,
            progress=False,
        )  # fmt: skip
        found, accuracy = {}, nn.evaluate(twin, *seen)[1]
    result = {"method": method, "final": final, "setting": setting, "seed": seed, "accuracy": 100 * accuracy, **found}
    result["seconds"] = time.perf_counter() - start
    print(f"{method} {setting} seed {seed}{' test' if final else ''}: {100 * accuracy:.2f} %", flush=True)
    return result


def same_start(network: integer.Sequential, twin: torch.nn.Module) -> None:
    """Give the twin the integer network's latent weights."""
    ours = [layer for layer in network.layers() if isinstance(layer, (integer.Conv2d, integer.Linear))]
    theirs = [module for module in twin.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    with torch.no_grad():
        for layer, module in zip(ours, theirs, strict=True):
            weight, bias = (p.latent / float(p.scale * (1 << p.fraction)) for p in (layer.weight, layer.bias))
            shape = tuple(module.weight.shape)
            flat = weight.reshape(*shape[2:], shape[1], shape[0]).transpose(3, 2, 0, 1) if len(shape) == 4 else weight.T
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(flat)))
            module.bias.copy_(torch.from_numpy(bias))


def best(results: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """The setting of a method that names most of what is held back right."""
    tried = [r for r in results if r["method"] == method and not r["final"]]
    setting: dict[str, Any] = max(tried, key=lambda r: r["accuracy"])["setting"]
    return setting


def summary(results: list[dict[str, Any]]) -> str:
    """Two Markdown tables: the test set, and what settings were chosen by."""
    lines = ["| trained with | test | by seed | clamped |", "|---|---|---|---|"]
    for method in METHODS:
        runs = [r for r in results if r["method"] == method and r["final"]]
        if runs:
            seeds = ", ".join(f"{r['accuracy']:.2f}" for r in runs)
            clamped = ", ".join(f"{r['clamps']:,}" for r in runs if "clamps" in r)
            mean = statistics.mean(r["accuracy"] for r in runs)
            lines.append(f"| {method} | {mean:.2f} % | {seeds} | {clamped} |")
    lines += ["", "| for the choice | batch norm | rate | gain | held back |", "|---|---|---|---|---|"]
    for r in results:
        if not r["final"]:
            s = r["setting"]
            norm = "yes" if s["norm"] else "no"
            lines.append(f"| {r['method']} | {norm} | {s['rate']} | {s['gain']} | {r['accuracy']:.2f} % |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("chosen", "final"), help="this part anew, the other as recorded")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    arguments = parser.parse_args()
    path = RESULTS / "vgg.json"
    recorded = json.loads(path.read_text()) if path.is_file() else []
    results = [r for r in recorded if r["final"] == (arguments.only == "chosen")] if arguments.only else []

    def run(jobs: list[tuple[str, dict[str, Any], int, bool]]) -> None:
        parallel = joblib.Parallel(n_jobs=arguments.jobs, return_as="generator")
        for result in parallel(joblib.delayed(learn)(*job) for job in jobs):
            results.append(result)
            path.write_text(json.dumps(results, indent=1) + "\n")

    if arguments.only != "final":
        run([(method, setting, 0, False) for method, settings in METHODS.items() for setting in settings])
    if arguments.only != "chosen":
        run([(method, best(results, method), seed, True) for seed in SEEDS for method in METHODS])
    (RESULTS / "vgg.md").write_text(summary(results))
    print(summary(results))


if __name__ == "__main__":
    main()
