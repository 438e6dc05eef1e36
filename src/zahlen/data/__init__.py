"""Real data sets as integers, exactly as they are stored: nothing is normalised into floats, nothing is guessed.

>>> print(load("digits"))
digits: 1438 training and 359 test samples of 8x8 in 0..16, 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
"""

from .dataset import Dataset, Split
from .loading import load
from .samples import sample_lengths, samples
from .text import Text, encode, text

__all__ = ["Dataset", "Split", "Text", "encode", "load", "sample_lengths", "samples", "text"]
