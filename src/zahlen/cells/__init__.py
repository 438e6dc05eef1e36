"""Recurrent cells in whole numbers: what every trainer and the machine agree on."""

from .cell import CANDIDATE, MOST_LEVELS, Cell, GRUCell, LSTMCell, RNNCell
from .stairs import GATE, Stairs

__all__ = ["CANDIDATE", "GATE", "MOST_LEVELS", "Cell", "GRUCell", "LSTMCell", "RNNCell", "Stairs"]
