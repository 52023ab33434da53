# SPDX-License-Identifier: MIT
"""Emissions of the electricity: what the user states, or a country's from CodeCarbon's data. Never a guess.

Nothing here asks the internet where the machine stands: a network's answer to that is the place of its exit, and no
answer at all has made tools report another country's hydropower.
"""

from __future__ import annotations

import re
from datetime import datetime
from importlib.metadata import version
from typing import Final

from mrv_core.errors import ConfigurationError
from mrv_core.models import format_time, utc_now
from mrv_core.mrv import units
from mrv_core.mrv.record import Factor

_COUNTRY = re.compile(r"[A-Z]{3}")
_UNIT: Final = "mg CO2e/kWh"
_CARBON_HINT = "install the extra: pip install 'mrv-provenance[carbon]', or state emission_factor in g CO2e/kWh"


def stated_factor(grams_per_kwh: float, source: str | None, *, now: datetime | None = None) -> Factor:
    """Return the factor that a user states.

    Args:
        grams_per_kwh: In g CO2e/kWh, as electricity companies and grid operators publish it.
        source: Who says so.
        now: When it was stated.

    Raises:
        FormatError: not a number from zero on, or beyond any.
    """
    what = "the emission factor in g CO2e/kWh"
    return Factor.from_json(
        {
            "value": units.to_base(grams_per_kwh, units.MG_PER_G, what),
            "unit": _UNIT,
            "source": source or "stated by the user",
            "region": None,
            "period": None,
            "stated_at": format_time(now or utc_now()),
        },
        what=what,
    )


def country_factor(country: str, *, now: datetime | None = None) -> Factor:
    """Return the yearly mean of a country's electricity, from the data that CodeCarbon ships.

    Args:
        country: ISO 3166-1 alpha-3 code, for instance `FRA`.
        now: When it was looked up.

    Raises:
        ConfigurationError: no such country in the data, or CodeCarbon is not installed.
    """
    if not isinstance(country, str) or not _COUNTRY.fullmatch(country):
        raise ConfigurationError(
            f"{country!r:.40} is no country code", hint="three capital letters of ISO 3166-1, for instance FRA or DEU"
        )
    try:
        from codecarbon.input import DataSource
    except ImportError as error:
        raise ConfigurationError(f"the factor of {country} comes from CodeCarbon", hint=_CARBON_HINT) from error
    mix = DataSource().get_global_energy_mix_data().get(country, {})
    if not mix.get("carbon_intensity"):
        raise ConfigurationError(
            f"CodeCarbon has no emission factor for the country {country!r}",
            hint="check the code (ISO 3166-1 alpha-3), or state emission_factor in g CO2e/kWh",
        )
    return Factor(
        value=units.to_base(mix["carbon_intensity"], units.MG_PER_G, f"the factor of {country}"),
        unit=_UNIT,
        source=f"CodeCarbon {version('codecarbon')}, global_energy_mix",
        region=country,
        period=str(mix["year"]) if "year" in mix else None,
        stated_at=now or utc_now(),
    )
