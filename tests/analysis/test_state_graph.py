import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_machines import automata, elements, key, random_machines, shift_registers

from zahlen.analysis import LimitError, additive, attractors, state_graph, successors
from zahlen.analysis.states import number_of
from zahlen.kernels import native
from zahlen.machine import Builder, InputError, Levels

FORMS = [True, False] if native is not None else [False]


def definition(machine, steps):
    """For each state, in the order of `elements`: its successor, then attractor (as a set of states) and transient."""
    follow = {}
    for state in elements(machine, machine.registers):
        after = state
        for x in steps:
            after, _ = machine.step(after, x, executor="reference")
        follow[key(machine, state)] = key(machine, after)
    ends = {}
    for start in follow:
        way, at = [], start
        while at not in way:
            way.append(at)
            at = follow[at]
        ends[start] = frozenset(way[way.index(at) :]), way.index(at)
    return follow, ends


def check(machine, x, steps, found):
    follow, ends = definition(machine, steps)
    keys = list(follow)
    numbers = np.arange(found.states)
    assert found.states == len(keys)
    states = found.state(numbers)
    assert [key(machine, {n: v[k] for n, v in states.items()}) for k in numbers] == keys
    assert (found.number(states) == numbers).all()
    assert [keys[k] for k in found.successor(numbers)] == list(follow.values())
    assert found.transient_of(numbers).tolist() == [transient for _, transient in ends.values()]
    assert found.transients.tolist() == np.bincount([t for _, t in ends.values()]).tolist()
    cycles = []
    for k in range(found.attractors):
        cycle = found.cycle(k)
        assert len(next(iter(cycle.values()))) == found.periods[k]
        taken = [key(machine, {n: v[i] for n, v in cycle.items()}) for i in range(found.periods[k])]
        cycles.append(frozenset(taken[:: len(steps)]))
        assert keys.index(taken[0]) == min(map(keys.index, cycles[-1]))
        assert len(cycles[-1]) * len(steps) == found.periods[k]
        for i, one in enumerate(taken):  # every edge within the period, too
            state = {n: v[i : i + 1] for n, v in cycle.items()}
            assert key(machine, machine.step(state, steps[i % len(steps)])[0]) == taken[(i + 1) % len(taken)]
            assert i % len(steps) or one in follow
    assert [cycles[k] for k in found.attractor_of(numbers)] == [cycle for cycle, _ in ends.values()]
    assert found.basins.tolist() == [sum(cycle == c for cycle, _ in ends.values()) for c in cycles]
    order = [(-basin, keys.index(min(c, key=keys.index))) for basin, c in zip(found.basins, cycles)]
    assert order == sorted(order)
    gardens = [k not in follow.values() for k in keys]
    assert found.is_garden(numbers).tolist() == gardens
    assert (found.gardens, found.longest_transient) == (sum(gardens), max(t for _, t in ends.values()))


@pytest.mark.parametrize("kernels", FORMS)
@settings(max_examples=150)
@given(st.one_of(automata(), automata(inputs=False), shift_registers(), random_machines()), st.data())
def test_a_state_graph_is_what_following_every_state_says(kernels, machine, data):
    symbols = elements(machine, machine.inputs)
    steps = data.draw(st.lists(st.sampled_from(symbols), min_size=1, max_size=3))
    given_steps = steps if machine.inputs else [None] * len(steps)
    x = given_steps[0] if len(steps) == 1 and data.draw(st.booleans()) else given_steps
    check(machine, x, steps, state_graph(machine, x, kernels=kernels))


def threshold_network(units, values, seed, levels=7):
    """Units that read all of them; values of each one in any order."""
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.register("h", (units,), Levels(-3, 2 * values - 5, 2))
    x = b.input("x", (2,), Levels(0, 3))
    z = b.affine(b.concat(x, h), rng.integers(-levels, levels + 1, (units, units + 2)), rng.integers(-2, 3, units))
    rows = np.stack([rng.permutation(np.arange(-3, 2 * values - 4, 2)) for _ in range(units)])
    b.connect(h, b.staircase(z, np.sort(rng.integers(-9, 10, (units, values - 1)), axis=1), rows))
    return b.build(h)


def boolean_network(units, seed):
    """Every element a table of two others."""
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.register("h", (units,), Levels(0, 1))
    parts = []
    for _ in range(units):
        i, j = (int(k) for k in rng.choice(units, 2, replace=False))
        one, other = b.slice(h, [i], [i + 1]), b.slice(h, [j], [j + 1])
        parts.append(b.lookup(one, other, table=rng.integers(0, 2, (2, 2))))
    b.connect(h, b.concat(*parts))
    return b.build(h)


