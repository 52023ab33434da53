# SPDX-License-Identifier: MIT
"""ProvenanceTracker: what it records, when it anchors, and that a run can be reopened."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mrv_core
from mrv_core.canonical import canonical_bytes
from mrv_core.config import Config
from mrv_core.errors import ConfigurationError, FormatError, RunStateError, StorageError
from mrv_core.models import Verdict
from mrv_core.registry import Registry
from mrv_core.tracker import ProvenanceTracker

Start = Callable[..., ProvenanceTracker]


def test_the_seeds_methods_and_their_returned_keys(start: Start, content: dict[str, Any], tmp_path: Path) -> None:
    tracker = start()
    before = tracker.store_merkle_on_blockchain_before_training({"epochs": 1})
    root = tracker.track_epoch(1, content["states"][1], {"loss": 0.5})
    after = tracker.store_merkle_on_blockchain_after_training({"accuracy": 0.9})
    assert set(before) == set(after) == {"alpha", "beta"}
    assert len({*before.values(), *after.values()}) == 4
    assert root.algorithm == "sha256"

    outcome = tracker.verify_blockchain_provenance()
    assert outcome["blockchain_enabled"] is True
    assert outcome["chain_integrity"] is True
    assert outcome["verification_results"] == {
        "000-before_training": {"alpha": "VALID", "beta": "VALID"},
        "001-after_training": {"alpha": "VALID", "beta": "VALID"},
    }

    status = tracker.get_blockchain_status()
    assert status["blockchain_enabled"] is True
    assert [entry["transactions"] for entry in status["stored_hashes"].values()] == [before, after]
    assert status["pending"] == []

    report = Path(tracker.save_blockchain_report())
    assert report == tracker.run_folder / "report.json"
    assert json.loads(report.read_bytes())["verdict"] == "VALID"
    assert "VALID" in (tracker.run_folder / "report.html").read_text()
    assert tracker.save_blockchain_report(tmp_path / "elsewhere" / "r.html") == str(tmp_path / "elsewhere" / "r.html")
    assert tracker.save() == tracker.run_folder
    tracker.close()


def test_every_epoch_changes_the_root_and_is_stored_at_once(start: Start) -> None:
    tracker = start()
    roots = [tracker.track_epoch(epoch, metrics={"loss": 1.0}) for epoch in (0, 1, 5)]
    assert len(set(roots)) == 3
    stored = sorted((tracker.run_folder / "epochs").glob("*.json"))
    assert [json.loads(path.read_bytes())["root"] for path in stored] == [str(root) for root in roots]
    tracker.close()


def test_every_file_is_canonical_json_with_a_format_version(finished: Path) -> None:
    files = [path for path in finished.rglob("*") if path.is_file() and path.suffix == ".json"]
    assert len(files) == 6
    for path in files:
        data = path.read_bytes()
        assert data == canonical_bytes(json.loads(data)), path
        assert json.loads(data)["format"].startswith("mrv-"), path
        assert path.stat().st_mode & 0o777 == 0o600, path


@pytest.mark.parametrize("epoch", [1, 0, -1])
def test_an_epoch_number_must_grow(start: Start, epoch: int) -> None:
    tracker = start()
    tracker.track_epoch(1)
    with pytest.raises((RunStateError, FormatError), match="epoch"):
        tracker.track_epoch(epoch)
    tracker.track_epoch(2)
    tracker.close()


@pytest.mark.parametrize("epoch", [True, "1", 1.0, None])
def test_an_epoch_number_is_an_integer(start: Start, epoch: Any) -> None:
    with start() as tracker, pytest.raises(FormatError, match="integer"):
        tracker.track_epoch(epoch)


def test_numbers_that_are_not_finite_are_kept(start: Start, verify: Any) -> None:
    tracker = start()
    tracker.track_epoch(1, metrics={"loss": math.nan, "best": math.inf, "worst": -math.inf})
    tracker.store_merkle_on_blockchain_after_training({})
    tracker.close()
    report = verify(tracker.run_folder)
    assert report.verdict is Verdict.VALID
    assert report.epochs[0].metrics == {
        "loss": {"non_finite": "NaN"},
        "best": {"non_finite": "Infinity"},
        "worst": {"non_finite": "-Infinity"},
    }


def test_data_and_model_are_fixed_by_the_first_anchor(start: Start, content: dict[str, Any]) -> None:
    tracker = start()
    tracker.store_merkle_on_blockchain_before_training({})
    for call in (
        lambda: tracker.track_data(content["test"]),
        lambda: tracker.track_model(content["states"][1]),
        lambda: tracker.store_merkle_on_blockchain_before_training({}),
    ):
        with pytest.raises(RunStateError, match="before_training"):
            call()
    tracker.close()


def test_a_complete_run_takes_nothing_more(finished: Path, config: Config, registry: Registry) -> None:
    tracker = ProvenanceTracker.open(finished, config, registry=registry)
    with pytest.raises(RunStateError, match="complete"):
        tracker.track_epoch(3)
    with pytest.raises(RunStateError, match="complete"):
        tracker.store_merkle_on_blockchain_after_training({})
    tracker.close()


def test_storage_options_are_obeyed(start: Start, make_config: Callable[..., Config], verify: Any) -> None:
    checkpoints = make_config(
        storage_options={
            "store_before_training": False,
            "store_after_training": False,
            "store_epoch_checkpoints": True,
        }
    )
    tracker = start(checkpoints)
    assert tracker.store_merkle_on_blockchain_before_training({"epochs": 2}) == {}
    tracker.track_epoch(1)
    tracker.track_epoch(2)
    tracker.save()
    assert [anchor.file.phase for anchor in tracker.anchors] == ["epoch_checkpoint", "epoch_checkpoint"]
    assert all(set(anchor.file.receipts) == {"alpha", "beta"} for anchor in tracker.anchors)
    assert verify(tracker.run_folder).verdict is Verdict.VALID
    assert tracker.store_merkle_on_blockchain_after_training({"accuracy": 1}) == {}
    tracker.close()
    report = verify(tracker.run_folder)
    assert (report.verdict, report.uncovered) == (Verdict.PENDING, ("training/results",))


def test_blockchain_switched_off_keeps_the_run_and_sends_nothing(
    start: Start, make_config: Callable[..., Config], verify: Any, caplog: pytest.LogCaptureFixture
) -> None:
    off = make_config(enabled=False)
    tracker = start(off)
    assert tracker.store_merkle_on_blockchain_before_training({}) == {}
    assert "Blockchain tracking disabled" in caplog.text
    outcome = tracker.verify_blockchain_provenance()
    assert (outcome["blockchain_enabled"], outcome["chain_integrity"], outcome["verdict"]) == (
        False,
        False,
        "NOT_FOUND",
    )
    tracker.close()


def test_automatic_mode_anchors_before_and_after(start: Start, content: dict[str, Any], verify: Any) -> None:
    with start() as tracker:
        # data and model were tracked before the block began, so the first epoch is the last chance
        tracker.track_epoch(1, content["states"][1], {"loss": 0.5})
        assert [anchor.file.phase for anchor in tracker.anchors] == ["before_training"]
        tracker.track_epoch(2, content["states"][2], {"loss": 0.25})
    report = verify(tracker.run_folder)
    assert report.verdict is Verdict.VALID
    assert report.config == {"learning_rate": 0.001}
    assert report.results == {"epochs": 2, "final_metrics": {"loss": 0.25}}


def test_automatic_mode_anchors_before_training_starts(
    tmp_path: Path, config: Config, registry: Registry, content: dict[str, Any]
) -> None:
    with ProvenanceTracker(tmp_path, config, registry=registry) as tracker:
        tracker.track_model(content["states"][0])
        assert not tracker.anchors
        tracker.track_data(*content["train"])
        assert [anchor.file.phase for anchor in tracker.anchors] == ["before_training"]
        tracker.results = {"accuracy": 1.0}
    assert tracker.tree.node("training/results").value == {"accuracy": 1.0}


def test_an_exception_in_the_training_is_the_users_own_and_the_run_goes_on_later(
    start: Start, config: Config, registry: Registry, verify: Any
) -> None:
    tracker = start()

    def train() -> None:
        with tracker:
            tracker.track_epoch(1, metrics={"loss": 1.0})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    report = verify(tracker.run_folder)
    assert (report.verdict, report.uncovered) == (Verdict.PENDING, ("training/epochs/1",))
    again = ProvenanceTracker.open(tracker.run_folder, config, registry=registry)
    again.track_epoch(2, metrics={"loss": 0.5})
    again.store_merkle_on_blockchain_after_training({})
    again.close()
    assert verify(tracker.run_folder).verdict is Verdict.VALID


def test_another_process_reopens_continues_and_verifies(tmp_path: Path, start: Start, verify: Any) -> None:
    tracker = start()
    tracker.store_merkle_on_blockchain_before_training({"epochs": 1})
    tracker.close()
    script = f"""
