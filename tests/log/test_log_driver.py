# SPDX-License-Identifier: MIT
"""The log driver: one entry for one anchor, and a verifier that refuses a log that shrank or forked."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrv_backends_log.checkpoint import Checkpoint, TlogProof
from mrv_backends_log.driver import LogDriver
from mrv_backends_log.note import SignedNote, SigningKey, VerifierKey
from mrv_backends_log.settings import LogSettings
from mrv_core.driver import DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    MrvError,
    StorageError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import LogTree, verify_consistency
from mrv_core.models import Prepared, Receipt, ReceiptState
from mrv_core.registry import Registry

METADATA = {"run_id": "run-1", "phase": "before_training"}
REFUSALS = (VerificationError, BackendUnavailableError, AnchorNotFoundError)


def root(number: int) -> Digest:
    return HashFactory.digest(f"root {number}".encode(), "sha256")


def anchor(driver: LogDriver, *numbers: int) -> list[Receipt]:
    return [driver.submit(driver.prepare(root(number), METADATA)) for number in numbers]


def checkpoint_of(receipt: Receipt) -> Checkpoint:
    return Checkpoint.parse(SignedNote.parse(TlogProof.parse(receipt.evidence["proof"]).checkpoint).text)


def entries_in(store_dir: Path) -> list[bytes]:
    with sqlite3.connect(store_dir / "log.sqlite3") as database:
        rows = database.execute("SELECT entry FROM entries ORDER BY leaf_index").fetchall()
    database.close()
    return [entry for (entry,) in rows]


def change(store_dir: Path, *statements: str) -> None:
    with sqlite3.connect(store_dir / "log.sqlite3") as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def witness_path(store_dir: Path) -> Path:
    return store_dir.with_name("log.checkpoint")


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    preamble = """
import os, resource, signal, sys
from pathlib import Path
from mrv_backends_log.driver import LogDriver
from mrv_backends_log.settings import LogSettings
from mrv_core.driver import DriverContext
from mrv_core.errors import *
from mrv_core.hashing import HashFactory
from mrv_core.models import Prepared, Receipt
store_dir = Path(sys.argv[1])
driver = LogDriver(DriverContext("log", LogSettings(), store_dir))
commitment = HashFactory.digest(b"root 0", "sha256")
"""
    command = [sys.executable, "-c", preamble + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# --- one anchor ------------------------------------------------------------------------------------------------------


def test_an_anchor_verifies_and_says_what_remains_to_be_trusted(driver: LogDriver) -> None:
    *_, receipt = anchor(driver, 0, 1, 2)
    verified = driver.verify(receipt, root(2))
    assert (verified.state, verified.block_time, verified.reference) == (ReceiptState.FINAL, None, receipt.reference)
    assert (verified.facts["leaf_index"], verified.facts["log_size"]) == (2, 3)
    assert verified.network_id == receipt.network_id == checkpoint_of(receipt).origin
    assert any("verifier_key" in sentence for sentence in verified.trusts)
    assert any("not time" in sentence for sentence in verified.trusts)
    assert receipt.embedded
    assert not driver.capabilities.attests_time


def test_the_reference_is_known_before_anything_is_logged(driver: LogDriver, store_dir: Path) -> None:
    prepared = driver.prepare(root(0), METADATA)
    assert driver.prepare(root(0), dict(reversed(METADATA.items()))) == prepared
    assert entries_in(store_dir) == []
    assert driver.submit(prepared).reference == prepared.reference
    assert entries_in(store_dir) == [bytes.fromhex(prepared.payload_hex)]


def test_submitting_again_gives_the_same_entry_and_receipt(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    anchor(driver, 1)
    assert anchor(driver, 0) == [receipt]
    assert len(entries_in(store_dir)) == 2
    assert driver.lookup(receipt.reference) == driver.upgrade(receipt) == receipt


def test_the_same_root_with_other_metadata_is_another_entry(driver: LogDriver) -> None:
    before = driver.submit(driver.prepare(root(0), {"phase": "before_training"}))
    after = driver.submit(driver.prepare(root(0), {"phase": "after_training"}))
    assert before.reference != after.reference
    for receipt in (before, after):
        driver.verify(receipt, root(0))


def test_old_receipts_verify_as_the_log_grows(driver: LogDriver, store_dir: Path) -> None:
    receipts = anchor(driver, *range(20))
    tree = LogTree(entries_in(store_dir))
    newest = checkpoint_of(receipts[-1])
    for number, receipt in enumerate(receipts):
        driver.verify(Receipt.from_bytes(receipt.to_bytes(), what="receipt"), root(number))
        older = checkpoint_of(receipt)
        assert older.root == tree.root(older.size)
        verify_consistency(older.size, newest.size, older.root, newest.root, tree.consistency_proof(older.size))


def test_reading_methods_change_nothing(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    before = snapshot(store_dir)
    witness = witness_path(store_dir).read_bytes()
    driver.lookup(receipt.reference)
    driver.upgrade(receipt)
    driver.verify(receipt, root(0))
    assert driver.status().ready
    assert snapshot(store_dir) == before
    assert witness_path(store_dir).read_bytes() == witness


def test_another_process_verifies(driver: LogDriver, store_dir: Path, tmp_path: Path) -> None:
    (receipt,) = anchor(driver, 0)
    (tmp_path / "receipt.json").write_bytes(receipt.to_bytes())
    script = "print(driver.verify(Receipt.from_bytes(Path(sys.argv[2]).read_bytes(), what='r'), commitment).state)"
    result = run(script, store_dir, tmp_path / "receipt.json")
    assert (result.stdout, result.stderr) == ("FINAL\n", "")


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_every_changed_claim_of_a_receipt_is_refused(driver: LogDriver) -> None:
    other, receipt, _ = anchor(driver, 1, 0, 2)
    proof = receipt.evidence["proof"]
    changes: list[dict[str, object]] = [
        {"network": "log2"},
        {"driver": "ipfs"},
        {"network_id": "mrv.local/log/0000000000000000"},
        {"embedded": False},
        {"commitment": root(1)},
        {"reference": other.reference},
        {"reference": receipt.reference.upper()},
        {"reference": ""},
        {"block_time": datetime(2024, 1, 1, tzinfo=UTC)},
        {"submitted_at": datetime(2024, 1, 1, tzinfo=UTC)},
        {"evidence": {}},
        {"evidence": other.evidence},
        {"evidence": receipt.evidence | {"more": 1}},
        {"evidence": receipt.evidence | {"format": "mrv-log-evidence/2"}},
        {"evidence": receipt.evidence | {"entry": other.evidence["entry"]}},
        {"evidence": receipt.evidence | {"entry": receipt.evidence["entry"] + "\n"}},
        {"evidence": receipt.evidence | {"entry": "\ud800"}},
        {"evidence": receipt.evidence | {"entry": "x" * 100_000}},
        {"evidence": receipt.evidence | {"proof": other.evidence["proof"]}},
        {"evidence": receipt.evidence | {"proof": proof.replace("index 1", "index 0")}},
        {"evidence": receipt.evidence | {"proof": proof.replace("\n2\n", "\n3\n")}},
        {"evidence": receipt.evidence | {"proof": proof + "— witness.example AAAAAAAAAAA=\n"}},
        {"evidence": receipt.evidence | {"proof": None}},
    ]
    for changed in changes:
        with pytest.raises(VerificationError):
            driver.verify(receipt.model_copy(update=changed), root(0))
    for commitment in (root(1), Digest("blake3", root(0).value)):
        with pytest.raises(VerificationError):
            driver.verify(receipt, commitment)
    with pytest.raises(VerificationError):
        driver.upgrade(receipt.model_copy(update={"commitment": root(1)}))


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_flipped_bytes_of_a_stored_receipt_are_never_accepted(driver: LogDriver, data: st.DataObject) -> None:
    receipt, *_ = anchor(driver, 0, 1, 2)
    text = bytearray(receipt.to_bytes())
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = Receipt.from_bytes(bytes(text), what="receipt")
        driver.verify(changed, root(0))
    except (FormatError, VerificationError):
        return
    assert changed == receipt  # only the spelling of the JSON differs


def test_a_log_that_lost_its_last_entries_is_refused(driver: LogDriver, store_dir: Path) -> None:
    receipts = anchor(driver, *range(5))
    change(store_dir, "DELETE FROM entries WHERE leaf_index >= 3")
    for number, receipt in enumerate(receipts):
        with pytest.raises(VerificationError, match="shrank"):
            driver.verify(receipt, root(number))
    change(store_dir, "DELETE FROM checkpoints WHERE size > 3")  # cut consistently; only memory and receipts can tell
    with pytest.raises(VerificationError, match=r"shrank.*remembered"):
        driver.verify(receipts[0], root(0))
    witness_path(store_dir).unlink()
    with pytest.raises(VerificationError, match=r"shrank.*receipt"):
        driver.verify(receipts[4], root(4))


def test_a_log_that_was_put_back_is_refused_and_never_signs_again(driver: LogDriver, store_dir: Path) -> None:
    receipts = anchor(driver, 0, 1, 2)
    old = (store_dir / "log.sqlite3").read_bytes()
    receipts += anchor(driver, 3, 4)
    newest = (store_dir / "log.sqlite3").read_bytes()
    (store_dir / "log.sqlite3").write_bytes(old)
    for number, receipt in enumerate(receipts):
        with pytest.raises(VerificationError, match="shrank"):
            driver.verify(receipt, root(number))
    with pytest.raises(VerificationError, match="shrank"):
        anchor(driver, 99)
    with pytest.raises(VerificationError, match="shrank"):
        driver.lookup(receipts[0].reference)
    assert not driver.status().ready
    assert (store_dir / "log.sqlite3").read_bytes() == old
    (store_dir / "log.sqlite3").write_bytes(newest)
    for number, receipt in enumerate(receipts):
        driver.verify(receipt, root(number))


def test_a_fork_signed_by_the_same_key_is_refused(
    driver: LogDriver, make_driver: Callable[..., LogDriver], store_dir: Path, tmp_path: Path
) -> None:
    common = anchor(driver, 0, 1, 2)
    shutil.copytree(store_dir, tmp_path / "fork")
    forked = make_driver(tmp_path / "fork")
    (here,), (there,) = anchor(driver, 3), anchor(forked, 4)
    driver.verify(here, root(3))
    forked.verify(there, root(4))
    for receipt, number in zip(common, range(3), strict=True):
        forked.verify(receipt, root(number))  # both sides extend what they have in common
    with pytest.raises(VerificationError, match="forked"):
        driver.verify(there, root(4))
    with pytest.raises(VerificationError, match="forked"):
        forked.verify(here, root(3))
    shutil.copy(tmp_path / "fork" / "log.sqlite3", store_dir / "log.sqlite3")
    with pytest.raises(VerificationError, match=r"forked.*remembered"):
        driver.verify(common[0], root(0))
    with pytest.raises(VerificationError, match=r"forked.*remembered"):
        anchor(driver, 5)


def test_a_log_replaced_by_another_with_its_own_key_is_refused(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    other_dir = store_dir.with_name("other")
    other = LogDriver(DriverContext("log", LogSettings(), other_dir))
    (forged,) = anchor(other, 0)
    shutil.rmtree(store_dir)
    shutil.copytree(other_dir, store_dir)
    with pytest.raises(VerificationError, match="replaced"):
        driver.verify(receipt, root(0))
    with pytest.raises(VerificationError, match="replaced"):
        driver.verify(forged, root(0))
    with pytest.raises(VerificationError, match="replaced"):
        anchor(driver, 1)


def test_a_receipt_of_a_log_that_is_kept_elsewhere_is_not_found_here(driver: LogDriver, tmp_path: Path) -> None:
    (receipt,) = anchor(driver, 0)
    other = LogDriver(DriverContext("log", LogSettings(), tmp_path / "elsewhere" / "log"))
    anchor(other, 1)
    with pytest.raises(AnchorNotFoundError, match="the log here is"):
        other.verify(receipt, root(0))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = entry || X'20' WHERE leaf_index = 1",
        "UPDATE entries SET entry = (SELECT entry FROM entries WHERE leaf_index = 0) WHERE leaf_index = 1",
        "UPDATE entries SET leaf = randomblob(32) WHERE leaf_index = 1",
        "UPDATE entries SET leaf_index = 77 WHERE leaf_index = 1",
        "UPDATE entries SET leaf_index = -1 WHERE leaf_index = 1",
        "UPDATE entries SET submitted_at = '2020-01-01T00:00:00Z' WHERE leaf_index = 1",
        "UPDATE entries SET submitted_at = 'yesterday' WHERE leaf_index = 1",
        "UPDATE entries SET submitted_at = X'ff' WHERE leaf_index = 1",
        "DELETE FROM entries WHERE leaf_index = 1",
        "UPDATE nodes SET hash = randomblob(32) WHERE level = 0 AND position = 1",
        "UPDATE nodes SET hash = randomblob(32) WHERE level = 0 AND position = 0",
        "UPDATE nodes SET hash = randomblob(32) WHERE level = 1 AND position = 0",
        "UPDATE nodes SET hash = randomblob(32) WHERE level = 2 AND position = 0",
        "UPDATE nodes SET hash = randomblob(31) WHERE level = 2 AND position = 0",
        "UPDATE nodes SET hash = 'text' WHERE level = 2 AND position = 0",
        "DELETE FROM nodes",
        "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 3) WHERE size = 5",
        "UPDATE checkpoints SET note = replace(note, char(10) || '5', char(10) || '4') WHERE size = 5",
        "UPDATE checkpoints SET note = '' WHERE size = 5",
        "UPDATE checkpoints SET note = X'ff' WHERE size = 5",
        "DELETE FROM checkpoints WHERE size = 5",
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET size = 9 WHERE size = 5",
        "DROP TABLE nodes",
        "DROP TABLE checkpoints",
        "DROP TABLE entries",
        "PRAGMA user_version = 0",
        "DELETE FROM entries WHERE leaf_index < 5",
        "UPDATE entries SET entry = zeroblob(50000000) WHERE leaf_index = 1",
        "INSERT INTO entries VALUES (9223372036854775807, X'00', X'00', '')",
        "INSERT INTO entries VALUES (-7, X'00', X'00', ''), (5, X'01', X'00', '')",
    ],
)
def test_a_log_edited_by_hand_is_refused(driver: LogDriver, store_dir: Path, statement: str) -> None:
    receipts = anchor(driver, *range(5))
    driver.verify(receipts[1], root(1))
    change(store_dir, statement)
    with pytest.raises(VerificationError):
        driver.verify(receipts[1], root(1))


def test_a_log_with_the_wrong_columns_is_refused(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    for column in ("'text'", "X'00'", "1.5", "-3"):
        change(
            store_dir,
            "DROP TABLE IF EXISTS entries",
            "DROP VIEW IF EXISTS entries",
            f"CREATE VIEW entries AS SELECT {column} AS leaf_index, {column} AS leaf, {column} AS entry, 1 AS time",
        )
        with pytest.raises(VerificationError):
            driver.verify(receipt, root(0))
        change(store_dir, "DROP VIEW entries")


def test_a_file_damaged_anywhere_gives_one_of_the_known_answers(driver: LogDriver, store_dir: Path) -> None:
    receipt, *_ = anchor(driver, 0, 1, 2)
    honest = driver.verify(receipt, root(0))
    path = store_dir / "log.sqlite3"
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 1024)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 61)]
    damaged += [b"\0" * len(whole), b"not a database", whole[4096:]]
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            assert driver.verify(receipt, root(0)) == honest  # the damage is where this answer does not look
        except REFUSALS:
            refused += 1
    assert refused > 30
    path.write_bytes(whole)
    assert driver.verify(receipt, root(0)) == honest


# --- what could not be checked ---------------------------------------------------------------------------------------


def test_a_removed_store_is_could_not_check_and_stays_removed(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    shutil.rmtree(store_dir)
    for call in (
        lambda: driver.verify(receipt, root(0)),
        lambda: driver.lookup(receipt.reference),
        lambda: driver.upgrade(receipt),
    ):
        with pytest.raises(BackendUnavailableError):
            call()
    driver.status()
    assert not store_dir.exists()
    with pytest.raises(BackendUnavailableError, match="gone") as caught:  # a new log must not pass for the old one
        anchor(driver, 1)
    assert str(witness_path(store_dir)) in str(caught.value)
    assert not store_dir.exists()


def test_a_removed_log_file_says_what_was_checked_without_it(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    prepared = driver.prepare(root(1), METADATA)
    (store_dir / "log.sqlite3").unlink()
    with pytest.raises(BackendUnavailableError, match=r"not there.*signature and inclusion proof hold"):
        driver.verify(receipt, root(0))
    with pytest.raises(VerificationError):  # wrong stays wrong without the log
        driver.verify(receipt, root(1))
    with pytest.raises(BackendUnavailableError, match="not there"):
        driver.submit(prepared)
    assert not (store_dir / "log.sqlite3").exists()


def test_lookup_tells_what_is_not_there_from_what_is_no_reference(driver: LogDriver) -> None:
    (receipt,) = anchor(driver, 0)
    origin, _, leaf = receipt.reference.rpartition("#")
    for reference in (f"{origin}#{'0' * 64}", f"log.example/other#{leaf}"):
        with pytest.raises(AnchorNotFoundError):
            driver.lookup(reference)
    for reference in ("", "nonsense", leaf, f"#{leaf}", f"{origin}#{leaf.upper()}", f"{origin}#{leaf}0"):
        with pytest.raises(FormatError):
            driver.lookup(reference)


def test_a_prepared_anchor_is_not_found_before_it_is_submitted(driver: LogDriver) -> None:
    prepared = driver.prepare(root(0), METADATA)
    with pytest.raises(AnchorNotFoundError):
        driver.lookup(prepared.reference)
    anchor(driver, 1)
    with pytest.raises(AnchorNotFoundError):
        driver.lookup(prepared.reference)


def test_a_locked_log_is_a_bounded_wait_and_worth_trying_again(
    driver: LogDriver, make_driver: Callable[..., LogDriver], store_dir: Path
) -> None:
    (receipt,) = anchor(driver, 0)
    impatient = make_driver(timeout=0.1)
    holder = sqlite3.connect(store_dir / "log.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        for call in (lambda: impatient.verify(receipt, root(0)), lambda: anchor(impatient, 1)):
            with pytest.raises(BackendUnavailableError, match="locked") as caught:
                call()
            assert caught.value.retryable
    finally:
        holder.close()
    assert entries_in(store_dir) == [receipt.evidence["entry"].encode()]
    driver.verify(receipt, root(0))


def test_a_damaged_memory_is_not_taken_for_a_damaged_log(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    for content in (b"", b"\xff", b"half a checkpo", b"x" * 100_000):
        witness_path(store_dir).write_bytes(content)
        with pytest.raises(BackendUnavailableError, match="remembered checkpoint"):
            driver.verify(receipt, root(0))
    witness_path(store_dir).unlink()
    driver.verify(receipt, root(0))
    driver.upgrade(receipt)
    assert witness_path(store_dir).exists()


# --- preparing and submitting ----------------------------------------------------------------------------------------


def test_prepared_bytes_that_are_not_what_they_say_are_rejected(driver: LogDriver, store_dir: Path) -> None:
    prepared, other = driver.prepare(root(0), METADATA), driver.prepare(root(1), METADATA)
    leaf = prepared.reference.rpartition("#")[2]
    for update in (
        {"payload_hex": other.payload_hex},
        {"payload_hex": "zz"},
        {"payload_hex": b"{}".hex()},
        {"payload_hex": ""},
        {"reference": other.reference},
        {"reference": f"log.example/other#{leaf}"},
        {"commitment": root(1)},
    ):
        with pytest.raises(SubmissionRejectedError):
            driver.submit(prepared.model_copy(update=update))
    assert entries_in(store_dir) == []


def test_metadata_that_does_not_fit_is_refused_before_anything_is_made(driver: LogDriver, store_dir: Path) -> None:
    for metadata in ({"note": "x" * 65_535}, {"loss": float("nan")}, {"n": 2**60}, {"s": "\ud800"}):
        with pytest.raises(FormatError):
            driver.prepare(root(0), metadata)
    assert not store_dir.exists()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(metadata=st.dictionaries(st.text(), json_values, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_any_metadata_anchors_and_verifies_or_is_refused_before(driver: LogDriver, metadata: dict[str, Any]) -> None:
    try:
        prepared = driver.prepare(root(0), metadata)
    except FormatError:
        return
    driver.verify(driver.submit(prepared), root(0))


def _anchor_many(store_dir: Path, first: int, count: int) -> None:
    driver = LogDriver(DriverContext("log", LogSettings(), store_dir))
    anchor(driver, *range(first, first + count))


def test_two_processes_share_a_log_from_its_first_entry(driver: LogDriver, store_dir: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_anchor_many, args=(store_dir, start, 20)) for start in (0, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(set(entries_in(store_dir))) == 40
    for number in range(40):
        driver.verify(driver.lookup(driver.prepare(root(number), METADATA).reference), root(number))


def test_receipts_verify_while_another_process_appends(driver: LogDriver, store_dir: Path) -> None:
    receipts = anchor(driver, *range(5))
    worker = multiprocessing.get_context("spawn").Process(target=_anchor_many, args=(store_dir, 5, 60))
    worker.start()
    rounds = 0
    while worker.is_alive() or rounds < 10:
        for number, receipt in enumerate(receipts):
            driver.verify(receipt, root(number))
            assert driver.lookup(receipt.reference) == receipt
        rounds += 1
    worker.join()
    assert worker.exitcode == 0
    assert len(entries_in(store_dir)) == 65


def test_killed_between_prepare_and_submit_another_process_finishes(store_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "prepared.json"
    kill = """
