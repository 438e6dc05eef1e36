"""Splits: what raised bounds before is split first."""

from __future__ import annotations

import numpy as np
from test_verification import small_network

from zahlen.analysis import Box, Stable
from zahlen.analysis.verification.duals import Dual
from zahlen.analysis.verification.regions import Bounder
from zahlen.analysis.verification.splitting import Choice, Splitter


def test_what_gained_nothing_is_split_last() -> None:
    machine = small_network(0, (12, 10, 6, 3))
    bounder = Bounder(Stable(0).goal(machine, Box.ball(machine, np.full(12, 3), 3)))
    whole = bounder.whole()
    dual = Dual(bounder, [whole], [0])
    found = dual.improve({n: np.zeros((1, *wire.shape)) for n, wire in bounder.curves.items()}, 100)
    splitter = Splitter(bounder)
    first = splitter.choose(dual, found, 0, 0)
    assert first.curve
    assert first.loss > 0
    for above in (False, True) * 4:
        splitter.learn(first, above, 0.0)
    second = splitter.choose(dual, found, 0, 0)
    assert (second.curve, second.split.index) != (first.curve, first.split.index)
    # it needs both parts
    splitter.learn(second, True, 100 * second.loss)
    splitter.learn(second, False, 0.0)
    splitter.learn(first, True, 5 * first.loss)
    splitter.learn(first, False, 5 * first.loss)
    assert splitter.choose(dual, found, 0, 0).split.wire in bounder.splittable


def test_splits_of_inputs_teach_nothing() -> None:
    machine = small_network(0)
    bounder = Bounder(Stable(0).goal(machine, Box.ball(machine, np.full(6, 3), 1)))
    splitter = Splitter(bounder)
    whole = bounder.whole()
    dual = Dual(bounder, [whole], [0])
    found = dual.improve({n: np.zeros((1, *wire.shape)) for n, wire in bounder.curves.items()}, 10)
    # six inputs change: every other level splits one
    choice = splitter.choose(dual, found, 0, 1)
    assert choice == Choice(choice.split)
    assert choice.split.wire == "x"
    splitter.learn(choice, True, 5.0)
    assert not any(c.any() for c in splitter.counts.values())
