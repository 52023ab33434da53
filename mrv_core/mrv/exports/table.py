# SPDX-License-Identifier: MIT
"""A table of one row (RFC 4180), for spreadsheets."""

from __future__ import annotations

import csv
import io

from mrv_core.mrv.exports.facts import Facts


def to_csv(facts: Facts) -> str:
    """Return head and row; what is not known is an empty cell."""
    values = {
        "mrv_id": facts.mrv_id,
        "sha256": facts.hash.hex,
        "experiment_name": facts.experiment.experiment_name,
        "model_name": facts.experiment.model_name,
        "dataset_name": facts.experiment.dataset_name,
        "epochs": facts.training.epochs,
        "batch_size": facts.training.batch_size,
        "framework": facts.training.framework,
        "start_time": facts.start.isoformat(),
        "duration_s": facts.duration_s,
        "energy_kwh": facts.energy_kwh,
        "co2e_kg": facts.co2e_kg,
        "factor_g_per_kwh": facts.grams_per_kwh,
        "factor_source": None if facts.factor is None else facts.factor.source,
        "pue": facts.pue,
        "cpu": facts.cpu,
        "gpus": "; ".join(facts.gpus) or None,
        "tool": facts.tool,
    }
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(values)
    writer.writerow([_cell(value) for value in values.values()])
    return written.getvalue()


def _cell(value: str | float | None) -> str | float | None:
    """Return a cell; text that a spreadsheet would take for a formula gets an apostrophe, which it shows as text."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
