# SPDX-License-Identifier: MIT
"""Verify an MRV record: is what its id is anchored with this very file?

python scripts/verify_mrv.py MRV-fc25ba52-f439-4834-be2b-2dbae1e03437 MRV-fc25ba52-f439-4834-be2b-2dbae1e03437.json

Exit status: 0 valid, 1 tampered, 2 usage, 3 pending, 4 could not check, 5 not found; the same as of `mrv verify`,
which says more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mrv_cli.exit_codes import OF_VERDICT, exit_code_of
from mrv_cli.options import existing, read_config
from mrv_core.errors import MrvError
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.mrv.verification import RecordReport, verify_record
from mrv_core.report.text import SYMBOLS, visible

MEANINGS: Final = {
    Verdict.VALID: "Hashes match!",
    Verdict.TAMPERED: "Hash mismatch (data modified)",
    Verdict.DISAGREE: "The record or its networks contradict each other",
    Verdict.NOT_FOUND: "MRV ID not registered",
    Verdict.PENDING: "Anchored, and not final yet",
    Verdict.UNREACHABLE: "Could not be checked",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mrv_id", metavar="MRV_ID", help="id under which the record should be anchored")
    parser.add_argument("record", metavar="JSON_FILE", type=Path, help="the record's file")
    parser.add_argument("--config", type=Path, help="the verifier's configuration; by default as of 'mrv verify'")
    options = parser.parse_args(arguments)
    try:
        existing(options.record, "record", "check the path")
        with BlockchainManager(read_config(options.config), base_dir=options.record.absolute().parent) as manager:
            report = verify_record(options.record, manager=manager, mrv_id=options.mrv_id)
    except MrvError as error:
        print(f"error: {visible(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"hint: {visible(error.hint)}", file=sys.stderr)
        return exit_code_of(error)
    _print(report)
    return OF_VERDICT[report.verdict]


def _print(report: RecordReport) -> None:
    print(f"{SYMBOLS[report.verdict]} {report.status} - {MEANINGS[report.verdict]}")
    if report.verdict is not Verdict.VALID:
        print(visible(report.summary))
    if report.schema_version is not None:
        print(f"CO2: {_quantity(report.co2_kg, 'kg')}")
        print(f"Energy: {_quantity(report.energy_kwh, 'kWh')}")
    for check in report.networks:
        if "submitter" in check.facts:
            print(visible(f"Submitter: {_submitter(check.facts)}, on {check.network}"))
    times = [check.block_time for check in report.networks if check.block_time is not None]
    print(f"Timestamp: {f'{min(times):%Y-%m-%d %H:%M:%S} UTC' if times else 'none that a network attests'}")


def _submitter(facts: Mapping[str, Any]) -> str:
    """Name who anchored the record, and whether the registry has the id of somebody else, too."""
    first, others = facts.get("first_submitter"), facts.get("submitters", 1) - 1
    if first is None or not others:
        return str(facts["submitter"])
    place = "the first" if first == facts["submitter"] else f"first was {first}"
    return f"{facts['submitter']} ({place}; {others} more registered this id)"


def _quantity(value: float | None, unit: str) -> str:
    return "not known" if value is None else f"{value:.9g} {unit}"


if __name__ == "__main__":
    sys.exit(main())
