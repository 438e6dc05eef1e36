"""Sweeps: one question for each sample and each distance, over processes or a cluster, kept in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...machine import Builder, FileError, InputError, IntArray, Machine, ToolError
from ..progress import bar
from .box import Box
from .certificates import Certificate, flat
from .deciding import verify
from .properties import Stable

STATUSES = ("verified", "refuted", "unknown")


@dataclass(frozen=True)
class Query:
    """One question of a sweep and what came of it.

    Attributes
    ----------
    sample : int
    label : int
    eps : int
    certificate : Certificate
        Its notes have the method and the seconds.
    """

    sample: int
    label: int
    eps: int
    certificate: Certificate

    @property
    def name(self) -> str:
        """The file of its certificate."""
        return file_name(self.sample, self.eps)


@dataclass(eq=False)
class Sweep:
    """What a sweep found.

    Attributes
    ----------
    queries : list of Query
        In the order of samples and distances.
    asked : int
        How many questions there are.
    interrupted : bool
        Whether someone pressed Ctrl-C before all were asked.
    """

    queries: list[Query] = field(default_factory=list)
    asked: int = 0
    interrupted: bool = False

    def count(self, eps: int, status: str) -> int:
        """How many questions at this distance have this status."""
        return sum(q.eps == eps and q.certificate.status == status for q in self.queries)

    def seconds(self, eps: int) -> float:
        """All time that the questions at this distance took."""
        return float(sum(q.certificate.notes["seconds"] for q in self.queries if q.eps == eps))

    def __str__(self) -> str:
        rows = [["eps", *STATUSES, "seconds", "slowest", "decided by"]]
        for eps in sorted({q.eps for q in self.queries}):
            mine = [q.certificate.notes for q in self.queries if q.eps == eps]
            methods = Counter(str(n["method"]) for n in mine).most_common()
            figures = [str(self.count(eps, status)) for status in STATUSES]
            times = [f"{self.seconds(eps):.1f}", f"{max(n['seconds'] for n in mine):.1f}"]
            rows.append([str(eps), *figures, *times, ", ".join(f"{m} {k}" for m, k in methods)])
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        lines = ["  ".join([*(c.rjust(w) for c, w in zip(row, widths)), row[6]]) for row in rows]
        if len(self.queries) < self.asked:
            lines.append(f"{len(self.queries):,} of {self.asked:,} questions were asked before Ctrl-C")
        return "\n".join(lines)


def file_name(sample: int, eps: int) -> str:
    """The file of a certificate in a sweep's folder."""
    return f"sample-{sample:05d}-eps-{eps}.json"


def sweep(
    machine: Machine,
    xs: Any,
    labels: Any = None,
    eps: Sequence[int] = (1,),
    *,
    seconds: float = 60,
    folder: str | Path | None = None,
    resume: bool = False,
    jobs: int | None = None,
    output: str | None = None,
    progress: bool = True,
) -> Sweep:
    """Ask of each sample whether its class is stable under changes of at most each of some distances.

    The questions go through joblib: with `jobs` processes, or to whatever backend the caller has chosen with
    ``joblib.parallel_config``, such as a Dask or Ray cluster.

    Parameters
    ----------
    machine : Machine
        One with one input.
    xs : integer array (samples, *shape)
    labels : integer array (samples,), optional
        The classes; by default what the machine says.
    eps : sequence of int
        Distances, in units of the input.
    seconds : float
        Most time for each question.
    folder : path, optional
        Where the certificates go, each as soon as there is one.
    resume : bool
        Whether to go on in a folder: what is decided there is not asked again.
    jobs : int, optional
        Processes; by default what joblib is configured to.
    output : str, optional
        Which output, where the machine has several.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Sweep
        On Ctrl-C what was found so far.

    Raises
    ------
    InputError
        If samples, labels and machine do not fit.
    FileError
        If the folder cannot be written, holds certificates already and `resume` is not set, or of other questions.
    ToolError
        If joblib is not installed.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (2,), Levels(0, 9))
    >>> machine = b.build(b.affine(x, [[2, 1], [0, 3]]))
    >>> found = sweep(machine, [[6, 3], [1, 8]], eps=[1, 3], progress=False)
    >>> [(q.sample, q.label, q.eps, q.certificate.status) for q in found.queries]
    [(0, 0, 1, 'verified'), (0, 0, 3, 'refuted'), (1, 1, 1, 'verified'), (1, 1, 3, 'verified')]
    """
    try:
        import joblib
    except ImportError:
        raise ToolError("this needs joblib; install it with: pip install 'zahlen[analysis]'") from None
    x, y = _samples(machine, xs, labels, output)
    place = None if folder is None else Path(folder)
    asked = [(k, e) for k in range(len(x)) for e in eps]
    boxes = {(k, e): Box.ball(machine, x[k], e) for k, e in asked}
    claims = [Stable(int(label), output) for label in y]
    known = {} if place is None else _known(machine, place, boxes, claims, resume)
    plain = _plain(machine)
    calls = (
        joblib.delayed(_asked)(plain, k, e, boxes[k, e], claims[k], seconds) for k, e in asked if (k, e) not in known
    )
    found = Sweep(asked=len(asked))
    with bar(progress, f"verify, {len(asked):,} questions", len(asked)) as advance:
        advance(len(known))
        try:
            for k, e, certificate in joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(calls):
                known[k, e] = certificate
                if place is not None:
                    certificate.save(place / file_name(k, e))
                advance(1)
        except KeyboardInterrupt:
            found.interrupted = True
    found.queries = [Query(k, int(y[k]), e, known[k, e]) for k, e in asked if (k, e) in known]
    return found


