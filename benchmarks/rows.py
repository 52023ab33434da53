# SPDX-License-Identifier: MIT
"""What a measurement says: the values of its rounds, the goal, and whether the median meets it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "≥": operator.ge,
    ">": operator.gt,
    "<": operator.lt,
    "≤": operator.le,
}


class Unavailable(Exception):  # noqa: N818 - not an error: the row says so, and the others go on
    """Something that a row needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a median.

    Attributes:
        sign: One of `≥ > < ≤`.
        bound: In the unit of the row.
    """

    sign: str
    bound: float

    def met_by(self, value: float) -> bool:
        """Whether a value lies on the right side of the bound."""
        return _COMPARE[self.sign](value, self.bound)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured, and against what.
        unit: Unit of the values; `x` is how many times faster than the peer.
        values: One for each round; empty where nothing could be measured.
        goal: What the median has to reach; None where there is no goal.
        details: The absolute figures behind the values, for this machine only.
        problem: Why there is no value.
        others: Cores that other programs kept busy meanwhile; None where the system does not say.
    """

    what: str
    unit: str
    values: tuple[float, ...] = ()
    goal: Goal | None = None
    details: str = ""
    problem: str = ""
    others: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without a goal or a value."""
        return self.goal.met_by(median(self.values)) if self.goal and self.values else None

    def measured(self) -> str:
        """The median, and where there were several rounds the smallest and largest value."""
        if not self.values:
            return "-"
        low, high = min(self.values), max(self.values)
        spread = f" ({number(low)} to {number(high)})" if len(self.values) > 1 else ""
        return f"{number(median(self.values))} {self.unit}{spread}"

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON value."""
        return {
            "what": self.what,
            "unit": self.unit,
            "values": list(self.values),
            "median": median(self.values) if self.values else None,
            "goal": f"{self.goal.sign} {number(self.goal.bound)} {self.unit}" if self.goal else None,
            "met": self.met,
            "details": self.details,
            "problem": self.problem or None,
            "other_cores": self.others,
        }


def number(value: float) -> str:
    """Return a number with three significant digits, and all digits in front of the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """Return a duration in the unit that reads best."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{number(value * factor)} {unit}"
    return f"{number(value * 1e6)} µs"
