"""A million states: exploring a machine that has them, minimising what comes of it, comparing it with another.

Three automata: of a machine that keeps the last 19 bits that it read and tells their parity apart only now and then;
random, where nearly all states differ; and a chain, which needs as many splits as there are states.

    python benchmarks/automata.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zahlen import Builder, Levels, Machine
from zahlen.analysis import Automaton, automata, automaton, equivalent, minimise

RESULTS = Path(__file__).parent / "results"
STATES = 1 << 20


def network() -> Machine:
    """A threshold network of 20 neurons: 19 hand on what they are told, one adds up what falls out behind."""
    bits = 19
    b = Builder()
    x, line = b.input("x", (1,), Levels(0, 1)), b.register("line", (bits,), Levels(0, 1))
    odd = b.register("odd", (1,), Levels(0, 1))
    b.connect(line, b.concat(x, b.slice(line, [0], [bits - 1])))
    last = b.slice(line, [bits - 1], [bits])
    b.connect(odd, b.lookup(odd, last, table=[[0, 1], [1, 0]]))
    return b.build(odd)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def main() -> None:
    rows = []

    def row(name: str, a: Automaton) -> Automaton:
        taken, least = min((seconds(lambda: minimise(a)) for _ in range(3)), key=lambda pair: pair[0])
        rows.append(f"| {name} | {len(a):,} | {len(a.symbols)} | {len(least):,} | {taken:.2f} |")
        print(rows[-1], flush=True)
        return least

    machine = network()
    explored, whole = seconds(lambda: automaton(machine, least=False))
    least = row("threshold network of 20 neurons", whole)
    row("random acceptor", automata.random_automaton(STATES))
    row("random Mealy machine", automata.random_automaton(STATES, 4, labels=3, kind="Mealy"))
    n = STATES
    chain = Automaton(np.minimum(np.arange(n) + 1, n - 1)[:, None], np.arange(n) == n - 1, 0, ("a",), automata.VERDICTS)
    row("chain", chain)
    ring = Automaton((np.arange(n)[:, None] + 1) % n, np.arange(n) % 2, 0, ("a",), automata.VERDICTS)
    row("ring of two kinds", ring)
    compared, same = seconds(lambda: equivalent(least, whole))
    assert same
    text = "\n".join(
        [
            "Seconds, the least of three, on one core:",
            "",
            "| automaton | states | symbols | least | minimised, s |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"The network's states were explored in {explored:.1f} s; that it says the same as its least automaton was "
            f"proved in {compared:.1f} s.",
        ]
    )
    (RESULTS / "automata.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
