# SPDX-License-Identifier: MIT
"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from mrv_core.mrv.exports.boamps import to_boamps
from mrv_core.mrv.exports.cyclonedx import to_cyclonedx
from mrv_core.mrv.exports.facts import Facts, facts_of
from mrv_core.mrv.exports.latex import to_latex
from mrv_core.mrv.exports.model_card import to_model_card
from mrv_core.mrv.exports.sci import Declared, to_sci
from mrv_core.mrv.exports.table import to_csv
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.schema_0_1 import MrvRecord01

CSV: Final = "csv"
SCI: Final = "sci"
FORMATS: Final[Mapping[str, Callable[[Facts, Declared], str]]] = MappingProxyType(
    {
        "boamps": lambda facts, _: to_boamps(facts),
        CSV: lambda facts, _: to_csv([facts]),
        "cyclonedx": lambda facts, _: to_cyclonedx(facts),
        "hf-model-card": lambda facts, _: to_model_card(facts),
        "latex": lambda facts, _: to_latex(facts),
        SCI: to_sci,
    }
)


def export_record(record: MrvRecord | MrvRecord01, name: str, declared: Declared | None = None) -> str:
    """Write a record in the format of that name.

    Args:
        record: Of either schema.
        name: One of `FORMATS`.
        declared: What the format asks for and no record knows.

    Raises:
        FormatError: the format asks for what the record does not have.
    """
    return FORMATS[name](facts_of(record), declared or Declared())


def export_table(records: Sequence[MrvRecord | MrvRecord01]) -> str:
    """Write records as the rows of one CSV table, in their order.

    Args:
        records: Of either schema, one or more.
    """
    return to_csv([facts_of(record) for record in records])
