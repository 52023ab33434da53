# SPDX-License-Identifier: MIT
"""Records on a real node's registry: found by their id alone, with no receipt and nothing of the trainer's at hand."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mrv_core import MRVTracker
from mrv_core.driver import Registered
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest
from mrv_core.journal import JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.mrv.record import MrvRecord, generate_mrv_id
from mrv_core.mrv.storage import RecordReceipts, collect_receipts, receipts_path, write_receipts
from mrv_devnet.nodes import AnvilNode

from .registry_place import Place, edited

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(anvil: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(anvil, tmp_path_factory.mktemp("registry"))


def test_a_training_is_registered_and_found_by_its_id_alone(place: Place, tmp_path: Path) -> None:
    config = place.config(place.key)
    with MRVTracker("digits", storage_dir=tmp_path, config=config, interval_s=0.05, country="FRA") as tracker:
        pass
    assert tracker.tx_hash is not None
    assert tracker.verify_on_blockchain().verdict is Verdict.VALID
    alone = tmp_path / "alone" / tracker.record_path.name
    alone.parent.mkdir()
    shutil.copy(tracker.record_path, alone)
    report = place.verify(alone)
    assert report.verdict is Verdict.VALID
    (check,) = report.networks
    assert (check.reference, check.facts["submitter"]) == (tracker.tx_hash, place.address)
    assert check.facts["mrv_id"] == tracker.mrv_id
    assert any("whoever that is" in sentence for sentence in check.trusts), "nobody was named whom to expect"
    assert place.verify(alone, submitter=place.address).verdict is Verdict.VALID


def test_an_edited_record_is_tampered_and_an_unknown_one_not_found(place: Place) -> None:
    path = place.record(generate_mrv_id())
    before = place.verify(path)
    assert before.verdict is Verdict.NOT_FOUND
    assert "no registry that was asked has it" in before.summary
    place.register(path)
    changed = place.verify(edited(path))
    assert changed.verdict is Verdict.TAMPERED
    finding = next(finding for finding in changed.findings if finding.place == "registry:ethereum")
    assert place.address in finding.message
    assert finding.expected == str(MrvRecord.from_json(json.loads(path.read_bytes()), what="record").hash)
    assert place.verify(path).verdict is Verdict.VALID
    assert place.verify(path, generate_mrv_id()).verdict is Verdict.NOT_FOUND


def test_the_script_tells_them_apart(place: Place, tmp_path: Path) -> None:
    path = place.record(generate_mrv_id())
    place.register(path)
    other_key, other = place.account()
    squatted = place.record(path.stem, status="interrupted", interruption="KeyboardInterrupt")
    place.register(squatted, other_key)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(place.config()))

    def run(mrv_id: str, file: Path) -> tuple[int, str]:
        command = [sys.executable, str(ROOT / "scripts" / "verify_mrv.py"), mrv_id, str(file), "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert not done.stderr
        return done.returncode, done.stdout

    status, said = run(path.stem, path)
    assert status == 0, said
    assert "VALID - Hashes match!" in said
    assert f"Submitter: {place.address}" in said
    status, said = run(path.stem, edited(path))
    assert status == 1
    assert "TAMPERED - Hash mismatch (data modified)" in said
    assert place.address in said
    status, said = run(generate_mrv_id(), path)
    assert status == 5
    assert "NOT FOUND - MRV ID not registered" in said
    # Who copied the id is named, and is not taken for the first.
    status, said = run(path.stem, squatted)
    assert status == 0
    assert f"Submitter: {other} (first was {place.address}; 1 more registered this id)" in said


def test_a_squatted_id_does_not_hurt_the_honest_record(place: Place) -> None:
    mrv_id, (squatter_key, squatter) = generate_mrv_id(), place.account()
    honest, theirs = (
        place.record(mrv_id),
        place.record(mrv_id, training={"epochs": 9, "batch_size": 1, "framework": None}),
    )
    place.register(theirs, squatter_key)
    not_yet = place.verify(honest)
    assert not_yet.verdict is Verdict.TAMPERED, "as far as anybody can know who names no submitter"
    assert squatter in not_yet.summary
    expecting = place.verify(honest, submitter=place.address)
    assert expecting.verdict is Verdict.NOT_FOUND
    assert f"{squatter} registered" in expecting.summary
    assert "who is not expected to" in expecting.summary

    place.register(honest)
    for changes in ({}, {"submitter": place.address}):
        report = place.verify(honest, **changes)
        assert report.verdict is Verdict.VALID
        assert report.networks[0].facts["first_submitter"] == squatter
        assert report.networks[0].facts["submitters"] == 2
        assert any(squatter in step.detail for step in report.steps)
    assert place.verify(theirs, submitter=place.address).verdict is Verdict.TAMPERED


def test_receipts_of_a_changed_record_do_not_hide_what_is_registered(place: Place) -> None:
    """Whoever changes a record can anchor it anew, elsewhere, under the same id; the registry still knows."""
    path = place.record(generate_mrv_id())
    place.register(path)
    changed = edited(path)
    forger_key, _ = place.account()
    config = place.config(forger_key)
    del config["blockchain"]["ethereum"]["registry_address"]
    with BlockchainManager(config, base_dir=changed.parent) as manager:
        commitment = Digest("sha256", _sha256(changed))
        assert manager.anchor(commitment, {"mrv_id": path.stem})["ethereum"].error is None
        collect_receipts(changed.parent, manager.journal)
    assert receipts_path(changed).exists()
    assert place.verify(changed).verdict is Verdict.DISAGREE, "nobody was named whose word counts more"
    assert place.verify(changed, submitter=place.address).verdict is Verdict.TAMPERED


def test_a_registry_that_cannot_be_asked_is_not_no(place: Place) -> None:
    path = place.record(generate_mrv_id())
    place.register(path)
    report = place.verify(path, rpc_url="http://127.0.0.1:9", timeout=2, retry_attempts=1)
    assert report.verdict is Verdict.UNREACHABLE
    assert "registry:ethereum" in report.summary
    assert place.verify(path, offline=True).verdict is Verdict.NOT_FOUND


def test_evidence_of_another_id_is_not_taken(place: Place) -> None:
    """The same file registered under two ids: its receipts beside it are of the one it has."""
    path = place.record(generate_mrv_id())
    other = generate_mrv_id()
    with place.manager(place.key) as manager:
        commitment = Digest("sha256", _sha256(path))
        receipt = manager.anchor(commitment, {"mrv_id": other})["ethereum"].receipt
    assert receipt is not None
    held = RecordReceipts(mrv_id=path.stem, commitment=commitment, receipts={"ethereum": receipt})
    write_receipts(path, held)
    for offline in (True, False):
        report = place.verify(path, offline=offline)
        assert report.verdict is Verdict.TAMPERED
        assert other in report.networks[0].detail


def test_a_correction_needs_an_id_of_its_own(place: Place) -> None:
    path = place.record(generate_mrv_id())
    place.register(path)
    changed = edited(path)
    with place.manager(place.key) as manager:
        outcome = manager.anchor(Digest("sha256", _sha256(changed)), {"mrv_id": path.stem})["ethereum"]
    assert outcome.receipt is None
    assert outcome.error is not None
    assert "registered another hash" in outcome.error.message
    assert "supersedes" in str(outcome.error.hint)


def test_what_can_never_be_registered_does_not_wait_for_ever(place: Place) -> None:
    path = place.record(generate_mrv_id())
    place.register(path)
    with place.manager(place.key) as manager:
        commitment = Digest("sha256", _sha256(edited(path)))
        manager.anchor(commitment, {"mrv_id": path.stem})
        assert manager.journal.find(commitment, "ethereum").state is JournalState.REJECTED
        assert manager.flush() == []


def test_a_receipt_that_was_outdone_does_not_hide_the_registration(place: Place) -> None:
    """Receipts that were written down while their transaction waited, and another one took its place."""
    path = place.record(generate_mrv_id())
    commitment = Digest("sha256", _sha256(path))
    place.node.rpc("evm_setAutomine", False)
    with place.manager(place.key) as manager:
        stale = manager.anchor(commitment, {"mrv_id": path.stem})["ethereum"].receipt
    place.node.rpc("anvil_dropAllTransactions")
    place.node.rpc("evm_setAutomine", True)
    assert stale is not None
    place.account()  # another block, with another base fee
    write_receipts(path, RecordReceipts(mrv_id=path.stem, commitment=commitment, receipts={"ethereum": stale}))
    assert place.verify(path).verdict is Verdict.NOT_FOUND
    place.register(path)
    report = place.verify(path)
    assert report.verdict is Verdict.VALID
    assert report.networks[0].reference != stale.reference


def test_receipts_of_another_chain_are_not_tampered_where_only_a_registry_is_named(place: Place) -> None:
    path = place.record(generate_mrv_id())
    place.register(path)
    commitment = Digest("sha256", _sha256(path))
    with place.manager() as manager:
        answer = manager.find_registered(path.stem, commitment)["ethereum"]
    assert isinstance(answer, Registered)
    assert answer.receipt is not None
    foreign = answer.receipt.model_copy(update={"network_id": "eip155:11155111"})
    write_receipts(path, RecordReceipts(mrv_id=path.stem, commitment=commitment, receipts={"ethereum": foreign}))
    report = place.verify(path, contract_address=None)
    assert report.verdict is Verdict.UNREACHABLE
    assert "another one" in report.summary


def test_a_registry_whose_settings_are_wrong_is_not_no(place: Place) -> None:
    report = place.verify(place.record(generate_mrv_id()), rpc_url="embedded", chain_id=None)
    assert report.verdict is Verdict.UNREACHABLE
    assert "the embedded chain has no registry" in report.summary


def test_what_is_no_record_any_more_is_tampered_where_the_registry_has_its_id(place: Place) -> None:
    path = place.record(generate_mrv_id())
    place.register(path)
    cut = path.parent / "cut.json"
    cut.write_bytes(path.read_bytes()[:-1])
    assert place.verify(cut, path.stem).verdict is Verdict.TAMPERED
    for mrv_id, offline in ((None, False), (path.stem, True), (generate_mrv_id(), False)):
        with pytest.raises(FormatError, match="not JSON"):
            place.verify(cut, mrv_id, offline=offline)


def _sha256(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
