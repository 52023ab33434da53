# SPDX-License-Identifier: MIT
"""The example on the IPFS page is a real one."""

from __future__ import annotations

import re
from pathlib import Path

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.evidence import parse_statement
from mrv_backends_ipfs.settings import IpfsSettings

PAGE = (Path(__file__).parents[2] / "docs" / "networks" / "ipfs.md").read_text()


def test_the_documented_block_has_the_documented_cid() -> None:
    statement, reference, *_ = re.findall(r"```(?:json|text)\n(.*?)\n```", PAGE, re.DOTALL)
    block = statement.encode()
    assert parse_statement(block).metadata["phase"] == "before_training"
    assert str(Cid.of(block)) == reference


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE, re.MULTILINE))
    assert documented == set(IpfsSettings.model_fields) - {"enabled", "driver"}
