# SPDX-License-Identifier: MIT
"""Ranks of a job: what is the host's is counted once, each rank's record is committed to, and nobody waits."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core import Job, MRVTracker
from mrv_core.errors import ConfigurationError, FormatError, RunStateError
from mrv_core.models import Verdict
from mrv_core.mrv import job as jobs
from mrv_core.mrv import meters, units
from mrv_core.mrv.job import find_job, job_mrv_id, rank_mrv_id
from mrv_core.mrv.job_record import complete_job, make_job_record, write_job_record
from mrv_core.mrv.recompute import check_numbers
from mrv_core.mrv.record import Component, MrvRecord, Status, parse_record
from mrv_core.mrv.record_batches import waiting_records
from mrv_core.mrv.samples import Sample, SampleFile, read_samples
from mrv_core.mrv.storage import record_path, samples_path, save_mrv
from mrv_core.mrv.verification import verify_record

from .making import FACTOR, START, file_of, record_of, record_value, steady
from .test_commands import config, mrv  # noqa: F401 - fixtures
from .test_tracker import FAST, Steady, found, wait_for_samples
from .test_verification import anchored, manager  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]
JOB = "MRV-job"
NOWHERE = Path("no-such-folder")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "4")
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


# --- what the environment says ----------------------------------------------------------------------------------------

ONE_OF_FOUR = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}
OF_TWO_HOSTS = {**ONE_OF_FOUR, "LOCAL_RANK": "0", "GROUP_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a"}


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "1", "RANK": "x"}, {"RANK": "3"}])
def test_one_process_is_no_job(environment):
    assert find_job(environment) is None


def test_the_environment_of_torchrun():
    assert find_job(ONE_OF_FOUR) == Job(2, 4, 2)
    assert find_job(OF_TWO_HOSTS) == Job(2, 4, 0, host=1)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK", "GROUP_RANK"])
@pytest.mark.parametrize("value", ["", "-1", "1.5", "four", "٣", "1e3", "0x1", " 1", "1" * 10])
def test_a_wrong_variable_is_named(name, value):
    with pytest.raises(ConfigurationError, match=f"^{name} is "):
        find_job({**OF_TWO_HOSTS, name: value})


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
def test_a_missing_or_too_large_variable_is_named(name):
    with pytest.raises(ConfigurationError, match=f"^{name} is not set"):
        find_job({key: value for key, value in ONE_OF_FOUR.items() if key != name})
    with pytest.raises(ConfigurationError, match=f"^{name} is 4, but WORLD_SIZE is 4"):
        find_job({**ONE_OF_FOUR, name: "4"})


@pytest.mark.parametrize(
    "numbers", [(4, 4, 0), (-1, 4, 0), (0, 4, 4), (0, 0, 0), (0, 4, 0, 4), (True, 4, 0), (0, 2**40, 0)]
)
def test_a_job_that_cannot_be_is_refused(numbers):
    with pytest.raises(ConfigurationError, match="of a job is a number from"):
        Job(*numbers)


def test_a_tracker_takes_a_job_or_none(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "four")
    with pytest.raises(ConfigurationError, match="WORLD_SIZE"):
        MRVTracker("wrong", storage_dir=tmp_path, **FAST)
    with pytest.raises(ConfigurationError, match='job is "auto", None or a Job'):
        MRVTracker("wrong", storage_dir=tmp_path, job="none", **FAST)
    assert MRVTracker("alone", storage_dir=tmp_path, job=None, **FAST).record_path.name.count("rank") == 0


@pytest.fixture
def same_count(monkeypatch):
    """Let two calls stand for the first tracker of two ranks."""
    monkeypatch.setattr(jobs, "_trackers", iter(lambda: 0, 1))


def test_all_ranks_have_one_id_and_no_other_launch_has(same_count, monkeypatch):
    ids = {job_mrv_id(Job(rank, 4, rank), {}, None, NOWHERE) for rank in range(4)}
    assert len(ids) == 1
    monkeypatch.setattr(os, "getppid", os.getpid)  # another parent
    ids.add(job_mrv_id(Job(0, 4, 0), {}, None, NOWHERE))
    ids.add(job_mrv_id(Job(0, 4, 0), {"MASTER_PORT": "29501"}, None, NOWHERE))
    ids.add(job_mrv_id(Job(0, 4, 0), {"TORCHELASTIC_RESTART_COUNT": "1"}, None, NOWHERE))
    assert len(ids) == 4


def test_the_second_tracker_of_a_process_is_another_job():
    assert job_mrv_id(Job(0, 4, 0), {}, None, NOWHERE) != job_mrv_id(Job(0, 4, 0), {}, None, NOWHERE)


def test_a_shell_may_launch_one_job_after_another(monkeypatch, tmp_path):
    for trackers in (1, 2):  # of the first launch; the second has one more than that
        monkeypatch.setattr(jobs, "_trackers", itertools.count())
        ids = [job_mrv_id(Job(1, 2, 1), {}, None, tmp_path) for _ in range(trackers)]
        assert not any(record_path(tmp_path, mrv_id).exists() for mrv_id in ids)
        for mrv_id in ids:
            record_path(tmp_path, mrv_id).touch()


def test_hosts_share_the_name_of_the_rendezvous(same_count):
    named = {"MASTER_ADDR": "a", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2"}
    ids = {job_mrv_id(Job(rank, 4, rank % 2, rank // 2), named, None, NOWHERE) for rank in range(4)}
    assert len(ids) == 1
    ids |= {
        job_mrv_id(Job(0, 4, 0), {**named, change: "y"}, None, NOWHERE)
        for change in ("MASTER_ADDR", "TORCHELASTIC_RUN_ID")
    }
    assert len(ids) == 3
    for environment in ({**named, "TORCHELASTIC_RUN_ID": "none"}, {}):
        with pytest.raises(ConfigurationError, match="do not know a common id") as caught:
            job_mrv_id(Job(2, 4, 0, 1), environment, None, NOWHERE)
        assert "mrv_id=" in caught.value.hint
        assert "--rdzv-id" in caught.value.hint


@pytest.mark.parametrize("parent", [0, 1])
def test_who_lost_his_parent_has_to_be_told(monkeypatch, parent):
    monkeypatch.setattr(os, "getppid", lambda: parent)
    with pytest.raises(ConfigurationError, match="which process launched this job"):
        job_mrv_id(Job(0, 4, 0), {}, None, NOWHERE)
    assert job_mrv_id(Job(0, 4, 0), {}, "MRV-mine", NOWHERE) == "MRV-mine"


def test_a_restarted_attempt_is_a_job_of_its_own():
    assert job_mrv_id(Job(0, 4, 0), {"TORCHELASTIC_RESTART_COUNT": "0"}, "MRV-mine", NOWHERE) == "MRV-mine"
    assert job_mrv_id(Job(0, 4, 0), {"TORCHELASTIC_RESTART_COUNT": "2"}, "MRV-mine", NOWHERE) == "MRV-mine.attempt-2"


# --- sums, of made-up ranks -------------------------------------------------------------------------------------------


def rank_value(
    rank: int,
    file: SampleFile | None,
    *,
    size: int = 4,
    local: int | None = None,
    host: int = 0,
    start_ms: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    place = {
        "mrv_id": JOB,
        "rank": rank,
        "world_size": size,
        "local_rank": rank if local is None else local,
        "host": host,
    }
    value = record_value(file, mrv_id=rank_mrv_id(JOB, rank), job=place)
    start = START + timedelta(milliseconds=start_ms)
    end = start + timedelta(milliseconds=value["timestamps"]["duration_ms"])
    value["timestamps"] |= {"start_time": _text(start), "end_time": _text(end)}
    return value | changes


def _text(at: Any) -> str:
    return at.isoformat().replace("+00:00", "Z")


def rank_of(rank: int, file: SampleFile | None, **changes: Any) -> MrvRecord:
    return MrvRecord.from_json(rank_value(rank, file, **changes), what="the rank")


def four() -> list[MrvRecord]:
    """Return two hosts of two ranks each, the second a second later and with twice the power."""
    files = {0: steady(60), 2: steady(60, cpu_mw=14_000)}
    return [
        rank_of(rank, files.get(rank), local=rank % 2, host=rank // 2, start_ms=1_000 * (rank // 2))
        for rank in range(4)
    ]


def test_the_record_of_a_job_is_the_sum_of_its_ranks():
    parts = four()
    record = make_job_record(JOB, parts)
    assert check_numbers(record) == []
    assert make_job_record(JOB, parts[::-1]).to_bytes() == record.to_bytes(), "in whatever order"
    known = [part for part in parts if part.energy.total_uwh is not None]
    assert len(known) == 2
    assert record.energy.total_uwh == sum(part.energy.total_uwh for part in known)
    assert record.emissions.co2e_mg == sum(part.emissions.co2e_mg for part in known)
    assert (record.emissions.factor, record.emissions.pue_permille) == (known[0].emissions.factor, 1200)
    assert record.hardware.cpu_cores == 40
    assert record.timestamps.start_time == START
    assert record.timestamps.duration_ms == 62_500
    assert [entry.hash for entry in record.ranks.entries] == [part.hash for part in parts]
    assert (record.status, record.ranks.missing, record.samples, record.epochs) == (Status.COMPLETED, (), None, ())
    sources = {part.component: part.source for part in record.energy.components}
    assert sources == dict.fromkeys([Component.CPU, Component.RAM], "thermal design power and load")
    begun = [(gap.start_ms, gap.end_ms) for gap in record.measurement.gaps if "nothing" not in gap.reason]
    assert (0, 1500) in begun, "what local rank 0 could not measure"
    assert (1000, 2500) in begun, "and that of the other host, since the start of the job"


@st.composite
def _jobs(draw: st.DrawFn) -> list[MrvRecord]:
    """Return ranks on some hosts with some energies, powers and times, and maybe some missing."""
    parts = []
    rank, scope = 0, draw(st.sampled_from(["machine", "process"]))
    places = [(host, local) for host in range(draw(st.integers(1, 3))) for local in range(draw(st.integers(1, 3)))]
    factors = [{**FACTOR, "value": value} for value in draw(st.lists(st.integers(0, 900_000), min_size=1, max_size=2))]
    for rank, (host, local) in enumerate(places):
        if draw(st.booleans()) and (parts or rank < len(places) - 1):
            continue
        counts = scope == "process" or local == 0
        spans = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=4)) if counts else []
        samples = [
            Sample(sum(spans[: i + 1]), span, (draw(st.integers(0, 10_000)), None)) for i, span in enumerate(spans)
        ]
        file = file_of(samples) if samples else None
        value = rank_value(rank, file, size=len(places), local=local, host=host, start_ms=draw(st.integers(0, 9000)))
        value["measurement"]["scope"] = scope
        factor, total = draw(st.sampled_from(factors)), value["energy"]["total_uwh"]
        pue = draw(st.sampled_from([1000, 1500]))
        co2e = None if total is None else units.co2e_mg(total, factor["value"], pue)
        value["emissions"] = {"co2e_mg": co2e, "pue_permille": pue, "factor": factor}
        parts.append(MrvRecord.from_json(value, what="the rank"))
    return parts


@given(_jobs())
def test_any_ranks_make_a_record_whose_numbers_agree(parts):
    for part in parts:
        assert check_numbers(part) == []
    record = make_job_record(JOB, parts)
    assert check_numbers(record) == []
    assert parse_record(record.to_bytes(), what="") == record
    for component in record.energy.components:
        known = [
            each.energy_uwh
            for part in parts
            for each in part.energy.components
            if each.component == component.component
        ]
        assert (component.energy_uwh or 0) == sum(each for each in known if each is not None)
    assert (record.energy.total_uwh or 0) == sum(part.energy.total_uwh or 0 for part in parts)
    ends = [part.timestamps.start_time + timedelta(milliseconds=part.timestamps.duration_ms) for part in parts]
    assert record.timestamps.end_time == max(ends)
    assert {*record.ranks.missing, *(part.job.rank for part in parts)} == set(range(record.ranks.world_size))
    for gap in record.measurement.gaps:
        assert 0 <= gap.start_ms < gap.end_ms <= record.timestamps.duration_ms


def test_factors_and_pues_that_differ_are_not_made_up():
    parts = four()
    other = parts[2].model_copy(
        update={"emissions": parts[2].emissions.model_copy(update={"co2e_mg": 7, "pue_permille": 1500})}
    )
    record = make_job_record(JOB, [parts[0], parts[1], other, parts[3]])
    assert (record.emissions.pue_permille, record.emissions.factor) == (None, parts[0].emissions.factor)
    assert record.emissions.co2e_mg == parts[0].emissions.co2e_mg + 7
    assert check_numbers(record) == []
    unknown = parts[2].model_copy(
        update={"emissions": parts[2].emissions.model_copy(update={"co2e_mg": None, "factor": None})}
    )
    record = make_job_record(JOB, [*parts[:2], unknown, parts[3]])
    assert (record.emissions.co2e_mg, record.emissions.factor) == (None, None)
    assert check_numbers(record) == []


def test_a_time_that_nobody_counted_is_a_gap():
    short = steady(10)
    parts = [
        rank_of(0, short, size=3, start_ms=500),
        rank_of(1, None, size=3),
        rank_of(2, None, size=3, local=0, host=1),
    ]
    gaps = {(gap.start_ms, gap.end_ms): gap.reason for gap in make_job_record(JOB, parts).measurement.gaps}
    assert gaps[0, 500] == "host 0: its local rank 0 had not started"
    assert gaps[500 + short.samples[-1].end_ms, 60_000] == "host 0: its local rank 0 had ended"
    assert gaps[0, 60_000] == "host 1: its local rank 0 measured nothing"
    alone = make_job_record(JOB, parts[1:2])
    assert [gap.reason for gap in alone.measurement.gaps] == ["host 0: there is no record of its local rank 0"]


def test_many_gaps_of_one_rank_are_one():
    file = file_of([Sample(20 * number, 10, (5, 5)) for number in range(1, 200)])
    record = make_job_record(JOB, [rank_of(0, file, size=1)])
    (gap,) = record.measurement.gaps
    assert (gap.start_ms, gap.end_ms) == (0, file.samples[-1].start_ms)
    assert "199 shorter times" in gap.reason


def changed(part: MrvRecord, **place: Any) -> MrvRecord:
    value = part.to_json()
    value["job"] |= place
    value["mrv_id"] = rank_mrv_id(value["job"]["mrv_id"], value["job"]["rank"])
    return MrvRecord.from_json(value, what="")


def test_what_is_not_one_job_has_no_sum():
    parts = four()
    process = parts[2].model_copy(update={"measurement": parts[2].measurement.model_copy(update={"scope": "process"})})
    for wrong, message in (
        ([], "no record of any rank"),
        ([*parts, parts[1]], "twice"),
        ([*parts[:3], changed(parts[3], mrv_id="MRV-other")], "not the record of a rank of MRV-job"),
        ([*parts[:3], changed(parts[3], world_size=5)], "different sizes of the job: 4, 5"),
        ([*parts[:3], changed(parts[3], host=0)], "one local rank on one host"),
        ([*parts[:2], process, parts[3]], "different scopes of measuring: machine, process"),
        ([*parts, record_of(steady(3))], "is not the record of a rank"),
    ):
        with pytest.raises(FormatError, match=message):
            make_job_record(JOB, wrong)


@pytest.mark.parametrize(
    ("path", "new", "place"),
    [
        (("ranks", "root"), "sha256:" + "00" * 32, "ranks.root"),
        (("ranks", "missing"), [3], "ranks"),
        (("ranks", "world_size"), 5, "ranks"),
        (("ranks", "entries", 1, "rank"), 0, "ranks"),
        (("ranks", "entries", 3, "host"), 0, "ranks"),
        (("ranks", "entries", 1, "energy_uwh"), 5, "rank 1"),
        (("ranks", "entries", 1, "mrv_id"), "MRV-other.rank-1", "rank 1"),
        (("ranks", "entries", 0, "energy_uwh"), 5, "energy.total_uwh"),
        (("ranks", "entries", 0, "co2e_mg"), 5, "emissions.co2e_mg"),
        (("ranks", "entries", 0, "status"), "interrupted", "status"),
        (("ranks", "entries", 3, "duration_ms"), 99_000, "timestamps.duration_ms"),
        (("ranks", "entries", 0, "duration_ms"), 10_000, "measurement.gaps"),
        (("emissions", "co2e_mg"), 500, "emissions.co2e_mg"),
        (("energy", "total_uwh"), 5, "energy.total_uwh"),
    ],
)
def test_a_record_that_its_ranks_do_not_make_disagrees(path, new, place):
    value = target = make_job_record(JOB, four()).to_json()
    *keys, last = path
    for key in keys:
        target = target[key]
    target[last] = new
    findings = check_numbers(MrvRecord.from_json(value, what=""))
    assert place in {finding.place for finding in findings}
    assert {finding.verdict for finding in findings} == {Verdict.DISAGREE}


def test_a_rank_that_counts_what_local_rank_0_counts_disagrees():
    for scope, counted in (("machine", ["cpu", "ram"]), ("process", [])):
        value = rank_value(1, steady(60))
        value["measurement"]["scope"] = scope
        places = [finding.place for finding in check_numbers(MrvRecord.from_json(value, what=""))]
        assert places == [f"energy.components.{component}" for component in counted]


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"a": 1}},
        {"epochs": record_value(steady(3))["epochs"]},
        {"samples": record_value(steady(3))["samples"]},
    ],
)
def test_a_job_has_no_samples_and_metrics_of_its_own(changes):
    with pytest.raises(FormatError, match="in the records of its ranks"):
        MrvRecord.from_json(make_job_record(JOB, four()).to_json() | changes, what="the record")
    value = record_value(steady(3))
    value["emissions"] |= {"pue_permille": None, "co2e_mg": None}
    with pytest.raises(FormatError, match="a PUE is not known"):
        MrvRecord.from_json(value, what="the record")


# --- verification, of made-up ranks -----------------------------------------------------------------------------------


def saved(folder: Path) -> MrvRecord:
    """Write the records and samples of four ranks; return their job's."""
    parts = four()
    for part, file in zip(parts, (steady(60), None, steady(60, cpu_mw=14_000), None), strict=True):
        path = Path(save_mrv(part, storage_dir=folder))
        if file is not None:
            samples_path(path).write_bytes(b"".join(line + b"\n" for line in file.lines))
    return make_job_record(JOB, parts)


