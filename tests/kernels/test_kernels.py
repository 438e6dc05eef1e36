"""Which kernels are loaded, and that a training gives one machine whichever they are."""

import os
import subprocess
import sys

import pytest

from zahlen import kernels
from zahlen.machine import ToolError

needs_kernels = pytest.mark.skipif(kernels.native is None, reason="built without compiled kernels")
FORMS = ["python", *(kernels.native.variants() if kernels.native is not None else [])]

TRAINING = """
import torch
from zahlen import Levels, nn
from zahlen.kernels import native
torch.set_num_threads(1)
for form in ["python"] if native is None else native.variants():
    if native is not None:
        native.choose(form)
    print(form)
    for layer in (nn.LSTM, nn.GRU, nn.RNN):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Input((), Levels(0, 4)), layer(5, 20, 2, symbols=True, levels=17), nn.Linear(20, 5))
        stream = torch.randint(0, 5, (1000,), generator=torch.Generator().manual_seed(1))
        nn.fit_stream(model, stream, steps=5, batch_size=20, length=10, lr=0.02, progress=False)
        print(model.machine().hash)
"""


@pytest.fixture
def load(monkeypatch):
    """What is loaded with a value of ZAHLEN_ISA, with or without a compiled module."""

    def loaded(isa, built=True):
        monkeypatch.delenv("ZAHLEN_ISA", raising=False)
        if isa is not None:
            monkeypatch.setenv("ZAHLEN_ISA", isa)
        if not built:
            monkeypatch.setitem(sys.modules, "zahlen.kernels._native", None)  # importing it is an ImportError
        return kernels._load()

    yield loaded
    if kernels.native is not None:
        kernels.native.choose(kernels.native.variants()[-1])


def run(isa, code):
    environment = {**os.environ, "ZAHLEN_ISA": isa, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@needs_kernels
def test_compiled_kernels_are_taken_where_they_were_built(load):
    assert load(None) is load("") is kernels.native
    assert "portable" in kernels.native.variants()
    for name in kernels.native.variants():
        assert load(name) is kernels.native


def test_none_are_taken_where_none_are_wanted_or_built(load):
    assert load("python") is None
    assert load(None, built=False) is None
    assert load("python", built=False) is None


@needs_kernels
@pytest.mark.parametrize("name", ["sse", "Portable", "portable ", "none", "avx2,avx512"])
def test_unknown_kernels_are_refused_with_the_known_ones(load, name):
    known = ", ".join(FORMS)
    with pytest.raises(ToolError, match=f"ZAHLEN_ISA={name}: there are {known} on this processor"):
        load(name)


def test_kernels_that_were_not_built_are_refused(load):
    with pytest.raises(ToolError, match="ZAHLEN_ISA=portable: no kernels were built; install with a C compiler"):
        load("portable", built=False)


@needs_kernels
def test_the_variable_is_read_when_the_package_is_imported():
    done = run("nonsense", "import zahlen.kernels")
    assert done.returncode != 0
    assert "ZAHLEN_ISA=nonsense: there are python, portable" in done.stderr


@needs_kernels
def test_a_training_gives_the_same_machines_with_every_form():
    printed = []
    for isa in ("python", "portable"):  # the second goes on to the others
        done = run(isa, TRAINING)
        assert done.returncode == 0, done.stderr
        printed += done.stdout.split()
    results = [printed[k : k + 4] for k in range(0, len(printed), 4)]
    assert [form for form, *_ in results] == FORMS
    assert len({tuple(hashes) for _, *hashes in results}) == 1
    assert len(set(results[0][1:])) == 3
