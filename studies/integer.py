"""Training with integers only beside float backpropagation: the same networks, steps and care.

Protocol: the first rate of each row is chosen by the share of the training data that is held back (a tenth of the
images; of the text the last twentieth), with seed 0. Then images are learnt anew, all of them, with that rate and each
of three seeds, and the last epoch's weights read the test set once; of the text the best of ten moments on what is held
back reads the test, with two seeds. Integers: momentum of 7/8, 16 levels (images) or 64 (text), weights of 8 bits.
Floats: the network's twin (tanh), Adam, or of texts also SGD with the same momentum. A fifth of all pixels is dropped,
in both (Srivastava et al., 2014). Rates fall along a line; of texts they rise along one for the first fifteenth of all
steps, and gradients are clipped to a norm of 0.25.

    python studies/integer.py               # all of it, about twenty minutes on two cores
    python studies/integer.py --only text   # these rows anew, the others as recorded
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import joblib
import king_james
import numpy as np
import torch
from torch.nn import functional as F

import zahlen
from zahlen import integer, nn
from zahlen.recipes import Recipe, RecurrentRecipe

RESULTS = Path(__file__).parent / "results"
EPOCHS, BATCH = 40, 128
STEPS, STREAMS, LENGTH, WARM = 1500, 64, 64, 100
RATES = {
    ("images", "integers"): ("0.025", "0.05"),
    ("images", "floats, Adam"): ("0.0003", "0.001"),
    ("text", "integers"): ("8", "16", "32"),
    ("text", "floats, Adam"): ("0.01", "0.02", "0.04"),
    ("text", "floats, SGD"): ("4", "8", "16"),
}
TASKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "MLP 784-200-100-50-10": ("images", "mlp", {"hidden": (200, 100, 50), "levels": 16, "dropout": "0.2"}),
    "MLP 784-256-256-10": ("images", "mlp", {"hidden": (256, 256), "levels": 16, "dropout": "0.2"}),
    "LSTM 128, 8-bit cell": ("text", "lstm", {"hidden": 128, "levels": 64, "cell_bits": 8}),
}
METHODS = ("integers", "floats, Adam", "floats, SGD")


def sgd(method: str, net: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimiser of a method."""
    if method.endswith("Adam"):
        return torch.optim.Adam(net.parameters(), lr=rate, fused=True)
    return torch.optim.SGD(net.parameters(), lr=rate, momentum=7 / 8)


