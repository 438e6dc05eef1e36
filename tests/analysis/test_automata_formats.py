"""Automata as text, graphs, expressions and pictures: there and back, and as other programs read them."""

import re
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from test_automata import tables, words

from zahlen.analysis import Automaton, LimitError, equivalent, minimise
from zahlen.analysis.automata import (
    VERDICTS,
    as_mealy,
    from_att,
    from_dot,
    from_kiss,
    in_bits,
    load,
    random_automaton,
    relabelled,
    save,
    symbol_table,
    to_att,
    to_dot,
    to_expression,
    to_kiss,
    to_networkx,
    tomita,
)
from zahlen.machine import FileError, InputError, ToolError


def same(a, b):
    """The same arrays, up to the order of the labels."""
    rank = [b.labels.index(name) if name in b.labels else -1 for name in a.labels]
    return (
        a.symbols == b.symbols
        and a.initial == b.initial
        and (a.transitions == b.transitions).all()
        and (np.array(rank)[a.outputs] == b.outputs).all()
    )


@given(tables())
def test_dot_there_and_back(a):
    assert same(a, from_dot(to_dot(a)))


@given(tables(kinds=("Mealy",)))
def test_kiss_there_and_back(a):
    assert same(in_bits(a), from_kiss(to_kiss(in_bits(a))))


@given(tables(kinds=("Mealy", "acceptor")))
def test_att_there_and_back(a):
    assert same(a, from_att(to_att(a)))


def test_names_with_quotes_survive_dot():
    a = relabelled(tomita(2), symbols=['say "so"', "back\\slash"])
    assert same(a, from_dot(to_dot(a)))


@pytest.mark.parametrize("kind", ["acceptor", "Moore", "Mealy"])
def test_aalpy_reads_and_writes_the_same(kind, tmp_path):
    handler = pytest.importorskip("aalpy.utils.FileHandler")
    a = relabelled(minimise(random_automaton(9, 3, kind=kind, seed=3)), symbols="abc")
    path = tmp_path / "a.dot"
    path.write_text(to_dot(a))
    model = handler.load_automaton_from_file(str(path), {"acceptor": "dfa"}.get(kind, kind.lower()))
    for word in words(a.symbols, 4):
        model.reset_to_initial()
        said = [model.step(s) for s in word]
        expected = a.read(word) if kind == "Mealy" else a.read(word)[1:]
        assert [VERDICTS[s] if kind == "acceptor" else str(s) for s in said] == list(expected)
    handler.save_automaton_to_file(model, str(tmp_path / "b"), "dot")
    back = from_dot((tmp_path / "b.dot").read_text())
    assert equivalent(a, back)


def test_dot_as_others_write_it():
    text = """
    digraph g {
      rankdir=LR
      // a comment
      node [shape=circle];
      __start0 [label="" shape="none"];
      off [shape="circle" label="off"];
      on [shape="doublecircle" label="on"];
      off -> on [label="press"];
      on -> off [label="press"];
      __start0 -> off;
    }
    """
    assert from_dot(text).read(["press", "press"]) == ("reject", "accept", "reject")
    mealy = text.replace('label="press"', 'label="press / click"')
    assert from_dot(mealy).read(["press"]) == ("click",)
    assert from_dot(text.replace('on [shape="doublecircle"', "on [")).read(["press"]) == ("reject", "reject")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("digraph", "graph", "digraph NAME"),
        ("__start0 -> s0", "s1 -> s0", "no initial state"),
        ('s0 -> s1 [label="0"]', 's0 -> s1 [label="1"]', "s0 has two edges under 1"),
        ('s1 [label="s1"];', "s1 [label=;", "a state, an edge or an attribute is due"),
        ("__start0 -> s0", "__start0 -> s9", "the initial state s9 is not one of the states"),
    ],
)
def test_what_is_no_dot_is_refused(old, new, message):
    with pytest.raises(FileError, match=message):
        from_dot(to_dot(tomita(1)).replace(old, new))


def test_an_acceptor_is_completed_and_others_are_not():
    text = "0 1 a\n1 0 b\n0\n"
    a = from_att(text)
    assert [w for w in words("ab", 4) if a.accepts(w)] == [
        w for w in words("ab", 4) if re.fullmatch("(ab)*", "".join(w))
    ]
    with pytest.raises(FileError, match="state 1 has no edge under a; what would it say"):
        from_att("0 1 a x\n1 0 b y\n0 1 b x\n0\n1\n")
    moore = to_dot(random_automaton(2, kind="Moore", seed=1))
    with pytest.raises(FileError, match="s0 has no edge under"):
        from_dot("\n".join(line for line in moore.splitlines() if not line.startswith("s0 ->") or '"0"' in line))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 a 0 0.5\n", "line 1: from, to, symbol"),
        ("0 0 <eps>\n0\n", "line 1: <eps> moves"),
        ("0 0 a\n0 0 b x\n0\n", "transitions of one kind"),
        ("0\n", "transitions of one kind"),
        ("0 0 a x\n", "all states of a Mealy machine are final"),
        ("0 0 a\n0 1 a\n0\n", "two edges under a"),
    ],
)
def test_what_is_no_att_text_is_refused(text, message):
    with pytest.raises(FileError, match=message):
        from_att(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".i 1\n.o 1\n", "no transitions"),
        (".i 2\n0 a a 1\n", r"line 2: .i says 2 bits, got 0"),
        ("0 a a -\n1 a a 1", "left open"),
        ("0 a * 1\n1 a a 1", "left open"),
        ("0 a a 1", None),
        ("0 a b 1\n1 a a 1\n0 b b 1", "state b has no edge under 1"),
        ("- a a 1\n0 a a 1", "two edges under 0"),
        ("0 a a\n", "line 1: input bits, state"),
        (".s 3\n- a a 1", ".s says 3 states, there are 1"),
        (".x 3\n", "line 1: .i, .o"),
        ("0 a a 1\n11 a a 1", "input bits of one length"),
        (".r b\n- a a 1", "the initial state b is not one of the states"),
    ],
)
def test_what_is_no_kiss_is_refused(text, message):
    if message is None:
        assert len(from_kiss(text)) == 1
        return
    with pytest.raises(FileError, match=message):
        from_kiss(text)


