"""Automata as graphs: for networkx, and as pictures."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from ...machine import InputError, ToolError, replacing
from .model import Automaton

MOST_DRAWN = 200
"""States of the largest automaton that is drawn."""


def to_networkx(a: Automaton) -> Any:
    """A `networkx.MultiDiGraph`: states 0.., an edge for each transition with its ``symbol`` as key and attribute.

    A Mealy machine's edges and a Moore machine's nodes have an ``output``; an acceptor's nodes say whether they are
    ``accepting``. The graph's attributes are ``kind`` and ``initial``.

    Raises
    ------
    ToolError
        If networkx is not installed.

    Examples
    --------
    >>> from zahlen.analysis.automata import tomita
    >>> graph = to_networkx(tomita(2))
    >>> graph[0][1]["1"], graph.nodes[0], graph.graph["initial"]
    ({'symbol': '1'}, {'accepting': True}, 0)
    """
    graph = _networkx().MultiDiGraph(kind=a.kind, initial=a.initial)
    for k in range(len(a)):
        if a.kind == "acceptor":
            graph.add_node(k, accepting=bool(a.outputs[k]))
        elif a.kind == "Moore":
            graph.add_node(k, output=a.labels[a.outputs[k]])
        else:
            graph.add_node(k)
    for k, row in enumerate(a.transitions.tolist()):
        for j, following in enumerate(row):
            more = {"output": a.labels[a.outputs[k, j]]} if a.outputs.ndim == 2 else {}
            graph.add_edge(k, following, key=a.symbols[j], symbol=a.symbols[j], **more)
    return graph


def draw(a: Automaton, to: Any) -> None:
    """Draw an automaton: accepting states have a double circle, the initial one an arrow from nowhere.

    Parameters
    ----------
    a : Automaton
        Of at most 200 states.
    to : path or matplotlib Axes
        A file to write (the format by its suffix), or where to draw.

    Raises
    ------
    ToolError
        If matplotlib or networkx is not installed.
    InputError
        If there are too many states.
    """
    if len(a) > MOST_DRAWN:
        raise InputError(f"draw: {len(a):,} states, at most {MOST_DRAWN} can be told apart; see to_networkx and to_dot")
    networkx = _networkx()
    try:
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ImportError:
        raise ToolError("plots need matplotlib; install it with: pip install 'zahlen[plots]'") from None
    if not isinstance(to, Axes):
        edge = 3 + len(a) ** 0.5
        figure = Figure(figsize=(1.3 * edge, edge), layout="constrained")
        draw(a, figure.subplots())
        path = Path(to)
        with replacing(path) as file:
            figure.savefig(file, format=path.suffix[1:] or "png", dpi=120)
        return
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(a)))
    texts: dict[tuple[int, int], dict[str, list[str]]] = {}
    for k, row in enumerate(a.transitions.tolist()):
        for j, following in enumerate(row):
            said = f"/{a.labels[a.outputs[k, j]]}" if a.outputs.ndim == 2 else ""
            texts.setdefault((k, following), {}).setdefault(said, []).append(a.symbols[j])
    graph.add_edges_from(texts)
    place = networkx.circular_layout(graph) if len(a) <= 6 else networkx.kamada_kawai_layout(graph)
    places = [place[k] for k in range(len(a))]
    size = max(120, 900 - 20 * len(a))
    shades: list[Any] = ["white"] * len(a) if a.kind != "Moore" else [(f"C{o % 10}", 0.3) for o in a.outputs]
    x, y = zip(*places)
    to.scatter(x, y, s=size, c=shades, edgecolors="black", zorder=2)
    if a.kind == "acceptor" and a.outputs.any():
        x, y = zip(*(places[k] for k in range(len(a)) if a.outputs[k]))
        to.scatter(x, y, s=0.65 * size, facecolors="none", edgecolors="black", zorder=3)
    curve = "arc3,rad=0.15"
    networkx.draw_networkx_edges(graph, place, ax=to, node_size=size, connectionstyle=curve)
    for k, (x, y) in enumerate(places):
        text = f"{k}\n{a.labels[a.outputs[k]]}" if a.kind == "Moore" else str(k)
        to.text(x, y, text, ha="center", va="center", zorder=4, fontsize=8)
    labels = {
        edge: "; ".join(" ".join(names) + said for said, names in groups.items()) for edge, groups in texts.items()
    }
    networkx.draw_networkx_edge_labels(graph, place, labels, ax=to, font_size=7, connectionstyle=curve, rotate=False)
    x, y = places[a.initial]
    to.annotate("", (x, y), (x - 0.45, y + 0.25), arrowprops={"arrowstyle": "->", "shrinkB": size**0.5 / 2}, zorder=1)
    to.margins(0.25)
    to.set_axis_off()


def _networkx() -> Any:
    try:
        return import_module("networkx")
    except ImportError:
        raise ToolError("graphs need networkx; install it with: pip install 'zahlen[analysis]'") from None
