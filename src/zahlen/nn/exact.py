"""Keeping the framework's products exact: what would break integer sums is switched off around them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ..machine import LayerError

_LONG_MULTIPLY_ADD = platform.machine() in ("x86_64", "AMD64")
"""Whether oneDNN's convolutions are plain sums of products: elsewhere it may take Winograd's."""


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Switch off, for one product, all that rounds its operands or does more than multiply and add.

    Autocast, TF32 and bf16 products round operands to 8 or 11 bits; Winograd and FFT convolutions (cuDNN, NNPACK, and
    oneDNN beyond x86) divide. What remains is multiply-add in some order, exact on integers below the proven bound.

    Raises
    ------
    LayerError
        On a device of which that is not known.
    """
    if device.type not in ("cpu", "cuda"):
        raise LayerError(f"whether products on {device.type} are exact is not known; use model.cpu(), or a cuda device")
    with ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False, allow_tf32=False))
            _set(stack, torch.backends.cuda.matmul, *_STRICT)
        else:
            if torch._C._get_nnpack_enabled():
                stack.enter_context(torch.backends.nnpack.flags(enabled=False))
            if torch.backends.mkldnn.enabled and not (_LONG_MULTIPLY_ADD and _full_precision()):
                _set(stack, torch.backends.mkldnn, "enabled", False)
        yield


_STRICT: tuple[str, Any] = (
    ("fp32_precision", "ieee") if hasattr(torch.backends.mkldnn, "matmul") else ("allow_tf32", False)
)
"""How PyTorch's versions (from 2.9 on, before) ask for products of whole float32 numbers."""


def _set(stack: ExitStack, owner: Any, name: str, value: Any) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def _full_precision() -> bool:
    """Whether no setting allows oneDNN to round operands of float32."""
    mode = os.environ.get("ONEDNN_DEFAULT_FPMATH_MODE", os.environ.get("DNNL_DEFAULT_FPMATH_MODE", "STRICT"))
    if mode.upper() != "STRICT":
        return False
    mkldnn: Any = torch.backends.mkldnn
    if not hasattr(mkldnn, "matmul"):
        return torch.get_float32_matmul_precision() == "highest"
    owners = (mkldnn.matmul, mkldnn.conv, mkldnn, torch.backends)
    return all(owner.fp32_precision in ("ieee", "none") for owner in owners)
