# SPDX-License-Identifier: MIT
"""Whether the record of a job can be the sum of its ranks, and a rank's its share of one: by their numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

from mrv_core.models import Verdict
from mrv_core.mrv import ranks
from mrv_core.mrv.job import counts, rank_mrv_id
from mrv_core.mrv.record import Component, MrvRecord, RankEntry, RankPlace, Ranks
from mrv_core.report.model import Finding


def check_share(record: MrvRecord, place: RankPlace) -> Iterator[Finding]:
    """Check that a rank has the id of its place, and counts nothing that its host's local rank 0 counts."""
    if record.mrv_id != rank_mrv_id(place.mrv_id, place.rank) or max(place.rank, place.local_rank) >= place.world_size:
        yield disagree("job", "no rank of the job has this id", rank_mrv_id(place.mrv_id, place.rank), record.mrv_id)
    for part in record.energy.components:
        if part.energy_uwh is not None and not counts(place.local_rank, record.measurement.scope, part.component):
            yield _counted_twice(f"energy.components.{part.component}", place.local_rank, part.energy_uwh)


def check_ranks(record: MrvRecord, job: Ranks) -> Iterator[Finding]:
    """Check that a job's record has each rank once, or says that it is missing, and is the sum of them."""
    yield from _each_once(job)
    for entry in job.entries:
        yield from _entry(record, entry)
    yield from _sums(record, job)
    yield from _gaps(record, job)


def disagree(place: str, message: str, stated: object, computed: object) -> Finding:
    """Return a finding: a number is not what others make it."""
    return Finding(verdict=Verdict.DISAGREE, place=place, message=message, expected=str(stated), computed=str(computed))


def _each_once(job: Ranks) -> Iterator[Finding]:
    found = [entry.rank for entry in job.entries]
    if sorted((*found, *job.missing)) != list(range(job.world_size)) or found != sorted(found):
        yield disagree("ranks", "a rank is there twice, or neither there nor missing", job.world_size, len(found))
    if job.missing != tuple(sorted(job.missing)):
        yield disagree("ranks.missing", "not in the order of the ranks", sorted(job.missing), job.missing)
    places = {(entry.host, entry.local_rank) for entry in job.entries}
    if len(places) < len(job.entries):
        yield disagree("ranks", "two ranks have one local rank on one host", len(job.entries), len(places))


def _entry(record: MrvRecord, entry: RankEntry) -> Iterator[Finding]:
    place = ranks.name_ranks([entry.rank])
    if entry.mrv_id != rank_mrv_id(record.mrv_id, entry.rank):
        yield disagree(place, "its id is not of this job", rank_mrv_id(record.mrv_id, entry.rank), entry.mrv_id)
    if record.measurement.scope == "machine" and entry.local_rank != 0 and entry.energy_uwh is not None:
        yield _counted_twice(place, entry.local_rank, entry.energy_uwh)


def _counted_twice(place: str, local_rank: int, energy_uwh: int) -> Finding:
    return disagree(place, f"local rank {local_rank} counts what local rank 0 of the host counts", energy_uwh, None)


def _sums(record: MrvRecord, job: Ranks) -> Iterator[Finding]:
    for place, stated, computed in (
        ("ranks.root", job.root, ranks.root_of(job.entries)),
        ("ranks.entries", min(entry.start_ms for entry in job.entries), 0),
        ("status", record.status, ranks.status_of(job.entries, job.missing)),
        ("timestamps.duration_ms", record.timestamps.duration_ms, ranks.duration_ms_of(job.entries)),
        ("energy.total_uwh", record.energy.total_uwh, ranks.energy_uwh_of(job.entries)),
        ("emissions.co2e_mg", record.emissions.co2e_mg, ranks.co2e_mg_of(job.entries)),
    ):
        if stated != computed:
            yield disagree(place, "not what the ranks make it", stated, computed)


def _gaps(record: MrvRecord, job: Ranks) -> Iterator[Finding]:
    gpu = any(part.component is Component.GPU and part.energy_uwh is not None for part in record.energy.components)
    stated = {(gap.component, gap.start_ms, gap.end_ms) for gap in record.measurement.gaps}
    for gap in ranks.gaps_of(job.entries, record.measurement.scope, gpu=gpu):
        if (gap.component, gap.start_ms, gap.end_ms) not in stated:
            yield disagree("measurement.gaps", gap.reason, "no gap", f"{gap.start_ms} to {gap.end_ms} ms")
