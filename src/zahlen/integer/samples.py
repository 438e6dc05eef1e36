"""Samples and sequences with their targets, and what a network makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..machine import InputError, IntArray
from .containers import Sequential
from .losses import NONE, Loss, Measured
from .rules import Rule


@dataclass(frozen=True)
class Samples:
    """Inputs with their targets.

    Attributes
    ----------
    x : integer array (n, *shape), of sequences (n, time, *shape)
    y : integer array (n, ..), or with a target for each step (n, time, ..)
    sequences, each_step : bool
    lengths : int64 array (n,), optional
        Steps of each sequence.
    """

    x: IntArray
    y: IntArray
    sequences: bool = False
    each_step: bool = False
    lengths: IntArray | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def steps(self) -> int:
        """Of the longest sequence; 1 for samples."""
        return self.x.shape[1] if self.sequences else 1

    @property
    def targets(self) -> int:
        """How many each sample has."""
        return self.steps if self.each_step else 1

    @property
    def count(self) -> int:
        """How many targets there are, without those that stand for none."""
        if self.each_step and self.y.ndim == 2:
            return int(np.count_nonzero(self.y != NONE))
        return len(self) * self.targets

    def __getitem__(self, rows: Any) -> Samples:
        """Some of them; sequences are cut where the longest of them ends."""
        if self.lengths is None:
            return Samples(self.x[rows], self.y[rows], self.sequences, self.each_step)
        lengths = self.lengths[rows]
        return Samples(self.x[rows][:, : int(lengths.max())], self.y[rows], True, False, lengths)

    def arrays(self) -> tuple[IntArray, ...]:
        """All that there is."""
        return (self.x, self.y) if self.lengths is None else (self.x, self.y, self.lengths)


def measured(model: Sequential, part: Samples, loss: Loss, rule: Rule | None = None) -> Measured:
    """The loss of some samples; with a rule, gradients are added to the parameters' in its way."""
    if not part.sequences:
        z = model.forward(part.x) if rule is None else rule.forward(part.x)
        found = loss.measure(z, part.y, model.unit, model.bits)
        delta = found.delta
    else:
        batch, time = part.x.shape[:2]
        z, _ = model.run(_time_first(part.x), batch)
        if part.each_step:
            found = loss.measure(z, _time_first(part.y), model.unit, model.bits)
            delta = found.delta
        else:
            ends = np.full(batch, time) if part.lengths is None else part.lengths
            last = (ends - 1) * batch + np.arange(batch)
            found = loss.measure(z[last], part.y, model.unit, model.bits)
            delta = np.zeros(z.shape, dtype=np.int16)
            delta[last] = found.delta
    if rule is not None:
        model.clamps += found.clamps
        rule.backward(delta, part.y, loss)
    return found


def _time_first(x: IntArray) -> IntArray:
    """(batch, time, ..) as rows (time * batch, ..)."""
    return np.ascontiguousarray(x.swapaxes(0, 1)).reshape(-1, *x.shape[2:])


def checked_samples(model: Sequential, x: Any, y: Any, lengths: Any, loss: Loss, who: str) -> Samples:
    """Samples and targets, checked, as many of the one as of the other; an `InputError` if anything does not fit."""
    if not isinstance(model, Sequential):
        raise InputError(f"{who}: an integer.Sequential is due, got {type(model).__name__}")
    inputs, targets = np.asarray(x), np.asarray(y)
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise InputError(f"{who}: samples {inputs.shape} and targets {targets.shape} do not pair up")
    if not model.recurrent:
        if lengths is not None:
            raise InputError(f"{who}: lengths are for recurrent networks; this one has no state")
        return Samples(model.input.checked(inputs), loss.checked(targets, model.output))
    if inputs.ndim < 2 or not inputs.shape[1]:
        raise InputError(f"{who}: sequences (n, time, ..) of at least one step are due, got {inputs.shape}")
    n, time = inputs.shape[:2]
    model.input.checked(inputs.reshape(n * time, *inputs.shape[2:]))
    each_step = targets.ndim > 1 and targets.shape[1:] != model.output.shape
    if each_step:
        if targets.shape[1] != time:
            raise InputError(f"{who}: targets have {targets.shape[1]} steps, sequences {time}")
        flat = loss.checked(targets.reshape(n * time, *targets.shape[2:]), model.output)
        targets = flat.reshape(n, time, *flat.shape[1:])
    else:
        targets = loss.checked(targets, model.output)
    return Samples(inputs, targets, True, each_step, _checked_lengths(lengths, n, time, each_step, who))


def _checked_lengths(lengths: Any, n: int, time: int, each_step: bool, who: str) -> IntArray | None:
    if lengths is None:
        return None
    steps = np.asarray(lengths)
    if steps.dtype.kind not in "iu" or steps.shape != (n,):
        raise InputError(f"{who}: lengths are {n} integers, got {steps.dtype} {steps.shape}")
    if steps.min() < 1 or steps.max() > time:
        raise InputError(f"{who}: lengths are {steps.min()}..{steps.max()}, but sequences have 1..{time} steps")
    if each_step:
        raise InputError(
            f"{who}: with a target for each step mark those behind the end with {NONE}, and give no lengths"
        )
    return steps.astype(np.int64)