prepared = driver.prepare(commitment, {"run_id": "run-1"})
Path(sys.argv[2]).write_bytes(prepared.to_bytes())
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run(kill, store_dir, path).returncode == -signal.SIGKILL
    submit = "print(driver.submit(Prepared.from_bytes(Path(sys.argv[2]).read_bytes(), what='p')).reference)"
    references = {run(submit, store_dir, path).stdout for _ in range(2)}
    assert references == {f"{Prepared.from_bytes(path.read_bytes(), what='prepared').reference}\n"}
    assert len(entries_in(store_dir)) == 1


@pytest.mark.parametrize(
    ("place", "logged"),
    [
        ("mrv_backends_log.store.LogWriter.add_checkpoint", 0),  # appended, not signed for, not committed
        ("mrv_backends_log.witness.Witness.remember", 1),  # committed, not remembered
        ("mrv_backends_log.driver.LogDriver.lookup", 1),  # remembered, receipt not returned
    ],
)
def test_killed_while_submitting_the_same_bytes_give_one_entry(
    driver: LogDriver, store_dir: Path, place: str, logged: int
) -> None:
    script = f"""
import pydoc
prepared = driver.prepare(commitment, {{"phase": "before_training", "run_id": "run-1"}})
owner = pydoc.locate({place.rpartition(".")[0]!r})
setattr(owner, {place.rpartition(".")[2]!r}, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
driver.submit(prepared)
"""
    assert run(script, store_dir).returncode == -signal.SIGKILL
    assert len(entries_in(store_dir)) == logged
    (receipt,) = anchor(driver, 0)
    driver.verify(receipt, root(0))
    assert len(entries_in(store_dir)) == 1


