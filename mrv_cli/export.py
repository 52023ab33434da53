# SPDX-License-Identifier: MIT
"""`mrv export`: write what an anchored run shows into files that others check without the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import JsonOption, existing_run
from mrv_cli.output import guarded, note, print_json
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_core.bundle import Bundle

BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="RUN", help="Write one file with every receipt.", show_default=False, readable=False
    ),
]
LeafOption = Annotated[
    str | None,
    typer.Option(
        "--leaf",
        metavar="PATH",
        help="Path name of a node to prove, for instance training/results.",
        show_default=False,
    ),
]
AnchorOption = Annotated[
    str | None,
    typer.Option(
        "--anchor",
        metavar="NAME",
        help="Anchor to export, for instance 000-before_training; by default the newest that covers the leaf.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write here; by default <run id>.mrv.json in this folder.",
        show_default=False,
        readable=False,
    ),
]

EXPORT_EXAMPLES = """\b
Examples:
  mrv export --bundle artifacts/run-1
  mrv export --bundle artifacts/run-1 --leaf training/results -o results.mrv.json
  mrv export --bundle artifacts/run-1 --anchor 000-before_training

\b
Exit status: 0 written, 1 the run was changed, 2 usage, 4 something cannot be read or written.
"""


@guarded
def export(
    bundle: BundleOption = None,
    leaf: LeafOption = None,
    anchor: AnchorOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a file that shows an anchored root, or one leaf under it, to anyone without the run."""
    if bundle is None:
        raise ConfigurationError("nothing to export", hint="name a run with --bundle RUN")
    _export_bundle(existing_run(bundle), leaf, anchor, output, as_json=as_json)


def _export_bundle(run: Path, leaf: str | None, anchor: str | None, output: Path | None, *, as_json: bool) -> None:
    from mrv_core.bundle import export_bundle
    from mrv_core.files import write_atomic

    made = export_bundle(run, leaf=leaf, anchor=anchor)
    target = output or Path(f"{made.run_id}.mrv.json")
    write_atomic(target, made.to_bytes())
    _tell(made, target)
    if as_json:
        print_json(made.to_json())


def _tell(made: Bundle, target: Path) -> None:
    from mrv_core.models import ReceiptState

    note(f"wrote {target}; anyone checks it with: mrv verify {target}")
    waiting = sorted(name for name, receipt in made.receipts.items() if receipt.state is ReceiptState.PENDING)
    if waiting:
        note(f"not included yet: {', '.join(waiting)}; run 'mrv flush' and export again")
