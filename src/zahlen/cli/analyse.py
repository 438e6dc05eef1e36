"""``zahlen analyse``: what a machine does for ever, which automaton it is, and which affine functions."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..machine import FileError, IntArray, Machine, load, replacing
from .app import app, belongs, error_console
from .inspect import ModelFile
from .slices import Slicing, Within, slices
from .steps import State, batch, described, joined, steps

if TYPE_CHECKING:
    from ..analysis import Automaton, Reading, StateGraph

SHOWN = 20
"""Most cycles that are printed."""
LISTED = 1000
"""Most attractors that are written to a JSON file."""


@dataclass
class Task:
    """What is analysed, and what was found."""

    machine: Machine
    model: Path
    initial: State | None
    period: list[State] | None
    """The input of each step of a period; none for a machine without inputs, or if none was given."""
    symbols: State | None
    """Input symbols as one batch; none for all."""
    limit: int | None
    progress: bool
    record: dict[str, Any] = field(default_factory=dict)
    complete: bool = True

    def options(self, **others: Any) -> dict[str, Any]:
        """What functions of the analysis are told beside their question."""
        return others | ({} if self.limit is None else {"limit": self.limit})

    def say(self, name: str, found: object, record: dict[str, Any]) -> None:
        """Print what was found, and keep it for the file."""
        print(f"{name}: {found}", flush=True)
        self.record[name] = record

    @contextlib.contextmanager
    def recorded(self, path: Path | None) -> Iterator[None]:
        """Write what is found within to a file of JSON; what was found before Ctrl-C, too."""
        try:
            yield
        except KeyboardInterrupt:
            if path is not None and self.record:
                self._write(path, interrupted=True)
            raise
        if path is not None:
            self._write(path)

    def _write(self, path: Path, **remarks: Any) -> None:
        record = {"machine": self.machine.hash, "model": self.model.name, **remarks, **self.record}
        with replacing(path) as file:
            file.write((json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


@app.command()
def analyse(
    model: ModelFile,
    data: Annotated[
        str, typer.Argument(help="Samples for --through: a data set (its test part), .npy, .npz or .csv.")
    ] = "",
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="The input of a step, repeated for a period: 1, or 1,0,-1, or x=1,0 y=2, or .npy."
        ),
    ] = None,
    initial: Annotated[
        str | None, typer.Option(help="The state to start from, such as h=0,1,1.", show_default="the machine's own")
    ] = None,
    states: Annotated[bool, typer.Option("--states", help="All states: attractors, basins, transients.")] = False,
    memory: Annotated[str, typer.Option(help="Most memory for --states.")] = "2G",
    orbit: Annotated[bool, typer.Option("--orbit", help="Where the initial state leads.")] = False,
    fixed_points: Annotated[bool, typer.Option("--fixed-points", help="States that follow themselves.")] = False,
    cycles: Annotated[int | None, typer.Option(min=1, metavar="K", help="Cycles of K states.")] = None,
    seconds: Annotated[float, typer.Option(help="Most time for the solver of fixed points, and of cycles.")] = 60.0,
    memory_length: Annotated[
        bool, typer.Option("--memory-length", help="For how many steps the initial state matters.")
    ] = False,
    automaton: Annotated[bool, typer.Option("--automaton", help="The least automaton that the machine is.")] = False,
    symbols: Annotated[
        list[str] | None,
        typer.Option("--symbol", help="A symbol that is read, as for --input; repeated.", show_default="all"),
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="The symbol behind a word: what is said then is the word's label.")
    ] = None,
    observe: Annotated[
        Literal["output", "class"], typer.Option(help="class: only the place of the largest output is seen.")
    ] = "output",
    accept: Annotated[int | None, typer.Option(help="A word is accepted if this is the output, or the class.")] = None,
    equivalent: Annotated[
        Path | None, typer.Option(help="Another machine, or an automaton's file: is it the same automaton?")
    ] = None,
    expression: Annotated[
        bool, typer.Option("--expression", help="What is accepted, as a regular expression.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the automaton: .dot, .gv, .kiss, .kiss2, .att.")
    ] = None,
    regions: Annotated[
        bool, typer.Option("--regions", help="The polygons of a plane on each of which the machine is affine.")
    ] = False,
    pieces: Annotated[
        bool, typer.Option("--pieces", help="The pieces of a line on which it is, and where the class changes.")
    ] = False,
    tropical: Annotated[
        bool, typer.Option("--tropical", help="The function as the difference of two tropical polynomials.")
    ] = False,
    through: Annotated[
        str | None,
        typer.Option(
            metavar="I,J,..",
            help="Samples of DATA, from 0 on: a plane goes through three, a line through two.",
            show_default="all of an input of two elements, or of one",
        ),
    ] = None,
    divide: Annotated[
        int | None, typer.Option(min=1, help="Divide the samples' values first, rounding down.", show_default="1")
    ] = None,
    within: Annotated[
        Within | None,
        typer.Option(
            help="Which part: where inputs are, or between samples.", show_default="box; segment for --pieces"
        ),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(metavar="WIRES", help="Whose function it is, with commas between.", show_default="the outputs"),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(help="Draw the states, the orbit, the automaton or the regions, whichever is asked for."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw how many states are how far from their attractor.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most cycles to find, steps of an orbit, states of an automaton, pairs of states of a memory, cells "
            "of a slice, or monomials.",
            show_default="1,000; none; 2^22; 2^21; 2^20; 2^16",
        ),
    ] = None,
    record: Annotated[Path | None, typer.Option("--json", help="Write what was found to a file, too.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars.")] = False,
) -> None:
    """Say what a machine does for ever, exactly: attractors, fixed points, memory, its automaton, linear regions.

    Without options a portrait: what can be asked, what it takes, and the answers that come at once.
    Exit code 1 if --equivalent finds a difference, or something was not decided.

    zahlen analyse out/model.zn
    zahlen analyse out/model.zn --states --input 0 --draw basins.png
    zahlen analyse out/model.zn --states --input 1 --input -1 --memory 3G --plot transients.png
    zahlen analyse out/model.zn --fixed-points --cycles 2 --input 0,1 --seconds 600 --json found.json
    zahlen analyse out/model.zn --automaton --symbol 0 --symbol 1 --observe class -o model.dot
    zahlen analyse out/model.zn --symbol 0 --symbol 1 --end 2 --accept 1 --equivalent grammar.dot --expression
    zahlen analyse out/model.zn digits --regions --through 0,1,2 --within triangle --draw regions.png
    zahlen analyse out/model.zn digits --pieces --through 0,1
    zahlen analyse planar.zn --regions --tropical --outputs relu_1
    """
    from ..analysis.automata.files import FORMATS
    from ..analysis.automata.reading import MAX_SYMBOLS
    from ..analysis.states import number_of, shown_count

    words = automaton or expression or equivalent is not None or out is not None
    dynamics = states or orbit or fixed_points or cycles is not None
    affine = {"--regions": regions, "--pieces": pieces, "--tropical": tropical}
    slicing = Slicing(tuple(name for name in affine if affine[name]), data, through, divide, within, outputs)
    asked = words or dynamics or memory_length or bool(slicing.asked)
    for name, given in (
        ("--end", end is not None),
        ("--accept", accept is not None),
        ("--observe", observe == "class"),
    ):
        belongs(given, words, name, "it says how an automaton is read; add --automaton")
    belongs(symbols is not None, words or memory_length, "--symbol", "add --automaton or --memory-length")
    belongs(inputs is not None, dynamics or not asked, "--input", "automata and memories take --symbol")
    belongs(initial is not None, words or orbit, "--initial", "add --orbit or --automaton")
    belongs(expression, end is not None and accept is not None, "--expression", "add --end and --accept")
    belongs(plot is not None, states, "--plot", "add --states")
    due = "one of --states, --orbit, --automaton, --regions is due"
    belongs(draw is not None, states + orbit + words + regions == 1, "--draw", due)
    belongs(orbit and len(inputs or ()) > 1, False, "--input", "an orbit has a constant input; --states takes a period")
    slicing.belongs()
    most = _bytes(memory)
    suffixes = tuple(FORMATS)
    if out is not None and not out.name.lower().endswith(suffixes):
        raise typer.BadParameter(f"the suffix is one of {', '.join(suffixes)}, got {out.name}", param_hint="--out")
    for path in (out, draw, plot, record):
        if path is not None and not path.parent.is_dir():
            raise FileError(f"{path}: cannot be written: there is no directory {path.parent}")
    machine = load(model)
    if dynamics and machine.inputs and not inputs:
        due = f"the input of each step is due, {described(machine, machine.inputs)}"
        raise typer.BadParameter(due, param_hint="--input")
    count = number_of(machine, machine.inputs)
    if (words or memory_length) and not symbols and count > MAX_SYMBOLS:
        due = f"there are {shown_count(count)} symbols, {described(machine, machine.inputs)}, more than {MAX_SYMBOLS:,}"
        raise typer.BadParameter(f"{due}; choose some", param_hint="--symbol")
    task = Task(
        machine,
        model,
        None if initial is None else batch(machine, machine.registers, initial, "--initial"),
        steps(machine, inputs, "--input") if inputs else None,
        joined(steps(machine, symbols, "--symbol")) if symbols else None,
        limit,
        not quiet,
    )
    with task.recorded(record):
        if not asked:
            from .portrait import portrait

            portrait(task)
        if states:
            _states(task, most, draw, plot)
        if orbit:
            _orbit(task, draw)
        for length in [1] * fixed_points + ([] if cycles is None else [cycles]):
            _cycles(task, length, seconds)
        if memory_length:
            _memory(task)
        if words:

            def read(other: Machine) -> Reading:
                return _reading(replace(task, machine=other), end, observe, accept)

            _automaton(task, read, equivalent, expression, out, draw)
        if slicing.asked:
            slices(task, slicing, draw)
    if not task.complete:
        raise typer.Exit(1)


# ---------------------------------------------------------------------------------------------------- dynamics


def _states(task: Task, memory: int, draw: Path | None, plot: Path | None) -> None:
    from .. import analysis

    found = analysis.state_graph(task.machine, task.period, memory=memory, progress=task.progress)
    task.say("states", found, graph_record(found))
    if draw is not None:
        found.draw(draw)
    if plot is not None:
        found.plot(plot)


def graph_record(found: StateGraph) -> dict[str, Any]:
    """A state graph for JSON: the largest basins, with the least state of their attractors."""
    least = found.state(found.found.least[:LISTED])
    listed = [
        {"period": int(period), "basin": int(basin), "state": {name: v[k].tolist() for name, v in least.items()}}
        for k, (period, basin) in enumerate(zip(found.periods[:LISTED], found.basins[:LISTED]))
    ]
    return {
        "states": found.states, "attractors": found.attractors, "largest": listed, "gardens": found.gardens,
        "longest_transient": found.longest_transient,
    }  # fmt: skip


def _orbit(task: Task, draw: Path | None) -> None:
    from .. import analysis

    x = None if task.period is None else task.period[0]
    found = analysis.orbit(task.machine, task.initial, x, **task.options())
    task.say("orbit", found, {"transient": found.transient, "period": found.period, "entry": _listed(found.entry)})
    if draw is not None:
        found.draw(draw)


def _cycles(task: Task, length: int, seconds: float) -> None:
    from .. import analysis

    options = task.options(seconds=seconds, progress=task.progress)
    found = analysis.cycles(task.machine, length, task.period, **options)
    name = "fixed points" if length == 1 else f"cycles of {length}"
    every = [_listed(cycle) for cycle in found.found]
    task.say(name, found, {"length": length, "status": found.status, "method": found.method, "found": every})
    for cycle in found.found[:SHOWN]:
        print("  " + _shown(cycle))
    if len(found.found) > SHOWN:
        print(f"  and {len(found.found) - SHOWN:,} more; --json writes all of them")
    if found.status == "interrupted":
        raise KeyboardInterrupt
    task.complete &= found.status != "unknown"


def _memory(task: Task) -> None:
    from .. import analysis

    found = analysis.memory(task.machine, inputs=task.symbols, **task.options())
    names = ("finite", "length", "path", "scope", "states", "symbols", "undecided")
    task.say("memory", found, {name: getattr(found, name) for name in names})
    task.complete &= found.finite is not None


def _listed(state: State) -> dict[str, Any]:
    return {name: values.tolist() for name, values in state.items()}


def _shown(cycle: State) -> str:
    count = len(next(iter(cycle.values())))
    return " -> ".join(", ".join(f"{n}={v[k].tolist()}" for n, v in cycle.items()) for k in range(count))


# ---------------------------------------------------------------------------------------------------- automata


def _reading(task: Task, end: str | None, observe: str, accept: int | None) -> Reading:
    from .. import analysis

    machine = task.machine
    last = None if end is None else joined(steps(machine, [end], "--end"))
    if observe == "output" and accept is None:
        return analysis.Reading(machine, task.symbols, task.initial, None, last)
    if len(machine.outputs) != 1:
        names = ", ".join(machine.outputs)
        raise typer.BadParameter(f"one output is due, this machine has {names}", param_hint="--observe, --accept")
    wire = machine.wires[machine.outputs[0]]
    chosen = observe == "class" or wire.size > 1
    if accept is not None and accept not in (range(wire.size) if chosen else wire.alphabet):
        due = f"a class is 0..{wire.size - 1}" if chosen else described(machine, machine.outputs)
        raise typer.BadParameter(f"{due}, got {accept}", param_hint="--accept")

    def seen(output: IntArray) -> Any:
        flat = output.reshape(len(output), -1)
        said = flat.argmax(axis=1) if chosen else flat[:, 0]
        return said if accept is None else said == accept

    return analysis.Reading(machine, task.symbols, task.initial, seen, last)


def _automaton(
    task: Task,
    read: Callable[[Machine], Reading],
    other: Path | None,
    expression: bool,
    out: Path | None,
    draw: Path | None,
) -> None:
    from .. import analysis

    reading = read(task.machine)
    whole = analysis.automaton(reading, least=False, progress=task.progress, **task.options())
    found = analysis.minimise(whole)
    record = {"kind": found.kind, "reached": len(whole), "states": len(found)}
    record |= {"symbols": found.symbols, "labels": found.labels}
    task.say("automaton", f"{found}\n  the least one of {len(whole):,} states that are reached", record)
    if out is not None:
        _write(found, out)
    if draw is not None:
        found.draw(draw)
    if expression:
        text = analysis.automata.to_expression(found)
        task.say("expression", text, {"expression": text})
    if other is not None:
        another = read(load(other)) if other.suffix.lower() == ".zn" else analysis.automata.load(other)
        same = analysis.equivalent(found, another)
        if not same and not same.replay(reading, another):
            raise RuntimeError("analyse: the machine does not confirm the word; please report this")
        record = {"equal": same.equal, "word": same.word, "said": same.said, "states": same.states}
        task.say("equivalent", same, record)
        task.complete &= same.equal


def _write(found: Automaton, out: Path) -> None:
    """To a file; KISS2 has bits for names, so that their meaning is told."""
    from .. import analysis

    if out.suffix.lower() in (".kiss", ".kiss2") and found.kind == "Mealy":
        plain, found = found, analysis.automata.in_bits(found)
        for what, old, new in (("symbols", plain.symbols, found.symbols), ("outputs", plain.labels, found.labels)):
            named = ", ".join(f"{n} for {o}" for o, n in zip(old, new))
            error_console.print(f"{out}: {what} {named}", highlight=False, soft_wrap=True, markup=False)
    found.save(out)


def _bytes(text: str) -> int:
    """A number of bytes such as 500M or 3G."""
    match = re.fullmatch(r"(\d+)([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None or not int(match[1]):
        raise typer.BadParameter(f"a size such as 500M or 3G is due, got {text!r}", param_hint="--memory")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]
