"""Pictures of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..machine import ToolError, replacing

if TYPE_CHECKING:
    from ..history import History


def curves(histories: Mapping[str, History], accuracies: Mapping[str, float], path: Path) -> None:
    """Loss and accuracy over the epochs, one colour a network, validation solid and training dashed, certified dotted.

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    figure = _figure((9, 3.6))
    loss, accuracy = figure.subplots(1, 2)
    for k, (name, history) in enumerate(histories.items()):
        epochs = range(1, len(history.epochs) + 1)
        for axis, kind, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
            seen = [scale * getattr(e, kind) for e in history.epochs]
            held = [scale * getattr(e, f"validation_{kind}") for e in history.epochs]
            axis.plot(epochs, seen, "--", color=f"C{k}", alpha=0.6, label=f"{name}, training")
            axis.plot(epochs, held, "o-", color=f"C{k}", markersize=3, label=f"{name}, validation")
        certified = [100 * epoch.validation_certified for epoch in history.epochs]
        if not all(map(math.isnan, certified)):
            accuracy.plot(epochs, certified, "s:", color=f"C{k}", markersize=3, label=f"{name}, certified")
            accuracy.legend(fontsize=8)
        if name in accuracies:
            accuracy.axhline(100 * accuracies[name], color=f"C{k}", linewidth=0.8, alpha=0.7)
            accuracy.annotate(
                f"test {100 * accuracies[name]:.2f} %", (1, 100 * accuracies[name]), xycoords=("axes fraction", "data"),
                ha="right", va="bottom" if k == 0 else "top", fontsize=8, color=f"C{k}",
            )  # fmt: skip
    loss.set(xlabel="epoch", ylabel="cross-entropy")
    accuracy.set(xlabel="epoch", ylabel="accuracy, %")
    for axis in (loss, accuracy):
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    loss.legend(fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def bits(histories: Mapping[str, History], scores: Mapping[str, float], every: int, path: Path) -> None:
    """Bits per character over the steps of a training on a text, one colour a network, the test as a line.

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    figure = _figure((6, 3.6))
    axis = figure.subplots()
    for k, (name, history) in enumerate(histories.items()):
        steps = [every * (n + 1) for n in range(len(history.epochs))]
        for kind, style in (("loss", "--"), ("validation_loss", "o-")):
            values = [getattr(epoch, kind) / math.log(2) for epoch in history.epochs]
            label = f"{name}, {'training' if kind == 'loss' else 'validation'}"
            axis.plot(steps, values, style, color=f"C{k}", markersize=3, label=label)
        if name in scores:
            axis.axhline(
                scores[name], color=f"C{k}", linewidth=0.8, alpha=0.7, label=f"{name}, test {scores[name]:.3f}"
            )
    axis.set(xlabel="steps", ylabel="bits per character")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ToolError("plots need matplotlib; install it with: pip install 'zahlen[plots]'") from None
    return Figure(figsize=size, layout="constrained")
