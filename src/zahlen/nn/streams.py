"""Training on one long stream of symbols, such as a text, by truncated backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..flow import whole
from ..history import History
from ..machine import InputError, LayerError
from .containers import evaluating
from .run import Part, Run
from .training import device_of, scaled


def fit_stream(
    model: torch.nn.Module,
    symbols: Any,
    *,
    steps: int = 1500,
    batch_size: int = 64,
    length: int = 64,
    lr: float = 5e-3,
    clip: float | None = 1.0,
    seed: int = 0,
    validation: Any = 0.05,
    every: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    name: str = "training",
    remarks: dict[str, Any] | None = None,
) -> History:
    """Train a recurrent network to foretell each next symbol, and leave it in eval mode with its best weights.

    The stream is cut into `batch_size` streams side by side. A step takes the next `length` symbols of each; the state
    goes on from step to step, its gradient does not (Williams and Peng, 1990).

    Parameters
    ----------
    model : torch.nn.Module
        From symbols (batch, time) to outputs (batch, time, symbols), with `unroll`: a recurrent `Sequential`, or its
        twin.
    symbols : integer array (n,)
    steps, batch_size, length : int
    lr : float
        First rate of Adam; it falls to zero along a cosine.
    clip : float, optional
        Largest norm of a gradient.
    seed : int
        Of where in the stream the passes begin. Seed PyTorch before you make the model.
    validation : float or integer array (m,)
        Share held back, from the end, or another stream. The state of the least loss on it is kept; with 0 the last.
    every : int, optional
        Steps of an "epoch", after which there is a look at the validation, and a checkpoint; a tenth of all by default.
    checkpoint, resume, progress, name, remarks
        As for `fit`.

    Returns
    -------
    History
        Losses in nats a symbol. Ctrl-C ends the training early; what was best so far is kept.

    Raises
    ------
    InputError
        If the stream is too short, or a setting is out of range.
    FileError
        If the checkpoint is of another training, or damaged.
    LayerError
        If the network has no state, or the loss is no longer finite.

    Examples
    --------
    >>> from zahlen import Levels, nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Input((), Levels(0, 2)), nn.RNN(3, 8, symbols=True), nn.Linear(8, 3))
    >>> history = nn.fit_stream(
    ...     model, [0, 1, 2] * 200, steps=40, batch_size=4, length=8, lr=0.05, validation=0.2, progress=False
    ... )
    >>> nn.stream_loss(model, [0, 1, 2] * 20) < 0.2
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
    train, held = _divided(_stream(symbols, "symbols"), validation)
    settings["validation"] = 0 if held is None else len(held)
    generator = torch.Generator().manual_seed(settings["seed"])
    source = _Stream(train, held, settings["batch_size"], settings["length"], settings["every"], generator)
    _check_symbols(model, train, held)
    rate = float(lr) if isinstance(lr, (np.integer, np.floating)) else lr
    run = Run(model, source, generator, steps=settings["steps"], lr=rate, clip=clip, settings=settings)
    return run.go(checkpoint, resume=resume, progress=progress, name=name, remarks=remarks)


