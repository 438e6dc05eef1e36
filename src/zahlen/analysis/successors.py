"""Which state follows which, for all states of a machine: a table of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import native
from ..machine import IntArray, Machine
from .additive import Table, additive
from .states import numbered, numbers_of, radices

Numbers = NDArray[np.int32]

INNER = 1 << 9
"""Most states that the fast way goes through with the same first elements."""
MIDDLE = 1 << 12
"""Most values of the elements before them that it takes at once."""
BATCH = 1 << 15
"""States that the machine steps at once."""
SAMPLES = 1 << 12
"""States on which the fast way is compared with the machine's own step."""

Step = dict[str, IntArray]

_kernels: Any = getattr(native, "state_graph", None)


def followers(machine: Machine, inputs: Step, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the states after these, by `Machine.step`."""
    names = machine.registers
    x = {name: np.repeat(value, len(numbers), axis=0) for name, value in inputs.items()}
    return numbers_of(machine, names, machine.step(numbered(machine, names, numbers), x)[0])


def successors(
    machine: Machine, inputs: Step, out: Numbers, done: Callable[[int], None], *, kernels: bool = True
) -> None:
    """Write the number of the state after each state to `out`.

    Parameters
    ----------
    machine : Machine
        One with registers, of at most 2^28 states.
    inputs : dict of integer arrays (1, *shape)
        The input of the step.
    out : int32 array (states,)
    done : callable
        Is told how many states were written, piece by piece.
    kernels : bool
        Whether to use compiled kernels, where there are any.
    """
    tables = additive(machine, inputs)
    if tables is None:
        for start in range(0, len(out), BATCH):
            stop = min(start + BATCH, len(out))
            out[start:stop] = followers(machine, inputs, np.arange(start, stop))
            done(stop - start)
        return
    _from_tables(radices(machine, machine.registers), tables, out, done, kernels)
    # the tables were derived from the machine's operations; here is what its interpreter says
    sample = np.unique(np.concatenate([np.linspace(0, len(out) - 1, SAMPLES // 2).astype(np.int64), _spread(len(out))]))
    if (out[sample] != followers(machine, inputs, sample)).any():
        raise RuntimeError("successors: the machine does not confirm the table; please report this")


def _spread(states: int) -> NDArray[np.int64]:
    """States all over, the same ones every time."""
    return np.random.default_rng(states).integers(0, states, SAMPLES // 2)


def _from_tables(
    sizes: list[int], tables: list[Table], out: Numbers, done: Callable[[int], None], kernels: bool
) -> None:
    rows = np.stack([table.form.row for table in tables])
    places = np.cumprod([1, *sizes[:0:-1]])[::-1]
    values = np.concatenate([(t.values * p).astype(np.int32) for t, p in zip(tables, places)])
    lengths = np.array([len(table.values) for table in tables], dtype=np.int32)
    inner_from = _cut(sizes, len(sizes), INNER)
    middle_from = _cut(sizes, inner_from, MIDDLE)
    spans = (inner_from, len(sizes)), (middle_from, inner_from), (0, middle_from)
    inner, middle, first = (_all_sums(rows, sizes, *span) for span in spans)
    # each of the three parts is from 0 on, and their least values together are a table's first place
    inner, middle, first = (part - part.min(axis=1, keepdims=True) for part in (inner, middle, first))
    inner = np.ascontiguousarray(inner, dtype=np.int32)
    width = inner.shape[1] * middle.shape[1]
    for k in range(first.shape[1]):
        outer = np.ascontiguousarray(middle + first[:, k : k + 1], dtype=np.int32)
        part = out[k * width : (k + 1) * width]
        if _kernels is not None and kernels:
            _kernels.successors(inner, outer, lengths, values, part)
        else:
            _add_up(inner, outer, lengths, values, part)
        done(width)


def _cut(sizes: list[int], stop: int, most: int) -> int:
    """First of the elements before `stop` that have at most so many values together; at least one, if there is one."""
    start = max(stop - 1, 0)
    while start > 0 and prod(sizes[start - 1 : stop]) <= most:
        start -= 1
    return start


def _all_sums(rows: NDArray[np.int64], sizes: list[int], start: int, stop: int) -> NDArray[np.int64]:
    """The terms of these elements added up, for all their values: (sums, values)."""
    found = np.zeros((len(rows), 1), dtype=np.int64)
    column = sum(sizes[:start])
    for size in sizes[start:stop]:
        found = (found[:, :, None] + rows[:, None, column : column + size]).reshape(len(rows), -1)
        column += size
    return found


def _add_up(inner: IntArray, outer: IntArray, lengths: IntArray, values: IntArray, out: Numbers) -> None:
    """What the kernel does, in NumPy."""
    ends = np.cumsum(lengths)
    width = inner.shape[1]
    for k in range(outer.shape[1]):
        part = np.zeros(width, dtype=np.int32)
        for e, (start, stop) in enumerate(zip(ends - lengths, ends)):
            part += values[start:stop][inner[e] + outer[e, k]]
        out[k * width : (k + 1) * width] = part
