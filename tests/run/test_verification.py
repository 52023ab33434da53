# SPDX-License-Identifier: MIT
"""Verification: what was changed is named, what could not be checked is said, and nothing is VALID by accident."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet
from safetensors.numpy import save_file

from mrv_core.canonical import canonical_bytes, canonical_digest
from mrv_core.config import Config
from mrv_core.errors import ConfigurationError, FormatError, StorageError
from mrv_core.models import Verdict
from mrv_core.provenance_tree import MerkleNode, node_rows
from mrv_core.report.model import IntegrityReport
from mrv_core.run_folder import RunFolder, checkpoint_state, outline
from mrv_core.testing.memory import MemoryDriver
from mrv_core.tracker import ProvenanceTracker
from mrv_core.verification import SEVERITY, combine, worst

Verify = Callable[..., IntegrityReport]


def edit(path: Path, change: Callable[[dict[str, Any]], None], *, seal: bool = False) -> None:
    """Edit a JSON file of a run, leaving its seal as it is or sealing it again as a careful forger would."""
    value = json.loads(path.read_bytes())
    old = value.pop("seal")
    change(value)
    value["seal"] = str(canonical_digest(value, "sha256")) if seal else old
    path.write_bytes(canonical_bytes(value))


def places(report: IntegrityReport) -> list[str]:
    return [finding.place for finding in report.findings]


def test_an_untouched_run_is_valid_and_every_step_says_so(finished: Path, verify: Verify) -> None:
    report = verify(finished)
    assert report.verdict is Verdict.VALID
    assert report.chain_integrity
    assert [step.number for step in report.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [step.verdict for step in report.steps] == [Verdict.VALID, None, *[Verdict.VALID] * 5]
    assert report.findings == report.uncovered == ()
    assert [anchor.name for anchor in report.anchors] == ["000-before_training", "001-after_training"]
    assert IntegrityReport.from_bytes(report.to_bytes(), what="report") == report


def test_the_folder_verifies_without_the_journal(finished: Path, verify: Verify) -> None:
    for path in finished.parent.glob("journal*"):
        path.unlink()
    assert verify(finished).verdict is Verdict.VALID


def test_time_is_claimed_only_where_the_network_attests_it(finished: Path, verify: Verify) -> None:
    after = verify(finished).anchors[1]
    times = {result.network: result.block_time for result in after.networks}
    assert times["alpha"] is not None
    assert times["beta"] is None


# --- content -----------------------------------------------------------------------------------------------------


def test_content_is_recomputed_and_the_leaf_is_named(finished: Path, verify: Verify, content: dict[str, Any]) -> None:
    given_data = {"data/training": content["train"], "data/test": content["test"]}
    report = verify(finished, data=given_data, model=content["states"][2])
    assert report.verdict is Verdict.VALID
    assert [check.verdict for check in report.contents] == [Verdict.VALID] * 3
    assert report.contents[2].path == "training/epochs/2/model_state"

    x = content["train"][0].copy()
    x.view(np.uint8)[0, 0] ^= 1
    report = verify(finished, data={"data/training": (x, content["train"][1])})
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["data/training/x"])

    changed = {**content["states"][2], "layer.bias": np.array([2, 3], "<f4")}
    report = verify(finished, model=changed)
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["training/epochs/2/model_state/layer.bias"])


def test_the_initial_weights_are_recognised(finished: Path, verify: Verify, content: dict[str, Any]) -> None:
    report = verify(finished, model=content["states"][0])
    assert (report.verdict, report.contents[0].path) == (Verdict.VALID, "model/weights")


def test_a_file_is_compared_in_the_form_that_was_committed(
    finished: Path, verify: Verify, content: dict[str, Any], tmp_path: Path
) -> None:
    np.savez(tmp_path / "train.npz", x=content["train"][0], y=content["train"][1])
    assert verify(finished, data={"data/training": tmp_path / "train.npz"}).verdict is Verdict.VALID
    np.savez(tmp_path / "unnamed.npz", *content["train"])
    assert verify(finished, data={"data/training": tmp_path / "unnamed.npz"}).verdict is Verdict.VALID
    np.savez(tmp_path / "swapped.npz", *content["train"][::-1])
    assert verify(finished, data={"data/training": tmp_path / "swapped.npz"}).verdict is Verdict.TAMPERED
    np.savez(tmp_path / "others.npz", a=content["train"][0], b=content["train"][1])
    with pytest.raises(FormatError, match="was committed as x, y"):
        verify(finished, data={"data/training": tmp_path / "others.npz"})
    (tmp_path / "broken.npz").write_bytes((tmp_path / "train.npz").read_bytes()[:200])
    report = verify(finished, data={"data/training": tmp_path / "broken.npz"})
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["data/training"])
    (tmp_path / "train.csv").write_text("1,2")
    with pytest.raises(FormatError, match="cannot be compared"):
        verify(finished, data={"data/training": tmp_path / "train.csv"})
    with pytest.raises(StorageError, match="no file"):
        verify(finished, data={"data/training": tmp_path / "nothing.npz"})
    with pytest.raises(FormatError, match="no node"):
        verify(finished, data={"data/validation": content["test"]})


# --- an edited folder --------------------------------------------------------------------------------------------


def test_one_changed_byte_anywhere_in_the_folder_is_never_valid(finished: Path, verify: Verify) -> None:
    """Flip one bit of a byte in every tenth position of every file of the run."""
    for path in sorted(finished.rglob("*.json")):
        original = path.read_bytes()
        for position in range(0, len(original), max(1, len(original) // 12)):
            path.write_bytes(original[:position] + bytes([original[position] ^ 4]) + original[position + 1 :])
            report = verify(finished)
            assert report.verdict in (Verdict.TAMPERED, Verdict.DISAGREE), (path.name, position)
        path.write_bytes(original)
    assert verify(finished).verdict is Verdict.VALID


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("tree.json", "data/training/x"),
        ("tree.json", "model/weights/layer.bias"),
        ("tree.json", "training/config"),
        ("epochs/00000001.json", "training/epochs/2/metrics"),
    ],
)
def test_an_edited_leaf_is_named(finished: Path, verify: Verify, file: str, row: str, sealed: bool) -> None:
    def change(value: dict[str, Any]) -> None:
        leaf = next(item for item in value["rows"] if item["path"] == row)
        leaf["digest"] = leaf["digest"][:-1] + ("0" if leaf["digest"][-1] != "0" else "1")

    edit(finished / file, change, seal=sealed)
    report = verify(finished)
    assert report.verdict is Verdict.TAMPERED
    assert report.findings[0].place == row
    assert row in report.summary


def test_an_edited_value_is_named(finished: Path, verify: Verify) -> None:
    def change(value: dict[str, Any]) -> None:
        next(item for item in value["rows"] if item["path"].endswith("/metrics"))["value"]["loss"] = 0.001

    edit(finished / "epochs/00000001.json", change, seal=True)
    report = verify(finished)
    assert (report.verdict, report.findings[0].place) == (Verdict.TAMPERED, "training/epochs/2/metrics")


def test_a_consistently_rewritten_tree_is_still_located(finished: Path, verify: Verify) -> None:
    """The forger recomputes every hash and seal of the tree; the anchored outline still shows where it differs."""

    def change(value: dict[str, Any]) -> None:
        index = next(i for i, item in enumerate(value["rows"]) if item["path"] == "training/results")
        value["rows"][index : index + 1] = node_rows(
            "training/results", MerkleNode.json("results", {"accuracy": 0.99}, "sha256")
        )

    edit(finished / "tree.json", change, seal=True)
    report = verify(finished)
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["training/results"])


def test_a_wholly_rewritten_run_does_not_match_its_receipts(finished: Path, verify: Verify) -> None:
    """Tree, outline and root are all rewritten to agree; only the networks still hold the old root."""
    test_a_consistently_rewritten_tree_is_still_located(finished, verify)
    folder = RunFolder(finished)
    tree, damaged = folder.read_tree("run-1")
    assert not damaged
    state = folder.read_anchor("001-after_training").file.state

    def forge(value: dict[str, Any]) -> None:
        value["root"] = str(tree.root(state))
        value["outline"] = outline(tree, state)

    edit(finished / "anchors/001-after_training.json", forge, seal=True)
    report = verify(finished)
    assert report.verdict is Verdict.TAMPERED
    assert places(report) == ["receipt:alpha", "receipt:beta", "anchors"]  # the journal knows the true root

    def forge_receipts(value: dict[str, Any]) -> None:
        for receipt in value["receipts"].values():
            receipt["commitment"] = value["root"]

    edit(finished / "anchors/001-after_training.json", forge_receipts, seal=True)
    report = verify(finished)
    assert report.verdict is Verdict.TAMPERED
    assert {result.verdict for result in report.anchors[1].networks} == {Verdict.TAMPERED}


def test_one_forged_receipt_among_good_ones_is_disagreement(finished: Path, verify: Verify) -> None:
    def forge(value: dict[str, Any]) -> None:
        value["receipts"]["beta"]["network_id"] += "x"

    edit(finished / "anchors/001-after_training.json", forge, seal=True)
    report = verify(finished)
    assert report.verdict is Verdict.DISAGREE
    assert [result.verdict for result in report.anchors[1].networks] == [Verdict.VALID, Verdict.TAMPERED]


def test_epochs_cannot_be_dropped_swapped_or_renumbered(finished: Path, verify: Verify) -> None:
    first, second = finished / "epochs/00000000.json", finished / "epochs/00000001.json"
    kept = first.read_bytes(), second.read_bytes()
    second.unlink()
    assert verify(finished).verdict is Verdict.TAMPERED
    second.write_bytes(kept[1])
    first.unlink()
    assert verify(finished).verdict is Verdict.TAMPERED
    first.write_bytes(kept[1])
    second.write_bytes(kept[0])
    assert verify(finished).verdict is Verdict.TAMPERED
    first.write_bytes(kept[0])
    second.write_bytes(kept[1])
    assert verify(finished).verdict is Verdict.VALID


def test_an_epoch_added_after_the_last_anchor_is_not_covered(finished: Path, verify: Verify) -> None:
    value = json.loads((finished / "epochs/00000001.json").read_bytes())
    value.pop("seal")
    node = MerkleNode.branch("3", [MerkleNode.absent(x) for x in ("model_state", "metrics", "privacy_metrics")])
    tree, _ = RunFolder(finished).read_tree("run-1")
    tree.append_epoch_node(node)
    value.update(index=2, rows=node_rows("training/epochs/3", node), root=str(tree.root(checkpoint_state(tree))))
    value["seal"] = str(canonical_digest(value, "sha256"))
    (finished / "epochs/00000002.json").write_bytes(canonical_bytes(value))
    report = verify(finished)
    assert (report.verdict, report.uncovered) == (Verdict.PENDING, ("training/epochs/3",))


def test_a_root_of_another_epoch_in_an_epochs_file_is_named(finished: Path, verify: Verify) -> None:
    first = json.loads((finished / "epochs/00000000.json").read_bytes())
    edit(finished / "epochs/00000001.json", lambda value: value.update(root=first["root"]), seal=True)
    report = verify(finished)
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["epochs/00000001.json"])


def test_a_run_cut_back_to_its_first_anchor_is_noticed_where_it_was_anchored(finished: Path, verify: Verify) -> None:
    (finished / "anchors/001-after_training.json").unlink()
    for path in (finished / "epochs").iterdir():
        path.unlink()

    def cut(value: dict[str, Any]) -> None:
        value["rows"] = [row for row in value["rows"] if row["path"] != "training/results"]

    edit(finished / "tree.json", cut, seal=True)
    report = verify(finished)
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["anchors"])
    for path in finished.parent.glob("journal*"):
        path.unlink()
    report = verify(finished)  # elsewhere nobody can know; the summary says how far the folder goes
    assert report.verdict is Verdict.VALID
    assert "The newest anchor shown is 000-before_training" in report.summary


def test_an_anchor_cannot_be_called_by_another_phase(finished: Path, verify: Verify) -> None:
    """Its name is what a report and `mrv export --anchor` know it by."""
    anchors = finished / "anchors"
    (anchors / "000-before_training.json").rename(anchors / "000-after_training.json")
    report = verify(finished)
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["anchors/000-after_training.json"])
    assert report.findings[0].message == "the file was renamed: its phase is before_training"
    with pytest.raises(FormatError, match=r"anchors/000-after_training\.json: the file was renamed"):
        RunFolder(finished).read_anchor("000-after_training")


def test_removing_the_last_anchor_is_never_valid(finished: Path, verify: Verify) -> None:
    (finished / "anchors/001-after_training.json").unlink()
    assert verify(finished).verdict is Verdict.TAMPERED
    for path in finished.parent.glob("journal*"):
        path.unlink()
    report = verify(finished)
    assert report.verdict is Verdict.PENDING
    assert report.uncovered == ("training/results", "training/epochs/1", "training/epochs/2")
    (finished / "anchors/000-before_training.json").unlink()
    assert verify(finished).verdict is Verdict.NOT_FOUND


def test_another_runs_anchor_does_not_fit(
    finished: Path, start: Callable[..., Any], verify: Verify, content: dict[str, Any]
) -> None:
    other = start(run_id="run-2")
    other.store_merkle_on_blockchain_before_training({"epochs": 2, "batch_size": 4})
    other.close()
    shutil.copy(other.run_folder / "anchors/000-before_training.json", finished / "anchors/000-before_training.json")
    assert verify(finished).verdict is Verdict.TAMPERED


def test_the_before_receipt_is_not_the_after_receipt(finished: Path, verify: Verify) -> None:
    before = json.loads((finished / "anchors/000-before_training.json").read_bytes())
    edit(
        finished / "anchors/001-after_training.json",
        lambda value: value.update(receipts=before["receipts"]),
        seal=True,
    )
    assert verify(finished).verdict is Verdict.TAMPERED


# --- what could not be checked -----------------------------------------------------------------------------------


def test_a_network_whose_store_is_gone_is_unreachable_never_tampered(finished: Path, verify: Verify) -> None:
    shutil.rmtree(finished.parent / "networks/beta")
    report = verify(finished)
    assert report.verdict is Verdict.UNREACHABLE
    assert [result.verdict for result in report.anchors[0].networks] == [Verdict.VALID, Verdict.UNREACHABLE]
    assert not (finished.parent / "networks/beta").exists()


def test_k_of_n_is_satisfied_without_the_lost_network(
    finished: Path, verify: Verify, make_config: Callable[..., Config]
) -> None:
    shutil.rmtree(finished.parent / "networks/beta")
    assert verify(finished, make_config(verification={"require": 1})).verdict is Verdict.VALID


def test_a_network_the_run_never_used_is_not_found(
    finished: Path, verify: Verify, make_config: Callable[..., Config]
) -> None:
    more = make_config(networks=["alpha", "beta", "gamma"], gamma={"driver": "memory"})
    report = verify(finished, more)
    assert report.verdict is Verdict.NOT_FOUND
    assert verify(finished, more, networks=["alpha", "beta"]).verdict is Verdict.VALID
    with pytest.raises(ConfigurationError, match="delta"):
        verify(finished, more, networks=["delta"])


def test_networks_that_are_not_required_are_shown_and_can_only_contradict(
    finished: Path, verify: Verify, make_config: Callable[..., Config]
) -> None:
    for alone in (make_config(networks=["alpha"]), make_config(networks=["alpha"], beta=None)):
        report = verify(finished, alone)
        assert report.verdict is Verdict.VALID
        assert [result.network for result in report.anchors[0].networks] == ["alpha", "beta"]
    assert report.anchors[0].networks[1].verdict is Verdict.UNREACHABLE  # no settings for it

    shutil.rmtree(finished.parent / "networks/alpha")
    some = make_config(networks=["alpha"], verification={"require": 1})
    assert verify(finished, some).verdict is Verdict.UNREACHABLE  # beta does not count for alpha

    def forge(value: dict[str, Any]) -> None:
        value["receipts"]["beta"]["network_id"] += "x"

    edit(finished / "anchors/001-after_training.json", forge, seal=True)
    assert verify(finished, some).verdict is Verdict.TAMPERED


def test_more_networks_required_than_named_is_a_usage_error(
    finished: Path, verify: Verify, make_config: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigurationError, match="only 1 were named"):
        verify(finished, make_config(verification={"require": 2}), networks=["alpha"])


def test_with_nothing_required_nothing_is_valid(
    finished: Path, verify: Verify, make_config: Callable[..., Config]
) -> None:
    assert verify(finished, make_config(networks=[])).verdict is Verdict.NOT_FOUND
    assert verify(finished, make_config(enabled=False)).verdict is Verdict.NOT_FOUND
    assert verify(finished, networks=[]).verdict is Verdict.NOT_FOUND


def test_missing_files_are_not_called_wrong(finished: Path, verify: Verify, tmp_path: Path) -> None:
    (finished / "tree.json").unlink()
    report = verify(finished)
    assert report.verdict is Verdict.UNREACHABLE
    assert "tree.json" in places(report)
    (finished / "run.json").unlink()
    with pytest.raises(StorageError, match=r"run\.json"):
        verify(finished)
    with pytest.raises(StorageError, match="no run folder"):
        verify(tmp_path / "nowhere")


def test_a_leaf_that_is_not_there_is_a_usage_error(finished: Path, verify: Verify) -> None:
    assert verify(finished, leaves=["training/epochs/2/metrics", "model/weights"]).verdict is Verdict.VALID
    with pytest.raises(FormatError, match="training/epochs/9"):
        verify(finished, leaves=["training/epochs/9"])


# --- combining ---------------------------------------------------------------------------------------------------

_NETWORK_VERDICTS = [verdict for verdict in Verdict if verdict is not Verdict.DISAGREE]


_SOME = st.lists(st.sampled_from(_NETWORK_VERDICTS), max_size=4)


@given(_SOME, _SOME, st.integers(1, 5) | st.just("all"))
def test_order_never_matters_and_tampering_is_never_outvoted(
    required: list[Verdict], others: list[Verdict], require: Any
) -> None:
    policy: Any = SimpleNamespace(policy=SimpleNamespace(require=require))
    orders = itertools.product(itertools.permutations(required), (others, others[::-1]))
    outcomes = {combine(list(first), second, policy) for first, second in orders}
    assert len(outcomes) == 1
    outcome = outcomes.pop()
    tampered = Verdict.TAMPERED in [*required, *others]
    assert (outcome in (Verdict.TAMPERED, Verdict.DISAGREE)) == tampered
    needed = max(1, len(required)) if require == "all" else require
    assert (outcome is Verdict.VALID) == (required.count(Verdict.VALID) >= needed and not tampered)


@given(st.lists(st.sampled_from(list(Verdict)), max_size=6))
def test_the_worst_verdict_wins(verdicts: list[Verdict]) -> None:
    assert worst(verdicts) is (min(verdicts, key=SEVERITY.index) if verdicts else Verdict.NOT_FOUND)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_table_is_compared_with_a_table_file_and_the_column_is_named(
    tmp_path: Path, config: Config, registry: Any, verify: Verify, suffix: str
) -> None:
    table = pa.table({"x": [1.0, 2.0, None], "y": ["a", "b", "c"]})
    tracker = ProvenanceTracker(tmp_path / "artifacts", config, registry=registry)
    tracker.track_data(table)
    tracker.anchor_snapshot()
    tracker.close()
    file = tmp_path / f"train{suffix}"

    def write(content: pa.Table) -> None:
        parquet.write_table(content, file) if suffix == ".parquet" else feather.write_feather(content, file)

    write(table)
    assert verify(tracker.run_folder, data={"data/training": file}).verdict is Verdict.VALID
    write(table.set_column(1, "y", pa.array(["a", "b", "d"])))
    report = verify(tracker.run_folder, data={"data/training": file})
    assert (report.verdict, places(report)) == (Verdict.TAMPERED, ["data/training/y"])
    file.write_bytes(file.read_bytes()[:40])
    assert verify(tracker.run_folder, data={"data/training": file}).verdict is Verdict.TAMPERED


@pytest.mark.parametrize(
    "index", [pd.RangeIndex(3), pd.RangeIndex(5, 8), pd.Index([0, 2, 1]), pd.Index(["a", "b", "c"])]
)
def test_a_data_frame_is_compared_with_the_parquet_that_pandas_wrote(
    tmp_path: Path, config: Config, registry: Any, verify: Verify, index: pd.Index
) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=index)
    tracker = ProvenanceTracker(tmp_path / "artifacts", config, registry=registry)
    tracker.track_data(frame)
    tracker.anchor_snapshot()
    tracker.close()
    frame.to_parquet(tmp_path / "frame.parquet")
    assert verify(tracker.run_folder, data={"data/training": tmp_path / "frame.parquet"}).verdict is Verdict.VALID
    frame.iloc[::-1].to_parquet(tmp_path / "frame.parquet")
    assert verify(tracker.run_folder, data={"data/training": tmp_path / "frame.parquet"}).verdict is Verdict.TAMPERED


def test_many_arrays_are_matched_by_name_and_never_by_position(
    tmp_path: Path, config: Config, registry: Any, verify: Verify
) -> None:
    arrays = {f"arr_{index}": np.full(2, index) for index in range(12)}
    tracker = ProvenanceTracker(tmp_path / "artifacts", config, registry=registry)
    tracker.track_data(arrays)
    tracker.anchor_snapshot()
    tracker.close()
    np.savez(tmp_path / "same.npz", **arrays)
    assert verify(tracker.run_folder, data={"data/training": tmp_path / "same.npz"}).verdict is Verdict.VALID
    by_position = dict(zip(arrays, (arrays[label] for label in sorted(arrays)), strict=True))
    np.savez(tmp_path / "moved.npz", **by_position)
    assert verify(tracker.run_folder, data={"data/training": tmp_path / "moved.npz"}).verdict is Verdict.TAMPERED


def test_named_arrays_are_compared_with_a_safetensors_file(
    tmp_path: Path, config: Config, registry: Any, verify: Verify, content: dict[str, Any]
) -> None:
    tracker = ProvenanceTracker(tmp_path / "artifacts", config, registry=registry)
    tracker.track_data(content["states"][1])
    tracker.anchor_snapshot()
    tracker.close()
    save_file(content["states"][1], tmp_path / "same.safetensors")
    save_file(content["states"][2], tmp_path / "other.safetensors")
    same, other = (
        verify(tracker.run_folder, data={"data/training": tmp_path / f"{name}.safetensors"})
        for name in ("same", "other")
    )
    assert same.verdict is Verdict.VALID
    assert (other.verdict, places(other)) == (
        Verdict.TAMPERED,
        ["data/training/layer.bias", "data/training/layer.weight"],
    )


# Times that need not grow with the blocks.


@pytest.mark.parametrize(
    ("tolerance_s", "verdict"), [(0, Verdict.DISAGREE), (3599, Verdict.DISAGREE), (3600, Verdict.VALID)]
)
def test_an_earlier_time_of_a_later_anchor_is_borne_as_far_as_the_network_allows(
    finished, verify, monkeypatch, tolerance_s, verdict
):
    """On Bitcoin a later block may have an earlier time; on a network that says so, that is no contradiction."""
    honest = MemoryDriver.verify

    def verify_with_times(self, receipt, commitment):
        self.capabilities = replace(self.capabilities, time_tolerance_s=tolerance_s)
        checked = honest(self, receipt, commitment)
        first = RunFolder.open(finished).read_anchor("000-before_training").file.root
        hours = 2 if commitment == first else 1
        if checked.block_time is None:
            return checked
        return checked.model_copy(update={"block_time": datetime(2026, 1, 1, hours, tzinfo=UTC)})

    monkeypatch.setattr(MemoryDriver, "verify", verify_with_times)
    assert verify(finished).verdict is verdict