@pytest.fixture
def job_path(manager) -> Path:  # noqa: F811
    """Return the file of an anchored job, with the records and samples of its ranks beside it."""
    return anchored(manager, saved(manager.base_dir))


def checked(manager, path):  # noqa: F811
    report = verify_record(path, manager=manager, samples=path.parent)
    return report.verdict, [(finding.verdict, finding.place) for finding in report.findings]


def test_a_job_is_verified_with_all_of_its_ranks(manager, job_path):  # noqa: F811
    assert checked(manager, job_path) == (Verdict.VALID, [])
    assert verify_record(job_path, manager=manager).verdict is Verdict.VALID


def test_a_changed_rank_is_caught_and_located(manager, job_path):  # noqa: F811
    for rank in range(4):
        path = record_path(job_path.parent, rank_mrv_id(JOB, rank))
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"loss":0.5', b'"loss":0.4', 1))
        assert checked(manager, job_path) == (Verdict.TAMPERED, [(Verdict.TAMPERED, f"rank {rank}, its record")])
        path.unlink()
        assert checked(manager, job_path) == (Verdict.UNREACHABLE, [(Verdict.UNREACHABLE, f"rank {rank}, its record")])
        path.write_bytes(data)


def test_a_changed_sample_is_caught_and_located(manager, job_path):  # noqa: F811
    path = samples_path(record_path(job_path.parent, rank_mrv_id(JOB, 2)))
    lines = path.read_bytes().split(b"\n")
    lines[30] = lines[30].replace(b",1000,14", b",1000,13")
    path.write_bytes(b"\n".join(lines))
    assert checked(manager, job_path) == (Verdict.TAMPERED, [(Verdict.TAMPERED, "rank 2, samples line 31")])
    path.write_bytes(b"damaged\n")
    assert checked(manager, job_path) == (Verdict.TAMPERED, [(Verdict.TAMPERED, "rank 2, samples")])
    path.unlink()
    assert checked(manager, job_path) == (Verdict.UNREACHABLE, [(Verdict.UNREACHABLE, "rank 2, samples")])


