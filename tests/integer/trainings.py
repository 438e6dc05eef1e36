"""Short trainings of every kind of network, loss, rule and optimiser.

As a program this file prints what each ends in, and then how many threads there are. It needs the package alone, so
that other processors, threads and traps can run it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from zahlen import Levels, integer
from zahlen.integer import arithmetic as do
from zahlen.integer.checkpoints import checksum
from zahlen.kernels import native

CLASSES = 4


def samples(count, *shape):
    """Pixels of 4 bits, and which of four parts of an image is the brightest."""
    x = (integer.Chance(5).words(count * prod(shape)) >> np.uint64(60)).astype(np.int64).reshape(count, *shape)
    return x, x.reshape(count, CLASSES, -1).sum(axis=2).argmax(axis=1)


def stream(count, symbols):
    """Each symbol is the last one, or the one behind it."""
    return np.cumsum(integer.Chance(6).words(count) >> np.uint64(63)).astype(np.int64) % symbols


def network(*layers, shape, bits=None):
    return integer.Sequential(integer.Input(shape, Levels(0, 15), offset=7, unit=8), *layers, seed=1, bits=bits)


def perceptron(inputs=16, hidden=24):
    return network(
        integer.Linear(inputs, hidden), integer.TanhD(16), integer.Dropout("0.25"),
        integer.Add(integer.Sequential(integer.Linear(hidden, hidden), integer.TanhD(31))), integer.ReLUD(8),
        integer.Linear(hidden, CLASSES), shape=(inputs,),
    )  # fmt: skip


def convolutional(channels=6, side=8):
    left = side // 2 - 3
    return network(
        integer.Conv2d(1, channels, 3, padding=1), integer.ReLUD(16), integer.MaxPool2d(2), integer.Dropout("0.1"),
        integer.Conv2d(channels, 2 * channels, 3, groups=2), integer.SigmoidD(16), integer.SumPool2d(2, 1),
        integer.Flatten(), integer.Linear(2 * channels * left**2, CLASSES), shape=(1, side, side),
    )  # fmt: skip


def boolean():
    kind = {"weights": 2, "bias": False}
    return network(
        integer.Standardise([7] * 16, [4] * 16, grain=1, limit=2),
        integer.Linear(16, 24, **kind), integer.Sign(), integer.Linear(24, CLASSES, **kind), shape=(16,),
    )  # fmt: skip


def recurrent(kind, hidden=12, symbols=5, layers=1):
    return integer.Sequential(
        integer.Input((), Levels(0, symbols - 1)), kind(symbols, hidden, layers, symbols=True),
        integer.Linear(hidden, symbols), seed=1,
    )  # fmt: skip


def fitted(model, x, y, **options):
    options = {"epochs": 1, "batch_size": 32, "validation": "0.2", "seed": 3, "progress": False, **options}
    integer.fit(model, x, y, **options)
    return model


def streamed(model, symbols, **options):
    options = {"steps": 6, "batch_size": 8, "length": 8, "every": 3, "seed": 3, "progress": False, **options}
    integer.fit_stream(model, symbols, **options)
    return model


def sequences(kind):
    """Of several lengths, with a class each."""
    model = network(kind(4, 10, 2), integer.Linear(10, CLASSES), shape=(4,))
    x, y = samples(60, 6, 4)[0], np.arange(60) % CLASSES
    return fitted(model, x, y, lengths=1 + np.arange(60) % 6, optimiser=RANDOM)


RANDOM = integer.Momentum("0.1", weight_decay=12, random=True, clip="0.5")
SMALL: dict[str, Callable[[], integer.Sequential]] = {
    "perceptron": lambda: fitted(perceptron(), *samples(100, 16), epochs=2, optimiser=RANDOM),
    "hinge": lambda: fitted(perceptron(), *samples(100, 16), loss="hinge"),
    "squared": lambda: fitted(perceptron(), *samples(100, 16), loss="squared", optimiser=integer.Momentum("0.01")),
    "convolutions": lambda: fitted(convolutional(), *samples(60, 1, 8, 8), optimiser=RANDOM),
    "alignment": lambda: fitted(perceptron(), *samples(100, 16), rule=integer.FeedbackAlignment()),
    "local losses": lambda: fitted(convolutional(), *samples(60, 1, 8, 8), rule=integer.LocalLosses()),
    "IntegerSGD": lambda: fitted(perceptron(), *samples(100, 16), optimiser=integer.IntegerSGD(16, decay=3000)),
    "Boolean": lambda: fitted(boolean(), *samples(100, 16), optimiser=integer.BooleanOptimiser(8)),
    "LSTM": lambda: streamed(recurrent(integer.LSTM), stream(600, 5)),
    "GRU": lambda: streamed(recurrent(integer.GRU), stream(600, 5), optimiser=RANDOM),
    "RNN": lambda: streamed(recurrent(integer.RNN, layers=2), stream(600, 5)),
    "LSTM, sequences": lambda: sequences(integer.LSTM),
    "GRU, sequences": lambda: sequences(integer.GRU),
    "RNN, sequences": lambda: sequences(integer.RNN),
}
"""Few elements: no kernel shares them out among threads."""

LARGE: dict[str, Callable[[], integer.Sequential]] = {
    "perceptron": lambda: fitted(perceptron(256, 384), *samples(1280, 256), batch_size=1024, optimiser=RANDOM),
    "convolutions": lambda: fitted(convolutional(24, 16), *samples(160, 1, 16, 16), batch_size=64, optimiser=RANDOM),
    "LSTM": lambda: streamed(
        recurrent(integer.LSTM, 96, 48), stream(8000, 48), batch_size=64, length=24, steps=3, every=3
    ),
    "GRU": lambda: streamed(
        recurrent(integer.GRU, 96, 48), stream(8000, 48), batch_size=64, length=24, steps=3, every=3
    ),
    "RNN": lambda: streamed(
        recurrent(integer.RNN, 96, 48), stream(8000, 48), batch_size=64, length=24, steps=3, every=3
    ),
}
"""So many elements that kernels share them out among threads."""


def result(model):
    """The machine's hash, which knows the weights, and a checksum of what stands behind them."""
    return f"{model.machine().hash} {checksum(a for p in model.parameters() for a in (p.latent, p.momentum)):08x}"


def paths() -> list[str]:
    """NumPy, and every variant of the kernels that runs here, the fastest last."""
    return ["numpy", *(native.variants() if native is not None else [])]


@contextmanager
def on(path: str) -> Iterator[None]:
    """Everything on one of `paths`."""
    if path == "numpy":
        with do.without_kernels():
            yield
        return
    native.choose(path)
    try:
        yield
    finally:
        native.choose(native.variants()[-1])


if __name__ == "__main__":
    which, *wanted = sys.argv[1:]
    chosen = LARGE if which == "large" else {name: SMALL[name] for name in which.split("; ")}
    for path in wanted or paths():
        with on(path):
            for name, training in chosen.items():
                print(path, name, result(training()), sep="; ", flush=True)
    if which == "large" and Path("/proc/self/task").exists():
        print(len(list(Path("/proc/self/task").iterdir())))
