import numpy as np
import pytest

from zahlen.machine import AlphabetError, Codes, Levels, MachineError, ShapeError
from zahlen.machine import operations as op
from zahlen.machine.shapes import padded_size, result_shape, work

PAIR = ((0, 0),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: op.Input((0,), Levels(0, 1)), "shape must be at least 1, got 0"),
        (lambda: op.Input((2.0,), Levels(0, 1)), "shape must be an integer, got 2.0"),
        (lambda: op.Input((True,), Levels(0, 1)), "shape must be an integer, got True"),
        (lambda: op.Input(3, Levels(0, 1)), "shape must be a sequence of integers, got 3"),
        (lambda: op.Input("33", Levels(0, 1)), "shape must be a sequence of integers"),
        (lambda: op.Input((1,) * 9, Levels(0, 1)), "9 axes, more than 8"),
        (lambda: op.Input((1,), (0, 1)), "alphabet expected"),
        (lambda: op.Register(Levels(0, 1), [2]), "initial value leaves 0..1"),
        (lambda: op.Register((0, 1), [0]), "alphabet expected"),
        (lambda: op.Constant(Codes(3), [3]), "leaves 3 codes"),
        (lambda: op.Constant("a", [3]), "alphabet expected"),
        (lambda: op.Constant(None, []), "value is empty"),
        (lambda: op.Constant(None, [2**63]), "limited to 64 bits"),
        (lambda: op.Constant(None, np.array([2**63], dtype=np.uint64)), "limited to 64 bits"),
        (lambda: op.Constant(None, [-(2**63) - 1]), "limited to 64 bits"),
        (lambda: op.Constant(None, [1.0]), "integers are due, got float64; put the values on an integer grid first"),
        (lambda: op.Affine([1, 2], [0]), "weight has 1 axes, not 2"),
        (lambda: op.Affine([[1, 2]], [0, 0]), r"bias \(2,\) does not fit weight \(1, 2\)"),
        (lambda: op.Affine([[1.5]], [0]), "integers are due, got float64"),
        (lambda: op.Affine([[True]], [0]), "integers are due, got bool"),
        (lambda: op.Conv((1,), PAIR, (1,), 1, [[1]], [0]), "weight has 2 axes, not 3 or 4"),
        (lambda: op.Conv((0,), PAIR, (1,), 1, [[[1]]], [0]), "stride must be at least 1"),
        (lambda: op.Conv((1,), PAIR, (0,), 1, [[[1]]], [0]), "dilation must be at least 1"),
        (lambda: op.Conv((1,), ((-1, 0),), (1,), 1, [[[1]]], [0]), "padding must be at least 0"),
        (lambda: op.Conv((1,), (1,), (1,), 1, [[[1]]], [0]), "padding must be a sequence of pairs"),
        (lambda: op.Conv((1,), ((1, 2, 3),), (1,), 1, [[[1]]], [0]), "padding must be a sequence of pairs"),
        (lambda: op.Conv((1, 1), PAIR, (1,), 1, [[[1]]], [0]), "stride needs 1 entries"),
        (lambda: op.Conv((1,), PAIR, (1,), 0, [[[1]]], [0]), "groups must be at least 1"),
        (lambda: op.Conv((1,), PAIR, (1,), 2, [[[1]]], [0]), "1 output channels do not divide into 2 groups"),
        (lambda: op.Conv((1,), PAIR, (1,), 1, [[[1]]], [0, 1]), "does not fit weight"),
        (lambda: op.Staircase(0, [2, 1], [0, 1, 2]), "thresholds are not sorted"),
        (lambda: op.Staircase(0, [[0, 1], [2, 1]], [[0, 1, 2]] * 2), "thresholds are not sorted"),
        (lambda: op.Staircase(0, [1, 2], [0, 1]), r"\(2,\) thresholds do not fit \(2,\) values"),
        (lambda: op.Staircase(0, [[1, 2]], [0, 1, 2]), "differ in axes"),
        (lambda: op.Staircase(0, [], [0]), "thresholds is empty"),
        (lambda: op.Staircase(0.0, [0], [0, 1]), "axis must be an integer"),
        (lambda: op.Lookup((0,), (0,), None, [1]), "step must be at least 1"),
        (lambda: op.Lookup((0, 0), (1,), None, [1]), "one entry per operand"),
        (lambda: op.Lookup((0,), (1,), Codes(2), [2]), "leaves 2 codes"),
        (lambda: op.Lookup((0,), (1,), 2, [2]), "alphabet expected"),
        (lambda: op.Embed([1, 2]), "table has 1 axes, not 2"),
        (lambda: op.Clamp(2, 1), "lo = 2 is above hi = 1"),
        (lambda: op.Clamp(0, 2**255), "hi has more than 256 bits"),
        (lambda: op.Clamp(0.5, 1), "lo must be an integer"),
        (lambda: op.Shift(256, "floor"), "bits must be below 256"),
        (lambda: op.Shift(-256, "floor"), "bits must be below 256"),
        (lambda: op.Shift(1, "even"), "rounding is floor or half_up, got 'even'"),
        (lambda: op.Shift(0, "half_up"), "half_up rounds only when bits > 0"),
        (lambda: op.MaxPool((2,), (1,), ((2, 0),)), "padding must be less than the window"),
        (lambda: op.SumPool((1, 1, 1), (1, 1, 1), ((0, 0),) * 3), "one or two axes"),
        (lambda: op.MaxPool((2,), (1, 1), PAIR), "differ in length"),
        (lambda: op.MaxPool(2, (1,), PAIR), "size must be a sequence of integers, got 2"),
        (lambda: op.Sum(()), "at least one axis"),
        (lambda: op.Argmax(None), "axis must be an integer, got None"),
        (lambda: op.Reshape((-1,)), "shape must be at least 1"),
        (lambda: op.Slice((1,), (1,), (1,)), "a slice is empty"),
        (lambda: op.Slice((-1,), (1,), (1,)), "start must be at least 0"),
        (lambda: op.Slice((0,), (1,), (0,)), "step must be at least 1"),
        (lambda: op.Slice((0, 0), (1,), (1,)), "differ in length"),
        (lambda: op.Transpose((0, 2)), r"\(0, 2\) is no permutation"),
    ],
)
def test_malformed_operations_are_refused(make, message):
    with pytest.raises(MachineError, match=message):
        make()


