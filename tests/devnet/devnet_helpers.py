# SPDX-License-Identifier: MIT
"""What the tests of the devnet ask of nodes, files and processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from eth_account import Account

from mrv_core.errors import MrvError
from mrv_devnet import rpc
from mrv_devnet.config import Contracts

T = TypeVar("T")
PATIENCE_S = 120
"""Longer than anything here takes on a busy machine; only a failing test waits so long."""
STOPS = "0x6001600c60003960016000f300"
"""Creates a contract whose code is one STOP: enough where it matters only that there is code."""


def until(question: Callable[[], T]) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return answer


def send_ether(url: str, key: str, chain_id: int = 31337, **fields: Any) -> dict[str, Any]:
    """Sign and send a transaction with nothing but the key, and return its receipt."""

    def call(method: str, *params: Any) -> Any:
        return rpc.call(url, method, list(params), timeout_s=30)

    account = Account.from_key(key)
    transaction = {
        "nonce": int(call("eth_getTransactionCount", account.address, "latest"), 16),
        "gas": 100_000,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
        "chainId": chain_id,
        "value": 0,
        **fields,
    }
    sent = call("eth_sendRawTransaction", "0x" + account.sign_transaction(transaction).raw_transaction.hex())
    return until(lambda: call("eth_getTransactionReceipt", sent))


def deploy(section: Mapping[str, Any]) -> Contracts:
    """Deploy a contract that does nothing, so that these tests are about nodes only."""
    receipt = send_ether(section["rpc_url"], Path(section["private_key_file"]).read_text(), data=STOPS)
    return Contracts(receipt["contractAddress"], receipt["contractAddress"], section["chain_id"])


def refusal(call: Callable[[], Any]) -> str:
    """Return the message and the hint of the error that a call ends in; both must be one line."""
    with pytest.raises(MrvError) as caught:
        call()
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return f"{caught.value.message} [{caught.value.hint}]"


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def link(folder: Path, *names: str) -> None:
    """Put programs of this machine into a folder."""
    for name in names:
        found = next(Path(place, name) for place in os.defpath.split(":") if place and Path(place, name).exists())
        (folder / name).symlink_to(found)
