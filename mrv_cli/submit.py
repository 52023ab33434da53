# SPDX-License-Identifier: MIT
"""`mrv submit`: records and bundles to a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrv_cli.options import existing
from mrv_cli.output import console, guarded

SUBMIT_EXAMPLES = """\b
Examples:
  mrv submit mrv_data/MRV-1f0c.json --registry https://mrv.lab.example
  mrv submit results.mrv.json --registry http://127.0.0.1:8000

\b
A record is submitted with its samples and receipts, where they lie beside it. Again after 'mrv flush' it brings the
receipts up to date. The token is read from MRV_REGISTRY_TOKEN.
Exit status: 0 all are there, 2 usage or refused, 4 the registry could not be asked.
"""

FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="Records and bundles.", show_default=False, readable=False)
]
RegistryOption = Annotated[
    str, typer.Option("--registry", metavar="URL", help="Where the registry is.", envvar="MRV_REGISTRY_URL")
]


@guarded
def submit(files: FilesArgument, registry: RegistryOption) -> None:
    """Submit records and bundles to a registry."""
    from mrv_cli.records import is_record
    from mrv_core.mrv.registry_client import RegistryClient
    from mrv_core.report.terminal import line

    paths = [existing(path, "record or bundle") for path in files]
    with RegistryClient(registry) as client:
        for path in paths:
            (client.submit_record if is_record(path) else client.submit_bundle)(path)
            console().print(line(f"submitted {path}"), soft_wrap=True)
