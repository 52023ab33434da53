# SPDX-License-Identifier: MIT
"""`mrv export`: what an anchored run shows, in files that others check without it; a record, in formats of others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import ConfigOption, JsonOption, NetworkOption, existing, existing_run, read_config
from mrv_cli.output import guarded, note, print_json
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_core.bundle import Bundle

RecordsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="RECORD", help="An MRV record; several for csv.", show_default=False, readable=False),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Record: boamps, csv, cyclonedx, hf-model-card, latex or sci.",
        show_default=False,
    ),
]
EmbodiedOption = Annotated[
    float | None,
    typer.Option("--embodied-g", metavar="G", help="sci: the hardware's share, in g CO2e.", show_default=False),
]
UnitOption = Annotated[
    str | None,
    typer.Option("--functional-unit", metavar="NAME", help="sci: what the score is for each of.", show_default=False),
]
UnitsOption = Annotated[
    float | None, typer.Option("--units", metavar="N", help="sci: how many of them there were.", show_default=False)
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="RUN", help="Write one file with every receipt.", show_default=False, readable=False
    ),
]
OtsOption = Annotated[
    Path | None,
    typer.Option(
        "--ots",
        metavar="RUN",
        help="Write an OpenTimestamps proof of its Bitcoin anchor.",
        show_default=False,
        readable=False,
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
        help="Write here; by default <run id>.mrv.json, or FILE.ots beside FILE, in this folder; a record to stdout.",
        show_default=False,
        readable=False,
    ),
]

EXPORT_EXAMPLES = """\b
Examples:
  mrv export --bundle artifacts/run-1
  mrv export --bundle artifacts/run-1 --leaf training/results -o results.mrv.json
  mrv export --bundle artifacts/run-1 --anchor 000-before_training
  mrv export --ots artifacts/run-1
  mrv export --ots artifacts/run-1 --leaf data/training -o dataset.tar.ots
  mrv export mrv_data/MRV-1f0c.json --format cyclonedx -o model.cdx.json
  mrv export mrv_data/MRV-1f0c.json --format sci --functional-unit epoch --units 90 --embodied-g 120
  mrv export mrv_data/MRV-1f0c.json mrv_data/MRV-2a7e.json --format csv -o trainings.csv

\b
Exit status: 0 written, 1 the run was changed, 2 usage, 4 something cannot be read or written.
"""


@guarded
def export(
    records: RecordsArgument = None,
    form: FormatOption = None,
    embodied_g: EmbodiedOption = None,
    functional_unit: UnitOption = None,
    units: UnitsOption = None,
    bundle: BundleOption = None,
    ots: OtsOption = None,
    leaf: LeafOption = None,
    anchor: AnchorOption = None,
    output: OutputOption = None,
    network: NetworkOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a file that shows an anchored root, or one leaf under it, to anyone without the run.

    Or write an MRV record in a format of others.
    """
    of_run = {"--leaf": leaf, "--anchor": anchor, "--network": network, "--config": config, "--json": as_json or None}
    of_record = {
        "--format": form,
        "--embodied-g": embodied_g,
        "--functional-unit": functional_unit,
        "--units": units,
    }
    given = [each for each in (records, bundle, ots) if each]
    if len(given) != 1:
        raise ConfigurationError(
            "nothing to export, or too much",
            hint="name a run with --bundle RUN or --ots RUN, or a record: RECORD --format NAME",
        )
    if records:
        _refuse(of_run, "a run")
        paths = [existing(path, "record") for path in records]
        _export_records(paths, form, (embodied_g, functional_unit, units), output)
        return
    _refuse(of_record, "a record")
    if bundle is not None:
        if network or config is not None:
            raise ConfigurationError("--network and --config are for --ots", hint="a bundle has every receipt")
        _export_bundle(existing_run(bundle), leaf, anchor, output, as_json=as_json)
    elif ots is not None:
        _export_ots(existing_run(ots), leaf, anchor, output, network, config, as_json=as_json)


def _refuse(options: Mapping[str, object], what: str) -> None:
    for name, value in options.items():
        if value not in (None, []):
            raise ConfigurationError(f"{name} is for {what}", hint="leave it out")


