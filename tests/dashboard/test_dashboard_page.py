# SPDX-License-Identifier: MIT
"""Every verdict of the dashboard, in a browser, against a real chain: what the page says is what `mrv verify` says."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard.conftest import Dashboard, Gate, strangers

from mrv_core.mrv.record import generate_mrv_id
from tests.mrv.test_registry import Place, edited


@pytest.fixture(scope="module")
def registered(place: Place) -> Path:
    path = place.record(generate_mrv_id())
    place.register(path)
    return path


def test_valid(dashboard: Dashboard, place: Place, gate: Gate, registered: Path) -> None:
    assert dashboard.connect(place, gate).give(registered) == "VALID"
    assert "Connected: development chain (chain 31337)." in dashboard.text
    assert place.address.lower() in dashboard.text
    assert "no submitter was named" in dashboard.text
    dashboard.page.fill("#submitter", place.address)
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "VALID"
    assert "no submitter was named" not in dashboard.text
    dashboard.photograph("valid-light")
    assert not strangers(dashboard.requested, [gate.url])


def test_one_digit_is_tampered(dashboard: Dashboard, place: Place, gate: Gate, registered: Path) -> None:
    assert dashboard.connect(place, gate).give(edited(registered)) == "TAMPERED"
    assert place.address.lower() in dashboard.summary
    dashboard.photograph("tampered-light")
