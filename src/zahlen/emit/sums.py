"""The blocks that sum: affine maps, convolutions, pools and sums over axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from zahlen.c99 import CType, less, literal
from zahlen.machine import Wire
from zahlen.machine import operations as op

from .blocks import block, operands
from .products import dot
from .staircases import Steps, steps
from .writer import Unit, advance, strides


class _Result:
    """What happens to a finished `sum`: it is stored, or at once turned into the level that alone is wanted."""

    def __init__(self, unit: Unit, wire: Wire):
        self.unit, self.wire = unit, wire
        self.accumulator = unit.layout.accumulator[wire.name]
        reader = unit.layout.fused.get(wire.name)
        self.reader = unit.layout.wires[reader] if reader else None
        self.steps: Steps | None = steps(unit, self.reader, wire, self.accumulator) if self.reader else None

    def declare(self) -> None:
        """What must stand before the loop over channels."""
        if self.steps:
            self.steps.declare(self.unit.code)

    def store(self, index: str) -> None:
        """Use the sum as element `index`."""
        if self.steps and self.reader:
            number = self.unit.layout.number[self.wire.name]
            self.unit.code.line(f"SEE_ONE({number}, {index}, sum);")
            self.unit.store(self.reader, index, self.steps.level("sum"), self.steps.ctype)
        else:
            self.unit.store(self.wire, index, "sum", self.accumulator)

    def follow(self) -> None:
        """What must stand at the end of a channel."""
        if self.steps:
            self.steps.follow(self.unit.code)


@block.register
def _(operation: op.Affine, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    code, stem, x = unit.code, unit.layout.identifier[wire.name], unit.at(source.name)
    result = _Result(unit, wire)
    rows, width = operation.weight.shape
    terms = dot(unit, stem, operation.weight, source.alphabet, result.accumulator)
    bias = _bias(unit, wire, bool(operation.bias.any()))
    several = prod(source.shape[:-1]) > 1
    with ExitStack() as scope:
        if several:
            scope.enter_context(code.block())
            code.line("int32_t k = 0;")
            scope.enter_context(code.count("n", prod(source.shape[:-1]), row=("0", width)))
        else:
            scope.enter_context(code.block())
        code.line(f"const {terms.ctype} *w = {terms.weights};")
        result.declare()
        with code.count("i", rows):
            code.line(f"{result.accumulator} sum = {bias.format('i')};")
            with code.count("j", width):
                code.line(*terms.add("sum", "w", f"{x}[row + j]" if several else f"{x}[j]"))
            result.store("k" if several else "i")
            if several:
                code.line("k++;")
            result.follow()


def _bias(unit: Unit, wire: Wire, there: bool) -> str:
    """Where a sum starts, as an expression with the channel's place open."""
    if not there:
        return "0"
    name, _ = unit.table(f"{unit.layout.identifier[wire.name]}_bias", wire.operation.tensors()["bias"])
    return name + "[{}]"


# ---------------------------------------------------------------------------------------------------- windows


@dataclass(frozen=True)
class _Axis:
    """One spatial axis: `origin` walks over windows, `place` over the elements of one; `walk` is a step in memory."""

    origin: str
    place: str
    length: int
    windows: int
    size: int
    stride: int
    dilation: int
    before: int
    walk: int

    @property
    def outside(self) -> list[str]:
        """The conditions under which an element is inside, as far as some window reaches over the edge."""
        last = self.stride * (self.windows - 1) - self.before + self.dilation * (self.size - 1)
        below = [f"{self.place} >= 0"] if self.before else []
        return below + ([f"{self.place} < {self.length}"] if last >= self.length else [])


class _Windows:
    """Loops over windows of the last one or two axes of `source`, and over the elements of one."""

    def __init__(self, unit: Unit, source: Wire, wire: Wire, size: Sequence[int], dilation: Sequence[int]):
        operation, n = wire.operation, len(size)
        assert isinstance(operation, (op.Conv, op.MaxPool, op.SumPool))
        self.code = unit.code
        names = (("top", "row"), ("left", "col"))[-n:]
        before = [pair[0] for pair in operation.padding]
        lengths = source.shape[-n:]
        columns = (lengths, wire.shape[-n:], size, operation.stride, dilation, before, strides(lengths))
        self.axes = [_Axis(*name, *numbers) for name, *numbers in zip(names, *columns)]
        self.inside = " && ".join(condition for axis in self.axes for condition in axis.outside)

    @contextmanager
    def over(self, start: str) -> Iterator[str]:
        """Loops over all windows of the plane at offset `start`; yields the offset of a window's first element."""
        with ExitStack() as loops:
            for axis in self.axes:
                name, at = axis.origin, f"at_{axis.origin}"
                first = less(start, axis.before * axis.walk)
                end = axis.stride * axis.windows - axis.before
                moves = f"{advance(name, axis.stride)}, {advance(at, axis.stride * axis.walk)}"
                loops.enter_context(
                    self.code.block(f"for (int32_t {name} = {-axis.before}, {at} = {first}; {name} < {end}; {moves})")
                )
                start = at
            yield start

    @contextmanager
    def within(self, start: str, always: str = "") -> Iterator[str]:
        """Loops over a window's elements that lie inside the plane; yields their offset.

        `always` is a further statement of the innermost loop, also where there is no element.
        """
        with ExitStack() as loops:
            for axis in self.axes:
                name, at, end = axis.place, f"at_{axis.place}", axis.dilation * (axis.size - 1) + 1
                moves = [advance(name, axis.dilation), advance(at, axis.dilation * axis.walk)]
                if always and axis is self.axes[-1]:
                    moves.append(always)
                head = f"for (int32_t {name} = {axis.origin}, {at} = {start}; {name} < {axis.origin} + {end}; "
                loops.enter_context(self.code.block(f"{head}{', '.join(moves)})"))
                start = at
            if self.inside:
                loops.enter_context(self.code.block(f"if ({self.inside})"))
            yield start


