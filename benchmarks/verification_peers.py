"""The same queries by other ways: one formula of bit vectors (bitwuzla, z3), or one model of CP-SAT, no defence before.

A query asks for an input of a box that a machine gives to another class. Bit vectors are as wide as the proven ranges
of the wires on that box, and a staircase is a tree of comparisons.
"""

from __future__ import annotations

import multiprocessing
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from zahlen import Machine
from zahlen.analysis.encoding import encode, free
from zahlen.machine import IntArray, Range, bits
from zahlen.machine import operations as op
from zahlen.machine.ranges import result_range, workspace

Query = tuple[Machine, IntArray, IntArray, int]
"""A machine, the least and greatest input, and the class that all of them should have."""
Answer = tuple[str, IntArray | None]
"""``verified``, ``refuted`` with an input, or ``unknown``."""

GRACE = 2
"""How many seconds after its limit a solver that does not look at it is ended from outside."""


def asked(tool: str, query: Query, limit: float) -> tuple[str, float]:
    """What a tool says to a query, and the seconds that it took, with the encoding.

    The tool runs in a process of its own, since not all look at their limits at all times. A counterexample is
    computed by the machine.
    """
    start = time.perf_counter()
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(there, tool, query, limit))
    process.start()
    there.close()
    answer: Answer = ("unknown", None)
    try:
        if here.poll(limit + GRACE):
            answer = here.recv()
    except EOFError:  # out of memory, say
        pass
    process.kill()
    process.join()
    seconds = time.perf_counter() - start
    status, found = answer
    if status == "refuted":
        machine, lo, hi, label = query
        assert found is not None
        assert (lo <= found).all()
        assert (found <= hi).all()
        assert int(machine.run(found[None])[0].argmax()) != label
    return status, seconds


def _answer(pipe: Connection, tool: str, query: Query, limit: float) -> None:
    pipe.send(TOOLS[tool](query, limit))


# ---------------------------------------------------------------------------------------------------- bit vectors


class Vectors(Protocol):
    """Terms of a solver for bit vectors; integers are signed, and all of one operation are of one width."""

    def variable(self, width: int) -> Any:
        """A new one."""

    def constant(self, value: int, width: int) -> Any:
        """A number."""

    def wider(self, x: Any, by: int) -> Any:
        """With more bits in front."""

    def times(self, x: Any, factor: Any) -> Any:
        """The product."""

    def plus(self, x: Any, y: Any) -> Any:
        """The sum."""

    def least(self, x: Any, y: Any) -> Any:
        """Whether x >= y."""

    def choose(self, condition: Any, x: Any, y: Any) -> Any:
        """The one where the condition holds, else the other."""

    def demand(self, conditions: list[Any]) -> None:
        """One of the conditions must hold."""

    def solve(self, limit: float) -> bool | None:
        """Whether all that was demanded can hold; None if time ends."""

    def value(self, x: Any) -> int:
        """Of a variable, in the solution."""


class Z3:
    """Z3, a solver for bit vectors among others."""

    def __init__(self) -> None:
        import z3

        self.z3, self.solver = z3, z3.SolverFor("QF_BV")

    def variable(self, width: int) -> Any:
        return self.z3.FreshConst(self.z3.BitVecSort(width))

    def constant(self, value: int, width: int) -> Any:
        return self.z3.BitVecVal(value, width)

    def wider(self, x: Any, by: int) -> Any:
        return self.z3.SignExt(by, x) if by else x

    def times(self, x: Any, factor: Any) -> Any:
        return x * factor

    def plus(self, x: Any, y: Any) -> Any:
        return x + y

    def least(self, x: Any, y: Any) -> Any:
        return x >= y

    def choose(self, condition: Any, x: Any, y: Any) -> Any:
        return self.z3.If(condition, x, y)

    def demand(self, conditions: list[Any]) -> None:
        self.solver.add(self.z3.Or(conditions))

    def solve(self, limit: float) -> bool | None:
        self.solver.set("timeout", int(1000 * limit))
        found = self.solver.check()
        return None if found == self.z3.unknown else bool(found == self.z3.sat)

    def value(self, x: Any) -> int:
        return int(self.solver.model().eval(x, model_completion=True).as_signed_long())


