"""The state space of a machine: its input symbols, its states, and which state follows which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine import InputError, IntArray, Machine

MAX_BATCH = 1 << 14
"""Most states times symbols that are stepped at once."""

Row = tuple[int, ...]
"""A state: the elements of all registers, in their order."""


def number_of(machine: Machine, names: tuple[str, ...]) -> int:
    """How many values these wires can have together, by their alphabets.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (3,), Levels(0, 3))
    >>> number_of(b.build(x), ("x",))
    64
    """
    return prod(machine.wires[name].alphabet.size ** machine.wires[name].size for name in names)


def every(machine: Machine, names: tuple[str, ...]) -> list[Row]:
    """All values that these wires can have together; see `number_of` before."""
    alphabets = [machine.wires[name].alphabet for name in names for _ in range(machine.wires[name].size)]
    return list(product(*(range(a.lo, a.hi + 1, a.step) for a in alphabets)))


def arrays(machine: Machine, names: tuple[str, ...], rows: list[Row]) -> dict[str, IntArray]:
    """Values of these wires as a batch of arrays by name."""
    found, column = {}, 0
    for name in names:
        wire = machine.wires[name]
        part = [row[column : column + wire.size] for row in rows]
        found[name] = np.array(part, dtype=wire.value_dtype).reshape(len(rows), *wire.shape)
        column += wire.size
    return found


def rows(machine: Machine, names: tuple[str, ...], batch: Mapping[str, IntArray]) -> list[Row]:
    """The inverse of `arrays`."""
    length = len(next(iter(batch.values()), ()))
    columns = [batch[name].reshape(length, machine.wires[name].size).tolist() for name in names]
    return [tuple(v for part in parts for v in part) for parts in zip(*columns)]


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


def symbols(machine: Machine, inputs: Any = None) -> list[Row]:
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
    if not found:
        raise InputError("at least one input symbol is due")
    return list(dict.fromkeys(found))


@dataclass(frozen=True, eq=False)
class StateSpace:
    """States, and the state that follows each under each symbol.

    Attributes
    ----------
    machine : Machine
    symbols : list of tuple
        Input symbols.
    states : list of tuple
        The initial state is the first where the states are the reachable ones.
    table : int array (symbols, states)
        Index of the next state.
    origin : list of (state, symbol), or None
        From where each state was reached first; that of the initial state is (-1, -1). None where all states are.
    """

    machine: Machine
    symbols: list[Row]
    states: list[Row]
    table: NDArray[np.int64]
    origin: list[tuple[int, int]] | None

    def state(self, index: int) -> dict[str, IntArray]:
        """A state as `Machine.step` takes it, a batch of one."""
        return arrays(self.machine, self.machine.registers, [self.states[index]])

    def inputs(self, symbol: int) -> dict[str, IntArray]:
        """A symbol as `Machine.step` takes it, a batch of one."""
        return arrays(self.machine, self.machine.inputs, [self.symbols[symbol]])

    def word(self, index: int) -> list[int]:
        """A shortest word of symbols from the initial state to this one."""
        found: list[int] = []
        while self.origin is not None and self.origin[index][0] >= 0:
            index, symbol = self.origin[index]
            found.append(symbol)
        return found[::-1]


def explore(machine: Machine, letters: list[Row], most: int, *, reachable: bool) -> StateSpace | None:
    """The states that words of these symbols reach from the initial state, breadth first; or all states.

    Parameters
    ----------
    machine : Machine
        One with registers.
    letters : list of tuple
        As `symbols` returns them.
    most : int
        Most states to go through.
    reachable : bool
        Otherwise all states of the registers' alphabets.

    Returns
    -------
    StateSpace, or None if there are more than `most` states

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> n = b.register("n", (1,), Levels(0, 7), 1)
    >>> b.connect(n, b.lookup(n, [1, 4, 7, 2, 5, 0, 3, 6]))
    >>> space = explore(b.build(n), [()], 100, reachable=True)
    >>> space.states, space.table.tolist()
    ([(1,), (4,), (5,), (0,)], [[1, 2, 3, 0]])
    """
    if not reachable and number_of(machine, machine.registers) > most:
        return None
    initial = rows(machine, machine.registers, machine.initial_state())
    states = initial if reachable else every(machine, machine.registers)
    index = {state: k for k, state in enumerate(states)}
    origin = [(-1, -1)]
    following: list[int] = []
    done = 0
    while done < len(states):
        batch = states[done : done + max(1, MAX_BATCH // len(letters))]
        for k, state in enumerate(_followers(machine, batch, letters)):
            if state not in index:
                if len(states) == most:
                    return None
                index[state] = len(states)
                states.append(state)
                origin.append((done + k // len(letters), k % len(letters)))
            following.append(index[state])
        done += len(batch)
    table = np.array(following, dtype=np.int64).reshape(len(states), len(letters)).T
    return StateSpace(machine, letters, states, table, origin if reachable else None)


def _followers(machine: Machine, states: list[Row], letters: list[Row]) -> list[Row]:
    """The state after each of the states, under each of the symbols."""
    found: list[Row] = []
    for k in range(0, len(letters), MAX_BATCH):
        part = letters[k : k + MAX_BATCH]
        x = arrays(machine, machine.inputs, part * len(states))
        state = arrays(machine, machine.registers, [state for state in states for _ in part])
        found += rows(machine, machine.registers, machine.step(state, x)[0])
    return found
