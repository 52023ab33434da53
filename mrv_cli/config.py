# SPDX-License-Identifier: MIT
"""`mrv config`: check a configuration, and print the schema that editors use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import JsonOption, read_config
from mrv_cli.output import console, guarded, print_json

if TYPE_CHECKING:
    from mrv_core.config import Config

CHECK_EXAMPLES = """\b
Examples:
  mrv config check
  mrv config check configs/blockchain_config.json
"""
SCHEMA_EXAMPLES = """\b
Example:
  mrv config schema > config.schema.json
"""

PathArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="PATH", help="Configuration; by default the one in use.", show_default=False, readable=False
    ),
]


@guarded
def check(path: PathArgument = None, as_json: JsonOption = False) -> None:
    """Read a configuration strictly and show what it selects; nothing is sent anywhere."""
    config = read_config(path)
    if as_json:
        print_json(_summary(config))
    else:
        _print(config)


@guarded
def schema() -> None:
    """Print the JSON Schema of a configuration file, with every installed driver's settings."""
    from mrv_core.config import config_schema
    from mrv_core.registry import Registry

    print_json(config_schema(Registry.load()))


def _summary(config: Config) -> dict[str, object]:
    """Return what is selected; settings are left out, since an address may hold a credential."""
    return {
        "source": config.source,
        "enabled": config.enabled,
        "hash_algorithm": config.hash_algorithm,
        "networks": {
            name: {"driver": network.driver, "selected": network.selected} for name, network in config.networks.items()
        },
        "storage_options": config.storage_options.to_json(),
        "verification": config.policy.to_json(),
        "training": sorted(config.training),
    }


def _print(config: Config) -> None:
    from mrv_core.report.terminal import line

    out = console()
    chosen = [name for name, wanted in config.storage_options.to_json().items() if wanted]
    names = [
        name if name == config.networks[name].driver else f"{name} ({config.networks[name].driver})"
        for name in config.selected
    ]
    unused = [name for name in config.networks if name not in config.selected]
    for title, text in (
        ("configuration", f"{config.source} is valid"),
        ("networks", ", ".join(names) or "none: nothing will be anchored"),
        ("not used", ", ".join(unused)),
        ("anchored", ", ".join(chosen) or "never"),
        ("verification", f"{config.policy.require} of the selected networks, state {config.policy.state}"),
        ("content hash", config.hash_algorithm),
        ("training keys", ", ".join(sorted(config.training))),
    ):
        if text:
            out.print(line(f"{title:<14}", style="dim"), line(text))
