"""How much of what the processor can do the engine's dense layers reach, on one thread.

Two loops in C, compiled here by `cc`, measure the ceilings beside the layers, in the same rounds: products of the kind
that the layer's kernel takes, with everything in registers; and plain reads of as many bytes as the layer's weights.

(a) a batch of 1024 through 1024 -> 1024 with a staircase, asked: 85 % of the products;
(b) one sample through layers of 0.5 and 1 MB of weights, asked: 80 % of the reads.

python benchmarks/ceilings.py [--rounds 30] [--output benchmarks/results/ceilings]
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zahlen import Builder, Levels, Machine
from zahlen.engine import Program
from zahlen.kernels import native
from zahlen.timing import sample

ASKED = {"products": 0.85, "reads": 0.80}
DOTS = 24
"""Products that do not wait for each other."""
READS = 20
"""Of the whole, in one call."""
LOOPS = {  # by kind: instructions of a product, multiply-adds, registers, and a read
    "avx2": (("vpmaddwd %%ymm14, %%ymm15, %%ymm13", "vpaddd %%ymm13, %%ymm{k}, %%ymm{k}"), 16, 12, "vmovdqu", "ymm"),
    "avxvnni": (("%{{vex%}} vpdpbusd %%ymm14, %%ymm15, %%ymm{k}",), 32, 12, "vmovdqu", "ymm"),
    "vnni": (("vpdpbusd %%zmm30, %%zmm31, %%zmm{k}",), 64, DOTS, "vmovdqu64", "zmm"),
}
LOOPS |= {"icelake": LOOPS["vnni"], "avx512": LOOPS["avx2"]}


def source(kind: str) -> str:
    """The two loops."""
    instructions, _, chains, move, register = LOOPS[kind]
    width = 64 if register == "zmm" else 32
    dots = " ".join(f'"{line.format(k=k)}\\n"' for k in range(chains) for line in instructions)
    reads = " ".join(f'"{move} {width * k}(%0), %%{register}{k % 4}\\n"' for k in range(16))
    names = ", ".join(f'"xmm{k}"' for k in range(32 if register == "zmm" else 16))
    return f"""
    #include <stdint.h>
    void products(int64_t times) {{
        for (int64_t k = 0; k < times; k++) {{
            __asm__ volatile({dots} : : : {names});
        }}
    }}
    void reads(const uint8_t *first, int64_t bytes, int64_t times) {{
        for (int64_t k = 0; k < times; k++) {{
            for (const uint8_t *at = first; at < first + bytes; at += {16 * width}) {{
                __asm__ volatile({reads} : : "r"(at) : {names}, "memory");
            }}
        }}
    }}
    """


def compiled(kind: str, folder: Path) -> Any:
    """The two loops as a library."""
    (folder / "loops.c").write_text(source(kind))
    flags = ["-march=cascadelake"] if kind in ("vnni", "icelake") else ["-march=haswell", "-mavxvnni"]
    flags = flags[:1] if kind in ("avx2", "avx512") else flags
    library = folder / "loops.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", *flags, "-o", library, folder / "loops.c"], check=True)
    loops = ctypes.CDLL(str(library))
    loops.products.argtypes = [ctypes.c_int64]
    loops.reads.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return loops


def layer(inputs: int, outputs: int) -> Machine:
    """Bytes times weights of 8 bits, sixteen levels of the sums."""
    rng, b = np.random.default_rng(0), Builder()
    z = b.affine(b.input("x", (inputs,), Levels(0, 255)), rng.integers(-127, 128, (outputs, inputs)))
    reach = int(250 * 73 * np.sqrt(inputs))
    return b.build(b.staircase(z, np.linspace(-reach, reach, 15).astype(int), 2 * np.arange(16) - 15))


def running(machine: Machine, batch: int) -> tuple[Callable[[], Any], str]:
    """A call of a layer, compared with the reference, and its kernel."""
    program = Program(machine, threads=1)
    (name,) = machine.inputs
    x = np.random.default_rng(1).integers(0, 256, (batch, *machine.wires[name].shape), dtype=np.uint8)
    out = program.empty(batch)
    program.run_into(x, out)
    assert (out[:16] == machine.run(x[:16], executor="reference")).all()
    kernel = next(line for line in str(program).splitlines() if "products" in line)
    return lambda: program.run_into(x, out), kernel.split(": ", 1)[1]


def raced(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of a call of each, in turns of a few milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    calls = (one, other)
    repeats = [max(1, int(3e-3 / min(sample(call, 1) for _ in range(3)))) for call in calls]
    for k in range(rounds + 1):
        for i in (0, 1) if k % 2 else (1, 0):
            seconds = sample(calls[i], repeats[i])
            if k > 0:
                times[i].append(seconds)
    return times


def row(
    what: str, amount: float, unit: str, times: tuple[list[float], list[float]], per: float, asked: float
) -> dict[str, Any]:
    """Rates in 10^9 a second: `amount` in a call of the layer, `per` in one of the loop."""
    layers, loops = times
    shares = [amount / a / (per / b) for a, b in zip(layers, loops)]
    return {
        "what": what, "unit": unit, "layer_us": 1e6 * statistics.median(layers),
        "layer": amount / statistics.median(layers) / 1e9, "ceiling": per / statistics.median(loops) / 1e9,
        "share": statistics.median(shares), "share_of_the_least": amount / min(layers) / (per / min(loops)),
        "asked": asked,
    }  # fmt: skip


def measured(kind: str, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """All rows, and the kernel of the large layer."""
    _, each, chains, _, _ = LOOPS[kind]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        loops = compiled(kind, Path(folder))
        call, kernel = running(layer(1024, 1024), 1024)
        seen = raced(call, lambda: loops.products(10_000), rounds)
        per = 10_000.0 * chains * each
        rows.append(row("1024 x 1024, batch 1024", 1024.0**3, "GMAC/s", seen, per, ASKED["products"]))
        wide = 2 if "16-bit" in kernel else 1  # bytes of a packed weight
        for inputs, outputs in ((1024, 512), (1024, 1024)):
            weights = wide * inputs * outputs
            memory = np.zeros(weights + 64, dtype=np.uint8)
            at = memory.ctypes.data + -memory.ctypes.data % 64
            call, _ = running(layer(inputs, outputs), 1)
            seen = raced(call, partial(loops.reads, at, weights, READS), rounds)
            what = f"{outputs} x {inputs}, one sample, {weights / 2**20:g} MB of weights"
            rows.append(row(what, float(weights), "GB/s", seen, float(READS * weights), ASKED["reads"]))
    return rows, kernel


def table(rows: list[dict[str, Any]]) -> str:
    """For a page."""
    lines = [
        "| layer | time | rate | ceiling | share, median of pairs | of the least times | asked |",
        "|" + "---|" * 7,
    ]
    for r in rows:
        lines.append(
            f"| {r['what']} | {r['layer_us']:,.1f} us | {r['layer']:.1f} {r['unit']} | {r['ceiling']:.1f} {r['unit']} "
            f"| {r['share']:.1%} | {r['share_of_the_least']:.1%} | {r['asked']:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, help="where to write .json and .md")
    arguments = parser.parse_args()
    assert native is not None, "no kernels were built"
    kind = os.environ.get("ZAHLEN_ISA", native.variants()[-1])
    if kind not in LOOPS:
        parser.exit(1, f"no loops for {kind}: these are for {', '.join(LOOPS)}\n")
    rows, kernel = measured(kind, arguments.rounds)
    about = f"{platform.processor() or platform.machine()}, kernels {kind}: {kernel}"
    text = f"{about}\n\n{table(rows)}"
    print(text)
    if arguments.output is not None:
        today = datetime.date.today().isoformat()
        found = {"kind": kind, "kernel": kernel, "date": today, "rounds": arguments.rounds, "rows": rows}
        arguments.output.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
        arguments.output.with_suffix(".md").write_text(f"{today}, {text}\n")


if __name__ == "__main__":
    main()
