# SPDX-License-Identifier: MIT
"""`mrv status`, `mrv flush` and `mrv anchor`: what is anchored where, and getting it there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import (
    DEFAULT_BASE_DIR,
    BaseDirOption,
    ConfigOption,
    JsonOption,
    NetworkOption,
    existing,
    existing_run,
    read_config,
)
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError, MrvError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mrv_cli.exit_codes import ExitCode
    from mrv_cli.runs import Place, RunOverview
    from mrv_core.config import Config
    from mrv_core.journal import Journal, JournalRow
    from mrv_core.manager import BlockchainManager

STATUS_EXAMPLES = """\b
Examples:
  mrv status
  mrv status artifacts/run-1
  mrv status --base-dir /data/artifacts --json

\b
Exit status: 0, or 4 where RUN cannot be read.
"""
FLUSH_EXAMPLES = """\b
Examples:
  mrv flush
  mrv flush --wait 3600
  mrv flush --base-dir /data/artifacts --config configs/blockchain_config.json

\b
Exit status: 0 nothing is left, 3 something is not final yet, 4 a network did not take it, or a run is not queued.
"""
ANCHOR_EXAMPLES = """\b
Examples:
  mrv anchor dataset/
  mrv anchor weights.safetensors --name release-7 --network ethereum

\b
Exit status: as of 'mrv flush'.
"""

OptionalRun = Annotated[
    Path | None,
    typer.Argument(metavar="RUN", help="Folder of one run; by default all runs.", show_default=False, readable=False),
]
ContentArgument = Annotated[
    Path, typer.Argument(metavar="FILE_OR_FOLDER", help="What to commit to.", show_default=False, readable=False)
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Run id; by default made from the time.", show_default=False),
]
WaitOption = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="Longest wait for what a network has to become final.",
        show_default=False,
    ),
]


@guarded
def status(run: OptionalRun = None, base_dir: BaseDirOption = DEFAULT_BASE_DIR, as_json: JsonOption = False) -> None:
    """List the runs, their anchors and how far each has come, as recorded here; no network is asked."""
    from mrv_cli.exit_codes import ExitCode
    from mrv_cli.runs import find_runs, overview, row_json, rows_without_run
    from mrv_core.journal import Journal

    if run is not None:
        run = existing_run(run)
        base_dir = run.parent
    journal = Journal(existing(base_dir, "artifacts folder", "name it with --base-dir"))
    runs = [overview(path, journal) for path in ([run] if run is not None else find_runs(base_dir))]
    others = [] if run is not None else rows_without_run(journal, runs)
    if as_json:
        print_json(
            {
                "base_dir": str(base_dir),
                "runs": [item.to_json() for item in runs],
                "other_anchors": [row_json(row) for row in others],
            }
        )
    else:
        _print_runs(runs, in_full=run is not None)
        if others:
            note(f"{len(others)} anchors in the journal belong to no run in {base_dir}")
    if run is not None and runs[0].problem is not None:
        raise typer.Exit(ExitCode.COULD_NOT_CHECK)


@guarded
def flush(
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    config: ConfigOption = None,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Send what is queued and look again at what is not final yet."""
    from mrv_cli.exit_codes import ExitCode
    from mrv_cli.runs import row_json
    from mrv_cli.waiting import waiting_line
    from mrv_core.manager import BlockchainManager
    from mrv_core.mrv.storage import collect_receipts as collect_record_receipts

    settings = read_config(config)
    existing(base_dir, "artifacts folder", "name it with --base-dir")
    with BlockchainManager(settings, base_dir=base_dir) as manager:
        all_queued = _queue_what_is_not(base_dir, settings, manager.journal)
        before = manager.journal.rows(only_open=True)
        with waiting_line(wait) as progress:
            left = [_with_reason(row, manager) for row in manager.settle(timeout_s=wait, progress=progress)]
        collect_record_receipts(base_dir, manager.journal)
    collect_receipts(base_dir, settings, before)
    if as_json:
        print_json({"open_before": len(before), "left": [row_json(row) for row in left]})
    else:
        _print_rows(left)
        if before or all_queued:
            note(f"{len(before)} anchors were open, {len(left)} still are" if before else "nothing was left to do")
    raise typer.Exit(exit_code_of_rows(left) if all_queued else ExitCode.COULD_NOT_CHECK)


