"""``zahlen sample``: a model of text writes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..generator import WORD
from ..machine import load
from ..sampling import stream
from .app import app


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="A model of text, or the directory that has one as model.zn.")],
    prompt: Annotated[str, typer.Option(help="What the model reads first; its text follows.")] = "",
    n: Annotated[int, typer.Option("-n", "--length", min=0, help="How many characters.")] = 400,
    seed: Annotated[int, typer.Option(min=0, max=WORD - 1, help="Another seed, another text.")] = 0,
    temperature: Annotated[str, typer.Option(help="Below 1 tamer, above 1 wilder; 0: always the likeliest.")] = "1",
) -> None:
    """Write text: the prompt, and what the model makes of it, in UTF-8, as it is drawn.

    One model, one prompt, one seed: one text on every computer, and in the program that emit c --sample writes.

    zahlen sample out/model.zn --prompt "In the beginning" -n 500
    zahlen sample out --seed 7 --temperature 0.8
    """
    machine = load(model / "model.zn" if model.is_dir() else model)
    text = stream(machine, prompt, n, seed=seed, temperature=temperature)
    out = sys.stdout.buffer
    try:
        out.write(prompt.encode())
        for character in text:
            out.write(character.encode())
            out.flush()
    finally:
        out.write(b"\n")
        out.flush()
