"""What makes a machine a model of text, and the weights by which one of its symbols is drawn.

Sampling in Python and the emitted program that does the same both rest on this: the machine's notes, checked, and one
table of integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import cached_property, lru_cache

from .machine import Codes, FileError, InputError, Machine

MOST_SYMBOLS = 2**16 - 1
"""Most symbols of a model: their weights, 2^16 each at the most, add up to less than 2^32."""

PARTS = 64
"""How finely the table of weights divides 1.0 of a logit."""

Temperature = int | Fraction | str | float

_UNIT = re.compile(r"\d{1,40}(/\d{1,40})?", re.ASCII)
_TEMPERATURE = re.compile(r"\d{1,40}(/\d{1,40}|(\.\d{1,400})?(e[+-]?\d{1,3})?)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class TextModel:
    """A machine of one input, a symbol, and one output, the integer logits of the symbol that follows.

    Attributes
    ----------
    machine : Machine
    symbols : tuple of str
        One character each; the input is an index into them, and so is the output's axis.
    unit : Fraction
        How many integer steps of the output are worth 1.0 of a logit.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (), Levels(0, 1))
    >>> logits = b.embed(x, [[0, 9], [9, 0]])
    >>> model = TextModel.of(b.build(logits, notes={"symbols": ["a", "b"], "unit": "7/2"}))
    >>> model.unit, model.encode("abba")
    (Fraction(7, 2), [0, 1, 1, 0])
    """

    machine: Machine
    symbols: tuple[str, ...]
    unit: Fraction

    @classmethod
    def of(cls, machine: Machine) -> TextModel:
        """The model that a machine's notes describe. Anybody may have written them: everything is checked.

        Raises
        ------
        InputError
            If the machine is no model of text: no note "symbols", or not one input and one output that fit them.
        FileError
            If the notes "symbols" or "unit" are malformed.
        """
        if "symbols" not in machine.notes:
            raise InputError('this machine is no model of text: it has no note "symbols"; train one on a text')
        symbols = _symbols(machine.notes["symbols"])
        if len(machine.inputs) != 1 or len(machine.outputs) != 1:
            names = f"inputs {', '.join(machine.inputs) or 'none'}, outputs {', '.join(machine.outputs)}"
            raise InputError(f"a model of text has one input and one output, this machine has {names}")
        x, logits = machine.wires[machine.inputs[0]], machine.wires[machine.outputs[0]]
        n = len(symbols)
        if x.shape not in ((), (1,)) or (x.alphabet.lo, x.alphabet.hi, x.alphabet.step) != (0, n - 1, 1):
            raise InputError(
                f"input {x.name!r}: one symbol of 0..{n - 1} is due, as the note 'symbols' has {n}; "
                f"it is {x.alphabet} of shape {x.shape}"
            )
        if logits.shape != (n,) or isinstance(logits.alphabet, Codes):
            raise InputError(
                f"output {logits.name!r}: {n} logits are due, one per symbol; "
                f"it is {logits.alphabet} of shape {logits.shape}"
            )
        return cls(machine, symbols, _unit(machine.notes.get("unit")))

    @cached_property
    def index(self) -> dict[str, int]:
        """Every symbol's index."""
        return {symbol: k for k, symbol in enumerate(self.symbols)}

    @property
    def start(self) -> int:
        """The symbol that goes before a text without a prompt: a line feed if the model knows it, else symbol 0."""
        return self.index.get("\n", 0)

    def encode(self, text: str) -> list[int]:
        """The symbols' indices of a text.

        Raises
        ------
        InputError
            If it has a character that is no symbol.
        """
        for position, character in enumerate(text):
            if character not in self.index:
                raise InputError(
                    f"prompt: the model has never seen {character!r} (U+{ord(character):04X}), at position {position}; "
                    f"leave it out, or use these: {''.join(self.symbols[:200])!r}"
                )
        return [self.index[character] for character in text]

    def scale(self, temperature: Temperature) -> Fraction | None:
        """What turns a logit's distance from the greatest into a place in the table of weights; None means greedy.

        Parameters
        ----------
        temperature : int, Fraction, decimal str or float
            Taken as it is written: 0.7 is 7/10. Divides the logits; 0 always takes the greatest.

        Returns
        -------
        64 / (unit temperature), or None for temperature 0.

        Raises
        ------
        InputError
            If the temperature is no number, or a negative one.
        """
        written = str(temperature)
        try:
            value = Fraction(written) if _TEMPERATURE.fullmatch(written) else None
        except ZeroDivisionError:
            value = None
        if value is None:
            raise InputError(f"temperature: a number such as 1, 0.8 or 4/5 is due, and 0 for greedy, got {written!r}")
        return PARTS / (self.unit * value) if value else None


def _symbols(note: object) -> tuple[str, ...]:
    if not isinstance(note, list) or not all(isinstance(s, str) and len(s) == 1 for s in note):
        raise FileError(f"the machine's note 'symbols' is no list of characters: {str(note)[:80]}")
    if not 1 <= len(note) <= MOST_SYMBOLS:
        raise FileError(f"the machine's note 'symbols' lists {len(note)} characters; 1 to {MOST_SYMBOLS} are due")
    if len(set(note)) < len(note):
        twice = next(s for s in note if note.count(s) > 1)
        raise FileError(f"the machine's note 'symbols' has {twice!r} more than once")
    if lone := [s for s in note if "\ud800" <= s <= "\udfff"]:
        raise FileError(f"the machine's note 'symbols' has {lone[0]!r}, half of a surrogate pair and no character")
    return tuple(note)


def _unit(note: object) -> Fraction:
    try:
        unit = Fraction(note) if isinstance(note, str) and _UNIT.fullmatch(note) else Fraction(0)
    except ZeroDivisionError:
        unit = Fraction(0)
    if unit <= 0:
        raise FileError(f"the machine's note 'unit' is no positive fraction such as 4032 or 960/7: {str(note)[:80]}")
    return unit


@lru_cache(maxsize=1)
def weights() -> tuple[int, ...]:
    """round(2^16 exp(-j / 64)) for j = 0, 1, .. up to the first that is 0: how a symbol j/64 of a logit behind weighs.

    `decimal` rounds exp correctly, at any precision and on every computer; no entry comes near enough to a half for
    40 digits to leave it open.

    >>> weights()[:4], weights()[-2:], len(weights())
    ((65536, 64520, 63520, 62535), (1, 0), 756)
    """
    context, table = Context(prec=40), list[int]()
    while not table or table[-1]:
        exponent = context.divide(Decimal(-len(table)), Decimal(PARTS))
        value = context.multiply(Decimal(2**16), context.exp(exponent))
        table.append(int(context.add(value, Decimal("0.5")).to_integral_value(ROUND_FLOOR)))
    return tuple(table)
