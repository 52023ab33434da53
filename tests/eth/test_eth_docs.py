# SPDX-License-Identifier: MIT
"""What the Ethereum page says is so: settings, costs, formats, examples, and every explained message."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_eth import contract, registry_contract
from mrv_backends_eth.calldata_evidence import TAG, CalldataEvidence
from mrv_backends_eth.embedded import CHAIN_ID, CONTRACT
from mrv_backends_eth.evidence import EthereumEvidence
from mrv_backends_eth.fees import GWEI
from mrv_backends_eth.pending_evidence import PendingEvidence
from mrv_backends_eth.registry_evidence import RegistryEvidence
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_eth.state_evidence import StateEvidence
from mrv_core.config import load_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "networks" / "ethereum.md").read_text(encoding="utf-8")
SNAPSHOT = ROOT / "contracts" / "snapshots" / "MLProvenance.json"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :].split("\n## ")[1]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith("|---")
    ][1:]


def documents() -> list[dict[str, Any]]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def test_every_setting_with_its_default() -> None:
    documented: dict[str, str] = {}
    for names, default, _ in rows("Settings"):
        keys = re.findall(r"`(\w+)`", names)
        defaults = [each.strip().strip("`") for each in default.split(",")]
        documented.update(zip(keys, defaults * len(keys) if len(defaults) == 1 else defaults, strict=False))
    fields = {name: field for name, field in EthereumSettings.model_fields.items() if name not in ("enabled", "driver")}
    assert documented.keys() == fields.keys()
    for name, field in fields.items():
        assert json.loads(documented[name]) == field.default, name
    for variable in EthereumSettings.environment:
        assert f"`{variable}`" in PAGE


def test_every_configuration_on_the_page_is_one() -> None:
    shown = [document for document in documents() if "blockchain" in document]
    assert [load_config(each, environment={}).selected for each in shown] == [("ethereum",)] * 2


def test_every_format_on_the_page_has_its_fields() -> None:
    models = (StateEvidence, RegistryEvidence, CalldataEvidence, PendingEvidence, EthereumEvidence)
    known = {model.model_fields["format"].default: set(model.model_fields) for model in models}
    assert {document["format"]: set(document) for document in documents() if "format" in document} == known


def test_constants_on_the_page() -> None:
    assert f"chain id {CHAIN_ID}" in PAGE
    assert f"`0x{CONTRACT.hex()}`" in PAGE
    hashes = contract.CODE_HASHES | registry_contract.CODE_HASHES
    assert {f"0x{digest.hex()}" for digest in hashes} == set(re.findall(r"`(0x[0-9a-f]{64})`", PAGE))
    assert f"`{TAG.decode()}`" in PAGE
    assert f"`{TAG.hex()}`" in PAGE


def test_the_costs_are_those_that_were_measured() -> None:
    measured = {name: int(gas) for name, gas in json.loads(SNAPSHOT.read_text()).items()}
    expected = {
        "`contract`, first, no metadata": measured["storeHash: first, label of 0 B"],
        "`contract`, first, metadata of 64 bytes": measured["storeHash: first, label of 64 B"],
        "`contract`, first, metadata of 256 bytes": measured["storeHash: first, label of 256 B"],
        "`contract`, the same commitment again": measured["storeHash: repeat, label of 64 B"],
    }
    for name, gas, cheap, dear in rows("What it costs")[:-1]:
        units = int(gas.replace(",", ""))
        if name in expected:
            assert abs(units - expected.pop(name)) < units // 100, name
        for price, cost in ((1, cheap), (20, dear)):
            assert float(cost.removesuffix(" ETH")) == pytest.approx(units * price * GWEI / 10**18, rel=0.02), name
    assert not expected


def test_every_message_on_the_page_is_one_of_the_program() -> None:
    sources = [*ROOT.glob("mrv_backends_eth/*.py"), *ROOT.glob("mrv_core/**/*.py")]
    # Messages stand in pieces in the source: what joins the pieces is taken out.
    source = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text(encoding="utf-8") for path in sources))
    messages = [message for cells in rows("Messages") for message in re.findall(r"`([^`]+)`", cells[0])]
    assert len(messages) == 29
    for message in messages:
        if message == "database is locked":
            continue  # SQLite's own
        for part in filter(None, (part.strip(" ;,(") for part in message.split("…"))):
            if part not in ("ETH", "wei)", "by", "gas"):
                assert part in source, f"{message!r}: nothing says {part!r}"
