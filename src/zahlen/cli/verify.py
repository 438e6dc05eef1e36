"""``zahlen verify``: classes proved to be stable, or refuted, sample by sample; and certificates checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from ..machine import Machine, load
from .app import app, console, error_console
from .files import divided_samples, expected_samples, samples


@app.command()
def verify(
    model: Annotated[Path, typer.Argument(help="A machine without registers, with scores or their argmax.")],
    data: Annotated[str, typer.Argument(help="Samples: a data set (its test part), .npy, .npz or .csv.")] = "",
    eps: Annotated[str, typer.Option(help="Distances: each element changes by at most so much.")] = "1",
    limit: Annotated[float, typer.Option(min=0, help="Seconds for each question.")] = 60,
    images: Annotated[int | None, typer.Option(min=1, help="So many samples, from the first on.")] = None,
    divide: Annotated[int, typer.Option(min=1, help="Divide the samples' values first, rounding down.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where certificates go.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in the folder of --out.")] = False,
    replay: Annotated[Path | None, typer.Option("--replay", help="Check the certificates of a folder.")] = None,
) -> None:
    """Is the class of each sample the same for all inputs near it? Proved or refuted, in integers.

    The class is what the machine says to the sample. Every answer is a certificate, in --out; --replay checks them with
    integers alone, without what found them; exit code 1 if one of them is not confirmed.

    zahlen verify out/model.zn fashion-mnist --images 100 --eps 1,2,3,4 --limit 60 -o proofs
    zahlen verify out/model.zn fashion-mnist --images 100 --eps 1,2,3,4 -o proofs --resume --jobs 8
    zahlen verify out/model.zn --replay proofs
    """
    machine = load(model)
    if replay is not None:
        if data:
            raise typer.BadParameter("--replay needs no samples")
        _replayed(machine, replay)
        return
    if not data:
        raise typer.BadParameter("samples are due, or --replay")
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out")
    distances = _distances(eps)
    from ..analysis import sweep

    x = divided_samples(machine, expected_samples(machine, samples(machine, data)[0], data)[:images], divide, data)
    found = sweep(machine, x, eps=distances, seconds=limit, folder=out, resume=resume, jobs=jobs)
    console.print(str(found), highlight=False, soft_wrap=True)
    if found.interrupted:
        raise KeyboardInterrupt


def _distances(text: str) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise typer.BadParameter(f"--eps: whole numbers with commas between are due, got {text!r}") from None
    if min(found) < 0:
        raise typer.BadParameter(f"--eps: numbers from 0 on are due, got {text!r}")
    return found


def _replayed(machine: Machine, folder: Path) -> None:
    from ..analysis import replay
    from ..analysis.verification import certificates

    counts: dict[str, int] = {}
    rejected = 0
    with Progress(console=error_console, transient=True) as bars:
        for path, certificate in bars.track(list(certificates(folder)), description="replay"):
            if certificate.status == "unknown":
                counts["unknown"] = counts.get("unknown", 0) + 1
                continue
            found = replay(machine, certificate)
            if found:
                counts[certificate.status] = counts.get(certificate.status, 0) + 1
            else:
                rejected += 1
                error_console.print(f"[red]{path}[/]: {found.reason}", highlight=False, soft_wrap=True)
    confirmed = ", ".join(f"{counts.get(status, 0):,} {status}" for status in ("verified", "refuted"))
    console.print(
        f"confirmed: {confirmed}; rejected: {rejected:,}; without an answer: {counts.get('unknown', 0):,}",
        highlight=False,
    )
    if rejected:
        raise typer.Exit(1)
