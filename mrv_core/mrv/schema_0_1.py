# SPDX-License-Identifier: MIT
"""The MRV record, schema 0.1: the keys and the hash of the first version, kept for those who have such records.

Its hash is not that of its file: it is the SHA-256 of `json.dumps(data, sort_keys=True, separators=(",", ":"))`,
whatever the file's white space. Prefer schema 1.0, whose file is what is hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError

from mrv_core.canonical import MAX_SAFE_INTEGER, parse_json
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest
from mrv_core.models import Model, describe_validation_error, format_time
from mrv_core.mrv import units
from mrv_core.mrv.record import MAX_RECORD_BYTES, MrvRecord


def _check_time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
        zone = time.astimezone(UTC) and time.tzinfo
    except (ValueError, OverflowError):
        zone = None
    if zone is None:
        raise ValueError("not a time with its zone, for instance 2026-01-11T08:00:00Z")
    return text


_Number = Annotated[int | float, Field(ge=0, le=MAX_SAFE_INTEGER)]
_MAX_GPUS: Final = 2**20
_Time = Annotated[str, AfterValidator(_check_time)]


class _Experiment(Model):
    experiment_name: str
    model_name: str
    dataset_name: str


class _Training(Model):
    epochs: int | None
    batch_size: int | None
    framework: str | None


class _Hardware(Model):
    gpu_type: str
    num_gpus: Annotated[int, Field(ge=0, le=_MAX_GPUS)]
    cpu_type: str
    ram_gb: _Number
    cpu_cores: int | None = None


class _EnergyEmissions(Model):
    measurement_tool: str
    energy_kwh: _Number | None
    co2_kg: _Number | None
    duration_seconds: _Number


class _Timestamps(Model):
    start_time: _Time
    end_time: _Time


class MrvRecord01(Model):
    """A record of schema 0.1; see docs/spec/mrv-record.md for its keys.

    Numbers and times stay as they were written, because the hash tells 32 from 32.0. `co2_kg` and `energy_kwh` may be
    null here, where the first version had no word for "not known".
    """

    schema_version: Literal["0.1"]
    mrv_id: str
    experiment: _Experiment
    training: _Training
    hardware: _Hardware
    energy_emissions: _EnergyEmissions
    timestamps: _Timestamps

    @property
    def hash(self) -> Digest:
        """SHA-256 of the compact, sorted JSON."""
        return Digest("sha256", bytes.fromhex(compute_hash(self.to_json())))

    def to_json(self) -> dict[str, Any]:
        """Return what was read, and nothing that was left out."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_file(self) -> bytes:
        """Return the file's bytes: indented by two, sorted."""
        return json.dumps(self.to_json(), indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, value: Any, *, what: str) -> MrvRecord01:
        """Validate a parsed document.

        Raises:
            FormatError: a key is missing or of the wrong type, or there is one that the schema does not have.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise FormatError(f"{what}: {describe_validation_error(error)}") from error


def compute_hash(data: Mapping[str, Any]) -> str:
    """Return the hash of a record of schema 0.1, hexadecimal.

    Raises:
        FormatError: JSON cannot carry it.
    """
    try:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"the record cannot be hashed: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def validate_mrv_json(data: Any) -> bool:
    """Tell whether a document is a record of schema 0.1 or 1.0, without saying why not; see `parse_record` for that."""
    try:
        if isinstance(data, Mapping) and data.get("schema_version") == "1.0":
            MrvRecord.from_json(dict(data), what="the record")
        else:
            MrvRecord01.from_json(data, what="the record")
    except (FormatError, TypeError, ValueError):
        return False
    return True


def parse_record_0_1(data: bytes, *, what: str) -> MrvRecord01:
    """Read a record of schema 0.1.

    Raises:
        FormatError: not such a record.
    """
    return MrvRecord01.from_json(parse_json(data, what=what, max_bytes=MAX_RECORD_BYTES), what=what)


def to_schema_0_1(record: MrvRecord) -> MrvRecord01:
    """Return what schema 0.1 can say of a record."""
    hardware, energy = record.hardware, record.energy.total_uwh
    co2e = record.emissions.co2e_mg
    return MrvRecord01(
        schema_version="0.1",
        mrv_id=record.mrv_id,
        experiment=_Experiment(**record.experiment.model_dump()),
        training=_Training(**record.training.model_dump()),
        hardware=_Hardware(
            gpu_type=hardware.gpu_types[0] if hardware.gpu_types else "None",
            num_gpus=len(hardware.gpu_types),
            cpu_type=hardware.cpu_type or "Unknown",
            ram_gb=round((hardware.ram_bytes or 0) / 2**30, 2),
            cpu_cores=hardware.cpu_cores,
        ),
        energy_emissions=_EnergyEmissions(
            measurement_tool=record.measurement.measurement_tool,
            energy_kwh=None if energy is None else units.kwh(energy),
            co2_kg=None if co2e is None else units.kg(co2e),
            duration_seconds=record.timestamps.duration_ms / 1000,
        ),
        timestamps=_Timestamps(
            start_time=format_time(record.timestamps.start_time), end_time=format_time(record.timestamps.end_time)
        ),
    )