def test_no_changed_byte_of_a_rank_is_valid(manager, job_path):  # noqa: F811
    chance = random.Random(1)  # noqa: S311
    paths = sorted(job_path.parent.glob("*.rank-*"))
    assert len(paths) == 6
    for number in range(60):
        path = paths[number % 6]
        data = path.read_bytes()
        at = chance.randrange(len(data))
        other = (bytes([data[at] ^ 1 << chance.randrange(7)]), b"", data[at : at + 1] * 2)[number // 6 % 3]
        path.write_bytes(data[:at] + other + data[at + 1 :])
        assert path.read_bytes() != data
        verdict, findings = checked(manager, job_path)
        assert verdict is Verdict.TAMPERED, (path.name, at)
        assert all(place.startswith(f"rank {path.name[13]}, ") for _, place in findings)
        path.write_bytes(data)
    paths[0].write_bytes(paths[2].read_bytes())
    assert checked(manager, job_path)[0] is Verdict.TAMPERED, "another rank's"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda value: value["energy"]["components"].reverse(), None),
        (lambda value: value["experiment"].update(model_name="another"), "experiment"),
        (lambda value: value["measurement"].update(gaps=[]), "measurement.gaps"),
        (lambda value: value["measurement"].update(concurrent=["MRV-x"]), "measurement.concurrent"),
        (lambda value: value["emissions"].update(factor=None), "emissions.factor"),
        (lambda value: value["ranks"]["entries"][1].update(start_ms=5), "rank 1, start_ms"),
        (lambda value: _shift(value["energy"]["components"]), "energy.components.cpu"),
        (lambda value: value["energy"]["components"][0].update(method="measured"), "energy.components.cpu"),
    ],
)
def test_an_anchored_job_that_its_ranks_do_not_make_is_a_disagreement(manager, change, place):  # noqa: F811
    value = saved(manager.base_dir).to_json()
    change(value)
    path = anchored(manager, MrvRecord.from_json(value, what=""))
    verdict, findings = checked(manager, path)
    if place is None:
        assert verdict is Verdict.VALID
    else:
        assert verdict is Verdict.DISAGREE
        assert (Verdict.DISAGREE, place) in findings


