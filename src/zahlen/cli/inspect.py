"""``zahlen show``, ``zahlen run``, ``zahlen emit c``."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..machine import InputError, Machine, load
from .app import app, emit_app, error_console

ModelFile = Annotated[Path, typer.Argument(help="A machine, as zahlen train writes it: model.zn.")]


@app.command()
def show(model: ModelFile) -> None:
    r"""Print a machine: each wire with its proven range, its operation and its constants.

    \b
    zahlen show out/model.zn
    """
    machine = load(model)
    print(machine)
    print(f"hash {machine.hash}")


@app.command()
def run(
    model: ModelFile,
    samples: Annotated[str, typer.Argument(metavar="INPUT", help="An .npy, .npz or .csv file, or a data set's name.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the outputs to an .npy file instead.")] = None,
) -> None:
    r"""Run a machine on samples; one line each: the class, where the machine knows names, then the output's integers.

    A table's columns are found by their names, and decimals are put on the grid that the machine was trained with.
    A data set's name, or a folder of IDX files, means its test part.

    \b
    zahlen run out/model.zn new.csv
    zahlen run out/model.zn digits | head
    """
    machine = load(model)
    x = _samples(machine, samples)
    outputs = machine.run(x)
    if not isinstance(outputs, np.ndarray):
        raise InputError(f"{model}: run prints machines of one output, this one has {', '.join(machine.outputs)}")
    if out is not None:
        from ..machine import replacing

        with replacing(out) as file:
            np.save(file, outputs, allow_pickle=False)
        error_console.print(f"{len(outputs)} outputs of shape {outputs.shape[1:]} written to {out}", highlight=False)
        return
    classes = machine.notes.get("classes")
    named = isinstance(classes, list) and outputs.ndim == 2 and outputs.shape[1] == len(classes)
    for row in outputs.reshape(len(outputs), -1):
        name = [str(classes[int(row.argmax())])] if named and isinstance(classes, list) else []
        sys.stdout.write(",".join([*name, *map(str, row.tolist())]) + "\n")


def _samples(machine: Machine, spec: str) -> Any:
    from .. import data

    if Path(spec).suffix.lower() in (".npy", ".npz", ".csv"):
        step = machine.notes.get("step")
        columns = machine.notes.get("features", [])
        return data.samples(spec, columns=columns, step=None if step is None else Fraction(step))
    return data.load(spec).test.x


@emit_app.command("c")
def emit_c(
    model: ModelFile,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory for the two files; made if missing.")],
    name: Annotated[str, typer.Option(help="Stem of the files and of all identifiers.")] = "model",
    multiply: Annotated[str, typer.Option(help="native, or none: products by tables only.")] = "native",
    vectors: Annotated[int, typer.Option(min=0, help="Recorded vectors of the self-test.")] = 8,
) -> None:
    r"""Write a machine as C99: one .c, one .h, no float, no allocation, with a self-test.

    \b
    zahlen emit c out/model.zn -o firmware
    zahlen emit c out/model.zn -o firmware --multiply none
    cc -DMODEL_SELFTEST firmware/model.c -o selftest && ./selftest
    """
    from .. import emit
    from .train import _directory

    machine = load(model)
    _directory(out)
    header, source = emit.c.write(machine, out, name=name, multiply=multiply, vectors=vectors)
    error_console.print(f"{header}, {source}: {emit.c.footprint(machine, multiply=multiply)}", highlight=False)
