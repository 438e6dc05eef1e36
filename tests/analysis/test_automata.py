"""Automata of machines, least ones, comparison: beside their definitions, word by word."""

import random
import subprocess
import sys
from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_machines import automata, elements, random_machines, shift_registers

import zahlen.analysis
from zahlen.analysis import Automaton, LimitError, Reading, automaton, equivalent, minimise
from zahlen.analysis.automata import (
    VERDICTS,
    as_mealy,
    as_moore,
    minimal,
    random_automaton,
    reachable,
    relabelled,
    to_machine,
    tomita,
)
from zahlen.kernels import native
from zahlen.machine import Builder, InputError, Levels


def names(labels):
    return tuple(f"out{k}" for k in range(labels))


@st.composite
def tables(draw, kinds=("acceptor", "Moore", "Mealy"), most=8, symbols=None):
    kind, n = draw(st.sampled_from(kinds)), draw(st.integers(1, most))
    k = symbols or draw(st.integers(1, 3))
    labels = 2 if kind == "acceptor" else draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outputs = rng.integers(0, labels, (n, k) if kind == "Mealy" else n)
    verbal = VERDICTS if kind == "acceptor" else names(labels)
    return Automaton(rng.integers(0, n, (n, k)), outputs, draw(st.integers(0, n - 1)), tuple("abc"[:k]), verbal)


def classes(a):
    """States told apart by some word, by refining round by round; one number each."""
    said = [tuple(np.ravel(a.outputs[s])) for s in range(len(a))]
    while True:
        finer = [(said[s], tuple(said[t] for t in a.transitions[s])) for s in range(len(a))]
        number = {key: k for k, key in enumerate(dict.fromkeys(finer))}
        finer = [number[key] for key in finer]
        if len(set(finer)) == len(set(said)):
            return finer
        said = finer


def words(symbols, most):
    return [w for n in range(most + 1) for w in product(symbols, repeat=n)]


@settings(max_examples=200)
@given(tables())
def test_the_least_automaton_is_the_definition_s(a):
    least = minimise(a)
    met = {a.walk(w)[-1] for w in words(a.symbols, len(a) - 1 if len(a.symbols) < 3 else min(len(a) - 1, 6))}
    number = classes(a)
    if len(a.symbols) < 3 or len(a) < 8:
        assert len(least) == len({number[s] for s in met})
    for word in words(a.symbols, 5):
        assert least.read(word) == a.read(word)
    assert (least.initial, least.symbols, least.labels, least.kind) == (0, a.symbols, a.labels, a.kind)
    # in breadth-first order each state comes before those that it leads to first
    new = 0
    for row in least.transitions.tolist():
        for s in row:
            assert s <= new + 1
            new = max(new, s)
    assert len(set(classes(least))) == len(least)


@settings(max_examples=150)
@given(tables(most=30))
@pytest.mark.skipif(native is None, reason="no kernels were built")
def test_kernels_and_python_return_the_same(a):
    compiled = minimise(a)
    kept, minimal.kernels = minimal.kernels, None
    try:
        python = minimise(a)
    finally:
        minimal.kernels = kept
    for one, two in ((compiled.transitions, python.transitions), (compiled.outputs, python.outputs)):
        assert one.dtype == two.dtype
        assert (one == two).all()


@pytest.mark.parametrize("kernels", [minimal.kernels, None])
def test_a_long_chain_takes_as_many_splits_as_states(kernels, monkeypatch):
    monkeypatch.setattr(minimal, "kernels", kernels)
    n = 20_000
    chain = Automaton(np.minimum(np.arange(n) + 1, n - 1)[:, None], np.arange(n) == n - 1, 0, ("a",), VERDICTS)
    assert len(minimise(chain)) == n
    assert len(minimise(Automaton((np.arange(n)[:, None] + 1) % n, np.arange(n) % 4 == 1, 0, ("a",), VERDICTS))) == 4


def test_without_kernels_nothing_is_missing():
    code = (
        "from zahlen.analysis.automata import minimal, tomita, minimise; "
        "assert minimal.kernels is None; print(len(minimise(tomita(3))))"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"ZAHLEN_ISA": "python"}, capture_output=True, text=True)
    assert done.stdout == "5\n", done.stderr