def _shift(components: list[dict[str, Any]]) -> None:
    components[0]["energy_uwh"] += 9
    components[1]["energy_uwh"] -= 9


def test_a_rank_alone_says_whose_it_is(manager, job_path):  # noqa: F811
    path = record_path(job_path.parent, rank_mrv_id(JOB, 0))
    report = verify_record(path, manager=manager, samples=samples_path(path))
    assert (report.verdict, report.job) == (Verdict.NOT_FOUND, JOB)
    assert (
        report.summary
        == "MRV-job.rank-0 is not anchored by itself, but as a part of MRV-job: verify that record, with --samples."
    )
    assert waiting_records([path], manager) == [], "and no batch anchors it"


def test_the_commands(mrv, config, job_path, tmp_path):  # noqa: F811
    done = mrv("verify", job_path, "--samples", "--config", config)
    assert (done.exit_code, "4 of 4 ranks" in done.stdout) == (0, True)
    alone = record_path(job_path.parent, rank_mrv_id(JOB, 1))
    done = mrv("verify", alone, "--config", config)
    assert (done.exit_code, "part of     MRV-job" in done.stdout) == (5, True)
    page = tmp_path / "page.html"
    assert mrv("report", job_path, "--html", page, "--config", config).exit_code == 0
    text = page.read_text()
    assert text.count('<svg class="chart') == 2
    assert "Energy by rank" in text
    assert "<title>2 s: 21.0005</title>" in text, "the powers of both hosts, 7 W and 14 W"
    for name in ("boamps", "csv", "cyclonedx", "hf-model-card", "latex"):
        assert mrv("export", job_path, "--format", name).exit_code == 0
    assert mrv("prove", job_path, "--at", 3).exit_code == 2
    samples_path(record_path(job_path.parent, rank_mrv_id(JOB, 0))).write_text("damaged\n")
    assert mrv("report", job_path, "--html", page, "--config", config).exit_code == 1
    job_path.write_bytes(job_path.read_bytes().replace(b'"world_size":4', b'"world_size":"4"', 1))
    assert mrv("verify", job_path, "--samples", "--config", config).exit_code == 1


