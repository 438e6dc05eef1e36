"""Cycles by a SAT solver, of machines whose next state is made of tables of sums: threshold and Boolean networks.

Element k of a state is its digits' order, the literals "at least 1", "at least 2", ..; each of them is, one step later,
a decision diagram over the sum so far of the elements that it reads. Sums that lead to the same answer whatever follows
are one node, so a diagram has at most elements times sums of them (Abio, Nieuwenhuis, Oliveras, Rodriguez-Carbonell and
Mayer-Eichberger, JAIR 45, 2012).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine import ToolError
from .additive import Table
from .orbit import LimitError

MAX_NODES = 1 << 20
"""Most nodes of all diagrams; each takes some 500 bytes."""
MAX_RADIX = 16
"""Most values of an element."""
SLICE = 200
"""Conflicts between two looks at the clock."""

Digits = NDArray[np.int64]
Digit = tuple[list[int], list[int]]
"""Literals for "at least j", j = 0 .. size, and for "is j", j = 0 .. size - 1."""


def solver_class() -> Any:
    """``pysat.solvers.Solver``.

    Raises
    ------
    ToolError
        If python-sat is not installed.
    """
    try:
        from pysat.solvers import Solver
    except ImportError:
        raise ToolError(
            "this needs python-sat; install it with: pip install 'zahlen[analysis]', or take method=\"CP-SAT\""
        ) from None
    return Solver


class Clauses:
    """A formula, clause by clause; literals are integers as in DIMACS."""

    def __init__(self, add: Callable[[list[int]], object], nodes: int, until: float) -> None:
        self.add = add
        self.most = nodes
        self.until = until
        self.variables = 1
        self.true = 1
        self.nodes = 0
        add([self.true])

    def new(self) -> int:
        """A new variable."""
        self.variables += 1
        return self.variables

    def digit(self, size: int) -> Digit:
        """One of 0 .. size - 1."""
        least = [self.true, *(self.new() for _ in range(size - 1)), -self.true]
        for one, other in pairwise(least):  # implied by the tables, and seen at once
            self.add([-other, one])
        values = []
        for one, other in pairwise(least):
            if one == self.true:
                values.append(-other)
            elif other == -self.true:
                values.append(one)
            else:
                values.append(both := self.new())
                for clause in ([-both, one], [-both, -other], [both, -one, other]):
                    self.add(clause)
        return least, values

    def reads(self, truth: NDArray[np.bool_], terms: list[list[int]], values: list[list[int]]) -> int:
        """A literal for what a table of booleans says at a sum of terms.

        Parameters
        ----------
        truth : bool array
            From the least sum on.
        terms : list of lists
            What each value of each digit adds, from 0 on.
        values : list of lists
            The literals of these values.
        """
        changes = np.flatnonzero(truth[1:] != truth[:-1]) + 1
        ends = [0, *changes.tolist(), len(truth)]
        rest = [0] * (len(terms) + 1)
        for k in reversed(range(len(terms))):
            rest[k] = rest[k + 1] + max(terms[k])
        # of each level, nodes by the last of the sums that they stand for
        last: list[list[int]] = [[] for _ in terms]
        nodes: list[list[tuple[int, int, int]]] = [[] for _ in terms]

        def node(k: int, total: int) -> tuple[int, int, int]:
            """A literal, and the first and last sum so far for which it holds."""
            run = bisect_left(ends, total + 1) - 1
            if total + rest[k] < ends[run + 1]:
                literal = self.true if truth[total] else -self.true
                return literal, ends[run], ends[run + 1] - 1 - rest[k]
            place = bisect_left(last[k], total)
            if place < len(last[k]) and nodes[k][place][1] <= total:
                return nodes[k][place]
            below = [node(k + 1, total + term) for term in terms[k]]
            low = max(first - term for (_, first, _), term in zip(below, terms[k]))
            high = min(end - term for (_, _, end), term in zip(below, terms[k]))
            found = self.decision([literal for literal, _, _ in below], values[k]), low, high
            last[k].insert(place, high)
            nodes[k].insert(place, found)
            return found

        return node(0, 0)[0]

    def decision(self, below: list[int], values: list[int]) -> int:
        """A literal that is the one below, of the value that holds."""
        if len(set(below)) == 1:
            return below[0]
        self.nodes += 1
        if self.nodes > self.most:
            raise LimitError(f'cycles: more than {self.most:,} nodes of decision diagrams; take method="CP-SAT"')
        if time.monotonic() > self.until:
            raise TimeoutError
        found = self.new()
        for literal, value in zip(below, values):
            self.add([-found, -value, literal])
            self.add([found, -value, -literal])
        # implied, and seen by the solver at once
        self.add([-found, *set(below)])
        self.add([found, *(-literal for literal in set(below))])
        return found

    def less(self, one: list[list[int]], other: list[list[int]]) -> None:
        """One state before another, by their digits' literals "at least j"."""
        equal = self.true  # may be true only as long as no digit is greater
        for a, b in zip(one, other):
            still = self.new()
            for j in range(1, len(a) - 1):
                self.add([-equal, -a[j], b[j]])
            for j in range(len(a) - 1):
                self.add([-equal, still, -a[j], b[j + 1]])
            equal = still
        self.add([-equal])