def _samples(machine: Machine, xs: Any, labels: Any, output: str | None) -> tuple[IntArray, IntArray]:
    if len(machine.inputs) != 1:
        raise InputError(f"sweep: a machine with one input is due, this has {', '.join(machine.inputs) or 'none'}")
    x = np.asarray(xs)
    if not len(x):
        raise InputError("sweep: at least one sample is due")
    y = machine.run(x)
    if labels is None:
        y = y[output] if len(machine.outputs) > 1 and output in machine.outputs else y
        if isinstance(y, dict) or y.ndim > 2:
            raise InputError("sweep: scores in one axis are due, or their argmax; name the output that has them")
        y = y.argmax(axis=1) if y.ndim == 2 else y
    else:
        y = np.asarray(labels)
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise InputError(f"sweep: {len(x)} integers as labels are due, got shape {y.shape} of {y.dtype}")
    return x, y


def _known(
    machine: Machine, place: Path, boxes: dict[tuple[int, int], Box], claims: list[Stable], resume: bool
) -> dict[tuple[int, int], Certificate]:
    """What a folder has already; all of it must be of these questions."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{place}: no directory can be made there: {error.strerror}") from None
    found = {}
    for (k, e), box in boxes.items():
        path = place / file_name(k, e)
        if not path.exists():
            continue
        if not resume:
            raise FileError(f"{path}: there already; go on with resume=True (--resume), or choose another folder")
        certificate = Certificate.load(path)
        ends = tuple((n, flat(lo), flat(hi)) for n, (lo, hi) in box.ends(machine).items())
        claim = {"kind": Stable.kind, **claims[k].fields()}
        if (certificate.machine, certificate.box, certificate.claim) != (machine.hash, ends, claim):
            raise FileError(f"{path}: of another machine, sample or label; choose another folder")
        if not {"method", "seconds"} <= set(certificate.notes):
            raise FileError(f"{path}: its notes lack method and seconds; choose another folder")
        if certificate.status != "unknown":
            found[k, e] = certificate
    return found


def certificates(folder: str | Path) -> Iterator[tuple[Path, Certificate]]:
    """The certificates of a folder by name.

    Raises
    ------
    FileError
        If there are none, or one of them cannot be read.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise FileError(f"{folder}: no certificates are there")
    for path in paths:
        yield path, Certificate.load(path)


Plain = tuple[list[tuple[str, Any, tuple[str, ...]]], tuple[str, ...], dict[str, str]]
"""A machine as what other processes can be sent: operations, outputs, successors."""


def _plain(machine: Machine) -> Plain:
    wires = [(w.name, w.operation, w.operands) for w in machine.wires.values()]
    return wires, machine.outputs, dict(machine.successors)


def _machine(plain: Plain) -> Machine:
    b = Builder()
    for name, operation, operands in plain[0]:
        b.append(operation, *operands, name=name)
    for register, successor in plain[2].items():
        b.connect(register, successor)
    return b.build(*plain[1])


def _asked(plain: Plain, k: int, eps: int, box: Box, claim: Stable, seconds: float) -> tuple[int, int, Certificate]:
    verdict = verify(_machine(plain), box, claim, seconds=seconds)
    notes = {
        "sample": k,
        "eps": eps,
        "method": verdict.method,
        "seconds": round(verdict.seconds, 3),
        "regions": verdict.regions,
    }
    return k, eps, replace(verdict.certificate, notes=notes)
