"""Fashion-MNIST: certified accuracy of a small convolutional network, trained plainly and on intervals.

Every pixel may change by eps of 255, 2 and 8. Protocol: two convolutions of stride 2 (16 and 32 channels, 4x4) and two
dense layers (100, 10), weights of 255 values, Adam from 1e-3 along a cosine to zero, batches of 128. Activation, levels
and the ball trained on were chosen by 6,000 held-back training images (`--choose`): most accurate, or most certified.
Then each network was trained on all 60,000 for 20 epochs, the last weights, seeds 0 and 1. The test set is read once,
after training: accuracy; the share that intervals certify; and what `zahlen.analysis.verify` makes of the first images,
each verdict replayed. Trained machines are kept in a folder, so that they can be verified anew.

    python studies/robust.py                 # all of it: about an hour on one core, and what verify takes
    python studies/robust.py --only "eps = 2"
    python studies/robust.py --choose --images 12000 --epochs 6    # about a quarter of an hour
    python studies/robust.py --images 2000 --epochs 2 --seeds 0 --verified 5 --out /tmp/try --cache /tmp/try
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import joblib
import torch

import zahlen
from zahlen import Machine, nn
from zahlen.analysis import Box, Stable, certified, replay, verify
from zahlen.recipes import centre_and_scale

RESULTS = Path(__file__).parent / "results"
EPS = (2, 8)
EPOCHS = 20
HELD = 6000

Setting = dict[str, Any]
"""An activation, its levels, a rate, and the ball that is trained on (None: plainly)."""

CURVES: list[Setting] = [
    {"activation": a, "levels": levels, "lr": 1e-3} for a in ("tanh", "relu") for levels in (16, 64)
]
CANDIDATES: dict[str, list[Setting]] = {
    "plain": [curve | {"robust": None} for curve in CURVES],
    "eps = 2": [curve | {"robust": eps} for curve in CURVES for eps in (2, 3)],
    "eps = 8": [curve | {"robust": eps} for curve in CURVES for eps in (8, 10)],
}
"""Curves of the activations, and balls as large as the one to be certified or a little larger."""
CHOSEN: dict[str, Setting] = {
    "plain": {"activation": "tanh", "levels": 64, "lr": 1e-3, "robust": None},
    "eps = 2": {"activation": "relu", "levels": 16, "lr": 1e-3, "robust": 3},
    "eps = 8": {"activation": "tanh", "levels": 64, "lr": 1e-3, "robust": 10},
}


def network(x: Any, alphabet: zahlen.Levels, setting: Setting) -> nn.Sequential:
    """About 0.6 million multiply-adds an image."""
    kind: Any = nn.TanhD if setting["activation"] == "tanh" else nn.ReLUD
    mean, deviation = centre_and_scale(x)

    def act() -> Any:
        return kind(setting["levels"])

    return nn.Sequential(
        nn.Input((28, 28), alphabet, offset=mean, unit=deviation), nn.Reshape(1, 28, 28),
        nn.Conv2d(1, 16, 4, stride=2, padding=1), act(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1), act(),
        nn.Flatten(), nn.Linear(32 * 49, 100), act(), nn.Linear(100, 10, scale=32),
    )  # fmt: skip


def trained(setting: Setting, seed: int, images: int, epochs: int, held: bool) -> tuple[Machine, float]:
    """A machine, trained on one thread, and the seconds that it took; with `held` not on the last training images."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data = zahlen.data.load("fashion-mnist")
    x, y = data.train.x, data.train.y
    if held:
        x, y = x[:-HELD], y[:-HELD]
    model = network(x, data.alphabet, setting)
    options = {name: setting[name] for name in ("lr", "robust")}
    start = time.perf_counter()
    zahlen.fit(model, x[:images], y[:images], epochs=epochs, seed=seed, validation=0.0, progress=False, **options)
    return model.machine(), time.perf_counter() - start


def shares(machine: Machine, x: Any, y: Any) -> dict[str, Any]:
    """Accuracy, and what intervals certify, in per cent."""
    found = {"accuracy": 100 * float((machine.run(x).argmax(1) == y).mean())}
    return found | {f"certified {eps}": 100 * float(certified(machine, x, y, eps).mean()) for eps in EPS}


