# SPDX-License-Identifier: MIT
"""The MRV record, schema 1.0: what was trained, how it was measured, what it cost (docs/spec/mrv-record.md).

The file *is* the canonical form (RFC 8785), so that `sha256sum FILE` is the hash that is anchored. Quantities are
integers in base units (`mrv_core.mrv.units`), with the unit in the name.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeGuard

from pydantic import Field, model_validator

from mrv_core.canonical import MAX_SAFE_INTEGER, canonical_bytes, parse_json
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest
from mrv_core.models import DigestField, Json, Model, TimeField

MAX_RECORD_BYTES: Final = 8 * 1024 * 1024
"""Largest record that is read: some 10,000 epochs with metrics. Samples are in a file of their own."""
MAX_ID_CHARACTERS: Final = 128
"""Longest id that the registry contract takes."""
MAX_RANKS: Final = 20_000
"""Most processes of one job: as many entries as a record takes."""

_ID = re.compile(rf"[!-~]{{1,{MAX_ID_CHARACTERS}}}")
_Quantity = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]
_Count = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER)]
_Text = Annotated[str, Field(max_length=1000)]
_Id = Annotated[str, Field(pattern=rf"^{_ID.pattern}$")]
_Rank = Annotated[int, Field(ge=0, lt=MAX_RANKS)]


class Status(StrEnum):
    """How the training ended."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"


class Component(StrEnum):
    """Part of the computer whose energy is counted."""

    CPU = "cpu"
    GPU = "gpu"
    RAM = "ram"


class Method(StrEnum):
    """How the energy of a component came about.

    `measured`: read from a meter in the hardware. `modelled`: computed from its load. `constant`: a fixed power.
    """

    MEASURED = "measured"
    MODELLED = "modelled"
    CONSTANT = "constant"


class Experiment(Model):
    """What was trained; names as the user gave them."""

    experiment_name: _Text
    model_name: _Text
    dataset_name: _Text


class Training(Model):
    """How it was trained, as the user said; null where nothing was said."""

    epochs: _Quantity | None
    batch_size: _Count | None
    framework: _Text | None


class Hardware(Model):
    """What it was trained on.

    Attributes:
        cpu_type: The processor's own name, or null where it is not known.
        cpu_cores: Logical cores.
        gpu_types: Name of each GPU.
        ram_bytes: Size of the main memory.
    """

    cpu_type: _Text | None
    cpu_cores: _Count | None
    gpu_types: tuple[_Text, ...]
    ram_bytes: _Quantity | None


class Timestamps(Model):
    """Start and end by this machine's clock: claims. The duration is of a clock that cannot be set.

    Attributes:
        start_time, end_time: UTC.
        duration_ms: Monotonic.
    """

    start_time: TimeField
    end_time: TimeField
    duration_ms: _Quantity


class Gap(Model):
    """A time within the run for which there is no power of one component; it is not in the energy.

    Attributes:
        component: Which one, or null for all of them.
        start_ms, end_ms: Since the start of the run.
        reason: Why.
    """

    component: Component | None
    start_ms: _Quantity
    end_ms: _Quantity
    reason: _Text


class Measurement(Model):
    """How the energy was measured.

    Attributes:
        measurement_tool: What reads the hardware.
        tool_version: Its version, or null where it could not be used.
        scope: `machine` counts everything that the machine uses, `process` this process and its children.
        interval_ms: Between two readings, as configured.
        tolerance_permille: By how much a recomputed energy or emission may differ before it is a disagreement.
        settings: The tool's own settings that change what it reads.
        gaps: What was not measured.
        concurrent: Ids of other records that counted the same machine in the same time: what it used is in each.
    """

    measurement_tool: _Text
    tool_version: _Text | None
    scope: Literal["machine", "process"]
    interval_ms: _Count
    tolerance_permille: Annotated[int, Field(ge=0, le=1000)]
    settings: dict[str, Json]
    gaps: tuple[Gap, ...]
    concurrent: tuple[_Id, ...]


class ComponentEnergy(Model):
    """Energy of one component.

    Attributes:
        component: Which one.
        energy_uwh: Its energy in µWh, the integral of its samples; null where it was not measured at all.
        method: How its power came about; null where it was not measured.
        source: What gave the power, for people: `Intel RAPL`, `NVML`, the model's name.
        limit_mw: Most power that it can draw, where that is known: more is not plausible.
    """

    component: Component
    energy_uwh: _Quantity | None
    method: Method | None
    source: _Text
    limit_mw: _Quantity | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.energy_uwh is None) != (self.method is None):
            raise ValueError("an energy has a method, and what was not measured has none")
        return self


