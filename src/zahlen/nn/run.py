"""The training loop: Adam with a decaying rate, validation, checkpoints, and seeds that reproduce a hash."""

from __future__ import annotations

import io
import math
import pickle
import time
import zipfile
import zlib
from collections.abc import Generator, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..history import Epoch, History, Report, bar
from ..machine import FileError, InputError, LayerError, replacing

Part = tuple[Tensor, float, int]
"""What a batch gave: its mean loss, how many classes were named right (nan: no classes), how many targets it has."""


class Source(Protocol):
    """What a network is trained on."""

    steps: int
    """Steps of an epoch."""

    def parts(self, model: torch.nn.Module, epoch: int) -> Generator[Part, None, None]:
        """One epoch of training: the next part is asked for when the step for the last one was taken."""

    def validation(self, model: torch.nn.Module) -> tuple[float, float, float]:
        """Of what is held back mean loss, and the shares named right and certified (nan where nothing is)."""

    def tensors(self) -> Iterable[Tensor]:
        """All data, for a checksum."""

    def course(self, loss: float, accuracy: float) -> str:
        """What the progress bar says."""


class Run:
    """The state of a training: all that a checkpoint holds."""

    def __init__(
        self,
        model: torch.nn.Module,
        source: Source,
        generator: torch.Generator,
        *,
        steps: int,
        lr: float,
        clip: float | None,
        settings: dict[str, Any],
    ) -> None:
        if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 <= lr < math.inf:
            raise InputError(f"fit: lr is a finite number from 0 on, got {lr!r}")
        if clip is not None and (
            isinstance(clip, bool) or not isinstance(clip, (int, float)) or not 0 < clip < math.inf
        ):
            raise InputError(f"fit: clip is a positive number or None, got {clip!r}")
        if not any(p.requires_grad for p in model.parameters()):
            raise LayerError("fit: the model has no parameter to train")
        self.model, self.source, self.generator = model, source, generator
        self.lr, self.clip, self.total = float(lr), clip, steps
        self.epochs = -(-steps // source.steps)
        self.optimiser = torch.optim.Adam(model.parameters(), lr=self.lr, fused=True)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.remarks: dict[str, Any] = {}
        self.settings: dict[str, Any] = {**settings, "lr": self.lr, "clip": clip}

    def go(
        self, checkpoint: str | Path | None, *, resume: bool, progress: bool, name: str, remarks: dict[str, Any] | None
    ) -> History:
        """Train to the end, or to Ctrl-C, and leave the model in eval mode with its best weights."""
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None:
            self.prepare(path, remarks or {})
        if resume and path is not None and path.exists():
            self.restore(path)
        done = min(len(self.history.epochs) * self.source.steps, self.total)
        with bar(progress, name, self.total, done, self.source.course) as report:
            try:
                for _ in range(len(self.history.epochs), self.epochs):
                    self.epoch(report)
                    if path is not None:
                        self.save(path)
            except KeyboardInterrupt:
                self.history.interrupted = True
            finally:
                self.finish()
        return self.history

    def prepare(self, path: Path, remarks: dict[str, Any]) -> None:
        """See to it that the first checkpoint can be written, and read again, before an epoch is spent on it."""
        if not path.parent.is_dir():
            raise FileError(f"{path}: there is no directory {path.parent}")
        buffer = io.BytesIO()
        torch.save(remarks, buffer)
        try:
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        except pickle.UnpicklingError:
            raise InputError("fit: remarks are plain Python values: numbers, strings, lists, dicts") from None
        self.remarks = remarks
        self.settings |= {"network": repr(self.model), "data": _checksum(self.source.tensors())}

    def epoch(self, report: Report) -> None:
        """One epoch of training, then a look at what is held back."""
        start = time.perf_counter()
        self.model.train()
        total, right, done = 0.0, 0.0, 0
        first = len(self.history.epochs) * self.source.steps
        parts = self.source.parts(self.model, len(self.history.epochs))
        for step in range(first, min(first + self.source.steps, self.total)):
            self._set_rate(step)
            value, hits, count = next(parts)
            if not math.isfinite(float(value.detach())):
                raise LayerError("the loss is no longer finite; take a smaller lr")
            self.optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            if self.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimiser.step()
            total += float(value.detach()) * count
            right += hits
            done += count
            report(total / done, right / done)
        parts.close()
        loss, accuracy, certified = self.source.validation(self.model)
        seconds = time.perf_counter() - start
        self.history.epochs.append(Epoch(total / done, right / done, loss, accuracy, seconds, certified))
        if self._is_best():
            self.history.best = len(self.history.epochs) - 1
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _set_rate(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * (1 + math.cos(math.pi * step / self.total)) / 2

    def _is_best(self) -> bool:
        if self.history.best < 0 or math.isnan(self.history.epochs[-1].validation_loss):
            return True

        def rank(epoch: Epoch) -> tuple[float, ...]:
            shares = epoch.validation_certified, epoch.validation_accuracy
            return (*(0.0 if math.isnan(share) else share for share in shares), -epoch.validation_loss)

        return rank(self.history.epochs[-1]) >= rank(self.history.epochs[self.history.best])

    def finish(self) -> None:
        """Put the best weights back."""
        if self.best:
            self.model.load_state_dict(self.best)
        self.model.eval()

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "history": asdict(self.history),
            "remarks": self.remarks,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with replacing(path) as file:
            file.write(buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Take everything from a checkpoint."""
        content = read_checkpoint(path)
        theirs, ours = content["settings"], self.settings
        if theirs != ours:
            other = ", ".join(name for name in ours if not isinstance(theirs, dict) or theirs.get(name) != ours[name])
            raise FileError(f"{path}: a checkpoint of another training ({other}); take another path, or do not resume")
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        try:
            record = content["history"]
            self.history = History([Epoch(**epoch) for epoch in record["epochs"]], record["best"])
            self.generator.set_state(content["generator"])
            self.optimiser.load_state_dict(content["optimiser"])
            self.best = content["best"]
            for state in (self.best, content["model"]):
                self.model.load_state_dict(state)
            torch.set_rng_state(content["torch_generator"])
        except Exception as error:  # whatever a damaged content makes of it
            self.model.load_state_dict(before)
            raise FileError(f"{path}: not a checkpoint of this network: {error}") from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; no code in it is executed.

    Raises
    ------
    FileError
        If it is none.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch.load looks at no checksum
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        content = torch.load(path, weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise
        raise FileError(f"{path}: not a checkpoint: {error}") from None
    parts = {"settings", "model", "best", "optimiser", "generator", "torch_generator", "history", "remarks"}
    if not isinstance(content, dict) or set(content) != parts:
        raise FileError(f"{path}: not a checkpoint of zahlen")
    return content


def _checksum(tensors: Iterable[Tensor]) -> int:
    result = 0
    for tensor in tensors:
        result = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), result)
    return result
