"""The bar that long analyses show."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress


@contextlib.contextmanager
def bar(shown: bool, name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that goes on by as many steps as it is told."""
    if not shown:
        yield lambda steps: None
        return
    with Progress(console=Console(stderr=True), refresh_per_second=4) as bars:
        task = bars.add_task(name, total=total)
        yield lambda steps: bars.update(task, advance=steps)
