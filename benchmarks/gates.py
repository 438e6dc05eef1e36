"""A Boolean network of thousands of gates: the engine, the reference, and NumPy on words of 64 samples, in turns.

Gates are single wires, each of one of the ten functions that need both operands, on two of what came before it; the
last are the outputs. Networks are told by how many of their gates some output needs.

python benchmarks/gates.py [--gates 11000] [--inputs 784] [--outputs 64] [--batch 4096] [--rounds 30] [--threads 1]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from zahlen import Builder, Levels, Machine
from zahlen.engine import Program
from zahlen.kernels import native

BOTH = (1, 2, 4, 6, 7, 8, 9, 11, 13, 14)
"""Functions that need both operands: bit 2 a + b is the value at a, b."""
BIT = Levels(0, 1)
Gate = tuple[int, int, int]


def drawn(inputs: int, live: int, outputs: int, reach: int, seed: int = 0) -> list[Gate]:
    """Gates by function and operands, of which so many are needed; operands are among the last `reach`."""
    rng = random.Random(seed)
    gates: list[Gate] = []
    count = live
    while True:
        while len(gates) < count:
            n = inputs + len(gates)
            one, two = rng.sample(range(max(0, n - reach), n), 2)
            gates.append((rng.choice(BOTH), one, two))
        needed = used(gates, inputs, outputs)
        if len(needed) >= live:
            break
        count += max(1, live - len(needed))
    return gates


def used(gates: list[Gate], inputs: int, outputs: int) -> set[int]:
    """Numbers of the gates that the last `outputs` need."""
    needed = set(range(len(gates) - outputs, len(gates)))
    for k in range(len(gates) - 1, -1, -1):
        if k in needed:
            needed |= {x - inputs for x in gates[k][1:] if x >= inputs}
    return needed


def machine(gates: list[Gate], inputs: int, outputs: int) -> Machine:
    """The network, a wire a gate."""
    b = Builder()
    x = b.input("x", (inputs,), BIT)
    wires = [b.slice(x, start=[k], stop=[k + 1], name=f"x{k}") for k in range(inputs)]
    for k, (function, one, two) in enumerate(gates):
        table = [[function >> 2 * i + j & 1 for j in range(2)] for i in range(2)]
        wires.append(b.lookup(wires[one], wires[two], table, alphabet=BIT, name=f"g{k}"))
    return b.build(b.concat(*wires[-outputs:], axis=0, name="y"))


def sliced(gates: list[Gate], inputs: int, outputs: int) -> Callable[[Any], Any]:
    """NumPy on words of 64 samples, an array a gate; from bytes to bytes."""
    steps = [(k + inputs, *gates[k]) for k in sorted(used(gates, inputs, outputs))]
    forms: dict[int, Callable[[Any, Any], Any]] = {
        1: lambda a, b: ~(a | b), 2: lambda a, b: ~a & b, 4: lambda a, b: a & ~b, 6: np.bitwise_xor,
        7: lambda a, b: ~(a & b), 8: np.bitwise_and, 9: lambda a, b: ~(a ^ b), 11: lambda a, b: ~a | b,
        13: lambda a, b: a | ~b, 14: np.bitwise_or,
    }  # fmt: skip
    total = inputs + len(gates)

    def function(x: Any) -> Any:
        packed = np.packbits(np.ascontiguousarray(x.T), axis=1, bitorder="little").view(np.uint64)
        words: list[Any] = [*packed, *[None] * len(gates)]
        for k, f, one, two in steps:
            words[k] = forms[f](words[one], words[two])
        y = np.array(words[total - outputs :]).view(np.uint8)
        return np.ascontiguousarray(np.unpackbits(y, axis=1, bitorder="little").T)

    return function


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", type=int, default=11_000, help="that some output needs")
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--outputs", type=int, default=64)
    parser.add_argument("--reach", type=int, default=4000, help="how far back operands lie at most")
    parser.add_argument("--batch", type=int, default=4096, help="a multiple of 64")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    gates = drawn(arguments.inputs, arguments.gates, arguments.outputs, arguments.reach)
    m = machine(gates, arguments.inputs, arguments.outputs)
    program = Program(m, threads=arguments.threads)
    x = np.random.default_rng(1).integers(0, 2, (arguments.batch, arguments.inputs), dtype=np.uint8)
    out = program.empty(arguments.batch)
    numpy_ = sliced(gates, arguments.inputs, arguments.outputs)
    contestants: dict[str, Callable[[], Any]] = {
        "engine": lambda: program.run_into(x, out),
        "NumPy, words of 64 samples": lambda: numpy_(x),
        "Machine.run(executor='reference')": lambda: m.run(x, executor="reference"),
    }
    due = m.run(x, executor="reference")
    program.run_into(x, out)
    assert (out == due).all()
    assert (numpy_(x) == due).all()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for k in range(arguments.rounds + 1):
        for name, call in contestants.items():
            if name.startswith("Machine") and k > arguments.rounds // 10 + 1:
                continue  # seconds each
            start = time.perf_counter()
            call()
            if k > 0:
                times[name].append(time.perf_counter() - start)
    assert native is not None
    print(f"kernels: {os.environ.get('ZAHLEN_ISA', native.variants()[-1])}, {arguments.threads} thread(s)")
    print(next(line for line in str(program).splitlines() if "Boolean" in line))
    print(
        "\n| one sample of a batch of",
        arguments.batch,
        "| ns, median | ns, least | over the engine's, median of pairs |",
    )
    print("|---|---|---|---|")
    for name, seen in times.items():
        ratio = statistics.median(a / b for a, b in zip(seen, times["engine"]))
        ns = [1e9 * v / arguments.batch for v in (statistics.median(seen), min(seen))]
        print(f"| {name} | {ns[0]:.1f} | {ns[1]:.1f} | {ratio:,.1f} |")


if __name__ == "__main__":
    main()