def test_a_job_alone_is_reported_as_far_as_it_goes(mrv, config, job_path):  # noqa: F811
    for path in job_path.parent.glob("*.rank-*"):
        path.unlink()
    assert mrv("report", job_path, "--config", config).exit_code == 0
    assert mrv("verify", job_path, "--samples", "--config", config).exit_code == 4


def test_the_command_that_collects(mrv, config, tmp_path):  # noqa: F811
    folder = tmp_path / "mrv"
    parts = four()
    for part in (parts[0], parts[3]):
        save_mrv(part, storage_dir=folder)
    refused = mrv("mrv-job", JOB, "--base-dir", folder)
    assert (refused.exit_code, "no record of ranks 1, 2 of MRV-job" in refused.stderr) == (2, True)
    assert not record_path(folder, JOB).exists()
    assert mrv("mrv-job", "MRV-other", "--base-dir", folder).exit_code == 2
    done = mrv("mrv-job", JOB, "--base-dir", folder, "--allow-missing", "--json")
    assert done.exit_code == 0, done.output
    record = parse_record(record_path(folder, JOB).read_bytes(), what="")
    assert json.loads(done.stdout) == record.to_json()
    assert (record.status, record.ranks.missing) == (Status.INTERRUPTED, (1, 2))
    assert record.interruption == "no record of ranks 1, 2"
    assert "host 1: there is no record of its local rank 0" in {gap.reason for gap in record.measurement.gaps}
    assert mrv("mrv-job", JOB, "--base-dir", folder, "--allow-missing").exit_code == 2, "it is there"
    assert mrv("mrv-batch", "--base-dir", folder, "--config", config).exit_code == 0
    assert mrv("verify", record_path(folder, JOB), "--config", config).exit_code == 0


