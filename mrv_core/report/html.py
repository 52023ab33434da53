# SPDX-License-Identifier: MIT
"""The integrity report as one self-contained HTML page: no script, no font, no image, nothing loaded from anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mrv_core.models import Verdict, format_time
from mrv_core.provenance_tree import SLOTS
from mrv_core.report.model import EpochRow, IntegrityReport, TreeRow
from mrv_core.report.plots import Series, line_chart, series_of
from mrv_core.report.text import (
    EMBEDDED_LABEL,
    LABEL_MEANINGS,
    MEANINGS,
    flatten,
    is_number,
    labels_of,
    network_labels,
    non_finite,
    plain,
    verdict_word,
    visible,
)

MOST_ROWS: Final = 200
"""Rows shown of any list; a page with a million rows helps nobody, and the JSON form has them all."""
_MOST_CHARTS: Final = 24
_MOST_OPEN: Final = 24
"""A branch with more children than this is drawn closed."""
_PRIVACY: Final = "privacy · "


def render_html(report: IntegrityReport) -> str:
    """Return the report as a complete HTML document, the same bytes for the same report.

    Whatever stands in the report is shown as text: markup is escaped, and characters that act or hide are written out
    (`mrv_core.report.text.visible`). The page's own policy forbids scripts and loading anything.
    """
    labels = network_labels(report)
    every = _all_series(report)
    findings = {finding.place: finding.verdict for finding in reversed(report.findings)}
    template = template_environment().get_template("report.html.j2")
    return template.render(
        report=report,
        meaning=MEANINGS[report.verdict],
        networks=labels,
        embedded_only=any(labels.values()) and all(EMBEDDED_LABEL in own for own in labels.values()),
        charts=[_chart(series) for series in every if not series.is_constant][:_MOST_CHARTS],
        constants=[(series.name, series.points[0][1]) for series in every if series.is_constant],
        epochs=_epoch_table(report.epochs),
        slots=_slots(report),
        tree=tuple(_tree_events(report.tree, findings)),
        trusts=_trusts(report),
        commands=_commands(report),
        headline=_headline_numbers(report.results),
        most=MOST_ROWS,
    )


@cache
def template_environment() -> Environment:
    """Return what pages are rendered with: every value is escaped and made safe to look at."""
    environment = Environment(
        loader=PackageLoader("mrv_core.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        word=verdict_word,
        plain=plain,
        flatten=flatten,
        nested=_nested,
        without=_without,
        moment=_moment,
        iso=format_time,
        short=_short,
        breakable=_breakable,
    )
    environment.globals.update(EMBEDDED_LABEL=EMBEDDED_LABEL, LABEL_MEANINGS=LABEL_MEANINGS, labels_of=labels_of)
    return environment


def _finalize(value: Any) -> Any:
    """Make every value that the template prints safe to look at; markup of our own passes."""
    return value if isinstance(value, Markup) else visible(str(value))


def _moment(value: datetime) -> str:
    return format_time(value).replace("T", " ").removesuffix("Z") + " UTC"


def _short(value: object) -> Markup:
    """Shorten a digest or hash for reading. The middle is in the page all the same, so copying gives the whole."""
    text = visible(str(value))
    head = text.find(":") + 9
    if len(text) <= head + 10:
        return escape(text)
    return Markup("{}<i>{}</i>{}").format(text[:head], text[head:-6], text[-6:])


def _breakable(text: object) -> Markup:
    """Allow a line break after each slash of a path name."""
    return Markup("/<wbr>").join(visible(str(text)).split("/"))


def _nested(value: Any) -> dict[str, Any]:
    """Return the members of a JSON object that are objects themselves."""
    members = value.items() if isinstance(value, dict) else ()
    return {name: item for name, item in members if isinstance(item, dict) and item and non_finite(item) is None}


def _without(value: Any, names: Mapping[str, Any]) -> Any:
    return {name: item for name, item in value.items() if name not in names} if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn metric and its caption."""

    name: str
    first: str
    last: str
    svg: Markup


def _all_series(report: IntegrityReport) -> list[Series]:
    metrics = series_of([(row.epoch, row.metrics) for row in report.epochs])
    privacy = series_of([(row.epoch, row.privacy_metrics) for row in report.epochs])
    return metrics + [replace(series, name=_PRIVACY + series.name) for series in privacy]


def _chart(series: Series) -> Chart:
    values = [plain(value) for _, value in series.points] or ["none"]
    svg = line_chart(series, css_class="privacy" if series.name.startswith(_PRIVACY) else "")
    return Chart(series.name, values[0], values[-1], svg)


