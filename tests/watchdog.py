# SPDX-License-Identifier: MIT
"""Tells a call that never comes back from one that is slow, without a limit that a busy machine could exceed."""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any


class HungError(AssertionError):
    """A call did not come back although many times its deadline has passed; the text says where it is."""


def outcome_of(call: Callable[[], Any], patience_s: float = 60.0) -> Any:
    """Return what a call returned or raised; the caller's context variables hold for it.

    Raises:
        HungError: it did neither, although its deadline is far shorter than the patience.
    """
    outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcomes.put(call())
        except BaseException as error:  # the caller judges it
            outcomes.put(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        return outcomes.get(timeout=patience_s)
    except queue.Empty:
        frame = sys._current_frames()[thread.ident or 0]
        raise HungError("".join(traceback.format_stack(frame))) from None
