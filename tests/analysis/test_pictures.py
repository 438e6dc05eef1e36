import networkx
import numpy as np
import pytest

from zahlen.analysis import orbit, pictures, state_graph
from zahlen.machine import Builder, InputError, Levels


def squares(modulus, start=3):
    b = Builder()
    n = b.register("n", (1,), Levels(0, modulus - 1), start)
    b.connect(n, b.lookup(n, [(k * k + 1) % modulus for k in range(modulus)]))
    return b.build(n)


def identity(units):
    b = Builder()
    h = b.register("h", (units,), Levels(0, 1))
    b.connect(h, h)
    return b.build(h)


def test_a_graph_for_networkx():
    graph = state_graph(squares(100)).graph()
    assert sorted(graph.edges) == [(k, (k * k + 1) % 100) for k in range(100)]
    (cycle,) = networkx.simple_cycles(graph)
    assert {k for k, transient in graph.nodes(data="transient") if transient == 0} == set(cycle)
    assert graph.nodes[3] == {"attractor": 0, "transient": 2}


@pytest.mark.parametrize("machine", [squares(97), squares(256), identity(5)], ids=["97", "256", "identity"])
def test_every_state_has_a_place_of_its_own(machine):
    """Trees lie outside their attractors, at a distance that says how many steps before them a state is."""
    found = state_graph(machine)
    place = pictures.layout(found)
    numbers = np.arange(found.states)
    assert len(np.unique(place.round(6), axis=0)) == found.states
    ends, depth = found.attractor_of(numbers), found.transient_of(numbers)
    for attractor in range(found.attractors):
        ring = place[(ends == attractor) & (depth == 0)]
        if len(ring) == 1:
            out = np.hypot(*(place - ring[0]).T)[ends == attractor]
            assert (out.round(6) == depth[ends == attractor]).all()


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures_are_written(tmp_path, suffix):
    found = state_graph(squares(100))
    for k, draw in enumerate((found.draw, found.plot, orbit(squares(100)).draw, orbit(identity(3)).draw)):
        draw(tmp_path / f"{k}.{suffix}")
        assert (tmp_path / f"{k}.{suffix}").stat().st_size > 1000


def test_what_is_too_large_to_draw_is_refused(tmp_path):
    found = state_graph(identity(13))
    for draw in (found.draw, lambda to: found.graph()):
        with pytest.raises(InputError, match="8,192 states are more than 4,096, too many to draw one by one"):
            draw(tmp_path / "a.png")
    found.plot(tmp_path / "a.png")
    b = Builder()
    n = b.register("n", (1,), Levels(0, 1999))
    b.connect(n, b.lookup(n, [(k + 1) % 2000 for k in range(2000)]))
    with pytest.raises(InputError, match="2,001 steps are more than 1,024"):
        orbit(b.build(n)).draw(tmp_path / "a.png")
