"""Automata: what a machine with few states is, exactly.

`automaton` finds it, `minimise` makes it least, `equivalent` compares two. An `Automaton` is plain arrays, and
functions take it to DOT, KISS2, AT&T text, networkx or a regular expression, and back from text.
"""

from __future__ import annotations

from .att import from_att, symbol_table, to_att
from .dot import from_dot, to_dot
from .equality import Equivalence, equivalent
from .expression import to_expression
from .files import load, save
from .generators import random_automaton, to_machine, tomita
from .graphs import draw, to_networkx
from .kiss import from_kiss, in_bits, to_kiss
from .minimal import minimise, reachable
from .model import VERDICTS, Automaton, as_mealy, as_moore, relabelled
from .reading import Reading, automaton

__all__ = [
    "VERDICTS",
    "Automaton",
    "Equivalence",
    "Reading",
    "as_mealy",
    "as_moore",
    "automaton",
    "draw",
    "equivalent",
    "from_att",
    "from_dot",
    "from_kiss",
    "in_bits",
    "load",
    "minimise",
    "random_automaton",
    "reachable",
    "relabelled",
    "save",
    "symbol_table",
    "to_att",
    "to_dot",
    "to_expression",
    "to_kiss",
    "to_machine",
    "to_networkx",
    "tomita",
]
