# SPDX-License-Identifier: MIT
"""A chain with a registry on it, and the configurations of who trains, who verifies, and a stranger."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from eth_account import Account

from mrv_core.deployment import deploy
from mrv_core.manager import BlockchainManager
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.storage import save_mrv
from mrv_core.mrv.verification import RecordReport, verify_record
from mrv_devnet.nodes import AnvilNode

from .making import record_value, steady


class Place:
    """A chain with the registry on it, and the configurations of who trains, who verifies, and a stranger."""

    def __init__(self, node: AnvilNode, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.key, self.address = self.account()
        with BlockchainManager(self.config(self.key), base_dir=folder / "deploying") as manager:
            self.registry = deploy(manager, "ethereum", "MRVRegistry")[0].address
            self.contract = deploy(manager, "ethereum", "MLProvenance")[0].address

    def account(self) -> tuple[str, str]:
        key = secrets.token_hex(32)
        address: str = Account.from_key(key).address
        rich = self.node.rpc("eth_accounts")[0]
        # Sent, not set: setting a balance changes the state of a block that has been made, and its proofs with it.
        self.node.rpc("eth_sendTransaction", {"from": rich, "to": address, "value": hex(10**19)})
        self.node.rpc("evm_mine")  # a busy one answers before it has mined
        return key, address

    def config(self, key: str | None = None, **changes: Any) -> dict[str, Any]:
        places = (
            {"contract_address": self.contract, "registry_address": self.registry} if hasattr(self, "contract") else {}
        )
        section = {"rpc_url": self.node.url, "chain_id": self.node.chain_id, **places, **changes}
        section |= {} if key is None else {"private_key": key}
        return {"blockchain": {"networks": ["ethereum"], "ethereum": section}}

    def manager(self, key: str | None = None, **changes: Any) -> BlockchainManager:
        return BlockchainManager(self.config(key, **changes), base_dir=self.folder / secrets.token_hex(4))

    def record(self, mrv_id: str, **changes: Any) -> Path:
        """Write a record somewhere, with nothing beside it."""
        value = record_value(steady(60), mrv_id=mrv_id, **changes)
        folder = self.folder / secrets.token_hex(4)
        return Path(save_mrv(MrvRecord.from_json(value, what="record"), storage_dir=folder))

    def register(self, path: Path, key: str | None = None) -> None:
        """Register the file as its id."""
        record = MrvRecord.from_json(json.loads(path.read_bytes()), what="record")
        with self.manager(key or self.key) as manager:
            (outcome,) = manager.anchor(record.hash, {"mrv_id": record.mrv_id}).values()
            assert outcome.error is None

    def verify(self, path: Path, mrv_id: str | None = None, *, offline: bool = False, **changes: Any) -> RecordReport:
        with self.manager(**changes) as manager:
            return verify_record(path, manager=manager, mrv_id=mrv_id, offline=offline)


def edited(path: Path) -> Path:
    """Return a copy with one digit changed, alone in a folder."""
    data = path.read_bytes()
    place = data.index(b'"total_uwh":') + len(b'"total_uwh":')
    digit = b"1" if data[place : place + 1] != b"1" else b"2"
    copy = path.parent / secrets.token_hex(4) / path.name
    copy.parent.mkdir()
    copy.write_bytes(data[:place] + digit + data[place + 1 :])
    return copy
