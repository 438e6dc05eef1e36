"""A model of text to a C99 program that writes: ``sample.c`` beside the machine's own two files, whole numbers only.

The program draws what `zahlen.sampling.sample` draws, from the same generator and the same table of weights, so one
prompt and one seed give one text on every processor. Where there is an operating system it is a command,
``./sample PROMPT N SEED``; elsewhere (``-ffreestanding``) one function, which hands each symbol to the caller's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zahlen.c99 import LINE, RULER, check_name, smallest_of, table_lines
from zahlen.machine import EmitError, Machine, replacing
from zahlen.textmodel import Temperature, TextModel, weights

from .layout import Layout

FILE = "sample.c"


def source(machine: Machine, *, name: str = "model", temperature: Temperature = 1) -> str:
    """The text of ``sample.c``.

    Parameters
    ----------
    machine : Machine
        A model of text: see `zahlen.textmodel.TextModel`.
    name : str
        The stem that `zahlen.emit.c` was given.
    temperature : int, Fraction, decimal str or float
        As for `zahlen.sampling.sample`; it is part of the program.

    Raises
    ------
    InputError, FileError
        If the machine is no model of text.
    EmitError
        If a distance of logits times its scale needs more than 64 bits, a symbol is the character NUL, which ends C's
        strings, or the name is no C identifier or the one of this file.

    Examples
    --------
    >>> from zahlen import Builder, Levels
    >>> b = Builder()
    >>> x = b.input("x", (), Levels(0, 1))
    >>> machine = b.build(b.embed(x, [[0, 9], [9, 0]]), notes={"symbols": ["a", "b"], "unit": "4"})
    >>> "const char *model_sample(const char *prompt, uint64_t n, uint64_t seed" in source(machine)
    True
    """
    if check_name(name) == Path(FILE).stem:
        raise EmitError(f"name {name!r}: {FILE} would be both the machine and the program that samples; take another")
    model, layout = TextModel.of(machine), Layout(machine, name)
    if "\0" in model.index:
        raise EmitError("symbol U+0000: C's strings end there; train on a text without it")
    logit = str(layout.ctype[machine.outputs[0]])
    drawing = _drawing(model, logit, temperature)
    head = [
        f"// Text in whole numbers: the program beside {name}.c that reads a prompt and writes on. Written by zahlen.",
        f"// Temperature {temperature}; machine {machine.hash}.",
        "//",
        f"//   cc -std=c99 -O2 {name}.c {FILE} -o sample && ./sample PROMPT N SEED",
        "//",
        f"// Without an operating system (-ffreestanding) there is no main(): call {name}_sample().",
        "",
        f'#include "{name}.h"',
        "#include <string.h>",
        "",
        f"#define SYMBOLS {len(model.symbols)}",
        "",
        "// Every symbol in UTF-8.",
        *_strings(model.symbols),
    ]
    text = [*head, "", RULER, "// The draw.", "", *drawing, "", RULER, "// The text.", ""]
    text += _TEXT.format(name=name, logit=logit, start=model.start, **_step(layout)).splitlines()
    return "\n".join([*text, "", RULER, "// The command.", "", *_MAIN.format(name=name).splitlines()]) + "\n"


def write(machine: Machine, directory: str | Path, *, name: str = "model", temperature: Temperature = 1) -> Path:
    """Write ``sample.c`` into a directory that exists, whole or not at all; `zahlen.emit.c.write` writes the others.

    Parameters are those of `source`.

    Returns
    -------
    Path of the file.

    Raises
    ------
    InputError, FileError, EmitError
        As `source`; FileError too if the directory cannot be written to.
    """
    text, path = source(machine, name=name, temperature=temperature), Path(directory) / FILE
    with replacing(path) as file:
        file.write(text.encode("ascii"))
    return path


def _strings(symbols: tuple[str, ...]) -> list[str]:
    """The table of symbols, as many to a line as fit."""
    texts = [f'"{"".join(map(_escaped, symbol.encode()))}"' for symbol in symbols]
    step = (LINE - 4) // (max(map(len, texts)) + 2)
    rows = ("    " + ", ".join(texts[i : i + step]) + "," for i in range(0, len(texts), step))
    return ["static const char *const symbol[SYMBOLS] = {", *rows, "};"]


def _escaped(byte: int) -> str:
    # three octal digits end by themselves
    return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03o}"


def _drawing(model: TextModel, logit: str, temperature: Temperature) -> list[str]:
    """The functions from logits to the symbol drawn."""
    scale = model.scale(temperature)
    if scale is None:
        return _GREEDY.format(logit=logit).splitlines()
    a, b, table = scale.numerator, scale.denominator, weights()
    logits = model.machine.wires[model.machine.outputs[0]]
    farthest = logits.alphabet.hi - logits.alphabet.lo
    # from this distance on the weight is 0, so nothing farther is ever multiplied
    end = -(-(len(table) - 1) * b // a)
    most = max(farthest, min(farthest, end - 1) * a, a, b)
    if most >= 2**64:
        raise EmitError(
            f"output {logits.name!r}: a distance of its logits times {a}, or {b}, needs more than 64 bits; "
            f"take a simpler temperature than {temperature}, or a model whose unit is a smaller fraction"
        )
    held = "uint32_t" if most < 2**32 else "uint64_t"
    place = "behind" + (f" * {a}u" if a > 1 else "") + (f" / {b}u" if b > 1 else "")
    weighed = f"(uint32_t)less[{place}] + 1" if farthest < end else f"behind < {end}u ? (uint32_t)less[{place}] + 1 : 0"
    # the greatest weight is 2^16: less one they all fit 16 bits
    less = np.array(table[:-1]) - 1
    return [
        "// One less than the weight of a logit that is j / 64 behind the greatest, round(2^16 exp(-j / 64)).",
        *table_lines("less", smallest_of(less), less),
        "",
        *_DRAW.format(logit=logit, held=held, weighed=weighed).splitlines(),
    ]


def _step(layout: Layout) -> dict[str, str]:
    """How the machine is called: what is declared for it, how it starts, and its arguments."""
    machine, name = layout.machine, layout.name
    declared = [f"static {name}_state state;"] if machine.registers else []
    declared += [f"static {name}_work work;"] if layout.slots else []
    arguments = ["&state"] * bool(machine.registers) + ["&work"] * bool(layout.slots) + ["x", "logits"]
    return {
        "declared": "".join(f"{line}\n" for line in declared),
        "init": f"    {name}_init(&state);\n" if machine.registers else "",
        "input": str(layout.ctype[machine.inputs[0]]),
        "call": f"{name}_{'step' if machine.registers else 'run'}({', '.join(arguments)})",
    }


_GREEDY = """\
// The greatest logit, the first among equals; nothing is drawn.
static int32_t draw(const {logit} *logits, uint64_t *generator) {{
    int32_t best = 0;
    for (int32_t k = 1; k < SYMBOLS; k++) {{
        if (logits[k] > logits[best]) {{
            best = k;
        }}
    }}
    (void)generator;
    return best;
}}"""

_DRAW = """\
static uint32_t weigh({logit} best, {logit} logit) {{
    const {held} behind = ({held})best - ({held})logit;
    return {weighed};
}}

