"""Training in integers by published rules beside our own: the same networks, epochs and data on Fashion-MNIST.

Two networks: 784-200-100-50-10 with 16 levels, the one that NITRO-D (arXiv 2407.11698) and PocketNN (arXiv 2201.02863)
report, and 784-256-256-10 of two levels, activations and weights, without biases, for BOLD (arXiv 2405.16339). On the
first, rules of gradients change alone (direct feedback alignment, local losses), then with the papers' loss and steps;
on the second, the optimiser changes.

Protocol: 10 epochs, batches of 128 or, with the papers' loss and steps, of the papers' size; rates that fall to zero
along a line; 6,000 of the training images are held back, and the epoch of the best accuracy on them wins; rates and
gains were chosen on them with seed 0 out of the grids below (--choose does so again); the test set is read once.

    python studies/integer_rules.py             # about ten minutes on two cores
    python studies/integer_rules.py --choose    # validation accuracy of all settings tried
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

import zahlen
from zahlen import integer
from zahlen.grids import readout_scale, weight_grid
from zahlen.recipes import centre_and_scale

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
EPOCHS = 10
PERCEPTRON, BOOLEAN = "784-200-100-50-10, 16 levels", "784-256-256-10, two levels"


@dataclass(frozen=True)
class Way:
    """A way to train one of the networks: by a rule, a loss and an optimiser, all functions of a rate and a gain."""

    name: str
    network: str
    loss: str
    rule: Callable[[str], integer.Rule]
    optimiser: Callable[[str], integer.Optimiser]
    tried: tuple[tuple[str, str], ...]
    chosen: tuple[str, str]
    published: str = ""
    batch: int = 128


def grid(rates: str, gains: str = "1") -> tuple[tuple[str, str], ...]:
    return tuple((rate, gain) for rate in rates.split() for gain in gains.split())


def backpropagation(gain: str) -> integer.Rule:
    return integer.Backpropagation()


WAYS = [
    Way(
        "backpropagation, momentum (ours)", PERCEPTRON, "cross_entropy", backpropagation, integer.Momentum,
        grid("0.025 0.05 0.1 0.2"), ("0.1", "1"),
    ),
    Way(
        "local losses, momentum", PERCEPTRON, "cross_entropy",
        lambda gain: integer.LocalLosses(amplification=gain), integer.Momentum,
        grid("0.025 0.05 0.1 0.2"), ("0.1", "1"),
    ),
    Way(
        "direct feedback alignment, momentum", PERCEPTRON, "cross_entropy",
        integer.FeedbackAlignment, integer.Momentum,
        grid("0.025 0.05 0.1", "0.25 0.5 1"), ("0.05", "0.5"),
    ),
    Way(
        "local losses, squared loss, IntegerSGD (as NITRO-D)", PERCEPTRON, "squared",
        lambda gain: integer.LocalLosses(amplification=gain), integer.IntegerSGD,
        grid("4 8", "64"), ("8", "64"), "88.66 (150 epochs)", 64,
    ),
    Way(
        "direct feedback alignment, squared loss, IntegerSGD (as PocketNN)", PERCEPTRON, "squared",
        integer.FeedbackAlignment, integer.IntegerSGD,
        # the best of eight with batches of 128
        grid("2", "4"), ("2", "4"), "87.70", 20,
    ),
    Way(
        "backpropagation, momentum on latent weights (ours)", BOOLEAN, "cross_entropy",
        backpropagation, integer.Momentum, grid("0.0125 0.025 0.05 0.1 0.2"), ("0.1", "1"),
    ),
    Way(
        "votes, Boolean optimiser (as BOLD)", BOOLEAN, "cross_entropy",
        backpropagation, integer.BooleanOptimiser, grid("5 10 20 40"), ("20", "1"),
    ),
]  # fmt: skip


def network(kind: str, data: Any, seed: int) -> integer.Sequential:
    """A perceptron of 16 levels and weights of 255 values, or of two levels and weights of two values."""
    mean, deviation = centre_and_scale(data.train.x)
    hidden, weights = ((200, 100, 50), 255) if kind == PERCEPTRON else ((256, 256), 2)
    widths, bias = (784, *hidden, len(data.classes)), kind == PERCEPTRON
    layers: list[integer.Layer] = [integer.Input(data.shape, data.alphabet, offset=mean, unit=deviation)]
    layers.append(integer.Flatten())
    for before, width in zip(widths, hidden):
        layers.append(integer.Linear(before, width, bias, weights=weights))
        layers.append(integer.TanhD(16) if kind == PERCEPTRON else integer.Sign())
    last = readout_scale(weight_grid(weights), widths[-2])
    return integer.Sequential(*layers, integer.Linear(*widths[-2:], bias, weights=weights, scale=last), seed=seed)


def train(way: Way, setting: tuple[str, str], seed: int, test: bool) -> dict[str, Any]:
    """Train one network; its accuracy on what was held back, and, once, on the test set."""
    data = zahlen.data.load("fashion-mnist")
    model, start = network(way.network, data, seed), time.perf_counter()
    rate, gain = setting
    history = integer.fit(
        model, data.train.x, data.train.y, rule=way.rule(gain), optimiser=way.optimiser(rate), loss=way.loss,
        epochs=EPOCHS, batch_size=way.batch, seed=seed, progress=False,
    )  # fmt: skip
    best = history.epochs[history.best]
    result: dict[str, Any] = {
        "network": way.network, "way": way.name, "rate": rate, "gain": gain, "seed": seed,
        "validation": round(100 * best.validation_accuracy, 2), "clamps": sum(e.clamps for e in history.epochs),
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    if test:
        result["test"] = round(100 * integer.evaluate(model, data.test.x, data.test.y)[1], 2)
        result["hash"] = model.machine().hash
    print(result, flush=True)
    return result


def table(results: list[dict[str, Any]]) -> str:
    """Mean and spread over the seeds."""
    head = "| network | way | batch | rate, gain | test, % (least to greatest) | published, % |"
    lines = [head, "|---" * 6 + "|"]
    for way in WAYS:
        values = [r["test"] for r in results if (r["network"], r["way"]) == (way.network, way.name)]
        spread = f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        cells = way.network, way.name, str(way.batch), ", ".join(way.chosen), spread, way.published or "-"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true", help="validation accuracy of all settings, nothing else")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    jobs = [(k, s, seed) for k, way in enumerate(WAYS) for s in (way.chosen,) for seed in SEEDS]
    if arguments.choose:
        jobs = [(k, s, 0) for k, way in enumerate(WAYS) for s in way.tried]
    parallel = joblib.Parallel(n_jobs=arguments.jobs, backend="multiprocessing")
    results = list(parallel(joblib.delayed(_train)(*job, not arguments.choose) for job in jobs))
    if arguments.choose:
        return
    print(table(results))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "integer_rules.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "integer_rules.md").write_text(table(results))


def _train(k: int, setting: tuple[str, str], seed: int, test: bool) -> dict[str, Any]:
    # a way holds functions, which do not travel between processes
    return train(WAYS[k], setting, seed, test)


if __name__ == "__main__":
    main()
