"""Machine to text that others compile: C99 in `c`, and `harness` to compare a compiled program wire by wire."""

from . import c, harness

__all__ = ["c", "harness"]
