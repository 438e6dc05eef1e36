"""Neural networks in which every value is an element of a finite set.

Three names to begin with: a way to train (`zahlen.nn` with `zahlen.fit`, or the command ``zahlen train``), `Machine`,
and what you want to do with it (`Machine.run`, `zahlen.emit`).
"""

from __future__ import annotations

from typing import Any

from .engine import install as _install
from .machine import Alphabet, Builder, Codes, Levels, Machine, Wire, ZahlenError, load

__version__ = "0.1.0"
__all__ = ["Alphabet", "Builder", "Codes", "Levels", "Machine", "Wire", "ZahlenError", "fit", "load"]

_install()  # machines run on the kernels of this processor, where some were built


def __getattr__(name: str) -> Any:
    """Import on first use what needs more than NumPy."""
    import importlib

    if name == "fit":
        return importlib.import_module("zahlen.nn").fit
    if name in ("nn", "integer", "data", "emit", "analysis", "engine"):
        return importlib.import_module(f"zahlen.{name}")
    raise AttributeError(f"module 'zahlen' has no attribute {name!r}")