class Bitwuzla:
    """Bitwuzla, a solver for bit vectors."""

    def __init__(self) -> None:
        import bitwuzla

        self.b, self.terms, self.demands = bitwuzla, bitwuzla.TermManager(), []

    def variable(self, width: int) -> Any:
        return self.terms.mk_const(self.terms.mk_bv_sort(width))

    def constant(self, value: int, width: int) -> Any:
        return self.terms.mk_bv_value(self.terms.mk_bv_sort(width), value)

    def wider(self, x: Any, by: int) -> Any:
        return self.terms.mk_term(self.b.Kind.BV_SIGN_EXTEND, [x], [by]) if by else x

    def times(self, x: Any, factor: Any) -> Any:
        return self.terms.mk_term(self.b.Kind.BV_MUL, [x, factor])

    def plus(self, x: Any, y: Any) -> Any:
        return self.terms.mk_term(self.b.Kind.BV_ADD, [x, y])

    def least(self, x: Any, y: Any) -> Any:
        return self.terms.mk_term(self.b.Kind.BV_SGE, [x, y])

    def choose(self, condition: Any, x: Any, y: Any) -> Any:
        return self.terms.mk_term(self.b.Kind.ITE, [condition, x, y])

    def demand(self, conditions: list[Any]) -> None:
        self.demands.append(self.terms.mk_term(self.b.Kind.OR, conditions) if len(conditions) > 1 else conditions[0])

    def solve(self, limit: float) -> bool | None:
        options = self.b.Options()
        options.set(self.b.Option.PRODUCE_MODELS, True)
        options.set(self.b.Option.TIME_LIMIT_PER, int(1000 * limit))
        self.solver = self.b.Bitwuzla(self.terms, options)
        for demand in self.demands:
            self.solver.assert_formula(demand)
        found = self.solver.check_sat()
        return None if found == self.b.Result.UNKNOWN else bool(found == self.b.Result.SAT)

    def value(self, x: Any) -> int:
        digits = self.solver.get_value(x).value(2)
        return int(digits, 2) - (1 << len(digits) if digits[0] == "1" else 0)


@dataclass(frozen=True)
class Terms:
    """A wire: a term for each element, all of so many bits, and the proven range on the box."""

    elements: IntArray
    width: int
    range: Range

    def wider(self, to: Vectors, width: int) -> list[Any]:
        """All elements in a row, of more bits."""
        return [to.wider(e, width - self.width) for e in self.elements.ravel()]


def by_vectors(make: Callable[[], Vectors], query: Query, limit: float) -> Answer:
    """The query as a formula of bit vectors."""
    start = time.perf_counter()
    machine, lo, hi, label = query
    to = make()
    (name,) = machine.inputs
    wires = {name: _input(to, lo, hi)}
    for wire in machine.wires.values():
        if wire.name != name:
            wires[wire.name] = _encoded(wire.operation, to, *(wires[x] for x in wire.operands))
    scores = wires[machine.outputs[0]]
    width = scores.width + 1
    terms = scores.wider(to, width)
    # among equals the lowest index wins, so one behind needs more
    more = to.plus(terms[label], to.constant(1, width))
    to.demand([to.least(s, terms[label] if j < label else more) for j, s in enumerate(terms) if j != label])
    found = to.solve(max(0.1, limit - (time.perf_counter() - start)))
    if not found:
        return "unknown" if found is None else "verified", None
    x = lo.copy()
    for place in zip(*np.nonzero(lo < hi)):
        x[place] = to.value(wires[name].elements[place])
    return "refuted", x


