# SPDX-License-Identifier: MIT
"""Anchoring on a real node: what it costs is bounded, what would do nothing is refused, what is there is proven."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from eth_account import Account
from pydantic import SecretStr
from web3 import Web3

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth.contract import artifact
from mrv_backends_eth.deploy import deploy
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.fees import GWEI
from mrv_backends_eth.transactions import Transaction
from mrv_core.driver import DeployingDriver
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    MrvError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import NO_METADATA, Prepared, Receipt, ReceiptState

COMMITMENT = HashFactory.digest(b"a run", "sha256")
METADATA = {"phase": "before_training", "run": "20260111-080000"}


def other(number: int) -> Digest:
    return HashFactory.digest(bytes([number]), "sha256")


def sent(prepared: Prepared) -> Transaction:
    return Transaction.parse(bytes.fromhex(prepared.payload_hex))


def anchored(driver: EthereumDriver, chain: Any, commitment: Digest = COMMITMENT) -> Receipt:
    receipt = driver.submit(driver.prepare(commitment, METADATA))
    chain.mine()
    return driver.upgrade(receipt)


# What it says.


def test_receipt_and_verdict_state_what_the_chain_has(rpc_driver: EthereumDriver, chain: Any) -> None:
    receipt = anchored(rpc_driver, chain)
    block = chain.rpc("eth_getBlockByNumber", "latest", False)
    seconds = int(block["timestamp"], 16)
    assert receipt.network_id == "eip155:31337"
    assert receipt.embedded is False
    assert receipt.block_time == datetime.fromtimestamp(seconds, UTC)
    assert receipt.evidence["block_hash"] == block["hash"]
    assert block["transactions"] == [receipt.reference]
    chain.mine(2)
    verified = rpc_driver.verify(receipt, COMMITMENT)
    assert verified.confirmations == 3
    assert verified.facts["submitter"] == chain.address
    assert verified.facts["block_number"] == int(block["number"], 16)
    assert json.loads(verified.facts["metadata"]) == METADATA
    assert verified.trusts == (
        f"the node {chain.url} was believed that block {int(block['number'], 16)} is in the chain eip155:31337",
    )
    time_of_record = Web3().codec.decode(
        ["uint256", "uint256"],
        bytes.fromhex(chain.rpc("eth_call", _get_submission(chain), "latest")[2:]),
    )
    assert time_of_record == (seconds, int(block["number"], 16))


def _get_submission(chain: Any) -> dict[str, str]:
    contract = Web3().eth.contract(abi=artifact()["abi"])
    return {"to": chain.contract, "data": contract.encode_abi("getSubmission", [chain.address, COMMITMENT.value])}


def test_gas_is_what_the_documentation_says(chain: Any) -> None:
    """The table of costs in docs/networks/ethereum.md."""
    rows = (
        ("contract", "first", NO_METADATA, 72_000),
        ("contract", "again", NO_METADATA, 29_340),
        ("contract", "named", METADATA, 140_850),
        ("calldata", "first", NO_METADATA, 22_440),
    )
    for mode, text, metadata, expected in rows:
        driver = chain.driver(mode=mode)
        commitment = HashFactory.digest(text.replace("again", "first").encode(), "sha256")
        receipt = driver.submit(driver.prepare(commitment, metadata))
        chain.mine()
        used = int(chain.rpc("eth_getTransactionReceipt", receipt.reference)["gasUsed"], 16)
        assert abs(used - expected) < expected // 100, (mode, text, used)


def test_calldata_is_a_tagged_message_to_oneself(chain: Any) -> None:
    driver = chain.driver(mode="calldata", contract_address=None)
    receipt = anchored(driver, chain)
    seen = chain.rpc("eth_getTransactionByHash", receipt.reference)
    assert seen["from"] == seen["to"] == chain.address.lower()
    assert seen["input"] == "0x4d525631" + COMMITMENT.value.hex()
    assert driver.verify(receipt, COMMITMENT).facts["submitter"] == chain.address
    with pytest.raises(FormatError, match="SHA-256 commitments, not blake3"):
        driver.prepare(HashFactory.digest(b"a run", "blake3"), METADATA)


def test_calldata_of_a_full_block_is_proven(chain: Any) -> None:
    """Forty transactions of three types, ours among them; a contract is created in between."""
    driver = chain.driver(mode="calldata")
    key = "0x" + "a5" * 32
    chain.fund(Account.from_key(key).address)
    reads = [{"address": chain.contract, "storageKeys": ["0x" + "07" * 32, "0x" + "08" * 32]}]
    kinds: list[dict[str, Any]] = [{}, {"gasPrice": 400 * GWEI}, {"gasPrice": 400 * GWEI, "accessList": reads}]
    for number in range(40):
        chain.send_as(key, nonce=number, value=number, data="0x" + "ab" * number, **kinds[number % 3])
        if number == 20:
            receipt = driver.submit(driver.prepare(COMMITMENT, METADATA))
    chain.send_as(key, nonce=40, to=b"", data="0x6000")
    chain.mine()
    block = chain.rpc("eth_getBlockByNumber", "latest", True)
    assert {each["type"] for each in block["transactions"]} == {"0x0", "0x1", "0x2"}
    hashes = [each["hash"] for each in block["transactions"]]
    assert len(hashes) == 42
    receipt = driver.upgrade(receipt)
    assert receipt.evidence["transaction_index"] == hashes.index(receipt.reference)
    assert driver.verify(receipt, COMMITMENT).state is ReceiptState.FINAL


def test_either_mode_reads_what_the_other_wrote(chain: Any) -> None:
    """Changing the mode changes what is written from then on, not what old receipts are worth."""
    drivers = [chain.driver(mode=mode) for mode in ("contract", "calldata")]
    for writer, reader in (drivers, reversed(drivers)):
        prepared = writer.prepare(COMMITMENT, METADATA)
        receipt = reader.submit(prepared)
        chain.mine()
        assert reader.verify(reader.upgrade(receipt), COMMITMENT) == reader.verify(
            reader.lookup(receipt.reference), COMMITMENT
        )


def test_legacy_chain(new_chain: Callable[..., Any]) -> None:
    """Before London there is no base fee: the price is the node's, and the header is shorter."""
    chain = new_chain("--hardfork", "berlin", "--gas-price", str(7 * GWEI))
    for mode in ("contract", "calldata"):
        driver = chain.driver(mode=mode)
        prepared = driver.prepare(COMMITMENT, METADATA)
        assert (sent(prepared).kind, sent(prepared).max_fee, sent(prepared).chain_id) == (0, 7 * GWEI, 31337)
        receipt = driver.submit(prepared)
        chain.mine()
        assert "baseFeePerGas" not in chain.rpc("eth_getBlockByNumber", "latest", False)
        assert driver.verify(driver.upgrade(receipt), COMMITMENT).state is ReceiptState.FINAL


