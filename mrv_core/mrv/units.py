# SPDX-License-Identifier: MIT
"""Base units of a record, all of them integers: mW, ms, µWh, mg CO2e, and conversions between them.

Integers are the same to every reader of JSON, and a sum of them does not depend on its order. Quotients are rounded
once, at the end, to the nearest integer and halves to even (IEEE 754, roundTiesToEven), so that whoever recomputes a
record gets the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from mrv_core.errors import FormatError

UJ_PER_UWH: Final = 3600
"""1 µWh = 3600 µJ, and 1 mW for 1 ms is 1 µJ."""
UWH_PER_KWH: Final = 10**9
MG_PER_T: Final = 10**9
MG_PER_KG: Final = 10**6
MG_PER_G: Final = 10**3
PERMILLE: Final = 1000


def uwh(microjoules: int) -> int:
    """Return an energy in µWh; `microjoules` is a sum of power in mW times time in ms."""
    return round(Fraction(microjoules, UJ_PER_UWH))


def total(values: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def co2e_mg(energy_uwh: int | None, factor_mg_per_kwh: int | None, pue_permille: int | None) -> int | None:
    """Return the emissions of an energy in mg CO2e; None where one of the numbers is not known.

    Args:
        energy_uwh: Energy of the computer's parts.
        factor_mg_per_kwh: Emissions of the electricity.
        pue_permille: Power usage effectiveness of the data centre (ISO/IEC 30134-2), times 1000.
    """
    if energy_uwh is None or factor_mg_per_kwh is None or pue_permille is None:
        return None
    return round(Fraction(energy_uwh * factor_mg_per_kwh * pue_permille, UWH_PER_KWH * PERMILLE))


def kwh(energy_uwh: int | Fraction) -> float:
    """Return an energy in kWh, for people and for formats of others."""
    return float(Fraction(energy_uwh) / UWH_PER_KWH)


def tonnes(mass_mg: int | Fraction) -> float:
    """Return a mass in t, for formats of others."""
    return float(Fraction(mass_mg) / MG_PER_T)


def kg(mass_mg: int | Fraction) -> float:
    """Return a mass in kg, for people and for formats of others."""
    return float(Fraction(mass_mg) / MG_PER_KG)


def grams(mass_mg: int | Fraction) -> float:
    """Return a mass in g, for people and for formats of others."""
    return float(Fraction(mass_mg) / MG_PER_G)


def exact(value: float, per_unit: int) -> Fraction:
    """Return a stated number in base units, as it is written and not as the nearest float: 0.1 kg is 100 000 mg.

    Args:
        value: Finite.
        per_unit: Base units in one of the stated unit.
    """
    return Fraction(str(value)) * per_unit


def to_base(value: float, per_unit: int, what: str) -> int:
    """Convert a number that somebody states into an integer of the base unit.

    Args:
        value: Zero or more.
        per_unit: Base units in one of the stated unit.
        what: Name of the number for the error message.

    Raises:
        FormatError: negative, NaN, infinite or no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise FormatError(f"{what} must be a number from zero on, not {value!r:.80}")
    return round(exact(value, per_unit))
