# SPDX-License-Identifier: MIT
"""Fixtures of the fault tests: the networks, the server of processes, and a folder that is fast to sync."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anchoring import ForkServer
from faults.lives import driver_server
from faults.worlds import BitcoinWorld, EthereumWorld, IpfsWorld
from nodes import funded, need

import mrv_backends_eth
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

BYTECODE = Path(mrv_backends_eth.__file__).parent / "compiled" / "MLProvenance.json"


@pytest.fixture(scope="session")
def job_server() -> Iterator[ForkServer]:
    with driver_server() as running:
        yield running


@contextmanager
def running_ethereum(folder: Path) -> Iterator[EthereumWorld]:
    need("anvil")
    options = ("--no-mining", "--slots-in-an-epoch", "1")
    with AnvilNode(folder, keep_state=False, options=options) as node:
        yield EthereumWorld(node, json.loads(BYTECODE.read_bytes())["bytecode"])


@pytest.fixture(scope="session")
def ethereum_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EthereumWorld]:
    with running_ethereum(tmp_path_factory.mktemp("anvil")) as world:
        yield world


@pytest.fixture
def young_ethereum_world(tmp_path: Path) -> Iterator[EthereumWorld]:
    """A chain of the test's own: after some thousand blocks anvil reorganises it into one without our contract."""
    with running_ethereum(tmp_path / "anvil") as world:
        yield world


@pytest.fixture(scope="session")
def bitcoin_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoinWorld]:
    need("bitcoind")
    with BitcoinNode(tmp_path_factory.mktemp("bitcoind")) as node:
        yield BitcoinWorld(funded(node))


@pytest.fixture(scope="session")
def ipfs_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpfsWorld]:
    need("ipfs")
    with IpfsNode(tmp_path_factory.mktemp("ipfs")) as node:
        yield IpfsWorld(node)


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: a killed process loses nothing there, and syncing is free."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)
