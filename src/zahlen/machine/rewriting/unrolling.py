"""The lifted form: a machine over so many steps as one machine without registers."""

from __future__ import annotations

from .. import operations as op
from ..alphabets import Codes
from ..builder import MAX_ELEMENTS, Builder
from ..errors import MachineError, ZahlenError
from ..machine import Machine, Wire
from .names import Names
from .tables import inside


def unrolled(machine: Machine, steps: int, *, state: bool = False) -> Machine:
    """So many steps of a machine as one feed-forward machine (the lifted form of arXiv 2404.00880).

    Every step is a copy of the program, numbered from 0, in which a register is the wire that it took in the copy
    before. Ranges are proven anew, copy by copy.

    Parameters
    ----------
    machine : Machine
    steps : int
        At least 1.
    state : bool
        Whether the state is open: every register ``r`` becomes an input ``r_before``, its value at the first step, and
        an output ``r_after``, its value after the last one. Otherwise the registers start from their initial values.

    Returns
    -------
    Machine
        Inputs (steps, *shape) and outputs (steps, *shape) under their names, then the state. It maps to what
        `Machine.run` returns on sequences of this length.

    Raises
    ------
    MachineError
        If `steps` is no positive integer, the copies exceed the builder's limits, or nothing is left that could be an
        input.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> count = b.register("count", (1,), Levels(0, 2))
    >>> total = b.add(count, b.input("x", (1,), Levels(0, 1)))
    >>> b.connect(count, b.lookup(total, [0, 1, 2, 0], name="following"))
    >>> counter = b.build("following")
    >>> unrolled(counter, 3).run([[[1], [1], [1]]]).ravel().tolist()
    [1, 2, 0]
    >>> after = unrolled(counter, 3, state=True).run({"x": [[[1], [1], [1]]], "count_before": [[2]]})
    >>> {name: value.ravel().tolist() for name, value in after.items()}
    {'following': [0, 1, 2], 'count_after': [2]}
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise MachineError(f"unrolled: a machine unrolls over 1 step or more, got {steps!r}")
    if not machine.inputs and not (state and machine.registers):
        raise MachineError(
            "unrolled: without inputs the copies would be constants; open the state with state=True, or use run"
        )
    try:
        return _Unroller(machine, state).build(steps)
    except ZahlenError as error:
        raise MachineError(f"unrolled over {steps:,} steps: {error}; unroll fewer steps, or use run") from None


class _Unroller:
    def __init__(self, machine: Machine, state: bool) -> None:
        self.machine, self.open = machine, state
        self.names = Names([*machine.inputs, *machine.outputs])
        # a limit raised for the machine as it was holds for one copy of it, too
        self.b = Builder(max(MAX_ELEMENTS, sum(wire.size for wire in machine.wires.values())))
        self.inputs: dict[str, Wire] = {}

    def build(self, steps: int) -> Machine:
        machine, b = self.machine, self.b
        for name in machine.inputs:
            wire = machine.wires[name]
            self.inputs[name] = b.input(name, (steps, *wire.shape), wire.alphabet)
        current = {name: self.start(machine.wires[name]) for name in machine.registers}
        seen: dict[str, list[Wire]] = {name: [] for name in machine.outputs}
        for t in range(steps):
            copies = self.copy(t, steps, current)
            current = {register: copies[successor] for register, successor in machine.successors.items()}
            for name, values in seen.items():
                values.append(copies[name])
        outputs = [self.stacked(name, values) for name, values in seen.items()]
        if self.open:
            outputs += [self.renamed(wire, name, "_after") for name, wire in current.items()]
        return b.build(*outputs, notes=machine.notes)

    def start(self, register: Wire) -> Wire:
        operation = register.operation
        assert isinstance(operation, op.Register)
        if self.open:
            return self.b.input(self.names.fresh(register.name, "_before"), register.shape, register.alphabet)
        codes = operation.alphabet if isinstance(operation.alphabet, Codes) else None
        return self.b.constant(operation.initial, codes, name=self.names.fresh(register.name, "_0"))

    def copy(self, t: int, steps: int, current: dict[str, Wire]) -> dict[str, Wire]:
        """The wires of step `t` by the names that they have in the machine."""
        copies = dict(current)
        for wire in self.machine.wires.values():
            if isinstance(wire.operation, op.Register):
                continue
            if isinstance(wire.operation, op.Input):
                rest = [0] * len(wire.shape)
                piece = self.b.slice(
                    self.inputs[wire.name],
                    (t, *rest),
                    (t + 1, *wire.shape),
                    name=self.names.fresh(wire.name, f"_at_{t}"),
                )
                copies[wire.name] = self.b.reshape(piece, wire.shape, name=self.names.fresh(wire.name, f"_{t}"))
            else:
                operands = inside(self.b, self.names, wire, [copies[name] for name in wire.operands])
                name = self.names.fresh(wire.name, f"_{t}")
                copies[wire.name] = self.b.append(wire.operation, *operands, name=name)
        return copies

    def stacked(self, name: str, values: list[Wire]) -> Wire:
        """The values of all steps along a new first axis, under the output's own name."""
        if name in self.inputs:
            return self.inputs[name]
        shape = self.machine.wires[name].shape
        rows = [self.b.reshape(v, (1, *shape), name=self.names.fresh(name, f"_row_{t}")) for t, v in enumerate(values)]
        return self.b.concat(*rows, axis=0, name=name)

    def renamed(self, wire: Wire, stem: str, suffix: str) -> Wire:
        """The same values as a wire of their own: two registers may take one wire, and an output may be one."""
        shape = self.machine.wires[stem].shape
        return self.b.reshape(wire, shape, name=self.names.fresh(stem, suffix))
