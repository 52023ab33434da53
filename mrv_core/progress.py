# SPDX-License-Identifier: MIT
"""Progress bars on stderr for work that lasts longer than about a second.

Nothing is drawn, and rich is not imported, before the delay has passed; short work stays silent. The bar is
drawn by whoever reports progress: there is no thread of our own.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

DELAY_S: Final = 1.0
REDRAW_S: Final = 0.1


class Task:
    """A piece of work that reports how far it is. This one draws nothing; `SILENT` is the one to pass around."""

    __slots__ = ()

    def advance(self, amount: int) -> None:
        """Report that `amount` more units are done. May be called from any thread."""


SILENT: Final = Task()


class Progress:
    """Draws one bar at a time, a second after it was created, if stderr is a terminal.

    Args:
        enabled: False never draws; None and True draw where stderr is a terminal.
        delay_s: Seconds to stay silent.
        clock: Monotonic seconds; a test brings its own.
    """

    def __init__(
        self,
        enabled: bool | None = None,
        *,
        delay_s: float = DELAY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.visible = enabled is not False and sys.stderr is not None and sys.stderr.isatty()
        self._clock = clock
        self._start = clock() + delay_s
        self._current: _Bar | None = None

    @contextmanager
    def task(self, title: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Show one piece of work while the block runs.

        Work inside other work adds to the outer bar where both count the same unit, and is silent otherwise.

        Args:
            title: What is being done, for instance `hashing images`.
            total: Units in all, if known.
            unit: What is counted; `bytes` is shown with binary prefixes.
        """
        if not self.visible:
            yield SILENT
        elif self._current is not None:
            yield self._current if self._current.unit == unit else SILENT
        else:
            self._current = _Bar(title, total, unit, self._clock, self._start)
            try:
                yield self._current
            finally:
                self._current.close()
                self._current = None


class _Bar(Task):
    __slots__ = ("_clock", "_done", "_lock", "_next", "_rich", "_row", "_title", "_total", "unit")

    def __init__(self, title: str, total: int | None, unit: str, clock: Callable[[], float], first_draw: float) -> None:
        self.unit = unit
        self._title, self._total, self._clock = title, total, clock
        self._done, self._next = 0, first_draw
        self._lock = threading.Lock()
        self._rich: RichProgress | None = None
        self._row: Any = None

    def advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount
            now = self._clock()
            if now >= self._next:
                self._next = now + REDRAW_S
                self._draw()

    def _draw(self) -> None:
        if self._rich is None:
            self._rich = _rich_progress(self.unit)
            self._row = self._rich.add_task(self._title, total=self._total)
            self._rich.start()
        self._rich.update(self._row, completed=self._done)
        self._rich.refresh()

    def close(self) -> None:
        if self._rich is not None:
            self._rich.stop()


def _rich_progress(unit: str) -> RichProgress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: list[ProgressColumn]
    if unit == "bytes":
        counts = [DownloadColumn(binary_units=True), TransferSpeedColumn()]
    else:
        counts = [MofNCompleteColumn(), TextColumn(unit)]
    title = TextColumn("{task.description}", markup=False)
    columns = [title, BarColumn(), *counts, TimeRemainingColumn()]
    return Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
