# SPDX-License-Identifier: MIT
"""The log driver passes the suite that every driver passes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mrv_backends_log.driver import LogDriver
from mrv_backends_log.settings import LogSettings
from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.hashing import Digest
from mrv_core.testing.conformance import DriverConformance


class TestLogDriver(DriverConformance):
    driver_class = LogDriver

    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        self.path = tmp_path / "networks" / "log" / "log.sqlite3"
        return DriverContext("log", LogSettings(), self.path.parent)

    def count(self, driver: AnchorDriver, commitment: Digest) -> int:
        with closing(sqlite3.connect(self.path)) as database:
            entries = database.execute("SELECT entry FROM entries").fetchall()
        return sum(str(commitment).encode() in entry for (entry,) in entries)