@pytest.mark.skipif(native is None, reason="no kernels were built")
def test_the_kernels_check_what_they_get():
    table, two = np.array([[0, 1], [1, 0]], dtype=np.int32), np.zeros(2, dtype=np.int32)
    kernels = minimal.kernels
    with pytest.raises(TypeError, match="4 bytes"):
        kernels.refine(table.astype(np.int64), two, 1)
    for wrong in (table + 1, table - 1):
        with pytest.raises(ValueError, match="not a table"):
            kernels.refine(wrong, two, 1)
        with pytest.raises(ValueError, match="not a table"):
            kernels.reach(wrong, two, two.copy(), 0)
    for labels, count in ((two + 1, 1), (two - 1, 1), (two, 0), (two, 3), (two[:0], 1)):
        with pytest.raises(ValueError, match="not a table"):
            kernels.refine(table, labels, count)
    for initial in (-1, 2):
        with pytest.raises(ValueError, match="not a table"):
            kernels.reach(table, two, two.copy(), initial)
    with pytest.raises(ValueError, match="not a table"):
        kernels.reach(table, two, two[:1].copy(), 0)
    two.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        kernels.refine(table, two, 1)


@settings(max_examples=100)
@given(st.one_of(automata(), shift_registers(), random_machines()), st.data())
def test_the_automaton_says_what_the_machine_says(machine, data):
    letters = elements(machine, machine.inputs)
    chosen = data.draw(st.lists(st.sampled_from(range(len(letters))), min_size=1, max_size=3, unique=True))
    start = data.draw(st.sampled_from([None, *elements(machine, machine.registers)]))
    batch = {n: np.concatenate([letters[k][n] for k in chosen]) for n in machine.inputs}
    a = automaton(machine, batch if machine.inputs else None, start)
    assert a.kind == "Mealy"
    assert len(a.symbols) == (len(chosen) if machine.inputs else 1)
    for length in (1, 4):
        picked = [data.draw(st.integers(0, len(a.symbols) - 1)) for _ in range(length)]
        state = machine.initial_state() if start is None else start
        said = []
        for k in picked:
            state, output = machine.step(state, letters[chosen[k]] if machine.inputs else {})
            values = [output[n] for n in machine.outputs] if isinstance(output, dict) else [output]
            said.append(",".join(str(v) for part in values for v in np.ravel(part)))
        assert a.read([a.symbols[k] for k in picked]) == tuple(said)


@settings(max_examples=50)
@given(tables(), st.booleans())
def test_a_machine_of_an_automaton_is_that_automaton(a, least):
    machine = to_machine(a)
    found = automaton(machine, least=least)
    expected = a if a.outputs.ndim == 2 else as_mealy(a)
    for word in words(range(len(a.symbols)), 4):
        said = tuple(str(expected.labels.index(s)) for s in expected.read([a.symbols[k] for k in word]))
        assert found.read([str(k) for k in word]) == said
        assert Reading(machine).read([str(k) for k in word]) == said


@settings(max_examples=30)
@given(tables(kinds=("acceptor", "Moore"), most=6))
def test_what_ends_a_word_gives_its_label(a):
    """A machine that says its state when it reads the end, and otherwise nothing."""
    b = Builder()
    x, state = b.input("x", (1,), Levels(0, len(a.symbols))), b.register("s", (1,), Levels(0, len(a) - 1), a.initial)
    table = np.column_stack([a.transitions, np.zeros(len(a), dtype=int)])
    b.connect(state, b.lookup(state, x, table=table))
    said = np.column_stack([np.zeros_like(a.transitions), a.outputs])
    machine = b.build(b.lookup(state, x, table=said))
    reading = Reading(machine, end=[[len(a.symbols)]])
    found = automaton(reading)
    assert found.kind == "Moore"
    for word in words(range(len(a.symbols)), 3):
        expected = tuple(str(a.labels.index(s)) for s in a.read([a.symbols[k] for k in word]))
        assert found.read([str(k) for k in word]) == reading.read([str(k) for k in word]) == expected
    judged = automaton(machine, observe=lambda y: y[:, 0] == 1, end=[[len(a.symbols)]])
    assert judged.kind == "acceptor"
    assert all(
        judged.accepts([str(k) for k in w]) == (a.read([a.symbols[k] for k in w])[-1] == a.labels[-1])
        for w in words(range(len(a.symbols)), 3)
        if len(a.labels) == 2
    )


@settings(max_examples=300)
@given(st.data())
def test_the_shortest_difference_is_that_of_all_words(data):
    kind = data.draw(st.sampled_from(["acceptor", "Moore", "Mealy"]))
    a, b = (data.draw(tables((kind,), 4, 2)) for _ in range(2))
    if data.draw(st.booleans()):  # nearly the same
        outputs = a.outputs.copy()
        place = data.draw(st.integers(0, outputs.size - 1))
        outputs.flat[place] = (outputs.flat[place] + 1) % len(a.labels)
        b = minimise(Automaton(a.transitions, outputs, a.initial, a.symbols, a.labels))
    found = equivalent(a, b)
    # Moore: fewer letters than states of both together tell them apart
    differing = [w for w in words("ab", len(a) + len(b)) if a.read(w) != b.read(w)]
    assert bool(found) is found.equal is (not differing)
    if differing:
        assert len(found.word) == len(differing[0])
        assert found.said == (a.read(found.word)[-1], b.read(found.word)[-1])
        assert found.said[0] != found.said[1]
        assert found.replay(a, b)
        assert "different" in str(found)
    else:
        assert found.states == (len(minimise(a)), len(minimise(b)))
        assert found.states[0] == found.states[1]
        with pytest.raises(InputError, match="the two are equal"):
            found.replay(a, b)


