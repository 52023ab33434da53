# SPDX-License-Identifier: MIT
"""The one hook by which a package announces its drivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pluggy

PROJECT: Final = "mrv"
ENTRY_POINT_GROUP: Final = "mrv.drivers"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class DriverFactory:
    """Where a driver's code is, so that announcing it imports nothing.

    Attributes:
        driver: `package.module:Class` of the `AnchorDriver`.
        settings: `package.module:Class` of its `NetworkSettings`.
        extra: The extra of this distribution that brings its libraries, or an empty text.
        summary: One line for `mrv networks`.
        examiner: `package.module:function` of its `mrv_core.driver.Examine`, which needs none of the extra's
            libraries; empty where its receipts show nothing by themselves.
    """

    driver: str
    settings: str
    extra: str
    summary: str
    examiner: str = ""


@hookspec
def mrv_register_drivers(register: Callable[[str, DriverFactory], None]) -> None:
    """Call `register(name, factory)` once for each driver. Import nothing heavy here."""
