"""Training with integers only: no float in data, gradients, updates, schedules or random numbers.

>>> from zahlen import Levels, integer
>>> model = integer.Sequential(integer.Input((2,), Levels(0, 9), unit=9), integer.Linear(2, 3))
>>> model([[0, 9]]).shape
(1, 3)
"""

from ..flow import Spec
from . import c
from .activations import Activation, HardTanhD, Heaviside, ReLUD, SigmoidD, Sign, TanhD
from .affine import Linear
from .chance import Chance
from .checkpoints import read_checkpoint
from .containers import Add, Sequential
from .convolution import Conv2d
from .dropout import Dropout
from .embedding import Embedding
from .epochs import Epoch
from .layer import Layer, Parameter
from .losses import CrossEntropy, Hinge, Loss, Squared
from .models import network
from .norm import BatchNorm
from .optimisers import Momentum, Optimiser
from .pools import MaxPool2d, SumPool2d
from .published import BooleanOptimiser, IntegerSGD
from .recurrent import GRU, LSTM, RNN
from .rules import Backpropagation, FeedbackAlignment, LocalLosses, Rule
from .run import Run, Source
from .shape import Flatten, Input, Reshape, Standardise
from .streams import fit_stream, stream_loss
from .training import evaluate, fit

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "Backpropagation",
    "BatchNorm",
    "BooleanOptimiser",
    "Chance",
    "Conv2d",
    "CrossEntropy",
    "Dropout",
    "Embedding",
    "Epoch",
    "FeedbackAlignment",
    "Flatten",
    "HardTanhD",
    "Heaviside",
    "Hinge",
    "Input",
    "IntegerSGD",
    "Layer",
    "Linear",
    "LocalLosses",
    "Loss",
    "MaxPool2d",
    "Momentum",
    "Optimiser",
    "Parameter",
    "ReLUD",
    "Reshape",
    "Rule",
    "Run",
    "Sequential",
    "SigmoidD",
    "Sign",
    "Source",
    "Spec",
    "Squared",
    "Standardise",
    "SumPool2d",
    "TanhD",
    "c",
    "evaluate",
    "fit",
    "fit_stream",
    "network",
    "read_checkpoint",
    "stream_loss",
]
