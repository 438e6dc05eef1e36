"""``zahlen train``: from data to a directory with a machine, its figures, its curves and its C program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import recipes
from .app import app, belongs, error_console, numbers
from .files import directory
from .results import Labelled, Results, Schedule, StreamSchedule, Written
from .trainers import TRAINERS, Name

Activation = Literal["tanh", "relu", "sigmoid", "hardtanh", "heaviside"]
TABLES = (".npz", ".csv", ".ts")
"""Files that hold labelled samples or sequences; all others are texts."""


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="digits, fashion-mnist, pydoc-topics, a folder of IDX files, an .npz, .csv or .ts file, a text."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory for the results; made if missing.")] = ...,  # type: ignore[assignment]
    model: Annotated[Literal["mlp", "cnn", "lstm", "gru", "rnn"], typer.Option(help="The kind of network.")] = "mlp",
    hidden: Annotated[
        str | None,
        typer.Option(help="Widths of the hidden layers.", show_default="mlp: 256,256; cnn: none; recurrent: 128"),
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Recurrent layers.", show_default="1")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels of a cnn's convolutions.", show_default="16,32")
    ] = None,
    levels: Annotated[
        int | None, typer.Option(min=2, max=65536, help="Values of an activation.", show_default="16")
    ] = None,
    cell_bits: Annotated[
        int | None, typer.Option(min=3, max=16, help="Width of an LSTM's or GRU's cell.", show_default="8")
    ] = None,
    gate_levels: Annotated[
        int | None, typer.Option(min=2, max=257, help="Values of a gate.", show_default="as --levels")
    ] = None,
    products: Annotated[
        Literal["native", "tables"] | None,
        typer.Option(help="tables: products of gates are look-ups.", show_default="native"),
    ] = None,
    weights: Annotated[int, typer.Option(min=2, max=65535, help="Values of a weight: 255, 15, 3, 2, ..")] = 255,
    dropout: Annotated[
        float | None, typer.Option(min=0, max=0.9, help="Share of inputs dropped while it learns.", show_default="0")
    ] = None,
    activation: Annotated[Activation, typer.Option(help="The curve that is cut into levels.")] = "tanh",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over samples.", show_default="10; sequences: 60")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps on a text.", show_default="1500")] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Characters of a step on a text.", show_default="64")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, show_default="128; sequences: 32; text: 64")] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="First rate of Adam, or of integers' momentum; it falls to zero.",
            show_default="0.001; recurrent: 0.01; integer: 0.05, recurrent 0.5, a text 16",
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Largest norm of a gradient.", show_default="none; recurrent: 0.25")
    ] = None,
    robust: Annotated[
        int | None,
        typer.Option(min=1, help="Train for certificates against changes of inputs by so much."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one machine hash.")] = 0,
    validation: Annotated[
        float | None,
        typer.Option(min=0, max=0.9, help="Share held back to choose the epoch.", show_default="0.1; text: 0.05"),
    ] = None,
    trainer: Annotated[
        Name,
        typer.Option(help="integer: without any float, the same to the bit on every computer, and without PyTorch."),
    ] = "torch",
    twin: Annotated[bool, typer.Option("--twin", help="Train the float twin beside it, with PyTorch.")] = False,
    label: Annotated[str | None, typer.Option(help="A table's column of class labels.")] = None,
    sequence: Annotated[str | None, typer.Option(help="A table's column that names the sequence of a row.")] = None,
    step: Annotated[str | None, typer.Option(help="Grid for decimals, such as 0.01.")] = None,
    test: Annotated[
        float | None,
        typer.Option(help="Share for the test, where the data has no test part.", show_default="0.2; text: 0.1"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in the directory.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars.")] = False,
) -> None:
    """Train a discrete network, and its float twin if you like, and write all that a deployment needs.

    Writes model.zn (the machine), metrics.json, curves.png, c/model.c and .h (of a text also c/sample.c, of a
    perceptron of integers c/train.c, which learns on a device), and the checkpoints. Ctrl-C keeps the best epoch so
    far. A recurrent model without DATA learns pydoc-topics, the reference of the Python language.

    zahlen train digits -o out
    zahlen train fashion-mnist --levels 16 --epochs 10 --seed 0 --twin -o out
    zahlen train fashion-mnist --trainer integer --epochs 40 --dropout 0.2 --seed 0 -o out
    zahlen train fashion-mnist --model cnn --robust 2 --epochs 20 -o out
    zahlen train ~/mnist --model cnn --channels 16,32 -o out
    zahlen train wine.csv --label class --step 0.01 --hidden 32 -o out
    zahlen train book.txt --model lstm --levels 16 --cell-bits 16 --hidden 128 -o out
    zahlen train book.txt --model lstm --trainer integer --levels 64 -o out
    zahlen train JapaneseVowels_TRAIN.ts --step 0.001 --model gru --hidden 32 -o out
    """
    recurrent = model in recipes.RECURRENT
    if data is None:
        if not recurrent:
            raise typer.BadParameter("data are due; only recurrent models have a text of their own", param_hint="DATA")
        data = "pydoc-topics"
    path = Path(data)
    labelled = path.is_dir() or path.suffix.lower() in TABLES or data in ("digits", "fashion-mnist")
    text = recurrent and not labelled
    belongs(channels is not None, model == "cnn", "--channels", "only a cnn has channels; add --model cnn")
    belongs(layers is not None, recurrent, "--layers", "only recurrent models have it; add --model lstm")
    cell = (("--cell-bits", cell_bits), ("--gate-levels", gate_levels), ("--products", products))
    for name, given in cell:
        belongs(given is not None, recurrent, name, "only recurrent models have it; add --model lstm")
        belongs(given is not None, model != "rnn", name, "an rnn has neither cell nor gates")
    belongs(dropout is not None, not recurrent, "--dropout", "recurrent models have none")
    belongs(robust is not None, not recurrent, "--robust", "intervals cannot pass a state; take --model mlp or cnn")
    belongs(robust is not None, trainer == "torch", "--robust", "only PyTorch has intervals; take --trainer torch")
    for name, given in (("--steps", steps), ("--length", length)):
        belongs(given is not None, text, name, "only training on a text has it")
    belongs(epochs is not None, not text, "--epochs", "training on a text has --steps")
    for name, option in (("--label", label), ("--sequence", sequence), ("--step", step)):
        belongs(option is not None, not text, name, "a text has none")
    widths = numbers(("128" if recurrent else "256,256" if model == "mlp" else "") if hidden is None else hidden)
    belongs(recurrent and len(widths) != 1, False, "--hidden", "a recurrent model has one width; see --layers")
    grid: dict[str, Any] = {"levels": (2 if activation == "heaviside" else 16) if levels is None else levels}
    grid["weights"] = weights
    belongs(recurrent and activation != "tanh", False, "--activation", "recurrent models have tanh")
    if recurrent:
        cells: dict[str, Any] = {"hidden": widths[0], "layers": layers or 1, **grid}
        cells |= {"cell_bits": 8 if cell_bits is None else cell_bits, "products": products or "native"}
        cells |= {"gate_levels": gate_levels}
    chosen = TRAINERS[trainer]
    rate = chosen.rate(model, text) if lr is None else lr
    norm = 0.25 if clip is None and recurrent else clip
    from .. import data as sources

    # an absolute path, so that check finds the data from anywhere
    spec = str(path.resolve()) if path.exists() else data
    if text:
        share = 0.1 if test is None else test
        book = sources.text(data, test=share)
        error_console.print(str(book), highlight=False, markup=False)
        held = 0.05 if validation is None else validation
        stream = StreamSchedule(steps or 1500, batch_size or 64, length or 64, rate, seed, held, norm)
        recipe = recipes.RecurrentRecipe.of_text(model, len(book.symbols), **cells)
        where: dict[str, Any] = {"spec": spec, "test": share}
        _go(Written(book, directory(out), recipe, chosen, stream, where), twin, resume, not quiet)
        return
    share = 0.2 if test is None else test
    dataset = sources.load(data, label=label, sequence=sequence, step=step, test=share, seed=seed)
    error_console.print(str(dataset), highlight=False, markup=False)
    belongs(dataset.sequences, recurrent, "--model", "these are sequences; take lstm, gru or rnn")
    made: recipes.Recipe | recipes.RecurrentRecipe
    if recurrent:
        dataset = dataset.as_sequences()
        made = recipes.RecurrentRecipe.fitting(
            model, dataset.train.values, dataset.alphabet, len(dataset.classes), **cells
        )
    else:
        grid["dropout"] = f"{dropout or 0:.4f}".rstrip("0").rstrip(".")
        options = {**grid, "activation": activation, "hidden": widths, "channels": numbers(channels or "16,32")}
        made = recipes.Recipe.fitting(model, dataset.train.x, dataset.alphabet, len(dataset.classes), **options)
    where = {"spec": spec, "label": label, "sequence": sequence, "step": step, "test": share, "seed": seed}
    schedule = Schedule(
        epochs or (60 if recurrent else 10), batch_size or (32 if recurrent else 128), rate, seed,
        0.1 if validation is None else validation, norm, robust,
    )  # fmt: skip
    _go(Labelled(dataset, directory(out), made, chosen, schedule, where), twin, resume, not quiet)


def _go(results: Results, twin: bool, resume: bool, progress: bool) -> None:
    results.train(twin, resume, progress)
    results.write()
    results.show()
    if results.interrupted:
        raise typer.Exit(130)
