"""Labelled time series: recurrent networks in whole numbers beside their float twins.

Protocol: 32 units, 60 epochs of Adam from 0.01 along a cosine to zero, batches of 32, gradients clipped to a norm of
0.25, the last epoch's weights; decimals on a grid of 0.001, each feature on one scale by a staircase in front. The
archive's own division; the test part is read once per network. Twins start from the same latent weights and see the
same batches. Three seeds.

    python studies/series.py
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import joblib
from series_data import path, series
from torch import manual_seed, set_num_threads  # the module itself would be pickled with its `classes`

from zahlen import nn
from zahlen.recipes import RecurrentRecipe

RESULTS = Path(__file__).parent / "results"
SETS = ("JapaneseVowels", "BasicMotions", "ItalyPowerDemand")
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("lstm", {"levels": 16, "cell_bits": 16}),
    ("lstm", {"levels": 16, "cell_bits": 8}),
    ("lstm", {"levels": 16, "cell_bits": 4}),
    ("gru", {"levels": 16, "cell_bits": 8}),
    ("rnn", {"levels": 16}),
]
SEEDS = (0, 1, 2)


def train(name: str, model: str, options: dict[str, Any], twin: bool, seed: int) -> dict[str, Any]:
    """Train one network on one thread and read the test part once."""
    set_num_threads(1)
    data = series(name)
    manual_seed(seed)
    recipe = RecurrentRecipe.fitting(model, data.train.values, data.alphabet, len(data.classes), hidden=32, **options)
    network = nn.network(recipe)
    net = network.twin() if twin else network
    train, test = data.train, data.test
    nn.fit(
        net, train.x, train.y, lengths=train.lengths, epochs=60, batch_size=32, lr=0.01, clip=0.25, seed=seed,
        validation=0.0, progress=False,
    )  # fmt: skip
    accuracy = 100 * nn.evaluate(net, test.x, test.y, lengths=test.lengths)[1]
    result = {"set": name, "model": model, "options": options, "twin": twin, "seed": seed, "accuracy": accuracy}
    if not twin:
        machine = network.machine()
        result |= {"hash": machine.hash, "state_bits": machine.state_bits}
    print(f"{name:>18} {model} {options} {'twin' if twin else ''} seed {seed}: {accuracy:.2f} %", flush=True)
    return result


def summary(results: list[dict[str, Any]]) -> str:
    """A Markdown table: mean and every seed, discrete beside float."""
    lines = ["| series | network | state, bits | discrete, % | by seed | float twin, % | by seed |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in SETS:
        for model, options in ROWS:
            row: list[str] = []
            found = [r for r in results if (r["set"], r["model"], r["options"]) == (name, model, options)]
            for twin in (False, True):
                values = [r["accuracy"] for r in sorted(found, key=lambda r: r["seed"]) if r["twin"] == twin]
                row += [f"{statistics.mean(values):.2f}", ", ".join(f"{v:.2f}" for v in values)]
            cell = (
                f", {options['cell_bits']}-bit {'state' if model == 'gru' else 'cell'}"
                if "cell_bits" in options
                else ""
            )
            bits = next(r["state_bits"] for r in found if not r["twin"])
            lines.append(f"| {name} | {model.upper()} L = {options['levels']}{cell} | {bits} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    for name in SETS:
        path(name)  # fetched once, before the processes start
    jobs = [(n, m, o, t, s) for n in SETS for m, o in ROWS for t in (False, True) for s in SEEDS]
    results = list(joblib.Parallel(n_jobs=arguments.jobs)(joblib.delayed(train)(*job) for job in jobs))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "series.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "series.md").write_text(summary(results))
    print(summary(results))


if __name__ == "__main__":
    main()
