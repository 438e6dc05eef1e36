"""Training on samples in memory, and measuring on them, in integers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..flow import whole
from ..history import History
from ..machine import InputError, IntArray
from .chance import Chance
from .containers import Sequential
from .epochs import means
from .losses import Loss, named
from .optimisers import Momentum, Optimiser, fraction
from .rules import Backpropagation, Rule
from .run import Part, Run
from .samples import Samples, checked_samples, measured

ROWS = 1000
"""Samples, or steps of sequences, that a network is measured on at once."""


def fit(
    model: Sequential,
    x: Any,
    y: Any,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    optimiser: Optimiser | None = None,
    rule: Rule | None = None,
    seed: int = 0,
    validation: float | Fraction | str | tuple[Any, ...] = "0.1",
    loss: str | Loss = "cross_entropy",
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    name: str = "training",
    remarks: dict[str, Any] | None = None,
    lengths: Any = None,
) -> History:
    """Train a network on arrays in memory, with integers only, and leave it in eval mode with its best weights.

    The result is the same to the bit on every computer, interrupted and resumed or not.

    Parameters
    ----------
    model : Sequential
        That begins with `Input`.
    x : integer array (n, *shape)
        For a recurrent network (n, time, *shape).
    y : integer array (n,) of classes, or whatever `loss` takes as its targets
        For a recurrent network (n, ..) is compared with the output at the last step of each sequence, and (n, time, ..)
        with the outputs at all steps.
    epochs, batch_size : int
        Of the last, smaller batch of an epoch each sample counts as much as of all others.
    optimiser : Optimiser
        ``Momentum("0.05")`` if there is none; its rate falls to zero along a line.
    rule : Rule
        How gradients reach the layers: by `Backpropagation` if there is none.
    seed : int
        Of the order of the samples, the choice of the validation samples, dropout and random rounding; initial weights
        have the seed of the network.
    validation : decimal str, float, Fraction, (x, y) or (x, y, lengths)
        Share of the samples held back, or other samples. The epoch of the best accuracy (then loss) on them wins; with
        0 the last epoch does.
    loss : {"cross_entropy", "squared", "hinge"} or Loss
    checkpoint : path, optional
        An ``.npz`` file, written after every epoch, whole or not at all.
    resume : bool
        Go on from `checkpoint` if it exists.
    progress : bool
        Show a bar with loss and accuracy.
    name : str
        What the bar says.
    remarks : dict
        JSON values kept in the checkpoint.
    lengths : integer array (n,), optional
        For a recurrent network: how many steps of each sequence are there; what follows is padding.

    Returns
    -------
    History
        Of `zahlen.integer.Epoch`, which count what had to be clamped. Ctrl-C ends the training early; what was best so
        far is kept.

    Raises
    ------
    InputError
        If samples and targets disagree in number, targets are not what the loss takes, there is nothing to train on,
        or a setting is out of range.
    FileError
        If the checkpoint is of another training, or damaged.
    LayerError
        If the network is not whole, or has no parameters.

    Examples
    --------
    >>> import zahlen
    >>> from zahlen import integer
    >>> from zahlen.recipes import Recipe
    >>> data = zahlen.data.load("digits")
    >>> model = integer.network(Recipe.fitting("mlp", data.train.x, data.alphabet, len(data.classes), hidden=(32,)))
    >>> history = integer.fit(model, data.train.x, data.train.y, epochs=3, progress=False)
    >>> loss, accuracy = integer.evaluate(model, data.test.x, data.test.y)
    >>> accuracy > 0.8
    True
    """
    settings: dict[str, Any] = {"batch_size": whole(batch_size, "batch_size"), "epochs": whole(epochs, "epochs")}
    settings["seed"] = whole(seed, "seed", 0)
    kind = named(loss)
    samples = checked_samples(model, x, y, lengths, kind, "fit")
    chance = Chance(settings["seed"])
    train, held = _split(model, samples, validation, kind, chance)
    rule = Backpropagation() if rule is None else rule
    source = _Batches(train, held, settings["batch_size"], kind, rule, chance)
    settings["loss"] = repr(kind)
    steps, optimiser = settings["epochs"] * source.steps, optimiser or Momentum(Fraction(1, 20))
    run = Run(model, source, chance, steps=steps, optimiser=optimiser, settings=settings, rule=rule)
    return run.go(checkpoint, resume=resume, progress=progress, name=name, remarks=remarks)


def evaluate(
    model: Sequential,
    x: Any,
    y: Any,
    *,
    loss: str | Loss = "cross_entropy",
    batch_size: int = ROWS,
    lengths: Any = None,
) -> tuple[float, float]:
    """Mean loss (of the cross-entropy in nats) and the share of classes named right (nan where targets are none).

    It leaves the network in eval mode.
    """
    kind = named(loss)
    samples = checked_samples(model, x, y, lengths, kind, "evaluate")
    model.eval()
    total, right, count = _evaluate(model, samples, kind, whole(batch_size, "batch_size"))
    mean, accuracy = means(total, right, count)
    return mean * kind.worth, accuracy


class _Batches:
    """Samples in a new order each epoch."""

    def __init__(
        self, train: Samples, held: Samples | None, batch_size: int, loss: Loss, rule: Rule, chance: Chance
    ) -> None:
        self.train, self.held, self.loss, self.rule, self.chance = train, held, loss, rule, chance
        self.samples = min(batch_size, len(train))
        self.batch, self.most = self.samples * train.targets, self.samples * train.steps
        self.steps = -(-len(train) // self.samples)
        self.worth = loss.worth

    def parts(self, model: Sequential, epoch: int) -> Generator[Part, None, None]:
        order = self.chance.permutation(len(self.train))
        for start in range(0, len(order), self.samples):
            batch = self.train[order[start : start + self.samples]]
            found = measured(model, batch, self.loss, self.rule)
            yield found.loss, found.right, batch.count

    def validation(self, model: Sequential) -> Part:
        return (0, None, 0) if self.held is None else _evaluate(model, self.held, self.loss, ROWS)

    def arrays(self) -> Iterable[IntArray]:
        return (*self.train.arrays(), *(self.held.arrays() if self.held is not None else ()))

    def course(self, loss: float, accuracy: float) -> str:
        return f"loss {loss:.4f}  accuracy {accuracy:.4f}"


def _evaluate(model: Sequential, samples: Samples, loss: Loss, batch_size: int) -> Part:
    total = count = 0
    right: int | None = 0
    rows = max(1, batch_size // samples.steps)
    for start in range(0, len(samples), rows):
        part = samples[slice(start, start + rows)]
        found = measured(model, part, loss)
        total, count = total + found.loss, count + part.count
        right = None if right is None or found.right is None else right + found.right
    return total, right, count


def _split(
    model: Sequential, samples: Samples, validation: Any, loss: Loss, chance: Chance
) -> tuple[Samples, Samples | None]:
    if isinstance(validation, tuple):
        if len(validation) not in (2, 3):
            raise InputError("validation is a share, or a tuple of samples, targets and, of sequences, lengths")
        x, y, *lengths = validation
        return samples, checked_samples(model, x, y, lengths[0] if lengths else None, loss, "validation")
    held = round(len(samples) * fraction(validation, "validation", 0))
    if held >= len(samples):
        raise InputError(f"validation is a share below 1 that leaves samples to train on, got {validation}")
    if held == 0:
        return samples, None
    order = chance.permutation(len(samples))
    return samples[order[held:]], samples[order[:held]]