def _input(to: Vectors, lo: IntArray, hi: IntArray) -> Terms:
    box = Range.of(lo, hi, 1)
    width = bits(*box.hull())
    elements = np.empty(lo.shape, dtype=object)
    for place in np.ndindex(*lo.shape):
        low, high = (to.constant(int(end[place]), width) for end in (lo, hi))
        elements[place] = low if lo[place] == hi[place] else to.variable(width)
        if lo[place] < hi[place]:
            to.demand([to.least(elements[place], low)])
            to.demand([to.least(high, elements[place])])
    return Terms(elements, width, box)


def _encoded(operation: op.Operation, to: Vectors, *xs: Terms) -> Terms:
    """Terms for the operations that perceptrons are made of."""
    ranges = [x.range for x in xs]
    box = result_range(operation, *ranges)
    width = max(bits(*workspace(operation, *ranges)), *(x.width for x in xs), 1)
    found: list[Any]
    if isinstance(operation, op.Reshape):
        (x,) = xs
        return Terms(x.elements.reshape(operation.shape), x.width, box)
    if isinstance(operation, op.Constant):
        found = [to.constant(v, width) for v in operation.value.ravel().tolist()]
    elif isinstance(operation, op.Sub):
        minus = to.constant(-1, width)
        found = [to.plus(a, to.times(b, minus)) for a, b in zip(*(x.wider(to, width) for x in xs))]
    elif isinstance(operation, op.Affine) and xs[0].elements.ndim == 1:
        found, x = [], xs[0].wider(to, width)
        for row, bias in zip(operation.weight.tolist(), operation.bias.tolist()):
            products = [to.times(e, to.constant(w, width)) for e, w in zip(x, row) if w]
            found.append(reduce(to.plus, products, to.constant(bias, width)))
    elif isinstance(operation, op.Staircase) and not operation.per_channel:
        (x,), values = xs, bits(int(operation.values.min()), int(operation.values.max()))
        ends = zip(x.elements.ravel(), x.range.lo.ravel().tolist(), x.range.hi.ravel().tolist())
        found = [_stairs(to, operation, e, low, high, x.width, values) for e, low, high in ends]
        width = values
    else:
        raise NotImplementedError(operation.kind)
    return Terms(np.array(found, dtype=object).reshape(box.lo.shape), width, box)


def _stairs(to: Vectors, curve: op.Staircase, x: Any, low: int, high: int, width: int, values: int) -> Any:
    """A tree of comparisons with those thresholds that are reached."""
    thresholds = curve.thresholds.tolist()
    first, last = bisect_right(thresholds, low), bisect_right(thresholds, high)
    if first == last:
        return to.constant(int(curve.values[first]), values)
    half = (first + last) // 2
    t = thresholds[half]
    below, above = (_stairs(to, curve, x, *ends, width, values) for ends in ((low, t - 1), (t, high)))
    return to.choose(to.least(x, to.constant(t, width)), above, below)


# ---------------------------------------------------------------------------------------------------- CP-SAT


def by_cp_sat(query: Query, limit: float) -> Answer:
    """The query as one model of CP-SAT, as `zahlen.analysis.encoding` makes it."""
    from ortools.sat.python import cp_model

    start = time.perf_counter()
    machine, lo, hi, label = query
    model, solver = cp_model.CpModel(), cp_model.CpSolver()
    (name,) = machine.inputs
    given = free(model, Range.of(lo, hi, 1), name)
    scores = encode(model, machine, {name: given})[machine.outputs[0]].elements.tolist()
    beaten = []
    for j, score in enumerate(scores):
        if j != label:
            beaten.append(model.new_bool_var(f"{j} beats {label}"))
            model.add(score >= scores[label] + (j > label)).only_enforce_if(beaten[-1])
    model.add_bool_or(beaten)
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = max(0.1, limit - (time.perf_counter() - start))
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return "refuted", given.values(solver)
    return "verified" if status == cp_model.INFEASIBLE else "unknown", None


TOOLS: dict[str, Callable[[Query, float], Answer]] = {
    "bit vectors, bitwuzla": lambda query, limit: by_vectors(Bitwuzla, query, limit),
    "bit vectors, z3": lambda query, limit: by_vectors(Z3, query, limit),
    "CP-SAT": by_cp_sat,
}
