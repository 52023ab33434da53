# SPDX-License-Identifier: MIT
"""What the IPFS tests share: a driver on an empty store, and drivers on a real daemon, directly or through a proxy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from faulty import FaultServer, forward_to

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import DriverContext
from mrv_devnet.nodes import IpfsNode

MakeDriver = Callable[..., IpfsDriver]
TIMEOUT_S = 20.0
"""Longer than anything on an honest daemon takes on a busy machine, except for a block that is not there."""


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    return tmp_path / "networks" / "ipfs"


@pytest.fixture
def make_driver(store_dir: Path) -> Iterator[MakeDriver]:
    with ExitStack() as stack:

        def make(folder: Path = store_dir, **settings: Any) -> IpfsDriver:
            driver = IpfsDriver(DriverContext("ipfs", IpfsSettings(**settings), folder))
            stack.callback(driver.close)
            return driver

        yield make


@pytest.fixture
def driver(make_driver: MakeDriver) -> IpfsDriver:
    return make_driver()


@pytest.fixture
def live(make_driver: MakeDriver, ipfs_daemon: IpfsNode) -> IpfsDriver:
    return make_driver(url=ipfs_daemon.api_url, timeout=TIMEOUT_S)


@pytest.fixture
def proxy(ipfs_daemon: IpfsNode) -> Iterator[FaultServer]:
    """A proxy in front of the daemon's API, honest until its plan says otherwise."""
    with FaultServer(forward_to(ipfs_daemon.api_url)) as server:
        yield server


@pytest.fixture
def gateway_proxy(ipfs_daemon: IpfsNode) -> Iterator[FaultServer]:
    """A proxy in front of the daemon's gateway."""
    with FaultServer(forward_to(ipfs_daemon.gateway_url)) as server:
        yield server


@pytest.fixture
def blocks_on() -> Callable[[IpfsNode], set[bytes]]:
    """Return a function that asks, without the product's client, for the SHA-256 digests of all blocks on a daemon."""

    def ask(node: IpfsNode) -> set[bytes]:
        lines = node.call("refs/local").splitlines()
        return {Cid.parse(json.loads(line)["Ref"]).digest for line in lines if line.strip()}

    return ask


@pytest.fixture
def pins_on() -> Callable[[IpfsNode], set[bytes]]:
    """Return a function that asks for the SHA-256 digests that a daemon has pinned."""

    def ask(node: IpfsNode) -> set[bytes]:
        return {Cid.parse(text).digest for text in json.loads(node.call("pin/ls", type="recursive"))["Keys"]}

    return ask
