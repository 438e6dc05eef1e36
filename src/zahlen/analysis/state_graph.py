"""All states of a machine under a constant or periodic input: attractors, basins, transients, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..machine import InputError, IntArray, Machine
from .attractors import Attractors, attractors_of
from .orbit import LimitError
from .pictures import draw_basins, networkx_graph, plot_transients
from .progress import bar
from .states import number_of, numbered, numbers_of, shown_count
from .successors import followers, successors

if TYPE_CHECKING:
    import networkx

MAX_STATES = 1 << 28
"""Most states that are gone through one by one."""

State = dict[str, IntArray]


@dataclass(frozen=True, eq=False)
class StateGraph:
    """Every state of a machine with its one successor: attractors, and the trees that lead to them.

    States are numbered from 0 on in mixed radix over the registers' alphabets: the last element changes first. Under an
    input of p steps that repeats, one edge is all of them, so that a state is one at the beginning of the period.

    Attributes
    ----------
    machine : Machine
    inputs : tuple of mappings
        The input of each of the p steps, as `Machine.step` takes it.
    states : int
        How many there are.
    found : Attractors
        What `number`, `attractor`, `transient` and the rest are read from.
    """

    machine: Machine
    inputs: tuple[State, ...]
    states: int
    found: Attractors

    @property
    def attractors(self) -> int:
        """How many attractors there are; they are numbered from 0 on, that of the largest basin first."""
        return len(self.found.periods)

    @property
    def periods(self) -> NDArray[np.int64]:
        """Steps after which each attractor comes to the same state at the same place of the input's period."""
        return self.found.periods.astype(np.int64) * len(self.inputs)

    @cached_property
    def basins(self) -> NDArray[np.int64]:
        """How many states lead to each attractor, its own among them."""
        sizes = np.zeros(self.attractors, dtype=np.int64)
        np.add.at(sizes, self.found.attractor, self.found.sizes)
        return sizes

    @cached_property
    def transients(self) -> NDArray[np.int64]:
        """How many states are 0, 1, 2, .. edges before their attractor."""
        sizes = np.zeros(int(self.found.transient.max()) + 1, dtype=np.int64)
        np.add.at(sizes, self.found.transient, self.found.sizes)
        return sizes

    @property
    def longest_transient(self) -> int:
        """Edges from the state that is furthest from its attractor."""
        return len(self.transients) - 1

    @cached_property
    def reached(self) -> int:
        """How many states follow some state."""
        return sum(int(np.bitwise_count(words).sum(dtype=np.int64)) for words in np.array_split(self.found.image, 64))

    @property
    def gardens(self) -> int:
        """How many states follow none: the Gardens of Eden, or leaves."""
        return self.states - self.reached

    def number(self, state: Mapping[str, Any]) -> NDArray[np.int64]:
        """Numbers of a batch of states."""
        traced = self.machine.trace({n: _repeated(v, state) for n, v in self.inputs[0].items()}, state)
        return numbers_of(self.machine, self.machine.registers, traced)

    def state(self, numbers: Any) -> State:
        """The states with these numbers, a batch as `Machine.step` takes it."""
        return numbered(self.machine, self.machine.registers, self._checked(numbers))

    def _checked(self, numbers: Any) -> NDArray[np.int64]:
        array: IntArray = np.atleast_1d(np.asarray(numbers))
        if array.ndim != 1 or array.dtype.kind not in "iu" or not ((array >= 0) & (array < self.states)).all():
            raise InputError(f"states are numbered from 0 to {self.states - 1:,}")
        return array.astype(np.int64)

    def _classes(self, numbers: Any) -> IntArray:
        return self.found.classes[self._checked(numbers)]

    def attractor_of(self, numbers: Any) -> NDArray[np.int64]:
        """Which attractor each of these states leads to."""
        found: NDArray[np.int64] = self.found.attractor[self._classes(numbers)].astype(np.int64)
        return found

    def transient_of(self, numbers: Any) -> NDArray[np.int64]:
        """How many edges before its attractor each of these states is."""
        found: NDArray[np.int64] = self.found.transient[self._classes(numbers)].astype(np.int64)
        return found

    def is_garden(self, numbers: Any) -> NDArray[np.bool_]:
        """Whether each of these states follows none."""
        array = self._checked(numbers).astype(np.uint64)
        words = self.found.image[array >> np.uint64(6)]
        found: NDArray[np.bool_] = (words >> (array & np.uint64(63))) & np.uint64(1) == 0
        return found

    def successor(self, numbers: Any) -> NDArray[np.int64]:
        """The state after each of these, at the end of the input's period."""
        array = self._checked(numbers)
        for x in self.inputs:
            array = followers(self.machine, x, array)
        return array

    def cycle(self, attractor: int) -> State:
        """The states on an attractor, step by step, from the least one on: a batch of ``periods[attractor]``."""
        if not 0 <= attractor < self.attractors:
            raise InputError(f"attractors are numbered from 0 to {self.attractors - 1:,}, got {attractor}")
        state = self.state(self.found.least[attractor])
        taken = [state]
        for k in range(int(self.periods[attractor]) - 1):
            state, _ = self.machine.step(state, self.inputs[k % len(self.inputs)])
            taken.append(state)
        return {name: np.concatenate([s[name] for s in taken]) for name in self.machine.registers}

    def graph(self) -> networkx.DiGraph[int]:
        """The graph for networkx: a node for each number, with its `attractor` and `transient`.

        Raises
        ------
        InputError
            If there are more than 4,096 states.
        ToolError
            If networkx is not installed.
        """
        return networkx_graph(self)

    def draw(self, to: Any) -> None:
        """Draw every state as a dot: attractors as rings, what leads to them around; basins are coloured.

        Parameters
        ----------
        to : path or matplotlib Axes
            A file to write (the format by its suffix), or where to draw.

        Raises
        ------
        InputError
            If there are more than 4,096 states; see `plot`.
        ToolError
            If matplotlib is not installed.
        """
        draw_basins(self, to)

    def plot(self, to: Any) -> None:
        """Draw, for each of the largest basins, how many states are how many edges before the attractor.

        Parameters
        ----------
        to : path or matplotlib Axes

        Raises
        ------
        ToolError
            If matplotlib is not installed.
        """
        plot_transients(self, to)

    def __str__(self) -> str:
        periods, basins = self.periods, self.basins
        many = f", of periods {_spans(periods)}" if self.attractors > 5 else ""
        lines = [
            f"{self.states:,} states, {_plural(self.attractors, 'attractor')}{many}",
            f"longest transient {self.longest_transient:,}, Gardens of Eden {self.gardens:,}",
        ]
        if len(self.inputs) > 1:
            lines.append(f"an edge is the {len(self.inputs)} steps of the input's period")
        shown = min(self.attractors, 5)
        lines += [
            f"attractor {k}: period {periods[k]:,}, basin {basins[k]:,} ({100 * basins[k] / self.states:.1f} %)"
            for k in range(shown)
        ]
        if self.attractors > shown:
            lines.append(f"and {self.attractors - shown:,} more, of smaller basins or equal ones")
        return "\n  ".join(lines)


