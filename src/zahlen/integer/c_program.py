"""The text of a program that trains a perceptron: what differs from network to network."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from string import Template

import numpy as np

from ..c99 import INT16, INT32, INT64, RULER, UINT16, UINT32, CType, smallest, smallest_of, table_lines
from ..machine import EmitError, IntArray
from . import arithmetic as do
from . import c_text as text
from .affine import Linear
from .chance import Chance
from .containers import Sequential
from .layer import Parameter
from .optimisers import SEEDS, Momentum, latent_rate
from .perceptron import Perceptron

STEPS, SAMPLES = 3, 8
"""Of the self-test."""
SCALARS = ("loss", "clamps", "samples")
"""Members of the state that are no arrays."""


class Program:
    """A program that trains; it uses the network up.

    Attributes
    ----------
    flash, ram : int
        Bytes of constant tables, and of the state.
    """

    def __init__(self, model: Sequential, optimiser: Momentum, batch: int, seeded: bool) -> None:
        self.model, self.optimiser, self.batch, self.seeded = model, optimiser, batch, seeded
        self.net = Perceptron.of(model)
        if seeded:
            model.start(Chance(model.seed))
        model.announce(model.bits, batch)
        self.parameters = list(model.parameters())
        self.count = sum(p.latent.size for p in self.parameters)
        # what a batch adds to a momentum can then never bring it beyond 32 bits
        self.within = all(optimiser.spare(p) == 0 for p in self.parameters)
        self.sum = INT32 if all(p.bound <= do.INT32 for p in self.parameters) else INT64
        self.element = self._element()
        self.flash = 0
        self.tables = self._tables()
        self.members = list(self._members())

    @property
    def ram(self) -> int:
        """Bytes of the state where types are aligned to their width."""
        return -(-sum(ctype.width * size for ctype, _, size, _ in self.members) // 8) * 8

    def header(self) -> list[str]:
        """The lines of the header."""
        lines = ["#ifndef TRAIN_H", "#define TRAIN_H", "", "#include <stdint.h>", ""]
        lines += [f"#define TRAIN_CLASSES {self.net.linears[-1].out}", f"#define TRAIN_PARAMETERS {self.count}"]
        lines += [f"#define TRAIN_BATCH {self.batch}", ""]
        lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", "", "typedef struct {"]
        for ctype, member, size, comment in self.members:
            lines += [f"    // {comment}"] * bool(comment)
            lines.append(f"    {ctype} {member}{'' if member in SCALARS else f'[{size}]'};")
        lines += ["} train_state;", "", *self._filled(text.HEADER)]
        return [*lines, "#ifdef __cplusplus", "}", "#endif", "", "#endif"]

    def source(self) -> list[str]:
        """The lines of the program."""
        parts = [text.CLAMPED, text.PARAMETER, text.LINEAR]
        parts += [text.STANDARDISED] * (self.net.standardise is not None)
        parts += [text.BACKWARD, text.STAIRCASE] * bool(self.net.activations) + [text.SOFTMAX]
        parts += [text.BEGIN_WITHIN if self.within else text.BEGIN_BESIDE, text.RATE]
        parts += [text.CHANCE] * self.optimiser.random + [self._update(), text.RANDOM]
        parts += [text.DRAW] * self.seeded
        scaled = any("scaled(" in part for part in parts)
        parts = [text.SHIFTED] + [text.SCALED] * scaled + parts
        lines = ['#include "train.h"', "", "#include <string.h>", "", RULER, "// Constants.", "", *self.tables]
        lines += [RULER, "// Arithmetic.", "", *(line for part in parts for line in self._filled(part))]
        lines += [RULER, "// The network.", "", *self._structs(), *self._init(), *self._filled(text.NETWORK)]
        lines += [*self._filled(text.EPOCH), *self._filled(text.HASH)]
        lines += [RULER, "// Self-test: compile with -DTRAIN_SELFTEST and run.", ""]
        return [*lines, *self._filled(text.SELFTEST)[:-1]]

    # ------------------------------------------------------------------------------------------------ tables

    def _element(self) -> CType:
        alphabet, offset = self.net.input.alphabet, self.net.input.offset
        ends = (alphabet.lo, alphabet.hi, alphabet.lo - offset, alphabet.hi - offset)
        found = smallest(alphabet.lo, alphabet.hi)
        if found is None or max(map(abs, ends)) >= 2**40:
            raise EmitError(f"{self.net.input!r}: training in C takes inputs of up to 40 bits; scale them down before")
        return found

    def _table(self, name: str, ctype: CType, values: IntArray, comment: str) -> list[str]:
        self.flash += values.size * ctype.width
        return [f"// {comment}", *table_lines(name, ctype, values), ""]

    def _tables(self) -> list[str]:
        lines = []
        if self.net.standardise is not None:
            for name in ("mean", "deviation"):
                values = getattr(self.net.standardise, name)
                if max(-int(values.min()), int(values.max())) >= 2**40 or self.net.standardise.grain >= 2**20:
                    raise self.net.standardise.fail(
                        f"training in C takes a {name} of up to 40 bits, and a grain of 20; scale the data down before"
                    )
                lines += self._table(name, smallest_of(values), values, "Of each input.")
        for k, a in enumerate(self.net.activations, 1):
            if _right(a.slopes) >= do.INT32:
                raise a.fail("its slopes reach beyond 32 bits; take coarser weights before it")
            lines += self._table(f"threshold{k}", INT32, a.steps.thresholds, f"{a!r}: the least z of each next level.")
            lines += self._table(f"slope{k}", INT16, a.slopes.table, f"{a!r}: slopes, 4096 being 1.0.")
        powers = do.powers()
        lines += self._table("less", UINT16, powers[powers > 0] - 1, "round(65536 exp(-k / 256)) - 1, while it is >= 0")
        lines += self._table("logs", UINT16, do.logs(), "round(65536 log2(1 + k / 1024))")
        if not self.seeded:
            latent = np.concatenate([p.latent.ravel() for p in self.parameters])
            lines += self._table("initial", INT32, latent, "Latent weights at first.")
        return lines

    def _members(self) -> Iterator[tuple[CType, str, int, str]]:
        """Of the state, widest first so that nothing is padded in between: type, name, size, comment."""
        names = []
        for k, layer in enumerate(self.net.linears, 1):
            names += [f"weights {k} (in, out)"] + [f"biases {k}"] * (layer.bias is not None)
        gradient = (self.sum, "gradient", self.count, "Summed since the last update.")
        within = "; what is learnt before an update is in it already" * self.within
        yield INT64, "loss", 1, "Sum of the cross-entropies of all labels seen, in 2^-16 bits."
        yield INT64, "clamps", 1, "How many values had to be brought within their limits."
        if not self.within and self.sum == INT64:
            yield gradient
        yield INT32, "latent", self.count, f"Weights with the bits that updates are made of: {', '.join(names)}."
        yield INT32, "momentum", self.count, f"In the same order{within}."
        if not self.within and self.sum == INT32:
            yield gradient
        yield UINT32, "samples", 1, "Since the last update."
        ins, outs = [n.fan_in for n in self.net.linears], [n.out for n in self.net.linears]
        comment = "Of one sample: sums, what they are sums of, gradients by them."
        for ctype, letter, sizes in ((INT32, "z", outs), (INT16, "x", ins), (INT16, "d", outs)):
            for k, size in enumerate(sizes, 1):
                yield ctype, f"{letter}{k}", size, comment * (f"{letter}{k}" == "z1")

    # ------------------------------------------------------------------------------------------------ functions

    def _filled(self, part: str) -> list[str]:
        """The lines of a template, and an empty one."""
        net, optimiser = self.net, self.optimiser
        alphabet, standardise = net.input.alphabet, net.standardise
        values = {
            "element": self.element, "size": net.linears[0].fan_in, "last": net.linears[-1].out - 1,
            "inputs": f"{net.linears[0].fan_in} integers, {alphabet}", "batch": self.batch,
            "sum": INT32 if self.within else self.sum, "sums": "momentum" if self.within else "gradient",
            "more": "" if self.within else text.MORE, "back": INT32 if self._back() <= do.INT32 else INT64,
            "bits": net.bits, "half": 39 - net.bits, "down": 40 - net.bits, "places": do.softmax_places(net.unit),
            "decay": optimiser.decay,
            "grain": standardise.grain if standardise else 0, "limit": standardise.limit if standardise else 0,
            "start_seed": ", uint64_t seed" * self.seeded, "rounding_seed": ", uint32_t seed" * optimiser.random,
            "seeded": "\n// seed: of random rounding." * optimiser.random,
            "label": smallest(0, net.linears[-1].out - 1),
            "words": "    uint64_t words = *generator;\n" * optimiser.random,
            "word": "            train_random(&words);\n" * optimiser.random,
            "drawn_seed": ", (uint32_t)(train_random(&words) >> 32)" * optimiser.random,
            "zero": f", {self.model.seed}u" * self.seeded, "seed": ", t" * optimiser.random,
            "entered": self._entered(), "layers": len(net.linears), "drawn": self._drawn(),
            "forward": self._forward(), "backward": self._backward(), "updates": self._updates(),
            "steps": STEPS, "samples": min(SAMPLES, self.batch),
            "expected": ", ".join(map(str, self._expected())) if "$expected" in part else "",
        }  # fmt: skip
        return [*Template(part).substitute(values).splitlines(), ""]

    def _back(self) -> int:
        """Greatest sum on the way back."""
        most = 0
        for layer in self.net.linears[1:]:
            most = max(most, widest := do.SHORT * max(abs(layer.grid.lo), abs(layer.grid.hi)) * layer.out)
            if widest * layer.back.factor >= 2**62:
                raise layer.fail("is too wide for 64 bits on the way back in C; take fewer outputs")
        return most

    def _update(self) -> str:
        optimiser = self.optimiser
        lines = [
            f"// M <- M - M / 2^{optimiser.decay} + G, V <- V - rate M: at left / steps of the first rate.",
            "static void update(train_state *s, const parameter *p, uint32_t left, uint32_t steps$rounding_seed) {",
            "    const fraction rate = nearest((uint64_t)p->rate * left, (uint64_t)p->per * steps);",
            "    for (int32_t k = p->first; k < p->first + p->count; k++) {",
        ]
        if not self.within:
            lines += [
                "        const int64_t m = s->momentum[k] - shifted(s->momentum[k], $decay);",
                "        s->momentum[k] = clamped(s, m + scaled(s->gradient[k], 1, p->down), -INT32_MAX, INT32_MAX);",
            ]
        if optimiser.random:
            lines += [
                "        // rounded up as often as the part that is rounded away says",
                "        const uint32_t word = scrambled((uint32_t)(k - p->first) * 0x9e3779b9u + seed);",
                "        const int64_t chance = (int64_t)(word & (((uint64_t)1 << rate.shift) - 1));",
                "        const int64_t step = shifted((int64_t)s->momentum[k] * rate.factor + chance, rate.shift);",
            ]
        else:
            lines += ["        const int64_t step = scaled(s->momentum[k], rate.factor, rate.shift);"]
        if optimiser.weight_decay:
            lines += [
                "        const int64_t v = s->latent[k] - step;",
                f"        s->latent[k] = clamped(s, v - shifted(v, {optimiser.weight_decay}), p->least, p->most);",
            ]
        else:
            lines += ["        s->latent[k] = clamped(s, s->latent[k] - step, p->least, p->most);"]
        return "\n".join([*lines, "    }", "}"])

    # ------------------------------------------------------------------------------------------------ the network

    def _structs(self) -> list[str]:
        lines, first = [], 0
        for k, layer in enumerate(self.net.linears, 1):
            lines += [f"// {layer!r}", f"static const linear linear{k} = {{", f"    {layer.fan_in}, {layer.out},"]
            for name, p in (("weight", layer.weight), ("bias", layer.bias)):
                if p is not None:
                    lines.append(f"    .{name} = {self._parameter(layer, p, first)},")
                    first += p.latent.size
            lines += [f"    .back = {layer.back.factor}, .shift = {layer.back.shift},", "};", ""]
        for k, a in enumerate(self.net.activations, 1):
            lines += [
                f"// {a!r}",
                f"static const staircase staircase{k} = {{",
                f"    .count = {len(a.steps.thresholds)}, .lo = {a.alphabet.lo}, .step = {a.alphabet.step},",
                f"    .left = {a.slopes.lo}, .right = {_right(a.slopes)}, .shift = {a.slopes.shift},",
                f"    .threshold = threshold{k}, .slope = slope{k},",
                "};",
                "",
            ]
        return lines

    def _parameter(self, layer: Linear, p: Parameter, first: int) -> str:
        grid, down = p.grid, self.optimiser.down(p, self.batch)
        rate = (1 << down) * latent_rate(p, self.optimiser.lr, self.batch)
        if rate >= 2**31 or max(rate.numerator, rate.denominator) >= 2**32:
            raise EmitError(
                f"{layer!r}: the rate {self.optimiser.lr} comes to {rate} of its latent weights; in C its numerator "
                "and denominator have 32 bits; take a rate of fewer digits, or a batch of fewer samples"
            )
        half = grid.step << p.fraction >> 1
        least, most = (grid.lo << p.fraction) - half, (grid.hi << p.fraction) + half - 1
        numbers = [first, p.latent.size, grid.lo, grid.step, p.fraction + grid.step - 1, least, most]
        numbers += [down] * (not self.within)
        return f"{{{', '.join(map(str, numbers))}, {rate.numerator}u, {rate.denominator}u}}"

    def _forward(self) -> str:
        lines, last = [], len(self.net.linears)
        for k, layer in enumerate(self.net.linears, 1):
            lines.append(f"    forward(s, &linear{k}, s->x{k}, s->z{k});\n")
            if k < last:
                lines.append(f"    levels(&staircase{k}, {layer.out}, s->z{k}, s->x{k + 1});\n")
        return "".join(lines)

    def _backward(self) -> str:
        lines = []
        for k in range(len(self.net.linears), 0, -1):
            lines.append(f"    learn(s, &linear{k}, s->x{k}, s->d{k});\n")
            if k > 1:
                lines.append(f"    backward(s, &linear{k}, s->d{k}, s->d{k - 1});\n")
                width = self.net.linears[k - 2].out
                lines.append(f"    slopes(&staircase{k - 1}, {width}, s->z{k - 1}, s->d{k - 1});\n")
        return "".join(lines)

    def _updates(self) -> str:
        lines = []
        for k, (place, _) in enumerate(self._places()):
            seed = f", seed + 0x{k * SEEDS % 2**32:08x}u" * self.optimiser.random
            lines.append(f"    update(s, &{place}, left, steps{seed});\n")
        return "".join(lines)

    def _places(self) -> Iterator[tuple[str, list[int]]]:
        """Every parameter in C, and how far initial latent weights reach."""
        for k, layer in enumerate(self.net.linears, 1):
            yield f"linear{k}.weight", [layer.drawn[0], *_ends(layer.weight)]
            if layer.bias is not None:
                yield f"linear{k}.bias", [layer.drawn[1], *_ends(layer.bias)]

    def _init(self) -> list[str]:
        lines = [f"void train_init(train_state *s{', uint64_t seed' * self.seeded}) {{", "    memset(s, 0, sizeof *s);"]
        if self.seeded:
            for place, ends in self._places():
                lines.append(f"    draw(s, &{place}, &seed, {', '.join(map(str, ends))});")
        else:
            lines.append("    memcpy(s->latent, initial, sizeof initial);")
        return [*lines, "}", ""]

    def _entered(self) -> str:
        offset = self.net.input.offset
        wide = "(int64_t)" if self.element.width > 2 or abs(offset) > do.SHORT else ""
        x = f"{wide}x[i]" + (f" - {offset}" if offset > 0 else f" + {-offset}" if offset else "")
        if self.net.standardise is not None:
            return f"standardised({x}, mean[i], deviation[i])"
        return f"(int16_t)({x})" if offset or self.element.width > 1 else "x[i]"

    def _drawn(self) -> str:
        """A random element of the alphabet."""
        alphabet = self.net.input.alphabet
        place = f"train_random(&generator) % {min(alphabet.size, 2**32)}u"
        if alphabet.lo == 0 and alphabet.step == 1:
            return place
        return f"{alphabet.lo} + {alphabet.step} * (int64_t)({place})"

    def _expected(self) -> list[int]:
        """Hashes of the state after every step of the self-test."""
        model, alphabet, classes = self.model, self.net.input.alphabet, self.net.linears[-1].out
        samples, found = min(SAMPLES, self.batch), []
        size = self.net.linears[0].fan_in
        words = Chance(0).words(STEPS * samples * (size + 1)).reshape(STEPS, samples, size + 1)
        for p in self.parameters:
            p.momentum[...] = 0
        for t in range(STEPS):
            places = (words[t, :, :size] % np.uint64(min(alphabet.size, 2**32))).astype(np.int64)
            x = (alphabet.lo + alphabet.step * places).reshape(samples, *self.net.input.shape)
            labels = (words[t, :, size] % np.uint64(classes)).astype(np.int32)
            d, _, _ = do.softmax(model(x), labels, model.unit, model.bits)
            model.backward(d)
            self.optimiser.step(self.parameters, self.batch, Fraction(STEPS - t, STEPS), t)
            found.append(state_hash(model))
        return found


def state_hash(model: Sequential) -> int:
    """Of all latent weights and then all momenta, as a program's own: FNV-1a over 32-bit words.

    Fowler, Noll and Vo, https://datatracker.ietf.org/doc/html/draft-eastlake-fnv, with words in place of bytes.
    """
    parameters, found = list(model.parameters()), 0x811C9DC5
    for arrays in ([p.latent for p in parameters], [p.momentum for p in parameters]):
        for word in np.concatenate([a.ravel() for a in arrays]).tolist():
            found = ((found ^ (word % 2**32)) * 0x01000193) % 2**32
    return found


def _right(slopes: do.Slopes) -> int:
    """The last integer with a slope of its own."""
    return slopes.lo + (len(slopes.table) << slopes.shift) - 1


def _ends(p: Parameter) -> tuple[int, int]:
    """Of latent weights at first."""
    return int(p.grid.lo) << p.fraction, int(p.grid.hi) << p.fraction
