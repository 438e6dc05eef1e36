import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_machines import automata, elements, key, random_machines, shift_registers

from zahlen.analysis import LimitError, orbit
from zahlen.machine import Builder, InputError, Levels


@given(st.one_of(automata(), automata(inputs=False), shift_registers(), random_machines()), st.data())
def test_an_orbit_is_what_following_it_says(machine, data):
    x = data.draw(st.sampled_from(elements(machine, machine.inputs)))
    state = data.draw(st.sampled_from([None, *elements(machine, machine.registers)]))
    found = orbit(machine, state, x if machine.inputs else None)
    seen, current = [], machine.initial_state() if state is None else state
    while key(machine, current) not in seen:
        seen.append(key(machine, current))
        current, _ = machine.step(current, x)
    assert found.transient == seen.index(key(machine, current))
    assert found.period == len(seen) - found.transient
    assert [key(machine, s) for s in found.approach()] == seen[: found.transient]
    assert [key(machine, s) for s in found.cycle()] == seen[found.transient :]
    assert key(machine, found.entry) == key(machine, current)
    # three times as many steps are always enough
    again = orbit(machine, state, x if machine.inputs else None, limit=3 * len(seen))
    assert (again.transient, again.period) == (found.transient, found.period)


def counter(top, back):
    """0, 1, .., top, then from `back` again."""
    b = Builder()
    n = b.register("n", (), Levels(0, top))
    b.connect(n, b.lookup(n, [*range(1, top + 1), back]))
    return b.build(n)


@pytest.mark.parametrize("transient", [0, 1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("period", [1, 2, 3, 4, 8, 13])
def test_every_tail_and_every_cycle(transient, period):
    found = orbit(counter(transient + period - 1, transient))
    assert (found.transient, found.period) == (transient, period)
    assert str(found) == f"transient of {transient} steps, then period {period}"


def test_the_input_decides():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 2))
    n = b.register("n", (1,), Levels(0, 4))
    b.connect(n, b.lookup(b.add(n, x), [k % 5 for k in range(7)]))
    machine = b.build(n)
    assert [orbit(machine, x=[[v]]).period for v in range(3)] == [1, 5, 5]
    assert [s["n"].item() for s in orbit(machine, {"n": [[3]]}, [[2]]).cycle()] == [3, 0, 2, 4, 1]


def test_a_long_cycle():
    """A binary counter of 12 elements."""
    b = Builder()
    n = b.register("n", (12,), Levels(0, 1))
    carry = b.slice(n, [0], [1])
    bits = [b.lookup(carry, [1, 0])]
    for k in range(1, 12):
        bit = b.slice(n, [k], [k + 1])
        bits.append(b.lookup(bit, carry, table=[[0, 1], [1, 0]]))
        carry = b.min(bit, carry)
    b.connect(n, b.concat(*bits))
    found = orbit(b.build(n))
    assert (found.transient, found.period) == (0, 4096)


def test_a_search_ends_at_its_limit():
    machine = counter(99, 0)
    # state 127 is kept, and comes again 100 steps later
    assert orbit(machine, limit=227).period == 100
    with pytest.raises(LimitError, match="no state came again within 226 steps; raise limit"):
        orbit(machine, limit=226)
    assert orbit(counter(0, 0), limit=1).period == 1


def test_what_is_no_question_is_refused():
    b = Builder()
    x = b.input("x", (1,), Levels(0, 1))
    with pytest.raises(InputError, match="no registers"):
        orbit(b.build(b.neg(x)), x=[[0]])
    n = b.register("n", (1,), Levels(0, 1))
    b.connect(n, x)
    machine = b.build(n)
    with pytest.raises(InputError, match="a constant input is due for x"):
        orbit(machine)
    with pytest.raises(InputError, match="state of another machine"):
        orbit(machine, {"m": [[0]]}, [[0]])
    with pytest.raises(InputError, match="as a batch of 1"):
        orbit(machine, x=[[0], [1]])
    for limit in (0, True, 1.5):
        with pytest.raises(InputError, match="limit is a positive integer or None"):
            orbit(machine, x=[[0]], limit=limit)
