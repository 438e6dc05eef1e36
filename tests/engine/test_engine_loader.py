"""Packed programs are not believed: a changed one is refused, or does no harm when it runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from judge import VARIANTS, Program
from mangled import arrays, cell, chain, image, packed, runs

from zahlen.kernels import native

SCRIPT = Path(__file__).with_name("mangled.py")


@pytest.mark.parametrize("seed", range(len(VARIANTS)))
def test_changed_programs_are_refused_or_do_no_harm(seed):
    done = subprocess.run(
        [sys.executable, SCRIPT, str(seed), "1500"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    ran, refused = map(int, done.stdout.split())
    assert ran > 300
    assert refused > 1000


@pytest.mark.parametrize("machine", [image(), chain(), cell()], ids=["image", "chain", "cell"])
def test_each_program_begins_with_its_name_and_has_no_end_too_early(variant, machine):
    words, data = packed(machine)
    runs(native.program(words, data), arrays(machine))
    for wrong, reason in (
        (words[:0], "it ends too early|it is none"),
        (words[:-1], ""),
        (np.append(words, 0), "more follows"),
        (np.append(words[0] + 1, words[1:]), "it is none"),
        (words.byteswap(), "it is none"),
    ):
        with pytest.raises(ValueError, match=f"not a packed program: .*{reason}"):
            native.program(wrong, data)
    with pytest.raises(ValueError, match="constants lie outside the data"):
        native.program(words, data[:-100])
    with pytest.raises(ValueError, match="not whole words"):
        native.program(words.view(np.uint8)[:-1], data)


def test_programs_for_one_processor_are_refused_by_another():
    if not {"portable", "avx2"} <= set(VARIANTS):
        pytest.skip("another kind of processor")
    native.choose("portable")
    words, data = packed(image())
    native.choose("avx2")
    with pytest.raises(ValueError, match="not a packed program for this processor"):
        native.program(words, data)


def test_calls_with_numbers_that_cannot_be_are_refused():
    machine = cell()
    program = Program(machine)._packed
    inputs, outputs, before, after, times = arrays(machine)
    good = [program, inputs, outputs, before, after, None, len(before[0]), times, 1]
    assert native.execute(*good)
    wrong = [(6, -1), (6, 2**62), (6, 2), (7, 0), (7, -1), (7, 2**62), (7, 3), (8, 0), (8, -1), (8, 2**30)]
    for place, value in wrong:
        with pytest.raises((ValueError, OverflowError)):
            native.execute(*good[:place], value, *good[place + 1 :])
    for place, value in (
        (1, None),
        (2, None),
        (1, ()),
        (1, inputs[0]),
        (3, (before[0],)),
        (5, 3),
        (0, None),
        (1, ("x",)),
    ):
        with pytest.raises((TypeError, ValueError)):
            native.execute(*good[:place], value, *good[place + 1 :])
    with pytest.raises(TypeError):
        native.execute(*good[:-1])
    kept = np.zeros(300, np.uint8)
    for batch in (3, 2**40, 2**62, -1):
        with pytest.raises(ValueError, match="memory is too small"):
            native.reset(program, kept, batch)
    with pytest.raises(ValueError, match="memory is too small"):
        native.execute(*good[:3], None, None, kept, *good[6:])
