"""Verification: whether a property holds for every input of a box, with a certificate or a counterexample."""

from __future__ import annotations

from .box import Box
from .certificates import Certificate
from .deciding import verify
from .pairs import Equal, Invariant, Monotone
from .properties import Property, Stable, Within
from .replay import Replay, replay
from .verdict import Counterexample, Verdict

__all__ = [
    "Box",
    "Certificate",
    "Counterexample",
    "Equal",
    "Invariant",
    "Monotone",
    "Property",
    "Replay",
    "Stable",
    "Verdict",
    "Within",
    "replay",
    "verify",
]
