"""Pictures of dynamics: basins as a graph drawing, orbits as a cobweb or as a raster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..machine import InputError, Machine, ToolError, replacing

if TYPE_CHECKING:
    import networkx

    from .orbit import Orbit
    from .state_graph import StateGraph

MAX_DRAWN = 1 << 12
"""Most states that are drawn as dots, or become nodes."""
MAX_STEPS = 1 << 10
"""Most steps of an orbit that are drawn."""
MAX_CURVES = 8
"""Most basins that have a curve of their own."""


def networkx_graph(found: StateGraph) -> networkx.DiGraph[int]:
    """A node for each state, with `attractor` and `transient`."""
    try:
        import networkx
    except ImportError:
        raise ToolError("this needs networkx; install it with: pip install 'zahlen[analysis]'") from None
    numbers = _few(found)
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    for k, ends, transient in zip(numbers, found.attractor_of(numbers), found.transient_of(numbers)):
        graph.add_node(int(k), attractor=int(ends), transient=int(transient))
    graph.add_edges_from(zip(numbers.tolist(), found.successor(numbers).tolist()))
    return graph


def _few(found: StateGraph) -> NDArray[np.int64]:
    if found.states > MAX_DRAWN:
        raise InputError(
            f"state graph: {found.states:,} states are more than {MAX_DRAWN:,}, too many to draw one by one; `plot` "
            "shows basins and transients of any number"
        )
    return np.arange(found.states)


def layout(found: StateGraph) -> NDArray[np.float64]:
    """Where each state stands, (states, 2): cycles as rings, what is further from them on rings further out.

    Every state has a sector of its ring as wide as the leaves of its tree; components stand in rows.
    """
    numbers = _few(found)
    after, ends, depth = found.successor(numbers), found.attractor_of(numbers), found.transient_of(numbers)
    outwards = np.argsort(depth, kind="stable")
    leaves = found.is_garden(numbers).astype(np.int64)
    for k in outwards[::-1]:
        leaves[k] = max(leaves[k], 1)
        if depth[k] > 0:
            leaves[after[k]] += leaves[k]
    start = np.zeros(found.states)
    taken = np.zeros(found.states)
    place = np.zeros((found.states, 2))
    rings = [
        _ring(found, attractor, numbers[(ends == attractor) & (depth == 0)], after)
        for attractor in range(found.attractors)
    ]
    radius = np.zeros(found.attractors)
    for attractor, ring in enumerate(rings):
        total, angle = leaves[ring].sum(), 0.0
        for k in ring:
            start[k], angle = angle, angle + 2 * np.pi * leaves[k] / total
        radius[attractor] = 0.0 if len(ring) == 1 else max(0.6, len(ring) / 6)
    share = 2 * np.pi / np.array([leaves[ring].sum() for ring in rings])
    for k in outwards:
        attractor = ends[k]
        if depth[k] > 0:
            parent = after[k]
            start[k] = start[parent] + taken[parent]
            taken[parent] += share[attractor] * leaves[k]
        middle = start[k] + share[attractor] * leaves[k] / 2
        out = radius[attractor] + depth[k]
        place[k] = out * np.cos(middle), out * np.sin(middle)
    edge = np.array([radius[a] + depth[ends == a].max() + 0.6 for a in range(found.attractors)])
    width, x, y, height = 2 * np.sqrt(((2 * edge) ** 2).sum()), 0.0, 0.0, 0.0
    for attractor in np.argsort(-edge, kind="stable"):
        r = edge[attractor]
        if x > 0 and x + 2 * r > width:
            x, y, height = 0.0, y - height, 0.0
        place[ends == attractor] += x + r, y - r
        x, height = x + 2 * r, max(height, 2 * r)
    return place


def _ring(found: StateGraph, attractor: int, members: NDArray[np.int64], after: NDArray[np.int64]) -> list[int]:
    """The states of a cycle, one after the other."""
    ring = [int(members[0])]
    while len(ring) < len(members):
        ring.append(int(after[ring[-1]]))
    return ring


def draw_basins(found: StateGraph, to: Any) -> None:
    """See `StateGraph.draw`."""
    if not is_axes(to):
        return to_file(to, (8, 8), lambda axes: draw_basins(found, axes))
    from matplotlib.collections import LineCollection

    place = layout(found)
    numbers = np.arange(found.states)
    ends, on_cycle = found.attractor_of(numbers), found.transient_of(numbers) == 0
    size = float(np.clip(4000 / found.states, 2, 40))
    colours = _colours(ends)
    lines = np.stack([place, place[found.successor(numbers)]], axis=1)
    to.add_collection(LineCollection(list(lines), colors=colours, linewidths=np.where(on_cycle, 1.6, 0.6), zorder=1))
    to.scatter(*place.T, s=np.where(on_cycle, 2.5 * size, size), c=colours, edgecolors="none", zorder=2)
    to.set_aspect("equal")
    to.set_axis_off()
    to.set_title(f"{found.states:,} states, attractors of periods {', '.join(map(str, found.periods[:12]))}")
    return None


def plot_transients(found: StateGraph, to: Any) -> None:
    """See `StateGraph.plot`."""
    if not is_axes(to):
        return to_file(to, (7, 4), lambda axes: plot_transients(found, axes))
    for attractor in range(min(found.attractors, MAX_CURVES)):
        mine = found.found.attractor == attractor
        sizes = np.zeros(int(found.found.transient[mine].max()) + 1, dtype=np.int64)
        sizes[found.found.transient[mine]] = found.found.sizes[mine]
        label = f"{attractor}: period {found.periods[attractor]:,}, basin {found.basins[attractor]:,}"
        to.plot(sizes, marker=".", label=label, color=_colours(np.array([attractor]))[0])
    to.set(yscale="log", xlabel="steps before the attractor", ylabel="states")
    to.legend(fontsize="small")
    return None


def draw_orbit(found: Orbit, to: Any) -> None:
    """See `Orbit.draw`."""
    steps = found.transient + found.period + 1
    if steps > MAX_STEPS:
        raise InputError(f"orbit: {steps:,} steps are more than {MAX_STEPS:,}, too many to draw")
    if not is_axes(to):
        return to_file(to, (6, 6) if _is_scalar(found.machine) else (8, 4), lambda axes: draw_orbit(found, axes))
    states = [*found.approach(), *found.cycle(), found.entry]
    rows = np.array(
        [np.concatenate([state[n].ravel() for n in found.machine.registers]) for state in states], dtype=float
    )
    if _is_scalar(found.machine):
        _cobweb(found, rows[:, 0], to)
    else:
        to.imshow(rows[:-1].T, aspect="auto", interpolation="nearest", cmap="viridis")
        to.axvline(found.transient - 0.5, color="red", linewidth=1)
        to.set(xlabel="step; the line is where the cycle begins", ylabel="element of the state")
    to.set_title(str(found))
    return None


def _cobweb(found: Orbit, values: NDArray[np.float64], to: Any) -> None:
    """The map's graph, and the way between it and the diagonal."""
    (name,) = found.machine.registers
    wire = found.machine.wires[name]
    every = np.arange(wire.alphabet.lo, wire.alphabet.hi + 1, wire.alphabet.step * -(-wire.alphabet.size // MAX_DRAWN))
    inputs = {n: np.repeat(v, len(every), axis=0) for n, v in found.inputs.items()}
    after = found.machine.step({name: every.reshape(-1, *wire.shape)}, inputs)[0][name].ravel()
    to.plot(every, after, ".", color="0.6", markersize=3)
    to.plot(every[[0, -1]], every[[0, -1]], color="0.8", linewidth=1)
    ways = np.repeat(values, 2)
    first = 2 * found.transient
    to.plot(ways[: first + 1], ways[1 : first + 2], color="C0", linewidth=0.8)
    to.plot(ways[first:-1], ways[first + 1 :], color="C3", linewidth=1.4)
    to.set(xlabel=name, ylabel=f"{name} after a step", aspect="equal")


def _is_scalar(machine: Machine) -> bool:
    return sum(machine.wires[name].size for name in machine.registers) == 1


def _colours(attractors: NDArray[np.int64]) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](attractors % 10)


def is_axes(to: Any) -> bool:
    """Whether to draw there, not into a file."""
    try:
        from matplotlib.axes import Axes
    except ImportError:
        raise ToolError("plots need matplotlib; install it with: pip install 'zahlen[plots]'") from None
    return isinstance(to, Axes)


def to_file(to: Any, size: tuple[float, float], draw: Any) -> None:
    """Draw on axes of this size, in inches, and write them to a file whose suffix is the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    path = Path(to)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:] or "png", dpi=120)
