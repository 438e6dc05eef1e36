"""Contestants, and races between them in rounds: all of a round are disturbed alike."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zahlen.timing import sample, settle

SAMPLE = 1e-3
"""Seconds that a sample lasts at least."""
LEAST_ROUNDS = 7


@dataclass(frozen=True, eq=False)
class Contestant:
    """One way to run a network on one batch.

    Attributes
    ----------
    name, form : str
        What takes part, and in which of its forms.
    call : callable
        One run from inputs to outputs that are in place already, or one step of a stream.
    output : callable
        What the last call left: (batch, classes).
    size : int
        Bytes of the model as a file.
    held : tuple
        What has to live as long, since a runtime reads its memory.
    """

    name: str
    form: str
    call: Callable[[], Any]
    output: Callable[[], Any]
    size: int
    held: tuple[Any, ...] = ()


def calibrated(call: Callable[[], Any]) -> tuple[float, int]:
    """Roughly the seconds of a call, and how many of them make a sample."""
    settle()
    call()
    repeats = 1
    while (taken := sample(call, repeats) * repeats) < SAMPLE:
        repeats = min(1000 * repeats, math.ceil(repeats * 1.5 * SAMPLE / max(taken, 1e-7)))
    seconds = min(sample(call, repeats) for _ in range(3))
    return seconds, max(1, math.ceil(1.1 * SAMPLE / seconds))


def race(contestants: Sequence[Contestant], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of a call in every round, by contestant.

    In a round each is timed once, in an order that rotates and turns round. After so many seconds no further round
    begins, but `LEAST_ROUNDS` are made.
    """
    repeats = {c.name: calibrated(c.call)[1] for c in contestants}
    times: dict[str, list[float]] = {c.name: [] for c in contestants}
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        for k in range(rounds):
            if k >= LEAST_ROUNDS and time.perf_counter() > end:
                break
            first = k // 2 % len(contestants)
            order = [*contestants[first:], *contestants[:first]]
            for contestant in order if k % 2 == 0 else reversed(order):
                count = repeats[contestant.name]
                settle()
                sample(contestant.call, count // 2 + 1)  # back into the caches, threads awake
                times[contestant.name].append(sample(contestant.call, count))
    finally:
        gc.enable()
    return times


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def fastest(forms: Sequence[Callable[[], Contestant]], classes: Any) -> tuple[Contestant, float]:
    """The form whose calls take the least time, and for how many samples its first call names these classes.

    Forms that fail are passed over, unless all do.
    """
    best: tuple[float, Contestant, float] | None = None
    failure: Exception | None = None
    for make in forms:
        try:
            contestant = make()
            contestant.call()
            same = float((contestant.output().argmax(1) == classes).mean())
            seconds = math.inf if len(forms) == 1 else calibrated(contestant.call)[0]
        except Exception as error:  # whatever a runtime raises
            failure = error
            continue
        if best is None or seconds < best[0]:
            best = seconds, contestant, same
    if best is None:
        raise RuntimeError(str(failure)) from failure
    return best[1:]
