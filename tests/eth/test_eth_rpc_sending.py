# SPDX-License-Identifier: MIT
"""What becomes of a signed transaction: lost replies, dropped or stuck, reorganised away, overtaken, out of gas."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from pydantic import SecretStr
from web3 import Web3

from mrv_backends_eth.contract import artifact
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.fees import GWEI
from mrv_backends_eth.transactions import Transaction
from mrv_core.config import load_config
from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    SubmissionRejectedError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.journal import JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.models import NO_METADATA, Prepared, ReceiptState

COMMITMENT = HashFactory.digest(b"a run", "sha256")


def sent(prepared: Prepared) -> Transaction:
    return Transaction.parse(bytes.fromhex(prepared.payload_hex))


@pytest.fixture
def manager(chain: Any, tmp_path: Path) -> Any:
    """A manager on the node, as users have it; it does not wait between attempts."""
    made: list[BlockchainManager] = []

    def make(**section: Any) -> BlockchainManager:
        values = {
            "rpc_url": chain.url,
            "contract_address": chain.contract,
            "finality": 2,
            "retry_attempts": 1,
            **section,
        }
        document = {"blockchain": {"networks": ["ethereum"], "ethereum": values}}
        config = load_config(document, environment={"ETH_PRIVATE_KEY": chain.key})
        made.append(BlockchainManager(config, base_dir=tmp_path / "artifacts", sleep=lambda _: None))
        return made[-1]

    yield make
    for each in made:
        each.close()


def state_of(manager: BlockchainManager, commitment: Digest = COMMITMENT) -> JournalState:
    return manager.journal.find(commitment, "ethereum").state


# Replies that are lost (F05).


def test_a_connection_that_ends_before_the_request_arrives(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    proxy.cut = lambda method: "before" if method == "eth_sendRawTransaction" else None
    with pytest.raises(BackendUnavailableError) as failure:
        driver.submit(prepared)
    assert failure.value.retryable
    assert chain.rpc("txpool_status")["pending"] == "0x0"
    proxy.cut = lambda method: None
    assert driver.submit(prepared).state is ReceiptState.PENDING


def test_a_reply_that_is_lost_after_sending(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """The transaction arrived: asked by its hash, the node says so."""
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    proxy.cut = lambda method: "after" if method == "eth_sendRawTransaction" else None
    assert driver.submit(prepared).reference == prepared.reference
    assert chain.rpc("txpool_status")["pending"] == "0x1"
    chain.mine()
    assert driver.submit(prepared).state is ReceiptState.FINAL
    assert chain.events(COMMITMENT) == 1


def test_an_unknown_outcome_stays_unknown_and_the_same_bytes_settle_it(
    chain: Any, new_proxy: Callable[[str], Any]
) -> None:
    """Sent, and then nothing can be asked any more."""
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    proxy.cut = lambda method: "after"
    with pytest.raises(BackendUnavailableError) as failure:
        driver.submit(prepared)
    assert failure.value.retryable
    assert proxy.asked.count("eth_sendRawTransaction") == 1
    chain.mine()
    proxy.cut = lambda method: None
    assert driver.submit(prepared).state is ReceiptState.FINAL
    assert chain.events(COMMITMENT) == 1


def test_a_node_that_says_error_although_it_took_the_transaction(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """Nothing is decided by an error's text (A27)."""
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    proxy.refuse = lambda method, parameters: method == "eth_sendRawTransaction"
    assert driver.submit(prepared).state is ReceiptState.PENDING


