# SPDX-License-Identifier: MIT
"""What an artifacts folder holds: its runs, their anchors, and where each anchor stands according to the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mrv_core.errors import FormatError, StorageError
from mrv_core.journal import Journal, JournalRow
from mrv_core.models import Receipt, format_time
from mrv_core.run_folder import Anchor, RunFile, RunFolder

NOT_SENT: Final = "not sent"
"""State of an anchor that neither the journal nor the run folder knows anything of but its root."""
AWAITS_BATCH: Final = "awaits a batch"
"""State of an anchor that is to be anchored together with others, on whatever networks the batch goes to."""


@dataclass(frozen=True, slots=True)
class Place:
    """One anchor on one network, as recorded; nobody was asked.

    Attributes:
        state: State in the journal, or of the receipt in the run folder, or `NOT_SENT`.
        reference: Transaction id or CID.
        error: Why the last attempt failed, if it did.
        attempts: Everything prepared for it, oldest first, as JSON values: reference, why it ended, and when.
    """

    state: str
    reference: str | None
    error: str | None
    attempts: tuple[dict[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class AnchoredRoot:
    """One anchored root of a run and where it stands, network by network."""

    anchor: Anchor
    places: dict[str, Place]


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run folder.

    Attributes:
        path: The folder.
        run: What the run is, None where that cannot be read.
        anchors: Its anchored roots, oldest first.
        problem: Why something of it cannot be read, None where all can.
    """

    path: Path
    run: RunFile | None
    anchors: tuple[AnchoredRoot, ...]
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value."""
        return {
            "run_folder": str(self.path),
            "run_id": self.run.run_id if self.run else None,
            "started_at": format_time(self.run.started_at) if self.run else None,
            "problem": self.problem,
            "anchors": [_anchor_json(item) for item in self.anchors],
        }


def _anchor_json(item: AnchoredRoot) -> dict[str, Any]:
    file = item.anchor.file
    return {
        "name": item.anchor.name,
        "phase": file.phase,
        "epochs": file.epochs,
        "root": str(file.root),
        "networks": {
            name: {
                "state": place.state,
                "reference": place.reference,
                "error": place.error,
                "attempts": list(place.attempts),
            }
            for name, place in item.places.items()
        },
    }


def find_runs(base_dir: Path) -> list[Path]:
    """Return the run folders in an artifacts folder, sorted by name, which is by time for generated run ids.

    Raises:
        StorageError: the folder cannot be read.
    """
    try:
        return sorted(path for path in base_dir.iterdir() if _is_run(path))
    except OSError as error:
        from mrv_core.files import storage_error

        raise storage_error("read", base_dir, error) from error


def _is_run(path: Path) -> bool:
    try:
        return (path / "run.json").is_file()
    except PermissionError:  # for all that can be seen it is one; `overview` tells what is wrong with it
        return True


def overview(path: Path, journal: Journal) -> RunOverview:
    """Read one run folder; damage to it is part of the answer.

    Raises:
        StorageError: the journal cannot be read.
    """
    folder, problem, run = RunFolder(path), None, None
    anchors: list[Anchor] = []
    try:
        run = folder.run()
        anchors.extend(folder.read_anchor(name) for name in folder.anchor_names())
    except (FormatError, StorageError) as error:
        problem = error.message
    return RunOverview(path, run, tuple(_with_places(anchor, journal) for anchor in anchors), problem)


def _with_places(anchor: Anchor, journal: Journal) -> AnchoredRoot:
    if anchor.awaits_batch:
        return AnchoredRoot(anchor, {"batch": Place(AWAITS_BATCH, None, None)})
    rows = {row.network: row for row in journal.rows(commitment=anchor.commitment)}
    names = dict.fromkeys([*anchor.file.networks, *anchor.file.receipts, *rows])
    return AnchoredRoot(anchor, {name: _place(rows.get(name), anchor.file.receipts.get(name)) for name in names})


def _place(row: JournalRow | None, receipt: Receipt | None) -> Place:
    if row is not None:
        return Place(str(row.state), row.reference, row.error, _attempts(row))
    if receipt is not None:
        return Place(receipt.state.lower(), receipt.reference, None)
    return Place(NOT_SENT, None, None)


def _attempts(row: JournalRow) -> tuple[dict[str, str | None], ...]:
    ended: tuple[dict[str, str | None], ...] = tuple(
        {"reference": item.prepared.reference, "ended": item.ended, "ended_at": format_time(item.ended_at)}
        for item in row.earlier
    )
    newest = row.prepared
    return ended if newest is None else (*ended, {"reference": newest.reference, "ended": None, "ended_at": None})


def row_json(row: JournalRow) -> dict[str, Any]:
    """Return a journal row as a JSON value, without the signed bytes."""
    return {
        "commitment": str(row.commitment),
        "network": row.network,
        "state": str(row.state),
        "reference": row.reference,
        "error": row.error,
        "attempts": list(_attempts(row)),
        "created_at": format_time(row.created_at),
        "updated_at": format_time(row.updated_at),
    }


def rows_without_run(journal: Journal, runs: Sequence[RunOverview]) -> list[JournalRow]:
    """Return the journal's rows whose commitment is the root of none of the runs."""
    roots = {item.anchor.commitment for run in runs for item in run.anchors}
    return [row for row in journal.rows() if row.commitment not in roots]
