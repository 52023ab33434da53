# SPDX-License-Identifier: MIT
"""Bundles of past versions: whatever was said of them when they were written is still said, by both verifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Ours, Theirs, Trust
from .make_golden import FOLDER, write

RELEASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def trust_of(words: list[str]) -> Trust:
    """Read options back as they were written down."""
    given: dict[str, list[str]] = {"--block": [], "--log-key": []}
    for word in words:
        option, _, value = word.partition("=")
        given[option].append(value)
    return Trust(blocks=tuple(given["--block"]), log_keys=tuple(given["--log-key"]))


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_what_was_said_of_old_bundles_still_holds(release: Path, ours: Ours, theirs: Theirs) -> None:
    expected: list[dict[str, Any]] = json.loads((release / "expected.json").read_bytes())
    assert {entry["file"] for entry in expected} == {path.name for path in release.glob("*.mrv.json")}
    for words in {tuple(entry["options"]) for entry in expected}:
        entries = [entry for entry in expected if tuple(entry["options"]) == words]
        paths, trust = [release / entry["file"] for entry in entries], trust_of(list(words))
        for verifier in (ours, theirs):
            for entry, outcome in zip(entries, verifier(paths, trust), strict=True):
                found = {
                    "exit_code": outcome.exit_code,
                    "verdict": outcome.verdict,
                    "steps": list(outcome.steps),
                    "networks": {network: facts[3] for network, facts in outcome.networks.items()},
                }
                assert found == {key: entry[key] for key in found}, entry["file"]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_every_kind_of_evidence_and_of_outcome_is_among_them(release: Path) -> None:
    expected = json.loads((release / "expected.json").read_bytes())
    verdicts = {entry["verdict"] for entry in expected}
    assert verdicts == {"VALID", "PENDING", "UNREACHABLE", "TAMPERED", "DISAGREE"}
    assert not [
        entry["file"] for entry in expected if entry["file"].startswith("wrong") and entry["verdict"] == "VALID"
    ]
    documents = [json.loads(path.read_bytes()) for path in release.glob("*.mrv.json")]
    receipts = [receipt for document in documents for receipt in document["receipts"].values()]
    assert {receipt["evidence"].get("format") for receipt in receipts} == {
        None,
        "mrv-evidence-bitcoin/1",
        "mrv-evidence-ethereum-calldata/1",
        "mrv-evidence-ethereum-pending/1",
        "mrv-evidence-ethereum-state/1",
        "mrv-evidence-ethereum/1",
        "mrv-evidence-ots/1",
        "mrv-ipfs-evidence/1",
        "mrv-log-evidence/1",
    }


def test_a_release_is_never_written_again() -> None:
    with pytest.raises(FileExistsError):
        write(RELEASES[0].name)
