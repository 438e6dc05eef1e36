import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from definition import sample
from hypothesis import given
from hypothesis import strategies as st
from mutations import canonical, file_bytes, independent_hash
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes
from strategies import batches, machines, random_batch, random_machine

from zahlen.machine import Builder, Codes, FileError, Levels, ZahlenError, load, replacing
from zahlen.machine import operations as op
from zahlen.machine.file import program, tensors


def small():
    """A machine with a register, codes, tables and weights."""
    b = Builder()
    x = b.input("x", (2,), Levels(-3, 3, 2))
    c = b.input("c", (1,), Codes(4, "V4"))
    r = b.register("r", (1,), Levels(-2, 2), [1])
    z = b.add(b.affine(x, [[100, -300]], [7], name="z"), r, name="sum")
    s = b.staircase(z, [-5, 5], [-2, 0, 2], name="s")
    b.connect(r, s)
    e = b.embed(b.lookup(c, [3, 2, 1, 0], alphabet=Codes(4, "V4"), name="t"), [[1], [2], [3], [2**40]], name="e")
    return b.build(s, e, notes={"seed": 1, "data": ["digits", None], "accuracy": 0.5})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.zahlen"


def write(path, change=lambda tree: None, constants=None, **metadata):
    """A file of `small` after a change of its program, with the hash recomputed."""
    tree, arrays = program(small()), tensors(small())
    change(tree)
    arrays.update(constants or {})
    arrays = {name: array for name, array in arrays.items() if array is not None}
    entries = {"zahlen": canonical(tree).decode(), "notes": "{}", "sha256": independent_hash(tree, arrays)}
    entries.update(metadata)
    path.write_bytes(to_bytes(arrays, {k: v for k, v in entries.items() if v is not None}))
    return path


# ---------------------------------------------------------------------------------------------------- there and back


@given(st.data(), machines(wide=True))
def test_a_machine_comes_back_as_it_was(tmp_path_factory, data, machine):
    path = tmp_path_factory.mktemp("file") / "m"
    machine = machine.annotated(seed=data.draw(st.integers()), text="é\n\0")
    path.write_bytes(file_bytes(program(machine), tensors(machine), dict(machine.notes)))
    again = load(path)
    assert str(again) == str(machine)
    assert again.hash == machine.hash
    assert again.notes == machine.notes
    assert (again.outputs, again.successors, list(again.wires)) == (
        machine.outputs,
        machine.successors,
        list(machine.wires),
    )
    inputs, state = data.draw(batches(machine))
    ours, theirs = machine.trace(inputs, state), again.trace(inputs, state)
    for name, wire in machine.wires.items():
        assert np.array_equal(sample(ours[name]), sample(theirs[name]))
        assert again.wires[name].alphabet == wire.alphabet
        assert again.wires[name].workspace == wire.workspace
        assert np.array_equal(again.wires[name].range.lo, wire.range.lo)
    assert all(np.array_equal(machine.initial_state()[n], again.initial_state()[n]) for n in machine.registers)


def test_save_and_load(path):
    machine = small()
    machine.save(path)
    again = load(str(path))
    assert again.hash == machine.hash
    assert again.notes == {"seed": 1, "data": ["digits", None], "accuracy": 0.5}
    again.save(path)
    assert load(path).hash == machine.hash


def test_saving_twice_gives_the_same_bytes(tmp_path):
    small().save(tmp_path / "a")
    small().save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_holds_the_smallest_integers(path):
    small().save(path)
    types = {name: str(array.dtype) for name, array in load_file(path).items()}
    assert types == {
        "e.table": "int64",
        "r.initial": "int8",
        "s.thresholds": "int8",
        "s.values": "int8",
        "t.table": "int8",
        "z.bias": "int8",
        "z.weight": "int16",
    }


def test_wider_integers_than_needed_are_read_as_the_same_machine(path):
    assert load(write(path, constants={"z.weight": np.array([[100, -300]], dtype=np.int64)})).hash == small().hash


# ---------------------------------------------------------------------------------------------------- the hash


@given(machines(wide=True))
def test_the_hash_is_that_of_the_specification(machine):
    assert machine.hash == independent_hash(program(machine), tensors(machine))


def test_the_hash_never_changes():
    assert small().hash == HASH


