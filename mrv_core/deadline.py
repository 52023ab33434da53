# SPDX-License-Identifier: MIT
"""How much time the anchor or verification that is under way has left, for whatever talks to a network on its behalf.

Core sets it around every call of a driver; the transport never waits beyond it. A driver need not know, unless it
starts threads of its own: a new thread has no deadline, but for the one in a context that it is given to run in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends: ContextVar[float] = ContextVar("mrv_deadline", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Allow at most `seconds` for what is called inside; an enclosing deadline that ends earlier stays in force."""
    token = _ends.set(min(_ends.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends.reset(token)


def seconds_left() -> float:
    """Return the seconds until the nearest deadline: negative after it, infinite where there is none."""
    return _ends.get() - time.monotonic()
