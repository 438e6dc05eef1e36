"""Fixed points and cycles of a given length: from the whole state graph, or by a solver where it is too large."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..machine import InputError, IntArray, Machine
from .additive import Table, additive
from .encoding import Encoded, encode, free, known, solver_module, sum_of
from .orbit import LimitError
from .progress import spinner
from .sat import MAX_NODES, MAX_RADIX, cycles_of, reads_of
from .state_graph import State, periodic, state_graph
from .states import arrays, number_of, radices

METHODS = ("state graph", "SAT", "CP-SAT")
EXHAUSTIVE = 1 << 20
"""Most states that are all gone through when no method is asked for."""
SPARSE = 16
"""Most elements that one of the next state reads, if SAT is chosen when no method is asked for."""
FEW_NODES = 1 << 16
"""Most nodes of its formula, then."""
CHUNK = 1 << 50
"""Most values of a part of a state that is compared as one number."""


@dataclass(frozen=True, eq=False)
class Cycles:
    """Cycles of one length, each with the least of its states first.

    Attributes
    ----------
    machine : Machine
    inputs : tuple of mappings
        The input of each step of its period.
    length : int
        States on a cycle, at the beginning of the input's period; 1 for fixed points.
    found : list of mappings
        For each cycle its states as `Machine.step` takes them, a batch of `length`.
    status : str
        ``complete``: these are all there are. ``limit reached``: there may be more than were asked for. ``unknown``:
        time ended before that was known. ``interrupted``: someone pressed Ctrl-C before.
    method : str
        One of `METHODS`.
    """

    machine: Machine
    inputs: tuple[State, ...]
    length: int
    found: list[State]
    status: str
    method: str

    def replay(self) -> bool:
        """Whether the reference interpreter confirms that these are different cycles of this length."""
        seen: set[bytes] = set()
        for cycle in self.found:
            after: dict[str, IntArray] = cycle
            for x in self.inputs:
                inputs = {name: np.repeat(value, self.length, axis=0) for name, value in x.items()}
                after = self.machine.step(after, inputs, executor="reference")[0]
            if any((np.roll(cycle[name], -1, axis=0) != after[name]).any() for name in self.machine.registers):
                return False
            states = [
                b"".join(cycle[n][k].astype(np.int64).tobytes() for n in self.machine.registers)
                for k in range(self.length)
            ]
            if len({*states} - seen) != self.length:
                return False
            seen.update(states)
        return True

    def __str__(self) -> str:
        what = "fixed point" if self.length == 1 else f"cycle of {self.length:,} states"
        many = what.replace("point", "points").replace("cycle", "cycles") if len(self.found) != 1 else what
        said = {
            "complete": "these are all",
            "limit reached": "there may be more, the limit was reached",
            "unknown": "there may be more, the search was cut short",
            "interrupted": "there may be more, the search was interrupted",
        }
        return f"{len(self.found):,} {many} ({self.method}): {said[self.status]}"


def fixed_points(machine: Machine, x: Any = None, **options: Any) -> Cycles:
    """States that follow themselves under a constant input, or after all steps of a periodic one.

    Parameters are those of `cycles`, without the length.

    Examples
    --------
    A ring of units that copy their neighbour stays as it is only if all are the same:

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.register("h", (40,), Levels(0, 2))
    >>> b.connect(h, b.concat(b.slice(h, [1], [40]), b.slice(h, [0], [1])))
    >>> found = fixed_points(b.build(h))
    >>> print(found)
    3 fixed points (SAT): these are all
    >>> sorted(state["h"][0, 0].item() for state in found.found)
    [0, 1, 2]
    """
    return cycles(machine, 1, x, **options)


def cycles(
    machine: Machine,
    length: int,
    x: Any = None,
    *,
    limit: int = 1000,
    seconds: float = 60,
    method: str | None = None,
    progress: bool = False,
) -> Cycles:
    """The cycles of so many states under a constant or periodic input, each of them once.

    Up to 2^20 states all are gone through. Above, `length` copies of the machine become constraints for a solver, with
    the successor of the last state equal to the first, which is less than all others; solutions are enumerated. What it
    finds is confirmed by the reference interpreter. That there are no others rests on the solver.

    Solvers are SAT (Glucose) for sparse threshold and Boolean networks: where the next state is, element by element, a
    table of a sum of functions of at most 16 elements, each of at most 16 values. Of 60 neurons that read eight others
    it needs a twentieth of CP-SAT's time or less (``benchmarks/fixed_points.py``). CP-SAT takes any machine, and is
    ahead where every neuron reads all.

    Parameters
    ----------
    machine : Machine
        One with registers.
    length : int
        States on a cycle; under an input of p steps, those at the beginning of its period.
    x : integer array (1, *shape), or mapping of such by input name; or a list of them
        The input of every step, or of the steps of a period.
    limit : int
        Most cycles to find.
    seconds : float
        Most time for the solver, which looks at the clock every few seconds at the latest.
    method : str, optional
        ``state graph``, ``SAT`` or ``CP-SAT``, in place of a choice by the number of states and what they read. SAT
        can be asked for where elements read more than 16 others, too.
    progress : bool
        Show how many were found, and the time.

    Returns
    -------
    Cycles

    Raises
    ------
    InputError
        If the machine has no registers, the input is missing or not one of its own, an option makes no sense, or the
        machine is not of the kind that the method takes.
    RangeError
        If a wire is too wide for CP-SAT.
    LimitError
        If the formula for SAT is too large.
    ToolError
        If OR-Tools, or python-sat, is not installed.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> n = b.register("n", (1,), Levels(0, 9))
    >>> b.connect(n, b.lookup(n, [1, 2, 0, 4, 3, 6, 5, 7, 7, 0]))
    >>> found = cycles(b.build(n), 2)
    >>> print(found)
    2 cycles of 2 states (state graph): these are all
    >>> [cycle["n"].ravel().tolist() for cycle in found.found]
    [[3, 4], [5, 6]]
    """
    name = "cycles"
    for what, value in (("length", length), ("limit", limit)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}: {what} is a positive integer, got {value!r}")
    if method not in (None, *METHODS):
        raise InputError(f"{name}: method is {', '.join(METHODS[:-1])} or {METHODS[-1]}, got {method!r}")
    steps = periodic(machine, x, name)
    asked = method is not None
    tables: list[list[Table]] | None = None
    if method is None and number_of(machine, machine.registers) <= EXHAUSTIVE:
        method = "state graph"
    if method in (None, "SAT"):
        tables = _tables(machine, steps)
        if method is None:
            sizes = radices(machine, machine.registers)
            sparse = tables is not None and all(reads_of(t, sizes) <= SPARSE for t in tables)
            method = "SAT" if sparse else "CP-SAT"
        elif tables is None:
            raise InputError(
                f"{name}: SAT takes machines whose next state is made of tables of sums of elements of at most "
                f'{MAX_RADIX} values, such as threshold networks; take method="CP-SAT"'
            )

    def search() -> tuple[list[State], str]:
        with spinner(progress, f"{name} of length {length:,}, {method}") as say:
            if method == "state graph":
                return _from_graph(machine, length, list(steps), limit)
            if tables is not None and method == "SAT":
                return _from_sat(machine, length, tables, limit, seconds, MAX_NODES if asked else FEW_NODES, say)
            return _from_solver(machine, length, steps, limit, seconds, say)

    try:
        found, status = search()
    except LimitError:
        if asked:
            raise
        method = "CP-SAT"
        found, status = search()
    result = Cycles(machine, steps, length, found, status, method)
    if not result.replay():
        raise RuntimeError(f"{name}: the machine does not confirm what {method} found; please report this")
    return result


def _from_graph(machine: Machine, length: int, steps: list[State], limit: int) -> tuple[list[State], str]:
    graph = state_graph(machine, steps)
    chosen = np.flatnonzero(graph.found.periods == length)
    chosen = chosen[np.argsort(graph.found.least[chosen], kind="stable")]
    found = [{n: v[:: len(steps)] for n, v in graph.cycle(int(k)).items()} for k in chosen[:limit]]
    return found, "complete" if len(chosen) <= limit else "limit reached"


def _tables(machine: Machine, steps: tuple[State, ...]) -> list[list[Table]] | None:
    """For each step the next state as tables of sums, if it is of that kind and its elements have few values."""
    if max(radices(machine, machine.registers)) > MAX_RADIX:
        return None
    found = []
    for x in steps:
        tables = additive(machine, x)
        if tables is None:
            return None
        found.append(tables)
    return found


def _from_sat(
    machine: Machine,
    length: int,
    tables: list[list[Table]],
    limit: int,
    seconds: float,
    nodes: int,
    say: Callable[[str], None],
) -> tuple[list[State], str]:
    names = machine.registers
    sizes = radices(machine, names)
    found, status = cycles_of(tables, sizes, length, limit=limit, seconds=seconds, nodes=nodes, say=say)
    alphabets = [machine.wires[n].alphabet for n in names for _ in range(machine.wires[n].size)]
    least, step = (np.array([getattr(a, what) for a in alphabets], dtype=object) for what in ("lo", "step"))
    return [arrays(machine, names, digits * step + least) for digits in found], status


def _from_solver(
    machine: Machine, length: int, steps: tuple[State, ...], limit: int, seconds: float, say: Callable[[str], None]
) -> tuple[list[State], str]:
    cp_model = solver_module()
    model = cp_model.CpModel()
    names = machine.registers
    first = {n: free(model, machine.wires[n].range, n) for n in names}
    states = [first]
    for k in range(length):
        current = states[-1]
        for t, x in enumerate(steps):
            given = {**current, **{n: known(v[0]) for n, v in x.items()}}
            wires = encode(model, machine, given, f"{k}.{t} ")
            current = {n: wires[after] for n, after in machine.successors.items()}
        states.append(current)
    for one, other in zip(_elements(first, names), _elements(states.pop(), names)):
        model.add(one == other)
    for other in states[1:]:
        _less(model, machine, first, other)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    return _enumerate(model, solver, lambda solution: _read(solution, states, names), limit, say)


def _read(solution: Any, states: list[dict[str, Encoded]], names: tuple[str, ...]) -> State:
    return {n: np.stack([state[n].values(solution) for state in states]) for n in names}


def _elements(state: dict[str, Encoded], names: tuple[str, ...]) -> list[Any]:
    return [e for n in names for e in state[n].elements.ravel().tolist()]


def _less(model: Any, machine: Machine, one: dict[str, Encoded], other: dict[str, Encoded]) -> None:
    """One state before another in the order of their numbers."""
    parts = list(zip(_parts(machine, one), _parts(machine, other)))
    equal: list[Any] = []  # that the parts so far are equal, as one literal; none before the first
    for a, b in parts[:-1]:
        still = model.new_bool_var("")
        for before in equal:
            model.add_implication(still, before)
        model.add(a == b).only_enforce_if(still)
        model.add(a < b).only_enforce_if([~still, *equal])
        equal = [still]
    model.add(parts[-1][0] < parts[-1][1]).only_enforce_if(equal)


def _parts(machine: Machine, state: dict[str, Encoded]) -> list[Any]:
    """A state's number in mixed radix, in parts that fit the solver's integers."""
    found = []
    for name in machine.registers:
        alphabet = machine.wires[name].alphabet
        width = max(abs(alphabet.lo), abs(alphabet.hi)) + 1
        most = 1
        while width * alphabet.size**most < CHUNK and most < machine.wires[name].size:
            most += 1
        elements = state[name].elements.ravel().tolist()
        for start in range(0, len(elements), most):
            part = elements[start : start + most]
            found.append(sum_of(part, [alphabet.size**k for k in reversed(range(len(part)))]))
    return found


def _enumerate(
    model: Any, solver: Any, read: Callable[[Any], State], limit: int, say: Callable[[str], None]
) -> tuple[list[State], str]:
    """All solutions of one search; what is not the first state is a function of it, so none comes twice."""
    found: list[State] = []
    more = False

    class Collect(solver_module().CpSolverSolutionCallback):  # type: ignore[misc]
        def on_solution_callback(self) -> None:
            nonlocal more
            if len(found) == limit:
                more = True
                self.stop_search()
            else:
                found.append(read(self))
                say(f"{len(found):,} found")

    solver.parameters.enumerate_all_solutions = True
    # from its own thread, so that Ctrl-C comes to this one at any time
    solver.parameters.catch_sigint_signal = False
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(solver.solve, model, Collect())
        try:
            status = solver.status_name(search.result())
        except KeyboardInterrupt:
            status = "INTERRUPTED"
            while not search.done():  # what has not begun cannot be stopped yet
                solver.stop_search()
                wait([search], 0.1)
    if more:
        return found, "limit reached"
    return found, {"OPTIMAL": "complete", "INFEASIBLE": "complete", "INTERRUPTED": "interrupted"}.get(status, "unknown")