def candidate(name: str, setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """What a candidate reaches on held-back images."""
    machine, seconds = trained(setting, 0, options.images, options.epochs, held=True)
    train = zahlen.data.load("fashion-mnist").train
    result = {"network": name, **setting, **shares(machine, train.x[-HELD:], train.y[-HELD:]), "seconds": seconds}
    print(json.dumps(result), flush=True)
    return result


def measured(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network and read the test set once."""
    path = options.cache / f"{name.replace(' = ', '')}-{seed}.zn"
    training = {**CHOSEN[name], "seed": seed, "images": options.images, "epochs": options.epochs}
    machine = zahlen.load(path) if path.exists() else None
    if machine is None or machine.notes["training"] != training:
        machine, seconds = trained(CHOSEN[name], seed, options.images, options.epochs, held=False)
        machine = machine.annotated(training=training, seconds=round(seconds))
        machine.save(path)
    test = zahlen.data.load("fashion-mnist").test
    result = {"network": name, **training, "seconds": machine.notes["seconds"], "hash": machine.hash}
    result |= shares(machine, test.x, test.y)
    for eps in EPS:
        result[f"verified {eps}"] = decided(machine, test.x[: options.verified], test.y, eps, options.limit)
    print(json.dumps(result), flush=True)
    return result


def decided(machine: Machine, x: Any, y: Any, eps: int, limit: float) -> dict[str, Any]:
    """Verdicts about images, replayed."""
    counts: Counter[str] = Counter()
    start = time.perf_counter()
    for image, label in zip(x, y):
        verdict = verify(machine, Box.ball(machine, image, eps), Stable(int(label)), seconds=limit)
        assert verdict.status == "unknown" or replay(machine, verdict.certificate)
        counts[verdict.status] += 1
    return {"images": len(x), **counts, "seconds": time.perf_counter() - start}


def summary(results: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """A table of all networks."""
    heads = [f"certified {eps} | verify {eps}: yes / no / open" for eps in EPS]
    lines = [f"| trained | seed | accuracy | {' | '.join(heads)} | minutes |", "|---" * (4 + 2 * len(EPS)) + "|"]
    for r in results:
        cells = []
        for eps in EPS:
            found = r[f"verified {eps}"]
            cells.append(f"{r[f'certified {eps}']:.2f}")
            cells.append(" / ".join(str(found.get(status, 0)) for status in ("verified", "refuted", "unknown")))
        lines.append(
            f"| {r['network']} | {r['seed']} | {r['accuracy']:.2f} | {' | '.join(cells)} | {r['seconds'] / 60:.1f} |"
        )
    told = f"`verify` on the first {options.verified}, at most {options.limit:g} s each"
    lines += ["", f"Accuracy and certified accuracy in per cent of 10,000 test images; {told}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks whose name contains this; other rows stay as recorded")
    parser.add_argument("--choose", action="store_true", help="compare the candidates on held-back images")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--verified", type=int, default=50, help="images that go to verify")
    parser.add_argument("--limit", type=float, default=10, help="seconds for one of them")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=Path("build/robust"), help="folder of trained machines")
    options = parser.parse_args()
    for folder in (options.out, options.cache):
        folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in CHOSEN if options.only is None or options.only in name]
    parallel = joblib.Parallel(n_jobs=options.jobs)
    if options.choose:
        jobs = [(name, setting, options) for name in names for setting in CANDIDATES[name]]
        found = list(parallel(joblib.delayed(candidate)(*job) for job in jobs))
        (options.out / "robust_choice.json").write_text(json.dumps(found, indent=1) + "\n")
        return
    path = options.out / "robust.json"
    results = {(r["network"], r["seed"]): r for r in json.loads(path.read_text())} if path.exists() else {}
    done = parallel(joblib.delayed(measured)(name, seed, options) for seed in options.seeds for name in names)
    results |= {(r["network"], r["seed"]): r for r in done}
    ordered = sorted(results.values(), key=lambda r: (list(CHOSEN).index(r["network"]), r["seed"]))
    path.write_text(json.dumps(ordered, indent=1) + "\n")
    (options.out / "robust.md").write_text(summary(ordered, options))
    print(summary(ordered, options))


if __name__ == "__main__":
    main()
