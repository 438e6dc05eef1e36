"""Fashion-MNIST: what levels and coarse weights cost, beside float twins.

Protocol: 60,000 training images, 10 epochs, Adam from 1e-3 along a cosine to zero, batches of 128, the last epoch's
weights; the test set is read once, after training. Twins start from the same latent weights and see the same batches.

    python studies/fashion.py            # all of it, about twelve minutes on two cores
    python studies/fashion.py --only cnn    # these rows anew, the others as recorded
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import joblib
import torch

import zahlen
from zahlen import nn
from zahlen.recipes import Recipe

RESULTS = Path(__file__).parent / "results"
LEVELS = (2, 3, 4, 8, 16, 32, 64, 256)
SEEDS = (0, 1)
EPOCHS = 10


def train(recipe: dict[str, Any], seed: int, twin: bool) -> dict[str, Any]:
    """Train one network (or its twin) and read the test set once."""
    return trained(recipe, seed, twin)[0]


def trained(recipe: dict[str, Any], seed: int, twin: bool) -> tuple[dict[str, Any], torch.nn.Module]:
    """Train one network (or its twin) on one thread; the figures, and the network."""
    torch.set_num_threads(1)
    data = zahlen.data.load("fashion-mnist")
    torch.manual_seed(seed)
    made = Recipe.fitting(recipe["model"], data.train.x, data.alphabet, 10, **recipe["options"])
    network = nn.network(made)
    net = network.twin() if twin else network
    start = time.perf_counter()
    zahlen.fit(net, data.train.x, data.train.y, epochs=EPOCHS, seed=seed, validation=0.0, progress=False)
    seconds = time.perf_counter() - start
    accuracy = 100 * nn.evaluate(net, data.test.x, data.test.y)[1]
    result = {**recipe, "seed": seed, "twin": twin, "accuracy": accuracy, "seconds": seconds}
    if not twin:
        result["hash"] = network.machine().hash
    print(f"{recipe['name']:>28} {'twin' if twin else '':4} seed {seed}: {accuracy:.2f} %, {seconds:.0f} s", flush=True)
    return result, net


def rows() -> list[tuple[dict[str, Any], bool]]:
    """Every network of the study, and whether it is a float twin."""

    def mlp(name: str, **options: Any) -> dict[str, Any]:
        return {"group": "mlp", "name": name, "model": "mlp", "options": {"hidden": (256, 256), **options}}

    cnn = {"group": "cnn", "name": "cnn L = 16", "model": "cnn"}
    cnn["options"] = {"channels": (16, 32), "hidden": (128,), "levels": 16, "activation": "tanh"}
    jobs = [(mlp("tanh"), True), (mlp("relu", activation="relu"), True), (cnn, True), (cnn, False)]
    jobs += [(mlp(f"L = {levels}", levels=levels), False) for levels in LEVELS]
    jobs += [(mlp("relu L = 16", activation="relu"), False)]
    jobs += [(mlp(f"L = 16, {count} weights", weights=count), False) for count in (15, 3, 2)]
    return jobs


def summary(results: list[dict[str, Any]]) -> str:
    """A Markdown table: mean over seeds, each seed, distance to the twin."""
    groups: dict[tuple[str, str, bool], list[float]] = {}
    for r in results:
        groups.setdefault((r["group"], r["name"], r["twin"]), []).append(r["accuracy"])
    twins = {"mlp": groups.get(("mlp", "tanh", True)), "cnn": groups.get(("cnn", "cnn L = 16", True))}
    lines = ["| network | accuracy, % | by seed | against the tanh twin |", "|---|---|---|---|"]
    for (group, name, twin), values in groups.items():
        mean, base = statistics.mean(values), twins[group]
        gap = "" if base is None else f"{mean - statistics.mean(base):+.2f}"
        seeds = ", ".join(f"{v:.2f}" for v in values)
        lines.append(f"| {name}{' (float twin)' if twin else ''} | {mean:.2f} | {seeds} | {gap} |")
    return "\n".join(lines) + "\n"


def plot(results: list[dict[str, Any]]) -> None:
    """Accuracy against levels, the twins as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for k, seed in enumerate(SEEDS):
        points = {r["options"].get("levels"): r["accuracy"] for r in results if _is_level(r) and r["seed"] == seed}
        axis.plot(
            range(len(points)), list(points.values()), "o", color="C0", alpha=0.6, label="discrete" if not k else ""
        )
    for k, name in enumerate(("tanh", "relu")):
        twin = [r["accuracy"] for r in results if r["name"] == name and r["twin"]]
        axis.axhline(statistics.mean(twin), color=f"C{k + 1}", label=f"{name} float twin")
    axis.set(xlabel="levels of an activation", ylabel="test accuracy, %", title="Fashion-MNIST, 784-256-256-10")
    axis.set_xticks(range(len(LEVELS)), LEVELS)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(RESULTS / "fashion.png", dpi=120)


def _is_level(result: dict[str, Any]) -> bool:
    return not result["twin"] and result["name"].startswith("L = ") and "weights" not in result["name"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks whose name contains this; other rows stay as recorded")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [(r, s, t) for r, t in rows() for s in SEEDS if arguments.only is None or arguments.only in r["name"]]
    results = list(joblib.Parallel(n_jobs=arguments.jobs)(joblib.delayed(train)(*job) for job in chosen))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "fashion.json"
    if arguments.only is not None and path.exists():
        fresh = {_key(r): r for r in results}
        results = [fresh.pop(_key(r), r) for r in json.loads(path.read_text())["results"]] + list(fresh.values())
    record = {"results": results, "torch": torch.__version__, "zahlen": zahlen.__version__}
    path.write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "fashion.md").write_text(summary(results))
    plot(results)
    print(summary(results))


def _key(result: dict[str, Any]) -> tuple[str, bool, int]:
    return result["name"], result["twin"], result["seed"]


if __name__ == "__main__":
    main()
