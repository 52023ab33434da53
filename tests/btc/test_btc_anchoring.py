# SPDX-License-Identifier: MIT
"""Making an anchor on a real node: what it looks like, what it costs, and why it cannot be made (A40 to A42)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
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

from mrv_backends_btc.driver import BitcoinDriver
from mrv_core.errors import (
    AnchorConflictError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    SubmissionRejectedError,
)
from mrv_core.models import NO_METADATA, ReceiptState
from mrv_devnet.nodes import BitcoinNode

SATOSHIS = 100_000_000


@pytest.fixture(autouse=True)
def _released(regtest: BitcoinNode) -> None:
    """What the test before has prepared in a folder of its own, and never sent, does not hold up this one."""
    regtest.wallet_rpc("miner", "lockunspent", True)
    regtest.mine(1)


def decoded(node: BitcoinNode, raw: str) -> dict:
    return node.rpc("decoderawtransaction", raw)


class TestTheTransaction:
    def test_holds_37_bytes_and_pays_nobody_else(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        commitment = commitment_of("bytes")
        prepared = driver.prepare(commitment, {"run": "r1"})
        transaction = decoded(regtest, prepared.payload_hex)
        data = [out for out in transaction["vout"] if out["scriptPubKey"]["type"] == "nulldata"]
        assert [out["scriptPubKey"]["hex"] for out in data] == [f"6a254d52563112{commitment.hex}"]
        assert data[0]["value"] == 0
        change = [out for out in transaction["vout"] if out not in data]
        assert len(change) == 1
        assert regtest.wallet_rpc("miner", "getaddressinfo", change[0]["scriptPubKey"]["address"])["ismine"]
        assert transaction["txid"] == prepared.reference
        assert transaction["vsize"] == prepared.details["vsize"]
        assert all(each["sequence"] < 0xFFFFFFFE for each in transaction["vin"]), "it must be replaceable"

    def test_nothing_is_sent_before_submit(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        prepared = driver.prepare(commitment_of("not sent"), NO_METADATA)
        assert prepared.reference not in regtest.rpc("getrawmempool")
        receipt = driver.submit(prepared)
        assert receipt.state is ReceiptState.PENDING
        assert prepared.reference in regtest.rpc("getrawmempool")

    def test_coins_that_just_suffice(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """A41: what is too small for a change output goes to the fee, where the node relays what then is left."""
        pay(regtest, "exact", 0.000007)
        driver = make_driver(regtest, wallet="exact")
        if "Knots" in regtest.rpc("getnetworkinfo")["subversion"]:  # wants a second output, which is not to be had
            with pytest.raises(BackendError, match="cannot pay for an anchor"):
                driver.prepare(commitment_of("exact"), NO_METADATA)
            pay(regtest, "ample", 0.0001)
            driver = make_driver(regtest, wallet="ample")
        prepared = driver.prepare(commitment_of("exact"), NO_METADATA)
        outputs = decoded(regtest, prepared.payload_hex)["vout"]
        assert all(out["value"] == 0 or out["value"] * SATOSHIS >= 294 for out in outputs), "no dust"
        driver.submit(prepared)
        regtest.mine(1)
        assert driver.verify(driver.lookup(prepared.reference), prepared.commitment).confirmations == 1

    def test_a_coin_that_pays_for_exactly_an_anchor_beside_others(
        self, regtest: BitcoinNode, make_driver: MakeDriver
    ) -> None:
        """The wallet likes to spend it, since it needs no change; a node that relays no data alone gets an output."""
        pay(regtest, "mixed", 0.000007)
        pay(regtest, "mixed", 1)
        driver = make_driver(regtest, wallet="mixed", fee_rate=3)
        prepared = driver.prepare(commitment_of("mixed"), NO_METADATA)
        if "Knots" in regtest.rpc("getnetworkinfo")["subversion"]:
            values = [round(out["value"] * SATOSHIS) for out in decoded(regtest, prepared.payload_hex)["vout"]]
            assert 1000 in values
        driver.submit(prepared)
        regtest.mine(1)
        assert driver.verify(driver.lookup(prepared.reference), prepared.commitment).confirmations == 1


class TestFees:
    @pytest.mark.parametrize(("setting", "rate"), [(7, 7), (2.5, 2.5), ("auto", 1)])
    def test_are_what_was_asked_for(
        self, regtest: BitcoinNode, make_driver: MakeDriver, setting: object, rate: float
    ) -> None:
        """Regtest has no estimate, so `auto` is the floor there."""
        prepared = make_driver(regtest, fee_rate=setting).prepare(commitment_of("rate"), NO_METADATA)
        transaction = decoded(regtest, prepared.payload_hex)
        spent = sum(self._value(regtest, each) for each in transaction["vin"])
        fee = spent - sum(round(out["value"] * SATOSHIS) for out in transaction["vout"])
        assert fee == prepared.details["fee_sat"]
        assert rate * transaction["vsize"] <= fee <= rate * (transaction["vsize"] + 2) + 1

    def _value(self, node: BitcoinNode, each: dict) -> int:
        made = node.wallet_rpc("miner", "gettransaction", each["txid"], True, True)["decoded"]
        return round(made["vout"][each["vout"]]["value"] * SATOSHIS)

    def test_floor_and_cap_bound_what_is_wanted(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        floor = make_driver(regtest, min_fee_rate=9).prepare(commitment_of("floor"), NO_METADATA)
        assert 9 <= floor.details["fee_sat"] / floor.details["vsize"] < 9.2

    def test_a_node_that_asks_for_more_than_the_cap_is_waited_for(
        self, new_bitcoind: MakeNode, make_driver: MakeDriver
    ) -> None:
        """F13: never above the cap, whatever the network asks for."""
        node = new_bitcoind(options=("-minrelaytxfee=0.01",))
        with pytest.raises(BackendUnavailableError, match=r"nothing below 1000 sat/vB.*max_fee_rate is 200") as failure:
            make_driver(node).prepare(commitment_of("spike"), NO_METADATA)
        assert failure.value.retryable
        dear = make_driver(node, max_fee_rate=1000)
        receipt = anchor(dear, node, commitment_of("spike"))
        assert receipt.state is ReceiptState.FINAL

    def test_more_than_the_cap_is_not_paid_for_poor_parents_either(
        self, new_bitcoind: MakeNode, make_driver: MakeDriver
    ) -> None:
        """The only coins are the change of something that pays too little: the wallet would pay for both."""
        node = new_bitcoind()
        pay(node, "poor", 0.1)
        poor = node.wallet_rpc("poor", "getnewaddress")
        for _ in range(3):
            balance = Decimal(str(node.wallet_rpc("poor", "getbalance")))
            node.wallet_rpc("poor", "send", [{poor: f"{balance - Decimal('0.00001'):.8f}"}], None, "unset", 1)
        driver = make_driver(node, wallet="poor", fee_rate=20, max_fee_rate=20)
        with pytest.raises(BackendError, match="more than max_fee_rate 20 allows"):
            driver.prepare(commitment_of("poor"), NO_METADATA)
        assert node.wallet_rpc("poor", "listlockunspent") == []


class TestPolicies:
    """A40: what a node's policy on data outputs says is known before anything is sent."""

    @pytest.mark.parametrize("option", ["-datacarriersize=42", "-datacarriersize=40", "-datacarriersize=83"])
    def test_37_bytes_pass(self, new_bitcoind: MakeNode, make_driver: MakeDriver, option: str) -> None:
        node = new_bitcoind(options=(option,))
        receipt = anchor(make_driver(node), node, commitment_of("policy"))
        assert receipt.state is ReceiptState.FINAL

    def test_no_data_at_all_is_said_clearly(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        node = new_bitcoind(options=("-datacarrier=0",))
        driver = make_driver(node)
        with pytest.raises(BackendError, match="relays no outputs with data") as failure:
            driver.prepare(commitment_of("policy"), NO_METADATA)
        assert "-datacarrier" in str(failure.value.hint)
        assert not failure.value.retryable
        assert node.rpc("getrawmempool") == []
        assert node.wallet_rpc("miner", "listlockunspent") == [], "what it would have spent is free again"


class TestWallets:
    def test_an_empty_one(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        regtest.create_wallet("empty")
        driver = make_driver(regtest, wallet="empty")
        with pytest.raises(BackendError, match=r"'empty' cannot pay.*can spend 0 sat") as failure:
            driver.prepare(commitment_of("empty"), NO_METADATA)
        assert "getnewaddress" in str(failure.value.hint)
        status = driver.status()
        assert not status.ready
        assert "can spend 0 sat" in status.detail

    def test_immature_coins_are_named(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        node = new_bitcoind(fund=False)
        node.create_wallet("miner")
        node.mine(1)
        with pytest.raises(BackendError, match="5000000000 sat are not spendable yet"):
            make_driver(node).prepare(commitment_of("immature"), NO_METADATA)

    def test_one_that_is_not_there(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        driver = make_driver(regtest, wallet="nobody's")
        with pytest.raises(BackendError, match="has no wallet") as failure:
            driver.prepare(commitment_of("none"), NO_METADATA)
        assert "createwallet" in str(failure.value.hint)
        assert "has no wallet" in driver.status().detail

    def test_one_that_is_not_loaded_is_loaded(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        pay(regtest, "sleeping-one", 0.01)
        driver = make_driver(regtest, wallet="sleeping-one")
        prepared = driver.prepare(commitment_of("sleeping"), NO_METADATA)
        regtest.rpc("unloadwallet", "sleeping-one")
        assert driver.submit(prepared).reference == prepared.reference
        assert "sleeping-one" in regtest.rpc("listwallets")

    def test_a_locked_one(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        regtest.rpc("createwallet", "locked", False, False, "a passphrase")
        address = regtest.wallet_rpc("locked", "getnewaddress")
        regtest.wallet_rpc("miner", "send", [{address: 0.01}], None, "unset", 10)
        regtest.mine(1)
        driver = make_driver(regtest, wallet="locked")
        with pytest.raises(BackendError, match="'locked' is locked") as failure:
            driver.prepare(commitment_of("locked"), NO_METADATA)
        assert "walletpassphrase" in str(failure.value.hint)
        assert "is locked" in driver.status().detail
        regtest.wallet_rpc("locked", "walletpassphrase", "a passphrase", 600)
        assert driver.prepare(commitment_of("locked"), NO_METADATA)

    def test_one_without_keys(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        regtest.rpc("createwallet", "watching", True)
        with pytest.raises(BackendError, match="has no private keys"):
            make_driver(regtest, wallet="watching").prepare(commitment_of("watching"), NO_METADATA)

    def test_none_at_all_only_verifies(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        receipt = anchor(make_driver(regtest), regtest, commitment_of("read"))
        reader = make_driver(regtest, wallet=None)
        with pytest.raises(ConfigurationError, match="only verifies"):
            reader.prepare(commitment_of("nobody pays"), NO_METADATA)
        assert not reader.capabilities.replaces
        assert not reader.capabilities.searches
        assert (reader.status().ready, "verifies only" in reader.status().detail) == (False, True)
        assert reader.verify(receipt, receipt.commitment).confirmations == 1


class TestReservations:
    def test_two_processes_do_not_spend_the_same(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """F18, two journals on one wallet: each prepared anchor keeps its coins until it is sent."""
        pay(regtest, "shared", 0.01, times=3)
        drivers = [make_driver(regtest, name=f"journal-{number}", wallet="shared") for number in range(3)]
        commitments = [commitment_of(f"shared {number}") for number in range(3)]
        prepared = [driver.prepare(each, NO_METADATA) for driver, each in zip(drivers, commitments, strict=True)]
        with pytest.raises(BackendUnavailableError, match="3 outputs are locked") as failure:
            make_driver(regtest, name="too late", wallet="shared").prepare(commitment_of("late"), NO_METADATA)
        assert failure.value.retryable
        for driver, each in zip(drivers, prepared, strict=True):
            driver.submit(each)
        regtest.mine(1)
        assert [count_anchors(regtest, each) for each in commitments] == [1, 1, 1]
        assert regtest.wallet_rpc("shared", "listlockunspent") == []

    def test_what_a_dead_process_reserved_is_used_by_the_next(
        self, regtest: BitcoinNode, make_driver: MakeDriver
    ) -> None:
        pay(regtest, "single", 0.01)
        make_driver(regtest, wallet="single").prepare(commitment_of("died"), NO_METADATA)
        assert len(regtest.wallet_rpc("single", "listlockunspent")) == 1
        receipt = anchor(make_driver(regtest, wallet="single"), regtest, commitment_of("lives"))
        assert receipt.state is ReceiptState.FINAL
        assert count_anchors(regtest, commitment_of("died")) == 0

    def test_what_its_owner_locked_stays_locked(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        pay(regtest, "careful", 0.01)
        [coin] = regtest.wallet_rpc("careful", "listunspent")
        outpoint = {"txid": coin["txid"], "vout": coin["vout"]}
        regtest.wallet_rpc("careful", "lockunspent", False, [outpoint])
        for _ in range(2):
            with pytest.raises(BackendUnavailableError, match="1 outputs are locked"):
                make_driver(regtest, wallet="careful").prepare(commitment_of("careful"), NO_METADATA)
        assert regtest.wallet_rpc("careful", "listlockunspent") == [outpoint]

    def test_a_damaged_note_of_what_is_reserved_stops_nothing(
        self, regtest: BitcoinNode, make_driver: MakeDriver, tmp_path: Path
    ) -> None:
        driver = make_driver(regtest)
        driver.prepare(commitment_of("note"), NO_METADATA)
        note = tmp_path / "bitcoin" / "reserved.json"
        assert note.stat().st_mode & 0o777 == 0o600
        note.write_bytes(b"{")
        assert driver.prepare(commitment_of("note"), NO_METADATA)


class TestSubmitting:
    def test_twice_and_after_inclusion_is_one_anchor(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        """A42: error -27, already in the chain, is a success."""
        commitment = commitment_of("twice")
        prepared = driver.prepare(commitment, NO_METADATA)
        assert driver.submit(prepared) == driver.submit(prepared).model_copy(
            update={"submitted_at": driver.submit(prepared).submitted_at}
        )
        regtest.mine(1)
        assert driver.submit(prepared).state is ReceiptState.FINAL
        assert count_anchors(regtest, commitment) == 1

    def test_bytes_that_are_not_what_they_should_be_are_not_sent(
        self, driver: BitcoinDriver, regtest: BitcoinNode
    ) -> None:
        prepared = driver.prepare(commitment_of("mine"), NO_METADATA)
        other = driver.prepare(commitment_of("other"), NO_METADATA)
        before = regtest.rpc("getrawmempool")
        for changes in (
            {"payload_hex": "00"},
            {"payload_hex": "zz"},
            {"payload_hex": other.payload_hex},
            {"commitment": other.commitment},
            {"reference": other.reference},
        ):
            with pytest.raises(SubmissionRejectedError) as failure:
                driver.submit(prepared.model_copy(update=changes))
            assert not failure.value.retryable
        assert regtest.rpc("getrawmempool") == before

    def test_a_rival_in_the_mempool_is_neither_outbid_nor_a_reason_to_begin_anew(
        self, driver: BitcoinDriver, regtest: BitcoinNode
    ) -> None:
        prepared = driver.prepare(commitment_of("rival"), NO_METADATA)
        rival = conflicting(regtest, prepared.payload_hex)
        txid = regtest.rpc("sendrawtransaction", rival)
        with pytest.raises(BackendUnavailableError, match=f"also spent by {txid}") as failure:
            driver.submit(prepared)
        assert failure.value.retryable
        assert not isinstance(failure.value, SubmissionRejectedError)
        assert driver.replace(prepared, None) is None
        assert txid in regtest.rpc("getrawmempool")
        regtest.mine(1)

    def test_what_pays_more_than_a_lowered_cap_says_why_it_waits(
        self, regtest: BitcoinNode, make_driver: MakeDriver
    ) -> None:
        prepared = make_driver(regtest, fee_rate=50).prepare(commitment_of("lowered cap"), NO_METADATA)
        frugal = make_driver(regtest, max_fee_rate=10)
        with pytest.raises(SubmissionRejectedError) as failure:
            frugal.submit(prepared)
        assert failure.value.retryable
        assert "max_fee_rate" in str(failure.value.hint)
        assert frugal.replace(prepared, None) is None
        assert make_driver(regtest, max_fee_rate=60).submit(prepared).state is ReceiptState.PENDING

    def test_a_mempool_that_became_too_dear_rejects_for_now(
        self, new_bitcoind: MakeNode, make_driver: MakeDriver
    ) -> None:
        node = new_bitcoind()
        driver = make_driver(node)
        prepared = driver.prepare(commitment_of("dear"), NO_METADATA)
        restart(node, "-minrelaytxfee=0.0005")
        with pytest.raises(SubmissionRejectedError) as failure:
            driver.submit(prepared)
        assert failure.value.retryable
        replacement = driver.replace(prepared, None)
        assert replacement is not None
        assert driver.submit(replacement).state is ReceiptState.PENDING
        spends = [
            {(i["txid"], i["vout"]) for i in decoded(node, each.payload_hex)["vin"]} for each in (prepared, replacement)
        ]
        assert spends[0] <= spends[1], "only one of the two can ever be included"
        restart(node, "-minrelaytxfee=0.01")
        with pytest.raises(BackendUnavailableError, match="max_fee_rate is 200"):
            driver.replace(replacement, None)


class TestNodes:
    def test_another_chain(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        """A47: settings for the main chain, a node on regtest."""
        receipt = anchor(make_driver(regtest), regtest, commitment_of("chain"))
        driver = make_driver(regtest, network="main")
        calls = (
            lambda: driver.prepare(commitment_of("chain"), NO_METADATA),
            lambda: driver.lookup(receipt.reference),
            lambda: driver.find(receipt.commitment, NO_METADATA),
        )
        for call in calls:
            with pytest.raises(BackendError, match=r"is on the chain 'regtest'.*not on 'main'"):
                call()
        assert not driver.status().ready
        assert "is on the chain 'regtest'" in driver.status().detail

    def test_one_that_has_not_caught_up(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        """A node whose newest block is old downloads: it neither anchors nor says that anything is absent."""
        node = new_bitcoind(fund=False)
        node.create_wallet("miner")
        assert node.rpc("getblockchaininfo")["initialblockdownload"]
        driver = make_driver(node)
        with pytest.raises(BackendUnavailableError, match="still synchronising: it has 0 of 0 blocks") as failure:
            driver.prepare(commitment_of("early"), NO_METADATA)
        assert failure.value.retryable
        with pytest.raises(BackendUnavailableError, match="still synchronising"):
            driver.lookup("ab" * 32)
        assert "still synchronising" in driver.status().detail

    def test_one_that_is_down(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        """F23: killed and started again; the driver goes on with new connections."""
        node = new_bitcoind()
        driver = make_driver(node)
        receipt = anchor(driver, node, commitment_of("before"))
        node.stop()
        calls = (
            lambda: driver.prepare(commitment_of("down"), NO_METADATA),
            lambda: driver.verify(receipt, receipt.commitment),
            lambda: driver.upgrade(receipt),
            lambda: driver.lookup(receipt.reference),
        )
        for call in calls:
            with pytest.raises(BackendUnavailableError, match="refuses the connection") as failure:
                call()
            assert failure.value.retryable
        assert not driver.status().ready
        node.start()
        assert driver.verify(receipt, receipt.commitment).confirmations == 1
        node.kill()
        node.start()
        assert anchor(driver, node, commitment_of("after")).state is ReceiptState.FINAL

    def test_a_conflict_mined_elsewhere_is_seen(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        prepared = driver.prepare(commitment_of("elsewhere"), NO_METADATA)
        mine_only(regtest, conflicting(regtest, prepared.payload_hex))
        with pytest.raises(AnchorConflictError, match="spent otherwise, 1 blocks deep"):
            driver.submit(prepared)
