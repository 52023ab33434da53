# SPDX-License-Identifier: MIT
"""What the Bitcoin and OpenTimestamps pages say is so: examples, settings, limits, and every explained error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mrv_backends_btc import ots_codec
from mrv_backends_btc.chains import CHAINS
from mrv_backends_btc.evidence import BitcoinEvidence
from mrv_backends_btc.ots_evidence import OtsEvidence
from mrv_backends_btc.ots_path import PLAIN_KINDS
from mrv_backends_btc.payload import CODES, output_script
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.hashing import Digest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "networks" / "bitcoin.md").read_text()
OTS_PAGE = (ROOT / "docs" / "opentimestamps.md").read_text()
SETTING = re.compile(r"^\| `(\w+)` \| (.*?) \| .* \|$", re.MULTILINE)
NODES_OWN_WORDS = "Block not available"


def rows_of(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading."""
    table = page[page.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_example_is_what_is_anchored() -> None:
    digest = re.search(r"`(sha256:[0-9a-f]{64})`", PAGE)
    shown = re.search(r"```text\n(6a .*)\n```", PAGE)
    assert digest is not None
    assert shown is not None
    assert bytes.fromhex(shown[1]) == output_script(Digest.parse(digest[1]))


def test_the_codes_of_the_algorithms() -> None:
    assert dict(re.findall(r"`([0-9a-f]{2})` ([a-z0-9-]+)", PAGE)) == {
        f"{code:02x}": name for name, code in CODES.items()
    }


def test_every_setting_with_its_default() -> None:
    documented = dict(SETTING.findall(PAGE[: PAGE.index("## Trying it: regtest")]))
    fields = {name: field for name, field in BitcoinSettings.model_fields.items() if name not in ("enabled", "driver")}
    assert documented.keys() == fields.keys()
    for name, field in fields.items():
        if isinstance(field.default, int | str):
            assert documented[name].strip('`"') == str(field.default), name
    for variable in BitcoinSettings.environment:
        assert variable in PAGE


def test_the_floors_of_every_chain() -> None:
    floors = {name: chain.min_work for name, chain in CHAINS.items()}
    assert floors == {"main": 70, "test": 32, "testnet4": 32, "signet": 22, "regtest": 0}
    assert "| `min_work` | 70 on main |" in PAGE
    assert "32 on both testnets, 22 on signet, 0 on regtest" in PAGE
    assert {chain.finality for name, chain in CHAINS.items() if name != "regtest"} == {6}


@pytest.mark.parametrize(("page", "model"), [(PAGE, BitcoinEvidence), (OTS_PAGE, OtsEvidence)])
def test_every_field_of_the_evidence(page: str, model: type) -> None:
    shown = page[page.index("## Evidence") :]
    documented = {name for row in rows_of(shown, "field") for name in re.findall(r"`(\w+)`", row[0])}
    assert documented == set(model.model_fields) - {"format"}  # type: ignore[attr-defined]


def test_the_limits_of_proofs() -> None:
    assert ots_codec.MAX_FILE_BYTES == 64 * 1024
    for text in ("64 KiB", f"{ots_codec.MAX_OPERATIONS} operations in a row", f"{ots_codec.MAX_ATTESTATIONS:,} attest"):
        assert text in OTS_PAGE
    assert f"{ots_codec.MAX_MESSAGE_BYTES:,} bytes" in OTS_PAGE
    assert all(f"`{kind}`" in OTS_PAGE for kind in PLAIN_KINDS)


@pytest.mark.parametrize("page", [PAGE, OTS_PAGE])
def test_every_explained_error_is_one_that_the_program_prints(page: str) -> None:
    folders = (ROOT / "mrv_backends_btc", ROOT / "mrv_core" / "transport")
    source = " ".join(path.read_text() for folder in folders for path in sorted(folder.glob("*.py")))
    source = re.sub(r'"\s+f?"', "", source)  # texts that are written over several lines
    explained = [text for row in rows_of(page, "message") for text in re.findall(r"`([^`]+)`", row[0])]
    assert len(explained) > 8
    for text in explained:
        if text.startswith(NODES_OWN_WORDS):
            continue
        for part in re.sub(r"\(HTTP \d+\)", "…", text).split("…"):
            assert part.strip() in re.sub(r"\{[^{}]*\}", "", source) or part.strip() in source, text
