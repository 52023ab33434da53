# SPDX-License-Identifier: MIT
"""`mrv verify` and `mrv report`: one check of a run, a bundle or a record, on the terminal, as JSON, or as a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.bundles import (
    BlockOption,
    ContentOption,
    LogKeyOption,
    MinWorkOption,
    OfflineOption,
    RootOption,
    read_known,
    show_bundle_report,
    verify_bundle_file,
)
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
from mrv_cli.records import (
    SamplesFileOption,
    SamplesOption,
    is_record,
    report_record,
    show_record_report,
    verify_record_file,
)
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_core.report.model import IntegrityReport

_DATA = re.compile(r"(?:data/)?(training|test)=(.+)", re.DOTALL)

SubjectArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_FILE",
        help="Folder of a run, a file of 'mrv export --bundle', or an MRV record.",
        show_default=False,
        readable=False,
    ),
]
ReportedArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_RECORD", help="Folder of a run, or an MRV record.", show_default=False, readable=False
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="File or folder to recompute; NAME is training (the default) or test. May be repeated.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option("--model", metavar="PATH", help="Model file to recompute.", show_default=False, readable=False),
]
LeafOption = Annotated[
    list[str] | None,
    typer.Option(
        "--leaf", metavar="PATH", help="Path name of a node to prove inclusion of; may be repeated.", show_default=False
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="OUT", help="Write the report as one HTML page.", show_default=False, readable=False
    ),
]

VERIFY_EXAMPLES = """\b
Examples:
  mrv verify artifacts/run-1
  mrv verify artifacts/run-1 --data digits.npz --data test=held-out.npz
  mrv verify artifacts/run-1 --leaf training/epochs/7/metrics
  mrv verify artifacts/run-1 --network ethereum --json
  mrv verify results.mrv.json
  mrv verify results.mrv.json --offline --block 0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3
  mrv verify mrv_data/MRV-1f0c.json --samples

\b
Exit status: 0 valid, 1 tampered or disagree, 2 usage, 3 pending, 4 could not check, 5 not found.
"""
REPORT_EXAMPLES = """\b
Examples:
  mrv report artifacts/run-1
  mrv report artifacts/run-1 --html report.html
  mrv report mrv_data/MRV-1f0c.json --html record.html
"""


@guarded
def verify(
    subject: SubjectArgument,
    data: DataOption = None,
    model: ModelOption = None,
    leaf: LeafOption = None,
    offline: OfflineOption = False,
    block: BlockOption = None,
    log_key: LogKeyOption = None,
    min_work: MinWorkOption = None,
    root: RootOption = None,
    content: ContentOption = None,
    samples: SamplesOption = False,
    samples_file: SamplesFileOption = None,
    config: ConfigOption = None,
    network: NetworkOption = None,
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a run: its files, its content where you give it, its roots, and every network that holds them.

    Or check a bundle: each step from the leaf to the networks' evidence, then the networks that your configuration has.

    Or check an MRV record: its hash, its numbers, its samples where you ask for it, and the networks that hold it.
    """
    existing(subject, "run folder, bundle or record", "list runs with 'mrv status'")
    known = read_known(block or (), log_key or (), min_work)
    elsewhere = None if base_dir == DEFAULT_BASE_DIR else base_dir  # of a run or record it is the folder that holds it
    of_run: dict[str, object] = {"--data": data, "--model": model, "--leaf": leaf, "--html": html}
    of_bundle: dict[str, object] = {"--block": block, "--log-key": log_key, "--min-work": min_work}
    of_bundle |= {"--root": root, "--content": content, "--base-dir": elsewhere}
    of_record: dict[str, object] = {"--samples": samples, "--samples-file": samples_file}
    if subject.is_dir():
        _refuse(of_bundle | {"--offline": offline}, "a bundle", "leave it out for a run folder")
        _refuse(of_record, "a record", "leave it out for a run folder")
        _verify_run(subject, data, model, leaf, config, network, html, as_json=as_json)
    elif is_record(subject):
        _refuse(of_run | {"--network": network}, "a run folder", "leave it out for a record")
        _refuse(of_bundle, "a bundle", "leave it out for a record")
        found = verify_record_file(subject, samples=samples, samples_file=samples_file, offline=offline, config=config)
        show_record_report(found, as_json=as_json)
    else:
        _refuse(of_run, "a run folder", "compare what a bundle proves with --content PATH")
        _refuse(of_record, "a record", "leave it out for a bundle")
        report = verify_bundle_file(
            subject,
            known=known,
            root=root,
            content=content,
            networks=network,
            offline=offline,
            config=config,
            base_dir=base_dir,
        )
        show_bundle_report(report, as_json=as_json)


def _refuse(options: Mapping[str, object], what: str, hint: str) -> None:
    """Refuse options that belong to the other kind of argument, instead of silently not doing what they ask for."""
    for name, value in options.items():
        if value not in (None, False, [], ()):
            raise ConfigurationError(f"{name} is for {what}", hint=hint)


def _verify_run(
    run: Path,
    data: list[str] | None,
    model: Path | None,
    leaf: list[str] | None,
    config: Path | None,
    network: list[str] | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    from mrv_core.verification import verify_run

    report = verify_run(
        existing_run(run),
        config=read_config(config),
        data=_parse_data(data or ()),
        model=existing(model, "model file") if model is not None else None,
        leaves=leaf or (),
        networks=network or None,
    )
    if html is not None:
        _write_html(report, html)
    _show(report, as_json=as_json)


@guarded
def report(
    subject: ReportedArgument,
    html: HtmlOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a run, or an MRV record, and write the report as a page: OUT, or report.html in the run's folder.

    The page of a record is OUT, or beside the record.
    """
    from mrv_core.verification import verify_run

    if not subject.is_dir() and is_record(existing(subject, "run folder or record")):
        report_record(subject, html, config, as_json=as_json)
        return
    result = verify_run(existing_run(subject), config=read_config(config))
    _write_html(result, html or subject / "report.html")
    _show(result, as_json=as_json)


def _parse_data(values: Iterable[str]) -> dict[str, Path]:
    """Read `NAME=PATH` or `PATH`, which means the training data; a file may have `=` in its own name."""
    content: dict[str, Path] = {}
    for value in values:
        match = _DATA.fullmatch(value)
        name, path = (f"data/{match[1]}", match[2]) if match else ("data/training", value)
        if name in content:
            raise ConfigurationError(f"{name} is given twice", hint="use --data training=PATH and --data test=PATH")
        content[name] = existing(Path(path), "file or folder", "write --data PATH, or training=PATH, or test=PATH")
    return content


def _write_html(report: IntegrityReport, target: Path) -> None:
    from mrv_core.files import make_folder, write_atomic
    from mrv_core.report.html import render_html

    make_folder(target.parent)
    write_atomic(target, render_html(report).encode())
    note(f"wrote {target}")


def _show(report: IntegrityReport, *, as_json: bool) -> None:
    from mrv_cli.exit_codes import OF_VERDICT
    from mrv_core.report.terminal import render_terminal

    if as_json:
        print_json(report.to_json())
    else:
        render_terminal(report, console())
    raise typer.Exit(OF_VERDICT[report.verdict])
