import numpy as np
import pytest

from zahlen.machine import (
    AlphabetError,
    Builder,
    Codes,
    Levels,
    MachineError,
    RangeError,
    ShapeError,
    ZahlenError,
)
from zahlen.machine import operations as op


@pytest.fixture
def b():
    builder = Builder()
    builder.input("x", (3,), Levels(-4, 4))
    builder.input("image", (2, 5, 5), Levels(0, 255))
    builder.input("code", (3,), Codes(4, "V4"))
    builder.input("other", (3,), Codes(4, "Z4"))
    return builder


FOREIGN = Builder().input("x", (3,), Levels(-4, 4))

REFUSALS = {
    # what is refused: (how, error, what its message says)
    "a float weight": (
        lambda b: b.affine("x", [[1.0, 2, 3]], name="w"),
        MachineError,
        "wire 'w': weight: integers are due, got float64; put the values on an integer grid first",
    ),
    "ragged weights": (lambda b: b.affine("x", [[1], [2, 3]], name="w"), MachineError, "wire 'w': weight: .* lengths"),
    "a float threshold": (lambda b: b.staircase("x", [0.5], [0, 1]), MachineError, "wire 'staircase_1': .*float64"),
    "a wrong width": (lambda b: b.affine("x", [[1, 2]], name="w"), ShapeError, r"wire 'w': .*last axis of 2.*\(3,\)"),
    "a scalar weight": (lambda b: b.affine("x", 3), MachineError, "wire 'affine_1'"),
    "no rows": (lambda b: b.affine("x", np.zeros((0, 3), dtype=int)), MachineError, "wire 'affine_1': .*empty"),
    "a bias too long": (lambda b: b.affine("x", [[1, 2, 3]], [0, 0]), MachineError, "wire 'affine_1': .*does not fit"),
    "an unknown operand": (
        lambda b: b.neg("y", name="n"),
        MachineError,
        "wire 'n': unknown operand 'y'; .*same builder",
    ),
    "a foreign wire": (lambda b: b.neg(FOREIGN), MachineError, "wire 'neg_1': unknown operand 'x'; .* same builder"),
    "no operand at all": (lambda b: b.neg(None), MachineError, "unknown operand None"),
    "too many operands": (lambda b: b.append(op.Neg(), "x", "x"), MachineError, "neg takes 1 operands, got 2"),
    "too few operands": (lambda b: b.append(op.Add(), "x"), MachineError, "add takes 2 operands, got 1"),
    "nothing to concatenate": (lambda b: b.concat(), MachineError, "concat takes some operands, got 0"),
    "a taken name": (lambda b: b.neg("x", name="x"), MachineError, "wire 'x': the name is taken"),
    "an empty name": (lambda b: b.neg("x", name=""), MachineError, "wire '': a name is a letter"),
    "a name with a blank": (lambda b: b.neg("x", name="a b"), MachineError, "wire 'a b': a name is a letter"),
    "a name with a newline": (lambda b: b.neg("x", name="a\n"), MachineError, "a name is a letter"),
    "a name that starts badly": (lambda b: b.neg("x", name="_a"), MachineError, "a name is a letter"),
    "a name too long": (lambda b: b.neg("x", name="a" * 65), MachineError, "at most 63"),
    "a name of other letters": (lambda b: b.neg("x", name="é"), MachineError, "a name is a letter"),
    "a name that is none": (lambda b: b.input(5, (3,), Levels(0, 1)), MachineError, "wire 5: a name is a letter"),
    "a shape that is none": (lambda b: b.input("y", 3, Levels(0, 1)), MachineError, "wire 'y': input: shape must be"),
    "an alphabet that is none": (lambda b: b.register("r", (3,), 3), MachineError, "wire 'r': .*alphabet expected"),
    "256 bits exceeded": (
        lambda b: b.shift(b.shift("x", -200, name="far"), -100, name="further"),
        RangeError,
        "wire 'further': shift would need 304 bits, more than 256; clamp or shift before",
    ),
    "a product beyond 256 bits": (
        lambda b: b.mul(b.shift("x", -200, name="far"), "far", name="square"),
        RangeError,
        "wire 'square': mul would need .* clamp",
    ),
    "a table of the wrong size": (
        lambda b: b.lookup("x", [0] * 8, name="t"),
        ShapeError,
        r"wire 't': lookup: a table of shape \(9,\) is due for operands in -4..4, got \(8,\)",
    ),
    "a table of nothing": (lambda b: b.lookup(table=[1]), ShapeError, r"shape \(\) is due"),
    "a lookup without anything": (lambda b: b.lookup(), MachineError, "wire 'lookup_1'"),
    "a lookup without a table": (lambda b: b.lookup("x"), MachineError, "wire 'lookup_1'"),
    "a float table": (lambda b: b.lookup("x", [0.5] * 9), MachineError, "float64"),
    "a domain too small": (
        lambda b: b.append(op.Lookup((-3,), (1,), None, [0] * 8), "x", name="t"),
        RangeError,
        "wire 't': lookup has entries for -3..4, but 'x' can reach -4..4; clamp it, or make the table larger",
    ),
    "a domain off the grid": (
        lambda b: b.append(op.Lookup((-4,), (2,), None, [0] * 5), "x"),
        RangeError,
        "entries for -4..4 step 2, but 'x' can reach -4..4",
    ),
    "an embedding too short": (lambda b: b.embed("code", [[1]] * 3), RangeError, "entries for 0..2, but 'code' can"),
    "an embedding of negatives": (lambda b: b.embed("x", [[1]] * 9), RangeError, "entries for 0..8, but 'x' can reach"),
    "arithmetic on codes": (
        lambda b: b.add("code", "code", name="sum"),
        AlphabetError,
        "wire 'sum': add needs numbers, got 4 codes of V4; combine codes with lookup",
    ),
    "affine on codes": (lambda b: b.affine("code", [[1, 1, 1]]), AlphabetError, "affine needs numbers"),
    "argmax of codes": (lambda b: b.argmax("code"), AlphabetError, "argmax needs numbers"),
    "a staircase on codes": (lambda b: b.staircase("code", [1], [0, 1]), AlphabetError, "staircase needs numbers"),
    "codes of two kinds": (
        lambda b: b.concat("code", "other"),
        AlphabetError,
        "concat of different alphabets: .*V4.*Z4",
    ),
    "codes beside numbers": (lambda b: b.concat("code", "x"), AlphabetError, "concat of different alphabets"),
    "unsorted thresholds": (
        lambda b: b.staircase("x", [2, 1], [0, 1, 2], name="s"),
        MachineError,
        "wire 's': staircase: thresholds are not sorted",
    ),
    "a wrong number of channels": (
        lambda b: b.staircase("x", [[0]] * 2, [[0, 1]] * 2),
        ShapeError,
        "2 channels of thresholds, but axis 0",
    ),
    "shapes that differ": (
        lambda b: b.add("x", "image"),
        ShapeError,
        "wire 'add_1': add: operands must have one shape",
    ),
    "a window too large": (lambda b: b.maxpool("x", (4,)), ShapeError, "a window of 4 does not fit into 3"),
    "a window that is none": (lambda b: b.maxpool("x", 2), MachineError, "size must be a sequence"),
    "an axis that is none": (lambda b: b.sum("x", 0), MachineError, "wire 'sum_1': sum: axes must be a sequence"),
    "a float axis": (lambda b: b.argmax("x", 0.0), MachineError, "wire 'argmax_1': argmax: axis must be an integer"),
    "a float shift": (lambda b: b.shift("x", 1.0), MachineError, "shift: bits must be an integer"),
    "a float clamp": (lambda b: b.clamp("x", 0.5, 1), MachineError, "clamp: lo must be an integer"),
    "a register's start outside": (
        lambda b: b.register("r", (3,), Levels(0, 1), 2),
        MachineError,
        "wire 'r': register: the initial value leaves 0..1",
    ),
    "a register's start of another shape": (
        lambda b: b.register("r", (3,), Levels(0, 1), [0, 0]),
        ShapeError,
        r"wire 'r': a register of shape \(3,\) cannot start at a value of shape \(2,\)",
    ),
    "a register's float start": (
        lambda b: b.register("r", (3,), Levels(0, 1), 0.0),
        MachineError,
        "wire 'r': .*float64",
    ),
    "constants off their alphabet": (lambda b: b.constant([3], Levels(0, 2)), MachineError, "constant: leaves 0..2"),
    "channels that differ": (
        lambda b: b.conv("image", np.ones((4, 3, 3, 3), dtype=int)),
        ShapeError,
        "conv: needs an operand .3 channels, height, width.",
    ),
    "a conv of two axes only": (lambda b: b.conv("image", [[1]]), MachineError, "weight has 2 axes, not 3 or 4"),
    "a float stride": (
        lambda b: b.conv("image", np.ones((4, 2, 3, 3), dtype=int), stride=1.5),
        MachineError,
        "conv: stride must be a sequence of integers, got 1.5",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_name_the_wire_and_a_way_out(b, what):
    how, error, message = REFUSALS[what]
    with pytest.raises(error, match=message) as caught:
        how(b)
    assert caught.type is error
    assert issubclass(error, ZahlenError)
    if "far" not in b.build("x").wires:  # nothing half made is left
        assert list(b.build("x").wires) == ["x", "image", "code", "other"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda b: b.connect("x", "x"), MachineError, "wire 'x' is no register"),
        (lambda b: b.connect("r", "q"), MachineError, "unknown operand 'q'"),
        (lambda b: b.connect("r", "image"), ShapeError, r"register 'r' has shape \(3,\), 'image' has \(2, 5, 5\)"),
        (
            lambda b: b.connect("r", "x"),
            RangeError,
            "register 'r' holds 0..3, but 'x' can reach -4..4; clamp it, or declare the register wider",
        ),
        (lambda b: b.connect("r", "code"), AlphabetError, "register 'r' holds 0..3, not 4 codes of V4"),
        (lambda b: b.connect("c", "other"), AlphabetError, "register 'c' holds 4 codes of V4, not 4 codes of Z4"),
        (lambda b: b.connect("c", "x"), AlphabetError, "register 'c' holds 4 codes"),
        (lambda b: [b.connect("r", "r"), b.connect("r", "r")], MachineError, "register 'r' is connected already"),
        (lambda b: b.connect("odd", b.clamp("x", -3, 3)), RangeError, "holds -3..3 step 2, but"),
        (lambda b: b.build("x"), MachineError, "register 'r' has no successor; connect it"),
    ],
)
def test_registers_take_only_what_fits(b, make, error, message):
    b.register("r", (3,), Levels(0, 3))
    b.register("c", (3,), Codes(4, "V4"))
    b.register("odd", (3,), Levels(-3, 3, 2))
    with pytest.raises(error, match=message):
        make(b)


