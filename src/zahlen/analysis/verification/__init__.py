"""Verification: whether a property holds for every input of a box, with a certificate or a counterexample."""

from __future__ import annotations

from .box import Box
from .certificates import Certificate
from .deciding import verify
from .pairs import Equal, Invariant, Monotone
from .properties import Property, Stable, Within
from .replay import Replay, replay
from .sweeps import Query, Sweep, certificates, sweep
from .verdict import Counterexample, Verdict

__all__ = [
    "Box",
    "Certificate",
    "Counterexample",
    "Equal",
    "Invariant",
    "Monotone",
    "Property",
    "Query",
    "Replay",
    "Stable",
    "Sweep",
    "Verdict",
    "Within",
    "certificates",
    "replay",
    "sweep",
    "verify",
]
