# SPDX-License-Identifier: MIT
"""The metadata of a Hugging Face model card: `co2_eq_emissions`, whose emissions are in *grams* of CO2e.

Source: https://huggingface.co/docs/hub/model-cards-co2.
"""

from __future__ import annotations

import json
import re

from mrv_core.errors import FormatError
from mrv_core.mrv.exports.facts import Facts

_NOT_PLAIN = re.compile(r"[^\x20-\x7e\xa1-\ud7ff\ue000-\ufefe\uff00-\ufffd]")


def to_model_card(facts: Facts) -> str:
    """Return the front matter, YAML between two lines of three hyphens, to be merged into a model card's own.

    Raises:
        FormatError: the emissions are not known, and the key is for nothing else.
    """
    if facts.co2e_kg is None:
        raise FormatError(
            f"{facts.mrv_id} has no CO2, which the model card's metadata are about",
            hint="measure with country=… or emission_factor=…",
        )
    source = f"{facts.tool} {facts.tool_version or ''}".strip() + f", MRV record {facts.mrv_id} {facts.hash}"
    lines = ["co2_eq_emissions:", f"  emissions: {json.dumps(facts.co2e_kg * 1000)}", f"  source: {_text(source)}"]
    if facts.factor is not None and facts.factor.region is not None:
        lines.append(f"  geographical_location: {_text(facts.factor.region)}")
    hardware = [*(f"{facts.gpus.count(name)} x {name}" for name in dict.fromkeys(facts.gpus)), facts.cpu]
    used = ", ".join(name for name in hardware if name)
    if used:
        lines.append(f"  hardware_used: {_text(used)}")
    return "\n".join(["---", *lines, "---", ""])


def _text(value: str) -> str:
    """Return a double-quoted scalar (YAML 1.2.2, section 7.3.1); whatever is not plainly printable is escaped."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = _NOT_PLAIN.sub(lambda found: rf"\U{ord(found[0]):08x}", quoted)
    return f'"{escaped}"'
