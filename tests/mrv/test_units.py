# SPDX-License-Identifier: MIT
"""Base units: exact, and rounded once."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.errors import FormatError
from mrv_core.mrv import units


@given(st.integers(0, 10**18))
def test_energy_is_rounded_half_to_even(microjoules):
    exact = Decimal(microjoules) / 3600
    assert units.uwh(microjoules) == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


def test_one_kilowatt_hour():
    assert units.uwh(1_000_000 * 3_600_000) == units.UWH_PER_KWH  # 1000 W for an hour
    assert units.co2e_mg(units.UWH_PER_KWH, 420_000, 1000) == 420_000
    assert units.co2e_mg(units.UWH_PER_KWH, 420_000, 1500) == 630_000
    assert units.kwh(870_000_000) == 0.87
    assert units.kg(420_000) == 0.42
    assert units.grams(420_000) == 420.0
    assert units.tonnes(420_000) == 0.00042
    assert units.tonnes(units.MG_PER_T) == units.kg(units.MG_PER_KG) == units.grams(units.MG_PER_G) == 1.0


@pytest.mark.parametrize(("energy", "mass"), [(500, 0), (1500, 2), (2500, 2), (2501, 3)])
def test_emissions_are_rounded_half_to_even(energy, mass):
    assert units.co2e_mg(energy, 10**6, 1000) == mass


@pytest.mark.parametrize(("stated", "base"), [(56.039, 56_039), (0, 0), (0.0005, 0), (475, 475_000), (1e-9, 0)])
def test_a_stated_number_is_taken_as_it_is_written(stated, base):
    assert units.to_base(stated, 1000, "the factor") == base


@given(st.integers(0, 2**53 - 1))
def test_an_exact_mass_is_the_same_in_every_unit(mass_mg):
    for convert, per_unit in ((units.tonnes, 10**9), (units.kg, 10**6), (units.grams, 10**3), (units.kwh, 10**9)):
        assert convert(mass_mg) == mass_mg / per_unit == convert(Fraction(mass_mg))
    assert units.exact(0.1, units.MG_PER_KG) == 100_000
    assert units.exact(1e-9, units.MG_PER_KG) == Fraction(1, 1000)


@pytest.mark.parametrize("stated", [-1, float("nan"), float("inf"), True, "56", None])
def test_what_is_no_quantity_is_refused(stated):
    with pytest.raises(FormatError, match="the factor must be a number from zero on"):
        units.to_base(stated, 1000, "the factor")
