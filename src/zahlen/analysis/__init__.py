"""Exact analysis: what a machine does for ever, found on its finite state space.

`memory` says how long an initial state matters, `orbit` where a constant input leads, `state_graph` where it leads from
every state.
"""

from __future__ import annotations

from .memory import Memory, Witness, memory
from .orbit import LimitError, Orbit, orbit
from .state_graph import StateGraph, state_graph

__all__ = ["LimitError", "Memory", "Orbit", "StateGraph", "Witness", "memory", "orbit", "state_graph"]
