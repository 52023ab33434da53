# SPDX-License-Identifier: MIT
"""The IPFS driver passes the suite that every driver passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.hashing import Digest
from mrv_core.testing.conformance import DriverConformance


class TestIpfsDriver(DriverConformance):
    driver_class = IpfsDriver

    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        self.store_dir = tmp_path / "networks" / "ipfs"
        return DriverContext("ipfs", IpfsSettings(), self.store_dir)

    def count(self, driver: AnchorDriver, commitment: Digest) -> int:
        blocks = (path.read_text() for path in self.store_dir.glob("blocks/*"))
        return sum(str(commitment) in block for block in blocks)
