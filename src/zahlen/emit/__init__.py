"""Machine to text that others compile: C99 in `c`, `text` for models that write, `harness` to compare wire by wire."""

from . import c, harness, text

__all__ = ["c", "harness", "text"]
