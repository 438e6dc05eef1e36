"""Verification: verdicts are what going through every point says, and each is replayed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, reject, settings
from questions import answer, questions

from zahlen.analysis import replay, verify
from zahlen.machine import InputError


@settings(max_examples=150, deadline=None)
@given(questions())
def test_verdicts_are_those_of_every_point(question: Any) -> None:
    machine, box, asked = question
    try:
        verdict = verify(machine, box, asked)
    except InputError:  # products and tables that are too large
        reject()
    if verdict.status == "unknown":
        return
    assert verdict.status == ("verified" if answer(machine, box, asked) else "refuted")
    other = getattr(asked, "other", None)
    assert replay(machine, verdict.certificate, other=other), replay(machine, verdict.certificate, other=other)