def test_links_of_a_chain_keep_the_shortest_word():
    """Many pairs are left out by transitivity; a difference far away is still found by a shortest word."""
    rng = random.Random(0)
    for _ in range(60):
        n = rng.randint(5, 40)
        table = np.array([[rng.randrange(n), rng.randrange(n)] for _ in range(n)])
        verdicts = np.array([rng.random() < 0.1 for _ in range(n)])
        other = verdicts.copy()
        other[rng.randrange(n)] ^= True
        a, b = (Automaton(table, v, 0, ("0", "1"), VERDICTS) for v in (verdicts, other))
        # all pairs, breadth first
        front, seen, length = {(0, 0)}, set(), 0
        while front and not any(verdicts[p] != other[q] for p, q in front):
            seen |= front
            front = {(table[p][k], table[q][k]) for p, q in front for k in (0, 1)} - seen
            length += 1
        assert equivalent(a, b).word is None if not front else len(equivalent(a, b).word) == length


def test_machines_are_compared_and_replayed_on_themselves():
    def counting(modulus, broken=None):
        b = Builder()
        x, n = b.input("x", (1,), Levels(0, 1)), b.register("n", (1,), Levels(0, 11))
        table = [[k, (k + 1) % 12] for k in range(12)]
        b.connect(n, b.lookup(n, x, table=table))
        said = [int(k % modulus == 0) for k in range(12)]
        if broken is not None:
            said[broken] ^= 1
        return b.build(b.lookup(n, said))

    assert equivalent(counting(3), counting(3)).states == (3, 3)
    found = equivalent(counting(3), counting(3, broken=7))
    assert found.word[:-1].count("1") == 7
    assert len(found.word) == 8
    assert found.replay(counting(3), counting(3, broken=7))
    assert not found.replay(counting(3), counting(3))
    assert not found.replay(counting(3, broken=7), counting(3))
    seven = Reading(counting(3), observe=lambda y: y[:, 0] == 1)
    assert equivalent(seven, Reading(counting(3), observe=lambda y: y[:, 0] > 0))
    assert not equivalent(seven, Reading(counting(3), initial={"n": [[1]]}, observe=lambda y: y[:, 0] > 0))


def test_symbols_are_matched_by_their_names():
    a = tomita(1)
    swapped = Automaton(a.transitions[:, ::-1], a.outputs, a.initial, ("1", "0"), a.labels)
    assert equivalent(a, swapped)
    assert equivalent(relabelled(a, labels=["x", "y"]), a).said == ("y", "accept")
    with pytest.raises(InputError, match="one reads 0, 1, the other a, b"):
        equivalent(a, relabelled(a, symbols=["a", "b"]))
    with pytest.raises(InputError, match="one is a acceptor, the other a Mealy"):
        equivalent(a, as_mealy(a))
    with pytest.raises(InputError, match="2 names are due"):
        relabelled(a, symbols=["a"])


def runs(word):
    return [(c, len(list(group))) for c, group in groupby(word)]


