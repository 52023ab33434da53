# SPDX-License-Identifier: MIT
"""Anchors in Bitcoin: 37 bytes in an output that nobody can spend, and OpenTimestamps proofs made of them.

`BitcoinDriver` is imported when it is first used, so that announcing the driver costs nothing.
`BitcoinInterface` is the same class under the name of the first architecture document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrv_backends_btc.driver import BitcoinDriver

    BitcoinInterface = BitcoinDriver

__all__ = ["BitcoinDriver", "BitcoinInterface"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mrv_backends_btc.driver import BitcoinDriver

    return BitcoinDriver
