# SPDX-License-Identifier: MIT
"""The devnet's miner: `python -m mrv_devnet.miner FOLDER` makes its anchors final without anybody's doing.

Once a second it mines a Bitcoin block if transactions wait, and goes on mining on both chains until the newest block
with transactions is deep. Then the chains rest: a chain that grew all the time would cost more every second.
"""

from __future__ import annotations

import signal
import sys
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from mrv_core.errors import MrvError
from mrv_devnet.anvil import AnvilNode
from mrv_devnet.bitcoin import BitcoinNode
from mrv_devnet.layout import Layout

INTERVAL_S: Final = 1.0
DEPTH: Final = 12
"""Blocks that the newest block with transactions ends up below, at least; itself included."""
_COPIES: Final = 3
"""Rounds in which the Ethereum chain is copied after it has grown: anvil writes it a second later."""
_TO_NOBODY: Final = "raw(51)"
"""Output descriptor of the rewards: the script OP_TRUE, so that no wallet grows with every block."""


class Chain(ABC):
    """A chain that is mined on."""

    def __init__(self) -> None:
        self._tip = ""
        self._blocks_due = 0
        self.problem: str | None = None

    def tend(self) -> None:
        """Mine a block if one is due; a node that does not answer is left for the next time."""
        try:
            tip = self.tip()
            if tip != self._tip:
                self._tip, self._blocks_due = tip, self._count_due()
            if self._blocks_due or self.waiting():
                self.mine()
            self._tell(None)
        except MrvError as error:
            self._tell(error.message)

    def _count_due(self) -> int:
        """Return how many blocks are missing on top of the newest one that has transactions."""
        return next((DEPTH - above - 1 for above in range(DEPTH) if self.has_payments(above)), 0)

    def _tell(self, problem: str | None) -> None:
        if problem != self.problem:
            print(f"{type(self).__name__.lower()}: {problem or 'answers'}", flush=True)
        self.problem = problem

    @abstractmethod
    def tip(self) -> str:
        """Return the hash of the newest block."""

    @abstractmethod
    def waiting(self) -> bool:
        """Tell whether transactions wait for a block."""

    @abstractmethod
    def has_payments(self, above: int) -> bool:
        """Tell whether the block with so many above it has more transactions than a block always has."""

    @abstractmethod
    def mine(self) -> None:
        """Mine a block."""


class Ethereum(Chain):
    """Anvil, which mines every transaction at once by itself."""

    def __init__(self, node: AnvilNode) -> None:
        super().__init__()
        self._node = node
        self._seen = ""
        self._copies_due = 0

    def tip(self) -> str:
        """Return the hash of the newest block."""
        return str(self._node.rpc("eth_getBlockByNumber", "latest", False)["hash"])

    def waiting(self) -> bool:
        """Return False: anvil lets none wait."""
        return False

    def has_payments(self, above: int) -> bool:
        """Tell whether a block has transactions."""
        number = int(self._node.rpc("eth_blockNumber"), 16) - above
        return number >= 0 and int(self._node.rpc("eth_getBlockTransactionCountByNumber", hex(number)), 16) > 0

    def mine(self) -> None:
        """Mine a block."""
        self._node.rpc("evm_mine")

    def save(self) -> None:
        """Copy the chain's file if the chain has grown lately."""
        if self._tip != self._seen:
            self._seen, self._copies_due = self._tip, _COPIES
        if self._copies_due:
            self._copies_due -= 1
            try:
                self._node.save_copy()
            except MrvError as error:
                self._tell(error.message)


class Bitcoin(Chain):
    """Bitcoind on regtest, which mines when it is told to."""

    def __init__(self, node: BitcoinNode) -> None:
        super().__init__()
        self._node = node

    def tip(self) -> str:
        """Return the hash of the newest block."""
        return str(self._node.rpc("getbestblockhash"))

    def waiting(self) -> bool:
        """Tell whether the mempool holds transactions."""
        return bool(self._node.rpc("getmempoolinfo")["size"])

    def has_payments(self, above: int) -> bool:
        """Tell whether a block has more than its reward."""
        height = self._node.rpc("getblockcount") - above
        return height > 0 and int(self._node.rpc("getblock", self._node.rpc("getblockhash", height))["nTx"]) > 1

    def mine(self) -> None:
        """Mine a block."""
        self._node.rpc("generatetodescriptor", 1, _TO_NOBODY)
        self._node.flush()


def main(folder: Path) -> None:
    """Mine until SIGTERM, or until the devnet's folder is gone."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    layout = Layout(folder)
    ethereum, bitcoin = Ethereum(AnvilNode(layout.ethereum)), Bitcoin(BitcoinNode(layout.bitcoin))
    while not done.wait(INTERVAL_S) and layout.marker.exists():
        for chain in (ethereum, bitcoin):
            chain.tend()
        ethereum.save()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
