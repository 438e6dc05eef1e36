"""Robustness of a 784-64-32-10 network of 6-bit weights and activations on Fashion-MNIST, proved or refuted.

Images of 64 grey levels (pixel // 4). A query asks whether every image of which no pixel differs from a test image's by
more than eps levels, 1 to 4, is of the same class; of the first test images that the network names right. zahlen
decides each with `zahlen.analysis.verify`, and every verdict is replayed. Some of the same queries go to solvers alone:
one formula of bit vectors (bitwuzla, z3), one model of CP-SAT: pip install 'zahlen[solvers]'. One thread.

    OMP_NUM_THREADS=1 python benchmarks/verification.py    # queries of before are taken as recorded
    OMP_NUM_THREADS=1 python benchmarks/verification.py --only zahlen
    OMP_NUM_THREADS=1 python benchmarks/verification.py --only zahlen --again 600  # what is open, with more time
    OMP_NUM_THREADS=1 python benchmarks/verification.py --images 3 --peer-images 1 --limit 5 --out /tmp/try
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import verification_peers
from peers_report import processor
from rich.progress import track

import zahlen
from zahlen import Machine
from zahlen.analysis import Box, Stable, certified, replay, verify
from zahlen.machine import IntArray

RESULTS = Path(__file__).parent / "results"
EPS = (1, 2, 3, 4)
ZAHLEN = "zahlen"
PACKAGES = ("bitwuzla", "z3-solver", "ortools", "numpy")

Record = dict[str, Any]
"""What one query came to: tool, eps, image, status, method, seconds, and whether the replay confirmed it."""


def grey(images: IntArray) -> IntArray:
    """Of 64 levels."""
    return images // 4


def train() -> Machine:
    """The network: ReLU in 64 levels, weights in -31..31, 10 epochs."""
    import torch

    from zahlen import Levels, nn
    from zahlen.recipes import Recipe

    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = zahlen.data.load("fashion-mnist")
    x = grey(data.train.x)
    options: dict[str, Any] = {"hidden": (64, 32), "weights": 63, "levels": 64, "activation": "relu"}
    network = nn.network(Recipe.fitting("mlp", x, Levels(0, 63), 10, **options))
    zahlen.fit(network, x, data.train.y, epochs=10, seed=0)
    return network.machine(notes={"data": "fashion-mnist, pixel // 4", "seed": 0, "zahlen": zahlen.__version__})


def by_zahlen(machine: Machine, x: IntArray, label: int, eps: int, limit: float) -> Record:
    """Decide a query, and replay the verdict."""
    verdict = verify(machine, Box.ball(machine, x, eps), Stable(label), seconds=limit)
    start = time.perf_counter()
    confirmed = bool(replay(machine, verdict.certificate)) if verdict.status != "unknown" else None
    return {
        "status": verdict.status, "method": verdict.method, "seconds": verdict.seconds, "confirmed": confirmed,
        "replay": time.perf_counter() - start,
    }  # fmt: skip


def by_peer(tool: str, machine: Machine, x: IntArray, label: int, eps: int, limit: float) -> Record:
    """Decide a query by a solver alone."""
    box = Box.ball(machine, x, eps).ends(machine)
    (lo, hi), = box.values()  # fmt: skip
    status, seconds = verification_peers.asked(tool, (machine, lo, hi, label), limit)
    return {"status": status, "seconds": seconds}


class Log:
    """Records in a file, line by line, so that a benchmark that was cut short goes on where it was."""

    def __init__(self, path: Path, machine: Machine) -> None:
        self.path, self.hash = path, machine.hash
        self.records: dict[tuple[Any, ...], Record] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                record = json.loads(line)
                if record["network"] == machine.hash:
                    self.records[self._key(record)] = record

    @staticmethod
    def _key(record: Record) -> tuple[Any, ...]:
        return record["tool"], record["eps"], record["image"], record["limit"]

    def known(self, asked: Record) -> bool:
        """Whether a query is recorded."""
        return self._key(asked) in self.records

    def add(self, record: Record) -> None:
        """One more."""
        record = {"network": self.hash, **record}
        self.records[self._key(record)] = record
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def of(self, tool: str, images: list[int], limit: float) -> list[Record]:
        """What a tool said of some images."""
        keys = [(tool, eps, image, limit) for eps in EPS for image in images]
        return [self.records[key] for key in keys if key in self.records]

    def again(self, images: list[int], limit: float) -> list[Record]:
        """What zahlen said with more time of what it had left open."""
        found = [r for r in self.records.values() if r["tool"] == ZAHLEN and r["limit"] > limit]
        return sorted((r for r in found if r["image"] in images), key=lambda r: (r["eps"], r["image"]))


def row(name: str, records: list[Record]) -> str:
    """How many queries were decided, in which time."""
    status = Counter(record["status"] for record in records)
    seconds = [record["seconds"] for record in records]
    decided = status["verified"] + status["refuted"]
    return (
        f"| {name} | {len(records)} | {decided} | {status['verified']} | {status['refuted']} | {status['unknown']} | "
        f"{sum(seconds):.1f} | {float(np.median(seconds)):.3f} | {max(seconds):.2f} |"
    )


HEADER = "| queries | decided | verified | refuted | unknown | seconds | median | longest |"


def report(log: Log, chosen: list[int], some: list[int], facts: list[str], options: argparse.Namespace) -> str:
    """The tables, as Markdown."""
    mine = log.of(ZAHLEN, chosen, options.limit)
    lines = [*facts, "", f"| eps {HEADER}", "|---" * 9 + "|"]
    lines += [row(str(eps), [r for r in mine if r["eps"] == eps]) for eps in EPS]
    lines += [row("all", mine), ""]
    again = log.again(chosen, options.limit)
    if again:
        most = max(r["limit"] for r in again)
        left = sum(r["status"] == "unknown" for r in mine)
        lines += [f"Of the {left} that were open {len(again)} were asked again, at most {most:g} s each:", ""]
        lines += [f"| eps {HEADER}", "|---" * 9 + "|"]
        asked = {eps: [r for r in again if r["eps"] == eps] for eps in EPS}
        lines += [row(str(eps), records) for eps, records in asked.items() if records]
        lines += [row("all", again), ""]
    replayed = [r for r in [*mine, *again] if r["confirmed"] is not None]
    lines += [
        f"Replayed: {len(replayed)} verdicts, {sum(r['confirmed'] for r in replayed)} confirmed, in "
        f"{sum(r['replay'] for r in replayed):.1f} s.",
        "", "| decided by | 1 | 2 | 3 | 4 |", "|---" * 5 + "|",
    ]  # fmt: skip
    for (status, method), _ in Counter((r["status"], r["method"]) for r in mine).most_common():
        counts = Counter(r["eps"] for r in mine if (r["status"], r["method"]) == (status, method))
        lines.append(f"| {method}: {status} | {' | '.join(str(counts[eps]) for eps in EPS)} |")
    peers = {tool: log.of(tool, some, options.peer_limit) for tool in verification_peers.TOOLS}
    if any(peers.values()):
        lines += [
            "",
            f"The same queries for the first {len(some)} of these images, by solvers alone, at most "
            f"{options.peer_limit:g} s each:",
            "", f"| way {HEADER}", "|---" * 9 + "|", row(ZAHLEN, log.of(ZAHLEN, some, options.limit)),
        ]  # fmt: skip
        lines += [row(tool, records) for tool, records in peers.items() if records]
        lines += ["", f"Verdicts that contradict zahlen's: {contradictions([*mine, *again], peers)}."]
    return "\n".join(lines) + "\n"


def about(machine: Machine, x: IntArray, y: IntArray) -> list[str]:
    """The computer and the network."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    shares = ", ".join(f"{100 * certified(machine, x, y, eps).mean():.2f}" for eps in EPS)
    return [
        f"{processor()}; {platform.system()}, Python {platform.python_version()}, zahlen {zahlen.__version__}, "
        f"{versions}; one thread; {datetime.date.today().isoformat()}.",
        "",
        f"784-64-32-10, test accuracy {100 * (machine.run(x).argmax(1) == y).mean():.2f} %, hash {machine.hash[:16]}. "
        f"Intervals alone certify {shares} % of all {len(x):,} test images at eps {', '.join(map(str, EPS))}.",
    ]


