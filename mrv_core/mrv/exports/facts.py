# SPDX-License-Identifier: MIT
"""What the formats of others ask a record for, of either schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mrv_core.hashing import Digest
from mrv_core.mrv import units
from mrv_core.mrv.record import Experiment, Factor, MrvRecord, Training
from mrv_core.mrv.schema_0_1 import MrvRecord01


@dataclass(frozen=True, slots=True)
class Facts:
    """A record as far as any format asks for it.

    Attributes:
        mrv_id, hash: Which record, and what is anchored of it.
        experiment, training: Names and numbers that the user gave.
        cpu: Name of the processor, where it is known.
        gpus: Name of each GPU.
        ram_bytes: Size of the memory, where it is known.
        energy_kwh: Energy of the computer's parts, without the data centre's overhead; None where it was not measured.
        co2e_kg: Emissions, the overhead included; None where they are not known.
        factor: Emissions of the electricity; None where nobody stated them, or the schema has no place for them.
        pue: Power usage effectiveness of the data centre; 1 is none.
        start: When it began.
        duration_s: How long it took.
        tool, tool_version: What measured it.
    """

    mrv_id: str
    hash: Digest
    experiment: Experiment
    training: Training
    cpu: str | None
    gpus: tuple[str, ...]
    ram_bytes: int | None
    energy_kwh: float | None
    co2e_kg: float | None
    factor: Factor | None
    pue: float
    start: datetime
    duration_s: float
    tool: str
    tool_version: str | None

    @property
    def grams_per_kwh(self) -> float | None:
        """Emissions of the electricity in g CO2e/kWh."""
        return None if self.factor is None else units.grams(self.factor.value)


def facts_of(record: MrvRecord | MrvRecord01) -> Facts:
    """Return the facts of a record."""
    if isinstance(record, MrvRecord01):
        return _facts_0_1(record)
    energy, mass = record.energy.total_uwh, record.emissions.co2e_mg
    return Facts(
        mrv_id=record.mrv_id,
        hash=record.hash,
        experiment=record.experiment,
        training=record.training,
        cpu=record.hardware.cpu_type,
        gpus=record.hardware.gpu_types,
        ram_bytes=record.hardware.ram_bytes,
        energy_kwh=None if energy is None else units.kwh(energy),
        co2e_kg=None if mass is None else units.kg(mass),
        factor=record.emissions.factor,
        pue=record.emissions.pue_permille / units.PERMILLE,
        start=record.timestamps.start_time,
        duration_s=record.timestamps.duration_ms / 1000,
        tool=record.measurement.measurement_tool,
        tool_version=record.measurement.tool_version,
    )


def _facts_0_1(record: MrvRecord01) -> Facts:
    hardware, measured = record.hardware, record.energy_emissions
    return Facts(
        mrv_id=record.mrv_id,
        hash=record.hash,
        experiment=Experiment(**record.experiment.model_dump()),
        training=Training(**record.training.model_dump()),
        cpu=hardware.cpu_type,
        gpus=(hardware.gpu_type,) * hardware.num_gpus,
        ram_bytes=round(hardware.ram_gb * 2**30),
        energy_kwh=measured.energy_kwh,
        co2e_kg=measured.co2_kg,
        factor=None,
        pue=1.0,
        start=datetime.fromisoformat(record.timestamps.start_time),
        duration_s=measured.duration_seconds,
        tool=measured.measurement_tool,
        tool_version=None,
    )
