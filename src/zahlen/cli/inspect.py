"""``zahlen show``, ``zahlen run``, ``zahlen emit c``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from ..machine import InputError, load, replacing
from .app import app, emit_app, error_console
from .files import Notes, directory, expected_samples, samples

ModelFile = Annotated[Path, typer.Argument(help="A machine, as zahlen train writes it: model.zn.")]


@app.command()
def show(model: ModelFile) -> None:
    """Print a machine: each wire with its proven range, its operation and its constants.

    zahlen show out/model.zn
    """
    machine = load(model)
    print(machine)
    print(f"hash {machine.hash}")


@app.command()
def run(
    model: ModelFile,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="An .npy, .npz or .csv file, or a data set's name.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the outputs to an .npy file instead.")] = None,
) -> None:
    """Run a machine on samples; one line each: the class, where the machine knows names, then the output's integers.

    A table's columns are found by their names, and decimals are put on the grid that the machine was trained with.
    A data set's name, or a folder of IDX files, means its test part. Of sequences the output at the last step counts;
    a model of text takes a text in parts of a hundred characters.

    zahlen run out/model.zn new.csv
    zahlen run out/model.zn digits | head
    """
    machine = load(model)
    classes = Notes.of(machine).classes
    x, lengths = samples(machine, source)
    outputs = machine.run(expected_samples(machine, x, source))
    if not isinstance(outputs, np.ndarray):
        raise InputError(f"{model}: run prints machines of one output, this one has {', '.join(machine.outputs)}")
    if machine.registers:
        outputs = outputs[:, -1] if lengths is None else outputs[np.arange(len(outputs)), lengths - 1]
    if out is not None:
        with replacing(out) as file:
            np.save(file, outputs, allow_pickle=False)
        error_console.print(
            f"{len(outputs)} outputs of shape {outputs.shape[1:]} written to {out}", highlight=False, markup=False
        )
        return
    named = outputs.ndim == 2 and outputs.shape[1] == len(classes)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in outputs.reshape(len(outputs), -1):
        writer.writerow([*([classes[int(row.argmax())]] if named else []), *row.tolist()])


@emit_app.command("c")
def emit_c(
    model: ModelFile,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory for the files; made if missing.")],
    name: Annotated[str, typer.Option(help="Stem of the files and of all identifiers.")] = "model",
    multiply: Annotated[Literal["native", "none"], typer.Option(help="none: products by tables only.")] = "native",
    simplify: Annotated[bool, typer.Option("--simplify", help="Drop what the proven ranges show to be idle.")] = False,
    vectors: Annotated[int, typer.Option(min=0, help="Recorded vectors of the self-test.")] = 8,
    sample: Annotated[bool, typer.Option("--sample", help="For a model of text: sample.c, which writes.")] = False,
    temperature: Annotated[str, typer.Option(help="Of sample.c, as for zahlen sample.")] = "1",
) -> None:
    """Write a machine as C99: one .c, one .h, no float, no allocation, with a self-test.

    zahlen emit c out/model.zn -o firmware
    zahlen emit c out/model.zn -o firmware --multiply none --simplify
    cc -DMODEL_SELFTEST firmware/model.c -o selftest && ./selftest
    zahlen emit c out/model.zn -o firmware --sample && cc firmware/*.c -o sample && ./sample "In the" 500 0
    """
    from .. import emit

    machine = load(model)
    if simplify:
        machine = machine.simplified()
    out = directory(out)
    files = [emit.text.write(machine, out, name=name, temperature=temperature)] if sample else []
    files += emit.c.write(machine, out, name=name, multiply=multiply, vectors=vectors)
    error_console.print(
        f"{', '.join(map(str, files))}: {emit.c.footprint(machine, multiply=multiply)}", highlight=False, markup=False
    )
