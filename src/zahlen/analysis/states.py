"""The state space of a machine: its input symbols, its states, and which state follows which."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine import InputError, IntArray, Machine, bits

MAX_BATCH = 1 << 14
"""Most states times symbols that are stepped at once."""


def number_of(machine: Machine, names: tuple[str, ...]) -> int:
    """How many values these wires can have together, by their alphabets.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (3,), Levels(0, 3))
    >>> number_of(b.build(x), ("x",))
    64
    """
    return prod(machine.wires[name].alphabet.size ** machine.wires[name].size for name in names)


def every(machine: Machine, names: tuple[str, ...]) -> IntArray:
    """All values that these wires can have together, a row each; see `number_of` before."""
    alphabets = [machine.wires[name].alphabet for name in names for _ in range(machine.wires[name].size)]
    values = list(product(*(range(a.lo, a.hi + 1, a.step) for a in alphabets)))
    return np.array(values, dtype=_narrow(machine, names)).reshape(len(values), len(alphabets))


def arrays(machine: Machine, names: tuple[str, ...], rows: IntArray) -> dict[str, IntArray]:
    """Values of these wires as a batch of arrays by name."""
    found, column = {}, 0
    for name in names:
        wire = machine.wires[name]
        part = rows[:, column : column + wire.size]
        found[name] = part.astype(wire.value_dtype).reshape(len(rows), *wire.shape)
        column += wire.size
    return found


def rows(machine: Machine, names: tuple[str, ...], batch: Mapping[str, IntArray], count: int = 1) -> IntArray:
    """The inverse of `arrays`: the elements of all wires in their order, a row for each of the batch.

    The integers are of the narrowest type that holds the alphabets. Without wires there are `count` empty rows.
    """
    dtype = _narrow(machine, names)
    if not names:
        return np.empty((count, 0), dtype)
    parts = [batch[name].reshape(len(batch[name]), machine.wires[name].size).astype(dtype) for name in names]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def shown_count(number: int) -> str:
    """A number for people: its order of magnitude where it is long."""
    return f"{number:,}" if number < 10**15 else f"about 10^{len(str(number)) - 1}"


def radices(machine: Machine, names: tuple[str, ...]) -> list[int]:
    """How many values each element of these wires has."""
    return [machine.wires[name].alphabet.size for name in names for _ in range(machine.wires[name].size)]


def numbered(machine: Machine, names: tuple[str, ...], numbers: NDArray[np.int64]) -> dict[str, IntArray]:
    """Values of these wires by their numbers in the order of `every`: the last element changes first.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(-1, 1))
    >>> numbered(b.build(x), ("x",), np.array([0, 5]))["x"].tolist()
    [[-1, -1], [0, 1]]
    """
    found: dict[str, IntArray] = {}
    for name in reversed(names):
        wire = machine.wires[name]
        columns = np.empty((len(numbers), wire.size), dtype=np.int64)
        for k in reversed(range(wire.size)):
            numbers, columns[:, k] = np.divmod(numbers, wire.alphabet.size)
        values = columns.astype(wire.value_dtype, copy=False) * wire.alphabet.step + wire.alphabet.lo
        found[name] = values.reshape(len(columns), *wire.shape)
    return {name: found[name] for name in names}


def numbers_of(machine: Machine, names: tuple[str, ...], batch: Mapping[str, IntArray]) -> NDArray[np.int64]:
    """The inverse of `numbered`."""
    found = np.zeros(len(next(iter(batch.values()))), dtype=np.int64)
    for name in names:
        wire = machine.wires[name]
        values = batch[name].reshape(len(found), wire.size)
        wide = values.astype(object) if wire.bits > 63 else values  # differences may leave int64
        digits = (wide - wire.alphabet.lo) // wire.alphabet.step
        for k in range(wire.size):
            found = found * wire.alphabet.size + digits[:, k].astype(np.int64, copy=False)
    return found


def keys(rows: IntArray) -> list[Hashable]:
    """Something for each row that is equal iff the rows are.

    >>> a, b, c = keys(np.array([[1, 2], [1, 3], [1, 2]], dtype=np.int8))
    >>> a == b, a == c
    (False, True)
    """
    if rows.dtype == object or rows.shape[1] == 0:
        return list(map(tuple, rows.tolist()))
    found: list[Hashable] = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist()
    return found


def symbols(machine: Machine, inputs: Any = None) -> IntArray:
    """The given input symbols, a batch as `Machine.step` takes it, each once; by default all of the alphabet.

    Raises
    ------
    InputError
        If they are no batch of elements of the input alphabets, or none at all.
    """
    if inputs is None:
        return every(machine, machine.inputs)
    if not machine.inputs:
        raise InputError("this machine has no inputs, so there are no input symbols to choose from")
    found = rows(machine, machine.inputs, machine.trace(inputs))
    if not len(found):
        raise InputError("at least one input symbol is due")
    first = {key: k for k, key in reversed(list(enumerate(keys(found))))}
    return found[sorted(first.values())]


def _narrow(machine: Machine, names: tuple[str, ...]) -> np.dtype[Any]:
    width = max((bits(machine.wires[n].alphabet.lo, machine.wires[n].alphabet.hi) for n in names), default=1)
    return np.dtype(object if width > 64 else f"i{next(size for size in (1, 2, 4, 8) if width <= 8 * size)}")


@dataclass(frozen=True, eq=False)
class StateSpace:
    """States, and the state that follows each under each symbol.

    Attributes
    ----------
    machine : Machine
    symbols : int array (symbols, elements)
        Input symbols.
    states : int array (states, elements)
        The elements of all registers in their order. The initial state is the first where the states are the
        reachable ones.
    table : int array (symbols, states)
        Index of the next state.
    origin : list of (state, symbol), or None
        From where each state was reached first; that of the initial state is (-1, -1). None where all states are.
    """

    machine: Machine
    symbols: IntArray
    states: IntArray
    table: NDArray[np.int64]
    origin: list[tuple[int, int]] | None

    def state(self, index: int) -> dict[str, IntArray]:
        """A state as `Machine.step` takes it, a batch of one."""
        return arrays(self.machine, self.machine.registers, self.states[index : index + 1])

    def inputs(self, symbol: int) -> dict[str, IntArray]:
        """A symbol as `Machine.step` takes it, a batch of one."""
        return arrays(self.machine, self.machine.inputs, self.symbols[symbol : symbol + 1])

    def word(self, index: int) -> list[int]:
        """A shortest word of symbols from the initial state to this one."""
        found: list[int] = []
        while self.origin is not None and self.origin[index][0] >= 0:
            index, symbol = self.origin[index]
            found.append(symbol)
        return found[::-1]


Watch = Callable[[Any], None]
"""Takes what a machine put out under each symbol, from one state after the other."""


def explore(
    machine: Machine,
    letters: IntArray,
    most: int,
    *,
    reachable: bool,
    initial: Mapping[str, IntArray] | None = None,
    watch: Watch | None = None,
    report: Callable[[int, int], None] | None = None,
) -> StateSpace | None:
    """The states that words of these symbols reach from the initial state, breadth first; or all states.

    Parameters
    ----------
    machine : Machine
    letters : int array (symbols, elements)
        As `symbols` returns them.
    most : int
        Most states to go through.
    reachable : bool
        Otherwise all states of the registers' alphabets.
    initial : mapping, optional
        A state as `Machine.step` takes it, a batch of one, from which to start.
    watch : callable, optional
        Gets the outputs, as `Machine.step` returns them, in batches: those of the first state under all symbols first.
    report : callable, optional
        Is told how many states were gone through and how many are known.

    Returns
    -------
    StateSpace, or None if there are more than `most` states

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> n = b.register("n", (1,), Levels(0, 7), 1)
    >>> b.connect(n, b.lookup(n, [1, 4, 7, 2, 5, 0, 3, 6]))
    >>> machine = b.build(n)
    >>> space = explore(machine, symbols(machine), 100, reachable=True)
    >>> space.states.ravel().tolist(), space.table.tolist()
    ([1, 4, 5, 0], [[1, 2, 3, 0]])
    """
    if not reachable and number_of(machine, machine.registers) > most:
        return None
    begin = machine.initial_state() if initial is None else initial
    first = rows(machine, machine.registers, begin) if reachable else every(machine, machine.registers)
    index = {key: k for k, key in enumerate(keys(first))}
    parts, frontier, known = [first], [first], len(first)
    origin = [(-1, -1)]
    following: list[NDArray[np.int64]] = []
    done, size = 0, max(1, MAX_BATCH // len(letters))
    while frontier:
        waiting = np.concatenate(frontier)
        frontier = []
        for start in range(0, len(waiting), size):
            batch = waiting[start : start + size]
            reached = _followers(machine, batch, letters, watch)
            named = keys(reached)
            places = np.fromiter((index.setdefault(key, -1) for key in named), dtype=np.int64, count=len(named))
            fresh = []
            for k in np.flatnonzero(places < 0).tolist():
                if index[named[k]] < 0:
                    if known == most:
                        return None
                    index[named[k]] = known
                    known += 1
                    fresh.append(k)
                    origin.append((done + k // len(letters), k % len(letters)))
                places[k] = index[named[k]]
            if fresh:
                frontier.append(reached[fresh])
            following.append(places)
            done += len(batch)
            if report is not None:
                report(done, known)
        parts += frontier
    table = np.concatenate(following).reshape(known, len(letters)).T
    return StateSpace(machine, letters, np.concatenate(parts), table, origin if reachable else None)


def _followers(machine: Machine, states: IntArray, letters: IntArray, watch: Watch | None) -> IntArray:
    """The state after each of the states, under each of the symbols."""
    found = []
    for k in range(0, len(letters), MAX_BATCH):
        part = letters[k : k + MAX_BATCH]
        x = arrays(machine, machine.inputs, np.tile(part, (len(states), 1)))
        state = arrays(machine, machine.registers, np.repeat(states, len(part), axis=0))
        after, output = machine.step(state, x)
        found.append(rows(machine, machine.registers, after, len(states) * len(part)))
        if watch is not None:
            watch(output)
    return np.concatenate(found)