def _export_records(
    paths: list[Path],
    form: str | None,
    declared: tuple[float | None, str | None, float | None],
    output: Path | None,
) -> None:
    from mrv_core.files import write_atomic
    from mrv_core.mrv.exports.formats import CSV, FORMATS, SCI, export_record, export_table
    from mrv_core.mrv.exports.sci import Declared
    from mrv_core.mrv.storage import read_record_file
    from mrv_core.mrv.verification import read_record

    if form is None or form not in FORMATS:
        said = "no format is named" if form is None else f"there is no format {form!r:.40}"
        raise ConfigurationError(said, hint=f"choose one with --format: {', '.join(FORMATS)}")
    if form != SCI and any(each is not None for each in declared):
        raise ConfigurationError("--embodied-g, --functional-unit and --units are for --format sci")
    if form != CSV and len(paths) > 1:
        raise ConfigurationError(f"--format {form} is of one record", hint="export each, or all of them with csv")
    if output is not None and os.path.realpath(output) in map(os.path.realpath, paths):
        raise ConfigurationError(f"{output} is the record itself", hint="name another file with -o")
    found = [read_record(read_record_file(path), what=str(path))[0] for path in paths]
    text = export_table(found) if form == CSV else export_record(found[0], form, Declared(*declared))
    if output is None:
        print(text, end="")
    else:
        write_atomic(output, text.encode())
        note(f"wrote {output}")


def _export_bundle(run: Path, leaf: str | None, anchor: str | None, output: Path | None, *, as_json: bool) -> None:
    from mrv_core.bundle import export_bundle
    from mrv_core.files import write_atomic

    made = export_bundle(run, leaf=leaf, anchor=anchor)
    target = output or Path(f"{made.run_id}.mrv.json")
    write_atomic(target, made.to_bytes())
    _tell(made, target)
    if as_json:
        print_json(made.to_json())


def _export_ots(
    run: Path,
    leaf: str | None,
    anchor: str | None,
    output: Path | None,
    networks: list[str] | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    from mrv_core.files import write_atomic
    from mrv_core.manager import BlockchainManager
    from mrv_core.timestamps import export_timestamp

    if output is not None and output.suffix != ".ots":
        raise ConfigurationError(f"{output} does not end in .ots", hint="name it as the file it is about, and .ots")
    if networks is not None and len(networks) > 1:
        raise ConfigurationError("--network is given twice", hint="a proof is of one anchor")
    with BlockchainManager(read_config(config), base_dir=run.parent) as manager:
        network = networks[0] if networks else None
        made = export_timestamp(run, manager, leaf=leaf, anchor=anchor, network=network)
    target = output or Path(f"{made.name}.ots")
    subject = target.with_suffix("")
    if made.file is not None:
        _write_subject(subject, made.file, made.about)
    write_atomic(target, made.ots)
    note(f"wrote {target}, about {made.about}; anyone checks it beside {subject} with: ots verify {target}")
    if as_json:
        print_json({"about": made.about, "proof": str(target), "file": str(subject) if made.file is not None else None})


def _write_subject(path: Path, content: bytes, about: str) -> None:
    """Write the file that a proof is about, and never over another file that merely has its name."""
    from mrv_core.files import read_limited, storage_error, write_atomic

    try:
        size = path.stat().st_size if path.exists() else None
    except OSError as error:
        raise storage_error("read", path, error) from error
    if size is not None and (size != len(content) or read_limited(path, size) != content):
        raise ConfigurationError(
            f"{path} is there already and is not what the proof is about, which is {about}",
            hint="choose another name with -o",
        )
    write_atomic(path, content)


def _tell(made: Bundle, target: Path) -> None:
    from mrv_core.models import ReceiptState

    note(f"wrote {target}; anyone checks it with: mrv verify {target}")
    waiting = sorted(name for name, receipt in made.receipts.items() if receipt.state is ReceiptState.PENDING)
    if waiting:
        note(f"not included yet: {', '.join(waiting)}; run 'mrv flush' and export again")
