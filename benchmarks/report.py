# SPDX-License-Identifier: MIT
"""The tables on the terminal, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.rows import Row, number

DISTURBED: Final = 0.2
"""Cores used by others from which a row is better measured again: a peer that uses one core hardly suffers, we do."""


def show(console: Console, title: str, rows: Sequence[Row], *, judged: bool) -> None:
    """Print the rows of one suite."""
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=True)
    table.add_column("measured", ratio=3)
    table.add_column("goal", no_wrap=True)
    table.add_column("median (min to max)", ratio=2)
    table.add_column("verdict", ratio=1)
    table.add_column("figures of this machine", ratio=3)
    table.add_column("others", justify="right", no_wrap=True)
    for row in rows:
        goal = f"{row.goal.sign} {number(row.goal.bound)} {row.unit}" if row.goal else "-"
        table.add_row(escape(row.what), goal, row.measured(), _verdict(row, judged), escape(row.details), _others(row))
    console.print(table)


def write_json(path: Path, facts: Mapping[str, Any], suites: Mapping[str, Sequence[Row]]) -> None:
    """Write everything that was measured."""
    document = {**facts, "suites": {name: [row.to_json() for row in rows] for name, rows in suites.items()}}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(rows: Sequence[Row], *, judged: bool) -> str:
    """Return one line over all rows."""
    met = sum(row.met is True for row in rows)
    missed = sum(row.met is False for row in rows)
    absent = sum(bool(row.problem) for row in rows)
    text = f"{met} goals met, {missed} not met, {absent} not measured"
    return text if judged else f"{text}; the sizes were small, so this decides nothing"


def _others(row: Row) -> str:
    if row.others is None:
        return "-"
    return f"[yellow]{row.others:.2f}[/yellow]" if row.others > DISTURBED else f"{row.others:.2f}"


def _verdict(row: Row, judged: bool) -> str:
    if row.problem:
        return f"[yellow]{escape(row.problem)}[/yellow]"
    if row.met is None:
        return "no goal"
    if not judged:
        return "not judged: small sizes"
    return "[green]met[/green]" if row.met else "[red]not met[/red]"
