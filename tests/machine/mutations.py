"""Load many damaged files: each gives a `FileError` or a machine that keeps its word. Run by test_file.py.

As a program, ``python mutations.py SEED COUNT``, in a process of its own: its memory is limited, and so is the time of
every case. Prints how many files were accepted, and how many were refused, by the beginning of the message.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from definition import sample
from safetensors.numpy import save as to_bytes
from strategies import random_batch, random_machine

from zahlen.machine import FileError, Machine, load
from zahlen.machine import operations as op
from zahlen.machine.file import program, tensors

SECONDS_PER_CASE = 5
MEMORY = 2**30
"""Bytes of address space beyond what the process has at the start."""

NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    255,
    256,
    -256,
    2**16,
    10**9,
    -(10**9),
    2**31,
    2**31 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    2**255,
]
NUMBERS += [2**300, -(2**256), 10**4000]
OTHERS = [
    True,
    False,
    None,
    "",
    "x0",
    "x",
    "levels",
    "\ud800",
    "a" * 300,
    [],
    {},
    [[]],
    [0],
    [1, 1],
    [[0, 0]],
    [[1, 2], [3, 4]],
]
OTHERS += [
    {"levels": [0, 1, 1]},
    {"levels": [0, 2**200, 1]},
    {"levels": [0, 10, 5]},
    {"codes": 3, "structure": "S3"},
    {"codes": 2},
]


def independent_hash(tree: Any, constants: dict[str, Any]) -> str:
    """The content hash as the specification has it, without the package."""
    digest = hashlib.sha256(canonical(tree))
    for name in sorted(constants):
        array = np.asarray(constants[name])
        values = [int(v) for v in array.reshape(-1)]
        size = next(s for s in (1, 2, 4, 8, 16) if all(-(2 ** (8 * s - 1)) <= v < 2 ** (8 * s - 1) for v in values))
        digest.update(canonical([name, size, list(array.shape)]))
        digest.update(b"".join(v.to_bytes(size, "little", signed=True) for v in values))
    return digest.hexdigest()


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def file_bytes(tree: Any, constants: dict[str, Any], notes: Any = None, text: str | None = None) -> bytes:
    """A file with this program and these constants, and the hash that they have."""
    text = canonical(tree).decode() if text is None else text
    notes = json.dumps({} if notes is None else notes)
    return to_bytes(constants, {"zahlen": text, "notes": notes, "sha256": independent_hash(tree, constants)})


# ---------------------------------------------------------------------------------------------------- mutations


def mutated_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(changed))
        style = rng.randrange(7)
        if style == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif style == 1:
            changed[place:place] = rng.randbytes(rng.choice((1, 1, 8, 100)))
        elif style == 2:
            del changed[place : place + rng.choice((1, 1, 8, 100))]
        elif style == 3:
            del changed[place:]
        elif style == 4:
            changed[place:] = other[rng.randrange(len(other)) :]
        elif style == 5:
            changed[place] = rng.randrange(256)
        else:
            changed[:8] = rng.choice((0, 1, len(data), 2**24, 2**63, 2**64 - 1)).to_bytes(8, "little")
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], (dict, list)):
                todo.append(node[key])
    return found


def mutated_program(rng: random.Random, tree: Any, constants: dict[str, Any], other: Any) -> bytes:
    tree, constants = copy.deepcopy(tree), dict(constants)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        mutate(rng, tree, constants, other)
    try:
        return file_bytes(tree, constants, text=odd_text(rng, tree) if rng.random() < 0.05 else None)
    except UnicodeEncodeError:  # a name that no file can have
        return mutated_program(rng, other, constants, tree)


def mutate(rng: random.Random, tree: Any, constants: dict[str, Any], other: Any) -> None:
    found = places(tree)
    numbers = [(c, k) for c, k in found if type(c[k]) is int]
    wires, style = tree.get("wires"), rng.randrange(10)
    wires = wires if isinstance(wires, list) else []
    if style <= 2 and numbers:
        node, key = rng.choice(numbers)
        node[key] = rng.choice((node[key] + 1, node[key] - 1, -node[key], 2 * node[key], rng.choice(NUMBERS)))
    elif style == 3 and constants:
        name = rng.choice(sorted(constants))
        constants[name] = mutated_tensor(rng, constants[name])
    elif style == 4 and wires:
        part = rng.choice(wires)
        if rng.random() < 0.5:
            wires[rng.randrange(len(wires))] = copy.deepcopy(part)
        else:
            wires.insert(rng.randrange(len(wires) + 1), copy.deepcopy(part))
    elif style == 5 and wires:
        wires.pop(rng.randrange(len(wires)))
    elif style == 6 and wires:
        wire = rng.choice(wires)
        if isinstance(wire, dict):
            wire["op"] = rng.choice([*op.OPERATIONS, "exec", ""])
    elif style == 7:
        names = [w["name"] for w in wires if isinstance(w, dict) and "name" in w]
        texts = [(c, k) for c, k in found if isinstance(c[k], str)]
        if texts and names:
            node, key = rng.choice(texts)
            node[key] = rng.choice(names)
    elif style == 8 and found:
        node, key = rng.choice(found)
        theirs, their_key = rng.choice(places(other))
        node[key] = copy.deepcopy(rng.choice((rng.choice(OTHERS), theirs[their_key], rng.choice(NUMBERS))))
    elif found:
        node, key = rng.choice(found)
        if isinstance(node, dict) and rng.random() < 0.5:
            node[rng.choice(("extra", "axis", "name", "lo"))] = node.pop(key)
        else:
            node.pop(key)


def mutated_tensor(rng: random.Random, array: Any) -> Any:
    array = np.array(array, dtype=np.int64)
    style = rng.randrange(6) if array.size else 2
    if style == 0:
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice([v for v in NUMBERS if -(2**63) <= v < 2**63])
        return array
    if style == 1:
        return array.reshape(rng.choice(((-1,), (1, -1), (-1, 1), (1, 1, -1))))
    if style == 2:
        return np.concatenate([array, array]) if array.ndim else array[None]
    if style == 3:
        return array[:-1].copy() if array.ndim else array
    if style == 4:
        return array.astype(rng.choice((np.uint8, np.float32, np.bool_, np.uint64, np.int16)))
    return np.sort(array, axis=None).reshape(array.shape)[::-1].copy() if array.ndim else array


def odd_text(rng: random.Random, tree: Any) -> str:
    """Text that is almost, or not quite, the program's JSON."""
    text = canonical(tree).decode()
    return rng.choice(
        (
            text + " ",
            text[:-1],
            text.replace("1", "1.0", 1),
            text.replace("0", "-0", 1),
            text.replace("1", "NaN", 1),
            text.replace("1", "1e3", 1),
            text.replace('{"', '{"version":1,"', 1),
            "[" * 100_000,
            '{"a":' * 50_000,
            text.replace("[", "[" * 50 + "]" * 49 + ",", 1),
            "1" * 10_000,
            "null",
            "[]",
            '""',
            "",
        )
    )


