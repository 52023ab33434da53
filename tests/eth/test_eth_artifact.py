# SPDX-License-Identifier: MIT
"""The committed contract is what the pinned compiler makes of the committed source, byte for byte."""

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


def test_storage_layout_is_the_documented_one() -> None:
    layout = {entry["label"]: entry["slot"] for entry in contract.artifact()["storageLayout"]}
    assert layout == {"_submissions": "0", "_records": "1", "_metadata": "2"}
    assert contract.artifact()["settings"]["evmVersion"] == "paris"
