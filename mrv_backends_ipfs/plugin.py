# SPDX-License-Identifier: MIT
"""Announces the IPFS driver."""

from __future__ import annotations

from collections.abc import Callable

from mrv_core.hookspecs import DriverFactory, hookimpl


@hookimpl
def mrv_register_drivers(register: Callable[[str, DriverFactory], None]) -> None:
    """Register the driver `ipfs`."""
    register(
        "ipfs",
        DriverFactory(
            driver="mrv_backends_ipfs.driver:IpfsDriver",
            settings="mrv_backends_ipfs.settings:IpfsSettings",
            extra="",
            summary="content-addressed blocks, in a folder or on a daemon; shows content, not time",
            examiner="mrv_backends_ipfs.offline:examine",
        ),
    )
