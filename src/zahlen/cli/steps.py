"""Inputs, states and symbols as arguments of the command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import typer

from ..machine import DataError, IntArray, Machine

State = dict[str, IntArray]


def described(machine: Machine, names: tuple[str, ...]) -> str:
    """What these wires take, as the listing says it.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2, 3), Levels(0, 1))
    >>> described(b.build(x), ("x",))
    'x: 2x3 of 0..1'
    """
    wires = [machine.wires[name] for name in names]
    return ", ".join(f"{w.name}: {'x'.join(map(str, w.shape)) or '1'} of {w.alphabet}" for w in wires)


def batch(machine: Machine, names: tuple[str, ...], text: str, option: str) -> State:
    """A batch of one: ``1,0,1`` for one wire, ``x=1,0 y=2`` for several; one number stands for all elements.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x, y = b.input("x", (3,), Levels(0, 1)), b.input("y", (), Levels(0, 9))
    >>> machine = b.build(b.add(b.reshape(b.slice(x, [0], [1]), ()), y))
    >>> for name, value in batch(machine, machine.inputs, "y=7 x=1", "--input").items():
    ...     print(name, value.tolist())
    x [[1, 1, 1]]
    y [7]
    """
    if not names:
        raise typer.BadParameter("this machine has none; leave it out", param_hint=option)
    given = [part.rpartition("=") for part in text.split()]
    values = {name: numbers for name, sign, numbers in given if sign}
    if len(names) == 1 and len(given) == 1 and not values:
        values = {names[0]: given[0][2]}
    if set(values) != set(names) or len(given) != len(names):
        raise typer.BadParameter(f"due are {described(machine, names)}, got {text!r}", param_hint=option)
    found = {}
    for name in names:
        wire = machine.wires[name]
        if not re.fullmatch(r"[+-]?\d+(,[+-]?\d+)*", values[name]):
            raise typer.BadParameter(f"whole numbers with commas between are due, got {text!r}", param_hint=option)
        numbers = [int(part) for part in values[name].split(",")]
        if len(numbers) not in (1, wire.size) or not all(n in wire.alphabet for n in numbers):
            raise typer.BadParameter(f"due are {described(machine, (name,))}, got {values[name]}", param_hint=option)
        elements = numbers if len(numbers) == wire.size else numbers * wire.size
        found[name] = np.array(elements, dtype=wire.value_dtype).reshape(1, *wire.shape)
    return found


def steps(machine: Machine, texts: list[str], option: str) -> list[State]:
    """Inputs one by one, each a batch of one; an .npy file has one a row."""
    found: list[State] = []
    for text in texts:
        if not machine.inputs or not text.lower().endswith(".npy"):
            found.append(batch(machine, machine.inputs, text, option))
            continue
        try:
            rows = np.load(Path(text), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{text}: no array of NumPy: {error}") from None
        if len(machine.inputs) != 1:
            raise DataError(
                f"{text}: a file has the values of one input, the machine takes {', '.join(machine.inputs)}"
            )
        wire = machine.wires[machine.inputs[0]]
        if rows.dtype.kind not in "iu" or rows.shape[1:] != wire.shape or not rows.ndim or not len(rows):
            raise DataError(
                f"{text}: rows of {described(machine, machine.inputs)} are due, got {rows.dtype} {rows.shape}"
            )
        found += [{wire.name: row[None]} for row in rows]
    return found


def joined(batches: list[State]) -> State:
    """Batches as one."""
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
