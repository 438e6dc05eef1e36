"""Packed programs, run from C alone: every byte is the reference's, and nothing is read or written that is not ours.

What the Python tests cannot show is shown here: the kernels under sanitizers, for every kind of processor that this one
can stand in for; the same sources on aarch64, with NEON and without; and on s390x, which is big-endian. A packed
program is in its processor's own order of bytes, words and constants alike: `packed.Ordered` writes the other order,
table by table. Nothing in the kernels depends on the order, since products read and pack whole elements through memcpy.

Threads are watched by the thread sanitizer where several of them run one program at a time, as Python's do. Those that
OpenMP starts for one call are not: its run-time library is built without the sanitizer, which takes every barrier for
a race.
"""

import numpy as np
import pytest
from emit.compilers import need
from packed import ANY_DOT8, VARIANTS, build, cases, run

from zahlen.kernels import native

HERE = [name for name in VARIANTS if native is not None and name in native.variants()]
AARCH64 = {
    "portable": ("portable", ()),
    "neon": ("neon", ("-DZAHLEN_NEON",)),
    "dotprod": ("neon", ("-DZAHLEN_NEON", "-march=armv8.2-a+dotprod")),
    "i8mm": ("neon", ("-DZAHLEN_NEON", "-march=armv8.6-a")),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files with all cases for a kind of processor, in an order of bytes."""
    all_cases, found = dict(cases()), {}

    def files(variant, order="<"):
        key = (variant in ANY_DOT8, order)
        if key not in found:
            folder = tmp_path_factory.mktemp("cases")
            for name, case in all_cases.items():
                case.write(folder / name, *key)
            found[key] = sorted(folder.iterdir())
            assert len(found[key]) > 70
        return found[key]

    return files


@pytest.mark.parametrize("variant", HERE)
def test_every_byte_is_the_references_under_sanitizers(variant, written, tmp_path):
    need("gcc")
    replay = build(tmp_path, ["gcc"], variant, ["-fopenmp"], sanitized=True)
    files = written(variant)
    assert run([replay, *files]).stdout == f"{len(files)}\n"


@pytest.mark.parametrize("name", AARCH64)
def test_every_byte_is_the_references_on_aarch64(name, written, tmp_path):
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    variant, options = AARCH64[name]
    replay = build(
        tmp_path, ["aarch64-linux-gnu-gcc"], variant, ["-static", *options], level="-O1" if name == "neon" else "-O0"
    )
    files = written(variant)
    assert run(["qemu-aarch64", replay, *files]).stdout == f"{len(files)}\n"


def test_every_byte_is_the_references_where_the_high_byte_comes_first(written, tmp_path):
    need("s390x-linux-gnu-gcc", "qemu-s390x")
    replay = build(tmp_path, ["s390x-linux-gnu-gcc"], "portable", ["-static"])
    files = written("portable", ">")
    assert run(["qemu-s390x", replay, *files]).stdout == f"{len(files)}\n"
    done = run(["qemu-s390x", replay, written("portable")[0]], expected=1)
    assert "ends too early" in done.stderr or "no memory" in done.stderr  # its numbers are backwards


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A replay that sees races."""
    need("gcc")
    return build(tmp_path_factory.mktemp("watched"), ["gcc"], "portable", ["-fsanitize=thread", "-pthread"])


def test_threads_that_run_one_program_do_not_race(watched, written):
    files = written("portable")
    assert run([watched, "--threads", *files]).stdout == f"{len(files)}\n"


def test_a_wrong_byte_is_found(watched, written, tmp_path):
    """The judge itself: a byte of an output, of a state, and constants of the program."""
    by_name = {file.name: file for file in written("portable")}
    wrong = tmp_path / "wrong"
    for name, what in (("mlp_odd", "output"), ("gated_odd", "state")):
        content = bytearray(by_name[name].read_bytes())
        words, data, *_ = np.frombuffer(content, np.int64, 8)
        changed = content.copy()
        changed[-8] ^= 1  # in the last array, whose bytes end here or within the word
        wrong.write_bytes(changed)
        assert what in run([watched, wrong], expected=1).stderr
        changed = content.copy()
        for k in range(64 + 8 * words, 64 + 8 * words + data):
            changed[k] ^= 1 if k % 8 == 0 else 0
        wrong.write_bytes(changed)
        run([watched, wrong], expected=1)
