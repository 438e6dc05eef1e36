"""Compile an emitted program and compare it with its machine, wire by wire.

The program is compiled with its trace on, beside a main() that reads records from standard input and writes, for each
step, every element of every wire. All integers travel as little-endian bytes, whatever computes them, so a program
for another processor runs the same way under an emulator (`runner`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from zahlen.c99 import check_name
from zahlen.machine import EmitError, InputError, IntArray, Machine, ToolError, replacing

from . import c
from .driver import Record, driver
from .layout import Layout

FLAGS = ("-std=c99", "-O3")
CHUNK_BYTES = 1 << 24
"""How many bytes of records are under way at once."""

KEEP, INIT, LOAD = 0, 1, 2
"""What a record does with the state first: keep it, start anew, or load what follows."""


class Compiled:
    """A machine's program, compiled with its trace.

    Attributes
    ----------
    machine : Machine
    command : tuple of str
        What runs it.
    """

    def __init__(self, machine: Machine, record: Record, command: tuple[str, ...], scratch: object):
        self.machine, self.command = machine, command
        self._record, self._scratch = record, scratch

    def trace(self, x: Any, state: Mapping[str, Any] | None = None) -> dict[str, IntArray]:
        """Every wire by name, (batch, *shape), after one step: the same integers as `Machine.trace` returns.

        Parameters
        ----------
        x : integer array (batch, *shape), or mapping of such by input name
        state : mapping from register name to integer array (batch, *shape), optional
            By default the initial state, as the program's own init() sets it.

        Raises
        ------
        InputError
            If a shape does not fit or a value is outside its alphabet.
        EmitError
            If what the program returns is not what its own wires hold.
        ToolError
            If the program fails.
        """
        return self._joined([part for _, part in self.traces(x, state)])

    def traces(self, x: Any, state: Mapping[str, Any] | None = None) -> Iterator[tuple[slice, dict[str, IntArray]]]:
        """As `trace`, in pieces of bounded size: (which part of the batch, its wires)."""
        inputs = self._arrays(x, self.machine.inputs, 1)
        registers = self._arrays(state or {}, self.machine.registers if state else (), 1)
        if state is None:
            registers = self.machine.initial_state(1)
        batch = max((len(a) for a in (*inputs.values(), *(registers.values() if state else ()))), default=1)
        registers = {n: np.broadcast_to(a, (batch, *a.shape[1:])) for n, a in registers.items()}
        yield from self._steps(inputs, registers, np.full(batch, LOAD if state else INIT))

    def sequence(self, x: Any) -> dict[str, IntArray]:
        """Every wire by name, (batch, time, *shape): the program starts anew for each sequence, then keeps its state.

        Parameters
        ----------
        x : integer array (batch, time, *shape), or mapping of such by input name
        """
        inputs = self._arrays(x, self.machine.inputs, 2)
        batch, time = next((a.shape[:2] for a in inputs.values()), (1, 1))
        flat = {n: a.reshape(batch * time, *a.shape[2:]) for n, a in inputs.items()}
        modes = np.tile(np.array([INIT] + [KEEP] * (time - 1)), batch)
        states = {n: np.repeat(a, batch * time, axis=0) for n, a in self.machine.initial_state(1).items()}
        wires = self._joined([part for _, part in self._steps(flat, states, modes)])
        return {name: value.reshape(batch, time, *value.shape[1:]) for name, value in wires.items()}

    # ------------------------------------------------------------------------------------------------ records

    def _arrays(self, x: Any, names: Sequence[str], leading: int) -> dict[str, IntArray]:
        given = dict(x) if isinstance(x, Mapping) else {names[0]: x} if len(names) == 1 else None
        if given is None or set(given) != set(names):
            raise InputError(f"{', '.join(names)} are due, as a mapping from name to array")
        arrays = {}
        for name in names:
            array, wire = np.asarray(given[name]), self.machine.wires[name]
            if array.dtype != object and array.dtype.kind not in "iu":
                raise InputError(f"{name}: integers are due, got {array.dtype}")
            if array.shape[leading:] != wire.shape or array.ndim != leading + len(wire.shape):
                raise InputError(f"{name}: elements of shape {wire.shape} are due, got {array.shape}")
            if not wire.alphabet.contains_all(array):
                raise InputError(f"{name}: values leave {wire.alphabet}")
            arrays[name] = array
        if len({array.shape[:leading] for array in arrays.values()}) > 1:
            raise InputError("inputs differ in batch or time")
        return arrays

    def _joined(self, parts: list[dict[str, IntArray]]) -> dict[str, IntArray]:
        none = {name: np.empty((0, *wire.shape), dtype=np.int64) for name, wire in self.machine.wires.items()}
        return {name: np.concatenate([part[name] for part in parts or [none]]) for name in none}

    def _steps(
        self, inputs: dict[str, IntArray], states: dict[str, IntArray], modes: IntArray
    ) -> Iterator[tuple[slice, dict[str, IntArray]]]:
        size = max(1, CHUNK_BYTES // (self._record.given + self._record.answered))
        bounds = [*range(0, len(modes), size), len(modes)]
        slices = [slice(a, b) for a, b in pairwise(bounds)]
        given = (self._record.encode(modes[s], _part(states, s), _part(inputs, s)) for s in slices)
        answers = _exchange(self.command, given, [self._record.answered * (s.stop - s.start) for s in slices])
        for where, answer in zip(slices, answers):
            wires, outputs, following = self._record.decode(answer)
            for name, value in outputs.items():
                if not np.array_equal(value, wires[name]):
                    raise EmitError(f"output {name!r} of the program is not what its wire holds")
            for name, value in following.items():
                if not np.array_equal(value, wires[self.machine.successors[name]]):
                    raise EmitError(f"register {name!r} of the program did not take its next value")
            yield where, wires


def _part(arrays: dict[str, IntArray], where: slice) -> dict[str, IntArray]:
    return {name: array[where] for name, array in arrays.items()}


# ---------------------------------------------------------------------------------------------------- compilation


def compiled(
    machine: Machine,
    directory: str | Path | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    flags: Sequence[str] = FLAGS,
    runner: Sequence[str] = (),
    multiply: str = "native",
    name: str = "model",
) -> Compiled:
    """Emit a machine, compile it with its trace, and return what runs it.

    Parameters
    ----------
    machine : Machine
    directory : path, optional
        Where the files go and stay; by default into a temporary directory that goes with the result.
    cc : str or sequence of str, optional
        The compiler; by default the environment's ``CC``, or the first of cc, gcc, clang.
    flags : sequence of str
        Its options.
    runner : sequence of str
        What runs the program, if the computer itself cannot: ``["qemu-s390x"]``.
    multiply, name
        As for `zahlen.emit.c.source`.

    Raises
    ------
    EmitError
        As `zahlen.emit.c.source`.
    ToolError
        If compiler or runner are missing, or the compiler refuses.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 3))
    >>> machine = b.build(b.affine(x, [[1, -1]], [1], name="y"))
    >>> compiled(machine).trace([[3, 1], [0, 2]])["y"].ravel().tolist()
    [3, -1]
    """
    machines = {name: machine}
    return several(machines, directory, cc=cc, flags=flags, runner=runner, multiply=multiply)[name]


def several(
    machines: Mapping[str, Machine],
    directory: str | Path | None = None,
    *,
    cc: str | Sequence[str] | None = None,
    flags: Sequence[str] = FLAGS,
    runner: Sequence[str] = (),
    multiply: str = "native",
) -> dict[str, Compiled]:
    """Several machines by name in one program, as `compiled`: one run of the compiler serves all."""
    compiler, emulator = _tool(cc), _runner(runner)
    folder = _Scratch(directory)
    records = {name: Record(Layout(machine, check_name(name))) for name, machine in machines.items()}
    for name, machine in machines.items():
        c.write(machine, folder.path, name=name, multiply=multiply, vectors=0)
    main, program = folder.path / "harness.c", folder.path / "harness"
    with replacing(main) as file:
        file.write(driver(list(records.values())).encode("ascii"))
    defines = [f"-D{name.upper()}_TRACE" for name in machines]
    sources = [str(folder.path / f"{name}.c") for name in machines]
    _compile([*compiler, *flags, *defines, *sources, str(main), "-o", str(program)])
    return {
        name: Compiled(machine, records[name], (*emulator, str(program.resolve()), str(k)), folder)
        for k, (name, machine) in enumerate(machines.items())
    }


class _Scratch:
    """A directory that goes with the last reference to this object, unless it was given."""

    def __init__(self, directory: str | Path | None):
        self.path = Path(tempfile.mkdtemp(prefix="zahlen-") if directory is None else directory)
        if directory is None:
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _tool(cc: str | Sequence[str] | None) -> list[str]:
    if cc is None:
        candidates = [os.environ["CC"].split()] if os.environ.get("CC") else [["cc"], ["gcc"], ["clang"]]
    else:
        candidates = [[cc] if isinstance(cc, str) else list(cc)]
    found = next((command for command in candidates if command and shutil.which(command[0])), None)
    if found is None:
        names = ", ".join(" ".join(command) for command in candidates)
        raise ToolError(f"no C compiler: {names} not found; install gcc or clang, or name one with cc")
    return found


def _runner(runner: Sequence[str]) -> tuple[str, ...]:
    if runner and not shutil.which(runner[0]):
        raise ToolError(f"{runner[0]} not found; install it (qemu-user has the emulators) or name another runner")
    return tuple(runner)


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise ToolError(f"{' '.join(command[:1])} refused the program:\n{done.stderr.strip()}")


# ---------------------------------------------------------------------------------------------------- exchange


def _exchange(command: Sequence[str], given: Iterator[bytes], sizes: Sequence[int]) -> Iterator[bytes]:
    """Feed blocks to a program and yield its answers, of these sizes; neither side is ever held whole."""
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints)
        except OSError as error:
            raise ToolError(f"{command[0]}: {error.strerror}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, given), daemon=True)
        feeder.start()
        try:
            for size in sizes:
                answer = process.stdout.read(size)
                if len(answer) < size:
                    break
                yield answer
            feeder.join()
            status = process.wait()
            complaints.seek(0)
            message = complaints.read().decode(errors="replace").strip()
            if status or message:
                raise ToolError(f"{' '.join(command)} ended with status {status}: {message}")
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
            feeder.join()


def _feed(pipe: IO[bytes], given: Iterator[bytes]) -> None:
    try:
        with pipe:
            for block in given:
                pipe.write(block)
    except BrokenPipeError:
        pass  # the program has ended; whoever reads its answers will say so
