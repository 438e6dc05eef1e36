"""Automata to begin with: Tomita's grammars, random ones, and the machine that an automaton is."""

from __future__ import annotations

import numpy as np

from ...machine import Builder, InputError, Levels, Machine
from .model import VERDICTS, Automaton

TOMITA = {
    1: ("1*", [[1, 0], [1, 1]], [0]),
    2: ("(10)*", [[2, 1], [0, 2], [2, 2]], [0]),
    3: ("no odd run of ones before an odd run of zeros", [[0, 1], [2, 0], [3, 4], [2, 1], [4, 4]], [0, 1, 3]),
    4: ("no three zeros in a row", [[1, 0], [2, 0], [3, 0], [3, 3]], [0, 1, 2]),
    5: ("zeros and ones both even in number", [[1, 2], [0, 3], [3, 0], [2, 1]], [0]),
    6: ("as many zeros as ones, modulo three", [[1, 2], [2, 0], [0, 1]], [0]),
    7: ("0*1*0*1*", [[0, 1], [2, 1], [2, 3], [4, 3], [4, 4]], [0, 1, 2, 3]),
}
"""What each grammar accepts, transitions under 0 and 1, accepting states."""


def tomita(number: int) -> Automaton:
    """The least acceptor of one of Tomita's grammars over 0 and 1, the usual exam of recurrent networks.

    Tomita, "Dynamic construction of finite automata from examples using hill-climbing", CogSci 1982.

    1. 1*
    2. (10)*
    3. no odd run of ones is followed at once by an odd run of zeros
    4. no three zeros in a row
    5. zeros even in number, and ones even in number
    6. the zeros less the ones are divisible by three
    7. 0*1*0*1*

    >>> tomita(2).accepts("1010"), tomita(2).accepts("101"), [len(tomita(k)) for k in range(1, 8)]
    (True, False, [2, 3, 5, 4, 4, 3, 5])
    """
    if number not in TOMITA:
        raise InputError(f"tomita: the grammars are 1 to 7, got {number!r}")
    _, transitions, accepting = TOMITA[number]
    return Automaton(
        np.array(transitions, dtype=np.int32),
        np.isin(np.arange(len(transitions)), accepting).astype(np.int32),
        0,
        ("0", "1"),
        VERDICTS,
    )


def random_automaton(
    states: int, symbols: int = 2, *, labels: int = 2, kind: str = "acceptor", seed: int = 0
) -> Automaton:
    """An automaton drawn at random: every transition and output alike likely, with names 0, 1, ..

    >>> print(random_automaton(3, kind="Mealy", seed=1))
    Mealy of 3 states, 2 symbols, 2 outputs
         0    1
      0  1/1  1/1
      1  2/0  2/0
      2  0/1  0/0
    """
    if kind not in ("acceptor", "Moore", "Mealy") or (kind == "acceptor" and labels != 2):
        raise InputError(f"random_automaton: kind is acceptor (of 2 labels), Moore or Mealy, got {kind!r} of {labels}")
    if min(states, symbols, labels) < 1:
        raise InputError("random_automaton: at least one state, one symbol and one label are due")
    rng = np.random.default_rng(seed)
    transitions = rng.integers(0, states, (states, symbols), dtype=np.int32)
    outputs = rng.integers(0, labels, (states, symbols) if kind == "Mealy" else states, dtype=np.int32)
    names = VERDICTS if kind == "acceptor" else tuple(map(str, range(labels)))
    return Automaton(transitions, outputs, 0, tuple(map(str, range(symbols))), names)


def to_machine(a: Automaton) -> Machine:
    """A machine of one register that is this automaton, by two tables.

    Its input ``x`` and output ``y`` are indices of symbols and labels. A Moore machine says the label of the state that
    it comes to.

    >>> from zahlen.analysis import automaton
    >>> machine = to_machine(tomita(4))
    >>> machine.run([[[1], [0], [0], [0], [1]]]).ravel().tolist()
    [1, 1, 1, 0, 0]
    """
    said = a.outputs if a.outputs.ndim == 2 else a.outputs[a.transitions]
    b = Builder()
    x = b.input("x", (1,), Levels(0, len(a.symbols) - 1))
    state = b.register("state", (1,), Levels(0, len(a) - 1), a.initial)
    b.connect(state, b.lookup(state, x, table=a.transitions))
    return b.build(b.lookup(state, x, table=said, name="y"))
