# SPDX-License-Identifier: MIT
"""`mrv worker`: anchors the records of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mrv_cli.options import ConfigOption, read_config
from mrv_cli.output import guarded, note
from mrv_cli.registry import BaseOption, database_of, needed, process_name, stop_on_signals

WORKER_EXAMPLES = """\b
Examples:
  mrv worker --config configs/blockchain_config.sepolia.json
  mrv worker --every-records 10000 --after 600
  mrv worker --once --after 0              from a scheduler

\b
Records that were submitted with receipts of their own are left alone. Several workers may run on one database; they
share a journal where they share a folder.
Exit status: 0 stopped, or nothing left to do now; 2 usage; 4 the database or the journal cannot be used.
"""

_PAUSE_S: Final = 1.0
"""Between two looks where there was nothing to do."""


@guarded
def worker(
    base_dir: BaseOption = Path("registry"),
    config: ConfigOption = None,
    every_records: Annotated[
        int, typer.Option("--every-records", metavar="N", help="Most records in a batch.", min=1, max=1_000_000)
    ] = 1000,
    after_s: Annotated[
        float, typer.Option("--after", metavar="S", help="Longest that a record waits for its batch.", min=0)
    ] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Do what is to be done now, and end.")] = False,
) -> None:
    """Anchor the records of a registry in batches, on the networks of the configuration, until they are final."""
    from mrv_core.manager import BlockchainManager

    with needed():
        from mrv_service.observing import log_as_json
        from mrv_service.worker import Pace, Worker, waiting
    database = database_of(base_dir)
    log_as_json()
    stop = stop_on_signals()
    with BlockchainManager(read_config(config), base_dir=base_dir) as manager:
        made = Worker(database, manager, process_name(), Pace(every_records, after_s))
        note(f"anchoring on {', '.join(manager.config.require_networks(None))}")
        if once:
            while not stop.is_set() and made.step():
                pass
        else:
            made.run(stop, _PAUSE_S)
    alone, unfinished = waiting(database)
    note(f"{alone} records wait for a batch, {unfinished} batches are not final")