@block.register
def _(operation: op.Conv, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    code, stem, x = unit.code, unit.layout.identifier[wire.name], unit.at(source.name)
    result = _Result(unit, wire)
    (out, width, *size), groups = operation.weight.shape, operation.groups
    terms = dot(unit, stem, operation.weight, source.alphabet, result.accumulator)
    bias = _bias(unit, wire, bool(operation.bias.any()))
    plane = prod(source.shape[1:])
    windows = _Windows(unit, source, wire, size, operation.dilation)
    with code.block():
        code.line(f"const {terms.ctype} *filter = {terms.weights};", "int32_t k = 0;")
        if bias != "0":
            code.line("int32_t channel = 0;")
        result.declare()
        with ExitStack() as loops:
            if groups > 1:
                loops.enter_context(code.count("n", groups, group=("0", width * plane)))
            with code.count("i", out // groups):
                with windows.over("group" if groups > 1 else "0") as corner:
                    code.line(
                        f"const {terms.ctype} *w = filter;", f"{result.accumulator} sum = {bias.format('channel')};"
                    )
                    with code.count("j", width, plane=(corner, plane)):
                        _terms(unit, windows, terms.add("sum", "w", f"{x}[{{}}]"))
                    result.store("k")
                    code.line("k++;")
                code.line(f"{advance('filter', width * prod(size))};")
                if bias != "0":
                    code.line("channel++;")
                result.follow()


def _terms(unit: Unit, windows: _Windows, lines: list[str]) -> None:
    """Add the products of a window: the weight is walked in the loop's head, since padding has one too."""
    lines = [line.replace("*w++", "*w") for line in lines]
    with windows.within("plane", "w++") as at:
        unit.code.line(*(line.format(at) if "{}" in line else line for line in lines))


def _pool(unit: Unit, wire: Wire, name: str, first: str, ctype: CType, each: Sequence[str]) -> None:
    """Fold each window into the variable `name`, which starts as `first`."""
    (source,) = operands(unit, wire)
    operation, code = wire.operation, unit.code
    assert isinstance(operation, (op.MaxPool, op.SumPool))
    n = len(operation.size)
    windows = _Windows(unit, source, wire, operation.size, (1,) * n)
    with code.block():
        code.line("int32_t k = 0;")
        planes = code.count("i", prod(source.shape[:-n]), plane=("0", prod(source.shape[-n:])))
        with planes, windows.over("plane") as corner:
            code.line(f"{ctype} {name} = {first};")
            with windows.within(corner) as at:
                code.line(*(line.format(f"{unit.at(source.name)}[{at}]") for line in each))
            unit.store(wire, "k++", name, ctype)


@block.register
def _(operation: op.MaxPool, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    # no element is below the least that is proven, so the first one inside the window takes over
    least = literal(source.alphabet.lo)
    _pool(unit, wire, "best", least, unit.layout.ctype[source.name], ["if ({0} > best) {{", "    best = {0};", "}}"])


@block.register
def _(operation: op.SumPool, unit: Unit, wire: Wire) -> None:
    _pool(unit, wire, "sum", "0", unit.layout.accumulator[wire.name], ["sum += {0};"])


@block.register
def _(operation: op.Sum, unit: Unit, wire: Wire) -> None:
    (source,) = operands(unit, wire)
    code, ctype = unit.code, unit.layout.accumulator[wire.name]
    axes = list(zip(source.shape, strides(source.shape)))
    summed = {axis % len(axes) for axis in operation.axes}
    with code.block():
        code.line("int32_t k = 0;")
        with code.nest("i", [a for k, a in enumerate(axes) if k not in summed], "0") as start:
            code.line(f"{ctype} sum = 0;")
            with code.nest("j", [a for k, a in enumerate(axes) if k in summed], start) as at:
                code.line(f"sum += {unit.at(source.name)}[{at}];")
            unit.store(wire, "k++", "sum", ctype)
