# SPDX-License-Identifier: MIT
"""Roots of many runs in one anchor: each run keeps a proof of its own, and a crash between two steps loses none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from anchoring import chain_of

from mrv_core.batching import Batch, batch_metadata
from mrv_core.canonical import canonical_bytes, canonical_digest
from mrv_core.journal import Journal
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.run_batches import BatchFile, anchor_waiting_roots
from mrv_core.run_folder import RunFolder
from mrv_core.tracker import ProvenanceTracker


@pytest.fixture
def batched(make_config):
    return make_config(storage_options={"store_in_batches": True})


@pytest.fixture
def waiting(start, batched, content):
    """Return the folders of three complete runs of which nothing has been sent."""
    folders = []
    for number in range(3):
        tracker = start(batched, f"run-{number}")
        assert tracker.store_merkle_on_blockchain_before_training({}) == {}
        tracker.track_epoch(1, content["states"][1], {"loss": number})
        assert tracker.store_merkle_on_blockchain_after_training({}) == {}
        tracker.close()
        folders.append(tracker.run_folder)
    return folders


@pytest.fixture
def anchor(batched, registry):
    def run(folders):
        with BlockchainManager(batched, base_dir=folders[0].parent, registry=registry) as manager:
            made = anchor_waiting_roots(folders, manager)
        for folder in folders:
            ProvenanceTracker.open(folder, batched, registry=registry).close()
        return made

    return run


def roots_of(folder):
    found = RunFolder.open(folder)
    return [found.read_anchor(name).file.root for name in found.anchor_names()]


def edit(path, changes):
    """Change fields of a sealed file and seal it again, as whoever forges one would."""
    value = {**json.loads(path.read_bytes()), **changes}
    value.pop("seal")
    path.write_bytes(canonical_bytes({**value, "seal": str(canonical_digest(value, "sha256"))}))


def test_waiting_roots_are_pending_and_nothing_of_them_is_sent(waiting, verify, batched, registry):
    base = waiting[0].parent
    assert Journal(base).rows() == []
    ProvenanceTracker.open(waiting[0], batched, registry=registry).close()
    assert Journal(base).rows() == []
    report = verify(waiting[0])
    assert report.verdict is Verdict.PENDING
    assert {(r.verdict, r.hint) for a in report.anchors for r in a.networks} == {(Verdict.PENDING, "run 'mrv batch'")}


def test_one_anchor_for_all_and_a_proof_for_each(waiting, anchor, verify):
    made = anchor(waiting)
    roots = [root for folder in waiting for root in roots_of(folder)]
    assert list(made.batch.members) == roots
    for network in ("alpha", "beta"):
        chain = chain_of(waiting[0].parent, network)
        assert chain.count(made.batch.commitment) == 1
        assert [chain.count(root) for root in roots] == [0] * 6
    for folder in waiting:
        report = verify(folder)
        assert report.verdict is Verdict.VALID, report.summary
        assert {r.detail for a in report.anchors for r in a.networks} == {
            "holds the batch of 6 roots with this one in it"
        }
    assert anchor(waiting) is None


def test_a_run_verifies_alone_without_the_batch_file_and_the_journal(waiting, anchor, verify, tmp_path):
    anchor(waiting)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(waiting[1], elsewhere / "run-1")
    shutil.copytree(waiting[1].parent / "networks", elsewhere / "networks")
    assert verify(elsewhere / "run-1").verdict is Verdict.VALID


def test_later_roots_go_into_a_batch_of_their_own(waiting, anchor, verify):
    first, second = anchor(waiting[:2]), anchor(waiting)
    assert [len(made.batch.members) for made in (first, second)] == [4, 2]
    assert [verify(folder).verdict for folder in waiting] == [Verdict.VALID] * 3


@pytest.mark.parametrize(
    "change", [{"index": 1}, {"size": 7}, {"size": 2**32}, {"path": []}, {"batch": f"sha256:{'0' * 64}"}, {"index": -1}]
)
def test_a_changed_batch_proof_is_tampered(waiting, anchor, verify, change):
    anchor(waiting)
    edit(waiting[0] / "batches" / "000-before_training.json", change)
    report = verify(waiting[0])
    assert report.verdict in (Verdict.TAMPERED, Verdict.DISAGREE)
    assert any("000-before_training.json" in finding.place for finding in report.findings)


def test_the_proof_of_another_run_is_tampered(waiting, anchor, verify):
    anchor(waiting)
    for name in ("000-before_training.json", "001-after_training.json"):
        shutil.copy(waiting[1] / "batches" / name, waiting[0] / "batches" / name)
    assert verify(waiting[0]).verdict is Verdict.TAMPERED


def test_without_its_proof_a_run_does_not_verify(waiting, anchor, verify):
    anchor(waiting)
    shutil.rmtree(waiting[0] / "batches")
    assert verify(waiting[0]).verdict is Verdict.TAMPERED, "its receipts are for something that nothing leads to"


@pytest.mark.parametrize("queued", [True, False])
def test_a_process_that_ended_between_two_steps_is_completed_or_forgotten(
    waiting, anchor, verify, batched, registry, queued
):
    """The batch file is there, the runs have no proofs yet; whether it was queued decides."""
    base = waiting[0].parent
    roots = [root for folder in waiting for root in roots_of(folder)]
    batch = Batch(roots)
    (base / "batches").mkdir()
    file = BatchFile(networks=("alpha", "beta"), members=tuple(roots))
    (base / "batches" / f"{batch.commitment.hex}.json").write_bytes(file.to_bytes())
    if queued:
        for network in file.networks:
            Journal(base).enqueue(batch.commitment, network, batch_metadata(len(roots)))
    made = anchor(waiting)
    assert (made is None) is queued
    with BlockchainManager(batched, base_dir=base, registry=registry) as manager:
        assert manager.flush() == []
    for network in file.networks:
        assert chain_of(base, network).count(batch.commitment) == 1
    for folder in waiting:
        ProvenanceTracker.open(folder, batched, registry=registry).close()
        assert verify(folder).verdict is Verdict.VALID


def test_a_root_that_waits_twice_is_one_member_and_holds_up_no_other(waiting, anchor, start, batched, verify):
    """Nothing changed between two anchors, or the run was copied, before the batch was made or after it."""
    copies = [Path(shutil.copytree(waiting[1], waiting[1].with_name(f"copy-{number}"))) for number in range(3)]
    twice = start(batched, "twice")
    twice.anchor_snapshot()
    twice.anchor_snapshot()
    twice.close()
    made = anchor([*waiting, copies[0], twice.run_folder])
    assert (len(made.batch.members), len(made.members)) == (7, 10)
    folders = [*waiting, *copies, twice.run_folder]
    assert anchor(folders) is None
    assert [verify(folder).verdict for folder in folders] == [Verdict.VALID] * 7


def test_a_run_that_is_being_written_is_left_for_the_next_batch(waiting, anchor, batched, registry, verify):
    held = ProvenanceTracker.open(waiting[0], batched, registry=registry)
    with BlockchainManager(batched, base_dir=waiting[0].parent, registry=registry) as manager:
        made = anchor_waiting_roots(waiting, manager)
    assert made is not None
    assert len(made.batch.members) == 4
    held.close()
    anchor(waiting)
    assert [verify(folder).verdict for folder in waiting] == [Verdict.VALID] * 3


def test_batch_files_are_private(waiting, anchor):
    anchor(waiting)
    made: list[Path] = [*waiting[0].parent.glob("batches/*"), *waiting[0].glob("batches/*")]
    assert made
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
