"""What ``zahlen train`` writes: the machine, its figures, its curves, its C program and the checkpoints."""

from __future__ import annotations

import json
import math
import platform
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from .. import __version__
from ..machine import Machine, ToolError, replacing
from ..recipes import Recipe, RecurrentRecipe
from .app import console, error_console
from .files import directory
from .trainers import TRAINERS, Trainer

if TYPE_CHECKING:
    from ..data import Dataset, Text
    from ..history import Epoch, History


@dataclass(frozen=True)
class Schedule:
    """What a network is trained with."""

    epochs: int
    batch_size: int
    lr: float
    seed: int
    validation: float
    clip: float | None
    robust: int | None


@dataclass(frozen=True)
class StreamSchedule:
    """What a network is trained with on a text."""

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

    def __init__(
        self, out: Path, recipe: Recipe | RecurrentRecipe, trainer: Trainer, schedule: Any, source: dict[str, Any]
    ) -> None:
        self.out, self.recipe, self.source = out, recipe, source
        self.trainer, self.schedule = trainer, schedule
        self.histories: dict[str, History] = {}
        self.scores: dict[str, float] = {}
        self.interrupted = False

    @abstractmethod
    def fit(self, package: Any, net: Any, **options: Any) -> History:
        """Train one of the networks, with the package of its layers."""

    @abstractmethod
    def notes(self) -> dict[str, Any]:
        """What the machine's notes say of its data."""

    @abstractmethod
    def score(self, package: Any, net: Any) -> float:
        """What a network reaches on the test part; `net` is a machine, or a network of the package."""

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """The figures of this kind of task for ``metrics.json``."""

    @abstractmethod
    def title(self) -> str:
        """Of the table at the end."""

    @abstractmethod
    def written(self, score: float) -> str:
        """A score for people."""

    def remarks(self) -> list[str]:
        """What is said below the table."""
        return []

    def train(self, twin: bool, resume: bool, progress: bool) -> None:
        """Train the discrete network, then the twin."""
        torch = TRAINERS["torch"]
        trainers = {"discrete": (self.trainer, self.schedule)}
        if twin:
            # a rate of one rule is none of another's
            text = isinstance(self.schedule, StreamSchedule)
            rate = self.schedule.lr if self.trainer is torch else torch.rate(self.recipe.model, text)
            plain: dict[str, Any] = {} if text else {"robust": None}  # a twin has no intervals
            trainers["float twin"] = (torch, replace(self.schedule, lr=rate, **plain))
        self.trainers = trainers
        nets: dict[str, Any] = {}
        for name, (trainer, schedule) in trainers.items():
            net = trainer.network(self.recipe, schedule.seed)
            nets[name] = net.twin() if name == "float twin" else net
            checkpoint = self.out / (("twin" if name == "float twin" else "model") + trainer.suffix)
            self.histories[name] = history = self.fit(
                trainer.package, nets[name], checkpoint=checkpoint, resume=resume, progress=progress, name=name,
                remarks=asdict(self.recipe), **trainer.options(schedule),
            )  # fmt: skip
            self.interrupted = history.interrupted
            if history.interrupted:
                break
        self.network = network = nets["discrete"]
        self.unit = network.unit
        notes = {**self.notes(), "seed": self.schedule.seed, "zahlen": __version__}
        self.machine: Machine = network.machine(notes=notes)
        for name in self.histories:
            net = self.machine if name == "discrete" and not self.machine.registers else nets[name]
            self.scores[name] = self.score(trainers[name][0].package, net)

    def write(self) -> None:
        """Every file whole or not at all, the machine first."""
        from .. import emit

        self.machine.save(self.out / "model.zn")
        emit.c.write(self.machine, directory(self.out / "c"))
        if self.recipe.model == "mlp":
            self.trainer.program(self.network, self.schedule, self.out / "c")
        self.footprint = emit.c.footprint(self.machine)
        with replacing(self.out / "metrics.json") as file:
            file.write((json.dumps(self._metrics(), indent=2, allow_nan=False) + "\n").encode())
        try:
            self.plot()
        except ToolError as error:
            error_console.print(f"no curves.png: {error}", style="yellow", markup=False, soft_wrap=True)

    def plot(self) -> None:
        """Draw ``curves.png``."""
        from .plots import curves

        curves(self.histories, self.scores, self.out / "curves.png")

    def _metrics(self) -> dict[str, Any]:
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
            "trainer": self.trainer.name,
            "training": asdict(self.schedule),
            "twin_lr": self.trainers["float twin"][1].lr if "float twin" in self.trainers else None,
            "interrupted": self.interrupted,
            "seconds": {n: round(sum(e.seconds for e in h.epochs), 2) for n, h in self.histories.items()},
            "epochs": {n: [_plain(e) for e in h.epochs] for n, h in self.histories.items()},
            "versions": {
                "zahlen": __version__, "numpy": np.__version__, "python": platform.python_version(),
                **{name: value for trainer, _ in self.trainers.values() for name, value in trainer.versions().items()},
            },
        }  # fmt: skip

    def show(self) -> None:
        """The short table at the end."""
        table = Table("network", self.figure, "seconds", title=self.title())
        for name, score in self.scores.items():
            seconds = sum(epoch.seconds for epoch in self.histories[name].epochs)
            table.add_row(name, self.written(score), f"{seconds:.1f}")
        console.print(table)
        for line in self.remarks():
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        console.print(f"hash {self.machine.hash}", highlight=False, soft_wrap=True)
        console.print(f"C program: {self.footprint}", highlight=False, soft_wrap=True)
        console.print(f"written to {self.out}", highlight=False, soft_wrap=True, markup=False)


