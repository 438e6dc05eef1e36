"""Machines as piecewise affine functions of rational inputs: their regions on a slice, and their tropical form."""

from __future__ import annotations

from .pieces import Pieces, pieces
from .polynomial import Polynomial
from .rational import evaluate
from .regions import Regions, regions
from .tropical import Tropical, tropical

__all__ = ["Pieces", "Polynomial", "Regions", "Tropical", "evaluate", "pieces", "regions", "tropical"]
