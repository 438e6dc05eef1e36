"""Signs of many affine forms at many vertices, exactly: the leading bits decide nearly all, all bits the rest.

A coordinate v with more than 30 bits is (h + e) 2^s with an integer h of 30 bits and 0 <= e < 1, and so is a
coefficient. The products of the leading parts h fit into int64. Where their sum is further from zero than all that the
parts e could change, its sign is the sign; elsewhere the whole integers are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...machine import IntArray
from .homogeneous import Point, above

BITS = 30
CHUNK = 1 << 20
"""Most signs that are found at once."""

Signs = NDArray[np.int8]
Ints = NDArray[np.int64]


def extremes(points: Sequence[Point], polygons: Sequence[Sequence[int]], forms: IntArray) -> tuple[Signs, Signs]:
    """Least and greatest sign of each affine form over the vertices of its polygon.

    Parameters
    ----------
    points : sequence of Point
    polygons : sequence of sequences of int
        Vertices of each polygon, by their number in `points`.
    forms : int64 or object array (polygons, coordinates, forms)

    Returns
    -------
    low, high : int8 arrays (polygons, forms)

    Examples
    --------
    >>> low, high = extremes([(0, 0, 1), (1, 0, 1), (0, 1, 1)], [[0, 1, 2]], np.array([[[1, 1], [1, 0], [0, -2]]]))
    >>> low.tolist(), high.tolist()
    ([[0, -1]], [[1, -1]])
    """
    low, high = (np.empty((len(polygons), forms.shape[2]), dtype=np.int8) for _ in range(2))
    longest = max(map(len, polygons))
    step = max(1, CHUNK // (longest * forms.shape[2]))
    used = sorted({v for polygon in polygons for v in polygon})
    row = {v: k for k, v in enumerate(used)}
    corners, open_corners = _leading(np.array([points[v] for v in used], dtype=object)[:, :, None])
    corners, open_corners = corners[:, :, 0], open_corners[:, 0]
    for first in range(0, len(polygons), step):
        part = polygons[first : first + step]
        sizes = np.array([len(polygon) for polygon in part])
        vertices = np.array([row[v] for polygon in part for v in polygon])
        owners = np.repeat(np.arange(len(part)), sizes)
        lines, open_lines = _leading(forms[first : first + step])
        values = np.zeros((len(vertices), forms.shape[2]), dtype=np.int64)
        for k in range(forms.shape[1]):
            values += corners[vertices, k, None] * lines[owners, k]
        doubt = np.where(open_corners[vertices, None], np.abs(lines).sum(axis=1)[owners], 0)
        doubt += np.where(open_lines[owners], (np.abs(corners).sum(axis=1) + forms.shape[1])[vertices, None], 0)
        signs = np.sign(values).astype(np.int8)
        for v, q in zip(*np.nonzero((np.abs(values) <= doubt) & (doubt > 0))):
            exact = above(forms[first + owners[v], :, q].tolist(), points[used[vertices[v]]])
            signs[v, q] = (exact > 0) - (exact < 0)
        starts = np.cumsum(sizes) - sizes
        low[first : first + step] = np.minimum.reduceat(signs, starts)
        high[first : first + step] = np.maximum.reduceat(signs, starts)
    return low, high


def _leading(forms: IntArray) -> tuple[Ints, NDArray[np.bool_]]:
    """Leading parts, with one exponent for all along axis 1, and for which that is not the whole."""
    if forms.dtype == object:
        before = max(int(abs(forms).max()).bit_length() - 62, 0)
        whole = (forms >> before).astype(np.int64)
        cut = (forms != whole.astype(object) << before).any(axis=1)
    else:
        whole, cut = forms, np.zeros(forms[:, 0].shape, dtype=bool)
    most = np.abs(whole).max(axis=1)
    shift = np.zeros(most.shape, dtype=np.int64)
    for power in (32, 16, 8, 4, 2, 1):
        shift += np.where(most >> shift >= 1 << (BITS + power - 1), power, 0)
    found = whole >> shift[:, None]
    cut = cut | (found << shift[:, None] != whole).any(axis=1)
    return found, cut
