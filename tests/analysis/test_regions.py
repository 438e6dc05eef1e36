"""Regions of plane slices: beside evaluation at rational points, counts of line arrangements, and pairs of cells."""

import random
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, pairwise

import networkx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from piecewise_machines import any_machine, fractions, networks, on_fractions, pattern_of

from zahlen.analysis import LimitError, evaluate, regions
from zahlen.analysis.piecewise.homogeneous import above
from zahlen.analysis.piecewise.regions import area
from zahlen.analysis.piecewise.signs import extremes
from zahlen.machine import Builder, Codes, InputError, Levels


def sides(polygon):
    return list(zip(polygon, [*polygon[1:], polygon[0]]))


def random_points(machine, seed, count=3):
    """Points of the integer input space, more often than not inside the box."""
    rng = random.Random(seed)
    points = {}
    for name in machine.inputs:
        wire = machine.wires[name]
        lo, hi = wire.alphabet.lo, wire.alphabet.hi
        values = [rng.choice([lo, hi, rng.randint(lo, hi), rng.randint(-3, 3)]) for _ in range(count * wire.size)]
        points[name] = np.array(values, dtype=object).reshape(count, *wire.shape)
    return points


def inside(polygon, rng):
    """A rational point of the interior of a convex polygon."""
    weights = [Fraction(rng.randint(1, 20)) for _ in polygon]
    return tuple(sum(w * v[k] for w, v in zip(weights, polygon)) / sum(weights) for k in range(2))


def near(corner, place):
    return tuple(v + (p - v) / 10**12 for v, p in zip(corner, place))


def inputs_at(points, at):
    """The inputs at parameters (s, t), a batch of fractions."""
    found = {}
    for name, p in points.items():
        p = fractions(p)
        found[name] = np.stack([p[0] + s * (p[1] - p[0]) + t * (p[2] - p[0]) for s, t in at])
    return found


def clipped(polygon, form):
    """The part of a polygon where a s + b t + c >= 0 (Sutherland and Hodgman)."""
    a, b, c = form
    found = []
    for p, q in sides(polygon):
        u, v = a * p[0] + b * p[1] + c, a * q[0] + b * q[1] + c
        if u >= 0:
            found.append(p)
        if u * v < 0:
            found.append(tuple(x + (y - x) * u / (u - v) for x, y in zip(p, q)))
    return found


def box_of(machine, points):
    """The slice in the box of the inputs, as a polygon of fractions, from a square that is far too large."""
    big = Fraction(2**300)
    polygon = [(-big, -big), (big, -big), (big, big), (-big, big)]
    for name, p in points.items():
        flat = p.reshape(3, -1)
        alphabet = machine.wires[name].alphabet
        for o, u, v in zip(*flat.tolist()):
            for form in ((u - o, v - o, o - alphabet.lo), (o - u, o - v, alphabet.hi - o)):
                polygon = clipped(polygon, form) if len(polygon) > 2 else []
    return polygon


def shoelace(polygon):
    return sum(p[0] * q[1] - p[1] * q[0] for p, q in sides(polygon)) / 2 if polygon else 0


