# SPDX-License-Identifier: MIT
"""Anchors in a transparency log: an append-only Merkle tree with signed checkpoints.

`LogDriver` is imported when it is first used, so that announcing the driver costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrv_backends_log.driver import LogDriver

__all__ = ["LogDriver"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mrv_backends_log.driver import LogDriver

    return LogDriver
