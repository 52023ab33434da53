# SPDX-License-Identifier: MIT
"""The record of a job, put together out of the records of its ranks. It says nothing that these do not say.

The same records make the same bytes, whoever puts them together, so no process has to be the one that does.
"""

from __future__ import annotations

import glob
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from mrv_core.errors import FormatError, RunStateError
from mrv_core.files import write_new
from mrv_core.mrv import units
from mrv_core.mrv.job import counts, rank_mrv_id
from mrv_core.mrv.ranks import (
    co2e_mg_of,
    duration_ms_of,
    gaps_of,
    missing_of,
    name_ranks,
    root_of,
    status_of,
)
from mrv_core.mrv.record import (
    MAX_RECORD_BYTES,
    Component,
    ComponentEnergy,
    Emissions,
    Energy,
    Factor,
    Gap,
    Hardware,
    Measurement,
    Method,
    MrvRecord,
    RankEntry,
    RankPlace,
    Ranks,
    Status,
    Timestamps,
    Training,
    parse_record,
)
from mrv_core.mrv.storage import read_record_file, record_path

_T = TypeVar("_T", bound=Hashable)
_MAX_TEXT: Final = 1000
_MOST_GAPS: Final = 100
"""Of one rank in the record of its job, which has many ranks."""
_RANK: Final = rank_mrv_id("", 0).removesuffix("0")


def write_job_record(folder: Path, mrv_id: str, world_size: int) -> MrvRecord | None:
    """Write the record of a job where the records of all its ranks are there, and wait for none.

    Args:
        folder: Where the records of the ranks are, and the job's goes.
        mrv_id: Id of the job's record.
        world_size: Processes of the job.

    Returns:
        The record, in the one process that wrote it; None in every other.

    Raises:
        FormatError: the ranks' records are not of one job.
        StorageError: one cannot be read, or the job's cannot be written.
    """
    paths = [record_path(folder, rank_mrv_id(mrv_id, rank)) for rank in range(world_size)]
    if not all(path.exists() for path in paths):
        return None
    record = make_job_record(mrv_id, [parse_record(read_record_file(path), what=str(path)) for path in paths])
    return record if save_job_record(folder, record) else None


def complete_job(folder: Path, mrv_id: str, *, allow_missing: bool = False) -> MrvRecord:
    """Write the record of a job out of the records of its ranks that are in a folder, and return it.

    Args:
        folder: Where they are, and the job's goes.
        mrv_id: Id of the job's record.
        allow_missing: Whether ranks may be missing; the record names them.

    Raises:
        RunStateError: a rank is missing, or the record is there.
        FormatError: the ranks' records are not of one job.
        StorageError: one cannot be read, or the job's cannot be written.
    """
    record = make_job_record(mrv_id, rank_records(folder, mrv_id))
    missing = () if record.ranks is None else record.ranks.missing
    if missing and not allow_missing:
        raise RunStateError(
            f"there is no record of {name_ranks(missing)} of {mrv_id}",
            hint="collect them in one folder, or write the record without them with --allow-missing",
        )
    if not save_job_record(folder, record):
        raise RunStateError(f"there is a record {record_path(folder, mrv_id)}", hint="see it with 'mrv verify'")
    return record


def rank_records(folder: Path, mrv_id: str) -> list[MrvRecord]:
    """Return the records of a job's ranks that are in a folder; receipts and whatever else has such a name are none.

    Raises:
        FormatError: the id is no file's name, or a record is damaged.
        StorageError: one cannot be read.
    """
    pattern = f"{glob.escape(record_path(folder, mrv_id).stem)}{_RANK}*.json"
    paths = [path for path in folder.glob(pattern) if path.stem.rpartition(_RANK)[2].isdecimal()]
    return [parse_record(read_record_file(path), what=str(path)) for path in paths]


def save_job_record(folder: Path, record: MrvRecord) -> bool:
    """Write a job's record, and tell whether it was this process that did: another may have written it before.

    Raises:
        FormatError: it has more ranks than a record takes.
        StorageError: no permission, no space, or no hard links on this file system.
    """
    data = record.to_bytes()
    if len(data) > MAX_RECORD_BYTES:
        raise FormatError(f"the record of {record.mrv_id} is larger than any that is read")
    return write_new(record_path(folder, record.mrv_id), data)


