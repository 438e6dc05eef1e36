"""Automata in files: ``.dot`` or ``.gv``, ``.kiss`` or ``.kiss2``, and ``.att``, ``.fst.txt`` or ``.fsa.txt``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...machine import FileError, replacing
from .att import from_att, to_att
from .dot import from_dot, to_dot
from .kiss import from_kiss, to_kiss
from .model import Automaton

FORMATS: dict[str, tuple[Callable[[Automaton], str], Callable[[str], Automaton]]] = {
    ".dot": (to_dot, from_dot),
    ".gv": (to_dot, from_dot),
    ".kiss": (to_kiss, from_kiss),
    ".kiss2": (to_kiss, from_kiss),
    ".att": (to_att, from_att),
    ".fst.txt": (to_att, from_att),
    ".fsa.txt": (to_att, from_att),
}


def save(a: Automaton, path: str | Path) -> None:
    """Write an automaton to a file, whole or not at all, in the format of its suffix."""
    write, _ = _format(path)
    text = write(a)
    with replacing(path) as file:
        file.write(text.encode())


def load(path: str | Path) -> Automaton:
    """Read an automaton from a file in the format of its suffix.

    Raises
    ------
    FileError
        If there is no such file, its suffix is none of `FORMATS`, or it is malformed.

    Examples
    --------
    >>> import tempfile
    >>> from zahlen.analysis.automata import tomita
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tomita(3).save(folder + "/three.dot")
    ...     print(len(load(folder + "/three.dot")))
    5
    """
    _, read = _format(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: {error}") from None
    return read(text)


def _format(path: str | Path) -> tuple[Callable[[Automaton], str], Callable[[str], Automaton]]:
    for suffix, pair in FORMATS.items():
        if str(path).lower().endswith(suffix):
            return pair
    raise FileError(f"{path}: the suffix of an automaton's file is one of {', '.join(FORMATS)}")
