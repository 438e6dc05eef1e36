"""Pictures of subdivisions, and their cells as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...machine import ToolError
from ..pictures import is_axes, to_file

if TYPE_CHECKING:
    import networkx

    from .regions import Regions


def adjacency(found: Regions) -> networkx.Graph[int]:
    """See `Regions.graph`."""
    try:
        import networkx
    except ImportError:
        raise ToolError("this needs networkx; install it with: pip install 'zahlen[analysis]'") from None
    graph: networkx.Graph[int] = networkx.Graph()
    for c, (region, size) in enumerate(zip(found.region.tolist(), found.areas)):
        graph.add_node(c, region=region, area=size)
    graph.add_edges_from((c, other, {"vertices": (u, v)}) for u, v, c, other in found.edges if other >= 0)
    return graph


def plot_regions(found: Regions, to: Any) -> None:
    """See `Regions.plot`."""
    if not is_axes(to):
        return to_file(to, (6, 6), lambda axes: plot_regions(found, axes))
    from matplotlib.collections import PolyCollection

    place = np.array([[float(v) for v in vertex] for vertex in found.vertices])
    cells = [place[list(polygon)] for polygon in found.cells]
    colours = _colours(found.region)
    to.add_collection(PolyCollection(cells, facecolors=colours, edgecolors="black", linewidths=0.3))
    to.autoscale_view()
    to.set_aspect("equal")
    first, second = found.slice.names
    to.set(xlabel=first, ylabel=second, title=str(found).splitlines()[0])
    return None


def _colours(regions: Any) -> Any:
    """For each cell that of its region; regions with numbers one after the other look different."""
    from matplotlib import colormaps

    golden = (np.sqrt(5) - 1) / 2
    return colormaps["Pastel1"](regions * golden % 1)