def test_a_register_starts_at_zero_or_else_at_the_least_element(b):
    starts = [
        b.register(f"r{k}", (2,), a).operation.initial.tolist() for k, a in enumerate((Levels(-1, 1), Levels(3, 5)))
    ]
    assert starts == [[0, 0], [3, 3]]
    assert b.register("r2", (2, 1), Levels(0, 5), 4).operation.initial.tolist() == [[4], [4]]
    assert b.register("r3", (2,), Levels(0, 5), [4, 5]).operation.initial.tolist() == [4, 5]
    assert b.register("r4", (), Levels(0, 5), 4).operation.initial.tolist() == 4


@pytest.mark.parametrize("outputs", [(), ("x", "x")])
def test_outputs_are_some_and_no_two_the_same(b, outputs):
    with pytest.raises(MachineError, match="at least one output, and none twice"):
        b.build(*outputs)


def test_a_machine_needs_something_that_drives_it():
    b = Builder()
    with pytest.raises(MachineError, match="an input or a register"):
        b.build(b.constant([1]))


def test_names_are_numbered_where_none_is_given(b):
    assert [b.neg("x").name, b.neg("x").name, b.add("x", "x").name] == ["neg_1", "neg_2", "add_1"]
    b.neg("x", name="add_2")
    assert b.add("x", "x").name == "add_3"


