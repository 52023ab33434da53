# SPDX-License-Identifier: MIT
"""What was sampled, summed up for the record: energy by component, by epoch, and what was not measured."""

from __future__ import annotations

from dataclasses import dataclass

from mrv_core.canonical import JsonValue
from mrv_core.mrv import units
from mrv_core.mrv.record import Component, ComponentEnergy, Energy, Epoch, Gap, Hardware, Provenance
from mrv_core.mrv.sampler import Sampler
from mrv_core.mrv.samples import SampleFile, energy_uwh


class OpenEpoch:
    """An epoch that is being trained."""

    def __init__(self, epoch: int, start_ms: int) -> None:
        self.epoch = epoch
        self.start_ms = start_ms
        self.end_ms = start_ms
        self.metrics: dict[str, JsonValue] = {}


@dataclass(frozen=True, slots=True)
class Measured:
    """What became known of a run besides what the training said.

    Attributes:
        duration_ms: Its length.
        energy: What it used.
        gaps: What was not measured.
        samples: What was sampled, where that is at hand.
        concurrent: Ids of others that counted the same machine.
        environment, hardware: See `Surroundings`.
        provenance: The run that it is about.
    """

    duration_ms: int
    energy: Energy
    gaps: tuple[Gap, ...]
    samples: SampleFile | None
    concurrent: tuple[str, ...]
    environment: dict[str, JsonValue]
    hardware: Hardware
    provenance: Provenance | None


def declared_energy(sampler: Sampler) -> Energy:
    """Return what is measured, and how, without a number yet: zero for each meter."""
    parts = [
        ComponentEnergy(
            component=meter.component,
            energy_uwh=0,
            method=meter.method,
            source=meter.source,
            limit_mw=meter.limit_mw,
        )
        for meter in sampler.detected.meters
    ]
    unmeasured = [_unmeasured(component, why) for component, why in sampler.detected.unmeasured.items()]
    return Energy(total_uwh=0 if parts else None, components=(*parts, *unmeasured))


def energy_of(sampler: Sampler, samples: SampleFile | None, problem: str | None) -> Energy:
    """Sum up each component; what was not measured says why.

    Args:
        sampler: Who measured.
        samples: What it wrote down, or None where that was lost.
        problem: Why nothing, or nothing more, was measured.
    """
    parts = []
    for meter in sampler.detected.meters:
        energy = energy_uwh(samples, meter.component) if samples is not None else _counted(sampler, meter.component)
        why = sampler.reasons.get(meter.component) or problem or "no sample was taken"
        parts.append(
            ComponentEnergy(
                component=meter.component,
                energy_uwh=energy,
                method=None if energy is None else meter.method,
                source=meter.source if energy is not None else f"not measured: {why}"[:1000],
                limit_mw=meter.limit_mw,
            )
        )
    parts += [_unmeasured(component, why) for component, why in sampler.detected.unmeasured.items()]
    return Energy(total_uwh=units.total(part.energy_uwh for part in parts), components=tuple(parts))


def _unmeasured(component: Component, why: str) -> ComponentEnergy:
    source = f"not measured: {why}"[:1000]
    return ComponentEnergy(component=component, energy_uwh=None, method=None, source=source, limit_mw=None)


def _counted(sampler: Sampler, component: Component) -> int | None:
    """Return what the readings added up to where their file was lost."""
    energy = sampler.energies_uj.get(component)
    return None if energy is None else units.uwh(energy)


def gaps_of(sampler: Sampler, samples: SampleFile | None, problem: str | None, duration_ms: int) -> tuple[Gap, ...]:
    """Return what was not measured; without samples nobody can tell, so it is everything. See `energy_of`."""
    if samples is not None:
        return samples.gaps(duration_ms, sampler.reasons)
    reason = f"no samples are kept: {problem}"[:1000]
    return (Gap(component=None, start_ms=0, end_ms=duration_ms, reason=reason),)


def epoch_of(epoch: OpenEpoch, samples: SampleFile | None) -> Epoch:
    """Sum up an epoch over all components."""
    return Epoch(
        epoch=epoch.epoch,
        start_ms=epoch.start_ms,
        end_ms=epoch.end_ms,
        energy_uwh=None if samples is None else samples.total_uwh(epoch.start_ms, epoch.end_ms),
        metrics=epoch.metrics,
    )
