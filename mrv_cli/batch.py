# SPDX-License-Identifier: MIT
"""`mrv batch`: one anchor for the roots of many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_core.run_batches import AnchoredBatch

BATCH_EXAMPLES = """\b
Examples:
  mrv batch                                all roots that wait in artifacts/
  mrv batch artifacts/run-1 artifacts/run-2 --network bitcoin

\b
Roots wait where "store_in_batches" of "storage_options" is true.
Exit status: as of 'mrv flush'; 0 too where nothing was waiting.
"""

RunsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RUN", help="Folders of runs; by default all.", show_default=False, readable=False),
]


@guarded
def batch(
    runs: RunsArgument = None,
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    config: ConfigOption = None,
    network: NetworkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Anchor all roots that wait for it as one batch; every run keeps a proof of its own."""
    from mrv_cli.journal import exit_code_of_rows
    from mrv_cli.runs import find_runs
    from mrv_core.manager import BlockchainManager
    from mrv_core.run_batches import anchor_waiting_roots
    from mrv_core.tracker import ProvenanceTracker

    settings = read_config(config)
    folders = [existing_run(run) for run in runs or ()]
    if folders:
        base_dir = folders[0].parent
        if any(folder.parent.resolve() != base_dir.resolve() for folder in folders):
            raise ConfigurationError("the runs lie in different artifacts folders", hint="make a batch for each")
    else:
        folders = find_runs(existing(base_dir, "artifacts folder", "name it with --base-dir"))
    with BlockchainManager(settings, base_dir=base_dir) as manager:
        made = anchor_waiting_roots(folders, manager, network or None)
        rows = manager.journal.rows(commitment=made.batch.commitment) if made is not None else []
    for path in dict.fromkeys(member.folder.path for member in made.members) if made is not None else ():
        ProvenanceTracker.open(path, settings).close()  # takes the receipts into the run's folder
    if as_json:
        print_json(_summary(made))
    elif made is None:
        note("no root is waiting for a batch")
    else:
        _print(made)
    raise typer.Exit(exit_code_of_rows(rows))


def _summary(made: AnchoredBatch | None) -> dict[str, Any]:
    if made is None:
        return {"batch": None, "members": [], "networks": {}}
    return {
        "batch": str(made.batch.commitment),
        "members": [
            {"run_folder": str(member.folder.path), "anchor": member.anchor.name, "root": str(member.anchor.file.root)}
            for member in made.members
        ],
        "networks": {
            name: {
                "reference": outcome.receipt.reference if outcome.receipt is not None else None,
                "state": str(outcome.receipt.state) if outcome.receipt is not None else None,
                "error": str(outcome.error) if outcome.error is not None else None,
            }
            for name, outcome in made.outcomes.items()
        },
    }


def _print(made: AnchoredBatch) -> None:
    from mrv_core.report.terminal import line

    out = console()
    out.print(line(f"batch {made.batch.commitment} of {len(made.batch.members)} roots", style="bold"), soft_wrap=True)
    for member in made.members:
        out.print(line(f"  {member.folder.path.name} {member.anchor.name}"), soft_wrap=True)
    for name, outcome in made.outcomes.items():
        told = outcome.receipt.reference if outcome.receipt is not None else f"not yet: {outcome.error}"
        out.print(line(f"  {name}: {told}"), soft_wrap=True)
