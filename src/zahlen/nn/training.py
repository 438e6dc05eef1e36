"""The training loop: Adam with a decaying rate, validation, checkpoints, and seeds that reproduce a hash."""

from __future__ import annotations

import contextlib
import io
import math
import pickle
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from ..machine import FileError, InputError, LayerError, replacing
from .containers import evaluating

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Epoch:
    """What one pass over the training data gave; accuracies are shares of 1, nan where targets are no classes."""

    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass
class History:
    """The course of a training.

    Attributes
    ----------
    epochs : list of Epoch
    best : int
        Index of the epoch whose weights the model has now.
    interrupted : bool
        Whether Ctrl-C ended it early.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: int = -1
    interrupted: bool = False


def fit(
    model: torch.nn.Module,
    x: Any,
    y: Any,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    validation: float | tuple[Any, Any] = 0.1,
    loss: Loss = F.cross_entropy,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    name: str = "training",
    remarks: dict[str, Any] | None = None,
) -> History:
    """Train a network on arrays in memory and leave it in eval mode with its best weights.

    Works on `zahlen.nn` networks and, for comparison, on their float twins. With one seed, one number of threads and
    one version of PyTorch the result is the same to the bit, interrupted and resumed or not.

    Parameters
    ----------
    model : torch.nn.Module
        From integer batches (batch, *shape) to outputs; those of a `Sequential` are divided by its `unit`.
    x : integer array (n, *shape)
    y : array (n,) of classes, or whatever `loss` takes as its second argument
    epochs, batch_size : int
    lr : float
        First rate of Adam; it falls to zero along a cosine.
    seed : int
        Of the order of the samples and the choice of the validation samples. Seed PyTorch before you make the model.
    validation : float or (x, y)
        Share of the samples held back, or other samples. The epoch of the best accuracy (then loss) on them wins; with
        0 the last epoch does.
    loss : callable
        From outputs in the float twin's units, and targets, to a scalar.
    checkpoint : path, optional
        Written after every epoch, whole or not at all.
    resume : bool
        Go on from `checkpoint` if it exists.
    progress : bool
        Show a bar with loss and accuracy.
    name : str
        What the bar says.
    remarks : dict
        Plain values kept in the checkpoint.

    Returns
    -------
    History
        Ctrl-C ends the training early; what was best so far is kept.

    Raises
    ------
    InputError
        If samples and targets disagree in number, targets are not what the default loss takes, there is nothing to
        train on, or a setting is out of range.
    FileError
        If the checkpoint is of another training, or damaged.
    LayerError
        If the loss is no longer finite.

    Examples
    --------
    >>> import torch, zahlen
    >>> from zahlen import nn
    >>> data = zahlen.data.load("digits")
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Input(data.shape, data.alphabet, offset=5, unit=6), nn.Flatten(), nn.Linear(64, 10))
    >>> history = zahlen.fit(model, data.train.x, data.train.y, epochs=2, progress=False)
    >>> len(history.epochs)
    2
    """
    samples = _pair(x, y, "fit")
    epochs, batch_size = _whole(epochs, "epochs"), _whole(batch_size, "batch_size")
    seed = _whole(seed, "seed", 0)
    if isinstance(lr, bool) or not isinstance(lr, (int, float, np.integer, np.floating)) or not 0 <= lr < math.inf:
        raise InputError(f"fit: lr is a finite number from 0 on, got {lr!r}")
    if not any(p.requires_grad for p in model.parameters()):
        raise LayerError("fit: the model has no parameter to train")
    generator = torch.Generator().manual_seed(seed)
    train, held = _split(samples, validation, generator)
    for x, y in (train, held or train):
        _check_targets(model, x, y, loss)
    run = _Run(model, train, held, loss, batch_size, epochs, float(lr), seed, generator)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        run.prepare(path, remarks or {})
    if resume and path is not None and path.exists():
        run.restore(path)
    with _bar(progress, name, epochs * run.steps, len(run.history.epochs) * run.steps) as report:
        try:
            for _ in range(len(run.history.epochs), epochs):
                run.epoch(report)
                if path is not None:
                    run.save(path)
        except KeyboardInterrupt:
            run.history.interrupted = True
        finally:
            run.finish()
    return run.history


class _Run:
    """The state of a training: all that a checkpoint holds."""

    def __init__(
        self,
        model: torch.nn.Module,
        train: tuple[Tensor, Tensor],
        held: tuple[Tensor, Tensor] | None,
        loss: Loss,
        batch_size: int,
        epochs: int,
        lr: float,
        seed: int,
        generator: torch.Generator,
    ) -> None:
        self.model, self.train, self.held, self.loss = model, train, held, loss
        self.batch_size, self.lr, self.generator = batch_size, lr, generator
        self.steps = len(_batches(torch.arange(len(train[0])), batch_size))
        self.total = epochs * self.steps
        self.optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.remarks: dict[str, Any] = {}
        self.settings: dict[str, Any] = {"batch_size": batch_size, "epochs": epochs, "lr": lr, "seed": seed}

    def prepare(self, path: Path, remarks: dict[str, Any]) -> None:
        """See to it that the first checkpoint can be written, and read again, before an epoch is spent on it."""
        if not path.parent.is_dir():
            raise FileError(f"{path}: there is no directory {path.parent}")
        buffer = io.BytesIO()
        torch.save(remarks, buffer)
        try:
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        except pickle.UnpicklingError:
            raise InputError("fit: remarks are plain Python values: numbers, strings, lists, dicts") from None
        self.remarks = remarks
        self.settings |= {"network": repr(self.model), "data": _checksum((*self.train, *(self.held or ())))}

    def epoch(self, report: Callable[[float, float], None]) -> None:
        """One pass over the training samples in a new order, then over the validation samples."""
        start = time.perf_counter()
        self.model.train()
        order = torch.randperm(len(self.train[0]), generator=self.generator)
        total, right, done = 0.0, 0.0, 0
        for step, rows in enumerate(_batches(order, self.batch_size)):
            self._set_rate(len(self.history.epochs) * self.steps + step)
            value, hits = _measure(self.model, self.train[0][rows], self.train[1][rows], self.loss)
            if not math.isfinite(float(value.detach())):
                raise LayerError("the loss is no longer finite; take a smaller lr")
            self.optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total += float(value.detach()) * len(rows)
            right += hits
            done += len(rows)
            report(total / done, right / done)
        held = (math.nan, math.nan) if self.held is None else evaluate(self.model, *self.held, loss=self.loss)
        n = len(order)
        self.history.epochs.append(Epoch(total / n, right / n, *held, time.perf_counter() - start))
        if self._is_best():
            self.history.best = len(self.history.epochs) - 1
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _set_rate(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * (1 + math.cos(math.pi * step / self.total)) / 2

    def _is_best(self) -> bool:
        if self.held is None or self.history.best < 0:
            return True

        def rank(epoch: Epoch) -> tuple[float, float]:
            accuracy = epoch.validation_accuracy
            return (0.0 if math.isnan(accuracy) else accuracy, -epoch.validation_loss)

        return rank(self.history.epochs[-1]) >= rank(self.history.epochs[self.history.best])

    def finish(self) -> None:
        """Put the best weights back."""
        if self.best:
            self.model.load_state_dict(self.best)
        self.model.eval()

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "history": asdict(self.history),
            "remarks": self.remarks,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with replacing(path) as file:
            file.write(buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Take everything from a checkpoint."""
        content = read_checkpoint(path)
        theirs, ours = content["settings"], self.settings
        if theirs != ours:
            other = ", ".join(name for name in ours if not isinstance(theirs, dict) or theirs.get(name) != ours[name])
            raise FileError(f"{path}: a checkpoint of another training ({other}); take another path, or do not resume")
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        try:
            record = content["history"]
            self.history = History([Epoch(**epoch) for epoch in record["epochs"]], record["best"])
            self.generator.set_state(content["generator"])
            self.optimiser.load_state_dict(content["optimiser"])
            self.best = content["best"]
            for state in (self.best, content["model"]):
                self.model.load_state_dict(state)
            torch.set_rng_state(content["torch_generator"])
        except Exception as error:  # whatever a damaged content makes of it
            self.model.load_state_dict(before)
            raise FileError(f"{path}: not a checkpoint of this network: {error}") from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; no code in it is executed.

    Raises
    ------
    FileError
        If it is none.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch.load looks at no checksum
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        content = torch.load(path, weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise
        raise FileError(f"{path}: not a checkpoint: {error}") from None
    parts = {"settings", "model", "best", "optimiser", "generator", "torch_generator", "history", "remarks"}
    if not isinstance(content, dict) or set(content) != parts:
        raise FileError(f"{path}: not a checkpoint of zahlen")
    return content


def outputs(model: torch.nn.Module, x: Tensor) -> Tensor:
    """The model's outputs in the float twin's units."""
    return _scaled(model, model(x))


def _scaled(model: torch.nn.Module, output: Tensor) -> Tensor:
    unit = getattr(model, "unit", 1)
    return (output if unit == 1 else output / float(unit)).to(torch.get_default_dtype())


def _device(model: torch.nn.Module, x: Tensor) -> torch.device:
    return next((p.device for p in model.parameters()), x.device)


def _check_targets(model: torch.nn.Module, x: Tensor, y: Tensor, loss: Loss) -> None:
    """An `InputError` if the cross-entropy cannot compare the model's outputs with all of the targets."""
    if loss is not F.cross_entropy:
        return
    with evaluating(model):
        shape = model(x[:1].to(_device(model, x))).shape[1:]
    classes = shape[0] if shape else 0
    if y.is_floating_point() and y.shape[1:] == shape:
        return  # a probability for each class
    if y.dtype != torch.int64 or y.shape[1:] != shape[1:]:
        got, outputs = ("(" + ", ".join(("n", *map(str, sizes))) + ")" for sizes in (y.shape[1:], shape))
        raise InputError(
            f"targets are {str(y.dtype).removeprefix('torch.')} {got}, but the cross-entropy compares outputs "
            f"{outputs} with int64 classes; give classes 0..{classes - 1}, or another loss"
        )
    strange = y[(y >= classes) | ((y < 0) & (y != -100))]  # the cross-entropy leaves out what is marked with -100
    if strange.numel():
        raise InputError(
            f"a target is class {int(strange[0])}, but the network has outputs for 0..{classes - 1}; "
            "number classes from 0 on, or give the last layer more outputs"
        )


def _measure(model: torch.nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, float]:
    """The loss of a batch, and how many classes are named right (nan where targets are no classes)."""
    device = _device(model, x)
    output, y = model(x.to(device)), y.to(device)
    return loss(_scaled(model, output), y), _right(output.detach(), y)


def evaluate(
    model: torch.nn.Module, x: Any, y: Any, *, loss: Loss = F.cross_entropy, batch_size: int = 1000
) -> tuple[float, float]:
    """Mean loss and the share of classes named right (nan where targets are no classes), in eval mode."""
    inputs, targets = _pair(x, y, "evaluate")
    batch_size = _whole(batch_size, "batch_size")
    _check_targets(model, inputs, targets, loss)
    total, right = 0.0, 0.0
    with evaluating(model):
        for rows, wanted in zip(torch.split(inputs, batch_size), torch.split(targets, batch_size)):
            value, hits = _measure(model, rows, wanted, loss)
            total += float(value) * len(rows)
            right += hits
    return total / len(inputs), right / len(inputs)


def _right(output: Tensor, y: Tensor) -> float:
    if y.ndim != 1 or y.dtype.is_floating_point or output.ndim != 2 or output.shape[1] < 2:
        return math.nan
    # torch.argmax takes the lowest index among equals, as the machine's does
    return float((output.argmax(1) == y).sum())


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if array.dtype in (np.uint16, np.uint32, np.uint64):  # PyTorch hardly computes on these
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array))


