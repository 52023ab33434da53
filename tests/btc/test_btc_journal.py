# SPDX-License-Identifier: MIT
"""Journal and driver together: whatever happens between sending and inclusion, each root is there once (A43 to A45)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from btc.support import MakeNode, commitment_of, conflicting, count_anchors, mine_only, pay, restart
from faulty import FaultServer, forward_to

from mrv_backends_btc import plugin
from mrv_core.config import load_config
from mrv_core.journal import JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.models import ReceiptState
from mrv_core.registry import Registry
from mrv_devnet.nodes import BitcoinNode

MakeManager = Callable[..., BlockchainManager]


@pytest.fixture
def make_manager(tmp_path: Path) -> Iterator[MakeManager]:
    """Build managers with one journal, as one process after another has it; changed settings as keyword arguments."""
    made: list[BlockchainManager] = []
    registry = Registry()
    registry.add_plugin(plugin, "bitcoin")

    def make(node: BitcoinNode, base: str = "artifacts", **changes: Any) -> BlockchainManager:
        section = {
            "network": "regtest",
            "rpc_url": node.url,
            "rpc_user": node.user,
            "rpc_password_file": str(node.password_file),
            "wallet": "miner",
            **changes,
        }
        config = load_config({"blockchain": {"bitcoin": section}}, registry=registry, environment={})
        made.append(BlockchainManager(config, base_dir=tmp_path / base, registry=registry, sleep=lambda _: None))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture(autouse=True)
def _released(regtest: BitcoinNode) -> None:
    regtest.wallet_rpc("miner", "lockunspent", True)
    regtest.mine(1)


def state_of(manager: BlockchainManager, name: str) -> tuple[JournalState, str | None]:
    row = manager.journal.find(commitment_of(name), "bitcoin")
    return row.state, row.reference


def exclude(node: BitcoinNode, txid: str) -> None:
    """Keep a transaction out of every block that this node mines (F14)."""
    node.rpc("prioritisetransaction", txid, 0, -100_000_000)


class TestTheUsualWay:
    def test_anchored_then_included_then_final(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        manager, name = make_manager(regtest, finality=2), "usual"
        outcome = manager.anchor(commitment_of(name))["bitcoin"]
        assert outcome.error is None
        assert outcome.receipt is not None
        states = [outcome.receipt.state]
        for _ in range(2):
            regtest.mine(1)
            manager.flush()
            row = manager.journal.find(commitment_of(name), "bitcoin")
            assert row.receipt is not None
            states.append(row.receipt.state)
        assert states == [ReceiptState.PENDING, ReceiptState.INCLUDED, ReceiptState.FINAL]
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_many_anchors_share_one_coin(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """Each one spends the change of the one before, without waiting for a block."""
        pay(regtest, "purse", 0.01)
        manager = make_manager(regtest, wallet="purse")
        names = [f"run {number}" for number in range(5)]
        for name in names:
            assert manager.anchor(commitment_of(name))["bitcoin"].error is None
        regtest.mine(1)
        assert manager.flush() == []
        assert [count_anchors(regtest, commitment_of(name)) for name in names] == [1] * 5

    def test_a_connection_that_idles_longer_than_the_node_allows(
        self, new_bitcoind: MakeNode, make_manager: MakeManager
    ) -> None:
        """The node closes it; python-bitcoinrpc by itself never recovers from that."""
        node = new_bitcoind(options=("-rpcservertimeout=1",))
        manager = make_manager(node)
        manager.anchor(commitment_of("before the pause"))
        with socket.create_connection(("127.0.0.1", node.port()), timeout=60) as younger:
            assert younger.recv(1) == b"", "the node has closed what is younger than the driver's connections"
        assert manager.anchor(commitment_of("after the pause"))["bitcoin"].error is None
        assert count_anchors(node, commitment_of("after the pause")) == 1


class TestFeeBumps:
    def test_the_replacement_is_included(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """A43: the transaction id changes; the journal follows."""
        manager, name = make_manager(regtest, replace_after_blocks=2), "bumped"
        first = manager.anchor(commitment_of(name))["bitcoin"].receipt
        assert first is not None
        exclude(regtest, first.reference)
        regtest.mine(1)
        manager.flush()
        assert state_of(manager, name)[1] == first.reference, "it has not waited long enough"
        regtest.mine(1)
        manager.flush()
        state, second = state_of(manager, name)
        assert second != first.reference
        assert state is JournalState.SUBMITTED
        regtest.mine(1)
        manager.flush()
        assert state_of(manager, name) == (JournalState.FINAL, second)
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_the_older_one_is_included_after_all(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """A43: a miner had the older transaction; any of them closes the anchor."""
        manager, name = make_manager(regtest, replace_after_blocks=1), "older"
        manager.anchor(commitment_of(name))
        first = manager.journal.find(commitment_of(name), "bitcoin").prepared
        assert first is not None
        exclude(regtest, first.reference)
        regtest.mine(1)
        manager.flush()
        assert state_of(manager, name)[1] != first.reference
        mine_only(regtest, first.payload_hex)
        manager.flush()
        assert state_of(manager, name) == (JournalState.FINAL, first.reference)
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_never_above_the_cap(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """F13, F14: bumped until the cap leaves no room, then waited for."""
        manager, name = make_manager(regtest, replace_after_blocks=1, max_fee_rate=12), "capped"
        manager.anchor(commitment_of(name))
        seen = []
        for _ in range(5):
            txid = state_of(manager, name)[1]
            entry = regtest.rpc("getmempoolentry", txid)
            seen.append((txid, entry["fees"]["base"] * 100_000_000 / entry["vsize"]))
            exclude(regtest, str(txid))
            regtest.mine(1)
            manager.flush()
        rates = [rate for _, rate in dict(seen).items()]
        assert len(rates) == 3, f"1, 6 and 11 sat/vB fit under 12, and 16 does not: {rates}"
        assert max(rates) <= 12
        regtest.rpc("prioritisetransaction", seen[-1][0], 0, 1_000_000_000)
        regtest.mine(1)
        manager.flush()
        assert state_of(manager, name) == (JournalState.FINAL, seen[-1][0])
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_the_change_of_what_is_stuck_is_still_good(self, new_bitcoind: MakeNode, make_manager: MakeManager) -> None:
        """An anchor whose change a later one spends is not outbid, which would throw that out; the later one pays."""
        node = new_bitcoind(options=("-blockmintxfee=0.00005",))
        pay(node, "thrifty", 0.01)
        manager = make_manager(node, wallet="thrifty", replace_after_blocks=1, fee_rate=2)
        names = ("stuck parent", "stuck child")
        for name in names:
            manager.anchor(commitment_of(name))
        parent, child = (state_of(manager, name)[1] for name in names)
        blocks = 0
        while manager.flush():
            node.mine(1)
            blocks += 1
            assert blocks < 6, "at 5 sat/vB for both together they are mined"
        assert state_of(manager, "stuck parent")[1] == parent
        assert state_of(manager, "stuck child")[1] != child
        assert [count_anchors(node, commitment_of(name)) for name in names] == [1, 1]


class TestLosses:
    def test_a_conflict_is_anchored_anew(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """A44, F12: something else was mined that spends the same coins."""
        manager, name = make_manager(regtest, finality=2), "overtaken"
        manager.anchor(commitment_of(name))
        first = manager.journal.find(commitment_of(name), "bitcoin").prepared
        assert first is not None
        mine_only(regtest, conflicting(regtest, first.payload_hex))
        manager.flush()
        assert state_of(manager, name)[1] == first.reference, "the conflict may still leave the chain"
        regtest.mine(1)
        manager.flush()
        state, second = state_of(manager, name)
        assert second not in (None, first.reference)
        assert state is JournalState.SUBMITTED
        regtest.mine(2)
        assert manager.flush() == []
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_an_empty_mempool_gets_the_same_bytes_again(
        self, new_bitcoind: MakeNode, make_manager: MakeManager
    ) -> None:
        """A45, F15: the node is started again without its mempool."""
        options = ("-persistmempool=0", "-walletbroadcast=0")
        node = new_bitcoind(options=options)
        manager, name = make_manager(node), "resent"
        first = manager.anchor(commitment_of(name))["bitcoin"].receipt
        assert first is not None
        restart(node, *options)
        assert node.rpc("getrawmempool") == []
        manager.flush()
        assert node.rpc("getrawmempool") == [first.reference]
        node.mine(1)
        assert manager.flush() == []
        assert count_anchors(node, commitment_of(name)) == 1

    def test_a_lost_journal_finds_what_was_sent(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """F22: another journal, the same wallet: the anchor is found in it, before and after it is mined."""
        manager, name = make_manager(regtest), "lost journal"
        first = manager.anchor(commitment_of(name))["bitcoin"].receipt
        assert first is not None
        for base in ("second", "third"):
            again = make_manager(regtest, base).anchor(commitment_of(name))["bitcoin"].receipt
            assert again is not None
            assert again.reference == first.reference
            regtest.mine(1)
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_a_reorganisation_is_followed(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        manager, name = make_manager(regtest, finality=3), "reorganised"
        manager.anchor(commitment_of(name))
        [block] = regtest.mine(1)
        manager.flush()
        assert state_of(manager, name)[0] is JournalState.INCLUDED
        regtest.rpc("invalidateblock", block)
        manager.flush()
        assert state_of(manager, name)[0] is JournalState.SUBMITTED
        regtest.mine(3)
        assert manager.flush() == []
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_an_answer_that_is_lost_is_not_sent_twice(self, regtest: BitcoinNode, make_manager: MakeManager) -> None:
        """F05: the node took it, and the connection broke before it could say so."""
        name = "lost answer"
        with FaultServer(forward_to(regtest.url)) as server:
            server.plan = lambda request: "forward-then-reset" if request.call == "sendrawtransaction" else None
            outcome = make_manager(regtest, rpc_url=server.url).anchor(commitment_of(name))["bitcoin"]
            assert server.fired["forward-then-reset"] == 1
        assert outcome.error is None
        assert outcome.receipt is not None
        regtest.mine(1)
        assert count_anchors(regtest, commitment_of(name)) == 1

    def test_a_node_that_is_killed_loses_nothing(self, new_bitcoind: MakeNode, make_manager: MakeManager) -> None:
        """F23: killed right after it took the transaction; then the same bytes, or its own copy, go on."""
        node = new_bitcoind()
        manager, name = make_manager(node), "killed"
        assert manager.anchor(commitment_of(name))["bitcoin"].error is None
        node.kill()
        manager.flush()
        assert state_of(manager, name)[0] is JournalState.SUBMITTED
        node.start()
        manager.flush()
        node.mine(1)
        assert manager.flush() == []
        assert count_anchors(node, commitment_of(name)) == 1
