# SPDX-License-Identifier: MIT
"""What a user states of a training, checked before it begins: what the record says and nothing measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from mrv_core.errors import ConfigurationError
from mrv_core.mrv import units
from mrv_core.mrv.factor import country_factor, stated_factor
from mrv_core.mrv.record import Experiment, Factor, MrvRecord, Supersedes, Training

_MIN_INTERVAL_S: Final = 0.01
_MAX_INTERVAL_S: Final = 3600
_MAX_PUE: Final = 100


@dataclass(frozen=True, slots=True)
class Stated:
    """What a user states of a training.

    Attributes:
        experiment: What people call it.
        training: How it is done.
        factor: Emissions of its electricity, or None where nobody says.
        pue_permille: Power usage effectiveness of the data centre, in thousandths.
        supersedes: The record that this one corrects, or None.
    """

    experiment: Experiment
    training: Training
    factor: Factor | None
    pue_permille: int
    supersedes: Supersedes | None

    @classmethod
    def of(
        cls,
        names: dict[str, str],
        training: dict[str, int | str | None],
        *,
        country: str | None,
        emission_factor: float | None,
        emission_factor_source: str | None,
        pue: float,
        supersedes: MrvRecord | None,
    ) -> Self:
        """Check what a user states.

        Args:
            names: Members of the record's experiment.
            training: Members of the record's training.
            country: See `MRVTracker`, as for all that follow.
            emission_factor: In g CO2e/kWh.
            emission_factor_source: Who says so.
            pue: A ratio from 1 on.
            supersedes: The record itself.

        Raises:
            ConfigurationError: a setting is wrong, or CodeCarbon knows no factor of the country.
            FormatError: a number or a text that cannot be in a record.
        """
        return cls(
            experiment=Experiment.from_json(names, what="the experiment"),
            training=Training.from_json(training, what="the training"),
            factor=_factor(country, emission_factor, emission_factor_source),
            pue_permille=_pue_permille(pue),
            supersedes=None if supersedes is None else Supersedes(mrv_id=supersedes.mrv_id, hash=supersedes.hash),
        )


def check_interval(interval_s: float) -> float:
    """Return a time between two readings of the power, in seconds.

    Raises:
        ConfigurationError: it is too short or too long.
    """
    if not _MIN_INTERVAL_S <= interval_s <= _MAX_INTERVAL_S:
        raise ConfigurationError(f"interval_s is {_MIN_INTERVAL_S} to {_MAX_INTERVAL_S} seconds, not {interval_s}")
    return interval_s


def _factor(country: str | None, grams_per_kwh: float | None, source: str | None) -> Factor | None:
    if country is not None and grams_per_kwh is not None:
        raise ConfigurationError("country and emission_factor are both given", hint="the factor alone is enough")
    if country is not None:
        return country_factor(country)
    return None if grams_per_kwh is None else stated_factor(grams_per_kwh, source)


def _pue_permille(pue: float) -> int:
    permille = units.to_base(pue, units.PERMILLE, "the PUE")
    if not units.PERMILLE <= permille <= _MAX_PUE * units.PERMILLE:
        raise ConfigurationError(
            f"a PUE is 1 or more, and {_MAX_PUE} at most, not {pue}", hint="it is total power over computing power"
        )
    return permille
