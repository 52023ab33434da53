# SPDX-License-Identifier: MIT
"""What the IPFS page shows is real: its examples, its settings, and the errors that it explains."""

from __future__ import annotations

import re
from pathlib import Path

from mrv_backends_ipfs.cbor import decode
from mrv_backends_ipfs.cid import DAG_CBOR, Cid
from mrv_backends_ipfs.evidence import parse_statement
from mrv_backends_ipfs.settings import IpfsSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "networks" / "ipfs.md").read_text()


def test_the_documented_block_has_the_documented_cid() -> None:
    statement, reference, *_ = re.findall(r"```(?:json|text)\n(.*?)\n```", PAGE, re.DOTALL)
    block = statement.encode()
    assert parse_statement(block).metadata["phase"] == "before_training"
    assert str(Cid.of(block)) == reference


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE, re.MULTILINE))
    assert documented == set(IpfsSettings.model_fields) - {"enabled", "driver"}


def test_the_documented_node_has_the_documented_cid() -> None:
    shown, cid = re.findall(r"^    (a2 [0-9a-f ]+?)  .*\n    (bafy\w+)$", PAGE, re.MULTILINE)[0]
    block = bytes.fromhex(shown)
    assert decode(block) == {"kind": "absent", "label": "test"}
    assert str(Cid.of(block, DAG_CBOR)) == cid


def test_every_explained_error_is_one_that_the_program_prints() -> None:
    folders = (ROOT / "mrv_backends_ipfs", ROOT / "mrv_core" / "transport")
    sources = " ".join(path.read_text() for folder in folders for path in sorted(folder.glob("*.py")))
    explained = re.findall(r"^\| (.+?) \|", PAGE[PAGE.index("## Errors") :], re.MULTILINE)[1:]
    assert len(explained) > 10
    for text in explained:
        longest = max(re.sub(r"\(HTTP \d+\),?", "…", text).split("…"), key=len)
        if longest.startswith("request timed out"):  # the daemons' own words
            continue
        assert " ".join(longest.split()[:3]) in sources, text
