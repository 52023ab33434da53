# SPDX-License-Identifier: MIT
"""One line on stderr that says what is still waited for."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mrv_cli.output import note
from mrv_core.journal import JournalRow
from mrv_core.report.text import visible

_CLEAR = "\r\x1b[K"


@contextmanager
def waiting_line(wait_s: float) -> Iterator[Callable[[Sequence[JournalRow]], None] | None]:
    """Yield what shows the anchors that are still open after each look: None where nobody waits.

    A terminal gets one line that changes; a file or pipe gets a line each time that something has changed.
    """
    if not wait_s:
        yield None
        return
    shown = [""]

    def show(rows: Sequence[JournalRow]) -> None:
        text = _describe(rows)
        if sys.stderr.isatty():
            print(f"{_CLEAR}{visible(text)}", end="", file=sys.stderr, flush=True)
        elif text and text != shown[0]:
            note(text)
        shown[0] = text

    try:
        yield show
    finally:
        if sys.stderr.isatty():
            print(_CLEAR, end="", file=sys.stderr, flush=True)


def _describe(rows: Sequence[JournalRow]) -> str:
    """Return for instance `waiting: ethereum 2 included, bitcoin 1 submitted`; empty where nothing is open."""
    counts = Counter((row.network, str(row.state)) for row in rows)
    return f"waiting: {', '.join(f'{name} {n} {state}' for (name, state), n in counts.items())}" if counts else ""
