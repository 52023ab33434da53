# SPDX-License-Identifier: MIT
"""Fixtures of the Bitcoin tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from btc.support import MakeDriver, settings_for
from fault_modes import Reply, Request
from faulty import FaultServer, forward_to
from nodes import bitcoind, funded, need, new_bitcoind  # noqa: F401

from mrv_backends_btc.driver import BitcoinDriver
from mrv_core.driver import DriverContext
from mrv_devnet.nodes import BitcoinNode


@pytest.fixture(scope="module")
def regtest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoinNode]:
    """A node that the tests of one module share; it may be reorganised, and everything on it is counted."""
    need("bitcoind")
    with BitcoinNode(tmp_path_factory.mktemp("regtest")) as running:
        yield funded(running)


@pytest.fixture
def make_driver(tmp_path: Path) -> Iterator[MakeDriver]:
    """Build drivers on a node; changed settings as keyword arguments, `name` for a folder of their own."""
    made: list[BitcoinDriver] = []

    def make(node: BitcoinNode, name: str = "bitcoin", **changes: Any) -> BitcoinDriver:
        made.append(BitcoinDriver(DriverContext("bitcoin", settings_for(node, **changes), tmp_path / name)))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def driver(regtest: BitcoinNode, make_driver: MakeDriver) -> BitcoinDriver:
    """A driver on the node that the module shares."""
    return make_driver(regtest)


@pytest.fixture
def lied_to(regtest: BitcoinNode, make_driver: MakeDriver) -> Iterator[Callable[..., BitcoinDriver]]:
    """Build drivers on the shared node whose answers a function changes: `change(method, parameters, result)`."""

    def start(change: Callable[[str, list[Any], Any], Any], **changes: Any) -> BitcoinDriver:
        forward = forward_to(regtest.url)

        def answer(asked: Request) -> Reply:
            reply, call = forward(asked), json.loads(asked.body)
            document = json.loads(reply.body)
            if document["error"] is None:
                document["result"] = change(call["method"], call["params"], document["result"])
            return Reply.json(document, reply.status)

        server = running.enter_context(FaultServer(answer))
        return make_driver(regtest, name="lied to", rpc_url=server.url, **changes)

    with ExitStack() as running:
        yield start