def confirm(found, machine, points, polygon, seed=0):
    """All that a subdivision has to be, by evaluating the machine on fractions inside each of its cells."""
    rng = random.Random(seed)
    cells = [[found.vertices[v] for v in cell] for cell in found.cells]
    for cell in cells:
        turns = [
            (q[0] - p[0]) * (r[1] - q[1]) - (q[1] - p[1]) * (r[0] - q[0])
            for (p, q), (_, r) in zip(sides(cell), [*sides(cell)[1:], sides(cell)[0]])
        ]
        assert min(turns) >= 0
        assert max(turns) > 0
    assert len(set(found.vertices)) == len(found.vertices)
    assert sum(map(shoelace, cells)) == shoelace(polygon) == sum(found.areas)
    assert found.euler == 1
    # inside, and next to every corner: what cuts a cell has some corner on another side
    at = [(c, inside(cell, rng)) for c, cell in enumerate(cells)]
    if len(cells) < 40:
        at += [(c, near(v, place)) for c, place in at for v in cells[c]]
    values = on_fractions(machine, inputs_at(points, [place for _, place in at]))
    for k, (c, place) in enumerate(at):
        expected = [v for name in found.outputs for v in np.ravel(values[name][k])]
        assert found.values(c, *place) == expected
    for name, pattern in found.patterns.items():
        direct = pattern_of(machine, name, values)
        assert direct is None or (direct == pattern[[c for c, _ in at]]).all()
    together = [tuple(int(v) for p in found.patterns.values() for v in np.ravel(p[c])) for c in range(len(cells))]
    assert len(set(together)) == len(cells)
    # a vertex without a reason: in the middle of a side, and of no more than two cells
    for v, place in enumerate(found.vertices):
        around = [cell for cell in found.cells if v in cell]
        corner = any(
            (w := [*cell, *cell[:2]]) and not on_line(*(found.vertices[w[k]] for k in (i - 1, i, i + 1)))
            for cell in around
            for i in [cell.index(v) or len(cell)]
        )
        assert corner or len(around) > 2, place


def on_line(p, q, r):
    return (q[0] - p[0]) * (r[1] - p[1]) == (q[1] - p[1]) * (r[0] - p[0])


@settings(max_examples=80)
@given(any_machine(jumps=True), st.integers(0, 2**32), st.sampled_from(["box", "triangle", "parallelogram"]))
def test_machines_of_every_operation(machine, seed, within):
    points = random_points(machine, seed)
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)] if within == "parallelogram" else [(0, 0), (1, 0), (0, 1)]
    polygon = [tuple(map(Fraction, p)) for p in corners] if within != "box" else box_of(machine, points)
    try:
        found = regions(machine, points, within=within, limit=300)
    except (InputError, LimitError) as error:
        assume("dimensions" not in str(error) and "300" not in str(error))
        assert within == "box"
        assert shoelace(polygon) == 0
        return
    confirm(found, machine, points, polygon, seed)
    assert len(found.cells) > 60 or found.check()


@settings(max_examples=80)
@given(networks(jumps=True), st.integers(0, 2**32))
def test_networks_in_which_lines_coincide(machine, seed):
    size = machine.wires["x"].alphabet.hi
    polygon = [tuple(map(Fraction, p)) for p in [(-size, -size), (size, -size), (size, size), (-size, size)]]
    found = regions(machine)
    confirm(found, machine, {"x": np.array([[0, 0], [1, 0], [0, 1]], dtype=object)}, polygon, seed)
    assert found.check()


