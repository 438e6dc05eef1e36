from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_machines import automata, elements, key, random_machines, shift_registers, transitions

import zahlen
from zahlen.analysis import Witness, memory
from zahlen.machine import Builder, InputError, Levels


def reached(machine, follow):
    """States that some word leads to, by their definition."""
    found, new = set(), {key(machine, machine.initial_state())}
    while new:
        found |= new
        new = {after for state in new for after in follow[state]} - found
    return found


def least_length(states, follow):
    """Least T such that any two states are one after any T symbols; None if there is none."""
    pairs = set(combinations(sorted(states), 2))
    most = len(pairs)
    for length in range(most + 1):
        if not pairs:
            return length
        pairs = {tuple(sorted(p)) for a, b in pairs for p in zip(follow[a], follow[b]) if p[0] != p[1]}
    return None


SMALL = st.one_of(automata(), automata(inputs=False), shift_registers(), random_machines())


@settings(max_examples=200)
@given(SMALL, st.sampled_from(["reachable", "all"]))
def test_memory_is_what_going_through_all_words_says(machine, scope):
    symbols = elements(machine, machine.inputs)
    follow = transitions(machine, symbols)
    states = reached(machine, follow) if scope == "reachable" else set(follow)
    found = memory(machine, scope=scope)
    expected = least_length(states, follow)
    assert (found.length, found.finite) == (expected, expected is not None)
    assert (found.states, found.symbols, found.scope) == (len(states), len(symbols), scope)
    assert found.undecided == ""
    if found.path is not None:
        assert found.finite
        assert found.length <= found.path
    if found.finite:
        assert found.witness is None
        assert f"finite: after {expected} steps" in str(found)
    else:
        check_witness(machine, found.witness, states, scope)
        kept = (set(p) == {a, b} for a, b in combinations(states, 2) for p in zip(follow[a], follow[b]))
        assert (len(found.witness.loop) == 1) == any(kept)
        assert str(found).startswith("infinite: ")


def check_witness(machine, witness, states, scope):
    """The witness by its definition, without its own replay."""
    first, second = (key(machine, state) for state in witness.states)
    assert first != second
    assert {first, second} <= states
    assert (witness.words is not None) == (scope == "reachable")
    for word, end in zip(witness.words or (), (first, second)):
        state = machine.initial_state()
        for x in word:
            state, _ = machine.step(state, x)
        assert key(machine, state) == end
    pair = list(witness.states)
    for _ in range(2):
        assert len(witness.loop) > 0
        for x in witness.loop:
            assert key(machine, pair[0]) != key(machine, pair[1])
            pair = [machine.step(state, x)[0] for state in pair]
        assert {key(machine, state) for state in pair} == {first, second}
    assert witness.replay(machine)


@given(automata(), st.data())
def test_memory_under_some_inputs(machine, data):
    every = elements(machine, machine.inputs)
    chosen = data.draw(st.lists(st.sampled_from(range(len(every))), min_size=1, max_size=4))
    follow = transitions(machine, [every[k] for k in chosen])
    found = memory(machine, inputs=[every[k]["x"][0].tolist() for k in chosen])
    assert found.length == least_length(reached(machine, follow), follow)
    assert found.symbols == len(set(chosen))


@given(shift_registers())
def test_the_path_is_that_of_the_registers(machine):
    """The longest chain of registers by following each one's successor back."""
    lengths = []
    for start in machine.registers:
        chain = [start]
        while True:
            (before,) = machine.wires[machine.successors[chain[-1]]].operands
            if before not in machine.registers or len(chain) > len(machine.registers):
                break
            chain.append(before)
        lengths.append(len(chain))
    assert memory(machine).path == (max(lengths) if max(lengths) <= len(machine.registers) else None)


def delay(length, values=2):
    b = Builder()
    x = b.input("x", (1,), Levels(0, values - 1))
    for k in range(length):
        r = b.register(f"r{k}", (1,), Levels(0, values - 1))
        b.connect(r, x)
        x = r
    return b.build(x)


def parity(size=1):
    b = Builder()
    x = b.input("x", (size,), Levels(0, 1))
    r = b.register("r", (size,), Levels(0, 1))
    b.connect(r, b.lookup(r, x, table=[[0, 1], [1, 0]]))
    return b.build(r)


def test_a_delay_line_forgets_after_its_length():
    found = memory(delay(3))
    assert (found.finite, found.length, found.path, found.states, found.symbols) == (True, 3, 3, 8, 2)


def test_a_latch_is_held_by_one_input_only():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 2))
    r = b.register("r", (1,), Levels(0, 1))
    b.connect(r, b.lookup(x, r, table=[[0, 0], [1, 1], [0, 1]]))
    machine = b.build(r)
    found = memory(machine)
    assert not found.finite
    assert [x["x"].tolist() for x in found.witness.loop] == [[[2]]]
    assert memory(machine, inputs=[[0], [1]]).length == 1
    assert memory(machine, inputs=[[2]]).length == 0
    assert memory(machine, inputs=[[2]], scope="all").finite is False


