"""Compiled kernels, where they could be built; whoever uses them has a slower form that returns the same bits.

>>> native is None or hasattr(native, "lstm_forward")
True
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType


def _load() -> ModuleType | None:
    if os.environ.get("ZAHLEN_KERNELS") == "python":
        return None
    try:
        return import_module("zahlen.kernels._native")
    except ImportError:
        return None


native = _load()
"""The extension module; None where none was built, or where ``ZAHLEN_KERNELS=python`` asks for none."""