def crossing(lines, size):
    """Distinct lines a x + b y + c = 0 that meet the open square, and how many meet in each point inside it."""
    distinct = set()
    for a, b, c in lines:
        if (a, b) != (0, 0):
            lead = Fraction(next(v for v in (a, b) if v))
            distinct.add((a / lead, b / lead, c / lead))
    corners = [(-size, -size), (size, -size), (size, size), (-size, size)]
    met = [f for f in distinct if len({(above(f, (*p, 1)) > 0) - (above(f, (*p, 1)) < 0) for p in corners} | {0}) == 3]
    points = {}
    for f, g in combinations(met, 2):
        if det := f[0] * g[1] - f[1] * g[0]:
            p = ((f[1] * g[2] - f[2] * g[1]) / det, (f[2] * g[0] - f[0] * g[2]) / det)
            if max(map(abs, p)) < size:
                points.setdefault(p, set()).update((f, g))
    return met, points


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([1, 2, 4, 20]))
def test_counts_of_line_arrangements(seed, units, largest):
    """In a convex polygon: 1 + lines + the sum over points inside of the lines through it less one."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.integers(-largest, largest + 1, (units, 2)), rng.integers(-largest, largest + 1, units)
    b = Builder()
    h = b.max(b.affine(b.input("x", (2,), Levels(-3, 3)), weight, bias), b.constant([0] * units))
    found = regions(b.build(h))
    lines, points = crossing([(*w, c) for w, c in zip(weight.tolist(), bias.tolist())], 3)
    assert len(found.cells) == 1 + len(lines) + sum(len(through) - 1 for through in points.values())
    at_border = {v for v in found.vertices if max(map(abs, v)) == 3}
    assert set(found.vertices) - at_border == set(points)
    # each line is cut into one edge more than it has points
    inner = sum(1 + sum(f in through for through in points.values()) for f in lines)
    assert sum(other >= 0 for *_, other in found.edges) == inner
    # ReLUs of nonzero slope differ on both sides, unless they take each other's place
    assert found.counts["linear regions"] <= len(found.cells)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_z3_finds_as_many_patterns(seed):
    """Two layers, whose patterns with a point at which no unit is zero a solver enumerates."""
    z3 = pytest.importorskip("z3")
    rng = np.random.default_rng(seed)
    layers = [
        (rng.integers(-3, 4, (6, 2)), rng.integers(-6, 7, 6)),
        (rng.integers(-3, 4, (5, 6)), rng.integers(1, 9, 5)),
    ]
    b = Builder()
    h = b.input("x", (2,), Levels(-4, 4))
    for weight, bias in layers:
        h = b.max(b.affine(h, weight, bias), b.constant([0] * len(bias)))
    solver, values, units = z3.Solver(), z3.Reals("x y"), []
    solver.add(*(z3.And(v > -4, v < 4) for v in values))
    for weight, bias in layers:
        sums = [z3.Sum([a * v for a, v in zip(w, values)]) + c for w, c in zip(weight.tolist(), bias.tolist())]
        on = [z3.Bool(f"unit {len(units) + k}") for k in range(len(sums))]
        solver.add(*(z3.If(unit, z > 0, z < 0) for unit, z in zip(on, sums)))
        values = [z3.If(unit, z, 0) for unit, z in zip(on, sums)]
        units += on
    count = 0
    while solver.check() == z3.sat:
        model = solver.model()
        solver.add(z3.Or([unit != model.eval(unit, model_completion=True) for unit in units]))
        count += 1
    assert regions(b.build(h)).counts["activation regions"] == count > 20


def touching(p, q):
    """Whether two convex polygons have more than a point of their sides in common."""
    for (a, b), (c, d) in ((s, r) for s in sides(p) for r in sides(q)):
        if on_line(a, b, c) and on_line(a, b, d):
            low, high = (max(min(a, b), min(c, d)), min(max(a, b), max(c, d)))
            if low < high:
                return True
    return False


@settings(max_examples=40)
@given(networks(most=3, jumps=True))
def test_linear_regions_are_cells_joined_across_sides(machine):
    found = regions(machine)
    assume(len(found.cells) <= 25)
    polygons = [[found.vertices[v] for v in cell] for cell in found.cells]
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(polygons)))
    beside = [pair for pair in combinations(range(len(polygons)), 2) if touching(*(polygons[c] for c in pair))]
    assert sorted(tuple(sorted(edge)) for edge in found.graph().edges) == beside
    graph.add_edges_from((c, d) for c, d in beside if (found.maps[c] == found.maps[d]).all())
    parts = list(networkx.connected_components(graph))
    assert found.counts["linear regions"] == len(parts) == len(set(found.region.tolist()))
    assert all(len(set(found.region[list(part)].tolist())) == 1 for part in parts)
    assert found.counts["affine maps"] == len({tuple(m.ravel().tolist()) for m in found.maps})


def test_units_that_cancel_leave_one_linear_region():
    """ReLU(x) - ReLU(-x) is x."""
    b = Builder()
    x = b.input("x", (2,), Levels(-5, 5))
    h = b.max(b.affine(x, [[1, 0], [-1, 0]]), b.constant([0, 0]))
    found = regions(b.build(b.affine(h, [[1, -1]], name="y")))
    assert found.counts == {"activation regions": 2, "linear regions": 1, "affine maps": 1}
    assert found.maps.tolist() == [[[1, 0, 0]]] * 2
    assert regions(b.build(h), outputs=["max_1"]).counts["linear regions"] == 2


def test_a_checkerboard_has_regions_that_meet_in_points():
    """The sum of two steps' parity: the same map on squares that touch at a vertex only."""
    b = Builder()
    x = b.input("x", (2,), Levels(-5, 5))
    h = b.staircase(x, [0], [0, 1])
    y = b.staircase(b.affine(h, [[1, 1]]), [1, 2], [0, 1, 0])
    found = regions(b.build(y))
    assert found.counts == {"activation regions": 4, "linear regions": 4, "affine maps": 2}
    assert not found.continuous


