"""What all readers of text formats share: from states, edges and outputs by name to an `Automaton`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...machine import FileError
from .model import VERDICTS, Automaton

Edge = tuple[str, str, str, str | None]
"""State, symbol, following state, and what a Mealy machine says."""


def assemble(
    what: str, states: Sequence[str], initial: str, edges: Sequence[Edge], said: Mapping[str, str] | None
) -> Automaton:
    """An automaton from names, in the order in which they appear.

    Parameters
    ----------
    what : str
        Name of the format, for complaints.
    states : sequence of str
    initial : str
    edges : sequence of (state, symbol, following, output or None)
    said : mapping from state to label, optional
        Of a Moore machine; with labels of `VERDICTS` alone an acceptor, which rejects a word where it has no
        edge.

    Raises
    ------
    FileError
        If there are no edges, the initial state is unknown, two edges of a state have one symbol, or one has none.

    Examples
    --------
    >>> a = assemble("text", ["p"], "p", [("p", "a", "p", None)], {"p": "accept"})
    >>> a.accepts("aaa")
    True
    """
    number = {name: k for k, name in enumerate(states)}
    symbols = tuple(dict.fromkeys(symbol for _, symbol, *_ in edges))
    if not symbols:
        raise FileError(f"{what}: there are no edges, and so no symbols")
    if initial not in number:
        raise FileError(f"{what}: the initial state {initial} is not one of the states")
    column = {name: k for k, name in enumerate(symbols)}
    verdicts = said is not None and set(said.values()) <= set(VERDICTS)
    spoken = said.values() if said is not None else (str(output) for *_, output in edges)
    labels = VERDICTS if verdicts else tuple(dict.fromkeys(spoken))
    rank = {name: k for k, name in enumerate(labels)}
    transitions = np.full((len(number), len(symbols)), -1, dtype=np.int32)
    outputs = np.zeros(transitions.shape if said is None else len(number), dtype=np.int32)
    for source, symbol, following, output in edges:
        at = number[source], column[symbol]
        if transitions[at] >= 0:
            raise FileError(f"{what}: state {source} has two edges under {symbol}; a deterministic automaton is due")
        transitions[at] = number[following]
        if said is None:
            outputs[at] = rank[str(output)]
    for name, label in (said or {}).items():
        outputs[number[name]] = rank[label]
    missing = np.argwhere(transitions < 0)
    if len(missing) and not verdicts:
        state, symbol_at = missing[0]
        raise FileError(f"{what}: state {states[state]} has no edge under {symbols[symbol_at]}; what would it say?")
    if len(missing):
        transitions[transitions < 0] = len(transitions)
        transitions = np.vstack([transitions, np.full((1, len(symbols)), len(transitions), dtype=np.int32)])
        outputs = np.append(outputs, np.int32(0))
    return Automaton(transitions, outputs, number[initial], symbols, labels)
