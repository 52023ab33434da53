# SPDX-License-Identifier: MIT
"""Announces the transparency log driver."""

from __future__ import annotations

from collections.abc import Callable

from mrv_core.hookspecs import DriverFactory, hookimpl


@hookimpl
def mrv_register_drivers(register: Callable[[str, DriverFactory], None]) -> None:
    """Register the driver `log`."""
    register(
        "log",
        DriverFactory(
            driver="mrv_backends_log.driver:LogDriver",
            settings="mrv_backends_log.settings:LogSettings",
            extra="log",
            summary="append-only transparency log with signed checkpoints; shows content and order, not time",
            examiner="mrv_backends_log.offline:examine",
        ),
    )
