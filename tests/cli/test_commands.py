# SPDX-License-Identifier: MIT
"""Each command does its work and ends with the status that says how it went."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrv_core.models import Verdict
from mrv_core.provenance_tree import SLOTS
from mrv_core.report.model import IntegrityReport
from mrv_core.testing.chain import MemoryChain
from mrv_core.tracker import ProvenanceTracker

from .conftest import Mrv, configure, network

DOWN = ["unavailable"] * 9


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value))


# --- verify and report ------------------------------------------------------------------------------------------


def test_a_run_made_here_is_valid(mrv: Mrv, run_folder: Path) -> None:
    outcome = mrv("verify", run_folder)
    assert "✅ VALID" in outcome.out
    assert outcome.err == ""


def test_verify_prints_the_stored_form_of_the_report(mrv: Mrv, run_folder: Path) -> None:
    report = IntegrityReport.from_bytes(mrv("verify", run_folder, "--json").out.encode(), what="stdout")
    assert report.verdict is Verdict.VALID
    assert {result.network: result.verdict for result in report.anchors[0].networks} == {
        "alpha": Verdict.VALID,
        "beta": Verdict.VALID,
    }


@pytest.mark.parametrize("name", ["", "training=", "data/training="])
def test_content_is_compared(mrv: Mrv, run_folder: Path, name: str) -> None:
    assert mrv("verify", run_folder, "--data", f"{name}dataset", "--json").json["contents"][0]["verdict"] == "VALID"


def test_one_changed_byte_is_named(mrv: Mrv, run_folder: Path) -> None:
    Path("dataset/b.csv").write_text("3,5\n")
    outcome = mrv("verify", run_folder, "--data", "dataset", expect=1)
    assert "❌ TAMPERED  data/training/b.csv" in outcome.out


def test_an_edited_tree_is_tampered(mrv: Mrv, run_folder: Path) -> None:
    _edit(run_folder / "tree.json", lambda tree: tree["rows"][0].update(hash="00" * 32))
    assert mrv("verify", run_folder, "--json", expect=1).json["verdict"] == "TAMPERED"


def test_networks_that_contradict_each_other_disagree(mrv: Mrv, run_folder: Path) -> None:
    configure(alpha=network(fail={"verify": ["lie"]}), beta=network(attests_time=False))
    assert mrv("verify", run_folder, "--json", expect=1).json["verdict"] == "DISAGREE"


def test_what_no_root_covers_is_pending(mrv: Mrv, run_folder: Path) -> None:
    tracker = ProvenanceTracker.open(run_folder)
    tracker.track_epoch(0, metrics={"loss": 1.0})
    tracker.close()
    assert mrv("verify", run_folder, "--json", expect=3).json["uncovered"] == ["training/epochs/0"]


def test_a_network_that_is_down_could_not_be_checked(mrv: Mrv, run_folder: Path) -> None:
    configure(alpha=network(fail={"verify": DOWN}, retry_attempts=1), beta=network(attests_time=False))
    outcome = mrv("verify", run_folder, expect=4)
    assert "📡 UNREACHABLE" in outcome.out
    assert mrv("verify", run_folder, "--network", "beta").code == 0


def test_a_network_without_the_anchor_says_not_found(mrv: Mrv, run_folder: Path) -> None:
    configure(alpha=network(), beta=network(attests_time=False), gamma=network())
    assert "NOT FOUND" in mrv("verify", run_folder, expect=5).out


def test_verify_writes_the_page_too(mrv: Mrv, run_folder: Path) -> None:
    outcome = mrv("verify", run_folder, "--html", "out/report.html")
    assert outcome.err == "wrote out/report.html\n"
    assert Path("out/report.html").read_text().startswith("<!doctype html>")


def test_report_writes_into_the_run_and_ends_with_the_verdict(mrv: Mrv, run_folder: Path) -> None:
    mrv("report", run_folder)
    assert "VALID" in (run_folder / "report.html").read_text()
    _edit(run_folder / "run.json", lambda run: run.update(started_at="2020-01-01T00:00:00Z"))
    mrv("report", run_folder, "--html", "r.html", expect=1)
    assert "TAMPERED" in Path("r.html").read_text()


def test_a_leaf_is_proved_and_an_unknown_one_is_usage(mrv: Mrv, run_folder: Path) -> None:
    mrv("verify", run_folder, "--leaf", "data/training/a.csv")
    outcome = mrv("verify", run_folder, "--leaf", "data/trainig", expect=2)
    assert "hint: " in outcome.err


@pytest.mark.parametrize("place", [".", "../snap"])
def test_a_run_is_found_from_inside_itself(
    place: str, mrv: Mrv, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRV_CONFIG", str(Path("configs/blockchain_config.json").absolute()))
    monkeypatch.chdir(run_folder)
    mrv("verify", place)


# --- anchor, flush, status --------------------------------------------------------------------------------------


def test_anchor_tells_where_everything_is(mrv: Mrv) -> None:
    value = mrv("anchor", "dataset", "--name", "one", "--json").json
    assert value["run_folder"] == "artifacts/one"
    (anchor,) = value["anchors"]
    assert anchor["phase"] == "snapshot"
    assert {name: place["state"] for name, place in anchor["networks"].items()} == {"alpha": "final", "beta": "final"}
    assert all(place["reference"] for place in anchor["networks"].values())


def test_anchor_on_one_network(mrv: Mrv) -> None:
    value = mrv("anchor", "dataset/a.csv", "--network", "beta", "--json").json
    assert list(value["anchors"][0]["networks"]) == ["beta"]


def test_a_wrong_network_leaves_nothing_behind(mrv: Mrv) -> None:
    assert "did you mean 'alpha'" in mrv("anchor", "dataset", "--network", "alpa", expect=2).err
    assert not Path("artifacts").exists()


def test_what_a_network_did_not_take_goes_out_with_flush(mrv: Mrv) -> None:
    configure(alpha=network(fail={"submit": DOWN}, retry_attempts=1), beta=network(attests_time=False))
    value = mrv("anchor", "dataset", "--name", "late", "--json", expect=4).json
    assert value["anchors"][0]["networks"]["alpha"]["state"] == "prepared"
    assert "unavailable" in mrv("flush", expect=4).out
    assert mrv("verify", "artifacts/late", expect=3).code == 3

    configure(alpha=network(), beta=network(attests_time=False))
    assert mrv("flush", "--json").json == {"open_before": 1, "left": []}
    (anchor_file,) = Path("artifacts/late/anchors").iterdir()
    assert set(json.loads(anchor_file.read_bytes())["receipts"]) == {"alpha", "beta"}
    Path("artifacts/journal.sqlite3").unlink()
    mrv("verify", "artifacts/late")


def test_a_refusal_is_not_success(mrv: Mrv) -> None:
    configure(alpha=network())
    mrv("anchor", "dataset/a.csv")
    configure(alpha=network(fail={"submit": ["rejected"]}))
    assert "alpha: rejected" in mrv("anchor", "dataset", expect=4).out


def test_sent_and_not_in_a_block_yet_is_pending(mrv: Mrv) -> None:
    configure(alpha=network(instant_mining=False))
    mrv("anchor", "dataset", "--name", "slow", expect=3)
    mrv("verify", "artifacts/slow", expect=3)
    assert "alpha: submitted" in mrv("flush", expect=3).out
    MemoryChain(Path("artifacts/networks/alpha"), "alpha").mine()
    mrv("flush")
    mrv("verify", "artifacts/slow")


def test_flush_names_the_network_that_is_gone_from_the_configuration(mrv: Mrv) -> None:
    configure(alpha=network(instant_mining=False), beta=network())
    mrv("anchor", "dataset", expect=3)
    configure(beta=network())
    assert "unknown network 'alpha'" in mrv("flush", expect=4).out


def test_status_lists_runs_and_shows_one_in_full(mrv: Mrv, run_folder: Path) -> None:
    mrv("anchor", "dataset/a.csv", "--name", "other", "--network", "alpha")
    listing = mrv("status").out
    assert "snap" in listing
    assert "other" in listing
    assert "not sent" not in listing
    root = mrv("status", "--json").json["runs"][1]["anchors"][0]["root"]
    assert root in mrv("status", run_folder).out


def test_status_shows_a_damaged_run_beside_the_others(mrv: Mrv, run_folder: Path) -> None:
    mrv("anchor", "dataset/a.csv", "--name", "other")
    (run_folder / "run.json").write_text("{")
    outcome = mrv("status")
    assert "other" in outcome.out
    assert "artifacts/snap: run.json: not JSON" in outcome.err


def test_status_asks_no_network(mrv: Mrv, run_folder: Path) -> None:
    Path("configs/blockchain_config.json").write_text("not even JSON")
    mrv("status")
    mrv("status", run_folder)


# --- prove ------------------------------------------------------------------------------------------------------


def test_a_proof_is_made_written_and_checked(mrv: Mrv, run_folder: Path) -> None:
    root = mrv("status", run_folder, "--json").json["runs"][0]["anchors"][0]["root"]
    outcome = mrv("prove", run_folder, "data/training/a.csv", "-o", "proof.json")
    assert outcome.out == ""
    assert f"mrv prove --check proof.json --root {root}" in outcome.err
    assert "✅ VALID" in mrv("prove", "--check", "proof.json", "--root", root).out
    assert mrv("prove", run_folder, "data/training/a.csv").json == json.loads(Path("proof.json").read_bytes())
    checked = mrv("prove", "--check", "proof.json", "--root", root, "--json").json
    assert checked["verdict"] == "VALID"
    assert checked["proof"]["path"] == "data/training/a.csv"


def test_a_proof_for_another_root_or_a_damaged_one_is_wrong(mrv: Mrv, run_folder: Path) -> None:
    root = mrv("status", run_folder, "--json").json["runs"][0]["anchors"][0]["root"]
    mrv("prove", run_folder, "data/training/a.csv", "-o", "proof.json")
    mrv("prove", "--check", "proof.json", "--root", "sha256:" + "00" * 32, expect=1)
    _edit(Path("proof.json"), lambda proof: proof["steps"][0].update(index=7))
    mrv("prove", "--check", "proof.json", "--root", root, expect=1)
    Path("proof.json").write_text("{}")
    mrv("prove", "--check", "proof.json", "--root", root, expect=1)
    assert "names no algorithm" in mrv("prove", "--check", "proof.json", "--root", "00" * 32, expect=2).err


def test_what_no_root_covers_cannot_be_proved(mrv: Mrv, run_folder: Path) -> None:
    tracker = ProvenanceTracker.open(run_folder)
    tracker.track_epoch(0, metrics={"loss": 1.0})
    tracker.close()
    assert "no anchored root covers" in mrv("prove", run_folder, "training/epochs/0/metrics", expect=2).err
    for slot in ("data/training", "training/environment"):
        assert slot in SLOTS
        mrv("prove", run_folder, slot)


def test_a_changed_tree_proves_nothing(mrv: Mrv, run_folder: Path) -> None:
    _edit(run_folder / "tree.json", lambda tree: tree["rows"][0].update(hash="00" * 32))
    mrv("prove", run_folder, "data/training", expect=1)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("artifacts/snap",),
        ("--check", "p.json"),
        ("artifacts/snap", "data", "--root", "sha256:00"),
        ("--root", "x"),
    ],
)
def test_prove_needs_one_of_its_two_forms(mrv: Mrv, run_folder: Path, arguments: tuple[str, ...]) -> None:
    assert "give RUN and LEAF, RECORD and --at, or --check FILE with" in mrv("prove", *arguments, expect=2).err


# --- networks and config ----------------------------------------------------------------------------------------


def test_networks_says_what_can_be_used(mrv: Mrv) -> None:
    value = mrv("networks", "--json").json
    assert value["networks"]["alpha"] == {
        "driver": "memory",
        "selected": True,
        "network_id": value["networks"]["alpha"]["network_id"],
        "embedded": True,
        "ready": True,
        "detail": "a chain for tests, in one file",
    }
    assert value["drivers"]["memory"]
    assert "embedded: a chain for tests" in mrv("networks").out


def test_networks_fails_where_a_selected_one_cannot_be_used(mrv: Mrv) -> None:
    configure(alpha=network(fail={"status": DOWN}))
    assert mrv("networks", "--json", expect=4).json["networks"]["alpha"]["ready"] is False


def test_a_broken_plugin_is_shown_with_its_reason(mrv: Mrv, tmp_path: Path) -> None:
    entry_points = tmp_path / "site" / "memory-1.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "broken = no_such_module_anywhere\n")
    assert "no_such_module_anywhere" in mrv("networks", "--json").json["disabled"]["broken"]
    assert "broken: disabled" in mrv("networks").out


def test_config_check_shows_what_is_selected(mrv: Mrv) -> None:
    assert "alpha (memory), beta (memory)" in mrv("config", "check").out
    value = mrv("config", "check", "configs/blockchain_config.json", "--json").json
    assert value["networks"] == {name: {"driver": "memory", "selected": True} for name in ("alpha", "beta")}


def test_config_check_names_the_misspelt_key(mrv: Mrv) -> None:
    configure(alpha=network(timeuot=3))
    outcome = mrv("config", "check", expect=2)
    assert outcome.out == ""
    assert outcome.err.splitlines() == [
        "error: configs/blockchain_config.json: blockchain.alpha: unknown key 'timeuot'",
        "hint: did you mean 'timeout'?",
    ]


def test_config_schema_accepts_the_configuration(mrv: Mrv) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = mrv("config", "schema").json
    jsonschema.validate(json.loads(Path("configs/blockchain_config.json").read_bytes()), schema)
    assert "memory" in schema["properties"]["blockchain"]["properties"]
