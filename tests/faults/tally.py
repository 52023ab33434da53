# SPDX-License-Identifier: MIT
"""What the fault tests counted, and the table of it at the end of `make faults`.

    python tests/faults/tally.py FILE

prints the table of a file with one JSON object a line, and ends with 1 where anything was lost, was doubled, did not
fire or was found wrong by `mrv fsck`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

COLUMNS = ("fired", "planned", "lost", "duplicated", "fsck_errors")


def count(what: str, network: str, *, fired: int, planned: int, lost: int, duplicated: int, fsck_errors: int) -> None:
    """Write down one run, where `MRV_FAULTS_TALLY` names a file, and check it."""
    numbers = {"fired": fired, "planned": planned, "lost": lost, "duplicated": duplicated, "fsck_errors": fsck_errors}
    if file := os.environ.get("MRV_FAULTS_TALLY"):
        with open(file, "a") as lines:
            lines.write(json.dumps({"what": what, "network": network, **numbers}) + "\n")
    assert fired == planned, f"{what} on {network}: {fired} of {planned} faults fired"
    assert (lost, duplicated, fsck_errors) == (0, 0, 0), f"{what} on {network}: {numbers}"


def table(lines: list[str]) -> tuple[str, bool]:
    """Return the table, and whether everything in it is right."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in lines:
        run = json.loads(line)
        rows[run["what"], run["network"]].update({"runs": 1, **{name: run[name] for name in COLUMNS}})
    rows["everything", "all"] = sum(list(rows.values()), Counter())
    head = f"{'fault':44} {'network':10} {'runs':>6} {'fired':>7} {'planned':>7} {'lost':>5} {'doubled':>7} {'fsck':>5}"
    shown = [head, "-" * len(head)]
    for (what, network), numbers in rows.items():
        cells = [f"{numbers['runs']:6} {numbers['fired']:7} {numbers['planned']:7}"]
        cells.append(f"{numbers['lost']:5} {numbers['duplicated']:7} {numbers['fsck_errors']:5}")
        shown.append(f"{what:44} {network:10} {' '.join(cells)}")
    total = rows["everything", "all"]
    wrong = total["lost"] + total["duplicated"] + total["fsck_errors"] + abs(total["planned"] - total["fired"])
    return "\n".join(shown), wrong == 0 and total["runs"] > 0


if __name__ == "__main__":
    text, right = table(Path(sys.argv[1]).read_text().splitlines())
    print(text)
    sys.exit(not right)