class _Stream:
    """Streams side by side; an epoch goes on where the one before stopped, from the initial state."""

    def __init__(
        self, train: Tensor, held: Tensor | None, batch: int, length: int, steps: int, generator: torch.Generator
    ) -> None:
        self.train, self.held, self.batch, self.length, self.steps = train, held, batch, length, steps
        self.generator = generator
        self.rows = len(train) // batch
        # each pass begins anywhere in the first chunk, so chunks differ from pass to pass
        self.chunks = (self.rows - 1) // length - 1
        if self.chunks < 1:
            raise InputError(
                f"{len(train)} symbols are too few for {batch} streams in steps of {length}; at least "
                f"{batch * (2 * length + 1)} are needed: take a smaller batch_size or length"
            )

    def parts(self, model: torch.nn.Module, epoch: int) -> Generator[Part, None, None]:
        device = device_of(model, self.train)
        streams = self.train[: self.rows * self.batch].view(self.batch, self.rows).to(device)
        offset = int(torch.randint(self.length, (1,), generator=self.generator))
        state = None
        at = epoch * self.steps
        while True:
            chunk = at % self.chunks
            if chunk == 0:
                state = None
            start = offset + chunk * self.length
            window = streams[:, start : start + self.length + 1]
            output, state = model.unroll(window[:, :-1], state)  # type: ignore[operator]
            state = {name: value.detach() for name, value in state.items()}
            targets = window[:, 1:]
            yield F.cross_entropy(scaled(model, output).flatten(0, 1), targets.flatten()), math.nan, targets.numel()
            at += 1

    def validation(self, model: torch.nn.Module) -> tuple[float, float, float]:
        return (math.nan if self.held is None else stream_loss(model, self.held)), math.nan, math.nan

    def tensors(self) -> Iterable[Tensor]:
        return (self.train,) if self.held is None else (self.train, self.held)

    def course(self, loss: float, accuracy: float) -> str:
        return f"{loss / math.log(2):.4f} bits a symbol"


def stream_loss(model: torch.nn.Module, symbols: Any, *, batch_size: int = 64, length: int = 256) -> float:
    """Mean loss in nats of foretelling each next symbol of a stream, in eval mode.

    The stream is cut into `batch_size` equal parts (one, if it is short), each from the initial state; what is left
    over at the end is not looked at. Divide by ln 2 for bits.
    """
    _check_recurrent(model, "stream_loss")
    stream = _stream(symbols, "symbols")
    batch, length = whole(batch_size, "batch_size"), whole(length, "length")
    batch = batch if len(stream) >= 8 * batch else 1
    _check_symbols(model, stream, None)
    rows = len(stream) // batch
    streams = stream[: rows * batch].view(batch, rows).to(device_of(model, stream))
    total, state = 0.0, None
    with evaluating(model):
        for start in range(0, rows - 1, length):
            window = streams[:, start : start + length + 1]
            output, state = model.unroll(window[:, :-1], state)  # type: ignore[operator]
            logits = scaled(model, output).flatten(0, 1)
            total += float(F.cross_entropy(logits, window[:, 1:].flatten(), reduction="sum"))
    return total / (batch * (rows - 1))


def _check_recurrent(model: torch.nn.Module, who: str) -> None:
    if not getattr(model, "recurrent", False):
        raise LayerError(f"{who}: the network has no state; give it a recurrent layer, or use fit")


def _stream(symbols: Any, what: str) -> Tensor:
    array = np.asarray(symbols)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) < 2:
        raise InputError(f"{what}: at least two integers in one row are due, got {array.dtype} {array.shape}")
    return torch.from_numpy(array.astype(np.int64))


def _divided(stream: Tensor, validation: Any) -> tuple[Tensor, Tensor | None]:
    if isinstance(validation, (bool, str)) or validation is None:
        raise InputError(f"validation is a share, or a stream, got {validation!r}")
    if not isinstance(validation, (int, float, np.integer, np.floating)):
        return stream, _stream(validation, "validation")
    if not 0 <= validation < 1:
        raise InputError(f"validation is a share from 0 to below 1, got {validation}")
    held = round(len(stream) * validation)
    if held == 0:
        return stream, None
    if held < 2:
        raise InputError(f"validation: {held} of {len(stream)} symbols is too few; take a larger share, or 0")
    return stream[:-held], stream[-held:]


def _check_symbols(model: torch.nn.Module, train: Tensor, held: Tensor | None) -> None:
    """An `InputError` if the network has no output for a symbol."""
    with evaluating(model):
        output, _ = model.unroll(train[:1].view(1, 1).to(device_of(model, train)))  # type: ignore[operator]
    outputs = output.shape[2] if output.ndim == 3 else 0
    top = max(int(part.max()) for part in (train, held) if part is not None)
    least = min(int(part.min()) for part in (train, held) if part is not None)
    if top >= outputs or least < 0:
        raise InputError(f"symbols are {least}..{top}, but the network has outputs for 0..{outputs - 1}")