def contradictions(mine: list[Record], peers: dict[str, list[Record]]) -> int:
    """How many verdicts there are of which one says the opposite."""
    known = {(r["eps"], r["image"]): r["status"] for r in mine if r["status"] != "unknown"}
    peer = [r for records in peers.values() for r in records]
    pairs = [(known.get((r["eps"], r["image"]), "unknown"), r["status"]) for r in peer]
    return sum("unknown" not in pair and pair[0] != pair[1] for pair in pairs)


def ask(log: Log, machine: Machine, x: IntArray, y: IntArray, queries: list[Record]) -> None:
    """Whatever is not recorded of these."""
    left = [q for q in queries if not log.known(q)]
    for asked in track(left, description=left[0]["tool"] if left else ""):
        query = machine, x[asked["image"]], int(y[asked["image"]]), asked["eps"], asked["limit"]
        found = by_zahlen(*query) if asked["tool"] == ZAHLEN else by_peer(asked["tool"], *query)
        log.add({**asked, **found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, default=RESULTS / "verification.zn", help="trained if missing")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--eps", type=int, nargs="+", choices=EPS, default=EPS)
    parser.add_argument("--limit", type=float, default=60, help="seconds for a query")
    parser.add_argument("--again", type=float, help="seconds for those that zahlen leaves open")
    parser.add_argument("--peer-images", type=int, default=10)
    parser.add_argument("--peer-limit", type=float, default=60)
    parser.add_argument("--only", nargs="+", choices=[ZAHLEN, *verification_peers.TOOLS])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.network.exists():
        train().save(options.network)
    machine, test = zahlen.load(options.network), zahlen.data.load("fashion-mnist").test
    x, y = grey(test.x), test.y
    right = machine.run(x).argmax(1) == y
    chosen = [int(k) for k in np.flatnonzero(right)[: options.images]]
    some = chosen[: options.peer_images]
    log = Log(options.out / "verification.jsonl", machine)
    for tool in options.only or [ZAHLEN, *verification_peers.TOOLS]:
        images, limit = (chosen, options.limit) if tool == ZAHLEN else (some, options.peer_limit)
        queries = [{"tool": tool, "eps": eps, "image": k, "limit": limit} for eps in options.eps for k in images]
        ask(log, machine, x, y, queries)
    if options.again:
        left = [r for r in log.of(ZAHLEN, chosen, options.limit) if r["status"] == "unknown"]
        more = [{**{key: r[key] for key in ("tool", "eps", "image")}, "limit": options.again} for r in left]
        ask(log, machine, x, y, [q for q in more if q["eps"] in options.eps])
    facts = about(machine, x, y)
    facts += [
        "", f"Queries: the first {len(chosen)} test images that are named right, at most {options.limit:g} s each."
    ]  # fmt: skip
    text = report(log, chosen, some, facts, options)
    (options.out / "verification.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
