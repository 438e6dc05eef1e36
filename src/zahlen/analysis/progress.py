"""What long analyses show of their course."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextlib.contextmanager
def bar(shown: bool, name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that goes on by as many steps as it is told."""
    if not shown:
        yield lambda steps: None
        return
    with Progress(console=Console(stderr=True), refresh_per_second=4) as bars:
        task = bars.add_task(name, total=total)
        yield lambda steps: bars.update(task, advance=steps)


@contextlib.contextmanager
def spinner(shown: bool, name: str) -> Iterator[Callable[[str], None]]:
    """The time, and what it is told, of work whose end nobody knows.

    >>> with spinner(False, "search") as say:
    ...     say("2 found")
    """
    if not shown:
        yield lambda course: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}: {task.fields[course]}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True) as bars:
        task = bars.add_task(name, total=None, course="")
        yield lambda course: bars.update(task, course=course)


@contextlib.contextmanager
def counter(shown: bool, name: str) -> Iterator[Callable[[int, int], None] | None]:
    """How many states were gone through, and how many are known, as it is told; None if not to be shown.

    >>> with counter(False, "automaton") as report:
    ...     report is None
    True
    """
    with spinner(shown, name) as say:
        yield (lambda done, known: say(f"{done:,} of {known:,} states so far")) if shown else None
