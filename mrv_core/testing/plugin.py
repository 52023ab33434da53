# SPDX-License-Identifier: MIT
"""Announces the driver `memory`. No entry point leads here: a test says `registry.add_plugin(plugin, "memory")`."""

from __future__ import annotations

from collections.abc import Callable

from mrv_core.hookspecs import DriverFactory, hookimpl


@hookimpl
def mrv_register_drivers(register: Callable[[str, DriverFactory], None]) -> None:
    """Announce the driver."""
    register(
        "memory",
        DriverFactory(
            driver="mrv_core.testing.memory:MemoryDriver",
            settings="mrv_core.testing.memory:MemorySettings",
            extra="",
            summary="a small chain for tests, kept in one file",
        ),
    )
