# SPDX-License-Identifier: MIT
"""A real node between processes: two with one key, one that only reads, one that loads web3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mrv_core.hashing import HashFactory
from mrv_core.journal import Journal, JournalState
from mrv_core.models import NO_METADATA

COMMITMENT = HashFactory.digest(b"a run", "sha256")
ANCHORS = 50

WORKER = """
import sys
from mrv_core.hashing import HashFactory
from mrv_core.manager import BlockchainManager

config, base_dir, name, count = sys.argv[1:]
with BlockchainManager(config, base_dir=base_dir) as manager:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(int(count)):
        commitment = HashFactory.digest(f"{name} {number}".encode(), "sha256")
        error = manager.anchor(commitment, {"run": name})["ethereum"].error
        assert error is None, error
"""

READER = """
import json, sys
from pathlib import Path
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext
from mrv_core.models import Receipt

settings = EthereumSettings.model_validate_json(sys.argv[1])
driver = EthereumDriver(DriverContext("ethereum", settings, Path("unused")))
receipt = Receipt.from_bytes(sys.stdin.buffer.read(), what="receipt")
verified = driver.verify(receipt, receipt.commitment)
assert driver.upgrade(receipt) == receipt
assert driver.lookup(receipt.reference).evidence == receipt.evidence
assert driver.status().ready
driver.close()
print(verified.to_bytes().decode())
print(json.dumps(sorted(name for name in HEAVY if name in sys.modules)))
"""
HEAVY = (
    "web3",
    "eth",
    "eth_tester",
    "eth_account",
    "eth_keys",
    "eth_utils",
    "rlp",
    "trie",
    "torch",
    "numpy",
    "requests",
)


@pytest.mark.slow
@pytest.mark.parametrize("automine", [True, False])
def test_two_processes_with_one_key_and_one_journal(chain: Any, tmp_path: Path, automine: bool) -> None:
    """A hundred anchors, each of them once; the chain is counted in raw JSON-RPC."""
    chain.rpc("evm_setAutomine" if automine else "evm_setIntervalMining", automine or 1)
    section = {"rpc_url": chain.url, "contract_address": chain.contract, "chain_id": 31337, "timeout": 120}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"blockchain": {"networks": ["ethereum"], "ethereum": section}}))
    arguments = [str(config), str(tmp_path / "artifacts")]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments, name, str(ANCHORS)],
            env={**os.environ, "ETH_PRIVATE_KEY": chain.key},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    chain.rpc("evm_mine")
    commitments = [
        HashFactory.digest(f"{name} {number}".encode(), "sha256")
        for name in ("one", "two")
        for number in range(ANCHORS)
    ]
    assert [chain.events(commitment) for commitment in commitments] == [1] * (2 * ANCHORS)
    assert int(chain.rpc("eth_getTransactionCount", chain.address, "latest"), 16) == 2 * ANCHORS
    rows = Journal(tmp_path / "artifacts").rows()
    assert len({row.reference for row in rows}) == 2 * ANCHORS
    assert {row.state for row in rows} <= {JournalState.FINAL, JournalState.INCLUDED, JournalState.SUBMITTED}


@pytest.mark.parametrize("mode", ["contract", "calldata"])
def test_reading_and_verifying_load_no_web3(chain: Any, mode: str) -> None:
    driver = chain.driver(mode=mode)
    receipt = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    chain.mine()
    receipt = driver.upgrade(receipt)
    settings = {"rpc_url": chain.url, "contract_address": chain.contract, "private_key": chain.key, "mode": mode}
    code = f"HEAVY = {HEAVY!r}\n{READER}"
    command = [sys.executable, "-c", code, json.dumps({**settings, "chain_id": 31337})]
    done = subprocess.run(command, input=receipt.to_bytes(), capture_output=True, check=True, timeout=60)
    verified, loaded = done.stdout.decode().splitlines()
    assert json.loads(verified) == driver.verify(receipt, COMMITMENT).to_json()
    assert loaded == "[]"


def test_writing_leaves_the_recursion_limit_as_it_was(chain: Any) -> None:
    """web3 raises it to 100,000 when it is imported; from then on 70,000 brackets would end the process."""
    code = """
import json, sys
from pathlib import Path
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext
from mrv_core.hashing import HashFactory

before = sys.getrecursionlimit()
driver = EthereumDriver(DriverContext("ethereum", EthereumSettings.model_validate_json(sys.argv[1]), Path("unused")))
driver.prepare(HashFactory.digest(b"a run", "sha256"), {})
driver.close()
assert "web3" in sys.modules
assert sys.getrecursionlimit() == before, sys.getrecursionlimit()
try:
    json.loads("[" * 200_000)
except RecursionError:
    print("refused")
"""
    settings = {"rpc_url": chain.url, "contract_address": chain.contract, "private_key": chain.key}
    command = [sys.executable, "-c", code, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "refused\n"
