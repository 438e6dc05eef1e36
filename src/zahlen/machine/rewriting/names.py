"""Names for the wires that a rewriting adds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

LONGEST = 64


class Names:
    """Gives names that are not taken yet.

    Parameters
    ----------
    taken : iterable of str
        Names that only `claim` gives away.

    Examples
    --------
    >>> names = Names(["y", "y_1"])
    >>> names.fresh("y", "_1"), names.fresh("y", "_1"), names.fresh("z" * 64, "_2")[-4:]
    ('y_1_1', 'y_1_2', 'zz_2')
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def fresh(self, stem: str, suffix: str) -> str:
        """The stem with the suffix, numbered where that is taken, in at most 64 characters."""
        wanted = stem[: LONGEST - len(suffix)] + suffix
        name = wanted
        for k in count(self._next.get(wanted, 1)):
            if name not in self._taken:
                break
            self._next[wanted] = k + 1
            name = wanted[: LONGEST - len(f"_{k}")] + f"_{k}"
        self._taken.add(name)
        return name
