"""Staircases of recurrent cells on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from ..cells.stairs import Stairs


def reached(stairs: Stairs, z: Tensor) -> Tensor:
    """The values that a staircase reaches at z: float32 of the same shape."""
    edges = torch.as_tensor(stairs.thresholds, dtype=z.dtype, device=z.device)
    values = torch.as_tensor(stairs.values, dtype=torch.float32, device=z.device)
    return values[torch.bucketize(z.contiguous(), edges, right=True)]
