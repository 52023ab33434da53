# SPDX-License-Identifier: MIT
"""Bundles as files: what is exported, what is refused, and that a file is exactly its canonical bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mrv_core.bundle import MAX_BUNDLE_BYTES, Bundle, export_bundle, seal_of
from mrv_core.bundle_content import compare_with_leaf
from mrv_core.canonical import canonical_bytes
from mrv_core.config import load_config
from mrv_core.errors import (
    ConfigurationError,
    FormatError,
    RootMismatchError,
    RunStateError,
    StorageError,
    VerificationError,
)
from mrv_core.journal import Journal
from mrv_core.models import ReceiptState
from mrv_core.run_folder import RunFolder
from mrv_core.tracker import ProvenanceTracker

from .conftest import Embedded
from .mutations import sealed


@pytest.fixture
def run(embedded: Embedded, tmp_path: Path) -> Path:
    """Return a copy of a run, without the journal and the networks."""
    return Path(shutil.copytree(embedded.folders["run-1"], tmp_path / "artifacts" / "run-1"))


def test_a_bundle_is_read_back_as_it_was_written(bundle_values: dict[str, Any]) -> None:
    for value in bundle_values.values():
        data = sealed(value)
        bundle = Bundle.from_bytes(data, what="bundle")
        assert bundle.to_bytes() == data == canonical_bytes(json.loads(data))
        assert str(bundle.seal) == str(seal_of(value))
        for check in (bundle.check_root, bundle.check_proof, bundle.check_batch):
            check()
        for network in bundle.receipts:
            bundle.check_receipt(network)


def test_the_newest_anchor_that_covers_the_leaf_is_taken(embedded: Embedded) -> None:
    folder = RunFolder.open(embedded.folders["run-1"])
    before, after = (folder.read_anchor(name).file for name in folder.anchor_names())
    for options, file in (
        ({}, after),
        ({"leaf": "training/config"}, after),
        ({"leaf": "training/results"}, after),
        ({"anchor": "000-before_training"}, before),
        ({"leaf": "training/config", "anchor": "000-before_training"}, before),
    ):
        bundle = export_bundle(folder.path, **options)
        assert (bundle.root, bundle.phase, bundle.anchored) == (file.root, file.phase, file.root)
        assert (bundle.proof.path if bundle.proof is not None else None) == options.get("leaf")
    assert set(bundle.receipts) == {"ethereum", "ipfs", "log"}


def test_a_root_in_a_batch_is_shown_through_the_batch(embedded: Embedded) -> None:
    bundle = export_bundle(embedded.folders["member"])
    assert bundle.batch is not None
    assert bundle.batch.size == 6  # two roots of each of the three runs
    assert bundle.anchored == bundle.batch.batch != bundle.root
    assert {receipt.commitment for receipt in bundle.receipts.values()} == {bundle.anchored}


def test_receipts_come_from_the_journal_where_it_has_come_further(run: Path) -> None:
    assert set(export_bundle(run).receipts) == {"ethereum", "ipfs", "log"}  # the folder alone suffices
    folder = RunFolder.open(run)
    anchor = folder.read_anchor("001-after_training")
    full = anchor.file.receipts["ethereum"]
    stale = full.model_copy(update={"state": ReceiptState.PENDING, "evidence": {}, "block_time": None})
    receipts = {**anchor.file.receipts, "ethereum": stale}
    folder.write_anchor(type(anchor)(anchor.name, anchor.file.model_copy(update={"receipts": receipts})))
    assert export_bundle(run).receipts["ethereum"] == stale
    journal = Journal(run.parent)
    journal.enqueue(anchor.file.root, "ethereum", {})
    journal.record_receipt(journal.find(anchor.file.root, "ethereum"), full)
    assert export_bundle(run).receipts["ethereum"] == full


def test_nothing_is_exported_that_could_not_be_verified(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no node 'training/nothing'"):
        export_bundle(run, leaf="training/nothing")
    with pytest.raises(FormatError, match="no anchor '007-after'"):
        export_bundle(run, anchor="007-after")
    with pytest.raises(RunStateError, match="no anchored root that covers training/epochs/0/metrics"):
        export_bundle(run, leaf="training/epochs/0/metrics", anchor="000-before_training")
    with pytest.raises(StorageError, match="there is no run folder"):
        export_bundle(tmp_path / "none")
    tree = run / "tree.json"
    tree.write_bytes(tree.read_bytes().replace(b'"epochs":3', b'"epochs":4'))
    with pytest.raises(VerificationError) as failure:
        export_bundle(run)
    assert failure.value.hint == f"see 'mrv verify {run}'"


def test_a_root_that_nobody_has_taken_is_not_exported(tmp_path: Path) -> None:
    document = {"networks": ["ethereum"], "storage_options": {"store_in_batches": True}}
    tracker = ProvenanceTracker(tmp_path, load_config({"blockchain": document}, environment={}), run_id="run-1")
    tracker.track_data({"x": [1]})
    with pytest.raises(RunStateError, match="there is no anchored root"):
        export_bundle(tracker.run_folder)
    tracker.store_merkle_on_blockchain_before_training({})
    tracker.close()
    with pytest.raises(RunStateError, match="no network has taken 000-before_training yet") as failure:
        export_bundle(tracker.run_folder)
    assert failure.value.hint == "run 'mrv batch', then export again"


def test_a_bundle_is_never_larger_than_what_is_read(tmp_path: Path) -> None:
    tracker = ProvenanceTracker(tmp_path, load_config({"blockchain": {"networks": ["log"]}}, environment={}))
    tracker.track_data({"text": "x" * MAX_BUNDLE_BYTES})
    tracker.store_merkle_on_blockchain_before_training({})
    tracker.close()
    with pytest.raises(FormatError, match="more than the 4194304 that are read back") as failure:
        export_bundle(tracker.run_folder, leaf="data/training")
    assert "mrv prove" in str(failure.value.hint)
    assert len(export_bundle(tracker.run_folder).to_bytes()) < 10_000


# --- content -----------------------------------------------------------------------------------------------------


def proof_of(embedded: Embedded, leaf: str) -> Any:
    proof = export_bundle(embedded.folders["run-1"], leaf=leaf).proof
    assert proof is not None
    return proof


def test_content_is_recomputed_by_the_leafs_own_algorithm(embedded: Embedded, tmp_path: Path) -> None:
    folder = proof_of(embedded, "data/training")
    file = proof_of(embedded, "data/training/b~0c.csv")
    assert "is what was committed" in compare_with_leaf(folder, embedded.data)
    assert "is what was committed" in compare_with_leaf(file, embedded.data / "b~c.csv")
    changed = Path(shutil.copytree(embedded.data, tmp_path / "changed"))
    (changed / "b~c.csv").write_text("3,5\n")
    for proof, content in ((folder, changed), (file, changed / "b~c.csv"), (file, embedded.data / "a.csv")):
        with pytest.raises(RootMismatchError, match="is not what was committed as data/training"):
            compare_with_leaf(proof, content)
    (changed / "b~c.csv").write_text("3,4\n")
    assert "is what was committed" in compare_with_leaf(folder, changed)
    (changed / "more.csv").write_text("")
    with pytest.raises(RootMismatchError):
        compare_with_leaf(folder, changed)


def test_content_of_another_form_is_no_evidence(embedded: Embedded, tmp_path: Path) -> None:
    for leaf, content in (
        ("data/training", embedded.data / "a.csv"),
        ("data/training/a.csv", embedded.data),
        ("training/config", embedded.data / "a.csv"),
        ("data/test/x", embedded.data / "a.csv"),
        ("training/epochs/0/model_state", embedded.data / "a.csv"),
    ):
        with pytest.raises(FormatError, match="cannot be compared with that"):
            compare_with_leaf(proof_of(embedded, leaf), content)
    with pytest.raises(StorageError):
        compare_with_leaf(proof_of(embedded, "data/training/a.csv"), tmp_path / "none")


@pytest.mark.parametrize("algorithm", ["blake2b-256", "sha256", "sha3-256"])
def test_a_folder_is_recognised_whatever_the_algorithm(algorithm: str, embedded: Embedded, tmp_path: Path) -> None:
    config = load_config({"hash_algorithm": algorithm, "blockchain": {"networks": ["log"]}}, environment={})
    tracker = ProvenanceTracker(tmp_path, config, run_id="run-1")
    tracker.track_data(embedded.data)
    tracker.store_merkle_on_blockchain_before_training({})
    tracker.close()
    proof = export_bundle(tracker.run_folder, leaf="data/training").proof
    assert proof is not None
    assert "is what was committed" in compare_with_leaf(proof, embedded.data)


# --- reading -----------------------------------------------------------------------------------------------------


def test_another_file_is_told_apart_from_a_changed_bundle(bundle_values: dict[str, Any]) -> None:
    for value in ({"format": "mrv-bundle/2"}, {"format": "mrv-proof/1"}, {}, [], None, "mrv-bundle/1"):
        with pytest.raises(ConfigurationError, match="is not a bundle"):
            Bundle.from_bytes(canonical_bytes(value), what="file")
    data = sealed(bundle_values["leaf"])
    with pytest.raises(FormatError, match="not in canonical form"):
        Bundle.from_bytes(data + b"\n", what="file")
    with pytest.raises(FormatError, match="its seal does not fit"):
        Bundle.from_bytes(data.replace(b"2026-", b"2025-", 1), what="file")
    with pytest.raises(FormatError, match="is more than the"):
        Bundle.from_bytes(b" " * (MAX_BUNDLE_BYTES + 1), what="file")
