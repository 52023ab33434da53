# SPDX-License-Identifier: MIT
"""Verify a run that somebody else handed over.

python examples/verify_somebody_elses_run.py artifacts/run-1

The configuration is yours, never theirs: it says which networks count as evidence, and how many of them must agree.
"""

import sys
from pathlib import Path

from mrv_core import Verdict, load_config, verify_run

MY_CONFIG = {
    "blockchain": {
        "networks": ["ethereum", "ipfs", "log"],
        "verification": {"require": "all", "state": "FINAL"},
    }
}

report = verify_run(Path(sys.argv[1]), config=load_config(MY_CONFIG))

print(f"{report.verdict}: {report.summary}")
for finding in report.findings:
    print(f"  {finding.place}: {finding.message}")
for anchor in report.anchors:
    for result in anchor.networks:
        print(f"  {anchor.name} on {result.network}: {result.verdict}, {result.detail}")
        for sentence in result.trusts:
            print(f"    to be trusted: {sentence}")

sys.exit(0 if report.verdict is Verdict.VALID else 1)
