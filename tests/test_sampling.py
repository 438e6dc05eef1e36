"""Drawing text in whole numbers: the table, the draw, the prompt, and what is no model of text."""

from __future__ import annotations

from collections import Counter
from decimal import Context, Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zahlen import Builder, Codes, Levels, Machine
from zahlen.generator import Generator
from zahlen.machine import FileError, InputError
from zahlen.sampling import draw, sample, stream
from zahlen.textmodel import TextModel, weights

LETTERS = ["a", "b", "\n", "é"]
GOOD = {"symbols": LETTERS, "unit": "16"}


def model(table: Any = None, notes: Any = None, shape: tuple[int, ...] = ()) -> Machine:
    """Logits by the last symbol and by the number of symbols read so far, modulo 3."""
    n = len(LETTERS)
    b = Builder()
    x = b.input("x", shape, Levels(0, n - 1))
    count = b.register("count", (n,), Levels(0, 2))
    b.connect(count, b.lookup(count, [1, 2, 0]))
    rows = np.random.default_rng(5).integers(0, 90, (n, n)) if table is None else table
    row = b.reshape(b.embed(x, rows), (n,))
    return b.build(b.add(row, b.mul(count, b.constant([0, 9, -9, 3]))), notes=GOOD if notes is None else notes)


# ---------------------------------------------------------------------------------------------------- the table


def test_every_weight_is_rounded_to_the_nearest() -> None:
    """With 400 digits, and no entry so near to a half that 40 digits could miss it."""
    context = Context(prec=400)
    table = weights()
    for j, weight in enumerate(table):
        exact = context.multiply(Decimal(65536), context.exp(context.divide(Decimal(-j), Decimal(64))))
        assert abs(exact - weight) < Decimal("0.4995")
    assert table[0] == 65536
    assert table[-1] == 0
    assert table[-2] > 0


def test_the_table_does_not_hang_on_the_callers_context() -> None:
    from decimal import localcontext

    expected = weights()
    weights.cache_clear()
    with localcontext() as context:
        context.prec = 3
        assert weights() == expected


# ---------------------------------------------------------------------------------------------------- the draw


