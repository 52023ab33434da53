# SPDX-License-Identifier: MIT
"""Fixtures of the Bitcoin tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from btc.support import MakeDriver, settings_for
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
