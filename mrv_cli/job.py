# SPDX-License-Identifier: MIT
"""`mrv mrv-job`: the record of a job, where none of its ranks could put it together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrv_cli.options import JsonOption, existing
from mrv_cli.output import guarded, note, print_json
from mrv_cli.record_batch import FolderOption

JOB_EXAMPLES = """\b
Examples:
  mrv mrv-job MRV-1f0c
  mrv mrv-job MRV-1f0c --base-dir collected
  mrv mrv-job MRV-1f0c --allow-missing     a rank was killed, and left no record

\b
The rank that ends last writes the record by itself. This is for the rest: collect the records of all ranks, and their
samples, in one folder. Anchor what is written with 'mrv mrv-batch'.
Exit status: 0 written, 2 usage or a rank is missing, 4 something cannot be read or written.
"""

JobArgument = Annotated[str, typer.Argument(metavar="JOB_ID", help="Id of the job.", show_default=False)]
AllowMissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Write it without the ranks that are not there, and name them.")
]


@guarded
def job(
    mrv_id: JobArgument,
    base_dir: FolderOption = Path("mrv_data"),
    allow_missing: AllowMissingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the record of a job together out of the records of its ranks."""
    from mrv_core.mrv.job_record import complete_job
    from mrv_core.mrv.storage import record_path

    existing(base_dir, "folder of records", "name it with --base-dir")
    record = complete_job(base_dir, mrv_id, allow_missing=allow_missing)
    path = record_path(base_dir, mrv_id)
    note(f"wrote {path}; anchor it with: mrv mrv-batch {path}")
    if as_json:
        print_json(record.to_json())
