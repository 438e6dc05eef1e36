"""Where a constant input leads: the transient and the period of a state, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..machine import InputError, IntArray, Machine, ZahlenError
from .pictures import draw_orbit

State = dict[str, IntArray]


class LimitError(ZahlenError):
    """A search came to the limit that it was given."""


@dataclass(frozen=True, eq=False)
class Orbit:
    """The states that follow a state under a constant input: a transient, then a cycle for ever.

    Attributes
    ----------
    machine : Machine
    inputs : mapping
        The constant input, as `Machine.step` takes it.
    start : mapping
        The state before the first step.
    transient : int
        Number of steps to the first state that comes again.
    period : int
        Number of states on the cycle.
    entry : mapping
        The first state on the cycle.
    """

    machine: Machine
    inputs: Mapping[str, IntArray]
    start: State
    transient: int
    period: int
    entry: State

    def approach(self) -> Iterator[State]:
        """The `transient` states before the cycle, from `start` on."""
        return self._follow(self.start, self.transient)

    def cycle(self) -> Iterator[State]:
        """The `period` states on the cycle, from `entry` on."""
        return self._follow(self.entry, self.period)

    def _follow(self, state: State, steps: int) -> Iterator[State]:
        for k in range(steps):
            yield state
            if k + 1 < steps:
                state, _ = self.machine.step(state, self.inputs)

    def draw(self, to: Any) -> None:
        """Draw it: a state of one number as a cobweb between its map and the diagonal, others as a raster.

        Parameters
        ----------
        to : path or matplotlib Axes
            A file to write (the format by its suffix), or where to draw.

        Raises
        ------
        InputError
            If there are more than 1,024 steps.
        ToolError
            If matplotlib is not installed.
        """
        draw_orbit(self, to)

    def __str__(self) -> str:
        return f"transient of {self.transient:,} steps, then period {self.period:,}"


def orbit(
    machine: Machine, state: Mapping[str, Any] | None = None, x: Any = None, *, limit: int | None = None
) -> Orbit:
    """Transient and period of a state under a constant input.

    Brent's algorithm ("An improved Monte Carlo factorization algorithm", BIT 20, 1980): no state is stored but two,
    and the steps are at most a small multiple of transient + period. It always ends, for the states are finitely many,
    but that many may be more than anyone waits for.

    Parameters
    ----------
    machine : Machine
        One with registers.
    state : mapping from register name to integer array (1, *shape), optional
        By default the initial one.
    x : integer array (1, *shape), or mapping of such by input name
        The input of every step; None for a machine without inputs.
    limit : int, optional
        Most steps in search of a state that comes again. Three times transient + period are always enough.

    Returns
    -------
    Orbit

    Raises
    ------
    InputError
        If the machine has no registers, the constant input is missing, or the state or input is not one of its own.
    LimitError
        If nothing came again within `limit` steps.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> n = b.register("n", (1,), Levels(0, 9), 7)
    >>> b.connect(n, b.lookup(n, [1, 2, 3, 1, 0, 6, 5, 8, 4, 9]))
    >>> found = orbit(b.build(n))
    >>> print(found)
    transient of 4 steps, then period 3
    >>> [state["n"].item() for state in found.approach()], [state["n"].item() for state in found.cycle()]
    ([7, 8, 4, 0], [1, 2, 3])
    """
    if not machine.registers:
        raise InputError("orbit: this machine has no registers, so nothing of one step is left in the next")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"orbit: limit is a positive integer or None, got {limit!r}")
    if x is None and machine.inputs:
        raise InputError(f"orbit: a constant input is due for {', '.join(machine.inputs)}")
    traced = machine.trace({} if x is None else x, state)
    start, inputs = ({name: traced[name] for name in names} for names in (machine.registers, machine.inputs))
    if len(next(iter(start.values()))) != 1:
        raise InputError("orbit: one state and one input are due, as a batch of 1; ask for each one by itself")

    def following(current: State) -> State:
        after: State = machine.step(current, inputs)[0]
        return after

    period, power, slow, fast, taken = 1, 1, start, following(start), 1
    while not _equal(slow, fast):
        if limit is not None and taken >= limit:
            raise LimitError(f"orbit: no state came again within {limit:,} steps; raise limit, or choose another input")
        if period == power:
            slow, power, period = fast, 2 * power, 0
        fast, period, taken = following(fast), period + 1, taken + 1
    slow = fast = start
    for _ in range(period):
        fast = following(fast)
    transient = 0
    while not _equal(slow, fast):
        slow, fast, transient = following(slow), following(fast), transient + 1
    return Orbit(machine, inputs, start, transient, period, slow)


def _equal(a: State, b: State) -> bool:
    return all(bool((a[name] == b[name]).all()) for name in a)
