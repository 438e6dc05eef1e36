"""The exceptions of zahlen: every refusal is a :class:`ZahlenError` that says what, why and a way out."""

from __future__ import annotations


class ZahlenError(Exception):
    """Base class of every error that zahlen raises on purpose."""


class AlphabetError(ZahlenError):
    """A set of values is malformed, or a value is not one of its elements."""


class ShapeError(ZahlenError):
    """Shapes disagree."""


class RangeError(ZahlenError):
    """A proven range does not fit where it has to."""


class MachineError(ZahlenError):
    """A program is malformed: an unknown operand, a bad constant, a register without a successor."""


class InputError(ZahlenError):
    """What was given to run a machine on is not a batch of elements of its input alphabet."""


class FileError(ZahlenError):
    """A file is not a zahlen machine, or not one that this version knows."""


class DataError(ZahlenError):
    """A data set is missing, ragged, non-finite or mislabelled."""


class EmitError(ZahlenError):
    """A machine cannot be expressed exactly in the language asked for."""


class LayerError(ZahlenError):
    """A layer cannot be built, trained or turned into a machine as it stands."""


class ToolError(ZahlenError):
    """An outside tool or an optional dependency is missing or failed."""
