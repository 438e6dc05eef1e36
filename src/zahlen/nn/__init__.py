"""PyTorch layers whose forward pass is an integer function (needs the extra ``torch``).

Modules compute on floats that hold integers: float32 where the proven bound is below 2^24, float64 below 2^53, so the
framework's own products are exact. Backward passes use surrogate gradients.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    from ..machine import ToolError

    raise ToolError("zahlen.nn needs PyTorch; install it with: pip install 'zahlen[torch]'") from error

from .activations import Activation, HardTanhD, Heaviside, ReLUD, SigmoidD, Sign, TanhD
from .containers import Add, Identity, Sequential
from .dropout import Dropout
from .iterated import IteratedMap
from .linear import Conv1d, Conv2d, Embedding, Linear
from .models import network
from .norm import BatchNorm
from .recurrent import GRU, LSTM, RNN
from .robust import bounds
from .run import read_checkpoint
from .shape import Flatten, Input, MaxPool2d, Reshape, Standardise, SumPool2d
from .spec import Layer, Spec
from .streams import fit_stream, stream_loss
from .training import evaluate, fit, outputs

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "HardTanhD",
    "Heaviside",
    "Identity",
    "Input",
    "IteratedMap",
    "Layer",
    "Linear",
    "MaxPool2d",
    "ReLUD",
    "Reshape",
    "Sequential",
    "SigmoidD",
    "Sign",
    "Spec",
    "Standardise",
    "SumPool2d",
    "TanhD",
    "bounds",
    "evaluate",
    "fit",
    "fit_stream",
    "network",
    "outputs",
    "read_checkpoint",
    "stream_loss",
]
