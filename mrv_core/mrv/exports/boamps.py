# SPDX-License-Identifier: MIT
"""BoAmps, the energy report of Boavizta (https://github.com/Boavizta/BoAmps, model/report_schema.json).

Energies are in kWh, memory in GiB, durations in s, times in UTC. Keys, and what goes into them, are those of
CodeCarbon's own report where both have them (`codecarbon.output_methods.boamps`), except for what that one infers:
the number of CPU cores, and whether this is a cloud.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from mrv_core.errors import FormatError
from mrv_core.mrv.exports.facts import NOT_MEASURED, Facts
from mrv_core.mrv.record import Component

_SPECIFICATION: Final = "https://github.com/Boavizta/BoAmps/tree/main/model"
_UNSPECIFIED: Final = "unspecified"
"""For text that the schema asks for and a record does not know; `other` is the same where it offers a choice."""


def to_boamps(facts: Facts) -> str:
    """Return the report.

    Raises:
        FormatError: the record has no energy, which the format asks for.
    """
    if facts.energy_kwh is None:
        raise FormatError(f"{facts.mrv_id} has no energy, which a BoAmps report must have", hint="see its gaps for why")
    document = _known(
        header={
            "formatVersionSpecificationUri": _SPECIFICATION,
            "reportId": facts.mrv_id,
            "reportDatetime": _time(facts.end),
        },
        task={
            "taskStage": "training",
            "taskFamily": _UNSPECIFIED,
            "algorithms": [_algorithm(facts)],
            "dataset": [{"dataUsage": "input", "dataType": "other"}],
            "taskDescription": _description(facts),
        },
        measures=[
            _known(
                measurementMethod=facts.tool.lower(),
                version=facts.tool_version,
                cpuTrackingMode=_tracking_mode(facts, Component.CPU),
                gpuTrackingMode=_tracking_mode(facts, Component.GPU),
                powerConsumption=facts.energy_kwh,
                measurementDuration=facts.duration_s,
                measurementDateTime=_time(facts.start),
            )
        ],
        system=None if facts.system is None else {"os": facts.system},
        software=None if facts.python is None else {"language": "python", "version": facts.python},
        infrastructure={"infraType": "other", "components": _components(facts)},
        environment=_environment(facts),
    )
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _algorithm(facts: Facts) -> dict[str, Any]:
    complete = facts.interruption is None  # the key is for passes that were made, and a record has those planned
    return _known(
        algorithmName=facts.model_name, framework=facts.framework, epochsNumber=facts.epochs if complete else None
    )


def _description(facts: Facts) -> str:
    """Return what a reader needs and the schema has no key for."""
    interrupted = "" if facts.interruption is None else f"; interrupted: {facts.interruption}"
    names = f"experiment {facts.experiment_name}; dataset {facts.dataset_name}"
    return f"{names}{interrupted}; MRV record {facts.mrv_id}, {facts.hash}"


def _tracking_mode(facts: Facts, component: Component) -> str | None:
    for part in facts.components:
        if part.component is component:
            return NOT_MEASURED if part.method is None else f"{part.method}: {part.source}"
    return None


def _components(facts: Facts) -> list[dict[str, Any]]:
    # One CPU, as the schema asks for one RAM: a record does not know how many sockets there are.
    found = [_known(componentType="cpu", componentName=facts.cpu, nbComponent=1)]
    found += [{"componentType": "gpu", "componentName": name, "nbComponent": count} for name, count in facts.gpus]
    if facts.ram_bytes is not None:
        found.append({"componentType": "ram", "nbComponent": 1, "memorySize": facts.ram_bytes / 2**30})
    return found


def _environment(facts: Facts) -> dict[str, Any] | None:
    if facts.factor is None or facts.factor.region is None:  # the schema has no intensity without a country
        return None
    return {"country": facts.factor.region, "powerSourceCarbonIntensity": facts.grams_per_kwh}


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
