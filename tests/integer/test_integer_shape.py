"""Layers without weights: as their machines, and as strict as those of `zahlen.nn`."""

import numpy as np
import pytest

from zahlen import Levels, integer
from zahlen.machine import LayerError


def test_columns_on_one_scale():
    x = np.random.default_rng(0).integers(-300, 301, (50, 4))
    mean, deviation = np.array([0, 7, -20, 300]), np.array([1, 0, 33, 100])
    model = integer.Sequential(
        integer.Input((4,), Levels(-300, 300)), integer.Standardise(mean, deviation, grain=2, limit=20)
    )
    # halves go up
    due = np.array([
        [min(max((2 * 2 * int(v - m) + int(max(d, 1))) // (2 * int(max(d, 1))), -20), 20)
         for v, m, d in zip(row, mean, deviation)] for row in x
    ])  # fmt: skip
    assert np.array_equal(model(x), due)
    assert np.array_equal(model.machine().run(x), due)
    assert (model.unit, model.output.alphabet) == (2, Levels(-20, 20))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: integer.Input((2.0,), Levels(0, 1)), "an entry of shape is an integer"),
        (lambda: integer.Input(2, Levels(0, 1)), "the shape of one sample and Levels are due"),
        (lambda: integer.Input((2,), (0, 1)), "the shape of one sample and Levels are due"),
        (lambda: integer.Input((2,), Levels(0, 1), offset=0.5), "offset is an integer"),
        (lambda: integer.Input((2,), Levels(0, 1), unit=0), "unit is positive"),
        (lambda: integer.Standardise([0.5], [1]), "mean and deviation are integers"),
        (lambda: integer.Standardise([0], [1, 1]), "of equal length"),
        (lambda: integer.Standardise([2**40], [1]), r"below 2\^40"),
        (lambda: integer.Standardise([0], [1], limit=2**19), r"limit times grain is below 2\^20"),
        (lambda: integer.Standardise([0], [1], grain=1, limit=2**15), "limit is at most 32767"),
        (lambda: integer.Reshape(2, 0), "an entry of the shape is an integer of at least 1"),
    ],
)  # fmt: skip
def test_settings_that_are_none_are_refused(layer, reason):
    with pytest.raises(LayerError, match=reason):
        layer()


def test_shapes_that_do_not_fit_are_refused_by_name():
    for layer, reason in [
        (integer.Reshape(4), r"Reshape\(4\): receives 6 elements \(2, 3\)"),
        (integer.Standardise([0] * 6, [1] * 6), r"Standardise\(6.*receives shape \(2, 3\), not \(6,\)"),
    ]:
        with pytest.raises(LayerError, match=reason):
            integer.Sequential(integer.Input((2, 3), Levels(0, 1)), layer)