import json
from mrv_core.config import load_config
from mrv_core.registry import Registry
from mrv_core.testing import plugin
from mrv_core.tracker import ProvenanceTracker
registry = Registry.load(); registry.add_plugin(plugin, "memory")
document = {{"blockchain": {{"networks": ["alpha", "beta"], "alpha": {{"driver": "memory"}},
            "beta": {{"driver": "memory", "attests_time": False}}}}}}
run = ProvenanceTracker.open({str(tracker.run_folder)!r}, load_config(document, registry=registry), registry=registry)
run.track_epoch(1, metrics={{"loss": 0.5}})
run.store_merkle_on_blockchain_after_training({{"accuracy": 0.9}})
print(run.verify_blockchain_provenance()["verdict"])
run.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "VALID"
    assert verify(tracker.run_folder).verdict is Verdict.VALID


def test_a_run_is_written_by_one_process_at_a_time(start: Start, config: Config, registry: Registry) -> None:
    tracker = start()
    with pytest.raises(RunStateError, match="another process"):
        ProvenanceTracker.open(tracker.run_folder, config, registry=registry)
    tracker.close()
    ProvenanceTracker.open(tracker.run_folder, config, registry=registry).close()


def test_what_is_down_stays_queued_and_goes_out_later(
    start: Start, make_config: Callable[..., Config], verify: Any
) -> None:
    down = make_config(
        beta={"driver": "memory", "retry_attempts": 1, "fail": {"prepare": ["unavailable"], "submit": ["unavailable"]}}
    )
    tracker = start(down)
    assert set(tracker.store_merkle_on_blockchain_before_training({})) == {"alpha"}
    outcome = tracker.verify_blockchain_provenance()
    assert (outcome["verdict"], outcome["chain_integrity"]) == ("PENDING", False)
    assert outcome["verification_results"]["000-before_training"] == {"alpha": "VALID", "beta": "PENDING"}
    assert [row["network"] for row in tracker.get_blockchain_status()["pending"]] == ["beta"]
    tracker._manager.flush()  # the first attempt to submit fails as well
    tracker._manager.flush()
    assert tracker.verify_blockchain_provenance()["verdict"] == "VALID"
    tracker.close()


