"""Passes keep outputs, registers and surviving wires, on all inputs; and each removes what is planted for it.

Wires are compared by name where their shape is the same before and after: a wire that lost units kept its name.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import machines, random_batch

from zahlen.machine import Builder, Codes, Levels, Machine, passes
from zahlen.machine import operations as op

ALL = [*passes.PASSES, passes.simplify]
SMALL_SETTINGS = settings(max_examples=40)


# ---------------------------------------------------------------------------------------------------- what is kept


def compare(before: Machine, after: Machine, inputs: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """All outputs and surviving wires of one step are equal; returns the next state."""
    kept = {name: state[name] for name in after.registers}
    want = before.trace(inputs, state, executor="reference")
    got = after.trace(inputs, kept, executor="reference")
    for name, values in got.items():
        if name in before.wires and after.wires[name].shape == before.wires[name].shape:
            np.testing.assert_array_equal(values, want[name], err_msg=name)
    return {name: want[successor] for name, successor in before.successors.items()}


def assert_interface(before: Machine, after: Machine) -> None:
    assert after.outputs == before.outputs
    assert after.inputs == before.inputs
    assert after.notes == before.notes
    order = [name for name in before.wires if name in after.wires]
    assert [name for name in after.wires if name in before.wires] == order
    new = after.wires.keys() - before.wires.keys()
    assert all(after.wires[name].operation.kind == "reshape" for name in new)
    for name in (*before.inputs, *after.registers):
        assert after.wires[name].alphabet == before.wires[name].alphabet
        assert after.wires[name].shape == before.wires[name].shape
    for name in before.outputs:
        assert after.wires[name].shape == before.wires[name].shape
    for name in after.registers:
        assert after.successors[name] == before.successors[name]
    for name in order:
        lo, hi = after.wires[name].range.hull()
        assert before.wires[name].range.hull()[0] <= lo
        assert hi <= before.wires[name].range.hull()[1]
    assert after.constants <= before.constants


def assert_kept(before: Machine, after: Machine, steps: int = 3, seed: int = 0) -> None:
    """The same function: on batches of extreme and random values, from the initial and from random states."""
    assert_interface(before, after)
    rng = random.Random(seed)
    for start in ("initial", "any"):
        inputs, state = random_batch(before, rng)
        if start == "initial":
            state = before.initial_state(len(next(iter(inputs.values()))))
        for _ in range(steps):
            state = compare(before, after, inputs, state)
            inputs, _ = random_batch(before, rng)


def everything(machine: Machine) -> tuple[dict[str, Any], dict[str, Any]]:
    """All inputs in all states."""
    wires = [machine.wires[name] for name in (*machine.inputs, *machine.registers)]
    elements = [wire.alphabet for wire in wires for _ in range(wire.size)]
    table = np.array(list(itertools.product(*(range(a.lo, a.hi + 1, a.step) for a in elements))), dtype=np.int64)
    ends = np.cumsum([wire.size for wire in wires])[:-1]
    parts = [part.reshape(-1, *wire.shape) for part, wire in zip(np.split(table, ends, axis=1), wires)]
    values = {wire.name: part for wire, part in zip(wires, parts)}
    return {n: values[n] for n in machine.inputs}, {n: values[n] for n in machine.registers}


def exhaust(before: Machine, *which: Callable[[Machine], Machine]) -> Machine:
    """Apply passes one after the other and compare on all inputs in all states."""
    after = before
    for one in which:
        after = one(after)
    assert_interface(before, after)
    compare(before, after, *everything(before))
    return after


def mlp() -> tuple[Builder, Any]:
    """A builder with an input `x` of two values 0..3."""
    b = Builder()
    return b, b.input("x", (2,), Levels(0, 3))


def operation(machine: Machine, name: str) -> Any:
    return machine.wires[name].operation


# ---------------------------------------------------------------------------------------------------- drop_unused


def test_unused_wires_and_registers_go_and_inputs_stay():
    b, x = mlp()
    b.input("ignored", (1,), Levels(0, 1))
    b.affine(x, [[1, 1]], name="idle")
    alone = b.register("alone", (2,), Levels(0, 3))
    b.connect(alone, b.max(alone, x, name="running"))
    first, second = (b.register(n, (2,), Levels(0, 3), 1) for n in ("first", "second"))
    b.connect(first, x)
    b.connect(second, first)
    after = exhaust(b.build(b.neg(second, name="y"), notes={"n": 1}), passes.drop_unused)
    assert list(after.wires) == ["x", "ignored", "first", "second", "y"]
    assert after.registers == ("first", "second")


# ---------------------------------------------------------------------------------------------------- prune_thresholds


def staircase_on(
    alphabet: Levels, thresholds: Any, values: Any, shape: tuple[int, ...] = (2,), axis: int = 0
) -> Machine:
    b = Builder()
    return b.build(b.staircase(b.input("x", shape, alphabet), thresholds, values, axis=axis, name="y"))


@pytest.mark.parametrize(
    ("alphabet", "thresholds", "values", "left"),
    [
        pytest.param(Levels(-3, 3), [-3, 0, 3, 4], [9, 1, 2, 3, 4], ([0, 3], [1, 2, 3]), id="out of reach"),
        pytest.param(Levels(-3, 3), [0, 0, 2, 2, 2], [0, 5, 1, 5, 5, 2], ([0, 2], [0, 1, 2]), id="skipped levels"),
        pytest.param(Levels(-3, 3), [-1, 0, 1], [0, 1, 1, 2], ([-1, 1], [0, 1, 2]), id="equal neighbours"),
        pytest.param(Levels(-3, 3, 2), [-2, -1, 0, 1], [0, 1, 2, 3, 4], ([-1, 1], [0, 2, 4]), id="between the grid"),
        pytest.param(Levels(-3, 3), [-1, 0, 1], [2, 1, 1, 0], ([-1, 1], [2, 1, 0]), id="falling"),
        pytest.param(Levels(-3, 3), [-1, 0, 1], [0, 1, 0, 2], ([-1, 0, 1], [0, 1, 0, 2]), id="nothing to do"),
    ],
)
def test_thresholds_that_change_nothing_go(alphabet, thresholds, values, left):
    after = exhaust(staircase_on(alphabet, thresholds, values), passes.prune_thresholds)
    assert (operation(after, "y").thresholds.tolist(), operation(after, "y").values.tolist()) == left


def test_constant_staircase_becomes_a_constant():
    after = exhaust(staircase_on(Levels(0, 3), [9, 10], [7, 8, 9]), passes.prune_thresholds)
    assert isinstance(operation(after, "y"), op.Constant)
    assert after.constants == 2
    # as a constant it would take more integers than as a staircase
    after = exhaust(staircase_on(Levels(0, 1), [9, 10], [7, 8, 9], shape=(9,)), passes.prune_thresholds)
    assert after.constants == 3


def ranged(rows: list[tuple[int, int]], thresholds: Any, values: Any) -> Machine:
    """A staircase per channel whose channel c reaches 0, w .. 3 w plus an offset, for (w, offset) = rows[c]."""
    b = Builder()
    x = b.input("x", (1,), Levels(0, 3))
    z = b.affine(x, [[w] for w, _ in rows], [o for _, o in rows], name="z")
    return b.build(b.staircase(z, thresholds, values, name="y"))


def test_rows_are_pruned_by_their_own_channel():
    before = ranged([(1, 0), (1, 10), (1, 0)], [[1, 2, 9], [0, 11, 12], [-1, 3, 4]], [[0, 1, 2, 3]] * 3)
    after = exhaust(before, passes.prune_thresholds)
    # the last row needs one threshold, and repeats it
    assert operation(after, "y").thresholds.tolist() == [[1, 2], [11, 12], [3, 3]]
    assert operation(after, "y").values.tolist() == [[0, 1, 2], [1, 2, 3], [1, 2, 2]]


def test_a_constant_row_stays_neutral():
    before = ranged([(1, 0), (0, 5)], [[1, 2, 9], [0, 11, 12]], [[0, 1, 2, 3]] * 2)
    after = exhaust(before, passes.prune_thresholds)
    assert operation(after, "y").values.tolist() == [[0, 1, 2], [1, 1, 1]]


def test_ragged_rows_are_left_alone_unless_the_staircase_gets_smaller():
    before = ranged([(1, 0), (1, 10)], [[1, 2], [0, 11]], [[0, 1, 2]] * 2)
    assert passes.prune_thresholds(before) is before


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_rows_that_agree_become_one(axis):
    rows = [[1, 2, 2]] * 2
    after = exhaust(
        staircase_on(Levels(0, 3), rows, [[0, 1, 2, 3]] * 2, shape=(2, 2), axis=axis), passes.prune_thresholds
    )
    assert operation(after, "y").thresholds.tolist() == [1, 2]


def test_equal_rows_split_where_that_is_smaller():
    before = ranged([(1, 0), (1, 100)], [[*range(1, 4), *range(50, 104)]] * 2, [[*range(58)]] * 2)
    after = exhaust(before, passes.prune_thresholds)
    assert operation(after, "y").thresholds.tolist() == [[1, 2, 3], [101, 102, 103]]


def test_axis_of_a_wider_operand():
    before = staircase_on(Levels(0, 2), [[1, 5], [1, 2]], [[0, 1, 2], [4, 5, 5]], shape=(2, 2), axis=-1)
    after = exhaust(before, passes.prune_thresholds)
    assert operation(after, "y").thresholds.tolist() == [[1], [1]]


def test_thresholds_at_the_ends_of_int64():
    b = Builder()
    x = b.input("x", (1,), Levels(-(2**80), 2**80, 2**80))
    before = b.build(b.staircase(x, [-(2**63), -1, 0, 2**63 - 1], [0, 1, 2, 3, 4], name="y"))
    after = passes.prune_thresholds(before)
    # no value lies between -1 and 0, and only 0 is met
    assert operation(after, "y").thresholds.tolist() == [0, 2**63 - 1]
    assert_kept(before, after)


# ---------------------------------------------------------------------------------------------------- fold_constants


def test_constant_wires_become_constants_and_what_fed_them_goes():
    b, x = mlp()
    z = b.clamp(b.affine(x, [[1, 2], [3, 4]]), -5, 0, name="zero")
    after = exhaust(b.build(b.add(x, z, name="y"), z), passes.fold_constants)
    assert list(after.wires) == ["x", "zero", "y"]
    assert isinstance(operation(after, "zero"), op.Constant)


def test_a_coded_constant_keeps_its_alphabet():
    b = Builder()
    x = b.input("x", (1,), Codes(3, "Z3"))
    one = b.lookup(x, [1, 1, 1], alphabet=Codes(3, "Z3"), name="one")
    sums = [[(i + j) % 3 for j in range(3)] for i in range(3)]
    before = b.build(b.lookup(x, one, table=sums, alphabet=Codes(3, "Z3"), name="y"))
    after = exhaust(before, passes.fold_constants)
    assert isinstance(operation(after, "one"), op.Constant)
    assert after.wires["one"].alphabet == Codes(3, "Z3")


def test_no_constant_is_made_that_takes_more_integers():
    b = Builder()
    x = b.input("x", (9,), Levels(0, 3))
    before = b.build(b.clamp(x, -2, 0, name="y"))
    assert passes.fold_constants(before) is before


def test_constant_units_fold_into_the_bias():
    b, x = mlp()
    h = b.affine(x, [[1, 2], [0, 0], [2, 1]], [0, 7, 0], name="h")
    before = b.build(b.affine(h, [[1, 2, 3], [4, 5, 6]], [100, 200], name="y"))
    after = exhaust(before, passes.fold_constants)
    assert operation(after, "y").weight.tolist() == [[1, 0, 3], [4, 0, 6]]
    assert operation(after, "y").bias.tolist() == [114, 235]
    small = exhaust(before, passes.fold_constants, passes.drop_units)
    assert small.wires["h"].shape == (2,)


def test_units_that_are_constant_at_one_position_only_do_not_fold():
    b = Builder()
    x = b.input("x", (1, 2), Levels(0, 3))
    both = b.concat(x, b.constant([[5, 6]]), axis=0)
    before = b.build(b.affine(both, [[1, 2]], name="y"))
    assert passes.fold_constants(before) is before


@pytest.mark.parametrize(("axis", "weight"), [(0, [[1, 2]]), (1, [[1, 0]])])
def test_a_unit_folds_where_it_is_one_constant_at_all_positions(axis, weight):
    b = Builder()
    x = b.input("x", (1, 2) if axis == 0 else (2, 1), Levels(0, 3))
    both = b.concat(x, b.constant([[5, 5]] if axis == 0 else [[5], [5]]), axis=axis)
    after = exhaust(b.build(b.affine(both, [[1, 2]], name="y")), passes.fold_constants)
    assert operation(after, "y").weight.tolist() == weight


def test_different_constants_at_different_positions_do_not_fold():
    b = Builder()
    x = b.input("x", (2, 1), Levels(0, 3))
    both = b.concat(x, b.constant([[5], [6]]), axis=1)
    before = b.build(b.affine(both, [[1, 2]], name="y"))
    assert passes.fold_constants(before) is before


def convolution(padding: Any, value: int, groups: int = 1) -> Machine:
    """A convolution of four channels, the second and fourth of which are constant."""
    b = Builder()
    x = b.input("x", (2, 3), Levels(0, 1))
    x = b.concat(x, b.constant([[value] * 3] * 2), axis=0)
    x = b.transpose(b.reshape(x, (2, 2, 3)), (1, 0, 2))
    x = b.reshape(x, (4, 3), name="h")
    weight = np.arange(1, 1 + 4 * 4 // groups * 2).reshape(4, 4 // groups, 2)
    return b.build(b.conv(x, weight, [1, 2, 3, 4], padding=padding, groups=groups, name="y"))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("padding", "value", "folds"), [(0, 5, True), (1, 0, True), (1, 5, False), ([(0, 1)], 5, False)]
)
def test_constant_channels_fold_where_padding_cannot_be_seen(padding, value, folds, groups):
    after = exhaust(convolution(padding, value, groups), passes.fold_constants)
    # the range of a reshaped concat is element-wise, so rows 2 and 4 are known to be constant
    columns = operation(after, "y").weight.reshape(groups, -1, 4 // groups, 2).any(axis=(1, 3)).ravel().tolist()
    assert columns == ([True, False, True, False] if folds else [True] * 4)


def test_nothing_folds_beyond_int64():
    b, x = mlp()
    h = b.affine(x, [[1, 2], [0, 0]], [0, 2**40], name="h")
    before = b.build(b.affine(h, [[1, 2**40]], name="y"))
    assert passes.fold_constants(before) is before
    b = Builder()
    x = b.concat(b.input("x", (1, 4), Levels(0, 1)), b.constant([[1] * 4]))
    before = b.build(b.conv(x, [[[1] * 4, [2**62] * 4]], name="y"))
    assert passes.fold_constants(before) is before


def test_a_register_with_one_value_becomes_a_constant():
    b, x = mlp()
    r = b.register("r", (2,), Levels(3, 3))
    b.connect(r, b.clamp(x, 3, 3))
    before = b.build(b.add(x, r, name="y"))
    after = passes.fold_constants(before)
    assert after.registers == ()
    assert isinstance(operation(after, "r"), op.Constant)
    assert_kept(before, after)


# ---------------------------------------------------------------------------------------------------- merge_units


def test_equal_units_are_read_once():
    b, x = mlp()
    z = b.affine(x, [[1, 2], [2, 1], [1, 2], [1, 2]], [0, 0, 0, 1], name="z")
    h = b.staircase(z, [[1, 5], [2, 6], [1, 5], [1, 5]], [[0, 1, 2]] * 4, name="h")
    h = b.clamp(b.shift(b.neg(h), 1), -3, 3, name="g")
    before = b.build(b.affine(h, [[1, 2, 30, 4], [5, 6, 70, 8]], name="y"))
    after = exhaust(before, passes.merge_units)
    assert operation(after, "y").weight.tolist() == [[31, 2, 0, 4], [75, 6, 0, 8]]
    assert passes.merge_units(after) is after
    small = exhaust(before, passes.merge_units, passes.drop_units)
    assert [small.wires[n].shape for n in ("z", "h", "g")] == [(3,)] * 3


@pytest.mark.parametrize("differ", ["weight", "bias", "thresholds", "values", "other"])
def test_unequal_units_stay(differ):
    b, x = mlp()
    weight, bias, t, v = [[1, 2], [1, 2]], [0, 0], [[3], [3]], [[0, 1], [0, 1]]
    if differ == "weight":
        weight[1] = [2, 1]
    elif differ == "bias":
        bias[1] = 1
    elif differ == "thresholds":
        t[1] = [4]
    elif differ == "values":
        v[1] = [0, 2]
    h = b.staircase(b.affine(x, weight, bias), t, v)
    h = b.add(h, x) if differ == "other" else h
    before = b.build(b.affine(h, [[1, 1]], name="y"))
    assert passes.merge_units(before) is before


def test_units_are_followed_through_binary_operations_and_shapes():
    b, x = mlp()
    p, q = b.affine(x, [[1, 2], [1, 2], [1, 0]]), b.affine(x, [[3, 1], [3, 1], [3, 1]])
    both = b.mul(p, q)
    row = b.concat(both, b.slice(p, (1,), (3,)), axis=0)
    before = b.build(b.affine(row, [[1, 2, 3, 4, 5]], name="y"))
    after = exhaust(before, passes.merge_units)
    assert operation(after, "y").weight.tolist() == [[3, 0, 3, 4, 5]]


def test_twins_from_one_wire_merge_in_a_concat():
    b, x = mlp()
    before = b.build(b.affine(b.concat(x, b.neg(x), x), [[1, 2, 3, 4, 5, 6]], name="y"))
    after = exhaust(before, passes.merge_units)
    assert operation(after, "y").weight.tolist() == [[6, 8, 3, 4, 0, 0]]


def test_no_sum_of_weights_leaves_int64():
    b = Builder()
    h = b.affine(b.input("x", (1,), Levels(0, 1)), [[1], [1]])
    before = b.build(b.affine(h, [[2**62, 2**62]], name="y"))
    assert passes.merge_units(before) is before


def cnn(groups: int = 1) -> Machine:
    """Two equal channels, through staircase and pooling, to a convolution and, flattened, to an affine map."""
    b = Builder()
    x = b.input("x", (1, 2, 4), Levels(0, 1))
    kernel = [[[[1, 2], [3, 4]]], [[[0, 1], [0, 0]]], [[[1, 2], [3, 4]]], [[[9, 9], [9, 9]]]]
    z = b.conv(x, kernel, [0, 1, 0, 0], padding=[(0, 1), (0, 0)], name="z")
    h = b.staircase(z, [[2, 5], [1, 2], [2, 5], [3, 4]], [[0, 1, 2]] * 4, axis=-3, name="h")
    p = b.sumpool(b.maxpool(h, (1, 3), (1, 1), name="p"), (2, 1), (1, 1), ((1, 0), (0, 0)), name="s")
    c = b.conv(p, np.arange(1, 1 + 16 // groups).reshape(4, 4 // groups, 1, 1), groups=groups, name="c")
    return b.build(b.affine(b.reshape(c, (8,), name="f"), [[1, 2, 3, 4, 1, 1, 0, 0]], name="y"))


def test_equal_channels_merge_and_go():
    after = exhaust(cnn(), passes.merge_units)
    assert not operation(after, "c").weight[:, 2].any()
    small = exhaust(cnn(), passes.merge_units, passes.drop_units)
    assert [small.wires[n].shape[0] for n in ("z", "h", "p", "s", "c", "f")] == [3, 3, 3, 3, 3, 6]


def test_channels_of_different_groups_do_not_merge():
    after = exhaust(cnn(groups=2), passes.merge_units)
    assert operation(after, "c").weight.all()


def test_depthwise_channels_go_with_their_input_channel():
    small = exhaust(cnn(groups=4), passes.drop_units)
    assert [small.wires[n].shape[0] for n in ("z", "h", "p", "s", "c", "f")] == [3, 3, 3, 3, 3, 6]
    assert operation(small, "c").groups == 3


def test_equal_channels_are_equal_blocks_when_flattened():
    b = Builder()
    x = b.input("x", (2, 2), Levels(0, 2))
    c = b.conv(x, [[[1], [2]], [[1], [2]]], name="c")
    before = b.build(b.affine(b.reshape(c, (4,)), [[1, 2, 3, 4]], name="y"))
    after = exhaust(before, passes.merge_units)
    assert operation(after, "y").weight.tolist() == [[4, 6, 0, 0]]


# ---------------------------------------------------------------------------------------------------- drop_units


def test_unread_units_go_from_their_producers():
    b, x = mlp()
    z = b.affine(x, [[1, 2], [3, 4], [5, 6]], [1, 2, 3], name="z")
    h = b.add(b.staircase(z, [[3], [9], [2]], [[0, 1], [0, 2], [0, 3]], name="h"), b.constant([1, 2, 3]), name="g")
    before = b.build(b.affine(h, [[1, 0, 2]], name="y"))
    after = exhaust(before, passes.drop_units)
    assert [after.wires[n].shape for n in ("z", "h", "g", "y")] == [(2,), (2,), (2,), (1,)]
    assert operation(after, "h").values.tolist() == [[0, 1], [0, 3]]


def test_what_only_unread_units_read_goes_in_the_same_pass():
    b, x = mlp()
    z = b.neg(b.affine(x, [[1, 2], [3, 4]], name="z"))
    u = b.neg(b.affine(z, [[1, 0], [5, 6]], name="u"))
    after = exhaust(b.build(b.affine(u, [[1, 0]], name="y")), passes.drop_units)
    assert [after.wires[n].shape for n in ("z", "u")] == [(1,), (1,)]


def test_units_that_anything_reads_stay():
    b, x = mlp()
    z = b.affine(x, [[1, 2], [3, 4], [5, 6]], name="z")
    first = b.affine(z, [[1, 0, 0]], name="first")
    second = b.affine(b.neg(z), [[0, 0, 1]], name="second")
    after = exhaust(b.build(first, second), passes.drop_units)
    assert operation(after, "z").weight.tolist() == [[1, 2], [5, 6]]


def test_inputs_outputs_and_registers_keep_their_units():
    b, x = mlp()
    r = b.register("r", (2,), Levels(0, 3))
    b.connect(r, x)
    h = b.add(x, r, name="h")
    z = b.affine(x, [[1, 0], [0, 1]], name="z")
    before = b.build(b.affine(h, [[1, 0]], name="y"), z, b.affine(z, [[0, 1]], name="u"))
    assert passes.drop_units(before) is before


def test_what_a_register_takes_keeps_its_units():
    b, x = mlp()
    r = b.register("r", (2,), Levels(0, 3))
    taken = b.clamp(b.affine(x, [[1, 0], [0, 1]]), 0, 3, name="taken")
    b.connect(r, taken)
    before = b.build(b.affine(r, [[1, 1]], name="y"), b.affine(taken, [[1, 0]], name="u"))
    assert passes.drop_units(before) is before


def test_one_unit_stays():
    b, x = mlp()
    z = b.affine(x, [[1, 2], [3, 4]], name="z")
    after = exhaust(b.build(b.affine(z, [[0, 0]], [5], name="y")), passes.drop_units)
    assert after.wires["z"].shape == (1,)
    # and nothing of it after all passes
    assert list(passes.simplify(after).wires) == ["x", "y"]


def test_cuts_move_through_concat_slice_transpose_sum_and_embed():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 2))
    e = b.embed(x, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 8, 7, 1]], name="e")
    turned = b.transpose(e, (1, 0), name="t")
    total = b.sum(turned, (1,), name="total")
    z = b.affine(x, [[1, 1], [1, 2], [1, 3]], name="z")
    joined = b.concat(total, z, axis=-1, name="joined")
    part = b.slice(joined, (1,), (7,), name="part")
    before = b.build(b.affine(part, [[0, 3, 0, 4, 0, 5]], name="y"))
    after = exhaust(before, passes.drop_units)
    assert {n: after.wires[n].shape for n in ("e", "t", "total", "z", "joined", "part")} == {
        "e": (2, 1),
        "t": (1, 2),
        "total": (1,),
        "z": (2,),
        "joined": (3,),
        "part": (3,),
    }


def test_a_slice_with_a_step_keeps_its_operand():
    b, x = mlp()
    z = b.affine(x, [[1, 1], [1, 2], [1, 3], [1, 4], [2, 3]], name="z")
    before = b.build(b.affine(b.slice(z, (0,), (5,), (2,)), [[1, 0, 2]], name="y"))
    assert passes.drop_units(before) is before


def test_argmax_reads_all_it_compares():
    b, x = mlp()
    z = b.affine(x, [[1, 1], [1, 2], [1, 3]], name="z")
    before = b.build(b.argmax(z, name="y"))
    assert passes.drop_units(before) is before


# ---------------------------------------------------------------------------------------------------- compose, offsets


def chain(widths: list[int], seed: int = 1, top: int = 3) -> tuple[Builder, list[Any]]:
    rng = np.random.default_rng(seed)
    b = Builder()
    wires = [b.input("x", (widths[0],), Levels(-1, 1))]
    for k, (n, m) in enumerate(itertools.pairwise(widths)):
        wires.append(b.affine(wires[-1], rng.integers(1, top + 1, (m, n)), rng.integers(-9, 9, m), name=f"z{k}"))
    return b, wires


def test_affine_chains_compose():
    b, wires = chain([2, 4, 3, 2])
    after = exhaust(b.build(wires[-1]), passes.compose_affine)
    assert list(after.wires) == ["x", "z2"]


def test_a_product_that_is_larger_stays_factored():
    b, wires = chain([4, 1, 4])
    before = b.build(wires[-1])
    assert passes.compose_affine(before) is before


def test_affine_maps_that_others_see_stay():
    b, wires = chain([2, 2, 2])
    before = b.build(wires[-1], wires[-2])
    assert passes.compose_affine(before) is before
    b, wires = chain([2, 2, 2])
    before = b.build(wires[-1], b.neg(wires[-2]))
    assert passes.compose_affine(before) is before
    b, wires = chain([2, 2, 2])
    r = b.register("r", (2,), Levels(-99, 99))
    b.connect(r, wires[-2])
    before = b.build(wires[-1], b.neg(r))
    assert passes.compose_affine(before) is before


def test_nothing_composes_beyond_int64():
    b = Builder()
    x = b.input("x", (1,), Levels(-1, 1))
    before = b.build(b.affine(b.affine(x, [[2**40]], name="u"), [[2**40]], name="v"))
    assert passes.compose_affine(before) is before
    b = Builder()
    # the product fits, but its sum in another order would not
    x = b.input("x", (2,), Levels(2**40, 2**40 + 1))
    before = b.build(b.affine(b.affine(x, [[2**20, -(2**20)]], name="u"), [[2**10]], name="v"))
    assert passes.compose_affine(before) is before


@pytest.mark.parametrize("form", ["sub", "add", "constant first"])
def test_offsets_fold_into_biases(form):
    b, x = mlp()
    c = b.constant([10, 20])
    moved = {"sub": lambda: b.sub(x, c), "add": lambda: b.add(x, c), "constant first": lambda: b.add(c, x)}[form]()
    before = b.build(b.affine(moved, [[1, 2]], [5], name="y"), b.affine(moved, [[3, 4]], name="u"))
    after = exhaust(before, passes.fold_offsets)
    assert list(after.wires) == ["x", "y", "u"]
    sign = -1 if form == "sub" else 1
    assert operation(after, "y").bias.tolist() == [5 + 50 * sign]


def test_offsets_per_position_fold_only_if_equal():
    for rows, folds in (([[1, 2], [1, 2]], True), ([[1, 2], [1, 3]], False)):
        b = Builder()
        x = b.input("x", (2, 2), Levels(0, 2))
        before = b.build(b.affine(b.add(x, b.constant(rows)), [[1, 2]], name="y"))
        assert (exhaust(before, passes.fold_offsets) is before) is not folds


def test_offsets_that_others_see_stay():
    b, x = mlp()
    c = b.constant([10, 20])
    moved, turned = b.sub(x, c), b.sub(c, x)
    before = b.build(b.affine(moved, [[1, 2]]), b.neg(moved), b.affine(turned, [[1, 2]]))
    assert passes.fold_offsets(before) is before
    b, x = mlp()
    moved = b.sub(x, b.constant([10, 20]))
    before = b.build(b.affine(moved, [[1, 2]]), moved)
    assert passes.fold_offsets(before) is before
    b, x = mlp()
    before = b.build(b.affine(b.sub(x, b.constant([2**40, 0])), [[2**40, 2]]))
    assert passes.fold_offsets(before) is before
    # the bias would fit, but not every sum with it
    b = Builder()
    x = b.input("x", (2,), Levels(2**40, 2**40 + 1))
    before = b.build(b.affine(b.sub(x, b.constant([2**40, 2**40])), [[2**24, -(2**24)]]))
    assert passes.fold_offsets(before) is before


def centred_image(*shapes: tuple[int, ...], constant: Any = 8) -> tuple[Builder, Any]:
    """A builder, and an image (2, 2) of 0..2 less a constant, in these shapes one after the other."""
    b = Builder()
    flat = b.sub(b.input("x", (2, 2), Levels(0, 2)), b.constant(np.broadcast_to(constant, (2, 2))), name="centred")
    for k, shape in enumerate(shapes):
        flat = b.reshape(flat, shape, name=f"flat{k}")
    return b, flat


def test_a_network_on_a_centred_image_loses_its_offset():
    rng = np.random.default_rng(3)
    b = Builder()
    x = b.input("x", (4, 4), Levels(0, 16))
    flat = b.reshape(b.sub(x, b.constant(np.full((4, 4), 8))), (16,), name="flat")
    h = b.staircase(b.affine(flat, rng.integers(-3, 4, (5, 16)), name="z"), [-30, 0, 30], [-3, -1, 1, 3])
    before = b.build(b.affine(h, rng.integers(-3, 4, (3, 5)), name="y"))
    after = before.simplified()
    assert [wire.operation.kind for wire in after.wires.values()] == [
        "input",
        "reshape",
        "affine",
        "staircase",
        "affine",
    ]
    assert (operation(after, "z").weight == operation(before, "z").weight).all()
    corners = 16 * rng.integers(0, 2, (1000, 4, 4))
    images = np.concatenate(
        [np.zeros((1, 4, 4), int), np.full((1, 4, 4), 16), corners, rng.integers(0, 17, (1000, 4, 4))]
    )
    assert (after.run(images) == before.run(images)).all()
    assert_kept(before, after)
    assert after.simplified() is after


@pytest.mark.parametrize(
    ("shapes", "left"),
    [
        ([(4,)], ["x", "reshape_1", "y"]),
        ([(4,), (1, 4)], ["x", "reshape_1", "y"]),
        ([(4,), (2, 2)], ["x", "y"]),
        ([(4, 1)], None),
    ],
)
def test_offsets_fold_through_reshapes(shapes, left):
    constant = [[1, 2], [3, 4]] if left != ["x", "y"] else [[1, 2], [1, 2]]
    b, flat = centred_image(*shapes, constant=constant)
    before = b.build(b.affine(flat, [range(1, 1 + flat.shape[-1])], name="y"))
    after = exhaust(before, passes.fold_offsets)
    assert list(after.wires) == (left or list(before.wires))  # at positions of their own, 1..4 are no bias
    assert operation(after, "y").bias.tolist() == [{4: -30, 2: -5, 1: 0}[flat.shape[-1]]]


def test_reshapes_that_others_see_keep_their_offset():
    b, flat = centred_image((4,))
    before = b.build(b.affine(flat, [[1, 2, 3, 4]]), flat)
    assert passes.fold_offsets(before) is before
    b, flat = centred_image((4,))
    before = b.build(b.affine(flat, [[1, 2, 3, 4]]), b.neg(flat))
    assert passes.fold_offsets(before) is before
    b, flat = centred_image((4,))
    before = b.build(b.affine(flat, [[1, 2, 3, 4]]), "centred")
    assert passes.fold_offsets(before) is before
    b, flat = centred_image((4,))
    before = b.build(b.affine(flat, [[1, 2, 3, 4]]), b.reshape("centred", (1, 4)))
    assert passes.fold_offsets(before) is before


def test_a_new_name_is_new():
    b, flat = centred_image()
    one = b.affine(b.reshape(flat, (4,), name="reshape_1"), [[1, 2, 3, 4]], name="one")
    two = b.sub("x", b.constant(np.full((2, 2), 3)), name="other")
    two = b.affine(b.reshape(two, (4,), name="reshape_3"), [[4, 3, 2, 1]], name="two")
    after = exhaust(b.build(one, two), passes.fold_offsets)
    assert list(after.wires) == ["x", "reshape_2", "one", "reshape_4", "two"]


@pytest.mark.parametrize(
    ("padding", "constant", "folds"),
    [(0, 8, True), (((0, 0), (0, 1)), 8, False), (0, [[8, 8], [8, 9]], False)],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_offsets_fold_into_convolutions_without_padding(padding, constant, folds, groups):
    b = Builder()
    x = b.input("x", (2, 2, 2), Levels(0, 1))
    centred = b.sub(x, b.constant([np.broadcast_to(constant, (2, 2)), np.full((2, 2), 5)]))
    weight = np.arange(1, 1 + 16 // groups).reshape(2, 2 // groups, 2, 2)
    before = b.build(b.conv(centred, weight, [1, 2], padding=padding, groups=groups, name="y"))
    after = exhaust(before, passes.fold_offsets)
    assert (after is before) is not folds
    if folds:
        share = {1: [8 * 10 + 5 * 26, 8 * 42 + 5 * 58], 2: [8 * 10, 5 * 26]}[groups]
        assert operation(after, "y").bias.tolist() == [1 - share[0], 2 - share[1]]


# ---------------------------------------------------------------------------------------------------- planted networks


def small_ints(draw: Callable[..., Any], top: int, *shape: int) -> Any:
    n = int(np.prod(shape))
    return np.array(draw(st.lists(st.integers(-top, top), min_size=n, max_size=n)), dtype=np.int64).reshape(shape)


def planted_rows(draw: Callable[..., Any], weight: Any, bias: Any) -> None:
    """Copy some rows from others, and make some constant."""
    rows = len(weight)
    for row in range(rows):
        fate = draw(st.sampled_from(["own", "own", "copy", "constant"]))
        if fate == "copy":
            source = draw(st.integers(0, rows - 1))
            weight[row], bias[row] = weight[source], bias[source]
        elif fate == "constant":
            weight[row] = 0


def planted_columns(draw: Callable[..., Any], weight: Any) -> None:
    """Read nothing of some units."""
    for column in range(weight.shape[1]):
        if draw(st.integers(0, 3)) == 0:
            weight[:, column] = 0


def planted_staircase(draw: Callable[..., Any], b: Builder, z: Any, axis: int) -> Any:
    """Thresholds far out, repeated, and between equal values; rows that agree."""
    count = draw(st.integers(1, 5))
    rows = z.shape[axis] if draw(st.booleans()) else None
    t = np.sort(small_ints(draw, 12, rows or 1, count), axis=1)
    v = small_ints(draw, 2, rows or 1, count + 1)
    if draw(st.booleans()):
        v.sort(axis=1)
    if draw(st.booleans()):
        t[:], v[:] = t[0], v[0]
    return b.staircase(z, t if rows else t[0], v if rows else v[0], axis=axis)


@st.composite
def planted_mlps(draw: Callable[..., Any]) -> Machine:
    """Multilayer perceptrons, some recurrent, with idle, equal, constant and unread parts."""
    b = Builder()
    width = draw(st.integers(1, 3))
    lo, step = draw(st.integers(-2, 2)), draw(st.sampled_from([1, 1, 2]))
    h = b.input("x", (width,), Levels(lo, lo + 3 * step, step))
    if draw(st.booleans()):
        h = b.sub(h, b.constant(small_ints(draw, 3, width)))
    register = b.register("r", (2,), Levels(-2, 2)) if draw(st.booleans()) else None
    if register is not None:
        h = b.concat(h, register)
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.integers(1, 4))
        weight, bias = small_ints(draw, 3, out, h.shape[0]), small_ints(draw, 4, out)
        planted_columns(draw, weight)
        planted_rows(draw, weight, bias)
        h = b.affine(h, weight, bias)
        for kind in draw(st.lists(st.sampled_from(["staircase", "staircase", "neg", "clamp", "shift"]), max_size=2)):
            if kind == "staircase":
                h = planted_staircase(draw, b, h, draw(st.sampled_from([0, -1])))
            else:
                h = {"neg": b.neg, "clamp": lambda x: b.clamp(x, -3, 3), "shift": lambda x: b.shift(x, 1)}[kind](h)
    if register is not None:
        b.connect(register, b.clamp(b.affine(h, small_ints(draw, 2, 2, h.shape[0])), -2, 2))
    weight = small_ints(draw, 3, 2, h.shape[0])
    planted_columns(draw, weight)
    return b.build(b.affine(h, weight, name="y"))


@st.composite
def planted_cnns(draw: Callable[..., Any]) -> Machine:
    """Convolutional networks with padding and groups, and idle, equal, constant and unread channels."""
    b = Builder()
    h = b.input("x", (draw(st.integers(1, 2)), 2, 3), Levels(0, draw(st.integers(1, 2))))
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([g for g in range(1, h.shape[0] + 1) if h.shape[0] % g == 0]))
        out = groups * draw(st.integers(1, 3))
        kernel = (draw(st.integers(1, min(2, h.shape[1]))), draw(st.integers(1, min(2, h.shape[2]))))
        weight, bias = small_ints(draw, 2, out, h.shape[0] // groups, *kernel), small_ints(draw, 3, out)
        planted_columns(draw, weight)
        planted_rows(draw, weight, bias)
        padding = [(draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in range(2)]
        h = b.conv(h, weight, bias, padding=padding, groups=groups)
        if draw(st.booleans()):
            h = planted_staircase(draw, b, h, draw(st.sampled_from([0, -3])))
        if draw(st.booleans()):
            pool = draw(st.sampled_from([b.maxpool, b.sumpool]))
            h = pool(
                h, (1, min(2, h.shape[2])), (1, 1), ((0, 0), (0, draw(st.integers(0, 1)) if h.shape[2] > 1 else 0))
            )
    h = b.reshape(h, (h.size,)) if draw(st.booleans()) else b.sum(h, (1, -1))
    weight = small_ints(draw, 3, 2, h.shape[0])
    for start in range(0, h.shape[0], 3):
        if draw(st.booleans()):
            weight[:, start : start + 3] = 0
    return b.build(b.affine(h, weight, name="y"))


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", [machines, planted_mlps, planted_cnns], ids=lambda kind: kind.__name__)
@SMALL_SETTINGS
@given(data=st.data())
def test_every_pass_keeps_the_function(kind, one, data):
    before = data.draw(kind())
    after = one(before)
    assert_kept(before, after, seed=data.draw(st.integers(0, 99)))
    assert one is not passes.simplify or passes.simplify(after) is after


@SMALL_SETTINGS
@given(machines(wide=True, max_wires=12))
def test_wide_machines_simplify(before):
    after = before.simplified()
    assert_kept(before, after)
    assert after.simplified().hash == after.hash


@SMALL_SETTINGS
@given(data=st.data())
def test_planted_networks_on_all_inputs(data):
    before = data.draw(st.one_of(planted_mlps(), planted_cnns()))
    states = np.prod(
        [float(before.wires[n].alphabet.size) ** before.wires[n].size for n in (*before.inputs, *before.registers)]
    )
    if states <= 5000:
        exhaust(before, passes.simplify)


def test_no_planted_thing_is_left():
    """What can be seen from the program and the ranges is gone after `simplify`, for many planted networks."""
    dropped = []

    @SMALL_SETTINGS
    @given(st.one_of(planted_mlps(), planted_cnns()))
    def run(before):
        after = before.simplified()
        dropped.append(before.constants - after.constants)
        visible = {*after.inputs, *after.registers, *after.outputs, *after.successors.values()}
        for wire in after.wires.values():
            assert wire.name in visible or after.consumers[wire.name]
            if isinstance(wire.operation, op.Staircase) and not wire.operation.per_channel:
                assert_tight(wire.operation, *after.wires[wire.operands[0]].range.hull())
            if isinstance(wire.operation, op.Affine):
                assert_all_read(after, wire, visible)

    run()
    assert sum(dropped) > 500


def assert_tight(staircase: op.Staircase, lo: int, hi: int) -> None:
    t, v = staircase.thresholds, staircase.values
    if len(t) > 1:
        assert lo < t[0]
        assert t[-1] <= hi
        assert (np.diff(t) > 0).all()
        assert (np.diff(v) != 0).all()


def assert_all_read(machine: Machine, wire: Any, visible: set[str]) -> None:
    """No two columns read equal rows of an affine map, no column reads a constant unit, and each unit is read."""
    source = machine.wires[wire.operands[0]]
    weight, constant = wire.operation.weight, source.range.constant()
    if len(source.shape) == 1:
        assert not weight[:, constant].any()
    if isinstance(source.operation, op.Affine) and source.name not in visible:
        rows = np.column_stack([source.operation.weight, source.operation.bias])
        if machine.consumers[source.name] == (wire.name,):
            assert weight.any(axis=0).all() or len(rows) == 1
            assert len(np.unique(rows, axis=0)) == len(rows)


# ---------------------------------------------------------------------------------------------------- simplify


def test_simplify_needs_several_rounds():
    """A staircase is constant, so a bias takes it, so its unit goes; and two layers stand together and compose."""
    b, x = mlp()
    z = b.affine(x, [[1, 1], [2, 1]], name="z")
    low = b.staircase(z, [[50], [60]], [[1, 2], [3, 4]], name="low")
    both = b.concat(z, low, name="both")
    u = b.affine(both, [[1, 2, 3, 4], [5, 6, 7, 8]], [1, 1], name="u")
    before = b.build(b.affine(u, [[1, 1]], name="y"))
    after = exhaust(before, passes.simplify)
    assert "low" not in after.wires or after.wires["low"].size == 1
    assert after.constants < before.constants
    assert "u" not in after.wires


def test_simplify_keeps_names_order_and_notes():
    b, x = mlp()
    other = b.input("other", (1,), Levels(0, 1))
    h = b.affine(x, [[1, 2], [1, 2]], name="h")
    second, first = b.affine(h, [[1, 2]], name="second"), b.neg(other, name="first")
    after = exhaust(b.build(second, first, notes={"seed": 7}), passes.simplify)
    assert after.outputs == ("second", "first")
    assert after.inputs == ("x", "other")
    assert after.notes == {"seed": 7}


def test_a_machine_with_nothing_to_do_comes_back_itself():
    before = ranged([(1, 0), (2, 0)], [[1, 2], [2, 4]], [[0, 1, 2]] * 2)
    assert passes.simplify(before) is before
    assert before.simplified().hash == before.hash


def test_a_larger_element_limit_is_kept():
    b = Builder(max_elements=2**27)
    x = b.input("x", (2**13,), Levels(0, 1))
    b.concat(*[x] * 2, name="idle")
    assert list(passes.drop_unused(b.build(b.neg(x, name="y"))).wires) == ["x", "y"]


def test_recurrent_network_over_time():
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input("x", (3,), Levels(-1, 1))
    h = b.register("h", (4,), Levels(-3, 3, 2), -3)
    w = rng.integers(-3, 4, (6, 7))
    w[3], w[4] = w[1], 0
    z = b.affine(b.concat(x, h), w, [0, 1, 2, 1, 5, 0], name="z")
    s = b.staircase(z, [-90, -4, 0, 0, 4, 90], [-3, -3, -1, 0, 1, 3, 3], name="s")
    b.connect(h, b.staircase(b.affine(s, rng.integers(-2, 3, (4, 6))), [-4, 0, 4], [-3, -1, 1, 3], name="next"))
    before = b.build(b.affine(s, rng.integers(-2, 3, (2, 6)), name="y"))
    after = before.simplified()
    assert after.wires["s"].shape == (4,)
    assert after.registers == ("h",)
    sequences = rng.integers(-1, 2, (20, 50, 3))
    np.testing.assert_array_equal(after.run(sequences), before.run(sequences))
    assert_kept(before, after)


def test_a_register_stays_provable():
    """The range of what it takes never grows, and stays on the register's grid."""
    b, x = mlp()
    r = b.register("r", (1,), Levels(0, 6, 3))
    b.connect(r, b.staircase(b.affine(x, [[3, 3]]), [0, 3, 4, 6], [9, 0, 3, 3, 6], name="taken"))
    after = exhaust(b.build(b.neg(r, name="y")), passes.simplify)
    assert operation(after, "taken").thresholds.tolist() == [3, 6]