def test_a_node_that_says_it_took_what_it_does_not_know(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    proxy.alter = lambda method, parameters, result: None if method == "eth_getTransactionByHash" else result
    with pytest.raises(BackendUnavailableError, match="took the transaction, but does not know it") as failure:
        driver.submit(prepared)
    assert failure.value.retryable


def test_replies_are_lost_at_random(chain: Any, manager: Any, new_proxy: Callable[[str], Any]) -> None:
    """Ten anchors through a node three tenths of whose replies are lost, after it has acted: each is there once."""
    proxy = new_proxy(chain.url)
    rng, lost = random.Random(4711), []  # noqa: S311 - which replies are lost is no secret

    def cut(method: str) -> str | None:
        if method not in ("eth_chainId", "eth_sendRawTransaction") or rng.random() > 0.3:
            return None
        lost.append(method)
        return "after"

    proxy.cut = cut
    through = manager(rpc_url=proxy.url, retry_attempts=20)
    commitments = [HashFactory.digest(bytes([number]), "sha256") for number in range(10)]
    for commitment in commitments:
        through.anchor(commitment)
        chain.mine()
    for _ in range(10):
        through.flush()
        chain.mine()
    assert not through.flush()
    assert [chain.events(commitment) for commitment in commitments] == [1] * 10
    assert len(lost) > 20
    assert "eth_sendRawTransaction" in lost


# Many at once.


def many(count: int) -> list[tuple[Digest, Any]]:
    return [(HashFactory.digest(f"run {number}".encode(), "sha256"), {"run": number}) for number in range(count)]


def test_a_group_takes_one_nonce_after_the_other_and_a_handful_of_requests(
    chain: Any, new_proxy: Callable[[str], Any]
) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    assert driver.capabilities.pipelines
    anchors = many(40)
    assert driver.are_new(anchors) == [True] * 40
    prepared = driver.prepare_many(anchors)
    assert [sent(each).nonce for each in prepared] == list(range(40))
    receipts = driver.submit_many(prepared)
    assert len(proxy.bodies) == 4
    assert [receipt and receipt.reference for receipt in receipts] == [each.reference for each in prepared]
    assert driver.are_new(anchors) == [False] * 40, "they are on their way"
    chain.mine()
    assert driver.are_new(anchors) == [False] * 40
    for (commitment, metadata), receipt in zip(anchors, receipts, strict=True):
        assert receipt is not None
        verified = driver.verify(driver.upgrade(receipt), commitment)
        assert json.loads(verified.facts["metadata"]) == metadata
        assert chain.events(commitment) == 1


def test_of_a_group_what_the_node_refuses_has_no_receipt(chain: Any) -> None:
    """The first one's place is taken; the others wait behind it, and none is anchored twice when it is sent again."""
    driver = chain.driver(finality=2)
    prepared = driver.prepare_many(many(5))
    chain.send_as(chain.key)
    chain.mine()
    receipts = driver.submit_many(prepared)
    assert [receipt is None for receipt in receipts] == [True, False, False, False, False]
    chain.mine(2)
    with pytest.raises(AnchorConflictError):
        driver.submit(prepared[0])
    assert [receipt is None for receipt in driver.submit_many(prepared)] == [True, False, False, False, False]
    assert [chain.events(commitment) for commitment, _ in many(5)] == [0, 1, 1, 1, 1]


def test_a_group_whose_reply_is_lost(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    prepared = driver.prepare_many(many(3))
    proxy.cut = lambda method: "after" if method == "eth_sendRawTransaction" else None
    assert all(driver.submit_many(prepared))
    proxy.takes_batches = False
    proxy.cut = lambda method: None
    assert all(driver.submit_many(driver.prepare_many(many(5)[3:])))
    chain.mine()
    assert [chain.events(commitment) for commitment, _ in many(5)] == [1] * 5


def test_a_node_that_counts_late_does_not_make_us_use_a_nonce_twice(
    chain: Any, new_proxy: Callable[[str], Any]
) -> None:
    """Busy nodes, and many nodes behind one address, count what was sent a moment ago only a moment later."""
    proxy = new_proxy(chain.url)
    proxy.alter = lambda method, parameters, result: "0x0" if method == "eth_getTransactionCount" else result
    driver = chain.driver(rpc_url=proxy.url)
    nonces = []
    for commitment, metadata in many(3):
        prepared = driver.prepare(commitment, metadata)
        driver.submit(prepared)
        nonces.append(sent(prepared).nonce)
    assert nonces == [0, 1, 2]
    chain.rpc("anvil_dropAllTransactions")
    assert sent(driver.prepare(COMMITMENT, NO_METADATA)).nonce == 0, "what the node does not have holds no nonce"


def test_the_nonces_of_a_key_that_was_changed_are_not_those_of_its_successor(chain: Any) -> None:
    """What the old key signed is still sent, alone and in groups; the new key begins with its own first nonce."""
    old = chain.driver()
    prepared = old.prepare_many(many(6))
    old.submit_many(prepared[:3])
    key = "0x" + "a7" * 32
    chain.fund(Account.from_key(key).address)
    new = chain.driver(private_key=SecretStr(key))
    new.submit(prepared[3])
    new.submit_many(prepared[4:])
    anew = new.prepare(COMMITMENT, NO_METADATA)
    assert sent(anew).nonce == 0
    new.submit(anew)
    chain.mine()
    assert [chain.events(commitment) for commitment in (COMMITMENT, *(each for each, _ in many(6)))] == [1] * 7


def test_without_a_pending_state_nothing_is_new_while_something_waits(
    chain: Any, new_proxy: Callable[[str], Any]
) -> None:
    proxy = new_proxy(chain.url)
    proxy.refuse = lambda method, parameters: method == "eth_getStorageAt" and parameters[2] == "pending"
    driver = chain.driver(rpc_url=proxy.url)
    assert driver.are_new([(COMMITMENT, NO_METADATA)]) == [True]
    other, metadata = many(1)[0]
    driver.submit(driver.prepare(other, metadata))
    assert driver.are_new([(COMMITMENT, NO_METADATA), (other, NO_METADATA)]) == [False, False]
    chain.mine()
    assert driver.are_new([(COMMITMENT, NO_METADATA), (other, NO_METADATA)]) == [True, False]
    assert chain.driver(private_key=None).are_new([(COMMITMENT, NO_METADATA)]) == [False]
    assert not chain.driver(mode="calldata").capabilities.pipelines


def test_a_hundred_queued_anchors_go_out_in_groups(chain: Any, manager: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    through = manager(rpc_url=proxy.url, finality=1)
    for commitment, metadata in many(100):
        through.journal.enqueue(commitment, "ethereum", metadata)
    through.flush()
    assert len(proxy.bodies) < 12
    while int(chain.rpc("txpool_status")["pending"], 16):
        chain.mine()
    assert through.flush() == []
    assert [chain.events(commitment) for commitment, _ in many(100)] == [1] * 100


# Fees that rise, transactions that wait (A26, F13, F14).


def test_nothing_is_replaced_before_its_time(chain: Any) -> None:
    driver = chain.driver(replace_after_blocks=4)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    receipt = driver.submit(prepared)
    chain.raise_base_fee(50, blocks=3)
    assert driver.replace(prepared, receipt) is None
    chain.raise_base_fee(50, blocks=1)
    replacement = driver.replace(prepared, receipt)
    assert replacement is not None
    assert driver.replace(replacement, receipt) is None, "a replacement waits as long as what it replaces"


def test_a_replacement_differs_in_nothing_but_its_price(chain: Any) -> None:
    driver = chain.driver()
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    chain.raise_base_fee(50)
    replacement = driver.replace(prepared, None)
    assert replacement is not None
    old, new = sent(prepared), sent(replacement)
    assert (new.nonce, new.to, new.input, new.gas, new.chain_id) == (
        old.nonce,
        old.to,
        old.input,
        old.gas,
        old.chain_id,
    )
    assert new.sender() == old.sender()
    assert old.tip is not None
    assert new.tip is not None
    assert new.tip * 8 >= old.tip * 9
    assert new.max_fee == 2 * 50 * GWEI + GWEI


def test_a_replacement_never_exceeds_the_cap(chain: Any) -> None:
    driver = chain.driver(max_fee_gwei=60)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    chain.raise_base_fee(50)
    replacement = driver.replace(prepared, None)
    assert replacement is not None
    assert sent(replacement).max_fee == 60 * GWEI
    assert driver.replace(replacement, None) is None, "what the market asks is paid already"
    chain.raise_base_fee(59)
    assert driver.replace(replacement, None) is None, "an eighth more would be above the cap"
    chain.raise_base_fee(70)
    assert driver.replace(prepared, None) is None, "the market itself is above the cap"


def test_what_is_in_a_block_is_not_replaced(chain: Any) -> None:
    driver = chain.driver()
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    receipt = driver.submit(prepared)
    chain.mine()
    chain.raise_base_fee(50)
    assert driver.replace(prepared, receipt) is None


def test_a_key_that_was_changed_replaces_nothing(chain: Any) -> None:
    prepared = chain.driver().prepare(COMMITMENT, NO_METADATA)
    chain.raise_base_fee(50)
    changed = chain.driver(private_key=SecretStr("07" * 32))
    assert changed.replace(prepared, None) is None


def test_a_stuck_anchor_is_outbid_and_anchored_once(chain: Any, manager: Any) -> None:
    """As users meet it: fees rise while an anchor waits, and `mrv flush` brings it through."""
    first = manager()
    first.anchor(COMMITMENT)
    assert state_of(first) is JournalState.SUBMITTED
    chain.raise_base_fee(50)
    first.flush()
    row = first.journal.find(COMMITMENT, "ethereum")
    assert len(row.attempts) == 2
    chain.mine(2)
    first.flush()
    assert state_of(first) is JournalState.FINAL
    assert chain.events(COMMITMENT) == 1
    assert int(chain.rpc("eth_getTransactionCount", chain.address, "latest"), 16) == 1


def test_what_a_node_refuses_for_its_price_is_outbid(chain: Any, manager: Any) -> None:
    """Prepared while it was cheap, sent when it is dear."""
    prepared = chain.driver().prepare(COMMITMENT, NO_METADATA)
    chain.raise_base_fee(50)
    with pytest.raises(SubmissionRejectedError, match="does not take the transaction: max fee per gas") as failure:
        chain.driver().submit(prepared)
    assert failure.value.retryable
    through = manager()
    through.journal.enqueue(COMMITMENT, "ethereum", NO_METADATA)
    through.journal.record_prepared(through.journal.find(COMMITMENT, "ethereum"), prepared)
    for _ in range(3):
        through.flush()
        chain.mine()
    assert state_of(through) is JournalState.FINAL
    assert chain.events(COMMITMENT) == 1


def test_a_fee_above_the_cap_is_waited_for(chain: Any, manager: Any) -> None:
    chain.raise_base_fee(50, blocks=1)
    capped = manager(gas_price=30)
    outcome = capped.anchor(COMMITMENT)["ethereum"]
    assert outcome.receipt is None
    assert "asks 50 gwei for a unit of gas, the settings allow 30" in str(outcome.error)
    assert state_of(capped) is JournalState.QUEUED
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
    chain.mine()
    capped.flush()
    chain.mine(2)
    capped.flush()
    assert state_of(capped) is JournalState.FINAL
    fee = int(
        chain.rpc("eth_getTransactionByHash", capped.journal.find(COMMITMENT, "ethereum").reference)["maxFeePerGas"], 16
    )
    assert fee <= 30 * GWEI


# What is lost again (A25, F11, F15, F23).


def test_dropped_from_the_pool_it_is_sent_again(chain: Any, manager: Any) -> None:
    through = manager()
    through.anchor(COMMITMENT)
    reference = through.journal.find(COMMITMENT, "ethereum").reference
    chain.rpc("anvil_dropAllTransactions")
    with pytest.raises(AnchorNotFoundError):
        chain.driver().lookup(reference)
    through.flush()
    chain.mine(2)
    through.flush()
    row = through.journal.find(COMMITMENT, "ethereum")
    assert (row.state, row.reference) == (JournalState.FINAL, reference)
    assert chain.events(COMMITMENT) == 1


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_a_reorganisation_takes_it_back_and_it_is_sent_again(chain: Any, manager: Any, depth: int) -> None:
    chain.mine(3)
    through = manager(finality=25)
    through.anchor(COMMITMENT)
    reference = through.journal.find(COMMITMENT, "ethereum").reference
    chain.mine(depth)
    through.flush()
    assert state_of(through) is JournalState.INCLUDED
    chain.reorg(depth)
    assert chain.events(COMMITMENT) == 0
    driver = chain.driver()
    old = through.journal.find(COMMITMENT, "ethereum").receipt
    with pytest.raises(AnchorNotFoundError):
        driver.verify(old, COMMITMENT)
    through.flush()
    assert state_of(through) is JournalState.SUBMITTED
    chain.mine(26)
    through.flush()
    row = through.journal.find(COMMITMENT, "ethereum")
    assert (row.state, row.reference) == (JournalState.FINAL, reference)
    assert chain.events(COMMITMENT) == 1
    assert row.receipt.evidence["block_hash"] != old.evidence["block_hash"]


def test_a_chain_that_was_begun_anew(chain: Any, new_chain: Callable[..., Any]) -> None:
    """The node is wiped: what was there is not found, and nothing is sent to where no contract is."""
    driver = chain.driver()
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    receipt = driver.submit(prepared)
    chain.mine()
    receipt = driver.upgrade(receipt)
    chain.rpc("anvil_reset")
    chain.rpc("evm_setAutomine", False)
    chain.fund(chain.address)
    for call in (lambda: driver.verify(receipt, COMMITMENT), lambda: driver.upgrade(receipt)):
        with pytest.raises(AnchorNotFoundError):
            call()
    with pytest.raises(ConfigurationError, match="there is no contract"):
        driver.prepare(COMMITMENT, NO_METADATA)


# Strangers with our key (F16), and our own mistakes (A28).


def test_a_nonce_that_somebody_else_used(chain: Any, manager: Any) -> None:
    """Another wallet sends with our key; what we prepared can never be included, and is anchored anew."""
    through = manager()
    through.anchor(COMMITMENT)
    first = through.journal.find(COMMITMENT, "ethereum").reference
    chain.send_as(chain.key)
    chain.mine()
    driver = chain.driver(finality=2)
    prepared = through.journal.find(COMMITMENT, "ethereum").prepared
    with pytest.raises(BackendUnavailableError, match="is not final yet") as early:
        driver.submit(prepared)
    assert early.value.retryable
    through.flush()
    assert chain.events(COMMITMENT) == 0
    chain.mine()
    with pytest.raises(AnchorConflictError, match="took nonce 0, for good"):
        driver.submit(prepared)
    through.flush()
    chain.mine(2)
    through.flush()
    row = through.journal.find(COMMITMENT, "ethereum")
    assert row.state is JournalState.FINAL
    assert row.reference != first
    assert chain.events(COMMITMENT) == 1


def test_two_journals_with_one_key_lose_nothing(chain: Any) -> None:
    """Both read the same nonce; the one that comes second is told, and anchors anew when the first is buried."""
    one, two = chain.driver(), chain.driver()
    others = HashFactory.digest(b"another run", "sha256")
    first, second = one.prepare(COMMITMENT, NO_METADATA), two.prepare(others, NO_METADATA)
    assert sent(first).nonce == sent(second).nonce
    one.submit(first)
    with pytest.raises(SubmissionRejectedError) as failure:
        two.submit(second)
    assert failure.value.retryable
    chain.mine()
    with pytest.raises(AnchorConflictError):
        two.submit(second)
    two.submit(two.prepare(others, NO_METADATA))
    chain.mine()
    assert (chain.events(COMMITMENT), chain.events(others)) == (1, 1)


def test_out_of_gas_is_said_and_anchored_anew(chain: Any) -> None:
    """Estimated while our record was there, so that repeating it was cheap; a reorganisation then took it back."""
    driver = chain.driver(finality=2)
    driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    chain.mine()
    cheap = driver.prepare(COMMITMENT, NO_METADATA)
    assert sent(cheap).gas < 50_000
    chain.reorg(1)
    chain.send_as(chain.key)  # takes the nonce of the first one
    chain.mine()
    receipt = driver.submit(cheap)
    chain.mine()
    assert chain.rpc("eth_getTransactionReceipt", cheap.reference)["status"] == "0x0"
    assert driver.upgrade(receipt).state is ReceiptState.PENDING, "its block may still leave the chain"
    chain.mine()
    for call in (lambda: driver.upgrade(receipt), lambda: driver.submit(cheap)):
        with pytest.raises(AnchorConflictError, match=r"failed in block \d+: it used up its \d+ gas"):
            call()
    for call in (lambda: driver.lookup(cheap.reference), lambda: driver.verify(receipt, COMMITMENT)):
        with pytest.raises(AnchorNotFoundError, match="anchored nothing"):
            call()
    anew = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    chain.mine()
    assert driver.verify(driver.upgrade(anew), COMMITMENT)
    assert chain.events(COMMITMENT) == 1


def test_success_at_an_address_without_code_is_no_anchor(chain: Any) -> None:
    """The chain reports success; nothing was recorded (A24)."""
    nowhere = "0x" + "77" * 20
    data = Web3().eth.contract(abi=artifact()["abi"]).encode_abi("storeHash", [COMMITMENT.value, ""])
    reference = chain.send_as(chain.key, to=nowhere, data=data)
    chain.mine()
    assert chain.rpc("eth_getTransactionReceipt", reference)["status"] == "0x1"
    driver = chain.driver(contract_address=nowhere)
    with pytest.raises(AnchorNotFoundError, match="succeeded, but the contract recorded nothing"):
        driver.lookup(reference)
    with pytest.raises(AnchorNotFoundError, match="is no anchor"):
        chain.driver().lookup(reference)


def test_a_call_of_another_contract_that_emits_our_event_is_no_anchor(chain: Any) -> None:
    """A contract that emits what it is told, called with the event of ours."""
    runtime = bytes.fromhex("6044356024356004356040" + "6000a300")
    init = bytes.fromhex(f"60{len(runtime):02x}600c60003960{len(runtime):02x}6000f3") + runtime
    liar = chain.deploy("0x" + init.hex())
    event = chain.rpc("web3_sha3", "0x" + b"HashSubmitted(bytes32,address,string,uint256)".hex())[2:]
    data = "0x00000000" + event + COMMITMENT.value.hex() + chain.address[2:].rjust(64, "0")
    reference = chain.send_as(chain.key, to=liar, data=data)
    chain.mine()
    assert chain.events(COMMITMENT, liar) == 1
    with pytest.raises(AnchorNotFoundError, match="is no anchor"):
        chain.driver().lookup(reference)


def test_a_transaction_of_another_kind_is_no_anchor(chain: Any, rpc_driver: EthereumDriver) -> None:
    reference = chain.send_as(chain.key, value=1)
    for _ in range(2):
        with pytest.raises(AnchorNotFoundError, match="is no anchor"):
            rpc_driver.lookup(reference)
        chain.mine()
    theirs = chain.rpc(
        "eth_sendTransaction",
        {
            "from": chain.rpc("eth_accounts")[1],
            "to": chain.address,
            "data": "0x4d525631" + COMMITMENT.value.hex(),
        },
    )
    chain.mine()
    with pytest.raises(AnchorNotFoundError, match="is no anchor"):
        rpc_driver.lookup(theirs)
