"""All ways to compute one thing: NumPy, and each variant of the compiled kernels."""

import numpy as np

from zahlen.integer import arithmetic as do
from zahlen.kernels import native

VARIANTS = native.variants() if native is not None else []


def both(call):
    """What a call gives in NumPy, after each variant of the kernels gave the same."""
    with do.without_kernels():
        due = call()
    for variant in VARIANTS:
        native.choose(variant)
        got = call()
        for one, other in zip(got, due, strict=True):
            assert np.array_equal(one, other), variant
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None), variant
    native.choose(VARIANTS[-1])
    return due
