"""Machines as piecewise affine functions of rational inputs: their regions on a slice, and their tropical form."""

from __future__ import annotations

from .pieces import Pieces, pieces
from .rational import evaluate
from .regions import Regions, regions

__all__ = ["Pieces", "Regions", "evaluate", "pieces", "regions"]
