"""Passes: machine to machine, the same function with fewer constants.

Every pass is a function `Machine` -> `Machine` that is justified by proven ranges and by the program itself, never by
samples. The result is built by the `Builder` again, so every proof is made anew. What a pass promises:

- equal outputs, for all inputs and in all steps, under the same names and in the same order;
- inputs keep their names, shapes and alphabets, even those that nothing reads; notes stay;
- a register stays as it is or goes; a wire that stays under its name *and shape* carries the same values. Where units
  go, their wire becomes smaller under the same name. The one new name is that of a `reshape` whose values change;
- never more integers in `Machine.constants` than before;
- the machine itself comes back, not a copy, where there is nothing to do.

A machine whose last register goes is one without time: `Machine.run` then takes no time axis.
"""

from __future__ import annotations

from ..machine import Machine
from .chains import compose_affine, fold_offsets
from .folding import fold_constants
from .merging import merge_units
from .thresholds import prune_thresholds
from .units import drop_units
from .unused import drop_unused

__all__ = [
    "compose_affine",
    "drop_units",
    "drop_unused",
    "fold_constants",
    "fold_offsets",
    "merge_units",
    "prune_thresholds",
    "simplify",
]

PASSES = (drop_unused, prune_thresholds, fold_constants, fold_offsets, merge_units, drop_units, compose_affine)
"""What `simplify` runs, in this order."""


def simplify(machine: Machine) -> Machine:
    """Run all passes until none finds anything to do.

    Each pass that changes a machine leaves fewer wires, constants or non-zero weight columns, so this ends.

    Parameters
    ----------
    machine : Machine

    Returns
    -------
    Machine
        The same function; simplifying it again returns it unchanged.

    Examples
    --------
    The two units are one, and the second threshold is out of reach:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> z = b.affine(b.input("x", (2,), Levels(0, 3)), [[1, 1], [1, 1]], name="z")
    >>> h = b.staircase(z, [4, 9], [0, 1, 2], name="h")
    >>> machine = b.build(b.affine(h, [[2, 3]], name="y"))
    >>> print(simplify(machine))
    x -> y, 1 step of 3 multiply-adds, 8 constants, no state
      x  2 of 0..3         input
      z  1 of 0..6         affine(x)     weight 1x2 in 1..1, bias 1 in 0..0
      h  1 of 0..1         staircase(z)  axis 0, thresholds 1 in 4..4, values 2 in 0..1
      y  1 of 0..5 step 5  affine(h)     weight 1x1 in 5..5, bias 1 in 0..0
    """
    while True:
        before = machine
        for one in PASSES:
            machine = one(machine)
        if machine is before:
            return machine
