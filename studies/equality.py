"""Zero mismatches: the trained Fashion-MNIST networks, every wire, all 10,000 test images, four ways to compute.

The reference is compared with PyTorch (batches of 1, 128 and 10,000), the compiled C program and its form without
multiplications. The networks are those of ``studies/fashion.py``, trained again from their seed; where its results are
at hand, the machine's hash must be the same.

    python studies/equality.py           # about ten minutes on two cores, most of it training the convolutional network
"""

from __future__ import annotations

import json
from typing import Any

import torch
from fashion import RESULTS, rows, trained

import zahlen
from zahlen.emit import harness

BATCHES = (1, 128, 10_000)
PART = 1280
"""Images compared at once: a multiple of 128, so that batches of 128 are whole."""


def torch_traces(network: Any, x: Any, batch: int) -> dict[str, Any]:
    """Every wire that the module computes, from batches of one size."""
    parts = [network.trace(torch.from_numpy(x[i : i + batch])) for i in range(0, len(x), batch)]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def compare(network: Any) -> dict[str, dict[str, int]]:
    """For each way of computing: values compared, and values that differ."""
    x = zahlen.data.load("fashion-mnist").test.x
    machine = network.machine()
    whole = torch_traces(network, x, 10_000)
    programs = {"C": harness.compiled(machine), "C, no multiply": harness.compiled(machine, multiply="none")}
    counts = {
        name: {"compared": 0, "different": 0} for name in (*(f"PyTorch, batch {b:,}" for b in BATCHES), *programs)
    }
    for start in range(0, len(x), PART):
        part = x[start : start + PART]
        expected = machine.trace(part, executor="reference")
        traces = {f"PyTorch, batch {b:,}": torch_traces(network, part, b) for b in BATCHES[:-1]}
        traces["PyTorch, batch 10,000"] = {name: wire[start : start + PART] for name, wire in whole.items()}
        traces |= {name: program.trace(part) for name, program in programs.items()}
        for name, trace in traces.items():
            for wire, values in trace.items():
                counts[name]["compared"] += values.size
                counts[name]["different"] += int((values != expected[wire]).sum())
    return counts


def main() -> None:
    known = json.loads((RESULTS / "fashion.json").read_text())["results"] if (RESULTS / "fashion.json").exists() else []
    hashes = {(r["name"], r["seed"]): r["hash"] for r in known if not r["twin"]}
    lines = ["| network | way | values compared with the reference | different |", "|---|---|---|---|"]
    for recipe, twin in rows():
        if twin or recipe["name"] not in ("L = 16", "cnn L = 16"):
            continue
        result, network = trained(recipe, 0, False)
        if hashes.get((recipe["name"], 0), result["hash"]) != result["hash"]:
            raise SystemExit(f"{recipe['name']}: hash {result['hash']}, but studies/fashion.py trained another machine")
        for way, count in compare(network).items():
            lines.append(f"| {recipe['name']} | {way} | {count['compared']:,} | {count['different']:,} |")
        print(*lines[-5:], sep="\n", flush=True)
    (RESULTS / "equality.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
