# SPDX-License-Identifier: MIT
"""CycloneDX 1.6 (ECMA-424): a machine-learning bill of materials with the environmental considerations of the training.

Written as JSON here: the Python library of CycloneDX has no model cards. It validates what is written, in the tests.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from mrv_core.mrv.exports.facts import Facts

_KG_PER_T: Final = 1000
_NAMESPACE: Final = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""For names that are object identifiers of somebody (RFC 9562, appendix A); ours is the record's hash."""


def to_cyclonedx(facts: Facts) -> str:
    """Return the document; what was not measured is left out, and said in a property."""
    name = facts.experiment.model_name
    card: dict[str, Any] = {
        "modelParameters": {
            "datasets": [{"type": "dataset", "name": facts.experiment.dataset_name}],
        }
    }
    if facts.energy_kwh is not None:
        card["considerations"] = {"environmentalConsiderations": {"energyConsumptions": [_consumption(facts)]}}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, str(facts.hash))}",
        "version": 1,
        "metadata": {"timestamp": facts.start.isoformat()},
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": name,
                "modelCard": card,
                "properties": [
                    {"name": "mrv:id", "value": facts.mrv_id},
                    {"name": "mrv:record", "value": str(facts.hash)},
                    {"name": "mrv:energy", "value": "not measured" if facts.energy_kwh is None else "measured"},
                    {"name": "mrv:co2e", "value": "not known" if facts.co2e_kg is None else "known"},
                ],
            }
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _consumption(facts: Facts) -> dict[str, Any]:
    energy = {"value": facts.energy_kwh, "unit": "kWh"}
    used: dict[str, Any] = {
        "activity": "training",
        "energyProviders": [
            {
                "organization": {"name": "not stated"},
                "energySource": "unknown",
                "energyProvided": energy,
            }
        ],
        "activityEnergyCost": energy,
    }
    if facts.co2e_kg is not None:
        used["co2CostEquivalent"] = {"value": facts.co2e_kg / _KG_PER_T, "unit": "tCO2eq"}
    return used
