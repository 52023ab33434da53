# SPDX-License-Identifier: MIT
"""The records of a job's ranks beside its own, and their samples: what the job's record commits to, and is the sum of.

What is not there could not be checked; it is never taken for right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mrv_core.errors import FormatError, StorageError
from mrv_core.models import Verdict
from mrv_core.mrv.job_record import entry_of, make_job_record
from mrv_core.mrv.rank_numbers import disagree
from mrv_core.mrv.ranks import name_ranks
from mrv_core.mrv.recompute import check_numbers, check_samples
from mrv_core.mrv.record import MrvRecord, RankEntry, Ranks, hash_of, parse_record
from mrv_core.mrv.samples import SampleFile, read_samples
from mrv_core.mrv.storage import read_record_file, record_path, samples_path
from mrv_core.report.model import Finding

_MOST_CHARACTERS: Final = 200
"""Of a value in a finding: gaps may be many."""


def check_rank_files(record: MrvRecord, job: Ranks, folder: Path) -> list[Finding]:
    """Check the ranks' records in a folder, their samples, and that the job's record is the sum of them.

    Args:
        record: The job's.
        job: What it says of its ranks.
        folder: Where their records are.

    Returns:
        What is wrong or could not be checked; its place names the rank.
    """
    found: list[Finding] = []
    parts: list[MrvRecord] = []
    for entry in job.entries:
        part, findings = _check_rank(record, entry, folder)
        found += (_of_rank(entry, finding) for finding in findings)
        parts += [] if part is None else [part]
    if len(parts) == len(job.entries):
        found += _check_sum(record, parts)
    return found


def has_rank_files(job: Ranks, folder: Path) -> bool:
    """Tell whether any rank's record is in a folder.

    Raises:
        FormatError: the id of one is no file's name.
    """
    return any(record_path(folder, entry.mrv_id).exists() for entry in job.entries)


def rank_samples(job: Ranks, folder: Path) -> Iterator[tuple[int, SampleFile]]:
    """Yield the samples that are there, with the start of their rank since that of the job, in ms."""
    for entry in job.entries:
        try:
            path = samples_path(record_path(folder, entry.mrv_id))
            if path.exists():
                yield entry.start_ms, read_samples(path)
        except (FormatError, StorageError):
            continue  # the check says so


def _check_rank(record: MrvRecord, entry: RankEntry, folder: Path) -> tuple[MrvRecord | None, list[Finding]]:
    """Return the rank's record where it is the one that the job's commits to, and what is wrong with it."""
    try:
        path = record_path(folder, entry.mrv_id)
        data = read_record_file(path)
    except StorageError as error:
        return None, [_finding(Verdict.UNREACHABLE, "its record", error.message)]
    except FormatError as error:
        return None, [_finding(Verdict.TAMPERED, "its record", error.message)]
    if hash_of(data) != entry.hash:
        wrong = _finding(Verdict.TAMPERED, "its record", "not what the job's record commits to")
        return None, [wrong.model_copy(update={"expected": str(entry.hash), "computed": str(hash_of(data))})]
    try:
        part = parse_record(data, what=path.name)
        computed = entry_of(part, record.timestamps.start_time)
    except FormatError as error:  # it was anchored so
        return None, [_finding(Verdict.DISAGREE, "its record", error.message)]
    stated = entry.to_json()
    different = [name for name, value in computed.to_json().items() if value != stated[name]]
    findings = [disagree(name, "not what its record says", stated[name], getattr(computed, name)) for name in different]
    return part, [*findings, *check_numbers(part), *_check_samples(part, samples_path(path))]


def _check_samples(part: MrvRecord, path: Path) -> list[Finding]:
    if part.samples is None:
        if part.energy.total_uwh is None:
            return []  # it measured nothing, and says so
        return [_finding(Verdict.UNREACHABLE, "samples", "the record commits to none")]
    try:
        return check_samples(part, part.samples, read_samples(path))
    except StorageError as error:
        return [_finding(Verdict.UNREACHABLE, "samples", error.message)]
    except FormatError as error:  # malformed evidence is wrong evidence
        return [_finding(Verdict.TAMPERED, "samples", error.message)]


def _check_sum(record: MrvRecord, parts: list[MrvRecord]) -> Iterator[Finding]:
    """Put the record together again and compare its numbers; texts for people may be another release's."""
    try:
        made = make_job_record(record.mrv_id, parts)
    except FormatError as error:
        yield _finding(Verdict.DISAGREE, "ranks", error.message)
        return
    stated, computed = _numbers(record), _numbers(made)
    for place, value in computed.items():
        if stated.get(place) != value:
            yield disagree(place, "not what the ranks' records make it", _short(stated.get(place)), _short(value))
    for place in stated.keys() - computed.keys():
        yield disagree(place, "no rank's record has it", _short(stated[place]), None)


def _short(value: object) -> str:
    return str(value)[:_MOST_CHARACTERS]


def _numbers(record: MrvRecord) -> dict[str, object]:
    said, emissions = record.measurement, record.emissions
    return {
        "timestamps": record.timestamps,
        "status": record.status,
        "experiment": record.experiment,
        "training": record.training,
        "measurement.scope": said.scope,
        "measurement.concurrent": said.concurrent,
        "measurement.gaps": tuple((gap.component, gap.start_ms, gap.end_ms) for gap in said.gaps),
        "energy.total_uwh": record.energy.total_uwh,
        "emissions.co2e_mg": emissions.co2e_mg,
        "emissions.pue_permille": emissions.pue_permille,
        "emissions.factor": emissions.factor,
        "ranks.world_size": record.ranks and record.ranks.world_size,
        **{f"energy.components.{part.component}": (part.energy_uwh, part.method) for part in record.energy.components},
    }


def _finding(verdict: Verdict, place: str, message: str) -> Finding:
    return Finding(verdict=verdict, place=place, message=message)


def _of_rank(entry: RankEntry, finding: Finding) -> Finding:
    return finding.model_copy(update={"place": f"{name_ranks([entry.rank])}, {finding.place}"})
