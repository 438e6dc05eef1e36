"""Rewritings: a machine as another one that computes the same over time (Hershey et al., arXiv 2404.00880).

A perceptron is an iterated map whose blocks stand below the diagonal, a recurrent network one with blocks elsewhere;
opening and closing blocks turns one into the other. Unlike the passes, rewritings add or remove time.
"""

from __future__ import annotations

from .block_map import BlockMap
from .pipelining import pipelined
from .unrolling import unrolled

__all__ = ["BlockMap", "pipelined", "unrolled"]
