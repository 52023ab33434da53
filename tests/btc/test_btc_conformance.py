# SPDX-License-Identifier: MIT
"""The Bitcoin driver passes the suite that every driver passes, on a real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from btc.support import conflicting, count_anchors, mine_only, pay, restart, settings_for
from nodes import funded

from mrv_backends_btc.driver import BitcoinDriver
from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.hashing import Digest
from mrv_core.models import Prepared
from mrv_core.testing.conformance import DriverConformance
from mrv_devnet.nodes import BitcoinNode


@pytest.fixture(scope="module")
def other_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoinNode]:
    with BitcoinNode(tmp_path_factory.mktemp("other")) as running:
        yield funded(running)


class TestBitcoinDriver(DriverConformance):
    driver_class = BitcoinDriver
    least_rate = 1
    """Satoshis per virtual byte that the node asks for; grows from test to test."""

    @pytest.fixture(autouse=True)
    def _nodes(self, regtest: BitcoinNode, other_node: BitcoinNode) -> Iterator[None]:
        self.node, self.other = regtest, other_node
        self.start = regtest.rpc("getblockcount")
        yield
        regtest.start()

    @pytest.fixture
    def context(self, regtest: BitcoinNode, tmp_path: Path) -> DriverContext:
        return DriverContext("bitcoin", settings_for(regtest), tmp_path / "bitcoin")

    def settle(self, driver: AnchorDriver) -> None:
        for node in (self.node, self.other):
            node.mine(1)

    def elsewhere(self, driver: AnchorDriver, context: DriverContext) -> AnchorDriver:
        settings = settings_for(self.other)
        return BitcoinDriver(DriverContext("bitcoin", settings, context.store_dir.with_name("elsewhere")))

    def count(self, driver: AnchorDriver, commitment: Digest) -> int:
        return count_anchors(self.node, commitment, self.start)

    def reorg(self, driver: AnchorDriver) -> bool:
        self.node.rpc("invalidateblock", self.node.rpc("getbestblockhash"))
        return True

    def remove_store(self, driver: AnchorDriver, context: DriverContext) -> bool:
        self.node.stop()
        return True

    def ask_for_more(self, driver: AnchorDriver) -> bool:
        """What waits is never mined any more; where nothing waits, what pays as much as so far is not even taken."""
        mempool = self.node.rpc("getrawmempool", True)
        if waiting := [txid for txid, entry in mempool.items() if entry["fees"]["modified"] > 0]:
            for txid in waiting:
                self.node.rpc("prioritisetransaction", txid, 0, -100_000_000)
            self.node.mine(6)
            return True
        type(self).least_rate *= 5
        restart(self.node, f"-minrelaytxfee={self.least_rate / 100_000:.8f}")
        return True

    def overtake(self, driver: AnchorDriver, prepared: Prepared) -> bool:
        mine_only(self.node, conflicting(self.node, prepared.payload_hex))
        return True

    def anchor_by_another(self, driver: AnchorDriver, commitment: Digest) -> bool:
        pay(self.node, "another", 0.01)
        data = f"4d52563112{commitment.hex}"
        self.node.wallet_rpc("another", "send", [{"data": data}], None, "unset", 10)
        self.node.mine(1)
        return self.count(driver, commitment) == 1
