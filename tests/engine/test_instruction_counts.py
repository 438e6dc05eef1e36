"""How many instructions ordinary networks take: a slip that makes a kernel slower is seen without a clock.

Valgrind counts what one call of a program executes: with AVX2, built as CMakeLists.txt builds it, and in plain C, built
with -O1, as more takes a compiler a quarter of a minute. It does not know AVX-512. Counts depend on the compiler: those
in ``instruction_counts.json`` are by its major version, and where there are none they are only reported. To write down
new ones, after a change that is meant:

    ZAHLEN_COUNTS=write .venv/bin/python -m pytest tests/engine/test_instruction_counts.py
"""

import json
import os
import re
from pathlib import Path

import pytest
from emit.compilers import need
from emit.handmade import character_lstm, mlp
from packed import ANY_DOT8, build, case, convolutional, run

BUDGETS = Path(__file__).with_name("instruction_counts.json")
SLACK = 1.05
NETWORKS = {
    "mlp, batch 1": (lambda: mlp((784, 256, 256, 10)), 1),
    "mlp, batch 64": (lambda: mlp((784, 256, 256, 10)), 64),
    "cnn, batch 1": (convolutional, 1),
    "lstm, a step": (lambda: character_lstm(128), 1),
}


@pytest.mark.parametrize(("variant", "level"), [("avx2", "-O3"), ("portable", "-O1")])
def test_no_network_takes_more_instructions_than_it_did(variant, level, tmp_path):
    need("gcc", "valgrind")
    if not re.search("x86_64", run(["gcc", "-dumpmachine"]).stdout):
        pytest.skip("the counts are of another kind of processor")
    compiler = "gcc " + run(["gcc", "-dumpversion"]).stdout.split(".")[0].strip()
    replay = build(tmp_path, ["gcc"], variant, ["-fno-math-errno"], level=level)
    found = {}
    for name, (machine, batch) in NETWORKS.items():
        case(machine(), name, batch, times=1).write(tmp_path / "case", variant in ANY_DOT8)
        report = tmp_path / "report"
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={report}", "--toggle-collect=counted*"]
        run([*tool, replay, "--count", tmp_path / "case"])
        found[name] = int(re.search(r"^(?:summary|totals): (\d+)$", report.read_text(), re.MULTILINE)[1])
    known = json.loads(BUDGETS.read_text())
    if os.environ.get("ZAHLEN_COUNTS") == "write":
        known.setdefault(compiler, {})[variant] = found
        BUDGETS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    due = known.get(compiler, {}).get(variant)
    if due is None:
        pytest.skip(f"no counts of {compiler} are known; here they are {found}")
    assert min(found.values()) > 10_000
    above = {name: f"{count:,}, not {due[name]:,}" for name, count in found.items() if count > SLACK * due[name]}
    assert not above, f"{variant} by {compiler}: {above}"
