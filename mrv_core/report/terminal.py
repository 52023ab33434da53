# SPDX-License-Identifier: MIT
"""The integrity report on a terminal. Names and messages are printed as text: never as markup, never raw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.box import ROUNDED
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mrv_core.models import Verdict
from mrv_core.report.model import ContentCheck, EpochRow, Finding, IntegrityReport
from mrv_core.report.text import (
    EMBEDDED_LABEL,
    LABEL_MEANINGS,
    MEANINGS,
    SYMBOLS,
    flatten,
    network_labels,
    plain,
    verdict_word,
    visible,
)

_MOST_LINES: Final = 40
"""Lines shown of any list; the JSON and HTML forms have more."""

_STYLES: Final = {
    Verdict.VALID: "green",
    Verdict.PENDING: "yellow",
    Verdict.NOT_FOUND: "magenta",
    Verdict.UNREACHABLE: "magenta",
    Verdict.TAMPERED: "red",
    Verdict.DISAGREE: "red",
}


def verdict_text(verdict: Verdict) -> Text:
    """Return a verdict with its symbol and colour, always with its word."""
    return Text(f"{SYMBOLS[verdict]} {verdict_word(verdict)}", style=_STYLES[verdict])


def line(*parts: str | Text, style: str = "") -> Text:
    """Join parts into one line of text; strings are data and are made safe to look at."""
    return Text.assemble(*(part if isinstance(part, Text) else Text(visible(part), style=style) for part in parts))


def render_terminal(report: IntegrityReport, console: Console) -> None:
    """Print the report: the verdict, what is wrong, the anchors by network, and what remains to be trusted."""
    console.print(_banner(report))
    for title, lines in (
        ("What is wrong or could not be checked", list(_findings(report.findings))),
        ("Anchors", [_anchors(report)] if report.anchors else []),
        ("What to do", list(_hints(report))),
        ("Content compared", list(_contents(report.contents))),
        ("Not covered by any anchor yet", [line(path) for path in report.uncovered]),
        ("Training", list(_training(report.epochs))),
        ("What remains to be trusted", list(_trusts(report))),
    ):
        if lines:
            _section(console, title, lines)


def _section(console: Console, title: str, lines: Sequence[RenderableType]) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    for item in lines[:_MOST_LINES]:
        console.print(Padding(item, (0, 0, 0, 2), expand=False))
    if len(lines) > _MOST_LINES:
        console.print(Text(f"  and {len(lines) - _MOST_LINES} more lines; the JSON form has all of it", style="dim"))


def _banner(report: IntegrityReport) -> Panel:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("run", line(report.run_id))
    if report.root is not None:
        facts.add_row("root", line(str(report.root)))
    facts.add_row("rule", line(report.policy))
    body = Table.grid()
    body.add_row(line(report.summary))
    body.add_row(Text(MEANINGS[report.verdict], style="dim"))
    body.add_row(Padding(facts, (1, 0, 0, 0)))
    title = verdict_text(report.verdict)
    title.stylize("bold")
    return Panel(body, title=title, title_align="left", border_style=_STYLES[report.verdict], padding=(0, 1))


def _findings(findings: tuple[Finding, ...]) -> Iterator[RenderableType]:
    for finding in findings:
        yield line(verdict_text(finding.verdict), "  ", Text(visible(finding.place), style="bold"))
        yield _indented(line(finding.message))
        for name, value in (("committed", finding.expected), ("found    ", finding.computed)):
            if value is not None:
                yield _indented(line(Text(f"{name}  ", style="dim"), value))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 3), expand=False)


def _anchors(report: IntegrityReport) -> Table:
    table = Table(box=ROUNDED, border_style="dim", header_style="bold")
    table.add_column("anchor", overflow="fold")
    table.add_column("epochs", justify="right")
    networks = network_labels(report)
    for name, labels in networks.items():
        label = f"\n{EMBEDDED_LABEL}" if EMBEDDED_LABEL in labels else ""
        table.add_column(line(name, Text(label, style="not bold dim")), overflow="fold")
    for anchor in report.anchors:
        cells = {result.network: verdict_text(result.verdict) for result in anchor.networks}
        missing = Text("not anchored here", style="dim")
        table.add_row(line(anchor.name), str(anchor.epochs), *(cells.get(name, missing) for name in networks))
    return table


def _hints(report: IntegrityReport) -> Iterator[RenderableType]:
    for anchor in report.anchors:
        for result in anchor.networks:
            if result.verdict is Verdict.VALID:
                continue
            yield line(verdict_text(result.verdict), f"  {anchor.name} on {result.network}: {result.detail}")
            if result.hint:
                yield _indented(line(result.hint))


def _contents(contents: tuple[ContentCheck, ...]) -> Iterator[RenderableType]:
    for check in contents:
        yield line(verdict_text(check.verdict), "  ", check.path, " ← ", check.source, ": ", check.detail)


def _training(epochs: tuple[EpochRow, ...]) -> Iterator[RenderableType]:
    if not epochs:
        return
    values = flatten(epochs[-1].metrics) | flatten(epochs[-1].privacy_metrics)
    numbers = ", ".join(f"{name} {plain(value)}" for name, value in list(values.items())[:8])
    yield line(f"{len(epochs)} epochs; in the last one: {numbers}" if numbers else f"{len(epochs)} epochs")


def _trusts(report: IntegrityReport) -> Iterator[RenderableType]:
    labels = network_labels(report)
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold", style="dim")
    table.add_column(overflow="fold")
    for label, meaning in LABEL_MEANINGS.items():
        if names := [name for name, own in labels.items() if label in own]:
            table.add_row(line(", ".join(names)), line(f"{label}: {meaning}"))
    results = [result for anchor in report.anchors for result in anchor.networks]
    for network, sentence in dict.fromkeys((result.network, text) for result in results for text in result.trusts):
        table.add_row(line(network), line(sentence))
    if table.row_count:
        yield table