def multiplied(units):
    """No sum of functions of single elements."""
    b = Builder()
    h = b.register("h", (units,), Levels(0, 2))
    z = b.affine(h, np.tri(units, dtype=int) + np.eye(units, dtype=int)[::-1], name="z")
    b.connect(h, b.lookup(b.mul(z, z), [(k * k) % 3 for k in range(4 * (units + 1) ** 2 + 1)]))
    return b.build(h)


def layered(units, seed):
    """A staircase of an affine map of a staircase of an affine map."""
    rng = np.random.default_rng(seed)
    b = Builder()
    h = b.register("h", (units,), Levels(0, 1))
    z = h
    for _ in range(2):
        z = b.staircase(b.affine(z, rng.integers(-3, 4, (units, units))), [0], [0, 1])
    b.connect(h, z)
    return b.build(h)


MACHINES = {
    "threshold": (threshold_network(13, 2, 0), True),
    "staircase": (threshold_network(7, 4, 1), True),
    "boolean": (boolean_network(14, 2), True),
    "squares": (multiplied(8), True),
    "layers": (layered(12, 3), False),
}


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("name", MACHINES)
def test_successors_are_those_of_the_machine(name, kernels):
    """All of them, whichever way they are found."""
    machine, fast = MACHINES[name]
    x = {n: np.ones((1, *machine.wires[n].shape), dtype=np.int64) for n in machine.inputs}
    assert (additive.additive(machine, x) is not None) == fast
    states = number_of(machine, machine.registers)
    every = np.arange(states)
    expected = successors.followers(machine, x, every)
    out, done = np.empty(states, dtype=np.int32), []
    successors.successors(machine, x, out, done.append, kernels=kernels)
    assert (out == expected).all()
    assert sum(done) == states