def test_defaults(b):
    assert b.affine("x", [[1, 2, 3]]).operation.bias.tolist() == [0]
    conv = b.conv("image", np.ones((2, 1, 3, 3), dtype=int), groups=2, padding=1, stride=2).operation
    assert (conv.padding, conv.stride, conv.dilation) == (((1, 1), (1, 1)), (2, 2), (1, 1))
    conv = b.conv("image", np.ones((2, 2, 3, 3), dtype=int), padding=(1, (0, 2)), stride=[1, np.int64(2)]).operation
    assert (conv.padding, conv.stride) == (((1, 1), (0, 2)), (1, 2))
    assert b.maxpool("image", (2, 3)).operation.stride == (2, 3)
    assert b.sumpool("image", (2, 2), stride=1, padding=(1, 0)).operation.padding == ((1, 1), (0, 0))
    assert b.slice("x", (0,), (2,)).operation.step == (1,)


def test_a_table_may_stand_last_or_be_named(b):
    y = b.lookup("x", list(range(9)))
    z = b.lookup("x", table=list(range(9)))
    assert b.build(y, z).trace(
        {"x": [[-4, 0, 4]], "image": np.zeros((1, 2, 5, 5), int), "code": [[0] * 3], "other": [[0] * 3]}
    )["lookup_1"].tolist() == [[0, 4, 8]]


