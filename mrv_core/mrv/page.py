# SPDX-License-Identifier: MIT
"""A record as one self-contained HTML page: power over time, energy by component, CO2 with its factor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from mrv_core.canonical import canonical_bytes
from mrv_core.errors import MrvError
from mrv_core.mrv import units
from mrv_core.mrv.record import Component, MrvRecord, Ranks, parse_record
from mrv_core.mrv.samples import SampleFile
from mrv_core.mrv.storage import read_record_file
from mrv_core.mrv.verification import RecordReport
from mrv_core.report.html import MOST_ROWS, template_environment
from mrv_core.report.plots import Series, line_chart
from mrv_core.report.text import MEANINGS

_UNKNOWN: Final = "not known"
_NOT_MEASURED: Final = "not measured"
_MOST_POINTS: Final = 600
"""Points of a chart, two a pixel."""
_MOST_RECORDS: Final = 1000
"""Files of a folder that are looked at for records of the same experiment."""


@dataclass(frozen=True, slots=True)
class _Chart:
    name: str
    svg: Markup


def render_record_html(
    report: RecordReport,
    record: MrvRecord | None,
    file: SampleFile | None,
    others: Iterable[MrvRecord] = (),
    ranks: Sequence[tuple[int, SampleFile]] = (),
) -> str:
    """Return the page, a complete HTML document; whatever stands in the record is shown as text.

    Args:
        report: What verifying it found.
        record: The record, where it could be read and is of schema 1.0.
        file: Its samples, where they are at hand.
        others: Records of the same experiment, to compare with.
        ranks: Of a job's record instead: the samples of its ranks, each with its start since that of the job in ms.
    """
    files = ranks or ([] if file is None else [(0, file)])
    template = template_environment().get_template("record.html.j2")
    return template.render(
        report=report,
        record=record,
        meaning=MEANINGS[report.verdict],
        headline=list(_headline(report)),
        charts=list(_charts(files)),
        earlier=_rows(record, others),
        most=MOST_ROWS,
        **_sections(record),
    )


def same_experiment(record: MrvRecord, folder: Path) -> list[MrvRecord]:
    """Return the other records of an experiment in a folder, oldest first; what cannot be read is none."""
    found = []
    for path in sorted(folder.glob("*.json"))[:_MOST_RECORDS]:
        try:
            other = parse_record(read_record_file(path), what=str(path))
        except MrvError:
            continue
        same = other.experiment.experiment_name == record.experiment.experiment_name
        if same and other.mrv_id != record.mrv_id and other.job is None:  # a rank's energy is in its job's record
            found.append(other)
    return sorted(found, key=lambda each: each.timestamps.start_time)


def _headline(report: RecordReport) -> Iterator[tuple[str, str]]:
    if report.schema_version is None:
        return
    yield "Experiment", report.experiment_name or ""
    yield "Energy", _NOT_MEASURED if report.energy_kwh is None else _energy(report.energy_kwh)
    yield "CO2e", _UNKNOWN if report.co2_kg is None else _mass(report.co2_kg)


def _sections(record: MrvRecord | None) -> dict[str, Any]:
    if record is None:
        return {"parts": [], "factor": {}, "training": {}, "hardware": {}, "gaps": [], "epochs": [], "ranks": []}
    factor = record.emissions.factor
    return {
        "parts": list(_parts(record)),
        "factor": {"factor": _UNKNOWN} if factor is None else {**factor.to_json(), **_pue(record)},
        "training": {**record.experiment.to_json(), **record.training.to_json(), "status": str(record.status)},
        "hardware": record.hardware.to_json(),
        "gaps": list(_gaps(record)),
        "epochs": list(_epochs(record)),
        "ranks": [] if record.ranks is None else list(_ranks(record.ranks)),
    }


def _pue(record: MrvRecord) -> dict[str, float | str]:
    known = record.emissions.pue_permille
    return {"PUE": _UNKNOWN if known is None else known / units.PERMILLE}


def _parts(record: MrvRecord) -> Iterator[Mapping[str, str]]:
    total = record.energy.total_uwh
    for part in record.energy.components:
        known = part.energy_uwh
        yield {
            "name": str(part.component),
            "energy": _NOT_MEASURED if known is None else _energy(units.kwh(known)),
            "share": "" if known is None or not total else f"{100 * known / total:.1f} %",
            "method": "" if part.method is None else str(part.method),
            "source": part.source,
        }


def _gaps(record: MrvRecord) -> Iterator[str]:
    for gap in record.measurement.gaps:
        what = "nothing" if gap.component is None else f"no {gap.component}"
        yield f"{what} from {gap.start_ms / 1000:g} s to {gap.end_ms / 1000:g} s: {gap.reason}"


def _epochs(record: MrvRecord) -> Iterator[Mapping[str, Any]]:
    for epoch in record.epochs:
        yield {
            "epoch": epoch.epoch,
            "duration": f"{(epoch.end_ms - epoch.start_ms) / 1000:.1f} s",
            "energy": _NOT_MEASURED if epoch.energy_uwh is None else _energy(units.kwh(epoch.energy_uwh)),
            "metrics": canonical_bytes(dict(epoch.metrics)).decode(),
        }


def _ranks(job: Ranks) -> Iterator[Mapping[str, str]]:
    for entry in job.entries:
        energy, mass = entry.energy_uwh, entry.co2e_mg
        yield {
            "rank": str(entry.rank),
            "host": str(entry.host),
            "status": str(entry.status),
            "duration": f"{entry.duration_ms / 1000:.1f} s",
            "energy": _NOT_MEASURED if energy is None else _energy(units.kwh(energy)),
            "co2e": _UNKNOWN if mass is None else _mass(units.kg(mass)),
            "mrv_id": entry.mrv_id,
        }
    for rank in job.missing:
        yield {"rank": str(rank), "status": "missing"}


@dataclass(frozen=True, slots=True)
class _Row:
    start: datetime
    mrv_id: str
    model: str
    energy: str
    co2e: str
    duration: str
    is_this: bool


def _rows(record: MrvRecord | None, others: Iterable[MrvRecord]) -> list[_Row]:
    known = list(others)
    if record is None or not known:
        return []
    return [_row(each, is_this=each is record) for each in sorted([*known, record], key=_start)]


def _start(record: MrvRecord) -> datetime:
    return record.timestamps.start_time


def _row(record: MrvRecord, *, is_this: bool) -> _Row:
    energy, mass = record.energy.total_uwh, record.emissions.co2e_mg
    return _Row(
        start=_start(record),
        mrv_id=record.mrv_id,
        model=record.experiment.model_name,
        energy=_NOT_MEASURED if energy is None else _energy(units.kwh(energy)),
        co2e=_UNKNOWN if mass is None else _mass(units.kg(mass)),
        duration=f"{record.timestamps.duration_ms / 1000:.0f} s",
        is_this=is_this,
    )


def _charts(files: Sequence[tuple[int, SampleFile]]) -> Iterator[_Chart]:
    for component in Component:
        parts = [(start, file) for start, file in files if component in file.components]
        series = _series(parts, component)
        if series.points:
            yield _Chart(series.name, line_chart(series))


def _series(files: Sequence[tuple[int, SampleFile]], component: Component) -> Series:
    """Return the mean power of a component in watts over the seconds, of all hosts; what nobody measured is a gap."""
    duration = max((start + file.samples[-1].end_ms for start, file in files if file.samples), default=0)
    width = 1000 * max(1, -(-duration // (1000 * _MOST_POINTS)))
    power: dict[int, float] = {}
    for start, file in files:
        for bucket, mean in _means(file, file.components.index(component), start, width):
            power[bucket] = power.get(bucket, 0) + mean
    runs: list[list[tuple[int, float]]] = []
    for bucket in sorted(power):
        if not runs or runs[-1][-1][0] != (bucket - 1) * width // 1000:
            runs.append([])
        runs[-1].append((bucket * width // 1000, power[bucket]))
    segments = tuple(map(tuple, runs))
    points = tuple(point for run in segments for point in run)
    return Series(f"{component}, W", points, (), segments, along="s")


def _means(file: SampleFile, index: int, begin_ms: int, width_ms: int) -> Iterator[tuple[int, float]]:
    """Yield the mean power in watts of each stretch of time in which a file has any."""
    energy: Counter[int] = Counter()
    measured: Counter[int] = Counter()
    for sample in file.samples:
        power, start, end = sample.powers_mw[index], begin_ms + sample.start_ms, begin_ms + sample.end_ms
        while power is not None and start < end:
            bucket = start // width_ms
            until = min(end, (bucket + 1) * width_ms)
            energy[bucket] += power * (until - start)
            measured[bucket] += until - start
            start = until
    return ((bucket, energy[bucket] / length / 1000) for bucket, length in measured.items())


def _energy(kwh: float) -> str:
    return _scaled(kwh, (("kWh", 1.0), ("Wh", 1e3), ("mWh", 1e6)))


def _mass(kg: float) -> str:
    return _scaled(kg, (("kg", 1.0), ("g", 1e3), ("mg", 1e6)))


def _scaled(value: float, scales: Sequence[tuple[str, float]]) -> str:
    """Write a quantity in the first unit in which it is one or more, or else in the last."""
    unit, factor = next((each for each in scales if value * each[1] >= 1), scales[-1])
    return f"{value * factor:.4g} {unit}"
