# SPDX-License-Identifier: MIT
"""`mrv mrv-batch`: one anchor for many MRV records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrv_cli.options import ConfigOption, JsonOption, NetworkOption, existing, read_config
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError

RECORD_BATCH_EXAMPLES = """\b
Examples:
  mrv mrv-batch                            all records that wait in mrv_data/
  mrv mrv-batch mrv_data/MRV-1f0c.json mrv_data/MRV-2a7e.json --network bitcoin

\b
Records wait where "store_in_batches" of "storage_options" is true, or auto_anchor is False.
Exit status: as of 'mrv flush'; 0 too where nothing was waiting.
"""

RecordsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RECORD", help="Records; by default all of the folder.", show_default=False, readable=False),
]
FolderOption = Annotated[Path, typer.Option("--base-dir", metavar="DIR", help="Folder of the records.", readable=False)]


@guarded
def record_batch(
    records: RecordsArgument = None,
    base_dir: FolderOption = Path("mrv_data"),
    config: ConfigOption = None,
    network: NetworkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Anchor all MRV records that wait for it as one batch; every record keeps a proof of its own."""
    from mrv_cli.journal import exit_code_of_rows
    from mrv_core.manager import BlockchainManager
    from mrv_core.mrv.record_batches import anchor_waiting_records, waiting_records
    from mrv_core.report.terminal import line

    paths = [existing(path, "record") for path in records or ()]
    if paths:
        base_dir = paths[0].parent
        if any(path.parent.resolve() != base_dir.resolve() for path in paths):
            raise ConfigurationError("the records lie in different folders", hint="make a batch for each")
    else:
        paths = sorted(existing(base_dir, "folder of records", "name it with --base-dir").glob("*.json"))
    with BlockchainManager(read_config(config), base_dir=base_dir) as manager:
        made = anchor_waiting_records(waiting_records(paths, manager), manager, network or None)
        rows = manager.journal.rows(commitment=made.batch.commitment) if made is not None else []
    members = [] if made is None else [each.mrv_id for each in made.members]
    references = {row.network: row.reference for row in rows}
    if as_json:
        batch = None if made is None else str(made.batch.commitment)
        print_json({"batch": batch, "members": members, "networks": references})
    elif made is None:
        note("no record is waiting for a batch")
    else:
        out = console()
        out.print(line(f"batch {made.batch.commitment} of {len(members)} records", style="bold"), soft_wrap=True)
        for row in rows:
            told = row.reference if row.receipt is not None else f"not yet: {row.error or row.state}"
            out.print(line(f"  {row.network}: {told}"), soft_wrap=True)
    raise typer.Exit(exit_code_of_rows(rows))
