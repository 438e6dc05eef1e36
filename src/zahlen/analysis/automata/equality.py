"""Whether two automata say the same, and the shortest word to which they do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...machine import InputError, Machine
from .minimal import minimise
from .model import Automaton, Word
from .reading import Reading, automaton

Source = Machine | Reading | Automaton


@dataclass(frozen=True)
class Equivalence:
    """What `equivalent` found; true iff the two say the same to every word.

    Attributes
    ----------
    equal : bool
    word : tuple of str, or None
        A shortest word to which they say different things.
    said : pair of str, or None
        The last thing that each says to it.
    states : pair of int
        How many states the least automata have; where they differ, those of the two as given.
    """

    equal: bool
    word: Word | None
    said: tuple[str, str] | None
    states: tuple[int, int]

    def __bool__(self) -> bool:
        return self.equal

    def replay(self, a: Source, b: Source) -> bool:
        """Whether the two differ as said, on the machines themselves, a step at a time.

        Nothing of the search takes part. What it cannot confirm is equality, nor that no shorter word will do.
        """
        if self.word is None:
            raise InputError("replay: the two are equal, so there is no word; equality is the proof's")
        return self.said == tuple(_last(source, self.word) for source in (a, b))

    def __str__(self) -> str:
        if self.word is None or self.said is None:
            return f"equal: both have the least automaton, of {self.states[0]:,} states"
        word = " ".join(self.word) if self.word else "the empty word"
        return (
            f"different: to {word} one says {self.said[0]}, the other {self.said[1]}; to no shorter word do they differ"
        )


def equivalent(a: Source, b: Source) -> Equivalence:
    """Whether two automata, or machines, say the same to every word; otherwise a shortest word that tells them apart.

    Pairs of states are gone through breadth first, and a pair that earlier ones make equal by transitivity is left out
    (Hopcroft and Karp 1971), so there are fewer pairs than states in both together. The word is still a shortest one:
    a word that tells the ends of a chain of pairs apart does so for a link of it, and the links stand before.

    Parameters
    ----------
    a, b : Automaton, Reading or Machine
        A machine is read as `automaton` reads it by default. Symbols have the same names, in any order, and both are
        Mealy or both Moore machines.

    Raises
    ------
    InputError
        If the symbols differ, or one is a Mealy and the other a Moore machine.

    Examples
    --------
    >>> from zahlen.analysis.automata import tomita
    >>> found = equivalent(tomita(4), tomita(7))
    >>> print(found)
    different: to 0 0 0 one says reject, the other accept; to no shorter word do they differ
    >>> found.replay(tomita(4), tomita(7))
    True
    """
    one, two = (source if isinstance(source, Automaton) else automaton(source) for source in (a, b))
    if set(one.symbols) != set(two.symbols):
        raise InputError(
            f"equivalent: one reads {', '.join(one.symbols)}, the other {', '.join(two.symbols)}; see relabelled"
        )
    if one.outputs.ndim != two.outputs.ndim:
        raise InputError(
            f"equivalent: one is a {one.kind}, the other a {two.kind}; see as_mealy and as_moore, or read the "
            "machine with end="
        )
    labels = tuple(dict.fromkeys((*one.labels, *two.labels)))
    one, two = _aligned(one, one.symbols, labels), _aligned(two, one.symbols, labels)
    found = _first_difference(one, two)
    if found is None:
        states = len(minimise(one)), len(minimise(two))
        return Equivalence(True, None, None, states)
    word, said = found
    return Equivalence(False, tuple(one.symbols[k] for k in word), said, (len(one), len(two)))


def _first_difference(one: Automaton, two: Automaton) -> tuple[list[int], tuple[str, str]] | None:
    n = len(one)
    moore = one.outputs.ndim == 1
    rows = one.transitions.tolist() + (two.transitions + n).tolist()
    said = one.outputs.tolist() + two.outputs.tolist()
    leader = list(range(n + len(two)))

    def find(s: int) -> int:
        while leader[s] != s:
            leader[s] = s = leader[leader[s]]
        return s

    pairs = [(one.initial, n + two.initial)]
    leader[pairs[0][1]] = pairs[0][0]
    origin = [(-1, -1)]

    def word(k: int, symbol: int | None) -> list[int]:
        found = [] if symbol is None else [symbol]
        while k:
            k, letter = origin[k]
            found.append(letter)
        return found[::-1]

    for k, (p, q) in enumerate(pairs):
        if said[p] != said[q]:
            if moore:
                return word(k, None), (one.labels[said[p]], one.labels[said[q]])
            symbol = next(i for i, (x, y) in enumerate(zip(said[p], said[q])) if x != y)
            return word(k, symbol), (one.labels[said[p][symbol]], one.labels[said[q][symbol]])
        for letter, (r, s) in enumerate(zip(rows[p], rows[q])):
            first, second = find(r), find(s)
            if first != second:
                leader[second] = first
                pairs.append((r, s))
                origin.append((k, letter))
    return None


def _aligned(a: Automaton, symbols: tuple[str, ...], labels: tuple[str, ...]) -> Automaton:
    columns = [a.index[name] for name in symbols]
    outputs = np.array([labels.index(name) for name in a.labels], dtype=np.int32)[a.outputs]
    if outputs.ndim == 2:
        outputs = outputs[:, columns]
    return Automaton(a.transitions[:, columns], outputs, a.initial, symbols, labels)


def _last(source: Source, word: Word) -> str:
    source = Reading(source) if isinstance(source, Machine) else source
    return source.read(word)[-1]
