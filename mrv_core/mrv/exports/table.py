# SPDX-License-Identifier: MIT
"""A table (RFC 4180), for spreadsheets: a row for each record, units in the head."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, Final

from mrv_core.models import format_time
from mrv_core.mrv import units
from mrv_core.mrv.exports.facts import Facts

_FORMULA: Final = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""How text begins that some spreadsheet takes for a formula (OWASP, CSV Injection); the last four are full-width."""


def to_csv(records: Sequence[Facts]) -> str:
    """Return a head and a row for each of the records, which are one or more; what is not known is an empty cell."""
    rows = [_row(facts) for facts in records]
    written = io.StringIO()
    writer = csv.DictWriter(written, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def _row(facts: Facts) -> dict[str, Any]:
    factor = facts.factor
    values = {
        "mrv_id": facts.mrv_id,
        "sha256": facts.hash.hex,
        "experiment_name": facts.experiment_name,
        "model_name": facts.model_name,
        "dataset_name": facts.dataset_name,
        "epochs": facts.epochs,
        "batch_size": facts.batch_size,
        "framework": facts.framework,
        "status": facts.status,
        "interruption": facts.interruption,
        "start_time": format_time(facts.start),
        "end_time": format_time(facts.end),
        "duration_s": facts.duration_s,
        "energy_kwh": facts.energy_kwh,
        "energy_methods": facts.methods,
        "co2e_kg": None if facts.co2e_mg is None else units.kg(facts.co2e_mg),
        "factor_g_per_kwh": facts.grams_per_kwh,
        "factor_source": None if factor is None else factor.source,
        "factor_region": None if factor is None else factor.region,
        "pue": facts.pue,
        "cpu": facts.cpu,
        "gpus": facts.gpu_names,
        "ram_bytes": facts.ram_bytes,
        "tool": facts.tool,
        "tool_version": facts.tool_version,
    }
    return {name: _cell(value) for name, value in values.items()}


def _cell(value: str | float | None) -> str | float | None:
    """Return a cell; text that a spreadsheet would take for a formula gets an apostrophe, which makes it text."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