def test_three_forms_meet_in_one_point():
    b = Builder()
    x = b.input("x", (2,), Levels(-6, 6))
    y = b.maxpool(b.affine(x, [[1, 0], [0, 1], [-1, -1]]), (3,), name="y")
    found = regions(b.build(y))
    corners = {(a, b) for a in (-6, 6) for b in (-6, 6)}
    assert set(found.vertices) == corners | {(0, 0), (-6, 3), (3, -6)}
    assert [len(cell) for cell in found.cells] == [4, 4, 4] or sorted(map(len, found.cells)) == [4, 4, 4]
    assert sorted(found.maps[:, 0].tolist()) == [[-1, -1, 0], [0, 1, 0], [1, 0, 0]]


def test_folding_a_square():
    """|x| and |y| folded n times make 4^n squares (Montufar et al. 2014, arXiv 1402.1869)."""
    b = Builder()
    h = b.input("x", (2,), Levels(-8, 8))
    for n in (4, 2, 1):
        h = b.affine(b.max(h, b.neg(h)), [[1, 0], [0, 1]], [-n, -n])
    found = regions(b.build(h))
    assert found.counts["activation regions"] == found.counts["linear regions"] == 4**3
    assert set(found.areas) == {4}


def test_constants_are_folded_and_multiplied_with():
    b = Builder()
    x = b.input("x", (2,), Levels(-5, 5))
    factor = b.shift(b.constant([7, 9]), 1)
    assert factor.range.lo.tolist() == [3, 4]
    y = b.shift(b.add(b.mul(x, factor), b.mul(b.constant([2, 2]), x)), -2)
    found = regions(b.build(y, factor))
    assert found.maps.tolist() == [[[20, 0, 0], [0, 24, 0], [0, 0, 3], [0, 0, 4]]]
    values = evaluate(found.slice.machine, {"x": fractions([[Fraction(1, 3), Fraction(-1, 8)]])})
    assert [v for wire in values.values() for v in wire.ravel()] == [Fraction(20, 3), -3, 3, 4]


def test_several_inputs():
    b = Builder()
    x, y = b.input("x", (1,), Levels(-5, 5)), b.input("y", (), Levels(0, 3))
    machine = b.build(b.max(x, b.reshape(y, (1,))))
    found = regions(machine)
    assert found.counts["linear regions"] == 2
    assert sum(found.areas) == 30
    same = regions(machine, {"y": [0, 0, 1], "x": [[0], [1], [0]]})
    assert same.vertices == found.vertices
    with pytest.raises(InputError, match="a mapping by name"):
        regions(machine, [[0, 0], [1, 0], [0, 1]])
    with pytest.raises(InputError, match="points of inputs x, y are due, got x"):
        regions(machine, {"x": [[0], [1], [0]]})


LARGE = st.integers(-(2**130), 2**130) | st.integers(-9, 9) | st.integers(-(2**31), 2**31)


