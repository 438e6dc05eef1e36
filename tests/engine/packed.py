"""Packed programs written to files for the C drivers in ``native``, in the byte order of any processor."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from emit.handmade import MACHINES, character_lstm, mlp, recurrent
from strategies import STEPS, random_batch, random_machine, random_sequences

from zahlen import Builder, Levels, Machine
from zahlen.engine.forms import Data
from zahlen.engine.plan import NoPlan, Planner
from zahlen.engine.program import narrowest

NATIVE = Path(__file__).parent / "native"
KERNELS = Path(__file__).parents[2] / "src/zahlen/kernels"
VARIANTS = {
    "portable": (),
    "avx2": ("-march=haswell",),
    "avxvnni": ("-march=haswell", "-mavxvnni"),
    "vnni": ("-march=cascadelake", "-mprefer-vector-width=512"),
    "icelake": ("-march=cascadelake", "-mavx512vpopcntdq", "-mprefer-vector-width=512"),
}
"""Compiler options of each kind of x86 processor, as in CMakeLists.txt."""
COMPILED_ONCE_PER_KIND = sorted(
    file for file in KERNELS.glob("*.c") if "VARIANT)" in file.read_text() and file.stem != "recurrent"
)
"""All but the cells of trainings."""
ANY_DOT8 = ("portable", "avxvnni", "vnni", "icelake", "neon")
"""Kinds with exact products of 8 bits whatever the weights."""
ADDRESS = ("-fsanitize=address", "-fno-omit-frame-pointer")
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-ffp-contract=off")


# ---------------------------------------------------------------------------------------------------- programs


class Ordered(Data):
    """Constants in a byte order: every table is of one type, and keeps it."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order

    def add(self, array: Any, dtype: Any) -> int:
        return super().add(array, np.dtype(dtype).newbyteorder(self.order))


def packed(machine: Machine, wanted: tuple[str, ...], any_dot8: bool = True, order: str = "<") -> tuple[bytes, bytes]:
    """Words and constants of a machine's program."""
    planner = Planner(machine, wanted, any_dot8, data=Ordered(order))
    planner.run()
    words, data, _ = planner.encode()
    return words.astype(f"{order}i8").tobytes(), data


