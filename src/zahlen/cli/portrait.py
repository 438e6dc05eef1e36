"""What ``zahlen analyse`` says of a machine without being asked: what there is to know, and what that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..machine import InputError
from .steps import described

if TYPE_CHECKING:
    from .analyse import Task

FEW_STATES = 1 << 16
"""Most states that are all gone through here."""
FEW_REACHED = 1 << 12
"""Most states of an automaton that is found here."""
FEW_PAIRS = 1 << 16
"""Most pairs of states, times symbols, of a memory that is found here."""
FEW_SYMBOLS = 1 << 8
"""Most input symbols that are gone through here."""
FEW_INPUTS = 4
"""Most constant inputs that all states are gone through under."""
FEW_STEPS = 10_000
"""Most steps of an orbit."""
FEW_CELLS = 1 << 12
"""Most cells of a slice."""


def portrait(task: Task) -> None:
    """Print the alphabets, and for each question its answer or what it takes."""
    from ..analysis.states import number_of, shown_count

    machine = task.machine
    symbols, states = number_of(machine, machine.inputs), number_of(machine, machine.registers)
    print(f"{task.model}, hash {machine.hash}")
    for what, names, more in (
        ("inputs", machine.inputs, f"; {shown_count(symbols)} symbols"),
        ("registers", machine.registers, f"; {shown_count(states)} states, {machine.state_bits:,} bits"),
        ("outputs", machine.outputs, ""),
    ):
        print(f"{what}: {described(machine, names)}{more}" if names else f"{what}: none")
    task.record |= {"symbols": symbols, "states": states, "state_bits": machine.state_bits}
    if machine.registers:
        _dynamics(task, states)
        _words(task, symbols)
    else:
        print("without registers nothing of one step is left in the next, and the rest is about a single step")
        _function(task)


def _say(task: Task, what: str, option: str, answer: object, **record: Any) -> None:
    print(f"{what} ({option}): {answer}")
    if record:
        task.record[what] = record


def _dynamics(task: Task, states: int) -> None:
    from .. import analysis
    from ..analysis.state_graph import MAX_STATES
    from ..analysis.states import number_of, shown_count
    from .analyse import graph_record

    machine, options = task.machine, "--fixed-points, --cycles K"
    wanted = bool(machine.inputs) and task.period is None
    under = ", under an --input" if wanted else ""
    if states > MAX_STATES:
        _say(task, "states", "--states", f"{shown_count(states)} are more than 2^28, too many to go through")
        _say(task, "fixed points, cycles", options, f"a solver may find them{under}")
    elif wanted or states > FEW_STATES:
        takes = f"{4 * states + states // 8:,} bytes, or {8 * states + states // 8:,} under several steps"
        _say(task, "states", "--states", f"all {states:,} take {takes}{under}")
        _say(task, "fixed points, cycles", options, f"from all states, or by a solver{under}")
    else:
        graph = analysis.state_graph(machine, task.period, progress=False)
        _say(task, "states", "--states", graph, **graph_record(graph))
        _say(task, "fixed points", "--fixed-points", f"{int((graph.found.periods == 1).sum()):,}")
    if wanted and number_of(machine, machine.inputs) <= FEW_INPUTS and states <= FEW_STATES:
        _constants(task)
    if wanted or len(task.period or ()) > 1:
        _say(task, "orbit", "--orbit", "in the memory of two states, under a constant --input")
        return
    try:
        found = analysis.orbit(machine, None, task.period[0] if task.period else None, limit=FEW_STEPS)
    except analysis.LimitError:
        _say(task, "orbit", "--orbit", f"no state comes again within {FEW_STEPS:,} steps")
        return
    _say(task, "orbit", "--orbit", found, transient=found.transient, period=found.period)


def _constants(task: Task) -> None:
    """A line for each constant input."""
    from .. import analysis
    from ..analysis.states import arrays, symbols

    machine = task.machine
    letters = symbols(machine)
    for k in range(len(letters)):
        x = arrays(machine, machine.inputs, letters[k : k + 1])
        graph = analysis.state_graph(machine, x, progress=False)
        name = " ".join(f"{n}={','.join(map(str, v.ravel().tolist()))}" for n, v in x.items())
        fixed = int((graph.periods == 1).sum())
        counts = {"attractors": graph.attractors, "fixed_points": fixed, "longest_transient": graph.longest_transient}
        said = f"attractors {graph.attractors:,}, of them fixed points {fixed:,}; longest transient "
        _say(task, f"states under {name}", "--states", f"{said}{graph.longest_transient:,}", **counts)


def _words(task: Task, symbols: int) -> None:
    from .. import analysis
    from ..analysis.states import shown_count

    many = symbols > FEW_SYMBOLS
    chosen = f"{shown_count(symbols)} symbols are many; choose with --symbol"
    found = analysis.memory(task.machine, limit=1 if many else FEW_PAIRS)
    if found.finite is None:
        pairs = f"more than {FEW_PAIRS:,} pairs of states, times symbols"
        _say(task, "memory", "--memory-length", chosen if many else pairs)
    else:
        head = str(found).splitlines()[0]
        _say(task, "memory", "--memory-length", head, finite=found.finite, length=found.length)
    if many:
        _say(task, "automaton", "--automaton", chosen)
        return
    try:
        whole = analysis.automaton(task.machine, least=False, limit=FEW_REACHED)
    except analysis.LimitError:
        _say(task, "automaton", "--automaton", f"more than {FEW_REACHED:,} states are reached")
        return
    least = analysis.minimise(whole)
    said = f"{len(whole):,} states are reached, the least one has {len(least):,}"
    _say(task, "automaton", "--automaton", said, kind=least.kind, reached=len(whole), states=len(least))


def _function(task: Task) -> None:
    """A machine as a piecewise affine function of its inputs."""
    from .. import analysis
    from ..analysis.piecewise.program import program

    machine = task.machine
    try:
        plan = program("analyse", machine)
    except InputError as error:
        _say(task, "regions, pieces, tropical form", "--regions, --pieces, --tropical", error)
        return
    size = sum(machine.wires[name].size for name in machine.inputs)
    questions: list[tuple[str, Any, int, str]] = [
        ("regions", analysis.regions, 2, "on the plane --through 3 samples of DATA"),
        ("pieces", analysis.pieces, 1, "on the line --through 2 samples of DATA"),
    ]
    for what, find, elements, where in questions:
        if size != elements:
            _say(task, what, f"--{what}", where)
            continue
        try:
            found = find(machine, limit=FEW_CELLS)
        except analysis.LimitError:
            _say(task, what, f"--{what}", f"more than {FEW_CELLS:,} cells")
        else:
            _say(task, what, f"--{what}", found, **found.counts)
    variables = f"of {size:,} variables; or of one or two, --through samples"
    _say(task, "tropical form", "--tropical", variables if plan.continuous else "there is none: the function jumps")