class Energy(Model):
    """Energy of the run.

    Attributes:
        total_uwh: Sum of the components in µWh, without the data centre's overhead; null where none was measured.
        components: Each once.
    """

    total_uwh: _Quantity | None
    components: tuple[ComponentEnergy, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [part.component for part in self.components]
        if len(set(names)) != len(names):
            raise ValueError("a component is there twice")
        return self


class Factor(Model):
    """Emissions of the electricity that was used.

    Attributes:
        value: In `unit`.
        unit: Always mg CO2e for each kWh.
        source: Who says so: a data set with its version, or the user.
        region: ISO 3166-1 alpha-3 code of the country, where the factor is a country's.
        period: What time the factor is about, for instance a year, where that is known.
        stated_at: When it was looked up or stated, by this machine's clock.
    """

    value: _Quantity
    unit: Literal["mg CO2e/kWh"]
    source: _Text
    region: _Text | None
    period: _Text | None
    stated_at: TimeField


def value_of(factor: Factor | None) -> int | None:
    """Return the value of a factor in mg CO2e/kWh, where there is one."""
    return None if factor is None else factor.value


class Emissions(Model):
    """Emissions of the run.

    Attributes:
        co2e_mg: total energy times PUE times factor, in mg CO2e; null where the energy or the factor is unknown.
        pue_permille: Power usage effectiveness of the data centre times 1000, as the user stated it; 1000 is none. Null
            in the record of a job whose ranks stated different ones.
        factor: Null where nobody stated one, or the ranks of a job different ones. It is never guessed.
    """

    co2e_mg: _Quantity | None
    pue_permille: Annotated[int, Field(ge=1000, le=100_000)] | None
    factor: Factor | None


class Epoch(Model):
    """One epoch of the training.

    Attributes:
        epoch: The trainer's own number.
        start_ms, end_ms: Since the start of the run.
        energy_uwh: What the samples give for that time; null where nothing was measured in it.
        metrics: What was logged in it.
    """

    epoch: _Quantity
    start_ms: _Quantity
    end_ms: _Quantity
    energy_uwh: _Quantity | None
    metrics: dict[str, Json]


class Samples(Model):
    """Where the power over time is, and what commits to it.

    Attributes:
        format: Version of the file's format (docs/spec/mrv-samples.md).
        size: Lines of the file, the head line counted: leaves of the tree.
        root: Root of the RFC 9162 log over these lines.
        section_size: Leaves of each section but the last: a power of two.
        sections: Root of each section; they make the root, and locate a change.
    """

    format: Literal["mrv-samples/1"]
    size: _Count
    root: DigestField
    section_size: _Count
    sections: tuple[DigestField, ...]


class Provenance(Model):
    """The run of a `ProvenanceTracker` that this is about.

    Attributes:
        run_id: Name of the run.
        root: Its root when the record was written.
    """

    run_id: _Text
    root: DigestField


class Supersedes(Model):
    """The record that this one corrects.

    Attributes:
        mrv_id: Its id.
        hash: SHA-256 of its bytes.
    """

    mrv_id: _Id
    hash: DigestField


class RankPlace(Model):
    """Which part of a job a rank's record is.

    Attributes:
        mrv_id: Id of the job's record.
        rank: Of this process in the job, from 0.
        world_size: Processes of the job.
        local_rank: Of this process on its host; 0 counts what is the whole host's.
        host: Number of the host in the job, from 0.
    """

    mrv_id: _Id
    rank: _Rank
    world_size: Annotated[int, Field(ge=1, le=MAX_RANKS)]
    local_rank: _Rank
    host: _Rank


class RankEntry(Model):
    """A rank's record, as its job's record sums it up.

    Attributes:
        rank, local_rank, host: See `RankPlace`.
        mrv_id: Id of the rank's record.
        hash: SHA-256 of its bytes.
        status: How this rank ended.
        start_ms: When it started, since the start of the job, by the clocks of the hosts.
        duration_ms: How long it ran.
        energy_uwh, co2e_mg: What it counted.
    """

    rank: _Rank
    local_rank: _Rank
    host: _Rank
    mrv_id: _Id
    hash: DigestField
    status: Status
    start_ms: _Quantity
    duration_ms: _Quantity
    energy_uwh: _Quantity | None
    co2e_mg: _Quantity | None


class Ranks(Model):
    """The records that a job's record is made of.

    Attributes:
        world_size: Processes of the job.
        missing: Ranks whose record was not there.
        root: Root of the RFC 9162 log over the hashes of the others, 32 bytes each, in the order of the ranks.
        entries: The others, in the order of the ranks.
    """

    world_size: Annotated[int, Field(ge=1, le=MAX_RANKS)]
    missing: tuple[_Rank, ...]
    root: DigestField
    entries: Annotated[tuple[RankEntry, ...], Field(min_length=1)]


class MrvRecord(Model):
    """A record of schema 1.0.

    Attributes:
        schema_version: Always 1.0.
        mrv_id: `MRV-` and a UUID, or whatever the user named it: printable ASCII without spaces.
        status: How the training ended; a record of an interrupted one counts what was used until then.
        interruption: Type of the exception or name of the signal that ended it; null where it was completed.
        metrics: What was logged outside any epoch.
        job: The job that this is one rank's record of, or null.
        ranks: The ranks' records that this, as a job's record, is the sum of, or null. Epochs, metrics and samples are
            theirs then.
        environment: Code commit, packages, system; see `mrv_core.environment`.
    """

    schema_version: Literal["1.0"] = "1.0"
    mrv_id: _Id
    status: Status
    interruption: _Text | None
    experiment: Experiment
    training: Training
    hardware: Hardware
    timestamps: Timestamps
    measurement: Measurement
    energy: Energy
    emissions: Emissions
    epochs: tuple[Epoch, ...]
    metrics: dict[str, Json]
    samples: Samples | None
    job: RankPlace | None
    ranks: Ranks | None
    environment: dict[str, Json]
    provenance: Provenance | None
    supersedes: Supersedes | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.status is Status.COMPLETED) != (self.interruption is None):
            raise ValueError("status and interruption contradict each other")
        if self.ranks is None and self.emissions.pue_permille is None:
            raise ValueError("a PUE is not known in the record of a job only")
        if self.ranks is not None and (self.job or self.samples or self.epochs or self.metrics):
            raise ValueError("epochs, metrics and samples of a job are in the records of its ranks")
        return self

    @property
    def hash(self) -> Digest:
        """SHA-256 of the record's bytes: what is anchored, and what `sha256sum` prints of its file."""
        return hash_of(self.to_bytes())


