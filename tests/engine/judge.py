"""The reference judges: every wire, in every form that a program of it may take, with ==."""

import numpy as np

from zahlen.engine import NoPlan, Program
from zahlen.engine.executor import Engine
from zahlen.kernels import native
from zahlen.machine import executors

VARIANTS = native.variants() if native is not None else []


def named(machine, outputs):
    """Outputs by name, also where there is only one."""
    return outputs if isinstance(outputs, dict) else {machine.outputs[0]: outputs}


def agree(found, due, where):
    assert set(found) == set(due), where
    for name, want in due.items():
        got = found[name]
        assert got.dtype == want.dtype, (where, name)
        assert got.shape == want.shape, (where, name)
        assert (got == want).all(), (where, name)


def judged(machine, inputs, state, wanted, variants=VARIANTS, batches=()):
    """Compare one step of a batch, and of its beginnings of the sizes in `batches`; returns whether there is a plan."""
    due = machine._evaluate(inputs, state, wanted, "reference")
    size = len(next(iter({**inputs, **state}.values())))
    for variant in variants:
        native.choose(variant)
        engine = Engine()
        if engine.program(machine, wanted) is None:
            return False
        for batch in (*(b for b in batches if b < size), size):
            part, kept, want = ({n: v[:batch] for n, v in d.items()} for d in (inputs, state, due))
            found = engine(machine, part, kept, wanted)
            agree(found, want, f"{variant}, batch {batch}\n{machine}\n{engine.program(machine, wanted)}")
    return True


def judged_sequences(machine, sequences, state, variants=VARIANTS):
    """Compare whole sequences, with the state behind them."""
    due_state, due = machine.run(sequences, state=state, return_state=True, executor="reference")
    for variant in variants:
        native.choose(variant)
        engine = Engine()
        if engine.program(machine, machine.outputs) is None:
            return False
        executors.register("of this variant", engine)
        try:
            found_state, found = machine.run(sequences, state=state, return_state=True, executor="of this variant")
        finally:
            del executors._EXECUTORS["of this variant"]
        where = f"{variant}\n{machine}\n{engine.program(machine, machine.outputs)}"
        agree(found_state, due_state, where)
        agree(named(machine, found), named(machine, due), where)
    return True


def ends(alphabet, rng, shape):
    """A batch that begins with all at the ends, then mixtures of both, then anything."""

    def drawn(*size):
        return alphabet.lo + alphabet.step * rng.integers(0, alphabet.size, size)

    x = drawn(*shape)
    x[0] = alphabet.hi
    if len(x) > 1:
        x[1] = alphabet.lo
    for k in range(2, len(x), 3):
        x[k] = np.where(rng.integers(0, 2, shape[1:]) == 1, alphabet.hi, alphabet.lo)
    return x.astype(np.int64)


__all__ = ["VARIANTS", "Engine", "NoPlan", "Program", "agree", "ends", "judged", "judged_sequences", "named"]
