# SPDX-License-Identifier: MIT
"""The vectors of records and verdicts: this package agrees with them, and so does the dashboard (dashboard/test)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mrv_core.errors import FormatError
from mrv_core.hashing import Digest
from mrv_core.models import Receipt
from mrv_core.mrv.recompute import check_numbers, check_samples
from mrv_core.mrv.record import MrvRecord, generate_mrv_id
from mrv_core.mrv.samples import parse_samples
from mrv_core.mrv.storage import RecordReceipts, write_receipts
from mrv_core.mrv.verification import read_record
from mrv_devnet.nodes import AnvilNode

from .registry_place import Place

FOLDER = Path(__file__).parents[1] / "vectors"
RECORDS: dict[str, Any] = json.loads((FOLDER / "records.json").read_bytes())
VERDICTS: dict[str, Any] = json.loads((FOLDER / "verdicts.json").read_bytes())


def named(cases: list[dict[str, Any]], key: str) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case[key] for case in cases])


@named(RECORDS["records"], "name")
def test_hash_and_numbers(case: dict[str, Any]) -> None:
    record, commitment = read_record(case["text"].encode(), what="record")
    assert str(commitment) == f"sha256:{case['hash']}"
    assert isinstance(record, MrvRecord)
    assert [finding.place for finding in check_numbers(record)] == case["wrong"]


def test_hash_of_the_first_version() -> None:
    for case in RECORDS["first_version"]:
        assert str(read_record(case["text"].encode(), what="record")[1]) == f"sha256:{case['hash']}", case["text"]


@named(RECORDS["samples"], "name")
def test_samples(case: dict[str, Any]) -> None:
    record, _ = read_record(RECORDS["records"][0]["text"].encode(), what="record")
    assert isinstance(record, MrvRecord)
    assert record.samples is not None
    found = check_samples(record, record.samples, parse_samples(case["text"].encode(), what="samples"))
    assert [finding.place for finding in found] == case["wrong"]


@named(RECORDS["refused"], "reason")
def test_what_is_no_record_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        read_record(case["text"].encode(), what="record")


@named(RECORDS["refused_samples"], "reason")
def test_what_are_no_samples_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_samples(case["text"].encode(), what="samples")


@pytest.fixture(scope="module")
def place(anvil: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(anvil, tmp_path_factory.mktemp("verdicts"))


@pytest.fixture(scope="module")
def accounts(place: Place) -> dict[str, tuple[str, str]]:
    return {"author": (place.key, place.address), "squatter": place.account()}


@named(VERDICTS["cases"], "name")
def test_verdicts(case: dict[str, Any], place: Place, accounts: dict[str, tuple[str, str]]) -> None:
    path = place.record(generate_mrv_id())
    _, own = read_record(path.read_bytes(), what="record")
    for who, what in case["registrations"]:
        commitment = own if what == "this" else Digest("sha256", what.encode().ljust(32))
        with place.manager(accounts[who][0]) as manager:
            assert manager.anchor(commitment, {"mrv_id": path.stem})["ethereum"].error is None
    if case["anchored_elsewhere"]:
        write_receipts(path, RecordReceipts(mrv_id=path.stem, commitment=own, receipts={"bitcoin": pending(own)}))
    changes = {"submitter": [accounts[who][1] for who in case["expected"]]} if case["expected"] else {}
    assert place.verify(path, **changes).verdict == case["verdict"]


def pending(commitment: Digest) -> Receipt:
    """Return a receipt of a network that this verifier does not ask."""
    value = {
        "format": "mrv-receipt/1",
        "network": "bitcoin",
        "driver": "bitcoin",
        "network_id": "bip122:0f9188f13cb7b2c71f2a335e3a4fc328",
        "embedded": False,
        "commitment": str(commitment),
        "state": "PENDING",
        "reference": "ab" * 32,
        "submitted_at": "2026-01-11T08:00:00Z",
        "block_time": None,
        "evidence": {},
    }
    return Receipt.from_json(value, what="receipt")
