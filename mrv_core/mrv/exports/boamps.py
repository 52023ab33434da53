# SPDX-License-Identifier: MIT
"""BoAmps, the energy report of Boavizta (https://github.com/Boavizta/BoAmps, model/report_schema.json)."""

from __future__ import annotations

import json
from typing import Any

from mrv_core.errors import FormatError
from mrv_core.mrv.exports.facts import Facts

_UNSPECIFIED = "unspecified"
"""For text that the schema asks for and a record does not know."""


def to_boamps(facts: Facts) -> str:
    """Return the report.

    Raises:
        FormatError: the record has no energy, which the format asks for.
    """
    if facts.energy_kwh is None:
        raise FormatError(f"{facts.mrv_id} has no energy, which a BoAmps report must have", hint="see its gaps for why")
    document = {
        "header": {
            "reportId": facts.mrv_id,
            "reportDatetime": f"{facts.start:%Y-%m-%d %H:%M:%S}",
            "reportStatus": "final",
            "publisher": {"projectName": facts.experiment.experiment_name, "confidentialityLevel": "public"},
        },
        "task": {
            "taskStage": "training",
            "taskFamily": _UNSPECIFIED,
            "algorithms": [_algorithm(facts)],
            "dataset": [{"dataUsage": "input", "dataType": "other"}],
            "taskDescription": f"dataset {facts.experiment.dataset_name}; MRV record {facts.mrv_id}, {facts.hash}",
        },
        "measures": [
            _known(
                measurementMethod=facts.tool.lower(),
                version=facts.tool_version,
                powerConsumption=facts.energy_kwh,
                measurementDuration=facts.duration_s,
                measurementDateTime=f"{facts.start:%Y-%m-%d %H:%M:%S}",
            )
        ],
        "infrastructure": {"infraType": "other", "components": _components(facts)},
    }
    if facts.factor is not None and facts.factor.region is not None:
        document["environment"] = {
            "country": facts.factor.region,
            "powerSourceCarbonIntensity": facts.grams_per_kwh,
        }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _algorithm(facts: Facts) -> dict[str, Any]:
    training = facts.training
    name = facts.experiment.model_name
    return _known(algorithmName=name, framework=training.framework, epochsNumber=training.epochs)


def _components(facts: Facts) -> list[dict[str, Any]]:
    found = [_known(componentType="cpu", componentName=facts.cpu, nbComponent=1)]
    for name in dict.fromkeys(facts.gpus):
        found.append({"componentType": "gpu", "componentName": name, "nbComponent": facts.gpus.count(name)})
    if facts.ram_bytes:
        found.append({"componentType": "ram", "nbComponent": 1, "memorySize": facts.ram_bytes / 2**30})
    return found


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