@settings(max_examples=100)
@given(st.data())
def test_signs_are_those_of_whole_integers(data):
    """Forms that nearly vanish at a vertex, by many powers of two more or less than 30 bits can tell."""
    count = data.draw(st.integers(1, 3))
    points = [(data.draw(LARGE), data.draw(LARGE), abs(data.draw(LARGE)) + 1) for _ in range(4)]
    polygons = [data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)) for _ in range(count)]
    small = data.draw(st.booleans())
    forms = np.zeros((count, 3, 2), dtype=object)
    for c, q in np.ndindex(count, 2):
        x, y, w = points[data.draw(st.sampled_from(polygons[c]))]
        forms[c, :, q] = data.draw(
            st.sampled_from([(w, 0, -x), (0, w, -y), (y, -x, 0), (w, w, -x - y), (1, -2, 3), (0, 0, 0)])
        )
        forms[c, 2, q] += data.draw(st.sampled_from([-1, 0, 0, 1]))
        if small:
            forms[c, :, q] = [v % 2**63 - 2**62 + (v % 2**63 < 2) for v in forms[c, :, q]]
    low, high = extremes(points, polygons, forms.astype(np.int64) if small else forms)
    for c, q in np.ndindex(count, 2):
        values = [above(forms[c, :, q].tolist(), points[v]) for v in polygons[c]]
        signs = [(v > 0) - (v < 0) for v in values]
        assert (low[c, q], high[c, q]) == (min(signs), max(signs))


def test_signs_with_all_leading_bits():
    """The greatest leading parts, of which three products are summed, on both sides of powers of two."""
    for bits in range(28, 63):
        ends = [2**bits - 1, -(2**bits), 2**bits]
        points = [(v, v, 2**90 - 1) for v in ends]
        forms = np.array([[[v, v], [v, -v], [v, v]] for v in ends])
        low, high = extremes(points, [[0], [1], [2]], forms[:, :, :1])
        for k, v in enumerate(ends):
            value = 2 * v * v + v * (2**90 - 1)
            assert low[k, 0] == high[k, 0] == (value > 0) - (value < 0)
    points = [(2**31 - 1, 2**31 - 1, 2**31 - 1)]
    low, _ = extremes(points, [[0]], np.array([[[2**31 - 1]] * 3]))
    assert low.tolist() == [[1]]


def test_coefficients_around_64_bits():
    """Differences of forms that fit into 64 bits themselves, but not their difference."""
    for large in (2**61, 2**62 - 1, 2**62, 2**62 + 5, 2**63 - 1):
        b = Builder()
        x = b.input("x", (2,), Levels(-1, 1))
        y = b.affine(x, [[large, 0], [-large, 0]], [0, 3])
        found = regions(b.build(b.max(b.slice(y, [0], [1]), b.slice(y, [1], [2]))))
        assert sorted(found.maps[:, 0].tolist()) == [[-large, 0, 3], [large, 0, 0]]
        assert found.check()
        assert abs(found.areas[0] - found.areas[1]) == Fraction(6, large)


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_thresholds_of_channels(axis):
    b = Builder()
    x = b.affine(b.input("x", (2,), Levels(-9, 9)), [[1, 0]] * 6)
    x = b.reshape(x, (2, 3))
    channels = (2, 3)[axis]
    thresholds = [[10 * k - 9, 10 * k - 5] for k in range(channels)]
    values = [[k, k + 10, k + 20] for k in range(channels)]
    machine = b.build(b.staircase(x, thresholds, values, axis=axis))
    found = regions(machine)
    for c in range(len(found.cells)):
        s, t, w = found.inside(c)
        exact = on_fractions(machine, {"x": fractions([[Fraction(s, w), Fraction(t, w)]])})
        assert found.maps[c, :, 2].tolist() == exact[machine.outputs[0]].ravel().tolist()