@guarded
def anchor(
    file_or_folder: ContentArgument,
    name: NameOption = None,
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    config: ConfigOption = None,
    network: NetworkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Commit to every byte of a file or folder and anchor the root; the run folder is what you keep."""
    from mrv_cli.runs import overview
    from mrv_core.journal import Journal
    from mrv_core.tracker import ProvenanceTracker

    existing(file_or_folder, "file or folder")
    settings = read_config(config)
    settings.require_networks(network or None)
    tracker = ProvenanceTracker(base_dir, settings, run_id=name)
    try:
        with closing(tracker):
            tracker.track_data(file_or_folder)
            tracker.anchor_snapshot(network or None)
    except MrvError:
        if not tracker.anchors:  # nothing is or will be anchored: the same command, with the same name, may come again
            shutil.rmtree(tracker.run_folder, ignore_errors=True)
        raise
    journal = Journal(base_dir)
    made = overview(tracker.run_folder, journal)
    if as_json:
        print_json(made.to_json())
    else:
        _print_runs([made], in_full=True)
    rows = [row for item in made.anchors for row in journal.rows(commitment=item.anchor.commitment)]
    raise typer.Exit(exit_code_of_rows(rows))


def exit_code_of_rows(rows: Sequence[JournalRow]) -> ExitCode:
    """Return the exit status for what became of anchors: refused or failed, not final yet, or final."""
    from mrv_cli.exit_codes import ExitCode
    from mrv_core.journal import JournalState

    if any(row.state is JournalState.REJECTED or (row.is_open and row.error) for row in rows):
        return ExitCode.COULD_NOT_CHECK
    return ExitCode.PENDING if any(row.is_open for row in rows) else ExitCode.VALID


def _with_reason(row: JournalRow, manager: BlockchainManager) -> JournalRow:
    """Say why a row cannot move where no attempt could be made at all: no such network, or no driver for it."""
    try:
        manager.driver(row.network)
    except ConfigurationError as error:
        return replace(row, error=f"{error.message} ({error.hint})" if error.hint else error.message)
    return row


def _queue_what_is_not(base_dir: Path, config: Config, journal: Journal) -> bool:
    """Let the runs whose process ended between writing an anchor down and queueing it queue it now; tell if all did."""
    from mrv_cli.runs import NOT_SENT, find_runs, overview

    done = True
    for run in (overview(path, journal) for path in find_runs(base_dir)):
        if run.problem is not None:
            note(f"{run.path}: {run.problem}")
        places = (place for item in run.anchors for place in item.places.values())
        if any(place.state == NOT_SENT for place in places):
            done &= _reopen(run.path, config, "has anchors that are not queued")
    return done


def collect_receipts(base_dir: Path, config: Config, rows: Sequence[JournalRow]) -> None:
    """Let the runs that these rows belong to take the journal's new receipts into their folders."""
    from mrv_cli.runs import find_runs, overview
    from mrv_core.journal import Journal

    commitments = {row.commitment for row in rows}
    for path in find_runs(base_dir) if rows else ():
        anchors = overview(path, Journal(base_dir)).anchors
        if any(item.anchor.commitment in commitments for item in anchors):
            _reopen(path, config, "keeps its old receipts")


def _reopen(path: Path, config: Config, otherwise: str) -> bool:
    """Open and close a run, which brings its folder and the journal together, or say why that cannot be."""
    from mrv_core.tracker import ProvenanceTracker

    try:
        ProvenanceTracker.open(path, config).close()
    except MrvError as error:
        note(f"{path} {otherwise}: {error.message}")
        return False
    return True


_STYLES = {"final": "green", "rejected": "red", "not sent": "red"}


def _state_text(place: Place) -> Text:
    from rich.text import Text

    return Text(place.state, style=_STYLES.get(place.state, "yellow"))


def _print_runs(runs: Sequence[RunOverview], *, in_full: bool) -> None:
    if not runs:
        note("no runs here yet")
        return
    out = console()
    for run in runs:
        if run.problem is not None:
            note(f"{run.path}: {run.problem}")
    if not in_full:
        out.print(_runs_table(runs))
        return
    for run in runs:
        _print_run(run)


def _print_run(run: RunOverview) -> None:
    from mrv_core.report.terminal import line

    out = console()
    out.print(line(str(run.path), style="bold"))
    for item in run.anchors:
        out.print(
            line(f"{item.anchor.name}, {item.anchor.file.epochs} epochs, root {item.anchor.file.root}"), soft_wrap=True
        )
        for name, place in item.places.items():
            out.print(line(f"  {name}: ", _state_text(place), f" {place.reference or ''}".rstrip()), soft_wrap=True)
            if place.error:
                out.print(line(f"    {place.error}"), soft_wrap=True)
            for attempt in place.attempts:
                if attempt["reference"] != place.reference:
                    ended = attempt["ended"] or "prepared last"
                    out.print(line(f"    another attempt {attempt['reference']}: {ended}"), soft_wrap=True)


def _runs_table(runs: Sequence[RunOverview]) -> Table:
    from rich.box import ROUNDED
    from rich.table import Table

    from mrv_core.report.terminal import line

    names = dict.fromkeys(name for run in runs for item in run.anchors for name in item.places)
    table = Table(box=ROUNDED, border_style="dim", header_style="bold")
    for column in ("run", "started", "anchor", "epochs"):
        table.add_column(column, overflow="fold")
    for name in names:
        table.add_column(line(name), overflow="fold")
    for run in runs:
        started = f"{run.run.started_at:%Y-%m-%d %H:%M}" if run.run is not None else "unreadable"
        for index, item in enumerate(run.anchors):
            head = (run.path.name, started) if index == 0 else ("", "")
            cells = [_state_text(item.places[name]) if name in item.places else "" for name in names]
            table.add_row(*map(line, head), line(item.anchor.name), str(item.anchor.file.epochs), *cells)
        if not run.anchors:
            table.add_row(line(run.path.name), started, "none yet", "")
    return table


def _print_rows(rows: Sequence[JournalRow]) -> None:
    from mrv_core.report.terminal import line

    out = console()
    for row in rows:
        out.print(line(f"{row.network}: {row.state}  {row.commitment}"), soft_wrap=True)
        if row.error:
            out.print(line(f"  {row.error}"), soft_wrap=True)
