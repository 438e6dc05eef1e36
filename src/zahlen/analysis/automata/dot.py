"""DOT, as graphviz draws it and AALpy and the automata wiki (automata.cs.ru.nl) read and write it.

A Mealy machine's edges are labelled ``symbol/output``, a Moore machine's states ``name|output``, and accepting states
have a double circle. An edge from ``__start0`` leads to the initial state.
"""

from __future__ import annotations

import re

from ...machine import FileError
from .assembling import assemble
from .model import VERDICTS, Automaton

START = "__start0"


def to_dot(a: Automaton, name: str = "automaton") -> str:
    r"""The automaton as text for graphviz.

    >>> from zahlen.analysis.automata import tomita
    >>> print(to_dot(tomita(1)), end="")
    digraph automaton {
    s0 [label="s0", shape=doublecircle];
    s1 [label="s1"];
    s0 -> s1 [label="0"];
    s0 -> s0 [label="1"];
    s1 -> s1 [label="0"];
    s1 -> s1 [label="1"];
    __start0 [label="", shape=none];
    __start0 -> s0 [label=""];
    }
    """
    lines = [f"digraph {name} {{"]
    for k in range(len(a)):
        text, more = f"s{k}", ""
        if a.kind == "Moore":
            text, more = f"s{k}|{a.labels[a.outputs[k]]}", ", shape=record, style=rounded"
        elif a.kind == "acceptor" and a.outputs[k]:
            more = ", shape=doublecircle"
        lines.append(f"s{k} [label={_quoted(text)}{more}];")
    for k, row in enumerate(a.transitions.tolist()):
        for j, following in enumerate(row):
            text = a.symbols[j] + (f"/{a.labels[a.outputs[k, j]]}" if a.outputs.ndim == 2 else "")
            lines.append(f"s{k} -> s{following} [label={_quoted(text)}];")
    lines += [f'{START} [label="", shape=none];', f'{START} -> s{a.initial} [label=""];', "}"]
    return "\n".join(lines) + "\n"


def from_dot(text: str) -> Automaton:
    """An automaton from DOT; symbols and outputs in the order in which they appear.

    Parameters
    ----------
    text : str
        One statement a line. If some state has a ``|`` in its label it is a Moore machine, if edges have a ``/`` a
        Mealy machine, otherwise an acceptor.

    Raises
    ------
    FileError
        If a line is no statement about a state or an edge, there is no initial state, or the automaton is not
        deterministic or, unless it is an acceptor, not complete.

    Examples
    --------
    >>> from zahlen.analysis.automata import tomita
    >>> print(from_dot(to_dot(tomita(1))))
    acceptor of 2 states, 2 symbols
           0  1
      0 +  1  0
      1 .  1  1
    """
    states: dict[str, dict[str, str]] = {}
    edges: list[tuple[str, str, str]] = []
    initial: str | None = None
    lines = [line.strip().rstrip(";").strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("//", "#"))]
    if not lines or not re.fullmatch(r"(strict\s+)?digraph\b[^{]*\{", lines[0]) or lines[-1] != "}":
        raise FileError("DOT: digraph NAME { comes first, on a line of its own, and } last")
    for line in lines[1:-1]:
        if edge := EDGE.fullmatch(line):
            source, target = _name(edge[1]), _name(edge[2])
            if source == START:
                initial = target
            else:
                edges.append((source, target, _attributes(edge[3]).get("label", "").strip()))
        elif state := STATE.fullmatch(line):
            if (name := _name(state[1])) not in (START, "graph", "node", "edge"):
                states[name] = _attributes(state[2])
        elif not re.fullmatch(r"\w+\s*=\s*[^\[\]]*", line):
            raise FileError(f"DOT: a state, an edge or an attribute is due, one a line, got {line!r}")
    if initial is None:
        raise FileError(f"DOT: no initial state; an edge from {START} leads to it")
    for source, target, _ in edges:
        for end in (source, target):
            states.setdefault(end, {})
    labels = {name: attributes.get("label", name) for name, attributes in states.items()}
    if any("|" in label for label in labels.values()):
        said = {name: label.split("|", 1)[1].strip(" }") if "|" in label else "" for name, label in labels.items()}
        return assemble("DOT", list(states), initial, [(s, a, t, None) for s, t, a in edges], said)
    if all("/" in label for *_, label in edges):
        parts = [(s, *label.split("/", 1), t) for s, t, label in edges]
        return assemble("DOT", list(states), initial, [(s, a.strip(), t, o.strip()) for s, a, o, t in parts], None)
    accepting = {name: VERDICTS[states[name].get("shape") == "doublecircle"] for name in states}
    return assemble("DOT", list(states), initial, [(s, a, t, None) for s, t, a in edges], accepting)


_WORD = r'("(?:[^"\\]|\\.)*"|[\w.]+)'
STATE = re.compile(rf"{_WORD}\s*(?:\[(.*)\])?")
EDGE = re.compile(rf"{_WORD}\s*->\s*{_WORD}\s*(?:\[(.*)\])?")
ATTRIBUTE = re.compile(rf"(\w+)\s*=\s*{_WORD}")


def _attributes(text: str | None) -> dict[str, str]:
    return {key: _name(value) for key, value in ATTRIBUTE.findall(text or "")}


def _name(text: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", text[1:-1]) if text.startswith('"') else text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