HASH = "c0679e70da3c8c3aa530e3ac0fce5f129e1d89457c1bf647fde6d2a70c5a9041"


def test_the_hash_does_not_see_notes():
    assert small().annotated(other=2).hash == small().hash


def test_the_hash_sees_every_constant():
    seen = {small().hash}
    for name, array in tensors(small()).items():
        for k in range(array.size):
            changed = array.astype(np.int64)
            changed.reshape(-1)[k] += 1
            seen.add(independent_hash(program(small()), {**tensors(small()), name: changed}))
    assert len(seen) == 1 + sum(a.size for a in tensors(small()).values())


def test_the_hash_sees_every_attribute_and_name():
    def build(
        x="x", lo=-3, shift=1, rounding="floor", axis=0, pad=0, out=("y", "s"), structure="V4", follow="y", clamp=3
    ):
        b = Builder()
        b.input(x, (1, 2), Levels(lo, 3, 2))
        r = b.register("r", (1, 2), Levels(-9, 9))
        b.input("c", (1,), Codes(4, structure))
        b.shift(x, shift, rounding, name="s")
        b.sumpool("s", (2,), (1,), pad, name="p")
        b.sum("p", (axis,), name="a")
        b.clamp(x, -3, clamp, name="y")
        b.connect(r, follow)
        return b.build(*out)

    variants = [
        {},
        {"x": "x2"},
        {"lo": -5},
        {"shift": 2},
        {"rounding": "half_up"},
        {"axis": 1},
        {"axis": -1},
        {"pad": 1},
        {"out": ("s", "y")},
        {"out": ("y",)},
        {"structure": "Z4"},
        {"follow": "s"},
        {"clamp": 2},
    ]
    assert len({build(**v).hash for v in variants}) == len(variants)


def test_the_hash_sees_shapes_and_order():
    def build(*values, order=1):
        b = Builder()
        b.input("x", (2, 3), Levels(0, 1))
        for k in (0, 1)[::order]:
            b.constant(values[k], name=f"c{k}")
        return b.build("x")

    row, column = [[1, 2]], [[1], [2]]
    hashes = {build(row, column).hash, build(column, row).hash, build(row, row).hash, build(row, row, order=-1).hash}
    assert len(hashes) == 4


# ---------------------------------------------------------------------------------------------------- refusals


def test_what_is_not_changed_is_read(path):
    assert load(write(path)).hash == small().hash


def wire(tree, name):
    return next(w for w in tree["wires"] if w["name"] == name)