# ---------------------------------------------------------------------------------------------------- checks


def check(machine: Machine, path: Path, rng: random.Random) -> None:
    """What was accepted is a machine: it saves and loads as itself, and runs within its ranges."""
    assert independent_hash(program(machine), tensors(machine)) == machine.hash
    path.write_bytes(file_bytes(program(machine), tensors(machine)))
    assert load(path).hash == machine.hash
    assert str(machine)
    if sum(wire.size for wire in machine.wires.values()) > 5000:
        return
    values = machine.trace(*random_batch(machine, rng, 3))
    for name, wire in machine.wires.items():
        lo, hi = sample(wire.range.lo), sample(wire.range.hi)
        for row in map(sample, values[name]):
            assert np.all((lo <= row) & (row <= hi) & ((row - lo) % wire.range.step == 0)), wire


def main(seed: int, count: int) -> None:
    rng = random.Random(seed)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    originals = []
    while len(originals) < 60:
        machine = random_machine(rng, wide=rng.random() < 0.3)
        if len(str(machine)) < 3000:
            originals.append((program(machine), tensors(machine)))
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m")
        for case in range(count):
            (tree, constants), (other, others) = rng.sample(originals, 2)
            if case % 3 == 0:
                data = mutated_bytes(rng, file_bytes(tree, constants), file_bytes(other, others))
            else:
                data = mutated_program(rng, tree, constants, other)
            path.write_bytes(data)
            signal.alarm(SECONDS_PER_CASE)
            try:
                machine = load(path)
                check(machine, path, rng)
                outcomes["accepted"] += 1
            except FileError as error:
                text = str(error)
                assert len(text) < 1000, text
                assert "\n" not in text, text
                outcomes["refused: " + " ".join(re.sub(r".*read: (wire '.*?': )?", "", text).split()[:2])] += 1
            except BaseException:  # panics of Rust and memory errors too
                traceback.print_exc()
                kept = os.environ.get("KEEP_FAILURE")
                if kept:
                    Path(kept).write_bytes(data)
                sys.exit(f"case {case} of seed {seed}")
            finally:
                signal.alarm(0)
    print(json.dumps(dict(outcomes)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
