"""``zahlen check``: the reference, the trained network and the compiled C program agree on every wire, or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import Progress
from rich.table import Table

from ..machine import IntArray, Machine, ToolError, Wire, executors, load
from .app import app, console, error_console
from .files import expected_samples, recorded_samples, samples, trained_integers, trained_network

Batch = dict[str, IntArray]
Tracer = Callable[[Batch], Mapping[str, IntArray]]

PART = 250
"""How many samples are compared at once."""
STEPS = 20
"""How many steps a machine with registers is followed for on random inputs."""
MOST_STEPS = 100
"""How many on real ones, at the most."""


@app.command()
def check(
    model: Annotated[Path, typer.Argument(help="A machine; the checkpoint beside it brings in what was trained.")],
    count: Annotated[
        int, typer.Option("--samples", min=1, help="Random inputs, and at most as many real ones.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    data: Annotated[str | None, typer.Option(help="Real inputs.", show_default="as metrics.json says")] = None,
    cc: Annotated[str | None, typer.Option(help="C compiler.", show_default="$CC, cc, gcc or clang")] = None,
    runner: Annotated[str | None, typer.Option(help="What runs the program, such as qemu-s390x.")] = None,
    compiled: Annotated[bool, typer.Option("--c/--no-c", help="Compile and compare the C program.")] = True,
) -> None:
    """Compare every wire, with ==, over random, boundary and real inputs; exit code 1 if any value differs.

    The reference is compared with every executor, with the network whose checkpoint lies beside the machine (of
    PyTorch, or of integers), with the simplified machine, and with the compiled C program in both of its forms.

    zahlen check out/model.zn
    zahlen check out/model.zn --samples 10000 --data fashion-mnist
    zahlen check out/model.zn --cc "s390x-linux-gnu-gcc -static" --runner qemu-s390x
    """
    machine = load(model)
    others = _others(machine, model, [cc, runner] if compiled else None)
    table = Table("inputs", "samples", *others, title="values equal to the reference's")
    equal = different = 0
    with Progress(console=error_console, transient=True) as bars:
        for kind, size, parts in _inputs(machine, model, count, seed, data):
            tally = {name: [0, 0] for name in others}
            for part in bars.track(parts, total=-(-size // PART), description=kind):
                expected = _reference(machine, part)
                for name, trace in others.items():
                    for k, values in enumerate(_compare(name, expected, trace(part))):
                        tally[name][k] += values
            table.add_row(kind, f"{size:,}", *(_cell(*pair) for pair in tally.values()))
            equal += sum(hits for hits, _ in tally.values())
            different += sum(misses for _, misses in tally.values())
    console.print(table)
    console.print(f"{equal:,} values compared and equal, {different:,} different", highlight=False)
    if different:
        raise typer.Exit(1)


def _cell(equal: int, different: int) -> str:
    return f"{equal:,}" if not different else f"[red]{different:,} of {equal + different:,} differ[/]"


# ---------------------------------------------------------------------------------------------------- who computes


def _others(machine: Machine, path: Path, tools: list[str | None] | None) -> dict[str, Tracer]:
    """Each way of computing wires beside the reference, by name."""
    others: dict[str, Tracer] = {}
    for name in executors.names():
        if name != "reference":
            others[name] = lambda x, name=name: _steps(machine, x, name)  # type: ignore[misc]
    network, integers = trained_network(path, machine), trained_integers(path, machine)
    if network is None and integers is None:
        error_console.print("PyTorch left out: no checkpoint model.pt beside the machine", highlight=False)
    if network is not None:
        others["PyTorch"] = lambda x: _torch(network, x)
    if integers is not None:
        others["integers"] = lambda x: integers.trace(next(iter(x.values())))
    if tools is not None:
        from ..emit import harness

        cc, runner = ((tool or "").split() for tool in tools)
        for name, multiply in (("C", "native"), ("C, no multiply", "none")):
            program = harness.compiled(machine, cc=cc or None, runner=runner, multiply=multiply)
            others[name] = program.sequence if machine.registers else program.trace
    if not others:
        raise ToolError("nothing to compare with: no checkpoint beside the machine, and --no-c")
    simple = machine.simplified()
    if bool(simple.registers) == bool(machine.registers):
        others["simplified"] = lambda x: _shared(machine, simple, _reference(simple, x))
    return others


def _reference(machine: Machine, x: Batch) -> Mapping[str, IntArray]:
    return _steps(machine, x, "reference")


def _steps(machine: Machine, x: Batch, executor: str) -> Mapping[str, IntArray]:
    """Every wire after one step, or with registers every wire after each of the steps, (batch, time, ..)."""
    if not machine.registers:
        return machine.trace(x, executor=executor)
    batch, steps = next((v.shape[:2] for v in x.values()), (1, STEPS))
    state, traces = machine.initial_state(batch), []
    for t in range(steps):
        traces.append(machine.trace({name: v[:, t] for name, v in x.items()}, state, executor=executor))
        state = {name: traces[-1][successor] for name, successor in machine.successors.items()}
    return {name: np.stack([trace[name] for trace in traces], axis=1) for name in machine.wires}


def _torch(network: Any, x: Batch) -> Mapping[str, IntArray]:
    import torch

    (values,) = x.values()
    tensors = network.trace(torch.from_numpy(np.ascontiguousarray(values)))
    return {name: tensor.to(torch.int64).numpy() for name, tensor in tensors.items()}


def _shared(machine: Machine, simple: Machine, wires: Mapping[str, IntArray]) -> Mapping[str, IntArray]:
    """What a simplified machine still has under its name and shape."""
    same = [n for n in wires if n in machine.wires and machine.wires[n].shape == simple.wires[n].shape]
    return {name: wires[name] for name in same}


def _compare(name: str, expected: Mapping[str, IntArray], found: Mapping[str, IntArray]) -> tuple[int, int]:
    equal = different = 0
    for wire, values in found.items():
        hits = int((values == expected[wire]).sum()) if values.shape == expected[wire].shape else 0
        equal, different = equal + hits, different + expected[wire].size - hits
        if hits != expected[wire].size:
            error_console.print(f"[red]{name} differs on wire {wire}[/]", highlight=False)
    return equal, different


# ---------------------------------------------------------------------------------------------------- inputs


def _inputs(
    machine: Machine, path: Path, count: int, seed: int, spec: str | None
) -> Iterator[tuple[str, int, Iterator[Batch]]]:
    """Kinds of inputs: name, number of samples, and the samples in parts."""
    rng = np.random.default_rng(seed)
    wires = [machine.wires[name] for name in machine.inputs]
    if machine.registers:
        parts = ({w.name: _random(rng, w, (size, STEPS)) for w in wires} for size in _sizes(count))
        yield f"random, {STEPS} steps", count, parts
        yield from _real(machine, path, count, spec)
        return
    yield "random", count, ({w.name: _random(rng, w, (size,)) for w in wires} for size in _sizes(count))
    boundary = {w.name: _boundary(w) for w in wires}
    yield "boundary", BOUNDARY, iter([boundary])
    yield from _real(machine, path, count, spec)


def _real(machine: Machine, path: Path, count: int, spec: str | None) -> Iterator[tuple[str, int, Iterator[Batch]]]:
    real = recorded_samples(path, machine) if spec is None else samples(machine, spec)[0]
    if real is None:
        error_console.print("real inputs left out: no metrics.json of this machine beside it; --data names some")
        return
    real = expected_samples(machine, real, spec or "metrics.json")[:count]
    if machine.registers:
        real = real[:, :MOST_STEPS]
    yield "real", len(real), ({machine.inputs[0]: real[i : i + PART]} for i in range(0, len(real), PART))


def _sizes(count: int) -> list[int]:
    return [min(PART, count - start) for start in range(0, count, PART)]


def _random(rng: np.random.Generator, wire: Wire, leading: tuple[int, ...]) -> IntArray:
    steps: IntArray = rng.integers(0, wire.alphabet.size, (*leading, *wire.shape))
    values: IntArray = wire.alphabet.lo + wire.alphabet.step * steps
    return values


BOUNDARY = 100
"""How many boundary samples there are."""


def _boundary(wire: Wire) -> IntArray:
    """All least, all greatest, both alternating, and single elements at the other end than all the rest."""
    lo, hi = wire.alphabet.lo, wire.alphabet.hi
    rows = [np.full(wire.size, lo), np.full(wire.size, hi)]
    rows += [np.where(np.arange(wire.size) % 2 == k, lo, hi) for k in (0, 1)]
    for k in range((BOUNDARY - 4) // 2):
        for most, one in ((lo, hi), (hi, lo)):
            row = np.full(wire.size, most)
            row[2 * k * wire.size // (BOUNDARY - 4)] = one
            rows.append(row)
    return np.stack(rows).reshape(BOUNDARY, *wire.shape)
