"""Training on samples in memory, and measuring on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..flow import whole
from ..history import History
from ..machine import InputError, LayerError
from .containers import Sequential, evaluating
from .norm import BatchNorm
from .robust import Robust, bounds, certified, margins
from .run import Part, Run

Loss = Callable[[Tensor, Tensor], Tensor]


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
    lengths: Any = None,
    clip: float | None = None,
    robust: int | None = None,
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
        For a recurrent network (n, time, *shape).
    y : array (n,) of classes, or whatever `loss` takes as its second argument
        For a recurrent network (n,) is compared with the output at the last step of each sequence, and
        (n, time, ..) with the outputs at all steps.
    epochs, batch_size : int
    lr : float
        First rate of Adam; it falls to zero along a cosine.
    seed : int
        Of the order of the samples and the choice of the validation samples. Seed PyTorch before you make the model.
    validation : float, (x, y) or (x, y, lengths)
        Share of the samples held back, or other samples. The epoch of the best accuracy (then loss) on them wins; with
        0 the last epoch does.
    loss : callable
        From outputs in the float twin's units, and targets, to a scalar.
    checkpoint : path, optional
        Written after every epoch, whole or not at all.
    resume : bool
        Go on from `checkpoint` if it exists.
    lengths : integer array (n,), optional
        For a recurrent network: how many steps of each sequence are there; what follows is padding.
    clip : float, optional
        Largest norm of a gradient; what is larger is scaled down. 1 is usual for recurrent networks.
    robust : int, optional
        Train for certificates: each element of an input may be changed by so much, in units of the input, without
        another class. From the middle of the training on half of the loss is that of the worst case that
        intervals allow; before, the ball and its weight grow from nothing (see `zahlen.nn.robust`). The epoch that
        certifies the most validation samples wins. A step costs about three times as much.
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
        If the loss is no longer finite, a batch norm would count padding, or intervals cannot pass a layer.

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
    settings = {"batch_size": whole(batch_size, "batch_size"), "epochs": whole(epochs, "epochs")}
    settings["seed"] = whole(seed, "seed", 0)
    samples = _samples(model, x, y, lengths, "fit")
    generator = torch.Generator().manual_seed(settings["seed"])
    _check_norms(model, samples)
    train, held = _split(model, samples, validation, generator)
    for part in (train, held or train):
        _check_targets(model, part, loss)
    source = _Batches(train, held, settings["batch_size"], loss, generator)
    steps = settings["epochs"] * source.steps
    if robust is not None:
        settings["robust"] = whole(robust, "robust")
        source.robust = Robust(settings["robust"], steps)
        for part in (train, held or train):
            _check_robust(model, part)
    run = Run(model, source, generator, steps=steps, lr=_number(lr), clip=clip, settings=settings)
    return run.go(checkpoint, resume=resume, progress=progress, name=name, remarks=remarks)


def _check_norms(model: torch.nn.Module, samples: Samples) -> None:
    """A `LayerError` if a batch norm would count padding."""
    if samples.lengths is None or bool((samples.lengths == samples.x.shape[1]).all()):
        return
    kinds = (BatchNorm, torch.nn.modules.batchnorm._BatchNorm)
    if any(isinstance(module, kinds) for module in model.modules()):
        raise LayerError("fit: a batch norm would count the padding of shorter sequences; leave it out")


def _check_robust(model: torch.nn.Module, samples: Samples) -> None:
    """An error if intervals cannot pass the network, or targets are not classes."""
    if not isinstance(model, Sequential) or model.recurrent:
        raise LayerError("fit: robust= needs intervals, which networks of zahlen.nn without a state have; leave it out")
    with evaluating(model):
        x = samples.x[:1]
        shape = bounds(model, x.to(device_of(model, x)), 0)[0].shape[1:]
    y = samples.y
    if len(shape) != 1 or y.ndim != 1 or y.dtype != torch.int64 or bool(((y < 0) | (y >= shape[0])).any()):
        raise InputError("fit: robust= needs classes as targets, numbered from 0 on, and an output for each of them")


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, (np.integer, np.floating)) else value


@dataclass(frozen=True)
class Samples:
    """Inputs with their targets, and of sequences the lengths."""

    x: Tensor
    y: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Samples:
        """Some of them; sequences are cut where the longest of them ends."""
        if self.lengths is None:
            return Samples(self.x[rows], self.y[rows])
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        y = self.y[rows]
        return Samples(self.x[rows][:, :longest], y if y.ndim == 1 else y[:, :longest], lengths)

    def tensors(self) -> tuple[Tensor, ...]:
        """All that there is."""
        return (self.x, self.y) if self.lengths is None else (self.x, self.y, self.lengths)


class _Batches:
    """Samples in a new order each epoch."""

    def __init__(
        self, train: Samples, held: Samples | None, batch_size: int, loss: Loss, generator: torch.Generator
    ) -> None:
        self.train, self.held, self.batch_size, self.loss, self.generator = train, held, batch_size, loss, generator
        self.steps = len(_batches(torch.arange(len(train)), batch_size))
        self.robust: Robust | None = None
        self.certified = math.nan  # of what is held back, at the end of the last epoch

    def parts(self, model: torch.nn.Module, epoch: int) -> Generator[Part, None, None]:
        order = torch.randperm(len(self.train), generator=self.generator)
        for step, rows in enumerate(_batches(order, self.batch_size), epoch * self.steps):
            yield (*_measure(model, self.train[rows], self.loss, self.robust, step), len(rows))

    def validation(self, model: torch.nn.Module) -> tuple[float, float, float]:
        if self.held is None:
            return math.nan, math.nan, math.nan
        if self.robust is not None:
            self.certified = _certified(model, self.held, self.robust.eps)
        return (*_evaluate(model, self.held, self.loss, 1000), self.certified)

    def tensors(self) -> Iterable[Tensor]:
        return (*self.train.tensors(), *(self.held.tensors() if self.held is not None else ()))

    def course(self, loss: float, accuracy: float) -> str:
        known = "" if math.isnan(self.certified) else f"  certified {self.certified:.4f}"
        return f"loss {loss:.4f}  accuracy {accuracy:.4f}{known}"


def outputs(model: torch.nn.Module, x: Tensor) -> Tensor:
    """The model's outputs in the float twin's units."""
    return scaled(model, model(x))


def scaled(model: torch.nn.Module, output: Tensor) -> Tensor:
    """Integers of a network in the float twin's units."""
    unit = getattr(model, "unit", 1)
    return (output if unit == 1 else output / float(unit)).to(torch.get_default_dtype())


