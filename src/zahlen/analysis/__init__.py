"""Exact analysis: what a machine does for ever, found on its finite state space.

`memory` says how long an initial state matters, `orbit` where a constant input leads, `state_graph` where it leads from
every state (`basins` and `transients` are its counts alone), `fixed_points` and `cycles` what comes back to itself, in
machines of any size, `automaton` which finite automaton a machine is, and `equivalent` whether two are the same.
`regions` and `pieces` say where a network of ReLUs is which affine function, `tropical` what it is in tropical algebra.
`verify` proves or refutes what is said about all inputs of a box, `certified` proves by intervals alone which samples
keep their class.
"""

from __future__ import annotations

from . import automata
from .automata import Automaton, Equivalence, Reading, automaton, equivalent, minimise
from .certified import certified, interval_machine
from .fixed import Cycles, cycles, fixed_points
from .memory import Memory, Witness, memory
from .orbit import LimitError, Orbit, orbit
from .piecewise import Pieces, Polynomial, Regions, Tropical, evaluate, pieces, regions, tropical
from .state_graph import StateGraph, basins, state_graph, transients
from .verification import (
    Box,
    Certificate,
    Counterexample,
    Equal,
    Invariant,
    Monotone,
    Replay,
    Stable,
    Sweep,
    Verdict,
    Within,
    replay,
    sweep,
    verify,
)

__all__ = [
    "Automaton",
    "Box",
    "Certificate",
    "Counterexample",
    "Cycles",
    "Equal",
    "Equivalence",
    "Invariant",
    "LimitError",
    "Memory",
    "Monotone",
    "Orbit",
    "Pieces",
    "Polynomial",
    "Reading",
    "Regions",
    "Replay",
    "Stable",
    "StateGraph",
    "Sweep",
    "Tropical",
    "Verdict",
    "Within",
    "Witness",
    "automata",
    "automaton",
    "basins",
    "certified",
    "cycles",
    "equivalent",
    "evaluate",
    "fixed_points",
    "interval_machine",
    "memory",
    "minimise",
    "orbit",
    "pieces",
    "regions",
    "replay",
    "state_graph",
    "sweep",
    "transients",
    "tropical",
    "verify",
]
