"""Windows that slide over the axes of an array: what convolutions and pools of both trainers check and count."""

from __future__ import annotations

from typing import Any

import numpy as np

from .machine import LayerError


def per_axis(layer: object, value: Any, dims: int, least: int) -> Any:
    """One integer of at least `least` for each axis; `layer` is whom an error names."""
    name = type(layer).__name__
    values = (value,) * dims if isinstance(value, (int, np.integer)) else value
    if not isinstance(values, (tuple, list)) or len(values) != dims:
        raise LayerError(f"{name}: an integer is due, or {dims} of them, got {value!r}")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least:
            raise LayerError(
                f"{name}: an entry of kernel_size, stride, padding or dilation is an integer of at least {least}, "
                f"got {v!r}"
            )
    return tuple(int(v) for v in values)


def padding_per_axis(layer: object, value: Any, size: tuple[int, ...], stride: Any, dilation: Any) -> Any:
    """Zeros at each end of each axis; "valid" is none, "same" what keeps the lengths."""
    if value == "same":
        spans = [d * (k - 1) for k, d in zip(size, dilation)]
        if any(span % 2 for span in spans) or set(stride) != {1}:
            raise LayerError(
                f'{type(layer).__name__}: padding="same" is for windows of odd span and stride 1, '
                f"not kernel_size {size}, stride {stride}; give the padding as integers"
            )
        return tuple(span // 2 for span in spans)
    return per_axis(layer, 0 if value == "valid" else value, len(size), 0)


def window_counts(
    layer: Any,
    lengths: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """How many windows fit along each axis.

    >>> window_counts(None, (28, 28), (3, 5), (1, 2), (1, 0), (1, 1))
    (28, 12)
    """
    counts = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(lengths, size, stride, padding, dilation)
    )
    if min(counts) < 1:
        raise layer.fail(f"a window of {size} does not fit into {lengths}")
    return counts
