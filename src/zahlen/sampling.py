"""Text from a machine, drawn in whole numbers: one model, one prompt, one seed, one text on every computer.

The softmax of a model's logits needs no float: with d the distance of a symbol's logit from the greatest, its weight
is an entry of a table of round(2^16 exp(-j / 64)), and a symbol is drawn from the weights by integers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate

import numpy as np

from .generator import Generator
from .machine import InputError, Machine
from .textmodel import Temperature, TextModel, weights


def sample(machine: Machine, prompt: str, n: int, *, seed: int = 0, temperature: Temperature = 1) -> str:
    """The n characters that a model of text writes after a prompt.

    Parameters
    ----------
    machine : Machine
        A model of text: see `zahlen.textmodel.TextModel`.
    prompt : str
        What the model reads first, from its initial state. If it is empty the model reads one line feed, or its
        symbol 0 where it knows no line feed.
    n : int
        How many characters; at least 0.
    seed : int
        Of the generator, 0 to 2^64 - 1.
    temperature : int, Fraction, decimal str or float
        Divides the logits, taken as it is written: 0.7 is 7/10. 0 takes the greatest logit always, the first among
        equals.

    Raises
    ------
    InputError
        If the machine is no model of text, the prompt has a character that it does not know, or another argument is
        out of range.
    FileError
        If the notes that make the machine a model of text are malformed.

    Examples
    --------
    A machine that likes to alternate:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (), Levels(0, 1))
    >>> machine = b.build(b.embed(x, [[0, 9], [9, 0]]), notes={"symbols": ["a", "b"], "unit": "4"})
    >>> sample(machine, "a", 20)
    'baababababababababab'
    >>> sample(machine, "a", 20, temperature=0)
    'babababababababababa'
    """
    return "".join(stream(machine, prompt, n, seed=seed, temperature=temperature))


def stream(machine: Machine, prompt: str, n: int, *, seed: int = 0, temperature: Temperature = 1) -> Iterator[str]:
    """As `sample`, one character at a time, as they are drawn; what is wrong is said at once.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (), Levels(0, 1))
    >>> machine = b.build(b.embed(x, [[0, 9], [9, 0]]), notes={"symbols": ["a", "b"], "unit": "4"})
    >>> list(stream(machine, "a", 3))
    ['b', 'a', 'a']
    """
    model = TextModel.of(machine)
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise InputError(f"n: how many characters is due, at least 0, got {n!r}")
    given = model.encode(prompt) or [model.start]
    return _characters(model, given, n, Generator(seed), model.scale(temperature))


def _characters(
    model: TextModel, given: Sequence[int], n: int, generator: Generator, scale: Fraction | None
) -> Iterator[str]:
    machine, state = model.machine, model.machine.initial_state()
    shape = (1, *machine.wires[machine.inputs[0]].shape)
    for symbol in given:
        state, logits = machine.step(state, np.full(shape, symbol))
    for _ in range(n):
        symbol = draw(logits[0].tolist(), generator, scale)
        yield model.symbols[symbol]
        state, logits = machine.step(state, np.full(shape, symbol))


def draw(logits: Sequence[int], generator: Generator, scale: Fraction | None) -> int:
    """The index of a symbol, drawn from integer logits.

    Parameters
    ----------
    logits : sequence of int
    generator : Generator
        Asked once, for a number below the sum of the weights; not at all if greedy.
    scale : Fraction or None
        As `TextModel.scale` returns it. With d the distance from the greatest logit, the weight is entry
        floor(d scale) of `zahlen.textmodel.weights`, or 0 beyond its end. None takes the greatest logit, the first
        among equals.

    Examples
    --------
    >>> [draw([5, 9, 9, -400], Generator(seed), Fraction(16)) for seed in range(8)]
    [2, 1, 2, 0, 1, 1, 2, 1]
    """
    best = max(logits)
    if scale is None:
        return logits.index(best)
    table = weights()
    last = len(table) - 1
    sums = list(accumulate(table[min(last, (best - z) * scale.numerator // scale.denominator)] for z in logits))
    r = generator.below(sums[-1])
    return next(k for k, total in enumerate(sums) if r < total)
