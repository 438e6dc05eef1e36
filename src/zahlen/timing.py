"""Seconds of a call, on a computer where other runtimes' threads may still be awake."""

from __future__ import annotations

import time
from collections.abc import Callable


def sample(call: Callable[[], object], calls: int) -> float:
    """Seconds of a call, as the mean of so many in a row.

    >>> sample(lambda: None, 10) < 1
    True
    """
    turns = range(calls)
    start = time.perf_counter()
    for _ in turns:
        call()
    return (time.perf_counter() - start) / calls


def settle() -> None:
    """Wait until no thread of another runtime spins any longer for work that will not come."""
    for _ in range(20):
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0004:
            return
