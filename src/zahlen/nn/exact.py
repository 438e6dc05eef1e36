"""Keeping the framework's products exact: what would break integer sums is switched off around them."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Switch off, for one product, all that rounds its operands or does more than multiply and add.

    Autocast, TF32 and bf16 products round operands to 8 or 11 bits; Winograd and FFT convolutions (cuDNN, NNPACK, and
    oneDNN beyond x86) divide. What remains is multiply-add in some order, exact on integers below the proven bound.
    """
    with ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if (precision := torch.get_float32_matmul_precision()) != "highest":
            torch.set_float32_matmul_precision("highest")
            stack.callback(torch.set_float32_matmul_precision, precision)
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False, allow_tf32=False))
        elif platform.machine() not in ("x86_64", "AMD64"):
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            stack.enter_context(torch.backends.nnpack.flags(enabled=False))
        yield
