"""Two ways to do the same, timed in turns, so that a noisy machine disturbs both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def row(name: str, steps: tuple[Callable[[], None], Callable[[], None]], rounds: int, warm: int, digits: int) -> str:
    """A row of a Markdown table: both medians in ms, and the median of the ratios of pairs."""
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(rounds + warm):
        for step, seen in zip(steps, times):
            start = time.perf_counter()
            step()
            if k >= warm:
                seen.append(time.perf_counter() - start)
    ratio = statistics.median(a / b for a, b in zip(*times))
    ms = [f"{1000 * statistics.median(t):.{digits}f}" for t in times]
    return f"| {name} | {ms[0]} | {ms[1]} | {ratio:.2f} |"