def test_the_first_of_equals_counts():
    b = Builder()
    x = b.affine(b.input("x", (2,), Levels(-9, 9)), [[1, 0], [1, 0], [-1, 0], [-1, 0]])
    machine = b.build(b.argmax(x, name="a"), b.maxpool(x, (4,), name="m"))
    found = regions(machine)
    assert sorted(found.patterns["a"].tolist()) == [0, 2]
    assert sorted(found.patterns["m"].ravel().tolist()) == [0, 2]


def relu(bias=0):
    b = Builder()
    x = b.input("x", (2,), Levels(-5, 5))
    return b.build(b.max(b.affine(x, [[1, 2], [2, -1]], [0, bias], name="z"), b.constant([0, 0]), name="y"))


def test_a_check_finds_what_was_changed():
    found = regions(relu())
    assert found.check()
    maps = found.maps.copy()
    maps[2, 1, 2] += 1
    assert not replace(found, maps=maps).check()
    assert not replace(found, maps=found.maps[[1, 0, 2, 3]]).check()
    assert not replace(found, cells=found.cells[:-1], maps=found.maps[:-1]).check()
    k = next(k for k, p in enumerate(found.points) if p[:2] == (0, 0))
    assert not replace(found, points=(*found.points[:k], (1, 0, 9), *found.points[k + 1 :])).check()
    assert not replace(found, slice=regions(relu(1)).slice).check()
    assert not replace(found, cells=tuple(cell[::-1] for cell in found.cells)).check()


def test_a_check_looks_inside():
    """A pyramid in the middle of a cell, at whose vertices nothing is seen of it; a hole; a cell turned inside out."""
    b = Builder()
    x = b.input("x", (2,), Levels(-5, 5))
    size = b.max(x, b.neg(x))
    pyramid = b.build(b.max(b.affine(size, [[-1, -1]], [3]), b.constant([0]), name="y"))
    b = Builder()
    flat = regions(b.build(b.affine(b.input("x", (2,), Levels(-5, 5)), [[0, 0]], name="y")))
    assert flat.check()
    assert not replace(flat, slice=regions(pyramid).slice).check()
    found = regions(pyramid)
    hole = found.cell_at(1, 1)
    rest = [c for c in range(len(found.cells)) if c != hole]
    assert not replace(found, cells=tuple(found.cells[c] for c in rest), maps=found.maps[rest]).check()
    b = Builder()
    halves = regions(b.build(b.staircase(b.slice(b.input("x", (2,), Levels(-5, 5)), [0], [1]), [0], [0, 0])))
    middle = [k for k, (x, _) in enumerate(halves.vertices) if x == 0]
    moved = tuple((8, y, w) if k in middle else (x, y, w) for k, (x, y, w) in enumerate(halves.points))
    assert halves.check()
    assert not replace(halves, points=moved).check()


def test_what_is_no_piecewise_affine_function_is_refused():
    def machine(make, alphabet=None):
        b = Builder()
        x = b.input("x", (2,), alphabet or Levels(0, 3))
        return b.build(make(b, x))

    cases = [
        (lambda b, x: b.shift(x, 1, name="half"), "'half' is no .*: shift rounds at every integer; .*outputs=..x"),
        (lambda b, x: b.lookup(x, [3, 1, 0, 2], name="t"), "'t' is no .*: lookup has values at the integers of its"),
        (lambda b, x: b.embed(x, [[1], [2], [0], [5]], name="t"), "'t' is no .*: embed has values at the integers"),
        (lambda b, x: b.mul(x, b.neg(x), name="m"), "'m' is no .*: mul is a product of wires that both depend"),
    ]
    for make, message in cases:
        with pytest.raises(InputError, match=message):
            regions(machine(make))
    found = regions(machine(cases[0][0]), outputs=["x"])
    assert found.counts["affine maps"] == 1
    with pytest.raises(InputError, match="x is 4 codes; between codes there is nothing"):
        regions(machine(lambda b, x: b.reshape(x, (1, 2)), alphabet=Codes(4)))
    b = Builder()
    r = b.register("r", (2,), Levels(0, 3))
    b.connect(r, r)
    with pytest.raises(InputError, match=r"the machine has registers \(r\); take machine.unrolled"):
        regions(b.build(b.add(r, b.input("x", (2,), Levels(0, 1)))))


