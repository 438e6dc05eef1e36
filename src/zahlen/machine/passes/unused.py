"""Wires that no output depends on go."""

from __future__ import annotations

from ..machine import Machine
from .rewrite import alive, nodes, rebuilt


def drop_unused(machine: Machine) -> Machine:
    """Drop the wires that no output depends on, in this step or a later one, and registers that only feed such wires.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    Machine
        Its inputs are the same, read or not.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (1,), Levels(0, 1))
    >>> parity = b.register("parity", (1,), Levels(0, 1))
    >>> b.connect(parity, b.lookup(parity, x, table=[[0, 1], [1, 0]], name="flip"))
    >>> machine = b.build(b.neg(x, name="y"))
    >>> list(drop_unused(machine).wires)
    ['x', 'y']
    """
    program = nodes(machine)
    kept = alive(machine, program)
    return rebuilt(machine, {name: node for name, node in program.items() if name in kept})
