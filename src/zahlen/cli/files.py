"""What the commands read and write beside a machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .. import recipes
from ..machine import DataError, FileError, IntArray, LayerError, Machine
from ..textmodel import TextModel


def directory(path: Path) -> Path:
    """Make a directory if it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{path}: no directory can be made there: {error.strerror}") from None
    return path


@dataclass(frozen=True)
class Notes:
    """What a machine's notes say of its samples and classes. Anybody may have written them: types are checked."""

    classes: tuple[str, ...]
    columns: tuple[str, ...]
    step: Fraction | None

    @classmethod
    def of(cls, machine: Machine) -> Notes:
        """The notes of a machine, empty where it has none."""
        classes, columns, step = (machine.notes.get(name) for name in ("classes", "features", "step"))
        for name, value in (("classes", classes), ("features", columns)):
            if value is not None and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
                raise FileError(f"the machine's note {name!r} is no list of names: {str(value)[:80]}")
        try:
            grid = None if step is None else Fraction(str(step))
        except (ValueError, ZeroDivisionError):
            grid = Fraction(0)
        if grid is not None and grid <= 0:
            raise FileError(f"the machine's note 'step' is no positive number: {str(step)[:80]}")
        return cls(tuple(classes or ()), tuple(columns or ()), grid)


TEXT_STEPS = 100
"""Characters of each sequence that a text is cut into."""


def samples(machine: Machine, spec: str) -> tuple[IntArray, IntArray | None]:
    """Samples for a machine from a file, or the test part of a data set; for a model of text, parts of a text.

    With them comes how many steps each of them has, if they are sequences of different lengths.
    """
    from .. import data

    if "symbols" in machine.notes:
        return _in_parts(data.encode(TextModel.of(machine).symbols, _read_text(spec)), spec), None
    suffix = Path(spec).suffix.lower()
    if suffix in (".npy", ".npz", ".csv"):
        notes = Notes.of(machine)
        x = data.samples(spec, columns=notes.columns, step=notes.step)
        return x, data.sample_lengths(spec) if machine.registers else None
    test = data.load(spec, step=Notes.of(machine).step if suffix == ".ts" else None).test
    return test.x, test.lengths if machine.registers else None


def _read_text(spec: str) -> str:
    try:
        return Path(spec).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{spec}: no text that can be read: {error}") from None


def _in_parts(text: IntArray, spec: str) -> IntArray:
    rows = len(text) // TEXT_STEPS
    if not rows:
        raise DataError(f"{spec}: {len(text)} characters are fewer than {TEXT_STEPS}, which make one sequence")
    return text[: rows * TEXT_STEPS].reshape(rows, TEXT_STEPS)


def recorded_samples(path: Path, machine: Machine) -> IntArray | None:
    """The test samples that ``metrics.json`` beside a machine names, if it is of this very machine."""
    from .. import data

    try:
        metrics = json.loads((path.parent / "metrics.json").read_text())
        if metrics["hash"] != machine.hash:
            return None
        if "text_sha256" in metrics:
            text = data.text(**metrics["data"])
            return _in_parts(text.test, text.name) if text.checksum == metrics["text_sha256"] else None
        return data.load(**metrics["data"]).test.x
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def trained_network(path: Path, machine: Machine) -> Any | None:
    """The PyTorch network whose checkpoint ``model.pt`` lies beside a machine; none if there is no such file.

    Raises
    ------
    FileError
        If the checkpoint is damaged or of another machine.
    """
    checkpoint = path.parent / "model.pt"
    if not checkpoint.is_file():
        return None
    from .. import nn

    content = nn.read_checkpoint(checkpoint)
    try:
        network = nn.network(recipes.restored(content["remarks"]))
        network.load_state_dict(content["best"])
    except (LayerError, RuntimeError, TypeError, ValueError) as error:
        raise FileError(f"{checkpoint}: not a checkpoint of this version: {error}") from None
    network.eval()
    return _of(machine, network, checkpoint, path)


def trained_integers(path: Path, machine: Machine) -> Any | None:
    """The network of integers whose checkpoint ``model.npz`` lies beside a machine; see `trained_network`."""
    checkpoint = path.parent / "model.npz"
    if not checkpoint.is_file():
        return None
    from .. import integer

    content = integer.read_checkpoint(checkpoint)
    try:
        network = integer.network(recipes.restored(content.remarks))
    except LayerError as error:
        raise FileError(f"{checkpoint}: not a checkpoint of this version: {error}") from None
    content.restore(network.parameters(), checkpoint)
    return _of(machine, network, checkpoint, path)


def _of(machine: Machine, network: Any, checkpoint: Path, path: Path) -> Any:
    if network.machine().hash != machine.hash:
        raise FileError(f"{checkpoint}: a checkpoint of another machine than {path}; move it away to check without it")
    return network


def divided_samples(machine: Machine, x: IntArray, divide: int, spec: str) -> IntArray:
    """Samples of the machine's only input divided, rounding down, if its alphabet has all of what that makes."""
    values: IntArray = x.astype(np.int64) // divide
    alphabet = machine.wires[machine.inputs[0]].alphabet
    if not alphabet.contains_all(values):
        ends = f"{values.min()}..{values.max()}"
        raise DataError(f"{spec}: values are {ends}, the machine takes {alphabet}; --divide makes them coarser")
    return values


def expected_samples(machine: Machine, x: IntArray, spec: str) -> IntArray:
    """The samples, if they have the shape of the machine's only input; with registers (n, time, *shape)."""
    leading = 2 if machine.registers else 1
    if len(machine.inputs) != 1 or x.ndim < leading or x.shape[leading:] != machine.wires[machine.inputs[0]].shape:
        shapes = ", ".join(str(machine.wires[name].shape) for name in machine.inputs)
        steps = " a step" if machine.registers else ""
        raise DataError(f"{spec}: samples of shape {x.shape[1:]}, but the machine takes {shapes}{steps}")
    return x