def test_constants_are_copies_that_cannot_be_written():
    weight = np.array([[1, 2]], dtype=np.int8)
    affine = op.Affine(weight, [0])
    weight[0, 0] = 7
    assert affine.weight.tolist() == [[1, 2]]
    assert affine.weight.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        affine.weight[0, 0] = 7


def test_fields_are_constants_or_attributes():
    conv = op.Conv([1], [[0, 1]], [1], 1, [[[1, 2]]], [0])
    assert list(conv.tensors()) == ["weight", "bias"]
    assert conv.attributes() == {"stride": (1,), "padding": ((0, 1),), "dilation": (1,), "groups": 1}
    assert op.Add().tensors() == op.Add().attributes() == {}


def test_a_table_knows_its_domain():
    lookup = op.Lookup((-3, 0), (2, 1), None, [[1, 2], [3, 4], [5, 6]])
    assert lookup.domain(0) == Levels(-3, 1, 2)
    assert lookup.domain(1) == Levels(0, 1)


def test_a_domain_that_no_wire_can_have_is_refused():
    with pytest.raises(AlphabetError, match="256 bits"):
        op.Lookup((2**254,), (2**254,), None, [0, 1, 2]).domain(0)


@pytest.mark.parametrize(
    ("operation", "shapes", "result"),
    [
        (op.Affine([[1, 2]], [0]), [(2,)], (1,)),
        (op.Affine([[1, 2]], [0]), [(5, 4, 2)], (5, 4, 1)),
        (op.Conv((2,), ((1, 0),), (3,), 2, np.ones((4, 1, 2)).astype(int), [0] * 4), [(2, 9)], (4, 4)),
        (
            op.Conv((1, 1), ((0, 0), (0, 0)), (1, 1), 1, np.ones((4, 3, 2, 3)).astype(int), [0] * 4),
            [(3, 5, 5)],
            (4, 4, 3),
        ),
        (op.Embed([[1, 2, 3]]), [(4,)], (4, 3)),
        (op.Embed([[1, 2, 3]]), [()], (3,)),
        (op.MaxPool((2,), (2,), ((0, 0),)), [(3, 5)], (3, 2)),
        (op.Sum((0, -1)), [(2, 3, 4)], (3,)),
        (op.Sum((0,)), [(2,)], ()),
        (op.Argmax(-2), [(2, 3)], (3,)),
        (op.Reshape((3, 2)), [(6,)], (3, 2)),
        (op.Reshape(()), [(1, 1)], ()),
        (op.Concat(-1), [(2, 3), (2, 1)], (2, 4)),
        (op.Slice((1, 0), (6, 1), (2, 5)), [(6, 2)], (3, 1)),
        (op.Transpose((2, 0, 1)), [(2, 3, 4)], (4, 2, 3)),
        (op.Transpose(()), [()], ()),
    ],
)
def test_shapes(operation, shapes, result):
    assert result_shape(operation, *shapes) == result