class Labelled(Results):
    """Of samples, or sequences, with classes."""

    def __init__(self, data: Dataset, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.data = data

    def fit(self, package: Any, net: Any, **options: Any) -> History:
        train = self.data.train
        history: History = package.fit(net, train.x, train.y, **_lengths(train), **options)
        return history

    def notes(self) -> dict[str, Any]:
        step = None if self.source["step"] is None else str(self.data.step)
        return {"classes": list(self.data.classes), "features": list(self.data.features), "step": step}

    def score(self, package: Any, net: Any) -> float:
        test = self.data.test
        if isinstance(net, Machine):
            return float((net.run(test.x).argmax(1) == test.y).mean())
        return float(package.evaluate(net, test.x, test.y, **_lengths(test))[1])

    def metrics(self) -> dict[str, Any]:
        return {
            "accuracy": self.scores["discrete"],
            "twin_accuracy": self.scores.get("float twin"),
            "certified_accuracy": self.certified,
            "test_samples": len(self.data.test),
        }

    @cached_property
    def certified(self) -> float | None:
        """The share of test samples that intervals certify, of a network trained for it."""
        if self.schedule.robust is None:
            return None
        from ..analysis import certified

        test = self.data.test
        return float(certified(self.machine, test.x, test.y, self.schedule.robust).mean())

    def remarks(self) -> list[str]:
        if self.certified is None:
            return []
        share = f"certified against changes by {self.schedule.robust}: {self.written(self.certified)} of test samples"
        return [f"{share}, by intervals alone"]

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

    def fit(self, package: Any, net: Any, **options: Any) -> History:
        history: History = package.fit_stream(net, self.text.train, **options)
        return history

    def notes(self) -> dict[str, Any]:
        return {"symbols": list(self.text.symbols), "unit": str(self.unit), "text": self.text.checksum}

    def score(self, package: Any, net: Any) -> float:
        return float(package.stream_loss(net, self.text.test)) / math.log(2)

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


def _lengths(samples: Any) -> dict[str, Any]:
    """Sequences' lengths, where there are some."""
    return {} if samples.lengths is None else {"lengths": samples.lengths}


def _plain(epoch: Epoch) -> dict[str, float | None]:
    """For JSON, which has no nan."""
    return {name: None if math.isnan(value) else value for name, value in asdict(epoch).items()}
