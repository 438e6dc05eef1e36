"""A short run of the fuzzer, and what longer ones have found: programs that a reader must not let pass.

To run it for as long as you like, build it as here and give it a folder:

    FUZZ=3600 .venv/bin/python -m pytest tests/engine/test_native_fuzz.py --basetemp=/tmp/fuzz
"""

import os
import random
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from emit.compilers import need
from emit.handmade import MACHINES
from packed import (
    ADDRESS,
    COMPILED_ONCE_PER_KIND,
    KERNELS,
    NATIVE,
    UNDEFINED,
    VARIANTS,
    boolean,
    networks,
    planned,
    run,
    seed,
)
from strategies import STEPS, random_machine

from zahlen.engine.forms import Slot
from zahlen.engine.plan import Planner
from zahlen.engine.words import MAGIC, Op
from zahlen.kernels import native

SECONDS = int(os.environ.get("FUZZ", "8"))
VECTOR = "avx2"


def build(to):
    """The fuzzer with plain C and with vectors, where this processor has them; the products are not optimised."""
    vector = native is not None and VECTOR in native.variants()
    flags = ["clang", "-g", f"-I{KERNELS}", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-ffp-contract=off"]
    flags += [*ADDRESS, *([f"-DVECTOR={VECTOR}"] if vector else [])]
    commands = [
        [*flags, *UNDEFINED, "-O1", "-c", file, "-o", to / f"{file.stem}.o"]
        for file in (NATIVE / "fuzz.c", KERNELS / "program.c")
    ]
    for variant in ("portable", *([VECTOR] if vector else [])):
        for file in COMPILED_ONCE_PER_KIND:
            special = [f"-DVARIANT={variant}", *VARIANTS[variant], "-c", file]
            special += UNDEFINED if variant == "portable" else ()
            commands.append([*flags, *special, "-o", to / f"{file.stem}-{variant}.o"])
    commands = [[*command[:1], "-fsanitize=fuzzer-no-link", *command[1:]] for command in commands]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, commands))
    run(["clang", "-fsanitize=fuzzer", *ADDRESS, *UNDEFINED, *sorted(to.glob("*.o")), "-o", to / "fuzz"])
    return to / "fuzz"


def has_fuzzer(folder):
    source = folder / "empty.c"
    source.write_text(
        "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d == 0 && n > 0; }\n"
    )
    return not subprocess.run(
        ["clang", "-fsanitize=fuzzer,address", source, "-o", folder / "empty"], capture_output=True, check=False
    ).returncode


def seeds(folder):
    """Small programs of all kinds of instructions."""
    folder.mkdir()
    machines = [*(make() for make in MACHINES.values()), *networks().values()]
    for k, kind in enumerate(4 * sorted(STEPS)):
        machines.append(random_machine(random.Random(f"fuzz {k}"), ["input", "clamp", kind, "affine", kind]))
    for k, machine in enumerate(machines):
        for any_dot8 in (True, False):
            if planned(machine) and len(content := seed(machine, any_dot8)) <= 16384:
                (folder / f"{k}_{any_dot8:d}").write_bytes(content)
    assert len(list(folder.iterdir())) > 100
    (folder / "finding").write_bytes(gates_of_high_codes())
    return folder


def gates_of_high_codes():
    """What a run has found: codes of bits from 128 on were multiplied beyond their type, in plain C."""
    planner = Planner(boolean(), boolean().outputs, True)
    planner.run()
    (gates,) = (i for i in planner.instructions if i.op == Op.GATES)
    assert isinstance(gates.words[5], Slot)  # of the first input, whose lesser code is the second number behind it
    gates.words[7] = 200
    words, data, _ = planner.encode()
    return struct.pack("=q", len(words)) + words.tobytes() + data


def test_no_changed_program_does_harm(tmp_path):
    need("clang")
    if not has_fuzzer(tmp_path):
        need("libclang_rt.fuzzer")  # clang is there without it
    objects, corpus = tmp_path / "objects", tmp_path / "corpus"
    objects.mkdir(), corpus.mkdir()
    fuzz = build(objects)
    options = ["-max_len=16384", f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/", "-timeout=600"]
    done = run([fuzz, corpus, seeds(tmp_path / "seeds"), *options, "-rss_limit_mb=3000", "-print_final_stats=1"])
    executed = int(done.stderr.split("stat::number_of_executed_units:")[1].split()[0])
    assert executed > 1000


# ---------------------------------------------------------------------------------------------------- findings

READ_AND_WRITTEN = (Op.PRODUCT, Op.POOL, Op.MOVE, Op.EMBEDDING, Op.ARGMAX, Op.SUM)


@pytest.mark.parametrize("kind", READ_AND_WRITTEN, ids=lambda kind: kind.name.lower())
def test_an_instruction_that_writes_where_it_reads_is_refused(kind):
    """A pool copied a window's channels over themselves, by a memcpy of overlapping memory."""
    found = 0
    for make in MACHINES.values():
        machine = make()
        if not planned(machine):
            continue
        planner = Planner(machine, machine.outputs, native.any_dot8())
        planner.run()
        chosen = [i for i in planner.instructions if i.op == kind]
        if chosen:
            chosen[0].words[1] = chosen[0].words[0]
            words, data, _ = planner.encode()
            with pytest.raises(ValueError, match="an instruction writes where it reads"):
                native.program(words, data)
            found += 1
    assert found


def test_a_batch_of_states_larger_than_any_memory_is_refused():
    """Bytes of a row times rows left 64 bits; only a program without arrays is called with so many rows."""
    slot = [0, 2, 2**30, 2**30, 0, 0, 1]  # U8, STATE
    fill = [Op.ELEMENTWISE, 1, 1, 0, 0, 1, 2, 0, 0, 0, 5]
    words = [MAGIC, 1, 1, 0, 0, 0, 1, 1, 0, 0, 2**30, 0, 0, 0, 1, 1, 1, *slot, *fill]
    program = native.program(np.array(words, dtype=np.int64), bytes(8))
    with pytest.raises(MemoryError):
        native.execute(program, (), (), None, None, None, 2**40, 1, 1)
