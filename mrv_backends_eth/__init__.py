# SPDX-License-Identifier: MIT
"""The driver `ethereum`.

`EthereumDriver` is imported when it is first used, so that announcing the driver costs nothing.
`EthereumInterface` is the same class under the name of the first architecture document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrv_backends_eth.driver import EthereumDriver

    EthereumInterface = EthereumDriver

__all__ = ["EthereumDriver", "EthereumInterface"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mrv_backends_eth.driver import EthereumDriver

    return EthereumDriver
