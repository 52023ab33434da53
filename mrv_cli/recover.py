# SPDX-License-Identifier: MIT
"""`mrv mrv-recover`: the records of trainings that were killed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mrv_cli.options import JsonOption, existing
from mrv_cli.output import console, guarded, note, print_json
from mrv_cli.record_batch import FolderOption

RECOVER_EXAMPLES = """\b
Examples:
  mrv mrv-recover                          all trainings in mrv_data/ that ended without a record
  mrv mrv-recover mrv_data/MRV-1f0c.draft

\b
A training that is killed leaves a draft of its record and its samples; the record that they make counts what was used
until then, and has the status "interrupted". Anchor it with 'mrv mrv-batch'.
Exit status: 0 recovered, or nothing to recover; 2 still running, or damaged; 4 something cannot be read or written.
"""

DraftsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="DRAFT", help="Drafts; by default all of the folder.", show_default=False, readable=False),
]


@guarded
def recover(
    drafts: DraftsArgument = None, base_dir: FolderOption = Path("mrv_data"), as_json: JsonOption = False
) -> None:
    """Write the records of trainings that were killed, out of their drafts and samples."""
    from mrv_cli.exit_codes import exit_code_of
    from mrv_core.errors import MrvError
    from mrv_core.mrv.drafts import drafts_in
    from mrv_core.mrv.drafts import recover as recover_record
    from mrv_core.report.terminal import line

    folder = existing(base_dir, "folder of records", "name it with --base-dir") if not drafts else base_dir
    paths = [existing(path, "draft") for path in drafts or ()] or drafts_in(folder)
    done: list[dict[str, Any]] = []
    failures: list[MrvError] = []
    for path in paths:
        try:
            record, place = recover_record(path)
        except MrvError as error:
            failures.append(error)
            note(f"{path}: {error.message}{f' ({error.hint})' if error.hint else ''}")
            continue
        done.append({"mrv_id": record.mrv_id, "path": str(place), "energy_uwh": record.energy.total_uwh})
        if not as_json:
            console().print(line(f"wrote {place}"), soft_wrap=True)
    if as_json:
        print_json({"recovered": done, "failed": [error.message for error in failures]})
    elif not paths:
        note("no training ended without a record")
    raise typer.Exit(max((exit_code_of(error) for error in failures), default=0))
