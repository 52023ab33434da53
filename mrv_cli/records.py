# SPDX-License-Identifier: MIT
"""`mrv verify` for an MRV record: one call of the core, and the report on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.bundles import network_lines, print_sections, step_lines
from mrv_cli.options import existing, read_config
from mrv_cli.output import note, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from mrv_core.mrv.record import MrvRecord
    from mrv_core.mrv.verification import RecordReport
    from mrv_core.report.model import Finding

SamplesOption = Annotated[
    bool,
    typer.Option("--samples", help="Record: compute its numbers again from the samples, or ranks' records, beside it."),
]
SamplesFileOption = Annotated[
    Path | None,
    typer.Option(
        "--samples-file",
        metavar="PATH",
        help="Record: compute its numbers again from the samples in this file.",
        show_default=False,
        readable=False,
    ),
]

_LOOKED_AT = 65_536
"""Bytes of each end of a file: in the canonical form of a record, the key is near its end."""


def is_record(path: Path) -> bool:
    """Tell an MRV record from a bundle: by its keys; where it is damaged, by receipts beside it or what it names."""
    from mrv_core.canonical import parse_json
    from mrv_core.errors import MrvError
    from mrv_core.mrv.record import schema_version_of
    from mrv_core.mrv.storage import read_record_file, receipts_path

    if receipts_path(path).exists():
        return True
    try:
        schema_version_of(parse_json(read_record_file(path), what=str(path)), what=str(path))
    except MrvError:
        return _names_a_record(path)
    return True


def _names_a_record(path: Path) -> bool:
    """Tell whether a file that cannot be parsed has a record's key, and no bundle's name, at one of its ends."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            ends = file.read(_LOOKED_AT)
            file.seek(max(0, path.stat().st_size - _LOOKED_AT))
            ends += file.read(_LOOKED_AT)
    except OSError:
        return False
    return b'"schema_version"' in ends and b'"mrv-bundle/' not in ends


def verify_record_file(
    path: Path, *, samples: bool, samples_file: Path | None, offline: bool, config: Path | None
) -> RecordReport:
    """Verify a record with the values of the command line.

    Raises:
        ConfigurationError: samples that are not there.
        FormatError: it is no record.
        StorageError: something cannot be read.
    """
    from mrv_core.manager import BlockchainManager
    from mrv_core.mrv.verification import verify_record
    from mrv_core.registry import Registry

    registry = Registry.load()
    place = samples_file or (_samples_of(path) if samples else None)
    if place is not None and (samples_file is not None or _readable(path) is not None):
        existing(place, "file of samples", "give its path with --samples-file")
    with BlockchainManager(read_config(config), base_dir=path.absolute().parent, registry=registry) as manager:
        return verify_record(path, manager=manager, registry=registry, samples=place, offline=offline)


def _samples_of(path: Path) -> Path:
    """Return the file of a record's samples, or of a job's record the folder of its ranks'."""
    from mrv_core.mrv.storage import samples_path

    record = _readable(path)
    return samples_path(path) if record is None or record.ranks is None else path.absolute().parent


def _readable(path: Path) -> MrvRecord | None:
    """Return a record of schema 1.0; verifying it says what is wrong with any other."""
    from mrv_core.errors import FormatError
    from mrv_core.mrv.record import parse_record
    from mrv_core.mrv.storage import read_record_file

    try:
        return parse_record(read_record_file(path), what=str(path))
    except FormatError:
        return None


def report_record(path: Path, html: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Verify a record with its samples where they are there, write its page, and show the report."""
    from mrv_core.errors import FormatError
    from mrv_core.files import make_folder, write_atomic
    from mrv_core.mrv.page import render_record_html, same_experiment
    from mrv_core.mrv.rank_files import has_rank_files, rank_samples
    from mrv_core.mrv.samples import read_samples

    place, record, file = _samples_of(path), _readable(path), None
    job = None if record is None else record.ranks
    has_samples = place.is_file() if job is None else has_rank_files(job, place)
    report = verify_record_file(path, samples=has_samples, samples_file=None, offline=False, config=config)
    with suppress(FormatError):  # the report says so
        file = read_samples(place) if place.is_file() and record is not None else None
    ranks = [] if job is None else list(rank_samples(job, place))
    others = [] if record is None else same_experiment(record, path.absolute().parent)
    target = html or path.with_suffix(".html")
    make_folder(target.absolute().parent)
    write_atomic(target, render_record_html(report, record, file, others, ranks).encode())
    note(f"wrote {target}")
    show_record_report(report, as_json=as_json)


def show_record_report(report: RecordReport, *, as_json: bool) -> None:
    """Print the report and end with the exit status of its verdict."""
    from mrv_cli.exit_codes import OF_VERDICT

    if as_json:
        print_json(report.to_json())
    else:
        sections = {
            "What is wrong": map(_finding, report.findings),
            "What the record says": _facts(report),
            "Steps": step_lines(report.steps),
            "Networks": chain.from_iterable(map(network_lines, report.networks)),
        }
        print_sections(report.verdict, report.summary, sections)
    raise typer.Exit(OF_VERDICT[report.verdict])


def _finding(finding: Finding) -> Text:
    from mrv_core.report.terminal import line

    numbers = f": expected {finding.expected}, found {finding.computed}" if finding.expected is not None else ""
    return line(f"{finding.place}: {finding.message}{numbers}")


def _facts(report: RecordReport) -> Iterator[Text]:
    from mrv_core.report.terminal import line

    unknown = "not known"
    yield line(f"id          {report.mrv_id}")
    yield line(f"hash        {report.hash}")
    if report.schema_version is None:
        return
    if report.job is not None:
        yield line(f"part of     {report.job}")
    yield line(f"experiment  {report.experiment_name}")
    yield line(f"energy      {unknown if report.energy_kwh is None else f'{report.energy_kwh:.9g} kWh'}")
    yield line(f"CO2         {unknown if report.co2_kg is None else f'{report.co2_kg:.9g} kg'}")
    yield line(f"ended       {report.end_time:%Y-%m-%d %H:%M:%S} UTC, by the clock of the machine that trained")
    if report.concurrent:
        yield line(f"too         this machine was counted in the same time by {', '.join(report.concurrent)}")