def cycles_of(
    steps: list[list[Table]],
    sizes: list[int],
    length: int,
    *,
    limit: int,
    seconds: float,
    nodes: int,
    say: Callable[[str], None],
) -> tuple[list[Digits], str]:
    """Cycles of so many states under a period of steps, each with its least state first.

    Parameters
    ----------
    steps : list of lists of Table
        For each step of the period the next state, as `additive` returns it.
    sizes : list of int
        How many values each element has.
    length, limit, seconds
        As for `cycles`; the time is that of the formula, too.
    nodes : int
        Most nodes of its diagrams.
    say : callable
        Is told what was found so far.

    Returns
    -------
    (found, status)
        For each cycle the digits of its states, (length, elements).

    Raises
    ------
    LimitError
        If the diagrams have too many nodes.
    """
    until = time.monotonic() + seconds
    found: list[Digits] = []
    with solver_class()(name="glucose4") as solver:
        try:
            states = encoded(Clauses(solver.add_clause, nodes, until), steps, sizes, length)
            while True:
                solver.conf_budget(SLICE)
                answer = solver.solve_limited(expect_interrupt=True)
                if answer is False:
                    return found, "complete"
                if answer and len(found) == limit:
                    return found, "limit reached"
                if answer:
                    true = {literal for literal in solver.get_model() if literal > 0}
                    found.append(np.array([[value_of(values, true) for _, values in state] for state in states]))
                    solver.add_clause([-values[v] for (_, values), v in zip(states[0], found[-1][0].tolist())])
                    say(f"{len(found):,} found")
                if time.monotonic() > until:
                    return found, "unknown"
        except TimeoutError:
            return found, "unknown"
        except KeyboardInterrupt:
            return found, "interrupted"


def encoded(formula: Clauses, steps: list[list[Table]], sizes: list[int], length: int) -> list[list[Digit]]:
    """The states of a cycle at the beginning of each period, the first of them the least."""
    layers = [[formula.digit(size) for size in sizes] for _ in range(length * len(steps))]
    for k, layer in enumerate(layers):
        follows(formula, steps[k % len(steps)], layer, layers[(k + 1) % len(layers)])
    states = layers[:: len(steps)]
    for other in states[1:]:
        formula.less([least for least, _ in states[0]], [least for least, _ in other])
    return states


def reads_of(tables: list[Table], sizes: list[int]) -> int:
    """Most elements of a state that one of the next reads.

    >>> from zahlen.analysis.additive import Sum
    >>> row = np.array([0, 1, 0, 0, 0, 2, 5])
    >>> reads_of([Table(Sum(row), np.arange(4))], [2, 2, 2])
    2
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return max(sum(len(set(t.form.row[a:b].tolist())) > 1 for a, b in pairwise(starts)) for t in tables)


def value_of(values: list[int], true: set[int]) -> int:
    """Which of a digit's values holds."""
    return next(v for v, literal in enumerate(values) if (abs(literal) in true) == (literal > 0))


def follows(formula: Clauses, tables: list[Table], before: list[Digit], after: list[Digit]) -> None:
    """One state is what a step makes of the other."""
    starts = np.concatenate([[0], np.cumsum([len(values) for _, values in before])])
    for table, (least, _) in zip(tables, after):
        rows = [table.form.row[a:b] - table.form.row[a:b].min() for a, b in pairwise(starts)]
        # large terms first: they decide most
        chosen = sorted((k for k, row in enumerate(rows) if row.any()), key=lambda k: -int(rows[k].max()))
        terms, values = [rows[k].tolist() for k in chosen], [before[k][1] for k in chosen]
        for j in range(1, len(least) - 1):
            said = formula.reads(table.values >= j, terms, values)
            formula.add([-least[j], said])
            formula.add([least[j], -said])
