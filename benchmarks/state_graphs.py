"""How long it takes to go through all states of a threshold network: the table of successors, then the attractors.

Weights are -7..7, units -1 or 1. A map without any order is the second table: its walks jump through all the memory.

    OMP_NUM_THREADS=1 python benchmarks/state_graphs.py [--units 24 28] [--memory 3]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peers_report import processor

import zahlen
from zahlen import Builder, Levels
from zahlen.analysis import state_graph
from zahlen.analysis.attractors import attractors_of
from zahlen.analysis.successors import successors
from zahlen.machine import IntArray, Machine

RESULTS = Path(__file__).parent / "results" / "state_graphs.md"


def network(units: int, seed: int = 0) -> Machine:
    """Every unit reads all of them."""
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.register("h", (units,), Levels(-1, 1, 2), -1)
    z = b.affine(h, rng.integers(-7, 8, (units, units)), rng.integers(-3, 4, units), name="z")
    b.connect(h, b.staircase(z, [0], [-1, 1], name="following"))
    return b.build(h)


def seconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def parts(machine: Machine, table: IntArray, memory: int) -> tuple[float, float]:
    """The table of successors, and the attractors found from it."""
    first = seconds(lambda: successors(machine, {}, table, nothing))
    return first, seconds(lambda: attractors_of(table, memory, nothing))


def row(units: int, memory: int) -> str:
    """The figures of a network with so many units, as a line of the table."""
    machine = network(units)
    first, second = parts(machine, np.full(1 << units, -1, dtype=np.int32), memory)  # pages are there already
    found = []
    whole = seconds(lambda: found.append(state_graph(machine, memory=memory)))
    said = f"{found.pop()}".splitlines()
    other = np.random.default_rng(1).integers(0, 1 << units, 1 << units, dtype=np.int32)
    third = seconds(lambda: attractors_of(other, memory, nothing))
    return f"| 2^{units} | {first:.1f} | {second:.1f} | {whole:.1f} | {said[0]}, {said[1].strip()} | {third:.1f} |"


def nothing(states: int) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[24, 28])
    parser.add_argument("--memory", type=int, default=3, help="GiB")
    options = parser.parse_args()
    lines = [
        f"{processor()}; Python {platform.python_version()}, zahlen {zahlen.__version__}, one thread; seconds.",
        "",
        "| states | successors | attractors | together | found | attractors of a map without order |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(units, options.memory << 30) for units in options.units]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
