# SPDX-License-Identifier: MIT
"""Anchors on an Ethereum node through the product: journal, evidence and all."""

import secrets
import tempfile
from pathlib import Path
from typing import Any

from protocol import serve

from mrv_core.batching import Batch, batch_metadata
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager

_state: dict[str, Any] = {}


def prepare(rpc_url: str, chain_id: int, key_file: str, mode: str) -> str:
    """Deploy the contract with a first manager, and get a second one ready that uses it; return its address."""
    section = {"rpc_url": rpc_url, "chain_id": chain_id, "private_key_file": key_file, "mode": mode, "finality": 1}
    base = Path(tempfile.mkdtemp(prefix="anchoring-", dir="."))
    if mode == "contract":
        with BlockchainManager({"blockchain": {"ethereum": section}}, base_dir=base / "deployment") as manager:
            section["contract_address"] = manager.driver("ethereum").deploy_contract("MLProvenance").address  # type: ignore[attr-defined]
    _state["manager"] = BlockchainManager({"blockchain": {"ethereum": section}}, base_dir=base)
    _anchor(1)
    return str(section.get("contract_address", ""))


def _new(count: int) -> list[Digest]:
    return [Digest("sha256", secrets.token_bytes(32)) for _ in range(count)]


def _anchor(count: int) -> list[str]:
    manager: BlockchainManager = _state["manager"]
    facts = {"format": "mrv-run/1", "phase": "after_training", "run_id": "run-20260111T080000Z-1a2b3c4d"}
    outcomes = manager.anchor_many(_new(count), facts)["ethereum"]
    return [outcome.receipt.reference for outcome in outcomes if outcome.receipt is not None and not outcome.error]


def anchor(count: int) -> list[str]:
    """Anchor new commitments, each with a transaction of its own that is in the journal before it is sent."""
    return _anchor(count)


def settle() -> int:
    """Look until everything is final; return how many anchors are not."""
    return len(_state["manager"].settle(timeout_s=60))


def anchor_batch(count: int) -> str:
    """Build a batch of new commitments and anchor it; return the transaction."""
    batch = Batch(_new(count))
    outcome = _state["manager"].anchor(batch.commitment, batch_metadata(count))["ethereum"]
    return str(outcome.receipt.reference)


serve({"prepare": prepare, "anchor": anchor, "settle": settle, "anchor_batch": anchor_batch})
