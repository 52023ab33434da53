# SPDX-License-Identifier: MIT
"""What the formats of others ask a record for, of either schema."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from mrv_core.hashing import Digest
from mrv_core.mrv import units
from mrv_core.mrv.record import ComponentEnergy, Factor, MrvRecord, Status
from mrv_core.mrv.schema_0_1 import MrvRecord01

NOT_MEASURED: Final = "not measured"
NOT_KNOWN: Final = "not known"
_FIRST_UNKNOWN: Final = "Unknown"
"""Processor of a record of schema 0.1 where it is not known: the key may not be null."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A record as far as any format asks for it. None is what the record, or its schema, does not say.

    Attributes:
        mrv_id, hash: Which record, and what is anchored of it.
        experiment_name, model_name, dataset_name, epochs, batch_size, framework: As the user gave them; the epochs are
            those that were planned.
        status, interruption: How the training ended, and why too early.
        cpu: Name of the processor.
        gpus: Names of the GPUs, and how many there are of each.
        ram_bytes: Size of the memory.
        system, python: Operating system and version of Python.
        energy_uwh: Energy of the computer's parts in µWh, without the data centre's overhead.
        components: What that energy is the sum of.
        co2e_mg: Emissions in mg CO2e, the overhead included.
        factor: Emissions of the electricity.
        pue_permille: Power usage effectiveness of the data centre times 1000.
        start, end: UTC.
        duration_s: How long it took.
        tool, tool_version: What measured it.
    """

    mrv_id: str
    hash: Digest
    experiment_name: str
    model_name: str
    dataset_name: str
    epochs: int | None
    batch_size: int | None
    framework: str | None
    status: Status | None
    interruption: str | None
    cpu: str | None
    gpus: tuple[tuple[str, int], ...]
    ram_bytes: int | None
    system: str | None
    python: str | None
    energy_uwh: int | Fraction | None
    components: tuple[ComponentEnergy, ...]
    co2e_mg: int | Fraction | None
    factor: Factor | None
    pue_permille: int | None
    start: datetime
    end: datetime
    duration_s: float
    tool: str
    tool_version: str | None

    @property
    def energy_kwh(self) -> float | None:
        """Energy of the computer's parts in kWh, without the data centre's overhead."""
        return None if self.energy_uwh is None else units.kwh(self.energy_uwh)

    @property
    def grams_per_kwh(self) -> float | None:
        """Emissions of the electricity in g CO2e/kWh."""
        return None if self.factor is None else units.grams(self.factor.value)

    @property
    def pue(self) -> float | None:
        """Power usage effectiveness of the data centre; 1 is no overhead."""
        return None if self.pue_permille is None else self.pue_permille / units.PERMILLE

    @property
    def methods(self) -> str | None:
        """What the energy is of and how it came about, in words; a part that was not measured is not in the sum."""
        parts = [f"{part.component.upper()} {part.method or NOT_MEASURED}" for part in self.components]
        return ", ".join(parts) or None

    @property
    def gpu_names(self) -> str | None:
        """GPUs in words: `2 x A, 1 x B`."""
        return ", ".join(f"{count} x {name}" for name, count in self.gpus) or None


def facts_of(record: MrvRecord | MrvRecord01) -> Facts:
    """Return the facts of a record."""
    if isinstance(record, MrvRecord01):
        return _facts_0_1(record)
    system, python = (record.environment.get(key) for key in ("system", "python"))
    return Facts(
        mrv_id=record.mrv_id,
        hash=record.hash,
        **record.experiment.model_dump(),
        **record.training.model_dump(),
        status=record.status,
        interruption=record.interruption,
        cpu=record.hardware.cpu_type,
        gpus=tuple(Counter(record.hardware.gpu_types).items()),
        ram_bytes=record.hardware.ram_bytes,
        system=system if isinstance(system, str) else None,
        python=python if isinstance(python, str) else None,
        energy_uwh=record.energy.total_uwh,
        components=record.energy.components,
        co2e_mg=record.emissions.co2e_mg,
        factor=record.emissions.factor,
        pue_permille=record.emissions.pue_permille,
        start=record.timestamps.start_time,
        end=record.timestamps.end_time,
        duration_s=record.timestamps.duration_ms / 1000,
        tool=record.measurement.measurement_tool,
        tool_version=record.measurement.tool_version,
    )


def _facts_0_1(record: MrvRecord01) -> Facts:
    hardware, measured = record.hardware, record.energy_emissions
    energy, mass = measured.energy_kwh, measured.co2_kg
    return Facts(
        mrv_id=record.mrv_id,
        hash=record.hash,
        **record.experiment.model_dump(),
        **record.training.model_dump(),
        status=None,
        interruption=None,
        cpu=None if hardware.cpu_type == _FIRST_UNKNOWN else hardware.cpu_type,
        gpus=((hardware.gpu_type, hardware.num_gpus),) if hardware.num_gpus else (),
        ram_bytes=round(hardware.ram_gb * 2**30) or None,
        system=None,
        python=None,
        energy_uwh=None if energy is None else units.exact(energy, units.UWH_PER_KWH),
        components=(),
        co2e_mg=None if mass is None else units.exact(mass, units.MG_PER_KG),
        factor=None,
        pue_permille=None,
        start=datetime.fromisoformat(record.timestamps.start_time).astimezone(UTC),
        end=datetime.fromisoformat(record.timestamps.end_time).astimezone(UTC),
        duration_s=measured.duration_seconds,
        tool=measured.measurement_tool,
        tool_version=None,
    )
