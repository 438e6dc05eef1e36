"""A regular expression for what an acceptor accepts, by elimination of states."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...machine import InputError
from ..orbit import LimitError
from .minimal import minimise
from .model import Automaton

# An expression is a set of alternatives, each a row of factors: the empty set is no word, an empty row the empty word.


@dataclass(frozen=True)
class Star:
    """Any number of repetitions."""

    inner: Expression


@dataclass(frozen=True)
class Group:
    """One of several alternatives."""

    inner: Expression


Factor = str | Star | Group
Row = tuple[Factor, ...]
Expression = frozenset[Row]

NONE: Expression = frozenset()
EMPTY: Expression = frozenset([()])


def to_expression(a: Automaton, *, limit: int = 100_000) -> str:
    """A regular expression, as `re.fullmatch` takes it, for the words that an acceptor accepts.

    States are eliminated one by one, those whose elimination writes least first (Delgado and Morais, CIAA 2004).
    Symbols whose names have several characters become groups; a word is then its symbols' names one behind the other.

    Parameters
    ----------
    a : Automaton
        An acceptor.
    limit : int
        Most characters; an expression may need exponentially many in the number of states.

    Raises
    ------
    InputError
        If it is no acceptor, or one symbol's name begins with another's, so that words could not be told apart.
    LimitError
        If the expression is longer than `limit`.

    Examples
    --------
    >>> from zahlen.analysis.automata import tomita
    >>> for k in (1, 2, 4, 7):
    ...     print(to_expression(tomita(k)))
    1*
    (?:10)*
    (?:1|0(?:1|01))*(?:00?)?
    0*(?:1+(?:0+1*)?)?
    """
    if a.kind != "acceptor":
        raise InputError(f"to_expression: an acceptor is due, this is a {a.kind} machine; see Reading, end=")
    for one in a.symbols:
        if not one or any(two != one and two.startswith(one) for two in a.symbols):
            raise InputError(
                f"to_expression: the name {one!r} begins another symbol's name, or is empty; see relabelled"
            )
    a = minimise(a)
    into = {int(s) for s in np.flatnonzero(a.outputs)}
    while more := {s for s in range(len(a)) if s not in into and into & set(a.transitions[s].tolist())}:
        into |= more
    if not into:
        return r"(?!)"
    # states -1 and -2 stand before the first and behind the last
    edges: dict[int, dict[int, Expression]] = {s: {} for s in (*sorted(into), -1)}
    for s in sorted(into):
        for symbol, t in zip(a.symbols, a.transitions[s].tolist()):
            if t in into:
                edges[s][t] = edges[s].get(t, NONE) | {(symbol,)}
        if a.outputs[s]:
            edges[s][-2] = EMPTY
    edges[-1] = {a.initial: EMPTY}
    while len(edges) > 1:
        _eliminate(edges, min((s for s in edges if s >= 0), key=lambda s: (_weight(edges, s), -s)))
        if sum(_size(e) for row in edges.values() for e in row.values()) > limit:
            raise LimitError(f"to_expression: longer than {limit:,} characters; raise limit, or keep the automaton")
    return _text(edges[-1].get(-2, NONE))


def _eliminate(edges: dict[int, dict[int, Expression]], s: int) -> None:
    out = edges.pop(s)
    loop = _star(out.pop(s, NONE))
    for row in edges.values():
        if (before := row.pop(s, None)) is not None:
            for t, after in out.items():
                row[t] = _either(row.get(t, NONE), _then(_then(before, loop), after))


def _weight(edges: dict[int, dict[int, Expression]], s: int) -> int:
    """How much longer all expressions become."""
    before = [_size(row[s]) for t, row in edges.items() if t != s and s in row]
    after = [_size(e) for t, e in edges[s].items() if t != s]
    loop = _size(edges[s].get(s, NONE))
    n, m = len(before), len(after)
    return (m - 1) * sum(before) + (n - 1) * sum(after) + (n * m - 1) * loop


def _either(x: Expression, y: Expression) -> Expression:
    found = x | y
    # r* is there already: then its inside and the empty word need not be
    for row in found:
        if len(row) == 1 and isinstance(row[0], Star):
            found -= EMPTY | row[0].inner
    # w and r r* w (or w and w r r*) are r* w
    for row in found:
        for k, factor in enumerate(row):
            if isinstance(factor, Star) and len(factor.inner) == 1:
                (inner,) = factor.inner
                n = len(inner)
                for start in (k - n, k + 1):
                    if start < 0 or row[start : start + n] != inner:
                        continue
                    left, right = row[: min(start, k)], row[max(start + n, k + 1) :]
                    if (*left, *right) in found:
                        return _either(found - {row, (*left, *right)}, frozenset([(*left, factor, *right)]))
    return found


def _then(x: Expression, y: Expression) -> Expression:
    if not x or not y:
        return NONE
    if len(x) == 1 and len(y) == 1:
        (one,), (two,) = x, y
        return frozenset([_joined(one, two)])
    if x == EMPTY or y == EMPTY:
        return y if x == EMPTY else x
    return frozenset([_joined(_row(x), _row(y))])


def _row(x: Expression) -> Row:
    if len(x) == 1:
        (row,) = x
        return row
    return (Group(x),)


def _joined(one: Row, two: Row) -> Row:
    # r* r* is r*
    if one and two and one[-1] == two[0] and isinstance(two[0], Star):
        return (*one, *two[1:])
    return (*one, *two)


def _star(x: Expression) -> Expression:
    inner = x - EMPTY
    # (r* | s)* is (r | s)*
    for row in list(inner):
        if len(row) == 1 and isinstance(row[0], Star):
            inner = (inner - {row}) | (row[0].inner - EMPTY)
    return frozenset([(Star(inner),)]) if inner else EMPTY


def _size(x: Expression) -> int:
    return sum(1 + sum(len(f) if isinstance(f, str) else 2 + _size(f.inner) for f in row) for row in x)


def _text(x: Expression) -> str:
    return "|".join(sorted((_row_text(row) for row in x), key=lambda t: (len(t), t)))


def _row_text(row: Iterable[Factor]) -> str:
    parts: list[str] = []
    before: Factor | None = None
    for factor in row:
        if isinstance(factor, str):
            parts.append(re.escape(factor))
        elif isinstance(factor, Star) and isinstance(before, str) and factor.inner == {(before,)}:
            parts[-1] = _atom(parts[-1], factor.inner) + "+"
        elif isinstance(factor, Group):
            rest = factor.inner - EMPTY
            inner = _text(rest)
            parts.append(_atom(inner, rest) + "?" if len(rest) < len(factor.inner) else f"(?:{inner})")
        else:
            parts.append(_atom(_text(factor.inner), factor.inner) + "*")
        before = factor
    return "".join(parts)


def _atom(text: str, x: Expression) -> str:
    """As it stands before a star: a single character or group needs no further brackets."""
    if len(x) == 1:
        (row,) = x
        if len(row) == 1 and isinstance(row[0], str) and len(row[0]) == 1:
            return text
    if all(len(row) == 1 and isinstance(row[0], str) and len(row[0]) == 1 and row[0].isalnum() for row in x):
        return f"[{''.join(sorted(str(row[0]) for row in x))}]"
    return f"(?:{text})"
