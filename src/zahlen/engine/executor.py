"""The engine as an executor of machines: a program is packed when it is first asked for, and kept with its machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np

from ..kernels import native
from ..machine import IntArray, Machine
from ..machine.executors import get, register
from .fallback import Fallback
from .plan import NoPlan
from .program import Program, as_int64


class Engine:
    """Runs machines on packed programs, and on the reference what has no exact kernel."""

    def __init__(self) -> None:
        self._programs: WeakKeyDictionary[Machine, dict[tuple[str, ...], Program | str]] = WeakKeyDictionary()

    def program(self, machine: Machine, wanted: tuple[str, ...]) -> Program | None:
        """The program that computes these wires; None if there is none."""
        known = self._programs.setdefault(machine, {})
        if wanted not in known:
            try:
                known[wanted] = Program(machine, wanted)
            except NoPlan as reason:
                known[wanted] = str(reason)  # the error itself would keep the machine
        found = known[wanted]
        return found if isinstance(found, Program) else None

    def __call__(
        self, machine: Machine, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], wanted: tuple[str, ...]
    ) -> dict[str, IntArray]:
        """One step, as the reference takes it."""
        program = self.program(machine, wanted)
        if program is None:
            return get("reference")(machine, inputs, state, wanted)
        batch = len(next(iter({**inputs, **state}.values())))
        outputs = {name: np.empty((batch, *machine.wires[name].shape), dtype=np.int64) for name in wanted}
        states = as_int64(state) if machine.registers else None
        fine = program.execute(as_int64(inputs), outputs, batch, states=states)
        assert fine, "inputs were checked"
        return outputs

    def unroll(
        self, machine: Machine, inputs: Mapping[str, IntArray], state: Mapping[str, IntArray], steps: int
    ) -> tuple[dict[str, IntArray], dict[str, IntArray]] | None:
        """Whole sequences: the state behind them and the outputs of all times; None if there is no program."""
        program = self.program(machine, machine.outputs)
        if program is None:
            return None
        batch = len(next(iter({**inputs, **state}.values())))
        shapes = {name: machine.wires[name].shape for name in (*machine.outputs, *machine.registers)}
        outputs = {name: np.empty((batch, steps, *shapes[name]), dtype=np.int64) for name in machine.outputs}
        following = {name: np.empty((batch, *shapes[name]), dtype=np.int64) for name in machine.registers}
        fine = program.execute(as_int64(inputs), outputs, batch, steps, as_int64(state), following)
        assert fine, "inputs were checked"
        return following, outputs

    def explain(self, machine: Machine) -> str:
        """Which kernel each operation gets, and why."""
        program = self.program(machine, machine.outputs)
        if program is None:
            reason = self._programs[machine][machine.outputs]
            return f"every operation by the reference interpreter: {reason}"
        return str(program)


engine = Engine()


def install() -> None:
    """Make the engine the default executor; where no kernels were built, or none are wanted, NumPy in its place."""
    if native is not None:
        register("engine", engine)
    else:
        register("numpy", Fallback(missing=os.environ.get("ZAHLEN_ISA") != "python"))
