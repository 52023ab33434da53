# SPDX-License-Identifier: MIT
"""A sentence for a paper, in LaTeX: energy in kWh, CO2e in kg, its factor in g/kWh.

Needs no package: its commands are LaTeX's own since 2015. Names in other scripts need LuaLaTeX or XeLaTeX.
"""

from __future__ import annotations

import re
from typing import Final

from mrv_core.mrv import units
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
    # Other letters in the default encoding (OT1), and the quote is a command in babel's German.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
}
_LIGATURE: Final = re.compile(r"(?<=[-,'`!?])(?=[-,'`])")
"""Between characters that LaTeX may draw as one: `--` is a dash there, and an id with a dash is another id."""
_CO2: Final = r"CO\textsubscript{2}e"


def to_latex(facts: Facts) -> str:
    """Return one paragraph; names are text, never commands."""
    trained = f"We trained {_text(facts.model_name)} on {_text(facts.dataset_name)}{_extent(facts)}"
    record = (
        f"experiment: {_text(facts.experiment_name)}, MRV ID: {_text(facts.mrv_id)}, "
        f"SHA-256: \\texttt{{{facts.hash.hex}}}"
    )
    return f"{trained}, {_energy(facts)}{_emissions(facts)} ({record}).\n"


def _extent(facts: Facts) -> str:
    count = facts.epochs
    epochs = None if count is None else f"{count} epoch{'' if count == 1 else 's'}"
    if facts.interruption is None:
        return "" if epochs is None else f" for {epochs}"
    planned = "" if epochs is None else f"{epochs} planned; "
    return f" ({planned}interrupted: {_text(facts.interruption)})"


def _energy(facts: Facts) -> str:
    if facts.energy_kwh is None:
        return "its energy was not measured"
    methods = "" if facts.methods is None else f" ({facts.methods})"
    return f"consuming {facts.energy_kwh:.6g}\\,kWh{methods}"


def _emissions(facts: Facts) -> str:
    if facts.co2e_mg is None:
        return f"; its {_CO2} is not known"
    emitted = f" and emitting {units.kg(facts.co2e_mg):.6g}\\,kg {_CO2}"
    if facts.factor is None:
        return emitted
    pue = "" if facts.pue in (None, 1) else f", PUE {facts.pue:g}"
    return f"{emitted} at {facts.grams_per_kwh:.6g}\\,g\\,{_CO2}/kWh ({_text(facts.factor.source)}{pue})"


def _text(value: str) -> str:
    escaped = "".join(_SPECIAL.get(letter, letter if letter.isprintable() else " ") for letter in value)
    return _LIGATURE.sub("{}", escaped)