def test_a_repeat_by_the_same_account_points_to_its_first_record(rpc_driver: EthereumDriver, chain: Any) -> None:
    first = anchored(rpc_driver, chain)
    chain.rpc("evm_increaseTime", 100)
    second = anchored(rpc_driver, chain)
    assert first.reference != second.reference
    assert second.block_time == first.block_time
    assert first.evidence["block_number"] + 1 == second.evidence["block_number"]
    for receipt in (first, second):
        assert rpc_driver.verify(receipt, COMMITMENT).block_time == first.block_time
    older, newer = first.evidence["block_number"], second.evidence["block_number"]
    repeated = rpc_driver.verify(second, COMMITMENT)
    assert repeated.facts["first_block"] == older
    assert repeated.trusts == (
        f"the node {chain.url} was believed that block {newer} is in the chain eip155:31337, "
        f"and that the record was made in block {older}",
    )


def test_find_knows_who_anchored_and_in_which_algorithm(rpc_driver: EthereumDriver, chain: Any) -> None:
    assert rpc_driver.find(COMMITMENT, METADATA) is None
    chain.anchor_by_another(COMMITMENT)
    assert rpc_driver.find(COMMITMENT, METADATA) is None
    prepared = rpc_driver.prepare(Digest("blake3", COMMITMENT.value), METADATA)
    rpc_driver.submit(prepared)
    with pytest.raises(BackendUnavailableError, match="is on its way") as failure:
        rpc_driver.find(Digest("blake3", COMMITMENT.value), METADATA)
    assert failure.value.retryable
    chain.mine()
    found = rpc_driver.find(Digest("blake3", COMMITMENT.value), METADATA)
    assert found is not None
    assert found.reference == prepared.reference
    assert rpc_driver.find(COMMITMENT, METADATA) is None


# What is final.


