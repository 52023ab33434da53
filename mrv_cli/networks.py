# SPDX-License-Identifier: MIT
"""`mrv networks`: what is configured, whether it can be used now, and which drivers are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mrv_cli.options import DEFAULT_BASE_DIR, BaseDirOption, ConfigOption, JsonOption, read_config
from mrv_cli.output import console, guarded, print_json
from mrv_core.errors import MrvError

if TYPE_CHECKING:
    from rich.console import Console

NETWORKS_EXAMPLES = """\b
Examples:
  mrv networks
  mrv networks --config configs/blockchain_config.json --json

\b
Exit status: 0 every selected network can be used, 4 one of them cannot.
"""


@guarded
def networks(
    config: ConfigOption = None, base_dir: BaseDirOption = DEFAULT_BASE_DIR, as_json: JsonOption = False
) -> None:
    """Ask every configured network whether it can be used now, and list the installed drivers."""
    from mrv_cli.exit_codes import ExitCode
    from mrv_core.manager import BlockchainManager
    from mrv_core.registry import Registry

    settings, registry = read_config(config), Registry.load()
    with BlockchainManager(settings, base_dir=base_dir, registry=registry) as manager:
        answers = manager.status()
    found = {name: _network(settings.networks[name].driver, answer) for name, answer in answers.items()}
    for name in settings.selected:
        found[name]["selected"] = True
    value = {
        "config": settings.source,
        "networks": found,
        "drivers": {name: registry.factory(name).summary for name in registry.names()},
        "disabled": registry.disabled(),
    }
    if as_json:
        print_json(value)
    else:
        _print(value, console())
    usable = all(found[name]["ready"] for name in settings.selected)
    raise typer.Exit(ExitCode.VALID if usable else ExitCode.COULD_NOT_CHECK)


def _network(driver: str, answer: Any) -> dict[str, Any]:
    if isinstance(answer, MrvError):
        hint = f" ({answer.hint})" if answer.hint else ""
        known = {"network_id": None, "embedded": None, "ready": False, "detail": f"{answer.message}{hint}"}
    else:
        known = answer.model_dump(include={"network_id", "embedded", "ready", "detail"})
    return {"driver": driver, "selected": False, **known}


def _print(value: dict[str, Any], out: Console) -> None:
    from rich.box import ROUNDED
    from rich.table import Table

    from mrv_core.report.terminal import line
    from mrv_core.report.text import EMBEDDED_LABEL

    table = Table(box=ROUNDED, border_style="dim", header_style="bold")
    for column in ("network", "driver", "used", "ready", "what"):
        table.add_column(column, overflow="fold")
    for name, item in value["networks"].items():
        label = f"{EMBEDDED_LABEL}: " if item["embedded"] else ""
        words = ["yes" if item[key] else "no" for key in ("selected", "ready")]
        table.add_row(line(name), line(item["driver"]), *words, line(f"{label}{item['detail']}"))
    out.print(line(f"configuration: {value['config']}"))
    out.print(table)
    out.print(line("drivers", style="bold"))
    for name, summary in value["drivers"].items():
        out.print(line(f"  {name}: {summary}"))
    for name, reason in value["disabled"].items():
        out.print(line(f"  {name}: disabled, {reason}"))
