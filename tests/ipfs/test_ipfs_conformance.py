# SPDX-License-Identifier: MIT
"""The IPFS driver passes the suite that every driver passes, on the offline store and on a real daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.hashing import Digest
from mrv_core.testing.conformance import DriverConformance
from mrv_devnet.nodes import IpfsNode


class TestIpfsDriver(DriverConformance):
    driver_class = IpfsDriver

    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        self.store_dir = tmp_path / "networks" / "ipfs"
        return DriverContext("ipfs", IpfsSettings(), self.store_dir)

    def count(self, driver: AnchorDriver, commitment: Digest) -> int:
        blocks = (path.read_text() for path in self.store_dir.glob("blocks/*"))
        return sum(str(commitment) in block for block in blocks)


@pytest.mark.node
class TestIpfsDriverOnADaemon(DriverConformance):
    driver_class = IpfsDriver

    @pytest.fixture
    def context(self, tmp_path: Path, ipfs_daemon: IpfsNode, new_ipfs: Callable[..., IpfsNode]) -> DriverContext:
        self.node, self.new_ipfs = ipfs_daemon, new_ipfs
        settings = IpfsSettings(url=ipfs_daemon.api_url, api_token="conformance-token", timeout=8)  # type: ignore[arg-type]
        return DriverContext("ipfs", settings, tmp_path / "networks" / "ipfs")

    def elsewhere(self, driver: AnchorDriver, context: DriverContext) -> AnchorDriver:
        settings = context.settings.model_copy(update={"url": self.new_ipfs().api_url})
        return IpfsDriver(replace(context, settings=settings))

    def count(self, driver: AnchorDriver, commitment: Digest) -> int:
        blocks = [self.node.call("block/get", cid) for cid in self._refs()]
        return sum(str(commitment).encode() in block for block in blocks)

    def _refs(self) -> list[str]:
        return [json.loads(line)["Ref"] for line in self.node.call("refs/local").splitlines() if line.strip()]
