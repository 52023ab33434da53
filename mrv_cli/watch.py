# SPDX-License-Identifier: MIT
"""`mrv watch`: verifies again and again what a registry holds, and raises an alarm where something stops verifying."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from mrv_cli.options import ConfigOption, read_config
from mrv_cli.output import guarded, note
from mrv_cli.registry import BaseOption, database_of, needed, process_name, stop_on_signals

WATCH_EXAMPLES = """\b
Examples:
  mrv watch --config configs/blockchain_config.sepolia.json
  MRV_WEBHOOK_URL=https://chat.example/hooks/… mrv watch --every 6
  mrv watch --once                         from a scheduler; the exit status is 1 where something is wrong

\b
Does the verifications that clients ask for, too. Alarms go to the log, to the URL in MRV_WEBHOOK_URL as JSON, and to
/metrics of 'mrv serve' as mrv_alarms and mrv_verdicts.
Exit status: 0 stopped, or no alarm; 1 alarms, with --once; 2 usage; 4 database, journal or webhook cannot be used.
"""

_WEBHOOK_VARIABLE: Final = "MRV_WEBHOOK_URL"
"""Environment variable with the URL that alarms are posted to; its path is often a secret."""
_PAUSE_S: Final = 1.0
"""Between two looks where there was nothing to do."""


@guarded
def watch(
    base_dir: BaseOption = Path("registry"),
    config: ConfigOption = None,
    every_h: Annotated[
        float, typer.Option("--every", metavar="HOURS", help="How long a verdict is good for.", min=0.01, max=24 * 366)
    ] = 24.0,
    once: Annotated[bool, typer.Option("--once", help="Verify what is due now, and end.")] = False,
) -> None:
    """Verify the records and bundles of a registry again and again, on the networks of the configuration."""
    from mrv_core.manager import BlockchainManager
    from mrv_core.registry import Registry

    with needed():
        from mrv_service.alarms import Log, Teller, Webhook
        from mrv_service.observing import log_as_json
        from mrv_service.verifications import Verifications
        from mrv_service.watcher import Watcher
    url = os.environ.get(_WEBHOOK_VARIABLE)
    tellers: list[Teller] = [Log(), *([Webhook(url)] if url else [])]
    registry = Registry.load()
    database = database_of(base_dir)
    log_as_json()
    stop = stop_on_signals()
    with BlockchainManager(read_config(config), base_dir=base_dir) as manager:
        made = Watcher(database, manager, registry, process_name(), timedelta(hours=every_h), tellers)
        note(f"verifying on {', '.join(manager.config.require_networks(None))}")
        if once:
            made.run_once(stop)
        else:
            made.run(stop, _PAUSE_S)
    alarms = Verifications(database).alarms()
    note(f"{alarms} alarms")
    raise typer.Exit(1 if once and alarms else 0)
