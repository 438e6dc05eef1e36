"""The data sets that have names: where they are looked for, how they are recognised, how to get them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

from zahlen.machine import DataError, Levels

from . import archive, idx
from .dataset import Dataset, Split
from .split import divide

SYSTEM = (Path("/usr/share/datasets"),)
"""Folders of the system that hold data sets: Debian's packages install here."""

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_SHA256 = {
    "train-images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the uncompressed files: the packed ones differ from one distributor to another."""


def digits(test: object, seed: int) -> Dataset:
    """The optical digits of the UCI repository, 1797 images of 8x8 in 0..16, which are part of the package."""
    with as_file(files("zahlen.data") / "digits.npz") as path:
        arrays = archive.arrays(path)
    classes = tuple("0123456789")
    train, rest = divide(Split(arrays["x"], arrays["y"]), classes, test, seed)
    return Dataset("digits", train, rest, Levels(0, 16), classes)


def fashion_mnist(test: object, seed: int) -> Dataset:
    """Fashion-MNIST, 60,000 and 10,000 images of 28x28 in 0..255; it brings its own test part."""
    name = "fashion-mnist"
    looked = [folder / name for folder in (*caches(), *SYSTEM)]
    for folder in looked:
        if len(idx.find(folder)) == len(idx.PARTS):
            return idx.read_folder(folder, name=name, classes=FASHION_CLASSES, checksums=FASHION_SHA256)
    raise DataError(
        f"{name} is not on this computer; looked in {', '.join(map(str, looked))}. "
        "Either `apt-get install dataset-fashion-mnist` (Debian, Ubuntu), or put its four IDX files, "
        f"{idx.missing({})}, into one of these folders, or into any folder and pass its path"
    )


def caches() -> Iterator[Path]:
    """Folders of the user that hold data sets, the first to be looked in first."""
    if own := os.environ.get("ZAHLEN_DATA"):
        yield Path(os.path.expanduser(own))
    if cache := os.environ.get("XDG_CACHE_HOME"):
        yield Path(cache) / "zahlen"
    yield Path(os.path.expanduser("~/.cache/zahlen"))


KNOWN: dict[str, Callable[[object, int], Dataset]] = {"digits": digits, "fashion-mnist": fashion_mnist}
"""Every data set that has a name."""