def make_job_record(mrv_id: str, records: Sequence[MrvRecord]) -> MrvRecord:
    """Sum up the records of a job's ranks; of those that are not there, only that.

    Args:
        mrv_id: Id of the job's record.
        records: One or more, in any order.

    Raises:
        FormatError: they are not of one job, are twice the same rank, or were measured in ways that have no sum.
    """
    parts = sorted(records, key=lambda record: _place(record).rank)
    world_size = _require_one_job(mrv_id, parts)
    start = min(part.timestamps.start_time for part in parts)
    entries = tuple(entry_of(part, start) for part in parts)
    missing = missing_of(entries, world_size)
    status, duration_ms = status_of(entries, missing), duration_ms_of(entries)
    energy = _energy(parts)
    return MrvRecord(
        mrv_id=mrv_id,
        status=status,
        interruption=None if status is Status.COMPLETED else _interruption(parts, missing),
        experiment=parts[0].experiment,
        training=_training(parts),
        hardware=_hardware(parts),
        timestamps=Timestamps(
            start_time=start, end_time=start + timedelta(milliseconds=duration_ms), duration_ms=duration_ms
        ),
        measurement=_measurement(parts, entries, energy),
        energy=energy,
        emissions=_emissions(parts, entries),
        epochs=(),
        metrics={},
        samples=None,
        job=None,
        ranks=Ranks(world_size=world_size, missing=missing, root=root_of(entries), entries=entries),
        environment=_common_items([part.environment for part in parts]),
        provenance=_common(part.provenance for part in parts),
        supersedes=_common(part.supersedes for part in parts),
    )


