# SPDX-License-Identifier: MIT
"""Software Carbon Intensity (ISO/IEC 21031:2024): SCI = (E x I + M) / R.

A record knows E, and I where a factor was stated. What is embodied in the hardware (M), and what the score is for each
of (R), are the user's to declare: they stay null, and with them the score, until they do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mrv_core.errors import FormatError
from mrv_core.mrv.exports.facts import Facts


@dataclass(frozen=True, slots=True)
class Declared:
    """What no record knows.

    Attributes:
        embodied_g: Share of the hardware's own emissions, in g CO2e.
        unit: What the score is for each of, for instance `epoch`.
        units: How many of them the training was.
    """

    embodied_g: float | None = None
    unit: str | None = None
    units: float | None = None


def to_sci(facts: Facts, declared: Declared) -> str:
    """Return a JSON document with the terms and the score, in g CO2e for each unit.

    Raises:
        FormatError: a declared number that cannot be, or a unit without a number.
    """
    if declared.embodied_g is not None and not declared.embodied_g >= 0:
        raise FormatError("what is embodied is a number from zero on")
    if (declared.unit is None) != (declared.units is None):
        raise FormatError("a functional unit has a name and a number", hint="give --functional-unit and --units")
    if declared.units is not None and not declared.units > 0:
        raise FormatError("the number of functional units is above zero")
    energy = None if facts.energy_kwh is None else facts.energy_kwh * facts.pue
    intensity = facts.grams_per_kwh
    operational = None if energy is None or intensity is None else energy * intensity
    complete = operational is not None and declared.embodied_g is not None and declared.units is not None
    score = (operational + declared.embodied_g) / declared.units if complete else None  # type: ignore[operator]
    document = {
        "standard": "ISO/IEC 21031:2024",
        "mrv_id": facts.mrv_id,
        "record": str(facts.hash),
        "E_kwh": energy,
        "I_g_per_kwh": intensity,
        "I_source": None if facts.factor is None else facts.factor.source,
        "O_g": operational,
        "M_g": declared.embodied_g,
        "R": None if declared.unit is None else {"unit": declared.unit, "count": declared.units},
        "SCI_g_per_unit": score,
    }
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise FormatError("a term or the score is beyond any number", hint="look at what was declared") from error
