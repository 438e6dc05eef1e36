"""``zahlen bench``: how long a machine takes on this computer, beside its float twin."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.progress import Progress
from rich.table import Table

from .. import __version__
from ..engine import NoPlan, Program
from ..kernels import native
from ..machine import FileError, InputError, IntArray, Machine, Wire, ZahlenError, executors, load, replacing
from ..timing import sample, settle
from .app import app, console, error_console, numbers
from .files import trained_network

TURN = 5e-3
"""Seconds that a contestant has in a round, or one call if that takes longer."""
SAMPLE = 2e-5
"""Seconds that a sample lasts at least: shorter calls are timed several in a row."""
LEAST_ROUNDS = 3
STEPS = 32
CHECKED = 4
"""How many rows of each batch are compared with the reference."""
MOST_ELEMENTS = 1 << 30

REFERENCE = "reference"
FLOAT = "PyTorch float32"


@dataclass(frozen=True, eq=False)
class Contestant:
    """One way to run a machine: a call on arrays that are in place, and what the last call left."""

    name: str
    call: Callable[[], object]
    output: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Race:
    """What is run: a batch, of so many steps if the machine has registers; `stream` for one step of one stream."""

    batch: int
    steps: int | None
    threads: int
    stream: bool = False

    @property
    def samples(self) -> int:
        """How many samples a call takes, or steps."""
        return self.batch * (self.steps or 1)

    def __str__(self) -> str:
        if self.stream:
            return "one step"
        return f"{self.batch:,}" if self.steps is None else f"{self.batch:,} x {self.steps:,}"


@dataclass(frozen=True)
class Result:
    """Seconds of a call; `ratio` is that of the first contestant's median in the same round, the median of rounds."""

    name: str
    p50: float
    p90: float
    p99: float
    least: float
    per_second: float
    ratio: float
    timed: int
    calls_at_once: int


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(help="A machine; the checkpoint beside it brings PyTorch in.")],
    batch: Annotated[str, typer.Option(help="Samples of a call.")] = "1,64,1024",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each sequence.", show_default=f"{STEPS}, with registers only")
    ] = None,
    threads: Annotated[str, typer.Option(help="Among how many threads a large batch may be divided.")] = "1",
    seconds: Annotated[float, typer.Option(help="For each batch and number of threads.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to a file, too.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print which kernel each operation gets, and why.")] = False,
) -> None:
    """Measure how long a machine takes here: percentiles of a call's time, and samples a second.

    Program.run_into writes to an array that is kept, Machine.run is the convenient entry, which checks and converts
    more; PyTorch is the float twin, where the checkpoint lies beside the machine. Machines with registers take
    sequences, and one step of a stream for latency. Inputs are random elements of the alphabet. All are timed in
    turns, in rounds whose order rotates; "times" is how many times as long as the first takes, round by round. Short
    calls are timed several in a row. Other runtimes are compared by benchmarks/peers.py of the source.

    zahlen bench out/model.zn
    zahlen bench out/model.zn --batch 1,256 --threads 1,2 --seconds 5 --json bench.json
    zahlen bench book/model.zn --batch 1,64 --steps 100 --plan
    """
    batches, cores = _numbers("--batch", batch), _numbers("--threads", threads)
    if not 0 < seconds <= 3600:
        raise typer.BadParameter(f"more than 0 and at most 3600 are due, got {seconds}", param_hint="--seconds")
    if out is not None and not out.parent.is_dir():
        raise FileError(f"{out}: cannot be written: there is no directory {out.parent}")
    machine = load(model)
    length = _checked(machine, model, max(batches), steps)
    if plan:
        print(machine.plan())
    network, without = _network(model, machine)
    races = [Race(n, length, k) for k in cores for n in batches]
    if length is not None:
        races = [Race(1, None, k, stream=True) for k in cores] + races
    results: list[tuple[Race, list[Result]]] = []
    with Progress(console=error_console, transient=True) as bars, _restored(network):
        for race in bars.track(races, description="measuring"):
            _threads(race.threads, network)
            contestants = _contestants(machine, race, network, np.random.default_rng(seed))
            results.append((race, _timed(race, contestants, seconds)))
    console.print(_table(model, results))
    console.print(f"{_kernels()}; {_processor()}", highlight=False, soft_wrap=True)
    for remark in without:
        error_console.print(remark, highlight=False, soft_wrap=True, markup=False)
    if out is not None:
        record = {"machine": machine.hash, "model": model.name, "seed": seed, "seconds": seconds, **_here(network)}
        record["races"] = [{**asdict(race), "results": [asdict(result) for result in found]} for race, found in results]
        with replacing(out) as file:
            file.write((json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


# ---------------------------------------------------------------------------------------------------- what is asked


def _numbers(option: str, text: str) -> tuple[int, ...]:
    values = tuple(dict.fromkeys(numbers(text)))
    if not values:
        raise typer.BadParameter("at least one number is due", param_hint=option)
    return values


def _checked(machine: Machine, model: Path, batch: int, steps: int | None) -> int | None:
    """How many steps a sequence has; none for machines without registers."""
    if not machine.inputs:
        raise InputError(f"{model}: this machine has no inputs, so there is no batch to measure")
    if steps is not None and not machine.registers:
        raise typer.BadParameter("only machines with registers take sequences; leave it out", param_hint="--steps")
    length = (steps or STEPS) if machine.registers else None
    elements = batch * (length or 1) * max(machine.wires[n].size for n in (*machine.inputs, *machine.outputs))
    if elements > MOST_ELEMENTS:
        raise typer.BadParameter(f"{elements:,} elements of one wire are too many to measure", param_hint="--batch")
    return length


def _network(model: Path, machine: Machine) -> tuple[Any, list[str]]:
    """The float twin, if there is one, and what is to be said where there is none."""
    try:
        network = trained_network(model, machine)
    except ZahlenError as error:
        return None, [f"PyTorch left out: {error}"]
    if network is None:
        return None, ["PyTorch left out: no checkpoint model.pt beside the machine"]
    return network.twin().eval(), []


@contextlib.contextmanager
def _restored(network: Any) -> Iterator[None]:
    """Leave the numbers of threads as they were found."""
    before, floats = os.environ.get("ZAHLEN_THREADS"), None
    if network is not None:
        import torch

        floats = torch.get_num_threads()
    try:
        yield
    finally:
        os.environ.pop("ZAHLEN_THREADS", None)
        if before is not None:
            os.environ["ZAHLEN_THREADS"] = before
        if floats is not None:
            torch.set_num_threads(floats)


def _threads(count: int, network: Any) -> None:
    os.environ["ZAHLEN_THREADS"] = str(count)
    if network is not None:
        import torch

        torch.set_num_threads(count)


# ---------------------------------------------------------------------------------------------------- contestants


def _contestants(machine: Machine, race: Race, network: Any, rng: np.random.Generator) -> list[Contestant]:
    """Who takes part; those of integers have returned what the reference does."""
    time_axis = () if race.steps is None else (race.steps,)
    inputs = {name: _random(rng, machine.wires[name], (race.batch, *time_axis)) for name in machine.inputs}
    found = []
    if native is not None:
        with contextlib.suppress(NoPlan):
            found.append(_step_of_program(machine, inputs) if race.stream else _program(machine, race, inputs))
    found.append(_step_of_machine(machine, inputs) if race.stream else _run(machine, inputs))
    _compare(machine, race, inputs, found)
    if network is not None:
        found.append(_float(network, race, inputs))
    return found


def _random(rng: np.random.Generator, wire: Wire, leading: tuple[int, ...]) -> IntArray:
    """Elements of the alphabet, in the type of fewest bytes."""
    a = wire.alphabet
    steps = rng.integers(0, min(a.size, 1 << 62), (*leading, *wire.shape))
    values: IntArray = a.lo + a.step * steps.astype(wire.value_dtype)
    fitting = (
        t for t in (np.uint8, np.int8, np.int16, np.int32) if np.iinfo(t).min <= a.lo and a.hi <= np.iinfo(t).max
    )
    return values.astype(next(fitting, wire.value_dtype))


def _program(machine: Machine, race: Race, inputs: dict[str, IntArray]) -> Contestant:
    program = Program(machine)
    if len(inputs) == len(machine.outputs) == 1:
        (x,), out = inputs.values(), program.empty(race.batch, race.steps)
        return Contestant("Program.run_into", lambda: program.run_into(x, out), lambda: out)
    steps = race.steps or 1
    leading = (race.batch,) if race.steps is None else (race.batch, steps)
    outs = {n: np.empty((*leading, *machine.wires[n].shape), dtype=program.output_dtypes[n]) for n in program.wanted}
    state = machine.initial_state(race.batch) or None
    following = None if state is None else {name: value.copy() for name, value in state.items()}

    def call() -> None:
        program.execute(inputs, outs, race.batch, steps, state, following)

    return Contestant("Program.execute", call, lambda: outs if len(outs) > 1 else next(iter(outs.values())))


def _run(machine: Machine, inputs: dict[str, IntArray]) -> Contestant:
    kept: list[Any] = [None]

    def call() -> None:
        kept[0] = machine.run(inputs)

    return Contestant("Machine.run", call, lambda: kept[0])


def _step_of_program(machine: Machine, inputs: dict[str, IntArray]) -> Contestant:
    if not len(inputs) == len(machine.outputs) == 1:
        raise NoPlan("streams have one input and one output")
    program = Program(machine)
    (x,), out = inputs.values(), program.empty(1)
    program.reset(1)
    return Contestant("Program.step_into", lambda: program.step_into(x, out), lambda: out)


def _step_of_machine(machine: Machine, inputs: dict[str, IntArray]) -> Contestant:
    kept: list[Any] = [machine.initial_state(1), None]

    def call() -> None:
        kept[:] = machine.step(kept[0], inputs)

    return Contestant("Machine.step", call, lambda: kept[1])


def _float(twin: Any, race: Race, inputs: dict[str, IntArray]) -> Contestant:
    import torch

    (values,) = inputs.values()
    x = torch.from_numpy(values)
    kept: list[Any] = [None]

    def call() -> None:
        with torch.inference_mode():
            twin(x)

    def step() -> None:
        with torch.inference_mode():
            kept[0] = twin.unroll(x[:, None], kept[0])[1]

    return Contestant(FLOAT, step if race.stream else call)


def _compare(machine: Machine, race: Race, inputs: dict[str, IntArray], contestants: list[Contestant]) -> None:
    """Run each once, and end the command if one differs from the reference."""
    rows = {name: value[:CHECKED] for name, value in inputs.items()}
    if race.stream:
        expected = machine.step(machine.initial_state(1), rows, executor=REFERENCE)[1]
    else:
        expected = machine.run(rows, executor=REFERENCE)
    for contestant in contestants:
        contestant.call()
        assert contestant.output is not None
        if not _same(contestant.output(), expected):
            error_console.print(f"[red]{contestant.name} differs from the reference[/], batch {race}", highlight=False)
            raise typer.Exit(1)


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return all(_same(found[name], values) for name, values in expected.items())
    return bool((found[: len(expected)] == expected).all())


# ---------------------------------------------------------------------------------------------------- the race


def _timed(race: Race, contestants: list[Contestant], seconds: float) -> list[Result]:
    """Rounds until the time is over, in each of which everybody has a turn."""
    shapes = [_calibrated(c.call) for c in contestants]
    turns: list[list[list[float]]] = [[] for _ in contestants]
    end = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        k = 0
        while k < LEAST_ROUNDS or time.perf_counter() < end:
            order = [(i + k // 2) % len(contestants) for i in range(len(contestants))]
            for i in order if k % 2 == 0 else reversed(order):
                settle()
                contestants[i].call()  # back into the caches, threads awake
                count, calls = shapes[i]
                turns[i].append([sample(contestants[i].call, calls) for _ in range(count)])
            k += 1
    finally:
        gc.enable()
    first = [float(np.median(turn)) for turn in turns[0]]
    results = []
    for contestant, mine, (_, calls) in zip(contestants, turns, shapes):
        every = np.concatenate(mine)
        p50, p90, p99 = (float(p) for p in np.percentile(every, (50, 90, 99)))
        ratio = float(np.median([np.median(turn) / of for turn, of in zip(mine, first)]))
        rate = race.samples / p50
        results.append(Result(contestant.name, p50, p90, p99, float(every.min()), rate, ratio, len(every), calls))
    return results


def _calibrated(call: Callable[[], object]) -> tuple[int, int]:
    """How many samples make a turn, and how many calls a sample."""
    call()
    taken = max(1e-7, min(sample(call, 1) for _ in range(3)))
    calls = math.ceil(SAMPLE / taken) if taken < SAMPLE else 1
    return max(1, int(TURN / (taken * calls))), calls


# ---------------------------------------------------------------------------------------------------- what is said


def _table(model: Path, results: list[tuple[Race, list[Result]]]) -> Table:
    stateful = any(race.steps for race, _ in results)
    several = len({race.threads for race, _ in results}) > 1
    table = Table(title=f"{model}: time of a call", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("batch x steps" if stateful else "batch", no_wrap=True)
    for column in ("p50", "p90", "p99", "min", "steps/s" if stateful else "samples/s", "times"):
        table.add_column(column, justify="right", no_wrap=True)
    for race, found in results:
        table.add_row(f"[bold]{race}[/]" + (f", {race.threads} threads" if several else ""))
        for r in found:
            times = (_duration(t) for t in (r.p50, r.p90, r.p99, r.least))
            table.add_row(r.name, *times, f"{r.per_second:,.0f}", f"{r.ratio:,.2f}")
        table.add_section()
    return table


def _duration(seconds: float) -> str:
    """With three digits.

    >>> _duration(4.217e-6), _duration(0.0123), _duration(1.474), _duration(9.999e-4)
    ('4.22 µs', '12.3 ms', '1.47 s', '1.00 ms')
    """
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = seconds / size
        if value < 999.5 or unit == "s":
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def _kernels() -> str:
    if native is None:
        return "NumPy, without compiled kernels"
    return f"kernels {os.environ.get('ZAHLEN_ISA') or native.variants()[-1]}"


def _here(network: Any) -> dict[str, Any]:
    versions = {"zahlen": __version__, "numpy": np.__version__, "python": platform.python_version()}
    if network is not None:
        import torch

        versions["torch"] = torch.__version__
    return {
        "kernels": _kernels(),
        "executor": executors.names()[-1],
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
