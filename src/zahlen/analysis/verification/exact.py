"""Products and sums of integer arrays that never overflow: in 64 bits where they fit, else in Python integers.

Matrix products whose sums stay below 2^53 may run in double precision, which is exact there and many times faster;
`replay` does without.
"""

from __future__ import annotations

import numpy as np

from ...machine import IntArray
from ...machine.ranges import DOUBLE

ROOM = 1 << 62
"""What no sum in 64 bits reaches."""


def largest(x: IntArray) -> int:
    """The greatest magnitude of an element; 0 if there is none.

    >>> largest(np.array([-3, 2]))
    3
    """
    return max(abs(int(x.min())), abs(int(x.max()))) if x.size else 0


def roomy(most: int, *arrays: IntArray) -> list[IntArray]:
    """The arrays as they are if magnitudes up to `most` fit into 64 bits, else as Python integers."""
    if most < ROOM and all(a.dtype != object or largest(a) < ROOM for a in arrays):
        return [a.astype(np.int64) if a.dtype == object else a for a in arrays]
    return [a.astype(object) for a in arrays]


def matmul(a: IntArray, b: IntArray, doubles: bool) -> IntArray:
    """``a @ b``, exactly; of floats as it is.

    >>> matmul(np.array([[2**40]]), np.array([[2**40]]), False).tolist()
    [[1208925819614629174706176]]
    """
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        return np.asarray(a @ b)
    most = largest(a) * largest(b) * a.shape[-1]
    if doubles and most < DOUBLE[1]:
        product = a.astype(np.float64) @ b.astype(np.float64)
        return np.asarray(product.astype(np.int64))
    a, b = roomy(most, a, b)
    return np.asarray(a @ b)


def row_sums(x: IntArray) -> IntArray:
    """The sum of each row (K, ..), as Python integers."""
    flat = x.reshape(len(x), -1)
    (flat,) = roomy(largest(flat) * flat.shape[1], flat)
    return np.asarray(flat.sum(axis=1)).astype(object)


def times(a: IntArray, b: IntArray) -> IntArray:
    """``a * b``, exactly."""
    a, b = roomy(largest(a) * largest(b), a, b)
    return np.asarray(a * b)


def plus(a: IntArray, b: IntArray) -> IntArray:
    """``a + b``, exactly."""
    a, b = roomy(largest(a) + largest(b), a, b)
    return np.asarray(a + b)


def least_sums(weights: IntArray, lo: IntArray, hi: IntArray, doubles: bool) -> IntArray:
    """For each row of `weights` (K, *shape) the least sum of weights times values from lo to hi, of all or of each."""
    most = largest(weights) * (2 * largest(lo) + largest(hi)) * max(1, weights[:1].size)
    if not doubles or most >= DOUBLE[1]:
        return row_sums(np.where(weights >= 0, times(weights, lo), times(weights, hi)))
    a, b = (end.astype(np.float64) for end in (lo, hi))
    w = weights.reshape(len(weights), -1).astype(np.float64)
    low, span = (end.reshape(-1, w.shape[1]) for end in (a, b - a))
    if len(low) == 1:
        found = w @ low[0] + np.minimum(w, 0) @ span[0]
    else:
        found = np.einsum("ij,ij->i", w, low) + np.einsum("ij,ij->i", np.minimum(w, 0), span)
    return np.asarray(found.astype(np.int64).astype(object))
