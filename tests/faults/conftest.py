# SPDX-License-Identifier: MIT
"""The real nodes that faults are put in front of. Their tests share them: what each counts is its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest
from faults.places import (  # noqa: F401 - fixtures
    bitcoin_world,
    ethereum_world,
    fast_folder,
    ipfs_world,
    job_server,
    young_ethereum_world,
)
from faults.targets import BitcoinTarget, EthereumTarget, IpfsTarget, driver_at
from nodes import MINER, funded, need

from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

COINS = 400 if os.environ.get("MRV_FAULTS") == "all" else 80


@pytest.fixture(scope="session")
def bitcoin_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoinTarget]:
    """Regtest, and a wallet with so many coins that what one case locks is not missing in the next."""
    need("bitcoind")
    with BitcoinNode(tmp_path_factory.mktemp("bitcoind")) as node:
        funded(node)
        outputs = [{node.wallet_rpc(MINER, "getnewaddress"): 0.1} for _ in range(COINS)]
        node.wallet_rpc(MINER, "send", outputs, None, "unset", 10)
        node.mine(1)
        yield BitcoinTarget(node)


@pytest.fixture(scope="session")
def ipfs_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpfsTarget]:
    """A daemon without peers."""
    need("ipfs")
    with IpfsNode(tmp_path_factory.mktemp("ipfs")) as node:
        yield IpfsTarget(node)


@pytest.fixture(scope="session")
def ethereum_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EthereumTarget]:
    """Ethereum with our contract, which mines when it is told to, so that a method always makes the same calls."""
    need("anvil")
    from eth_account import Account

    key = secrets.token_hex(32)
    with AnvilNode(tmp_path_factory.mktemp("anvil"), keep_state=False, options=("--slots-in-an-epoch", "1")) as node:
        node.rpc("anvil_setBalance", Account.from_key(key).address, hex(10**21))
        without = EthereumTarget(node, key, None)
        with driver_at(without, node.url, tmp_path_factory.mktemp("deploying")) as driver:
            contract = driver.deploy_contract("MLProvenance")
        node.rpc("evm_setAutomine", False)
        yield EthereumTarget(node, key, contract.address)


@pytest.fixture(scope="session")
def calldata_target(ethereum_target: EthereumTarget) -> EthereumTarget:
    """The same chain and key, without a contract."""
    return EthereumTarget(ethereum_target.node, ethereum_target.key, None)
