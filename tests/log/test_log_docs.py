# SPDX-License-Identifier: MIT
"""The example on the log's page is a real one."""

from __future__ import annotations

import re
from pathlib import Path

from mrv_backends_log.evidence import check_evidence, parse_entry
from mrv_backends_log.note import VerifierKey
from mrv_backends_log.settings import LogSettings

PAGE = (Path(__file__).parents[2] / "docs" / "networks" / "log.md").read_text()


def test_the_documented_proof_holds() -> None:
    entry, proof, names, *_ = re.findall(r"```(?:json|text)\n(.*?)\n```", PAGE, re.DOTALL)
    key, reference = names.split("\n")
    evidence = {"format": "mrv-log-evidence/1", "entry": entry, "proof": f"{proof}\n"}
    checked = check_evidence(evidence, reference, parse_entry(entry.encode()).commitment, VerifierKey.parse(key))
    assert (checked.proof.index, checked.checkpoint.size) == (2, 3)


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE, re.MULTILINE))
    assert documented == set(LogSettings.model_fields) - {"enabled", "driver"}
