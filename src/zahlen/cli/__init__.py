"""The command ``zahlen``.

Exit code 0 when all went well, 1 for a refusal or a disagreement, 2 for a wrong call, 130 for Ctrl-C.
"""

from __future__ import annotations

import sys

from ..machine import ZahlenError
from .app import app, error_console


def main() -> None:
    """Run the command; our own errors become one message on standard error."""
    from . import analyse, bench, check, inspect, sample, train, verify  # noqa: F401  (each adds its commands to the app)

    try:
        app()
    except ZahlenError as error:
        error_console.print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        error_console.print("interrupted")
        sys.exit(130)


def _plain(error: ZahlenError) -> str:
    from rich.markup import escape

    return escape(str(error))