def test_finality_by_depth(chain: Any) -> None:
    driver = chain.driver(finality=3)
    receipt = anchored(driver, chain)
    states = [receipt.state]
    for _ in range(3):
        chain.mine()
        receipt = driver.upgrade(receipt)
        states.append(driver.verify(receipt, COMMITMENT).state)
    assert [str(state) for state in states] == ["INCLUDED", "INCLUDED", "FINAL", "FINAL"]


def test_finality_by_the_chains_own_word(new_chain: Callable[..., Any]) -> None:
    chain = new_chain("--slots-in-an-epoch", "2")  # finalized is what is four blocks old
    driver = chain.driver(finality="finalized")
    receipt = anchored(driver, chain)
    for _ in range(3):
        chain.mine()
        assert driver.upgrade(receipt).state is ReceiptState.INCLUDED
    chain.mine()
    assert driver.upgrade(receipt).state is ReceiptState.FINAL
    assert driver.verify(receipt, COMMITMENT).facts["finality"] == "finalized"


@pytest.mark.parametrize(
    ("chain_id", "settings", "rule"),
    [
        (31337, {}, 1),
        (5042, {"network": "localhost"}, 1),
        (5042, {}, "finalized"),
        (5042, {"finality": 6}, 6),
    ],
)
def test_default_finality(new_chain: Callable[..., Any], chain_id: int, settings: dict[str, Any], rule: object) -> None:
    chain = new_chain(chain_id=chain_id)
    driver = chain.driver(**settings)
    assert driver.verify(anchored(driver, chain), COMMITMENT).facts["finality"] == rule


