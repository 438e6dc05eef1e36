from hypothesis import given
from strategies import machines

from zahlen.machine import Builder, Codes, Levels


def test_a_machine_prints_as_one_line_a_wire():
    b = Builder()
    x = b.input("x", (2,), Levels(0, 3))
    r = b.register("r", (1,), Levels(-1, 1))
    z = b.add(b.affine(x, [[1, -1]], [0], name="z"), r, name="sum")
    y = b.clamp(z, -1, 1, name="y")
    b.connect(r, y)
    g = b.input("g", (1, 3), Codes(4, "V4"))
    assert str(b.build(y, g)) == "\n".join(
        [
            "x, g -> y, g, 1 step of 2 multiply-adds, 4 constants, 2 bits of state",
            "  x    2 of 0..3             input",
            "  r    1 of -1..1            register    initial 1 in 0..0, next y",
            "  z    1 of -3..3            affine(x)   weight 1x2 in -1..1, bias 1 in 0..0",
            "  sum  1 of -4..4            add(z, r)",
            "  y    1 of -1..1            clamp(sum)  lo -1, hi 1",
            "  g    1x3 of 4 codes of V4  input",
        ]
    )


@given(machines(wide=True))
def test_every_wire_has_its_line(machine):
    head, *lines = str(machine).split("\n")
    assert len(lines) == len(machine.wires)
    for line, wire in zip(lines, machine.wires.values()):
        assert line.split()[0] == wire.name
        assert f" of {wire.alphabet} " in line
        assert line == line.rstrip()
        for name, array in wire.operation.tensors().items():
            assert f"{name} {'x'.join(map(str, array.shape)) or 1} in {array.min()}..{array.max()}" in line
    assert head.startswith(f"{', '.join(machine.inputs)} -> {', '.join(machine.outputs)}, ")
    assert ("no state" in head) == (not machine.registers)
