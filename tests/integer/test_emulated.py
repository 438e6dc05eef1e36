"""The package itself trains on emulated processors, one of them big-endian: the same hashes as here.

Python and NumPy are Debian's for those processors, unpacked beside each other in the cache; nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from emit.compilers import lacks, need
from engine.packed import COMPILED_ONCE_PER_KIND, KERNELS
from trainings import SMALL, result

PACKAGES = (
    "libblas3", "libc6", "libexpat1", "libffi8", "libgcc-s1", "libgfortran5", "liblapack3", "libstdc++6", "zlib1g",
    "libpython3.11-dev", "libpython3.11-minimal", "libpython3.11-stdlib", "python3-numpy", "python3.11-minimal",
)  # fmt: skip
"""Of Debian 12. Its NumPy is older than what the package asks for, but all that a training needs is in it."""
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PER_VARIANT = {*COMPILED_ONCE_PER_KIND, KERNELS / "recurrent.c"}
TRAININGS = ("perceptron", "hinge", "squared", "convolutions", "Boolean", "LSTM", "GRU", "RNN, sequences")


@dataclass(frozen=True)
class Processor:
    """What it is called by Debian, by qemu and by compilers, and the options of each variant of the kernels."""

    debian: str
    qemu: str
    variants: dict[str, tuple[str, ...]]

    @property
    def triplet(self) -> str:
        return f"{self.qemu}-linux-gnu"


PROCESSORS = [
    Processor("arm64", "aarch64", {"portable": (), "neon": ("-DZAHLEN_NEON",)}),
    Processor("s390x", "s390x", {"portable": ()}),
]


def sysroot(processor: Processor) -> Path:
    """Python and NumPy for a processor, got from Debian once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = cache / "zahlen/sysroot" / f"bookworm-{processor.debian}"
    if place.exists():
        return place
    need("apt-get", "dpkg")
    if not KEYS.exists():
        lacks(f"there is no {KEYS}: apt-get install debian-archive-keyring")
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place.parent) as name:
        work = Path(name)
        for folder in ("lists/partial", "cache/archives/partial", "debs", "root"):
            (work / folder).mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text(f"deb [signed-by={KEYS}] http://deb.debian.org/debian bookworm main\n")
        settings = {
            "APT::Architecture": processor.debian, "APT::Architectures": processor.debian,
            "Dir::Etc::SourceList": work / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": work / "lists", "Dir::State::status": work / "status", "Dir::Cache": work / "cache",
            "Acquire::Languages": "none", "Acquire::Retries": 3, "APT::Sandbox::User": "",
        }  # fmt: skip
        apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
        for command in (["update", "--error-on=any"], ["download", *PACKAGES]):
            done = subprocess.run([*apt, *command], cwd=work / "debs", capture_output=True, text=True, check=False)
            if done.returncode:
                why = next(iter(done.stderr.splitlines()), "apt-get failed")
                lacks(f"Python for {processor.debian} could not be got: {why}")
        for package in (work / "debs").iterdir():
            subprocess.run(["dpkg", "-x", package, work / "root"], check=True)
        if not place.exists():  # another process may have been faster
            (work / "root").rename(place)
    return place


def build(processor: Processor, root: Path, to: Path) -> None:
    """The extension with the kernels; what training does not use is compiled in haste."""
    common = [f"{processor.triplet}-gcc", "-std=gnu11", "-w", "-fPIC", "-ffp-contract=off", "-O0"]
    common += [f"-I{root}/usr/include/python3.11", f"-I{root}/usr/include"]
    common += ["-DZAHLEN_AARCH64"] if processor.qemu == "aarch64" else []
    jobs = [[*common, file, "-o", to / f"{file.stem}.o"] for file in {*KERNELS.glob("*.c")} - PER_VARIANT]
    for variant, options in processor.variants.items():
        for file in PER_VARIANT:
            own = [*(["-O2"] if file.stem in ("train", "windows") else []), *options, f"-DVARIANT={variant}"]
            jobs.append([*common, *own, file, "-o", to / f"{file.stem}.{variant}.o"])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: subprocess.run([*job, "-c"], check=True), jobs))
    subprocess.run([common[0], "-shared", *to.glob("*.o"), "-o", to / "zahlen/kernels/_native.abi3.so"], check=True)


def found(processor: Processor, to: Path) -> dict[tuple[str, str], str]:
    """What trainings end in on a processor, by path and name."""
    need(f"qemu-{processor.qemu}", f"{processor.triplet}-gcc")
    root = sysroot(processor)
    shutil.copytree(KERNELS.parent, to / "zahlen", ignore=shutil.ignore_patterns("*.so", "*.c", "*.h", "__pycache__"))
    build(processor, root, to)
    rich = find_spec("rich")
    assert rich is not None
    assert rich.submodule_search_locations
    (to / "rich").symlink_to(rich.submodule_search_locations[0])
    libraries = root / "usr/lib" / processor.triplet
    environment = f"LD_LIBRARY_PATH={libraries}/blas:{libraries}/lapack,PYTHONPATH={to},OMP_NUM_THREADS=1"
    trainings = [Path(__file__).parent / "trainings.py", "; ".join(TRAININGS), "numpy", *processor.variants]
    command = [f"qemu-{processor.qemu}", "-L", root, "-E", environment, root / "usr/bin/python3.11", *trainings]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split("; ") for line in done.stdout.splitlines()]
    return {(path, name): text for path, name, text in lines}


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: p.qemu)
def test_trainings_on_another_processor(processor: Processor, tmp_path: Path) -> None:
    got = found(processor, tmp_path)
    due = {name: result(SMALL[name]()) for name in TRAININGS}
    assert got == {(path, name): due[name] for path in ("numpy", *processor.variants) for name in TRAININGS}
