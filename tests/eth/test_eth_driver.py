# SPDX-License-Identifier: MIT
"""The Ethereum driver on its embedded chain: what it anchors, what it believes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from eth.db.schema import SchemaV1
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from web3 import Web3

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import rlp
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.embedded import CHAIN_ID, CONTRACT
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import NO_METADATA, Prepared, Receipt, ReceiptState, utc_now

COMMITMENT = HashFactory.digest(b"a run", "sha256")
METADATA = {"phase": "before_training", "run": "20260111-080000"}


def configured(context: DriverContext, **settings: Any) -> EthereumDriver:
    return EthereumDriver(dataclasses.replace(context, settings=EthereumSettings(**settings)))


def anchored(driver: EthereumDriver, commitment: Digest = COMMITMENT) -> Receipt:
    return driver.submit(driver.prepare(commitment, METADATA))


def signed(account: Any, nonce: int, to: bytes | None, data: str) -> Prepared:
    """A prepared anchor as no driver of ours would make it; without `to` it creates a contract."""
    fields = {"data": data, "gas": 300_000, "nonce": nonce, "chainId": CHAIN_ID, "value": 0}
    if to is not None:
        fields["to"] = Web3.to_checksum_address(to)
    transaction = account.sign_transaction({**fields, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0})
    return Prepared(
        network="ethereum",
        commitment=COMMITMENT,
        reference=transaction.hash.to_0x_hex(),
        payload_hex=bytes(transaction.raw_transaction).hex(),
    )


def store_hash(root: bytes, label: str = "") -> str:
    abi = mlprovenance.artifact()["abi"]
    return Web3().eth.contract(abi=abi).encode_abi("storeHash", [root, label])


# What it says.


def test_receipt_and_verdict_state_what_the_chain_has(driver: EthereumDriver, evm_view: Callable[[], Any]) -> None:
    receipt = anchored(driver)
    head = evm_view().blocks()[-1]
    assert receipt.network_id == f"eip155:{CHAIN_ID}"
    assert receipt.state is ReceiptState.FINAL
    assert receipt.embedded is True
    assert receipt.reference == "0x" + head.transactions[0].hash.hex()
    assert receipt.block_time is not None
    assert receipt.block_time.timestamp() == head.header.timestamp
    anchored(driver, HashFactory.digest(b"later", "sha256"))
    verified = driver.verify(receipt, COMMITMENT)
    assert verified.confirmations == 2
    assert verified.facts["block_hash"] == "0x" + head.hash.hex()
    assert verified.facts["contract"] == "0x" + CONTRACT.hex()
    assert json.loads(verified.facts["metadata"]) == METADATA
    assert len(verified.trusts) == 1
    assert "proves nothing to others" in verified.trusts[0]


def test_block_times_are_the_clocks_and_never_run_ahead(driver: EthereumDriver) -> None:
    start = utc_now()
    times = [anchored(driver, HashFactory.digest(bytes([number]), "sha256")).block_time for number in range(4)]
    assert sorted(times) == times
    assert all(start <= each <= start + timedelta(seconds=time.time() - start.timestamp()) for each in times if each)


def test_block_time_does_not_go_back_with_the_clock(driver: EthereumDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    first = anchored(driver).block_time
    yesterday = time.time() - 86_400
    monkeypatch.setattr("mrv_backends_eth.evm.time.time", lambda: yesterday)
    assert anchored(driver, HashFactory.digest(b"later", "sha256")).block_time == first


def test_another_evm_finds_the_same_record(driver: EthereumDriver, evm_view: Callable[[], Any]) -> None:
    """py-evm's own view of the file: our contract's code, and in its storage the record the evidence proves."""
    receipt = anchored(driver)
    state = evm_view().chain.get_vm().state
    assert keccak256(state.get_code(CONTRACT)) == mlprovenance.code_hash()
    submitter = bytes.fromhex(receipt.evidence["submitter"][2:])
    slot = int.from_bytes(mlprovenance.submission_slot(submitter, COMMITMENT.value), "big")
    record = mlprovenance.decode_submission(state.get_storage(CONTRACT, slot))
    assert receipt.block_time is not None
    assert record == (mlprovenance.Submission(int(receipt.block_time.timestamp()), receipt.evidence["block_number"]))


@given(
    st.sampled_from(HashFactory.algorithms()), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4)
)
def test_label_keeps_algorithm_and_metadata_apart(algorithm: str, metadata: dict[str, str]) -> None:
    commitment = HashFactory.digest(b"content", algorithm)
    text = mlprovenance.label(commitment, metadata)
    assert mlprovenance.HashSubmitted(commitment.value, bytes(20), text).commitment == commitment
    written = text.removeprefix(f"{algorithm}:")
    assert (json.loads(written) if written else {}) == metadata


# What it refuses before anything is sent.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "calldata"}, "mode"),
        ({"chain_id": 1}, "chain_id"),
        ({"contract_address": "0x" + "11" * 20}, "contract_address"),
    ],
)
def test_settings_for_another_chain_are_refused(context: DriverContext, settings: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as failure:
        configured(context, **settings)
    assert failure.value.hint


def test_settings_that_agree_with_the_embedded_chain_are_fine(context: DriverContext) -> None:
    address = Web3.to_checksum_address(CONTRACT)
    driver = configured(context, chain_id=CHAIN_ID, contract_address=address, path="mine.sqlite3")
    anchored(driver)
    assert [path.name for path in context.store_dir.iterdir()] == ["mine.sqlite3"]


def test_gas_limit_is_obeyed_and_the_error_says_what_to_do(context: DriverContext) -> None:
    with pytest.raises(ConfigurationError, match="gas_limit allows 60000") as failure:
        configured(context, gas_limit=60_000).prepare(COMMITMENT, METADATA)
    assert failure.value.hint == "raise gas_limit, for instance to 500000"
    assert anchored(configured(context, gas_limit=160_000)).commitment == COMMITMENT


def test_metadata_longer_than_the_contract_takes_is_refused(driver: EthereumDriver, context: DriverContext) -> None:
    with pytest.raises(FormatError, match="the contract takes 1024"):
        driver.prepare(COMMITMENT, {"text": "x" * 1024})
    assert not context.store_dir.exists()


def test_the_zero_commitment_is_refused(driver: EthereumDriver) -> None:
    with pytest.raises(SubmissionRejectedError, match="the contract would refuse 0000"):
        driver.prepare(Digest("sha256", bytes(32)), NO_METADATA)


# What it refuses afterwards: being included is not being anchored.


def test_transaction_that_reverts_is_no_anchor(driver: EthereumDriver) -> None:
    prepared = signed(Account.create(), 0, CONTRACT, store_hash(bytes(32)))
    for _ in range(2):
        with pytest.raises(SubmissionRejectedError, match="failed"):
            driver.submit(prepared)
    with pytest.raises(AnchorNotFoundError):
        driver.lookup(prepared.reference)


def test_transaction_to_an_address_without_code_is_no_anchor(driver: EthereumDriver) -> None:
    with pytest.raises(SubmissionRejectedError, match="did not call the contract"):
        driver.submit(signed(Account.create(), 0, b"\x77" * 20, store_hash(COMMITMENT.value)))


def test_transaction_with_another_root_is_wrong(driver: EthereumDriver) -> None:
    with pytest.raises(VerificationError, match="anchors sha256:7777"):
        driver.submit(signed(Account.create(), 0, CONTRACT, store_hash(b"\x77" * 32)))


def test_transaction_the_chain_refuses(driver: EthereumDriver) -> None:
    with pytest.raises(SubmissionRejectedError, match="refuses the transaction"):
        driver.submit(signed(Account.create(), 7, CONTRACT, store_hash(COMMITMENT.value)))
    assert anchored(driver).commitment == COMMITMENT


def test_prepared_bytes_must_be_the_referenced_transaction(driver: EthereumDriver) -> None:
    prepared = driver.prepare(COMMITMENT, METADATA)
    with pytest.raises(VerificationError, match="are not the transaction"):
        driver.submit(prepared.model_copy(update={"payload_hex": prepared.payload_hex[:-2] + "00"}))
    with pytest.raises(FormatError, match="not hexadecimal"):
        driver.submit(prepared.model_copy(update={"payload_hex": "no"}))


def test_a_repeat_by_the_same_account_points_to_its_first_record(driver: EthereumDriver) -> None:
    account = Account.create()
    first, second = (driver.submit(signed(account, n, CONTRACT, store_hash(COMMITMENT.value))) for n in range(2))
    assert first.reference != second.reference
    verified = [driver.verify(receipt, COMMITMENT) for receipt in (first, second)]
    assert verified[0].facts["first_recorded"] == verified[1].facts["first_recorded"]
    assert verified[1].facts["block_number"] == verified[0].facts["block_number"] + 1


def test_metadata_that_is_no_text_does_not_hide_an_anchor(driver: EthereumDriver) -> None:
    data = store_hash(COMMITMENT.value, "??").replace(b"??".hex(), "fffe")
    receipt = driver.submit(signed(Account.create(), 0, CONTRACT, data))
    assert driver.verify(receipt, COMMITMENT).facts["metadata"] == "\ufffd\ufffd"


# What a receipt cannot claim.


def test_every_field_of_a_receipt_is_checked(driver: EthereumDriver) -> None:
    receipt = anchored(driver)
    assert receipt.block_time is not None
    changes = {
        "format": "mrv-receipt/2",
        "network": "other",
        "driver": "bitcoin",
        "network_id": "eip155:1",
        "embedded": False,
        "commitment": HashFactory.digest(b"other", "sha256"),
        "state": ReceiptState.PENDING,
        "reference": "0x" + "11" * 32,
        "submitted_at": receipt.submitted_at - timedelta(seconds=1),
        "block_time": receipt.block_time - timedelta(seconds=1),
        "evidence": {},
    }
    assert set(changes) == set(Receipt.model_fields)
    for field, value in changes.items():
        forged = receipt.model_copy(update={field: value})
        for commitment in {COMMITMENT, forged.commitment}:
            with pytest.raises(VerificationError):
                driver.verify(forged, commitment)


def test_no_changed_byte_of_the_evidence_is_accepted(driver: EthereumDriver) -> None:
    anchored(driver, HashFactory.digest(b"neighbour", "sha256"))
    receipt = anchored(driver)
    text = json.dumps(receipt.evidence)
    accepted = []
    for position in range(0, len(text), 3):
        changed = text[:position] + ("1" if text[position] != "1" else "2") + text[position + 1 :]
        try:
            forged = receipt.model_copy(update={"evidence": json.loads(changed)})
            driver.verify(forged, COMMITMENT)
        except (ValueError, VerificationError):
            continue
        accepted.append(position)
    assert not accepted


def test_our_event_from_another_contract_is_no_anchor(driver: EthereumDriver, evm_view: Callable[[], Any]) -> None:
    account = Account.create()
    address = bytes.fromhex(account.address[2:])
    # LOG3 over 64 bytes of memory, with the three topics from the call: a contract that emits what it is told.
    runtime = bytes.fromhex("6044356024356004356040" + "6000a300")
    init = bytes.fromhex(f"60{len(runtime):02x}600c60003960{len(runtime):02x}6000f3") + runtime
    with pytest.raises(SubmissionRejectedError):
        driver.submit(signed(account, 0, None, "0x" + init.hex()))
    fake = keccak256(b"\xd6\x94" + address + rlp.encode_int(0))[12:]
    topics = mlprovenance.HASH_SUBMITTED + COMMITMENT.value + bytes(12) + address
    call = signed(account, 1, fake, "0x00000000" + topics.hex())
    with pytest.raises(SubmissionRejectedError, match="did not call the contract"):
        driver.submit(call)
    assert evm_view().logs(mlprovenance.HASH_SUBMITTED, COMMITMENT.value) == 1


def test_receipt_of_a_longer_chain_is_not_found_in_its_older_copy(
    driver: EthereumDriver, context: DriverContext, chain_file: Path, tmp_path: Path
) -> None:
    anchored(driver, HashFactory.digest(b"history", "sha256"))
    copy = tmp_path / "copy" / "chain.sqlite3"
    copy.parent.mkdir()
    copy.write_bytes(chain_file.read_bytes())
    receipt = anchored(driver)
    older = EthereumDriver(dataclasses.replace(context, store_dir=copy.parent))
    with pytest.raises(AnchorNotFoundError, match="is not in the embedded chain"):
        older.verify(receipt, COMMITMENT)
    anchored(older, HashFactory.digest(b"a fork", "sha256"))
    with pytest.raises(AnchorNotFoundError):
        older.verify(receipt, COMMITMENT)


# Its file.


def test_keys_are_those_of_py_evm(driver: EthereumDriver, evm_view: Callable[[], Any]) -> None:
    receipt = anchored(driver)
    table = evm_view().table
    transaction_hash = bytes.fromhex(receipt.reference[2:])
    assert SchemaV1.make_canonical_head_hash_lookup_key() in table
    assert SchemaV1.make_block_number_to_hash_lookup_key(receipt.evidence["block_number"]) in table
    assert SchemaV1.make_transaction_hash_to_block_lookup_key(transaction_hash) in table


def test_file_is_ours_alone_and_complete_in_itself(driver: EthereumDriver, chain_file: Path) -> None:
    old = os.umask(0)
    try:
        receipt = anchored(driver)
        driver.verify(receipt, COMMITMENT)
    finally:
        os.umask(old)
    assert stat.S_IMODE(chain_file.stat().st_mode) == 0o600
    assert list(chain_file.parent.iterdir()) == [chain_file]


def test_planted_symlink_is_not_written_through(driver: EthereumDriver, chain_file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    chain_file.parent.mkdir(parents=True)
    chain_file.symlink_to(victim)
    with pytest.raises(BackendUnavailableError, match="symbolic link"):
        driver.prepare(COMMITMENT, METADATA)
    assert victim.read_bytes() == b""


def test_folder_that_cannot_be_made(driver: EthereumDriver, chain_file: Path) -> None:
    chain_file.parent.parent.mkdir(parents=True)
    chain_file.parent.touch()
    with pytest.raises(BackendUnavailableError, match="embedded chain"):
        driver.prepare(COMMITMENT, METADATA)


def test_a_busy_chain_can_be_read_and_asks_writers_to_try_again(context: DriverContext, chain_file: Path) -> None:
    driver = configured(context, timeout=0.05)
    receipt = anchored(driver)
    other = sqlite3.connect(chain_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendUnavailableError, match="locked") as failure:
        driver.prepare(COMMITMENT, METADATA)
    assert failure.value.retryable
    assert driver.verify(receipt, COMMITMENT).commitment == COMMITMENT
    other.close()
    assert anchored(driver).commitment == COMMITMENT


def overwrite(path: Path, table: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(table)
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
        pytest.param(lambda path: path.write_bytes(b"no database\n" * 100), id="text"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:5000]), id="truncated"),
        pytest.param(lambda path: overwrite(path, "PRAGMA application_id = 1"), id="another-program's"),
        pytest.param(lambda path: overwrite(path, "DELETE FROM chain"), id="no-rows"),
        pytest.param(lambda path: overwrite(path, "DROP TABLE chain"), id="no-table"),
        pytest.param(
            lambda path: overwrite(path, "DELETE FROM chain WHERE key = CAST('v1:canonical_head_hash' AS BLOB)"),
            id="no-head",
        ),
        pytest.param(
            lambda path: overwrite(
                path,
                "UPDATE chain SET value = (SELECT value FROM chain WHERE key = CAST('block-number-to-hash:1' AS BLOB))"
                " WHERE key = CAST('block-number-to-hash:2' AS BLOB)",
            ),
            id="swapped-blocks",
        ),
        pytest.param(lambda path: overwrite(path, "UPDATE chain SET value = zeroblob(40)"), id="zeros"),
        pytest.param(lambda path: overwrite(path, "UPDATE chain SET value = 1000000000"), id="numbers"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a-folder"),
        pytest.param(lambda path: path.unlink(), id="removed"),
    ],
)
def test_a_damaged_chain_says_nothing_about_its_anchors(
    driver: EthereumDriver, chain_file: Path, damage: Callable[[Path], None]
) -> None:
    receipt = anchored(driver)
    damage(chain_file)
    calls: tuple[Callable[[], object], ...] = (
        lambda: driver.verify(receipt, COMMITMENT),
        lambda: driver.lookup(receipt.reference),
        lambda: driver.upgrade(receipt),
    )
    for call in calls:
        with pytest.raises(BackendUnavailableError) as failure:
            call()
        assert not failure.value.retryable


def test_status_says_whether_anchoring_could_be_tried(driver: EthereumDriver, chain_file: Path) -> None:
    assert (driver.status().ready, driver.status().detail) == (True, "embedded chain; the first anchor creates it")
    assert not chain_file.parent.exists()
    anchored(driver)
    assert (driver.status().ready, driver.status().detail) == (True, "embedded chain in this folder, at block 2")
    chain_file.write_bytes(b"no database\n" * 100)
    assert not driver.status().ready
    assert "not a database" in driver.status().detail
    chain_file.write_bytes(b"")
    assert driver.status().ready
    assert anchored(driver).evidence["block_number"] == 2


def test_writing_to_a_damaged_chain_is_refused_and_leaves_it_alone(driver: EthereumDriver, chain_file: Path) -> None:
    receipt = anchored(driver)
    overwrite(chain_file, "UPDATE chain SET value = zeroblob(40) WHERE length(key) = 32")
    before = chain_file.read_bytes()
    with pytest.raises(BackendUnavailableError, match="damaged"):
        driver.prepare(COMMITMENT, METADATA)
    with pytest.raises(BackendUnavailableError, match="damaged"):
        driver.submit(
            Prepared(
                network="ethereum", commitment=COMMITMENT, reference=receipt.reference, payload_hex="00"
            ).model_copy(update={"reference": "0x" + keccak256(b"\0").hex()})
        )
    assert chain_file.read_bytes() == before


def test_flipped_bytes_of_the_file_never_mislead(driver: EthereumDriver, chain_file: Path) -> None:
    """Whatever byte is wrong, the answer is the right one, "could not check" or "not found", never "wrong"."""
    receipt = anchored(driver)
    good = chain_file.read_bytes()
    unavailable = 0
    for position in range(0, len(good), 97):
        chain_file.write_bytes(good[:position] + bytes([good[position] ^ 0xFF]) + good[position + 1 :])
        for call in (lambda: driver.verify(receipt, COMMITMENT), lambda: driver.lookup(receipt.reference)):
            try:
                assert call().commitment == COMMITMENT
            except (BackendError, AnchorNotFoundError):
                unavailable += 1
    assert unavailable > 10