def test_two_states_that_change_places_stay_apart():
    b = Builder()
    n = b.register("n", (1,), Levels(0, 2), 0)
    b.connect(n, b.lookup(n, [1, 2, 1]))
    found = memory(b.build(n))
    assert [state["n"].item() for state in found.witness.states] == [1, 2]
    assert [len(word) for word in found.witness.words] == [1, 2]
    assert len(found.witness.loop) == 1
    assert str(found).splitlines()[-3:] == [
        "  n=[1] and n=[2] stay apart under 1 step, repeated",
        "  n=[1] is reached by 1 step",
        "  n=[2] is reached by 2 steps",
    ]


def test_a_word_in_its_order():
    """State k goes on under symbol k alone, in a ring of three; under the others it ends in state 3."""
    b = Builder()
    x, state = b.input("x", (1,), Levels(0, 2)), b.register("state", (1,), Levels(0, 3))
    b.connect(state, b.lookup(x, state, table=[[1, 3, 3, 3], [3, 2, 3, 3], [3, 3, 0, 3]]))
    found = memory(b.build(state))
    loop = [x["x"].item() for x in found.witness.loop]
    assert loop in ([0, 1, 2], [1, 2, 0], [2, 0, 1])
    assert memory(b.build(state), inputs=[[0], [1]]).length == 3


def test_a_false_witness_is_not_confirmed():
    machine = parity()
    good = memory(machine).witness
    zero, one = good.states
    x, y = ({"x": np.array([[v]])} for v in (0, 1))
    assert Witness((zero, one), ((), (y,)), (x,)).replay(machine)
    assert Witness((zero, one), None, (y,)).replay(machine)
    for wrong in (
        Witness((zero, zero), ((), ()), (x,)),
        Witness((zero, one), ((), (x,)), (x,)),
        Witness((zero, one), ((y,), (y,)), (x,)),
        Witness((zero, one), None, ()),
    ):
        assert not wrong.replay(machine)
    line = delay(2)
    states = ({"r0": [[0]], "r1": [[0]]}, {"r0": [[0]], "r1": [[1]]})
    states = tuple({n: np.array(v) for n, v in state.items()} for state in states)
    assert not Witness(states, None, (x,)).replay(line)
    assert not Witness(states, None, (x, x)).replay(line)


def test_a_machine_without_registers_has_no_memory():
    b = Builder()
    found = memory(b.build(b.neg(b.input("x", (100,), Levels(0, 255)))))
    assert (found.finite, found.length, found.path, found.undecided) == (True, 0, 0, "")


def test_what_is_too_large_is_said_with_its_numbers():
    found = memory(parity(4), limit=100)
    assert (found.finite, found.length, found.path, found.states) == (None, None, None, None)
    assert found.undecided == (
        "there are more than 4 reachable states (at most 16), whose pairs, times 16 input symbols, exceed the limit of "
        "100"
    )
    assert str(found).startswith("not decided: there are more than 4 reachable")
    # 16 states have 120 pairs, which times 16 symbols is 1920
    assert memory(parity(4), limit=1920).finite is False
    assert memory(parity(4), limit=1919).finite is None
    assert memory(parity(4), limit=1919, scope="all").undecided.startswith("there are more than 15 all states")
    wide = memory(parity(100))
    assert wide.undecided == ("the input alphabet has about 10^30 symbols, more than 65,536; choose some with inputs=")
    assert memory(parity(4), limit=15).undecided.startswith("the input alphabet has 16 symbols, more than 15;")
    assert "there are 3 input symbols" in memory(parity(4), inputs=np.eye(4, dtype=int)[:3], limit=2).undecided


def test_the_graph_answers_where_the_states_are_too_many():
    found = memory(delay(5, values=256))
    assert (found.finite, found.length, found.path) == (True, None, 5)
    assert str(found).splitlines()[0] == "finite: after 5 steps, or fewer, the initial state cannot matter"
    assert "the least number was not found: there are more than" in str(found)
    assert memory(delay(5, values=256), inputs=[[0], [255]]).length == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "some"}, "scope is reachable or all, got 'some'"),
        ({"limit": 0}, "limit is a positive integer, got 0"),
        ({"limit": True}, "limit is a positive integer"),
        ({"inputs": [[2]]}, "x: values are 2..2"),
        ({"inputs": np.zeros((0, 1), dtype=int)}, "at least one input symbol"),
    ],
)
def test_what_is_no_question_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        memory(parity(), **options)


def test_there_is_nothing_to_choose_without_inputs():
    b = Builder()
    n = b.register("n", (1,), Levels(0, 1))
    b.connect(n, n)
    with pytest.raises(InputError, match="has no inputs"):
        memory(b.build(n), inputs=[[0]])


def test_many_states_in_a_batch(monkeypatch):
    from zahlen.analysis import states

    expected = memory(delay(6))
    monkeypatch.setattr(states, "MAX_BATCH", 1)
    found = memory(delay(6))
    assert (found.length, found.states) == (expected.length, expected.states) == (6, 64)
    assert zahlen.analysis.memory is memory
