"""`Automaton`: a finite deterministic automaton as plain arrays, complete: every symbol leads on from every state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...machine import InputError

Int32 = NDArray[np.int32]
Word = tuple[str, ...]
"""Names of symbols in a row."""

VERDICTS = ("reject", "accept")
"""Labels of an acceptor's states."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """A Mealy machine, a Moore machine, or an acceptor (a DFA): a Moore machine whose labels are `VERDICTS`.

    Attributes
    ----------
    transitions : int32 array (states, symbols)
        The state after each state under each symbol.
    outputs : int32 array (states, symbols) or (states,)
        Index into `labels`: of a Mealy machine for each transition, of a Moore machine for each state.
    initial : int
    symbols : tuple of str
        Names of the input symbols.
    labels : tuple of str
        Names of the outputs.

    Raises
    ------
    InputError
        If shapes disagree, an index has nothing that it names, or a name is there twice.

    Examples
    --------
    Whether there were two ones in a row:

    >>> a = Automaton([[0, 1], [0, 2], [2, 2]], [0, 0, 1], 0, ("0", "1"), VERDICTS)
    >>> a.accepts("0110"), a.accepts("0101")
    (True, False)
    >>> print(a)
    acceptor of 3 states, 2 symbols
           0  1
      0 .  0  1
      1 .  0  2
      2 +  2  2
    """

    transitions: Int32
    outputs: Int32
    initial: int
    symbols: tuple[str, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("symbols", "labels"):
            names = tuple(getattr(self, name))
            if not names or len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
                raise InputError(f"Automaton: {name} are strings that differ, at least one; got {names!r}")
            object.__setattr__(self, name, names)
        transitions, outputs = _frozen(self.transitions, "transitions"), _frozen(self.outputs, "outputs")
        if transitions.ndim != 2 or not len(transitions) or transitions.shape[1] != len(self.symbols):
            raise InputError(
                f"Automaton: transitions are (states, {len(self.symbols)}), a column for each symbol, got "
                f"{transitions.shape}"
            )
        if outputs.shape not in (transitions.shape, transitions.shape[:1]):
            raise InputError(
                f"Automaton: outputs are {transitions.shape} (Mealy) or {transitions.shape[:1]} (Moore), got "
                f"{outputs.shape}"
            )
        for array, size, what in ((transitions, len(transitions), "states"), (outputs, len(self.labels), "labels")):
            if array.min() < 0 or array.max() >= size:
                raise InputError(f"Automaton: {what} are 0..{size - 1}, got {array.min()}..{array.max()}")
        if isinstance(self.initial, bool) or not 0 <= self.initial < len(transitions):
            raise InputError(f"Automaton: the initial state is one of 0..{len(transitions) - 1}, got {self.initial!r}")
        object.__setattr__(self, "transitions", transitions)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "initial", int(self.initial))

    def __len__(self) -> int:
        """Number of states."""
        return len(self.transitions)

    @property
    def kind(self) -> str:
        """``Mealy``, ``Moore`` or ``acceptor``."""
        if self.outputs.ndim == 2:
            return "Mealy"
        return "acceptor" if self.labels == VERDICTS else "Moore"

    @cached_property
    def index(self) -> dict[str, int]:
        """The column of each symbol."""
        return {name: k for k, name in enumerate(self.symbols)}

    def walk(self, word: Sequence[str]) -> list[int]:
        """The states that a word leads through, the initial one first.

        >>> Automaton([[1], [0]], [0, 1], 0, ("tick",), ("even", "odd")).walk(["tick"] * 3)
        [0, 1, 0, 1]
        """
        found = [self.initial]
        for name in word:
            if name not in self.index:
                raise InputError(f"the symbols are {', '.join(self.symbols)}, got {name!r}")
            found.append(int(self.transitions[found[-1], self.index[name]]))
        return found

    def read(self, word: Sequence[str]) -> Word:
        """What the automaton says to a word: an output each symbol; a Moore machine's initial state speaks first.

        >>> Automaton([[1], [0]], [0, 1], 0, ("tick",), ("even", "odd")).read(["tick"])
        ('even', 'odd')
        >>> Automaton([[1], [0]], [[0], [1]], 0, ("tick",), ("even", "odd")).read(["tick"])
        ('even',)
        """
        states = self.walk(word)
        if self.outputs.ndim == 1:
            return tuple(self.labels[self.outputs[s]] for s in states)
        return tuple(self.labels[self.outputs[s, self.index[name]]] for s, name in zip(states, word))

    def accepts(self, word: Sequence[str]) -> bool:
        """Whether an acceptor accepts a word."""
        if self.kind != "acceptor":
            raise InputError(f"accepts: this is a {self.kind} machine; read(word) says what it says")
        return self.read(word)[-1] == VERDICTS[1]

    def draw(self, to: Any) -> None:
        """As a graph, with matplotlib: see `zahlen.analysis.automata.graphs.draw`."""
        from .graphs import draw

        draw(self, to)

    def save(self, path: str | Path) -> None:
        """To a file, in the format of its suffix: see `zahlen.analysis.automata.files`."""
        from .files import save

        save(self, path)

    def __str__(self) -> str:
        head = f"{self.kind} of {len(self):,} states, {len(self.symbols)} symbols"
        if self.kind != "acceptor":
            head += f", {len(self.labels)} outputs"
        if len(self) > 32 or len(self.symbols) > 16:
            return head
        cells = [[f"{k}{'*' if k == self.initial and k else ''}"] for k in range(len(self))]
        for k, row in enumerate(cells):
            if self.outputs.ndim == 2:
                row += [f"{s}/{self.labels[o]}" for s, o in zip(self.transitions[k], self.outputs[k])]
            else:
                label = self.labels[self.outputs[k]]
                row[0] += " " + (".+"[self.outputs[k]] if self.kind == "acceptor" else label)
                row += [str(s) for s in self.transitions[k]]
        table = [["", *self.symbols], *cells]
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in table]
        return "\n".join([head, *lines])

    def __repr__(self) -> str:
        return f"<Automaton: {str(self).splitlines()[0]}>"


def _frozen(values: Any, what: str) -> Int32:
    given = np.asarray(values)
    if given.dtype.kind not in "iub" or (given.size and not -(2**31) <= int(given.min()) <= int(given.max()) < 2**31):
        raise InputError(f"Automaton: {what} are integers of 32 bits, got {given.dtype}")
    array = np.ascontiguousarray(given, dtype=np.int32)
    if array is given or array.base is not None:
        array = array.copy()
    array.flags.writeable = False
    return array


def as_moore(a: Automaton, first: str) -> Automaton:
    """A Mealy machine as a Moore machine whose label is the last output; `first` before there was any.

    >>> mealy = Automaton([[1], [0]], [[0], [1]], 0, ("tick",), ("even", "odd"))
    >>> as_moore(mealy, "odd").read(["tick", "tick", "tick"])
    ('odd', 'even', 'odd', 'even')
    """
    if a.outputs.ndim == 1:
        raise InputError(f"as_moore: a Mealy machine is due, this one is a {a.kind}")
    labels = a.labels if first in a.labels else (*a.labels, first)
    count = len(labels)
    # (state, label) pairs that are met, the initial one among them
    pairs = a.transitions.astype(np.int64) * count + a.outputs
    start = a.initial * count + labels.index(first)
    met = np.unique(np.append(pairs, start))
    following = np.searchsorted(met, pairs)[met // count]
    return Automaton(following, met % count, int(np.searchsorted(met, start)), a.symbols, labels)


def as_mealy(a: Automaton) -> Automaton:
    """A Moore machine as a Mealy machine that says the label of the state it comes to; the first label is lost.

    >>> moore = Automaton([[1], [0]], [0, 1], 0, ("tick",), ("even", "odd"))
    >>> as_mealy(moore).read(["tick", "tick"])
    ('odd', 'even')
    """
    if a.outputs.ndim == 2:
        raise InputError("as_mealy: this is a Mealy machine")
    return Automaton(a.transitions, a.outputs[a.transitions], a.initial, a.symbols, a.labels)


def relabelled(a: Automaton, *, symbols: Sequence[str] | None = None, labels: Sequence[str] | None = None) -> Automaton:
    """The same automaton with other names, in the order of the old.

    >>> ticks = Automaton([[1], [0]], [0, 1], 0, ("tick",), ("even", "odd"))
    >>> relabelled(ticks, symbols=["a"], labels=VERDICTS).accepts("aaa")
    True
    """
    for given, old in ((symbols, a.symbols), (labels, a.labels)):
        if given is not None and len(given) != len(old):
            raise InputError(f"relabelled: {len(old)} names are due for {', '.join(old)}, got {len(given)}")
    return Automaton(
        a.transitions,
        a.outputs,
        a.initial,
        a.symbols if symbols is None else tuple(symbols),
        a.labels if labels is None else tuple(labels),
    )
