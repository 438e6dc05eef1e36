"""The emitted text: reproducible, self-testing, and refused where C's integers do not suffice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compilers import STRICT, need, shell
from handmade import MACHINES, mlp, recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import machines, random_machine

from zahlen import Builder, Codes, Levels, Machine
from zahlen.emit import c
from zahlen.emit.selftest import recorded
from zahlen.machine import EmitError, FileError, InputError


@settings(max_examples=40)
@given(machine=machines(), form=st.sampled_from(c.MULTIPLY))
def test_same_machine_same_text(machine: Machine, form: str) -> None:
    assert c.source(machine, multiply=form) == c.source(machine, multiply=form)


def test_same_text_in_another_process() -> None:
    program = (
        "import hashlib, sys; sys.path[:0] = sys.argv[1:]\n"
        "from handmade import MACHINES\nfrom zahlen.emit import c\n"
        "t = ''.join(c.source(m(), multiply=f).source for m in MACHINES.values() for f in c.MULTIPLY)\n"
        "print(hashlib.sha256(t.encode()).hexdigest())"
    )
    found = set()
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_text_names_machine_hash_and_figures() -> None:
    machine = mlp()
    program = c.source(machine)
    for text in (program.header, program.source):
        assert machine.hash in text
        assert str(machine).splitlines()[0] in text
        assert text.isascii()


def test_listing_cannot_break_out_of_its_comment() -> None:
    b = Builder()
    x = b.input("x", (1,), Codes(3, "evil \\"))
    y = b.input("y", (1,), Codes(3, "worse ??/"))
    program = c.source(b.build(b.lookup(x, y, np.zeros((3, 3), int))))
    assert "\\" not in program.header
    assert "?" not in program.header


# ---------------------------------------------------------------------------------------------------- self-test


@pytest.mark.parametrize("form", c.MULTIPLY)
@pytest.mark.parametrize("name", MACHINES)
def test_selftest_and_warnings_without_trace(tmp_path: Path, name: str, form: str) -> None:
    need("gcc")
    machine = MACHINES[name]()
    c.write(machine, tmp_path, name="net", multiply=form, vectors=5)
    options = [*STRICT, "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    shell(["gcc", *options, "-DNET_SELFTEST", tmp_path / "net.c", "-o", tmp_path / "net"])
    *lines, last = shell([tmp_path / "net"]).splitlines()
    assert last == "ok"
    outputs = list(recorded(machine, 5)[1].values())
    wanted = [np.concatenate([value[k].ravel() for value in outputs]).tolist() for k in range(len(outputs[0]))]
    assert [list(map(int, line.split())) for line in lines] == wanted


def test_selftest_counts_mismatches(tmp_path: Path) -> None:
    need("gcc")
    program = c.source(mlp(), vectors=4)
    broken = program.source.replace("= sum0_bias[i]", "= sum0_bias[i] + 9000")
    assert broken != program.source
    (tmp_path / "model.h").write_text(program.header)
    (tmp_path / "model.c").write_text(broken)
    shell(["gcc", "-DMODEL_SELFTEST", tmp_path / "model.c", "-o", tmp_path / "model"])
    assert shell([tmp_path / "model"], expected=1).endswith(" mismatches\n")


def test_own_vectors() -> None:
    machine = mlp((4, 3, 2))
    program = c.source(machine, vectors={"pixels": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    assert "    1, 2, 3, 4, 5, 6, 7, 8,\n" in program.source
    assert "SELFTEST" not in c.source(machine, vectors=0).source
    with pytest.raises(InputError):
        c.source(machine, vectors={"pixels": [[1, 2, 3, 400]]})
    with pytest.raises(EmitError, match="pixels"):
        c.source(machine, vectors={"x": [[1, 2, 3, 4]]})


def test_works_from_cpp_too(tmp_path: Path) -> None:
    need("g++", "gcc")
    c.write(recurrent(), tmp_path, name="net")
    (tmp_path / "main.cpp").write_text('#include "net.h"\nint main() { net_state s; net_init(&s); return 0; }\n')
    shell(["gcc", *STRICT, "-c", tmp_path / "net.c", "-o", tmp_path / "net.o"])
    shell(["g++", "-Wall", "-Werror", tmp_path / "main.cpp", tmp_path / "net.o", "-o", tmp_path / "main"])
    shell([tmp_path / "main"])


# ---------------------------------------------------------------------------------------------------- refusals


def test_too_wide_is_refused_by_name() -> None:
    b = Builder()
    x = b.input("x", (2,), Levels(-(2**62), 2**62))
    b.add(b.mul(x, x, name="huge"), x)
    with pytest.raises(EmitError, match=r"wire 'huge'.*int64_t.*clamp or shift before"):
        c.source(b.build(x))


def test_too_wide_on_the_way_is_refused_by_name() -> None:
    """The sum fits, a partial sum may not."""
    b = Builder()
    x = b.constant([2**62, 2**62, -(2**62), -(2**62)])
    b.sum(x, (0,), name="far")
    with pytest.raises(EmitError, match=r"wire 'far': sum .*on its way.*clamp or shift before"):
        c.source(b.build(b.input("y", (4,), Levels(0, 1))))


@given(machine=machines(wide=True))
def test_wide_machines_are_emitted_or_refused(machine: Machine) -> None:
    fits = all(
        -(2**63) <= end < 2**63
        for wire in machine.wires.values()
        for end in (*wire.workspace, wire.alphabet.lo, wire.alphabet.hi)
    )
    if fits:
        c.source(machine, vectors=0)
    else:
        with pytest.raises(EmitError, match="wire '"):
            c.source(machine, vectors=0)


@pytest.mark.parametrize("name", ["", "1st", "a b", "int", "string", "naïve", "x" * 32, "../up"])
def test_bad_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(EmitError, match="identifier"):
        c.write(mlp((4, 3, 2)), tmp_path, name=name)


def test_bad_form_and_directory(tmp_path: Path) -> None:
    with pytest.raises(EmitError, match="native, none"):
        c.source(mlp((4, 3, 2)), multiply="some")
    with pytest.raises(FileError):
        c.write(mlp((4, 3, 2)), tmp_path / "absent")


def test_write(tmp_path: Path) -> None:
    machine = random_machine(random.Random(1))
    header, source = c.write(machine, tmp_path, name="net")
    assert (header, source) == (tmp_path / "net.h", tmp_path / "net.c")
    program = c.source(machine, name="net")
    assert header.read_text() == program.header
    assert source.read_text() == program.source
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.c", "net.h"]