def test_a_thousand_ranks_make_one_record():
    parts = [rank_of(rank, steady(3), size=1000, local=0, host=rank) for rank in range(1000)]
    record = make_job_record(JOB, parts)
    assert check_numbers(record) == []
    assert len(record.energy.components[0].source) < 1000


# --- trackers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_folder(monkeypatch, tmp_path_factory):
    """Give the trackers of a test a folder of their own to find each other in: other tests measure too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))


def ranks_in_turn(folder: Path, **settings: Any) -> list[MRVTracker]:
    """Run two ranks in one process, side by side; the second ends last."""
    made = [
        MRVTracker("t", storage_dir=folder, mrv_id=JOB, job=Job(rank, 2, rank), **FAST | settings) for rank in (0, 1)
    ]
    for tracker in made:
        tracker.start()
    wait_for_samples(made[0])
    for tracker in made:
        tracker.stop()
    return made


def test_the_last_rank_writes_and_anchors_the_job(tmp_path, monkeypatch, own_folder):
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    settings = {"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}
    first, last = ranks_in_turn(tmp_path, blockchain_enabled=True, config=settings)
    assert (first.mrv_id, last.mrv_id, first.error, last.error) == (JOB, JOB, None, None)
    assert (first.record.mrv_id, last.record.mrv_id) == ("MRV-job.rank-0", "MRV-job.rank-1")
    assert first.job_record is None
    assert last.job_record == parse_record(record_path(tmp_path, JOB).read_bytes(), what="")
    assert last.job_record.energy.total_uwh == first.record.energy.total_uwh > 0
    assert last.record.energy.total_uwh is None
    assert {part.source for part in last.record.energy.components} == {
        "not measured: local rank 0 of the host counts it"
    }
    assert last.mrv_hash == last.job_record.hash.hex
    assert last.tx_hash == last.receipts["log"].reference
    assert last.verify_on_blockchain().status == "VALID"
    assert last.wait_until_final(5) == []
    for call in (first.anchor, first.verify_on_blockchain, lambda: first.tx_hash, lambda: first.mrv_hash):
        with pytest.raises(RunStateError, match="rank 0 did not put the record of the job together"):
            call()
    assert {row.commitment for row in last.manager.journal.rows()} == {last.job_record.hash}
    report = verify_record(record_path(tmp_path, JOB), manager=last.manager, samples=tmp_path)
    assert (report.verdict, report.findings) == (Verdict.VALID, ())
    with pytest.raises(RunStateError, match="there is a record"):
        MRVTracker("t", storage_dir=tmp_path, mrv_id=JOB, job=Job(1, 2, 1), **FAST).start()


def test_in_scope_process_each_rank_counts_its_own_but_gpus(tmp_path, monkeypatch, own_folder):
    class Gpu(Steady):
        component = Component.GPU

    monkeypatch.setattr(meters, "detect", lambda scope: meters.Detected(meters=(Steady(5000), Gpu(7000))))
    first, last = ranks_in_turn(tmp_path, scope="process")
    energies = [{p.component for p in t.record.energy.components if p.energy_uwh is not None} for t in (first, last)]
    assert energies == [{Component.CPU, Component.GPU}, {Component.CPU}]
    assert last.job_record.energy.total_uwh == sum(t.record.energy.total_uwh for t in (first, last))
    assert check_numbers(last.job_record) == []


def test_a_failure_to_sum_up_is_not_the_training_s(tmp_path, monkeypatch, own_folder):
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    monkeypatch.setattr("mrv_core.mrv.tracker.write_job_record", lambda *_: 1 / 0)
    _first, last = ranks_in_turn(tmp_path)
    assert last.error.message.startswith("ZeroDivisionError")
    assert last.record is not None
    assert complete_job(tmp_path, JOB).ranks.missing == ()


def test_of_many_that_find_all_ranks_one_writes(tmp_path):
    for part in four():
        save_mrv(part, storage_dir=tmp_path)
    assert [write_job_record(tmp_path, JOB, 4) is not None for _ in range(3)] == [True, False, False]
    assert not list(tmp_path.glob(".*")), "nothing is left behind"


# --- double counting --------------------------------------------------------------------------------------------------


def test_two_trackers_of_one_machine_name_each_other(tmp_path, monkeypatch, own_folder):
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    outer = MRVTracker("a", storage_dir=tmp_path, mrv_id="MRV-a", **FAST).start()
    with MRVTracker("b", storage_dir=tmp_path, mrv_id="MRV-b", **FAST) as inner:
        pass
    with MRVTracker("c", storage_dir=tmp_path, mrv_id="MRV-c", scope="process", **FAST) as process:
        pass
    outer.stop()
    with MRVTracker("d", storage_dir=tmp_path, mrv_id="MRV-d", **FAST) as after:
        pass
    said = [tracker.record.measurement.concurrent for tracker in (outer, inner, process, after)]
    assert said == [("MRV-b",), ("MRV-a",), (), ()]


def test_ranks_of_one_job_count_once(tmp_path, monkeypatch, own_folder):
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    assert ranks_in_turn(tmp_path)[1].job_record.measurement.concurrent == ()


def test_what_a_killed_tracker_left_is_harmless(tmp_path, monkeypatch, own_folder):
    import tempfile

    folder = Path(tempfile.gettempdir(), f"mrv-trackers-{os.getuid()}")
    folder.mkdir(mode=0o700)
    (folder / "1-dead").write_text("MRV-dead\n")
    (folder / "sub").mkdir()
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    with MRVTracker("a", storage_dir=tmp_path, **FAST) as tracker:
        pass
    assert (tracker.error, tracker.record.measurement.concurrent) == (None, ())
    assert [path.name for path in folder.iterdir()] == ["sub"]
    folder.chmod(0o777)
    with MRVTracker("a", storage_dir=tmp_path, **FAST) as tracker:
        assert [path.name for path in folder.iterdir()] == ["sub"], "a folder of others is not used"
    assert tracker.error is None


def test_the_check_and_the_page_say_who_counted_too(manager, mrv, config):  # noqa: F811
    value = record_value(steady(60))
    value["measurement"]["concurrent"] = ["MRV-too"]
    path = anchored(manager, MrvRecord.from_json(value, what=""))
    report = verify_record(path, manager=manager)
    assert (report.verdict, report.concurrent) == (Verdict.VALID, ("MRV-too",))
    done = mrv("report", path, "--config", config)
    assert (done.exit_code, "counted in the same time by MRV-too" in done.stdout) == (0, True)
    assert "was counted in the same time by: MRV-too." in path.with_suffix(".html").read_text()


def test_a_record_says_which_gpus_were_seen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert meters._visible({Component.GPU: Steady(1)}) == {"CUDA_VISIBLE_DEVICES": "1,2"}
    assert meters._visible({Component.CPU: Steady(1)}) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert meters._visible({Component.GPU: Steady(1)}) == {}


# --- real processes ---------------------------------------------------------------------------------------------------

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from mrv_core import MRVTracker

rank, folder = int(os.environ["RANK"]), Path("mrv")
SETTINGS
tracker = MRVTracker("ranks", storage_dir=folder, emission_factor=5600.0, interval_s=0.05, **settings)

def samples():
    return sum(path.read_bytes().count(b"\\n") for path in folder.glob(f"{tracker.mrv_id}*.samples.csv"))

def train(until):
    while samples() < until:
        sum(k**-2 for k in range(1, 20_000))

with tracker:
    with tracker.epoch(0):
        train(20)
        tracker.log(rank=rank)
    BODY
Path(f"done-{rank}").write_text(f"{tracker.mrv_id} {tracker.job_record is not None} {tracker.error}")
"""