@given(
    logits=st.lists(st.integers(-(2**70), 2**70) | st.integers(-50, 50), min_size=1, max_size=9),
    scale=st.fractions(Fraction(1, 10**6), 10**6),
    seed=st.integers(0, 2**64 - 1),
)
def test_draw_by_its_definition(logits: list[int], scale: Fraction, seed: int) -> None:
    table = weights()
    listed = [table[min(len(table) - 1, int((max(logits) - z) * scale // 1))] for z in logits]
    r = Generator(seed).below(sum(listed))
    k = draw(logits, Generator(seed), scale)
    assert sum(listed[:k]) <= r < sum(listed[: k + 1])


def test_every_number_finds_its_symbol() -> None:
    class Fixed(Generator):
        def below(self, n: int) -> int:
            assert n == 65536 + 24109 + 0 + 65536
            return self.next()

        def next(self) -> int:
            return self._state

    # weights 24109 (64 parts behind), 0 (too far), 65536, 65536
    logits = [-64, -9999, 0, 0]
    for number, symbol in ((0, 0), (24108, 0), (24109, 2), (89644, 2), (89645, 3), (155180, 3)):
        assert draw(logits, Fixed(number), Fraction(1)) == symbol


def test_draws_are_as_frequent_as_their_weights() -> None:
    generator, logits = Generator(7), [0, 64, 32, -5000]
    count = Counter(draw(logits, generator, Fraction(1)) for _ in range(30000))
    shares = [weights()[j] for j in (64, 0, 32)]
    for k, share in enumerate(shares):
        assert abs(count[k] - 30000 * share // sum(shares)) < 350  # four standard deviations
    assert 3 not in count


def test_greedy_takes_the_first_among_equals_and_draws_nothing() -> None:
    generator = Generator(3)
    assert draw([1, 5, 5, 2], generator, None) == 1
    assert generator.next() == Generator(3).next()


@pytest.mark.parametrize(
    ("temperature", "scale"),
    [
        (1, 64),
        (2, 32),
        (0.7, Fraction(640, 7)),
        ("0.7", Fraction(640, 7)),
        (Fraction(7, 10), Fraction(640, 7)),
        ("7/10", Fraction(640, 7)),
        ("1e2", Fraction(64, 100)),
        (1e-3, 64000),
        (np.float64(0.5), 128),
        (0, None),
        ("0.0", None),
    ],
)
def test_temperature_is_taken_as_written(temperature: Any, scale: Any) -> None:
    assert TextModel.of(model(notes={"symbols": LETTERS, "unit": "1"})).scale(temperature) == scale
    thirds = TextModel.of(model(notes={"symbols": LETTERS, "unit": "960/7"})).scale(temperature)
    assert thirds == (None if scale is None else scale * Fraction(7, 960))


@pytest.mark.parametrize(
    "temperature", [-1, "-0.1", "hot", "nan", float("inf"), "1/0", True, None, "1e9999", "", "1\n"]
)
def test_other_temperatures_are_refused(temperature: Any) -> None:
    with pytest.raises(InputError, match="temperature"):
        sample(model(), "a", 1, temperature=temperature)


# ---------------------------------------------------------------------------------------------------- text


def expected(machine: Machine, prompt: str, n: int, seed: int, unit: Fraction) -> str:
    """Text by the definition: the machine runs over all that is read so far, anew for each character."""
    text, generator = prompt or "\n", Generator(seed)
    for _ in range(n):
        codes = [LETTERS.index(c) for c in text]
        logits = machine.run(np.array(codes).reshape(1, -1, *machine.wires["x"].shape), executor="reference")[0, -1]
        text += LETTERS[draw(logits.tolist(), generator, 64 / unit)]
    return text[len(prompt or "\n") :]


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("prompt", ["", "a", "bé\na"])
def test_text_by_its_definition(prompt: str, shape: tuple[int, ...]) -> None:
    machine = model(shape=shape)
    for seed in range(4):
        text = sample(machine, prompt, 30, seed=seed)
        assert text == expected(machine, prompt, 30, seed, Fraction(16))
        assert len(text) == 30
        assert list(islice(stream(machine, prompt, 30, seed=seed), 5)) == list(text[:5])
    cold = sample(machine, prompt, 30, seed=1, temperature="3/4")
    assert cold == expected(machine, prompt, 30, 1, Fraction(12))


def test_seeds_differ_and_repeat() -> None:
    texts = [sample(model(), "a", 40, seed=seed) for seed in (0, 1, 2**64 - 1, 0)]
    assert len(set(texts)) == 3
    assert texts[0] == texts[3]


def test_an_empty_prompt_starts_with_a_line_feed_or_symbol_0() -> None:
    assert sample(model(), "", 20) == sample(model(), "\n", 20) != sample(model(), "a", 20)
    b = Builder()
    x = b.input("x", (), Levels(0, 2))
    machine = b.build(b.embed(x, [[0, 9, 0], [0, 0, 9], [9, 0, 0]]), notes={"symbols": ["c", "b", "a"], "unit": "1/9"})
    assert sample(machine, "", 5) == sample(machine, "c", 5) == "bacba"


def test_nothing_is_nothing() -> None:
    assert sample(model(), "ab", 0) == ""


def test_unknown_characters_are_named() -> None:
    with pytest.raises(InputError, match=r"'ß' \(U\+00DF\), at position 2; leave it out, or use these: 'ab\\né'"):
        stream(model(), "abß", 5)  # before the first character is asked for


@pytest.mark.parametrize("n", [-1, 1.5, True, "3", None])
def test_other_lengths_are_refused(n: Any) -> None:
    with pytest.raises(InputError, match="n: how many characters"):
        stream(model(), "a", n)


# ---------------------------------------------------------------------------------------------------- no text model


@pytest.mark.parametrize(
    ("notes", "error", "says"),
    [
        ({"unit": "16"}, InputError, "no model of text"),
        ({**GOOD, "symbols": "ab\né"}, FileError, "no list of characters"),
        ({**GOOD, "symbols": ["a", "b", "\n", 3]}, FileError, "no list of characters"),
        ({**GOOD, "symbols": ["a", "b", "\n", "ch"]}, FileError, "no list of characters"),
        ({**GOOD, "symbols": ["a", "b", "\n", ""]}, FileError, "no list of characters"),
        ({**GOOD, "symbols": []}, FileError, "lists 0 characters"),
        ({**GOOD, "symbols": [chr(0x20000 + k) for k in range(2**16)]}, FileError, "lists 65536 characters"),
        ({**GOOD, "symbols": ["a", "b", "a", "c"]}, FileError, "'a' more than once"),
        ({**GOOD, "symbols": ["a", "b", "\ud800", "c"]}, FileError, "surrogate"),
        ({**GOOD, "symbols": ["a", "b", "c"]}, InputError, r"input 'x': one symbol of 0..2 is due"),
        ({"symbols": LETTERS}, FileError, "'unit' is no positive fraction"),
        ({**GOOD, "unit": 16}, FileError, "'unit' is no positive fraction"),
        ({**GOOD, "unit": "0"}, FileError, "'unit' is no positive fraction"),
        ({**GOOD, "unit": "-3"}, FileError, "'unit' is no positive fraction"),
        ({**GOOD, "unit": "1/0"}, FileError, "'unit' is no positive fraction"),
        ({**GOOD, "unit": "1e999999999"}, FileError, "'unit' is no positive fraction"),
        ({**GOOD, "unit": "٣"}, FileError, "'unit' is no positive fraction"),
    ],
)
def test_notes_are_not_believed(notes: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        stream(model(notes=notes), "a", 1)


def machines_of_another_kind() -> dict[str, Machine]:
    found = {}
    for name, shape, alphabet in (
        ("input 'x': one symbol", (2,), Levels(0, 3)),
        ("input 'x': one symbol of", (), Levels(1, 4)),
        ("input 'x': one symbol of 0..3", (), Levels(0, 3, 3)),
    ):
        b = Builder()
        b.input("x", shape, alphabet)
        found[name] = b.build(b.constant([1, 2, 3, 4]), notes=GOOD)
    b = Builder()
    b.input("x", (), Levels(0, 3))
    found["one input and one output.*constant_1, constant_2"] = b.build(b.constant([1]), b.constant([2]), notes=GOOD)
    found["output 'constant_1': 4 logits.*shape"] = b.build("constant_1", notes=GOOD)
    b = Builder()
    b.input("x", (), Levels(0, 3))
    found["output 'column': 4 logits.*shape"] = b.build(b.constant([[1], [2], [3], [4]], name="column"), notes=GOOD)
    coded = Builder()
    coded.input("x", (), Levels(0, 3))
    found["output 'codes': 4 logits"] = coded.build(coded.constant([0, 1, 2, 0], Codes(3), name="codes"), notes=GOOD)
    two = Builder()
    two.input("x", (), Levels(0, 3))
    two.input("y", (), Levels(0, 3))
    found["inputs x, y"] = two.build(two.constant([1, 2, 3, 4]), notes=GOOD)
    return found


@pytest.mark.parametrize("says", machines_of_another_kind())
def test_other_machines_are_refused(says: str) -> None:
    with pytest.raises(InputError, match=says):
        stream(machines_of_another_kind()[says], "a", 1)


def test_notes_come_back_from_the_file(tmp_path: Any) -> None:
    from zahlen import load

    model().save(tmp_path / "model.zn")
    assert sample(load(tmp_path / "model.zn"), "é", 25, seed=4) == sample(model(), "é", 25, seed=4)
