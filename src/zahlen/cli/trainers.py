"""What ``--trainer`` names: the package of layers that networks are built of, and what it is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..machine import EmitError, LayerError
from ..recipes import RECURRENT
from .app import error_console

if TYPE_CHECKING:
    from ..recipes import Recipe, RecurrentRecipe

Name = Literal["torch", "integer"]


class Trainer(ABC):
    """Imports what it needs only when it is used."""

    name: Name
    suffix: str
    """Of the files of its checkpoints."""

    @abstractmethod
    def rate(self, model: str, text: bool) -> float:
        """The usual first rate of a kind of network, on a text or on samples."""

    @property
    @abstractmethod
    def package(self) -> Any:
        """What has `fit`, `evaluate`, and the like."""

    @abstractmethod
    def network(self, recipe: Recipe | RecurrentRecipe, seed: int) -> Any:
        """An untrained network."""

    @abstractmethod
    def options(self, schedule: Any) -> dict[str, Any]:
        """A schedule as its `fit` takes it."""

    @abstractmethod
    def program(self, net: Any, schedule: Any, folder: Path) -> None:
        """Write the C program that trains a perceptron on a device, if there is one for it."""

    @abstractmethod
    def versions(self) -> dict[str, Any]:
        """What beside zahlen its results depend on."""


class Torch(Trainer):
    """PyTorch's gradients and Adam."""

    name, suffix = "torch", ".pt"

    def rate(self, model: str, text: bool) -> float:
        return 0.01 if model in RECURRENT else 1e-3

    @property
    def package(self) -> Any:
        from .. import nn

        return nn

    def network(self, recipe: Recipe | RecurrentRecipe, seed: int) -> Any:
        import torch

        torch.manual_seed(seed)
        return self.package.network(recipe)

    def options(self, schedule: Any) -> dict[str, Any]:
        return asdict(schedule)

    def program(self, net: Any, schedule: Any, folder: Path) -> None:
        """PyTorch does not train on a device."""

    def versions(self) -> dict[str, Any]:
        import torch

        return {"torch": torch.__version__, "threads": torch.get_num_threads()}


class Integer(Trainer):
    """Integers only, and momentum; it needs neither PyTorch nor floats."""

    name, suffix = "integer", ".npz"

    def rate(self, model: str, text: bool) -> float:
        if text:
            return float(self.package.streams.RATES[model])
        return 0.5 if model in RECURRENT else 0.05

    @property
    def package(self) -> Any:
        from .. import integer

        return integer

    def network(self, recipe: Recipe | RecurrentRecipe, seed: int) -> Any:
        return self.package.network(recipe, seed=seed)

    def options(self, schedule: Any) -> dict[str, Any]:
        options = asdict(schedule)
        options.pop("robust", None)
        rule = self.package.Momentum(options.pop("lr"), clip=options.pop("clip"))
        return {**options, "optimiser": rule}

    def program(self, net: Any, schedule: Any, folder: Path) -> None:
        try:
            self.package.c.write(net, self.options(schedule)["optimiser"], folder, batch=schedule.batch_size)
        except (EmitError, LayerError) as error:
            error_console.print(
                f"no c/train.c, which trains on a device: {error}", highlight=False, soft_wrap=True, markup=False
            )

    def versions(self) -> dict[str, Any]:
        return {}


TRAINERS: dict[str, Trainer] = {trainer.name: trainer for trainer in (Torch(), Integer())}
