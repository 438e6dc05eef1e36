"""The narrow waist: what a machine is, what its operations mean, and how it is proven, printed, stored and run."""

from .alphabets import Alphabet, Codes, IntArray, Levels, bits
from .builder import Builder
from .errors import (
    AlphabetError,
    DataError,
    EmitError,
    FileError,
    InputError,
    LayerError,
    MachineError,
    RangeError,
    ShapeError,
    ToolError,
    ZahlenError,
)
from .file import load, replacing
from .machine import Machine, Wire
from .ranges import Range

__all__ = [
    "Alphabet",
    "AlphabetError",
    "Builder",
    "Codes",
    "DataError",
    "EmitError",
    "FileError",
    "InputError",
    "IntArray",
    "LayerError",
    "Levels",
    "Machine",
    "MachineError",
    "Range",
    "RangeError",
    "ShapeError",
    "ToolError",
    "Wire",
    "ZahlenError",
    "bits",
    "load",
    "replacing",
]
