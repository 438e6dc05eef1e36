"""Compiled kernels, where they could be built; whoever uses them has a slower form that returns the same bits.

The environment variable ``ZAHLEN_ISA`` forces a form: ``python`` for none, or one of `native.variants()`.

>>> native is None or "portable" in native.variants()
True
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

from ..machine import ToolError


def _load() -> ModuleType | None:
    wanted = os.environ.get("ZAHLEN_ISA", "")
    if wanted == "python":
        return None
    try:
        module = import_module("zahlen.kernels._native")
    except ImportError:
        if wanted:
            raise ToolError(f"ZAHLEN_ISA={wanted}: no kernels were built; install with a C compiler at hand") from None
        return None
    if wanted:
        try:
            module.choose(wanted)
        except ValueError:
            known = ", ".join(["python", *module.variants()])
            raise ToolError(f"ZAHLEN_ISA={wanted}: there are {known} on this processor") from None
    return module


native = _load()
"""The extension module; None where none was built, or where none is wanted."""
