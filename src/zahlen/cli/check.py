"""``zahlen check``: the reference, PyTorch and the compiled C program agree on every wire, or it says where not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ..machine import IntArray, Machine, ToolError, ZahlenError, load
from .app import app, console, error_console
from .train import trained_network

Batch = dict[str, IntArray]


@app.command()
def check(
    model: Annotated[Path, typer.Argument(help="A machine; the checkpoint beside it brings PyTorch in.")],
    samples: Annotated[int, typer.Option(min=1, help="Random inputs, and at most as many real ones.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    cc: Annotated[str | None, typer.Option(help="C compiler.  [$CC, cc, gcc or clang]")] = None,
    runner: Annotated[str | None, typer.Option(help="What runs the program, such as qemu-s390x.")] = None,
    compiled: Annotated[bool, typer.Option("--c/--no-c", help="Compile and compare the C program.")] = True,
) -> None:
    r"""Compare every wire, with ==, over random, boundary and real inputs; exit code 1 if any value differs.

    \b
    zahlen check out/model.zn
    zahlen check out/model.zn --cc "s390x-linux-gnu-gcc -static" --runner qemu-s390x
    """
    machine = load(model)
    others = _others(machine, model, cc, runner, compiled)
    table = Table("inputs", "samples", *others, title="values equal to the reference's")
    differing = total = 0
    for kind, x in batches(machine, samples, seed):
        batch = len(next(iter(x.values())))
        counts = {name: [0, 0] for name in others}
        for where in range(0, batch, 250):
            part = {name: value[where : where + 250] for name, value in x.items()}
            expected = machine.trace(part, executor="reference")
            for name, trace in others.items():
                equal, unequal = _compare(name, expected, trace(part))
                counts[name][0] += equal
                counts[name][1] += unequal
        table.add_row(kind, str(batch), *(_cell(*pair) for pair in counts.values()))
        total += sum(equal for equal, _ in counts.values())
        differing += sum(unequal for _, unequal in counts.values())
    console.print(table)
    console.print(f"{total:,} values compared and equal, {differing:,} different", highlight=False)
    if differing:
        raise typer.Exit(1)


def _cell(equal: int, unequal: int) -> str:
    return f"{equal:,}" if not unequal else f"[red]{unequal:,} of {equal + unequal:,} differ[/]"


def _others(machine: Machine, path: Path, cc: str | None, runner: str | None, compiled: bool) -> dict[str, Any]:
    """Each way of computing wires beside the reference, by name."""
    from ..machine import executors

    others: dict[str, Any] = {}
    for name in executors.names():
        if name != "reference":
            others[name] = lambda x, name=name: machine.trace(x, executor=name)
    network = _network(path, machine)
    if network is not None:
        others["PyTorch"] = lambda x: _torch_trace(network, x)
    if compiled:
        from ..emit import harness

        program = harness.compiled(
            machine, cc=None if cc is None else cc.split(), runner=[] if runner is None else runner.split()
        )
        others["C"] = program.trace
    if not others:
        raise ToolError("nothing to compare with: no checkpoint beside the machine, and --no-c")
    return others


def _network(path: Path, machine: Machine) -> Any | None:
    try:
        network = trained_network(path.parent, machine)
    except ZahlenError as error:
        error_console.print(f"PyTorch left out: {error}", highlight=False)
        return None
    if network is None:
        error_console.print("PyTorch left out: no checkpoint of this machine beside it", highlight=False)
    return network


def _torch_trace(network: Any, x: Batch) -> Batch:
    import torch

    (values,) = x.values()
    tensors = network.trace(torch.from_numpy(np.ascontiguousarray(values)))
    return {name: tensor.to(torch.int64).numpy() for name, tensor in tensors.items()}


def _compare(name: str, expected: Mapping[str, IntArray], found: Mapping[str, IntArray]) -> tuple[int, int]:
    equal = unequal = 0
    for wire, values in found.items():
        same = values.shape == expected[wire].shape and values == expected[wire]
        hits = int(np.sum(same)) if not isinstance(same, bool) else 0
        equal, unequal = equal + hits, unequal + expected[wire].size - hits
        if hits != expected[wire].size:
            error_console.print(f"[red]{name} differs on wire {wire}[/]", highlight=False)
    return equal, unequal


# ---------------------------------------------------------------------------------------------------- inputs


def batches(machine: Machine, samples: int, seed: int) -> Iterator[tuple[str, Batch]]:
    """Random inputs, inputs on the boundary of their alphabets, and real ones if the machine's notes say where."""
    rng = np.random.default_rng(seed)
    wires = [machine.wires[name] for name in machine.inputs]
    yield "random", {w.name: _random(rng, w, samples) for w in wires}
    yield "boundary", {w.name: _boundary(w) for w in wires}
    real = _real(machine)
    if real is not None:
        yield "real", {wires[0].name: real[:samples]}


def _random(rng: np.random.Generator, wire: Any, samples: int) -> IntArray:
    steps: IntArray = rng.integers(0, wire.alphabet.size, (samples, *wire.shape))
    values: IntArray = wire.alphabet.lo + wire.alphabet.step * steps
    return values


def _boundary(wire: Any) -> IntArray:
    """All least, all greatest, both alternating, and each of the first elements alone at either end."""
    lo, hi = wire.alphabet.lo, wire.alphabet.hi
    rows = [np.full(wire.size, lo), np.full(wire.size, hi)]
    rows += [np.where(np.arange(wire.size) % 2 == k, lo, hi) for k in (0, 1)]
    for k in range(min(wire.size, 48)):
        for most, one in ((lo, hi), (hi, lo)):
            row = np.full(wire.size, most)
            row[k * wire.size // min(wire.size, 48)] = one
            rows.append(row)
    return np.stack(rows).reshape(-1, *wire.shape)


def _real(machine: Machine) -> IntArray | None:
    source = machine.notes.get("data")
    if not isinstance(source, dict) or len(machine.inputs) != 1:
        error_console.print("real inputs left out: the machine's notes name no data", highlight=False)
        return None
    from .. import data

    try:
        return data.load(**source).test.x
    except (ZahlenError, TypeError) as error:
        error_console.print(f"real inputs left out: {error}", highlight=False)
        return None