def device_of(model: torch.nn.Module, x: Tensor) -> torch.device:
    """Where the network's parameters are."""
    return next((p.device for p in model.parameters()), x.device)


def _recurrent(model: torch.nn.Module) -> bool:
    return bool(getattr(model, "recurrent", False))


def _compared(model: torch.nn.Module, samples: Samples, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """What the loss compares: of a recurrent network the last step's output, or all steps in one axis."""
    if not _recurrent(model):
        return output, y
    if y.ndim > 1:
        return output.flatten(0, 1), y.flatten(0, 1)
    if samples.lengths is None:
        return output[:, -1], y
    return output[torch.arange(len(y), device=output.device), samples.lengths.to(output.device) - 1], y


def _check_targets(model: torch.nn.Module, samples: Samples, loss: Loss) -> None:
    """An `InputError` if the cross-entropy cannot compare the model's outputs with all of the targets."""
    if loss is not F.cross_entropy:
        return
    with evaluating(model):
        first = Samples(samples.x[:1], samples.y[:1], None if samples.lengths is None else samples.lengths[:1])
        if _recurrent(model) and samples.y.ndim > 1 and samples.y.shape[1] != samples.x.shape[1]:
            raise InputError(
                f"targets have {samples.y.shape[1]} steps, sequences {samples.x.shape[1]}; give one class for each "
                "sequence, or one for each step"
            )
        output = model(first.x.to(device_of(model, first.x)))
        shape = _compared(model, first, output, first.y.to(output.device))[0].shape[1:]
    y = samples.y.flatten(0, 1) if _recurrent(model) and samples.y.ndim > 1 else samples.y
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


def _measure(
    model: torch.nn.Module, samples: Samples, loss: Loss, robust: Robust | None = None, step: int = 0
) -> tuple[Tensor, float]:
    """The loss of a batch, and how many classes are named right (nan where targets are no classes)."""
    device = device_of(model, samples.x)
    x, y = samples.x.to(device), samples.y.to(device)
    if robust is not None:
        assert isinstance(model, Sequential)
        value, output = robust.loss(model, x, y, step, lambda output: loss(scaled(model, output), y))
        return value, _right(output.detach(), y)
    output, y = _compared(model, samples, model(x), y)
    return loss(scaled(model, output), y), _right(output.detach(), y) * len(samples) / max(1, len(y))


def evaluate(
    model: torch.nn.Module, x: Any, y: Any, *, lengths: Any = None, loss: Loss = F.cross_entropy, batch_size: int = 1000
) -> tuple[float, float]:
    """Mean loss and the share of classes named right (nan where targets are no classes), in eval mode."""
    samples = _samples(model, x, y, lengths, "evaluate")
    batch_size = whole(batch_size, "batch_size")
    _check_targets(model, samples, loss)
    return _evaluate(model, samples, loss, batch_size)


def _evaluate(model: torch.nn.Module, samples: Samples, loss: Loss, batch_size: int) -> tuple[float, float]:
    total, right = 0.0, 0.0
    with evaluating(model):
        for rows in torch.split(torch.arange(len(samples)), batch_size):
            value, hits = _measure(model, samples[slice(int(rows[0]), int(rows[-1]) + 1)], loss)
            total += float(value) * len(rows)
            right += hits
    return total / len(samples), right / len(samples)


def _certified(model: torch.nn.Module, samples: Samples, eps: int) -> float:
    """The share of samples that intervals certify, in eval mode."""
    assert isinstance(model, Sequential)
    found = 0
    with evaluating(model):
        for x, y in zip(torch.split(samples.x, 1000), torch.split(samples.y, 1000)):
            device = device_of(model, x)
            x, y = x.to(device), y.to(device)
            found += int(certified(margins(model, x, y, eps), y).sum())
    return found / len(samples)


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


def _samples(model: torch.nn.Module, x: Any, y: Any, lengths: Any, who: str) -> Samples:
    """Samples and targets as tensors, as many of the one as of the other."""
    inputs, targets = _tensor(x), _tensor(y)
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise InputError(f"{who}: samples {tuple(inputs.shape)} and targets {tuple(targets.shape)} do not pair up")
    if targets.ndim == 1 and not (targets.dtype.is_floating_point or targets.dtype == torch.bool):
        targets = targets.long()  # as the cross-entropy wants classes
    if _recurrent(model) and (inputs.ndim < 2 or not inputs.shape[1]):
        raise InputError(f"{who}: sequences (n, time, ..) of at least one step are due, got {tuple(inputs.shape)}")
    if lengths is None:
        return Samples(inputs, targets)
    steps = _tensor(lengths)
    if not _recurrent(model):
        raise InputError(f"{who}: lengths are for recurrent networks; this one has no state")
    if steps.dtype.is_floating_point or steps.dtype == torch.bool or steps.shape != (len(inputs),):
        raise InputError(f"{who}: lengths are {len(inputs)} integers, got {steps.dtype} {tuple(steps.shape)}")
    if int(steps.min()) < 1 or int(steps.max()) > inputs.shape[1]:
        raise InputError(
            f"{who}: lengths are {int(steps.min())}..{int(steps.max())}, but sequences have 1..{inputs.shape[1]} steps"
        )
    if targets.ndim > 1:
        raise InputError(f"{who}: with a target for each step mark those behind the end with -100, and give no lengths")
    return Samples(inputs, targets, steps.long())


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Parts of `size`; a last sample on its own joins the part before it, since a batch norm needs two."""
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1 < size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _split(
    model: torch.nn.Module, samples: Samples, validation: Any, generator: torch.Generator
) -> tuple[Samples, Samples | None]:
    if isinstance(validation, tuple):
        if len(validation) not in (2, 3):
            raise InputError("validation is a share, or a tuple of samples, targets and, of sequences, lengths")
        x, y, *lengths = validation
        return samples, _samples(model, x, y, lengths[0] if lengths else None, "validation")
    if isinstance(validation, bool) or not isinstance(validation, (int, float, np.integer, np.floating)):
        raise InputError(f"validation is a share, or a tuple of samples and targets, got {type(validation).__name__}")
    n = len(samples)
    if not 0 <= validation < 1 or (held := round(n * validation)) >= n:
        raise InputError(f"validation is a share below 1 that leaves samples to train on, got {validation}")
    if held == 0:
        return samples, None
    order = torch.randperm(n, generator=generator)
    return samples[order[held:]], samples[order[:held]]
