"""The perceptron as iterated map: a register behind each layer."""

from __future__ import annotations

import numpy as np

from .. import operations as op
from ..alphabets import IntArray
from ..builder import MAX_ELEMENTS, Builder
from ..errors import MachineError
from ..machine import Machine, Wire
from ..ranges import INT64, fits
from .names import Names
from .tables import inside


def pipelined(machine: Machine) -> Machine:
    """The machine with a register behind each layer, so that all layers compute at once (arXiv 2404.00880).

    A **layer** is an `affine` or `conv` with all that follows it up to the next one; what stands before the first
    belongs to the first. Layer k, of D on the longest path, works at step t on the input of step t - k + 1. A wire
    that is read in a later layer passes as many registers as layers it crosses, an output as many as make D, so
    that every output at step t + D is what the machine returns on the input of step t. D is in the notes as
    ``latency``; a machine without `affine` and `conv` is one layer.

    Before step D the outputs are what the registers' start makes of them: each element starts at the value nearest to
    zero that it is proven to be able to take.

    Parameters
    ----------
    machine : Machine
        One without registers.

    Returns
    -------
    Machine
        Its inputs and outputs are called as before (but an input that is an output itself is put out as its last
        delay, named anew), and every output is a register.

    Raises
    ------
    MachineError
        If the machine has registers: delays in a cycle change the function. Or if a wire that crosses layers holds no
        value that a register can start at.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> h = b.staircase(b.affine(b.input("x", (2,), Levels(0, 3)), [[1, -1]]), [0], [-1, 1], name="h")
    >>> machine = b.build(b.affine(h, [[5], [6]], name="y"))
    >>> pipeline = pipelined(machine)
    >>> print(pipeline)
    x -> y, 1 step of 4 multiply-adds, 13 constants, 9 bits of state
      x         2 of 0..3          input
      affine_1  1 of -3..3         affine(x)            weight 1x2 in -1..1, bias 1 in 0..0
      h         1 of -1..1 step 2  staircase(affine_1)  axis 0, thresholds 1 in 0..0, values 2 in -1..1
      h_1       1 of -1..1 step 2  register             initial 1 in 1..1, next h
      y_now     2 of -6..6         affine(h_1)          weight 2x1 in 5..6, bias 2 in 0..0
      y         2 of -6..6         register             initial 2 in 0..0, next y_now
    >>> stream = [[[3, 1], [0, 2], [1, 1], [0, 0], [0, 0]]]
    >>> pipeline.run(stream)[0, pipeline.notes["latency"] :].tolist()
    [[5, 6], [-5, -6], [5, 6]]
    >>> machine.run(stream[0][:3]).tolist()
    [[5, 6], [-5, -6], [5, 6]]
    """
    if machine.registers:
        raise MachineError(
            f"pipelined: {', '.join(machine.registers)} hold state, and delays within a machine that has state change "
            "what it computes; pipeline one without registers, for example machine.unrolled(T).pipelined()"
        )
    return _Pipeline(machine).build()


def depths(machine: Machine) -> dict[str, int]:
    """For each wire the number of `affine` and `conv` on the longest path from an input to it, itself included.

    What depends on no input is the same at every step, and at depth 0.

    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> z = b.affine(b.input("x", (2,), Levels(0, 3)), [[1, -1]], name="z")
    >>> depths(b.build(b.neg(z, name="y")))
    {'x': 0, 'z': 1, 'y': 1}
    """
    found: dict[str, int] = {}
    fixed = steady(machine)
    for wire in machine.wires.values():
        before = max((found[name] for name in wire.operands), default=0)
        layer = isinstance(wire.operation, (op.Affine, op.Conv)) and wire.name not in fixed
        found[wire.name] = before + layer
    return found


def steady(machine: Machine) -> set[str]:
    """Wires that depend on no input and no register."""
    found: set[str] = set()
    for wire in machine.wires.values():
        if not isinstance(wire.operation, (op.Input, op.Register)) and found.issuperset(wire.operands):
            found.add(wire.name)
    return found


class _Pipeline:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        # what stands before the first layer belongs to it
        self.time = {name: max(depth - 1, 0) for name, depth in depths(machine).items()}
        self.steady = steady(machine)
        self.latency = 1 + max(self.time[name] for name in machine.outputs)
        self.names = Names(machine.wires)
        self.b = Builder(max(MAX_ELEMENTS, 2 * self.latency * sum(wire.size for wire in machine.wires.values())))
        self.delays: dict[str, list[Wire]] = {}
        """For each wire of the machine what carries its value 0, 1, .. steps later."""

    def build(self) -> Machine:
        machine = self.machine
        for wire in machine.wires.values():
            operands = [self.delayed(x, 0 if x in self.steady else self.between(x, wire.name)) for x in wire.operands]
            # an output's name is that of its last delay
            output = wire.name in machine.outputs and not isinstance(wire.operation, op.Input)
            name = self.names.fresh(wire.name, "_now") if output else wire.name
            self.delays[wire.name] = [
                self.b.append(wire.operation, *inside(self.b, self.names, wire, operands), name=name)
            ]
        outputs = [self.delayed(name, self.latency - self.time[name]) for name in machine.outputs]
        return self.b.build(*outputs, notes={**machine.notes, "latency": self.latency})

    def between(self, first: str, second: str) -> int:
        return self.time[second] - self.time[first]

    def delayed(self, name: str, steps: int) -> Wire:
        """What carries a wire's value so many steps later; the registers are shared by all that read it."""
        wire, chain = self.machine.wires[name], self.delays[name]
        while len(chain) <= steps:
            last = name in self.machine.outputs and len(chain) == self.latency - self.time[name]
            own = last and not isinstance(wire.operation, op.Input)
            register = self.b.register(
                name if own else self.names.fresh(name, f"_{len(chain)}"), wire.shape, chain[0].alphabet, start(wire)
            )
            self.b.connect(register, chain[-1])
            chain.append(register)
        return chain[steps]


def start(wire: Wire) -> IntArray:
    """For each element of a wire the value nearest to zero that it is proven to be able to take.

    Raises
    ------
    MachineError
        If an element has no value in 64 bits.
    """
    lo, hi, step = wire.range.lo.astype(object), wire.range.hi.astype(object), wire.range.step
    nearest = np.asarray(lo + step * np.minimum(np.maximum((step // 2 - lo) // step, 0), (hi - lo) // step), object)
    if not fits((nearest.min(), nearest.max()), INT64):
        raise MachineError(
            f"pipelined: {wire.name} crosses layers, but holds {wire.alphabet}, where no register of 64 bits can "
            "start; shift or clamp it before"
        )
    first: IntArray = nearest.astype(np.int64)
    return first