def _pair(x: Any, y: Any, who: str) -> tuple[Tensor, Tensor]:
    """Samples and targets as tensors, as many of the one as of the other."""
    inputs, targets = _tensor(x), _tensor(y)
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise InputError(f"{who}: samples {tuple(inputs.shape)} and targets {tuple(targets.shape)} do not pair up")
    if targets.ndim == 1 and not (targets.dtype.is_floating_point or targets.dtype == torch.bool):
        targets = targets.long()  # as the cross-entropy wants classes
    return inputs, targets


def _whole(value: object, what: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < 2**63:
        raise InputError(f"{what} is an integer of at least {least}, got {value!r}")
    return int(value)


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Parts of `size`; a last sample on its own joins the part before it, since a batch norm needs two."""
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1 < size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _checksum(tensors: Iterable[Tensor]) -> int:
    result = 0
    for tensor in tensors:
        result = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), result)
    return result


def _split(
    samples: tuple[Tensor, Tensor], validation: float | tuple[Any, Any], generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    x, y = samples
    if isinstance(validation, tuple):
        if len(validation) != 2:
            raise InputError("validation is a share, or a pair of samples and targets")
        return samples, _pair(*validation, "validation")
    if isinstance(validation, bool) or not isinstance(validation, (int, float, np.integer, np.floating)):
        raise InputError(f"validation is a share, or a tuple of samples and targets, got {type(validation).__name__}")
    if not 0 <= validation < 1 or (held := round(len(x) * validation)) >= len(x):
        raise InputError(f"validation is a share below 1 that leaves samples to train on, got {validation}")
    if held == 0:
        return (x, y), None
    order = torch.randperm(len(x), generator=generator)
    rest, chosen = order[held:], order[:held]
    return (x[rest], y[rest]), (x[chosen], y[chosen])


@contextlib.contextmanager
def _bar(shown: bool, name: str, total: int, done: int) -> Iterator[Callable[[float, float], None]]:
    if not shown:
        yield lambda loss, accuracy: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bars:
        task = bars.add_task(name, total=total, completed=done, loss=math.nan, accuracy=math.nan)
        yield lambda loss, accuracy: bars.update(task, advance=1, loss=loss, accuracy=accuracy)
