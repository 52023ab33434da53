# SPDX-License-Identifier: MIT
"""Words and symbols shared by the renderings, and the one way by which data becomes text for people."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from mrv_core.models import Verdict
from mrv_core.report.model import IntegrityReport, NetworkResult

SYMBOLS: Final = {
    Verdict.VALID: "✅",
    Verdict.PENDING: "⏳",
    Verdict.NOT_FOUND: "❓",
    Verdict.UNREACHABLE: "📡",
    Verdict.TAMPERED: "❌",
    Verdict.DISAGREE: "❗",
}

MEANINGS: Final = {
    Verdict.VALID: "Everything that was checked is what was anchored.",
    Verdict.PENDING: "Nothing is wrong; not every network has confirmed yet.",
    Verdict.NOT_FOUND: "A network was asked, answered, and does not have this anchor.",
    Verdict.UNREACHABLE: "Something could not be checked. That says nothing for or against the run.",
    Verdict.TAMPERED: "Something is not what was anchored.",
    Verdict.DISAGREE: "The networks contradict each other.",
}

EMBEDDED_LABEL: Final = "embedded"
NO_TIME_LABEL: Final = "content, not time"
LABEL_MEANINGS: Final = {
    EMBEDDED_LABEL: "kept in this folder only, so it proves nothing to others",
    NO_TIME_LABEL: "shows what was anchored, and nothing about when",
}

# Printable by their category, yet drawn as nothing: fillers, joiners, variation selectors (Unicode's
# Default_Ignorable_Code_Point) and the blank Braille pattern. Two names that differ only in these look the same.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    r"""Return `text` on one line, with every character that acts or hides written out as an escape.

    Line breaks, terminal sequences, bidirectional controls, zero-width and unassigned characters can make a name
    look like another one, or like a line of the report itself. They come out as `\n`, `\x1b`, `\u202e`.
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(
        char if char.isprintable() and not _INVISIBLE.match(char) else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def verdict_word(verdict: Verdict) -> str:
    """Return a verdict as people read it: `NOT FOUND` for `NOT_FOUND`."""
    return verdict.value.replace("_", " ")


def labels_of(result: NetworkResult) -> tuple[str, ...]:
    """Return what a reader must know about the kind of network that answered; nothing where none did."""
    if result.network_id is None:
        return ()
    embedded = (EMBEDDED_LABEL,) if result.embedded else ()
    return embedded if result.attests_time else (*embedded, NO_TIME_LABEL)


def network_labels(report: IntegrityReport) -> dict[str, tuple[str, ...]]:
    """Return the networks of a report in their order, each with the labels of its answers."""
    labels: dict[str, tuple[str, ...]] = {}
    for anchor in report.anchors:
        for result in anchor.networks:
            labels[result.network] = labels.get(result.network) or labels_of(result)
    return labels


def non_finite(value: Any) -> str | None:
    """Return `NaN`, `Infinity` or `-Infinity` where a JSON value stands for one of them, else None."""
    if isinstance(value, dict) and len(value) == 1:
        name = value.get("non_finite")
        return name if name in ("NaN", "Infinity", "-Infinity") else None
    return None


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def plain(value: Any) -> str:
    """Return a scalar or a short list of a JSON value as text for people; numbers with six significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return non_finite(value) or ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    return str(value)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a JSON object by dotted name, in the object's order; lists stay whole.

    A value that is not an object has no leaves. An encoded non-finite number is a leaf.
    """
    if not isinstance(value, dict):
        return {}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item and non_finite(item) is None:
            leaves.update(flatten(item, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = item
    return leaves
