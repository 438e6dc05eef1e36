"""What a discrete recurrent training step costs, as a ratio to PyTorch's own float layer: interleaved, medians.

A step is the forward and backward pass of one layer of 128 units over 64 sequences of 100 steps with 64 features.

python benchmarks/recurrent_step.py [--threads 1 2] [--rounds 40]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import torch
from pairs import row

from zahlen import Levels, nn
from zahlen.kernels import native

BATCH, STEPS, FEATURES, UNITS = 64, 100, 64, 128
FLOATS = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}
CELLS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {"levels": 16, "cell_bits": 16}),
    ("LSTM", {"levels": 64, "cell_bits": 6}),
    ("GRU", {"levels": 16, "cell_bits": 8}),
    ("RNN", {"levels": 16}),
]


def discrete(kind: str, options: dict[str, Any]) -> Callable[[], None]:
    """Forward and backward of a zahlen layer."""
    layer = getattr(nn, kind)(FEATURES, UNITS, **options)
    net = nn.Sequential(nn.Input((FEATURES,), Levels(-127, 127), unit=50), layer)
    x = torch.randint(-127, 128, (BATCH, STEPS, FEATURES))
    gradient = torch.randn(BATCH, STEPS, UNITS)

    def step() -> None:
        net.zero_grad()
        net(x).backward(gradient)

    return step


def float_(kind: str) -> Callable[[], None]:
    """Forward and backward of PyTorch's layer, on floats in the order that it takes best (time first)."""
    layer = FLOATS[kind](FEATURES, UNITS)
    x, gradient = torch.randn(STEPS, BATCH, FEATURES), torch.randn(STEPS, BATCH, UNITS)

    def step() -> None:
        layer.zero_grad()
        layer(x)[0].backward(gradient)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    kernels = "PyTorch operations" if native is None else os.environ.get("ZAHLEN_ISA", native.variants()[-1])
    print(f"kernels: {kernels}; PyTorch {torch.__version__}\n")
    print("| layer | threads | discrete, ms | float, ms | ratio, median of pairs |\n|---|---|---|---|---|")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for kind, options in CELLS:
            steps = discrete(kind, options), float_(kind)
            name = f"{kind} L = {options['levels']}" + (
                f", {options['cell_bits']}-bit cell" if "cell_bits" in options else ""
            )
            print(row(f"{name} | {threads}", steps, arguments.rounds, 3, 1), flush=True)


if __name__ == "__main__":
    main()
