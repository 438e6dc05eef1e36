"""Exact analysis: what a machine does for ever, found on its finite state space.

`memory` says how long an initial state matters, `orbit` where a constant input leads.
"""

from __future__ import annotations

from .memory import Memory, Witness, memory
from .orbit import LimitError, Orbit, orbit

__all__ = ["LimitError", "Memory", "Orbit", "Witness", "memory", "orbit"]
