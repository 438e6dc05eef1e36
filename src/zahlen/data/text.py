"""Text as a sequence of symbols: each character is its index in the sorted alphabet of the whole text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from math import floor
from pathlib import Path

import numpy as np

from zahlen.machine import DataError, IntArray

from .exact import share

TOPICS = "pydoc-topics"
"""The text that has a name: the reference of the Python language, inside CPython."""
MOST = 65536
"""Most symbols that a text may have."""

_SHOWN = 120


@dataclass(frozen=True, eq=False)
class Text:
    r"""A text in two parts, as indices into its symbols.

    Parameters
    ----------
    name : str
        What the text is called.
    symbols : tuple of str
        The different characters of the whole text, sorted by code point, at least two.
    train, test : uint8 or uint16 array (characters,)
        The index of each character in `symbols`; the test part follows the training part in the text.
    checksum : str
        SHA-256 of the text in UTF-8, without a byte order mark: says which text it was.

    Examples
    --------
    >>> part = Text("abba", ("a", "b"), np.array([0, 1]), np.array([1, 0]), sha256(b"abba").hexdigest())
    >>> print(part)
    abba: 2 training and 2 test characters of 2 symbols
    """

    name: str
    symbols: tuple[str, ...]
    train: IntArray
    test: IntArray
    checksum: str

    def encode(self, text: str) -> IntArray:
        """The index of each character of another text; see `encode`."""
        return encode(self.symbols, text)

    def decode(self, indices: Sequence[int] | IntArray) -> str:
        """The characters with these indices.

        Raises
        ------
        DataError
            If an index is not one of 0 .. ``len(symbols) - 1``.
        """
        found = np.asarray(indices, dtype=np.int64) if len(indices) == 0 else np.asarray(indices)
        if found.dtype.kind not in "iu" or found.ndim != 1:
            raise DataError(f"{self.name}: indices are a sequence of integers, got {found.dtype} of {found.shape}")
        beyond = (found < 0) | (found >= len(self.symbols))
        if beyond.any():
            k = int(beyond.argmax())
            raise DataError(f"{self.name}: index {found[k]} at position {k} leaves 0..{len(self.symbols) - 1}")
        return "".join(self.symbols[k] for k in found.tolist())

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test characters "
            f"of {len(self.symbols)} symbols"
        )


def text(spec: str | os.PathLike[str], *, test: object = 0.1) -> Text:
    r"""Load a text by its name or from a file.

    The text is taken as it is: ends of lines are not translated, nothing is folded or left out. Only a byte order mark
    at the start of a file goes, since it marks the encoding and is no part of the text.

    Parameters
    ----------
    spec : str or path
        Either ``pydoc-topics``, the reference of the Python language that comes with CPython: its topics in the order
        of their names, with an empty line between two (it differs from one version of Python to another; see
        `Text.checksum`); or a file of text in UTF-8. The name goes before a file of that name;
        ``./pydoc-topics`` is the file.
    test : number or str
        The share of characters, between 0 and 1, at the end of the text that are its test part, taken exactly as the
        decimal that it is written as: of n characters the last floor(n test + 1/2).

    Raises
    ------
    DataError
        If the text is missing, not UTF-8, too short to give both parts two characters, has fewer than two different
        characters or more than 65,536, or if `test` is unusable.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sea.txt")
    ...     _ = path.write_text("she sells sea shells", encoding="utf-8")
    ...     sea = text(path, test=0.25)
    >>> print(sea)
    sea: 15 training and 5 test characters of 6 symbols
    >>> sea.symbols, sea.test, sea.decode(sea.test)
    ((' ', 'a', 'e', 'h', 'l', 's'), array([3, 2, 4, 4, 5], dtype=uint8), 'hells')
    """
    part = share(test, "test")
    if isinstance(spec, str) and spec == TOPICS:
        return _divide(TOPICS, TOPICS, _topics(), part)
    path = Path(spec)
    return _divide(path.stem, str(path), _read(path), part)


def encode(symbols: Sequence[str], text: str) -> IntArray:
    """The index in `symbols` of each character of a text.

    Parameters
    ----------
    symbols : sequence of str
        Different single characters in any order, at most 65,536.
    text : str

    Returns
    -------
    uint8 array (characters,), or uint16 for more than 256 symbols

    Raises
    ------
    DataError
        If a character of the text is not among the symbols; the message says which, where, and what they are.

    Examples
    --------
    >>> encode("ban", "banana")
    array([0, 1, 2, 1, 2, 1], dtype=uint8)
    >>> encode("ban", "bananas")
    Traceback (most recent call last):
    zahlen.machine.errors.DataError: character 's' (U+0073) at position 6 is not one of the 3 symbols 'ban'; leave it \
out, or train on a text that has it
    """
    if len(set(symbols)) != len(symbols) or not 0 < len(symbols) <= MOST or any(len(one) != 1 for one in symbols):
        raise DataError(f"symbols are 1 to {MOST:,} different single characters, got {_shown(symbols)}")
    known = _codes("".join(symbols))
    codes = _codes(text)
    order = np.argsort(known)
    # a code above all known ones has no place: it is compared with the last, and differs
    index = order[np.minimum(np.searchsorted(known, codes, sorter=order), len(known) - 1)]
    unseen = known[index] != codes
    if unseen.any():
        k = int(unseen.argmax())
        raise DataError(
            f"character {text[k]!r} (U+{ord(text[k]):04X}) at position {k} is not one of the {len(symbols)} symbols "
            f"{_shown(symbols)}; leave it out, or train on a text that has it"
        )
    return index.astype(np.uint8 if len(symbols) <= 256 else np.uint16)


def _shown(symbols: Sequence[str]) -> str:
    joined = "".join(symbols[: _SHOWN + 1])
    return repr(joined) if len(joined) <= _SHOWN else f"{joined[:_SHOWN]!r} and others"


def _codes(text: str) -> IntArray:
    """The code points (characters,) of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)


def _divide(name: str, source: str, content: str, part: Fraction) -> Text:
    if not content:
        raise DataError(f"{source}: empty; a text is due")
    size = floor(len(content) * part + Fraction(1, 2))
    if size < 2 or len(content) - size < 2:
        raise DataError(
            f"{source}: {len(content)} characters give {len(content) - size} for training and {size} for the test at "
            f"test={part}; both need two, so pass a longer text or another share"
        )
    symbols = tuple(map(chr, np.unique(_codes(content)).tolist()))
    if len(symbols) < 2:
        raise DataError(f"{source}: only one character, {symbols[0]!r}, again and again; nothing can be learnt from it")
    if len(symbols) > MOST:
        raise DataError(f"{source}: {len(symbols):,} different characters, more than {MOST:,}; replace the rare ones")
    indices = encode(symbols, content)
    checksum = sha256(content.encode()).hexdigest()
    return Text(name, symbols, indices[: len(content) - size], indices[len(content) - size :], checksum)


def _topics() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(f"{TOPICS}: this Python comes without pydoc_data; pass the path to a file of text") from None
    return "\n".join(topics[name] for name in sorted(topics))


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; pass the path to a file of text, relative to {Path.cwd()}, or {TOPICS!r}"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; pass the path to a file of text") from None
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8: byte {error.start} is 0x{raw[error.start]:02x} ({error.reason}); "
            "convert it, for example by iconv -t UTF-8"
        ) from None