def state_graph(
    machine: Machine, x: Any = None, *, memory: int = 1 << 31, progress: bool = True, kernels: bool = True
) -> StateGraph:
    """Every state of a machine under a constant or periodic input: attractors, basins, transients.

    All states of the registers' alphabets are gone through, up to 2^28. It takes 4 bytes a state, 8 under an input of
    several steps, a bit more for those that are reached, and 20 bytes for each attractor and each number of steps
    before it that some state has; that is compared with `memory` before anything is computed, the latter as it goes.
    Without compiled kernels it takes some ten times as much.

    Where the next state is, element by element, a function of a sum of functions of single elements, as in a layer of
    threshold neurons or in a cellular automaton, it comes from tables of parts of these sums, which the machine's own
    step confirms on a sample; otherwise from `Machine.step`.

    Parameters
    ----------
    machine : Machine
        One with registers.
    x : integer array (1, *shape), or mapping of such by input name; or a list of them
        The input of every step, or of the steps of a period; None for a machine without inputs.
    memory : int
        Most bytes.
    progress : bool
        Whether to show a bar, where there are 2^22 states or more.
    kernels : bool
        Whether to use compiled kernels, where there are any. Results are the same.

    Returns
    -------
    StateGraph

    Raises
    ------
    InputError
        If the machine has no registers, or the input is missing or not one of its own.
    LimitError
        If there are too many states, or they take too much memory.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.register("h", (3,), Levels(0, 1))
    >>> z = b.affine(h, [[0, -1, 0], [1, 0, -1], [0, 1, 0]], name="z")
    >>> b.connect(h, b.staircase(z, [0], [0, 1], name="following"))
    >>> found = state_graph(b.build(h))
    >>> print(found)
    8 states, 1 attractor
      longest transient 1, Gardens of Eden 4
      attractor 0: period 4, basin 8 (100.0 %)
    >>> found.cycle(0)["h"].tolist()
    [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    """
    name = "state graph"
    steps = periodic(machine, x, name)
    states = number_of(machine, machine.registers)
    if states > MAX_STATES:
        raise LimitError(
            f"{name}: there are {shown_count(states)} states, more than 2^28 = {MAX_STATES:,}; ask fixed_points or "
            "cycles, which need not go through them, or orbit"
        )
    due = states * (4 if len(steps) == 1 else 8) + states // 8
    if due >= memory:
        raise LimitError(f"{name}: {states:,} states take {due:,} bytes, more than memory={memory:,}")
    with bar(
        progress and states >= 1 << 22, f"{states:,} states, {due / 2**20:,.0f} MiB", states * (len(steps) + 2)
    ) as done:
        table = np.empty(states, dtype=np.int32)
        successors(machine, steps[0], table, done, kernels=kernels)
        if len(steps) > 1:
            then = np.empty(states, dtype=np.int32)
            for step in steps[1:]:
                successors(machine, step, then, done, kernels=kernels)
                for part in np.array_split(table, -(-states // (1 << 22))):
                    part[:] = then[part]
            del then
        found = attractors_of(table, memory - due, done, kernels=kernels)
    return StateGraph(machine, steps, states, found)


def basins(machine: Machine, x: Any = None, **options: Any) -> NDArray[np.int64]:
    """How many states lead to each attractor, its own among them, the most first.

    Parameters are those of `state_graph`, whose result says which attractors these are.

    Returns
    -------
    int64 array (attractors,)
        Its sum is the number of states.

    Examples
    --------
    0 stays as it is, 1 and 2 take turns, and all else leads to them:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> n = b.register("n", (1,), Levels(0, 9))
    >>> b.connect(n, b.lookup(n, [0, 2, 1, 2, 2, 3, 3, 4, 4, 5]))
    >>> basins(b.build(n)).tolist()
    [9, 1]
    """
    return state_graph(machine, x, **options).basins


def transients(machine: Machine, x: Any = None, **options: Any) -> NDArray[np.int64]:
    """How many states are 0, 1, 2, .. edges before their attractor.

    Parameters are those of `state_graph`; an edge is all steps of a periodic input.

    Returns
    -------
    int64 array (longest transient + 1,)
        Its sum is the number of states, its first element how many are on an attractor.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> n = b.register("n", (1,), Levels(0, 9))
    >>> b.connect(n, b.lookup(n, [0, 2, 1, 2, 2, 3, 3, 4, 4, 5]))
    >>> transients(b.build(n)).tolist()
    [3, 2, 4, 1]
    """
    return state_graph(machine, x, **options).transients


def periodic(machine: Machine, x: Any, name: str) -> tuple[State, ...]:
    """The steps of a constant or periodic input, each as a batch of one, checked.

    Raises
    ------
    InputError
        If the machine has no registers, or the input is missing or not one of its own.
    """
    if not machine.registers:
        raise InputError(f"{name}: this machine has no registers, so nothing of one step is left in the next")
    if x is None and machine.inputs:
        raise InputError(f"{name}: a constant input is due for {', '.join(machine.inputs)}, or a list of them")
    steps = list(x) if isinstance(x, Sequence) and not _is_one(machine, x) else [x]
    if not steps:
        raise InputError(f"{name}: an input has at least one step")
    found = []
    for step in steps:
        traced = machine.trace({} if step is None else step)
        inputs = {n: traced[n] for n in machine.inputs}
        if any(len(value) != 1 for value in inputs.values()):
            raise InputError(f"{name}: one input for each step is due, as a batch of 1")
        found.append(inputs)
    return tuple(found)


def _is_one(machine: Machine, x: Any) -> bool:
    """Whether a list is a batch of one, not the steps of a period: by how deep it is."""
    if len(machine.inputs) != 1 or any(isinstance(v, Mapping) for v in x):
        return False
    return np.ndim(x) == 1 + len(machine.wires[machine.inputs[0]].shape)


def _repeated(value: IntArray, state: Mapping[str, Any]) -> IntArray:
    return np.repeat(value, len(next(iter(state.values()))), axis=0)


def _spans(periods: NDArray[np.int64]) -> str:
    low, high = int(periods.min()), int(periods.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
