"""What was measured: on the screen, as JSON and Markdown, and as a plot."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = (
    "threads",
    "batch",
    "runtime",
    "form",
    "time",
    "quartiles",
    "times zahlen's",
    "quartiles",
    "same class",
    "file",
)


def header(kernels: str, versions: dict[str, str], threads: Sequence[int], rounds: int) -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "machine": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
        "kernels": kernels,
        "versions": versions,
        "threads": list(threads),
        "rounds": rounds,
    }


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    values: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in lines):
        values.setdefault(key.strip(), value.strip())
    # the name may be general where the machine is virtual
    name = values.get("model name", platform.machine())
    return f"{name}, family {values.get('cpu family')}, model {values.get('model')}"


def _time(seconds: float) -> str:
    """With three digits.

    >>> _time(4.217e-6), _time(0.0123), _time(0.1474)
    ('4.22 us', '12.3 ms', '147 ms')
    """
    value, unit = (1e6 * seconds, "us") if seconds < 1e-3 else (1e3 * seconds, "ms")
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def _ratio(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value < 1000 else f"{value:.0f}"


def _rows(races: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of `COLUMNS`."""
    rows = []
    for race in races:
        for row in race["rows"]:
            low, middle, high = row["seconds"]
            ratio = [_ratio(value) for value in row["ratio"]]
            own = row is race["rows"][0]
            cells = (str(race["threads"]), race["case"], row["name"], row["form"], _time(middle))
            cells += (f"{_time(low)} .. {_time(high)}", "1" if own else ratio[1])
            cells += ("" if own else f"{ratio[0]} .. {ratio[2]}",)
            same = "" if row["same_class"] is None else f"{100 * row['same_class']:.1f} %"
            rows.append((*cells, same, f"{row['size']:,}"))
    return rows


def show(races: Sequence[dict[str, Any]], title: str) -> None:
    """The races of one network on the screen."""
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("batch", "runtime", "form") else "right")
    for race in races:
        rows = _rows([race])
        for k, row in enumerate(rows):
            table.add_row(*row, end_section=k == len(rows) - 1)
    console = Console()
    # a pipe has no width to keep to
    (console if console.is_terminal else Console(width=200)).print(table)


def show_imports(record: dict[str, Any]) -> None:
    """Seconds of imports, and what was left out, on the screen."""
    table = Table("runtime", "import", title="import in a fresh process", title_justify="left")
    for name, seconds in record["imports"].items():
        table.add_row(name, f"{1000 * seconds:.0f} ms")
    Console().print(table)
    for name, reason in record["skipped"].items():
        Console().print(f"left out: {name}: {reason}", markup=False)


def write(record: dict[str, Any], stem: Path, *, keep: bool, order: Sequence[str]) -> None:
    """The files ``stem``.json, .md and .png; with `keep` networks that were not timed now stay as recorded.

    They stay only if they were timed on the same machine with the same kernels.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_suffix(".json")
    if keep and path.exists():
        old = json.loads(path.read_text())
        if all(old["header"][key] == record["header"][key] for key in ("machine", "kernels", "versions")):
            timed = {(race["network"], race["threads"]) for race in record["races"]}
            races = [race for race in old["races"] if (race["network"], race["threads"]) not in timed]
            place = {name: k for k, name in enumerate(order)}
            record["races"] = sorted(
                races + record["races"], key=lambda race: (place[race["network"]], race["threads"])
            )
            record["header"]["threads"] = sorted({race["threads"] for race in record["races"]})
            record["titles"] = {**old["titles"], **record["titles"]}
    path.write_text(json.dumps(record, indent=1) + "\n")
    stem.with_suffix(".md").write_text(_markdown(record, order))
    try:
        plot(record, stem.with_suffix(".png"), order)
    except ImportError as error:
        print(f"no plot: {error}")


def _markdown(record: dict[str, Any], order: Sequence[str]) -> str:
    head = record["header"]
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    lines = [
        f"{head['machine']}, {head['cores']} cores, {head['system']}, {head['date']}; "
        f"zahlen's kernels: {head['kernels']}.",
        f"{versions}; threads {', '.join(map(str, head['threads']))}; at most {head['rounds']} paired rounds.",
        "",
        'Medians with quartiles. "times zahlen\'s" is the median of the ratios of paired times: above 1 zahlen is '
        'faster. "same class": for how many samples a peer names the class that zahlen names. File sizes in bytes. '
        "Rows with ReLU are another function. zahlen reads out every step of a sequence, the peers the last.",
    ]
    for name in (name for name in order if name in record["titles"]):
        lines += [
            "",
            f"## {record['titles'][name]}",
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" * len(COLUMNS) + "|",
        ]
        lines += [f"| {' | '.join(row)} |" for row in _rows([r for r in record["races"] if r["network"] == name])]
    lines += ["", "## Import in a fresh process", "", "| runtime | ms |", "|---|---|"]
    lines += [f"| {name} | {1000 * seconds:.0f} |" for name, seconds in record["imports"].items()]
    lines += [f"\nLeft out: {name}: {reason}" for name, reason in record["skipped"].items()]
    return "\n".join(lines) + "\n"


def plot(record: dict[str, Any], path: Path, order: Sequence[str]) -> None:
    """Bars of ratios on a logarithmic axis: a row a network, a column a number of threads."""
    from matplotlib.figure import Figure

    names = [name for name in order if name in record["titles"]]
    threads = sorted({race["threads"] for race in record["races"]})
    peers = list(dict.fromkeys(row["name"] for race in record["races"] for row in race["rows"][1:]))
    figure = Figure(figsize=(6.5 * len(threads), 2.6 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots(len(names), len(threads), squeeze=False, sharey="row")
    width = 0.8 / max(1, len(peers))
    for line, name in zip(axes, names):
        for axis, count in zip(line, threads):
            races = [r for r in record["races"] if r["network"] == name and r["threads"] == count]
            for k, race in enumerate(races):
                rows = {row["name"]: row["ratio"] for row in race["rows"][1:]}
                for j, peer in enumerate(peers):
                    if peer in rows:
                        low, middle, high = rows[peer]
                        # bars grow from 1, where both are as fast
                        place = k + (j - (len(peers) - 1) / 2) * width
                        axis.bar(place, middle - 1, width, bottom=1, color=f"C{j}")
                        axis.errorbar(place, middle, [[middle - low], [high - middle]], color="black", linewidth=0.8)
            axis.axhline(1, color="black", linewidth=0.8)
            axis.set(yscale="log", title=f"{record['titles'][name]}; {count} thread{'s' * (count > 1)}")
            axis.title.set_fontsize(9)
            axis.set_xticks(range(len(races)), [race["case"] for race in races], fontsize=8)
            axis.grid(axis="y", which="both", alpha=0.2)
        line[0].set_ylabel("time / zahlen's time")
    handles = [_swatch(f"C{j}", peer) for j, peer in enumerate(peers)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=110)


def _swatch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
