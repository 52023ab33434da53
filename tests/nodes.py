# SPDX-License-Identifier: MIT
"""Real nodes for tests: one of each kind a session, and factories for tests that need one of their own.

`tests/conftest.py` imports the fixtures. Every node is a child of the test process and ends with it.
A worker of pytest-xdist has nodes of its own, so tests may change their state; tests that stop, hold or reorganise
a node, or count what it holds, make one of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from mrv_core.errors import ConfigurationError
from mrv_devnet import programs
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

MINER: Final = "miner"
"""Wallet of the Bitcoin nodes that these fixtures make."""
MATURE_BLOCKS: Final = 101
"""Blocks after which the first reward can be spent."""

__all__ = ["anvil", "bitcoind", "ipfs_daemon", "new_anvil", "new_bitcoind", "new_ipfs"]


def need(name: str) -> None:
    """Find or install a node's program; skip where it cannot be installed and this is not continuous integration."""
    try:
        programs.ALL[name](programs.say_on_stderr)
    except ConfigurationError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error.message}; {error.hint}")
        pytest.skip(f"{error.message}; {error.hint}")


def funded(node: BitcoinNode) -> BitcoinNode:
    """Give a started node the wallet `miner`, with one reward that can be spent."""
    node.create_wallet(MINER)
    node.mine(MATURE_BLOCKS, MINER)
    return node


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnvilNode]:
    """A running anvil that mines a block for every transaction at once."""
    need("anvil")
    with AnvilNode(tmp_path_factory.mktemp("anvil"), keep_state=False) as node:
        yield node


@pytest.fixture(scope="session")
def bitcoind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoinNode]:
    """A running bitcoind with 101 blocks, and 50 coins in the loaded wallet `miner`; it mines when told to."""
    need("bitcoind")
    with BitcoinNode(tmp_path_factory.mktemp("bitcoind")) as node:
        yield funded(node)


@pytest.fixture(scope="session")
def ipfs_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpfsNode]:
    """A running IPFS daemon without peers."""
    need("ipfs")
    with IpfsNode(tmp_path_factory.mktemp("ipfs")) as node:
        yield node


@pytest.fixture
def new_anvil(tmp_path: Path) -> Iterator[Callable[..., AnvilNode]]:
    """Start anvils of the test's own; keyword arguments as of `AnvilNode`, all stopped after the test."""
    need("anvil")
    with ExitStack() as stack:

        def make(folder: Path | None = None, **options: Any) -> AnvilNode:
            place = folder or _unused(tmp_path, "anvil")
            return stack.enter_context(AnvilNode(place, **options))

        yield make


@pytest.fixture
def new_bitcoind(tmp_path: Path) -> Iterator[Callable[..., BitcoinNode]]:
    """Start bitcoinds of the test's own, funded unless `fund=False`; other arguments as of `BitcoinNode`."""
    need("bitcoind")
    with ExitStack() as stack:

        def make(folder: Path | None = None, *, fund: bool = True, **options: Any) -> BitcoinNode:
            node = stack.enter_context(BitcoinNode(folder or _unused(tmp_path, "bitcoind"), **options))
            return funded(node) if fund else node

        yield make


@pytest.fixture
def new_ipfs(tmp_path: Path) -> Iterator[Callable[..., IpfsNode]]:
    """Start IPFS daemons of the test's own; keyword arguments as of `IpfsNode`."""
    need("ipfs")
    with ExitStack() as stack:

        def make(folder: Path | None = None, **options: Any) -> IpfsNode:
            return stack.enter_context(IpfsNode(folder or _unused(tmp_path, "ipfs"), **options))

        yield make


def _unused(folder: Path, name: str) -> Path:
    return next(path for number in range(1000) if not (path := folder / f"{name}-{number}").exists())
