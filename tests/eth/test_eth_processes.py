# SPDX-License-Identifier: MIT
"""The embedded chain between processes: read without an EVM, written by several, killed half way."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.keccak import keccak256
from mrv_core.hashing import HashFactory
from mrv_core.models import Prepared, Receipt

HASH_STORED = keccak256(b"HashStored(bytes32,string,uint256)")
COMMITMENT = HashFactory.digest(b"a run", "sha256")
METADATA = {"phase": "after_training"}
EVM_PACKAGES = ("web3", "eth", "eth_tester", "eth_account", "eth_utils", "rlp", "trie", "torch", "numpy")

PRELUDE = """
import json, os, signal, sys
from pathlib import Path
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Prepared, Receipt
driver = EthereumDriver(DriverContext("ethereum", EthereumSettings(), Path(sys.argv[1])))
"""


def start(code: str, store: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + code, str(store), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], expected: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == expected
    return output


def anchored(driver: EthereumDriver) -> Receipt:
    return driver.submit(driver.prepare(COMMITMENT, METADATA))


def test_another_process_verifies_without_an_evm(driver: EthereumDriver, chain_file: Path, tmp_path: Path) -> None:
    receipt = anchored(driver)
    tmp_path.joinpath("receipt.json").write_bytes(receipt.to_bytes())
    code = """
receipt = Receipt.from_bytes(Path(sys.argv[2]).read_bytes(), what="receipt")
verified = driver.verify(receipt, receipt.commitment)
assert driver.upgrade(receipt) == driver.lookup(receipt.reference) == receipt
assert driver.status().ready
print(verified.to_bytes().decode())
print(json.dumps(sorted(set(sys.argv[3].split()) & set(sys.modules))))
"""
    process = start(code, chain_file.parent, str(tmp_path / "receipt.json"), " ".join(EVM_PACKAGES))
    verified, imported = finish(process).splitlines()
    assert json.loads(verified) == driver.verify(receipt, COMMITMENT).to_json()
    assert json.loads(imported) == []


def test_anchoring_leaves_the_recursion_limit_alone(tmp_path: Path) -> None:
    code = """
before = sys.getrecursionlimit()
driver.prepare(HashFactory.digest(b"a run", "sha256"), {})
assert "web3" in sys.modules
print(before == sys.getrecursionlimit())
"""
    assert finish(start(code, tmp_path)).strip() == "True"


def test_two_processes_anchor_at_once(driver: EthereumDriver, chain_file: Path, evm_view: Callable[[], Any]) -> None:
    code = """
for number in range(10):
    commitment = HashFactory.digest(f"{sys.argv[2]} {number}".encode(), "sha256")
    print(driver.submit(driver.prepare(commitment, {})).to_bytes().decode())
"""
    processes = [start(code, chain_file.parent, name) for name in ("left", "right")]
    receipts = [Receipt.from_bytes(line.encode(), what="receipt") for p in processes for line in finish(p).splitlines()]
    assert len({receipt.commitment for receipt in receipts}) == 20
    view = evm_view()
    for receipt in receipts:
        assert driver.verify(receipt, receipt.commitment).commitment == receipt.commitment
        assert view.logs(HASH_STORED, receipt.commitment.value) == 1
    assert len(view.blocks()) == 1 + 1 + 20  # genesis, the contract, one block each


def test_killed_between_prepare_and_submit(
    driver: EthereumDriver, chain_file: Path, evm_view: Callable[[], Any]
) -> None:
    code = """
print(driver.prepare(HashFactory.digest(b"a run", "sha256"), {}).to_bytes().decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    prepared = Prepared.from_bytes(finish(start(code, chain_file.parent), -signal.SIGKILL).encode(), what="prepared")
    assert evm_view().logs(HASH_STORED, COMMITMENT.value) == 0
    receipts = [driver.submit(prepared) for _ in range(2)]
    assert receipts[0] == receipts[1]
    assert evm_view().logs(HASH_STORED, COMMITMENT.value) == 1


def test_killed_while_writing_a_block(driver: EthereumDriver, chain_file: Path, evm_view: Callable[[], Any]) -> None:
    """The process dies with half of the block in the file; the next reader sees none of it."""
    receipt = anchored(driver)
    before = chain_file.read_bytes()
    code = """
from mrv_backends_eth import store
from mrv_backends_eth.embedded import CHAIN_ID, CONTRACT
from mrv_backends_eth.evm import EmbeddedEvm
with store.writing(Path(sys.argv[1], "chain.sqlite3"), 5) as connection:
    connection.execute("PRAGMA cache_size = 1")  # so that changed pages go to the file before the commit
    evm = EmbeddedEvm(connection, CHAIN_ID, CONTRACT)
    for number in range(5):
        evm.send(evm.sign(HashFactory.digest(bytes([number]), "sha256").value, "", 300_000).raw)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    finish(start(code, chain_file.parent), -signal.SIGKILL)
    assert chain_file.read_bytes() != before
    assert len(list(chain_file.parent.iterdir())) == 2  # the journal that undoes it
    assert driver.verify(receipt, COMMITMENT).confirmations == 1
    assert chain_file.read_bytes() == before
    assert anchored(driver).evidence["block_number"] == receipt.evidence["block_number"] + 1
    assert evm_view().logs(HASH_STORED, COMMITMENT.value) == 1


def test_full_disk_loses_nothing(driver: EthereumDriver, chain_file: Path) -> None:
    """The file may not grow: the anchor fails with one line, and goes out with the same bytes once there is room."""
    receipt = anchored(driver)
    other = HashFactory.digest(b"another run", "sha256")
    prepared = driver.prepare(other, {})
    code = """
import resource
from mrv_core.errors import BackendUnavailableError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = Path(sys.argv[1], "chain.sqlite3").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    driver.submit(Prepared.from_bytes(sys.argv[2].encode(), what="prepared"))
except BackendUnavailableError as error:
    print(error)
"""
    output = finish(start(code, chain_file.parent, prepared.to_bytes().decode()))
    assert "disk" in output
    assert output.count("\n") == 1
    assert driver.verify(receipt, COMMITMENT).confirmations == 1
    assert driver.submit(prepared).commitment == other


def test_the_file_is_a_sound_sqlite_file_with_a_rollback_journal(driver: EthereumDriver, chain_file: Path) -> None:
    anchored(driver)
    connection = sqlite3.connect(chain_file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
