# SPDX-License-Identifier: MIT
"""Many records under one anchor: each verifies by its own proof, and no other record by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrv_core import MRVTracker
from mrv_core.models import Verdict
from mrv_core.mrv import meters
from mrv_core.mrv.record_batches import anchor_waiting_records, waiting_records
from mrv_core.mrv.storage import read_receipts, receipts_path, save_mrv, write_receipts

from .making import record_of, steady
from .test_commands import config, mrv  # noqa: F401 - fixtures
from .test_records import FIRST
from .test_tracker import Steady, found, wait_for_samples
from .test_verification import manager, verdict_of  # noqa: F401

COUNT = 5


@pytest.fixture
def records(manager) -> list[Path]:  # noqa: F811
    made = [record_of(steady(3), mrv_id=f"MRV-{number}") for number in range(COUNT)]
    paths = [Path(save_mrv(each, storage_dir=manager.base_dir)) for each in made]
    return [*paths, Path(save_mrv({**FIRST, "mrv_id": "MRV-first"}, storage_dir=manager.base_dir))]


def test_each_is_valid_by_its_own_proof(manager, records):  # noqa: F811
    made = anchor_waiting_records(waiting_records(records, manager), manager)
    assert len(made.batch.members) == len(records)
    assert [row.commitment for row in manager.journal.rows()] == [made.batch.commitment]
    assert [verdict_of(manager, path) for path in records] == [Verdict.VALID] * len(records)
    assert waiting_records(records, manager) == []
    assert anchor_waiting_records([], manager) is None
    for path in records:
        assert verdict_of(manager, path, mrv_id="MRV-unknown") is Verdict.NOT_FOUND


def test_no_other_record_is_valid_by_it(manager, records):  # noqa: F811
    anchor_waiting_records(waiting_records(records[:3], manager), manager)
    first, second, stranger = records[0], records[1], records[4]
    held = read_receipts(first)
    write_receipts(stranger, held)
    assert verdict_of(manager, stranger) is Verdict.TAMPERED
    for forged in (
        held.model_copy(update={"commitment": read_receipts(second).commitment}),
        held.model_copy(update={"batch": read_receipts(second).batch}),
        held.model_copy(update={"batch": held.batch.model_copy(update={"index": 1})}),
        held.model_copy(update={"batch": held.batch.model_copy(update={"path": held.batch.path[:-1]})}),
        held.model_copy(update={"batch": None}),
    ):
        write_receipts(first, forged)
        assert verdict_of(manager, first) is not Verdict.VALID
    write_receipts(first, held)
    assert verdict_of(manager, first) is Verdict.VALID
    first.write_bytes(first.read_bytes().replace(b'"loss":0.5', b'"loss":0.6', 1))
    assert verdict_of(manager, first) is Verdict.TAMPERED


def test_what_was_never_queued_waits_again(manager, records, monkeypatch):  # noqa: F811
    waiting = waiting_records(records, manager)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(manager), "anchor", die)
    with pytest.raises(KeyboardInterrupt):
        anchor_waiting_records(waiting, manager)
    monkeypatch.undo()
    assert all(receipts_path(path).exists() for path in records)
    assert waiting_records(records, manager) == waiting
    anchor_waiting_records(waiting, manager)
    assert [verdict_of(manager, path) for path in records] == [Verdict.VALID] * len(records)


def test_the_command(mrv, config, records):  # noqa: F811
    folder = records[0].parent
    done = mrv("mrv-batch", "--base-dir", folder, "--config", config)
    assert done.exit_code == 0, done.output
    assert f"of {len(records)} records" in done.stdout
    assert mrv("verify", records[0], "--config", config).exit_code == 0
    again = mrv("mrv-batch", "--base-dir", folder, "--config", config, "--json")
    assert (again.exit_code, json.loads(again.stdout)["members"]) == (0, [])
    place = receipts_path(records[0])
    place.write_bytes(place.read_bytes().replace(b'"receipts":{"log"', b'"receipts":{"gol"'))
    assert mrv("verify", records[0], "--config", config).exit_code != 0


def test_a_tracker_can_leave_its_record_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    options = {"store_in_batches": True}
    settings = {"blockchain": {"networks": ["log"], "log": {"driver": "log"}, "storage_options": options}}
    with MRVTracker("waits", storage_dir=tmp_path, config=settings, interval_s=0.05) as tracker:
        wait_for_samples(tracker)
    assert tracker.tx_hash is None
    assert tracker.verify_on_blockchain().status == "NOT FOUND"
    assert len(waiting_records([tracker.record_path], tracker.manager)) == 1
