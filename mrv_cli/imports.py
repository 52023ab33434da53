# SPDX-License-Identifier: MIT
"""`mrv import`: take what others made as a receipt."""

from __future__ import annotations

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
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_core.models import Receipt

_MAX_OTS_BYTES = 1024 * 1024

OptionalRun = Annotated[
    Path | None,
    typer.Argument(metavar="RUN", help="Run whose root it is about, to keep it.", show_default=False, readable=False),
]
OtsOption = Annotated[
    Path | None,
    typer.Option("--ots", metavar="FILE", help="An OpenTimestamps proof.", show_default=False, readable=False),
]

IMPORT_EXAMPLES = """\b
Examples:
  mrv import --ots run-1.after_training.root.ots
  mrv import --ots run-1.after_training.root.ots artifacts/run-1

\b
Exit status: 0 it is final, 3 not yet, 1 it is wrong, 2 usage, 4 could not check, 5 the chain has no such block.
"""


@guarded
def import_(
    run: OptionalRun = None,
    ots: OtsOption = None,
    network: NetworkOption = None,
    config: ConfigOption = None,
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    as_json: JsonOption = False,
) -> None:
    """Read an OpenTimestamps proof as a receipt, ask the node for its block, and keep it with RUN if named."""
    from mrv_cli.exit_codes import ExitCode
    from mrv_core.files import read_limited
    from mrv_core.manager import BlockchainManager
    from mrv_core.models import ReceiptState
    from mrv_core.timestamps import import_timestamp, keep_timestamp

    if ots is None:
        raise ConfigurationError("nothing to import", hint="name a proof with --ots FILE")
    if network is not None and len(network) > 1:
        raise ConfigurationError("--network is given twice", hint="a proof is of one chain")
    data = read_limited(existing(ots, "proof"), _MAX_OTS_BYTES)
    folder = existing_run(run) if run is not None else None
    with BlockchainManager(read_config(config), base_dir=folder.parent if folder is not None else base_dir) as manager:
        receipt = import_timestamp(data, manager, network=network[0] if network else None)
    if folder is not None:
        note(f"kept as the receipt of {receipt.network} for {keep_timestamp(folder, receipt)}")
    if as_json:
        print_json(receipt.to_json())
    else:
        _print(receipt)
    raise typer.Exit(ExitCode.VALID if receipt.state is ReceiptState.FINAL else ExitCode.PENDING)


def _print(receipt: Receipt) -> None:
    from mrv_core.report.terminal import line

    when = f", in a block of {receipt.block_time:%Y-%m-%d}" if receipt.block_time is not None else ""
    console().print(line(f"{receipt.state}  {receipt.commitment} on {receipt.network}{when}"), soft_wrap=True)
