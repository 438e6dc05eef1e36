"""Machines with so few states that all of them can be gone through one by one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import machines

from zahlen.machine import Builder, Levels, Machine


@st.composite
def automata(draw: Callable[..., Any], inputs: bool = True) -> Machine:
    """Any automaton of up to seven states and three symbols, or any two that take turns, one reading the other."""
    b = Builder()
    k = draw(st.integers(1, 3)) if inputs else 1
    x = b.input("x", (1,), Levels(0, k - 1)) if inputs else b.constant([0])
    names = draw(st.sampled_from(["r", "r", "rs"]))
    # a few states more often give automata that forget
    sizes = [draw(st.integers(1, 7 if len(names) == 1 else 3)) for _ in names]
    read = x
    for name, n in zip(names, sizes):
        r = b.register(name, (1,), Levels(0, n - 1), draw(st.integers(0, n - 1)))
        rows = [draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n)) for _ in range(read.alphabet.size)]
        if draw(st.booleans()):  # downwards: towards one state
            rows = [[min(v, max(state - 1, 0)) for state, v in enumerate(row)] for row in rows]
        b.connect(r, b.lookup(read, r, table=np.array(rows), name=f"{name}_next"))
        read = r
    return b.build(read)


@st.composite
def shift_registers(draw: Callable[..., Any]) -> Machine:
    """Registers in a row, in an order of their own, each a function of the one before; maybe closed to a ring."""
    b = Builder()
    length = draw(st.integers(1, 4))
    x = b.input("x", (1,), Levels(0, 1))
    registers = {k: b.register(f"r{k}", (1,), Levels(0, 1)) for k in draw(st.permutations(range(length)))}
    for k in range(length):
        table = draw(st.sampled_from([[0, 1], [1, 0], [0, 0]]))
        b.connect(registers[k], b.lookup(registers[(k - 1) % length] if k or draw(st.booleans()) else x, table))
    return b.build(registers[length - 1])


def few(machine: Machine, most: int = 60) -> bool:
    """Whether there are registers, and few states and symbols."""
    return bool(machine.registers) and all(
        np.prod([float(machine.wires[n].alphabet.size) ** machine.wires[n].size for n in names]) <= most
        for names in (machine.inputs, machine.registers)
    )


def random_machines() -> st.SearchStrategy[Machine]:
    """Machines of every operation, with few states."""
    kinds = ["register", "register", "clamp", "clamp", "staircase", "lookup", "max", "add", "argmax", "slice", "neg"]
    return machines(kinds=kinds, max_wires=8).filter(few)


def elements(machine: Machine, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """All values of these wires, each as a batch of one."""
    axes = []
    for name in names:
        wire = machine.wires[name]
        values = range(wire.alphabet.lo, wire.alphabet.hi + 1, wire.alphabet.step)
        axes.append([np.array(v, dtype=object).reshape(1, *wire.shape) for v in product(values, repeat=wire.size)])
    return [dict(zip(names, values)) for values in product(*axes)]


def key(machine: Machine, state: dict[str, Any]) -> tuple[int, ...]:
    """A state as a tuple of integers."""
    return tuple(int(v) for name in machine.registers for v in np.ravel(state[name]))


def transitions(machine: Machine, symbols: list[dict[str, Any]]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """For every state of the registers' alphabets what follows under each symbol."""
    return {
        key(machine, state): [key(machine, machine.step(state, x)[0]) for x in symbols]
        for state in elements(machine, machine.registers)
    }