def test_points_that_are_no_plane_are_refused():
    machine = relu()
    for points, message in [
        ([[0, 0], [1, 1], [3, 3]], "the 3 points lie on a slice of fewer dimensions"),
        ([[0, 0], [1, 1]], r"x: shape \(3, \*\(2,\)\) is due, got \(2, 2\)"),
        ([[0, 0.5], [1, 1], [0, 1]], "integers are due, got float64; scale the points to integers"),
    ]:
        with pytest.raises(InputError, match=message):
            regions(machine, points)
    with pytest.raises(InputError, match="within is box, triangle or parallelogram, got 'all'"):
        regions(machine, within="all")
    with pytest.raises(InputError, match="no wire 'q'; there are x, z, constant_1, y"):
        regions(machine, outputs=["q"])
    with pytest.raises(InputError, match="outputs are names of wires, at least one"):
        regions(machine, outputs=[])
    with pytest.raises(LimitError, match="more than 3 cells; raise limit, or take a smaller part"):
        regions(machine, limit=3)
    assert len(regions(machine, limit=4).cells) == 4
    b = Builder()
    flat = b.build(b.neg(b.input("x", (3,), Levels(0, 2))))
    with pytest.raises(InputError, match="the input has 3 elements; give 3 points"):
        regions(flat)
    with pytest.raises(InputError, match="the plane through these points has no more than its edge in the box"):
        regions(flat, [[0, 0, 0], [1, -1, 0], [0, 1, -1]])
    assert regions(flat, [[1, 1, 1], [2, 0, 1], [1, 2, 0]]).counts["affine maps"] == 1


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("zahlen.analysis.piecewise.subdivision.MEMORY", 1 << 11)
    with pytest.raises(LimitError, match=r"regions: [123] cells are as many as 0 MiB hold at wire 'y'; take a smaller"):
        regions(relu())
    monkeypatch.setattr("zahlen.analysis.piecewise.subdivision.MEMORY", 1 << 13)
    assert len(regions(relu()).cells) == 4


def test_cells_by_their_points():
    found = regions(relu())
    for c in range(len(found.cells)):
        x, y, w = found.inside(c)
        assert found.cell_at(Fraction(x, w), Fraction(y, w)) == c
    with pytest.raises(InputError, match=r"\(6, 0\) is outside the polygon"):
        found.cell_at(6, 0)
    assert area([(0, 0, 1), (0, 1, 1), (1, 0, 1)]) == Fraction(-1, 2)


def test_a_graph_and_a_picture(tmp_path):
    found = regions(relu())
    graph = found.graph()
    assert sorted(dict(graph.degree).values()) == [2, 2, 2, 2]
    assert sum(size for _, size in graph.nodes(data="area")) == 100
    for c, d, (u, v) in graph.edges(data="vertices"):
        assert {u, v} <= set(found.cells[c]) & set(found.cells[d])
    found.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert str(found) == (
        "4 activation regions, 4 linear regions, 4 affine maps\n  continuous, V - E + F = 9 - 12 + 4 = 1"
    )


def test_outlines_are_joined():
    """Edges are whole: those of the polygon follow one another."""
    found = regions(relu())
    border = {u: v for u, v, _, other in found.edges if other < 0}
    way = [next(iter(border))]
    for _ in border:
        way.append(border[way[-1]])
    assert way[0] == way[-1]
    places = [found.vertices[v] for v in way]
    assert all(p[0] == q[0] or p[1] == q[1] for p, q in pairwise(places))
