"""The cycles of a map of a finite set into itself, and how many steps before them every element is.

A map is given as the table of its values; each is replaced by a class of elements that end in the same attractor after
the same number of steps, so that a table of 4 bytes a state is all the memory that grows with the set, but for a bit a
state for the image. Where compiled kernels are, every state is walked through twice, from the first one on; without
them, states that nothing leads to are taken away round by round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import native
from .orbit import LimitError

Numbers = NDArray[np.int32]

CHUNK = 1 << 22
"""States between two signs of life."""
CLASS = 20
"""Bytes of a class."""
_kernels: Any = getattr(native, "state_graph", None)
KNOWN = 1 << 30


@dataclass(frozen=True, eq=False)
class Attractors:
    """Where a map leads.

    Attributes
    ----------
    classes : int32 array (states,)
        The class of each state; the memory of the map's table, which is gone.
    attractor, transient : int32 array (classes,)
        Which attractor the states of a class end in, and after how many steps.
    sizes : int32 array (classes,)
        How many states there are of each class.
    least, periods : int32 array (attractors,)
        The least state on each cycle, and how many there are on it.
    image : uint64 array
        A bit for each state, set if it follows some state.
    """

    classes: Numbers
    attractor: Numbers
    transient: Numbers
    sizes: Numbers
    least: Numbers
    periods: Numbers
    image: NDArray[np.uint64]


def attractors_of(table: Numbers, most: int, done: Callable[[int], None], *, kernels: bool = True) -> Attractors:
    """Go through the map with this table, which is overwritten.

    The largest basin comes first, among equals the one with the least state on its cycle.

    Parameters
    ----------
    table : int32 array (states,)
        At most 2^28 states.
    most : int
        Bytes that the classes may take.
    done : callable
        Is told how many states were gone through, piece by piece, and each state twice.
    kernels : bool
        Whether to use compiled kernels, where there are any.

    Raises
    ------
    LimitError
        If the classes take more.

    Examples
    --------
    >>> found = attractors_of(np.array([1, 2, 1, 0, 4], dtype=np.int32), 1000, lambda states: None)
    >>> found.periods.tolist(), found.least.tolist()
    ([2, 1], [1, 4])
    >>> found.transient[found.classes].tolist()
    [1, 0, 0, 2, 0]
    """
    compiled = _kernels is not None and kernels
    image = np.zeros((len(table) + 63) // 64, dtype=np.int64)
    for start in range(0, len(table), CHUNK):
        stop = min(start + CHUNK, len(table))
        if compiled:
            _kernels.image(table, image, start, stop)
        else:
            bits = np.unique(table[start:stop]).astype(np.int64)
            np.bitwise_or.at(image, bits >> 6, np.int64(1) << (bits & 63))
        done(stop - start)
    if compiled:
        classes, attractors = _walk(table, most, done)
    else:
        classes, attractors = _peel(table, most)
        done(len(table))
    attractor, transient, _, _, sizes = classes.T
    basins = np.bincount(attractor, weights=sizes, minlength=len(attractors)).astype(np.int64)
    order = np.lexsort((attractors[:, 0], -basins))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    least, periods = attractors[order].T.copy()
    return Attractors(table, rank[attractor], transient.copy(), sizes.copy(), least, periods, image.view(np.uint64))


def _room(rows: int, due: int, most: int) -> int:
    """How many classes to make room for, if there are so many and so many more are due."""
    if rows + due > most // CLASS:
        raise LimitError(
            f"state graph: its attractors and transients take more than {most:,} bytes beside the states; raise memory"
        )
    return min(max(2 * rows, rows + due, 1024), most // CLASS)


def _walk(table: Numbers, most: int, done: Callable[[int], None]) -> tuple[Numbers, Numbers]:
    """By compiled kernels: (classes, attractors)."""
    classes = np.zeros((_room(0, 1, most), 5), dtype=np.int32)
    attractors = np.zeros((64, 2), dtype=np.int32)
    used = np.zeros(3, dtype=np.int64)
    at = 0
    while at < len(table):
        stop = min((at // CHUNK + 1) * CHUNK, len(table))
        reached = _kernels.walk(table, classes, attractors, used, at, stop)
        if reached < stop:
            if used[2] > len(classes) - used[0]:
                classes = _longer(classes, _room(int(used[0]), int(used[2]), most))
            if used[1] == len(attractors):
                attractors = _longer(attractors, 2 * len(attractors))
        done(reached - at)
        at = reached
    for start in range(0, len(table), CHUNK):
        table[start : start + CHUNK] &= KNOWN - 1
    return classes[: used[0]], attractors[: used[1]]


def _longer(rows: Numbers, length: int) -> Numbers:
    found = np.zeros((length, rows.shape[1]), dtype=np.int32)
    found[: len(rows)] = rows
    return found


def _peel(table: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """In NumPy: (classes, attractors)."""
    incoming = np.bincount(table, minlength=len(table))
    rounds = []
    free = np.flatnonzero(incoming == 0)
    while len(free):
        rounds.append(free)
        reached, times = np.unique(table[free], return_counts=True)
        incoming[reached] -= times
        free = reached[incoming[reached] == 0]
    cyclic = np.flatnonzero(incoming > 0)
    least, jump = np.arange(len(table)), table.astype(np.int64)
    for _ in range(len(table).bit_length()):  # of 1, 2, 4, .. states from each one on
        least[cyclic], jump[cyclic] = np.minimum(least[cyclic], least[jump[cyclic]]), jump[jump[cyclic]]
    first, attractor, periods = np.unique(least[cyclic], return_inverse=True, return_counts=True)
    ends, transient = np.zeros((2, len(table)), dtype=np.int64)
    ends[cyclic] = attractor
    for free in reversed(rounds):
        ends[free], transient[free] = ends[table[free]], transient[table[free]] + 1
    pairs = ends * (int(transient.max()) + 1) + transient
    _, index, table[:], sizes = np.unique(pairs, return_index=True, return_inverse=True, return_counts=True)
    _room(0, len(index), most)
    unused = np.full(len(index), -1)
    classes = np.stack([ends[index], transient[index], unused, unused, sizes], axis=1).astype(np.int32)
    return classes, np.stack([first, periods], axis=1).astype(np.int32)