@dataclass(frozen=True, slots=True)
class EpochTable:
    """The epochs' numbers by column: `head`, then, where epochs are left out, `tail`."""

    columns: tuple[str, ...]
    head: tuple[tuple[EpochRow, tuple[Any, ...]], ...]
    tail: tuple[tuple[EpochRow, tuple[Any, ...]], ...]


def _epoch_table(epochs: Sequence[EpochRow]) -> EpochTable:
    half = len(epochs) if len(epochs) <= MOST_ROWS else MOST_ROWS // 2
    head, tail = ([(row, _epoch_values(row)) for row in part] for part in (epochs[:half], epochs[half:][-half:]))
    columns = tuple(dict.fromkeys(name for _, values in head + tail for name in values))[:_MOST_CHARTS]
    cells = [
        tuple((row, tuple(values.get(name, "") for name in columns)) for row, values in part) for part in (head, tail)
    ]
    return EpochTable(columns, cells[0], cells[1])


def _epoch_values(row: EpochRow) -> dict[str, Any]:
    return flatten(row.metrics) | {_PRIVACY + name: value for name, value in flatten(row.privacy_metrics).items()}


def _slots(report: IntegrityReport) -> dict[str, TreeRow]:
    """Return the rows of the places for data and model, by path name."""
    return {row.path: row for row in report.tree if row.path in SLOTS}


def _headline_numbers(results: Any) -> dict[str, Any]:
    """Return the first few numbers among the results, which the page shows large."""
    numbers = {name: value for name, value in flatten(results).items() if is_number(value) or non_finite(value)}
    return dict(list(numbers.items())[:6])


@dataclass(frozen=True, slots=True)
class TreeEvent:
    """One step of drawing the tree: a node is opened, a leaf is shown, or a branch is closed.

    Attributes:
        row: The node; None when a branch closes.
        label: Last part of its path name.
        opens: Whether the nodes that follow are its children.
        expanded: Whether they are shown at first.
        verdict: Of a node that a finding names.
        omitted: Of a closing branch: how many children are left out.
    """

    row: TreeRow | None
    label: str = ""
    opens: bool = False
    expanded: bool = False
    verdict: Verdict | None = None
    omitted: int = 0


def _tree_events(rows: Sequence[TreeRow], findings: Mapping[str, Verdict]) -> Iterator[TreeEvent]:
    """Yield the nested drawing of flat rows, iteratively: a folder may nest deeper than a template may recurse."""
    open_rows: list[tuple[TreeRow, int]] = []
    parents = {row.path.rpartition("/")[0] for row in rows}
    above_findings = {place[:end] for place in findings for end, char in enumerate(place) if char == "/"}
    for row in rows:
        while open_rows and not row.path.startswith(f"{open_rows[-1][0].path}/"):
            yield _close(open_rows.pop())
        if open_rows:
            open_rows[-1] = (open_rows[-1][0], open_rows[-1][1] + 1)
        small = len(open_rows) < 2 and (row.size or 0) <= _MOST_OPEN and row.path != "training/epochs"
        opens, expanded = row.path in parents, small or row.path in above_findings
        yield TreeEvent(row, row.path.rpartition("/")[2], opens, expanded, findings.get(row.path))
        if opens:
            open_rows.append((row, 0))
    while open_rows:
        yield _close(open_rows.pop())


def _close(opened: tuple[TreeRow, int]) -> TreeEvent:
    row, shown = opened
    return TreeEvent(None, omitted=max(0, (row.size or 0) - shown))


def _trusts(report: IntegrityReport) -> dict[str, list[str]]:
    """Return by network what remains to be trusted, each sentence once."""
    trusts: dict[str, list[str]] = {}
    for anchor in report.anchors:
        for result in anchor.networks:
            sentences = trusts.setdefault(result.network, [])
            sentences.extend(sentence for sentence in result.trusts if sentence not in sentences)
    return {name: sentences for name, sentences in trusts.items() if sentences}


def _commands(report: IntegrityReport) -> list[tuple[str, str]]:
    """Return what a reader can run, as (purpose, command line)."""
    run = shlex.quote(visible(report.run_folder))
    commands = [
        ("Install the checker", "pip install 'mrv-provenance[all]'"),
        ("Check this run again, on your machine", f"mrv verify {run}"),
        ("Compare your own copy of the data with it", f"mrv verify {run} --data training=PATH"),
    ]
    leaf = next((row.path for row in reversed(report.tree) if row.digest is not None), None)
    if leaf is not None:
        prove = f"mrv prove {run} {shlex.quote(visible(leaf))} -o proof.json"
        commands.append(("Show one fact of the run without the others", prove))
    if leaf is not None and report.anchors:
        check = f"mrv prove --check proof.json --root {report.anchors[-1].root}"
        commands.append(("Check such a proof, without the run", check))
    return commands
