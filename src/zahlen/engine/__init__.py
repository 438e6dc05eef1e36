"""The engine: a machine's wires on the kernels of this processor, by default behind every `Machine.run`."""

from .executor import engine, install
from .fallback import MissingKernelsWarning
from .plan import NoPlan
from .program import Program

__all__ = ["MissingKernelsWarning", "NoPlan", "Program", "engine", "install"]
