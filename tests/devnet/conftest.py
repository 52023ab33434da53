# SPDX-License-Identifier: MIT
"""What the tests of the devnet share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import anvil, bitcoind, ipfs_daemon, need, new_anvil, new_bitcoind, new_ipfs  # noqa: F401

from mrv_devnet.devnet import Devnet

sys.path.insert(0, str(Path(__file__).parent))  # for `import devnet_helpers`

from devnet_helpers import deploy


@pytest.fixture(scope="module")
def programs() -> None:
    """Make sure of all three programs."""
    for name in ("anvil", "bitcoind", "ipfs"):
        need(name)


@pytest.fixture
def said() -> list[str]:
    """Lines that a devnet said."""
    return []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, programs: None) -> Iterator[Devnet]:
    """A devnet that runs; whoever stops something in it starts it again."""
    devnet = Devnet(tmp_path_factory.mktemp("devnet"), deploy=deploy)
    try:
        devnet.up()
        yield devnet
    finally:
        devnet.reset()


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, and an empty programs folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("MRV_DEVNET_PROGRAMS", str(tmp_path / "programs"))
    for name in ("MRV_ANVIL", "MRV_BITCOIND", "MRV_IPFS"):
        monkeypatch.delenv(name, raising=False)
    return folder
