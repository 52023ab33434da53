# SPDX-License-Identifier: MIT
"""`mrv devnet`: a real Ethereum, Bitcoin and IPFS node on this machine, for trying and testing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrv_cli.options import JsonOption
from mrv_cli.output import console, guarded, note, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mrv_devnet.devnet import Devnet, Status

UP_EXAMPLES = """\b
Examples:
  mrv devnet up
  mrv devnet up --dir /tmp/devnet --json
  MRV_CONFIG=.devnet/blockchain_config.devnet.json mrv networks
"""
DOWN_EXAMPLES = """\b
Example:
  mrv devnet down
"""
STATUS_EXAMPLES = """\b
Examples:
  mrv devnet status
  mrv devnet status --json

\b
Exit status: 0 every node runs and answers, 4 one of them does not.
"""
RESET_EXAMPLES = """\b
Example:
  mrv devnet reset
"""

devnet_app = typer.Typer(
    help="Run a real Ethereum, Bitcoin and IPFS node on this machine, for trying and testing.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
DEFAULT_DIR = Path(".devnet")
DirOption = Annotated[
    Path,
    typer.Option(
        "--dir", metavar="DIR", help="Folder of the devnet: chains, keys, logs, configuration.", readable=False
    ),
]


@devnet_app.command(epilog=UP_EXAMPLES)
@guarded
def up(directory: DirOption = DEFAULT_DIR, as_json: JsonOption = False) -> None:
    """Start the nodes that do not run, fund a key and a wallet, deploy the contracts, write a configuration.

    A program that is not there is installed from a package registry first, which is said before it is done.
    """
    devnet = _devnet(directory)
    _show(devnet, devnet.up(), as_json=as_json)


@devnet_app.command(epilog=DOWN_EXAMPLES)
@guarded
def down(directory: DirOption = DEFAULT_DIR, as_json: JsonOption = False) -> None:
    """Stop the nodes; chains and keys stay for the next time."""
    stopped = _devnet(directory).down()
    if as_json:
        print_json({"dir": str(directory), "stopped": stopped})


@devnet_app.command(epilog=STATUS_EXAMPLES)
@guarded
def status(directory: DirOption = DEFAULT_DIR, as_json: JsonOption = False) -> None:
    """Ask every node whether it answers."""
    devnet = _devnet(directory)
    _show(devnet, devnet.status(), as_json=as_json)


@devnet_app.command(epilog=RESET_EXAMPLES)
@guarded
def reset(directory: DirOption = DEFAULT_DIR, as_json: JsonOption = False) -> None:
    """Stop the nodes and remove their chains, keys and configuration."""
    gone = _devnet(directory).reset()
    if as_json:
        print_json({"dir": str(directory), "removed": gone})


def _devnet(directory: Path) -> Devnet:
    from mrv_devnet.devnet import Devnet

    return Devnet(directory, say=note)


def _show(devnet: Devnet, states: Sequence[Status], *, as_json: bool) -> None:
    from dataclasses import asdict

    from mrv_cli.exit_codes import ExitCode

    if as_json:
        nodes: dict[str, Any] = {state.network: asdict(state) for state in states}
        print_json({"dir": str(devnet.layout.folder), "config": str(devnet.config), "nodes": nodes})
    else:
        _print(states)
    if not all(state.ready for state in states):
        raise typer.Exit(ExitCode.COULD_NOT_CHECK)


def _print(states: Sequence[Status]) -> None:
    from rich.box import ROUNDED
    from rich.table import Table

    from mrv_core.report.terminal import line

    table = Table(box=ROUNDED, border_style="dim", header_style="bold")
    for column in ("network", "program", "runs", "answers", "process", "address", "what"):
        table.add_column(column, overflow="fold")
    for state in states:
        words = ["yes" if value else "no" for value in (state.running, state.ready)]
        place = [str(state.pid or ""), state.url or "", state.detail]
        table.add_row(line(state.network), line(state.program), *words, *map(line, place))
    console().print(table)
