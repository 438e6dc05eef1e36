"""Recurrent networks trained on Tomita's seven grammars: proved equal to them, or refuted by their shortest word.

Protocol: `nn.RNN` or `nn.GRU` of few units and levels, symbols 0, 1 and one behind the word, whose step decides.
Training words: all up to length 8, and random ones of lengths 9 to 20, half of them accepted; half of the random
accepted ones are walks of the grammar's own automaton, or there would be none for grammars 1, 2 and 7. Networks of
`SIZES`, each with seeds from 0 on, are trained in turn until one is proved equal to its grammar; the table counts all
that were tried. Beside it AALpy's L* asks the network, one word at a time, with a random-walk oracle: its answer is
compared with the exact automaton of the same network.

    python studies/tomita.py              # all of it
    python studies/tomita.py --only 3,6   # these grammars anew, the others as recorded
    python studies/tomita.py --only 3,6 --further   # these from where the recorded networks end
"""

from __future__ import annotations

import argparse
import json
import random
import time
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from zahlen import Levels, Machine, nn
from zahlen.analysis import Automaton, LimitError, Reading, automata, automaton, equivalent

RESULTS = Path(__file__).parent / "results"
END = 2
ALL, LONG, WORDS = 8, 20, 2000
Size = tuple[str, int, int, int]
"""Kind, units, levels, bits of the state (of a GRU)."""
SIZES: list[tuple[Size, int]] = [
    (("rnn", 8, 4, 8), 2),
    (("gru", 8, 8, 6), 2),
    (("rnn", 12, 4, 8), 3),
    (("gru", 6, 4, 4), 3),
]
"""And how many seeds."""
STAGES = (2, 3, 4, 6, 20)
"""Longest words of each stage of the training."""
EPOCHS = 10
"""Of each stage."""
STATES = 1 << 20


def walk(grammar: Automaton, length: int, rng: random.Random) -> str:
    """A random word that stays where acceptance is still within reach, and is accepted if that is possible."""
    alive = [{int(s) for s in np.flatnonzero(grammar.outputs)}]
    for _ in range(length):
        alive.append({s for s in range(len(grammar)) if set(grammar.transitions[s].tolist()) & alive[-1]})
    state, word = grammar.initial, ""
    for left in reversed(range(length)):
        choices = [a for a in (0, 1) if int(grammar.transitions[state, a]) in alive[left]] or [0, 1]
        symbol = rng.choice(choices)
        state, word = int(grammar.transitions[state, symbol]), word + str(symbol)
    return word


def words(grammar: Automaton, seed: int) -> list[str]:
    """The training words; random ones in equal numbers of both classes, so far as the grammar has both."""
    rng = random.Random(seed)
    every = ["".join(w) for n in range(ALL + 1) for w in product("01", repeat=n)]
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for _ in range(6 * WORDS):
        length = rng.randint(ALL + 1, LONG)
        kind = rng.randrange(3)
        word = walk(grammar, length, rng)
        if kind == 1:  # nearly accepted
            place = rng.randrange(length)
            word = word[:place] + "10"[int(word[place])] + word[place + 1 :]
        elif kind == 2:
            word = "".join(rng.choice("01") for _ in range(length))
        group = found[grammar.accepts(word)]
        if len(group) < WORDS // 2:
            group.add(word)
    return every + sorted(found[True]) + sorted(found[False])