@pytest.mark.parametrize(
    ("operation", "shapes", "message"),
    [
        (op.Affine([[1, 2]], [0]), [(3,)], "needs a last axis of 2, the operand has shape"),
        (op.Affine([[1, 2]], [0]), [()], "needs a last axis"),
        (op.Conv((1,), PAIR, (1,), 1, [[[1]]], [0]), [(2, 4)], r"needs an operand \(1 channels, length\)"),
        (op.Conv((1,), PAIR, (1,), 1, [[[1]]], [0]), [(1,)], "needs an operand"),
        (op.Conv((1,), PAIR, (9,), 1, [[[1, 1]]], [0]), [(1, 9)], "a window of 10 does not fit into 9"),
        (op.Staircase(0, [[0]], [[0, 1]]), [(2,)], "1 channels of thresholds, but axis 0"),
        (op.Staircase(1, [[0]], [[0, 1]]), [(1,)], "no axis 1 in shape"),
        (op.Lookup((0,), (1,), None, [0]), [(1,), (1,)], "1 axes, but 2 operands"),
        (op.Lookup((0, 0), (1, 1), None, [[0]]), [(1,), (2,)], "operands must have one shape"),
        (op.Add(), [(1,), (1, 1)], "operands must have one shape"),
        (op.MaxPool((1, 1), (1, 1), ((0, 0),) * 2), [(3,)], "windows over 2 axes"),
        (op.MaxPool((4,), (1,), ((0, 0),)), [(3,)], "a window of 4 does not fit into 3"),
        (op.Sum((0, -1)), [(3,)], "an axis is named twice"),
        (op.Sum((1,)), [(3,)], "no axis 1"),
        (op.Argmax(0), [()], "no axis 0"),
        (op.Reshape((5,)), [(2, 3)], r"\(2, 3\) has 6 elements, \(5,\) has 5"),
        (op.Concat(0), [(2, 3), (2, 4)], "shapes may differ in axis 0 only"),
        (op.Concat(0), [(2,), (2, 4)], "shapes may differ in axis 0 only"),
        (op.Concat(0), [()], "no axis 0"),
        (op.Slice((0,), (4,), (1,)), [(3,)], "leaves the shape"),
        (op.Slice((0,), (1,), (1,)), [(3, 3)], "leaves the shape"),
        (op.Transpose((1, 0)), [(3,)], "2 axes named"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(operation, shapes, message):
    with pytest.raises(ShapeError, match=message):
        result_shape(operation, *shapes)


def test_the_work_of_an_operation_is_known_before_it_is_done():
    conv = op.Conv((10**9,), ((0, 10**9),), (1,), 1, [[[1, 2]]], [0])
    assert result_shape(conv, (1, 4)) == (1, 2)
    assert padded_size(conv, (1, 4)) == 10**9 + 4
    assert padded_size(op.Add(), (3,), (3,)) == work(op.Add(), (3,)) == 0
    assert work(op.Affine([[1, 2]], [0]), (5, 1)) == 10
    square = op.Conv((1, 1), ((0, 0),) * 2, (1, 1), 1, np.ones((4, 64, 3, 3), dtype=int), [0] * 4)
    assert work(square, (4, 50, 50)) >= 4 * 50 * 50 * 64 * 9
    assert work(conv, (1, 2)) >= 2 * 2**13  # every tap costs something
    assert work(op.SumPool((3, 2), (1, 1), ((0, 0), (0, 0))), (5,)) >= 30
    assert padded_size(op.SumPool((3, 2), (1, 1), ((0, 0), (1, 0))), (7, 4, 4)) == 7 * 4 * 5