def test_a_snapshot_anchors_content_without_a_training(
    tmp_path: Path, config: Config, registry: Registry, verify: Any
) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"abc")
    tracker = ProvenanceTracker(tmp_path / "artifacts", config, registry=registry)
    with pytest.raises(RunStateError, match="nothing has been tracked"):
        tracker.anchor_snapshot()
    tracker.track_data(file)
    assert set(tracker.anchor_snapshot()) == {"alpha", "beta"}
    tracker.close()
    assert verify(tracker.run_folder, data={"data/training": file}).verdict is Verdict.VALID
    file.write_bytes(b"abd")
    report = verify(tracker.run_folder, data={"data/training": file})
    assert (report.verdict, report.findings[0].place) == (Verdict.TAMPERED, "data/training")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.array([object()]), "object"),
        (np.zeros((0, 3)), "empty"),
        ([], "empty"),
        ({"x": lambda: 1}, "function"),
        (Path("/nonexistent/file"), "/nonexistent/file"),
    ],
    ids=["object array", "no rows", "empty list", "unsupported type", "missing file"],
)
def test_unusable_data_is_refused_and_changes_nothing(
    tmp_path: Path, config: Config, registry: Registry, data: Any, message: str
) -> None:
    tracker = ProvenanceTracker(tmp_path, config, registry=registry)
    root = tracker.tree.root("present")
    with pytest.raises((FormatError, StorageError), match=message):
        tracker.track_data(data)
    assert tracker.tree.root("present") == root
    tracker.close()


def test_no_network_selected_is_an_error_when_anchoring(start: Start, make_config: Callable[..., Config]) -> None:
    tracker = start(make_config(networks=[]))
    with pytest.raises(ConfigurationError, match="no network is selected"):
        tracker.store_merkle_on_blockchain_before_training({})
    tracker.close()


def test_a_run_id_is_never_reused_and_never_a_path(tmp_path: Path, config: Config, registry: Registry) -> None:
    ProvenanceTracker(tmp_path, config, run_id="r", registry=registry).close()
    with pytest.raises(RunStateError, match="exists already"):
        ProvenanceTracker(tmp_path, config, run_id="r", registry=registry)
    for name in ("../r", "", "a/b", "é", "a" * 65, ".."):
        with pytest.raises(FormatError, match="run id"):
            ProvenanceTracker(tmp_path, config, run_id=name, registry=registry)


def test_the_folder_of_the_embedded_networks_is_no_run(tmp_path: Path, config: Config, registry: Registry) -> None:
    with pytest.raises(FormatError, match="networks"):
        ProvenanceTracker(tmp_path, config, run_id="networks", registry=registry)


def test_public_names_import_lazily_and_exactly() -> None:
    assert sorted(mrv_core.__all__) == sorted(dir(mrv_core))
    for name in mrv_core.__all__:
        assert getattr(mrv_core, name) is not None
    assert issubclass(mrv_core.ProvenanceBlockchainTracker, mrv_core.ProvenanceTracker)
    with pytest.raises(AttributeError):
        _ = mrv_core.no_such_name


def test_the_names_of_the_first_architecture_document() -> None:
    from mrv_backends_eth import EthereumDriver, EthereumInterface
    from mrv_backends_ipfs import IpfsDriver, IPFSInterface
    from mrv_core import BlockchainManager, HashFactory, MerkleNode, MLProvenanceMerkleTree

    assert (EthereumInterface, IPFSInterface) == (EthereumDriver, IpfsDriver)
    assert all((BlockchainManager, HashFactory, MerkleNode, MLProvenanceMerkleTree))
