# SPDX-License-Identifier: MIT
"""Named places where a test can end the process, to show that nothing is lost or done twice there.

`MRV_FAILPOINT=anchor.prepared` kills the process with SIGKILL at that place, as a power cut would.
Unset, a failpoint is one look into the environment.
"""

from __future__ import annotations

import os
import signal
from typing import Final

FAILPOINTS: Final = (
    "anchor.before_queue",
    "anchor.queued",
    "anchor.before_find",
    "anchor.before_prepare",
    "anchor.before_prepared",
    "anchor.prepared",
    "anchor.before_submit",
    "anchor.after_submit",
    "anchor.submitted",
    "anchor.before_receipt",
    "anchor.receipt",
    "anchor.before_replacement",
    "anchor.replacement",
    "anchor.before_conflict",
    "anchor.conflict",
)
"""The failpoints that one anchor passes, in their order."""
GROUP_FAILPOINTS: Final = (
    "group.before_prepare",
    "group.before_prepared",
    "group.prepared",
    "group.after_submit",
    "group.submitted",
)
"""The failpoints that a group of anchors passes, in their order (`mrv_core.pipeline`)."""

WORKER_FAILPOINTS: Final = (
    "worker.before_batch",
    "worker.batched",
    "worker.claimed",
    "worker.anchored",
    "worker.noted",
)
"""The failpoints that a batch passes besides, in a registry's worker (`mrv_service.worker`)."""

WATCHER_FAILPOINTS: Final = ("watcher.claimed", "watcher.verified", "watcher.noted", "watcher.told")
"""The failpoints that a verification, and an alarm, pass in a registry's watcher (`mrv_service.watcher`)."""


def failpoint(name: str) -> None:
    """End the process here if this failpoint is armed."""
    if os.environ.get("MRV_FAILPOINT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
