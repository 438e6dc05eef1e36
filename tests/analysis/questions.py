"""Small questions for verification: machines, boxes, properties, and their answers by going through every point."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import STEPS, random_batch, random_machine

from zahlen.analysis import Box, Equal, Invariant, Monotone, Stable, Within
from zahlen.machine import Builder, Levels, Machine, ZahlenError

MOST = 3000
"""Most points of a box."""


def within_reach(machine: Machine, rng: random.Random) -> Box:
    """A box of at most `MOST` points around a random input."""
    x = {name: values[rng.randrange(6)] for name, values in random_batch(machine, rng)[0].items()}
    lower, upper, points = {}, {}, 1
    for name, value in x.items():
        alphabet = machine.wires[name].alphabet
        lo, hi = value.copy(), value.copy()
        for k in rng.sample(range(value.size), value.size):
            count = min(rng.choice((1, 2, 3, 5, 40)), MOST // points, alphabet.size)
            first = rng.randint(0, count - 1)
            start = (int(value.flat[k]) - alphabet.lo) // alphabet.step - first
            start = min(max(start, 0), alphabet.size - count)
            lo.flat[k] = alphabet.lo + alphabet.step * start
            hi.flat[k] = alphabet.lo + alphabet.step * (start + count - 1)
            points *= count
        lower[name], upper[name] = lo, hi
    return Box(lower, upper)


def every_input(machine: Machine, box: Box) -> dict[str, Any]:
    """All inputs of a box as one batch."""
    axes, places = [], []
    for name, (lo, hi) in box.ends(machine).items():
        step = machine.wires[name].alphabet.step
        for k in range(lo.size):
            axes.append(range(int(lo.flat[k]), int(hi.flat[k]) + 1, step))
            places.append((name, k))
    rows = list(product(*axes))
    batch = {n: np.zeros((len(rows), *machine.wires[n].shape), machine.wires[n].value_dtype) for n in machine.inputs}
    for column, (name, k) in enumerate(places):
        batch[name].reshape(len(rows), -1)[:, k] = [row[column] for row in rows]
    return batch


def answer(machine: Machine, box: Box, asked: Any) -> bool:
    """Whether a property holds, by every input of the box."""
    x = every_input(machine, box)
    count = len(next(iter(x.values())))

    def outputs(m: Machine) -> Any:
        found = m.run(x)
        return found if len(m.outputs) == 1 else found[asked.output]

    y = outputs(machine)
    if isinstance(asked, Stable):
        return bool(((y if y.ndim == 1 else y.argmax(axis=1)) == asked.label).all())
    if isinstance(asked, Within):
        return bool((y >= asked.lo).all() and (y <= asked.hi).all())
    if isinstance(asked, Equal):
        other = outputs(asked.other)
        return bool(((y.argmax(-1) == other.argmax(-1)) if asked.label else (y == other)).all())
    # all inputs that agree elsewhere, in the order of the feature
    name, index = asked.place(machine)
    groups: dict[Any, list[tuple[int, Any]]] = {}
    for k in range(count):
        point = {n: np.array(v[k]) for n, v in x.items()}
        value = int(point[name][index])
        point[name][index] = 0
        groups.setdefault(tuple(int(v) for n in x for v in point[n].ravel()), []).append((value, y[k]))
    for rows in groups.values():
        found = np.stack([row for _, row in sorted(rows, key=lambda row: row[0])])
        if isinstance(asked, Invariant):
            found = found.argmax(-1) if asked.label else found
            if (found != found[:1]).any():
                return False
        elif ((found[1:] < found[:-1]) if asked.increasing else (found[1:] > found[:-1])).any():
            return False
    return True


def random_question(seed: int, chosen: list[str] | None = None) -> tuple[Machine, Box, Any] | None:
    """A machine, a box and a property that often nearly holds; None if none fits."""
    rng = random.Random(seed)
    machine = random_machine(rng, chosen, registers=False)
    output = rng.choice([n for n in machine.outputs if machine.wires[n].alphabet.numeric] or [""])
    if not output:
        return None
    box = within_reach(machine, rng)
    y = machine.run(every_input(machine, box))
    y = y if len(machine.outputs) == 1 else y[output]
    kind = rng.choice(("within", "within", "stable", "monotone", "invariant", "equal"))
    if kind == "stable" and y.ndim == 2:
        return machine, box, Stable(int(y[rng.randrange(len(y))].argmax()), output)
    name = rng.choice(machine.inputs)
    feature = rng.randrange(machine.wires[name].size)
    label = y.ndim > 1 and rng.random() < 0.3
    if kind == "monotone":
        return machine, box, Monotone(feature, rng.random() < 0.5, input=name, output=output)
    if kind == "invariant":
        return machine, box, Invariant(feature, label, input=name, output=output)
    if kind == "equal":
        other = altered(machine, output, int(y.flat[rng.randrange(y.size)]), rng)
        return (machine, box, Equal(other, label, output)) if other is not None else None
    lo, hi = (int(v) for v in (y.min(), y.max()))
    return machine, box, Within(lo + rng.choice((-1, 0, 0, 1)), max(hi + rng.choice((-1, 0, 0, 1)), lo - 1), output)


def altered(machine: Machine, output: str, value: int, rng: random.Random) -> Machine | None:
    """A machine whose output is cut off at a value, or is the same in another way."""
    b = Builder()
    names = {}
    for wire in machine.wires.values():
        names[wire.name] = b.append(wire.operation, *(names[x] for x in wire.operands), name=wire.name + "_")
    try:
        y = names[output]
        if rng.random() < 0.5:
            y = b.neg(b.neg(y))
        else:
            y = b.clamp(y, min(value, y.alphabet.hi), y.alphabet.hi)
        last = b.reshape(y, y.shape, name=output) if y.shape else b.neg(b.neg(y), name=output)
        machine_names = [output]
        renamed = Builder()
        copies: dict[str, Any] = {}
        for wire in b.build(last).wires.values():
            stem = wire.name.removesuffix("_") if wire.name.removesuffix("_") in machine.inputs else wire.name
            copies[wire.name] = renamed.append(wire.operation, *(copies[x] for x in wire.operands), name=stem)
        return renamed.build(*machine_names)
    except ZahlenError:
        return None


KINDS = sorted(set(STEPS) - {"register"})


@st.composite
def questions(draw: Callable[..., Any]) -> tuple[Machine, Box, Any]:
    """What `random_question` makes of a few drawn operations."""
    chosen = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    found = random_question(draw(st.integers(0, 2**32 - 1)), chosen)
    return found if found is not None else (_plain(), Box([0, 0], [3, 3]), Within(0, 6))


def _plain() -> Machine:
    b = Builder()
    return b.build(b.affine(b.input("x", (2,), Levels(0, 3)), [[1, 1]]))
