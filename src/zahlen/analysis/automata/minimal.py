"""The least automaton that says the same: Hopcroft's algorithm, then states in breadth-first order.

Both are compiled; without compiled kernels Python does the same, some thirty times slower. The coarsest partition is
one only, and so is the breadth-first order, so either way the result is the same to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import native
from .model import Automaton, Int32

MOST_ROUNDS = 8
"""How often all states are refined at once before Hopcroft's algorithm begins."""

kernels = getattr(native, "automata", None)


def minimise(a: Automaton) -> Automaton:
    """The least automaton that says the same to every word.

    States that no word leads to go, those that no word tells apart become one (Hopcroft 1971: symbols times states
    times the logarithm of states), and the rest are numbered breadth first. So two automata with the same symbols and
    labels, in the same order, say the same iff the arrays of their least ones are equal.

    Examples
    --------
    Numbers in binary that are divisible by two, counted modulo six:

    >>> from zahlen.analysis.automata import Automaton, VERDICTS
    >>> a = Automaton([[2 * k % 6, (2 * k + 1) % 6] for k in range(6)], [1, 0] * 3, 0, ("0", "1"), VERDICTS)
    >>> print(minimise(a))
    acceptor of 2 states, 2 symbols
           0  1
      0 +  0  1
      1 .  0  1
    """
    order, number = breadth_first(a.transitions, a.initial)
    transitions = number[a.transitions[order]]
    outputs = a.outputs[order]
    labels = _signatures(outputs)
    # as long as many states are told apart a symbol further on, all at once is quicker than block by block
    for _ in range(MOST_ROUNDS):
        finer = _signatures(np.column_stack([labels, labels[transitions]]))
        many = finer.max() > 2 * labels.max() + 1
        labels = finer
        if not many:
            break
    blocks, block = coarsest(transitions, labels)
    _, chosen = np.unique(block, return_index=True)
    # blocks in the order of their first states, which is the breadth-first order of blocks
    chosen = np.sort(chosen)
    rank = np.empty(blocks, dtype=np.int32)
    rank[block[chosen]] = np.arange(blocks, dtype=np.int32)
    return Automaton(rank[block[transitions[chosen]]], outputs[chosen], 0, a.symbols, a.labels)


def reachable(a: Automaton) -> Automaton:
    """The states that some word leads to, numbered breadth first.

    >>> len(reachable(Automaton([[2], [1], [0]], [0, 1, 1], 0, ("a",), ("no", "yes"))))
    2
    """
    order, number = breadth_first(a.transitions, a.initial)
    return Automaton(number[a.transitions[order]], a.outputs[order], 0, a.symbols, a.labels)


def breadth_first(transitions: Int32, initial: int) -> tuple[Int32, Int32]:
    """States in the order in which they are reached, and the place of each in it, -1 where no word leads.

    >>> order, number = breadth_first(np.array([[2], [1], [0]], dtype=np.int32), 0)
    >>> order.tolist(), number.tolist()
    ([0, 2], [0, -1, 1])
    """
    n = len(transitions)
    number = np.full(n, -1, dtype=np.int32)
    if kernels is not None:
        order = np.empty(n, dtype=np.int32)
        found = kernels.reach(np.ascontiguousarray(transitions), order, number, initial)
        return order[:found].copy(), number
    seen, reached, rows = {initial}, [initial], transitions.tolist()
    for state in reached:
        for following in rows[state]:
            if following not in seen:
                seen.add(following)
                reached.append(following)
    order = np.array(reached, dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    return order, number


def coarsest(transitions: Int32, labels: NDArray[np.int64]) -> tuple[int, Int32]:
    """The coarsest partition that `labels` and transitions respect: how many blocks, and the block of each state.

    Parameters
    ----------
    transitions : int32 array (states, symbols)
    labels : int array (states,)
        States of different labels are told apart; each of 0..most occurs.

    Examples
    --------
    >>> blocks, block = coarsest(np.array([[1], [2], [3], [3]], dtype=np.int32), np.array([0, 0, 0, 1]))
    >>> blocks, len(set(block.tolist()))
    (4, 4)
    """
    block = labels.astype(np.int32)
    count = int(block.max()) + 1
    if kernels is not None:
        return kernels.refine(np.ascontiguousarray(transitions), block, count), block
    return _hopcroft(transitions, block, count)


def _hopcroft(transitions: Int32, labels: Int32, count: int) -> tuple[int, Int32]:
    """As `refine` of automata.c."""
    n, symbols = transitions.shape
    before: list[tuple[list[int], list[int]]] = []
    for a in range(symbols):
        column = transitions[:, a]
        order = np.argsort(column, kind="stable")
        before.append((order.tolist(), np.searchsorted(column[order], np.arange(n + 1)).tolist()))
    block: list[int] = labels.tolist()
    members: list[set[int]] = [set() for _ in range(count)]
    for state, b in enumerate(block):
        members[b].add(state)
    largest = max(range(count), key=lambda b: len(members[b]))
    waiting = [b for b in range(count) if b != largest]
    while waiting:
        splitter = list(members[waiting.pop()])
        for sources, start in before:
            hit: dict[int, set[int]] = {}
            for state in splitter:
                for source in sources[start[state] : start[state + 1]]:
                    hit.setdefault(block[source], set()).add(source)
            for b, part in hit.items():
                if len(part) == len(members[b]):
                    continue
                members[b] -= part
                # the smaller part gets a new number, and waits
                small, members[b] = sorted((part, members[b]), key=len)
                waiting.append(len(members))
                for state in small:
                    block[state] = len(members)
                members.append(small)
    return len(members), np.array(block, dtype=np.int32)


def _signatures(rows: NDArray[Any]) -> NDArray[np.int64]:
    """A number for each different row."""
    columns = rows.reshape(len(rows), -1).astype(np.int64)
    width = int(columns.max()) + 1
    code, size = np.zeros(len(columns), dtype=np.int64), 1
    for column in columns.T:
        if size * width >= 1 << 62:
            code = np.unique(code, return_inverse=True)[1].astype(np.int64)
            size = int(code.max()) + 1
        code, size = code * width + column, size * width
    return np.unique(code, return_inverse=True)[1].astype(np.int64)
