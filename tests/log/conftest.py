# SPDX-License-Identifier: MIT
"""What the log tests share: a driver on an empty store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_log.driver import LogDriver
from mrv_backends_log.settings import LogSettings
from mrv_core.driver import DriverContext


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    return tmp_path / "networks" / "log"


@pytest.fixture
def make_driver(store_dir: Path) -> Callable[..., LogDriver]:
    def make(folder: Path = store_dir, **settings: Any) -> LogDriver:
        return LogDriver(DriverContext("log", LogSettings(**settings), folder))

    return make


@pytest.fixture
def driver(make_driver: Callable[..., LogDriver]) -> LogDriver:
    return make_driver()
