# SPDX-License-Identifier: MIT
"""Verifying on a real node: stale blocks, conflicts, forgeries, foreign chains, lying nodes (A07, A08, A44 to A48)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from btc.forging import forged_receipt
from btc.support import (
    MakeDriver,
    MakeNode,
    anchor,
    commitment_of,
    conflicting,
    count_anchors,
    mine_only,
    pay,
    restart,
)
from fault_modes import Reply, Request
from faulty import FaultServer, forward_to

from mrv_backends_btc import wallet
from mrv_backends_btc.driver import BitcoinDriver
from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendError,
    BackendUnavailableError,
    FormatError,
    MrvError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import NO_METADATA, ReceiptState
from mrv_core.testing.conformance import altered
from mrv_devnet.nodes import BitcoinNode


@pytest.fixture(autouse=True)
def _released(regtest: BitcoinNode) -> None:
    """What the test before has prepared in a folder of its own, and never sent, does not hold up this one."""
    regtest.wallet_rpc("miner", "lockunspent", True)


class TestEvidence:
    @pytest.mark.parametrize("others", [0, 1, 2, 4])
    def test_holds_in_blocks_of_any_size(self, driver: BitcoinDriver, regtest: BitcoinNode, others: int) -> None:
        """The node's own check of its own proof agrees, and so does the node's list of the block's transactions."""
        commitment = commitment_of(f"among {others}")
        for _ in range(others):
            regtest.wallet_rpc("miner", "send", [{"data": "00"}], None, "unset", 5)
        receipt = anchor(driver, regtest, commitment)
        evidence = receipt.evidence
        block = regtest.rpc("getblock", evidence["block_hash"], 1)
        assert block["tx"][evidence["transaction_index"]] == receipt.reference
        assert (block["height"], block["time"]) == (evidence["height"], int(receipt.block_time.timestamp()))
        assert regtest.rpc("getblockheader", evidence["block_hash"], False) == evidence["header"]
        verified = driver.verify(receipt, commitment)
        assert (verified.state, verified.confirmations) == (ReceiptState.FINAL, 1)
        assert verified.facts["block_height"] == block["height"]

    def test_holds_no_witness(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        regtest.create_wallet("segwit")
        address = regtest.wallet_rpc("segwit", "getnewaddress", "", "bech32")
        regtest.wallet_rpc("miner", "send", [{address: 0.01}], None, "unset", 10)
        regtest.mine(1)
        driver = make_driver(regtest, wallet="segwit")
        receipt = anchor(driver, regtest, commitment_of("segwit"))
        raw = regtest.rpc("getrawtransaction", receipt.reference, False, receipt.evidence["block_hash"])
        assert raw[8:12] == "0001", "the transaction itself has a witness"
        assert receipt.evidence["transaction"][8:12] != "0001"
        assert driver.verify(receipt, receipt.commitment).confirmations == 1

    def test_final_by_depth(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        driver = make_driver(regtest, finality=3)
        receipt = anchor(driver, regtest, commitment_of("depth"))
        states = []
        for _ in range(3):
            states.append((driver.upgrade(receipt).state, driver.verify(receipt, receipt.commitment).state))
            regtest.mine(1)
        assert states == [(ReceiptState.INCLUDED,) * 2] * 2 + [(ReceiptState.FINAL,) * 2]

    def test_time_is_the_blocks_and_said_to_be_rough(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        verified = driver.verify(anchor(driver, regtest, commitment_of("time")), commitment_of("time"))
        assert "day" in verified.facts["block_time_accuracy"]
        assert any("two hours" in trust for trust in verified.trusts)
        assert any("Who sent" in trust for trust in verified.trusts)


class TestReorganisations:
    def test_a_stale_block_is_not_found(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        """A08: the node still proves the transaction in the block that left the chain; that proves nothing."""
        receipt = anchor(driver, regtest, commitment_of("stale"))
        block = receipt.evidence["block_hash"]
        regtest.rpc("invalidateblock", block)
        assert regtest.rpc("gettxoutproof", [receipt.reference], block)
        with pytest.raises(AnchorNotFoundError, match="not in the chain") as failure:
            driver.verify(receipt, receipt.commitment)
        assert "mrv flush" in str(failure.value.hint)
        assert driver.upgrade(receipt).state is ReceiptState.PENDING
        regtest.mine(1)
        moved = driver.upgrade(receipt)
        assert moved.evidence["block_hash"] != block
        assert driver.verify(moved, receipt.commitment).confirmations == 1
        with pytest.raises(AnchorNotFoundError):
            driver.verify(receipt, receipt.commitment)
        assert count_anchors(regtest, receipt.commitment) == 1

    def test_out_of_the_mempool_as_well(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        """A45, F15: the same bytes bring it back, as often as it takes."""
        node = new_bitcoind(options=("-persistmempool=0", "-walletbroadcast=0"))
        driver = make_driver(node)
        prepared = driver.prepare(commitment_of("evicted"), NO_METADATA)
        receipt = driver.submit(prepared)
        restart(node, "-persistmempool=0", "-walletbroadcast=0")
        assert node.rpc("getrawmempool") == []
        for call in (lambda: driver.upgrade(receipt), lambda: driver.lookup(prepared.reference)):
            with pytest.raises(AnchorNotFoundError):
                call()
        with pytest.raises(BackendUnavailableError, match="is in no block and not in the mempool") as failure:
            driver.find(prepared.commitment, NO_METADATA)
        assert "abandontransaction" in str(failure.value.hint)
        assert driver.submit(prepared).reference == prepared.reference
        node.mine(1)
        assert driver.upgrade(receipt).state is ReceiptState.FINAL
        assert count_anchors(node, prepared.commitment) == 1

    def test_what_may_still_be_included_is_not_said_to_be_absent(
        self, regtest: BitcoinNode, make_driver: MakeDriver
    ) -> None:
        """A journal was lost while something else took the place of its anchor, and may leave it again."""
        driver = make_driver(regtest, finality=3)
        prepared = driver.prepare(commitment_of("squeezed out"), NO_METADATA)
        driver.submit(prepared)
        rival = conflicting(regtest, prepared.payload_hex)
        regtest.rpc("sendrawtransaction", rival)
        with pytest.raises(BackendUnavailableError, match="in no block and not in the mempool"):
            driver.find(prepared.commitment, NO_METADATA)
        for depth in (1, 2):
            regtest.mine(1)
            with pytest.raises(BackendUnavailableError, match=f"spent otherwise, {depth} blocks deep") as failure:
                driver.find(prepared.commitment, NO_METADATA)
            assert failure.value.retryable
        regtest.mine(1)
        assert driver.find(prepared.commitment, NO_METADATA) is None
        assert count_anchors(regtest, prepared.commitment) == 0

    def test_given_up_is_not_found(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        node = new_bitcoind(options=("-persistmempool=0", "-walletbroadcast=0"))
        driver = make_driver(node)
        receipt = driver.submit(driver.prepare(commitment_of("given up"), NO_METADATA))
        restart(node, "-persistmempool=0", "-walletbroadcast=0")
        node.wallet_rpc("miner", "abandontransaction", receipt.reference)
        assert driver.find(receipt.commitment, NO_METADATA) is None


class TestSearching:
    def test_a_wallet_that_is_still_looking_finds_nothing_absent(
        self, lied_to: Callable[..., BitcoinDriver], driver: BitcoinDriver, regtest: BitcoinNode
    ) -> None:
        """One that was put back from a copy reads the chain for minutes, and does not list what it has not met."""
        receipt = anchor(driver, regtest, commitment_of("rescanned"))

        def scanning(method: str, _: Any, result: Any) -> Any:
            changes = {"getwalletinfo": {"scanning": {"duration": 1, "progress": 0.5}}}
            return {**result, **changes[method]} if method in changes else {} if method == "gettransaction" else result

        with pytest.raises(BackendUnavailableError, match="still looking for its transactions") as failure:
            lied_to(scanning).find(receipt.commitment, NO_METADATA)
        assert failure.value.retryable
        assert "scanning" in str(failure.value.hint)

    def test_a_wallet_of_many_pages(
        self, regtest: BitcoinNode, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The oldest anchor is on the last page; a wallet that never ends is given up."""
        pay(regtest, "busy", 0.01)
        driver = make_driver(regtest, wallet="busy")
        receipts = [anchor(driver, regtest, commitment_of(f"page {number}")) for number in range(4)]
        monkeypatch.setattr(wallet, "_PAGE", 2)
        for receipt in receipts:
            found = make_driver(regtest, wallet="busy").find(receipt.commitment, NO_METADATA)
            assert found is not None
            assert found.reference == receipt.reference
        assert driver.find(commitment_of("on no page"), NO_METADATA) is None
        monkeypatch.setattr(wallet, "_MAX_LISTED", 4)
        with pytest.raises(BackendError, match="has more than 4 transactions to search"):
            driver.find(commitment_of("on no page"), NO_METADATA)

    def test_reads_each_transaction_of_the_wallet_once(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """Else the thousandth anchor asks a thousand times for what the one before has asked for."""
        for number in range(5):
            regtest.wallet_rpc("miner", "send", [{"data": f"{number:02}"}], None, "unset", 5)
        with FaultServer(forward_to(regtest.url)) as server:
            searching = make_driver(regtest, rpc_url=server.url)
            assert searching.find(commitment_of("never"), NO_METADATA) is None
            first = server.calls().count("gettransaction")
            assert searching.find(commitment_of("never either"), NO_METADATA) is None
            assert first >= 5
            assert server.calls().count("gettransaction") == first


class TestConflicts:
    def test_is_final_only_when_buried(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """A44, F12: something else spends the same coins and is mined."""
        driver = make_driver(regtest, finality=3)
        prepared = driver.prepare(commitment_of("conflict"), NO_METADATA)
        receipt = driver.submit(prepared)
        block = mine_only(regtest, conflicting(regtest, prepared.payload_hex))
        for depth in (1, 2):
            for call in (lambda: driver.upgrade(receipt), lambda: driver.submit(prepared)):
                with pytest.raises(BackendUnavailableError, match=f"spent otherwise, {depth} blocks deep") as failure:
                    call()
                assert failure.value.retryable
            regtest.mine(1)
        for call in (lambda: driver.upgrade(receipt), lambda: driver.submit(prepared)):
            with pytest.raises(AnchorConflictError, match="3 blocks deep"):
                call()
        with pytest.raises(AnchorNotFoundError):
            driver.verify(receipt, receipt.commitment)
        regtest.rpc("invalidateblock", block)
        with pytest.raises(BackendUnavailableError, match="which came first"):
            driver.submit(prepared)  # back in the mempool, the conflict is no longer final, and not outbid either

    def test_of_what_it_spends_the_change_of(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """An anchor spends the change of an earlier one, and that one is thrown out by a conflict."""
        pay(regtest, "onecoin", 0.01)
        driver = make_driver(regtest, wallet="onecoin")
        first = driver.prepare(commitment_of("parent"), NO_METADATA)
        driver.submit(first)
        second = driver.prepare(commitment_of("child"), NO_METADATA)
        spent = regtest.rpc("decoderawtransaction", second.payload_hex)["vin"]
        assert [each["txid"] for each in spent] == [first.reference]
        mine_only(regtest, conflicting(regtest, first.payload_hex, wallet="onecoin"))
        with pytest.raises(AnchorConflictError):
            driver.submit(second)
        anew = anchor(driver, regtest, second.commitment)
        assert driver.verify(anew, second.commitment).confirmations == 1


class TestWhatIsNotThere:
    def test_without_an_index_nobody_knows(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """A48: a node without -txindex cannot say that a transaction of others is not in the chain."""
        receipt = anchor(make_driver(regtest), regtest, commitment_of("index"))
        reader = make_driver(regtest, name="reader", wallet=None)
        with pytest.raises(BackendError, match="no index of transactions") as failure:
            reader.lookup(receipt.reference)
        assert "-txindex=1" in str(failure.value.hint)
        assert not isinstance(failure.value, BackendUnavailableError)
        bare = altered(receipt, state=ReceiptState.PENDING, block_time=None, evidence={})
        with pytest.raises(BackendError, match="no index of transactions"):
            reader.verify(bare, receipt.commitment)
        assert reader.verify(receipt, receipt.commitment).confirmations == 1, "a receipt has its block's hash"
        assert reader.upgrade(receipt) == receipt

    def test_with_an_index_it_is_known(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        node = new_bitcoind(options=("-txindex=1",))
        receipt = anchor(make_driver(node), node, commitment_of("index"))
        reader = make_driver(node, name="reader", wallet=None)
        assert reader.lookup(receipt.reference).evidence == receipt.evidence
        with pytest.raises(AnchorNotFoundError):
            reader.lookup("ab" * 32)
        bare = altered(receipt, state=ReceiptState.PENDING, block_time=None, evidence={})
        assert reader.verify(bare, receipt.commitment).confirmations == 1

    def test_a_payment_is_no_anchor(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        txid = regtest.wallet_rpc("miner", "send", [{"data": "4d525631"}], None, "unset", 5)["txid"]
        with pytest.raises(AnchorNotFoundError, match="no commitment of ours"):
            driver.lookup(txid)

    @pytest.mark.parametrize("reference", ["", "ab" * 31, "AB" * 32, "ab" * 33, "0x" + "ab" * 32, "\n" + "ab" * 32])
    def test_what_is_no_transaction_id(self, driver: BitcoinDriver, reference: str) -> None:
        with pytest.raises(FormatError, match="no transaction id"):
            driver.lookup(reference)


class TestAnchorsOfOthers:
    """A46: anyone can put our tag, and our root, into a transaction of their own."""

    @pytest.fixture
    def indexed(self, new_bitcoind: MakeNode) -> BitcoinNode:
        """A node that finds the transactions of everyone."""
        node = new_bitcoind(options=("-txindex=1",))
        pay(node, "stranger", 0.01)
        return node

    def _anchored_by_a_stranger(self, node: BitcoinNode, commitment: Digest) -> str:
        data = [{"data": f"4d52563112{commitment.hex}"}]
        sent = node.wallet_rpc("stranger", "send", data, None, "unset", 10)
        node.mine(1)
        return str(sent["txid"])

    def test_prove_the_commitment_and_no_submitter(self, indexed: BitcoinNode, make_driver: MakeDriver) -> None:
        driver, commitment = make_driver(indexed), commitment_of("copied root")
        receipt = driver.lookup(self._anchored_by_a_stranger(indexed, commitment))
        assert driver.find(commitment, NO_METADATA) is None, "it is not ours to adopt"
        verified = driver.verify(receipt, commitment)
        assert verified.state is ReceiptState.FINAL
        assert any("Who sent the transaction is not shown" in trust for trust in verified.trusts)

    def test_our_tag_with_another_root_is_no_anchor_of_ours(
        self, indexed: BitcoinNode, make_driver: MakeDriver
    ) -> None:
        driver, mine = make_driver(indexed), commitment_of("mine")
        ours = anchor(driver, indexed, mine)
        theirs = driver.lookup(self._anchored_by_a_stranger(indexed, commitment_of("theirs")))
        parts = {"reference": theirs.reference, "block_time": theirs.block_time, "evidence": theirs.evidence}
        for forged in (altered(theirs, commitment=mine), altered(ours, **parts)):
            with pytest.raises(VerificationError):
                driver.verify(forged, mine)


class TestForgeries:
    def test_a_block_ground_at_home_is_not_in_the_chain(self, driver: BitcoinDriver) -> None:
        """A07: a header with the right root, a time in 2010 and the work of a moment, on a chain without a floor."""
        receipt = forged_receipt(commitment_of("forged"))
        with pytest.raises(AnchorNotFoundError, match="not in the chain"):
            driver.verify(receipt, receipt.commitment)
        with pytest.raises(AnchorNotFoundError):
            driver.upgrade(receipt)

    def test_a_floor_refuses_it_before_anyone_is_asked(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        receipt = forged_receipt(commitment_of("forged"))
        with pytest.raises(VerificationError, match="anyone could have made it"):
            make_driver(regtest, min_work=40).verify(receipt, receipt.commitment)

    @pytest.mark.parametrize("chain", ["main", "test", "testnet4", "signet"])
    def test_a_receipt_of_another_chain(self, driver: BitcoinDriver, regtest: BitcoinNode, chain: str) -> None:
        """A47: an honest receipt that claims another chain, and a forged one of another chain."""
        honest = anchor(driver, regtest, commitment_of("honest"))
        forged = forged_receipt(commitment_of("forged"), chain)
        for receipt in (altered(honest, network_id=forged.network_id), forged):
            with pytest.raises(VerificationError, match="claims network_id"):
                driver.verify(receipt, receipt.commitment)


Change = Callable[[Any], Any]


class TestLyingNodes:
    """A node that answers everything honestly but one method: no lie makes a wrong receipt valid."""

    @pytest.fixture
    def lie(self, lied_to: Callable[..., BitcoinDriver]) -> Callable[[str, Change], BitcoinDriver]:
        def start(method: str, change: Change) -> BitcoinDriver:
            return lied_to(lambda asked, _, result: change(result) if asked == method else result)

        return start

    @pytest.mark.parametrize(
        ("method", "change", "expected"),
        [
            ("getblockchaininfo", lambda r: {**r, "chain": "main"}, BackendError),
            ("getblockchaininfo", lambda r: {**r, "blocks": "many"}, BackendError),
            ("getblockhash", lambda r: "00" * 32, BackendError),
            ("getblockheader", lambda r: {**r, "hash": "ab" * 32}, BackendError),
            ("getblockheader", lambda r: {**r, "height": r["height"] + 1}, VerificationError),
            ("getblockheader", lambda r: {**r, "confirmations": -1}, AnchorNotFoundError),
            ("getblockheader", lambda r: {**r, "confirmations": True}, BackendError),
            ("getblockheader", lambda r: {**r, "nTx": 1}, VerificationError),
            ("getblockheader", lambda r: {**r, "nTx": r["nTx"] + 4}, VerificationError),
            ("getblockheader", lambda r: None, BackendError),
            ("getblockheader", lambda r: [], BackendError),
        ],
    )
    def test_about_the_block_of_a_receipt(
        self, lie: Any, driver: BitcoinDriver, regtest: BitcoinNode, method: str, change: Change, expected: type
    ) -> None:
        receipt = anchor(driver, regtest, commitment_of("lie"))
        with pytest.raises(expected):
            lie(method, change).verify(receipt, receipt.commitment)

    @pytest.mark.parametrize(
        ("method", "change"),
        [
            ("gettransaction", lambda r: {**r, "hex": r["hex"][:-2] + "01"}),
            ("gettransaction", lambda r: {**r, "blockhash": "ab" * 32}),
            ("gettransaction", lambda r: {**r, "confirmations": 1.5}),
            ("getblock", lambda r: {**r, "tx": []}),
            ("getblock", lambda r: {**r, "tx": [*r["tx"][1:], r["tx"][0]]}),
            ("gettxoutproof", lambda r: r[:-2] + "ff"),
            ("gettxoutproof", lambda r: r[:160] + "00" * 4 + r[168:]),
            ("gettxoutproof", lambda r: "zz"),
            ("gettxoutproof", lambda r: 7),
            ("getrawtransaction", lambda r: r[:-2] + "01"),
            ("getrawtransaction", lambda r: {"hex": r}),
        ],
    )
    def test_while_evidence_is_collected(
        self, lie: Any, driver: BitcoinDriver, regtest: BitcoinNode, method: str, change: Change
    ) -> None:
        receipt = anchor(driver, regtest, commitment_of("collected"))
        liar = lie(method, change)
        with pytest.raises((BackendError, VerificationError)) as failure:
            liar.lookup(receipt.reference)
        assert isinstance(failure.value, MrvError)

    @pytest.mark.parametrize(
        ("method", "change"),
        [
            ("getblockchaininfo", lambda secret, r: {**r, "chain": secret}),
            ("getblockhash", lambda secret, r: secret),
            ("testmempoolaccept", lambda secret, r: [{**r[0], "allowed": False, "reject-reason": f"no {secret}"}]),
        ],
    )
    def test_that_repeats_our_password(self, lie: Any, regtest: BitcoinNode, method: str, change: Any) -> None:
        liar = lie(method, lambda result: change(regtest.password, result))
        with pytest.raises(BackendError) as failure:
            liar.prepare(commitment_of("echoed"), NO_METADATA)
        assert regtest.password[:16] not in f"{failure.value!r} {failure.value.hint}"
        assert "***" in failure.value.message

    def test_that_gives_another_transaction(self, lie: Any, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        mine, theirs = (anchor(driver, regtest, commitment_of(text)) for text in ("mine", "theirs"))
        raw = regtest.wallet_rpc("miner", "gettransaction", theirs.reference)["hex"]
        with pytest.raises(BackendError):
            lie("gettransaction", lambda r: {**r, "hex": raw}).lookup(mine.reference)

    @pytest.mark.parametrize(
        ("method", "change"),
        [
            ("walletcreatefundedpsbt", lambda r: {**r, "psbt": "cHNidP8A"}),
            ("walletcreatefundedpsbt", lambda r: {**r, "psbt": "%%%"}),
            ("walletcreatefundedpsbt", lambda r: {**r, "fee": 0.5}),
            ("walletcreatefundedpsbt", lambda r: {**r, "fee": 0.000000001}),
            ("walletprocesspsbt", lambda r: {**r, "complete": False}),
            ("finalizepsbt", lambda r: {**r, "hex": r["hex"][:-2] + "01" * 3}),
            ("finalizepsbt", lambda r: {"complete": True}),
            ("testmempoolaccept", lambda r: []),
            ("testmempoolaccept", lambda r: {}),
            ("getmempoolinfo", lambda r: {**r, "mempoolminfee": "0"}),
            ("estimatesmartfee", lambda r: {"feerate": -1.0, "blocks": 2}),
            ("getwalletinfo", lambda r: {}),
        ],
    )
    def test_while_an_anchor_is_prepared(self, lie: Any, regtest: BitcoinNode, method: str, change: Change) -> None:
        liar = lie(method, change)
        try:
            prepared = liar.prepare(commitment_of("prepared"), NO_METADATA)
        except BackendError:
            return
        assert method == "estimatesmartfee", "a nonsense estimate is below the floor; every other lie is noticed"
        assert prepared.details["fee_sat"] >= prepared.details["vsize"]

    def test_a_node_that_pays_somebody_else_is_not_signed_for(
        self, lie: Any, regtest: BitcoinNode, driver: BitcoinDriver
    ) -> None:
        """The funded transaction has another commitment than the one asked for."""
        data = f"4d52563112{commitment_of('other').hex}"
        other = regtest.wallet_rpc("miner", "walletcreatefundedpsbt", [], [{"data": data}], 0, {"fee_rate": 5})
        liar = lie("walletcreatefundedpsbt", lambda r: other)
        with pytest.raises(BackendError, match="unexpected form"):
            liar.prepare(commitment_of("asked for"), NO_METADATA)

    def test_a_success_that_sent_nothing_is_noticed(
        self, driver: BitcoinDriver, regtest: BitcoinNode, make_driver: MakeDriver
    ) -> None:
        prepared = driver.prepare(commitment_of("swallowed"), NO_METADATA)
        forward = forward_to(regtest.url)

        def swallow(asked: Request) -> Reply:
            if asked.call != "sendrawtransaction":
                return forward(asked)
            return Reply.json({"result": prepared.reference, "error": None, "id": json.loads(asked.body)["id"]})

        with FaultServer(swallow) as server:
            liar = make_driver(regtest, name="lied to", rpc_url=server.url)
            with pytest.raises(BackendUnavailableError, match="does not have it"):
                liar.submit(prepared)
            assert "sendrawtransaction" in server.calls()
        assert count_anchors(regtest, prepared.commitment) == 0
