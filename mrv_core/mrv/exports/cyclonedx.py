# SPDX-License-Identifier: MIT
"""CycloneDX 1.6 (ECMA-424): a machine-learning bill of materials with the environmental considerations of the training.

Energy is in kWh and CO2e in t, the only units that the standard has. Written as JSON here: the Python library of
CycloneDX has no model cards. It validates what is written, in the tests.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from mrv_core.mrv import units
from mrv_core.mrv.exports.facts import NOT_KNOWN, NOT_MEASURED, Facts


def to_cyclonedx(facts: Facts) -> str:
    """Return the document; what was not measured is left out, and said in a property."""
    card: dict[str, Any] = {"modelParameters": {"datasets": [{"type": "dataset", "name": facts.dataset_name}]}}
    if facts.energy_kwh is not None:
        card["considerations"] = {"environmentalConsiderations": {"energyConsumptions": [_consumption(facts)]}}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": _serial_number(facts),
        "version": 1,
        "metadata": {"timestamp": facts.end.isoformat()},
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": facts.model_name,
                "modelCard": card,
                "properties": _properties(facts),
            }
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _serial_number(facts: Facts) -> str:
    """Return a UUID of the record, the same for each export of it: the name is its hash as a URI (RFC 6920)."""
    value = base64.urlsafe_b64encode(facts.hash.value).rstrip(b"=").decode()
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'ni:///sha-256;{value}')}"


def _consumption(facts: Facts) -> dict[str, Any]:
    energy = {"value": facts.energy_kwh, "unit": "kWh"}
    used: dict[str, Any] = {
        "activity": "training",
        # One provider is asked for, with a name and a source; a record knows neither.
        "energyProviders": [
            {"organization": {"name": "not stated"}, "energySource": "unknown", "energyProvided": energy}
        ],
        "activityEnergyCost": energy,
    }
    if facts.co2e_mg is not None:
        used["co2CostEquivalent"] = {"value": units.tonnes(facts.co2e_mg), "unit": "tCO2eq"}
    return used


def _properties(facts: Facts) -> list[dict[str, str]]:
    """Return what the standard has no key for; the energy is without, the CO2e with the data centre's overhead."""
    factor = None if facts.factor is None else f"{facts.grams_per_kwh:g} g CO2e/kWh ({facts.factor.source})"
    values = {
        "id": facts.mrv_id,
        "record": str(facts.hash),
        "experiment": facts.experiment_name,
        "status": facts.status,
        "interruption": facts.interruption,
        "energy": NOT_MEASURED if facts.energy_uwh is None else facts.methods,
        "co2e": NOT_KNOWN if facts.co2e_mg is None else factor,
        "pue": None if facts.pue is None else f"{facts.pue:g}",
    }
    return [{"name": f"mrv:{name}", "value": value} for name, value in values.items() if value is not None]
