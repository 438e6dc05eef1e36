"""zahlen's own engine, checked against the definition of the machine before it is timed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers_networks import Case
from peers_timing import Contestant

from zahlen.kernels import native

try:
    from zahlen import engine
except ImportError:  # an installation without compiled kernels
    engine = None

NAME = "zahlen"
PACKAGES = ("zahlen",)
NAME_OF_IMPORT, IMPORT = "zahlen", "import zahlen; from zahlen import engine" if engine is not None else "import zahlen"


def kernels() -> str:
    """What the machine is run by."""
    if native is None:
        return "NumPy"
    isa = os.environ.get("ZAHLEN_ISA", native.variants()[-1])
    return isa if engine is not None else f"NumPy (kernels of training: {isa})"


def forms(case: Case, threads: int) -> dict[str, list[Callable[[], Contestant]]]:
    """The engine; where it is absent `Machine.run`."""
    if engine is None:
        return {NAME: [lambda: _machine(case)]}
    return {NAME: [lambda: _engine_or_machine(case, threads)]}


def _engine_or_machine(case: Case, threads: int) -> Contestant:
    try:
        return _stream(case, threads) if case.streaming else _engine(case, threads)
    except AssertionError:
        raise
    except Exception as error:  # whatever the engine does not take
        print(
            f"zahlen: no engine for {case.network.name}, {case.name}: {error!r}; Machine.run in its place", flush=True
        )
        return _machine(case)


def _size(case: Case) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.zn"
        case.network.machine.save(path)
        return path.stat().st_size


def _last(case: Case, y: Any) -> Any:
    return y[:, -1] if case.steps and y.ndim == 3 else y


def _equal(found: Any, due: Any) -> None:
    if not (found.shape == due.shape and (found == due).all()):
        raise AssertionError("zahlen: the engine does not return the integers of the machine")


def _engine(case: Case, threads: int) -> Contestant:
    program = engine.Program(case.network.machine, threads=threads)
    x = np.ascontiguousarray(case.x, dtype=program.input_dtype)
    out = program.empty(case.batch, case.steps) if case.steps else program.empty(case.batch)
    program.run_into(x, out)
    _equal(np.asarray(out)[:8], case.network.machine.run(x[:8], executor="reference"))
    return Contestant(NAME, "engine", lambda: program.run_into(x, out), lambda: _last(case, out), _size(case))


def _stream(case: Case, threads: int) -> Contestant:
    program = engine.Program(case.network.machine, threads=threads)
    x = np.ascontiguousarray(case.x[:, 0], dtype=program.input_dtype)
    out = np.ascontiguousarray(program.empty(case.batch, 1)[:, 0])
    due = case.network.machine.run(np.repeat(x[:, None], 5, axis=1), executor="reference")
    program.reset(case.batch)
    for t in range(due.shape[1]):
        program.step_into(x, out)
        _equal(out, due[:, t])
    program.reset(case.batch)
    return Contestant(NAME, "engine", lambda: program.step_into(x, out), lambda: out, _size(case))


def _machine(case: Case) -> Contestant:
    machine, x = case.network.machine, case.x
    _equal(machine.run(x[:8]), machine.run(x[:8], executor="reference"))
    kept: list[Any] = [None]

    def call() -> None:
        kept[0] = machine.run(x)

    return Contestant(NAME, "Machine.run", call, lambda: _last(case, kept[0]), _size(case))
