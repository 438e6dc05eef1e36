"""Every training ends in the same weights and momenta, on every kind of processor and on one thread or two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from trainings import LARGE, SMALL, on, paths, result


@pytest.mark.parametrize("name", SMALL)
def test_on_every_path(name: str) -> None:
    found = {}
    for path in paths():
        with on(path):
            found[path] = result(SMALL[name]())
    assert len(set(found.values())) == 1, found


def threaded(path: str, threads: int) -> tuple[list[str], int]:
    """What large trainings print, and how many threads there were."""
    # threads that wait do not keep others from their work
    environment = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    script = Path(__file__).parent / "trainings.py"
    done = subprocess.run(
        [sys.executable, script, "large", path],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, count = done.stdout.splitlines()
    assert len(lines) == len(LARGE)
    return lines, int(count)


@pytest.mark.skipif(len(paths()) == 1 or not Path("/proc/self/task").exists(), reason="no kernels, or no Linux")
@pytest.mark.parametrize("path", sorted({paths()[-1], paths()[1 % len(paths())]}))
def test_on_one_thread_or_two(path: str) -> None:
    (one, alone), (two, together) = threaded(path, 1), threaded(path, 2)
    assert (alone, together) == (1, 2)
    assert one == two