def write_program(folder: Path, body: str = "pass", settings: str = "settings = {'blockchain_enabled': False}") -> None:
    (folder / "train.py").write_text(PROGRAM.replace("SETTINGS", settings).replace("BODY", body))


def clean(folder: Path) -> dict[str, str]:
    """Return this environment without a job, and with a folder of its own for trackers to find each other in."""
    (folder / "tmp").mkdir(exist_ok=True)
    known = {name: value for name, value in os.environ.items() if name not in NAMES}
    return {**known, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}


def plain(folder: Path, size: int = 4) -> list[int]:
    """Run the program in plain processes; return how they ended."""
    processes = [
        subprocess.Popen(
            [sys.executable, "train.py"],
            cwd=folder,
            env={**clean(folder), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)},
        )
        for rank in range(size)
    ]
    return [process.wait(120) for process in processes]


def told(folder: Path) -> dict[int, list[str]]:
    return {int(path.name[5:]): path.read_text().split() for path in folder.glob("done-*")}


def require_right_job(folder: Path, mrv_id: str) -> MrvRecord:
    """Check a job as a stranger would, but for the networks."""
    from mrv_core.mrv.rank_files import check_rank_files

    record = parse_record(record_path(folder, mrv_id).read_bytes(), what="the job")
    assert check_numbers(record) == []
    assert check_rank_files(record, record.ranks, folder) == []
    return record


def test_four_plain_processes(tmp_path):
    write_program(tmp_path)
    assert plain(tmp_path) == [0] * 4
    ((mrv_id,), ones) = {said[0] for said in told(tmp_path).values()}, [said[1] for said in told(tmp_path).values()]
    assert sorted(ones) == ["False", "False", "False", "True"]
    record = require_right_job(tmp_path / "mrv", mrv_id)
    assert (record.status, record.ranks.world_size, record.ranks.missing) == (Status.COMPLETED, 4, ())
    energies = [entry.energy_uwh for entry in record.ranks.entries]
    assert energies[1:] == [None] * 3
    assert record.energy.total_uwh == energies[0] > 0
    assert record.emissions.co2e_mg == record.ranks.entries[0].co2e_mg
    assert record.measurement.concurrent == ()
    for rank in range(4):
        part = parse_record(record_path(tmp_path / "mrv", rank_mrv_id(mrv_id, rank)).read_bytes(), what="a rank")
        assert [epoch.metrics for epoch in part.epochs] == [{"rank": rank}]