CHANGES = {
    "a newer version": (lambda t: t.update(version=2), "format version 2; this version of zahlen reads 1"),
    "a version that is true": (lambda t: t.update(version=True), "format version True"),
    "an unknown operation": (lambda t: wire(t, "z").update(op="exec"), "unknown operation 'exec'"),
    "an operation that is none": (lambda t: wire(t, "z").update(op=[]), r"unknown operation \[\]"),
    "a wire that is none": (lambda t: t["wires"].append("x"), "unknown operation 'x'"),
    "an unknown attribute": (
        lambda t: wire(t, "s").update(more=1),
        "wire 's': an object with exactly axis, name, of, op",
    ),
    "a missing attribute": (lambda t: wire(t, "s").pop("axis"), "wire 's': an object with exactly"),
    "an unknown key": (lambda t: t.update(more=1), "program: an object with exactly next, outputs, version, wires"),
    "a missing key": (lambda t: t.pop("next"), "program: an object with exactly"),
    "a float": (lambda t: wire(t, "s").update(axis=0.0), "'0.0' is no integer"),
    "a float in an exponent": (lambda t: wire(t, "s").update(axis=1e300), "is no integer"),
    "not a number": (lambda t: wire(t, "s").update(axis=float("nan")), "'NaN' is no integer"),
    "infinity": (lambda t: wire(t, "s").update(axis=float("-inf")), "'-Infinity' is no integer"),
    "true as a number": (lambda t: wire(t, "s").update(axis=True), "wire 's': staircase: axis must be an integer"),
    "a string as a number": (lambda t: wire(t, "s").update(axis="0"), "axis must be an integer, got '0'"),
    "a huge number": (lambda t: wire(t, "s").update(axis=10**4000), "axis has more than 256 bits"),
    "a number too long to parse": (
        lambda t: wire(t, "s").update(axis=7),
        "JSON does not parse",
        '"axis":7',
        "9" * 5000,
    ),
    "huge levels": (
        lambda t: wire(t, "x")["alphabet"].update(levels=[-(10**4299), 10**4299, 1]),
        "more than the 256 bits",
    ),
    "levels of two": (lambda t: wire(t, "x")["alphabet"].update(levels=[0, 1]), "levels: three integers are due"),
    "levels that are none": (lambda t: wire(t, "x").update(alphabet=[0, 1, 1]), "wire 'x': .*alphabet expected"),
    "an unknown alphabet": (lambda t: wire(t, "x").update(alphabet={"reals": 1}), "no alphabet has the keys"),
    "two alphabets": (lambda t: wire(t, "x")["alphabet"].update(codes=1), "no alphabet has the keys"),
    "no codes": (lambda t: wire(t, "c")["alphabet"].update(codes=0), "Codes: n must be in"),
    "nested too deep": (lambda t: wire(t, "x").update(shape=[[[[[2]]]]]), "nested too deeply"),
    "nested without end": (lambda t: wire(t, "x").update(shape=7), "JSON does not parse", '"shape":7', "[" * 100_000),
    "no shape": (lambda t: wire(t, "x").update(shape=[0]), "shape must be at least 1"),
    "an endless shape": (lambda t: wire(t, "x").update(shape=[2**31, 2**31]), "elements more exceed the limit"),
    "a long shape": (lambda t: wire(t, "x").update(shape=[1] * 100), "100 axes"),
    "a shape that does not fit": (lambda t: wire(t, "x").update(shape=[3]), "wire 'z': affine: weight 1 x 2 needs"),
    "an unknown operand": (lambda t: wire(t, "z").update(of=["y"]), "wire 'z': unknown operand 'y'"),
    "an operand to come": (lambda t: wire(t, "z").update(of=["s"]), "wire 'z': unknown operand 's'"),
    "an operand that is none": (lambda t: wire(t, "z").update(of=[1]), "operand: a string is due, got 1"),
    "operands that are none": (lambda t: wire(t, "z").update(of="x"), "of: a list is due"),
    "an operand too many": (lambda t: wire(t, "z").update(of=["x", "x"]), "affine takes 1 operands, got 2"),
    "no operand": (lambda t: wire(t, "sum").update(of=[]), "add takes 2 operands, got 0"),
    "a wire twice": (lambda t: t["wires"].append(t["wires"][0]), "the name is taken"),
    "a name that is none": (lambda t: wire(t, "sum").update(name=1), "1 is no name of a wire"),
    "a bad name": (lambda t: wire(t, "sum").update(name="a.b"), "'a.b' is no name of a wire"),
    "a long name": (lambda t: wire(t, "sum").update(name="a" * 10**6), "is no name of a wire"),
    "no outputs": (lambda t: t.update(outputs=[]), "at least one output"),
    "an unknown output": (lambda t: t.update(outputs=["q"]), "unknown operand 'q'"),
    "an output twice": (lambda t: t.update(outputs=["s", "s"]), "none twice"),
    "outputs that are none": (lambda t: t.update(outputs="s"), "outputs: a list is due"),
    "no successor": (lambda t: t.update(next={}), "register 'r' has no successor"),
    "a successor that does not fit": (lambda t: t.update(next={"r": "sum"}), "register 'r' holds -2..2, but"),
    "a successor of no register": (lambda t: t["next"].update(x="x"), "wire 'x' is no register"),
    "successors that are none": (lambda t: t.update(next=["r"]), "next must be an object"),
    "a successor that is none": (lambda t: t.update(next={"r": 3}), "next: a string is due, got 3"),
    "wires that are none": (lambda t: t.update(wires={}), "wires: a list is due"),
    "no wires": (lambda t: t.update(wires=[], outputs=["x"]), "tensor '.*' belongs to nothing"),
    "a wire less": (lambda t: t["wires"].pop(3), "unknown operand 'z'"),
    "arithmetic on codes": (lambda t: wire(t, "sum").update(of=["c", "c"]), "needs numbers"),
    "a table's base": (lambda t: wire(t, "t").update(base=[1]), "lookup has entries for 1..4, but 'c' can reach"),
    "a table's base far away": (lambda t: wire(t, "t").update(base=[2**255 - 1]), "bits"),
    "a table's endless step": (lambda t: wire(t, "t").update(step=[2**254]), "bits"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_program_is_refused(path, what):
    change, message, *replacement = CHANGES[what]
    tree = program(small())
    change(tree)
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    if replacement:
        old, new = replacement
        assert old in text
        text = text.replace(old, old[: old.index("7")] + new)
    write(path, zahlen=text)
    with pytest.raises(FileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: not a machine that this version can read: ")
    assert len(str(caught.value)) < 600


ARRAYS = {
    "a missing tensor": ({"z.bias": None}, "tensor 'z.bias' is missing"),
    "a tensor too many": ({"z.more": np.zeros(1, np.int8)}, "tensor 'z.more' belongs to nothing"),
    "a float tensor": ({"z.bias": np.zeros(1, np.float32)}, "tensor 'z.bias' has type F32, not a signed integer one"),
    "an unsigned tensor": ({"z.bias": np.zeros(1, np.uint8)}, "tensor 'z.bias' has type U8"),
    "a boolean tensor": ({"z.bias": np.zeros(1, bool)}, "tensor 'z.bias' has type BOOL"),
    "an empty tensor": ({"z.bias": np.zeros(0, np.int8)}, "wire 'z': affine: bias is empty"),
    "a tensor of another shape": ({"z.bias": np.zeros(2, np.int8)}, "wire 'z': affine: bias .* does not fit"),
    "a tensor of other axes": ({"z.weight": np.zeros(2, np.int8)}, "wire 'z': affine: weight has 1 axes"),
    "unsorted thresholds": ({"s.thresholds": np.array([5, -5])}, "wire 's': staircase: thresholds are not sorted"),
    "an element outside": ({"t.table": np.array([3, 2, 1, 4])}, "wire 't': lookup: leaves 4 codes of V4"),
    "a start outside": ({"r.initial": np.array([3])}, "wire 'r': register: the initial value leaves -2..2"),
    "a table too short": ({"t.table": np.array([3, 2, 1])}, "wire 't': lookup has entries for 0..2, but 'c' can reach"),
    "an overflow": ({"s.values": np.array([-2, 0, 3])}, "register 'r' holds -2..2, but 's' can reach -2..3"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_changed_tensors_are_refused(path, what):
    arrays, message = ARRAYS[what]
    with pytest.raises(FileError, match=message):
        load(write(path, constants=arrays))


METADATA = {
    "another hash": ({"sha256": "0" * 64}, "does not have the hash that the file states; it is damaged"),
    "a hash in capitals": ({"sha256": small().hash.upper()}, "does not have the hash"),
    "no hash": ({"sha256": None}, "not the three entries zahlen, notes and sha256"),
    "no program": ({"zahlen": None}, "not the three entries"),
    "no notes": ({"notes": None}, "not the three entries"),
    "an entry too many": ({"format": "pt"}, "not the three entries"),
    "a list of notes": ({"notes": "[]"}, "notes must be an object"),
    "notes that do not parse": ({"notes": "{"}, "JSON does not parse"),
    "infinite notes": ({"notes": '{"a":1e999}'}, "'1e999' is no integer"),
    "a note twice": ({"notes": '{"a":1,"a":2}'}, "a key stands twice in one object"),
    "a key twice": ({"zahlen": canonical(program(small())).decode().replace("{", '{"version":1,', 1)}, "stands twice"),
    "an attribute twice": (
        {"zahlen": canonical(program(small())).decode().replace('"axis":0', '"axis":0,"axis":0')},
        "stands twice",
    ),
    "a program that is null": ({"zahlen": "null"}, "program: an object"),
    "an empty program": ({"zahlen": ""}, "JSON does not parse"),
    "two programs": ({"zahlen": "{}{}"}, "JSON does not parse"),
}


@pytest.mark.parametrize("what", METADATA)
def test_changed_metadata_are_refused(path, what):
    metadata, message = METADATA[what]
    with pytest.raises(FileError, match=message):
        load(write(path, **metadata))


def test_a_file_is_there_and_is_one(path):
    folder = path.parent
    for other, message in (
        (path, f"{path}: no such file"),
        (folder, f"{folder}: is a directory"),
        ("a" * 5000, f"{'a' * 5000}: cannot be read: "),
    ):
        with pytest.raises(FileError) as caught:
            load(other)
        assert str(caught.value)[: len(message)] == message
        assert "this version" not in str(caught.value)
    with pytest.raises(FileError, match=r"no such file|null"):
        load("a\0b")
    small().save(folder / "model.zn")
    with pytest.raises(FileError) as caught:
        load(folder)
    assert str(caught.value) == f"{folder}: is a directory; is it {folder / 'model.zn'} that you mean?"
    (folder / "inner").mkdir()
    with pytest.raises(FileError) as caught:
        load(folder / "inner")
    assert str(caught.value) == f"{folder / 'inner'}: is a directory"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\0" * 8,
        b"\xff" * 8,
        b"\xff" * 7 + b"\x7f",
        (2**30).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (10**8).to_bytes(8, "little") + b"{" * 1000,
        (64).to_bytes(8, "little")
        + b'{"a":{"dtype":"I64","shape":[9999999999],"data_offsets":[0,8]}}'.ljust(64)
        + b"\0" * 8,
        (72).to_bytes(8, "little")
        + b'{"a":{"dtype":"I8","shape":[1],"data_offsets":[9223372036854775807,1]}}'.ljust(72),
        b"PK\x03\x04" + b"\0" * 100,
    ],
)
def test_what_is_no_safetensors_file_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(FileError, match="not a machine that this version can read"):
        load(path)


# ---------------------------------------------------------------------------------------------------- limits


def hostile(path, *wires, **constants):
    wires = [{"name": "x", "op": "input", "of": [], "shape": [1, 9], "alphabet": {"levels": [-9, 9, 1]}}, *wires]
    tree = {"version": 1, "wires": wires, "outputs": [wires[-1]["name"]], "next": {}}
    path.write_bytes(file_bytes(tree, {k.replace("_", "."): np.array(v, dtype=np.int8) for k, v in constants.items()}))
    return path


def test_padding_costs_nothing_before_it_is_refused(path):
    conv = {"name": "y", "op": "conv", "of": ["x"], "stride": [10**9], "dilation": [1], "groups": 1}
    with pytest.raises(
        FileError,
        match="wire 'y': 2,000,000,009 elements more exceed the limit of 16,777,216 per sample; "
        "raise max_elements to 2,000,000,018 or more",
    ):
        load(hostile(path, {**conv, "padding": [[10**9, 10**9]]}, y_weight=[[[1]]], y_bias=[0]))
    with pytest.raises(FileError, match=r"wire 'y': .* elements more exceed the limit"):
        load(hostile(path, {**conv, "padding": [[0, 2**200]]}, y_weight=[[[1]]], y_bias=[0]))


def test_windows_cost_nothing_before_they_are_refused(path):
    pool = {"name": "y", "op": "maxpool", "of": ["x"], "stride": [10**9], "size": [10**9 + 1]}
    with pytest.raises(FileError, match="elements more exceed the limit"):
        load(hostile(path, {**pool, "padding": [[10**9, 10**9]]}))


def test_work_costs_nothing_before_it_is_refused(path):
    wide = {"name": "w", "op": "input", "of": [], "shape": [1000, 1000], "alphabet": {"levels": [0, 1, 1]}}
    pool = {"name": "y", "op": "sumpool", "of": ["w"], "stride": [1, 1], "size": [500, 500], "padding": [[0, 0]] * 2}
    with pytest.raises(
        FileError, match="wire 'y': the range proofs of this machine would take more than 17,179,869,184"
    ):
        load(hostile(path, wide, pool))


def test_work_that_is_meant_is_allowed(path):
    small().save(path)
    with pytest.raises(
        FileError, match=r"wire 'z': the range proofs .* more than 1 steps; raise max_work to 2 or more"
    ):
        load(path, max_work=1)
    assert load(path, max_work=2).hash == small().hash


def test_a_machine_with_many_elements_comes_back(path):
    b = Builder()
    x = b.input("x", (2**22, 1), Levels(0, 1))
    machine = b.build(b.neg(b.reshape(x, (2**22,)), name="y"))
    machine.save(path)
    assert load(path).hash == machine.hash


def test_many_small_wires_are_limited_together(path):
    wires = [{"name": f"n{k}", "op": "neg", "of": ["w"]} for k in range(10)]
    wide = {"name": "w", "op": "input", "of": [], "shape": [2**19], "alphabet": {"levels": [0, 1, 1]}}
    with pytest.raises(FileError, match="wire 'n6': 524,288 elements more exceed"):
        load(hostile(path, wide, *wires), max_elements=2**22)
    with pytest.raises(FileError, match="wire 'n9': 524,288 elements more exceed"):
        load(hostile(path, wide, *wires), max_elements=10 * 2**19 + 9)
    assert len(load(hostile(path, wide, *wires), max_elements=11 * 2**19 + 9).wires) == 12


def test_wide_numbers_count_more(path):
    wide = {"name": "w", "op": "input", "of": [], "shape": [2**18], "alphabet": {"levels": [0, 2**200, 1]}}
    with pytest.raises(FileError, match="wire 'n': 8,388,608 elements more exceed"):
        load(hostile(path, wide, {"name": "n", "op": "neg", "of": ["w"]}))


# ---------------------------------------------------------------------------------------------------- writing


def test_a_failed_save_leaves_the_old_file(path, monkeypatch):
    small().save(path)
    before = path.read_bytes()
    with pytest.raises(FileError, match=r"m\.zahlen: notes must be JSON values: .*set"):
        small().annotated(bad={1, 2}).save(path)
    with pytest.raises(FileError, match="notes must be JSON values"):
        small().annotated(bad=float("nan")).save(path)
    loop = []
    loop.append(loop)
    with pytest.raises(FileError, match="notes must be JSON values"):
        small().annotated(bad=loop).save(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    for failing in ("fsync", "replace", "chmod"):
        with monkeypatch.context() as patch:
            patch.setattr(os, failing, full)
            with pytest.raises(FileError, match=r"m\.zahlen: cannot be written: No space left on device"):
                small().save(path)
    with pytest.raises(TypeError), replacing(path) as file:
        file.write("text")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(FileError, match="cannot be written: No such file or directory"):
        small().save(tmp_path / "none" / "m")
    with pytest.raises(FileError, match="cannot be written"):
        small().save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_saved_file_has_ordinary_permissions(path):
    before = os.umask(0o027)
    try:
        small().save(path)
        assert path.stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


# ---------------------------------------------------------------------------------------------------- damage


def test_every_single_bit_of_a_file_counts(path):
    """A flipped bit gives an error, or the same function with other notes."""
    data = file_bytes(program(small()), tensors(small()), {"n": 1})
    for place in range(0, len(data), 3):
        for bit in (place % 8, (place + 3) % 8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            try:
                assert load(path).hash == small().hash
            except FileError:
                continue


def test_every_truncation_is_refused(path):
    data = file_bytes(program(small()), tensors(small()))
    for length in range(0, len(data), 5):
        path.write_bytes(data[:length])
        with pytest.raises(FileError):
            load(path)


def test_damaged_files_are_refused_or_keep_their_word():
    program_file = Path(__file__).with_name("mutations.py")
    result = subprocess.run(
        [sys.executable, program_file, "2024", "10000"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    outcomes = json.loads(result.stdout)
    assert sum(outcomes.values()) == 10_000
    assert outcomes["accepted"] > 300
    assert len(outcomes) > 60  # the deep checks are reached


def test_every_error_is_a_file_error(path):
    """Nothing that the builder refuses comes through as an error of the builder."""
    rng, kinds = random.Random(0), set()
    for _ in range(50):
        machine = random_machine(rng)
        tree = program(machine)
        tree["wires"].reverse()
        path.write_bytes(file_bytes(tree, tensors(machine)))
        try:
            load(path).trace(*random_batch(machine, rng, 2))
        except ZahlenError as error:
            kinds.add(type(error))
    assert kinds == {FileError}


def test_no_operation_is_left_out():
    kinds = set()
    for seed in range(300):
        machine = random_machine(random.Random(seed))
        kinds |= {w["op"] for w in json.loads(canonical(program(machine)))["wires"]}
    assert kinds == set(op.OPERATIONS)
