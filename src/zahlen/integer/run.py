"""The training loop in integers: a rate that falls, validation, checkpoints, and seeds that reproduce a hash."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..history import History, Report, bar
from ..machine import FileError, InputError, IntArray, LayerError
from .chance import Chance
from .checkpoints import Checkpoint, checksum, read_checkpoint
from .containers import Sequential
from .epochs import Record, means
from .optimisers import Optimiser
from .rules import Backpropagation, Rule

Part = tuple[int, int | None, int]
"""What a batch gave: the sum of its losses in 2^-16, how many classes were named right (None: no classes), how many
targets it has."""


class Source(Protocol):
    """What a network is trained on."""

    steps: int
    """Steps of an epoch."""
    batch: int
    """How many targets a full step's gradient is the mean of; all steps count each target alike."""
    most: int
    """How many samples, or steps of sequences, gradients are summed over at the most."""
    worth: float
    """What a loss of 1 is in reports."""

    def parts(self, model: Sequential, epoch: int) -> Generator[Part, None, None]:
        """One epoch forward and backward: the next part is asked for when the step for the last one was taken."""

    def validation(self, model: Sequential) -> Part:
        """The same figures for what is held back (of no targets where nothing is)."""

    def arrays(self) -> Iterable[IntArray]:
        """All data, for a checksum."""

    def course(self, loss: float, accuracy: float) -> str:
        """What the progress bar says."""


class Run:
    """The state of a training: all that a checkpoint holds. For `warm` steps the rate rises."""

    def __init__(
        self,
        model: Sequential,
        source: Source,
        chance: Chance,
        *,
        steps: int,
        optimiser: Optimiser,
        settings: dict[str, Any],
        rule: Rule | None = None,
        warm: int = 0,
    ) -> None:
        self.rule = rule or Backpropagation()
        self.rule.begin(model, source.most)
        self.parameters = list(self.rule.parameters())
        self.learning = [p for p in self.parameters if p.learns]
        if not self.parameters:
            raise LayerError("fit: the model has no parameter to train")
        self.model, self.source, self.chance, self.optimiser, self.total = model, source, chance, optimiser, steps
        self.epochs, self.warm = -(-steps // source.steps), warm
        for p in self.parameters:
            p.momentum[...] = 0
        self.records: list[Record] = []
        self.history = History()
        self.best: list[IntArray] = []
        self.remarks: dict[str, Any] = {}
        self.settings = {**settings, "optimiser": repr(optimiser), "rule": repr(self.rule), "bits": model.bits}

    def go(
        self, checkpoint: str | Path | None, *, resume: bool, progress: bool, name: str, remarks: dict[str, Any] | None
    ) -> History:
        """Train to the end, or to Ctrl-C, and leave the model in eval mode with its best weights."""
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None:
            self.prepare(path, remarks or {})
        if resume and path is not None and path.exists():
            self.restore(path)
        done = min(len(self.records) * self.source.steps, self.total)
        with bar(progress, name, self.total, done, self.source.course) as report:
            try:
                for _ in range(len(self.records), self.epochs):
                    self.epoch(report)
                    if path is not None:
                        self.content().write(path)
            except KeyboardInterrupt:
                self.history.interrupted = True
            finally:
                self.finish()
        return self.history

    def prepare(self, path: Path, remarks: dict[str, Any]) -> None:
        """See to it that the first checkpoint can be written before an epoch is spent on it."""
        if not path.parent.is_dir():
            raise FileError(f"{path}: there is no directory {path.parent}")
        try:
            self.remarks = json.loads(json.dumps(remarks, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise InputError("fit: remarks are plain Python values: numbers, strings, lists, dicts") from None
        self.settings |= {"network": repr(self.model), "data": checksum(self.source.arrays())}

    def epoch(self, report: Report) -> None:
        """One epoch of training, then a look at what is held back."""
        start, before = time.perf_counter_ns(), self._clamps()
        loss = done = clamps = 0
        right: int | None = 0
        first = len(self.records) * self.source.steps
        words = (self.chance.words(2 * self.source.steps) >> np.uint64(32)).reshape(-1, 2).tolist()
        parts = self.source.parts(self.model, len(self.records))
        for (dropping, rounding), step in zip(words, range(first, min(first + self.source.steps, self.total))):
            self.model.train(dropping)
            value, hits, count = next(parts)
            clamps += self.optimiser.step(self.learning, self.source.batch, self.part(step), rounding)
            loss, done = loss + value, done + count
            right = None if right is None or hits is None else right + hits
            seen = means(loss, right, done)
            report(seen[0] * self.source.worth, seen[1])
        parts.close()
        self.model.eval()
        held = self.source.validation(self.model)
        clamps += self._clamps() - before
        self.records.append(Record(loss, right, done, *held, clamps, time.perf_counter_ns() - start))
        self.history.epochs.append(self.records[-1].epoch(self.source.worth))
        if self._is_best():
            self.history.best = len(self.records) - 1
            self.best = [p.latent.copy() for p in self.parameters]

    def part(self, step: int) -> Fraction:
        """Of the first rate at a step: it falls along a line, after it rose along one for `warm` steps."""
        left = Fraction(self.total - step, self.total)
        return left if step >= self.warm else left * Fraction(step + 1, self.warm)

    def _clamps(self) -> int:
        return sum(layer.clamps for layer in self.rule.layers())

    def _is_best(self) -> bool:
        last, best = self.records[-1], self.history.best
        if best < 0 or not last.held_count:
            return True
        return _rank(last) >= _rank(self.records[best])

    def finish(self) -> None:
        """Put the best weights back."""
        for p, latent in zip(self.parameters, self.best):
            p.latent[...] = latent
        for p in self.parameters:
            p.refresh()
        self.model.eval()

    def content(self) -> Checkpoint:
        """What a checkpoint of now holds."""
        latent, momentum = [p.latent for p in self.parameters], [p.momentum for p in self.parameters]
        state, best = self.chance.state, self.history.best
        return Checkpoint(self.settings, self.records, best, state, self.remarks, latent, momentum, self.best)

    def restore(self, path: Path) -> None:
        """Take everything from a checkpoint, or nothing and raise a `FileError`."""
        content = read_checkpoint(path)
        ours = json.loads(json.dumps(self.settings))
        if content.settings != ours:
            other = ", ".join(name for name in ours if content.settings.get(name) != ours[name])
            raise FileError(f"{path}: a checkpoint of another training ({other}); take another path, or do not resume")
        content.fitting(self.parameters, path)
        self.records, self.best, self.chance.state = content.records, content.best, content.state
        self.history = History([record.epoch(self.source.worth) for record in self.records], content.best_epoch)
        for p, latent, momentum in zip(self.parameters, content.latent, content.momentum):
            p.latent[...], p.momentum[...] = latent, momentum
            p.refresh()


def _rank(record: Record) -> tuple[int, int]:
    return record.held_right or 0, -record.held_loss