def test_torchrun(tmp_path):
    pytest.importorskip("torch")
    networks = '{"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}'
    write_program(tmp_path, settings=f"settings = {{'config': {networks}}}")
    command = [sys.executable, *TORCHRUN, "train.py"]
    done = subprocess.run(command, cwd=tmp_path, env=clean(tmp_path), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (mrv_id,) = {said[0] for said in told(tmp_path).values()}
    assert sorted(said[1] for said in told(tmp_path).values()) == ["False"] * 3 + ["True"]
    record = require_right_job(tmp_path / "mrv", mrv_id)
    assert [entry.rank for entry in record.ranks.entries] == [0, 1, 2, 3]
    assert record.energy.total_uwh == record.ranks.entries[0].energy_uwh > 0
    receipts = json.loads((tmp_path / "mrv" / f"{mrv_id}.receipts.json").read_bytes())
    assert receipts["commitment"] == str(record.hash)
    assert set(receipts["receipts"]) == {"log"}


def test_a_second_attempt_of_torchrun_is_a_job_of_its_own(tmp_path):
    pytest.importorskip("torch")
    body = "sys.exit(3 * (rank == 1 and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'))"
    write_program(tmp_path, body=body, settings="settings = {'blockchain_enabled': False, 'mrv_id': 'MRV-mine'}")
    command = [sys.executable, *TORCHRUN[:-1], "2", "--max-restarts", "1", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, env=clean(tmp_path), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert require_right_job(tmp_path / "mrv", "MRV-mine.attempt-1").status is Status.COMPLETED
    first = parse_record(record_path(tmp_path / "mrv", "MRV-mine.rank-1").read_bytes(), what="a rank")
    assert first.interruption == "SystemExit"


def test_a_killed_rank_is_missed(tmp_path, mrv):  # noqa: F811
    write_program(tmp_path, body="if rank == 2: os.kill(os.getpid(), signal.SIGKILL)")
    assert plain(tmp_path) == [0, 0, -9, 0]
    folder = tmp_path / "mrv"
    (mrv_id,) = {said[0] for said in told(tmp_path).values()}
    assert {said[1] for said in told(tmp_path).values()} == {"False"}
    assert not record_path(folder, mrv_id).exists()
    assert mrv("mrv-job", mrv_id, "--base-dir", folder).exit_code == 2
    assert mrv("mrv-job", mrv_id, "--base-dir", folder, "--allow-missing").exit_code == 0
    record = require_right_job(folder, mrv_id)
    assert (record.status, record.ranks.missing) == (Status.INTERRUPTED, (2,))
    assert record.energy.total_uwh > 0


def test_the_energy_is_that_of_one_tracker_of_the_machine(tmp_path):
    """A fifth process measures the same machine; over the time that both measured, the energies are within 2 %."""
    write_program(tmp_path, body="train(120)")
    single = """
import time
from pathlib import Path
from mrv_core import MRVTracker
tracker = MRVTracker("one", storage_dir="one", blockchain_enabled=False, interval_s=0.05, mrv_id="MRV-one")
with tracker:
    while len(list(Path().glob("done-*"))) < 4:
        time.sleep(0.05)
Path("start").write_text(repr(tracker.start_time))
"""
    (tmp_path / "one.py").write_text(single)
    process = subprocess.Popen([sys.executable, "one.py"], cwd=tmp_path, env=clean(tmp_path))
    while process.poll() is None and not (tmp_path / "one" / "MRV-one.samples.csv").exists():
        time.sleep(0.01)
    assert plain(tmp_path) == [0] * 4
    assert process.wait(120) == 0
    ((mrv_id,),) = ({said[0] for said in told(tmp_path).values()},)
    record = require_right_job(tmp_path / "mrv", mrv_id)
    one = read_samples(tmp_path / "one" / "MRV-one.samples.csv")
    ranks = [read_samples(path) for path in (tmp_path / "mrv").glob(f"{mrv_id}.rank-*.samples.csv")]
    assert len(ranks) == 1, "one host, one file of samples"
    offset = round(float((tmp_path / "start").read_text()) * 1000 - record.timestamps.start_time.timestamp() * 1000)
    start = max(ranks[0].samples[0].start_ms, one.samples[0].start_ms + offset)
    end = min(ranks[0].samples[-1].end_ms, one.samples[-1].end_ms + offset)
    job_uj = sum(ranks[0].energy_uj(component, start, end) or 0 for component in ranks[0].components)
    one_uj = sum(one.energy_uj(component, start - offset, end - offset) or 0 for component in one.components)
    assert end - start > 2_000
    assert abs(job_uj - one_uj) <= 0.02 * one_uj, (job_uj, one_uj)
    assert record.energy.total_uwh <= 1.02 * sum(
        units.uwh(one.energy_uj(component) or 0) for component in one.components
    ), "the whole job, which the other outlived"
    alone = parse_record((tmp_path / "one" / "MRV-one.json").read_bytes(), what="one")
    assert alone.measurement.concurrent == (rank_mrv_id(mrv_id, 0),)
    assert record.measurement.concurrent == ("MRV-one",)
