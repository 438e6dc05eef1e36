"""The same trained networks on zahlen and on other runtimes, timed in turns in one process.

Every round times each contestant once, in an order that rotates; what is reported of a peer is the median, and the
quartiles, of its time over zahlen's in the same round: above 1 zahlen is faster. Peers hold the same integer weights
and run in the fastest of the forms that they offer; theirs is a tanh of 8 bits or of floats, zahlen's one of few
levels. Rows with ReLU are another function, which is what these runtimes fuse best.

Needs a computer that does nothing else, above all for two threads: pip install 'zahlen[all,peers]'. All of it takes
about five minutes.

python benchmarks/peers.py                        # all of it, into benchmarks/results/peers.{json,md,png}
python benchmarks/peers.py --only cnn --threads 1 # these networks anew, others as recorded
python benchmarks/peers.py --isa avx2             # zahlen held to AVX2, the peers not; into peers-avx2.*
python benchmarks/peers.py --quick                # whether everything runs; writes nothing
"""

from __future__ import annotations

import argparse
import importlib
import os
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
NAMES = ("mlp", "cnn", "lstm", "binary", "bits")
MODULES = ("peers_zahlen", "peers_litert", "peers_onnxruntime", "peers_openvino", "peers_torch")
ROUNDS = 30
SECONDS = 7.0
"""After which a race ends, whatever rounds it has made."""


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short training, few rounds; writes only with --output")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (1 2)")
    parser.add_argument("--rounds", type=int, help=f"rounds of a race ({ROUNDS})")
    parser.add_argument("--isa", help="variant of zahlen's kernels, such as avx2; the fastest by default")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results)")
    return parser.parse_args()


def runtimes(skipped: dict[str, str]) -> list[ModuleType]:
    """What is installed; zahlen comes first."""
    found = []
    for name in MODULES:
        try:
            found.append(importlib.import_module(name))
        except Exception as error:  # whatever a broken installation raises
            _skip(skipped, name.removeprefix("peers_"), error)
    return found


def _skip(skipped: dict[str, str], what: str, error: Exception) -> None:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    skipped[what] = lines[0][:200]
    print(f"left out: {what}: {skipped[what]}", flush=True)


def raced(case: Any, threads: int, modules: list[ModuleType], rounds: int, skipped: dict[str, str]) -> dict[str, Any]:
    """All contestants on one case."""
    import torch
    from peers_timing import fastest, quartiles, race

    contestants, same, classes = [], [], case.classes
    with torch.inference_mode():
        for module in modules:
            made = module.forms(case, threads)
            for name, forms in made.items():
                try:
                    contestant, share = fastest(forms, classes)
                    contestants.append(contestant)
                    same.append(share)
                except Exception as error:  # whatever a runtime raises
                    if module is modules[0]:
                        raise
                    _skip(skipped, f"{name}, {case.network.name}, {case.name}", error)
        times = race(contestants, rounds, SECONDS)
    ours = times[contestants[0].name]
    rows = []
    for contestant, share in zip(contestants, same):
        seen = times[contestant.name]
        ratios = [a / b for a, b in zip(seen, ours)]
        rows.append(
            {
                "name": contestant.name,
                "form": contestant.form,
                "seconds": quartiles(seen),
                "ratio": quartiles(ratios),
                "rounds": len(seen),
                "same_class": share if case.batch > 1 else None,  # one sample says nothing
                "size": contestant.size,
            }
        )
    return {"network": case.network.name, "case": case.name, "threads": threads, "rows": rows}


def imports(modules: list[ModuleType]) -> dict[str, float]:
    """Seconds that an import takes in a fresh interpreter: medians of three, behind one that fills the disk's cache."""
    import statistics
    import subprocess
    import sys

    lines = {module.NAME_OF_IMPORT: module.IMPORT for module in modules}
    seconds = {}
    for name, line in lines.items():
        code = f"import time; start = time.perf_counter(); {line}; print(time.perf_counter() - start)"
        runs = [
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
            for _ in range(4)
        ]
        seconds[name] = statistics.median(runs[1:])
    return seconds


def main() -> None:
    arguments = parsed()
    # before anything is imported that reads them
    os.environ["OMP_NUM_THREADS"] = str(max(arguments.threads))
    if arguments.isa:
        os.environ["ZAHLEN_ISA"] = arguments.isa
    import peers_report
    from peers_networks import cases, trained

    skipped: dict[str, str] = {}
    modules = runtimes(skipped)
    names = [name for name in NAMES if arguments.only is None or name in arguments.only]
    networks = trained(names, arguments.quick)
    rounds = arguments.rounds or (7 if arguments.quick else ROUNDS)
    races = []
    for network in networks:
        made = cases(network)
        for threads in arguments.threads:
            races += [raced(case, threads, modules, rounds, skipped) for case in made]
        peers_report.show([r for r in races if r["network"] == network.name], network.title)
    record = {
        "header": peers_report.header(modules[0].kernels(), _versions(modules), arguments.threads, rounds),
        "titles": {network.name: network.title for network in networks},
        "races": races,
        "imports": imports(modules),
        "skipped": skipped,
    }
    peers_report.show_imports(record)
    if arguments.quick and arguments.output is None:
        return
    folder = arguments.output or HERE / "results"
    stem = "peers" + (f"-{arguments.isa}" if arguments.isa else "")
    peers_report.write(record, folder / stem, keep=arguments.only is not None, order=NAMES)


def _versions(modules: list[ModuleType]) -> dict[str, str]:
    packages = dict.fromkeys(package for module in modules for package in module.PACKAGES)
    return {package: metadata.version(package) for package in packages}


if __name__ == "__main__":
    main()
