# SPDX-License-Identifier: MIT
"""Records and samples made up of chosen numbers, where a real measurement would give others each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mrv_core.mrv import units
from mrv_core.mrv.record import Component, MrvRecord
from mrv_core.mrv.samples import Sample, SampleFile, energy_uwh, parse_samples

START = datetime(2026, 1, 11, 8, 0, 0, tzinfo=UTC)
CPU_RAM = (Component.CPU, Component.RAM)
FACTOR = {
    "value": 56_039,
    "unit": "mg CO2e/kWh",
    "source": "stated by the user",
    "region": None,
    "period": None,
    "stated_at": "2026-01-11T08:00:00Z",
}


def file_of(samples: Sequence[Sample], components: Sequence[Component] = CPU_RAM) -> SampleFile:
    """Return a file of samples as it is read back."""
    head = ",".join(("end_ms", "span_ms", *(f"{component}_mw" for component in components)))
    text = "".join(f"{line}\n" for line in (head, *(sample.to_line() for sample in samples)))
    return parse_samples(text.encode(), what="samples")


def steady(count: int, *, cpu_mw: int = 7_000, ram_mw: int = 20_000, first_ms: int = 1_500) -> SampleFile:
    """Return a sample a second, of slightly different powers."""
    return file_of(
        [
            Sample(first_ms + 1000 * (i + 1), 1000, (cpu_mw + i % 7, None if i % 50 == 49 else ram_mw))
            for i in range(count)
        ]
    )


def record_value(file: SampleFile | None, **changes: Any) -> dict[str, Any]:
    """Return the JSON value of a record that sums up a file of samples; the changes are by top-level key."""
    duration = file.samples[-1].end_ms if file is not None and file.samples else 60_000
    energies = {} if file is None else {component: energy_uwh(file, component) for component in file.components}
    known = [energy for energy in energies.values() if energy is not None]
    total = sum(known) if known else None
    middle = duration // 2
    return {
        "schema_version": "1.0",
        "mrv_id": "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437",
        "status": "completed",
        "interruption": None,
        "experiment": {"experiment_name": "resnet18_cifar10", "model_name": "ResNet18", "dataset_name": "CIFAR-10"},
        "training": {"epochs": 2, "batch_size": 128, "framework": "PyTorch"},
        "hardware": {"cpu_type": "Intel i7-12700H", "cpu_cores": 20, "gpu_types": [], "ram_bytes": 2**35},
        "timestamps": {
            "start_time": "2026-01-11T08:00:00Z",
            "end_time": (START + timedelta(seconds=duration // 1000)).isoformat().replace("+00:00", "Z"),
            "duration_ms": duration,
        },
        "measurement": {
            "measurement_tool": "CodeCarbon",
            "tool_version": "3.3.2",
            "scope": "machine",
            "interval_ms": 1000,
            "tolerance_permille": 1,
            "settings": {},
            "gaps": [] if file is None else [gap.to_json() for gap in file.gaps(duration, {})],
            "concurrent": [],
        },
        "energy": {
            "total_uwh": total,
            "components": [
                {
                    "component": str(component),
                    "energy_uwh": energy,
                    "method": None if energy is None else "modelled",
                    "source": "thermal design power and load",
                    "limit_mw": 45_000,
                }
                for component, energy in energies.items()
            ],
        },
        "emissions": {
            "co2e_mg": None if total is None else units.co2e_mg(total, FACTOR["value"], 1200),
            "pue_permille": 1200,
            "factor": FACTOR,
        },
        "epochs": [epoch_value(file, 0, 0, middle), epoch_value(file, 1, middle, duration)],
        "metrics": {"accuracy": 0.93},
        "samples": None if file is None else file.summary().to_json(),
        "job": None,
        "ranks": None,
        "environment": {"python": "3.11.7"},
        "provenance": None,
        "supersedes": None,
        **changes,
    }


def epoch_value(file: SampleFile | None, epoch: int, start_ms: int, end_ms: int) -> dict[str, Any]:
    found = [] if file is None else [file.energy_uj(component, start_ms, end_ms) for component in file.components]
    known = [energy for energy in found if energy is not None]
    energy = units.uwh(sum(known)) if known else None
    return {"epoch": epoch, "start_ms": start_ms, "end_ms": end_ms, "energy_uwh": energy, "metrics": {"loss": 0.5}}


def record_of(file: SampleFile | None, **changes: Any) -> MrvRecord:
    """Return the record that sums up a file of samples."""
    return MrvRecord.from_json(record_value(file, **changes), what="the record")
