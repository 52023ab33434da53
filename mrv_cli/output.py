# SPDX-License-Identifier: MIT
"""Where results and errors go: results to stdout, everything else to stderr, nothing of it raw."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

import typer

from mrv_core.errors import MrvError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")

_INTERRUPTED = 130
_BROKEN_PIPE = 141
_PIPED_WIDTH = 120
"""Columns where stdout is no terminal: a digest with its label fits on one line."""


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: whatever goes wrong ends in one or two lines on stderr and the exit status of the table.

    With `--json` stdout is one JSON document in every case: an error is `{"error": {"type", "message", "hint"}}`.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            sys.stdout.flush()
            raise
        except KeyboardInterrupt:
            _say("interrupted; whatever was queued is kept")
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read stdout is gone; the interpreter must not try to flush into it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_BROKEN_PIPE) from None
        except Exception as error:  # the edge: nobody is above to handle a defect
            _fail(error, as_json=bool(kwargs.get("as_json")))

    return wrapper


def _fail(error: Exception, *, as_json: bool) -> NoReturn:
    from mrv_cli.exit_codes import exit_code_of

    name, message, hint = type(error).__name__, f"{type(error).__name__}: {error}", "this is a defect; please report it"
    if isinstance(error, MrvError):
        message, hint = error.message, error.hint or ""
    if as_json:
        print_json({"error": {"type": name, "message": message, "hint": hint or None}})
    _say(f"error: {message}")
    if hint:
        _say(f"hint: {hint}")
    raise typer.Exit(exit_code_of(error)) from None


def _say(text: str) -> None:
    from mrv_core.report.text import visible

    print(visible(text), file=sys.stderr)


def note(text: str) -> None:
    """Print a line about what was done, on stderr."""
    _say(text)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, in ASCII, so that no name in it can act on a terminal."""
    print(json.dumps(value, indent=2, allow_nan=False))


def console() -> Console:
    """Return the console for results; colours only on a terminal and without `NO_COLOR`."""
    from rich.console import Console

    class Results(Console):
        def on_broken_pipe(self) -> None:
            """Leave it to `guarded`: rich would end the process with the status of something tampered."""
            raise BrokenPipeError

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Results(highlight=False, markup=False, emoji=False, width=width)
