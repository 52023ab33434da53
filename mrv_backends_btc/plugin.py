# SPDX-License-Identifier: MIT
"""Announces the Bitcoin driver."""

from __future__ import annotations

from collections.abc import Callable

from mrv_core.hookspecs import DriverFactory, hookimpl


@hookimpl
def mrv_register_drivers(register: Callable[[str, DriverFactory], None]) -> None:
    """Register the driver `bitcoin`."""
    register(
        "bitcoin",
        DriverFactory(
            driver="mrv_backends_btc.driver:BitcoinDriver",
            settings="mrv_backends_btc.settings:BitcoinSettings",
            extra="btc",
            summary="an OP_RETURN output of your node's wallet; Bitcoin attests the time; OpenTimestamps proofs",
            examiner="mrv_backends_btc.offline:examine",
        ),
    )
