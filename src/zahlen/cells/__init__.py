"""Recurrent cells in whole numbers: what every trainer and the machine agree on."""

from .cell import CANDIDATE, MOST_LEVELS, Cell, GRUCell, LSTMCell, RNNCell
from .layer import LARGEST_INPUT, PARTS, Recurrence, coarse, recurrent_scale, rise
from .stairs import GATE, Stairs

__all__ = [
    "CANDIDATE",
    "GATE",
    "LARGEST_INPUT",
    "MOST_LEVELS",
    "PARTS",
    "Cell",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Recurrence",
    "Stairs",
    "coarse",
    "recurrent_scale",
    "rise",
]
