# SPDX-License-Identifier: MIT
"""A sentence for a paper, in LaTeX."""

from __future__ import annotations

from typing import Final

from mrv_core.mrv.exports.facts import Facts

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_CO2: Final = r"CO\textsubscript{2}e"


def to_latex(facts: Facts) -> str:
    """Return one paragraph; names are text, never commands."""
    trained = f"We trained {_text(facts.experiment.model_name)} on {_text(facts.experiment.dataset_name)}"
    epochs = "" if facts.training.epochs is None else f" for {facts.training.epochs} epochs"
    energy = "its energy was not measured" if facts.energy_kwh is None else f"consuming {facts.energy_kwh:.6g}\\,kWh"
    if facts.co2e_kg is None:
        emissions = f"; its {_CO2} is not known"
    else:
        emissions = f" and emitting {facts.co2e_kg:.6g}\\,kg {_CO2}"
    factor = ""
    if facts.factor is not None and facts.co2e_kg is not None:
        pue = "" if facts.pue == 1 else f", PUE {facts.pue:g}"
        factor = f" at {facts.grams_per_kwh:.6g}\\,g\\,{_CO2}/kWh ({_text(facts.factor.source)}{pue})"
    record = f"MRV ID: {_text(facts.mrv_id)}, SHA-256: \\texttt{{{facts.hash.hex}}}"
    return f"{trained}{epochs}, {energy}{emissions}{factor} ({record}).\n"


def _text(value: str) -> str:
    return "".join(_SPECIAL.get(letter, letter if letter.isprintable() else " ") for letter in value)