def grammatical(number, word):
    """Tomita's grammars, as they are written down."""
    text = "".join(word)
    zeros, ones = text.count("0"), text.count("1")
    blocks = runs(text)
    odd = any(a == "1" and m % 2 and n % 2 for (a, m), (_, n) in pairwise(blocks))
    return {
        1: zeros == 0,
        2: text == "10" * (len(text) // 2),
        3: not odd,
        4: "000" not in text,
        5: zeros % 2 == ones % 2 == 0,
        6: (zeros - ones) % 3 == 0,
        7: [c for c, _ in blocks] in ([], ["0"], ["1"], ["0", "1"], ["1", "0"], ["0", "1", "0"], ["1", "0", "1"],
                                      ["0", "1", "0", "1"]),
    }[number]  # fmt: skip


@pytest.mark.parametrize("number", range(1, 8))
def test_tomita_s_grammars(number):
    a = tomita(number)
    assert all(a.accepts(w) == grammatical(number, w) for w in words("01", 10))
    assert len(minimise(a)) == len(a)


@given(tables(kinds=("Mealy",)))
def test_mealy_to_moore_and_back(a):
    moore = as_moore(a, "first")
    for word in words(a.symbols, 4):
        assert moore.read(word) == ("first", *a.read(word))
        assert as_mealy(moore).read(word) == a.read(word)
    assert len(as_moore(a, a.labels[0]).labels) == len(a.labels)
    assert len(reachable(moore)) <= len(a) * len(a.labels) + 1
    with pytest.raises(InputError, match="as_moore: a Mealy machine is due"):
        as_moore(moore, "x")
    with pytest.raises(InputError, match="as_mealy: this is a Mealy"):
        as_mealy(a)


def test_a_machine_without_registers_has_one_state():
    b = Builder()
    x, y = b.input("x", (1,), Levels(0, 2)), b.input("y", (2,), Levels(0, 1))
    a = automaton(b.build(b.add(x, b.slice(y, [0], [1]))))
    assert len(a) == 1
    assert a.read(["2,1,0", "0,0,1"]) == ("3", "0")
    assert len(a.symbols) == 12


def wide(bits=40):
    """A shift register of more bits than an integer of 32."""
    b = Builder()
    x, line = b.input("x", (1,), Levels(0, 1)), b.register("line", (bits,), Levels(0, 1))
    b.connect(line, b.concat(x, b.slice(line, [0], [bits - 1])))
    return b.build(b.slice(line, [2], [3]))


def test_limits_are_kept():
    with pytest.raises(LimitError, match="more than 1,000 states; raise limit"):
        automaton(wide(), limit=1000)
    assert len(automaton(wide(6), limit=64)) == 8
    with pytest.raises(LimitError, match="more than 63 states"):
        automaton(wide(6), limit=63)
    b = Builder()
    x = b.input("x", (17,), Levels(0, 1))
    with pytest.raises(LimitError, match="more than 65,536 symbols; choose with inputs="):
        automaton(b.build(x))
    assert len(automaton(b.build(x), np.eye(17, dtype=int)).symbols) == 17


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit is a positive integer"),
        ({"limit": True}, "limit is a positive integer"),
        ({"inputs": [[2]]}, "values are 2..2"),
        ({"initial": {"r": [[0]]}}, "another machine"),
        ({"end": [[0], [1]]}, "end is one input symbol"),
        ({"end": [[1]], "inputs": [[1]]}, "1 to 65,536 input symbols are due, got 0"),
        ({"observe": lambda y: y[:, 0] / 2}, "observe returns an integer or bool"),
        ({"observe": lambda y: True}, "observe returns an integer or bool"),
    ],
)
def test_what_is_no_question_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        automaton(wide(4), **options)


def test_a_reading_stands_alone():
    with pytest.raises(InputError, match="by itself"):
        automaton(Reading(wide(4)), [[0]])
    with pytest.raises(InputError, match="symbols are 0, 1, got '2'"):
        Reading(wide(4)).read(["2"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([[0]], [0], 0, (), ("x",)), "symbols are strings that differ"),
        (([[0]], [0], 0, ("a",), ("x", "x")), "labels are strings that differ"),
        (([[0]], [0], 0, (1,), ("x",)), "symbols are strings"),
        (([[0, 0]], [0], 0, ("a",), ("x",)), "a column for each symbol"),
        (([[0]], [0, 0], 0, ("a",), ("x",)), "outputs are"),
        (([[1]], [0], 0, ("a",), ("x",)), "states are 0..0, got 1..1"),
        (([[0]], [1], 0, ("a",), ("x",)), "labels are 0..0"),
        (([[0]], [0], 1, ("a",), ("x",)), "initial state is one of 0..0"),
        (([[0.0]], [0], 0, ("a",), ("x",)), "integers of 32 bits"),
        (([[2**32]], [0], 0, ("a",), ("x",)), "integers of 32 bits"),
    ],
)
def test_what_is_no_automaton_is_refused(parts, message):
    with pytest.raises(InputError, match=message):
        Automaton(*parts)


def test_an_automaton_is_not_changed():
    table = np.array([[1], [0]], dtype=np.int32)
    a = Automaton(table, [0, 1], 0, ("a",), VERDICTS)
    table[0, 0] = 0
    assert a.transitions[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        a.transitions[0, 0] = 0
    with pytest.raises(InputError, match="the symbols are a, got 'b'"):
        a.walk("b")
    with pytest.raises(InputError, match="accepts: this is a Mealy"):
        as_mealy(a).accepts("a")
    assert repr(random_automaton(100, kind="Moore")) == "<Automaton: Moore of 100 states, 2 symbols, 2 outputs>"
    assert zahlen.analysis.minimise is minimise
