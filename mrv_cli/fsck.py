# SPDX-License-Identifier: MIT
"""`mrv fsck`: checks the journal against itself, the run folders and the networks, and rebuilds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import DEFAULT_BASE_DIR, BaseDirOption, ConfigOption, JsonOption, existing, read_config
from mrv_cli.output import console, guarded, note, print_json

if TYPE_CHECKING:
    from mrv_cli.exit_codes import ExitCode
    from mrv_core.fsck import FsckReport

FSCK_EXAMPLES = """\b
Examples:
  mrv fsck
  mrv fsck --rebuild
  mrv fsck --base-dir /data/artifacts --json

\b
Exit status: 0 all is right or was repaired, 1 something is wrong, 4 something could not be checked.
"""

RebuildOption = Annotated[
    bool,
    typer.Option("--rebuild", help="Put a new journal in the place of a damaged one, which is kept beside it."),
]


@guarded
def fsck(
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    config: ConfigOption = None,
    rebuild: RebuildOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check the journal row by row against run folders and networks; repair what needs nothing to be sent."""
    from mrv_cli.journal import collect_receipts
    from mrv_core.fsck import Finding, check_journal
    from mrv_core.manager import BlockchainManager

    settings = read_config(config)
    existing(base_dir, "artifacts folder", "name it with --base-dir")
    with BlockchainManager(settings, base_dir=base_dir) as manager:
        report = check_journal(manager, rebuilding=rebuild)
        repaired = {row.commitment for row in report.rows if row.finding is Finding.REPAIRED}
        rows = [row for commitment in repaired for row in manager.journal.rows(commitment=commitment)]
    collect_receipts(base_dir, settings, rows)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    raise typer.Exit(_exit_code(report))


def _exit_code(report: FsckReport) -> ExitCode:
    from mrv_cli.exit_codes import ExitCode
    from mrv_core.fsck import Finding

    if report.found(Finding.WRONG):
        return ExitCode.WRONG
    return ExitCode.COULD_NOT_CHECK if report.found(Finding.COULD_NOT_CHECK) else ExitCode.VALID


_STYLES = {"ok": "green", "repaired": "cyan", "wrong": "red", "could not check": "yellow"}


def _print(report: FsckReport) -> None:
    from rich.text import Text

    from mrv_core.fsck import Finding
    from mrv_core.report.terminal import line

    out = console()
    for row in report.rows:
        finding = Text(str(row.finding), style=_STYLES[row.finding])
        place = f"  {row.network}: {row.state or 'not in the journal'}  {row.commitment}"
        out.print(line(finding, place), soft_wrap=True)
        out.print(line(f"  {row.detail} {f'({row.reference})' if row.reference else ''}".rstrip()), soft_wrap=True)
    out.print(line(Text(str(report.file), style=_STYLES[report.file]), f"  {report.journal}"), soft_wrap=True)
    for problem in report.problems:
        out.print(line(f"  {problem}"), soft_wrap=True)
    if report.kept is not None:
        note(f"the damaged journal is kept as {report.kept}")
    elif report.file is Finding.WRONG:
        note("hint: stop what uses the folder, then 'mrv fsck --rebuild'")
