"""A perceptron and its optimiser to C99 that trains: one readable file and a header, integers only, nothing allocated.

The program computes exactly what `zahlen.integer` does: after every step all latent weights and momentum, the loss and
the number of clamped values are equal. It needs ``<stdint.h>`` and ``<string.h>``, leaves nothing to the compiler's
choice, and learns from one sample at a time, so that no batch has to be in memory.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from ..c99 import check_name
from ..flow import whole
from ..machine import EmitError, replacing
from .c_program import Program, state_hash
from .containers import Sequential
from .optimisers import Momentum

__all__ = ["START", "Sources", "source", "state_hash", "write"]

START = ("seed", "weights")
# a backslash, or the trigraph for it, would continue a comment on the next line
_UNSAFE = re.compile(r"[^ -~]|[\\?]")


@dataclass(frozen=True)
class Sources:
    """The two files of a program.

    Attributes
    ----------
    name : str
        Stem of the file names and of every external identifier.
    header, source : str
        Their text.
    flash, ram : int
        Bytes of constant tables, and of the state on a target whose types are aligned to their width. Code comes to a
        few kilobytes more, the stack to a few variables.
    """

    name: str
    header: str
    source: str
    flash: int
    ram: int


def source(
    model: Sequential, optimiser: Momentum, *, batch: int = 64, name: str = "train", start: str = "seed"
) -> Sources:
    """A program that trains a network.

    Parameters
    ----------
    model : Sequential
        `Input`, perhaps changes of shape and `Standardise`; then `Linear` layers with an activation between each two.
    optimiser : Momentum
    batch : int
        Samples between two updates, at most, and what the sums of their gradients are divided by.
    name : str
        Stem of file names and identifiers.
    start : {"seed", "weights"}
        Whether the program draws initial weights, from any seed as `Sequential` does; or begins with those that the
        network has, for which it keeps four bytes of flash each.

    Raises
    ------
    LayerError
        If a layer is none of these, or out of turn.
    EmitError
        If the optimiser clips norms or its rate has too many digits, if inputs need more than 40 bits, or if the name
        is no C identifier.

    Examples
    --------
    >>> from zahlen import Levels, integer
    >>> model = integer.Sequential(
    ...     integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Flatten(),
    ...     integer.Linear(64, 32), integer.TanhD(16), integer.Linear(32, 10),
    ... )
    >>> program = source(model, integer.Momentum("0.1"))
    >>> "int32_t train_sample(train_state *s, const uint8_t x[64], int32_t label);" in program.header
    True
    >>> program.flash, program.ram
    (9682, 19744)
    """
    if start not in START:
        raise EmitError(f"start is one of {', '.join(START)}, got {start!r}")
    if not isinstance(optimiser, Momentum):
        raise EmitError(f"{type(optimiser).__name__}: cannot be had in C; take integer.Momentum")
    if optimiser.clip is not None:
        raise EmitError(
            f"Momentum: clip={optimiser.clip} cannot be had in C; leave it out, and take a lower rate if need be"
        )
    check_name(name)
    program = Program(deepcopy(model), optimiser, whole(batch, "batch"), start == "seed")
    head = [
        "// A perceptron that learns, in integers only; nothing is allocated.",
        "//",
        *(f"// {_UNSAFE.sub('_', repr(layer))}" for layer in model.children),
        f"// Momentum(lr={optimiser.lr}, decay={optimiser.decay}, weight_decay={optimiser.weight_decay}, "
        f"random={optimiser.random}), {batch} samples a step at most",
        "//",
        f"// {program.flash:,} bytes of constants, RAM {program.ram:,} bytes.",
        "//",
        "// Written by zahlen.",
        "",
    ]
    texts = ("\n".join([*head, *lines]) + "\n" for lines in (program.header(), program.source()))
    header, content = (t.replace("train_", f"{name}_").replace("TRAIN_", f"{name.upper()}_") for t in texts)
    return Sources(name, header, content.replace('"train.h"', f'"{name}.h"'), program.flash, program.ram)


def write(
    model: Sequential,
    optimiser: Momentum,
    directory: str | Path,
    *,
    batch: int = 64,
    name: str = "train",
    start: str = "seed",
) -> Sources:
    """Write ``<name>.h`` and ``<name>.c`` into a directory that exists, each whole or not at all.

    Parameters and result are those of `source`, as are errors; and `FileError` if the directory cannot be written to.
    """
    program = source(model, optimiser, batch=batch, name=name, start=start)
    for suffix, content in ((".h", program.header), (".c", program.source)):
        with replacing(Path(directory) / f"{name}{suffix}") as file:
            file.write(content.encode("ascii"))
    return program
