"""Who computes a machine's wires: the reference, and whatever else is registered. All return the same integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from . import reference
from .alphabets import IntArray
from .errors import InputError

if TYPE_CHECKING:
    from .machine import Machine


class Executor(Protocol):
    """Computes the `wanted` wires of one step, each (batch, *shape) of its `value_dtype`, from checked arrays.

    One that also has ``unroll(machine, inputs, state, steps)`` is asked for whole sequences at once: it returns the
    state behind them and the outputs of all times, or None where it has no way. ``explain(machine)`` says how it
    computes.
    """

    def __call__(
        self,
        machine: Machine,
        inputs: Mapping[str, IntArray],
        state: Mapping[str, IntArray],
        wanted: tuple[str, ...],
        /,
    ) -> dict[str, IntArray]: ...


_EXECUTORS: dict[str, Executor] = {"reference": reference.evaluate}


def register(name: str, executor: Executor) -> None:
    """Add an executor; the one registered last is the default."""
    _EXECUTORS[name] = executor


def names() -> tuple[str, ...]:
    """Names of all executors, the default one last.

    >>> "reference" in names()
    True
    """
    return tuple(_EXECUTORS)


def get(name: str | None = None) -> Executor:
    """The executor of this name, by default the one registered last."""
    chosen = names()[-1] if name is None else name
    if chosen not in _EXECUTORS:
        raise InputError(f"no executor {chosen!r}; there are {', '.join(names())}")
    return _EXECUTORS[chosen]
