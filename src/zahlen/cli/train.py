"""``zahlen train``: from data to a directory with a machine, its figures, its curves and its C program."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from rich.table import Table

from .. import __version__
from ..machine import Machine, ToolError, replacing
from .app import app, console, error_console, numbers
from .files import directory

if TYPE_CHECKING:
    from ..data import Dataset
    from ..nn import Epoch, History, Recipe


Activation = Literal["tanh", "relu", "sigmoid", "hardtanh", "heaviside"]


@dataclass(frozen=True)
class Schedule:
    """What both networks are trained with."""

    epochs: int
    batch_size: int
    lr: float
    seed: int
    validation: float


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="digits, fashion-mnist, a folder of IDX files, an .npz or a .csv file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory for the results; made if missing.")],
    model: Annotated[Literal["mlp", "cnn"], typer.Option(help="The kind of network.")] = "mlp",
    hidden: Annotated[str | None, typer.Option(help="Widths of the hidden layers.  [mlp: 256,256; cnn: none]")] = None,
    channels: Annotated[str | None, typer.Option(help="Channels of a cnn's convolutions.  [16,32]")] = None,
    levels: Annotated[int | None, typer.Option(min=2, max=65536, help="Values of an activation.  [16]")] = None,
    weights: Annotated[int, typer.Option(min=2, max=65535, help="Values of a weight: 255, 15, 3, 2, ..")] = 255,
    activation: Annotated[Activation, typer.Option(help="The curve that is cut into levels.")] = "tanh",
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    lr: Annotated[float, typer.Option(min=0, help="Adam's first rate; it falls to zero.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one machine hash.")] = 0,
    validation: Annotated[float, typer.Option(min=0, max=0.9, help="Share held back to choose the epoch.")] = 0.1,
    twin: Annotated[bool, typer.Option("--twin", help="Train the float twin beside it.")] = False,
    label: Annotated[str | None, typer.Option(help="A table's column of class labels.")] = None,
    step: Annotated[str | None, typer.Option(help="Grid for a table's decimals, such as 0.01.")] = None,
    test: Annotated[float, typer.Option(help="Share for the test, where the data has no test part.")] = 0.2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in the directory.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars.")] = False,
) -> None:
    """Train a discrete network, and its float twin if you like, and write all that a deployment needs.

    Writes model.zn (the machine), metrics.json, curves.png, c/model.c and .h, and the checkpoints.
    Ctrl-C keeps the best epoch so far.

    zahlen train digits -o out
    zahlen train fashion-mnist --levels 16 --epochs 10 --seed 0 --twin -o out
    zahlen train ~/mnist --model cnn --channels 16,32 -o out
    zahlen train wine.csv --label class --step 0.01 --hidden 32 -o out
    """
    if channels is not None and model != "cnn":
        raise typer.BadParameter("only a cnn has channels; add --model cnn", param_hint="--channels")
    widths = numbers(("256,256" if model == "mlp" else "") if hidden is None else hidden)
    steps = (2 if activation == "heaviside" else 16) if levels is None else levels
    options: dict[str, Any] = {"levels": steps, "weights": weights, "activation": activation}
    options |= {"hidden": widths, "channels": numbers(channels or "16,32")}
    from .. import data as sources
    from .. import nn

    dataset = sources.load(data, label=label, step=step, test=test, seed=seed)
    error_console.print(str(dataset), highlight=False)
    recipe = nn.Recipe.fitting(model, dataset.train.x, dataset.alphabet, len(dataset.classes), **options)
    # an absolute path, so that check finds the data from anywhere
    spec = str(Path(data).resolve()) if Path(data).exists() else data
    source = {"spec": spec, "label": label, "step": step, "test": test, "seed": seed}
    schedule = Schedule(epochs, batch_size, lr, seed, validation)
    results = _Results(directory(out), dataset, recipe, schedule, source)
    results.train(twin, resume, not quiet)
    results.write()
    results.show()
    if results.interrupted:
        raise typer.Exit(130)


def _plain(epoch: Epoch) -> dict[str, float | None]:
    """For JSON, which has no nan."""
    return {name: None if math.isnan(value) else value for name, value in asdict(epoch).items()}


class _Results:
    """The networks, what they reach, and the files that say so."""

    def __init__(self, out: Path, data: Dataset, recipe: Recipe, schedule: Schedule, source: dict[str, Any]) -> None:
        self.out, self.data, self.recipe, self.schedule, self.source = out, data, recipe, schedule, source
        self.histories: dict[str, History] = {}
        self.accuracies: dict[str, float] = {}
        self.interrupted = False

    def train(self, twin: bool, resume: bool, progress: bool) -> None:
        """Train the discrete network, then the twin from the same start."""
        import torch

        from .. import nn

        torch.manual_seed(self.schedule.seed)
        network = self.recipe.network()
        nets = {"discrete": network, "float twin": network.twin()} if twin else {"discrete": network}
        for name, net in nets.items():
            checkpoint = self.out / ("twin.pt" if name == "float twin" else "model.pt")
            self.histories[name] = history = nn.fit(
                net, self.data.train.x, self.data.train.y, checkpoint=checkpoint, resume=resume,
                progress=progress, name=name, remarks=asdict(self.recipe), **asdict(self.schedule),
            )  # fmt: skip
            self.interrupted = history.interrupted
            if history.interrupted:
                break
        test = self.data.test
        step = None if self.source["step"] is None else str(self.data.step)
        notes = {
            "classes": list(self.data.classes), "features": list(self.data.features), "step": step,
            "seed": self.schedule.seed, "zahlen": __version__,
        }  # fmt: skip
        self.machine: Machine = network.machine(notes=notes)
        self.accuracies["discrete"] = float((self.machine.run(test.x).argmax(1) == test.y).mean())
        if "float twin" in self.histories:
            self.accuracies["float twin"] = nn.evaluate(nets["float twin"], test.x, test.y)[1]

    def write(self) -> None:
        """Every file whole or not at all, the machine first."""
        from .. import emit

        self.machine.save(self.out / "model.zn")
        emit.c.write(self.machine, directory(self.out / "c"))
        self.footprint = emit.c.footprint(self.machine)
        with replacing(self.out / "metrics.json") as file:
            file.write((json.dumps(self.metrics(), indent=2, allow_nan=False) + "\n").encode())
        try:
            from .plots import curves

            curves(self.histories, self.accuracies, self.out / "curves.png")
        except ToolError as error:
            error_console.print(f"[yellow]no curves.png:[/] {error}")

    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        import torch

        return {
            "accuracy": self.accuracies["discrete"],
            "twin_accuracy": self.accuracies.get("float twin"),
            "hash": self.machine.hash,
            "constants": self.machine.constants,
            "multiply_adds": self.machine.multiplies,
            "file_bytes": (self.out / "model.zn").stat().st_size,
            "c_flash_bytes": self.footprint.flash,
            "c_ram_bytes": self.footprint.ram,
            "data": self.source,
            "test_samples": len(self.data.test),
            "network": asdict(self.recipe),
            "training": asdict(self.schedule),
            "interrupted": self.interrupted,
            "seconds": {n: round(sum(e.seconds for e in h.epochs), 2) for n, h in self.histories.items()},
            "epochs": {n: [_plain(e) for e in h.epochs] for n, h in self.histories.items()},
            "versions": {
                "zahlen": __version__, "torch": torch.__version__, "numpy": np.__version__,
                "python": platform.python_version(), "threads": torch.get_num_threads(),
            },
        }  # fmt: skip

    def show(self) -> None:
        """The short table at the end."""
        table = Table(
            "network", "test accuracy", "seconds", title=f"{self.data.name}: {len(self.data.test)} test samples"
        )
        for name, accuracy in self.accuracies.items():
            seconds = sum(epoch.seconds for epoch in self.histories[name].epochs)
            table.add_row(name, f"{100 * accuracy:.2f} %", f"{seconds:.1f}")
        console.print(table)
        console.print(f"hash {self.machine.hash}", highlight=False, soft_wrap=True)
        console.print(f"C program: {self.footprint}", highlight=False, soft_wrap=True)
        console.print(f"written to {self.out}", highlight=False, soft_wrap=True)