def float_step(net: torch.nn.Module, optimiser: Any, loss: torch.Tensor, part: float, clip: float | None) -> None:
    """One step at a part of the first rate."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("first", group["lr"]) * part
    optimiser.zero_grad()
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimiser.step()


# ---------------------------------------------------------------------------------------------------- images


def images(task: str, method: str, rate: str, seed: int, final: bool) -> dict[str, Any]:
    """Learn Fashion-MNIST; accuracy on a tenth held back, or, `final`, on the test set."""
    _, model, options = TASKS[task]
    data = zahlen.data.load("fashion-mnist")
    recipe = Recipe.fitting(model, data.train.x, data.alphabet, 10, **options)
    start = time.perf_counter()
    if method == "integers":
        net = integer.network(recipe, seed=seed)
        rule = integer.Momentum(rate)
        share = 0 if final else "0.1"
        history = integer.fit(
            net, data.train.x, data.train.y, epochs=EPOCHS, batch_size=BATCH, optimiser=rule, seed=seed,
            validation=share, progress=False,
        )  # fmt: skip
        found: dict[str, Any] = {"clamps": sum(epoch.clamps for epoch in history.epochs)}
        if final:
            machine = net.machine()
            correct = (machine.run(data.test.x).argmax(1) == data.test.y).mean()
            found |= {"accuracy": 100 * float(correct), "hash": machine.hash}
        else:
            found["accuracy"] = 100 * history.epochs[-1].validation_accuracy
    else:
        found = {"accuracy": 100 * float_images(recipe, method, float(rate), seed, data, final)}
    return found | {"seconds": time.perf_counter() - start}


def float_images(recipe: Recipe, method: str, rate: float, seed: int, data: Any, final: bool) -> float:
    """The twin, in floats."""
    torch.manual_seed(seed)
    net = nn.network(recipe).twin()
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y.astype(np.int64))
    order = torch.randperm(len(x))
    held, rows = (order[:0], order) if final else (order[: len(x) // 10], order[len(x) // 10 :])
    optimiser = sgd(method, net, rate)
    total, step = EPOCHS * -(-len(rows) // BATCH), 0
    for _ in range(EPOCHS):
        for batch in rows[torch.randperm(len(rows))].split(BATCH):
            loss = F.cross_entropy(net(x[batch]), y[batch])
            float_step(net, optimiser, loss, 1 - step / total, None)
            step += 1
    if final:
        return float(nn.evaluate(net, data.test.x, data.test.y)[1])
    return float(nn.evaluate(net, x[held], y[held])[1])


# ---------------------------------------------------------------------------------------------------- text


def text(task: str, method: str, rate: str, seed: int, final: bool) -> dict[str, Any]:
    """Learn the King James text; bits per character on what is held back, and, `final`, on the test part."""
    _, model, options = TASKS[task]
    book = zahlen.data.text(king_james.path())
    recipe = RecurrentRecipe.of_text(model, len(book.symbols), **options)
    start = time.perf_counter()
    found: dict[str, Any] = {}
    if method == "integers":
        net = integer.network(recipe, seed=seed)
        rule = integer.Momentum(rate, clip=Fraction(1, 4))
        history = integer.fit_stream(
            net, book.train, steps=STEPS, batch_size=STREAMS, length=LENGTH, optimiser=rule, seed=seed, progress=False
        )
        found = {"clamps": sum(epoch.clamps for epoch in history.epochs)}
        found["bits"] = history.epochs[history.best].validation_loss / math.log(2)
        if final:
            found |= {"test": integer.stream_loss(net, book.test) / math.log(2), "hash": net.machine().hash}
    else:
        twin, found["bits"] = float_text(recipe, method, float(rate), seed, book)
        if final:
            found["test"] = nn.stream_loss(twin, book.test) / math.log(2)
    return found | {"seconds": time.perf_counter() - start}


def float_text(recipe: RecurrentRecipe, method: str, rate: float, seed: int, book: Any) -> tuple[Any, float]:
    """The twin, in floats: with its best weights, and their bits on what is held back."""
    torch.manual_seed(seed)
    net = nn.network(recipe).twin()
    held = round(len(book.train) / 20)
    train, rest = torch.from_numpy(book.train[:-held].astype(np.int64)), book.train[-held:]
    rows = len(train) // STREAMS
    streams, chunks = train[: rows * STREAMS].view(STREAMS, rows), (rows - 1) // LENGTH - 1
    optimiser, state, best, least = sgd(method, net, rate), None, {}, math.inf
    for step in range(STEPS):
        start = step % chunks * LENGTH
        state = None if start == 0 else state
        window = streams[:, start : start + LENGTH + 1]
        output, state = net.unroll(window[:, :-1], state)
        state = {name: value.detach() for name, value in state.items()}
        loss = F.cross_entropy(output.flatten(0, 1), window[:, 1:].flatten())
        float_step(net, optimiser, loss, (1 - step / STEPS) * min(1, (step + 1) / WARM), 0.25)
        if (step + 1) % (STEPS // 10) == 0:
            bits = nn.stream_loss(net, rest) / math.log(2)
            if bits < least:
                least, best = bits, {k: v.clone() for k, v in net.state_dict().items()}
    if best:
        net.load_state_dict(best)
    return net, least


# ---------------------------------------------------------------------------------------------------- the study


def row(task: str, method: str) -> dict[str, Any]:
    """Choose a rate, then learn with each seed."""
    torch.set_num_threads(1)
    kind = TASKS[task][0]
    run: Callable[..., dict[str, Any]] = images if kind == "images" else text
    worse: Callable[[dict[str, Any]], float] = (lambda r: -r["accuracy"]) if kind == "images" else (lambda r: r["bits"])
    tried = {rate: run(task, method, rate, 0, False) for rate in RATES[kind, method]}
    best = min(tried, key=lambda rate: worse(tried[rate]))
    finals = [run(task, method, best, seed, True) for seed in range(3 if kind == "images" else 2)]
    print(f"{task}, {method}: rate {best}, {[r.get('accuracy', r.get('test')) for r in finals]}", flush=True)
    return {"task": task, "kind": kind, "method": method, "tried": tried, "rate": best, "finals": finals}


def summary(results: list[dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = ["| network | trained with | rate | held back | test | by seed | clamped | seconds |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in results:
        key, unit = ("accuracy", " %") if r["kind"] == "images" else ("test", " bits")
        digits = 2 if r["kind"] == "images" else 4
        values = [f[key] for f in r["finals"]]
        held = r["tried"][r["rate"]]["accuracy" if r["kind"] == "images" else "bits"]
        clamped = f"{r['finals'][0]['clamps']:,}" if "clamps" in r["finals"][0] else ""
        seeds = ", ".join(f"{v:.{digits}f}" for v in values)
        seconds = statistics.median(f["seconds"] for f in r["finals"])
        lines.append(
            f"| {r['task']} | {r['method']} | {r['rate']} | {held:.{digits}f}{unit} | "
            f"{statistics.mean(values):.{digits}f}{unit} | {seeds} | {clamped} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows whose kind, network or method has this in its name")
    arguments = parser.parse_args()
    path = RESULTS / "integer.json"
    recorded = json.loads(path.read_text()) if path.is_file() else []
    jobs = [(task, method) for task in TASKS for method in METHODS if (TASKS[task][0], method) in RATES]
    wanted = [j for j in jobs if arguments.only is None or arguments.only in f"{TASKS[j[0]][0]} {j[0]} {j[1]}"]
    new = joblib.Parallel(n_jobs=2)(joblib.delayed(row)(*job) for job in wanted)
    kept = {(r["task"], r["method"]): r for r in [*recorded, *new]}
    results = [kept[job] for job in jobs if job in kept]
    path.write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "integer.md").write_text(summary(results))
    print(summary(results))


if __name__ == "__main__":
    main()
