"""King James text, character by character: recurrent networks in whole numbers beside their float twins.

Protocol: 128 units, 1500 steps of 64 streams x 64 characters, Adam along a cosine to zero, gradients clipped to a norm
of 0.25. The last tenth of the text is the test, of the rest the last twentieth chooses the learning rate from `RATES`
(with seed 0) and the best of three moments of the training. Then a second seed at that rate. The test is read once per
network. All start from the same latent weights per seed; figures are bits per character.

    python studies/text.py              # all of it, about forty minutes on two cores
    python studies/text.py --only GRU   # these rows anew, the others as recorded
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import joblib
import king_james
import torch

import zahlen
from zahlen import emit, nn
from zahlen.recipes import RecurrentRecipe

RESULTS = Path(__file__).parent / "results"
RATES = (5e-3, 1e-2, 2e-2, 4e-2)
STEPS = 1500
UNITS = 128
LEVELS = (4, 8, 16, 64)
BITS = (16, 8, 4)


def rows() -> list[dict[str, Any]]:
    """Every network of the study."""

    def row(name: str, model: str = "lstm", twin: bool = False, **options: Any) -> dict[str, Any]:
        return {"name": name, "model": model, "twin": twin, "options": options}

    table = [row("float LSTM", twin=True, cell_bits=16)]
    table += [
        row(f"LSTM L = {levels}, {bits}-bit cell", levels=levels, cell_bits=bits) for levels in LEVELS for bits in BITS
    ]
    table += [row("LSTM L = 64, 6-bit cell", levels=64, cell_bits=6)]
    table += [
        row(f"LSTM L = 16, 64 levels of gates, {bits}-bit cell", levels=16, gate_levels=64, cell_bits=bits)
        for bits in BITS
    ]
    table += [
        row("LSTM L = 16, 4-bit cell, 16 weights, no multiplication", levels=16, cell_bits=4, weights=16,
            products="tables"),
        row("float GRU", "gru", True),
        row("GRU L = 16, 8-bit state", "gru", levels=16, cell_bits=8),
        row("float RNN", "rnn", True),
        row("RNN L = 16", "rnn", levels=16),
        row("RNN L = 64", "rnn", levels=64),
    ]  # fmt: skip
    return table


def train(row: dict[str, Any], rate: float, seed: int) -> dict[str, Any]:
    """Train one network on one thread and read the test."""
    torch.set_num_threads(1)
    text = zahlen.data.text(king_james.path())
    torch.manual_seed(seed)
    recipe = RecurrentRecipe.of_text(row["model"], len(text.symbols), hidden=UNITS, **row["options"])
    network = nn.network(recipe)
    net = network.twin() if row["twin"] else network
    start = time.perf_counter()
    history = nn.fit_stream(
        net, text.train, steps=STEPS, lr=rate, clip=0.25, seed=seed, every=STEPS // 3, progress=False
    )
    result = {**row, "rate": rate, "seed": seed, "seconds": time.perf_counter() - start}
    result["validation"] = history.epochs[history.best].validation_loss / math.log(2)
    result["bits"] = nn.stream_loss(net, text.test) / math.log(2)
    if row["twin"]:
        parameters = sum(p.numel() for p in net.parameters())
        state = UNITS * (2 if row["model"] == "lstm" else 1)
        result |= {"state_bits": 32 * state, "flash": 4 * parameters, "ram": 4 * state}
    else:
        machine = network.machine()
        figures = emit.c.footprint(machine, multiply="none" if "products" in row["options"] else "native")
        result |= {"hash": machine.hash, "state_bits": machine.state_bits, "flash": figures.flash, "ram": figures.ram}
        result["muls"] = sum(w.operation.kind == "mul" for w in machine.wires.values())
    print(
        f"{row['name']:>40} rate {rate} seed {seed}: {result['bits']:.4f} bits, {result['seconds']:.0f} s", flush=True
    )
    return result


def study(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row: seed 0 at every rate, then seed 1 at the best."""
    tried = [train(row, rate, 0) for rate in RATES]
    best = min(tried, key=lambda r: r["validation"])
    return [*tried, train(row, best["rate"], 1)]


def summary(results: list[dict[str, Any]]) -> str:
    """A Markdown table: bits per character, each seed, distance to the float network of the same kind."""
    table, floats = [], {}
    for row in rows():
        runs = [r for r in results if r["name"] == row["name"]]
        if not runs:
            continue
        rate = min((r for r in runs if r["seed"] == 0), key=lambda r: r["validation"])["rate"]
        chosen = [r for r in runs if r["rate"] == rate]
        mean = statistics.mean(r["bits"] for r in chosen)
        if row["twin"]:
            floats.setdefault(row["model"], mean)
        table.append((row, rate, chosen, mean))
    lines = [
        "| network | bits per character | by seed | against float | rate | state, bits | flash, bytes | RAM, bytes |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for row, rate, chosen, mean in table:
        base = floats.get(row["model"])
        gap = "" if base is None else f"{100 * (mean / base - 1):+.1f} %"
        seeds = ", ".join(f"{r['bits']:.4f}" for r in chosen)
        first = chosen[0]
        sizes = f"{first['state_bits']:,} | {first['flash']:,} | {first['ram']:,}"
        lines.append(f"| {row['name']} | {mean:.4f} | {seeds} | {gap} | {rate} | {sizes} |")
    return "\n".join(lines) + "\n"


def plot(results: list[dict[str, Any]]) -> None:
    """Bits per character against levels, one line a width of the cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for bits in BITS:
        points = [_mean(results, f"LSTM L = {levels}, {bits}-bit cell") for levels in LEVELS]
        axis.plot(range(len(LEVELS)), points, "o-", label=f"{bits}-bit cell")
    axis.axhline(_mean(results, "float LSTM"), color="black", label="float LSTM")
    axis.set(xlabel="levels of the hidden state and the gates", ylabel="bits per character")
    axis.set_title("King James text, LSTM of 128 units")
    axis.set_xticks(range(len(LEVELS)), LEVELS)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(RESULTS / "text.png", dpi=120)


def _mean(results: list[dict[str, Any]], name: str) -> float:
    runs = [r for r in results if r["name"] == name]
    if not runs:
        return math.nan
    rate = min((r for r in runs if r["seed"] == 0), key=lambda r: r["validation"])["rate"]
    return statistics.mean(r["bits"] for r in runs if r["rate"] == rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks whose name contains this; other rows stay as recorded")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    king_james.path()
    path = RESULTS / "text.json"
    chosen = [row for row in rows() if arguments.only is None or arguments.only in row["name"]]
    names = {row["name"] for row in chosen}
    recorded = json.loads(path.read_text()) if arguments.only is not None and path.exists() else []
    results = [r for r in recorded if r["name"] not in names]
    jobs = joblib.Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(
        joblib.delayed(study)(r) for r in chosen
    )
    for done in jobs:  # written row by row: a study that is cut off goes on with --only
        results += done
        order = {row["name"]: k for k, row in enumerate(rows())}
        results.sort(key=lambda r: (order.get(r["name"], len(order)), r["seed"], r["rate"]))
        path.write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "text.md").write_text(summary(results))
    plot(results)
    print(summary(results))


if __name__ == "__main__":
    main()