def entry_of(record: MrvRecord, start: datetime) -> RankEntry:
    """Return what the record of a job says of one of its ranks.

    Args:
        record: The rank's.
        start: Start of the job.

    Raises:
        FormatError: it is no rank's record.
    """
    place = _place(record)
    return RankEntry(
        rank=place.rank,
        local_rank=place.local_rank,
        host=place.host,
        mrv_id=record.mrv_id,
        hash=record.hash,
        status=record.status,
        start_ms=max(0, (record.timestamps.start_time - start) // timedelta(milliseconds=1)),
        duration_ms=record.timestamps.duration_ms,
        energy_uwh=record.energy.total_uwh,
        co2e_mg=record.emissions.co2e_mg,
    )


def _place(record: MrvRecord) -> RankPlace:
    if record.job is None:
        raise FormatError(f"{record.mrv_id} is not the record of a rank")
    return record.job


def _require_one_job(mrv_id: str, parts: Sequence[MrvRecord]) -> int:
    """Return the size of the job that all records are of."""
    if not parts:
        raise FormatError(f"there is no record of any rank of {mrv_id}")
    places = [_place(part) for part in parts]
    for part, place in zip(parts, places, strict=True):
        if place.mrv_id != mrv_id or part.mrv_id != rank_mrv_id(mrv_id, place.rank):
            raise FormatError(f"{part.mrv_id} is not the record of a rank of {mrv_id}")
    if len({place.rank for place in places}) < len(places):
        raise FormatError(f"a rank of {mrv_id} is there twice")
    if len({(place.host, place.local_rank) for place in places}) < len(places):
        raise FormatError(
            f"two ranks of {mrv_id} have one local rank on one host", hint="GROUP_RANK, or Job.host, is each host's own"
        )
    for what, found in (
        ("sizes of the job", {place.world_size for place in places}),
        ("scopes of measuring", {part.measurement.scope for part in parts}),
    ):
        if len(found) > 1:
            raise FormatError(f"the ranks of {mrv_id} have different {what}: {', '.join(sorted(map(str, found)))}")
    return places[0].world_size


def _interruption(parts: Sequence[MrvRecord], missing: Sequence[int]) -> str:
    """Say which rank ended too early and why; the rest is in the entries."""
    said = [f"no record of {name_ranks(missing)}"] if missing else []
    said += [f"rank {_place(part).rank}: {part.interruption}" for part in parts if part.interruption is not None]
    return "; ".join(said)[:_MAX_TEXT]


def _training(parts: Sequence[MrvRecord]) -> Training:
    return Training(
        epochs=_common(part.training.epochs for part in parts),
        batch_size=_common(part.training.batch_size for part in parts),
        framework=_common(part.training.framework for part in parts),
    )


def _hardware(parts: Sequence[MrvRecord]) -> Hardware:
    """Add up the hosts, each as its lowest local rank knows it."""
    hosts: dict[int, MrvRecord] = {}
    for part in sorted(parts, key=lambda part: _place(part).local_rank, reverse=True):
        hosts[_place(part).host] = part
    found = [hosts[host].hardware for host in sorted(hosts)]
    return Hardware(
        cpu_type="; ".join(dict.fromkeys(each.cpu_type for each in found if each.cpu_type))[:_MAX_TEXT] or None,
        cpu_cores=_sum([each.cpu_cores for each in found]),
        gpu_types=tuple(name for each in found for name in each.gpu_types),
        ram_bytes=_sum([each.ram_bytes for each in found]),
    )


def _measurement(parts: Sequence[MrvRecord], entries: Sequence[RankEntry], energy: Energy) -> Measurement:
    said = [part.measurement for part in parts]
    counting = [part.measurement for part in parts if part.energy.total_uwh is not None] or said
    gpu = any(part.component is Component.GPU and part.energy_uwh is not None for part in energy.components)
    return Measurement(
        measurement_tool=said[0].measurement_tool,
        tool_version=_common(each.tool_version for each in counting),
        scope=said[0].scope,
        interval_ms=max(each.interval_ms for each in said),
        tolerance_permille=max(each.tolerance_permille for each in said),
        settings=_common_items([each.settings for each in counting]),
        gaps=(*gaps_of(entries, said[0].scope, gpu=gpu), *_own_gaps(parts, entries)),
        concurrent=tuple(sorted({mrv_id for each in said for mrv_id in each.concurrent})),
    )


def _own_gaps(parts: Sequence[MrvRecord], entries: Sequence[RankEntry]) -> Iterator[Gap]:
    """Yield what the ranks that measured could not measure, since the start of the job."""
    for part, entry in zip(parts, entries, strict=True):
        gaps, start, rank = part.measurement.gaps, entry.start_ms, name_ranks([entry.rank])
        if entry.energy_uwh is None or not gaps:
            continue  # it is a gap as a whole, or counts nothing
        if len(gaps) > _MOST_GAPS:
            first, last = min(gap.start_ms for gap in gaps), max(gap.end_ms for gap in gaps)
            reason = f"{rank}: {len(gaps)} shorter times, which its record has"
            gaps = (Gap(component=None, start_ms=first, end_ms=last, reason=reason),)
        else:
            gaps = tuple(gap.model_copy(update={"reason": f"{rank}: {gap.reason}"[:_MAX_TEXT]}) for gap in gaps)
        for gap in gaps:
            yield gap.model_copy(update={"start_ms": start + gap.start_ms, "end_ms": start + gap.end_ms})


def _energy(parts: Sequence[MrvRecord]) -> Energy:
    """Add up each component over the ranks that count it."""
    found: dict[Component, list[tuple[int, ComponentEnergy]]] = {}
    for record in parts:
        place = _place(record)
        for part in record.energy.components:
            if part.energy_uwh is not None or counts(place.local_rank, record.measurement.scope, part.component):
                found.setdefault(part.component, []).append((place.rank, part))
    components = tuple(_component(each, found[each]) for each in Component if each in found)
    return Energy(total_uwh=units.total(part.energy_uwh for part in components), components=components)


def _component(component: Component, parts: Sequence[tuple[int, ComponentEnergy]]) -> ComponentEnergy:
    methods = {part.method for _, part in parts}
    sources: dict[str, list[int]] = {}
    for rank, part in parts:
        sources.setdefault(part.source, []).append(rank)
    texts = [text if len(sources) == 1 else f"{name_ranks(ranks)}: {text}" for text, ranks in sources.items()]
    return ComponentEnergy(
        component=component,
        energy_uwh=units.total(part.energy_uwh for _, part in parts),
        # The sum is as good as its worst part; the methods are in the order of how good they are.
        method=next((method for method in reversed(Method) if method in methods), None),
        source="; ".join(texts)[:_MAX_TEXT],
        limit_mw=None,
    )


def _emissions(parts: Sequence[MrvRecord], entries: Sequence[RankEntry]) -> Emissions:
    """Add up the emissions; a factor or PUE that is not that of all energy is not known."""
    counting = [part.emissions for part in parts if part.energy.total_uwh is not None] or [parts[0].emissions]
    return Emissions(
        co2e_mg=co2e_mg_of(entries),
        pue_permille=_common(each.pue_permille for each in counting),
        factor=_common_factor([each.factor for each in counting]),
    )


def _common_factor(factors: Sequence[Factor | None]) -> Factor | None:
    """Return the factor that all stated, each at its own time."""
    known = [factor for factor in factors if factor is not None]
    if not known or len(known) < len(factors):
        return None
    first = min(known, key=lambda factor: factor.stated_at)
    same = all(factor.model_copy(update={"stated_at": first.stated_at}) == first for factor in known)
    return first if same else None


def _common(values: Iterable[_T | None]) -> _T | None:
    """Return the one value that all have, if there is one."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _common_items(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all say."""
    first, *others = values
    return {key: value for key, value in first.items() if all(key in each and each[key] == value for each in others)}


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
