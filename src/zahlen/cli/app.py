"""The application that the commands join, and where they print."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from .. import __version__

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Neural networks in which every value is an element of a finite set.",
)
emit_app = typer.Typer(no_args_is_help=True, help="Turn a machine into other programs.")
app.add_typer(emit_app, name="emit")

console = Console()
error_console = Console(stderr=True)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit()


def numbers(text: str, least: int = 1, option: str | None = None) -> tuple[int, ...]:
    """A list such as ``256,256``; empty for none."""
    try:
        values = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        due = f"whole numbers with commas between are due, got {text!r}"
        raise typer.BadParameter(due, param_hint=option) from None
    if any(value < least for value in values):
        raise typer.BadParameter(f"numbers must be at least {least}, got {text!r}", param_hint=option)
    return values


def belongs(given: bool, fits: bool, name: str, reason: str) -> None:
    """Refuse an option that was given where it does not belong."""
    if given and not fits:
        raise typer.BadParameter(reason, param_hint=name)
