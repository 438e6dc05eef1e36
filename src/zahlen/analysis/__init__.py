"""Exact analysis: what a machine does for ever, found on its finite state space.

`memory` says how long an initial state matters, `orbit` where a constant input leads, `state_graph` where it leads from
every state, `fixed_points` and `cycles` what comes back to itself, in machines of any size.
"""

from __future__ import annotations

from .fixed import Cycles, cycles, fixed_points
from .memory import Memory, Witness, memory
from .orbit import LimitError, Orbit, orbit
from .state_graph import StateGraph, state_graph

__all__ = [
    "Cycles",
    "LimitError",
    "Memory",
    "Orbit",
    "StateGraph",
    "Witness",
    "cycles",
    "fixed_points",
    "memory",
    "orbit",
    "state_graph",
]
