# SPDX-License-Identifier: MIT
"""The metadata of a Hugging Face model card: `co2_eq_emissions`, whose emissions are in *grams* of CO2e.

Source: https://huggingface.co/docs/hub/model-cards-co2. `training_type` (pre-training or fine-tuning) is the author's
to add: no record says it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from mrv_core.errors import FormatError
from mrv_core.mrv import units
from mrv_core.mrv.exports.facts import Facts

_NOT_PLAIN: Final = re.compile(r"[^\x20-\x7e\xa1-\ud7ff\ue000-\ufefe\uff00-\ufffd]")


def to_model_card(facts: Facts) -> str:
    """Return the front matter, YAML between two lines of three hyphens, to be merged into a model card's own.

    Raises:
        FormatError: the emissions are not known, and the key is for nothing else.
    """
    if facts.co2e_mg is None:
        unmeasured = facts.energy_uwh is None
        raise FormatError(
            f"{facts.mrv_id} has no CO2, which the model card's metadata are about",
            hint="its energy was not measured: see its gaps"
            if unmeasured
            else "measure with country or emission_factor",
        )
    lines = [
        "co2_eq_emissions:",
        f"  emissions: {_number(units.grams(facts.co2e_mg))}",
        f"  source: {_text(_source(facts))}",
    ]
    if facts.factor is not None and facts.factor.region is not None:
        lines.append(f"  geographical_location: {_text(facts.factor.region)}")
    hardware = ", ".join(filter(None, (facts.gpu_names, facts.cpu)))
    if hardware:
        lines.append(f"  hardware_used: {_text(hardware)}")
    return "\n".join(["---", *lines, "---", ""])


def _source(facts: Facts) -> str:
    tool = facts.tool if facts.tool_version is None else f"{facts.tool} {facts.tool_version}"
    interrupted = "" if facts.interruption is None else ", interrupted training"
    return f"{tool}, MRV record {facts.mrv_id} {facts.hash}{interrupted}"


def _number(value: float) -> str:
    """Return a number without an exponent: to readers of YAML 1.1, `1e-06` is text."""
    return f"{Decimal(repr(value)):f}"


def _text(value: str) -> str:
    """Return a double-quoted scalar (YAML 1.2.2, section 7.3.1); whatever is not plainly printable is escaped."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = _NOT_PLAIN.sub(lambda found: rf"\U{ord(found[0]):08x}", quoted)
    return f'"{escaped}"'