// SplitMix64 (Steele, Lea and Flood, 2014).
static uint64_t following(uint64_t *generator) {{
    uint64_t z = *generator += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}}

// The first symbol whose weight, with all those before it, exceeds a number drawn below the sum of all.
static int32_t draw(const {logit} *logits, uint64_t *generator) {{
    {logit} best = logits[0];
    for (int32_t k = 1; k < SYMBOLS; k++) {{
        if (logits[k] > best) {{
            best = logits[k];
        }}
    }}
    uint32_t sum = 0;
    for (int32_t k = 0; k < SYMBOLS; k++) {{
        sum += weigh(best, logits[k]);
    }}
    uint32_t rest = (uint32_t)((following(generator) >> 32) * sum >> 32);
    for (int32_t k = 0; k < SYMBOLS - 1; k++) {{
        const uint32_t own = weigh(best, logits[k]);
        if (rest < own) {{
            return k;
        }}
        rest -= own;
    }}
    return SYMBOLS - 1;
}}"""

_TEXT = """\
{declared}static {logit} logits[SYMBOLS];

static void take(int32_t k) {{
    const {input} x[1] = {{({input})k}};
    {call};
}}

// The symbol that a text begins with, or -1.
static int32_t first(const char *text) {{
    for (int32_t k = 0; k < SYMBOLS; k++) {{
        if (strncmp(text, symbol[k], strlen(symbol[k])) == 0) {{
            return k;
        }}
    }}
    return -1;
}}

// Gives the prompt to put(), symbol by symbol, and then n symbols that the model writes. Returns a null pointer; or,
// before anything else, where in the prompt something stands that the model does not know.
const char *{name}_sample(const char *prompt, uint64_t n, uint64_t seed, void (*put)(const char *text));

const char *{name}_sample(const char *prompt, uint64_t n, uint64_t seed, void (*put)(const char *text)) {{
    for (const char *at = prompt; *at != 0; at += strlen(symbol[first(at)])) {{
        if (first(at) < 0) {{
            return at;
        }}
    }}
{init}    if (*prompt == 0) {{
        take({start});
    }}
    for (const char *at = prompt; *at != 0;) {{
        const int32_t k = first(at);
        put(symbol[k]);
        take(k);
        at += strlen(symbol[k]);
    }}
    for (uint64_t generator = seed; n != 0; n--) {{
        const int32_t k = draw(logits, &generator);
        put(symbol[k]);
        take(k);
    }}
    return 0;
}}"""

_MAIN = """\
#if __STDC_HOSTED__
#include <stdio.h>

static void print(const char *text) {{
    fputs(text, stdout);
    fflush(stdout);
}}

// Whether a text is a number below 2^64, and which.
static int number(const char *text, uint64_t *value) {{
    *value = 0;
    do {{
        const uint64_t digit = (uint64_t)*text - '0';
        if (digit > 9 || *value > (UINT64_MAX - digit) / 10) {{
            return 0;
        }}
        *value = *value * 10 + digit;
    }} while (*++text != 0);
    return 1;
}}

int main(int argc, char **argv) {{
    uint64_t n = 0, seed = 0;
    if (argc != 4 || !number(argv[2], &n) || !number(argv[3], &seed)) {{
        fputs("usage: sample PROMPT N SEED\\n", stderr);
        return 2;
    }}
    const char *unknown = {name}_sample(argv[1], n, seed, print);
    if (unknown != 0) {{
        fprintf(stderr, "the model does not know what stands at byte %ld of the prompt\\n", (long)(unknown - argv[1]));
        return 1;
    }}
    print("\\n");
    return 0;
}}
#endif"""