def test_a_node_without_the_finalized_tag_says_what_to_do(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    receipt = anchored(chain.driver(), chain)
    proxy = new_proxy(chain.url)
    proxy.refuse = lambda method, parameters: method == "eth_getBlockByNumber" and parameters[0] == "finalized"
    with pytest.raises(BackendUnavailableError, match="does not say which blocks are final") as failure:
        chain.driver(rpc_url=proxy.url, finality="finalized").verify(receipt, COMMITMENT)
    assert failure.value.hint == "set 'finality' of this network to a number of blocks"


# What it may cost.


def test_gas_limit_is_obeyed_and_the_error_says_what_to_do(chain: Any) -> None:
    with pytest.raises(ConfigurationError, match="gas_limit allows 60000") as failure:
        chain.driver(gas_limit=60_000).prepare(COMMITMENT, METADATA)
    assert failure.value.hint == "raise gas_limit, for instance to 500000"
    prepared = chain.driver().prepare(COMMITMENT, METADATA)
    assert 150_000 < sent(prepared).gas < 250_000
    assert sent(chain.driver(gas_limit=170_000).prepare(COMMITMENT, METADATA)).gas == 170_000


def test_fees_follow_the_market_up_to_the_cap(chain: Any) -> None:
    chain.raise_base_fee(40, blocks=1)
    free = sent(chain.driver().prepare(COMMITMENT, METADATA))
    assert (free.kind, free.max_fee, free.tip) == (2, 81 * GWEI, GWEI)
    capped = sent(chain.driver(gas_price=45).prepare(COMMITMENT, METADATA))
    assert (capped.max_fee, capped.tip) == (45 * GWEI, GWEI)
    for limit in ({"gas_price": 39}, {"max_fee_gwei": 39.5}):
        with pytest.raises(BackendUnavailableError, match=r"asks 40 gwei .* allow 39") as failure:
            chain.driver(**limit).prepare(COMMITMENT, METADATA)
        assert failure.value.retryable


@pytest.mark.parametrize("asked", [10**18, 501 * GWEI])
def test_an_absurd_fee_is_refused_before_signing(chain: Any, new_proxy: Callable[[str], Any], asked: int) -> None:
    proxy = new_proxy(chain.url)
    proxy.alter = lambda method, parameters, result: hex(asked) if method == "eth_maxPriorityFeePerGas" else result
    driver = chain.driver(rpc_url=proxy.url)
    with pytest.raises(BackendUnavailableError, match="the settings allow 500"):
        driver.prepare(COMMITMENT, METADATA)
    proxy.alter = lambda method, parameters, result: hex(499 * GWEI) if method == "eth_maxPriorityFeePerGas" else result
    assert sent(driver.prepare(COMMITMENT, METADATA)).tip == 50 * GWEI  # nobody competes at this base fee


def test_an_absurd_price_on_a_legacy_chain_is_refused_before_signing(
    new_chain: Callable[..., Any], new_proxy: Callable[[str], Any]
) -> None:
    chain = new_chain("--hardfork", "berlin")
    proxy = new_proxy(chain.url)
    proxy.alter = lambda method, parameters, result: hex(10**18) if method == "eth_gasPrice" else result
    with pytest.raises(BackendUnavailableError, match="asks 1000000000 gwei for a unit of gas, the settings allow 500"):
        chain.driver(rpc_url=proxy.url).prepare(COMMITMENT, METADATA)


def test_a_node_that_suggests_no_tip(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    proxy.refuse = lambda method, parameters: method == "eth_maxPriorityFeePerGas"
    assert sent(chain.driver(rpc_url=proxy.url).prepare(COMMITMENT, METADATA)).tip == GWEI


def test_an_empty_account_is_told_what_it_needs_and_where(chain: Any) -> None:
    chain.fund(chain.address, 1000)
    with pytest.raises(
        BackendUnavailableError, match=rf"{chain.address} holds 0\.000000000000001 ETH \(1000 wei\)"
    ) as failure:
        chain.driver().prepare(COMMITMENT, METADATA)
    assert "send it at least 0.00" in str(failure.value.hint)
    assert not failure.value.retryable


# What would do nothing.


def test_without_a_key_it_verifies_and_does_not_anchor(chain: Any) -> None:
    receipt = anchored(chain.driver(), chain)
    reader = chain.driver(private_key=None)
    with pytest.raises(ConfigurationError, match="ethereum: no key to sign with"):
        reader.prepare(COMMITMENT, METADATA)
    verified = reader.verify(receipt, COMMITMENT)
    assert verified.facts["submitter"] == chain.address
    assert verified.trusts[-1] == f"the settings name no submitter; it was anchored by {chain.address}, whoever that is"
    assert reader.status().ready is False
    assert "no key: it can verify, not anchor" in reader.status().detail


def test_no_contract_address(chain: Any) -> None:
    with pytest.raises(ConfigurationError, match="contract_address is missing") as failure:
        chain.driver(contract_address=None).prepare(COMMITMENT, METADATA)
    assert "mrv contract deploy --network ethereum" in str(failure.value.hint)


def test_no_code_at_the_address(chain: Any) -> None:
    """There every transaction succeeds, and nothing is recorded."""
    driver = chain.driver(contract_address="0x" + "77" * 20)
    with pytest.raises(ConfigurationError, match="there is no contract") as failure:
        driver.prepare(COMMITMENT, METADATA)
    assert "mrv contract deploy --network ethereum" in str(failure.value.hint)
    assert "there is no contract" in driver.status().detail
    assert not driver.status().ready


@pytest.mark.parametrize("chain_id", [42161, 42170, 421614])
def test_where_contracts_count_the_blocks_of_another_chain(new_chain: Callable[..., Any], chain_id: int) -> None:
    """On Arbitrum's chains every anchor would be paid for and none be confirmed."""
    chain = new_chain(chain_id=chain_id)
    driver = chain.driver()
    with pytest.raises(ConfigurationError, match="a contract is told the block numbers of another chain") as failure:
        driver.prepare(COMMITMENT, METADATA)
    assert failure.value.hint == 'set "mode": "calldata" for this network'
    assert "block numbers of another chain" in driver.status().detail
    assert not driver.status().ready
    calldata = chain.driver(mode="calldata", finality=1)
    assert calldata.verify(anchored(calldata, chain), COMMITMENT).state is ReceiptState.FINAL


def test_another_contract_at_the_address(chain: Any) -> None:
    """Its code differs in one byte."""
    code = artifact()["deployedBytecode"]
    chain.rpc("anvil_setCode", "0x" + "66" * 20, code[:-2] + "00")
    with pytest.raises(ConfigurationError, match="another contract than MLProvenance"):
        chain.driver(contract_address="0x" + "66" * 20).prepare(COMMITMENT, METADATA)


@pytest.mark.parametrize("settings", [{"chain_id": 1}, {"network": "sepolia", "chain_id": None}])
def test_another_chain_than_the_configured_one(chain: Any, settings: dict[str, Any]) -> None:
    receipt = anchored(chain.driver(), chain)
    driver = chain.driver(**settings)
    calls: tuple[Callable[[], object], ...] = (
        lambda: driver.prepare(COMMITMENT, METADATA),
        lambda: driver.lookup(receipt.reference),
        lambda: driver.upgrade(receipt),
        lambda: driver.deploy_contract(),
    )
    for call in calls:
        with pytest.raises(
            ConfigurationError, match=r"is on chain 31337, not on chain (1|11155111) \((mainnet|sepolia)\)"
        ):
            call()
    with pytest.raises(VerificationError, match="says network_id eip155:31337"):
        driver.verify(receipt, COMMITMENT)
    assert "is on chain 31337" in driver.status().detail


def test_a_chain_that_changes_under_us(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """No chain id is configured: the first one that is seen stays."""
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url, chain_id=None)
    prepared = driver.prepare(COMMITMENT, METADATA)
    receipt = driver.submit(prepared)
    assert driver.verify(receipt, COMMITMENT).trusts[-1].startswith("the settings name no chain_id")
    proxy.alter = lambda method, parameters, result: "0x1" if method == "eth_chainId" else result
    for call in (lambda: driver.prepare(COMMITMENT, METADATA), lambda: driver.submit(prepared)):
        with pytest.raises(ConfigurationError, match=r"is on chain 1 \(mainnet\), not on chain 31337"):
            call()


def test_a_node_that_makes_no_proofs_is_refused_before_anything_is_paid(
    chain: Any, new_proxy: Callable[[str], Any]
) -> None:
    proxy = new_proxy(chain.url)
    proxy.refuse = lambda method, parameters: method == "eth_getProof"
    with pytest.raises(BackendUnavailableError, match="makes no proofs") as failure:
        chain.driver(rpc_url=proxy.url).prepare(COMMITMENT, METADATA)
    assert '"mode": "calldata"' in str(failure.value.hint)
    assert chain.driver(rpc_url=proxy.url, mode="calldata").prepare(COMMITMENT, METADATA)


def test_state_that_the_node_has_pruned_is_proven_at_a_later_block(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    driver = chain.driver(finality=3)
    receipt = driver.submit(driver.prepare(COMMITMENT, METADATA))
    chain.mine()
    block = int(chain.rpc("eth_blockNumber"), 16)
    proxy = new_proxy(chain.url)
    proxy.refuse = lambda method, parameters: method == "eth_getProof" and int(parameters[2], 16) <= block
    pruned = chain.driver(rpc_url=proxy.url, finality=3)
    with pytest.raises(BackendUnavailableError, match="does not prove the record") as failure:
        pruned.upgrade(receipt)
    assert failure.value.retryable
    chain.mine(5)
    late = pruned.upgrade(receipt)
    assert late.evidence["block_number"] == block + 3  # the newest that is final
    verified = driver.verify(late, COMMITMENT)
    assert verified.block_time == late.block_time == driver.upgrade(receipt).block_time
    assert (verified.facts["block_number"], verified.confirmations) == (block, 6)
    assert verified.trusts[0].endswith(
        f"block {block + 3} is in the chain eip155:31337, and that the record was made in block {block}"
    )


def test_the_zero_commitment_is_refused(rpc_driver: EthereumDriver) -> None:
    with pytest.raises(SubmissionRejectedError, match="the contract would refuse to anchor sha256:0000"):
        rpc_driver.prepare(Digest("sha256", bytes(32)), NO_METADATA)


def test_metadata_longer_than_the_contract_takes_is_refused(rpc_driver: EthereumDriver) -> None:
    with pytest.raises(FormatError, match="the contract takes 1024"):
        rpc_driver.prepare(COMMITMENT, {"text": "x" * 1024})


# Whose anchor it is.


def test_a_copied_commitment_is_not_attributed_to_us(chain: Any) -> None:
    """Somebody takes our call out of the mempool and is first: our record is ours all the same, theirs is theirs."""
    driver = chain.driver()
    waiting = driver.submit(driver.prepare(COMMITMENT, METADATA))
    copied = chain.anchor_by_another(COMMITMENT)
    ours, theirs = driver.upgrade(waiting), driver.lookup(copied)
    waits = driver.submit(driver.prepare(other(1), METADATA))
    assert driver.verify(waits, other(1)).state is ReceiptState.PENDING
    assert driver.verify(ours, COMMITMENT).facts["submitter"] == chain.address
    with pytest.raises(VerificationError, match="was anchored by 0x") as failure:
        driver.verify(theirs, COMMITMENT)
    assert "set 'submitter'" in str(failure.value.hint)
    with pytest.raises(VerificationError, match="was anchored by 0x"):  # nor while it waits
        chain.driver(submitter=theirs.evidence["submitter"]).verify(waits, other(1))
    copier = theirs.evidence["submitter"]
    assert (
        chain.driver(private_key=None)
        .verify(theirs, COMMITMENT)
        .trusts[-1]
        .startswith("the settings name no submitter")
    )
    assert (
        chain.driver(submitter=[chain.address, copier]).verify(theirs, COMMITMENT).facts["submitter"].lower() == copier
    )
    with pytest.raises(VerificationError, match=f"not by {copier}"):
        chain.driver(submitter=copier).verify(ours, COMMITMENT)


def test_a_contract_filled_in_before_it_was_deployed_does_not_backdate(chain: Any) -> None:
    """Its code is MLProvenance's to the byte, its storage holds a record of 2015 that nobody ever made."""
    anchored(chain.driver(), chain, other(1))
    submitter = bytes.fromhex(chain.address[2:])
    fake = "0x" + "55" * 20
    chain.rpc("anvil_setCode", fake, artifact()["deployedBytecode"])
    slot = "0x" + mlprovenance.submission_slot(submitter, COMMITMENT.value).hex()
    old_block, old_time = 1, 1_430_000_000
    chain.rpc("anvil_setStorageAt", fake, slot, f"0x{old_block << 64 | old_time:064x}")
    driver = chain.driver(contract_address=fake)
    receipt = driver.submit(driver.prepare(COMMITMENT, METADATA))
    chain.mine()
    assert chain.events(COMMITMENT, fake) == 1
    for call in (lambda: driver.upgrade(receipt), lambda: driver.lookup(receipt.reference)):
        with pytest.raises(BackendUnavailableError, match="which does not confirm it"):
            call()


# Deploying, status, settings.


@pytest.mark.parametrize("name", ["MLProvenance", "MRVRegistry", "BatchVerifier"])
def test_deploying_each_contract(chain: Any, name: str) -> None:
    driver = chain.driver()
    assert isinstance(driver, DeployingDriver)
    chain.rpc("evm_setAutomine", True)
    made = driver.deploy_contract(name)
    assert (made.contract, made.chain_id) == (name, 31337)
    receipt = chain.rpc("eth_getTransactionReceipt", made.transaction)
    assert receipt["contractAddress"] == made.address.lower()
    assert made.block_number == int(receipt["blockNumber"], 16)
    code = chain.rpc("eth_getCode", made.address, "latest")
    assert made.code_hash == Web3.keccak(hexstr=code).to_0x_hex()
    if name == "BatchVerifier":
        contract = Web3().eth.contract(abi=artifact(name)["abi"])
        call = {"to": made.address, "data": contract.encode_abi("provenance")}
        assert chain.rpc("eth_call", call, "latest").endswith(chain.contract[2:].lower())


def test_deploying_waits_and_says_where_it_will_be(chain: Any) -> None:
    """Nothing is mined: the waiting is bounded, and a second deployment is not suggested."""
    rpc = chain.driver()._chain
    waited: list[float] = []
    arguments = ("MLProvenance", rpc._node, rpc._signing, rpc._forms.contract.queries)
    with pytest.raises(BackendUnavailableError, match="is in no block yet") as failure:
        deploy(*arguments, sleep=waited.append, clock=lambda: sum(waited))
    assert 290 < sum(waited) < 310
    address = str(failure.value.hint).split()[-1]
    assert chain.rpc("eth_getCode", address, "latest") == "0x"
    chain.mine()
    assert chain.rpc("eth_getCode", address, "latest") == artifact()["deployedBytecode"]


def test_deploying_what_is_not_there(chain: Any, driver: EthereumDriver) -> None:
    with pytest.raises(ConfigurationError, match="there is no contract 'Wallet'") as failure:
        chain.driver().deploy_contract("Wallet")
    assert "MLProvenance" in str(failure.value.hint)
    with pytest.raises(ConfigurationError, match="contract_address is missing"):
        chain.driver(contract_address=None).deploy_contract("BatchVerifier")
    with pytest.raises(ConfigurationError, match="nothing to deploy"):
        driver.deploy_contract()


def test_status_of_a_node(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    status = driver.status()
    block = int(chain.rpc("eth_blockNumber"), 16)
    assert (status.ready, status.network_id) == (True, "eip155:31337")
    assert status.detail == f"chain 31337 at block {block}; {chain.address} holds 10 ETH; MLProvenance is there"
    proxy.alter = lambda method, parameters, result: {"currentBlock": "0x1"} if method == "eth_syncing" else result
    assert (driver.status().ready, "not in sync" in driver.status().detail) == (False, True)
    chain.fund(chain.address, 0)
    assert f"{chain.address} holds 0 ETH" in driver.status().detail
    chain.node.kill()
    gone = chain.driver().status()
    assert (gone.ready, gone.network_id) == (False, None)
    assert "refuses the connection" in gone.detail


def test_status_of_a_public_chain_whose_newest_block_is_old(new_chain: Callable[..., Any]) -> None:
    """A node that serves an old head for ever is not in use, whatever it says about being in sync."""
    chain = new_chain("--timestamp", str(int(time.time()) - 7200), chain_id=11155111)
    detail = chain.driver(network="sepolia").status().detail
    assert "chain 11155111 (sepolia)" in detail
    assert "its newest block is 1" in detail
    assert "minutes old" in detail


def test_building_a_driver_asks_nobody(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = chain.driver(rpc_url=proxy.url)
    driver.close()
    assert proxy.asked == []
    driver.find(COMMITMENT, METADATA)
    assert proxy.asked == ["eth_chainId", "eth_getStorageAt", "eth_getStorageAt"]


def test_a_node_that_takes_no_batches(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    proxy.takes_batches = False
    driver = chain.driver(rpc_url=proxy.url)
    receipt = anchored(driver, chain)
    assert driver.verify(receipt, COMMITMENT).state is ReceiptState.FINAL
    assert proxy.refused_batches == 1


def test_prepared_for_another_contract_or_chain_is_not_sent(chain: Any, new_chain: Callable[..., Any]) -> None:
    prepared = chain.driver().prepare(COMMITMENT, METADATA)
    moved = chain.driver(contract_address="0x" + "44" * 20)
    with pytest.raises(ConfigurationError, match="does not call a configured contract"):
        moved.submit(prepared)
    elsewhere = new_chain(chain_id=1337)
    with pytest.raises(ConfigurationError, match="what was prepared is for chain 31337"):
        elsewhere.driver(private_key=SecretStr(chain.key)).submit(prepared)
    assert chain.rpc("txpool_status")["pending"] == elsewhere.rpc("txpool_status")["pending"] == "0x0"


def test_receipt_of_another_chain_is_wrong_there(chain: Any, new_chain: Callable[..., Any]) -> None:
    """The same deployer and nonce give the contract the same address on another chain (A22)."""
    receipt = anchored(chain.driver(), chain)
    mainnet = new_chain(chain_id=1)
    assert mainnet.contract == chain.contract
    reader = mainnet.driver(private_key=SecretStr(chain.key), chain_id=1)
    with pytest.raises(VerificationError, match="says network_id eip155:31337, this is eip155:1"):
        reader.verify(receipt, COMMITMENT)
    forged = receipt.model_copy(update={"network_id": "eip155:1"})
    with pytest.raises(AnchorNotFoundError, match="is not in the chain"):
        reader.verify(forged, COMMITMENT)


def test_receipt_of_another_contract_is_wrong(chain: Any) -> None:
    receipt = anchored(chain.driver(), chain)
    second = chain.deploy(artifact()["bytecode"])
    with pytest.raises(VerificationError, match="the evidence is about the contract"):
        chain.driver(contract_address=second).verify(receipt, COMMITMENT)


def test_no_error_and_no_trust_sentence_shows_more_of_the_url_than_its_host(chain: Any) -> None:
    url = chain.url.replace("http://", "http://user:5ecret-of-url@") + "/v3/0123456789abcdef5ecret"
    driver = chain.driver(rpc_url=url)
    receipt = anchored(chain.driver(), chain)
    shown = [repr(driver), driver.status().detail]
    for call in (
        lambda: driver.verify(receipt, COMMITMENT),
        lambda: driver.prepare(COMMITMENT, METADATA),
        lambda: driver.lookup("0x" + "11" * 32),
    ):
        try:
            shown.append(str(call()))
        except MrvError as error:
            shown.append(f"{error} {error.hint} {error.__cause__!r}")
    assert len(shown) == 5
    assert not any("5ecret" in text for text in shown)
