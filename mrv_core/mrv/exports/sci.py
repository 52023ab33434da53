# SPDX-License-Identifier: MIT
"""Software Carbon Intensity (ISO/IEC 21031:2024): SCI = (E x I + M) / R.

A record knows E, and I where a factor was stated. What is embodied in the hardware (M), and what the score is for each
of (R), are the user's to declare: they stay null, and with them the score, until they do.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction

from mrv_core.errors import FormatError
from mrv_core.mrv import units
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

    E is in kWh with the data centre's overhead, where the record has one; I in g CO2e/kWh; O = E x I and M in g.

    Raises:
        FormatError: a declared number that cannot be, or a unit without a number.
    """
    _check(declared)
    energy = None if facts.energy_uwh is None else _with_overhead(facts.energy_uwh, facts.pue_permille)
    operational = None if energy is None or facts.factor is None else energy * facts.factor.value / units.UWH_PER_KWH
    score = _score(operational, declared)
    try:
        document = {
            "standard": "ISO/IEC 21031:2024",
            "mrv_id": facts.mrv_id,
            "record": str(facts.hash),
            "E_kwh": None if energy is None else units.kwh(energy),
            "E_methods": facts.methods,
            "I_g_per_kwh": facts.grams_per_kwh,
            "I_source": None if facts.factor is None else facts.factor.source,
            "O_g": None if operational is None else units.grams(operational),
            "M_g": declared.embodied_g,
            "R": None if declared.unit is None else {"unit": declared.unit, "count": declared.units},
            "SCI_g_per_unit": None if score is None else units.grams(score),
        }
    except OverflowError as error:
        raise FormatError("the score is beyond any number", hint="look at --embodied-g and --units") from error
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _check(declared: Declared) -> None:
    if declared.embodied_g is not None and not 0 <= declared.embodied_g < math.inf:
        raise FormatError("what is embodied is a number from zero on", hint="give grams with --embodied-g")
    if (declared.unit is None) != (declared.units is None):
        raise FormatError("a functional unit has a name and a number", hint="give --functional-unit and --units")
    if declared.units is not None and not 0 < declared.units < math.inf:
        raise FormatError("the number of functional units is above zero", hint="count them with --units")


def _with_overhead(energy_uwh: int | Fraction, pue_permille: int | None) -> Fraction:
    return Fraction(energy_uwh) * (pue_permille or units.PERMILLE) / units.PERMILLE


def _score(operational_mg: Fraction | None, declared: Declared) -> Fraction | None:
    """Return the score in mg CO2e for each unit; rounded when it is written, once."""
    if operational_mg is None or declared.embodied_g is None or declared.units is None:
        return None
    return (operational_mg + units.exact(declared.embodied_g, units.MG_PER_G)) / units.exact(declared.units, 1)