def balanced(grammar: Automaton, chosen: list[str], least: int = 1000) -> tuple[Any, Any, Any]:
    """Sequences, classes and lengths; words repeated until both classes are alike in number, and not too few."""
    groups: dict[bool, list[str]] = {True: [], False: []}
    for word in chosen:
        groups[grammar.accepts(word)].append(word)
    most = max(least, *map(len, groups.values()))
    pairs = [(w, k) for k in (False, True) for w in (groups[k] * (most // len(groups[k]) + 1))[:most]]
    x = np.full((len(pairs), max(map(len, chosen)) + 1), END)
    for row, (word, _) in zip(x, pairs):
        row[: len(word)] = [int(c) for c in word]
    return x, np.array([int(k) for _, k in pairs]), np.array([len(w) + 1 for w, _ in pairs])


def reading(machine: Machine) -> Reading:
    """The verdict is that of the larger output at the step behind the word."""
    return Reading(machine, [0, 1], observe=lambda y: y[:, 1] > y[:, 0], end=[END])


def train(number: int, size: Size, seed: int) -> dict[str, Any]:
    """Train one network, find its automaton, and compare it with the grammar's."""
    torch.set_num_threads(1)
    grammar = automata.tomita(number)
    chosen = words(grammar, seed)
    kind, units, levels, bits = size
    torch.manual_seed(seed)
    layer = {"rnn": nn.RNN, "gru": nn.GRU}[kind](3, units, levels=levels, cell_bits=bits, symbols=True)
    model = nn.Sequential(nn.Input((), Levels(0, 2)), layer, nn.Linear(units, 2))
    start = time.perf_counter()
    for most in STAGES:
        short = [word for word in chosen if len(word) <= most]
        if len({grammar.accepts(word) for word in short}) < 2:
            continue
        x, y, lengths = balanced(grammar, short)
        nn.fit(
            model, x, y, lengths=lengths, epochs=EPOCHS, batch_size=64, lr=0.02, clip=0.5, seed=seed, validation=0,
            progress=False,
        )  # fmt: skip
    training = time.perf_counter() - start
    machine = model.machine()
    result: dict[str, Any] = {
        "grammar": number, "kind": kind, "units": units, "levels": levels, "bits": bits if kind == "gru" else None,
        "seed": seed, "training_seconds": training, "accuracy": nn.evaluate(model, x, y, lengths=lengths)[1],
        "hash": machine.hash,
    }  # fmt: skip
    start = time.perf_counter()
    try:
        whole = automaton(reading(machine), least=False, limit=STATES)
    except LimitError as error:
        return result | {"undecided": str(error)}
    least = automata.minimise(whole)
    found = equivalent(least, grammar)
    result |= {"reached": len(whole), "states": len(least), "seconds": time.perf_counter() - start}
    if not found:
        assert found.replay(reading(machine), grammar)
        result["word"] = "".join(found.word or ())
    result |= {"equal": found.equal} | learned(machine, least, seed)
    print(result, flush=True)
    return result


def learned(machine: Machine, exact: Automaton, seed: int) -> dict[str, Any]:
    """What AALpy's L* makes of the network from its answers."""
    from aalpy.base import SUL
    from aalpy.learning_algs import run_Lstar
    from aalpy.oracles import RandomWalkEqOracle

    class Network(SUL):
        def pre(self) -> None:
            self.state = machine.initial_state()

        def post(self) -> None:
            pass

        def step(self, letter: str | None) -> bool:
            if letter is not None:
                self.state, _ = machine.step(self.state, [int(letter)])
            verdict = machine.step(self.state, [END])[1]
            return bool(verdict[0, 1] > verdict[0, 0])

    random.seed(seed)
    system = Network()
    oracle = RandomWalkEqOracle(["0", "1"], system, num_steps=5000, reset_prob=0.09)
    start = time.perf_counter()
    model, data = run_Lstar(
        ["0", "1"], system, oracle, automaton_type="dfa", return_data=True, print_level=0, max_learning_rounds=100
    )
    seconds = time.perf_counter() - start
    index = {state.state_id: k for k, state in enumerate(model.states)}
    answer = Automaton(
        [[index[state.transitions[a].state_id] for a in ("0", "1")] for state in model.states],
        [int(state.is_accepting) for state in model.states],
        index[model.initial_state.state_id],
        ("0", "1"),
        automata.VERDICTS,
    )
    return {
        "learned_states": len(answer),
        "learned_right": bool(equivalent(answer, exact)),
        "queries": data["queries_learning"] + data["queries_eq_oracle"],
        "steps": data["steps_learning"] + data["steps_eq_oracle"],
        "learned_seconds": seconds,
    }


def study(number: int, tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Networks until one is proved equal, behind those that were tried already."""
    results = list(tried)
    for size, seed in [(size, seed) for size, seeds in SIZES for seed in range(seeds)][len(tried) :]:
        if any(r.get("equal") for r in results):
            break
        results.append(train(number, size, seed))
    return results


def summary(results: list[dict[str, Any]]) -> str:
    """A row for each grammar: the network that was proved, or the one whose refuting word is the longest."""
    lines = [
        "| grammar | network | tried | training accuracy | verdict | states reached | least | proof, s | L*: states | "
        "right | queries | s |",
        "|---" * 12 + "|",
    ]
    for number in sorted({r["grammar"] for r in results}):
        tried = [r for r in results if r["grammar"] == number]
        r = max(tried, key=lambda r: (r.get("equal", False), len(r.get("word", "")) if "equal" in r else -1))
        bits = "" if r["bits"] is None else f", {r['bits']}-bit state"
        network = f"{r['kind'].upper()} {r['units']} units, {r['levels']} levels{bits}, seed {r['seed']}"
        head = f"| {number} | {network} | {len(tried)} | {100 * r['accuracy']:.2f} %"
        if "equal" not in r:
            lines.append(f"{head} | not decided: more than {STATES:,} states |  |  |  |  |  |  |  |")
            continue
        verdict = "**proved equal**" if r["equal"] else f"refuted by {r['word'] or 'the empty word'}"
        lines.append(
            f"{head} | {verdict} | {r['reached']:,} | {r['states']:,} | {r['seconds']:.2f} | {r['learned_states']:,} | "
            f"{'yes' if r['learned_right'] else 'no'} | {r['queries']:,} | {r['learned_seconds']:.1f} |"
        )
    for r in results:
        if "equal" not in r:
            name = f"{r['kind'].upper()} {r['units']} units, seed {r['seed']}"
            accuracy = f"training accuracy {100 * r['accuracy']:.2f} %"
            lines += ["", f"Not decided: grammar {r['grammar']}, {name}, {accuracy}: more than {STATES:,} states."]
    refuted = [r for r in results if r.get("equal") is False]
    if refuted:
        lines += ["", "Refuted on the way, each by its shortest word:", ""]
        lines += ["| grammar | network | training accuracy | word | least automaton | L* |", "|---" * 6 + "|"]
        for r in refuted:
            found = f"{r['learned_states']:,} states, {'right' if r['learned_right'] else 'wrong'}"
            lines.append(
                f"| {r['grammar']} | {r['kind'].upper()} {r['units']} units, seed {r['seed']} | "
                f"{100 * r['accuracy']:.2f} % | {r['word'] or 'the empty word'} | {r['states']:,} states | {found}, "
                f"{r['learned_seconds']:.1f} s |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="numbers of grammars, with commas between; others stay as recorded")
    parser.add_argument("--further", action="store_true", help="keep the networks of these that are recorded")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "tomita.json"
    chosen = [int(n) for n in arguments.only.split(",")] if arguments.only else list(range(1, 8))
    recorded = json.loads(path.read_text()) if path.exists() else []
    results = [r for r in recorded if r["grammar"] not in chosen]
    jobs = joblib.Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(
        joblib.delayed(study)(n, [r for r in recorded if r["grammar"] == n] if arguments.further else [])
        for n in chosen
    )
    for found in jobs:
        results = sorted(results + found, key=lambda r: r["grammar"])
        path.write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "tomita.md").write_text(summary(results))
    print(summary(results))


if __name__ == "__main__":
    main()