def test_what_a_format_cannot_say_is_refused():
    with pytest.raises(InputError, match="KISS2 is for Mealy machines"):
        to_kiss(tomita(1))
    with pytest.raises(InputError, match="names are bits of one length, got a, b; see in_bits"):
        to_kiss(relabelled(as_mealy(tomita(1)), symbols=["a", "b"], labels=["0", "1"]))
    with pytest.raises(InputError, match="this is a Moore machine; see as_mealy"):
        to_att(random_automaton(2, kind="Moore"))
    for name in ("", "a b", "<eps>"):
        with pytest.raises(InputError, match="names have no spaces"):
            to_att(relabelled(tomita(1), symbols=[name, "x"]))
    assert symbol_table(("0", "1")).split() == ["<eps>", "0", "0", "1", "1", "2"]


@pytest.mark.parametrize("suffix", ["dot", "gv", "kiss", "kiss2", "att", "fst.txt"])
def test_files(suffix, tmp_path):
    a = in_bits(random_automaton(5, kind="Mealy", seed=2))
    save(a, tmp_path / f"a.{suffix}")
    assert same(a, load(tmp_path / f"a.{suffix}"))
    with pytest.raises(FileError, match="the suffix of an automaton's file is one of"):
        load(tmp_path / "a.txt")
    with pytest.raises(FileError, match=r"none.dot"):
        load(tmp_path / "none.dot")


@settings(max_examples=300)
@given(tables(kinds=("acceptor",), most=5))
def test_an_expression_matches_what_is_accepted(a):
    expression = re.compile(to_expression(a))
    for word in words(a.symbols, 6 if len(a.symbols) < 3 else 5):
        assert bool(expression.fullmatch("".join(word))) == a.accepts(word)


def test_expressions_of_known_languages():
    assert [to_expression(tomita(k)) for k in (1, 2)] == ["1*", "(?:10)*"]
    nothing = Automaton([[0]], [0], 0, ("a",), VERDICTS)
    assert not re.fullmatch(to_expression(nothing), "")
    longer = relabelled(tomita(2), symbols=["[x", "ok"])
    assert re.fullmatch(to_expression(longer), "ok[xok[x")
    special = relabelled(tomita(2), symbols=["*", "."])
    assert re.fullmatch(to_expression(special), ".*.*")
    assert not re.fullmatch(to_expression(special), "aab*")
    with pytest.raises(InputError, match="begins another symbol's name"):
        to_expression(relabelled(tomita(2), symbols=["a", "ab"]))
    with pytest.raises(InputError, match="an acceptor is due"):
        to_expression(as_mealy(tomita(2)))
    with pytest.raises(LimitError, match="longer than 1,000"):
        to_expression(random_automaton(60, seed=1), limit=1000)


@given(tables())
def test_networkx_has_every_transition(a):
    graph = to_networkx(a)
    assert (graph.graph["kind"], graph.graph["initial"]) == (a.kind, a.initial)
    assert graph.number_of_nodes() == len(a)
    assert graph.number_of_edges() == a.transitions.size
    for k, (j, name) in product(range(len(a)), enumerate(a.symbols)):
        edge = graph[k][int(a.transitions[k, j])][name]
        assert edge["symbol"] == name
        if a.kind == "Mealy":
            assert edge["output"] == a.labels[a.outputs[k, j]]
    for k in range(len(a)):
        if a.kind == "acceptor":
            assert graph.nodes[k]["accepting"] == bool(a.outputs[k])
        elif a.kind == "Moore":
            assert graph.nodes[k]["output"] == a.labels[a.outputs[k]]


@pytest.mark.parametrize("kind", ["acceptor", "Moore", "Mealy"])
def test_pictures(kind, tmp_path):
    random_automaton(5, kind=kind, seed=1).draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    random_automaton(12, kind=kind, seed=1).draw(tmp_path / "a.svg")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_a_picture_says_what_it_can_not(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="201 states, at most 200"):
        random_automaton(201).draw(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ToolError, match=r"zahlen\[analysis\]"):
        to_networkx(tomita(1))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ToolError, match=r"zahlen\[plots\]"):
        tomita(1).draw(tmp_path / "a.png")


def test_seeds():
    assert same(random_automaton(50, seed=4), random_automaton(50, seed=4))
    assert not same(random_automaton(50, seed=4), random_automaton(50, seed=5))
    for wrong in ({"kind": "Rabin"}, {"labels": 3}, {"symbols": 0}):
        with pytest.raises(InputError, match="random_automaton"):
            random_automaton(2, **wrong)
    with pytest.raises(InputError, match="the grammars are 1 to 7, got 8"):
        tomita(8)