def hash_of(data: bytes) -> Digest:
    """Return the SHA-256 of a record's bytes."""
    return Digest("sha256", hashlib.sha256(data).digest())


def generate_mrv_id() -> str:
    """Return a new id: `MRV-` and a random UUID (RFC 9562, version 4)."""
    return f"MRV-{uuid.uuid4()}"


def is_mrv_id(mrv_id: object) -> TypeGuard[str]:
    """Tell whether an id is one that the registry contract takes; see `check_mrv_id`."""
    return isinstance(mrv_id, str) and _ID.fullmatch(mrv_id) is not None


def check_mrv_id(mrv_id: str) -> str:
    """Return an id that the registry contract takes.

    Raises:
        FormatError: it is not 1 to 128 printable ASCII characters without spaces.
    """
    if not is_mrv_id(mrv_id):
        raise FormatError(
            f"an MRV id is 1 to {MAX_ID_CHARACTERS} printable ASCII characters without spaces, not {mrv_id!r:.80}"
        )
    return mrv_id


def parse_record(data: bytes, *, what: str) -> MrvRecord:
    """Read a record of schema 1.0, whose bytes must be its canonical form.

    Args:
        data: The file's bytes.
        what: Name of the document for error messages.

    Raises:
        FormatError: not a record of this schema, or not in canonical form.
    """
    value = parse_json(data, what=what, max_bytes=MAX_RECORD_BYTES)
    canonical = canonical_bytes(value)
    record = MrvRecord.from_canonical(value, canonical, what=what)
    if canonical != data:
        raise FormatError(
            f"{what}: not in canonical form (RFC 8785)", hint="the file was saved by another program; keep its bytes"
        )
    return record


def schema_version_of(value: Any, *, what: str) -> str:
    """Return the schema version that a parsed document claims.

    Raises:
        FormatError: it is no record at all.
    """
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, str) or "mrv_id" not in value:
        raise FormatError(f"{what}: not an MRV record: it has no schema_version and mrv_id")
    return version
