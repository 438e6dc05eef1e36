"""Fixed points of threshold networks too large to go through: by SAT and by CP-SAT, seconds until all are known.

Units are -1 or 1, weights -7..7, and each unit reads so many others. In the last rows it reads all of them, with the
weights of a Hopfield network of three random patterns.

    python benchmarks/fixed_points.py
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from zahlen import Builder, Levels
from zahlen.analysis import fixed_points
from zahlen.machine import IntArray, Machine

RESULTS = Path(__file__).parent / "results"
LIMIT = 60
"""Seconds that a solver has."""
SPARSE = [(60, 4), (60, 6), (60, 8), (80, 8), (100, 8)]
DENSE = [24, 32]


def network(weight: IntArray, bias: IntArray) -> Machine:
    b = Builder()
    h = b.register("h", (len(weight),), Levels(-1, 1, 2), -1)
    b.connect(h, b.staircase(b.affine(h, weight, bias), [0], [-1, 1]))
    return b.build(h)


def sparse(units: int, reads: int, rng: np.random.Generator) -> Machine:
    """Each unit reads some others, with weights that are not zero."""
    weight = np.zeros((units, units), dtype=np.int64)
    for row in weight:
        row[rng.choice(units, reads, replace=False)] = rng.integers(1, 8, reads) * rng.choice([-1, 1], reads)
    return network(weight, rng.integers(-3, 4, units))


def hopfield(units: int, rng: np.random.Generator) -> Machine:
    """Each unit reads all others."""
    patterns = rng.choice([-1, 1], (3, units))
    weight = patterns.T @ patterns
    np.fill_diagonal(weight, 0)
    return network(weight, np.zeros(units, dtype=np.int64))


def row(name: str, machine: Machine) -> str:
    cells = []
    for method in ("SAT", "CP-SAT"):
        start = time.perf_counter()
        found = fixed_points(machine, method=method, seconds=LIMIT)
        seconds = time.perf_counter() - start
        done = f"{seconds:.2f}" if found.status == "complete" else f"not in {LIMIT}"
        cells.append(f"{len(found.found):,} | {done}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    lines = ["| network | SAT: fixed points | s | CP-SAT: fixed points | s |", "|---" * 5 + "|"]
    for units, reads in SPARSE:
        for seed in range(2):
            machine = sparse(units, reads, np.random.default_rng(seed))
            lines.append(row(f"{units} units that read {reads}, seed {seed}", machine))
            print(lines[-1], flush=True)
    for units in DENSE:
        lines.append(row(f"{units} units, Hopfield", hopfield(units, np.random.default_rng(0))))
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fixed_points.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
