# SPDX-License-Identifier: MIT
"""A record's numbers, computed again: from one another, and from the samples that they sum up.

What is found here says nothing about who wrote the record; it says whether the record can be right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mrv_core.models import Verdict
from mrv_core.mrv import units
from mrv_core.mrv.rank_numbers import check_ranks, check_share, disagree
from mrv_core.mrv.record import ComponentEnergy, MrvRecord, Samples, value_of
from mrv_core.mrv.samples import SampleFile, changed_sections, energy_uwh, root_of_sections, section_size
from mrv_core.report.model import Finding

MAX_TOLERANCE_PERMILLE: Final = 10
"""A record that grants itself more is held to this."""
_MAX_FINDINGS: Final = 100
"""Findings of one kind: a file with another clock has one for each line."""
_LATE_MS: Final = 2000
"""The last reading is waited for after the end of the run, however long the interval."""
_LIMIT_PERMILLE: Final = 1050
"""Processors exceed their rated power for moments; a mean over a second that does by 5 % is not believed."""


def check_numbers(record: MrvRecord) -> list[Finding]:
    """Compare the numbers of a record with one another: the total, the emissions, the times, the roots, the ranks."""
    return [
        *_total(record),
        *_emissions(record),
        *_times(record),
        *(_sections(record.samples) if record.samples is not None else ()),
        *(check_share(record, record.job) if record.job is not None else ()),
        *(check_ranks(record, record.ranks) if record.ranks is not None else ()),
    ]


def check_samples(record: MrvRecord, samples: Samples, file: SampleFile) -> list[Finding]:
    """Compare a file of samples with the record: its root first, then every number, then what hardware can do.

    Args:
        record: The record.
        samples: What it says of its samples.
        file: The file.
    """
    wrong = list(_changed(samples, file))
    if wrong:
        return wrong
    return [
        *_size(samples, file),
        *_energies(record, file),
        *_epochs(record, file),
        *_gaps(record, file),
        *_plausible(record, file),
    ]


def _total(record: MrvRecord) -> Iterator[Finding]:
    total = units.total(part.energy_uwh for part in record.energy.components)
    if total != record.energy.total_uwh:
        message = "the total is not the sum of the components"
        yield disagree("energy.total_uwh", message, record.energy.total_uwh, total)


def _emissions(record: MrvRecord) -> Iterator[Finding]:
    stated = record.emissions
    computed = units.co2e_mg(record.energy.total_uwh, value_of(stated.factor), stated.pue_permille)
    if record.ranks is not None and computed is None:
        return  # the sum of the ranks' emissions, of whatever factors: `check_ranks` adds them up
    rounded = 0 if record.ranks is None else len(record.ranks.entries)  # each rank's were, by themselves
    if not _within(stated.co2e_mg, computed, rounded):
        message = "the emissions are not energy times PUE times factor"
        yield disagree("emissions.co2e_mg", message, stated.co2e_mg, computed)


def _times(record: MrvRecord) -> Iterator[Finding]:
    times = record.timestamps
    between_ms = (times.end_time - times.start_time).total_seconds() * 1000
    if abs(between_ms - times.duration_ms) > 2000:  # both ends are rounded to whole seconds
        message = "end less start is not the duration"
        yield disagree("timestamps.duration_ms", message, times.duration_ms, round(between_ms))
    last = 0
    for number, epoch in enumerate(record.epochs):
        if not last <= epoch.start_ms <= epoch.end_ms <= times.duration_ms:
            message = f"epoch {epoch.epoch} is outside the run, or overlaps the one before it"
            yield disagree(f"epochs.{number}", message, f"{epoch.start_ms} to {epoch.end_ms} ms", f"after {last} ms")
        last = epoch.end_ms


def _sections(samples: Samples) -> Iterator[Finding]:
    count = -(-samples.size // samples.section_size)
    root = root_of_sections([section.value for section in samples.sections]) if samples.sections else b""
    stated = (samples.root.value, len(samples.sections), samples.section_size)
    if stated != (root, count, section_size(samples.size)):
        message = "the sections do not make the root of the samples"
        yield disagree("samples.sections", message, samples.root, f"sha256:{root.hex()}")


def _changed(samples: Samples, file: SampleFile) -> Iterator[Finding]:
    for first, last in changed_sections(file, samples)[:_MAX_FINDINGS]:
        where = f"line {first}" if first == last else f"lines {first} to {last}"
        yield Finding(verdict=Verdict.TAMPERED, place=f"samples {where}", message="not what the record commits to")


def _size(samples: Samples, file: SampleFile) -> Iterator[Finding]:
    if samples.size != len(file.lines):
        yield disagree("samples.size", "the samples are not so many lines", samples.size, len(file.lines))


def _energies(record: MrvRecord, file: SampleFile) -> Iterator[Finding]:
    parts = {part.component: part for part in record.energy.components}
    for component in file.components:
        part, computed = parts.get(component), energy_uwh(file, component)
        stated = None if part is None else part.energy_uwh
        if not _agree(record, stated, computed):
            message = f"the samples of {component} make another energy"
            yield disagree(f"energy.components.{component}", message, stated, computed)
    for component, part in parts.items():
        if part.energy_uwh is not None and component not in file.components:
            message = f"there are no samples of {component}"
            yield disagree(f"energy.components.{component}", message, part.energy_uwh, None)


def _epochs(record: MrvRecord, file: SampleFile) -> Iterator[Finding]:
    for number, epoch in enumerate(record.epochs):
        computed = file.total_uwh(epoch.start_ms, epoch.end_ms)
        if not _agree(record, epoch.energy_uwh, computed):
            message = f"the samples make another energy of epoch {epoch.epoch}"
            yield disagree(f"epochs.{number}.energy_uwh", message, epoch.energy_uwh, computed)


def _gaps(record: MrvRecord, file: SampleFile) -> Iterator[Finding]:
    stated = {(gap.component, gap.start_ms, gap.end_ms) for gap in record.measurement.gaps}
    computed = {(gap.component, gap.start_ms, gap.end_ms) for gap in file.gaps(record.timestamps.duration_ms, {})}
    for component, start, end in sorted(computed - stated, key=str)[:_MAX_FINDINGS]:
        message = f"nothing of {component or 'anything'} was measured from {start} to {end} ms, which the record hides"
        yield disagree("measurement.gaps", message, "no gap", f"{end - start} ms")


def _plausible(record: MrvRecord, file: SampleFile) -> Iterator[Finding]:
    last = file.samples[-1].end_ms if file.samples else 0
    if last > record.timestamps.duration_ms + _LATE_MS:
        message = "samples were taken after the end of the run"
        yield disagree(f"samples line {len(file.lines)}", message, record.timestamps.duration_ms, last)
    for index, component in enumerate(file.components):
        part = next((part for part in record.energy.components if part.component is component), None)
        yield from _over_limit(part, index, file) if part is not None else ()


def _over_limit(part: ComponentEnergy, index: int, file: SampleFile) -> Iterator[Finding]:
    if part.limit_mw is None:
        return
    limit, found = part.limit_mw * _LIMIT_PERMILLE // 1000, 0
    for line, sample in enumerate(file.samples, 2):
        power = sample.powers_mw[index]
        if power is not None and power > limit and found < _MAX_FINDINGS:
            found += 1
            message = f"{part.component} cannot draw so much"
            yield disagree(f"samples line {line}", message, f"at most {part.limit_mw} mW", f"{power} mW")


def _within(stated: int | None, computed: int | None, difference: int) -> bool:
    if stated is None or computed is None:
        return stated == computed
    return abs(stated - computed) <= difference


def _agree(record: MrvRecord, stated: int | None, computed: int | None) -> bool:
    if stated is None or computed is None:
        return stated == computed
    tolerance = min(record.measurement.tolerance_permille, MAX_TOLERANCE_PERMILLE)
    return abs(stated - computed) * 1000 <= tolerance * max(stated, computed)