def seed(machine: Machine, any_dot8: bool = True) -> bytes:
    """A program as the fuzzer reads it."""
    words, data = packed(machine, machine.outputs, any_dot8)
    return struct.pack("<q", len(words) // 8) + words + data


# ---------------------------------------------------------------------------------------------------- cases


class Case:
    """A machine with a batch, and what the reference makes of it.

    Parameters
    ----------
    machine : Machine
    x : mapping from input name to integers (batch, *shape), with registers (batch, time, *shape)
    state : mapping from register name to integers (batch, *shape), optional
        By default the initial one.
    wanted : tuple of str
        Wires that come out.
    narrow : bool
        Whether arrays are of their narrowest types, else all are int64.
    """

    def __init__(
        self,
        machine: Machine,
        x: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
        wanted: tuple[str, ...] | None = None,
        *,
        batch: int,
        narrow: bool = True,
    ) -> None:
        self.machine, self.wanted, self.narrow = machine, machine.outputs if wanted is None else wanted, narrow
        time = bool(machine.registers)
        self.x = x if time else {name: value[:, None] for name, value in x.items()}
        self.batch, self.states = batch, state is not None
        self.times = next((value.shape[1] for value in self.x.values()), 3 if time else 1)
        self.before = machine.initial_state(batch) if state is None else dict(state)
        kept, steps = self.before, []
        for t in range(self.times):
            found = machine.trace(
                {name: value[:, t] for name, value in self.x.items()}, kept if time else None, executor="reference"
            )
            kept = {register: found[successor] for register, successor in machine.successors.items()}
            steps.append([np.broadcast_to(found[name], (batch, *machine.wires[name].shape)) for name in self.wanted])
        self.after = kept
        self.due = dict(zip(self.wanted, (np.stack(values, axis=1) for values in zip(*steps))))

    def write(self, path: Path, any_dot8: bool, order: str = "<") -> None:
        """As replay.c reads it."""
        words, data = packed(self.machine, self.wanted, any_dot8, order)
        head = [len(words) // 8, len(data), self.batch, self.times, len(self.x), len(self.wanted)]
        head += [len(self.machine.registers), int(self.states)]
        parts = [struct.pack(f"{order}8q", *head), words, data + bytes(-len(data) % 8)]
        for values in (self.x, self.due, *((self.before, self.after) if self.states else ())):
            parts += [self._array(name, value, order) for name, value in values.items()]
        path.write_bytes(b"".join(parts))

    def _array(self, name: str, values: Any, order: str) -> bytes:
        a = self.machine.wires[name].alphabet
        dtype = narrowest(a.lo, a.hi) if self.narrow else np.dtype(np.int64)
        content = np.ascontiguousarray(values).astype(dtype.newbyteorder(order)).tobytes()
        head = struct.pack(f"{order}3q", dtype.itemsize, dtype.kind == "i", len(content))
        return head + content + bytes(-len(content) % 8)


def case(machine: Machine, seed: object, batch: int, *, times: int = 4, every: bool = False, **options: Any) -> Case:
    """A batch by chance, from states by chance; of `every` wire what comes out."""
    rng = random.Random(str(seed))
    x, state = random_batch(machine, rng, batch)
    if machine.registers and machine.inputs:
        x = random_sequences(machine, rng, batch, times)
    wanted = tuple(machine.wires) if every else None
    return Case(machine, x, state or None, wanted, batch=batch, **options)


def planned(machine: Machine, wanted: tuple[str, ...] | None = None) -> bool:
    """Whether the engine has a program for it."""
    try:
        packed(machine, machine.outputs if wanted is None else wanted)
    except NoPlan:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- machines


def convolutional(
    shape: tuple[int, int, int] = (1, 28, 28), channels: Sequence[int] = (16, 32), levels: int = 16, per: bool = False
) -> Machine:
    """Convolutions of 3x3 with staircases, one for all or for each channel, and maxima of 2x2; ten sums behind them."""
    rng, b = np.random.default_rng(sum(shape)), Builder()
    h = b.input("image", shape, Levels(0, 255))
    for k, n in enumerate(channels):
        h = b.conv(h, rng.integers(-127, 128, (n, h.shape[0], 3, 3)), rng.integers(-99, 99, n), padding=1)
        top = (16000 if k == 0 else 900) * int(np.sqrt(9 * h.shape[0]))
        values = 2 * np.arange(levels) - levels + 1
        steps = np.sort(rng.integers(-top, top, (n, levels - 1) if per else levels - 1), axis=-1)
        h = b.staircase(h, steps, np.tile(values, (n, 1)) if per else values, **({"axis": 0} if per else {}))
        h = b.maxpool(h, (2, 2))
    h = b.reshape(h, (h.size,))
    return b.build(b.argmax(b.affine(h, rng.integers(-127, 128, (10, h.size)), name="sums")), "sums")


def two_valued(width: int = 100, units: int = 70) -> Machine:
    """Inputs and weights of two values each."""
    rng, b = np.random.default_rng(width), Builder()
    h = b.input("x", (width,), Levels(-1, 1, 2))
    for k in range(2):
        h = b.affine(h, 2 * rng.integers(0, 2, (units, h.size)) - 1, rng.integers(-9, 9, units), name=f"sum{k}")
        h = b.staircase(h, [0], [-1, 1])
    return b.build(b.affine(h, 2 * rng.integers(0, 2, (5, units)) - 1, name="last"), h)


def boolean(width: int = 70, layers: int = 5) -> Machine:
    """Gates of all kinds between bits, in one network; some bits are of other values than 0 and 1."""
    rng, b = np.random.default_rng(width), Builder()
    x, y = b.input("x", (width,), Levels(0, 1)), b.input("y", (width,), Levels(-3, 4, 7))
    wires = [x, b.lookup(y, [1, 0], alphabet=Levels(0, 1))]
    for _ in range(layers):
        kinds = rng.choice([6, 7, 8, 9, 11, 14], 2)
        pairs = [(wires[rng.integers(len(wires))], wires[-1 - k % 2]) for k in range(2)]
        wires += [
            b.lookup(p, q, [[int(kind) >> 2 * i + j & 1 for j in range(2)] for i in range(2)], alphabet=Levels(0, 1))
            for kind, (p, q) in zip(kinds, pairs)
        ]
        wires.append(b.concat(b.slice(wires[-1], (1,), (width,)), b.slice(wires[-2], (0,), (1,))))
    return b.build(wires[-1], b.affine(wires[-2], rng.integers(-9, 9, (5, width)), name="sums"))


def networks() -> dict[str, Machine]:
    """What trainings make, in ordinary and in odd sizes."""
    return {
        "mlp": mlp((784, 64, 32, 10)),
        "mlp_odd": mlp((33, 17, 5, 3)),
        "mlp_wide": mlp((70, 131, 67, 1), levels=40),
        "mlp_words": mlp((21, 35, 9), q=3000, pixels=9000),
        "cnn": convolutional((1, 12, 12), (16, 32)),
        "cnn_odd": convolutional((3, 13, 9), (5, 7), levels=5),
        "cnn_channels": convolutional((2, 8, 10), (6, 17), per=True),
        "lstm": character_lstm(40),
        "lstm_odd": character_lstm(13, levels=15, shape=(1,)),
        "gated_odd": recurrent(19),
        "bits": two_valued(),
        "bits_odd": two_valued(33, 65),
        "gates": boolean(),
        "gates_odd": boolean(9, 3),
    }


def cases() -> Iterator[tuple[str, Case]]:
    """Some dozens, each with a name for its file."""
    for k, (name, machine) in enumerate(networks().items()):
        yield name, case(machine, name, (7, 3, 18)[k % 3])
    for k, (name, make) in enumerate(MACHINES.items()):
        machine = make()
        if name != "hostile_names" and planned(machine):
            yield name, case(machine, name, 5, narrow=k % 2 == 0)
    kinds, found = sorted(STEPS), 0
    for k in range(200):
        rng = random.Random(f"packed {k}")
        machine = random_machine(rng, [*rng.choices(kinds, k=4), kinds[k % len(kinds)], *rng.choices(kinds, k=3)])
        if (machine.inputs or machine.registers) and planned(machine, tuple(machine.wires)):
            found += 1
            if machine.registers and machine.inputs and k % 3 == 0:  # from the initial state, so that it is streamed
                x = random_sequences(machine, rng, 4, 3)
                yield f"random{k}", Case(machine, x, None, tuple(machine.wires), batch=4)
            else:
                yield f"random{k}", case(machine, k, 1 + k % 9, every=True, narrow=k % 2 == 0)
        if found == 48:
            return


# ---------------------------------------------------------------------------------------------------- compilers


def build(
    to: Path,
    cc: Sequence[str],
    variant: str,
    options: Sequence[str] = (),
    *,
    sanitized: bool = False,
    level: str = "-O0",
) -> Path:
    """The replay of cases with the kernels of one variant.

    The unrolled blocks of ``product.c`` take gcc a minute where it optimises under sanitizers, and long where it looks
    for undefined behaviour: that is left to clang, in test_native_fuzz.py.
    """
    to.mkdir(parents=True, exist_ok=True)
    common = (*cc, *WARNINGS, *(["-g"] if sanitized else []), level, f"-DVARIANT={variant}", f"-I{KERNELS}", *options)
    common = (*common, *VARIANTS.get(variant, ()))
    sources = [*COMPILED_ONCE_PER_KIND, KERNELS / "program.c", KERNELS / "run.c", NATIVE / "replay.c"]
    objects = [to / f"{source.stem}.o" for source in sources]
    commands = []
    for source, o in zip(sources, objects):
        checks = (*ADDRESS, *(() if source.stem == "product" else UNDEFINED)) if sanitized else ()
        commands.append([*common, *checks, "-c", source, "-o", o])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, commands))
    run([*cc, *options, *((*ADDRESS, *UNDEFINED) if sanitized else ()), *objects, "-o", to / "replay"])
    return to / "replay"


def run(command: Sequence[str | Path], expected: int = 0) -> subprocess.CompletedProcess[str]:
    """What a command that must end with this status writes."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == expected, (
        f"{' '.join(map(str, command[:8]))} ...\n{done.stdout[-500:]}\n{done.stderr[-4000:]}"
    )
    return done
