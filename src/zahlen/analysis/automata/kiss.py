"""KISS2, in which tools of logic synthesis (SIS, ABC, mustang) take Mealy machines: symbols and outputs are bits."""

from __future__ import annotations

from itertools import product

from ...machine import FileError, InputError
from .assembling import Edge, assemble
from .model import Automaton, relabelled


def in_bits(a: Automaton) -> Automaton:
    """The same automaton with symbols and outputs named by their numbers in bits, as `to_kiss` needs them.

    >>> from zahlen.analysis.automata import random_automaton
    >>> in_bits(random_automaton(2, 3, labels=3, kind="Mealy")).symbols
    ('00', '01', '10')
    """

    def named(names: tuple[str, ...]) -> list[str]:
        width = max(1, (len(names) - 1).bit_length())
        return [format(k, f"0{width}b") for k in range(len(names))]

    return relabelled(a, symbols=named(a.symbols), labels=named(a.labels))


def to_kiss(a: Automaton) -> str:
    """A Mealy machine as KISS2.

    Raises
    ------
    InputError
        If it is no Mealy machine, or its names are not bits of one length.

    Examples
    --------
    >>> a = Automaton([[0, 1], [1, 0]], [[0, 1], [1, 0]], 0, ("0", "1"), ("00", "11"))
    >>> print(to_kiss(a), end="")
    .i 1
    .o 2
    .p 4
    .s 2
    .r s0
    0 s0 s0 00
    1 s0 s1 11
    0 s1 s1 11
    1 s1 s0 00
    .e
    """
    if a.outputs.ndim == 1:
        raise InputError(f"KISS2 is for Mealy machines, this one is a {a.kind}; see as_mealy")
    for names in (a.symbols, a.labels):
        if len({len(n) for n in names}) != 1 or not all(n and set(n) <= set("01") for n in names):
            raise InputError(f"KISS2: names are bits of one length, got {', '.join(names)}; see in_bits")
    lines = [f".i {len(a.symbols[0])}", f".o {len(a.labels[0])}", f".p {a.transitions.size}", f".s {len(a)}"]
    lines.append(f".r s{a.initial}")
    for k, row in enumerate(a.transitions.tolist()):
        lines += [f"{a.symbols[j]} s{k} s{s} {a.labels[a.outputs[k, j]]}" for j, s in enumerate(row)]
    return "\n".join([*lines, ".e"]) + "\n"


def from_kiss(text: str) -> Automaton:
    r"""A Mealy machine from KISS2; a ``-`` among input bits stands for both. Symbols are in the order of their bits.

    Raises
    ------
    FileError
        If a line is malformed, a next state or an output is left open, or the machine is not deterministic and
        complete.

    Examples
    --------
    >>> print(from_kiss(".i 2\n.o 1\n-0 off off 0\n-1 off on 1\n-- on off 1"))
    Mealy of 2 states, 4 symbols, 2 outputs
         00   01   10   11
      0  0/0  1/1  0/0  1/1
      1  0/1  0/1  0/1  0/1
    """
    declared: dict[str, str] = {}
    edges: list[Edge] = []
    for number, raw in enumerate(text.splitlines(), 1):
        parts = raw.split("#", 1)[0].split()
        if not parts or parts[0] in (".e", ".end", ".start_kiss", ".end_kiss", ".ilb", ".ob", ".latch", ".code"):
            continue
        if parts[0].startswith("."):
            if len(parts) != 2 or parts[0] not in (".i", ".o", ".p", ".s", ".r"):
                raise FileError(f"KISS2, line {number}: .i, .o, .p, .s or .r and one value are due, got {raw!r}")
            declared[parts[0]] = parts[1]
            continue
        if len(parts) != 4 or not set(parts[0]) <= set("01-") or not set(parts[3]) <= set("01-"):
            raise FileError(f"KISS2, line {number}: input bits, state, next state and output bits are due, got {raw!r}")
        cube, state, following, output = parts
        if following in ("*", "-") or state == "*" or "-" in output:
            raise FileError(f"KISS2, line {number}: a state or output is left open; an automaton says all of them")
        for key, bits in ((".i", cube), (".o", output)):
            if key in declared and declared[key] != str(len(bits)):
                raise FileError(f"KISS2, line {number}: {key} says {declared[key]} bits, got {bits}")
        for letters in product(*("01" if c == "-" else c for c in cube)):
            edges.append((state, "".join(letters), following, output))
    if not edges:
        raise FileError("KISS2: no transitions")
    states = list(dict.fromkeys([source for source, *_ in edges] + [following for _, _, following, _ in edges]))
    if declared.get(".s", str(len(states))) != str(len(states)):
        raise FileError(f"KISS2: .s says {declared['.s']} states, there are {len(states)}")
    initial = declared.get(".r", edges[0][0])
    if len({len(symbol) for _, symbol, *_ in edges}) > 1:
        raise FileError("KISS2: input bits of one length are due")
    every = {"".join(b): k for k, b in enumerate(product("01", repeat=len(edges[0][1])))}
    place = {name: k for k, name in enumerate(states)}
    # so that symbols come in the order of their bits, and states as they stand
    edges.sort(key=lambda edge: (every[edge[1]], place[edge[0]]))
    return assemble("KISS2", states, initial, edges, None)