@pytest.mark.parametrize("kernels", FORMS)
@settings(max_examples=60)
@given(st.data())
def test_any_map(kernels, data):
    """Maps with long transients, many attractors, or both; and so little room that it must grow."""
    n = data.draw(st.sampled_from([1, 2, 63, 64, 65, 300]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shape = data.draw(st.sampled_from(["any", "path", "permutation", "down"]))
    table = {
        "any": rng.integers(0, n, n),
        "path": rng.permutation(n)[np.minimum(np.argsort(rng.permutation(n)) + 1, n - 1)],
        "permutation": rng.permutation(n),
        "down": np.array([rng.integers(max(k - 3, 0), k) if k else 0 for k in range(n)]),
    }[shape].astype(np.int32)
    found = attractors.attractors_of(table.copy(), 1 << 20, lambda states: None, kernels=kernels)
    for state in range(n):
        way, at = [], state
        while at not in way:
            way.append(at)
            at = table[at]
        cycle = way[way.index(at) :]
        attractor = found.attractor[found.classes[state]]
        assert found.transient[found.classes[state]] == way.index(at)
        assert (found.least[attractor], found.periods[attractor]) == (min(cycle), len(cycle))
        assert bool(found.image[state // 64] >> np.uint64(state % 64) & np.uint64(1)) == (state in table)
    assert found.sizes.tolist() == np.bincount(found.classes, minlength=len(found.sizes)).tolist()
    assert len(set(found.least.tolist())) == len(found.least)


def counter(top, back=0):
    """0, 1, .., top, then from `back` again."""
    b = Builder()
    n = b.register("n", (1,), Levels(0, top))
    b.connect(n, b.lookup(n, [*range(1, top + 1), back]))
    return b.build(n)


@pytest.mark.parametrize("kernels", FORMS)
def test_room_for_classes_grows_up_to_the_limit(kernels):
    """5,000 states in a row, all of them of different transients."""
    machine = counter(4999, 4999)
    found = state_graph(machine, kernels=kernels)
    assert (found.attractors, found.longest_transient, found.gardens) == (1, 4999, 1)
    assert (found.transients == 1).all()
    due = 5000 * 4 + 5000 // 8
    assert state_graph(machine, memory=due + 20 * 5000, kernels=kernels).longest_transient == 4999
    with pytest.raises(LimitError, match="take more than 99,980 bytes beside the states; raise memory"):
        state_graph(machine, memory=due + 20 * 4999, kernels=kernels)


@pytest.mark.parametrize("kernels", FORMS)
def test_many_attractors(kernels):
    b = Builder()
    h = b.register("h", (10,), Levels(0, 1))
    b.connect(h, h)
    found = state_graph(b.build(h), kernels=kernels)
    assert (found.attractors, found.gardens, found.longest_transient) == (1024, 0, 0)
    assert found.found.least.tolist() == list(range(1024))


def test_what_it_takes_is_compared_with_the_limit_beforehand():
    machine = counter(99)
    with pytest.raises(LimitError, match=r"100 states take 412 bytes, more than memory=412"):
        state_graph(machine, memory=412)
    with pytest.raises(LimitError, match=r"100 states take 812 bytes"):
        state_graph(machine, [None, None], memory=812)
    b = Builder()
    h = b.register("h", (29,), Levels(0, 1))
    b.connect(h, h)
    with pytest.raises(LimitError, match=r"536,870,912 states, more than 2\^28 = 268,435,456; ask fixed_points"):
        state_graph(b.build(h))


def test_what_is_no_question_is_refused():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    with pytest.raises(InputError, match="no registers"):
        state_graph(b.build(b.neg(x)), [[0]])
    n = b.register("n", (1,), Levels(0, 1))
    b.connect(n, x)
    machine = b.build(n)
    with pytest.raises(InputError, match="a constant input is due for x"):
        state_graph(machine)
    with pytest.raises(InputError, match="one input for each step"):
        state_graph(machine, {"x": [[0], [1]]})
    with pytest.raises(InputError, match="at least one step"):
        state_graph(machine, [])
    with pytest.raises(InputError, match=r"x: values are 2\.\.2"):
        state_graph(machine, [[2]])
    found = state_graph(machine, [[1]])
    for numbers in (2, -1, [0, 5], 0.5):
        with pytest.raises(InputError, match="numbered from 0 to 1"):
            found.state(numbers)
    with pytest.raises(InputError, match="attractors are numbered from 0 to 0, got 1"):
        found.cycle(1)


def test_a_list_is_one_input_or_a_period():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    n = b.register("n", (1,), Levels(0, 3))
    b.connect(n, b.lookup(b.add(n, x), [0, 1, 2, 3, 0]))
    machine = b.build(n)
    assert state_graph(machine, [[1]]).periods.tolist() == [4]
    found = state_graph(machine, [[[1]], [[0]]])
    assert found.periods.tolist() == [8]
    assert found.cycle(0)["n"].ravel().tolist() == [0, 1, 1, 2, 2, 3, 3, 0]
    assert "an edge is the 2 steps of the input's period" in str(found)


@pytest.mark.skipif(native is None, reason="no compiled kernels")
def test_kernels_refuse_what_does_not_fit():
    k = native.state_graph
    short = [np.zeros(n, dtype=np.int32) for n in (4, 2, 2, 4, 4)]
    words, used = np.zeros(1, dtype=np.int64), np.zeros(3, dtype=np.int64)
    lengths = np.array([2, 2], dtype=np.int32)
    inner = np.array([0, 1, 0, 1], dtype=np.int32)
    k.successors(inner, short[1], lengths, short[3], short[4][:2])
    for wrong in (np.array([0, 2, 0, 1]), np.array([0, 1, -1, 0])):
        with pytest.raises(ValueError, match="places outside the tables"):
            k.successors(wrong.astype(np.int32), short[1], lengths, short[3], short[4][:2])
    with pytest.raises(ValueError, match="places outside the tables"):
        k.successors(inner, short[1] + np.int32(1), lengths, short[3], short[4][:2])
    with pytest.raises(ValueError, match="places outside the tables"):
        k.successors(inner, short[1], lengths, short[3], short[4])
    with pytest.raises(ValueError, match="places outside the tables"):
        k.successors(inner, short[1], lengths + np.int32(1), short[3], short[4][:2])
    for state in (4, -1):
        table = np.array([0, 1, state, 0], dtype=np.int32)
        with pytest.raises(ValueError, match="is no state"):
            k.image(table, words, 0, 4)
    with pytest.raises(ValueError, match="is no state"):
        k.walk(short[0] + np.int32(4), np.zeros(50, dtype=np.int32), np.zeros(8, dtype=np.int32), used, 0, 4)
    with pytest.raises(ValueError, match="arrays of other lengths"):
        k.image(short[0], words[:0], 0, 4)
    with pytest.raises(ValueError, match="arrays of other lengths"):
        k.walk(short[0], short[0], short[0], used, 0, 5)


def test_values_whose_differences_leave_64_bits():
    b = Builder()
    top = 2**62 + 5
    h = b.register("h", (3,), Levels(-top, top, top))
    b.connect(h, b.concat(b.slice(h, [1], [3]), b.slice(h, [0], [1])))
    found = state_graph(b.build(h))
    assert found.number(found.state(np.arange(27))).tolist() == list(range(27))
    assert sorted(found.periods.tolist()) == [1] * 3 + [3] * 8


def test_many_states_show_a_bar(capsys):
    b = Builder()
    h = b.register("h", (22,), Levels(0, 1))
    b.connect(h, b.concat(b.slice(h, [1], [22]), b.slice(h, [0], [1])))
    machine = b.build(h)
    assert state_graph(machine).attractors == 190_746  # necklaces of 22 beads of two colours
    assert "4,194,304 states, 16 MiB" in capsys.readouterr().err
    assert state_graph(machine, progress=False).longest_transient == 0
    assert capsys.readouterr().err == ""
