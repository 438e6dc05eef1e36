"""How long the initial state of a machine matters: the length of its impulse response, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine import InputError, IntArray, Machine
from .states import StateSpace, explore, number_of, shown_count, symbols

MAX_SYMBOLS = 1 << 16
"""Most input symbols that `memory` goes through."""

Step = dict[str, IntArray]
"""One input symbol as `Machine.step` takes it, a batch of one."""


@dataclass(frozen=True, eq=False)
class Witness:
    """Two states that a repeating input word keeps apart for ever.

    Attributes
    ----------
    states : pair of states
        Each as `Machine.step` takes it, a batch of one.
    words : pair of tuples of inputs, or None
        Input words that lead from the initial state to them; they may differ in length. None where all states were
        asked for.
    loop : tuple of inputs
        After this word the two states are the same two again, and they differ at every step on the way.
    """

    states: tuple[dict[str, IntArray], dict[str, IntArray]]
    words: tuple[tuple[Step, ...], tuple[Step, ...]] | None
    loop: tuple[Step, ...]

    def replay(self, machine: Machine) -> bool:
        """Whether `Machine.step` confirms all this."""
        if self.words is not None:
            for word, state in zip(self.words, self.states):
                reached = machine.initial_state()
                for x in word:
                    reached, _ = machine.step(reached, x)
                if _key(machine, reached) != _key(machine, state):
                    return False
        pair = self.states
        start = {_key(machine, state) for state in pair}
        for x in self.loop:
            if len({_key(machine, state) for state in pair}) < 2:
                return False
            pair = machine.step(pair[0], x)[0], machine.step(pair[1], x)[0]
        return len(self.loop) > 0 and {_key(machine, state) for state in pair} == start

    def __str__(self) -> str:
        first, second = (_shown(state) for state in self.states)
        lines = [f"{first} and {second} stay apart under {_word(self.loop)}, repeated"]
        if self.words is not None:
            lines += [f"{name} is reached by {_word(word)}" for word, name in zip(self.words, (first, second))]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Memory:
    """What `memory` found.

    Attributes
    ----------
    finite : bool or None
        Whether the initial state stops to matter; None where that was not decided.
    length : int or None
        The least T such that after T steps of any input the initial state cannot matter. None where there is none, or
        it was not found.
    path : int or None
        Registers on the longest path of the register graph, which bounds `length`; None if the graph has a cycle.
    scope : str
        ``reachable`` or ``all``: which states are compared.
    states, symbols : int or None
        How many states and input symbols were gone through; None where that was too many.
    witness : Witness or None
        Where `finite` is False.
    undecided : str
        What was not found, and why; empty if nothing.
    """

    finite: bool | None
    length: int | None
    path: int | None
    scope: str
    states: int | None
    symbols: int | None
    witness: Witness | None
    undecided: str

    def __str__(self) -> str:
        if self.finite is None:
            head = "not decided: " + self.undecided
        elif not self.finite:
            head = "infinite: there are inputs under which the initial state matters for ever"
        elif self.length is None:
            head = f"finite: after {self.path} steps, or fewer, the initial state cannot matter"
        else:
            head = f"finite: after {self.length} steps, and no fewer, the initial state cannot matter"
        graph = "has a cycle" if self.path is None else f"has no cycle, and at most {self.path} on a path"
        lines = [head, f"the graph of the registers {graph}"]
        if self.states is not None:
            lines.append(f"gone through: states {self.states:,} ({self.scope}), input symbols {self.symbols:,}")
        elif self.finite is not None:
            lines.append(f"the least number was not found: {self.undecided}")
        if self.witness is not None:
            lines += str(self.witness).splitlines()
        return "\n  ".join(lines)


def memory(machine: Machine, *, inputs: Any = None, scope: str = "reachable", limit: int = 1 << 21) -> Memory:
    """Whether, and for how long, the initial state of a machine matters.

    Two answers are sought. From the graph: where no register depends on itself, through whichever registers, the
    impulse response is finite, and no longer than the registers on the longest path. And exactly, where the state
    space is small: take all pairs of different states, with an edge to the pair that follows under each input symbol,
    where the two still differ. The initial state stops to matter iff that graph has no cycle, and the pairs on its
    longest path are the least number of steps after which any two states have become one (the automaton is definite;
    Perles, Rabin and Shamir 1963).

    The *state* is that of all registers, read or not: for the outputs' sake alone ask ``machine.simplified()``.

    Parameters
    ----------
    machine : Machine
    inputs : batch of input symbols as for `Machine.step`, optional
        The input alphabet, where not all elements are meant. The exact answer is about these, the graph's about all.
    scope : str
        ``reachable``: any two states that inputs lead to from the initial state, which is what `Machine.run` can meet.
        ``all``: any two states of the registers' alphabets, for a machine that may be set to any of them.
    limit : int
        Most pairs of states times input symbols, and most states times input symbols; each takes some 100 bytes. At
        most 65,536 symbols are gone through.

    Returns
    -------
    Memory
        Where it is infinite, with a witness that was replayed on `Machine.step`.

    Raises
    ------
    InputError
        If `inputs` is no batch of the input alphabet, `scope` unknown, or `limit` no positive integer.

    Examples
    --------
    A delay line in one register. Its graph has a cycle, yet it forgets:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x, line = b.input("x", (1,), Levels(0, 1)), b.register("line", (3,), Levels(0, 1))
    >>> b.connect(line, b.concat(x, b.slice(line, [0], [2])))
    >>> print(memory(b.build(line)))
    finite: after 3 steps, and no fewer, the initial state cannot matter
      the graph of the registers has a cycle
      gone through: states 8 (reachable), input symbols 2

    Parity never forgets:

    >>> b = Builder()
    >>> x, parity = b.input("x", (1,), Levels(0, 1)), b.register("parity", (1,), Levels(0, 1))
    >>> b.connect(parity, b.lookup(parity, x, table=[[0, 1], [1, 0]]))
    >>> found = memory(b.build(parity))
    >>> print(found)
    infinite: there are inputs under which the initial state matters for ever
      the graph of the registers has a cycle
      gone through: states 2 (reachable), input symbols 2
      parity=[0] and parity=[1] stay apart under x=[0], repeated
      parity=[0] is reached by the empty word
      parity=[1] is reached by x=[1]
    """
    if scope not in ("reachable", "all"):
        raise InputError(f"memory: scope is reachable or all, got {scope!r}")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"memory: limit is a positive integer, got {limit!r}")
    if not machine.registers:
        return Memory(True, 0, 0, scope, 1, 0, None, "")
    path = longest_path(machine)
    finite = True if path is not None else None

    def given_up(why: str) -> Memory:
        return Memory(finite, None, path, scope, None, None, None, why)

    if inputs is None and number_of(machine, machine.inputs) > min(MAX_SYMBOLS, limit):
        return given_up(
            f"the input alphabet has {shown_count(number_of(machine, machine.inputs))} symbols, more than "
            f"{min(MAX_SYMBOLS, limit):,}; choose some with inputs="
        )
    letters = symbols(machine, inputs)
    if len(letters) > min(MAX_SYMBOLS, limit):
        return given_up(
            f"there are {len(letters):,} input symbols, more than {min(MAX_SYMBOLS, limit):,}; choose fewer"
        )
    # most n with n (n - 1) / 2 pairs within the limit, and n states
    most = min((1 + isqrt(1 + 8 * (limit // len(letters)))) // 2, limit // len(letters))
    space = explore(machine, letters, most, reachable=scope == "reachable")
    if space is None:
        total = number_of(machine, machine.registers)
        return given_up(
            f"there are more than {most:,} {scope} states (at most {shown_count(total)}), whose pairs, times "
            f"{len(letters):,} input symbols, exceed the limit of {limit:,}"
        )
    length, left = longest_pair_path(space.table)
    if not len(left):
        return Memory(True, length, path, scope, len(space.states), len(letters), None, "")
    witness = _witness(space, *pair_cycle(space.table, left))
    if not witness.replay(machine):
        raise RuntimeError("memory: the machine does not confirm the witness; please report this")
    return Memory(False, None, path, scope, len(space.states), len(letters), witness, "")


def longest_path(machine: Machine) -> int | None:
    """Registers on the longest path of the register graph; None if it has a cycle.

    An edge goes from each register to those that take, at the end of a step, what was computed from it.
    """
    first = len(machine.inputs)
    blocks = machine.as_block_map().blocks[first : first + len(machine.registers)][:, first:]
    left, length = np.ones(len(blocks), dtype=np.bool_), 0
    while left.any():
        free = left & ~(blocks[:, : len(left)] & left).any(axis=1)
        if not free.any():
            return None
        left &= ~free
        length += 1
    return length


def longest_pair_path(table: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """Pairs on the longest path of the graph of pairs, and the pairs that are left behind a cycle.

    Pairs that nothing leads to are taken away, round by round.

    Parameters
    ----------
    table : int array (symbols, states)

    Returns
    -------
    (rounds, left)
        Pairs i < j are numbered i n + j.
    """
    n = table.shape[1]
    first, second = np.triu_indices(n, 1)
    pairs = first * n + second
    incoming = np.zeros(n * n, dtype=np.int64)
    np.add.at(incoming, _apart(_followers(table, pairs), n), 1)
    free, rounds = pairs[incoming[pairs] == 0], 0
    while len(free):
        rounds += 1
        reached = _apart(_followers(table, free), n)
        np.subtract.at(incoming, reached, 1)
        reached = np.unique(reached)
        free = reached[incoming[reached] == 0]
    return rounds, pairs[incoming[pairs] > 0]


def pair_cycle(table: NDArray[np.int64], left: NDArray[np.int64]) -> tuple[int, list[int]]:
    """A cycle among pairs each of which is reached from another: where it starts, and its word of symbols."""
    n = table.shape[1]
    reached = _followers(table, left)
    inside = np.zeros(n * n, dtype=np.bool_)
    inside[left] = True
    # of all ways to a pair the last one written stays: that of the first symbol, from the first pair
    symbol, source = (index[::-1] for index in np.nonzero(inside[reached]))
    target = reached[symbol, source]
    before, by = (np.full(n * n, -1, dtype=np.int64) for _ in range(2))
    before[target], by[target] = left[source], symbol
    same = left[source] == target  # a pair that stays itself is the shortest cycle
    before[target[same]], by[target[same]] = target[same], symbol[same]
    seen: dict[int, int] = {}
    pair = int(target[same][-1] if same.any() else left[0])
    while pair not in seen:
        seen[pair] = len(seen)
        pair = int(before[pair])
    backwards = list(seen)[seen[pair] :]
    return pair, [int(by[p]) for p in reversed(backwards)]


def _followers(table: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pair after each pair under each symbol, (symbols, pairs); a pair of equals is i n + i."""
    n = table.shape[1]
    one, other = table[:, pairs // n], table[:, pairs % n]
    found: NDArray[np.int64] = np.minimum(one, other) * n + np.maximum(one, other)
    return found


def _apart(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    apart: NDArray[np.int64] = pairs[pairs // n != pairs % n]
    return apart


def _witness(space: StateSpace, pair: int, cycle: list[int]) -> Witness:
    first, second = divmod(pair, len(space.states))
    words = None
    if space.origin is not None:
        one, other = (tuple(map(space.inputs, space.word(state))) for state in (first, second))
        words = one, other
    return Witness((space.state(first), space.state(second)), words, tuple(map(space.inputs, cycle)))


def _key(machine: Machine, state: dict[str, IntArray]) -> tuple[int, ...]:
    return tuple(value for name in machine.registers for value in state[name].ravel().tolist())


def _shown(values: dict[str, IntArray]) -> str:
    return ", ".join(f"{name}={value[0].tolist()}" for name, value in values.items())


def _word(word: tuple[Step, ...]) -> str:
    if not word:
        return "the empty word"
    return "; ".join(map(_shown, word)) if word[0] else f"{len(word)} step{'s' * (len(word) > 1)}"
