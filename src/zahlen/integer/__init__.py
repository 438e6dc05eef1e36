"""Training with integers only: no float in data, gradients, updates, schedules or random numbers.

>>> from zahlen import Levels, integer
>>> model = integer.Sequential(integer.Input((2,), Levels(0, 9), unit=9), integer.Linear(2, 3))
>>> model([[0, 9]]).shape
(1, 3)
"""

from .activations import Activation, HardTanhD, Heaviside, ReLUD, SigmoidD, Sign, TanhD
from .affine import Linear
from .chance import Chance
from .containers import Add, Sequential
from .convolution import Conv2d
from .layer import Layer, Parameter, Spec
from .models import network
from .optimisers import Momentum
from .pools import MaxPool2d, SumPool2d
from .published import BooleanOptimiser, IntegerSGD
from .recurrent import GRU, LSTM, RNN
from .shape import Flatten, Input, Reshape, Standardise

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "BooleanOptimiser",
    "Chance",
    "Conv2d",
    "Flatten",
    "HardTanhD",
    "Heaviside",
    "Input",
    "IntegerSGD",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Momentum",
    "Parameter",
    "ReLUD",
    "Reshape",
    "Sequential",
    "SigmoidD",
    "Sign",
    "Spec",
    "Standardise",
    "SumPool2d",
    "TanhD",
    "network",
]
