"""Training has no float in its value path: not in Python, whatever is trained, and not in the compiled kernels."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from emit.compilers import FLOAT_INSTRUCTIONS, instructions, matching, need, shell
from engine.packed import KERNELS, VARIANTS
from traps import PLACES, REPORTS, reports

# ---------------------------------------------------------------------------------------------------- as it runs


def trapped(*change: str, only: str = "") -> subprocess.CompletedProcess[str]:
    """All short trainings, or some, on modules with traps of which one may be changed."""
    command = [sys.executable, Path(__file__).parent / "traps.py", only, *change]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)


def test_no_training_ever_has_a_float() -> None:
    done = trapped()
    assert done.returncode == 0, done.stderr[-3000:]
    count, *unseen = done.stdout.split()
    assert int(count) > 4000
    # what divides does so with fractions: all divisions were seen, but for that of a path
    assert [place.split(":")[0] for place in unseen] == ["zahlen.integer.c"]


CHANGES = {
    "temporary": ("perceptron", "arithmetic", "+ 2048) >> 12, dtype=np.int16)", "+ 2048) / 4096, dtype=np.int16)"),
    "number": (
        "perceptron", "run", "left = Fraction(self.total - step, self.total)",
        "left = Fraction((self.total - step) / self.total)",
    ),
    "array": ("hinge", "losses", "delta = np.zeros(z.shape, dtype=np.int16)", "delta = np.zeros(z.shape).astype('h')"),
    "augmented": ("perceptron", "run", "loss, done = loss + value, done + count", "loss += value; done /= 1"),
    "list": ("GRU", "cells", "np.split(z.astype(np.int64), 3, axis=1), np", "np.split(1.0 * z, 3, axis=1), np"),
    "in NumPy": ("convolutions", "pools", "np.pad(x, around, constant_values=value)", "np.pad(x, around, mode='mean')"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_float_is_caught(name: str) -> None:
    only, module, old, new = CHANGES[name]
    done = trapped(f"zahlen.integer.{module}", old, new, only=only)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("FloatError: numpy" if name == "in NumPy" else f"FloatError: zahlen.integer.{module}:"), last


# ---------------------------------------------------------------------------------------------------- as it is written

WHOLE = {"isqrt", "prod", "ceil", "floor", "gcd", "lcm"}
"""Functions of ``math`` from integers or fractions to integers."""
MEANS = {"mean", "std", "var", "average", "linspace", "sqrt", "exp", "log", "log2", "divide", "true_divide", "time"}
ALLOCATING = {"zeros", "empty", "ones"}
"""Of floats, where no type is given."""
STRANGERS = {"random", "torch", "cmath", "statistics"}


def sources() -> dict[str, str]:
    """The text of all modules that values come from."""
    found = {}
    for place in PLACES:
        spec = find_spec(place)
        assert spec is not None
        assert spec.origin is not None
        inside = Path(spec.origin).parent.glob("*.py") if spec.submodule_search_locations else [Path(spec.origin)]
        found |= {place if p == Path(spec.origin) else f"{place}.{p.stem}": p.read_text() for p in inside}
    return found


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """A tree without annotations, which are not evaluated."""
    yield node
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in ("annotation", "returns"):
                yield from evaluated(child)


def floats(module: str, source: str) -> set[str]:
    """What makes floats, or may, and stands in no report."""
    tree = ast.parse(source)
    spared = {id(node) for report in reports(module, tree).values() for node in ast.walk(report)}
    nodes: list[Any] = [node for node in evaluated(tree) if id(node) not in spared]
    return {ast.unparse(node) for node in nodes if suspicious(node)}


def suspicious(node: ast.AST) -> bool:
    """Whether something is a float, makes one, or may do so."""
    match node:
        case ast.Constant(value=float() | complex()) | ast.Name(id="float" | "complex"):
            return True
        case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
            return True
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return name not in WHOLE
        case ast.Attribute(attr=name):
            return name.startswith(("float", "double", "complex", "longdouble", "inexact"))
        case ast.ImportFrom(module="math", names=names):
            return not {alias.name for alias in names} <= WHOLE
        case ast.ImportFrom(module=str(module)):
            return module.split(".")[0] in STRANGERS
        case ast.Import(names=names):
            return any(alias.name.split(".")[0] in STRANGERS for alias in names)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_CONTEXT"))):  # of decimals
            return False
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in MEANS or (name in ALLOCATING and not node.args[1:] and not node.keywords)
    return False


def test_no_source_has_a_float() -> None:
    found = {module: floats(module, source) for module, source in sources().items()}
    assert len(found) > 25
    assert not {module: what for module, what in found.items() if what}


def test_reports_are_found() -> None:
    texts = sources()
    for module, wanted in REPORTS.items():
        assert set(reports(module, ast.parse(texts[module]))) == set(wanted)
        assert floats("elsewhere", texts[module]) or module.endswith(("run", "training"))  # floats of others


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5", "x = 1e3", "float(x)", "x.astype(float)", "np.float32(x)", "a.astype(np.double)", "np.zeros(3)",
        "x.mean()", "np.sqrt(x)", "import math\nmath.sqrt(2)", "from math import exp", "import torch", "import random",
        "from torch import nn", "2**-3", "np.linspace(0, 1)", "time.time()", "def means(x):\n    return 1.5",
    ],
)  # fmt: skip
def test_a_float_in_a_source_is_found(source: str) -> None:
    assert floats("zahlen.integer.run", source)


def test_what_is_no_float_is_left_alone() -> None:
    assert not floats("m", "def f(x: float = 1, y: np.float64 = 2) -> float:\n    z: float = x ** 2 // 3\n    return z")
    assert not floats("m", "from math import isqrt\nx = np.zeros(3, dtype=int), _CONTEXT.exp(x), math.isqrt(4)")


# ---------------------------------------------------------------------------------------------------- as it is compiled


def compiled(name: str, variant: str, to: Path) -> set[str]:
    """Instructions of a file of the kernels, for a kind of processor, as CMake compiles it."""
    need("gcc", "objdump")
    flags = ["-std=gnu11", "-O3", "-fPIC", "-fopenmp", "-ffp-contract=off", "-fno-math-errno", "-Wno-unknown-pragmas"]
    shell(["gcc", *flags, *VARIANTS[variant], f"-DVARIANT={variant}", "-c", KERNELS / f"{name}.c", "-o", to / "o.o"])
    return instructions("objdump", to / "o.o")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="instructions of x86")
@pytest.mark.parametrize("variant", ["portable", "avx2", "avxvnni", "vnni"])
def test_kernels_have_no_instruction_of_floating_point(variant: str, tmp_path: Path) -> None:
    for name in ("train", "windows"):
        found = compiled(name, variant, tmp_path)
        assert not matching(FLOAT_INSTRUCTIONS["x86"], found)
        assert variant == "portable" or "vpaddd" in found


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="instructions of x86")
@pytest.mark.parametrize("variant", ["portable", "avx2", "vnni"])
def test_instructions_of_floating_point_are_found(variant: str, tmp_path: Path) -> None:
    """In kernels that train beside PyTorch."""
    found = matching(FLOAT_INSTRUCTIONS["x86"], compiled("recurrent", variant, tmp_path))
    assert any(name.endswith("ps") for name in found)
    assert len(found) > 5
