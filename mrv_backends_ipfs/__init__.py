# SPDX-License-Identifier: MIT
"""Anchors on IPFS: one content-addressed block for each commitment.

`IpfsDriver` is imported when it is first used, so that announcing the driver costs nothing.
`IPFSInterface` is the same class under the name of the first architecture document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrv_backends_ipfs.driver import IpfsDriver

    IPFSInterface = IpfsDriver

__all__ = ["IPFSInterface", "IpfsDriver"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mrv_backends_ipfs.driver import IpfsDriver

    return IpfsDriver
