"""Four kinds of task, L = 2..256 levels beside float tanh and relu: after Baluja et al., arXiv 1801.05156.

The paper's kinds of task under a protocol of our own, all on Fashion-MNIST: *classification* (10 classes), *regression*
(from the upper half of an image its lower half's mean brightness), *memorisation* (random labels of 5,000 images,
training accuracy), *compression* (an auto-encoder 784-64-16-64-784). 20,000 training images, 10 epochs (memorisation:
60), hidden layers of 100 units, weights of 255 values, Adam from 2e-3 along a cosine to zero, two seeds, the last
epoch's weights; the test set is read once. Every float network starts from its discrete counterpart's latent weights.

    python studies/levels.py                       # about twelve minutes on two cores
    python studies/levels.py --only regression
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

import zahlen
from zahlen import Levels, nn

RESULTS = Path(__file__).parent / "results"
LEVELS = (2, 4, 8, 16, 32, 64, 128, 256)
SEEDS = (0, 1)
MEAN, DEVIATION = 73, 90  # of the training images, in grey levels

Act = Callable[[], nn.Activation]


@dataclass(frozen=True)
class Task:
    """Arrays, a network for an activation, and what is measured on them."""

    x: Any
    y: Any
    test_x: Any
    test_y: Any
    network: Callable[[Act], nn.Sequential]
    measure: str
    epochs: int = 10


def _network(shape: tuple[int, ...], widths: tuple[int, ...], outputs: int) -> Callable[[Act], nn.Sequential]:
    def make(act: Act) -> nn.Sequential:
        layers: list[Any] = [nn.Input(shape, Levels(0, 255), offset=MEAN, unit=DEVIATION), nn.Flatten()]
        features = int(np.prod(shape))
        for width in widths:
            layers += [nn.Linear(features, width), act()]
            features = width
        # a readout on a coarser grid reaches further
        return nn.Sequential(*layers, nn.Linear(features, outputs, scale=32))

    return make


def _brightness(images: Any) -> Any:
    """Mean of the lower half, centred and scaled, (n, 1)."""
    return ((images[:, 14:].mean((1, 2)) - MEAN) / DEVIATION).astype(np.float32)[:, None]


def _pixels(images: Any) -> Any:
    return ((images.reshape(len(images), -1).astype(np.float32) - MEAN) / DEVIATION).astype(np.float32)


def task(name: str) -> Task:
    """One of the four."""
    data = zahlen.data.load("fashion-mnist")
    x, y, test_x, test_y = data.train.x[:20_000], data.train.y[:20_000], data.test.x, data.test.y
    if name == "classification":
        return Task(x, y, test_x, test_y, _network((28, 28), (100, 100), 10), "test accuracy, %")
    if name == "regression":
        parts = (x[:, :14], _brightness(x), test_x[:, :14], _brightness(test_x))
        return Task(*parts, _network((14, 28), (100, 100), 1), "test error, root mean square")
    if name == "memorisation":
        labels = np.random.default_rng(0).integers(0, 10, 5000)
        parts = (x[:5000], labels, x[:5000], labels)
        return Task(*parts, _network((28, 28), (100, 100), 10), "training accuracy on random labels, %", 60)
    parts = (x, _pixels(x), test_x, _pixels(test_x))
    return Task(*parts, _network((28, 28), (64, 16, 64), 784), "test error, root mean square")


def activation(name: str, levels: int) -> Act:
    """TanhD or reluD; ReLUD saturates at 4."""
    return lambda: nn.TanhD(levels) if name == "tanh" else nn.ReLUD(levels, Fraction(4))


def train(name: str, act: str, levels: int | None, seed: int) -> dict[str, Any]:
    """Train one network (a float one without levels) on one thread, and measure once."""
    torch.set_num_threads(1)
    t = task(name)
    torch.manual_seed(seed)
    network = t.network(activation(act, levels or 16))
    net: torch.nn.Module = network if levels else network.twin()
    classes = t.measure.endswith("%")
    loss: Any = torch.nn.functional.cross_entropy if classes else torch.nn.functional.mse_loss
    options: dict[str, Any] = {"lr": 2e-3, "loss": loss, "validation": 0.0, "progress": False}
    zahlen.fit(net, t.x, t.y, epochs=t.epochs, seed=seed, **options)
    value, accuracy = nn.evaluate(net, t.test_x, t.test_y, loss=loss)
    result = 100 * accuracy if classes else value**0.5
    print(f"{name:>14} {act} {levels or 'float':>5} seed {seed}: {result:.4f}", flush=True)
    return {"task": name, "act": act, "levels": levels, "seed": seed, "value": result, "measure": t.measure}


def mean(results: list[dict[str, Any]], name: str, act: str, levels: int | None) -> float:
    """Over the seeds."""
    key = (name, act, levels)
    return statistics.mean(r["value"] for r in results if (r["task"], r["act"], r["levels"]) == key)


def plots(results: list[dict[str, Any]], tasks: list[str]) -> None:
    """A picture for each task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    for axis, name in zip(figure.subplots(2, 2).flat, tasks):
        for k, act in enumerate(("tanh", "relu")):
            values = [mean(results, name, act, levels) for levels in LEVELS]
            axis.plot(range(len(LEVELS)), values, "o-", color=f"C{k}", label=f"{act}D, discrete")
            axis.axhline(mean(results, name, act, None), color=f"C{k}", linestyle="--", label=f"{act}, float")
        axis.set_xticks(range(len(LEVELS)), LEVELS)
        axis.set(title=name, xlabel="levels", ylabel=next(r["measure"] for r in results if r["task"] == name))
        axis.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.savefig(RESULTS / "levels.png", dpi=110)


def table(results: list[dict[str, Any]], tasks: list[str]) -> str:
    """Means over the seeds, a row for each activation and task."""
    lines = [
        f"| task | activation | float | {' | '.join(f'L = {n}' for n in LEVELS)} |",
        "|---" * (3 + len(LEVELS)) + "|",
    ]
    for name in tasks:
        digits = 2 if name in ("classification", "memorisation") else 4
        for act in ("tanh", "relu"):
            values = [mean(results, name, act, levels) for levels in (None, *LEVELS)]
            lines.append(f"| {name} | {act} | {' | '.join(f'{v:.{digits}f}' for v in values)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["classification", "regression", "memorisation", "compression"])
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    tasks = [arguments.only] if arguments.only else ["classification", "regression", "memorisation", "compression"]
    jobs = [(n, a, v, s) for n in tasks for a in ("tanh", "relu") for v in (None, *LEVELS) for s in SEEDS]
    results = list(joblib.Parallel(n_jobs=arguments.jobs)(joblib.delayed(train)(*job) for job in jobs))
    print(table(results, tasks))
    if not arguments.only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "levels.json").write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "levels.md").write_text(table(results, tasks))
        plots(results, tasks)


if __name__ == "__main__":
    main()
