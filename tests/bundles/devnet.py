# SPDX-License-Identifier: MIT
"""Runs anchored on real nodes: the contract and plain calldata on anvil, bitcoind in regtest, an IPFS daemon."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundles.mutations import sealed

from mrv_core.bundle import Bundle, export_bundle
from mrv_core.canonical import parse_json
from mrv_core.config import Config, load_config
from mrv_core.driver import DeployingDriver
from mrv_core.manager import BlockchainManager
from mrv_core.run_batches import anchor_waiting_roots
from mrv_core.tracker import ProvenanceTracker
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

NETWORKS = ("bitcoin", "calldata", "ethereum", "ipfs")
SETTLED = ("bitcoin", "calldata", "ethereum")
ETHER = 10**18


@dataclass(frozen=True)
class Devnet:
    """Three runs on real nodes, the last one in a batch."""

    base_dir: Path
    config: Config
    folders: dict[str, Path]
    bitcoind: BitcoinNode

    def value(self, run: str, **options: Any) -> dict[str, Any]:
        """Return the JSON value of a bundle."""
        parsed: dict[str, Any] = parse_json(export_bundle(self.folders[run], **options).to_bytes(), what="bundle")
        return parsed


def make_devnet(folder: Path, anvil: AnvilNode, bitcoind: BitcoinNode, ipfs_daemon: IpfsNode) -> Devnet:
    """Anchor on all networks and wait until everything is included."""
    config = _config(folder, anvil, bitcoind, ipfs_daemon)
    base_dir = folder / "artifacts"
    trackers = {name: _start(base_dir, config, name) for name in ("run-1", "run-2")}
    batched = _config(folder, anvil, bitcoind, ipfs_daemon, contract=_contract_of(config), in_batches=True)
    members = [_start(base_dir, batched, f"member-{number}").run_folder for number in range(3)]
    with BlockchainManager(batched, base_dir=base_dir) as manager:
        assert anchor_waiting_roots(members, manager) is not None
        bitcoind.mine(1)
        left = manager.settle(timeout_s=60)
        assert left == [], [(row.network, row.state, row.error) for row in left]
    folders = {name: tracker.run_folder for name, tracker in trackers.items()} | {"member": members[1]}
    for path in folders.values():
        ProvenanceTracker.open(path, config).close()
    return Devnet(base_dir, config, folders, bitcoind)


def _start(base_dir: Path, config: Config, name: str) -> ProvenanceTracker:
    with ProvenanceTracker(base_dir, config, run_id=name) as tracker:
        tracker.track_data({"x": [1, 2, 3], "name": name})
        tracker.store_merkle_on_blockchain_before_training({"epochs": 1})
        tracker.track_epoch(0, metrics={"loss": 0.5})
        tracker.store_merkle_on_blockchain_after_training({"accuracy": 0.5})
    return tracker


def _contract_of(config: Config) -> str:
    address: str = config.networks["ethereum"].settings.contract_address
    return address


def _config(
    folder: Path,
    anvil: AnvilNode,
    bitcoind: BitcoinNode,
    ipfs_daemon: IpfsNode,
    *,
    contract: str | None = None,
    in_batches: bool = False,
) -> Config:
    # A key of its own for each network: one key on one chain is one line of nonces.
    keys = {name: _funded_key(folder, anvil, name) for name in ("ethereum", "calldata")}
    chain = {"driver": "ethereum", "rpc_url": anvil.url, "chain_id": 31337}
    ethereum = {**chain, "private_key_file": str(keys["ethereum"]), "contract_address": contract}
    sections: dict[str, Any] = {
        "ethereum": {key: value for key, value in ethereum.items() if value is not None},
        "calldata": {**chain, "private_key_file": str(keys["calldata"]), "mode": "calldata"},
        "bitcoin": {
            "rpc_url": bitcoind.url,
            "rpc_user": bitcoind.user,
            "rpc_password_file": str(bitcoind.password_file),
            "network": "regtest",
            "wallet": "miner",
        },
        "ipfs": {"url": ipfs_daemon.api_url},
    }
    options = {"store_in_batches": in_batches}
    document = {"networks": list(sections), **sections, "storage_options": options}
    config = load_config({"blockchain": document}, environment={})
    if contract is not None:
        return config
    with BlockchainManager(config, base_dir=folder / "deploying") as manager:
        driver: DeployingDriver = manager.driver("ethereum")  # type: ignore[assignment]
        address = driver.deploy_contract("MLProvenance").address
    return _config(folder, anvil, bitcoind, ipfs_daemon, contract=address, in_batches=in_batches)


def _funded_key(folder: Path, anvil: AnvilNode, name: str) -> Path:
    path = folder / f"{name}.key"
    if not path.exists():
        from eth_account import Account

        key = secrets.token_hex(32)
        path.touch(mode=0o600)
        path.write_text(key)
        anvil.rpc("anvil_setBalance", Account.from_key(key).address, hex(ETHER))
    return path


def ots_receipt(devnet: Devnet, value: dict[str, Any]) -> dict[str, Any]:
    """Export an anchor as an OpenTimestamps proof, and import it again as somebody else's."""
    bundle = Bundle.from_bytes(sealed(value), what="bundle")
    with BlockchainManager(devnet.config, base_dir=devnet.base_dir) as manager:
        driver: Any = manager.driver("bitcoin")
        exported = driver.export_ots(bundle.receipts["bitcoin"], commitment=bundle.root)
        receipt = driver.upgrade(driver.import_ots(exported.ots, bundle.root))
    parsed: dict[str, Any] = receipt.to_json()
    return parsed
