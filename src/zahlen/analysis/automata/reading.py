"""From a machine to its automaton: every state that its inputs lead to, and what it says there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...machine import InputError, IntArray, Machine
from ..orbit import LimitError
from ..progress import counter
from ..states import arrays, explore, keys, number_of, symbols
from .minimal import minimise
from .model import VERDICTS, Automaton, Int32, Word

MAX_SYMBOLS = 1 << 16
"""Most input symbols of an automaton."""
MAX_STATES = 1 << 22
"""How many states `automaton` goes through unless told otherwise; each takes some 300 bytes, and 12 for each symbol."""

Observe = Callable[[Any], Any]
"""From a batch of outputs, as `Machine.step` returns them, to an integer or bool, or several, for each of the batch."""


@dataclass(frozen=True, eq=False)
class Reading:
    """How a machine is read as an automaton.

    Attributes
    ----------
    machine : Machine
    inputs : batch of input symbols as for `Machine.step`, optional
        The input alphabet, where not all elements are meant.
    initial : mapping from register name to integer array (1, *shape), optional
        The state to start from; by default the machine's own.
    observe : callable, optional
        What of the outputs is seen; by default their elements. Booleans are called `VERDICTS`.
    end : one input symbol, as a batch of one, optional
        What the machine is given behind a word: what it then says is the label of the word, so the automaton is a Moore
        machine, and with an `observe` that says true or false an acceptor. It is no symbol of the automaton.
    """

    machine: Machine
    inputs: Any = None
    initial: Mapping[str, Any] | None = None
    observe: Observe | None = None
    end: Any = None

    def letters(self) -> IntArray:
        """The input symbols as rows of elements."""
        machine = self.machine
        if self.inputs is None and number_of(machine, machine.inputs) > MAX_SYMBOLS:
            raise LimitError(
                f"automaton: the input alphabet has more than {MAX_SYMBOLS:,} symbols; choose with inputs="
            )
        found = symbols(machine, self.inputs)
        if self.end is not None:
            found = found[[key != self.last()[1] for key in keys(found)]]
        if not 0 < len(found) <= MAX_SYMBOLS:
            raise InputError(f"automaton: 1 to {MAX_SYMBOLS:,} input symbols are due, got {len(found):,}; see inputs=")
        return found

    def last(self) -> tuple[IntArray, Any]:
        """The symbol behind a word, as a row of elements, and its key."""
        found = symbols(self.machine, self.end)
        if len(found) != 1:
            raise InputError(f"automaton: end is one input symbol, as a batch of one; got {len(found)}")
        return found, keys(found)[0]

    def start(self) -> dict[str, IntArray]:
        """The initial state, checked."""
        machine = self.machine
        if self.initial is None:
            return machine.initial_state()
        x = arrays(machine, machine.inputs, self.letters()[:1])
        traced = machine.trace(x, self.initial)
        return {name: traced[name] for name in machine.registers}

    def seen(self, output: Any) -> IntArray:
        """What is seen of a batch of outputs: an array of integers, or one of booleans, (batch, elements)."""
        count = len(next(iter(output.values()))) if isinstance(output, dict) else len(output)
        if self.observe is None:
            parts = [output[n] for n in self.machine.outputs] if isinstance(output, dict) else [output]
            return np.concatenate([part.reshape(count, -1) for part in parts], axis=1)
        found = np.asarray(self.observe(output))
        if found.dtype.kind not in "iub" or found.shape[:1] != (count,):
            raise InputError(
                f"automaton: observe returns an integer or bool for each of a batch of {count}, got {found.dtype} "
                f"{found.shape}"
            )
        return found.reshape(count, -1)

    def read(self, word: Sequence[str]) -> Word:
        """What the machine says to a word of symbols' names, by `Machine.step`, a step at a time.

        With `end`: what it would say if the word ended, for the empty word and after each symbol. It shares with
        `automaton` the names of symbols and outputs, and nothing else.
        """
        machine = self.machine
        letters = self.letters()
        by_name = {name: arrays(machine, machine.inputs, letters[k : k + 1]) for k, name in enumerate(_names(letters))}
        state, said = self.start(), []

        def ended() -> str:
            x = arrays(machine, machine.inputs, self.last()[0])
            return _names(self.seen(machine.step(state, x)[1]))[0]

        if self.end is not None:
            said.append(ended())
        for name in word:
            if name not in by_name:
                raise InputError(f"the symbols are {', '.join(by_name)}, got {name!r}")
            state, output = machine.step(state, by_name[name])
            said.append(ended() if self.end is not None else _names(self.seen(output))[0])
        return tuple(said)


def automaton(
    machine: Machine | Reading,
    inputs: Any = None,
    initial: Mapping[str, Any] | None = None,
    *,
    observe: Observe | None = None,
    end: Any = None,
    least: bool = True,
    limit: int = MAX_STATES,
    progress: bool = False,
) -> Automaton:
    """The automaton that a machine is: the states that inputs lead to, and what it says on the way.

    Nothing is sampled: it says to every word of these symbols, of whatever length, what the machine says.

    Parameters
    ----------
    machine : Machine or Reading
        With or without registers. A `Reading` says the next four by itself.
    inputs, initial, observe, end
        See `Reading`. Symbols and outputs are named by their elements, with commas between.
    least : bool
        Whether states that no word tells apart become one (`minimise`).
    limit : int
        Most states to go through; 2^20 take some 300 MB, and 12 bytes for each symbol of each.
    progress : bool
        Show how many states were gone through.

    Returns
    -------
    Automaton
        A Mealy machine; with `end` a Moore machine, or an acceptor.

    Raises
    ------
    InputError
        If inputs, initial state or end are not the machine's, or `observe` returns something else.
    LimitError
        If there are more states than `limit`, or more than 65,536 input symbols.

    Examples
    --------
    A network that adds up modulo four what it reads, and is asked whether nothing is left when a 2 comes:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x, sum_ = b.input("x", (1,), Levels(0, 2)), b.register("sum", (1,), Levels(0, 3))
    >>> b.connect(sum_, b.lookup(b.add(sum_, x), [0, 1, 2, 3, 0, 1]))
    >>> machine = b.build(sum_)
    >>> print(automaton(machine, [[0], [1]], observe=lambda y: y[:, 0] % 2))
    Mealy of 2 states, 2 symbols, 2 outputs
         0    1
      0  0/0  1/0
      1  1/1  0/1
    >>> print(automaton(machine, observe=lambda y: y[:, 0] == 0, end=[[2]]))
    acceptor of 4 states, 2 symbols
           0  1
      0 +  0  1
      1 .  1  2
      2 .  2  3
      3 .  3  0
    """
    reading = machine if isinstance(machine, Reading) else Reading(machine, inputs, initial, observe, end)
    if isinstance(machine, Reading) and any(given is not None for given in (inputs, initial, observe, end)):
        raise InputError("automaton: a Reading says inputs, initial, observe and end by itself")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"automaton: limit is a positive integer, got {limit!r}")
    letters, said = reading.letters(), _Labels()
    watch = None if reading.end is not None else lambda output: said.take(reading.seen(output))
    with counter(progress, "automaton") as report:
        space = explore(
            reading.machine, letters, limit, reachable=True, initial=reading.start(), watch=watch, report=report
        )
    if space is None:
        raise LimitError(
            f"automaton: inputs lead to more than {limit:,} states; raise limit, choose fewer inputs, or train a "
            "network with fewer units or levels"
        )
    if reading.end is not None:
        step = max(1, MAX_SYMBOLS // 4)
        x, _ = reading.last()
        for k in range(0, len(space.states), step):
            part = space.states[k : k + step]
            ending = arrays(reading.machine, reading.machine.inputs, np.repeat(x, len(part), axis=0))
            state = arrays(reading.machine, reading.machine.registers, part)
            said.take(reading.seen(reading.machine.step(state, ending)[1]))
    outputs, labels = said.done()
    shape = (len(space.states),) if reading.end is not None else (len(space.states), len(letters))
    transitions = np.ascontiguousarray(space.table.T, dtype=np.int32)
    found = Automaton(transitions, outputs.reshape(shape), 0, tuple(_names(letters)), labels)
    return minimise(found) if least else found


class _Labels:
    """What was seen, batch by batch, as indices into labels that are sorted by their elements."""

    def __init__(self) -> None:
        self.first: dict[Any, int] = {}
        self.rows: list[IntArray] = []
        self.parts: list[Int32] = []

    def take(self, seen: IntArray) -> None:
        named = keys(seen)
        for k in range(len(named)):
            if named[k] not in self.first:
                self.first[named[k]] = len(self.rows)
                self.rows.append(seen[k])
        self.parts.append(np.fromiter(map(self.first.__getitem__, named), dtype=np.int32, count=len(named)))

    def done(self) -> tuple[Int32, tuple[str, ...]]:
        order = sorted(range(len(self.rows)), key=lambda k: tuple(self.rows[k].tolist()))
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        found = rank[np.concatenate(self.parts)]
        if self.rows[0].dtype == bool and self.rows[0].shape == (1,):  # both verdicts, even if one never comes
            truth = np.array([int(self.rows[k][0]) for k in order], dtype=np.int32)
            return truth[found], VERDICTS
        return found, tuple(_names(np.array([self.rows[k] for k in order])))


def _names(rows: IntArray) -> list[str]:
    if rows.dtype == bool and rows.shape[1] == 1:
        return [VERDICTS[v] for v in rows[:, 0].tolist()]
    return [",".join(str(int(v)) for v in row) for row in rows.tolist()]
