"""Training on one long stream of symbols, such as a text, through time and in integers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..flow import whole
from ..history import History
from ..machine import InputError, IntArray, LayerError
from .chance import Chance
from .containers import Sequential
from .losses import CrossEntropy
from .optimisers import Momentum, Optimiser, fraction
from .recurrent import State
from .run import Part, Run

RATES = {"lstm": 16, "gru": 8, "rnn": 3}
"""First rates that learn most on the King James text; twice as much is too much."""
LOSS = CrossEntropy()
BITS = 2**-16
"""What a loss of 1 is in bits."""


def fit_stream(
    model: Sequential,
    symbols: Any,
    *,
    steps: int = 1500,
    batch_size: int = 64,
    length: int = 64,
    optimiser: Optimiser | None = None,
    seed: int = 0,
    validation: Any = "0.05",
    every: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    name: str = "training",
    remarks: dict[str, Any] | None = None,
) -> History:
    """Train a recurrent network to foretell each next symbol, and leave it in eval mode with its best weights.

    As `zahlen.nn.fit_stream`, with integers only: the stream is cut into `batch_size` streams side by side. A step
    takes the next `length` symbols of each; the state goes on from step to step, its gradient does not (Williams and
    Peng, 1990).

    Parameters
    ----------
    model : Sequential
        From symbols to as many outputs, with a recurrent layer.
    symbols : integer array (n,)
    steps, batch_size, length : int
    optimiser : Optimiser
        By default `Momentum` with a clip of 0.25 and the rate of `RATES`. It falls to zero along a line, after it rose
        along one for a fifteenth of all steps.
    seed : int
        Of where in the stream the passes begin, and of random rounding.
    validation : decimal str, float, Fraction, or integer array (m,)
        Share held back, from the end, or another stream. The state of the least loss on it is kept; with 0 the last.
    every : int, optional
        Steps of an "epoch", after which there is a look at the validation, and a checkpoint; a tenth of all by default.
    checkpoint, resume, progress, name, remarks
        As for `fit`.

    Returns
    -------
    History
        Losses in nats a symbol, and what had to be clamped. Ctrl-C ends the training early.

    Raises
    ------
    InputError
        If the stream is too short, or a setting is out of range.
    FileError
        If the checkpoint is of another training, or damaged.
    LayerError
        If the network has no state.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((), Levels(0, 2)), integer.RNN(3, 8, symbols=True), integer.Linear(8, 3)
    ... )
    >>> history = integer.fit_stream(
    ...     model, [0, 1, 2] * 200, steps=40, batch_size=4, length=8, validation="0.2", progress=False
    ... )
    >>> integer.stream_loss(model, [0, 1, 2] * 20) < 0.2
    True
    """
    _check_recurrent(model, "fit_stream")
    settings: dict[str, Any] = {
        name: whole(value, name, least)
        for name, value, least in (
            ("steps", steps, 1), ("batch_size", batch_size, 1), ("length", length, 1), ("seed", seed, 0),
            ("every", max(1, -(-steps // 10)) if every is None else every, 1),
        )
    }  # fmt: skip
    train, held = _divided(_stream(model, symbols, "symbols"), model, validation)
    settings["validation"] = 0 if held is None else len(held)
    chance = Chance(settings["seed"])
    source = _Stream(train, held, settings["batch_size"], settings["length"], settings["every"], chance)
    rule = optimiser or Momentum(Fraction(min(RATES[layer.kind] for layer in model.stateful)), clip=Fraction(1, 4))
    run = Run(model, source, chance, steps=settings["steps"], optimiser=rule, settings=settings, warm=-(-steps // 15))
    return run.go(checkpoint, resume=resume, progress=progress, name=name, remarks=remarks)


class _Stream:
    """Streams side by side; an epoch goes on where the one before stopped, from the initial state."""

    worth = CrossEntropy.worth

    def __init__(
        self, train: IntArray, held: IntArray | None, batch: int, length: int, steps: int, chance: Chance
    ) -> None:
        self.train, self.held, self.streams, self.length, self.steps = train, held, batch, length, steps
        self.chance = chance
        self.batch = self.most = batch * length
        self.rows = len(train) // batch
        # each pass begins anywhere in the first chunk, so chunks differ from pass to pass
        self.chunks = (self.rows - 1) // length - 1
        if self.chunks < 1:
            raise InputError(
                f"{len(train)} symbols are too few for {batch} streams in steps of {length}; at least "
                f"{batch * (2 * length + 1)} are needed: take a smaller batch_size or length"
            )

    def parts(self, model: Sequential, epoch: int) -> Generator[Part, None, None]:
        streams = self.train[: self.rows * self.streams].reshape(self.streams, self.rows)
        offset = int(self.chance.words(1)[0] % np.uint64(self.length))
        state: State | None = None
        at = epoch * self.steps
        while True:
            chunk = at % self.chunks
            if chunk == 0:
                state = None
            start = offset + chunk * self.length
            window = np.ascontiguousarray(streams[:, start : start + self.length + 1].T)
            z, state = model.run(window[:-1].reshape(-1), self.streams, state)
            found = LOSS.measure(z, window[1:].reshape(-1), model.unit, model.bits)
            model.backward(found.delta)
            yield found.loss, None, self.batch
            at += 1

    def validation(self, model: Sequential) -> Part:
        return (0, None, 0) if self.held is None else _measured(model, self.held, 64, 256)

    def arrays(self) -> Iterable[IntArray]:
        return (self.train,) if self.held is None else (self.train, self.held)

    def course(self, loss: float, accuracy: float) -> str:
        return f"{loss / self.worth * BITS:.4f} bits a symbol"


def stream_loss(model: Sequential, symbols: Any, *, batch_size: int = 64, length: int = 256) -> float:
    """Mean loss in nats of foretelling each next symbol of a stream, in eval mode.

    The stream is cut into `batch_size` equal parts (one, if it is short), each from the initial state; what is left
    over at the end is not looked at. Divide by ln 2 for bits.
    """
    _check_recurrent(model, "stream_loss")
    stream = _stream(model, symbols, "symbols")
    model.eval()
    loss, _, count = _measured(model, stream, whole(batch_size, "batch_size"), whole(length, "length"))
    return loss * LOSS.worth / count


def _measured(model: Sequential, stream: IntArray, batch: int, length: int) -> Part:
    batch = batch if len(stream) >= 8 * batch else 1
    rows = len(stream) // batch
    streams = np.ascontiguousarray(stream[: rows * batch].reshape(batch, rows).T)
    total, state = 0, None
    for start in range(0, rows - 1, length):
        window = streams[start : start + length + 1]
        z, state = model.run(window[:-1].reshape(-1), batch, state)
        total += LOSS.measure(z, window[1:].reshape(-1), model.unit, model.bits).loss
    return total, None, batch * (rows - 1)


def _check_recurrent(model: Sequential, who: str) -> None:
    if not isinstance(model, Sequential) or not model.recurrent:
        raise LayerError(f"{who}: the network has no state; give it a recurrent layer, or use fit")


def _stream(model: Sequential, symbols: Any, what: str) -> IntArray:
    array = np.asarray(symbols)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) < 2:
        raise InputError(f"{what}: at least two integers in one row are due, got {array.dtype} {array.shape}")
    outputs = model.output.size if len(model.output.shape) == 1 else 0
    if array.min() < 0 or array.max() >= outputs or model.input.shape != ():
        takes = model.input.shape or "one symbol"
        raise InputError(
            f"{what} are {array.min()}..{array.max()}, but the network takes {takes} a step and has outputs for "
            f"0..{outputs - 1}"
        )
    return np.ascontiguousarray(model.input.checked(array), dtype=np.int32)


def _divided(stream: IntArray, model: Sequential, validation: Any) -> tuple[IntArray, IntArray | None]:
    if isinstance(validation, (list, tuple, np.ndarray)):
        return stream, _stream(model, validation, "validation")
    share = fraction(validation, "validation", 0)
    if share >= 1:
        raise InputError(f"validation is a share from 0 to below 1, got {validation}")
    held = round(len(stream) * share)
    if held == 0:
        return stream, None
    if held < 2:
        raise InputError(f"validation: {held} of {len(stream)} symbols is too few; take a larger share, or 0")
    return stream[:-held], stream[-held:]
