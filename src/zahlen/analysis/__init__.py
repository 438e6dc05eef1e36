"""Exact analysis: what a machine does for ever, found on its finite state space.

`memory` says how long an initial state matters, `orbit` where a constant input leads, `state_graph` where it leads from
every state, `fixed_points` and `cycles` what comes back to itself, in machines of any size,
`automaton` which finite automaton a machine is, and `equivalent` whether two are the same.
"""

from __future__ import annotations

from . import automata
from .automata import Automaton, Equivalence, Reading, automaton, equivalent, minimise
from .fixed import Cycles, cycles, fixed_points
from .memory import Memory, Witness, memory
from .orbit import LimitError, Orbit, orbit
from .state_graph import StateGraph, state_graph

__all__ = [
    "Automaton",
    "Cycles",
    "Equivalence",
    "LimitError",
    "Memory",
    "Orbit",
    "Reading",
    "StateGraph",
    "Witness",
    "automata",
    "automaton",
    "cycles",
    "equivalent",
    "fixed_points",
    "memory",
    "minimise",
    "orbit",
    "state_graph",
]
