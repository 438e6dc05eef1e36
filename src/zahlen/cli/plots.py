"""Pictures of a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..machine import ToolError, replacing

if TYPE_CHECKING:
    from ..nn import History


def curves(histories: Mapping[str, History], accuracies: Mapping[str, float], path: Path) -> None:
    """Loss and accuracy over the epochs, one colour a network, validation solid and training dashed.

    Raises
    ------
    ToolError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ToolError("plots need matplotlib; install it with: pip install 'zahlen[plots]'") from None
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for k, (name, history) in enumerate(histories.items()):
        epochs = range(1, len(history.epochs) + 1)
        for axis, kind, scale in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
            seen = [scale * getattr(e, kind) for e in history.epochs]
            held = [scale * getattr(e, f"validation_{kind}") for e in history.epochs]
            axis.plot(epochs, seen, "--", color=f"C{k}", alpha=0.6, label=f"{name}, training")
            axis.plot(epochs, held, "o-", color=f"C{k}", markersize=3, label=f"{name}, validation")
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
