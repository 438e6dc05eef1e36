"""What the tests of the emitter share: tools that may be missing, flags, and comparison of every wire."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from zahlen.emit.harness import Compiled
from zahlen.machine import Machine

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
CORTEX = Path(__file__).parent / "cortex"
CORTEX_M3 = ("arm-none-eabi-gcc", "-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft")
TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "host": (("gcc",), ()),
    "s390x": (("s390x-linux-gnu-gcc", "-static"), ("qemu-s390x",)),
    "cortex-m3": ((*CORTEX_M3, "--specs=rdimon.specs", "-T", str(CORTEX / "mps2.ld")), (str(CORTEX / "run"),)),
}
"""Compiler and emulator by processor: big-endian, and one without a floating point unit or an operating system."""
FLOATS = re.compile(r"__aeabi_([cdf]|\w*2[df]\b)\w*|__\w+[sdtx]f\d?\b")
"""The functions of floating point that a processor without it is linked with."""
FLOAT_INSTRUCTIONS = {
    "x86": r"f(?!s:|wait).*|v?cvt.*|v?(add|sub|mul|div|min|max|sqrt|cmp\w*|ucomi|comi|round|and|or|xor)(ss|sd|ps|pd)|"
    r"v?(addsub|dp|rcp|rsqrt|rndscale|scalef|getexp|getmant|range|reduce|fixupimm)\w*(ss|sd|ps|pd)|"
    r"v?(haddp|hsubp|fm|fnm).*",
    "s390x": r"[a-z]*[dex]br?a?|c[defgx]{2}br?a?|ldeb.*|lxdb.*",
}
"""Instructions that compute with floating point, not those that only move it: vectors of integers are moved by them."""
SANITIZED = (*STRICT, "-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def lacks(reason: str) -> NoReturn:
    """Skip the test for a reason, or fail it where everything must be there."""
    if os.environ.get("ZAHLEN_REQUIRE_TOOLS") == "1":
        pytest.fail(f"{reason}, and ZAHLEN_REQUIRE_TOOLS=1")
    pytest.skip(reason)


def need(*tools: str) -> None:
    """Leave the test out where a tool is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        lacks(f"{missing[0]} is not installed")


def target(name: str) -> dict[str, tuple[str, ...]]:
    """Compiler and runner of a processor, as the harness takes them, where they are installed."""
    cc, runner = TARGETS[name]
    need(cc[0], *(["qemu-system-arm"] if name == "cortex-m3" else runner))
    return {"cc": cc, "runner": runner}


def shell(command: Sequence[str | Path], expected: int = 0) -> str:
    """Standard output of a command that must end with this status."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == expected, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def instructions(dump: str, file: Path) -> set[str]:
    """Mnemonics of an object file."""
    listing = shell([dump, "-d", "--no-show-raw-insn", file])
    found = {line.split("\t")[1].split()[0] for line in listing.splitlines() if line.count("\t") >= 1}
    assert len(found) > 3
    return found


def matching(pattern: str, instructions: set[str]) -> set[str]:
    """Those that a pattern fits."""
    return {name for name in instructions if re.fullmatch(pattern, name)}


def same(found: dict[str, Any], wanted: dict[str, Any], context: object = "") -> None:
    """All wires equal, in order, with shapes."""
    assert list(found) == list(wanted)
    for name in wanted:
        assert np.array_equal(found[name], wanted[name]), f"wire {name!r} of\n{context}"


def compare(program: Compiled, machine: Machine, x: dict[str, Any], state: dict[str, Any] | None = None) -> None:
    """Every wire of the program after one step is the reference's."""
    same(program.trace(x, state or None), machine.trace(x, state or None, executor="reference"), machine)


def compare_sequences(program: Compiled, machine: Machine, x: dict[str, Any]) -> None:
    """Every wire of every step is the reference's, with the program keeping its own state."""
    found = program.sequence(x)
    batch, time = next((v.shape[:2] for v in found.values()), (1, 1))
    state = machine.initial_state(batch)
    for t in range(time):
        wanted = machine.trace({n: v[:, t] for n, v in x.items()}, state, executor="reference")
        same({name: value[:, t] for name, value in found.items()}, wanted, machine)
        state = {register: wanted[successor] for register, successor in machine.successors.items()}
