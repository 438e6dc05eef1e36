"""A training step in integers beside PyTorch's in float32 with Adam: interleaved, medians, one network and batch.

A step is all of it: forward, loss, back, update. Both read their batch in the type that they take (the LSTM in floats
reads one-hot rows that are made beforehand). Also what each keeps between steps and in a step.

OMP_NUM_THREADS=1 python benchmarks/integer_step.py [--rounds 100]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from pairs import row

from zahlen import integer
from zahlen.integer import arithmetic
from zahlen.kernels import native
from zahlen.machine import IntArray
from zahlen.recipes import Recipe, RecurrentRecipe

RESULTS = Path(__file__).parent / "results"
SYMBOLS, STREAMS, LENGTH = 97, 64, 64
Steps = tuple[Callable[[], None], Callable[[], None], integer.Sequential, torch.nn.Module]


def _learn(net: integer.Sequential, forward: Callable[[], IntArray], labels: IntArray, rule: integer.Momentum) -> None:
    logits = forward()
    delta, _, _ = arithmetic.softmax(logits.reshape(len(labels), -1), labels, net.unit, net.bits)
    net.backward(delta)
    rule.step(net.parameters(), len(labels), Fraction(1, 2), 0)


def _adam(net: torch.nn.Module, forward: Callable[[], torch.Tensor], y: torch.Tensor, clip: float | None) -> None:
    optimiser = net.optimiser  # type: ignore[union-attr]
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(forward(), y).backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimiser.step()


def samples(widths: Sequence[int] = (256, 256), model: str = "mlp", batch: int = 128) -> Steps:
    """Steps of a perceptron, or of a convolutional network, on images of 28 x 28."""
    recipe = Recipe(model, (28, 28), 0, 255, 1, 73, 90, 10, hidden=tuple(widths), channels=(16, 32))
    net = integer.network(recipe)
    net.announce(net.bits, batch)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (batch, 28, 28), dtype=np.uint8), rng.integers(0, 10, batch).astype(np.int32)
    rule = integer.Momentum("0.05")
    from zahlen import nn

    twin = nn.network(recipe).twin()
    twin.optimiser = torch.optim.Adam(twin.parameters(), fused=True)
    floats, classes = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    return (
        lambda: _learn(net, lambda: net.forward(x), y, rule),
        lambda: _adam(twin, lambda: twin(floats), classes, None),
        net,
        twin,
    )


def text(kind: str = "lstm", units: int = 128) -> Steps:
    """Steps of a model of text: 64 streams of 64 symbols."""
    recipe = RecurrentRecipe.of_text(kind, SYMBOLS, hidden=units)
    net = integer.network(recipe)
    net.announce(net.bits, STREAMS * LENGTH)
    rng = np.random.default_rng(0)
    x = rng.integers(0, SYMBOLS, (STREAMS, LENGTH))
    y = rng.integers(0, SYMBOLS, STREAMS * LENGTH).astype(np.int32)
    rule = integer.Momentum("16", clip=Fraction(1, 4))
    symbols = np.ascontiguousarray(x.T).reshape(-1)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](SYMBOLS, units)
    readout = torch.nn.Linear(units, SYMBOLS)
    twin = torch.nn.ModuleList([layer, readout])
    twin.optimiser = torch.optim.Adam(twin.parameters(), fused=True)  # type: ignore[assignment]
    rows = torch.nn.functional.one_hot(torch.from_numpy(x.T.copy()), SYMBOLS).float()
    classes = torch.from_numpy(y.astype(np.int64))
    return (
        lambda: _learn(net, lambda: net.run(symbols, STREAMS)[0], y, rule),
        lambda: _adam(twin, lambda: readout(layer(rows)[0]).flatten(0, 1), classes, 0.25),
        net,
        twin,
    )


def state(net: integer.Sequential, twin: torch.nn.Module) -> str:
    """Bytes that a training keeps between steps, and with gradients, of both."""
    arrays = [(p.latent, p.momentum, p.weight) for p in net.parameters()]
    kept = sum(a.nbytes for group in arrays for a in group)
    ours = f"{kept:,} | {kept + sum(p.gradient.nbytes for p in net.parameters()):,}"
    weights = sum(p.numel() for p in twin.parameters())
    return f"{12 * weights:,} | {16 * weights:,} | {ours} | {sum(a[0].nbytes + a[1].nbytes for a in arrays):,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads()))
    torch.set_num_threads(threads)
    kernels = "NumPy" if native is None else os.environ.get("ZAHLEN_ISA", native.variants()[-1])
    lines = [f"kernels: {kernels}; PyTorch {torch.__version__}; threads: {threads}\n"]
    lines += ["| step | floats, ms | integers, ms | floats over integers, median of pairs |", "|---|---|---|---|"]
    sizes = []
    for name, steps in (
        ("MLP 784-256-256-10, batch 128", samples()),
        ("MLP 784-200-100-50-10, batch 128", samples((200, 100, 50))),
        ("CNN, 16 and 32 channels, batch 128", samples((128,), "cnn")),
        ("LSTM 128, 97 symbols, 64 x 64", text()),
        ("GRU 128, 97 symbols, 64 x 64", text("gru")),
        ("RNN 128, 97 symbols, 64 x 64", text("rnn")),
    ):
        lines.append(row(name, (steps[1], steps[0]), arguments.rounds, 5, 2))
        sizes.append(f"| {name.split(',')[0]} | {state(*steps[2:])} |")
    lines += ["\n| bytes of training's state | floats | with gradients | integers | with gradients | on a device |"]
    lines += ["|---|---|---|---|---|---|", *sizes]
    (RESULTS / f"integer_step-{threads}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
