# SPDX-License-Identifier: MIT
"""Announces the driver `ethereum`."""

from __future__ import annotations

from collections.abc import Callable

from mrv_core.hookspecs import DriverFactory, hookimpl


@hookimpl
def mrv_register_drivers(register: Callable[[str, DriverFactory], None]) -> None:
    """Announce the driver."""
    register(
        "ethereum",
        DriverFactory(
            driver="mrv_backends_eth.driver:EthereumDriver",
            settings="mrv_backends_eth.settings:EthereumSettings",
            extra="eth",
            summary="MLProvenance contract on an Ethereum chain: a node's, or one embedded in this folder",
            examiner="mrv_backends_eth.offline:examine",
        ),
    )
