# SPDX-License-Identifier: MIT
"""The committed contracts are what the pinned compiler makes of the committed sources, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mrv_backends_eth import contract

PROJECT = Path(__file__).parents[2]
COMPILED = PROJECT / "mrv_backends_eth" / "compiled"


@pytest.fixture
def node() -> str:
    node = shutil.which("node")
    if node and (PROJECT / "tests" / "node" / "node_modules" / "solc").is_dir():
        return node
    if os.environ.get("CI") == "true":
        pytest.fail("the Solidity compiler is missing; run: make node-programs")
    pytest.skip("needs the Solidity compiler; run: make node-programs")


@pytest.mark.node
def test_recompiling_gives_the_committed_bytes(node: str) -> None:
    command = [node, str(PROJECT / "contracts" / "compile.mjs"), "--print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    files = {name: text.encode() for name, text in json.loads(printed.stdout).items()}
    assert files == {path.name: path.read_bytes() for path in COMPILED.iterdir()}


def test_source_and_artifact_name_one_compiler() -> None:
    version = contract.artifact()["compiler"].partition("+")[0]
    lock = json.loads((PROJECT / "tests" / "node" / "package-lock.json").read_text())
    assert lock["packages"]["node_modules/solc"]["version"] == version
    for source in (PROJECT / "contracts").glob("*.sol"):
        assert f"pragma solidity {version};" in source.read_text()


def test_lock_file_names_no_registry() -> None:
    lock = json.loads((PROJECT / "tests" / "node" / "package-lock.json").read_text())
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    assert not [path for path, entry in packages.items() if "resolved" in entry]
    assert not [path for path, entry in packages.items() if "integrity" not in entry]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MLProvenance", {"_submissions": "0", "_records": "1", "_metadata": "2"}),
        ("MRVRegistry", {"_records": "0", "_ids": "1", "_alternates": "2"}),
        ("BatchVerifier", {}),
    ],
)
def test_storage_layout_is_the_documented_one(name: str, expected: dict[str, str]) -> None:
    artifact = json.loads((COMPILED / f"{name}.json").read_text())
    assert {entry["label"]: entry["slot"] for entry in artifact["storageLayout"]} == expected
    assert artifact["settings"]["evmVersion"] == "paris"


def test_code_that_receipts_name_is_never_changed() -> None:
    """Every Ethereum receipt proves the code hash of its contract, so another one would make them all invalid."""
    assert contract.code_hash().hex() == "82c6c9febae5c1b123ef32d90ed9c0edad676b6a5d20db218abf9ed3dcf556eb"


def test_every_contract_is_compiled() -> None:
    sources = {path.stem for path in (PROJECT / "contracts").glob("*.sol")}
    interfaces = {name for name in sources if name[0] == "I" and name[1:] in sources}
    libraries = {"RFC9162"}  # becomes part of the contracts that use it
    assert {path.stem for path in COMPILED.iterdir()} == sources - interfaces - libraries
