# SPDX-License-Identifier: MIT
"""What the Ethereum tests share: drivers on a fresh embedded chain, and py-evm's own view of that chain's file."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext

_limit = sys.getrecursionlimit()
from eth.chains.base import MiningChain  # noqa: E402
from eth.db.atomic import AtomicDB  # noqa: E402
from eth.db.backends.memory import MemoryDB  # noqa: E402
from eth.vm.forks.prague import PragueVM  # noqa: E402

sys.setrecursionlimit(_limit)  # py_ecc raises it


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder of public test vectors, which are read where they are and never copied."""
    folder = os.environ.get("MRV_VECTORS")
    if not folder:
        pytest.skip("set MRV_VECTORS to the folder of public test vectors")
    return Path(folder)


@pytest.fixture
def context(tmp_path: Path) -> DriverContext:
    return DriverContext("ethereum", EthereumSettings(), tmp_path / "networks" / "ethereum")


@pytest.fixture
def driver(context: DriverContext) -> EthereumDriver:
    return EthereumDriver(context)


@pytest.fixture
def chain_file(context: DriverContext) -> Path:
    return context.store_dir / "chain.sqlite3"


class EvmView:
    """A chain's file as py-evm understands it, read into memory: an oracle that shares no code with ours."""

    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        self.table = dict(connection.execute("SELECT key, value FROM chain"))
        connection.close()
        chain = type("Chain", (MiningChain,), {"chain_id": 131277322940537, "vm_configuration": ((0, PragueVM),)})
        self.chain = chain(AtomicDB(MemoryDB(self.table)))

    def blocks(self) -> list:
        head = self.chain.get_canonical_head().block_number
        return [self.chain.get_canonical_block_by_number(number) for number in range(head + 1)]

    def logs(self, topic: bytes, root: bytes) -> int:
        """Count the logs with this event and this root in all blocks."""
        wanted = [int.from_bytes(topic, "big"), int.from_bytes(root, "big")]
        receipts = [each for block in self.blocks() for each in block.get_receipts(self.chain.chaindb)]
        return sum(list(log.topics[:2]) == wanted for receipt in receipts for log in receipt.logs)


@pytest.fixture
def evm_view(chain_file: Path) -> Callable[[], EvmView]:
    return lambda: EvmView(chain_file)
