"""The text format of AT&T's tools and OpenFST (``fstcompile``): a transition a line, then final states.

A Mealy machine is a transducer all of whose states are final, ``from to symbol output``; an acceptor (``fstcompile
--acceptor``) has lines ``from to symbol``. The state of the first line is the initial one.
"""

from __future__ import annotations

from ...machine import FileError, InputError
from .assembling import Edge, assemble
from .model import VERDICTS, Automaton

EPSILON = "<eps>"


def to_att(a: Automaton) -> str:
    """A Mealy machine or an acceptor as text for ``fstcompile``.

    Raises
    ------
    InputError
        If it is a Moore machine, or a name is empty, has a space, or is ``<eps>``.

    Examples
    --------
    >>> from zahlen.analysis.automata import tomita
    >>> print(to_att(tomita(1)), end="")
    0 1 0
    0 0 1
    1 1 0
    1 1 1
    0
    """
    if a.kind == "Moore":
        raise InputError("AT&T text is for Mealy machines and acceptors, this is a Moore machine; see as_mealy")
    names = (*a.symbols, *(a.labels if a.kind == "Mealy" else ()))
    for name in names:
        if name.split() != [name] or name == EPSILON:
            raise InputError(f"AT&T text: names have no spaces and are not {EPSILON}, got {name!r}; see relabelled")
    order = [a.initial, *(k for k in range(len(a)) if k != a.initial)]
    lines = []
    for k in order:
        for j, following in enumerate(a.transitions[k].tolist()):
            said = f" {a.labels[a.outputs[k, j]]}" if a.outputs.ndim == 2 else ""
            lines.append(f"{k} {following} {a.symbols[j]}{said}")
    lines += [str(k) for k in range(len(a)) if a.outputs.ndim == 2 or a.outputs[k]]
    return "\n".join(lines) + "\n"


def symbol_table(names: tuple[str, ...]) -> str:
    r"""The table that ``fstcompile --isymbols`` or ``--osymbols`` needs.

    >>> symbol_table(("a", "b"))
    '<eps> 0\na 1\nb 2\n'
    """
    return "".join(f"{name} {k}\n" for k, name in enumerate((EPSILON, *names)))


def from_att(text: str) -> Automaton:
    r"""An automaton from AT&T text; where an acceptor has no transition, the word is rejected.

    Raises
    ------
    FileError
        If a line is malformed, has a weight or ``<eps>``, or the automaton is not deterministic; and for a transducer,
        if it is not complete or a state is not final.

    Examples
    --------
    >>> print(from_att("0 1 a\n1 0 b\n0"))
    acceptor of 3 states, 2 symbols
           a  b
      0 +  1  2
      1 .  2  0
      2 .  2  2
    """
    edges: list[Edge] = []
    final: list[str] = []
    widths = set()
    for number, raw in enumerate(text.splitlines(), 1):
        parts = raw.split()
        if not parts:
            continue
        if len(parts) == 1:
            final.append(parts[0])
            continue
        if len(parts) not in (3, 4):
            raise FileError(f"AT&T text, line {number}: from, to, symbol and maybe output, without weight, got {raw!r}")
        if EPSILON in parts[2:]:
            raise FileError(f"AT&T text, line {number}: {EPSILON} moves without reading; a deterministic one is due")
        widths.add(len(parts))
        edges.append((parts[0], parts[2], parts[1], parts[3] if len(parts) == 4 else None))
    if len(widths) != 1:
        raise FileError("AT&T text: transitions of one kind are due, with outputs or without, at least one")
    states = list(dict.fromkeys([name for source, _, target, _ in edges for name in (source, target)] + final))
    if all(name.isdecimal() for name in states):
        states.sort(key=int)
    if widths == {3}:
        said = {name: VERDICTS[name in final] for name in states}
        return assemble("AT&T text", states, edges[0][0], edges, said)
    if set(final) != set(states):
        raise FileError("AT&T text: all states of a Mealy machine are final, for it says something to every word")
    return assemble("AT&T text", states, edges[0][0], edges, None)