@pytest.mark.parametrize("write", [1, 2])
def test_killed_while_a_log_is_set_up_the_next_process_sets_it_up(
    driver: LogDriver, store_dir: Path, write: int
) -> None:
    script = f"""
import mrv_backends_log.keys as keys
write, calls = keys.write_atomic, []
def write_or_die(path, data):
    calls.append(path)
    if len(calls) == {write}:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, data)
keys.write_atomic = write_or_die
driver.prepare(commitment, {{}})
"""
    assert run(script, store_dir).returncode == -signal.SIGKILL
    (receipt,) = anchor(driver, 0)
    driver.verify(receipt, root(0))


def test_killed_in_the_middle_of_a_commit_reading_waits_and_writing_repairs(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    script = """
import sqlite3
database = sqlite3.connect(store_dir / "log.sqlite3", isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
for number in range(500):  # more than the cache holds: SQLite writes pages into the file before the commit
    database.execute("INSERT INTO nodes VALUES (9, ?, randomblob(200))", (number,))
os.kill(os.getpid(), signal.SIGKILL)
"""
    before = (store_dir / "log.sqlite3").read_bytes()
    assert run(script, store_dir).returncode == -signal.SIGKILL
    assert (store_dir / "log.sqlite3-journal").exists()
    assert (store_dir / "log.sqlite3").read_bytes() != before
    cut_off = snapshot(store_dir)
    with pytest.raises(BackendUnavailableError) as caught:
        driver.verify(receipt, root(0))
    assert "mrv flush" in (caught.value.hint or "")
    assert snapshot(store_dir) == cut_off
    anchor(driver, 0)
    assert not (store_dir / "log.sqlite3-journal").exists()
    driver.verify(receipt, root(0))


def test_a_full_disk_leaves_the_log_as_it_was(store_dir: Path) -> None:
    script = """
driver.prepare(commitment, {})
for number in range(3):
    driver.submit(driver.prepare(commitment, {"number": number}))
before = (store_dir / "log.sqlite3").read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), resource.RLIM_INFINITY))
try:
    for number in range(3, 200):
        before = (store_dir / "log.sqlite3").read_bytes()
        driver.submit(driver.prepare(commitment, {"number": number, "note": "x" * 500}))
except (BackendUnavailableError, StorageError) as error:
    assert error.hint, error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (store_dir / "log.sqlite3").read_bytes() == before
    driver.verify(driver.submit(driver.prepare(commitment, {"number": number, "note": "x" * 500})), commitment)
    print("resumed")
"""
    result = run(script, store_dir)
    assert (result.stdout, result.stderr) == ("resumed\n", "")


# --- keys, settings, files -------------------------------------------------------------------------------------------


def test_a_pinned_key_is_the_only_thing_trusted(
    driver: LogDriver, make_driver: Callable[..., LogDriver], store_dir: Path
) -> None:
    (receipt,) = anchor(driver, 0)
    text = (store_dir / "log.vkey").read_text().strip()
    pinned = make_driver(verifier_key=text)
    verified = pinned.verify(receipt, root(0))
    assert not any("verifier_key" in sentence for sentence in verified.trusts)
    (store_dir / "log.vkey").write_text("replaced")
    pinned.verify(receipt, root(0))
    with pytest.raises(BackendUnavailableError, match="verifier key"):
        driver.verify(receipt, root(0))
    stranger = str(SigningKey("log.example/stranger", bytes(32)).verifier)
    namesake = str(SigningKey(receipt.network_id, bytes(32)).verifier)
    with pytest.raises(VerificationError, match="network_id"):
        make_driver(verifier_key=stranger).verify(receipt, root(0))
    with pytest.raises(VerificationError, match="not signed by"):
        make_driver(verifier_key=namesake).verify(receipt, root(0))
    with pytest.raises(ConfigurationError, match="not another"):
        make_driver(verifier_key=text, origin="another")
    for wrong in (stranger, namesake):
        with pytest.raises(ConfigurationError, match="verifier_key"):
            make_driver(verifier_key=wrong).prepare(root(1), METADATA)


def test_a_pinned_key_without_its_log_starts_no_log_of_its_own(
    make_driver: Callable[..., LogDriver], store_dir: Path
) -> None:
    pinned = make_driver(verifier_key=str(SigningKey("log.example/one", bytes(32)).verifier))
    with pytest.raises(ConfigurationError, match="no signing key"):
        pinned.prepare(root(0), METADATA)
    assert not store_dir.exists()


def test_a_verifier_key_that_is_none_is_refused(make_driver: Callable[..., LogDriver]) -> None:
    with pytest.raises(ConfigurationError, match="verifier_key"):
        make_driver(verifier_key="no key")


def test_the_origin_is_chosen_once(make_driver: Callable[..., LogDriver], store_dir: Path) -> None:
    named = make_driver(origin="research.example/log/2026")
    (receipt,) = anchor(named, 0)
    assert receipt.network_id == "research.example/log/2026"
    make_driver().verify(receipt, root(0))
    with pytest.raises(ConfigurationError, match=r"not research\.example/log/2027"):
        make_driver(origin="research.example/log/2027").prepare(root(1), METADATA)
    assert VerifierKey.parse((store_dir / "log.vkey").read_text().strip()).name == "research.example/log/2026"


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a#b", "a\nb", "ü", "x" * 200, "/x"])
def test_origins_that_a_checkpoint_cannot_carry_are_refused(origin: str) -> None:
    with pytest.raises(ValueError):
        LogSettings(origin=origin)


def test_the_log_may_lie_elsewhere_and_is_remembered_here(
    make_driver: Callable[..., LogDriver], tmp_path: Path, store_dir: Path
) -> None:
    driver = make_driver(path=str(tmp_path / "shared log"))
    (receipt,) = anchor(driver, 0)
    driver.verify(receipt, root(0))
    assert (tmp_path / "shared log" / "log.sqlite3").exists()
    assert not store_dir.exists()
    assert witness_path(store_dir).exists()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_are_private_whatever_the_umask(driver: LogDriver, store_dir: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        anchor(driver, 0)
    finally:
        os.umask(previous)
    files = [path for path in store_dir.parent.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"log.key", "log.vkey", "log.sqlite3", "log.checkpoint"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(store_dir.stat().st_mode) == 0o700


def test_a_signing_key_that_others_can_read_is_not_used(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    (store_dir / "log.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="nobody else") as caught:
        anchor(driver, 1)
    assert "chmod 600" in (caught.value.hint or "")
    assert not driver.status().ready
    driver.verify(receipt, root(0))  # reading needs no secret


def test_a_lost_signing_key_is_never_made_anew(driver: LogDriver, store_dir: Path) -> None:
    (receipt,) = anchor(driver, 0)
    prepared = driver.prepare(root(1), METADATA)
    (store_dir / "log.key").unlink()
    witness_path(store_dir).unlink()
    with pytest.raises(BackendUnavailableError, match="no signing key"):
        driver.prepare(root(1), METADATA)
    with pytest.raises(BackendUnavailableError, match="signing key"):
        driver.submit(prepared)
    driver.verify(receipt, root(0))


def test_the_secret_is_shown_nowhere(driver: LogDriver, store_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (receipt,) = anchor(driver, 0)
    secret = (store_dir / "log.key").read_text().strip().split("+", 4)[4]
    (store_dir / "log.key").write_text(f"PRIVATE+KEY+log.example/one+00000000+{secret}")
    with pytest.raises(MrvError) as caught:
        anchor(driver, 1)
    shown = [
        receipt.to_bytes().decode(),
        str(driver.verify(receipt, root(0))),
        str(driver.status()),
        repr(caught.value) + str(caught.value.hint),
        (store_dir / "log.sqlite3").read_bytes().decode("latin-1"),
        (store_dir / "log.vkey").read_text(),
        caplog.text,
    ]
    assert len(secret) > 40
    assert not any(secret in text for text in shown)


def test_planted_links_are_never_written_through(driver: LogDriver, store_dir: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    store_dir.parent.mkdir()
    store_dir.symlink_to(victim)
    with pytest.raises(StorageError, match="symbolic link"):
        driver.prepare(root(0), METADATA)
    store_dir.unlink()
    store_dir.mkdir()
    (store_dir / "log.sqlite3").symlink_to(victim / "file")
    with pytest.raises(BackendUnavailableError, match="not a regular file"):
        driver.prepare(root(0), METADATA)
    assert list(victim.iterdir()) == []
    (store_dir / "log.sqlite3").unlink()
    (receipt,) = anchor(driver, 0)
    (store_dir / "log.sqlite3").rename(victim / "file")
    os.mkfifo(store_dir / "log.sqlite3")
    with pytest.raises(BackendUnavailableError, match="not a regular file"):
        driver.verify(receipt, root(0))


def test_status_names_the_log_once_there_is_one(driver: LogDriver) -> None:
    before = driver.status()
    assert (before.ready, before.network_id) == (True, None)
    (receipt,) = anchor(driver, 0)
    after = driver.status()
    assert (after.ready, after.network_id) == (True, receipt.network_id)
    assert "1 entries" in after.detail
    driver.close()
    driver.close()


def test_the_driver_is_announced_without_loading_cryptography() -> None:
    script = """
import sys
from mrv_core.registry import Registry
registry = Registry.load()
registry.settings_model("log")
assert "cryptography" not in sys.modules
import mrv_backends_log.driver
heavy = {"filelock", "numpy", "requests", "torch", "web3"} & set(sys.modules)
print(sorted(heavy), registry.factory("log").extra)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "[] log\n")


def test_the_registry_builds_the_driver(store_dir: Path) -> None:
    driver = Registry.load().create("log", DriverContext("log", LogSettings(), store_dir))
    assert driver.status().driver == "log"
