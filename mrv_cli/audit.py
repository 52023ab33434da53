# SPDX-License-Identifier: MIT
"""`mrv audit`: whether a registry's log only grows, and whether it gives out the records that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrv_cli.options import JsonOption, existing
from mrv_cli.output import console, guarded, print_json
from mrv_cli.submit import RegistryOption

AUDIT_EXAMPLES = """\b
Examples:
  mrv audit --registry https://mrv.lab.example
  mrv audit --registry https://mrv.lab.example --head lab.head.json mrv_data/MRV-1f0c.json

\b
The first time it keeps the head of the registry's log; from then on the registry must prove that every entry is
still in it. Only the records that are named are asked for. Run it from a scheduler, and compare the file with
somebody else's. A private registry wants a token in MRV_REGISTRY_TOKEN.
Exit status: 0 valid; 1 the registry lost or changed something; 2 usage; 4 it could not be asked; 5 a record is missing.
"""

RecordsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RECORD", help="Records that must be there.", show_default=False, readable=False),
]
HeadOption = Annotated[
    Path,
    typer.Option("--head", metavar="FILE", help="Where the head is kept from one time to the next.", readable=False),
]


@guarded
def audit(
    registry: RegistryOption,
    records: RecordsArgument = None,
    head: HeadOption = Path("registry-head.json"),
    as_json: JsonOption = False,
) -> None:
    """Check that a registry's log still has every entry that it showed before, and that it gives out these records."""
    from mrv_cli.exit_codes import OF_VERDICT
    from mrv_core.mrv import registry_audit
    from mrv_core.mrv.registry_client import RegistryClient
    from mrv_core.report.terminal import line

    paths = [existing(path, "record") for path in records or []]
    with RegistryClient(registry) as client:
        report = registry_audit.audit(client, head, paths)
    if as_json:
        print_json(report.to_json())
    else:
        for step in report.steps:
            console().print(line(f"{step.verdict:<12} {step.subject}: {step.detail}"), soft_wrap=True)
        if report.head is not None:
            console().print(line(f"head         {report.head.size} {report.head.root}"), soft_wrap=True)
    raise typer.Exit(OF_VERDICT[report.verdict])
