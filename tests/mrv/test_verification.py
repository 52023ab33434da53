# SPDX-License-Identifier: MIT
"""A record reads VALID only as it was anchored, and only while its numbers are those of its samples."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrv_core.config import load_config
from mrv_core.errors import FormatError
from mrv_core.files import write_atomic
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.mrv.record import MrvRecord, parse_record
from mrv_core.mrv.samples import Sample
from mrv_core.mrv.storage import (
    RecordReceipts,
    collect_receipts,
    read_receipts,
    receipts_path,
    samples_path,
    save_mrv,
    write_receipts,
)
from mrv_core.mrv.verification import RecordReport, verify_record
from mrv_core.registry import Registry

from .making import file_of, record_of, record_value, steady
from .test_records import FIRST

COUNT = 120


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[BlockchainManager]:
    """Return a manager of the embedded log alone, which is the quickest."""
    registry = Registry.load()
    config = load_config({"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}, registry=registry)
    with BlockchainManager(config, base_dir=tmp_path / "mrv", registry=registry) as made:
        yield made


def anchored(manager: BlockchainManager, record: MrvRecord | dict[str, Any], file: Any = None) -> Path:
    """Write a record, its samples and its receipts as the tracker does."""
    path = Path(save_mrv(record, storage_dir=manager.base_dir))
    if file is not None:
        write_atomic(samples_path(path), b"".join(line + b"\n" for line in file.lines))
    known = record if isinstance(record, MrvRecord) else None
    from mrv_core.mrv.verification import read_record

    read, commitment = read_record(path.read_bytes(), what=str(path))
    assert known is None or read == known
    manager.anchor(commitment, {"mrv_id": read.mrv_id})
    collect_receipts(manager.base_dir, manager.journal)
    return path


def verdict_of(manager: BlockchainManager, path: Path, **options: Any) -> Verdict | str:
    """Return the verdict, or the kind of error that says that there is none."""
    try:
        return verify_record(path, manager=manager, **options).verdict
    except FormatError:
        return "refused"


@pytest.fixture
def good(manager: BlockchainManager) -> Path:
    file = steady(COUNT)
    return anchored(manager, record_of(file), file)


def checked(manager: BlockchainManager, path: Path) -> RecordReport:
    return verify_record(path, manager=manager, samples=samples_path(path))


def test_an_untouched_record_is_valid(manager, good):
    report = checked(manager, good)
    assert (report.verdict, report.status) == (Verdict.VALID, "VALID")
    assert [step.verdict for step in report.steps] == [Verdict.VALID] * 4 + [Verdict.UNREACHABLE] + [Verdict.VALID] * 2
    assert [step.number for step in report.steps] == list(range(1, 8))
    assert report.summary == "The record is unchanged since it was anchored on log."
    assert report.energy_kwh == MrvRecord.from_json(json.loads(good.read_bytes()), what="").energy.total_uwh / 1e9
    assert RecordReport.from_bytes(report.to_bytes(), what="the report") == report


def test_offline_what_remains_is_said(manager, good):
    report = verify_record(good, manager=manager, offline=True)
    assert report.verdict is Verdict.UNREACHABLE
    assert all(check.remaining and not check.asked for check in report.networks)


def test_no_changed_byte_is_valid(manager, good):
    """Every kind of edit of the file, receipts or not beside it."""
    data, chance = good.read_bytes(), random.Random(1)  # noqa: S311
    held = receipts_path(good).read_bytes()
    for number in range(150):
        at = chance.randrange(len(data))
        kind = number % 3
        other = bytes([data[at] ^ 1 << chance.randrange(7)])
        edited = data[:at] + (other, b"", data[at : at + 1] * 2)[kind] + data[at + 1 :]
        good.write_bytes(edited)
        receipts_path(good).write_bytes(held)
        assert verdict_of(manager, good) is Verdict.TAMPERED, (at, kind)
        receipts_path(good).unlink()
        assert verdict_of(manager, good) in (Verdict.TAMPERED, Verdict.DISAGREE, Verdict.NOT_FOUND, "refused"), (
            at,
            kind,
        )


def test_every_field_counts(manager, good):
    """Edited as a careful forger does it: canonical, and with numbers that agree with one another."""
    value = json.loads(good.read_bytes())
    value["energy"]["components"][0]["energy_uwh"] -= 100
    value["energy"]["total_uwh"] -= 100
    from mrv_core.mrv import units

    value["emissions"]["co2e_mg"] = units.co2e_mg(value["energy"]["total_uwh"], 56_039, 1200)
    good.write_bytes(MrvRecord.from_json(value, what="").to_bytes())
    report = verify_record(good, manager=manager)
    assert report.verdict is Verdict.TAMPERED
    assert "another record is anchored as" in report.summary
    held = read_receipts(good)
    forged = RecordReceipts(mrv_id=held.mrv_id, commitment=report.hash, receipts=held.receipts)
    write_receipts(good, forged)
    assert verdict_of(manager, good) is Verdict.TAMPERED
    moved = {name: receipt.model_copy(update={"commitment": report.hash}) for name, receipt in held.receipts.items()}
    write_receipts(good, forged.model_copy(update={"receipts": moved}))
    assert verdict_of(manager, good) is Verdict.TAMPERED


def test_another_record_s_receipts_show_nothing(manager, good):
    other = anchored(manager, record_of(steady(3), mrv_id="MRV-other"))
    write_receipts(good, read_receipts(other))
    assert verdict_of(manager, good) is Verdict.TAMPERED
    assert verdict_of(manager, other, mrv_id="MRV-other") is Verdict.VALID
    assert verdict_of(manager, other, mrv_id="MRV-unknown") is Verdict.NOT_FOUND
    assert verdict_of(manager, other, mrv_id="MRV-fc25ba52-f439-4834-be2b-2dbae1e03437") is Verdict.TAMPERED


def test_receipts_cannot_give_a_record_another_id(manager, good):
    held = read_receipts(good)
    write_receipts(good, held.model_copy(update={"mrv_id": "MRV-famous"}))
    assert verdict_of(manager, good) is Verdict.TAMPERED
    assert verdict_of(manager, good, mrv_id="MRV-famous") is Verdict.TAMPERED
    assert verdict_of(manager, good, mrv_id=held.mrv_id) is Verdict.VALID, "as the journal knows"


def test_an_id_is_that_of_the_record_that_was_anchored_first(manager, good):
    """Anchored again under the same id, an edited record is as little that record as before."""
    data, held = good.read_bytes(), read_receipts(good)
    forged = parse_record(data, what="").model_copy(update={"metrics": {"accuracy": 0.99}})
    manager.anchor(forged.hash, {"mrv_id": forged.mrv_id})
    (row,) = manager.journal.rows(commitment=forged.hash)
    assert verdict_of(manager, good) is Verdict.VALID
    good.write_bytes(forged.to_bytes())
    assert verdict_of(manager, good) is Verdict.TAMPERED
    write_receipts(good, held.model_copy(update={"commitment": forged.hash, "receipts": {"log": row.receipt}}))
    assert verdict_of(manager, good) is Verdict.TAMPERED
    receipts_path(good).unlink()
    assert verdict_of(manager, good) is Verdict.TAMPERED


def test_a_record_that_is_nowhere_is_not_found(manager):
    path = Path(save_mrv(record_of(steady(3)), storage_dir=manager.base_dir))
    report = verify_record(path, manager=manager)
    assert (report.verdict, report.status) == (Verdict.NOT_FOUND, "NOT FOUND")


def test_the_first_version_is_verified_by_its_formula(manager):
    path = anchored(manager, FIRST)
    assert verdict_of(manager, path) is Verdict.VALID
    path.write_text(json.dumps(FIRST))  # other white space, the same record
    assert verdict_of(manager, path) is Verdict.VALID
    path.write_text(json.dumps(FIRST).replace("0.42", "0.41"))
    assert verdict_of(manager, path) is Verdict.TAMPERED
    assert verify_record(path, manager=manager, samples=path).steps[2].verdict is Verdict.UNREACHABLE


def test_the_end_of_a_first_record_is_told_in_utc(manager):
    times = {"start_time": "2026-01-11T08:00:00+02:00", "end_time": "2026-01-11T09:00:00+02:00"}
    path = anchored(manager, {**FIRST, "timestamps": times})
    assert f"{verify_record(path, manager=manager).end_time:%H:%M %Z}" == "07:00 UTC"


# --- what is anchored, and cannot be right ----------------------------------------------------------------------------


def changed_value(**at: Any) -> dict[str, Any]:
    value = record_value(steady(COUNT))
    for place, new in at.items():
        target = value
        *path, last = place.split("__")
        for key in path:
            target = target[int(key)] if isinstance(target, list) else target[key]
        target[int(last) if isinstance(target, list) else last] = new(target) if callable(new) else new
    return value


@pytest.mark.parametrize(
    ("place", "new", "where"),
    [
        ("energy__total_uwh", 1, "energy.total_uwh"),
        ("emissions__co2e_mg", 1, "emissions.co2e_mg"),
        ("emissions__factor", None, "emissions.co2e_mg"),
        ("emissions__pue_permille", 1000, "emissions.co2e_mg"),
        ("timestamps__end_time", "2026-01-11T09:00:00Z", "timestamps.duration_ms"),
        ("epochs__1__start_ms", 0, "epochs.1"),
        ("epochs__1__end_ms", 10**9, "epochs.1"),
        ("samples__section_size", 2, "samples.sections"),
        ("samples__sections", [], "samples.sections"),
        ("samples__root", "sha256:" + "00" * 32, "samples.sections"),
    ],
)
def test_numbers_that_contradict_each_other(manager, place, new, where):
    path = anchored(manager, MrvRecord.from_json(changed_value(**{place: new}), what=""))
    report = verify_record(path, manager=manager)
    assert report.verdict is Verdict.DISAGREE
    assert report.findings[0].place == where


@pytest.mark.parametrize(
    ("place", "new", "where"),
    [
        ("epochs__0__energy_uwh", 1, "epochs.0.energy_uwh"),
        ("epochs__0__energy_uwh", None, "epochs.0.energy_uwh"),
        ("measurement__gaps", [], "measurement.gaps"),
        ("energy__components__0__limit_mw", 6000, "samples line 2"),
    ],
)
def test_numbers_that_the_samples_do_not_make(manager, place, new, where):
    path = anchored(manager, MrvRecord.from_json(changed_value(**{place: new}), what=""), steady(COUNT))
    report = checked(manager, path)
    assert report.verdict is Verdict.DISAGREE
    assert report.findings[0].place == where
    assert verdict_of(manager, path) is Verdict.VALID, "nobody looked at the samples"


def test_an_energy_beyond_the_tolerance_is_a_disagreement(manager):
    from mrv_core.mrv import units

    for permille, expected in ((1, Verdict.VALID), (3, Verdict.DISAGREE), (50, Verdict.DISAGREE)):
        value = record_value(steady(COUNT), mrv_id=f"MRV-{permille}")
        value["measurement"]["tolerance_permille"] = 1000 if permille == 50 else 1
        part = value["energy"]["components"][0]
        more = part["energy_uwh"] * permille // 1000
        part["energy_uwh"] += more
        value["energy"]["total_uwh"] += more
        value["emissions"]["co2e_mg"] = units.co2e_mg(value["energy"]["total_uwh"], 56_039, 1200)
        path = anchored(manager, MrvRecord.from_json(value, what=""), steady(COUNT))
        assert checked(manager, path).verdict is expected


def test_a_changed_sample_is_caught_and_located(manager, good):
    place = samples_path(good)
    lines = place.read_bytes().split(b"\n")
    lines[60] = lines[60].replace(b",1000,7", b",1000,6")
    place.write_bytes(b"\n".join(lines))
    report = checked(manager, good)
    assert report.verdict is Verdict.TAMPERED
    assert [finding.place for finding in report.findings] == ["samples line 61"]
    place.write_bytes(b"\n".join(lines[:60]))
    assert "the last line is cut off" in checked(manager, good).summary
    place.write_bytes(b"\n".join(lines[:60]) + b"\n")
    assert checked(manager, good).verdict is Verdict.TAMPERED


def test_a_size_that_is_not_the_samples_is_a_disagreement(manager):
    """The sections alone do not tell whether the last of them is full."""
    file = steady(511)
    value = record_value(file)
    assert (value["samples"]["size"], value["samples"]["section_size"]) == (512, 2)
    value["samples"]["size"] = 511
    path = anchored(manager, MrvRecord.from_json(value, what=""), file)
    assert checked(manager, path).findings[0].place == "samples.size"


@pytest.mark.parametrize("interval_ms", [1000, 10**12])
def test_samples_after_the_end_are_not_believed(manager, interval_ms):
    file = file_of([Sample(60_000, 59_000, (5, 5)), Sample(120_000, 60_000, (5, 5))])
    value = record_value(file)
    value["timestamps"] |= {"duration_ms": 60_000, "end_time": "2026-01-11T08:01:00Z"}
    value["epochs"] = []
    value["measurement"] |= {"gaps": value["measurement"]["gaps"][:1], "interval_ms": interval_ms}
    path = anchored(manager, MrvRecord.from_json(value, what=""), file)
    assert "after the end of the run" in checked(manager, path).summary


def test_a_record_without_samples_cannot_be_recomputed(manager, good):
    path = anchored(manager, record_of(None, mrv_id="MRV-none"))
    assert verify_record(path, manager=manager, samples=samples_path(good)).verdict is Verdict.UNREACHABLE
