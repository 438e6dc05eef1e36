"""The course of a training, whichever way it is done: figures of its epochs, and the bar that shows them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Report = Callable[[float, float], None]
"""Takes note of a step: mean loss and share of classes named right since the epoch began."""


@dataclass
class Epoch:
    """What one pass over the training data gave; accuracies are shares of 1, nan where targets are no classes.

    `validation_certified` is the share that intervals certify, where training is robust.
    """

    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    validation_certified: float = math.nan


@dataclass
class History:
    """The course of a training.

    Attributes
    ----------
    epochs : list of Epoch
    best : int
        Index of the epoch whose weights the model has now.
    interrupted : bool
        Whether Ctrl-C ended it early.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: int = -1
    interrupted: bool = False


@contextlib.contextmanager
def bar(shown: bool, name: str, total: int, done: int, course: Callable[[float, float], str]) -> Iterator[Report]:
    """A bar that goes on by one step at each report; `course` makes words of one."""
    if not shown:
        yield lambda loss, accuracy: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[course]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bars:
        task = bars.add_task(name, total=total, completed=done, course="")
        yield lambda loss, accuracy: bars.update(task, advance=1, course=course(loss, accuracy))
