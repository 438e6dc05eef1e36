"""What ``zahlen train`` writes: the machine, its figures, its curves, its C program and the checkpoints."""

from __future__ import annotations

import json
import math
import platform
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from .. import __version__
from ..machine import Machine, ToolError, replacing
from .app import console, error_console
from .files import directory

if TYPE_CHECKING:
    from ..data import Dataset, Text
    from ..history import Epoch, History
    from ..recipes import Recipe, RecurrentRecipe


@dataclass(frozen=True)
class Schedule:
    """What both networks are trained with."""

    epochs: int
    batch_size: int
    lr: float
    seed: int
    validation: float
    clip: float | None


@dataclass(frozen=True)
class StreamSchedule:
    """What both networks are trained with on a text."""

    steps: int
    batch_size: int
    length: int
    lr: float
    seed: int
    validation: float
    clip: float | None


class Results(ABC):
    """The networks, what they reach, and the files that say so."""

    figure = "test accuracy"

    def __init__(self, out: Path, recipe: Recipe | RecurrentRecipe, schedule: Any, source: dict[str, Any]) -> None:
        self.out, self.recipe, self.schedule, self.source = out, recipe, schedule, source
        self.histories: dict[str, History] = {}
        self.scores: dict[str, float] = {}
        self.interrupted = False

    @abstractmethod
    def fit(self, net: Any, **options: Any) -> History:
        """Train one of the networks."""

    @abstractmethod
    def notes(self) -> dict[str, Any]:
        """What the machine's notes say of its data."""

    @abstractmethod
    def score(self, net: Any) -> float:
        """What a network reaches on the test part; `net` is a machine, or the float twin."""

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """The figures of this kind of task for ``metrics.json``."""

    @abstractmethod
    def title(self) -> str:
        """Of the table at the end."""

    @abstractmethod
    def written(self, score: float) -> str:
        """A score for people."""

    def train(self, twin: bool, resume: bool, progress: bool) -> None:
        """Train the discrete network, then the twin from the same start."""
        import torch

        from .. import nn

        torch.manual_seed(self.schedule.seed)
        network = nn.network(self.recipe)
        nets = {"discrete": network, "float twin": network.twin()} if twin else {"discrete": network}
        for name, net in nets.items():
            checkpoint = self.out / ("twin.pt" if name == "float twin" else "model.pt")
            self.histories[name] = history = self.fit(
                net, checkpoint=checkpoint, resume=resume, progress=progress, name=name,
                remarks=asdict(self.recipe), **asdict(self.schedule),
            )  # fmt: skip
            self.interrupted = history.interrupted
            if history.interrupted:
                break
        self.unit = network.unit
        notes = {**self.notes(), "seed": self.schedule.seed, "zahlen": __version__}
        self.machine: Machine = network.machine(notes=notes)
        self.scores["discrete"] = self.score(network if self.machine.registers else self.machine)
        if "float twin" in self.histories:
            self.scores["float twin"] = self.score(nets["float twin"])

    def write(self) -> None:
        """Every file whole or not at all, the machine first."""
        from .. import emit

        self.machine.save(self.out / "model.zn")
        emit.c.write(self.machine, directory(self.out / "c"))
        self.footprint = emit.c.footprint(self.machine)
        with replacing(self.out / "metrics.json") as file:
            file.write((json.dumps(self._metrics(), indent=2, allow_nan=False) + "\n").encode())
        try:
            self.plot()
        except ToolError as error:
            error_console.print(f"[yellow]no curves.png:[/] {error}")

    def plot(self) -> None:
        """Draw ``curves.png``."""
        from .plots import curves

        curves(self.histories, self.scores, self.out / "curves.png")

    def _metrics(self) -> dict[str, Any]:
        import torch

        return {
            **self.metrics(),
            "hash": self.machine.hash,
            "constants": self.machine.constants,
            "multiply_adds": self.machine.multiplies,
            "state_bits": self.machine.state_bits,
            "file_bytes": (self.out / "model.zn").stat().st_size,
            "c_flash_bytes": self.footprint.flash,
            "c_ram_bytes": self.footprint.ram,
            "data": self.source,
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
        table = Table("network", self.figure, "seconds", title=self.title())
        for name, score in self.scores.items():
            seconds = sum(epoch.seconds for epoch in self.histories[name].epochs)
            table.add_row(name, self.written(score), f"{seconds:.1f}")
        console.print(table)
        console.print(f"hash {self.machine.hash}", highlight=False, soft_wrap=True)
        console.print(f"C program: {self.footprint}", highlight=False, soft_wrap=True)
        console.print(f"written to {self.out}", highlight=False, soft_wrap=True)


class Labelled(Results):
    """Of samples, or sequences, with classes."""

    def __init__(self, data: Dataset, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.data = data

    def fit(self, net: Any, **options: Any) -> History:
        from .. import nn

        train = self.data.train
        return nn.fit(net, train.x, train.y, lengths=train.lengths, **options)

    def notes(self) -> dict[str, Any]:
        step = None if self.source["step"] is None else str(self.data.step)
        return {"classes": list(self.data.classes), "features": list(self.data.features), "step": step}

    def score(self, net: Any) -> float:
        test = self.data.test
        if isinstance(net, Machine):
            return float((net.run(test.x).argmax(1) == test.y).mean())
        from .. import nn

        return nn.evaluate(net, test.x, test.y, lengths=test.lengths)[1]

    def metrics(self) -> dict[str, Any]:
        return {
            "accuracy": self.scores["discrete"],
            "twin_accuracy": self.scores.get("float twin"),
            "test_samples": len(self.data.test),
        }

    def title(self) -> str:
        kind = "sequences" if self.data.sequences else "samples"
        return f"{self.data.name}: {len(self.data.test)} test {kind}"

    def written(self, score: float) -> str:
        return f"{100 * score:.2f} %"


class Written(Results):
    """Of a text."""

    figure = "test, bits per character"

    def __init__(self, text: Text, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.text = text

    def fit(self, net: Any, **options: Any) -> History:
        from .. import nn

        return nn.fit_stream(net, self.text.train, **options)

    def notes(self) -> dict[str, Any]:
        return {"symbols": list(self.text.symbols), "unit": str(self.unit), "text": self.text.checksum}

    def score(self, net: Any) -> float:
        from .. import nn

        return nn.stream_loss(net, self.text.test) / math.log(2)

    def write(self) -> None:
        super().write()
        from .. import emit

        emit.text.write(self.machine, self.out / "c")

    def plot(self) -> None:
        from .plots import bits

        every = -(-self.schedule.steps // 10)
        bits(self.histories, self.scores, every, self.out / "curves.png")

    def metrics(self) -> dict[str, Any]:
        return {
            "bits_per_character": self.scores["discrete"],
            "twin_bits_per_character": self.scores.get("float twin"),
            "test_characters": len(self.text.test),
            "text_sha256": self.text.checksum,
        }

    def title(self) -> str:
        return f"{self.text.name}: {len(self.text.test):,} test characters of {len(self.text.symbols)} symbols"

    def written(self, score: float) -> str:
        return f"{score:.4f}"


def _plain(epoch: Epoch) -> dict[str, float | None]:
    """For JSON, which has no nan."""
    return {name: None if math.isnan(value) else value for name, value in asdict(epoch).items()}
