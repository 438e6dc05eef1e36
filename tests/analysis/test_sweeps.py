"""Sweeps: every question once, kept in a folder, gone on with, and in other processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_replay import network

from zahlen.analysis import Certificate, replay, sweep
from zahlen.analysis.verification import certificates, sweeps
from zahlen.machine import FileError, InputError

XS = np.random.default_rng(1).integers(0, 8, (3, 6))


def test_a_sweep_is_kept_and_replayed(tmp_path: Path) -> None:
    machine = network()
    found = sweep(machine, XS, eps=(0, 1), folder=tmp_path / "out", progress=False)
    assert [(q.sample, q.eps) for q in found.queries] == [(k, e) for k in range(3) for e in (0, 1)]
    assert [q.label for q in found.queries[::2]] == machine.run(XS).argmax(axis=1).tolist()
    assert found.count(0, "verified") == 3
    for path, certificate in certificates(tmp_path / "out"):
        assert replay(machine, certificate), path
        assert path.name == sweeps.file_name(certificate.notes["sample"], certificate.notes["eps"])
    assert str(found).split()[:6] == ["eps", "verified", "refuted", "unknown", "seconds", "slowest"]
    assert len(str(found).splitlines()) == 3


def test_what_is_known_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = network()
    first = sweep(machine, XS[:2], eps=[1], folder=tmp_path, progress=False)
    with pytest.raises(FileError, match="resume"):
        sweep(machine, XS, eps=[1], folder=tmp_path, progress=False)
    asked = []
    real = sweeps._asked
    monkeypatch.setattr(sweeps, "_asked", lambda *a: asked.append(a[1]) or real(*a))
    again = sweep(machine, XS, eps=[1], folder=tmp_path, resume=True, progress=False)
    assert asked == [2]
    assert again.queries[:2] == first.queries
    assert len(again.queries) == 3
    with pytest.raises(FileError, match="another machine"):
        sweep(network(5), XS, eps=[1], folder=tmp_path, resume=True, progress=False)
    with pytest.raises(FileError, match="another machine, sample"):
        sweep(machine, XS[::-1], eps=[1], folder=tmp_path, resume=True, progress=False)
    (tmp_path / sweeps.file_name(0, 1)).write_text("{}")
    with pytest.raises(FileError, match="no certificate of version"):
        sweep(machine, XS, eps=[1], folder=tmp_path, resume=True, progress=False)


def test_what_was_not_decided_is_asked_again(tmp_path: Path) -> None:
    machine = network(100)
    first = sweep(machine, [[3, 5, 2, 6, 1, 4]], eps=[3], seconds=0, folder=tmp_path, progress=False)
    assert first.queries[0].certificate.status == "unknown"
    assert not replay(machine, first.queries[0].certificate)
    again = sweep(machine, [[3, 5, 2, 6, 1, 4]], eps=[3], folder=tmp_path, resume=True, progress=False)
    assert again.queries[0].certificate.notes["seconds"] >= 0


def test_ctrl_c_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = network()
    real = Certificate.save

    def save(certificate: Certificate, path: Path) -> None:
        if "sample-00001" in str(path):
            raise KeyboardInterrupt
        real(certificate, path)

    monkeypatch.setattr(Certificate, "save", save)
    found = sweep(machine, XS, eps=[0], folder=tmp_path, progress=False)
    assert found.interrupted
    assert "before Ctrl-C" in str(found)
    assert len(list(certificates(tmp_path))) == 1


def test_other_processes_say_the_same() -> None:
    machine = network()
    one = sweep(machine, XS, eps=[0, 1], progress=False)
    two = sweep(machine, XS, eps=[0, 1], jobs=2, progress=False)
    assert [(q.sample, q.eps, q.certificate.trees) for q in one.queries] == [
        (q.sample, q.eps, q.certificate.trees) for q in two.queries
    ]


def test_labels_are_asked_for() -> None:
    machine = network()
    labels = (machine.run(XS).argmax(axis=1) + 1) % 3
    found = sweep(machine, XS, labels, eps=[0], progress=False)
    assert found.count(0, "refuted") == 3
    for xs, given in ((XS[:0], None), (XS, labels[:2]), (XS, labels.astype(float)), (XS[:, :5], None)):
        with pytest.raises(InputError):
            sweep(machine, xs, given, eps=[0], progress=False)