def test_codes_pass_through_what_does_not_compute(b):
    v4 = Codes(4, "V4")
    product = b.lookup("code", "code", [[i ^ j for j in range(4)] for i in range(4)], alphabet=v4)
    assert product.alphabet == v4
    assert b.concat(b.reshape("code", (1, 3)), b.reshape(product, (1, 3))).alphabet == v4
    assert b.transpose("code", (0,)).alphabet == v4
    assert b.slice("code", (0,), (1,)).alphabet == v4
    assert b.constant([0, 3], v4).alphabet == v4
    assert b.embed("code", [[1], [2], [3], [4]]).alphabet == Levels(1, 4)
    assert b.lookup("code", [5, 6, 7, 8]).alphabet == Levels(5, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b: b.input("y", (1001,), Levels(0, 1)), "wire 'y': 1,001 elements more exceed the limit of 1,000"),
        (lambda b: b.input("y", (2**200, 2**50), Levels(0, 1)), "exceed the limit"),
        (lambda b: b.conv("x", [[[1]]], padding=10**9, stride=10**9), "exceed the limit"),
        (lambda b: b.conv("x", [[[1, 1]]], padding=((0, 10**9),), dilation=10**9), "exceed the limit"),
        (lambda b: b.maxpool("x", (10**9,), (10**9,), 10**9 - 1), "exceed the limit"),
        (lambda b: b.affine(b.reshape("x", (1, 10, 1)), np.ones((100, 1), int)), "exceed the limit"),
        (lambda b: [b.neg("x") for _ in range(100)], "wire 'neg_100': 10 elements more exceed"),
        (lambda b: [b.shift("x", -60), *(b.shift("x", -70 - k) for k in range(4))], "320 elements more"),
        (lambda b: b.constant(list(range(1001))), "1,001 elements more .* raise max_elements to 1,011 or more"),
    ],
)
def test_the_number_of_elements_is_limited(make, message):
    b = Builder(max_elements=1000)
    b.input("x", (1, 10), Levels(0, 1))
    with pytest.raises(ShapeError, match=message):
        make(b)


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.affine("x", np.ones((11, 10), int)),
        lambda b: b.conv("x", np.ones((5, 1, 5), int)),
        lambda b: b.maxpool("x", (9,), (1,), 8),
        lambda b: b.affine("wide", np.ones((1, 10), int)),
    ],
)
def test_the_work_of_proving_is_limited(make):
    b = Builder(max_work=109)
    b.input("x", (1, 10), Levels(0, 1))
    b.input("wide", (1, 10), Levels(0, 2**60))
    with pytest.raises(
        RangeError, match=r"range proofs of this machine would take more than 109 steps; raise max_work"
    ):
        make(b)


def test_the_limits_that_a_refusal_names_are_enough():
    def make(**limits):
        b = Builder(**limits)
        b.affine(b.affine(b.input("x", (10,), Levels(0, 1)), np.ones((7, 10), int)), np.ones((5, 7), int))

    with pytest.raises(ShapeError, match=r"5 elements more .* limit of 21 .* raise max_elements to 22 or more"):
        make(max_elements=21)
    with pytest.raises(RangeError, match="more than 104 steps; raise max_work to 105 or more"):
        make(max_work=104)
    make(max_elements=22, max_work=105)


def test_building_real_networks_is_quick():
    import time

    rng = np.random.default_rng(0)

    def activation(b, x, channels, steps):
        thresholds = np.sort(rng.integers(-(10**6), 10**6, (channels, steps)), axis=1)
        return b.staircase(x, thresholds, np.tile(np.arange(steps + 1), (channels, 1)))

    def perceptron():
        b = Builder()
        x = b.input("x", (784,), Levels(0, 255))
        for width in (256, 256):
            x = activation(b, b.affine(x, rng.integers(-127, 128, (width, *x.shape))), width, 254)
        b.build(b.affine(x, rng.integers(-127, 128, (10, 256))))

    def convolutional():
        b = Builder()
        x = b.input("x", (1, 28, 28), Levels(0, 255))
        for channels in (32, 64):
            weight = rng.integers(-127, 128, (channels, x.shape[0], 3, 3))
            x = b.maxpool(activation(b, b.conv(x, weight, padding=1), channels, 30), (2, 2))
        b.build(b.affine(b.reshape(x, (3136,)), rng.integers(-127, 128, (10, 3136))))

    for build in (perceptron, convolutional):
        times = []
        for _ in range(3):
            start = time.process_time()
            build()
            times.append(time.process_time() - start)
        assert min(times) < 1
